"""The strategies and ``assert_claim`` that other test suites import.

Oracles. The strategies are held against the exact domain check, which works on the rational values of the floats and knows
nothing of how they were drawn. ``assert_claim`` is held against statements whose truth is known on paper.
"""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bntheory.testing
from bntheory import BatchNormLayer, LayerDomain, eq, le
from bntheory.judges.exact.certificate import outside_domain
from bntheory.testing import (
    assert_claim,
    batches,
    gradients,
    hessians,
    instance_of,
    layers,
    operators,
    scalars,
)

DOMAINS = {
    "any": LayerDomain(),
    "eps-zero": LayerDomain(eps="zero", min_m=3),
    "eps-positive-gamma-positive": LayerDomain(eps="positive", gamma="positive", hessian="psd"),
    "diagonal": LayerDomain(gamma="nonzero", hessian="diagonal"),
    "isotropic-rms": LayerDomain(hessian="isotropic", normaliser="rms"),
    "smooth": LayerDomain(smoothness="l", scalars={"l": "positive"}),
    "logistic": LayerDomain(loss="logistic-bounds"),
    "identity-l1": LayerDomain(eps="zero", hessian="identity", normaliser="l1", min_m=3),
    "zero-linf": LayerDomain(eps="zero", hessian="zero", normaliser="linf", min_m=3),
    "free": LayerDomain(
        scalars={"a": "positive", "t": "unit", "n": "nonnegative"},
        vectors=("u", "e@case"),
        operators={"K": "psd", "M": "any"},
    ),
}


@pytest.mark.parametrize("degenerate", [False, True], ids=["plain", "degenerate"])
@pytest.mark.parametrize("name", DOMAINS)
def test_layers_lie_in_their_domain_exactly(name: str, degenerate: bool) -> None:
    domain = DOMAINS[name]

    @settings(max_examples=25, database=None, suppress_health_check=list(HealthCheck))
    @given(layers(domain, degenerate=degenerate))
    def check(layer: object) -> None:
        assert outside_domain(domain, instance_of(layer, domain)) is None  # type: ignore[arg-type]

    check()


@settings(max_examples=200, database=None)
@given(batches(4))
def test_plain_batches_are_never_nearly_constant(y: np.ndarray) -> None:
    assert y.shape == (4,)
    assert y.dtype == np.float64
    assert np.ptp(y) > 1e-3 * np.abs(y).max()


@pytest.mark.parametrize(
    ("what", "strategy", "predicate"),
    [
        ("almost constant", batches(3, degenerate=True), lambda y: 0 < np.ptp(y) < 1e-5 * np.abs(y).max()),
        ("equal entries", batches(3, degenerate=True), lambda y: len(set(y.tolist())) == 2),
        ("tiny", batches(3, degenerate=True), lambda y: 0 < np.abs(y).max() < 1e-100),
        ("huge", batches(3, degenerate=True), lambda y: np.abs(y).max() > 1e100),
        ("constant", batches(3, degenerate=True, constant=True), lambda y: np.ptp(y) == 0),
        ("zero gradient", gradients(np.arange(3.0), degenerate=True), lambda g: not g.any()),
        ("rank one", operators(3, "any", degenerate=True), lambda a: np.linalg.matrix_rank(a) == 1),
        ("zero number", scalars("any", degenerate=True), lambda a: a == 0),
    ],
)
def test_degenerate_cases_are_drawn_on_request(
    what: str, strategy: st.SearchStrategy, predicate: object
) -> None:
    from hypothesis import find

    find(strategy, predicate, settings=settings(max_examples=2000, database=None))  # type: ignore[arg-type]


@settings(max_examples=60, database=None)
@given(hessians(4, "psd", degenerate=True))
def test_psd_matrices_have_no_negative_eigenvalue(h: np.ndarray) -> None:
    assert np.linalg.eigvalsh(h).min() >= -1e-12 * max(1.0, np.abs(h).max())


def test_true_claims_pass_and_false_ones_show_the_layer() -> None:
    assert_claim(lambda x: eq(x.dot(x.y_hat, x.input_grad), 0), domain=LayerDomain(eps="zero"))
    with pytest.raises(AssertionError, match=r"fails at m = 2: y = "):
        assert_claim(lambda x: eq(x.dot(x.y_hat, x.input_grad), 0), domain=LayerDomain(eps="any"))
    with pytest.raises(AssertionError, match=r"santurkar2018\.theorem-4\.1\.neurips fails"):
        assert_claim("santurkar2018.theorem-4.1.neurips")


def test_one_layer_is_decided_from_its_floats_without_a_tolerance() -> None:
    layer = BatchNormLayer([1.0, 2.0, 4.0], [0.1, 0.2, -0.7], eps=0.25)
    assert_claim(lambda x: le(x.norm2(x.y_hat), x.m), layer)
    with pytest.raises(AssertionError):
        assert_claim(lambda x: eq(x.norm2(x.y_hat), x.m), layer)
    tiny = BatchNormLayer([1.0, 2.0, 4.0], [0.1, 0.2, -0.7], eps=1e-30)  # in floats, norm2(y_hat) == m
    with pytest.raises(AssertionError):
        assert_claim(lambda x: eq(x.norm2(x.y_hat), x.m), tiny)


def test_what_cannot_be_judged_is_no_pass() -> None:
    with pytest.raises(ValueError, match="hypotheses"):
        assert_claim(
            lambda x: le(0, 1), domain=LayerDomain(gamma="positive"), assume=lambda x: [le(x.gamma, -1)]
        )
    with pytest.raises(ValueError, match="AttributeError"):
        assert_claim(lambda x: le(x.no_such_word, 1))
    with pytest.raises(ValueError, match="belong to the claim"):
        assert_claim("santurkar2018.theorem-4.1.arxiv", domain=LayerDomain())
    with pytest.raises(ValueError, match="one layer at a time"):
        instance_of(BatchNormLayer(np.ones((2, 3)), eps=1.0), LayerDomain())


@pytest.mark.parametrize(
    "call",
    [
        lambda: batches(1),
        lambda: operators(3, "negative"),
        lambda: hessians(3, "odd"),
        lambda: scalars("odd"),
    ],  # type: ignore[arg-type]
    ids=["batch-of-one", "operator-kind", "hessian-kind", "scalar-range"],
)
def test_bad_arguments_are_named(call: object) -> None:
    with pytest.raises(ValueError, match=r"is (1|'negative'|'odd')"):
        call()  # type: ignore[operator]


def test_the_documented_example_runs() -> None:
    result = doctest.testmod(bntheory.testing)
    assert result.attempted >= 8
    assert result.failed == 0
