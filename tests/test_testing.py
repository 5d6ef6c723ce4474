"""The strategies and ``assert_claim`` that other test suites import.

Oracles. The strategies are held against the exact domain check, which works on the rational values of the floats and knows
nothing of how they were drawn. ``assert_claim`` is held against statements whose truth is known on paper.
"""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import bntheory.testing
from bntheory import BatchNormLayer, LayerDomain, eq, le
from bntheory.judges.exact.certificate import outside_domain
from bntheory.layer.family import make_layer
from bntheory.testing import assert_claim, batches, gradients, hessians, instance_of, layers, operators, scalars

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
def test_degenerate_cases_are_drawn_on_request(what: str, strategy: st.SearchStrategy, predicate: object) -> None:
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


@pytest.mark.long
def test_algebra_is_asked_before_an_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    import bntheory.judges.search as search

    def attacked(*_: object, **__: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(search, "judge", attacked)
    assert_claim(lambda x: le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * x.norm2(x.grad)))
    with pytest.raises(AssertionError, match=r"fails at m = \d: y = "):
        assert_claim(lambda x: le(x.norm2(x.input_grad), x.norm2(x.grad)))
    with pytest.raises(AssertionError, match="searched"):
        assert_claim(HARD)


HARD = "gamma**2 != 2"  # false at irrational numbers alone, which nothing can show


@pytest.mark.long
def test_typed_expressions_with_typed_assumptions() -> None:
    assert_claim("norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)")
    assert_claim("norm2(input_grad) <= norm2(grad)", assume=["gamma == sigma", "eps == 0"])
    assert_claim("gamma <= 2", assume="gamma <= 1")
    assert_claim("gamma <= 2", assume=lambda x: le(x.gamma, 1))
    assert_claim(lambda x: le(x.gamma, 2), assume="gamma <= 1")
    assert_claim("dot(u, input_grad) == dot(u, input_grad)", domain=LayerDomain(vectors=("u",)))
    with pytest.raises(AssertionError, match=r"norm2\(grad\) fails at m = 2: .*: not [\d.]+ <= [\d.]+$"):
        assert_claim("norm2(input_grad) <= norm2(grad)")
    with pytest.raises(ValueError, match="did you mean input_grad"):
        assert_claim("norm2(input_grd) <= 1")


def test_a_failure_shows_both_sides_as_short_numbers_that_differ() -> None:
    layer = BatchNormLayer([1.0, 2.0, 4.0], [0.1, 0.2, -0.7], eps=0.25)
    with pytest.raises(AssertionError) as error:
        assert_claim(lambda x: eq(x.norm2(x.y_hat), x.m), layer)
    # var = 14/9, so norm2(y_hat) = 3*14/9/(14/9 + 1/4) = 2.5846...
    expected = "BatchNormLayer([1.0, 2.0, 4.0], [0.1, 0.2, -0.7], eps=0.25): not 2.585 == 3"
    assert str(error.value) == f"asserted.lambda fails at {expected}"
    near = BatchNormLayer([1.0, 2.0, 4.0], [0.1, 0.2, -0.7], eps=1e-9)
    with pytest.raises(AssertionError, match=r"not 2\.99999999807 == 3"):
        assert_claim(lambda x: eq(x.norm2(x.y_hat), x.m), near)


def same(one: BatchNormLayer, other: BatchNormLayer) -> bool:
    parts = ("y", "grad", "gamma", "beta", "eps", "y_hat", "input_grad")
    v = np.arange(one.m) + 1.0
    if one.made_as != other.made_as or not all(np.array_equal(getattr(one, p), getattr(other, p)) for p in parts):
        return False
    free = all(np.array_equal(np.ravel(one.free[k]), np.ravel(other.free[k])) for k in one.free)
    return free and np.array_equal(one.hess(v), other.hess(v))


