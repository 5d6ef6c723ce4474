"""``state_guard`` puts every bit of a model back.

The oracle here shares nothing with the guard: a model is pickled to bytes-per-tensor by hand (``numpy``
views of the storage), the random generators are compared by drawing from them, and hooks by whether they
fire. ``state_fingerprint`` is itself tested by single changes, each of which must be seen.
"""

from __future__ import annotations

import random
from contextlib import nullcontext, suppress

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from bntheory.bridge.networks import state
from bntheory.bridge.networks.state import state_fingerprint, state_guard


class Counter(nn.Module):
    """A user's module with plain Python state, a buffer that it replaces, and a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.seen: list[int] = []
        self.register_buffer("last", torch.zeros(3))
        self.generator = torch.Generator().manual_seed(7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.seen.append(self.calls)
        self.last = torch.rand(3, generator=self.generator).to(x)
        return x


@pytest.fixture
def model(device: str) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), Counter(), nn.Linear(6, 3)).to(
        device
    )
    net[0].bias.requires_grad_(False)
    net[0].weight.grad = torch.full_like(net[0].weight, -0.0)
    net[5].weight.data[0, 0] = float("nan")
    net[1].eval()
    return net


def bits(model: nn.Module) -> dict[str, bytes]:
    found = {}
    for name, t in [*model.named_parameters(), *model.named_buffers()]:
        found[name] = t.detach().cpu().numpy().tobytes() + str(t.dtype).encode()
        found[name + ".grad"] = b"" if t.grad is None else t.grad.cpu().numpy().tobytes()
        found[name + ".id"] = f"{id(t)} {t.data_ptr()} {id(t.grad)} {t.requires_grad}".encode()
    for name, module in model.named_modules():
        found[name + ".mode"] = str(module.training).encode()
    return found


def draws() -> tuple[float, ...]:
    return (torch.rand(()).item(), float(np.random.rand()), random.random())  # noqa: NPY002


def seed_all() -> None:
    torch.manual_seed(11)
    np.random.seed(11)  # noqa: NPY002
    random.seed(11)


def disturb(model: nn.Module, device: str) -> None:
    """Everything that a careless measurement could do, in one function."""
    model.train()
    out = model(torch.randn(8, 5, device=device))
    out.sum().backward()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    model[0].bias.requires_grad_(True)
    model[0].weight.grad.mul_(3.0)
    model[5].weight.register_hook(lambda g: g)
    model[2].register_forward_hook(lambda *a: None)
    model[1].momentum, model[1].eps = 0.9, 1.0
    model[3].p = 0.1
    model[2].forward = lambda x: x
    model.extra = nn.Linear(2, 2)
    model[0] = nn.Linear(5, 6, device=device)
    np.random.rand(3)  # noqa: NPY002
    random.random()


@pytest.mark.parametrize("end", ["normal", "exception", "interrupt"])
def test_everything_comes_back(model: nn.Module, device: str, end: str) -> None:
    seed_all()
    before, expected = bits(model), draws()
    seed_all()
    fingerprint = state_fingerprint(model)
    errors = {"exception": RuntimeError, "interrupt": KeyboardInterrupt}
    expectation = pytest.raises(errors[end]) if end in errors else nullcontext()
    with expectation, state_guard(model):
        disturb(model, device)
        assert bits(model) != before
        if end in errors:
            raise errors[end]
    assert bits(model) == before
    assert state_fingerprint(model) == fingerprint
    assert draws() == expected
    assert "extra" not in dict(model.named_children())
    assert (model[1].momentum, model[1].eps, model[3].p) == (0.1, 1e-5, 0.5)
    assert "forward" not in model[2].__dict__
    assert not model[2]._forward_hooks
    assert not model[5].weight._backward_hooks
    counter = model[4]
    assert (counter.calls, counter.seen) == (0, [])
    assert torch.equal(
        torch.rand(2, generator=counter.generator), torch.rand(2, generator=torch.Generator().manual_seed(7))
    )


@pytest.mark.parametrize("at", [0, 1, 5])
def test_an_interrupt_during_restoration_is_held_back(
    model: nn.Module, device: str, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls, original = bits(model), 0, state._write_back

    def interrupted(target: torch.Tensor, copy: torch.Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls == at + 1:
            raise KeyboardInterrupt
        original(target, copy)

    monkeypatch.setattr(state, "_write_back", interrupted)
    with pytest.raises(KeyboardInterrupt), state_guard(model):
        disturb(model, device)
    assert calls > at
    assert bits(model) == before


def test_user_hooks_survive_and_stay_removable(model: nn.Module, device: str) -> None:
    fired: list[str] = []
    handle = model[2].register_forward_hook(lambda *a: fired.append("module"))
    tensor_handle = model[5].weight.register_hook(lambda g: fired.append("tensor"))
    x = torch.randn(4, 5, device=device)
    with state_guard(model):
        handle.remove()
        tensor_handle.remove()
        model(x).sum().backward()
        assert fired == []
    model(x).sum().backward()
    assert fired == ["module", "tensor"]
    handle.remove()
    tensor_handle.remove()
    model(x).sum().backward()
    assert fired == ["module", "tensor"]


@pytest.mark.parametrize("change", ["double", "half"])
def test_dtype_conversion_inside_is_undone(model: nn.Module, change: str) -> None:
    before = bits(model)
    with state_guard(model):
        getattr(model, change)()
        assert bits(model) != before
    assert bits(model) == before


def test_the_sign_of_zero_comes_back(device: str) -> None:
    layer = nn.Linear(1, 1, device=device)
    layer.weight.data.fill_(-0.0)
    with state_guard(layer):
        layer.weight.data.fill_(0.0)
    assert bool(torch.signbit(layer.weight).all())


def test_storage_exchange_is_undone(model: nn.Module) -> None:
    before = bits(model)
    with state_guard(model):
        model[0].weight.data = torch.zeros(9, 9, device=model[0].weight.device)
        model[1]._buffers["running_mean"] = torch.ones(6)
    assert bits(model) == before


def test_unusual_buffers(device: str) -> None:
    model = nn.Module()
    model.register_buffer("sparse", torch.eye(3, device=device).to_sparse())
    model.register_buffer("flags", torch.tensor([True, False], device=device))
    model.register_buffer("empty", torch.zeros(0, device=device))
    model.register_buffer("short", torch.ones(2, dtype=torch.bfloat16, device=device))
    model.register_buffer("strided", torch.arange(6.0, device=device).reshape(2, 3).T)
    model.register_buffer("nothing", None)
    before = state_fingerprint(model)
    originals = dict(model.named_buffers())
    values = {n: b.to_dense().clone() if n == "sparse" else b.clone() for n, b in originals.items()}
    with state_guard(model):
        model.sparse.mul_(2)
        model.flags.logical_not_()
        model.short.add_(1)
        model.strided.neg_()
        model.empty.resize_(4)
        model.nothing = torch.ones(1)
        assert state_fingerprint(model) != before
    assert state_fingerprint(model) == before
    for name, buffer in model.named_buffers():
        assert buffer is originals[name]
        assert torch.equal(buffer.to_dense() if name == "sparse" else buffer, values[name]), name
    assert model.nothing is None


def test_outer_graph_can_still_be_differentiated(model: nn.Module, device: str) -> None:
    model.eval()  # the graph of eval mode keeps the running statistics themselves
    model[5].weight.data[0, 0] = 0.5
    loss = model(torch.randn(8, 5, device=device)).square().mean()
    with state_guard(model, parameters=False):
        model.train()
        model(torch.randn(8, 5, device=device) + 5.0)
    loss.backward()
    assert torch.isfinite(model[5].weight.grad).all()


def test_promise_to_leave_parameters_is_checked(model: nn.Module) -> None:
    def spoil(error: type[Exception] | None = None) -> None:
        with state_guard(model, parameters=False), torch.no_grad():
            model[5].bias.add_(1.0)
            if error is not None:
                raise error("mine")

    with pytest.raises(RuntimeError, match=r"5\.bias"):
        spoil()
    with pytest.raises(KeyError, match="mine"):
        spoil(KeyError)


def test_shared_tensors_and_several_models(device: str) -> None:
    a, b = nn.Linear(3, 3, device=device), nn.Linear(3, 3, device=device)
    b.weight = a.weight
    before = bits(a), bits(b)
    with state_guard(a, b), torch.no_grad():
        b.weight.mul_(2.0)
        b.bias.mul_(2.0)
    assert (bits(a), bits(b)) == before


def test_nested_guards(model: nn.Module, device: str) -> None:
    before = bits(model)
    with state_guard(model):
        model.train()
        middle = bits(model)
        with state_guard(model):
            disturb(model, device)
        assert bits(model) == middle
    assert bits(model) == before


def test_rng_may_run_on(model: nn.Module) -> None:
    seed_all()
    first = draws()
    seed_all()
    with state_guard(model, rng=False):
        draws()
    assert draws() != first


def test_lazy_modules_are_refused(device: str) -> None:
    lazy = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(ValueError, match=r"0\.weight is lazy"), state_guard(lazy):
        raise AssertionError("the block must not run")


def _one_ulp(model: nn.Module) -> None:
    model[0].weight.data[0, 0] = torch.nextafter(model[0].weight.data[0, 0], torch.tensor(9.0).to(model[0].weight))


CHANGES = {
    "one ulp of a weight": _one_ulp,
    "sign of zero in a gradient": lambda m: m[0].weight.grad.abs_(),
    "gradient removed": lambda m: setattr(m[0].weight, "grad", None),
    "gradient appears": lambda m: setattr(m[5].bias, "grad", torch.zeros_like(m[5].bias)),
    "requires_grad": lambda m: m[0].bias.requires_grad_(True),
    "mode of one submodule": lambda m: m[1].train(),
    "running mean": lambda m: m[1].running_mean.add_(1e-3),
    "batch counter": lambda m: m[1].num_batches_tracked.add_(1),
    "module hook": lambda m: m[1].register_forward_pre_hook(lambda *a: None),
    "tensor hook": lambda m: m[5].weight.register_hook(lambda g: g),
    "torch generator": lambda m: torch.rand(1),
    "numpy generator": lambda m: np.random.rand(),  # noqa: NPY002
    "python generator": lambda m: random.random(),
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    outer=st.lists(st.sampled_from(sorted(CHANGES)), max_size=4),
    inner=st.lists(st.sampled_from(sorted(CHANGES)), max_size=6),
    fails=st.booleans(),
)
def test_any_sequence_of_changes_comes_back(model: nn.Module, outer: list[str], inner: list[str], fails: bool) -> None:
    """Changes before the guard are the state to come back to; those inside leave nothing, in whatever order."""

    def apply(names: list[str]) -> None:
        for name in names:
            with suppress(AttributeError):  # a gradient that an earlier change removed
                CHANGES[name](model)

    def block() -> None:
        with state_guard(model):
            apply(inner)
            if fails:
                raise LookupError

    apply(outer)
    before, found = state_fingerprint(model), bits(model)
    with pytest.raises(LookupError) if fails else nullcontext():
        block()
    assert state_fingerprint(model) == before
    assert bits(model) == found


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_sees(model: nn.Module, change: str) -> None:
    before = state_fingerprint(model)
    assert state_fingerprint(model) == before
    CHANGES[change](model)
    assert state_fingerprint(model) != before
