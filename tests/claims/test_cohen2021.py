"""The edge of stability: the sharpness against scipy on hand-written products, and studies that must come out otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from bntheory.bridge import NetworkSpec, build_network
from bntheory.claims.claim import Study
from bntheory.claims.sources.cohen2021 import band, late_sharpness
from bntheory.experiments.short_runs import choose_images

STUDY = Study(effort="quick")


def half_squared_distance(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    distance = model(x) - torch.eye(10, dtype=x.dtype)[y]
    return (distance**2).sum() / (2 * len(y))


def sharpness(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The largest eigenvalue by scipy, from products that differentiate twice backward."""
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(half_squared_distance(model, x, y), parameters, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradients])

    def product(v: np.ndarray) -> np.ndarray:
        found = torch.autograd.grad(flat @ torch.from_numpy(v.reshape(-1)), parameters, retain_graph=True)
        return torch.cat([f.reshape(-1) for f in found]).numpy()

    operator = LinearOperator((len(flat),) * 2, matvec=product, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=len(flat))
    return float(eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)[0])


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_sharpness_along_a_run_by_a_plain_loop(norm: str) -> None:
    rate, steps, points = 0.05, 16, 2
    found = late_sharpness(STUDY, norm, rate, 5, images=50, steps=steps, points=points)
    images = choose_images(50, side=14, seed=5, device="cpu")
    spec = NetworkSpec("mlp", norm=norm, layout=(32, 32), activation="tanh", input_shape=(1, 14, 14))
    model = build_network(spec, 5, dtype=torch.float64)
    x, y = images.inputs.double(), images.labels
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    logs = []
    for step in range(1, steps + 1):
        optimiser.zero_grad()
        half_squared_distance(model, x, y).backward()
        optimiser.step()
        if step in (13, 16):  # an odd distance apart, the last one at the end
            logs.append(math.log(rate * sharpness(model, x, y) / 2))
    assert found == pytest.approx(sum(logs) / 2, abs=2e-3)
    again = late_sharpness(STUDY, norm, rate, 5, images=50, steps=steps, points=points)
    assert again == found


def test_at_a_rate_too_small_to_get_there_the_study_says_so() -> None:
    values = [
        late_sharpness(STUDY, "batch", 0.004, seed, images=50, steps=60, points=2) for seed in range(3)
    ]  # fmt: skip
    assert [c.outcome for c in band("far from the edge", values, "")] == ["fails", "holds"]


def test_a_run_that_diverges_is_left_out_and_counted() -> None:
    lost = late_sharpness(STUDY, "none", 2.0, 0, images=50, steps=200, points=2)
    assert lost is None
    checks = band("x", [0.01, 0.02, lost, 0.03], "made up")
    assert [c.outcome for c in checks] == ["holds", "holds"]
    assert "1 runs diverged" in checks[0].scope
    assert {c.outcome for c in band("x", [lost, lost, 0.0], "made up")} == {"undecided"}


@pytest.mark.parametrize(
    ("level", "outcomes"),
    [(0.0, ["holds", "holds"]), (0.4, ["holds", "fails"]), (-0.4, ["fails", "holds"]), (0.22, ["holds", "undecided"])],
)  # fmt: skip
def test_the_band_has_two_sides(level: float, outcomes: list[str]) -> None:
    assert [c.outcome for c in band("x", [level - 0.02, level, level + 0.02], "")] == outcomes
