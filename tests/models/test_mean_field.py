"""Mean-field gradient rates: closed forms, quadrature, symbols and networks against each other.

Why the oracles are independent. The closed forms use the arc-cosine kernel and no integral. The plane route is a
two-dimensional Gauss rule on the activation's values and derivative; the Gegenbauer route uses only the values in one
dimension, a recurrence and the Laplacian's eigenvalues, and never the formula of the rate. For an activation that is
a single ultraspherical polynomial the rate is a rational number known from the eigenvalue alone (scipy evaluates the
polynomial). The Monte Carlo estimates know none of it: forward and backward passes of random networks, whose backward
pass is compared here with autograd through primitive operations. mpmath supplies the kernel from its defining
two-dimensional integral.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bntheory.models.activations import ACTIVATIONS, Activation, activation, leaky_relu
from bntheory.models.mean_field import (
    arc_cosine_kernel,
    arc_cosine_kernel_derivative,
    leaky_relu_rate,
    linear_rate,
    overflow_depth,
    relu_limit,
    relu_rate,
    relu_rate_as_printed,
    residual_growth,
)
from bntheory.models.mean_field_monte_carlo import (
    _direction,
    _simplex,
    _through_batch_norm,
    monte_carlo_limit,
    monte_carlo_rate,
    residual_profile,
)
from bntheory.models.mean_field_quadrature import degree_weights, fixed_point_scale, rate_by_quadrature, sphere_averages
from bntheory.models.mean_field_symbolic import (
    averaging_identity,
    gap_of_degrees,
    inverse_radius_moment,
    linear_identity,
    relu_identity,
    relu_limit_identity,
    sphere_identity,
    trace_identity,
)

BATCHES = [4, 5, 8, 16, 64, 1000]
WEAKLY_DIFFERENTIABLE = [name for name, act in ACTIVATIONS.items() if not act.jumps]


@pytest.mark.parametrize("c", [-1.0, -1 / 3, -0.1, 0.0, 0.5, 1.0])
def test_kernel_against_its_defining_integral(c: float) -> None:
    import mpmath as mp

    def relu_pair(order: int) -> float:
        # polar coordinates: the integrand is (r cos a)^order (r cos(a - b))^order exp(-r^2/2) r on a wedge
        tilt = mp.acos(c)
        if math.pi - float(tilt) < 1e-12:
            return 0.0
        angular = mp.quad(lambda a: (mp.cos(a) * mp.cos(a - tilt)) ** order, [tilt - mp.pi / 2, mp.pi / 2])
        radial = mp.quad(lambda r: r ** (2 * order + 1) * mp.exp(-(r**2) / 2), [0, 5, mp.inf])
        return float(2 * angular * radial / (2 * mp.pi))

    assert float(arc_cosine_kernel(c)) == pytest.approx(relu_pair(1), abs=1e-13)
    assert float(arc_cosine_kernel_derivative(c)) == pytest.approx(relu_pair(0), abs=1e-13)


@pytest.mark.parametrize(
    "identity",
    [
        inverse_radius_moment,
        trace_identity,
        averaging_identity,
        linear_identity,
        relu_identity,
        relu_limit_identity,
        gap_of_degrees,
    ],
)
def test_symbolic_identities_hold_for_every_batch_size(identity) -> None:  # type: ignore[no-untyped-def]
    assert identity() == 0


def test_numerator_is_a_dirichlet_form_on_polynomials() -> None:
    assert sphere_identity(4) == 0


def test_printed_relu_form_equals_the_derived_one() -> None:
    sizes = np.array([*BATCHES, 10**6], dtype=float)
    np.testing.assert_allclose(relu_rate(sizes), relu_rate_as_printed(sizes), rtol=1e-12)


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.01, 0.2, 1.0, 3.0])
@pytest.mark.parametrize("batch", BATCHES)
def test_closed_form_against_both_quadratures(slope: float, batch: int) -> None:
    closed = float(leaky_relu_rate(batch, slope))
    found = rate_by_quadrature(leaky_relu(slope), batch)
    # Gauss-Legendre on smooth pieces: the refinement is the error estimate, plus rounding of 1e5 terms
    assert abs(found.rate - closed) <= 4 * found.refinement + 1e-12 * closed
    # the series of a kinked function converges like degrees^-5/2 at B = 4, faster above
    assert found.series_rate == pytest.approx(closed, rel=2e-6)


def test_slope_one_is_linear_and_slope_is_symmetric_under_inversion() -> None:
    # phi_a(-t) = -a phi_{1/a}(t), and the sphere is symmetric: both have the same rate
    np.testing.assert_allclose(leaky_relu_rate(BATCHES, 1.0), linear_rate(BATCHES), rtol=1e-13)
    np.testing.assert_allclose(leaky_relu_rate(BATCHES, 0.25), leaky_relu_rate(BATCHES, 4.0), rtol=1e-12)


def test_relu_rate_reaches_its_limit_at_first_order() -> None:
    sizes = 10.0 ** np.arange(2, 9)
    excess = relu_rate(sizes) - relu_limit()
    assert np.all(excess > 0)
    # (rate - limit) B tends to a constant, so the slope of the excess is -1
    assert np.log10(excess[:-1] / excess[1:])[-3:] == pytest.approx([1.0, 1.0, 1.0], abs=1e-3)
    assert relu_limit() == pytest.approx(1.4669422069242598, rel=1e-15)


@pytest.mark.parametrize("batch", [4, 5, 8, 33])
@pytest.mark.parametrize("degree", [1, 2, 3, 6])
def test_single_degree_has_the_rate_of_its_eigenvalue(batch: int, degree: int) -> None:
    from scipy.special import eval_gegenbauer

    n = batch - 1
    half, root = (n - 2) / 2, math.sqrt(n)
    pure = Activation(
        f"degree {degree}",
        lambda t: np.asarray(eval_gegenbauer(degree, half, t / root)),
        lambda t: np.asarray(2 * half / root * eval_gegenbauer(degree - 1, half + 1, t / root)),
    )
    expected = degree * (degree + n - 2) / (n - 2)
    assert rate_by_quadrature(pure, batch).rate == pytest.approx(expected, rel=1e-11)
    assert degree_weights(pure, batch, degrees=12)[degree] == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize("name", WEAKLY_DIFFERENTIABLE)
@pytest.mark.parametrize("batch", [4, 5, 8, 64, 1000])
def test_two_routes_agree_and_respect_the_lower_bound(name: str, batch: int) -> None:
    found = rate_by_quadrature(activation(name), batch)
    assert found.disagreement <= (5e-5 if name == "hardtanh" else 2e-6) * found.rate
    assert found.refinement <= 1e-9 * found.rate
    assert found.rate >= float(linear_rate(batch)) * (1 - 1e-12)
    assert (found.linear_weight > 1 - 1e-12) == (name == "linear")


@pytest.mark.long
@settings(max_examples=40)
@given(
    coefficients=st.lists(st.floats(-3, 3).filter(lambda v: abs(v) > 1e-3), min_size=1, max_size=5),
    frequency=st.floats(0.1, 3),
    batch=st.integers(4, 40),
)
def test_no_smooth_activation_beats_linear(coefficients: list[float], frequency: float, batch: int) -> None:
    def value(t: np.ndarray) -> np.ndarray:
        return sum(a * np.sin(frequency * (k + 1) * t + k) for k, a in enumerate(coefficients))

    def derivative(t: np.ndarray) -> np.ndarray:
        return sum(a * frequency * (k + 1) * np.cos(frequency * (k + 1) * t + k) for k, a in enumerate(coefficients))

    found = rate_by_quadrature(Activation("waves", value, derivative), batch, degrees=120)
    assert found.rate >= float(linear_rate(batch)) - 1e-9
    assert (
        found.disagreement <= 1e-6 * found.rate + found.refinement
    )  # of quick waves it says that it is not fine enough


def test_bound_needs_a_weak_derivative() -> None:
    # sign: autograd's derivative is 0, so no gradient passes; the series says the rate has no finite value
    found = rate_by_quadrature(ACTIVATIONS["sign"], 8)
    assert found.rate == 0.0
    assert found.series_rate == math.inf


def test_equality_needs_linearity_only_on_the_interval_that_is_reached() -> None:
    clipped = Activation(
        "clip at 2", lambda t: np.clip(t, -2, 2), lambda t: np.where(np.abs(t) < 2, 1.0, 0.0), kinks=(-2.0, 2.0)
    )
    assert rate_by_quadrature(clipped, 4).rate == pytest.approx(2.0, rel=1e-11)  # |t| <= sqrt(3)
    assert rate_by_quadrature(clipped, 8).rate > 1.2 + 1e-3  # |t| <= sqrt(7)


def test_averages_against_plain_sampling() -> None:
    rng = np.random.default_rng(3)
    act, batch = ACTIVATIONS["gelu"], 6
    g = rng.standard_normal((400_000, batch - 1)) @ _simplex(batch)
    t = math.sqrt(batch) * g / np.linalg.norm(g, axis=1, keepdims=True)
    exact = sphere_averages(act, batch)
    for samples, value in [
        (act.value(t[:, 0]) ** 2, exact.variance),
        (act.value(t[:, 0]) * act.value(t[:, 1]), exact.covariance),
    ]:
        assert abs(samples.mean() - value) <= 4 * samples.std() / math.sqrt(samples.size)


@pytest.mark.parametrize("name", ["linear", "relu"])
@pytest.mark.parametrize("batch", [4, 5, 8, 16, 64])
def test_networks_of_width_1024_agree_within_three_standard_errors(name: str, batch: int) -> None:
    expected = float(linear_rate(batch) if name == "linear" else relu_rate(batch))
    found = monte_carlo_limit(activation(name), batch, width=1024, networks=20, seed=0)
    assert found.fine.width == 1024
    assert found.standard_error < 0.03 * expected  # otherwise the next line would say little
    assert abs(found.deviation(expected)) <= 3.0


def test_wrong_constant_is_seen_by_the_networks() -> None:
    # the power of the comparison: (B - 2)/(B - 4) would be refused at B = 16
    found = monte_carlo_limit(activation("linear"), 16, width=1024, networks=16, seed=0)
    assert abs(found.deviation(14 / 12)) > 8


@pytest.mark.long
def test_finite_width_bias_is_two_over_the_width() -> None:
    found = monte_carlo_rate(activation("linear"), 64, width=256, networks=800, seed=5)
    relative = found.rate / float(linear_rate(64)) - 1
    assert 256 * found.standard_error < 0.3
    assert relative * 256 == pytest.approx(-2.0, abs=3 * 256 * found.standard_error + 0.1)


def test_plain_and_conditional_estimates_agree_where_both_have_a_variance() -> None:
    found = monte_carlo_rate(activation("tanh"), 16, width=256, networks=400, seed=2)
    assert found.plain_has_variance
    assert abs(found.plain_rate - found.rate) <= 4 * found.plain_standard_error
    assert not monte_carlo_rate(activation("tanh"), 5, width=8, networks=2).plain_has_variance
    assert found.standard_error < found.plain_standard_error


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_whole_backward_pass_against_autograd(name: str) -> None:
    import torch

    batch, width, seed = 6, 9, 11
    act = activation(name)
    found = monte_carlo_rate(act, batch, width=width, networks=2, seed=seed)
    averages = sphere_averages(act, batch)
    spread = averages.variance - averages.covariance
    phi = {"tanh": torch.tanh, "relu": torch.relu}[name]

    def norm(h: torch.Tensor) -> torch.Tensor:
        centred = h - h.mean(1, keepdim=True)
        return centred / torch.sqrt((centred**2).mean(1, keepdim=True))

    ratios, conditional = [], []
    for index in range(2):
        rng = np.random.default_rng([seed, index])
        h1 = torch.tensor(rng.standard_normal((width, batch - 1)) @ _simplex(batch) * math.sqrt(spread))
        h1.requires_grad_(True)
        w2 = torch.tensor(rng.standard_normal((width, width)) / math.sqrt(width))
        h2 = w2 @ phi(norm(h1))
        loss = (phi(norm(h2)) * torch.tensor(rng.standard_normal((width, batch)))).sum()
        below, above = torch.autograd.grad(loss, (h1, h2))
        ratios.append(float((below**2).sum() / (above**2).sum()))
        # the radius taken out, and its mean inverse square put in: 1/(spread (B - 3))
        radius2 = ((h1 - h1.mean(1, keepdim=True)) ** 2).sum(1, keepdim=True).detach()
        conditional.append(float((below**2 * radius2).sum() / (above**2).sum() / (spread * (batch - 3))))
    assert found.plain_rate == pytest.approx(np.mean(ratios), rel=1e-10)
    assert found.rate == pytest.approx(np.mean(conditional), rel=1e-10)


def test_limit_removes_the_first_order_in_the_width() -> None:
    found = monte_carlo_limit(activation("relu"), 8, width=32, networks=6, seed=1)
    assert (found.fine.width, found.coarse.width, found.coarse.networks) == (32, 16, 12)
    for limit, slope in [(1.7, 3.0), (1.2, -8.0)]:  # a + b/width is mapped to a
        assert 2 * (limit + slope / 32) - (limit + slope / 16) == pytest.approx(limit)
    assert found.rate == 2 * found.fine.rate - found.coarse.rate
    assert found.standard_error == pytest.approx(math.hypot(2 * found.fine.standard_error, found.coarse.standard_error))


def test_radius_given_direction_has_the_stated_inverse_moment() -> None:
    # E[1/R^2 | u] = u' S^+ u/(n - 2): averaged over u it must give E[1/R^2], here for an anisotropic S
    rng = np.random.default_rng(4)
    batch = 9
    n, basis = batch - 1, _simplex(batch)
    scale = np.linspace(0.5, 2.0, n)
    h = (rng.standard_normal((400_000, n)) * np.sqrt(scale)) @ basis
    u, radius = _direction(h)
    conditional = np.sum((u @ basis.T) ** 2 / scale, axis=1) / (n - 2)
    difference = 1 / radius[:, 0] ** 2 - conditional
    assert abs(difference.mean()) <= 4 * difference.std() / math.sqrt(len(difference))


def test_backward_pass_against_autograd() -> None:
    import torch

    rng = np.random.default_rng(0)
    h = torch.tensor(rng.standard_normal((5, 7)), requires_grad=True)
    top = rng.standard_normal((5, 7))
    centred = h - h.mean(1, keepdim=True)
    normalised = centred / torch.sqrt((centred**2).mean(1, keepdim=True))
    (expected,) = torch.autograd.grad((normalised * torch.tensor(top)).sum(), h)
    u, radius = _direction(h.detach().numpy())
    np.testing.assert_allclose(
        _through_batch_norm(u, top) * math.sqrt(7) / radius, expected.numpy(), rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(math.sqrt(7) * u, normalised.detach().numpy(), atol=1e-13)


@pytest.mark.long
def test_residual_growth_is_a_power_of_the_depth_and_networks_agree() -> None:
    rate = float(relu_rate(16))
    predicted = residual_growth(rate, 1.0, [12])
    found = residual_profile(activation("relu"), 16, offset=1.0, depth=12, width=512, networks=24, seed=0)
    growth = np.exp(found.log_gradient[:, 0])
    error = growth.std(ddof=1) / math.sqrt(len(growth))
    expected = float(np.exp(predicted[0]))
    # every layer lowers the mean by about 2/width of its increment: 12 of them are allowed for
    assert abs(growth.mean() - expected) <= 3 * error + expected * 12 * 2 / 512
    far = residual_growth(rate, 1.0, [1e6, 1e7])
    assert (far[1] - far[0]) / math.log(10) == pytest.approx(rate, abs=1e-5)
    # the product over layers, multiplied out
    product = np.prod([1 + rate / (1.0 + level) for level in range(12)])
    assert expected == pytest.approx(product, rel=1e-12)


def relu_overflow(b: int, *, depth: int, width: int = 256) -> int | None:
    """After how many layers, from the top down, a unit gradient overflows in a network whose arithmetic is float32."""
    act, root, rng = activation("relu"), np.float32(math.sqrt(b)), np.random.default_rng(0)
    variance, covariance = fixed_point_scale(act, b)
    h = rng.standard_normal((width, b - 1)) @ _simplex(b) * math.sqrt(variance - covariance)
    h, layers = h.astype(np.float32), []
    for _ in range(depth):
        u, radius = _direction(h)
        layers.append((rng.standard_normal((width, width), np.float32) / np.float32(math.sqrt(width)), u, radius))
        h = layers[-1][0] @ act.value(root * u).astype(np.float32)
    gradient = rng.standard_normal((width, b), np.float32)
    gradient -= gradient.mean(axis=1, keepdims=True)
    gradient /= np.linalg.norm(gradient)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is what is being looked for
        for below, (w, u, radius) in enumerate(reversed(layers), start=1):
            branch = act.derivative(root * u).astype(np.float32) * (w.T @ gradient)
            gradient = _through_batch_norm(u, branch) * (root / radius)
            if not np.all(np.isfinite(gradient)):
                return below
    return None


def test_overflow_depth_against_a_network_in_float32() -> None:
    rate = float(relu_rate(8))
    predicted = overflow_depth(rate, "float32")
    assert rate ** (predicted / 2) == pytest.approx(float(np.finfo(np.float32).max), rel=1e-9)
    found = relu_overflow(8, depth=int(1.2 * predicted))
    # the typical gradient grows more slowly than the mean one, by a few per cent at width 256
    assert found is not None
    assert 0.95 * predicted <= found <= 1.1 * predicted
    assert relu_overflow(8, depth=40) is None
    assert overflow_depth(rate, "float64") > 7 * predicted
    assert overflow_depth(1.0) == math.inf
    assert overflow_depth(rate, squared=True) == pytest.approx(predicted / 2)


ERRORS = {
    "batch of three": (lambda: linear_rate(3), "batch_size=3"),
    "batch of 4.5": (lambda: relu_rate(4.5), "batch_size=4.5"),
    "constant activation": (
        lambda: rate_by_quadrature(Activation("one", np.ones_like, np.zeros_like), 8),
        "variance zero",
    ),
    "dead on the interval": (
        lambda: rate_by_quadrature(Activation("far", lambda t: np.maximum(t - 9, 0), np.zeros_like), 8),
        "constant on",
    ),
    "unknown activation": (lambda: activation("swoosh"), "unknown activation"),
    "bad slope": (lambda: activation("leaky_relu(x)"), "slope in brackets"),
    "correlation": (lambda: arc_cosine_kernel(1.5), "correlation"),
    "dtype": (lambda: overflow_depth(2.0, "int8"), "dtype"),
    "rate": (lambda: overflow_depth(-1.0), "rate=-1"),
    "offset": (lambda: residual_growth(1.5, 0.0, 3), "offset=0"),
    "no gradient": (lambda: monte_carlo_rate(activation("sign"), 8, width=8), "no gradient through"),
    "networks": (lambda: monte_carlo_rate(activation("relu"), 8, networks=1), "networks=1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument(case: str) -> None:
    call, words = ERRORS[case]
    with pytest.raises(ValueError, match=words):
        call()
