"""For other people's test suites: hypothesis strategies for normalisation layers, and :func:`assert_claim`.

Test your own code over layers that do not degenerate by accident:

>>> from hypothesis import given, settings
>>> from bntheory import LayerDomain
>>> from bntheory.testing import layers
>>> @settings(max_examples=20, database=None)
... @given(layers(LayerDomain(eps="zero")))
... def test_gradient_has_no_mean(layer):
...     size = abs(layer.gamma / layer.sigma * layer.grad).sum()  # of the terms: the gradient itself may be zero
...     assert abs(layer.input_grad.sum()) <= 1e-12 * layer.m * size
>>> test_gradient_has_no_mean()

Or state the claim and let it be attacked; a failure shows the smallest layer that was found, decided without rounding:

>>> from bntheory import eq, le
>>> from bntheory.testing import assert_claim
>>> assert_claim(lambda x: eq(x.dot(x.one, x.input_grad), 0))
>>> assert_claim(lambda x: le(x.norm2(x.y_hat), x.m - 1))  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
AssertionError: ... fails at m = 2: ...

hypothesis.extra.numpy.arrays with its default ``fill`` gives a constant batch in more than half of its draws. The strategies here
draw every entry by itself, keep the variance away from zero, and give the degenerate cases only when asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from bntheory.claims.claim import Claim, Effort, Source, registry
from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.domain import LayerDomain, ScalarRange
from bntheory.layer.family import make_layer

if TYPE_CHECKING:
    from bntheory.judges.exact.witness import Instance

__all__ = [
    "assert_claim",
    "batches",
    "gradients",
    "hessians",
    "instance_of",
    "layers",
    "operators",
    "scalars",
]


def _floats(bound: float) -> st.SearchStrategy[float]:
    return st.floats(-bound, bound, allow_nan=False, allow_subnormal=False)


def _away_from_zero(values: list[float]) -> bool:
    y = np.asarray(values)
    return float(np.ptp(y)) > 1e-3 * max(1.0, float(np.abs(y).max()))


def batches(m: int, *, degenerate: bool = False, constant: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Pre-activations of shape (m,), float64.

    Plain batches spread by more than a thousandth of their size. degenerate adds almost constant batches, equal entries, +-1
    batches, outliers, and sizes from 1e-150 to 1e150; constant adds batches of one value, for which eps must be positive.
    Raises ValueError for m < 2.
    """
    if m < 2:
        raise ValueError(f"m is {m}; a batch has at least 2 entries")
    plain = st.lists(_floats(100.0), min_size=m, max_size=m).filter(_away_from_zero)
    kinds: list[st.SearchStrategy[list[float]]] = [plain]
    if degenerate:
        unit = [1.0] + [0.0] * (m - 1)
        kinds += [
            st.lists(st.sampled_from([-1.0, 1.0]), min_size=m, max_size=m).filter(lambda v: len(set(v)) > 1),
            st.floats(-3, 3).map(lambda c: [c + 1e-6 * u for u in unit]).filter(lambda v: len(set(v)) > 1),
            st.floats(1.0, 1e6).map(lambda c: [c * u for u in unit]),
            st.tuples(plain, st.sampled_from([-150, -20, 20, 150])).map(
                lambda p: [v * 10.0 ** p[1] for v in p[0]]
            ),
        ]
    if constant:
        kinds.append(_floats(10.0).map(lambda c: [c] * m))
    return st.one_of(kinds).map(lambda v: np.array(v, dtype=np.float64))


