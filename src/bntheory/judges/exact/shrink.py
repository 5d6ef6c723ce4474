"""From a floating-point candidate to the smallest layer in short rationals that still refutes.

First the candidate is rounded to grids, coarse to fine, until the certificate accepts one. Then delta debugging: drop batch
entries, empty blocks, replace numbers by 0, 1, -1 or nearby simpler ones, and keep whatever is smaller and still
certified. The order is batch size, then non-zero entries, then digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from time import process_time
from typing import Any

from bntheory.judges.exact.certificate import Certificate
from bntheory.judges.exact.witness import Instance

_GRIDS = (1, 2, 4, 12, 60, 1000, 10**5, 10**8, 10**12)
Accept = Callable[[Instance], tuple[Instance, Certificate] | None]
Rounding = Callable[[Fraction], Fraction]


def map_numbers(x: Instance, change: Callable[[Fraction], Fraction], only: frozenset[str] | None = None) -> Instance:
    """The layer with every number (or those of the named blocks) changed; basis vectors ``@case`` are left alone."""

    def use(name: str, value: Any) -> Any:
        if value is None or name.endswith("@case") or (only is not None and name not in only):
            return value
        return _map(value, change)

    return Instance(
        y=use("y", x.y),
        grad=use("grad", x.grad),
        hess=use("hess", x.hess),
        gamma=use("gamma", x.gamma),
        beta=use("beta", x.beta),
        eps=use("eps", x.eps),
        scalars={k: use(k, v) for k, v in x.scalars.items()},
        vectors={k: use(k, v) for k, v in x.vectors.items()},
        operators={k: use(k, v) for k, v in x.operators.items()},
    )


def _map(value: Any, change: Callable[[Fraction], Fraction]) -> Any:
    return change(value) if isinstance(value, Fraction) else tuple(_map(v, change) for v in value)


def _grid(q: int) -> Callable[[Fraction], Fraction]:
    return lambda v: Fraction(round(v * q), q)


def _significant(digits: int) -> Callable[[Fraction], Fraction]:
    """Round to so many decimal digits, whatever the size: for candidates of 1e-150 or 1e150."""

    def change(v: Fraction) -> Fraction:
        if not v:
            return v
        exponent = len(str(abs(v.numerator))) - len(str(v.denominator))
        unit = Fraction(10) ** (exponent - digits)
        return round(v / unit) * unit

    return change


def roundings(build: Callable[[Rounding], Instance]) -> Iterator[Instance]:
    """The candidate in rationals: as it is, then on grids from coarse to fine; nothing is given twice.

    ``build`` makes the layer with every parameter passed through a rounding, so that a factor A is rounded and not A A'.
    """
    exact = build(lambda v: v)
    seen = {exact.describe()}
    for change in (*map(_grid, _GRIDS), *map(_significant, (1, 2, 5, 12))):
        rounded = build(change)
        if exact.eps > 0 and rounded.eps == 0:
            rounded = replace(rounded, eps=_significant(1)(exact.eps))
        if exact.gamma != 0 and rounded.gamma == 0:
            rounded = replace(rounded, gamma=_significant(1)(exact.gamma))
        if (key := rounded.describe()) not in seen:
            seen.add(key)
            yield rounded


def minimise(
    x: Instance, certificate: Certificate, accept: Accept, attempts: int, deadline: float = float("inf")
) -> tuple[Instance, Certificate]:
    """The smallest certified layer reached from ``x`` with so many attempts, and its certificate.

    ``accept`` gives a layer and its certificate where a proposal refutes the claim, None otherwise. No attempt is begun
    after ``deadline`` (of :func:`time.process_time`).
    """
    improved = True
    while improved:
        improved = False
        for smaller in _smaller(x):
            if smaller.size() >= x.size():
                continue
            if attempts <= 0 or process_time() >= deadline:
                return x, certificate
            attempts -= 1
            found = accept(smaller)
            if found is not None and found[0].size() < x.size():
                (x, certificate), improved = found, True
                break
    return x, certificate


def _smaller(x: Instance) -> Iterator[Instance]:
    """Simpler layers near x, the boldest changes first."""
    if x.m > 2:
        for i in range(x.m):
            yield _without(x, i)
    yield from _simple_blocks(x)
    for q in (1, 2, 3, 10):
        yield map_numbers(x, _grid(q))
    for block in _blocks(x):
        for q in (1, 2, 3, 10):
            yield map_numbers(x, _grid(q), only=frozenset({block}))
    mean = sum(x.y, Fraction(0)) / x.m
    for shift in (mean, x.y[0], x.y[-1]):
        yield replace(x, y=tuple(v - shift for v in x.y))
    for block in ("y", "grad", "hess"):
        sizes = {abs(v) for v in _numbers(getattr(x, block)) if v}
        for size in {max(sizes, default=Fraction(1)), min(sizes, default=Fraction(1))} - {Fraction(1)}:
            yield map_numbers(x, _divide(size), only=frozenset({block}))
    for path, value in entries(x):
        for simple in _simpler(value):
            yield put(x, path, simple)


def _divide(size: Fraction) -> Rounding:
    return lambda v: v / size


def _simple_blocks(x: Instance) -> Iterator[Instance]:
    m = x.m
    if x.hess is not None:
        yield replace(x, hess=None)
        yield replace(x, hess=tuple(tuple(Fraction(i == j) for j in range(m)) for i in range(m)))
        yield replace(
            x, hess=tuple(tuple(v if i == j else Fraction(0) for j, v in enumerate(r)) for i, r in enumerate(x.hess))
        )
    if x.beta:
        yield replace(x, beta=Fraction(0))
    if x.gamma != 1:
        yield replace(x, gamma=Fraction(1))
    if x.eps:
        yield replace(x, eps=Fraction(0))
        yield replace(x, eps=Fraction(1))
    zero = (Fraction(0),) * m
    if any(x.grad):
        yield replace(x, grad=zero)
    for name, vector in x.vectors.items():
        if any(vector) and not name.endswith("@case"):
            yield replace(x, vectors={**x.vectors, name: zero})
    for name, matrix in x.operators.items():
        diagonal = tuple(tuple(v if i == j else Fraction(0) for j, v in enumerate(r)) for i, r in enumerate(matrix))
        yield replace(x, operators={**x.operators, name: (zero,) * m})
        yield replace(x, operators={**x.operators, name: diagonal})


def _blocks(x: Instance) -> list[str]:
    return ["y", "grad", "hess", "gamma", "eps", *x.scalars, *x.vectors, *x.operators]


def _numbers(value: Any) -> Iterator[Fraction]:
    if isinstance(value, Fraction):
        yield value
    elif value is not None:
        for v in value:
            yield from _numbers(v)


def _without(x: Instance, i: int) -> Instance:
    def vector(v: Any) -> Any:
        return v[:i] + v[i + 1 :]

    def matrix(a: Any) -> Any:
        return tuple(vector(row) for k, row in enumerate(a) if k != i)

    return Instance(
        y=vector(x.y),
        grad=vector(x.grad),
        hess=None if x.hess is None else matrix(x.hess),
        gamma=x.gamma,
        beta=x.beta,
        eps=x.eps,
        scalars=x.scalars,
        vectors={k: vector(v) for k, v in x.vectors.items()},
        operators={k: matrix(v) for k, v in x.operators.items()},
    )


Path = tuple[Any, ...]


def entries(x: Instance) -> Iterator[tuple[Path, Fraction]]:
    """Every number with the path to it; of a symmetric matrix the upper half."""
    for name in ("beta", "gamma", "eps"):
        yield (name,), getattr(x, name)
    for name, value in x.scalars.items():
        yield ("scalars", name), value
    for name in ("grad", "y"):
        for i, value in enumerate(getattr(x, name)):
            yield (name, i), value
    for name, vector in x.vectors.items():
        if not name.endswith("@case"):
            for i, value in enumerate(vector):
                yield ("vectors", name, i), value
    for path, matrix in ((("hess",), x.hess), *((("operators", k), a) for k, a in x.operators.items())):
        for i, row in enumerate(matrix or ()):
            for j, value in enumerate(row[: i + 1]):
                yield (*path, i, j), value


def _simpler(value: Fraction) -> list[Fraction]:
    near = [value.limit_denominator(q) for q in (1, 2, 3, 5, 10, 100)]
    wanted = [Fraction(0), Fraction(1), Fraction(-1), *near, Fraction(int(value))]
    return [v for v in dict.fromkeys(wanted) if v != value]


def put(x: Instance, path: Path, value: Fraction) -> Instance:
    name, *rest = path
    changed: dict[str, Any]
    if not rest:
        changed = {name: value}
        return replace(x, **changed)
    if name in ("scalars", "vectors", "operators"):
        family = dict(getattr(x, name))
        family[rest[0]] = _set(family[rest[0]], rest[1:], value)
        changed = {name: family}
    else:
        changed = {name: _set(getattr(x, name), rest, value)}
    return replace(x, **changed)


def _set(target: Any, index: list[int], value: Fraction) -> Any:
    if not index:
        return value
    if len(index) == 1:
        return (*target[: index[0]], value, *target[index[0] + 1 :])
    i, j = index
    rows = [list(row) for row in target]
    rows[i][j] = rows[j][i] = value
    return tuple(tuple(row) for row in rows)
