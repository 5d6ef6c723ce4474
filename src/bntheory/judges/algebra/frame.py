"""A layer in coordinates: every vector of a claim in the orthogonal basis that Gram-Schmidt makes of 1, y_hat, grad, ...

Nothing in a claim depends on more of a vector than its components along the vectors that came before it and the length of
the rest, so finitely many real numbers describe every layer, whatever its batch size. There are three kinds of frame:

* symbolic m. All basis vectors have squared norm m. An operator applied to a basis vector leaves the span by at most one new
  direction, which is introduced when something sees it.
* a concrete m, Gram-Schmidt: m directions and no more, along rational vectors, so that numbers found here are vectors at
  once. Every layer of that batch size is described up to a rotation that fixes the vector of ones.
* a concrete m, standard: the directions are the examples of the batch. Needed where a rotation is not allowed (diagonal
  Hessians, l_p normalisers, singled-out examples).

With eps > 0 the batch may be constant: then y_hat = 0, and the second direction is any one.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from bntheory.judges.algebra.basis import rational_basis, standard_basis
from bntheory.judges.algebra.field import SIGNS, Field, Scalar
from bntheory.judges.algebra.jacobian import jacobian_norm, trace
from bntheory.judges.algebra.statistics import of_an_entry, statistics, statistics_by_entry
from bntheory.judges.algebra.vectors import Coordinates, NeedsOutside, SymbolicOperator
from bntheory.layer.domain import FREE, LayerDomain


def needs_entries(domain: LayerDomain) -> bool:
    """Whether a rotation that fixes the ones can lead out of the domain, so that concrete batches need a standard frame."""
    return (
        domain.hessian in ("diagonal", "psd-diagonal")
        or domain.gradient == "unit-entries"
        or domain.normaliser in ("l1", "linf")
        or any(v.endswith("@case") for v in domain.vectors)
    )


class Frame:
    """The symbolic layer: what a claim function receives.

    m_value: None is the symbolic batch size. with_outside: products with operators may leave the span (symbolic m only).
    vectors: the vectors that the claim speaks of, in the order of Gram-Schmidt. An operator's product has a component along
    each of them, so all must be known before the first product; :func:`bntheory.judges.algebra.encode.evaluate` finds them
    by a first evaluation. room: the most directions of a concrete frame, where the batch has more of them than the claim.
    looks: at how many of the directions of 1 and y the claim looks; the others are left out. pattern: None for Gram-Schmidt; a number
    for a standard frame (see :func:`~bntheory.judges.algebra.statistics.statistics_by_entry`), where it also says to which
    example a second ``@case`` vector belongs. rational_batch: let y and eps be the free numbers and sigma the root, instead of y_hat and
    sigma; a batch with var = eps is rational then, whose sigma is not.
    """

    def __init__(
        self,
        domain: LayerDomain,
        m_value: int | None = None,
        *,
        with_outside: bool = False,
        vectors: tuple[str, ...] = (),
        room: int | None = None,
        looks: int = 2,
        pattern: tuple[int, ...] | None = None,
        rational_batch: bool = False,
    ) -> None:
        self.domain, self.m_value, self.with_outside = domain, m_value, with_outside
        self.pattern, self.standard, self.rational_batch = pattern, pattern is not None, rational_batch
        self.room = m_value if room is None or m_value is None else min(room, m_value)
        self.touched = 0  # of 1 and y, in this order, those that were looked at
        field = self.field = Field()
        self.constraints: list[tuple[str, Any]] = []  # (op, x): x op 0, or ("and" | "or", constraints)
        self.m = field.symbol("m", "positive") if m_value is None else field.constant(m_value)
        self.basis: list[list[int]] | None = None
        if m_value is not None:
            self.basis = standard_basis(m_value) if self.standard else rational_basis(m_value, self.room)
        self.norms: list[Scalar] = []
        self.labels: list[str] = []
        self._vectors: dict[str, Coordinates] = {}
        self._jac_norm: Scalar | None = None
        # by the Jacobian or its transpose, where jac_norm bounds the length
        self._moved: list[tuple[Coordinates, Coordinates]] = []
        self.cases: dict[str, Coordinates] = {}  # the examples that @case vectors single out
        self._scalars: dict[str, Scalar] = {}
        self.operators: dict[str, SymbolicOperator] = {}
        self.gamma = field.symbol("gamma", SIGNS.get(domain.gamma, "any"))
        self.beta = field.symbol("beta")
        self.correction = self._correction()
        if domain.gamma == "unit":
            self.constraints.append(("ge", 1 - self.gamma))
        self._layer(vectors, looks)

    def _correction(self) -> Scalar:
        """k with sigma^2 = k var + eps: 1, or Bessel's m/(m - 1)."""
        if self.domain.normaliser != "unbiased":
            return self.field.one
        if self.m_value is not None:
            return self.field.constant(Fraction(self.m_value, self.m_value - 1))
        k = self.field.symbol("k", "positive")
        self.constraints.append(("eq", k * (self.m - 1) - self.m))
        return k

    def _layer(self, vectors: tuple[str, ...], looks: int) -> None:
        if self.standard:
            assert self.m_value is not None
            assert self.pattern is not None
            for i in range(self.m_value):
                self.new_direction(f"e{i + 1}")
            self._one = self.zero_vector()
            for i in range(self.m_value):
                self._one = self._one + self.unit(i)
            self._statistics = statistics_by_entry(self, self.pattern[0])
        else:
            for label in ("1", "y"):
                self.new_direction(label)
            self._one = self.unit(0)
            self._statistics = statistics(self)
            del self.norms[looks:2], self.labels[looks:2]
        self.constraints += self._statistics.constraints
        s = self._statistics
        self.mu, self.var, self.sigma, self.eps = s.mu, s.var, s.sigma, s.eps
        for name in vectors:
            if name not in self._vectors and name != "layer.dual":
                _ = self.grad if name == "layer.grad" else self.vector(name.removeprefix(FREE))
        self._bounded_gradient()
        if self.room is not None:
            while len(self.norms) < self.room:
                self.new_direction("")

    def _bounded_gradient(self) -> None:
        """|g_i| <= 1; in a Gram-Schmidt frame what follows for its length and for the examples singled out."""
        g = self._vectors.get("layer.grad")
        if self.domain.gradient == "any" or g is None:
            return
        if self.standard:
            entries = [self.dot(self.unit(i), g) for i in range(len(self.norms))]
            self.constraints += [("ge", 1 - x * sign) for x in entries for sign in (1, -1)]
            return
        self.constraints.append(("ge", self.m - self.norm2(g)))
        self.constraints += [("ge", 1 - self.dot(e, g) ** 2) for e in self.cases.values()]

    # -- the basis -------------------------------------------------------------------------------------------------

    def new_direction(self, label: str) -> int | None:
        """One more basis vector, orthogonal to all before; None where the batch has no room for it."""
        index = len(self.norms)
        if self.m_value is None:
            self.norms.append(self.m)
        elif self.room is not None and index < self.room:
            assert self.basis is not None
            self.norms.append(self.field.constant(sum(x * x for x in self.basis[index])))
        else:
            return None
        self.labels.append(label)
        return index

    def unit(self, i: int) -> Coordinates:
        """The basis vector u_i."""
        return Coordinates(self, {i: self.field.one})

    def zero_vector(self) -> Coordinates:
        """The zero vector."""
        return Coordinates(self, {})

    def named(self, key: str, name: str) -> Coordinates:
        """A vector of which nothing is known, by Gram-Schmidt; the length of what is left is not negative."""
        if key not in self._vectors:
            parts = {i: self.field.symbol(f"{name}_{i + 1}", component=True) for i in range(len(self.norms))}
            new = None if self.standard else self.new_direction(name)
            if new is not None:
                parts[new] = self.field.symbol(f"{name}_{new + 1}", "nonnegative", component=True)
            self._vectors[key] = Coordinates(self, parts)
        return self._vectors[key]

    @property
    def vectors_used(self) -> tuple[str, ...]:
        """The named vectors that were asked for, in order."""
        return tuple(self._vectors)

    @property
    def scalars_used(self) -> tuple[str, ...]:
        """The free scalars that were asked for."""
        return tuple(self._scalars)

    # -- the vocabulary ----------------------------------------------------------------------------------------------

    @property
    def one(self) -> Coordinates:
        self.touched = max(1, self.touched)
        return self._one

    @property
    def y(self) -> Coordinates:
        self.touched = 2
        return self._statistics.y

    @property
    def y_hat(self) -> Coordinates:
        self.touched = 2
        return self._statistics.y_hat

    @property
    def dual(self) -> Coordinates:
        self.touched = 2
        return self._statistics.dual

    @property
    def grad(self) -> Coordinates:
        return self.named("layer.grad", "g")

    @property
    def z(self) -> Coordinates:
        return self.y_hat.scaled(self.gamma) + self.one.scaled(self.beta)

    @property
    def gamma_grad(self) -> Scalar:
        return self.dot(self.y_hat, self.grad)

    @property
    def beta_grad(self) -> Scalar:
        return self.dot(self.one, self.grad)

    @property
    def hessian_operator(self) -> SymbolicOperator:
        """H by its entries."""
        return self._operator("layer.hess", "H", self.domain.hessian, self.domain.smoothness_in(self.scalar))

    def hess(self, v: Coordinates) -> Coordinates:
        return self.hessian_operator(v)

    def _operator(self, key: str, name: str, kind: str, bound: Any = None) -> SymbolicOperator:
        if key not in self.operators:
            self.operators[key] = SymbolicOperator(self, name, kind, bound)
        return self.operators[key]

    def dot(self, u: Coordinates, v: Coordinates) -> Scalar:
        if u.outside and v.outside:
            raise NeedsOutside
        total = self.field.zero
        for i, c in u.parts.items():
            if i in v.parts:
                total = total + c * v.parts[i] * self.norms[i]
        return total.under(u.conditions | v.conditions)

    def norm2(self, v: Coordinates) -> Scalar:
        square = self.dot(v, v)
        self.field.promise_nonnegative(square)
        return square

    def centred(self, v: Coordinates) -> Coordinates:
        """v minus its mean over the batch."""
        return v - self.one.scaled(self.dot(self.one, v) / self.m)

    def _dy_hat(self, v: Coordinates) -> Coordinates:
        """(d y_hat/dy) v."""
        kind = self.domain.normaliser
        if kind == "frozen":
            return v.scaled(1 / self.sigma)
        if kind != "rms":
            v = self.centred(v)
        if kind == "mean-only":
            return v
        return (v - self.y_hat.scaled(self.dot(self.dual, v) / self.m)).scaled(1 / self.sigma)

    def _transposed(self, u: Coordinates) -> Coordinates:
        """(d y_hat/dy)' u."""
        kind = self.domain.normaliser
        if kind not in ("l1", "linf"):
            return self._dy_hat(u)
        w = self.centred(u - self.dual.scaled(self.dot(self.y_hat, u) / self.m))
        return w.scaled(1 / self.sigma)

    def jac(self, v: Coordinates) -> Coordinates:
        return self._through(v, self._dy_hat(v).scaled(self.gamma))

    @property
    def jac_norm(self) -> Scalar:
        if self._jac_norm is None:
            self._jac_norm = jacobian_norm(self)
            for v, moved in self._moved:
                self._bound_length(v, moved)
        return self._jac_norm

    def _through(self, v: Coordinates, moved: Coordinates) -> Coordinates:
        """``moved``, which is the Jacobian's or its transpose's product with v."""
        if self.domain.normaliser in ("l1", "linf"):
            self._moved.append((v, moved))
            if self._jac_norm is not None:
                self._bound_length(v, moved)
        return moved

    def _bound_length(self, v: Coordinates, moved: Coordinates) -> None:
        """What jac_norm is the norm for, said outright: of a map whose singular values differ no solver finds it in time."""
        assert self._jac_norm is not None
        if not v.outside:
            self.constraints.append(("ge", self._jac_norm**2 * self.norm2(v) - self.norm2(moved)))

    def trace(self, operator: Callable[[Coordinates], Coordinates]) -> Scalar:
        return trace(self, operator)

    @property
    def input_grad(self) -> Coordinates:
        return self._through(self.grad, self._transposed(self.grad).scaled(self.gamma))

    def input_hess(self, v: Coordinates) -> Coordinates:
        kind = self.domain.normaliser
        moved = self._dy_hat(v)
        curved = self._transposed(self.hess(moved)).scaled(self.gamma**2)
        if kind in ("frozen", "mean-only"):
            return curved
        # d/dt of gamma C (g - q <y_hat, g>/m)/sigma along v, with g held fixed
        slope = self.dot(self.dual, v if kind == "rms" else self.centred(v)) / self.m  # d sigma
        bend = self.dual.scaled(self.dot(moved, self.grad))
        if kind not in ("l1", "linf"):  # the dual is a multiple of y_hat, and moves with it
            bend = bend + moved.scaled(self.correction * self.dot(self.y_hat, self.grad))
        if kind != "rms":
            bend = self.centred(bend)
        return curved - self.input_grad.scaled(slope / self.sigma) - bend.scaled(self.gamma / (self.m * self.sigma))

    # -- free quantities -------------------------------------------------------------------------------------------------

    def scalar(self, name: str) -> Scalar:
        if name not in self._scalars:
            kind = self.domain.scalars[name]
            self._scalars[name] = symbol = self.field.symbol(name, SIGNS.get(kind, "any"))
            if kind == "unit":
                self.constraints.append(("ge", 1 - symbol))
        return self._scalars[name]

    def vector(self, name: str) -> Coordinates:
        key = FREE + name
        if key in self._vectors or not name.endswith("@case"):
            return self.named(key, name)
        if self.standard:
            assert self.pattern is not None
            self._vectors[key] = self.cases[name] = self.unit(self.pattern[1 + len(self.cases)])
            return self._vectors[key]
        self.touched = max(1, self.touched)
        rest = self.named(key, name.removesuffix("@case"))
        mean = self._one.scaled(1 / self.m)  # its part along the vector of ones, in place of a number of its own
        vector = self._vectors[key] = rest - self.unit(0).scaled(rest.parts[0]) + mean
        self.constraints += [("eq", self.norm2(vector) - 1), *of_an_entry(self, self._statistics, vector)]
        for other in self.cases.values():  # the same example or another one
            product = self.dot(vector, other)
            self.constraints.append(("eq", product * (product - 1)))
        self.cases[name] = vector
        return vector

    def operator(self, name: str) -> SymbolicOperator:
        return self._operator(FREE + name, name, self.domain.operators[name])
