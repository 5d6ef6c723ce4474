"""What is read off an optimiser. The edge of stability is tried on quadratics: just below it torch's own steps shrink, just above they grow."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bntheory.bridge import Monitor
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


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.parametrize(
    "options",
    [
        [{"lr": 0.1, "weight_decay": 0.0}, {"lr": 0.1, "weight_decay": 5.0}],
        [{"lr": 0.1, "weight_decay": 0.0}, {"lr": 0.05, "weight_decay": 30.0}],
        [{"lr": 0.02, "momentum": 0.9, "nesterov": True}, {"lr": 0.1, "momentum": 0.9, "nesterov": True}],
        [{"lr": 0.0}, {"lr": 0.1}],
    ],
    ids=str,
)
def test_the_edge_of_several_groups_is_the_first_one_that_is_met(options):
    """Right is what torch's steps do with each group's options alone: at the edge the first of them ceases to be stable."""
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], **one} for one in options], lr=1.0)
    edge = step_size(optimizer).edge
    assert not any(grows(0.99 * edge, **one) for one in options)
    assert any(grows(1.01 * edge, **one) for one in options)


def test_groups_that_step_in_different_ways_have_no_edge():
    groups = [
        {"params": [nn.Parameter(torch.zeros(1))], "momentum": 0.9},
        {"params": [nn.Parameter(torch.zeros(1))], "momentum": 0.0},
    ]
    assert step_size(torch.optim.SGD(groups, lr=0.1)).edge is None


def test_only_the_steps_of_gradient_descent_itself_have_an_edge():
    """A class of its own step (LARS) and an optimiser around one (Lookahead) make other steps; a trainer's wrapper the same."""

    class Named(torch.optim.SGD):
        pass

    class Lars(torch.optim.SGD):
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.data -= group["lr"] * p.grad / p.grad.norm()

    class Around:
        def __init__(self, optimizer):
            self.optimizer, self.param_groups = optimizer, optimizer.param_groups

    x = nn.Parameter(torch.zeros(1))
    assert step_size(Named([x], lr=0.1)).edge == pytest.approx(20.0)
    assert step_size(Lars([x], lr=0.1)).edge is None
    inner = torch.optim.SGD([x], lr=0.1)
    torch.optim.lr_scheduler.StepLR(inner, 1)  # which wraps the step of the instance
    assert step_size(inner).edge == pytest.approx(20.0)
    assert step_size(Around(inner)).edge is None
    wrapper = type("AcceleratedOptimizer", (Around,), {"__module__": "accelerate.optimizer"})
    assert step_size(wrapper(inner)).edge == pytest.approx(20.0)


def test_several_optimisers_and_parameters_in_none():
    """Half of a network steps twice as far: the edge is that of this half; of a network that is held in part none is known."""
    x, y = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    halves = [torch.optim.SGD([x], lr=0.1), torch.optim.SGD([y], lr=0.2)]
    found = step_size(halves, [x, y])
    assert (found.rate, found.rates, found.edge) == (0.2, (0.1, 0.2), pytest.approx(10.0))
    assert step_size(halves, [x]).edge == pytest.approx(20.0)
    assert step_size(halves[0], [x, y]).edge is None
    assert step_size([halves[0], torch.optim.Adam([y], lr=0.1)], [x, y]).edge is None
    with pytest.raises(ValueError, match="no learning rate"):
        step_size([0.1, 0.2])


def test_a_schedule_within_an_optimiser_is_read():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=0.1)
    optimizer.param_groups[0]["scheduled_lr"] = 0.02  # as the schedule-free ones keep what they stepped with
    assert step_size(optimizer).rate == 0.02


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
    without = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    del without.param_groups[0]["lr"]
    with pytest.raises(ValueError, match="None is no learning rate"):
        step_size(without)


@pytest.mark.parametrize("way", ["plain", "in double precision", "with a hook on a gradient", "frozen"])
def test_the_monitor_reads_the_groups_of_what_it_differentiates_by(way):
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    other = nn.Linear(2, 2)
    groups = [{"params": net[2].parameters(), "lr": 0.1}, {"params": other.parameters(), "lr": 5.0}]
    if way == "frozen":
        groups.append({"params": net[0].requires_grad_(False).parameters(), "lr": 7.0})
    if way == "with a hook on a gradient":
        net[0].weight.register_hook(lambda gradient: gradient.clamp(-1e-3, 1e-3))
    options = {"dtype": torch.float64} if way == "in double precision" else {}
    data = torch.randn(16, 4), torch.arange(16) % 3
    optimizer = torch.optim.SGD(groups, lr=1.0)
    monitor = Monitor(
        net, nn.functional.cross_entropy, data, optimizer=optimizer, share=None, measures=["loss"], **options
    )
    monitor.measure()
    assert monitor.rows()[0]["learning_rate"] == 0.1


def test_an_optimiser_of_other_parameters_is_refused_and_later_noted():
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data = torch.randn(16, 4), torch.arange(16) % 3
    options = {"optimizer": optimizer, "share": None, "every": 1, "measures": ["loss", "along-gradient"]}
    with pytest.raises(ValueError, match="SGD holds none of the trainable parameters"):
        Monitor(nn.Sequential(*map(copy.deepcopy, net)), nn.functional.cross_entropy, data, **options)
    monitor = Monitor(net, nn.functional.cross_entropy, data, **options)
    for place in (0, 1, 2):
        net[place] = copy.deepcopy(net[place])
    monitor.step()
    assert [(m.measure, m.step) for m in monitor.missing] == [("learning_rate", 1), ("along-gradient", 1)]
    (row,) = monitor.rows()
    assert row["learning_rate"] is None
    assert row["loss"] > 0
