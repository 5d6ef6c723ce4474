"""Making equality hypotheses true exactly.

A candidate meets ``<y_hat, g> = 0`` up to rounding only. Most equalities are affine in some block of the layer (g, gamma, a free
vector, H), so one exact Newton step in that block, done in radicals, lands on the solution; where that is rational, the layer with
the step taken meets the hypothesis exactly. An equality that is quadratic in a block, ``|u|^2 = 1``, is met at a rational point of
that quadric near the candidate. Where sigma itself must be rational, eps or the batch is moved first so that it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement
from math import isqrt

from flint import fmpq, fmpq_mat

from bntheory.claims.claim import Claim
from bntheory.judges.exact.certificate import hypotheses, negated_equalities
from bntheory.judges.exact.quadrics import Point, Quadric
from bntheory.judges.exact.radicals import Radical, coefficients
from bntheory.judges.exact.shrink import Path, entries, put
from bntheory.judges.exact.witness import Instance
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.rational import axpy, centred, dot, mean, variance
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement
from bntheory.layer.view import state

_LARGEST_QUADRIC = 8  # numbers in a block; n^2/2 evaluations tell its quadric


def _hypotheses(statement: Statement, assumed: bool) -> Iterator[Relation]:
    """The equalities that a counterexample has to meet: those assumed, and those an implication starts from."""
    if isinstance(statement, Relation):
        if assumed and statement.op == "eq":
            yield statement
    elif isinstance(statement, AllOf):
        for part in statement.parts:
            yield from _hypotheses(part, assumed)
    elif isinstance(statement, AnyOf) and not assumed:
        yield from negated_equalities(statement)[0]


class _Equalities:
    """What is left, at a layer, of the equalities that a counterexample has to meet: zero where all of them hold.

    The claim itself is evaluated at the first layer, and at others only if it states some, as an implication does.
    """

    def __init__(self, claim: Claim, domain: LayerDomain) -> None:
        self._claim, self._domain, self._states_some = claim, domain, True

    def __call__(self, x: Instance) -> list[Radical]:
        layer = make_layer(self._domain.normaliser, **x.arrays(Radical))
        relations = list(_hypotheses(hypotheses(self._claim, layer), True))
        if self._states_some:
            own = list(_hypotheses(state(self._claim.check, layer, self._claim.domain), False))
            self._states_some = bool(own)
            relations += own
        found: list[Radical] = []
        for relation in relations:
            difference = relation.left - relation.right
            found += [Radical(v) for v in (difference.ravel() if hasattr(difference, "ravel") else [difference])]
        return found


def has_equality_hypotheses(claim: Claim, domain: LayerDomain, x: Instance) -> bool:
    """Whether the claim needs an equality to hold before it says anything."""
    try:
        return bool(_Equalities(claim, domain)(x))
    except ArithmeticError:
        return True


def repair(claim: Claim, domain: LayerDomain, x: Instance) -> Instance | None:
    """A layer near x that meets every equality hypothesis exactly, or None where solving them block by block gives none."""
    left = _Equalities(claim, domain)
    for start in (x, *rational_sigma(domain, x)):
        with suppress(ArithmeticError, ValueError):  # an equality between numbers that are undefined, or not known
            solved = _solved(left, start)
            if solved is not None:
                return solved
    return None


def _solved(left: _Equalities, x: Instance) -> Instance | None:
    """All equalities that a block has a part in, block after block, as long as one is unmet."""
    blocks = list(_blocks(x))
    residual = left(x)
    while any(residual) and blocks:
        block = blocks.pop(0)
        with suppress(ArithmeticError, ValueError):
            closer = _in_block(left, x, block, residual)
            if closer is not None:
                x, residual = closer, left(closer)
    return None if any(residual) else x


def _blocks(x: Instance) -> Iterator[list[Path]]:
    paths = [path for path, _ in entries(x)]
    for path in paths:
        if path[0] in ("gamma", "scalars"):
            yield [path]
    for names in [("grad",), *[("vectors", k) for k in x.vectors], ("hess",), *[("operators", k) for k in x.operators]]:
        block = [path for path in paths if path[: len(names)] == names]
        if block:
            yield block
    yield [("eps",)]
    yield [("beta",)]
    yield [path for path in paths if path[0] == "y"]


def _in_block(left: _Equalities, x: Instance, block: list[Path], residual: list[Radical]) -> Instance | None:
    """x with the block changed so that every equality in which it has a part holds; None where it has none unmet, or cannot."""
    values = dict(entries(x))

    def moved(step: Sequence[Fraction]) -> Instance:
        there = x
        for path, delta in zip(block, step, strict=True):
            if delta:
                there = put(there, path, values[path] + delta)
        return there

    def differences(i: int) -> list[Radical]:
        there = left(moved([Fraction(i == j) for j in range(len(block))]))
        return [b - a for a, b in zip(residual, there, strict=True)]

    columns = [differences(i) for i in range(len(block))]
    rows = [k for k in range(len(residual)) if any(column[k] for column in columns)]
    if not any(residual[k] for k in rows):
        return None

    def met(step: Sequence[Fraction] | None) -> Instance | None:
        if step is None:
            return None
        there = moved(step)
        unmet = left(there)
        return None if any(unmet[k] for k in rows) else there

    found = met(_solve([[column[k] for k in rows] for column in columns], [residual[k] for k in rows]))
    if found is not None or len(block) > _LARGEST_QUADRIC:
        return found
    here = [values[path] for path in block]

    def step_to(point: Sequence[Fraction]) -> list[Fraction]:
        return [there - at for there, at in zip(point, here, strict=True)]

    @cache  # one evaluation has all equalities at a point
    def at(point: Point) -> list[Radical]:
        return left(moved(step_to(point)))

    point = _on_quadric(at, here, rows)
    return None if point is None else met(step_to(point))


def _on_quadric(
    residual: Callable[[Point], list[Radical]], here: list[Fraction], rows: list[int]
) -> list[Fraction] | None:
    """One equality that is quadratic in the block, the others affine: a point of the quadric within the plane that they leave."""
    n, quadrics = len(here), []
    corners = [residual((Fraction(0),) * n), *(residual(tuple(Fraction(i == j) for j in range(n))) for i in range(n))]
    for k in rows:
        sized = next((values[k] for values in corners if values[k]), None)
        if sized is None:  # it vanishes at the origin and at every unit vector: its size is not known
            return None
        unit = sized.inverse()  # sqrt(2) q = 0 is q = 0

        def value(point: Sequence[Fraction], k: int = k, unit: Radical = unit) -> Fraction:
            return (residual(tuple(point))[k] * unit).as_fraction()

        quadric = Quadric.through(value, n)
        if quadric is None:
            return None
        quadrics.append(quadric)
    flat = [q for q in quadrics if not any(q.square)]
    curved = [q for q in quadrics if any(q.square)]
    plane = _plane([list(q.linear) for q in flat], [-q.constant for q in flat], n)
    if len(curved) != 1 or plane is None:
        return None
    origin, directions = plane

    def placed(t: Sequence[Fraction]) -> list[Fraction]:
        parts = [[a * v for v in d] for a, d in zip(t, directions, strict=True)]
        return [sum(column, Fraction(0)) for column in zip(origin, *parts, strict=True)]

    within = Quadric.through(lambda t: curved[0](placed(t)), len(directions)) if directions else None
    if within is None:
        return None
    # the entries at which the directions are 1 and all others 0: where the candidate lies along them
    free = [next(i for i in range(n) if all(d[i] == (d is own) for d in directions)) for own in directions]
    point = within.near(tuple(here[i] - origin[i] for i in free))
    return None if point is None else placed(point)


def _plane(
    rows: list[list[Fraction]], right: list[Fraction], n: int
) -> tuple[list[Fraction], list[list[Fraction]]] | None:
    """A solution of the equations, and the directions in which it may move, each with an entry 1 of its own; None without any."""
    flat = [fmpq(v.numerator, v.denominator) for row, r in zip(rows, right, strict=True) for v in (*row, r)]
    reduced, rank = fmpq_mat(len(rows), n + 1, flat).rref()
    table = [[Fraction(int(reduced[i, j].p), int(reduced[i, j].q)) for j in range(n + 1)] for i in range(rank)]
    pivots = [next(j for j, v in enumerate(row) if v) for row in table]
    if n in pivots:
        return None
    origin = [Fraction(0)] * n
    for row, j in zip(table, pivots, strict=True):
        origin[j] = row[n]
    directions = []
    for free in (j for j in range(n) if j not in pivots):
        direction = [Fraction(j == free) for j in range(n)]
        for row, j in zip(table, pivots, strict=True):
            direction[j] = -row[free]
        directions.append(direction)
    return origin, directions


def _solve(columns: list[list[Radical]], residual: list[Radical]) -> list[Fraction] | None:
    """A basic rational solution t of J t = -residual; None where there is none. For rational t every square root is an equation of its own."""
    n = len(columns)
    equations: list[list[Fraction]] = []
    for i, r in enumerate(residual):
        equations += coefficients([*(column[i] for column in columns), -r])
    found = _plane([e[:n] for e in equations], [e[n] for e in equations], n)
    return None if found is None else found[0]


def rational_sigma(domain: LayerDomain, x: Instance) -> Iterator[Instance]:
    """Layers near x whose var + eps is the square of a rational: by another eps, and by another batch."""
    middle, spread = mean(x.y), variance(x.y)
    if domain.eps != "zero":
        sigma = Fraction(isqrt(int(max(spread + x.eps, Fraction(0)) * 10**4)) + 1, 100)
        if sigma**2 > spread:
            yield replace(x, eps=sigma**2 - spread)
    corner = _corner(x.m)
    if corner is None:
        return
    base, unit = corner
    scale = Fraction(max(1, isqrt(int(spread * 100))), 10)
    size = spread * x.m
    if not size:
        return
    target = [c * isqrt(int(sum(b * b for b in base) * 10**8 / size)) / 10**4 for c in centred(x.y)]
    w = centred([b - round(t * 20) / Fraction(20) for b, t in zip(base, target, strict=True)])
    length = dot(w, w)
    turned = axpy(-2 * dot(w, base) / length, w, base) if length else list(base)
    y = tuple(round(middle) + scale * t / unit for t in turned)
    yield replace(x, y=y, eps=Fraction(0) if domain.eps != "positive" else x.eps)


@cache
def _corner(m: int) -> tuple[tuple[Fraction, ...], int] | None:
    """Integers with sum zero whose mean square is the square of an integer; None where small ones do not exist (m = 3)."""
    if m % 2 == 0:
        return (Fraction(1),) * (m // 2) + (Fraction(-1),) * (m // 2), 1
    for c in combinations_with_replacement(range(-4, 5), m) if m <= 9 else ():
        square = sum(v * v for v in c)
        root = isqrt(square // m)
        if square and sum(c) == 0 and root * root * m == square:
            return tuple(map(Fraction, c)), root
    return None
