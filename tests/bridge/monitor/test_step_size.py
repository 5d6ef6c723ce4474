"""What is read off an optimiser. The edge of stability is tried on quadratics: just below it torch's own steps shrink, just above they grow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bntheory.bridge.monitor import step_size


def grows(curvature: float, **options: float) -> bool:
    x = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([x], **options)
    sizes = []
    for _ in range(4000):
        optimizer.zero_grad()
        (curvature * x**2 / 2).sum().backward()
        optimizer.step()
        sizes.append(abs(float(x.detach())))
    return max(sizes[-100:]) > max(sizes[:100])


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.6, "dampening": 0.3},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
        {"lr": 0.1, "dampening": 0.5},
        {"lr": 0.1, "weight_decay": 2.0},
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 2.0},
    ],
    ids=str,
)
def test_the_edge_of_stability(options):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], **options)
    edge = step_size(optimizer).edge
    assert not grows(0.99 * edge, **options)
    assert grows(1.01 * edge, **options)


def test_an_optimiser_that_does_not_step_along_the_gradient_has_no_edge():
    x = nn.Parameter(torch.zeros(1))
    assert step_size(torch.optim.AdamW([x], lr=0.25)).rate == 0.25
    assert step_size(torch.optim.AdamW([x], lr=0.25)).edge is None
    assert step_size(torch.optim.SGD([x], lr=0.25, maximize=True)).edge is None


def test_groups_of_the_measured_model_alone_are_read():
    ours, theirs = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    groups = [{"params": [ours], "lr": 0.1}, {"params": [theirs], "lr": 5.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    assert step_size(optimizer, [ours]).rates == (0.1,)
    assert step_size(optimizer, [ours, theirs]).rate == 5.0
    assert step_size(optimizer).rates == (0.1, 5.0)


def test_numbers_functions_tensors_and_nothing():
    assert step_size(0.5).edge == 4.0
    assert step_size(lambda: torch.tensor(0.5)).rate == 0.5
    assert step_size(None) is None
    assert step_size(0.0).edge is None
    with pytest.raises(ValueError, match="no learning rate"):
        step_size("fast")
