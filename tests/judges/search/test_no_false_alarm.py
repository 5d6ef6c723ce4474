"""No rounding error refutes a true claim.

Oracle: theorems. Every layer here is one at which float arithmetic goes wrong: sizes of 1e-150 and 1e150, m = 2 and eps = 0 (the
gradient is zero and what floats give is noise), almost constant batches, gamma = 0, equal entries, float32 data. The same layers
are also shown to violate the theorems *in floats*, so that the tests do not pass for want of temptation.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from bntheory import BatchNormLayer, LayerDomain, eq, le
from bntheory.claims.claim import Claim, Source
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.witness import Instance
from bntheory.judges.search import judge
from bntheory.testing import instance_of, layers


def _bound(x: Any) -> Any:
    g = x.grad
    return x.gamma**2 / x.sigma**2 * (x.norm2(g) - x.dot(x.one, g) ** 2 / x.m - x.dot(g, x.y_hat) ** 2 / x.m)


def _curvature(x: Any) -> Any:
    d = x.input_grad
    scale = x.gamma / x.sigma**2
    right = scale * x.gamma * x.dot(d, x.hess(d)) - scale / x.m * x.dot(x.grad, x.y_hat) * x.norm2(d)
    return le(x.dot(d, x.input_hess(d)), right)


ZERO = LayerDomain(eps="zero")
THEOREMS: dict[str, tuple[Any, LayerDomain]] = {
    "gradient-bound": (lambda x: le(x.norm2(x.input_grad), _bound(x)), ZERO),
    "gradient-identity": (lambda x: eq(x.norm2(x.input_grad), _bound(x)), ZERO),
    "no-scale-part": (lambda x: eq(x.dot(x.y_hat, x.input_grad), 0), ZERO),
    "y-hat-norm": (lambda x: eq(x.norm2(x.y_hat), x.m), ZERO),
    "curvature": (_curvature, ZERO),
    "homogeneous": (lambda x: eq(x.input_hess(x.y), -1 * x.input_grad), ZERO),
    "eps-bound": (lambda x: le(x.eps * x.norm2(x.input_grad), x.gamma**2 * x.norm2(x.grad)), LayerDomain()),
}


def _claim(name: str, min_m: int = 2) -> Claim:
    check, domain = THEOREMS[name]
    asserted = LayerDomain(eps=domain.eps, min_m=min_m)
    return Claim(f"true.{name}", "layer", Source("true", ""), name, check, asserted)


def _floats(layer: BatchNormLayer) -> Instance:
    return instance_of(layer, ZERO)


Y, G = np.array([0.3, -1.7, 2.9]), np.array([1.1, 0.4, -0.7])
TEMPTING: dict[str, BatchNormLayer] = {
    "m-2-eps-0": BatchNormLayer(np.array([0.1, 0.7]), np.array([0.3, 0.9])),
    "almost-constant": BatchNormLayer(np.array([1.0, 1.0, 1.0 + 2**-50]), G),
    "equal-entries": BatchNormLayer(np.array([0.1, 0.1, 0.7]), G),
    "gamma-zero": BatchNormLayer(Y, G, gamma=0.0),
    "gradient-in-the-span": BatchNormLayer(Y, 0.1 + 0.7 * Y),
    "float32": BatchNormLayer(Y.astype(np.float32).astype(float), G.astype(np.float32).astype(float)),
    "large-mean": BatchNormLayer(Y + 1e8, G),
    **{f"y-1e{p}": BatchNormLayer(Y * 10.0**p, G) for p in (-150, -75, 75, 150)},
    **{f"g-1e{p}": BatchNormLayer(Y, G * 10.0**p) for p in (-150, 150)},
    "y-1e-150-g-1e150": BatchNormLayer(Y * 1e-150, G * 1e150),
}


@pytest.mark.parametrize("theorem", THEOREMS)
@pytest.mark.parametrize("layer", TEMPTING)
def test_a_theorem_holds_at_every_tempting_layer(layer: str, theorem: str) -> None:
    certificate = certify(_claim(theorem), _floats(TEMPTING[layer]))
    assert not certificate.refuted
    assert certificate.why == "the claim holds here"  # decided, not merely undecided


def test_floats_alone_would_have_raised_false_alarms() -> None:
    fooled = set()
    for name, layer in TEMPTING.items():
        with np.errstate(all="ignore"):
            left, right = layer.norm2(layer.input_grad), _bound(layer)
            if not (left <= right) or not np.isfinite(right).all():
                fooled.add(name)
    assert {"m-2-eps-0", "gradient-in-the-span"} & fooled
    assert len(fooled) >= 4


@pytest.mark.parametrize("theorem", THEOREMS)
def test_no_theorem_falls_at_a_degenerate_layer(theorem: str) -> None:
    claim = _claim(theorem)
    assert claim.domain is not None

    @settings(max_examples=25, database=None, suppress_health_check=list(HealthCheck))
    @given(layers(claim.domain, degenerate=True, max_m=4))
    def check(layer: BatchNormLayer) -> None:
        assert claim.domain is not None
        assert not certify(claim, instance_of(layer, claim.domain)).refuted

    check()


@pytest.mark.parametrize("theorem", THEOREMS)
def test_the_search_refutes_no_theorem(theorem: str) -> None:
    for min_m in (2, 3):
        evidence = judge(_claim(theorem, min_m), "quick", 3)
        assert evidence.finding == "survives", evidence.summary


def test_a_violation_as_small_as_rounding_is_still_found_where_it_is_real() -> None:
    claim = Claim("false.tiny", "layer", Source("false", ""), "", lambda x: eq(x.norm2(x.y_hat), x.m), LayerDomain())
    layer = Instance(y=(Fraction(0), Fraction(1)), grad=(Fraction(0),) * 2, eps=Fraction(1, 10**40))
    assert certify(claim, layer).refuted
