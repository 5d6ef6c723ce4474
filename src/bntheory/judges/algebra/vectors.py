"""Vectors and operators of a frame, by their coefficients in its basis."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from bntheory.errors import Signal
from bntheory.judges.algebra.field import Field, Scalar, Sign
from bntheory.layer.domain import LayerDomain


class Basis(Protocol):
    """What vectors and normalisers know of the frame (:class:`bntheory.judges.algebra.frame.Frame`) in which they live."""

    domain: LayerDomain
    m_value: int | None
    with_outside: bool
    standard: bool
    rational_batch: bool
    field: Field
    m: Scalar
    norms: list[Scalar]
    cases: dict[str, Coordinates]
    correction: Scalar

    @property
    def one(self) -> Coordinates: ...
    def unit(self, i: int) -> Coordinates: ...
    def zero_vector(self) -> Coordinates: ...
    def named(self, key: str, name: str) -> Coordinates: ...
    def new_direction(self, label: str) -> int | None: ...
    def dot(self, u: Coordinates, v: Coordinates) -> Scalar: ...
    def norm2(self, v: Coordinates) -> Scalar: ...


class NeedsOutside(Signal):
    """The claim looks at the part of a product H v outside the span; evaluate again with it."""


class Coordinates:
    """A vector. ``outside`` says that a part of it, orthogonal to the whole basis, was left out.

    It is defined where all its ``conditions`` hold, those of coefficients that cancelled among them.
    """

    __slots__ = ("conditions", "frame", "outside", "parts")
    __array_ufunc__ = None

    def __init__(
        self, frame: Basis, parts: dict[int, Scalar], outside: bool = False, conditions: frozenset[int] = frozenset()
    ) -> None:
        self.frame = frame
        self.parts = {i: c for i, c in parts.items() if not c.num.is_zero()}
        self.outside = outside
        self.conditions = conditions.union(*(c.conditions for c in parts.values()))

    def __add__(self, other: Coordinates) -> Coordinates:
        parts = dict(self.parts)
        for i, c in other.parts.items():
            parts[i] = parts[i] + c if i in parts else c
        return Coordinates(self.frame, parts, self.outside or other.outside, self.conditions | other.conditions)

    def __neg__(self) -> Coordinates:
        return self.scaled(-1)

    def __sub__(self, other: Coordinates) -> Coordinates:
        return self + other.scaled(-1)

    def scaled(self, factor: Any) -> Coordinates:
        """The vector times a scalar."""
        conditions = self.conditions | getattr(factor, "conditions", frozenset())
        return Coordinates(self.frame, {i: c * factor for i, c in self.parts.items()}, self.outside, conditions)

    def norm2(self) -> Scalar:
        """The squared Euclidean norm."""
        return self.frame.norm2(self)

    def __mul__(self, factor: Any) -> Coordinates:
        return self.scaled(factor)

    __rmul__ = __mul__

    def __truediv__(self, factor: Any) -> Coordinates:
        return self.scaled(self.frame.field.one / factor)


class SymbolicOperator:
    """A symmetric operator by its entries <u_i, H u_j>/m, which are made when a product first needs them."""

    def __init__(self, frame: Basis, name: str, kind: str, bound: Scalar | None = None) -> None:
        self.frame, self.name, self.kind, self.bound = frame, name, kind, bound
        self.diagonal = kind in ("diagonal", "psd-diagonal")
        self.semidefinite = kind in ("psd", "psd-diagonal")
        self.entries: dict[tuple[int, int], Scalar] = {}
        self.expanded: dict[int, int] = {}  # direction -> how many directions hold its product
        self.factor = frame.field.symbol(name) if kind == "isotropic" else frame.field.one
        self.elsewhere: Scalar | None = None  # the trace of what lies outside a concrete basis
        self._trace: Scalar | None = None
        self._at_case: dict[str, Scalar] = {}

    def entry(self, i: int, j: int) -> Scalar:
        """<u_i, H u_j>/m."""
        i, j = min(i, j), max(i, j)
        zero = self.frame.field.zero
        if self.expanded.get(i, j + 1) <= j:
            return zero  # u_j came later than the span that holds H u_i
        if i != j and self.diagonal and self.frame.standard:
            return zero
        if (i, j) not in self.entries:
            sign: Sign = "nonnegative" if self.semidefinite and i == j else "any"
            self.entries[i, j] = self.frame.field.symbol(f"{self.name}_{i + 1}{j + 1}", sign, component=True)
        return self.entries[i, j]

    def __call__(self, v: Coordinates) -> Coordinates:
        frame = self.frame
        if self.kind == "zero":
            return Coordinates(frame, {}, False, v.conditions)
        if self.kind in ("identity", "isotropic"):
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
            result[i] = total * frame.m / frame.norms[i]
        leaves = frame.m_value is None and not frame.with_outside and bool(v.parts)
        return Coordinates(frame, result, leaves, v.conditions)

    def trace(self) -> Scalar:
        """The sum of the eigenvalues. For a symbolic batch size a number of its own: most directions are not in the basis."""
        if self._trace is None:
            self._trace = self._new_trace()
        return self._trace

    def _new_trace(self) -> Scalar:
        frame, field = self.frame, self.frame.field
        if self.kind == "zero":
            return field.zero
        if self.kind in ("identity", "isotropic"):
            return self.factor * frame.m
        if self.diagonal:
            return frame.dot(frame.one, self(frame.one))
        sign: Sign = "nonnegative" if self.semidefinite else "any"
        if frame.m_value is None:
            return field.symbol(f"tr {self.name}", sign)
        if len(frame.norms) < frame.m_value:
            self.elsewhere = field.symbol(f"tr {self.name}", sign)
        parts = [self.entry(i, i) * frame.m / norm for i, norm in enumerate(frame.norms)]
        return sum(parts, field.zero if self.elsewhere is None else self.elsewhere)

    def minors(self, used: set[int]) -> list[Scalar]:
        """What is >= 0 exactly if the operator can be positive semidefinite, or within its bound: principal minors, and, where the
        trace is a number of its own, what it leaves for the other directions.

        Only the block whose entries occur among the symbols ``used`` matters: elsewhere the operator can be zero.
        """
        frame, field = self.frame, self.frame.field
        block = sorted({i for pair, e in self.entries.items() if field.index(e) in used for i in pair})
        sizes = (1,) if self.diagonal and frame.standard else range(1, len(block) + 1)
        chosen = [rows for size in sizes for rows in itertools.combinations(block, size)]
        found: list[Scalar] = []
        if self.semidefinite:
            found = [determinant([[self.entry(i, j) for j in rows] for i in rows]) for rows in chosen if len(rows) > 1]
        if self.bound is not None:
            found += [
                determinant([[self._below_bound(i, j, sign) for j in rows] for i in rows])
                for sign in ((1,) if self.semidefinite else (1, -1))
                for rows in chosen
            ]
        return found + self._about_the_trace(block)

    def equations(self, used: set[int]) -> list[Scalar]:
        """What is zero: a diagonal operator has every example's basis vector e for an eigenvector, H e = h e, and h = <e, H e>.

        Every component of it that holds an entry among the symbols ``used``; in a standard frame the entries are diagonal already.
        """
        if not self.diagonal or self.frame.standard:
            return []
        found = []
        for name, e in self.frame.cases.items():
            if name not in self._at_case:
                self._at_case[name] = self.frame.field.symbol(f"{self.name} at {name}")
            gap = self(e) - e.scaled(self._at_case[name])
            found += [x for x in gap.parts.values() if Field.variables(x.num) & used]
        return found

    def _below_bound(self, i: int, j: int, sign: int) -> Scalar:
        """An entry of bound I - sign H, scaled as the entries are."""
        entry = self.entry(i, j) * -sign
        return entry + self.bound * self.frame.norms[i] / self.frame.m if i == j else entry

    def _about_the_trace(self, block: list[int]) -> list[Scalar]:
        if self._trace is None or (self.diagonal and self.frame.standard):
            return []
        frame, found = self.frame, []
        rest, room = (self._trace, frame.m) if self.elsewhere is None else (self.elsewhere, frame.m - len(frame.norms))
        if (
            frame.m_value is None
        ):  # the first min_m directions are there in every batch, a later one where m is large enough
            there = [i for i in block if i < frame.domain.min_m]
            rest, room = rest - sum((self.entry(i, i) for i in there), frame.field.zero), room - len(there)
        if self.bound is not None and (self.elsewhere is not None or frame.m_value is None):
            found += [self.bound * room - rest, *([] if self.semidefinite else [self.bound * room + rest])]
        if self.semidefinite and frame.m_value is None and block:
            found.append(self._trace - sum((self.entry(i, i) for i in block[1:]), self.entry(block[0], block[0])))
        return found


def determinant(matrix: list[list[Scalar]]) -> Scalar:
    """By expansion along the first row, each minor of the rows below once."""
    size = len(matrix)
    minors: dict[tuple[int, ...], Scalar] = {(j,): matrix[-1][j] for j in range(size)}
    for row in reversed(matrix[:-1]):
        found = {}
        for columns in itertools.combinations(range(size), len(next(iter(minors))) + 1):
            total = row[0].field.zero
            for at, j in enumerate(columns):
                total = total + row[j] * minors[columns[:at] + columns[at + 1 :]] * (-1) ** at
            found[columns] = total
        minors = found
    return minors[tuple(range(size))]
