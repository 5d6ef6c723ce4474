"""Hypothesis strategies for normalisation layers, their batches, gradients and Hessians.

hypothesis.extra.numpy.arrays with its default ``fill`` gives a constant batch in more than half of its draws. The
strategies here draw every entry by itself, keep the variance away from zero, and give the degenerate cases only when
asked. Numbers are often short, and become short where a failure is shrunk.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from bntheory.errors import UserError
from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.domain import LayerDomain, ScalarRange
from bntheory.layer.family import make_layer

_LONG = 12  # beyond it vectors repeat a pattern: they shrink and are shown by it


def _floats(bound: float) -> st.SearchStrategy[float]:
    """Numbers up to a bound: eighths, which are short, and any float."""
    eighths = st.integers(int(-8 * bound), int(8 * bound)).map(lambda k: k / 8)
    return st.one_of(eighths, st.floats(-bound, bound, allow_nan=False, allow_subnormal=False))


def _entries(entry: st.SearchStrategy[Any], n: int) -> st.SearchStrategy[list[Any]]:
    """n numbers, each drawn by itself; where there are many, up to a dozen of them again and again."""
    if n <= _LONG:
        return st.lists(entry, min_size=n, max_size=n)
    return st.lists(entry, min_size=2, max_size=_LONG).map(lambda pattern: np.resize(pattern, n).tolist())


def _away_from_zero(values: list[float]) -> bool:
    y = np.asarray(values)
    return float(np.ptp(y)) > 1e-3 * max(1.0, float(np.abs(y).max()))


def batches(m: int, *, degenerate: bool = False, constant: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Pre-activations of shape (m,), float64.

    Plain batches spread by more than a thousandth of their size. degenerate adds almost constant batches, equal
    entries, +-1 batches, outliers, and sizes from 1e-150 to 1e150; constant adds batches of one value, for which eps
    must be positive. Raises ValueError for m < 2.
    """
    if m < 2:
        raise ValueError(f"m is {m}; a batch has at least 2 entries")
    plain = _entries(_floats(100.0), m).filter(_away_from_zero)
    kinds: list[st.SearchStrategy[list[float]]] = [plain]
    if degenerate:
        unit = [1.0] + [0.0] * (m - 1)
        kinds += [
            _entries(st.sampled_from([-1.0, 1.0]), m).filter(lambda v: len(set(v)) > 1),
            st.floats(1.0, 1e6).map(lambda c: [c * u for u in unit]),
            st.floats(-3, 3).map(lambda c: [c + 1e-6 * u for u in unit]).filter(lambda v: len(set(v)) > 1),
            st.tuples(plain, st.sampled_from([-150, -20, 20, 150])).map(lambda p: [v * 10.0 ** p[1] for v in p[0]]),
        ]
    if constant:
        kinds.append(_floats(10.0).map(lambda c: [c] * m))
    return st.one_of(kinds).map(lambda v: np.array(v, dtype=np.float64))