@pytest.mark.parametrize("name", DOMAINS)
def test_what_is_printed_of_a_layer_makes_it_again(name: str) -> None:
    @settings(max_examples=25, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(layers(DOMAINS[name], max_m=16, degenerate=True))
    def check(layer: BatchNormLayer) -> None:
        again = eval(repr(layer), {"BatchNormLayer": BatchNormLayer, "make_layer": make_layer, "np": np})
        assert same(layer, again), repr(layer)

    check()


@pytest.mark.parametrize("period", [1, 2, 11, 12])
def test_a_long_batch_that_repeats_a_pattern_is_printed_by_it(period: int) -> None:
    pattern = np.arange(period) + 0.25
    y = np.resize(pattern, 40) if period > 1 else np.append(np.zeros(39), 1.0)
    layer = BatchNormLayer(y, np.resize(pattern, 40))
    text = repr(layer)
    assert f"np.resize({pattern.tolist()}, 40)" in text
    assert same(layer, eval(text, {"BatchNormLayer": BatchNormLayer, "np": np}))


def test_layers_of_other_kinds_are_printed_too() -> None:
    tensor = BatchNormLayer(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0]), torch.eye(2), eps=1e-5)
    again = eval(repr(tensor), {"BatchNormLayer": BatchNormLayer, "torch": torch})
    assert torch.equal(again.y, tensor.y)
    assert again.y.dtype == torch.float32
    assert torch.equal(again.hess(tensor.y), tensor.hess(tensor.y))
    assert repr(BatchNormLayer(np.ones((4, 3)) * np.arange(3.0))) == "<BatchNormLayer: y of shape (4, 3), float64>"
    assert "<lambda>" in repr(BatchNormLayer([1.0, 2.0], [0.0, 1.0], lambda v: v))
    assert "dtype=np.float32" in repr(BatchNormLayer(np.arange(3, dtype=np.float32)))


