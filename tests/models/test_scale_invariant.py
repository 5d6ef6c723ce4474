"""Scale-invariant losses, weight decay on them, and exponential learning rates.

Oracles: autograd through the defining formula (it knows no closed form of gradient or curvature, and finds
the Riemannian Hessian by differentiating along great circles); the printed update in a plain loop; exact
rational recursions; and long simulations against predictions that never simulate.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from bntheory.evidence.decision import position
from bntheory.evidence.slopes import fit_power_law
from bntheory.models.exponential_lr import compare_runs, exponential_schedule, largest_decay
from bntheory.models.scale_invariant import (
    CircleOfMinima,
    RayleighPower,
    any_rate_bound,
    descend,
    orthogonality_defect,
    pythagoras_defect,
)
from bntheory.models.spherical_sharpness import edge_run, edge_start
from bntheory.models.weight_decay import (
    exact_cosine,
    fixed_norm4,
    momentum_norm4,
    norm_recursion,
    simulate_equilibrium,
    van_laarhoven_norm4,
    wan_angle,
)

SPECTRUM = (0.0, 1.0, 2.0, 5.0)


def _rayleigh(power, eps):
    A = torch.tensor(SPECTRUM, dtype=torch.float64)
    return lambda w: ((A * w * w).sum() / (w @ w + eps)) ** power / 2


def _circle(tilt):
    return lambda w: (w[2] ** 2 / (w @ w)) * (1 + tilt * w[0] / w.norm()) / 2


LOSSES = {
    "quotient": (RayleighPower(SPECTRUM), _rayleigh(1, 0.0)),
    "quotient-squared": (RayleighPower(SPECTRUM, 2), _rayleigh(2, 0.0)),
    "quotient-cubed": (RayleighPower(SPECTRUM, 3), _rayleigh(3, 0.0)),
    "quotient-eps": (RayleighPower(SPECTRUM, 1, 0.3), _rayleigh(1, 0.3)),
    "circle": (CircleOfMinima(0.5), _circle(0.5)),
}


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_against_autograd(name):
    loss, oracle = LOSSES[name]
    for w in np.random.default_rng(1).normal(size=(4, loss.dimension)):
        t = torch.tensor(w, requires_grad=True)
        value = oracle(t)
        (gradient,) = torch.autograd.grad(value, t)
        assert loss.value(w) == pytest.approx(value.item(), rel=1e-12)
        np.testing.assert_allclose(loss.grad(w), gradient.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "quotient-eps"])
def test_sharpness_is_the_largest_second_derivative_along_great_circles(name):
    loss, oracle = LOSSES[name]
    w = np.random.default_rng(2).normal(size=loss.dimension)
    v = torch.tensor(w / np.linalg.norm(w))
    basis = torch.tensor(np.linalg.svd(v.numpy()[None, :])[2][1:])

    def along(coefficients):
        p = coefficients @ basis
        angle = torch.sqrt((p @ p) + 1e-300)
        return oracle(torch.cos(angle) * v + torch.sinc(angle / torch.pi) * p)

    small = 1e-4
    d = len(basis)
    hessian = np.empty((d, d))
    eye = torch.eye(d, dtype=torch.float64)
    for i in range(d):
        for j in range(d):
            hessian[i, j] = sum(
                si * sj * along(small * (si * eye[i] + sj * eye[j])).item() for si in (1, -1) for sj in (1, -1)
            ) / (4 * small**2)
    assert loss.spherical_sharpness(w[None])[0] == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-6, abs=2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_scale_invariance_and_its_two_consequences(name):
    loss, _ = LOSSES[name]
    w = np.random.default_rng(3).normal(size=(5, loss.dimension))
    invariant = name != "quotient-eps"
    agrees = np.allclose(loss.value(3 * w), loss.value(w), rtol=1e-13)
    assert bool(agrees) == invariant
    assert bool(np.allclose(3 * loss.grad(3 * w), loss.grad(w), rtol=1e-12)) == invariant
    size = np.linalg.norm(w, axis=1) * np.linalg.norm(loss.grad(w), axis=1)
    assert bool(np.all(np.abs(orthogonality_defect(loss, w)) < 1e-14 * size + 1e-15)) == invariant
    grown = np.sum((0.7 * loss.grad(w)) ** 2, axis=1)
    assert bool(np.all(np.abs(pythagoras_defect(loss, w, 0.7)) < 1e-13 * (grown + np.sum(w**2, 1)))) == invariant


@pytest.mark.parametrize("measure", ["orthogonality", "pythagoras"])
def test_eps_breaks_the_identities_at_first_order(measure):
    w = np.random.default_rng(4).normal(size=4)
    eps = np.geomspace(1e-8, 1e-3, 8)
    losses = [RayleighPower(SPECTRUM, 1, e) for e in eps]
    if measure == "orthogonality":
        defects = [abs(float(orthogonality_defect(x, w))) for x in losses]
    else:
        defects = [abs(float(2 * 0.5 * orthogonality_defect(x, w))) for x in losses]
        direct = [abs(float(pythagoras_defect(x, w, 0.5))) for x in losses[-4:]]
        np.testing.assert_allclose(direct, defects[-4:], rtol=1e-6)
    fit = fit_power_law(eps, defects)
    assert position(fit.low, fit.high, 1.0, 0.02) == "equivalent"


def test_descent_is_the_frameworks_optimiser():
    loss, oracle = LOSSES["quotient"]
    w0 = np.random.default_rng(5).normal(size=4)
    t = torch.tensor(w0, requires_grad=True)
    optimiser = torch.optim.SGD([t], lr=0.3, momentum=0.8, weight_decay=0.02)
    for _ in range(30):
        optimiser.zero_grad()
        oracle(t).backward()
        optimiser.step()
    run = descend(loss, w0, 0.3, 30, momentum=0.8, weight_decay=0.02)
    np.testing.assert_allclose(run["w"], t.detach().numpy(), rtol=1e-10)


def test_series_of_a_descent():
    loss, _ = LOSSES["circle"]
    run = descend(loss, np.array([1.0, 0.4, 0.8]), np.array([0.1, 5.0]), 40, points=None, sharpness=True)
    assert run["norm"].shape == (2, 41)
    np.testing.assert_allclose(run["norm"][:, -1] ** 2, run["norm"][:, 0] ** 2 + run["growth"][:, -1], rtol=1e-12)
    np.testing.assert_allclose(run["least_sphere_grad"], np.minimum.accumulate(run["sphere_grad"], axis=1))
    assert np.all(np.diff(run["norm"]) >= -1e-15 * run["norm"][:, :-1])


def test_running_minimum_keeps_the_least_gradient_of_a_run_that_rises_again():
    run = descend(CircleOfMinima(0.5), np.array([1.0, 0.4, 0.8]), 1.0, 300, weight_decay=0.05, points=None)
    assert np.any(np.diff(run["sphere_grad"]) > 0.01)
    np.testing.assert_array_equal(run["least_sphere_grad"], np.minimum.accumulate(run["sphere_grad"]))


def test_a_growing_rate_starts_at_the_given_one():
    loss = RayleighPower(SPECTRUM)
    w = np.random.default_rng(5).normal(size=4)
    run = descend(loss, w, 0.3, 4, lr_growth=1.5)
    for rate in (0.3, 0.45, 0.675, 1.0125):
        w = w - rate * loss.grad(w)
    np.testing.assert_allclose(run["w"], w, rtol=1e-12)


@pytest.mark.parametrize("power", [1, 2, 3])
def test_bounds_on_the_sphere_are_bounds(power):
    loss = RayleighPower(SPECTRUM, power)
    w = np.random.default_rng(6).normal(size=(4000, 4)) * np.array([3.0, 0.1, 0.1, 3.0])
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    steepest = np.linalg.norm(loss.grad(unit), axis=1).max()
    assert 0.3 * loss.gradient_bound < steepest <= loss.gradient_bound
    assert loss.spherical_sharpness(unit).max() <= loss.curvature_bound


@pytest.mark.parametrize("power", [1, 4])
def test_any_rate_bound_holds_and_is_not_vacuous(power):
    loss, lr = RayleighPower(SPECTRUM, power), np.geomspace(1e-3, 1e3, 13)
    w0 = np.random.default_rng(7).normal(size=4)
    run, bound = descend(loss, w0, lr, 3000), any_rate_bound(loss, w0, lr)
    share = run["least_sphere_grad"] * np.sqrt(run.steps + 1) / bound.constant[:, None]
    assert share.max() <= 1
    assert np.all(run["norm"][:, -1] ** 2 <= bound.norm2)
    assert share.max() > 0.01


def test_any_rate_bound_refuses_eps():
    with pytest.raises(ValueError, match="eps = 0"):
        any_rate_bound(RayleighPower(SPECTRUM, 1, 0.1), np.ones(4), 1.0)


# --- weight decay
# -------------------------------------------------------------------------------------------------


def test_norm_recursion_reaches_its_fixed_point_and_van_laarhovens_up_to_the_stated_factor():
    lr, penalty, noise = 0.2, 0.05, 1.7
    end = norm_recursion(3.0, lr, 2 * penalty, noise, 2000)[-1] ** 4
    assert end == pytest.approx(fixed_norm4(lr, 2 * penalty, noise), rel=1e-12)
    assert end * (1 - lr * penalty) == pytest.approx(van_laarhoven_norm4(lr, penalty, noise), rel=1e-12)
    exact = [Fraction(2)]
    for _ in range(3):  # squares of the norm
        exact.append(Fraction(49, 50) ** 2 * exact[-1] + Fraction(1, 25) * Fraction(9) / exact[-1])
    squares = norm_recursion(np.sqrt(2), 0.2, 0.1, 3.0, 3) ** 2
    np.testing.assert_allclose(squares, [float(x) for x in exact], rtol=1e-14)


@pytest.mark.parametrize(("momentum", "product"), [(0.0, 0.02), (0.5, 0.02), (0.9, 0.005)])
def test_equilibrium_against_simulation(momentum, product):
    lr, decay, noise = 0.1, product / 0.1, 2.0
    run = simulate_equilibrium(dimension=40, lr=lr, decay=decay, momentum=momentum, noise=noise, seeds=12, seed=1)
    error = run.norm4.std(ddof=1) / np.sqrt(12)
    expected = momentum_norm4(lr, decay, momentum, noise)
    # first order in lr decay, enlarged by the momentum's memory 1/(1 - momentum)
    assert abs(run.norm4.mean() - expected) < 4 * error + 2 * product / (1 - momentum) * expected
    cosine = run.inner / run.norm2
    assert abs(cosine.mean() - exact_cosine(lr, decay, momentum)) < 4 * cosine.std(ddof=1) / np.sqrt(12) + 1e-12
    root = np.sqrt(run.angle2.mean())
    assert root == pytest.approx(wan_angle(lr, decay, momentum), rel=0.02)
    assert run.angle.mean() / root == pytest.approx(1 - 1 / (4 * 39), abs=2e-3)


def test_same_seed_same_numbers():
    make = lambda seed: simulate_equilibrium(dimension=3, lr=0.1, decay=1.0, seeds=3, seed=seed, steps=10)  # noqa: E731
    np.testing.assert_array_equal(make(1).norm4, make(1).norm4)
    assert not np.array_equal(make(1).norm4, make(2).norm4)


# --- exponential learning rates
# -----------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["slow", "fast"])
@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_identity_to_rounding_for_both_roots(momentum, root):
    schedule = exponential_schedule(0.1, 0.1 * largest_decay(momentum) / 0.1, momentum)
    alpha = getattr(schedule, root)
    steps = 100
    loss = RayleighPower(SPECTRUM)
    w0 = np.random.default_rng(9).normal(size=4)
    check = compare_runs(loss, w0, schedule, steps, alpha=alpha)
    assert check.discrepancy <= 1000 * check.rounding_floor
    assert check.discrepancy < 1e-6
    wrong = compare_runs(loss, w0, schedule, steps, alpha=alpha, buffer="zero")
    assert wrong.discrepancy > 1e3 * check.discrepancy


def test_identity_in_rationals():
    """alpha, momentum and the loss rational: both runs agree exactly, digit for digit."""
    mu, alpha, lr = Fraction(1, 2), Fraction(4, 5), Fraction(1, 3)
    decay = (1 + mu - alpha - mu / alpha) / lr
    assert 0 < decay * lr < Fraction(largest_decay(0.5))
    A = [Fraction(0), Fraction(1), Fraction(3)]

    def grad(w):
        n = sum(x * x for x in w)
        R = sum(a * x * x for a, x in zip(A, w, strict=True)) / n
        return [(a - R) * x / n for a, x in zip(A, w, strict=True)]

    w = [Fraction(1), Fraction(-2), Fraction(3)]
    u, v, z = list(w), [Fraction(0)] * 3, [(alpha - 1) * x / (lr * alpha) for x in w]
    for t in range(4):
        v = [mu * a + g + decay * x for a, g, x in zip(v, grad(w), w, strict=True)]
        w = [x - lr * a for x, a in zip(w, v, strict=True)]
        z = [mu * a + g for a, g in zip(z, grad(u), strict=True)]
        u = [x - lr * alpha ** (-2 * t - 1) * a for x, a in zip(u, z, strict=True)]
        assert w == [alpha ** (t + 1) * x for x in u]


def test_roots_and_the_edge_of_their_region():
    schedule = exponential_schedule(0.1, 5e-4, 0.9)
    assert sorted([schedule.fast, schedule.slow]) == pytest.approx(sorted(np.roots([1, -(1.9 - 5e-5), 0.9])), rel=1e-12)
    for momentum in (0.0, 0.5, 0.9):
        edge = largest_decay(momentum)
        inside, outside = (np.roots([1, -(1 + momentum - x), momentum]) for x in (edge * 0.999, edge * 1.001))
        assert np.all(np.isreal(inside))
        assert momentum == 0 or not np.any(np.isreal(outside))
        exponential_schedule(1.0, edge * (1 - 1e-9), momentum)
        with pytest.raises(ValueError, match="not real and positive"):
            exponential_schedule(1.0, edge * (1 + 1e-9) + 1e-15, momentum)


def test_growth_a_step_and_an_epoch():
    schedule = exponential_schedule(0.1, 5e-4, 0.9)
    assert schedule.growth() == pytest.approx(1.001, abs=1e-4)
    assert schedule.growth_after(391) == pytest.approx(1.481, abs=5e-4)


# --- edge of stability
# --------------------------------------------------------------------------------------------


def test_edge_is_where_a_small_perturbation_is_neutral():
    """Without decay: below 2 the oscillation dies, above it grows. That 2 is the edge, on both losses."""
    for loss, v, p in ((RayleighPower((0.0, 3.0)), [1, 0], [0, 1]), (CircleOfMinima(0.5), [0.6, 0.8, 0], [0, 0, 1])):
        for ratio, grows in ((1.9, False), (2.1, True)):
            w = edge_start(loss, v, p, 1.0, 2e-8, ratio=ratio)
            run = descend(loss, w, 1.0, 50)
            assert (run.last("sphere_grad") > run["sphere_grad"][0]) == grows


def test_decay_holds_the_ratio_near_two_for_the_intrinsic_times_of_the_theorem():
    loss = CircleOfMinima(0.5)
    products, gaps = [3e-2, 1e-2, 3e-3], []
    for product in products:
        w = edge_start(loss, [np.cos(0.8), np.sin(0.8), 0], [0, 0, 1], 1.0, product, ratio=2 - 2 * product)
        run = edge_run(loss, w, 1.0, product, intrinsic_time=4, windows=2)
        gaps.append(float(np.abs(run.mean - 2).max()))
        assert run.sharpness[1] < run.sharpness[0] - 0.05
        assert run.ratio().shape == run.trajectory["norm"].shape
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: RayleighPower((1.0,)), "spectrum"),
        (lambda: RayleighPower(SPECTRUM, 1.5), "power"),
        (lambda: RayleighPower(SPECTRUM, 1, -1.0), "eps"),
        (lambda: CircleOfMinima(1.0), "tilt"),
        (lambda: descend(CircleOfMinima(), np.zeros(3), 1.0, 1), "w0"),
        (lambda: descend(CircleOfMinima(), np.ones(3), 1.0, 1, momentum=1.0), "momentum"),
        (lambda: descend(CircleOfMinima(), np.ones(3), 0.0, 1), "lr"),
        (lambda: simulate_equilibrium(dimension=1, lr=0.1, decay=0.1), "dimension"),
        (lambda: simulate_equilibrium(dimension=2, lr=0.1, decay=11.0), "wipe out"),
        (lambda: simulate_equilibrium(dimension=2, lr=0.1, decay=0.1, seeds=2), "seeds"),
        (lambda: norm_recursion(0.0, 0.1, 0.1, 1.0, 3), "norm0"),
        (lambda: exponential_schedule(0.1, 1.0, 1.0), "momentum"),
        (
            lambda: compare_runs(CircleOfMinima(), np.ones(3), exponential_schedule(0.1, 1e-3, 0.5), 5000, alpha=0.5),
            "overflow",
        ),
        (
            lambda: compare_runs(CircleOfMinima(), np.ones(3), exponential_schedule(0.1, 1e-3, 0.0), 5, alpha=0.0),
            "alpha",
        ),
        (lambda: edge_start(CircleOfMinima(), [1, 0, 0], [1, 0, 0], 1, 0.1), "parallel"),
        (lambda: edge_start(RayleighPower(SPECTRUM), [0, 0, 0, 1], [1, 0, 0, 0], 1, 0.1), "sharpness"),
        (lambda: edge_run(CircleOfMinima(), np.ones(3), 1.0, 0.5, intrinsic_time=1), "windows"),
    ],
)
def test_bad_input_says_what_and_why(call, message):
    with pytest.raises(ValueError, match=message):
        call()
