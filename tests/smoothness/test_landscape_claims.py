"""The verdicts of the landscape claims, and that their checks can fail.

The expected verdicts below are this file's own, derived by hand (see each claim's note); the code computes them from its checks.
Independent re-derivations with other tools stand beside the exact ones: torch for the counterexample, brute force for the lemma.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bntheory.claims import Study, registry
from bntheory.claims.sources.dannemann2025 import Neuron, simplest
from bntheory.judges.verdict import evidence_of_checks
from bntheory.smoothness import AffinePullback, BatchNormUnit, FrozenUnit

EXPECTED = {
    "luo2018.decay": "refuted",
    "luo2018.decay.averaged": "proved",
    "luo2018.decay.smaller-gamma": "survives",
    "santurkar2018.theorem-4.4.coupled": "refuted",
    "lesswrong2019.one-layer.no-shift-yet-rough": "proved",
    "lesswrong2019.scaling.reduces-lipschitz": "proved",
    "lesswrong2019.two-lipschitz.equals-derivative-lipschitz": "proved",
    "lesswrong2019.two-lipschitz.pointwise": "refuted",
    "lesswrong2019.two-lipschitz.relu": "proved",
    "lesswrong2019.two-lipschitz.batchnorm-reduces.global": "refuted",
    "santurkar2018.theorem-4.1.global": "refuted",
    "santurkar2018.observation-4.3.minima.no-bias": "refuted",
    "santurkar2018.observation-4.3.minima.bias": "proved",
    "santurkar2018.lemma-4.5.printed": "refuted",
    "santurkar2018.lemma-4.5.geometry": "proved",
    "dannemann2025.counterexample": "proved",
    "bntheory2026.single-unit.two-lipschitz": "proved",
    "bntheory2026.single-unit.global-constant": "proved",
    "bntheory2026.single-unit.trajectory": "proved",
}


@pytest.mark.parametrize("claim_id", list(EXPECTED))
def test_verdicts(claim_id: str) -> None:
    claim = registry()[claim_id]
    assert claim.kind == "landscape"
    checks = claim.check(Study(effort="quick"))
    found = evidence_of_checks(checks, seconds=0.0, seed=0)
    assert found.finding == EXPECTED[claim_id], found.summary
    assert all(c.outcome == "holds" for c in checks if not c.decisive)  # the measurements beside the proofs agree


def test_the_counterexample_by_other_means() -> None:
    """Gradients of the two losses in floating point: zero for the standard one, not for BN, at several gamma, beta and scales of w."""
    neuron = simplest()
    x = np.array([[float(v) for v in row] for row in neuron.rows])
    t = np.array([float(v) for v in neuron.target])
    w = np.array([float(v) for v in neuron.optimum])
    np.testing.assert_allclose(np.linalg.lstsq(x, t, rcond=None)[0], w, atol=1e-14)
    exact = np.array([float(v) for v in neuron.batchnorm_gradient])
    for gamma, beta, scale in (
        (1.0, 0.0, 1.0),
        (-2.0, 3.0, 1.0),
        ((x @ w).std(), (x @ w).mean(), 1.0),
        (1.0, 0.0, 5.0),
    ):
        loss = AffinePullback(BatchNormUnit(t, gamma=gamma, beta=beta), x)
        expected = gamma / (scale * (x @ w).std()) * exact
        np.testing.assert_allclose(loss.grad(scale * w), expected, atol=1e-13)
        assert np.linalg.norm(loss.grad(scale * w)) > 0.1


def test_a_bias_column_removes_the_counterexample() -> None:
    """With a column of ones (a bias) the standard optimum is stationary for BN: the same exact code finds a zero gradient."""
    rows = tuple((Fraction(v), Fraction(1)) for v in (0, 1, 3))
    target = (Fraction(1), Fraction(0), Fraction(5))
    from bntheory.layer.rational import least_squares

    neuron = Neuron(rows, target, tuple(least_squares(rows, target)))
    assert not any(neuron.batchnorm_gradient)


def test_lemma_by_brute_force() -> None:
    """Every BN optimum of the witness by a scan over directions, and the printed inequality evaluated in floating point."""
    neuron = simplest()
    x = np.array([[float(v) for v in row] for row in neuron.rows])
    t = np.array([float(v) for v in neuron.target])
    star = np.array([float(v) for v in neuron.optimum])
    angles = np.linspace(0, 2 * np.pi, 7201)[1:]
    losses = []
    for angle in angles:
        y = x @ np.array([np.cos(angle), np.sin(angle)])
        y_hat = (y - y.mean()) / y.std()
        best_gamma, best_beta = y_hat @ t / 3, t.mean()  # gamma and beta trained
        losses.append(float(np.sum((best_gamma * y_hat + best_beta - t) ** 2)))
    optimal = angles[np.array(losses) < 1e-12]
    assert optimal.size == 2  # a direction and its opposite
    for angle in optimal:
        direction = np.array([np.cos(angle), np.sin(angle)])
        nearest = max(star @ direction, 0.0) * direction
        assert np.sum((star - nearest) ** 2) == pytest.approx(1.0)  # the printed bound at W0 = W* is 0


def test_minima_with_a_bias_in_floating_point() -> None:
    """No BN parameters found by random search beat the standard least-squares optimum with a bias."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(8, 2)), rng.normal(size=8)
    design = np.column_stack([x, np.ones(8)])
    best = 0.5 * float(np.sum((design @ np.linalg.lstsq(design, t, rcond=None)[0] - t) ** 2))
    lowest = np.inf
    for _ in range(3000):
        w = rng.normal(size=2)
        y = x @ w
        y_hat = (y - y.mean()) / y.std()
        lowest = min(lowest, 0.5 * float(np.sum((y_hat @ t / 8 * y_hat + t.mean() - t) ** 2)))
    assert lowest >= best * (1 - 1e-12)
    assert lowest == pytest.approx(best, rel=1e-4)


def test_every_landscape_claim_is_here() -> None:
    assert {c.id for c in registry() if c.kind == "landscape"} == set(EXPECTED)


def test_the_global_refutation_by_other_means() -> None:
    """The same unit as a landscape in floating point: its curvature at w = 0 and its jump, against the standard neuron's."""
    x, t = np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.array([1.0, -1.0, 1.0, -1.0])
    unit = BatchNormUnit(t, eps=1e-5)
    zero, one = np.zeros(1), np.ones(1)
    assert AffinePullback(unit, x).hvp(zero, one)[0] == pytest.approx(4e5)
    assert AffinePullback(FrozenUnit(t), x).hvp(zero, one)[0] == pytest.approx(4.0)
    flat = AffinePullback(BatchNormUnit([1.0, 0.0, 0.0, 0.0]), x)
    assert flat.value(-one / 1000) - flat.value(one / 1000) == pytest.approx(2.0)
    assert flat.grad(one / 1000)[0] == pytest.approx(0.0, abs=1e-9)
