"""The prediction of a network's ratio to its twin: its errors are those of networks that were not fitted on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bntheory.bridge import load_dataset
from bntheory.claims.sources.bntheory2026.twin import Point, held_out_errors, point_of
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.worker import follow


def test_a_law_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    kinds = [f"kind {k % 4}" for k in range(20)]
    lawful = [Point(kind, 0.3 * a - 0.2, a) for kind, a in zip(kinds, x, strict=True)]
    line, constant = held_out_errors(lawful)
    assert max(line) < 1e-12
    assert np.median(constant) > 0.1
    noise = [Point(kind, float(rng.normal()), a) for kind, a in zip(kinds, x, strict=True)]
    line, constant = held_out_errors(noise)
    assert np.median(line) > 0.5 * np.median(constant)


def test_a_kind_never_predicts_itself() -> None:
    """One kind lies far off the others' law: seen from the others its error is the whole distance."""
    usual = [Point("a", 1.0, 0.0), Point("a", 2.0, 1.0), Point("b", 3.0, 2.0), Point("b", 4.0, 3.0)]
    line, _ = held_out_errors([*usual, Point("c", 100.0, 4.0)])
    assert line[-1] == pytest.approx(95.0)


def test_a_recorded_point_by_hand() -> None:
    """Logarithms to base ten, summed over the layers that have an eigenvalue above 0 on both sides."""
    found = point_of(
        "a", {"layers_alone": {"network": [1.0, 10.0], "layers": [[1.0, 100.0], [10.0, 1.0], [-1.0, 5.0]]}}
    )
    assert (found.ratio, found.predictor) == pytest.approx((-1.0, -1.0))


def test_layers_alone_by_dense_matrices() -> None:
    """One layer's own Hessian and the same with frozen statistics, from its definition; the network's and its twin's."""
    protocol = Protocol(2, (2,), 12, 12, dtype="float64", images=12, side=7)
    arm = Arm("mlp", "batch", "mlp", {"norm": "batch", "layout": (3,), "activation": "tanh"}, 0.1)
    at = next(follow(Task(arm, 1), [2], load_dataset(), "cpu", protocol))
    found = measure(at, Measure("layers-alone", {"batch_size": 12, "tolerance": 1e-8}))["layers_alone"]
    x, labels = at.batch()
    w, gamma, beta, v, b = (p.detach().clone() for p in at.model.parameters())
    y = x.flatten(1) @ w.T

    def loss(y: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        z = (y - like.mean(0)) / torch.sqrt(like.var(0, unbiased=False) + 1e-5) * gamma + beta
        return F.cross_entropy(torch.tanh(z) @ v.T + b, labels)

    def top(of: Callable[[torch.Tensor], torch.Tensor], where: torch.Tensor) -> float:
        n = where.numel()
        matrix = torch.autograd.functional.hessian(of, where).reshape(n, n)
        return float(torch.linalg.eigvalsh(matrix)[-1])

    expected = [top(lambda u: loss(u, u), y), top(lambda u: loss(u, y), y)]
    assert found["layers"] == [pytest.approx(expected, rel=1e-4)]
    own, twin = found["network"]
    assert own != pytest.approx(twin, rel=1e-2)
    assert min(own, twin) > 0