def gradients(y: np.ndarray, *, degenerate: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Gradients g = dL/dz for the batch y, of shape (m,).

    degenerate adds zero, ones, one example alone, multiples of the centred batch, and sizes from 1e-150 to 1e150.
    """
    m = len(y)
    plain = st.lists(_floats(100.0), min_size=m, max_size=m).map(lambda v: np.array(v, dtype=np.float64))
    if not degenerate:
        return plain
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


def operators(m: int, kind: str = "any", *, degenerate: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Symmetric matrices of shape (m, m), ``kind`` "any" or "psd".

    Entries are small integers over a power of two, so that A A' is exact in floats and positive semidefinite without
    rounding. degenerate adds zero, rank-one and diagonal matrices.
    """
    entry = st.integers(-16, 16)

    def matrix(rank: int) -> st.SearchStrategy[np.ndarray]:
        rows = st.lists(entry, min_size=m * rank, max_size=m * rank)
        return rows.map(lambda v: np.array(v, dtype=np.float64).reshape(m, rank) / 8)

    if kind not in ("any", "psd"):
        raise ValueError(f"kind is {kind!r}; an operator is 'any' or 'psd'")
    full = matrix(m).map(lambda a: a @ a.T) if kind == "psd" else matrix(m).map(lambda a: (a + a.T) / 2)
    if not degenerate:
        return full
    sign = st.just(1.0) if kind == "psd" else st.sampled_from([-1.0, 1.0])
    diagonal = matrix(1).map(lambda a: np.diag((np.abs(a) if kind == "psd" else a)[:, 0]))
    rank_one = st.tuples(matrix(1), sign).map(lambda p: p[1] * (p[0] @ p[0].T))
    return st.one_of(full, st.just(np.zeros((m, m))), rank_one, diagonal)


def hessians(m: int, kind: str = "any", *, degenerate: bool = False) -> st.SearchStrategy[np.ndarray]:
    """Hessians of shape (m, m), ``kind`` as in :class:`~bntheory.layer.domain.LayerDomain`."""
    if kind in ("any", "psd"):
        return operators(m, kind, degenerate=degenerate)
    eighths = st.integers(-64, 64).map(lambda k: k / 8)
    simple: dict[str, st.SearchStrategy[np.ndarray]] = {
        "zero": st.just(np.zeros((m, m))),
        "identity": st.just(np.eye(m)),
        "isotropic": eighths.map(lambda h: h * np.eye(m)),
        "diagonal": st.lists(eighths, min_size=m, max_size=m).map(np.diag),
        "psd-diagonal": st.lists(eighths.map(abs), min_size=m, max_size=m).map(np.diag),
    }
    if kind not in simple:
        raise ValueError(f"kind is {kind!r}; it can be 'any', 'psd', {', '.join(map(repr, simple))}")
    return simple[kind]


def scalars(kind: ScalarRange = "any", *, degenerate: bool = False) -> st.SearchStrategy[float]:
    """Numbers of a range of :class:`~bntheory.layer.domain.LayerDomain`; degenerate adds its edges and 1e-6, 1e6."""
    positive = st.floats(0.01, 100.0)
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
    draw: st.DrawFn,
    domain: LayerDomain | None = None,
    *,
    max_m: int = 6,
    degenerate: bool = False,
) -> BatchNormLayer:
    """Single layers (shapes (m,) and (m, m), float64) of a claim's domain, free quantities included.

    max_m: the largest batch; the least is the domain's. degenerate: also the cases at which code breaks (see
    :func:`batches`, :func:`gradients`), among them gamma = 0 and, with eps > 0, constant batches.
    """
    domain = domain or LayerDomain()
    if max_m < domain.min_m:
        raise ValueError(f"max_m is {max_m}, below the domain's least batch size {domain.min_m}")
    m = draw(st.integers(domain.min_m, max_m))
    eps = 0.0
    if domain.eps == "positive" or (domain.eps == "any" and draw(st.booleans())):
        eps = draw(scalars("positive", degenerate=degenerate))
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


def instance_of(layer: BatchNormLayer, domain: LayerDomain) -> Instance:
    """The layer's floats as the rational numbers that they are. ValueError for a batch of layers."""
    from bntheory.judges.exact.witness import Instance

    if len(layer.shape) != 1:
        raise ValueError(f"y has shape {layer.shape}; give one layer at a time, shape (m,)")

    def exact(x: Any) -> Any:
        return Fraction(x) if isinstance(x, float) else tuple(exact(v) for v in x)

    def matrix(product: Callable[[Any], Any]) -> Any:
        return exact(layer.dense(product).tolist())

    return Instance(
        y=exact(layer.y.tolist()),
        grad=exact(layer.grad.tolist()),
        hess=matrix(layer.hess),
        gamma=Fraction(layer.gamma.item()),
        beta=Fraction(layer.beta.item()),
        eps=Fraction(layer.eps.item()),
        scalars={k: Fraction(layer.scalar(k).item()) for k in domain.scalars},
        vectors={k: exact(layer.vector(k).tolist()) for k in domain.vectors},
        operators={k: matrix(layer.operator(k)) for k in domain.operators},
    )


def assert_claim(
    claim: Claim | str | Callable[[Any], Any],
    layer: BatchNormLayer | None = None,
    *,
    domain: LayerDomain | None = None,
    assume: Callable[[Any], Any] | None = None,
    effort: Effort = "quick",
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Fail with the smallest counterexample that is found; pass if ``claim`` survives.

    claim: a claim, the id of a printed one, or a function of a layer that returns relations (then ``domain`` and ``assume``
    say where it is asserted). layer: decide at this layer alone, from its floats, without rounding; outside the domain or
    where a hypothesis fails, nothing is asserted. Otherwise the search judge attacks with ``effort``, ``seed`` and ``device``.

    Raises AssertionError where the claim fails, ValueError where it cannot be judged: its code raises, or no layer met its
    hypotheses.
    """
    from bntheory.judges.exact.certificate import certify

    target = _as_claim(claim, domain, assume)
    if target.domain is None:
        raise ValueError(f"{target.id} is a claim of kind {target.kind!r}; assert_claim judges layer claims")
    if layer is not None:
        instance = instance_of(layer, target.domain)
        if certify(target, instance).refuted:
            raise AssertionError(f"{target.id} fails at {instance.describe()}")
        return
    from bntheory.judges.search import judge

    evidence = judge(target, effort, seed, device)
    if evidence.finding == "refuted":
        raise AssertionError(f"{target.id} {evidence.summary}")
    if evidence.finding != "survives":
        raise ValueError(f"{target.id} cannot be judged: {evidence.summary}")


def _as_claim(
    claim: Claim | str | Callable[[Any], Any], domain: LayerDomain | None, assume: Callable[[Any], Any] | None
) -> Claim:
    if isinstance(claim, (Claim, str)):
        if domain is not None or assume is not None:
            raise ValueError("domain and assume belong to the claim; give them with a function only")
        return registry()[claim] if isinstance(claim, str) else claim
    name = getattr(claim, "__name__", "claim").strip("<>").lower().replace("_", "-")
    return Claim(f"asserted.{name}", "layer", Source("asserted", "", seen="own"), name, claim, domain, assume)
