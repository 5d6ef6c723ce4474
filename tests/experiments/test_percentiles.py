"""Percentiles of what enters a layer's sigmoids: against numpy on a network written out here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.bridge import load_dataset
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.worker import follow


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_percentiles_by_the_definition_of_batch_norm(norm: str) -> None:
    protocol = Protocol(3, (3,), 60, 60)
    arm = Arm("ioffe-mnist", norm, "ioffe-mnist", {"norm": norm}, 0.3)
    data = load_dataset()
    at = next(follow(Task(arm, 6), [3], data, "cpu", protocol))
    state = {name: value.clone() for name, value in at.model.state_dict().items()}
    asked = Measure("percentiles", {"place": "hidden2.act", "test_size": 200})
    found = measure(at, asked)["percentiles"]
    assert at.model.training
    assert all(torch.equal(value, state[name]) for name, value in at.model.state_dict().items())
    x = data.inputs(slice(0, 200), "test")[0].double().flatten(1).numpy()
    for name in ("batch", "running"):
        h = x
        for i in range(3):
            p = {k.removeprefix(f"hidden{i}."): v.double().numpy() for k, v in state.items()}
            y = h @ p["weight_layer.weight"].T
            if norm == "batch":
                running = (p["norm.running_mean"], p["norm.running_var"])
                mean, variance = running if name == "running" else (y.mean(0), y.var(0))
                y = (y - mean) / np.sqrt(variance + 1e-5) * p["norm.weight"] + p["norm.bias"]
            else:
                y = y + p["weight_layer.bias"]
            h = 1 / (1 + np.exp(-y))
        expected = np.percentile(y, [15, 50, 85], axis=0)
        assert np.shape(found[name]) == (3, 100)
        assert np.abs(np.array(found[name]) - expected).max() < 2e-4 * max(1, np.abs(expected).max())
    assert (found["batch"] == found["running"]) == (norm == "none")
