"""A layer in coordinates: every vector of a claim in the orthogonal basis that Gram-Schmidt makes of 1, y_hat, grad, ...

Nothing in a claim depends on more of a vector than its components along the vectors that came before it and the length of
the rest, so finitely many real numbers describe every layer, whatever its batch size. There are two kinds of frame:

* :class:`Frame` with ``m=None``: symbolic batch size. All basis vectors have squared norm m. An operator applied to a basis
  vector leaves the span by at most one new direction, which is introduced when something sees it.
* a concrete m: m directions and no more, with rational coordinates, so that numbers found here are vectors at once. Every
  layer of that batch size is described up to a rotation that fixes the vector of ones, and so is every operator.

With eps > 0 the batch may be constant: then y_hat = 0, and the second direction is any one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from fractions import Fraction

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.field import Field, Scalar, Sign
from bntheory.layer.domain import LayerDomain

__all__ = ["Coordinates", "Frame", "NeedsOutside", "SymbolicOperator", "rational_basis"]


class NeedsOutside(Exception):  # noqa: N818 - asks for another evaluation
    """The claim looks at the part of a product H v outside the span; evaluate again with it."""


class Coordinates:
    """A vector: its coefficients in the basis, and the operators' products whose outside part was left out."""

    __slots__ = ("frame", "outside", "parts")
    __array_ufunc__ = None

    def __init__(self, frame: Frame, parts: dict[int, Scalar], outside: bool = False) -> None:
        self.frame = frame
        self.parts = {i: c for i, c in parts.items() if not c.num.is_zero()}
        self.outside = outside

    def __add__(self, other: object) -> Coordinates:
        if not isinstance(other, Coordinates):
            return NotImplemented
        parts = dict(self.parts)
        for i, c in other.parts.items():
            parts[i] = parts[i] + c if i in parts else c
        return Coordinates(self.frame, parts, self.outside or other.outside)

    def __neg__(self) -> Coordinates:
        return self * -1

    def __pos__(self) -> Coordinates:
        return self

    def __sub__(self, other: object) -> Coordinates:
        if not isinstance(other, Coordinates):
            return NotImplemented
        return self + other * -1

    def __mul__(self, factor: object) -> Coordinates:
        if isinstance(factor, Coordinates):
            raise TypeError("two vectors are multiplied; the vocabulary has layer.dot(u, v)")
        try:
            return Coordinates(self.frame, {i: c * factor for i, c in self.parts.items()}, self.outside)
        except TypeError:
            return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, factor: object) -> Coordinates:
        if isinstance(factor, Coordinates):
            raise TypeError("a vector is divided by a vector; the vocabulary has layer.dot(u, v)")
        return self * (self.frame.field.one / factor)


class SymbolicOperator:
    """A symmetric operator by its entries <u_i, H u_j>, which are made when a product first needs them."""

    def __init__(self, frame: Frame, name: str, kind: str) -> None:
        self.frame, self.name, self.kind = frame, name, kind
        self.entries: dict[tuple[int, int], Scalar] = {}
        self.expanded: dict[int, int] = {}  # direction -> how many directions its product may use
        if kind == "isotropic":
            self.factor = frame.field.symbol(f"{name}")

    def entry(self, i: int, j: int) -> Scalar:
        """<u_i, H u_j> in units of the generic norm."""
        i, j = min(i, j), max(i, j)
        if self.expanded.get(i, j + 1) <= j:
            return self.frame.field.zero  # u_j came later than the span that holds H u_i
        if (i, j) not in self.entries:
            sign: Sign = "nonnegative" if self.kind == "psd" and i == j else "any"
            self.entries[i, j] = self.frame.field.symbol(f"{self.name}_{i + 1}{j + 1}", sign)
        return self.entries[i, j]

    def __call__(self, v: Coordinates) -> Coordinates:
        frame = self.frame
        if not isinstance(v, Coordinates):
            raise TypeError(f"{self.name} applies to a vector, not to {v!r:.40}")
        if self.kind == "zero":
            return Coordinates(frame, {})
        if self.kind == "identity":
            return v
        if self.kind == "isotropic":
            return v * self.factor
        if v.outside:
            raise NeedsOutside
        if frame.m_value is None and frame.with_outside:
            for j in sorted(v.parts):
                if j not in self.expanded:
                    frame.new_direction(f"{self.name} u{j + 1}")
                    self.expanded[j] = len(frame.norms)
        result: dict[int, Scalar] = {}
        for i in range(len(frame.norms)):
            total = frame.field.zero
            for j, c in v.parts.items():
                total = total + self.entry(i, j) * c
            result[i] = total * frame.m / frame.norms[i] if frame.m_value is not None else total
        leaves = frame.m_value is None and not frame.with_outside and bool(v.parts)
        return Coordinates(frame, result, leaves)


