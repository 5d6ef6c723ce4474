"""Small promises of a monitor, each of which a planted fault once broke unseen."""

from __future__ import annotations

import importlib
import sys
import time
from statistics import median
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bntheory.bridge import Monitor


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 6), nn.Linear(6, 3)
    )


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 3


def monitored(net: nn.Module | None = None, **options) -> Monitor:
    options = {"share": None, "measures": ["loss"], **options}
    return Monitor(net or network(), F.cross_entropy, data(), **options)


def test_measuring_by_hand_between_two_steps_is_no_training():
    def slow(objective):
        time.sleep(0.5)
        return 1.0

    monitor = monitored(measures=[slow])
    monitor.step()
    monitor.measure()
    monitor.step()
    assert monitor.cost.training < 0.45
    assert monitor.cost.measuring >= 0.5


def test_the_rate_is_read_where_it_was_after_an_optimiser_is_no_longer_followed():
    net = network()
    monitor = monitored(net, optimizer=0.5)
    with monitor.following(torch.optim.SGD(net.parameters(), lr=0.1)):
        monitor.step(step=50)
    monitor.step(step=100)
    assert [row["learning_rate"] for row in monitor.rows()] == [0.1, 0.5]


@pytest.mark.parametrize("seed", [0, 3])
def test_dropout_is_held_at_the_numbers_of_the_seed_that_is_given(seed):
    monitor = monitored(**({"seed": seed} if seed else {}))
    monitor.measure()
    torch.manual_seed(seed)
    x, labels = data()
    right = float(F.cross_entropy(network_in_place(seed)(x), labels).detach())
    assert monitor.rows()[0]["loss"] == pytest.approx(right, rel=1e-6)


def network_in_place(seed: int) -> nn.Module:
    net = network()
    torch.manual_seed(seed)  # which draws what follows: the dropout
    return net


def test_a_measure_of_ones_own_may_differentiate_wherever_it_is_called():
    def slope(objective):
        w = torch.ones(1, requires_grad=True)
        (3 * w).sum().backward()
        return float(w.grad)

    monitor = monitored(measures=[slope])
    with torch.no_grad():
        monitor.measure()
    assert [row["slope"] for row in monitor.rows()] == [3.0]
    assert not monitor.missing


def test_how_it_is_evaluated_is_part_of_the_setting():
    settings = []
    for mode in ("train", "eval"):
        monitor = monitored(mode=mode)
        monitor.measure()
        settings.append(monitor.records[0].setting)
    assert settings[0] != settings[1]
    assert {**settings[0], "options": None} == {**settings[1], "options": None}


def test_what_is_kept_for_the_next_solve_is_let_go_at_the_end():
    monitor = monitored(measures=["sharpness"])
    monitor.measure()
    assert monitor._spectra
    monitor.close()
    assert not monitor._spectra


def test_the_time_that_is_left_is_shared_among_the_solves(monkeypatch):
    from bntheory.bridge.monitor import measures

    given = []
    monkeypatch.setattr(measures, "_top", lambda at, name, seconds: given.append((name, seconds)) or {"top": 1.0})
    measures.MEASURES["sharpness"](SimpleNamespace(seconds=10.0, missing={}, strict=True))
    assert [name for name, _ in given] == ["own", "twin"]
    assert [seconds for _, seconds in given] == pytest.approx([5.0, 10.0], abs=0.5)


def test_columns_of_the_shift_and_along_the_gradient():
    """The first layer's input moves with no layer before it, so its cosine of one is no shift and enters no median."""
    monitor = monitored(measures=["along-gradient", "covariate-shift"], optimizer=0.3)
    monitor.measure()
    along, shift = (record.values for record in monitor.records)
    (row,) = monitor.rows()
    cosines = shift["shift"]["cosine"]
    assert len(cosines) == 3
    assert row["covariate shift (median cosine)"] == median(cosines[1:]) != median(cosines)
    assert row["covariate shift (median relative)"] == median(shift["shift"]["relative"][1:])
    changes = along["along"]["gradient_changes"]
    assert row["gradient change along the gradient"] == max(changes) != min(changes)


def test_a_training_shorter_than_a_period_is_not_told_to_have_too_little_time():
    monitor = monitored(share=0.2, every=50)
    for _ in range(3):
        monitor.step()
    assert "share=" not in str(monitor)


@pytest.mark.parametrize("trainer", ["huggingface", "lightning"])
def test_callbacks_take_the_trainers_number_and_ones_own_options(trainer, monkeypatch):
    made = {"transformers": {"TrainerCallback": object}, "lightning": {}, "lightning.pytorch": {"Callback": object}}
    for package, content in made.items():
        stand_in = ModuleType(package)
        stand_in.__dict__.update(content)
        monkeypatch.setitem(sys.modules, package, stand_in)
    name = f"bntheory.bridge.monitor.{trainer}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    callback_of = importlib.import_module(name).MonitorCallback
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    options = {"optimizer": 0.5, "every": 10, "share": None, "measures": ["loss"]}
    if trainer == "lightning":
        callback, state = callback_of(F.cross_entropy, data(), **options), SimpleNamespace(global_step=95)
        state.optimizers = [optimizer]
        callback.on_train_start(state, net)
    else:
        own = nn.Module()
        own.net = net
        own.forward = lambda x, labels: {"loss": F.cross_entropy(net(x), labels)}
        callback, state = (
            callback_of(dict(zip(("x", "labels"), data(), strict=True)), **options),
            SimpleNamespace(global_step=95),
        )
        callback.on_train_begin(None, state, None, model=own, optimizer=optimizer)
    for _ in range(10):  # a training that goes on from its 95th step
        state.global_step += 1
        if trainer == "lightning":
            callback.on_train_batch_end(state, net, None, None, 0)
        else:
            callback.on_step_end(None, state, None)
    monkeypatch.delitem(sys.modules, name)
    assert [(row["step"], row["learning_rate"]) for row in callback.monitor.rows()] == [(100, 0.5)]
