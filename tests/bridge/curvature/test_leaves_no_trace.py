"""The model, its buffers and the random numbers are bit-identical after everything, also after failure and Ctrl-C.

``state_fingerprint`` hashes bits of parameters, buffers, gradients, modes, hooks and generators; its own tests show
that it sees each of them change. A second check by hand compares values kept by this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bntheory.bridge import state_fingerprint
from bntheory.bridge.curvature import (
    Activation,
    fisher,
    gauss_newton,
    hessian,
    norm_scaled,
    spectral_density,
    top_eigenvalues,
    trace,
)

NAMES = ["batch-norm-1d", "batch-norm-1d-untracked", "residual", "group-norm"]


@contextmanager
def unchanged(net: nn.Module) -> Iterator[None]:
    """Puts the model into a mixed state first: some modules in eval mode, gradients present, a hook."""
    for i, module in enumerate(net.modules()):
        module.train(i % 2 == 0)
    for i, p in enumerate(net.parameters()):
        p.grad = torch.full_like(p, 0.25) if i % 2 else None
    net.register_forward_hook(lambda module, arguments, output: None)
    buffers = {name: b.detach().clone() for name, b in net.named_buffers()}
    identities = {name: id(b) for name, b in net.named_buffers()}
    before = state_fingerprint(net)
    yield
    assert state_fingerprint(net) == before
    for name, b in net.named_buffers():
        assert torch.equal(b, buffers[name])
        assert id(b) == identities[name]


@pytest.mark.parametrize("mode", ["train", "eval", "frozen", "current"])
@pytest.mark.parametrize("name", NAMES)
def test_measuring_everything_changes_nothing(name: str, mode: str, device: str) -> None:
    net, batch = BY_NAME[name].make(device)
    if mode == "frozen" and name == "group-norm":
        with unchanged(net), pytest.raises(ValueError, match="nothing to freeze"):
            hessian(net, functional.cross_entropy, batch, mode=mode)
        return
    with unchanged(net):
        with hessian(net, functional.cross_entropy, batch, mode=mode) as op:
            top_eigenvalues(op, 2)
            trace(op, 6)
            spectral_density(op, steps=4, probes=2)
            with suppress(ValueError):  # without live statistics no loss is invariant in a scale
                top_eigenvalues(norm_scaled(op, per="all"), 1)
        with gauss_newton(net, functional.cross_entropy, batch, mode=mode) as op:
            top_eigenvalues(op, 1)
        with hessian(net, functional.cross_entropy, [batch, batch], mode=mode, keep_graphs=False) as op:
            top_eigenvalues(op, 1)
        with fisher(net, batch, mode=mode, dtype=torch.float32) as op:
            top_eigenvalues(op, 1, tol=1e-3)


class Failing(nn.Module):
    """Raises in the middle of a forward pass, after the first batch norm has seen the batch."""

    def __init__(self, net: nn.Sequential, error: BaseException, at_call: int) -> None:
        super().__init__()
        self.net, self.error, self.at_call, self.calls = net, error, at_call, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        middle = self.net[:3](x)
        if self.calls == self.at_call:
            raise self.error
        return self.net[3:](middle)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=["exception", "ctrl-c"])
def test_an_interrupted_build_leaves_no_trace(error: BaseException, device: str) -> None:
    inner, batch = BY_NAME["batch-norm-1d"].make(device)
    reaches = ValueError if isinstance(error, Exception) else type(error)
    net = Failing(inner, error, at_call=1)
    with unchanged(net), pytest.raises(reaches):
        hessian(net, functional.cross_entropy, batch, memory_limit=float("inf"))
    for parameters in (Activation("net.1"), ["net.1"]):
        with unchanged(net), pytest.raises(reaches):
            hessian(net, functional.cross_entropy, batch, parameters=parameters, memory_limit=float("inf"))


def test_an_interrupted_spectrum_leaves_no_trace(device: str) -> None:
    net, batch = BY_NAME["residual"].make(device)

    def interrupt(products: int, values: np.ndarray) -> None:
        if products == 3:
            raise KeyboardInterrupt

    with unchanged(net), hessian(net, functional.cross_entropy, batch) as op, pytest.raises(KeyboardInterrupt):
        top_eigenvalues(op, 1, callback=interrupt)


def test_the_graph_outlives_later_forward_passes_of_the_model(device: str) -> None:
    """Running statistics that move after the build are not those of the graph."""
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    for mode in ("train", "eval", "frozen"):
        with hessian(net, functional.cross_entropy, (x, y), mode=mode) as op:
            v = torch.linspace(-1, 1, op.size, dtype=torch.float64, device=device)
            before = op.matvec(v)
            net.train()
            net(x * 3 + 1)
            assert torch.equal(op.matvec(v), before)


def test_a_changed_parameter_is_noticed(device: str) -> None:
    net, batch = BY_NAME["batch-norm-1d"].make(device)
    op = hessian(net, functional.cross_entropy, batch)
    with torch.no_grad():
        net[0].weight.add_(0.1)
    with pytest.raises(ValueError, match=r"parameter 0\.weight was changed"):
        op.matvec(np.ones(op.size))


def test_a_closed_operator_says_so(device: str) -> None:
    net, batch = BY_NAME["batch-norm-1d"].make(device)
    with hessian(net, functional.cross_entropy, batch) as op:
        pass
    with pytest.raises(ValueError, match="closed"):
        op.matvec(np.ones(op.size))


class Checkpointed(nn.Module):
    """Recomputes its first half in every backward pass."""

    def __init__(self, net: nn.Sequential, reentrant: bool) -> None:
        super().__init__()
        self.net, self.reentrant = net, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.net[3:](checkpoint(self.net[:3], x, use_reentrant=self.reentrant))


@pytest.mark.parametrize("mode", ["train", "eval", "frozen"])
def test_checkpointed_segments_run_once_and_in_the_mode_of_the_graph(mode: str, device: str) -> None:
    """Recomputation would happen at each product, when the model is back in the user's mode, so there is none."""
    inner, batch = BY_NAME["batch-norm-1d"].make(device)
    with hessian(inner, functional.cross_entropy, batch, mode=mode) as op:
        expected = op.dense()
    for outside, reentrant in ((True, False), (False, False), (True, True)):
        net = Checkpointed(inner, reentrant)
        net.train(outside)
        before = state_fingerprint(net)
        with hessian(net, functional.cross_entropy, batch, mode=mode) as op:
            np.testing.assert_allclose(op.dense(), expected, atol=1e-13)
        assert state_fingerprint(net) == before
    x = batch[0].clone().requires_grad_()
    net(x).sum().backward()  # outside of a measurement the model checkpoints as ever
    assert x.grad is not None