class Frame:
    """The symbolic layer: what a claim function receives.

    m_value: None is the symbolic batch size. with_outside: products with operators may leave the span (symbolic m only).
    vectors: the vectors that the claim speaks of, in the order of Gram-Schmidt. An operator's product has a component along
    each of them, so all must be known before the first product; :func:`bntheory.judges.algebra.encode.evaluate` finds them
    by a first evaluation. room: the most directions of a concrete frame, where the batch has more of them than the claim.
    """

    def __init__(
        self,
        domain: LayerDomain,
        m_value: int | None = None,
        with_outside: bool = False,
        vectors: tuple[str, ...] = (),
        room: int | None = None,
    ) -> None:
        self.domain, self.m_value, self.with_outside = domain, m_value, with_outside
        self.room = m_value if room is None or m_value is None else min(room, m_value)
        field = self.field = Field()
        self.constraints: list[tuple[str, Scalar]] = []  # (op, x): x op 0
        self.labels: list[str] = []
        self.basis = None if m_value is None else rational_basis(m_value, self.room)
        self.m = field.symbol("m", "positive") if m_value is None else field.constant(m_value)
        self.norms: list[Scalar] = []
        for label in ("1", "y_hat"):
            self.new_direction(label)
        self._vectors: dict[str, Coordinates] = {}
        self._scalars: dict[str, Scalar] = {}
        self.operators: dict[str, SymbolicOperator] = {}
        self.one = Coordinates(self, {0: field.one})
        self.gamma = field.symbol("gamma", _sign(domain.gamma))
        self.beta = field.symbol("beta")
        self.mu = field.symbol("mu")
        self._statistics()
        for name in vectors:
            _ = self.grad if name == "layer.grad" else self.vector(name)
        if self.room is not None:
            while len(self.norms) < self.room:
                self.new_direction("")

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

    def _statistics(self) -> None:
        field, kind = self.field, self.domain.normaliser
        if kind not in ("batch", "frozen"):
            raise OutsideVocabulary(f"{kind} normalisation")
        ratio = self.norms[1] / self.m
        if self.domain.eps == "zero":
            root = ratio.sqrt()
            spread = field.symbol("s", "positive")
            self.spread = spread  # y = mu 1 + s u2
            self.sigma = spread * root
            self.var = self.sigma**2
            self.eps = field.zero
            hat = field.one / root
        else:
            hat = field.symbol("q", "nonnegative")
            self.sigma = field.symbol("sigma", "positive")
            self.spread = hat * self.sigma
            self.var = self.spread**2 * ratio
            self.eps = self.sigma**2 - self.var
            self.constraints.append(
                ("gt" if self.domain.eps == "positive" else "ge", field.one - hat**2 * ratio)
            )
        self.y_hat = Coordinates(self, {1: hat})
        self.y = self.one * self.mu + Coordinates(self, {1: self.spread})

    # -- the vocabulary ------------------------------------------------------------------------------------------

    def _named(self, key: str, name: str) -> Coordinates:
        """A vector of which nothing is known, by Gram-Schmidt; its last component is not negative."""
        if key not in self._vectors:
            parts = {i: self.field.symbol(f"{name}_{i + 1}") for i in range(len(self.norms))}
            new = self.new_direction(name)
            if new is not None:
                parts[new] = self.field.symbol(f"{name}_{new + 1}", "nonnegative")
            self._vectors[key] = Coordinates(self, parts)
        return self._vectors[key]

    @property
    def vectors_used(self) -> tuple[str, ...]:
        """The named vectors that were asked for, in order."""
        return tuple(self._vectors)

    @property
    def grad(self) -> Coordinates:
        return self._named("layer.grad", "g")

    def _operator(self, key: str, name: str, kind: str) -> SymbolicOperator:
        if key not in self.operators:
            self.operators[key] = SymbolicOperator(self, name, kind)
        return self.operators[key]

    def hess(self, v: Coordinates) -> Coordinates:
        return self._operator("layer.hess", "H", self.domain.hessian)(v)

    def dot(self, u: Coordinates, v: Coordinates) -> Scalar:
        for x in (u, v):
            if not isinstance(x, Coordinates):
                raise TypeError(f"dot takes two vectors, not {type(x).__name__}")
        if u.outside and v.outside:
            raise NeedsOutside
        total = self.field.zero
        for i, c in u.parts.items():
            if i in v.parts:
                total = total + c * v.parts[i] * self.norms[i]
        return total

    def norm2(self, v: Coordinates) -> Scalar:
        return self.dot(v, v)

    def project(self, v: Coordinates) -> Coordinates:
        """P v: for the frozen twin the identity."""
        if self.domain.normaliser == "frozen":
            return v
        return (
            v - self.one * (self.dot(self.one, v) / self.m) - self.y_hat * (self.dot(self.y_hat, v) / self.m)
        )

    @property
    def input_grad(self) -> Coordinates:
        return self.project(self.grad) * (self.gamma / self.sigma)

    def input_hess(self, v: Coordinates) -> Coordinates:
        curved = self.project(self.hess(self.project(v))) * (self.gamma / self.sigma) ** 2
        if self.domain.normaliser == "frozen":
            return curved
        pg, hat = self.project(self.grad), self.y_hat
        bend = self.project(v) * self.dot(hat, self.grad) + pg * self.dot(hat, v) + hat * self.dot(pg, v)
        return curved - bend * (self.gamma / (self.m * self.sigma**2))

    def scalar(self, name: str) -> Scalar:
        if name not in self.domain.scalars:
            raise _undeclared("scalar", name, self.domain.scalars)
        if name not in self._scalars:
            kind = self.domain.scalars[name]
            self._scalars[name] = symbol = self.field.symbol(name, _sign(kind))
            if kind == "unit":
                self.constraints.append(("ge", 1 - symbol))
        return self._scalars[name]

    def vector(self, name: str) -> Coordinates:
        if name not in self.domain.vectors:
            raise _undeclared("vector", name, self.domain.vectors)
        fresh = name not in self._vectors
        vector = self._named(name, name)
        if fresh and name.endswith("@case"):
            self.constraints.append(("eq", self.dot(self.one, vector) - 1))
            self.constraints.append(("eq", self.norm2(vector) - 1))
            for other in self.domain.vectors:
                if other.endswith("@case") and other != name and other in self._vectors:
                    product = self.dot(vector, self._vectors[other])
                    self.constraints.append(("eq", product * (product - 1)))
        return vector

    def operator(self, name: str) -> Callable[[Coordinates], Coordinates]:
        if name not in self.domain.operators:
            raise _undeclared("operator", name, self.domain.operators)
        return self._operator(name, name, self.domain.operators[name])

    def semidefinite(self, used: set[int]) -> list[tuple[str, Scalar]]:
        """The leading and other principal minors of every operator that must be positive semidefinite.

        Only the block whose entries occur among the symbols ``used`` matters: outside it the operator can be zero.
        """
        minors: list[tuple[str, Scalar]] = []
        for operator in self.operators.values():
            if operator.kind != "psd":
                continue
            block = sorted(
                {i for pair, e in operator.entries.items() if self.field.index(e) in used for i in pair}
            )
            for size in range(2, len(block) + 1):
                for rows in itertools.combinations(block, size):
                    minors.append(("ge", _determinant([[operator.entry(i, j) for j in rows] for i in rows])))
            for i in block:
                operator.entry(i, i)
        return minors


