"""Santurkar's measures along the gradient.

Oracles: a quadratic, for which all measures are known in closed form (beta lies between extreme eigenvalues and equals
||A g||/||g||); the definition computed on deep copies; scaling laws of the measures.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.training import reproducible
from bntheory.bridge.probes.along_gradient import AlongGradient, along_gradient

STEPS = [0.05, 0.1, 0.4]


@pytest.fixture(autouse=True)
def deterministic() -> Iterator[None]:
    """Exact equality between two evaluations is asked for below; on CUDA it needs deterministic algorithms."""
    with reproducible():
        yield


def network(kind: str, device: str, norm: str = "batch") -> nn.Module:
    spec = NetworkSpec(kind, size="tiny", norm=norm, input_shape=(1, 8, 8))
    return build_network(spec, 3, device=device, dtype=torch.float64)


def batch(device: str, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.to(device), (torch.arange(n) % 10).to(device)


def test_quadratic_in_closed_form(device: str) -> None:
    """L = (1/2) w'Aw: g = Aw, L(w - sg) = (1/2)(w - sg)'A(w - sg), change of the gradient = s ||Ag||."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    matrix = q @ np.diag([0.1, 0.5, 1.0, 2.0, 4.0]) @ q.T
    w = rng.normal(size=5)
    model = nn.Linear(5, 1, bias=False).double().to(device)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(w)[None])
    a = torch.from_numpy(matrix).to(device)
    found = along_gradient(model, lambda out: (model.weight @ a @ model.weight.T).sum() / 2, (a,), STEPS)
    g = matrix @ w
    losses = [0.5 * (w - s * g) @ matrix @ (w - s * g) for s in STEPS]
    change = np.linalg.norm(matrix @ g)
    assert found.loss == pytest.approx(0.5 * w @ matrix @ w, rel=1e-12)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(g), rel=1e-12)
    assert found.losses == pytest.approx(losses, rel=1e-12)
    assert found.loss_range == pytest.approx((min(losses), max(losses)), rel=1e-12)
    assert found.gradient_changes == pytest.approx([s * change for s in STEPS], rel=1e-12)
    assert found.gradient_change_range == pytest.approx((0.05 * change, 0.4 * change), rel=1e-12)
    assert found.distances == pytest.approx([s * np.linalg.norm(g) for s in STEPS], rel=1e-12)
    assert found.effective_beta == pytest.approx(change / np.linalg.norm(g), rel=1e-12)
    h = [g - s * matrix @ g for s in STEPS]
    assert found.cosines == pytest.approx([g @ v / np.linalg.norm(g) / np.linalg.norm(v) for v in h], rel=1e-12)
    curvature = g @ matrix @ g / (g @ g)
    assert found.linear_errors == pytest.approx([s * curvature / 2 for s in STEPS], rel=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "vgg", "resnet", "rnn", "transformer"])
