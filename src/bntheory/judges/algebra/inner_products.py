"""What holds in every inner-product space: the claim over vectors of which nothing is known but their inner products.

The vectors that a claim multiplies are combinations with rational coefficients of a few: ``y``, ``grad``, ``hess(u)``, ``mu*one``, whatever they
are. Their table of inner products is symmetric and positive semidefinite, and so is that of <u, K v> for an operator K (semidefinite where K is);
nothing else is used, so a negation without solution is a proof, and a solution means nothing. The inequalities of Cauchy-Schwarz and the
triangle are decided here at once, for vectors of any length and in any semidefinite form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.encode import Formula, both, either, formula_symbols, root_equation, where
from bntheory.judges.algebra.field import SIGNS, Field, Scalar
from bntheory.judges.algebra.squares import without_roots
from bntheory.judges.algebra.vectors import determinant
from bntheory.layer.constants import exact
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import AllOf, Relation, Statement
from bntheory.layer.three_valued import false_where, map_atoms, true_where
from bntheory.layer.view import state
from bntheory.layer.words import WORDS

_MOST_VECTORS = 6
_SEMIDEFINITE = ("psd", "psd-diagonal", "identity", "zero")


class _Vector:
    """A combination of named vectors with rational coefficients."""

    __slots__ = ("conditions", "parts", "space")

    def __init__(self, space: _Space, parts: Mapping[str, Fraction], conditions: frozenset[int]) -> None:
        self.space, self.conditions = space, conditions
        self.parts = {name: c for name, c in parts.items() if c}

    def _plus(self, other: _Vector, sign: int) -> _Vector:
        names = {*self.parts, *other.parts}
        parts = {n: self.parts.get(n, Fraction(0)) + sign * other.parts.get(n, Fraction(0)) for n in names}
        return _Vector(self.space, parts, self.conditions | other.conditions)

    def __add__(self, other: _Vector) -> _Vector:
        return self._plus(other, 1)

    def __sub__(self, other: _Vector) -> _Vector:
        return self._plus(other, -1)

    def __neg__(self) -> _Vector:
        return self * -1

    def __mul__(self, x: Any) -> _Vector:
        if not isinstance(x, Scalar):
            c = exact(x)
            return _Vector(self.space, {n: c * v for n, v in self.parts.items()}, self.conditions)
        parts = {f"({x!r})*{name}": c for name, c in self.parts.items()}  # another vector altogether
        return _Vector(self.space, parts, self.conditions | x.conditions)

    __rmul__ = __mul__

    def __truediv__(self, x: Any) -> _Vector:
        return self * (self.space.field.one / x if isinstance(x, Scalar) else 1 / exact(x))

    def norm2(self) -> Scalar:
        return self.space.dot(self, self)


class _Space:
    """The layer of a claim, where a vector is its name and an operator is linear."""

    def __init__(self, domain: LayerDomain) -> None:
        self.domain, self.field = domain, Field()
        self._scalars: dict[str, Scalar] = {}
        self.basis: list[_Vector] = []
        self.seen: list[_Vector] = []
        self.table: dict[tuple[int, int], Scalar] = {}
        self.arguments: dict[str, list[_Vector]] = {}  # of every operator
        signs = {"m": "positive", "sigma": "positive", "var": "nonnegative", "jac_norm": "nonnegative"}
        signs |= {
            "gamma": SIGNS.get(domain.gamma, "any"),
            "eps": "positive" if domain.eps == "positive" else "nonnegative",
        }
        self._signs: dict[str, Any] = signs

    def __getattr__(self, name: str) -> Any:
        word = WORDS.get(name)
        if word is None or word.helper:
            raise AttributeError(name)
        if word.takes is None:
            return self._named(name) if word.kind == "vector" else self._scalar(name, self._signs.get(name, "any"))
        return self._applied(name)

    def _named(self, name: str) -> _Vector:
        return _Vector(self, {name: Fraction(1)}, frozenset())

    def _scalar(self, name: str, sign: Any) -> Scalar:
        if name not in self._scalars:
            self._scalars[name] = self.field.symbol(name, sign)
        return self._scalars[name]

    def _applied(self, name: str) -> Callable[[_Vector], _Vector]:
        def apply(v: _Vector) -> _Vector:
            seen = self.arguments.setdefault(name, [])
            if all(v.parts != u.parts for u in seen):
                seen.append(v)
            return self._image(name, v)

        return apply

    def _image(self, name: str, v: _Vector) -> _Vector:
        return _Vector(self, {f"{name}({n})": c for n, c in v.parts.items()}, v.conditions)

    def forms(self) -> Iterator[tuple[bool, list[list[Scalar]]]]:
        """(whether it is semidefinite, <u, K v>) of every symmetric operator K, for the vectors that were multiplied as well as their images."""
        kinds = {"hess": self.domain.hessian}
        kinds |= {f"free {name!r}": kind for name, kind in self.domain.operators.items()}
        for name, arguments in self.arguments.items():
            if name == "jac" and self.domain.normaliser in ("l1", "linf"):
                continue
            pairs = [(v, self._image(name, v)) for v in arguments]
            pairs = [both for both in pairs if not any(self._resolved(x)[0] for x in both)]
            form = [[self.dot(u, image) for _, image in pairs] for u, _ in pairs]
            yield kinds.get(name) in _SEMIDEFINITE, form
            bound = self.domain.smoothness_in(self.scalar) if name == "hess" else None
            if bound is not None:  # b I - H, b I + H and b^2 I - H H are semidefinite
                gram = [[self.dot(u, v) for v, _ in pairs] for u, _ in pairs]
                moved = [[self.dot(x, image) for _, image in pairs] for _, x in pairs]
                n = range(len(pairs))
                for c, sign, table in ((bound, -1, form), (bound, 1, form), (bound**2, -1, moved)):
                    yield True, [[gram[i][j] * c + table[i][j] * sign for j in n] for i in n]

    def scalar(self, name: str) -> Scalar:
        return self._scalar(f"free {name!r}", SIGNS.get(self.domain.scalars[name], "any"))

    def vector(self, name: str) -> _Vector:
        return self._named(f"free {name!r}")

    def operator(self, name: str) -> Callable[[_Vector], _Vector]:
        return self._applied(f"free {name!r}")

    def trace(self, operator: Any) -> Scalar:
        raise OutsideVocabulary("a trace is no inner product")

    def dot(self, u: _Vector, v: _Vector) -> Scalar:
        self.seen += [u, v]
        total = self.field.zero
        for (i, a), (j, b) in itertools.product(self._coordinates(u).items(), self._coordinates(v).items()):
            total = total + self.product(i, j) * (a * b)
        return total.under(u.conditions | v.conditions)

    def norm2(self, v: _Vector) -> Scalar:
        square = self.dot(v, v)
        self.field.promise_nonnegative(square)
        return square

    def product(self, i: int, j: int) -> Scalar:
        """<b_i, b_j>, a number of its own."""
        key = min(i, j), max(i, j)
        if key not in self.table:
            self.table[key] = self.field.symbol(f"b_{i}_{j}", "nonnegative" if i == j else "any")
        return self.table[key]

    def _coordinates(self, v: _Vector) -> dict[int, Fraction]:
        """v in the vectors that were multiplied so far, which it joins where it is none of their combinations."""
        rest, found = self._resolved(v)
        if not rest:
            return found
        if len(self.basis) >= _MOST_VECTORS:
            raise OutsideVocabulary(f"more than {_MOST_VECTORS} vectors")
        self.basis.append(v)
        return {len(self.basis) - 1: Fraction(1)}

    def _resolved(self, v: _Vector) -> tuple[bool, dict[int, Fraction]]:
        """Whether something of v is no combination of the vectors that were multiplied so far; what the rest is of them."""
        rest, found = dict(v.parts), dict[int, Fraction]()
        for pivot, row, combination in self._echelon():
            c = rest.get(pivot, Fraction(0))
            if c:
                for name, x in row.items():
                    rest[name] = rest.get(name, Fraction(0)) - c * x
                for i, x in combination.items():
                    found[i] = found.get(i, Fraction(0)) + c * x
        return any(rest.values()), {i: c for i, c in found.items() if c}

    def _echelon(self) -> list[tuple[str, dict[str, Fraction], dict[int, Fraction]]]:
        """(pivot, row with 1 at the pivot and 0 at the pivots before it, what it is of the basis)."""
        rows: list[tuple[str, dict[str, Fraction], dict[int, Fraction]]] = []
        for k, b in enumerate(self.basis):
            row, combination = dict(b.parts), {k: Fraction(1)}
            for pivot, other, parts in rows:
                c = row.get(pivot, Fraction(0))
                for name, x in other.items():
                    row[name] = row.get(name, Fraction(0)) - c * x
                for i, x in parts.items():
                    combination[i] = combination.get(i, Fraction(0)) - c * x
            pivot = next(name for name, x in sorted(row.items()) if x)
            scale = row[pivot]
            rows.append(
                (pivot, {n: x / scale for n, x in row.items() if x}, {i: x / scale for i, x in combination.items()})
            )
        return rows


def negation_over_inner_products(
    check: Callable[[Any], Any], assume: Callable[[Any], Any] | None, domain: LayerDomain
) -> tuple[Field, list[Formula]]:
    """Formulas without solution only if the claim is false nowhere. OutsideVocabulary where it is no matter of inner products."""
    scout, space = _Space(domain), _Space(domain)
    for function in filter(None, (check, assume)):
        state(function, scout, domain)
    parts = dict.fromkeys(name for v in scout.seen for name in v.parts)
    cases_seen = [_Vector(space, {name: Fraction(1)}, frozenset()) for name in parts if _is_case(name, Fraction(1))]
    for v in sorted([*scout.seen, *cases_seen], key=lambda v: len(v.parts)):  # the simplest are the basis
        if v.parts:
            space._coordinates(_Vector(space, v.parts, frozenset()))
    field = space.field

    def over_scalars(relation: Relation) -> Statement:
        left, right = relation.left, relation.right
        if isinstance(left, _Vector) or isinstance(right, _Vector):
            gap = left - right if isinstance(left, _Vector) and isinstance(right, _Vector) else None
            vector = gap if gap is not None else left if isinstance(left, _Vector) else right
            return Relation("eq", vector.norm2(), field.zero, relation.label)  # they are equal where it vanishes
        one, other = (x if isinstance(x, Scalar) else field.constant(x) for x in (left, right))
        return Relation(relation.op, one, other, relation.label)

    claim = map_atoms(state(check, space, domain), over_scalars)
    assumptions: Statement = AllOf(()) if assume is None else map_atoms(state(assume, space, domain), over_scalars)
    formulas = [
        false_where(claim, lambda a: where(field, a, "false"), both, either),
        true_where(assumptions, lambda a: where(field, a, "true"), both, either),
        ("ge", (space.m - domain.min_m).num),
    ]
    for semidefinite, form in space.forms():
        pairs = list(itertools.combinations(range(len(form)), 2))
        formulas += [("eq", field.cleared(form[i][j] - form[j][i])) for i, j in pairs]
        formulas += _minors(field, form, (1, 2)) if semidefinite else []
    n = range(len(space.basis))
    one_of = [[*b.parts.items()] for b in space.basis]
    cases = [i for i in n if len(one_of[i]) == 1 and _is_case(*one_of[i][0])]
    for i, j in itertools.combinations_with_replacement(cases, 2):  # one example is another one or not
        same = space.product(i, j)
        formulas.append(("eq", field.cleared(same - 1 if i == j else same * (same - 1))))
    formulas += _minors(field, [[space.product(i, j) for j in n] for i in n], (2, 3))
    formulas = [without_roots(field, f) for f in formulas]
    used: set[int] = set().union(*map(formula_symbols, formulas))
    for i in sorted(field.roots, reverse=True):  # later roots may hold earlier ones
        if i in used and i not in field.partial:
            formulas.append(root_equation(field, i))
            used |= formula_symbols(formulas[-1])
    signs = {"positive": "gt", "nonnegative": "ge", "nonzero": "ne"}
    generators = field.context.gens()
    kinds = [(field.signs[i], i) for i in sorted(used) if field.signs[i] != "any"]
    return field, formulas + [(signs[kind], generators[i]) for kind, i in kinds]


def _is_case(name: str, factor: Fraction) -> bool:
    """Whether a part of a vector is one example's basis vector itself."""
    return factor == 1 and name.startswith("free '") and name.endswith("@case'")


def _minors(field: Field, matrix: list[list[Scalar]], sizes: Iterable[int]) -> list[Formula]:
    """What is not negative in a positive semidefinite matrix."""
    return [
        ("ge", field.cleared(determinant([[matrix[i][j] for j in rows] for i in rows])))
        for size in sizes
        for rows in itertools.combinations(range(len(matrix)), size)
    ]
