"""AdamW's rotation, logistic loss behind batch norm, and descent at the edge, against oracles of their own: torch's optimiser and autograd,
plain loops, exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from bntheory.models.adamw import adamw_rotation, predicted_angle
from bntheory.models.edge_of_stability import bursts, projected_angle, sharpening_run
from bntheory.models.normalised_logistic import descend_logistic, logistic_gradient, logistic_loss
from bntheory.models.scale_invariant import CircleOfMinima
from bntheory.models.spherical_sharpness import edge_run, edge_start
from bntheory.models.weight_decay import fixed_norm4, norm_recursion, steps_to_equilibrium


def test_the_simulated_step_is_torchs_adamw() -> None:
    """The angles of many steps of torch's optimiser on the same noise model lie where the simulation's do."""
    lr, decay, d = 0.02, 0.5, 40
    rng = torch.Generator().manual_seed(0)
    w = torch.nn.Parameter(torch.randn(d, generator=rng, dtype=torch.float64))
    with torch.no_grad():
        w *= np.sqrt(lr * d / (2 * decay)) / w.norm()
    optimiser = torch.optim.AdamW([w], lr=lr, betas=(0.9, 0.99), eps=0.0, weight_decay=decay)
    squares = []
    for t in range(4000):
        before = w.detach().clone()
        n = torch.randn(d, generator=rng, dtype=torch.float64)
        w.grad = (n - (n @ before) / (before @ before) * before) / before.norm()
        optimiser.step()
        if t > 1500:
            cosine = (w.detach() @ before) / (w.detach().norm() * before.norm())
            squares.append(float(torch.acos(cosine.clamp(max=1.0))) ** 2)
    theirs = float(np.sqrt(np.mean(squares)))
    ours = adamw_rotation(dimension=d, lr=lr, decay=decay, b1=0.9, b2=0.99, seeds=5).angle
    assert ours.mean() == pytest.approx(theirs, rel=0.02)
    assert theirs == pytest.approx(predicted_angle(lr, decay, 0.9), rel=0.03)


def test_the_momentum_is_in_the_angle() -> None:
    assert predicted_angle(0.1, 0.1, 0.0) == pytest.approx(np.sqrt(0.02))
    assert predicted_angle(0.1, 0.1, 0.9) == pytest.approx(np.sqrt(0.02 / 19))


@pytest.mark.parametrize("bad", [{"b1": 1.0}, {"lr": 0.0}, {"dimension": 1}, {"seeds": 2}])
def test_adamw_refuses(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="need"):
        adamw_rotation(**bad)  # type: ignore[arg-type]


def test_logistic_gradients_are_autograds() -> None:
    rng = np.random.default_rng(1)
    A = rng.normal(size=(3, 4, 6))
    w, gamma = rng.normal(size=(3, 6)), np.array([0.3, 2.0, 9.0])
    S = np.einsum("rni,rnj->rij", A, A) / 4
    down_w, down_gamma, _ = logistic_gradient(A, S, w, gamma)
    W, G = torch.tensor(w, requires_grad=True), torch.tensor(gamma, requires_grad=True)
    outputs = torch.einsum("rni,ri->rn", torch.tensor(A), W)
    # root mean square of the outputs themselves, without S
    scaled = outputs / outputs.square().mean(1, keepdim=True).sqrt()
    loss = torch.nn.functional.softplus(-G[:, None] * scaled).mean(1)
    loss.sum().backward()
    assert logistic_loss(A, w, gamma) == pytest.approx(loss.detach().numpy(), rel=1e-12)
    assert down_w == pytest.approx(W.grad.numpy(), rel=1e-9, abs=1e-14)  # type: ignore[union-attr]
    assert down_gamma == pytest.approx(G.grad.numpy(), rel=1e-9, abs=1e-14)  # type: ignore[union-attr]


def test_margins_start_where_they_are_and_become_equal() -> None:
    rng = np.random.default_rng(2)
    A, w = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 5))
    run = descend_logistic(A, w, lr=0.5, steps=3000)
    outputs = np.einsum("rni,ri->rn", A, w)
    u = outputs / np.sqrt((outputs**2).mean(axis=1, keepdims=True))
    assert run["spread"][..., 0] == pytest.approx(u.var(axis=1))
    assert (run.last("spread") < 1e-4).all()
    assert run.last("least_margin") == pytest.approx([1, 1], abs=1e-2)
    with pytest.raises(ValueError, match=r"signed must be"):
        descend_logistic(A, w[:, :4])


def test_clipping_bounds_the_relative_step() -> None:
    lr, decay = Fraction(1, 10), Fraction(1, 5)
    square = Fraction(1, 10**6)
    for _ in range(5):  # the definition in exact fractions: far below equilibrium every step is clipped
        step2 = min(lr**2 / square, lr**2 * (2 * decay / lr) * square)
        square = (1 - lr * decay) ** 2 * square + step2
    found = norm_recursion(1e-3, float(lr), float(decay), 1.0, 5, clipped=True)
    assert found[-1] ** 2 == pytest.approx(float(square), rel=1e-12)
    assert norm_recursion(1e-3, 0.1, 0.2, 1.0, 5)[1] > 10  # without it the first step throws w far out


def test_steps_to_equilibrium_counts_the_recursions_steps() -> None:
    goal = np.sqrt(fixed_norm4(0.1, 0.2, 1.0))
    norms = norm_recursion(30.0, 0.1, 0.2, 1.0, 2000)
    inside = np.flatnonzero((norms**2 <= goal * 1.05) & (norms**2 >= goal / 1.05))
    assert steps_to_equilibrium(30.0, 0.1, 0.2) == inside[0]
    with pytest.raises(ArithmeticError, match="after 3 steps"):
        steps_to_equilibrium(30.0, 0.1, 0.2, most=3)


def test_descent_at_the_edge_is_a_plain_loop() -> None:
    run = sharpening_run(lr=0.1, pull=0.05)
    p = torch.tensor([0.05, 18.0, 10.0], dtype=torch.float64, requires_grad=True)
    for t in range(50):
        x, y, z = p
        loss = y * x**2 / 2 + 0.05 * (y - 30) ** 2 / 2 + 0.05 * (z - y) ** 2 / 2
        (g,) = torch.autograd.grad(loss, p)
        with torch.no_grad():
            p -= 0.1 * g
        assert run.descent[t + 1] == pytest.approx(p.detach().numpy(), rel=1e-12)
    assert run.projected[:, 0].max() == pytest.approx(20.0)  # never beyond 2/lr
    assert run.free[-1, 0] > 25  # where descent would go without the edge
    with pytest.raises(ValueError, match="need y0 < 2/lr < goal"):
        sharpening_run(goal=10.0)


def test_projected_descent_keeps_the_sharpness_and_follows_the_flow() -> None:
    """A brute-force projection: tiny steps of decay, then back to the surface along the gradient of the sharpness."""
    tilt, lr, phi, r = 0.5, 1.0, 0.6, 0.9
    times = np.linspace(0, 1.5, 4)
    found = projected_angle(r, phi, tilt, lr, times)
    brute, dt = [phi], 1e-4
    for n in range(1, int(1.5 / dt) + 1):
        r *= 1 - dt
        sharp = (1 + tilt * np.cos(phi)) / r**2
        if sharp > 2 / lr:  # one Newton step along grad S = (-2 S/r, -tilt sin(phi)/r^3), the second along the circle
            a, b = -2 * sharp / r, -tilt * np.sin(phi) / r**3
            length = (2 / lr - sharp) / (a * a + b * b)
            r, phi = r + length * a, phi + length * b / r
        if n % int(0.5 / dt) == 0:
            brute.append(phi)
    assert found == pytest.approx(brute, abs=2e-3)
    with pytest.raises(ValueError, match="beyond the edge"):
        projected_angle(0.5, 0.6, tilt, lr, times)


def test_descent_slides_along_the_circle_as_projected_descent_does() -> None:
    loss = CircleOfMinima(0.5)
    w0 = edge_start(loss, [np.cos(0.6), np.sin(0.6), 0.0], [0.0, 0.0, 1.0], 1.0, 2e-3)
    run = edge_run(loss, w0, 1.0, 2e-3, intrinsic_time=3.0, windows=3)
    expected = 1 + 0.5 * np.cos(projected_angle(float(np.linalg.norm(w0)), 0.6, 0.5, 1.0, run.intrinsic_time))
    assert run.sharpness == pytest.approx(expected, abs=0.01)


def test_bursts_are_found_where_they_were_put() -> None:
    quiet = np.geomspace(1, 1e-6, 50)
    series = np.concatenate([quiet, quiet, quiet, [1e-6]])
    found = bursts(series)
    assert found.times.tolist() == [50, 100]
    assert found.periods.tolist() == [50]
    assert bursts(np.ones(10)).times.size == 0
    with pytest.raises(ValueError, match="factor must exceed 1"):
        bursts(series, 1.0)
