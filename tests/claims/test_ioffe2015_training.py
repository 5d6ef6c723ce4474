"""Percentiles along a training: against numpy on a network written out here, and arms that are exchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bntheory.bridge import NetworkSpec, batch_indices, build_network
from bntheory.claims.claim import Study
from bntheory.claims.sources.ioffe2015 import training as ioffe2015_training
from bntheory.claims.sources.ioffe2015.training import Course, compare, follow, unsteadiness
from bntheory.experiments.short_runs import choose_images


def sigmoid_inputs(parameters: dict[str, torch.Tensor], x: torch.Tensor, norm: str) -> list[torch.Tensor]:
    """The inputs of every layer's sigmoids and the outputs, by the definition of batch norm."""
    inputs, h = [], x.flatten(1)
    for i in range(3):
        y = h @ parameters[f"hidden{i}.weight_layer.weight"].T
        if norm == "batch":
            y = (y - y.mean(0)) / torch.sqrt(y.var(0, unbiased=False) + 1e-5)
            y = y * parameters[f"hidden{i}.norm.weight"] + parameters[f"hidden{i}.norm.bias"]
        else:
            y = y + parameters[f"hidden{i}.weight_layer.bias"]
        inputs.append(y)
        h = torch.sigmoid(y)
    return [*inputs, h @ parameters["output.weight"].T + parameters["output.bias"]]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_percentiles_along_a_training_by_numpy(norm: str) -> None:
    state = torch.get_rng_state()
    course = follow(norm, 6, steps=4, times=3, device="cpu")
    again = follow(norm, 6, steps=4, times=3, device="cpu")
    assert torch.equal(state, torch.get_rng_state())
    assert course is not None
    assert again is not None
    assert torch.equal(course.batch, again.batch)
    assert course.batch.shape == (3, 3, 100)
    images = choose_images(10_000, side=28, seed=6, device="cpu", tests=1000)
    spec = NetworkSpec("ioffe-mnist", norm=norm)
    parameters = {
        n: p.detach().double().requires_grad_() for n, p in build_network(spec, 6).named_parameters()
    }
    test_inputs, rows = images.test_inputs.double(), []
    for step in range(5):
        if step in (0, 2, 4):
            seen = sigmoid_inputs(parameters, test_inputs, norm)[2].detach().numpy()
            rows.append(np.percentile(seen, [15, 50, 85], axis=0))
        chosen = torch.from_numpy(batch_indices(10_000, 60, 6, step).copy())
        outputs = sigmoid_inputs(parameters, images.inputs[chosen].double(), norm)[3]
        loss = F.cross_entropy(outputs, images.labels[chosen])
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        with torch.no_grad():
            for p, g in zip(parameters.values(), gradients, strict=True):
                p -= ioffe2015_training._RATE * g
    assert np.abs(course.batch.numpy() - np.stack(rows)).max() < 1e-4
    if norm == "none":
        assert torch.equal(course.batch, course.running)
    else:
        assert not torch.allclose(course.batch, course.running, atol=1e-2)


def test_unsteadiness_of_courses_that_are_known() -> None:
    still = torch.tensor([-1.0, 0.0, 1.0])[None, :, None].repeat(5, 1, 4)
    assert unsteadiness(still, relative=True) == 0
    drift = torch.arange(5.0)[:, None, None]
    assert unsteadiness(still + drift, relative=True) == pytest.approx(2)  # moves by 4, width 2
    assert unsteadiness(still + drift, relative=False) == pytest.approx(4)
    assert unsteadiness(10 * (still + drift), relative=True) == pytest.approx(2)
    assert unsteadiness(10 * (still + drift), relative=False) == pytest.approx(40)
    back = still + drift * (drift < 4)  # wandering counts, also where it comes back
    assert unsteadiness(back, relative=False) == pytest.approx(3)
    one = still.clone()
    one[:, :, 0] += 100 * drift[:, :, 0]  # a single unit is not typical
    assert unsteadiness(one, relative=False) == 0


def course(wander: float, accuracy: float) -> Course:
    base = torch.tensor([-1.0, 0.0, 1.0])[None, :, None].repeat(10, 1, 4)
    moved = base + wander * torch.linspace(0, 1, 10)[:, None, None]
    return Course(moved, moved, accuracy)


def test_exchanged_arms_reverse_the_outcome() -> None:
    pairs = [(course(w, 0.9), course(4 * w, 0.8)) for w in (1.0, 1.1, 1.3)]
    assert {c.outcome for c in compare(pairs, "")} == {"holds"}
    assert {c.outcome for c in compare([(b, a) for a, b in pairs], "")} == {"fails"}  # type: ignore[misc]
    lost = compare([*pairs, (None, course(1, 0.5))], "made up")
    assert "1 seeds left out" in lost[0].scope
    assert lost[0].outcome == "holds"
    assert compare([(None, None)] * 3, "made up")[0].outcome == "undecided"


def test_both_arms_of_a_seed_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def planted(norm: str, seed: int, **options: object) -> Course:
        asked.append((norm, seed))
        return course(1.0 + 0.1 * (seed % 10) if norm == "batch" else 3.0, 0.5)

    monkeypatch.setattr(ioffe2015_training, "follow", planted)
    checks = list(ioffe2015_training.steadier_inputs(Study(effort="quick", seed=4)))
    assert checks[0].outcome == "holds"
    assert asked == [(norm, 4000 + i) for i in range(3) for norm in ("batch", "none")]
