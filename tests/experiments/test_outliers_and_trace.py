"""Outliers, their share of the gradient, and the trace: against the dense Hessian of a network that is written out here.

Batch norm from its definition, or with constants in the place of its statistics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bntheory.bridge import load_dataset
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.measures.situation import Situation
from bntheory.experiments.worker import follow

K = 10
PROTOCOL = Protocol(0, (0,), 60, 60, dtype="float64", images=60, side=7)
ARM = Arm("mlp", "batch", "mlp", {"norm": "batch", "layout": (5,), "activation": "tanh"}, 0.1)


def situation() -> Situation:
    """A network away from its start: gamma, beta and biases are drawn too."""
    at = next(follow(Task(ARM, 2), [0], load_dataset(), "cpu", PROTOCOL))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in at.model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5 + (p.dim() == 1))
    return at


def dense(at: Situation, *, frozen: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Hessian and gradient by the flat parameters."""
    x, labels = at.batch()
    x = x.flatten(1)
    names = [n for n, _ in at.model.named_parameters()]
    values = [p.detach().clone() for p in at.model.parameters()]
    assert names == [f"hidden0.{n}" for n in ("weight_layer.weight", "norm.weight", "norm.bias")] + [
        "output.weight",
        "output.bias",
    ]
    constants = x @ values[0].T

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = torch.split(flat, [v.numel() for v in values])
        w, gamma, beta, v, b = (p.reshape(o.shape) for p, o in zip(parts, values, strict=True))
        y = x @ w.T
        like = constants if frozen else y
        z = (y - like.mean(0)) / torch.sqrt(like.var(0, unbiased=False) + 1e-5) * gamma + beta
        return F.cross_entropy(torch.tanh(z) @ v.T + b, labels)

    flat = torch.cat([v.reshape(-1) for v in values])
    matrix = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    return matrix.numpy(), gradient.numpy(), float(loss(flat))


@pytest.mark.long
@pytest.mark.parametrize(("name", "place"), [("outliers", "outliers"), ("frozen-outliers", "frozen_outliers")])
def test_the_outliers_are_those_of_the_dense_hessian(name: str, place: str) -> None:
    at = situation()
    before = {key: value.clone() for key, value in at.model.state_dict().items()}
    options = {"batch_size": 60, "count": K, "tolerance": 1e-3, "max_products": 400}
    found = measure(at, Measure(name, options))[place]
    matrix, gradient, loss = dense(at, frozen=name.startswith("frozen"))
    values, vectors = np.linalg.eigh(matrix)
    top = vectors[:, -K:]
    assert found["converged"]
    assert found["first"] == pytest.approx(values[-1], rel=1e-3)
    assert found["last"] == pytest.approx(values[-K], rel=1e-3)
    share = ((top.T @ gradient) ** 2).sum() / (gradient @ gradient)
    assert found["share"] == pytest.approx(share, abs=1e-3)
    assert found["loss"] == pytest.approx(loss, rel=1e-9)
    assert all(torch.equal(value, before[key]) for key, value in at.model.state_dict().items())


@pytest.mark.long
def test_the_trace_is_that_of_the_dense_hessian() -> None:
    at = situation()
    found: dict[str, Any] = measure(at, Measure("trace", {"batch_size": 60, "samples": 100}))["trace"]
    matrix, _, loss = dense(at, frozen=False)
    exact = float(np.trace(matrix))
    assert 0 < found["error"] < 0.3 * abs(exact)
    assert abs(found["value"] - exact) < 4 * found["error"]
    assert found["loss"] == pytest.approx(loss, rel=1e-9)
