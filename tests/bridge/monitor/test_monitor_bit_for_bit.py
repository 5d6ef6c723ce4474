"""Training is bit for bit what it is without the monitor, and one's own measurements are never taken for training.

Each loop is run three times from the same state: alone; with a monitor that measures everything at every step; and with one's own
measurements between every two lines as well. Compared are all bits: parameters, buffers, gradients, the optimiser's and the
scheduler's state, every loss, and the generators of torch, numpy and Python.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bntheory.bridge import Monitor, along_gradient, capture, frozen_twin
from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.bridge.networks.state import state_fingerprint

EVERYTHING = ["loss", "split", "sharpness", "partial-twins", "along-gradient", "covariate-shift"]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4, momentum=0.3),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(4 * 16, 6),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Linear(6, 3),
    )


def batch(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Drawn from all three global generators, as augmentation in a loop does it."""
    labels = torch.from_numpy(np.random.randint(0, 3, size))  # noqa: NPY002
    return torch.randn(size, 1, 6, 6) * (1 + random.random()), labels


HELD = (torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(9)), torch.arange(16) % 3)


class Loop:
    """One training: a model, an optimiser, and what is called between the lines."""

    def __init__(
        self, optimizer: Callable[..., torch.optim.Optimizer], scheduled: bool, compiled: bool = False
    ) -> None:
        self.module = network()
        self.model = torch.compile(self.module, backend="aot_eager") if compiled else self.module
        self.optimizer = optimizer(self.module.parameters())
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5) if scheduled else None
        self.losses: list[float] = []
        torch.manual_seed(1)
        np.random.seed(2)  # noqa: NPY002
        random.seed(3)

    def state(self) -> tuple[bytes, ...]:
        parameters = [t.detach().numpy().tobytes() for t in self.module.state_dict().values()]
        gradients = [b"" if p.grad is None else p.grad.numpy().tobytes() for p in self.module.parameters()]
        kept = pickle.dumps(
            [
                (key, {k: v.numpy().tobytes() if isinstance(v, torch.Tensor) else v for k, v in entry.items()})
                for key, entry in self.optimizer.state_dict()["state"].items()
            ]
        )
        rates = pickle.dumps([g["lr"] for g in self.optimizer.param_groups])
        generators = [
            torch.get_rng_state().numpy().tobytes(),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002
            pickle.dumps(random.getstate()),
        ]
        modes = pickle.dumps([m.training for m in self.module.modules()])
        return (*parameters, *gradients, kept, rates, *generators, modes, pickle.dumps(self.losses))


def plain(loop: Loop, between: Callable[[], None], after: Callable[[], None]) -> None:
    for _ in range(4):
        x, labels = batch()
        loop.optimizer.zero_grad()
        between()
        loss = F.cross_entropy(loop.model(x), labels)
        between()  # a graph is open
        loss.backward()
        between()
        loop.optimizer.step()
        after()
        if loop.scheduler is not None:
            loop.scheduler.step()
        loop.losses.append(float(loss.detach()))


def accumulated(loop: Loop, between: Callable[[], None], after: Callable[[], None]) -> None:
    for _ in range(3):
        loop.optimizer.zero_grad()
        for _ in range(2):
            x, labels = batch()
            loss = F.cross_entropy(loop.model(x), labels) / 2
            loss.backward()
            between()
            loop.losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(loop.module.parameters(), 0.1)
        between()
        loop.optimizer.step()
        after()


def mixed(loop: Loop, between: Callable[[], None], after: Callable[[], None]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(3):
        x, labels = batch()
        loop.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(loop.model(x), labels)
            between()
        scaler.scale(loss).backward()
        between()
        scaler.unscale_(loop.optimizer)
        scaler.step(loop.optimizer)
        scaler.update()
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            after()
        loop.losses += [float(loss.detach()), scaler.get_scale()]


def evaluated(loop: Loop, between: Callable[[], None], after: Callable[[], None]) -> None:
    """Called in evaluation mode and in inference mode, with some layers frozen."""
    loop.module[0].requires_grad_(False)
    for _ in range(3):
        loop.module.train()
        x, labels = batch()
        loop.optimizer.zero_grad()
        loss = F.cross_entropy(loop.model(x), labels)
        loss.backward()
        loop.optimizer.step()
        loop.module.eval()
        with torch.inference_mode():
            loop.losses.append(float(loop.model(x).sum()))
            after()
            between()


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2)


def adamw(parameters):
    return torch.optim.AdamW(parameters, lr=1e-2)


CASES = {
    "sgd": (plain, sgd, False, False),
    "adamw, scheduled": (plain, adamw, True, False),
    "accumulated and clipped": (accumulated, sgd, False, False),
    "autocast and scaled": (mixed, adamw, False, False),
    "evaluation between": (evaluated, sgd, False, False),
    "compiled": (plain, sgd, False, True),
}


def nothing() -> None:
    pass


