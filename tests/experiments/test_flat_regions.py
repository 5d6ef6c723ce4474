"""The affine defect along the gradient, and units in flat regions under an update that is not made, as measured on an arm.

Oracles: for the defect a best affine fit by equal ripples on a fine grid (half the range of the residual of the best slope, found by
bisection); a quadratic, whose defect is known; for flat units a pass of the network written out here, before and after a step by torch.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from bntheory.bridge import load_dataset
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.measures.situation import Situation
from bntheory.experiments.worker import follow

LAYOUT, RATE = (6, 5), 0.2
FLAT = 0.3


def situation(norm: str, activation: str = "relu") -> Situation:
    arm = Arm("mlp", norm, "mlp", {"norm": norm, "layout": LAYOUT, "activation": activation}, RATE)
    return next(follow(Task(arm, 3), [8], load_dataset(), "cpu", Protocol(8, (8,), 16, 40, side=4)))


def best_affine_fit(t: np.ndarray, f: np.ndarray) -> float:
    """The least largest deviation: over slopes b, half the range of f - b t, which is convex in b."""
    scale = float(np.ptp(f) / np.ptp(t)) + 1e-12
    low, high = -4 * scale, 4 * scale
    for _ in range(200):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if np.ptp(f - a * t) < np.ptp(f - b * t):
            high = b
        else:
            low = a
    return float(np.ptp(f - low * t)) / 2


@pytest.mark.long
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_affine_defect_along_the_gradient(norm: str) -> None:
    at = situation(norm)
    options = {"batch_size": 24, "steps": [1.0, 4.0], "twin": norm == "batch"}
    found = measure(at, Measure("affine-defect", options))["affine_defect"]
    assert set(found) == ({"own", "twin"} if norm == "batch" else {"own"})
    model = copy.deepcopy(at.model).double().train()
    x, labels = at.batch(24)
    parameters = list(model.parameters())
    g = torch.autograd.grad(F.cross_entropy(model(x.double()), labels), parameters)
    length = float(torch.cat([p.flatten() for p in g]).norm())
    for steps in (1.0, 4.0):
        point = found["own"][f"{steps:g}"]
        assert point["radius"] == pytest.approx(steps * RATE * length, rel=1e-4)
        t, f = np.linspace(-1, 1, 193), []
        for s in t:
            moved = {
                n: (p + float(s) * steps * RATE * d).detach()
                for (n, p), d in zip(model.named_parameters(), g, strict=True)
            }
            f.append(F.cross_entropy(functional_call(model, moved, (x.double(),)), labels).item())
        assert point["defect"] == pytest.approx(best_affine_fit(t, np.array(f)), rel=0.02)
        assert point["scaled"] == pytest.approx(2 * point["defect"] / point["radius"] ** 2)
    if norm == "batch":
        assert found["twin"]["1"]["defect"] != pytest.approx(found["own"]["1"]["defect"], rel=0.05)


def slopes(model: nn.Module, x: Tensor, activation: str) -> list[Tensor]:
    """Whether each input of a nonlinearity lies where its slope is below FLAT: found from the formula, layer by layer."""
    flat, h = [], x.flatten(1)
    for i in range(len(LAYOUT)):
        y = getattr(model, f"hidden{i}").norm(getattr(model, f"hidden{i}").weight_layer(h))
        if activation == "relu":
            flat.append(y <= 0)
            h = y.clamp(min=0)
        else:
            flat.append(1 - torch.tanh(y) ** 2 < FLAT)
            h = torch.tanh(y)
    return flat


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_units_in_flat_regions_before_and_after_the_update(norm: str, activation: str) -> None:
    at = situation(norm, activation)
    state = {n: t.clone() for n, t in at.model.state_dict().items()}
    found = measure(at, Measure("saturation", {"batch_size": 24, "flat": FLAT}))["saturation"]
    assert all(torch.equal(state[n], t) for n, t in at.model.state_dict().items())
    x = at.batch(24)[0]
    other = copy.deepcopy(at.model).train()
    before = slopes(other, x, activation)
    images, labels = at.training_batch()
    optimiser = torch.optim.SGD(other.parameters(), RATE)
    torch.autograd.backward(F.cross_entropy(other(images), labels))
    optimiser.step()
    after = slopes(other, x, activation)
    for i, (a, b) in enumerate(zip(before, after, strict=True)):
        assert found["before"][i] == pytest.approx(float(a.double().mean()), abs=1e-3)
        assert found["after"][i] == pytest.approx(float(b.double().mean()), abs=1e-3)
        assert found["moved"][i] == pytest.approx(float((a != b).double().mean()), abs=1e-3)
    assert sum(found["moved"]) > 0
    assert found["places"] == ["hidden0.act", "hidden1.act"]


def test_a_linear_network_has_nothing_to_saturate() -> None:
    arm = Arm("linear", "none", "deep-linear", {"norm": "none", "layout": (5,)}, RATE)
    at = next(follow(Task(arm, 0), [0], load_dataset(), "cpu", Protocol(0, (0,), 16, 40, side=4)))
    with pytest.raises(ValueError, match="no nonlinearity that could be flat"):
        measure(at, Measure("saturation", {"batch_size": 24, "flat": 0.05}))