@pytest.mark.parametrize("norm", ["batch", "none", "noisy-batch"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_against_the_definition_on_copies(kind: str, norm: str, mode: str, device: str) -> None:
    model = network(kind, device, norm)
    x, y = batch(device)
    model(x)
    model.train(mode == "train")

    def at(s: float, direction: list[torch.Tensor] | None) -> tuple[float, np.ndarray, list[torch.Tensor]]:
        other = copy.deepcopy(model)
        if direction is not None:
            with torch.no_grad():
                for p, d in zip(other.parameters(), direction, strict=True):
                    p.sub_(s * d)
        loss = F.cross_entropy(other(x), y)
        loss.backward()
        grads = [p.grad for p in other.parameters()]
        return loss.item(), np.concatenate([g.cpu().numpy().ravel() for g in grads]), grads

    before = state_fingerprint(model)
    found = along_gradient(model, F.cross_entropy, (x, y), STEPS, mode="current")
    assert state_fingerprint(model) == before
    loss, g, direction = at(0.0, None)
    assert found.loss == pytest.approx(loss, rel=1e-12)
    assert found.gradient_norm == pytest.approx(np.linalg.norm(g), rel=1e-12)
    for i, s in enumerate(STEPS):
        there, h, _ = at(s, direction)
        assert found.losses[i] == pytest.approx(there, rel=1e-10)
        assert found.gradient_changes[i] == pytest.approx(np.linalg.norm(g - h), rel=1e-9)
        assert found.betas[i] == pytest.approx(np.linalg.norm(g - h) / (s * np.linalg.norm(g)), rel=1e-9)


def test_order_of_steps_does_not_matter(device: str) -> None:
    model, data = network("vgg", device), batch(device)
    forth = along_gradient(model, F.cross_entropy, data, STEPS)
    back = along_gradient(model, F.cross_entropy, data, STEPS[::-1])
    assert forth.losses == back.losses[::-1]
    assert forth.gradient_changes == back.gradient_changes[::-1]


def test_dropout_is_the_same_at_every_point(device: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.Dropout(0.5), nn.Linear(40, 10)).double().to(device)
    with pytest.raises(ValueError, match="dropout is active"):
        along_gradient(model, F.cross_entropy, batch(device), [1e-9])
    found = along_gradient(model, F.cross_entropy, batch(device), [1e-9, 2e-9, 3e-9], seed=3)
    assert found.losses == pytest.approx([found.loss] * 3, abs=1e-6)  # another mask would change it by far more


@pytest.mark.parametrize("factor", [0.25, 10.0])
def test_scaling_laws(factor: float, device: str) -> None:
    """L -> cL with s -> s/c: the points are the same, so losses and beta grow by c and relative errors stay."""
    model, data = network("mlp", device, "none"), batch(device)
    plain = along_gradient(model, F.cross_entropy, data, STEPS)
    scaled = along_gradient(model, lambda o, y: factor * F.cross_entropy(o, y), data, [s / factor for s in STEPS])
    assert scaled.losses == pytest.approx([factor * v for v in plain.losses], rel=1e-9)
    assert scaled.effective_beta == pytest.approx(factor * plain.effective_beta, rel=1e-9)
    assert scaled.linear_errors == pytest.approx(plain.linear_errors, rel=1e-7)
    assert scaled.cosines == pytest.approx(plain.cosines, rel=1e-9)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_interrupted_measurement_leaves_the_model_alone(after: int, device: str) -> None:
    model, data = network("resnet", device), batch(device)
    calls = iter(range(1, 1000))  # what a cell or an attribute holds is put back

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if next(calls) == after:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, targets)

    before = state_fingerprint(model)
    with pytest.raises(KeyboardInterrupt):
        along_gradient(model, loss, data, STEPS)
    assert state_fingerprint(model) == before


def test_divergence_is_reported_as_it_came_out(device: str) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(device)
    x, y = batch(device)
    found = along_gradient(model, lambda o, y: o.square().square().mean(), (x.float(), y), [1e-3, 1e30])
    assert math.isfinite(found.losses[0])
    assert not math.isfinite(found.losses[1])
    assert math.isnan(found.effective_beta)


def test_stationary_point(device: str) -> None:
    model = nn.Linear(3, 1, bias=False).double().to(device)
    with torch.no_grad():
        model.weight.zero_()
    x = torch.ones(4, 3, dtype=torch.float64, device=device)
    found = along_gradient(model, lambda o: o.square().sum(), (x,), [0.1])
    assert (found.gradient_norm, found.gradient_changes) == (0.0, (0.0,))
    assert math.isnan(found.effective_beta)
    assert math.isnan(found.cosines[0])
    assert isinstance(found, AlongGradient)


@pytest.mark.parametrize("sizes", [[], [0.0], [-0.1], [float("nan")], [float("inf")]], ids=str)
def test_bad_step_sizes(sizes: list[float], device: str) -> None:
    with pytest.raises(ValueError, match="step_sizes"):
        along_gradient(network("mlp", device), F.cross_entropy, batch(device), sizes)
