"""Counters of a user's own, wherever Python keeps them: a schedule of a loss's weight, an annealed share, a warm-up inside of a model.

A measurement is of the next pass: what the counters stand at when it is made, moved on once. It leaves them, and so a monitored training
is bit for bit the plain one, in which they count its own passes alone. Right values are the plain loss times the weight written as a number.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import threading
import weakref
from array import array
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from objective_cases import CE, X, Y, mlp
from torch import Tensor, nn

from bntheory.bridge import Monitor
from bntheory.bridge.curvature import hessian

COUNT = 0
LIST, NESTED, NAMESPACE = [0], {"a": {"n": 0}}, SimpleNamespace(a=SimpleNamespace(n=0))
ARRAY, TENSOR, MODULE = np.zeros(()), torch.zeros(()), ModuleType("settings_of_a_user")
VARIABLE: ContextVar[int] = ContextVar("steps", default=0)
BYTES, NUMBERS, VIEW = bytearray(1), array("i", [0]), memoryview(bytearray(1))
MODULE.step, MODULE.inner = 0, SimpleNamespace(step=0)


class Slotted:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


@dataclass
class Fields:
    n: int = 0


@dataclass(frozen=True, slots=True)
class Sealed:
    """A tensor, and a place of its own for a number, in what lets nothing be set."""

    total: Tensor
    counts: list[int]


class OfClass:
    n: ClassVar[int] = 0


SLOTTED, FIELDS, SEALED = Slotted(), Fields(), Sealed(torch.zeros(()), [0])


def _global() -> int:
    global COUNT
    COUNT += 1
    return COUNT


def _nested_function() -> int:
    return max((_global() for _ in range(1)), default=0)


def _module() -> int:
    MODULE.step += 1
    return MODULE.step


def _in_module() -> int:
    MODULE.inner.step += 1
    return MODULE.inner.step


def _of_class() -> int:
    OfClass.n += 1
    return OfClass.n


def _attribute(holder: Any) -> Callable[[], int]:
    def count() -> int:
        holder.n += 1
        return holder.n

    return count


def _attribute_of_weak(reference: weakref.ref[Any]) -> Callable[[], int]:
    def count() -> int:
        reference().n += 1
        return reference().n

    return count


def _list() -> int:
    LIST[0] += 1
    return LIST[0]


def _nested() -> int:
    NESTED["a"]["n"] += 1
    return NESTED["a"]["n"]


def _array() -> float:
    ARRAY[...] += 1
    return float(ARRAY)


def _tensor() -> float:
    TENSOR.add_(1)
    return float(TENSOR)


def _sealed() -> float:
    SEALED.total.add_(0.5)
    SEALED.counts[0] += 1
    return float(SEALED.total) + SEALED.counts[0] / 2


def _default(state: dict[str, int] = {"n": 0}) -> int:  # noqa: B006 - that it is kept is the point
    state["n"] += 1
    return state["n"]


def _nonlocal() -> Callable[[], int]:
    n = 0

    def count() -> int:
        nonlocal n
        n += 1
        return n

    return count


def _of_function() -> int:
    _of_function.n += 1
    return _of_function.n


def _variable() -> int:
    VARIABLE.set(VARIABLE.get() + 1)
    return VARIABLE.get()


def _first_of(values: Any) -> Callable[[], int]:
    def count() -> int:
        values[0] += 1
        return values[0]

    return count


@functools.cache
def _tracker() -> Fields:
    return Fields()


@functools.lru_cache(maxsize=2)
def _tracker_by(name: str) -> dict[str, int]:
    return {name: 0}


def _added(total: Tensor) -> float:
    return float(total.add_(1))


def _added_in(held: Any, find: Callable[[Any], Tensor]) -> Callable[[], float]:
    return lambda: _added(find(held))


def _tensor_by_default() -> Callable[[], float]:
    def count(total: Tensor = torch.zeros(())) -> float:  # noqa: B008 - that it is kept is the point
        return _added(total)

    return count


def _tensor_by_default_name() -> Callable[[], float]:
    def count(*, total: tuple[Tensor, ...] = (torch.zeros(()),)) -> float:
        return _added(total[0])

    return count


def _in_two_places() -> Callable[[], float]:
    """A list that one holder refers to whole, and another as a part of something."""
    holder = SimpleNamespace(all={"head": [torch.zeros(())]}, pair=None)
    holder.pair = (holder.all["head"], 0)
    return lambda: (_added(holder.pair[0][0]) + float(holder.all["head"][0])) / 2


@functools.cache
def _total() -> Tensor:
    return torch.zeros(())


def _cached() -> int:
    _tracker().n += 1
    return _tracker().n


def _cached_by_name() -> int:
    _tracker_by("n")["n"] += 1
    return _tracker_by("n")["n"]


COUNTERS: dict[str, Callable[[], Callable[[], float]]] = {
    "a cell": _nonlocal,
    "a global": lambda: _global,
    "a global of a function inside": lambda: _nested_function,
    "a module": lambda: _module,
    "an object in a module": lambda: _in_module,
    "a class": lambda: _of_class,
    "a function": lambda: _of_function,
    "slots": lambda: _attribute(SLOTTED),
    "a dataclass": lambda: _attribute(FIELDS),
    "a sealed dataclass": lambda: _sealed,
    "an object in an object": lambda: _attribute(NAMESPACE.a),
    "a list": lambda: _list,
    "a mapping in a mapping": lambda: _nested,
    "an array": lambda: _array,
    "a tensor": lambda: _tensor,
    "a tensor in a list in a mapping": lambda: _added_in({"a": [torch.zeros(())]}, lambda held: held["a"][0]),
    "a tensor in a pair in a list": lambda: _added_in([(0, (torch.zeros(()),))], lambda held: held[0][1][0]),
    "a tensor in a mapping in a pair": lambda: _added_in(({"a": torch.zeros(())}, 0), lambda held: held[0]["a"]),
    "a tensor in a queue": lambda: _added_in(deque([torch.zeros(())]), lambda held: held[0]),
    "a tensor in a set": lambda: _added_in({torch.zeros(())}, lambda held: next(iter(held))),
    "a tensor in an object's mapping": lambda: _added_in(
        SimpleNamespace(d={"x": {"y": torch.zeros(())}}), lambda held: held.d["x"]["y"]
    ),
    "a tensor in two places": _in_two_places,
    "a partial's tensor": lambda: functools.partial(_added, torch.zeros(())),
    "a partial's tensor by name": lambda: functools.partial(_added, total=torch.zeros(())),
    "a partial's pair": lambda: functools.partial(lambda pair: _added(pair[0]), (torch.zeros(()), 0)),
    "a default": lambda: _default,
    "a default tensor": _tensor_by_default,
    "a default tensor by name": _tensor_by_default_name,
    "a context variable": lambda: _variable,
    "bytes": lambda: _first_of(BYTES),
    "an array of Python's": lambda: _first_of(NUMBERS),
    "a view of bytes": lambda: _first_of(VIEW),
    "an endless count": lambda: (lambda steps: lambda: next(steps))(itertools.count(1)),
    "an endless count in a list": lambda: (lambda held: lambda: 2 * next(held[0]))([itertools.count(0.5, 0.5)]),
    "what a weak reference leads to": lambda: _attribute_of_weak(weakref.ref(FIELDS)),
    "what a cache returns": lambda: _cached,
    "what a bounded cache returns": lambda: _cached_by_name,
    "a tensor that a cache returns": lambda: lambda: _added(_total()),
}


@pytest.fixture(autouse=True)
def from_zero() -> None:
    _reset()


def _reset() -> None:
    global COUNT
    COUNT = LIST[0] = NESTED["a"]["n"] = NAMESPACE.a.n = 0
    MODULE.step = MODULE.inner.step = OfClass.n = _of_function.n = SLOTTED.n = FIELDS.n = 0
    _default.__defaults__[0]["n"] = BYTES[0] = NUMBERS[0] = VIEW[0] = _tracker().n = _tracker_by("n")["n"] = 0
    VARIABLE.set(0)
    SEALED.counts[0] = 0
    SEALED.total.zero_()
    ARRAY[...] = 0
    TENSOR.zero_()
    _total().zero_()


class Annealed(nn.Module):
    """Weighs its outputs by how often it was called."""

    def __init__(self, count: Callable[[], float]) -> None:
        super().__init__()
        self.net, self.count = mlp(), count

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * (1 + self.count() / 7)


def _case(place: str, count: Callable[[], float]) -> tuple[nn.Module, Callable[..., Tensor]]:
    if place == "loss":
        return mlp(), lambda outputs, targets: (1 + count() / 7) * CE(outputs, targets)
    if place == "model":
        return Annealed(count), CE
    model = mlp()
    model[0].register_forward_hook(lambda module, given, output: (1 + count() / 7) * output)
    return model, CE


def _right(place: str, calls: int) -> float:
    """The loss of the network as it starts, at the weight of this call, in float64."""
    net, weight = mlp().double(), 1 + calls / 7
    hidden = net[0](X.double()) * (weight if place == "hook" else 1)
    outputs = net[3](net[2](net[1](hidden))) * (weight if place == "model" else 1)
    return float((CE(outputs, Y) * (weight if place == "loss" else 1)).detach())


@pytest.mark.parametrize("place", ["loss", "model", "hook"])
@pytest.mark.parametrize("kind", COUNTERS)
def test_a_counter_stands_where_it_stood(kind: str, place: str) -> None:
    count = COUNTERS[kind]()
    model, loss = _case(place, count)
    for calls in (1, 2):
        for mode in ("train", "frozen"):
            with hessian(model, loss, (X, Y), dtype=torch.float64, mode=mode) as operator:
                assert operator.loss == pytest.approx(_right(place, calls), rel=1e-12)
        assert count() == calls


def _trained(place: str, count: Callable[[], float], monitored: bool) -> Tensor:
    model, loss = _case(place, count)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = Monitor(model, loss, (X, Y), optimizer=optimizer, every=2, share=None, strict=True) if monitored else None
    for _ in range(5):
        optimizer.zero_grad()
        loss(model(X), Y).backward()
        optimizer.step()
        if monitor is not None:
            monitor.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("place", ["loss", "model"])
@pytest.mark.parametrize("kind", COUNTERS)
def test_a_monitored_training_counts_its_own_passes_alone(kind: str, place: str) -> None:
    plain = _trained(place, COUNTERS[kind](), monitored=False)
    _reset()
    assert torch.equal(_trained(place, COUNTERS[kind](), monitored=True), plain)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param((lambda g: lambda: float(torch.rand((), generator=g)))(torch.Generator()), id="torch"),
        pytest.param((lambda g: lambda: float(g.random()))(np.random.default_rng(0)), id="numpy"),
        pytest.param((lambda g: lambda: float(g.normal()))(np.random.RandomState(0)), id="numpy's older kind"),
        pytest.param(
            (lambda g: lambda: float(g.rand()))(np.random.RandomState(np.random.PCG64(0))),
            id="numpy's older kind on newer bits",
        ),
        pytest.param((lambda bits: lambda: bits.random_raw() / 2**64)(np.random.PCG64(0)), id="numpy's bits"),
        pytest.param((lambda g: lambda: g.random())(random.Random(0)), id="python"),
    ],
)
def test_numbers_of_a_generator_of_ones_own_are_random_numbers(draw: Callable[[], float]) -> None:
    """Refused as those of the global ones are; a stated seed holds them where they stand, and they go on from there."""
    model = mlp()

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (1 + draw()) * CE(outputs, targets)

    with pytest.raises(ValueError, match=r"not deterministic.*seed="):
        hessian(model, loss, (X, Y))
    with hessian(model, loss, (X, Y), seed=0) as operator:
        assert operator.loss == pytest.approx(float(loss(model(X), Y).detach()), rel=1e-5)


def test_a_counter_that_cannot_be_put_back_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS_OF_A_TEST", "0")

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        os.environ["STEPS_OF_A_TEST"] = str(int(os.environ["STEPS_OF_A_TEST"]) + 1)
        return int(os.environ["STEPS_OF_A_TEST"]) * CE(outputs, targets)

    with pytest.raises(ValueError, match=r"os\.environ\); such a state outside of the model may have moved on"):
        hessian(mlp(), loss, (X, Y))


class Prefetched:
    """Filled by another thread, as loaders are."""

    def __init__(self) -> None:
        self.ready, self.filled = [0], threading.Event()
        self.thread = threading.Thread(target=self.fill, daemon=True)

    def fill(self) -> None:
        self.ready.append(1)
        self.filled.set()


def test_what_another_thread_fills_is_left_to_it() -> None:
    """What comes in while a loss is measured stays in."""
    source = Prefetched()

    class Trainer:
        def __init__(self) -> None:
            self.source, self.started = source, False

        def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
            if not source.filled.is_set():
                source.thread.start()
                source.filled.wait()
            return CE(outputs, targets)

    with hessian(mlp(), Trainer().loss, (X, Y)) as operator:
        assert operator.loss > 0
    assert source.ready == [0, 1]
    assert source.filled.is_set()


def test_an_iterator_cannot_be_put_back_and_is_told() -> None:
    steps = (step for step in range(1_000))
    with pytest.raises(ValueError, match=r"keeps a state that cannot be put back.*an iterator"):
        hessian(mlp(), lambda outputs, targets: (1 + next(steps)) * CE(outputs, targets), (X, Y))
