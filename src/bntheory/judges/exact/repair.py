"""Making equality hypotheses true exactly.

A candidate meets ``<y_hat, g> = 0`` up to rounding only. Most equalities are affine, or quadratic, in some block of the layer (g, gamma,
a free vector, H), so one exact Newton step in that block, done in radicals, lands on the solution; where that is
rational, the layer with the step taken meets the hypothesis exactly. Where sigma itself must be rational, eps or the batch is
moved first so that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations_with_replacement
from math import isqrt

from bntheory.claims.claim import Claim
from bntheory.judges.exact.certificate import negated_equalities, statements
from bntheory.judges.exact.radicals import Radical
from bntheory.judges.exact.shrink import Path, entries, put
from bntheory.judges.exact.witness import Instance
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement

__all__ = ["has_equality_hypotheses", "rational_sigma", "repair"]


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


def _residual(claim: Claim, domain: LayerDomain, x: Instance) -> list[Radical]:
    layer = make_layer(domain.normaliser, **x.arrays(Radical))
    assumption, statement = statements(claim, layer)
    found: list[Radical] = []
    for relation in (*_hypotheses(assumption, True), *_hypotheses(statement, False)):
        difference = relation.left - relation.right
        found += [Radical(v) for v in (difference.ravel() if hasattr(difference, "ravel") else [difference])]
    return found


def has_equality_hypotheses(claim: Claim, domain: LayerDomain, x: Instance) -> bool:
    """Whether the claim needs an equality to hold before it says anything."""
    try:
        return bool(_residual(claim, domain, x))
    except ArithmeticError:
        return True


def repair(claim: Claim, domain: LayerDomain, x: Instance) -> Instance | None:
    """A layer near x that meets every equality hypothesis exactly, or None where no single block of x gives one."""
    for start in (x, *rational_sigma(domain, x)):
        try:
            residual = _residual(claim, domain, start)
            if not any(residual):
                return start
        except ArithmeticError:  # an equality between numbers that are undefined, or not known
            continue
        for block in _blocks(start):
            try:
                solved = _newton(claim, domain, start, block, residual)
            except (ArithmeticError, ValueError):
                continue
            if solved is not None:
                return solved
    return None


def _blocks(x: Instance) -> Iterator[list[Path]]:
    paths = [path for path, _ in entries(x)]
    for path in paths:
        if path[0] in ("gamma", "scalars"):
            yield [path]
    for names in [
        ("grad",),
        *[("vectors", k) for k in x.vectors],
        ("hess",),
        *[("operators", k) for k in x.operators],
    ]:
        block = [path for path in paths if path[: len(names)] == names]
        if block:
            yield block
    yield [("eps",)]
    yield [("beta",)]
    yield [path for path in paths if path[0] == "y"]


def _newton(
    claim: Claim, domain: LayerDomain, x: Instance, block: list[Path], residual: list[Radical]
) -> Instance | None:
    values = dict(entries(x))
    columns = []
    for path in block:
        moved = _residual(claim, domain, put(x, path, values[path] + 1))
        columns.append([b - a for a, b in zip(residual, moved, strict=True)])
    if len(block) == 1 and len(residual) == 1:
        return _quadratic(claim, domain, x, block[0], values[block[0]], residual[0], columns[0][0])
    step = _solve(columns, residual)
    if step is None:
        return None
    for path, delta in zip(block, step, strict=True):
        if delta:
            x = put(x, path, values[path] + delta)
    return x if not any(_residual(claim, domain, x)) else None


def _quadratic(
    claim: Claim, domain: LayerDomain, x: Instance, path: Path, value: Fraction, at_0: Radical, rise: Radical
) -> Instance | None:
    """Solve r(value + t) = at_0 + b t + c t^2 = 0 for a rational t."""
    at_2 = _residual(claim, domain, put(x, path, value + 2))[0]
    c = (at_2 - at_0 - 2 * rise) / 2
    b = rise - c
    if not c:
        roots = [-at_0 / b] if b else []
    else:
        root = (b * b - 4 * at_0 * c).sqrt()
        roots = [(-b + root) / (2 * c), (-b - root) / (2 * c)]
    for t in roots:
        if t.is_rational:
            solved = put(x, path, value + t.as_fraction())
            if not any(_residual(claim, domain, solved)):
                return solved
    return None


def _solve(columns: list[list[Radical]], residual: list[Radical]) -> list[Fraction] | None:
    """A basic rational solution of J t = -residual, by exact elimination; None where there is none."""
    n = len(columns)
    rows = [[columns[j][i] for j in range(n)] + [-r] for i, r in enumerate(residual)]
    pivots: list[int] = []
    for j in range(n):
        k = len(pivots)
        pivot = next((i for i in range(k, len(rows)) if rows[i][j]), None)
        if pivot is None:
            continue
        rows[k], rows[pivot] = rows[pivot], rows[k]
        inverse = rows[k][j].inverse()
        rows[k] = [v * inverse for v in rows[k]]
        for i in range(len(rows)):
            if i != k and rows[i][j]:
                factor = rows[i][j]
                rows[i] = [v - factor * w for v, w in zip(rows[i], rows[k], strict=True)]
        pivots.append(j)
        if len(pivots) == len(rows):
            break
    if any(row[n] for row in rows[len(pivots) :]):
        return None
    step = [Fraction(0)] * n
    for k, j in enumerate(pivots):
        if not rows[k][n].is_rational:
            return None
        step[j] = rows[k][n].as_fraction()
    return step


def rational_sigma(domain: LayerDomain, x: Instance) -> Iterator[Instance]:
    """Layers near x whose var + eps is the square of a rational: by another eps, and by another batch."""
    mean = sum(x.y, Fraction(0)) / x.m
    variance = sum(((v - mean) ** 2 for v in x.y), Fraction(0)) / x.m
    if domain.eps != "zero":
        sigma = Fraction(isqrt(int((variance + x.eps) * 10**4)) + 1, 100)
        if sigma**2 > variance:
            yield replace(x, eps=sigma**2 - variance)
    corner = _corner(x.m)
    if corner is None:
        return
    base, unit = corner
    scale = Fraction(max(1, isqrt(int(variance * 100))), 10)
    centred = [v - mean for v in x.y]
    size = sum(c * c for c in centred)
    if not size:
        return
    target = [Fraction(c) * isqrt(int(sum(b * b for b in base) * 10**8 / size)) / 10**4 for c in centred]
    w = [Fraction(b - round(t * 20) / Fraction(20)) for b, t in zip(base, target, strict=True)]
    middle = sum(w, Fraction(0)) / x.m
    w = [v - middle for v in w]
    length = sum(v * v for v in w)
    along = sum(v * b for v, b in zip(w, base, strict=True))
    turned = (
        [b - 2 * along / length * v for v, b in zip(w, base, strict=True)]
        if length
        else list(map(Fraction, base))
    )
    y = tuple(round(mean) + scale * t / unit for t in turned)
    yield replace(x, y=y, eps=Fraction(0) if domain.eps != "positive" else x.eps)


_CORNERS: dict[int, tuple[tuple[int, ...], int] | None] = {}


def _corner(m: int) -> tuple[tuple[int, ...], int] | None:
    """Integers with sum zero whose mean square is the square of an integer; None where small ones do not exist (m = 3)."""
    if m not in _CORNERS:
        _CORNERS[m] = None
        if m % 2 == 0:
            _CORNERS[m] = ((1,) * (m // 2) + (-1,) * (m // 2), 1)
        elif m <= 9:
            for c in combinations_with_replacement(range(-4, 5), m):
                square = sum(v * v for v in c)
                root = isqrt(square // m)
                if square and sum(c) == 0 and root * root * m == square:
                    _CORNERS[m] = (c, root)
                    break
    return _CORNERS[m]