def ones_own(module: nn.Module) -> Callable[[], None]:
    """One's own measurements, anywhere; they are to disturb neither the training nor the monitor."""

    def measure() -> None:
        with torch.inference_mode(False), torch.enable_grad():
            assert len(capture(module, F.cross_entropy, HELD, dropout="off")) == 2
            with hessian(module, F.cross_entropy, HELD, dropout="off") as operator:
                top_eigenvalues(operator, tol=0.1)
            along_gradient(module, F.cross_entropy, HELD, [0.1], dropout="off")
            frozen_twin(copy.deepcopy(module).eval(), HELD[0])
            copy.deepcopy(module)

    return measure


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*:UserWarning")
def test_training_is_what_it_is_without_the_monitor(name: str) -> None:
    loop, optimizer, scheduled, compiled = CASES[name]
    alone = Loop(optimizer, scheduled, compiled)
    loop(alone, nothing, nothing)
    expected = alone.state()

    watched = Loop(optimizer, scheduled, compiled)
    monitor = Monitor(
        watched.model, F.cross_entropy, HELD, optimizer=watched.optimizer, every=1, share=None, measures=EVERYTHING,
        tolerance=0.1, strict=True,
    )  # fmt: skip
    loop(watched, nothing, monitor.step)
    assert watched.state() == expected
    assert len(monitor.records) == len(EVERYTHING) * (3 if loop is not plain else 4)
    assert not monitor.missing

    both = Loop(optimizer, scheduled, compiled)
    beside = Monitor(
        both.model, F.cross_entropy, HELD, optimizer=both.optimizer, every=1, share=None, measures=EVERYTHING,
        tolerance=0.1, strict=True,
    )  # fmt: skip
    loop(both, nothing if loop is evaluated else ones_own(both.module), beside.step)
    if loop is not evaluated:
        assert both.state() == expected
    assert [r.line() for r in beside.records] == [r.line() for r in monitor.records]


@pytest.mark.long
def test_measuring_between_backward_and_step_or_while_a_graph_is_open() -> None:
    alone, watched = Loop(sgd, False), Loop(sgd, False)
    plain(alone, nothing, nothing)
    expected = alone.state()
    watched = Loop(sgd, False)
    monitor = Monitor(watched.module, F.cross_entropy, HELD, optimizer=0.1, share=None, measures=EVERYTHING, every=1)
    plain(watched, monitor.step, nothing)
    assert watched.state() == expected
    assert {m.what for m in monitor.missing} == {"training"}  # between two of these calls no step was made
    assert len(monitor.rows()) == 12


def test_following_an_optimiser_hangs_nothing_on_the_model_and_leaves() -> None:
    alone = Loop(adamw, True)
    plain(alone, nothing, nothing)
    expected = alone.state()
    watched = Loop(adamw, True)
    before = state_fingerprint(watched.module)
    monitor = Monitor(watched.module, F.cross_entropy, HELD, every=2, share=None, tolerance=0.1)
    with monitor.following(watched.optimizer):
        assert state_fingerprint(watched.module) == before
        copy.deepcopy(watched.optimizer)  # the monitor is no part of it
        plain(watched, nothing, nothing)
    assert watched.state() == expected
    assert [row["step"] for row in monitor.rows()] == [2, 4]
    # the rate is halved after every second step, that is after it was read
    assert [row["learning_rate"] for row in monitor.rows()] == [1e-2, 5e-3]
    assert not watched.optimizer._optimizer_step_post_hooks
    plain(watched, nothing, nothing)
    assert len(monitor.rows()) == 2


@pytest.mark.parametrize("at", ["capture", "solve"])
def test_an_interrupt_while_measuring_leaves_everything_as_it_was(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bntheory.bridge.curvature import operator as curvature
    from bntheory.bridge.monitor import measures

    net = network()
    monitor = Monitor(net, F.cross_entropy, HELD, share=None)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if at == "capture":
        monkeypatch.setattr(measures, "layer_splits", interrupted)
    else:
        monkeypatch.setattr(curvature.CurvatureOperator, "_product", interrupted)
    before = state_fingerprint(net)
    with pytest.raises(KeyboardInterrupt):
        monitor.measure()
    assert state_fingerprint(net) == before
    assert [r.measure for r in monitor.records] == (["loss"] if at == "capture" else ["loss", "split"])


def test_two_monitors_follow_one_training() -> None:
    alone = Loop(sgd, False)
    plain(alone, nothing, nothing)
    expected = alone.state()
    watched = Loop(sgd, False)
    first, second = (
        Monitor(watched.module, F.cross_entropy, HELD, every=every, share=None, measures=["loss", "split"])
        for every in (1, 2)
    )
    with first.following(watched.optimizer), second.following(watched.optimizer):
        plain(watched, nothing, nothing)
    assert watched.state() == expected
    assert [first.rows()[1], first.rows()[3]] == second.rows()