def _determinant(matrix: list[list[Scalar]]) -> Scalar:
    if len(matrix) == 1:
        return matrix[0][0]
    total = matrix[0][0].field.zero
    for j, entry in enumerate(matrix[0]):
        minor = [row[:j] + row[j + 1 :] for row in matrix[1:]]
        total = total + entry * _determinant(minor) * (-1) ** j
    return total


def _sign(kind: str) -> Sign:
    signs: dict[str, Sign] = {
        "positive": "positive",
        "nonzero": "nonzero",
        "nonnegative": "nonnegative",
        "unit": "nonnegative",
    }
    return signs.get(kind, "any")


def _undeclared(what: str, name: str, known: Iterable[str]) -> ValueError:
    names = ", ".join(known) or "none"
    return ValueError(
        f"the claim uses the free {what} {name!r}, which its LayerDomain does not declare (declared: {names}); "
        f"add it to LayerDomain({what}s=...)"
    )


def rational_basis(m: int, room: int | None = None) -> list[list[int]]:
    """The first ``room`` vectors of an orthogonal basis of R^m, in integers.

    First 1, then a vector whose squared norm is m times a square, if there is one.

    For m = 3 there is none, and sigma of a rational batch with eps = 0 can be irrational there.
    """
    ones, second = [1] * m, [0] * m
    if m % 2 == 0:
        second = [1] * (m // 2) + [-1] * (m // 2)
    elif m == 3:
        second = [1, -1, 0]
    else:
        pairs = min((m - 1) // 2, 4)
        for scale in range(1, 8):
            target = 2 * m * scale**2
            found = next(
                (
                    c
                    for c in itertools.combinations_with_replacement(range(math.isqrt(target), -1, -1), pairs)
                    if sum(x * x for x in c) == target
                ),
                None,
            )
            if found:
                for i, x in enumerate(found):
                    second[2 * i], second[2 * i + 1] = x, -x
                break
        else:  # never met: two squares or more always reach one of these targets
            second[0], second[1] = 1, -1
    basis = [ones, second]
    for k in range(m):
        candidate = [Fraction(int(i == k)) for i in range(m)]
        for b in basis:
            along = Fraction(sum(x * y for x, y in zip(candidate, b, strict=True))) / sum(x * x for x in b)
            candidate = [x - along * y for x, y in zip(candidate, b, strict=True)]
        if any(candidate) and len(basis) < (room or m):
            scale = math.lcm(*(x.denominator for x in candidate))
            whole = [int(x * scale) for x in candidate]
            shrink = math.gcd(*whole)
            basis.append([x // shrink for x in whole])
    return basis
