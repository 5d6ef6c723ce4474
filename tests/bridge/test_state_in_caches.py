"""What functions of a user's own keep of what they returned: a measurement in double precision leaves nothing in it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from objective_cases import CE, X, Y, mlp
from torch import Tensor, nn

from bntheory.bridge import Monitor, probe


def _positions(count: int, size: int) -> Tensor:
    return torch.linspace(0, 1, count)[:, None] * torch.ones(size) / 3


class Placed(nn.Module):
    """Adds what a cache keeps, as encodings of positions are kept."""

    def __init__(self, positions: Callable[[int, int], Tensor]) -> None:
        super().__init__()
        self.net, self.positions = mlp(), positions

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + self.positions(len(x), x.shape[1]))


CACHES: dict[str, Callable[[Any], Any]] = {"unbounded": functools.cache, "bounded": functools.lru_cache(maxsize=4)}


@pytest.mark.parametrize("kind", CACHES)
@pytest.mark.parametrize("warm", ["cold", "warm", "warm elsewhere"])
def test_a_cache_keeps_nothing_of_a_measurement(kind: str, warm: str) -> None:
    positions = CACHES[kind](_positions)
    model, shape = Placed(positions), (len(X), X.shape[1]) if warm == "warm" else (1, 1)
    kept = None if warm == "cold" else positions(*shape)
    size = 0 if kept is None else 1
    probe(model, CE, (X, Y), dtype=torch.float64, curvature=False)
    # a further tensor cannot be taken out of a bounded one alone
    assert positions.cache_info().currsize == (0 if (kind, warm) == ("bounded", "warm elsewhere") else size)
    if kept is not None:
        assert positions(*shape) is kept or kind == "bounded"
        assert torch.equal(kept, _positions(*shape))
    assert positions(len(X), X.shape[1]).dtype == torch.float32
    model(X)


@pytest.mark.parametrize("kind", CACHES)
def test_training_with_a_cache_is_what_it_is_without_the_monitor(kind: str) -> None:
    def trained(monitored: bool) -> Tensor:
        model = Placed(CACHES[kind](lambda count, size: _positions(count, size)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        every = {"every": 1, "share": None, "dtype": torch.float64, "strict": True}
        monitor = Monitor(model, lambda z, y: CE(z, y), (X, Y), optimizer=optimizer, **every) if monitored else None
        if monitor is not None:
            monitor.measure()  # before anything else has filled it
        for _ in range(4):
            optimizer.zero_grad()
            CE(model(X), Y).backward()
            optimizer.step()
            if monitor is not None:
                monitor.step()
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    assert torch.equal(trained(True), trained(False))


def test_a_bounded_cache_keeps_the_objects_that_it_kept() -> None:
    """One of them may be a state; what is no tensor may come in beside it."""

    @functools.lru_cache(maxsize=4)
    def record(name: str) -> dict[str, int]:
        return {name: 0}

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def forward(self, x: Tensor) -> Tensor:
            record("of mine")["of mine"] += 1
            record("further")
            return self.net(x)

    mine = record("of mine")
    probe(Counting(), CE, (X, Y), curvature=False)
    assert record("of mine") is mine
    assert mine == {"of mine": 0}
