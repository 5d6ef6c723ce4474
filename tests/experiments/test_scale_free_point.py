"""The scale-free measures of a point, and where they and the curvature are taken.

Oracles: the definitions evaluated here with plain torch in float64 at hand-made steps, without landscapes; and what must not
change: a rescaled loss leaves every number alone. The frozen twin must have the network's own loss on each batch it is measured on.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import at_start, measured, tiny_preset
from torch import nn

from bntheory.bridge.networks.data import load_dataset
from bntheory.bridge.probes.scale_free_point import FRACTION, scale_free_point
from bntheory.experiments.contrasts import activation_pairs
from bntheory.experiments.preset import NetworkEntry, load_preset


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    preset = load_preset(tiny_preset(tmp_path_factory.mktemp("preset")))
    return preset, load_dataset(preset.data, None)


def _network(setting: tuple[Any, Any], arm: str) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    preset, data = setting
    at = at_start(preset, data, arm)
    return at.model, at.batch(16)


@pytest.mark.parametrize("arm", ["batchnorm", "standard"])
def test_against_the_definitions(setting: tuple[Any, Any], arm: str) -> None:
    model, batch = _network(setting, arm)
    found = scale_free_point(model, nn.functional.cross_entropy, batch)
    exact, inputs = model.double(), batch[0].double()
    start = [p.detach().clone() for p in exact.parameters()]

    def at(length: float, direction: list[torch.Tensor]) -> tuple[float, list[torch.Tensor]]:
        with torch.no_grad():
            for p, s, d in zip(exact.parameters(), start, direction, strict=True):
                p.copy_(s - length * d)
        value = nn.functional.cross_entropy(exact(inputs), batch[1])
        return float(value.detach()), list(torch.autograd.grad(value, list(exact.parameters())))

    loss, g = at(0.0, [torch.zeros_like(s) for s in start])
    squared = sum(float((x * x).sum()) for x in g)

    def error(fraction: float) -> float:
        return abs(at(fraction * loss / squared, g)[0] - (1 - fraction) * loss) / (fraction * loss)

    after, h = at(FRACTION * loss / squared, g)
    inner = sum(float((x * y).sum()) for x, y in zip(g, h, strict=True))
    other = sum(float((y * y).sum()) for y in h)
    assert found["linearity_error"] == pytest.approx(abs(after - 0.9 * loss) / (0.1 * loss), rel=1e-6)
    assert found["gradient_cosine"] == pytest.approx(inner / (squared * other) ** 0.5, rel=1e-6)
    trust = found["trust_fraction"]
    assert error(trust) <= 0.5
    if trust < 1:
        assert error(1.04 * trust) > 0.5


def test_a_rescaled_loss_changes_nothing(setting: tuple[Any, Any]) -> None:
    model, batch = _network(setting, "batchnorm")
    one = scale_free_point(model, nn.functional.cross_entropy, batch)
    two = scale_free_point(model, lambda z, y: 0.01 * nn.functional.cross_entropy(z, y), batch)
    for key in ("linearity_error", "trust_fraction", "gradient_cosine"):
        assert two[key] == pytest.approx(one[key], rel=1e-9)


def test_a_point_without_slope_says_why() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0 * self.weight

    batch = (torch.randn(4, 3), torch.tensor([0, 1, 2, 0]))
    found = scale_free_point(Flat(), nn.functional.cross_entropy, batch)
    assert "gradient is zero" in found["refused"]
    assert found["trust_fraction"] is None


def test_the_twin_has_the_networks_loss_on_the_batch_of_its_curvature(setting: tuple[Any, Any]) -> None:
    preset, data = setting
    assert preset.curvature.batch_size < preset.measure.batch_size  # else there is nothing to confuse
    record = measured(preset, at_start(preset, data, "batchnorm"))
    twin = record["twin"]
    assert twin["loss"] == pytest.approx(record["loss"], rel=1e-5)
    assert twin["curvature"]["loss"] == pytest.approx(record["curvature"]["loss"], rel=1e-5)
    assert twin["curvature"]["loss"] != pytest.approx(twin["loss"], rel=1e-3)  # other batches, other losses


def test_pairs_differ_in_their_activation_only() -> None:
    def entry(name: str, kind: str = "mlp", **options: Any) -> NetworkEntry:
        return NetworkEntry(name, kind, options)

    networks = [
        entry("a", layout=[3]),
        entry("b", layout=[3], activation="softplus"),
        entry("c", layout=[4], activation="softplus"),
        entry("d", "vgg", layout=[3], activation="softplus"),
        entry("e", layout=[3], activation="relu"),
        entry("f", layout=[3], activation="tanh"),
    ]
    pairs = {(r.name, s.name) for r, s in activation_pairs(networks)}
    assert pairs == {("a", "b"), ("a", "f"), ("e", "b"), ("e", "f")}