def gradients(y: np.ndarray, *, degenerate: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Gradients g = dL/dz for the batch y, of shape (m,).

    Plain ones are zero, or have a part that the layer passes on: one orthogonal to 1 and (but for m = 2) y, beside which
    rounding is small. degenerate adds zero, ones, one example alone, multiples of the centred batch, and sizes from 1e-150 to
    1e150.
    """
    m = len(y)
    plain = _entries(_floats(100.0), m).map(lambda v: np.array(v, dtype=np.float64))
    if not degenerate:
        return plain.filter(lambda g: _is_passed_on(y, g))
    centred = y / max(1e-300, float(np.abs(y).max()))
    centred = centred - centred.mean()
    return st.one_of(
        plain,
        st.just(np.zeros(m)),
        st.just(np.ones(m)),
        st.integers(0, m - 1).map(lambda i: np.eye(m)[i]),
        st.tuples(_floats(10.0), _floats(10.0)).map(lambda c: c[0] + c[1] * centred),
        st.tuples(plain, st.sampled_from([-150, 150])).map(lambda p: p[0] * 10.0 ** p[1]),
    )


def _is_passed_on(y: np.ndarray, g: np.ndarray) -> bool:
    size = float(np.abs(y).max()) or 1.0
    centred = y / size - (y / size).mean()
    rest = g - g.mean()
    if len(y) > 2:  # of two, all that the mean leaves lies along y, and is passed on by eps
        rest = rest - centred * ((centred @ rest) / ((centred @ centred) or 1.0))
    return bool(np.linalg.norm(rest) >= 1e-2 * np.linalg.norm(g))


def _not_empty(m: int) -> None:
    if m < 1:
        raise UserError(f"m is {m}; a matrix has at least 1 row")


def operators(m: int, kind: str = "any", *, degenerate: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Symmetric matrices of shape (m, m), ``kind`` "any" or "psd".

    Entries are small integers over a power of two, so that A A' is exact in floats and positive semidefinite without
    rounding. degenerate adds zero, rank-one and diagonal matrices.
    """
    _not_empty(m)
    entry = st.integers(-16, 16)

    def matrix(rank: int) -> st.SearchStrategy[np.ndarray]:
        """(m, rank), for a long batch the rows of a pattern again and again."""
        rows = min(m, _LONG)
        rank = min(rank, rows)
        entries = st.lists(entry, min_size=rows * rank, max_size=rows * rank)
        return entries.map(lambda v: np.resize(np.array(v, dtype=np.float64) / 8, (m, rank)))

    def square() -> st.SearchStrategy[np.ndarray]:
        size = min(m, _LONG)
        times = -(-m // size)
        return matrix(size).map(lambda a: np.tile(a[:size], (times, times))[:m, :m])

    if kind not in ("any", "psd"):
        raise ValueError(f"kind is {kind!r}; an operator is 'any' or 'psd'")
    full = matrix(m).map(lambda a: a @ a.T) if kind == "psd" else square().map(lambda a: (a + a.T) / 2)
    if not degenerate:
        return full
    sign = st.just(1.0) if kind == "psd" else st.sampled_from([-1.0, 1.0])
    diagonal = matrix(1).map(lambda a: np.diag((np.abs(a) if kind == "psd" else a)[:, 0]))
    rank_one = st.tuples(matrix(1), sign).map(lambda p: p[1] * (p[0] @ p[0].T))
    return st.one_of(full, st.just(np.zeros((m, m))), rank_one, diagonal)


def hessians(m: int, kind: str = "any", *, degenerate: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Hessians of shape (m, m), ``kind`` as in :class:`~bntheory.layer.domain.LayerDomain`."""
    _not_empty(m)
    if kind in ("any", "psd"):
        return operators(m, kind, degenerate=degenerate)
    eighths = st.integers(-64, 64).map(lambda k: k / 8)
    simple: dict[str, st.SearchStrategy[np.ndarray]] = {
        "zero": st.just(np.zeros((m, m))),
        "identity": st.just(np.eye(m)),
        "isotropic": eighths.map(lambda h: h * np.eye(m)),
        "diagonal": _entries(eighths, m).map(np.diag),
        "psd-diagonal": st.lists(eighths.map(abs), min_size=m, max_size=m).map(np.diag),
    }
    if kind not in simple:
        raise ValueError(f"kind is {kind!r}; it can be 'any', 'psd', {', '.join(map(repr, simple))}")
    return simple[kind]


def scalars(kind: ScalarRange = "any", *, degenerate: bool = False) -> st.SearchStrategy[float]:
    """Numbers of a range of :class:`~bntheory.layer.domain.LayerDomain`; degenerate adds its edges and 1e-6, 1e6."""
    positive = st.one_of(st.integers(1, 800).map(lambda k: k / 8), st.floats(0.01, 100.0))
    kinds: dict[str, st.SearchStrategy[float]] = {
        "positive": positive,
        "nonzero": st.one_of(positive, positive.map(lambda v: -v)),
        "nonnegative": st.one_of(positive, st.just(0.0)) if degenerate else positive,
        "unit": st.floats(0.0, 1.0),
        "any": _floats(100.0),
    }
    if kind not in kinds:
        raise ValueError(f"kind is {kind!r}; it can be {', '.join(map(repr, kinds))}")
    if not degenerate or kind == "unit":
        return kinds[kind]
    edges = [1.0, 1e-6, 1e6] + ([] if kind in ("positive", "nonzero") else [0.0])
    return st.one_of(kinds[kind], st.sampled_from(edges))


@st.composite
def layers(
    draw: st.DrawFn, domain: LayerDomain | None = None, *, max_m: int = 6, degenerate: bool = False
) -> BatchNormLayer:
    """Single layers (shapes (m,) and (m, m), float64) of a claim's domain, free quantities included.

    max_m: the largest batch; the least is the domain's. Vectors and matrices of batches beyond 12 repeat a pattern.
    With eps = 0 plain layers have m >= 3, since at m = 2 nothing is passed on but rounding. degenerate: also the cases
    at which code breaks (see :func:`batches`, :func:`gradients`), among them gamma = 0 and, with eps > 0, constant
    batches.
    """
    domain = domain or LayerDomain()
    if max_m < domain.min_m:
        raise ValueError(f"max_m is {max_m}, below the domain's least batch size {domain.min_m}")
    eps = 0.0
    if domain.eps == "positive" or (domain.eps == "any" and draw(st.booleans())):
        eps = draw(scalars("positive", degenerate=degenerate))
    least = domain.min_m if degenerate or eps else min(max_m, max(3, domain.min_m))
    m = draw(st.integers(least, max_m))
    y = draw(batches(m, degenerate=degenerate, constant=degenerate and eps > 0))
    if not _differentiable(domain, y):
        y = np.arange(m) ** 2 + 1.0
    g = draw(gradients(y, degenerate=degenerate))
    if domain.gradient == "unit-entries":
        g = np.clip(g, -1.0, 1.0)
    free: dict[str, Any] = {k: draw(scalars(r, degenerate=degenerate)) for k, r in domain.scalars.items()}
    for name in domain.vectors:
        unit = st.integers(0, m - 1).map(lambda i: np.eye(m)[i])
        free[name] = draw(unit if name.endswith("@case") else gradients(y, degenerate=degenerate))
    for name, kind in domain.operators.items():
        free[name] = draw(operators(m, kind, degenerate=degenerate))
    return make_layer(
        domain.normaliser,
        y,
        g,
        _bounded(draw(hessians(m, domain.hessian, degenerate=degenerate)), domain.smoothness_in(free.get)),
        gamma=draw(scalars(domain.gamma, degenerate=degenerate)),
        beta=draw(_floats(10.0)),
        eps=eps,
        free=free,
    )


def _bounded(hess: np.ndarray, bound: Any) -> np.ndarray:
    """H scaled by a power of two to a norm of at most ``bound``."""
    if bound is None or not hess.any():
        return hess
    size = float(np.linalg.norm(hess, 2)) * (1 + 1e-12)
    return hess * (2.0 ** math.floor(math.log2(min(1.0, float(bound) / size))) if bound else 0.0)


def _differentiable(domain: LayerDomain, y: np.ndarray) -> bool:
    size = np.sort(np.abs(y - y.mean()))
    if domain.normaliser == "l1":
        return bool(size[0] > 1e-9 * size[-1])
    return domain.normaliser != "linf" or bool(size[-1] - size[-2] > 1e-9 * size[-1])