@pytest.mark.parametrize("hessian", ["any", "psd", "diagonal"])
@pytest.mark.parametrize("max_m", [128, 1000])
def test_large_batches_are_drawn(max_m: int, hessian: str) -> None:
    """With the default health checks: neither too large, nor too slow, nor filtered away; and their size is used."""
    sizes = []

    @settings(max_examples=15, database=None, deadline=None)
    @given(layers(LayerDomain(hessian=hessian, min_m=max_m // 2), max_m=max_m))
    def check(layer: BatchNormLayer) -> None:
        sizes.append(layer.m)
        assert layer.input_hess(layer.grad).shape == (layer.m,)
        assert len(repr(layer)) < 6000

    check()
    assert len(set(sizes)) > 3


@pytest.mark.long
def test_a_failure_shrinks_to_short_numbers() -> None:
    """A gradient that forgets that the variance is biased; what hypothesis shows can be read and pasted."""
    from hypothesis import find

    def is_wrong(layer: BatchNormLayer) -> bool:
        y, g, m = layer.y, layer.grad, layer.m
        sigma = np.sqrt(y.var(ddof=1) + layer.eps)
        y_hat = (y - y.mean()) / sigma
        ours = layer.gamma / sigma * (g - g.mean() - y_hat * (g @ y_hat) / m)
        return not np.allclose(ours, layer.input_grad, rtol=1e-6)

    found = find(layers(), is_wrong, settings=settings(max_examples=500, database=None, deadline=None))
    assert len(repr(found)) < 160
    for x in (*found.y, *found.grad, *found.gamma):
        assert x * 8 == round(x * 8), repr(found)


@pytest.mark.long
@settings(max_examples=120, database=None, deadline=None)
@given(st.one_of(layers(), layers(LayerDomain(eps="positive"), max_m=2)))
def test_plain_layers_tell_a_right_gradient_from_rounding(layer: BatchNormLayer) -> None:
    """Textbook code, summed in another order, agrees to 1e-9 of the largest entry: no draw degenerates by accident."""
    y, g, m = layer.y, layer.grad, layer.m
    sigma = np.sqrt(y.var() + layer.eps)
    y_hat = (y - y.mean()) / sigma
    ours = layer.gamma / sigma * (g - g.mean() - y_hat * (g @ y_hat) / m)
    assert np.abs(ours - layer.input_grad).max() <= 1e-9 * np.abs(layer.input_grad).max()


def test_what_contradicts_itself_or_compares_in_python_cannot_be_judged() -> None:
    import random

    with pytest.raises(ValueError, match="answers differently when it is called again"):
        assert_claim(lambda x: le(random.random(), x.norm2(x.grad)))
    with pytest.raises(ValueError, match=r"write le\(a, b\).*test_testing.py:\d+"):
        assert_claim(lambda x: x.norm2(x.input_grad) <= x.norm2(x.grad))


def test_what_cannot_be_judged_is_no_pass() -> None:
    with pytest.raises(ValueError, match="hypotheses"):
        assert_claim(lambda x: le(0, 1), domain=LayerDomain(gamma="positive"), assume=lambda x: [le(x.gamma, -1)])
    with pytest.raises(ValueError, match="AttributeError"):
        assert_claim(lambda x: le(x.no_such_word, 1))
    with pytest.raises(ValueError, match="belong to the claim"):
        assert_claim("santurkar2018.theorem-4.1.arxiv", domain=LayerDomain())
    with pytest.raises(ValueError, match="one layer at a time"):
        instance_of(BatchNormLayer(np.ones((2, 3)), eps=1.0), LayerDomain())


def test_one_layer_is_judged_as_what_it_is() -> None:
    y = np.array([1.0, 2.0, 4.0])
    rms = make_layer("rms", y, y)
    assert_claim("sigma**2 == norm2(y)/m", rms, domain=LayerDomain(normaliser="rms"))
    for wrong in (LayerDomain(), None):
        with pytest.raises(ValueError, match="'rms', the claim's 'batch'"):
            assert_claim("sigma**2 == norm2(y)/m", rms, domain=wrong)
    assert_claim("norm2(y_hat) == m", BatchNormLayer(y, y), domain=LayerDomain(normaliser="l2"))
    with pytest.raises(ValueError, match="BatchNorm1d; give one such as"):
        assert_claim("gamma <= 2", torch.nn.BatchNorm1d(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="all directions"):
        assert_claim("max_eig(hess) <= 3", BatchNormLayer(y, y, np.eye(3)))


@pytest.mark.parametrize(
    "call",
    [lambda: batches(1), lambda: operators(3, "negative"), lambda: hessians(3, "odd"), lambda: scalars("odd")],  # type: ignore[arg-type]
    ids=["batch-of-one", "operator-kind", "hessian-kind", "scalar-range"],
)
def test_bad_arguments_are_named(call: object) -> None:
    with pytest.raises(ValueError, match=r"is (1|'negative'|'odd')"):
        call()  # type: ignore[operator]


def test_the_documented_example_runs() -> None:
    result = doctest.testmod(bntheory.testing)
    assert result.attempted >= 8
    assert result.failed == 0


def test_what_was_typed_is_named_and_a_zero_is_a_zero_where_it_fails() -> None:
    """At m = 2 batch norm passes nothing on, so that the left side is 0 and the right one is 1/64 - 1/128 - 1/(64 sqrt 2) < 0
    times gamma^2/sigma^2, which is 1/16 (1/2 10^-6)^-2 1/4: -2.023e+08 in all. sigma is no rational here, and 0 an enclosure."""
    said = "norm2(input_grad) <= gamma**2/sigma**2*(norm2(grad) - dot(one, grad)**2/m - dot(grad, y_hat)**2/sqrt(m))"
    layer = BatchNormLayer([1e-06, 0.0], [0.0, 0.125], gamma=0.125)
    with pytest.raises(AssertionError) as error:
        assert_claim(said, layer, domain=LayerDomain(eps="zero"))
    assert str(error.value) == f"{said} fails at {layer!r}: not 0 <= -2.023e+08"


def test_a_degenerate_failure_shrinks_to_a_batch_of_ones_and_zeros() -> None:
    found = find(batches(2, degenerate=True), lambda y: y[0] > y[1], settings=settings(database=None, derandomize=True))
    assert found.tolist() == [1, 0]


@pytest.mark.parametrize("kind", ["any", "psd", "zero", "diagonal"])
def test_a_matrix_without_rows_is_refused(kind: str) -> None:
    for make in (hessians, operators) if kind in ("any", "psd") else (hessians,):
        for m in (0, -3):
            with pytest.raises(ValueError, match="at least 1 row"):
                make(m, kind)


def test_the_relation_that_is_told_is_one_for_whose_sake_the_claim_fails():
    """The disjunction is true there, and its first half is the farther from it."""
    with pytest.raises(AssertionError, match="not 5 < 2"):
        assert_claim("(gamma > 100000 or m >= 2) and m > 5")
