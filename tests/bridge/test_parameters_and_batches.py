"""Parameters of every kind and several batches: right values come from ``network_oracle``, as for the front door."""

from __future__ import annotations

import copy

import network_oracle as oracle
import numpy as np
import pytest
import torch
from objective_cases import CE, X, Y, assert_right, measured, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Monitor, along_gradient, capture, probe, state_fingerprint
from bntheory.bridge.curvature import Activation, gauss_newton, hessian

# -- parameters of every kind --------------------------------------------------------------------------------------------------


class Transposed(nn.Module):
    """A parameter that is not contiguous, and one that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.weight = nn.Parameter(torch.randn(5, 6).t())
        self.bn = nn.BatchNorm1d(6)
        self.table = nn.Embedding(3, 6, sparse=True)
        self.rows = nn.Parameter(torch.randn(3, 6))

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        h = (
            torch.tanh(self.bn(F.linear(x, self.weight)))
            + self.table(index)
            + F.embedding(index, self.rows, sparse=True)
        )
        return F.linear(h, self.rows) + F.linear(h, self.rows[:, :1].expand(3, 6))


@pytest.mark.parametrize("dtype", [torch.float64, None], ids=["float64", "own"])
def test_strided_shared_and_sparsely_used_parameters(dtype: torch.dtype | None) -> None:
    model, batch = Transposed(), ((X, Y), Y)
    assert not model.weight.is_contiguous()
    dense_table = copy.deepcopy(model)
    dense_table.forward = None  # type: ignore[assignment]
    with pytest.MonkeyPatch.context() as patched:
        plain = F.embedding
        patched.setattr(F, "embedding", lambda i, w, *a, **k: plain(i, w))
        expected = oracle.derivatives(model, CE, batch)[2]
    with hessian(model, CE, batch, dtype=dtype) as op:
        found = op.dense()
    np.testing.assert_allclose(found, expected.numpy(), atol=(1e-9 if dtype else 1e-5) * float(expected.abs().max()))
    assert len(along_gradient(model, CE, batch, [0.1], dtype=dtype).losses) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_scripted_model_has_curvature() -> None:
    expected = oracle.derivatives(mlp(), CE, (X, Y))[2]
    scripted = torch.jit.script(mlp())
    assert_right(measured(scripted, CE, (X, Y)), expected)
    found = probe(scripted, CE, (X, Y))
    assert found.network.lambda_max == pytest.approx(oracle.top(expected), rel=1e-6)
    assert found.twin is None
    assert "scripted" in found.missing["layers"]


# -- several batches ------------------------------------------------------------------------------------------------------------


class LastState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.bn, self.fc = nn.RNN(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.bn(self.rnn(x)[0][-1]))


@pytest.mark.long
def test_batches_weigh_by_their_examples() -> None:
    """Time comes first, so the first axis of the inputs counts steps."""
    model, sizes = LastState(), ((7, 8), (3, 8), (7, 4))
    batches = [(torch.randn(t, n, 5), torch.arange(n) % 3) for t, n in sizes]
    parts = [oracle.derivatives(model, CE, b)[2] for b in batches]
    expected = (8 * parts[0] + 8 * parts[1] + 4 * parts[2]) / 20
    assert_right(measured(model, CE, batches), expected)
    unlabelled = [(b[0],) for b in batches]
    with pytest.raises(ValueError, match=r"rnn \(RNN, batch_first=False\).*examples=\["):
        hessian(model, lambda out: out.square().mean(), unlabelled)
    with hessian(model, lambda out: out.square().mean(), unlabelled, examples=[8, 8, 4]) as op:
        assert op.loss == pytest.approx(
            sum(
                w * float(model.train()(b[0]).square().mean().detach())
                for w, b in zip((0.4, 0.4, 0.2), batches, strict=True)
            ),
            rel=1e-5,
        )
    found = probe(model, CE, batches, tol=1e-9)
    assert found.network.lambda_max == pytest.approx(oracle.top(expected), rel=1e-6)
    assert along_gradient(model, CE, batches, [0.1], dtype=torch.float64).loss == pytest.approx(
        found.network.loss, rel=1e-12
    )


class Heads(nn.Module):
    """Two heads, each of which is used on every other batch alone, and one that never is."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.spare = mlp(), nn.Linear(3, 2)
        self.heads = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

    def forward(self, x: Tensor, head: int) -> Tensor:
        return self.heads[head](torch.tanh(self.net(x)))


@pytest.mark.long
def test_parameters_that_a_loss_does_not_use_have_rows_of_zero_and_are_named() -> None:
    model, batches = Heads(), [((X, 0), Y), ((X.flip(0) + 1, 1), Y)]
    parts = [oracle.derivatives(model, CE, b)[2] for b in batches]
    for given, expected, unused in (
        (batches, (parts[0] + parts[1]) / 2, ["spare"]),
        (batches[0], parts[0], ["spare", "heads.1"]),
    ):
        named = sorted(f"{name}.{kind}" for name in unused for kind in ("weight", "bias"))
        with hessian(model, CE, given, dtype=torch.float64) as op:
            assert sorted(op.unused) == named
            assert_right(op.dense(), expected)
        found = probe(model, CE, given, tol=1e-9)
        assert found.network.lambda_max == pytest.approx(oracle.top(expected), rel=1e-6)
        assert found.twin is not None
        monitor = Monitor(model, CE, given, measures=["sharpness"], share=None, tolerance=1e-6, dtype=torch.float64)
        monitor.measure()
        assert monitor.rows()[0]["lambda_max"] == pytest.approx(oracle.top(expected), rel=1e-5)
    # what is asked for by name has to be there
    with pytest.raises(ValueError, match=r"parameter without gradient: the loss does not use spare\.weight"):
        hessian(model, CE, batches, parameters=["net", "spare.weight"])
    with hessian(model, CE, batches, parameters=["heads"]) as op:
        assert op.unused == ()
    with gauss_newton(model, F.mse_loss, [((X, 0), torch.randn(10, 3)), ((X, 1), torch.randn(10, 3))]) as op:
        assert set(op.unused) == {"spare.weight", "spare.bias"}


# -- frozen parameters --------------------------------------------------------------------------------------------------------------


def held(names: tuple[str, ...] = ("",)) -> nn.Sequential:
    model = mlp().double()
    for name, p in model.named_parameters():
        p.requires_grad_(not name.startswith(names))
    return model


@pytest.mark.parametrize("names", [("",), ("0", "1"), ("9",)], ids=["all", "those before it", "none"])
@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_curvature_by_activations_of_a_frozen_model(names: tuple[str, ...], mode: str) -> None:
    """Right: the loss as a function of the pre-activations, by elementary operations."""
    model = held(names)
    before = state_fingerprint(model)
    y, norm = model[0](X.double()).detach(), model[1]
    c, s = y.mean(0), (y.var(0, unbiased=False) + norm.eps).sqrt()

    def value(y: Tensor) -> Tensor:
        mean, scale = (c, s) if mode == "frozen" else (y.mean(0), (y.var(0, unbiased=False) + norm.eps).sqrt())
        return CE(model[3](torch.tanh((y - mean) / scale * norm.weight + norm.bias)), Y)

    expected = torch.autograd.functional.hessian(value, y).reshape(60, 60)
    with hessian(model, CE, (X.double(), Y), parameters=Activation("1", "input"), mode=mode) as op:
        assert_right(op.dense(), expected)
    assert [layer.name for layer in capture(model, CE, (X.double(), Y))] == ["1"]
    assert state_fingerprint(model) == before
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in held(names).parameters()]


def test_a_statistic_behind_frozen_parameters_is_none_of_data_alone_for_an_activation_before_it() -> None:
    """Constant for the parameters that train, and not for the activation: its twin would keep it alive."""

    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()
            self.net[:2].requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            h = self.net[1](self.net[0](x))
            return self.net[3](torch.tanh((h - h.mean(0)) / (h.var(0) + 1e-5).sqrt()))

    with pytest.raises(ValueError, match=r"'\(model\)' normalises over the batch.*keep them alive"):
        hessian(Inside(), CE, (X, Y), parameters=Activation("net.0", "output"), mode="frozen")
    assert hessian(Inside(), CE, (X, Y), mode="frozen").size == 21


def test_by_the_input_of_a_frozen_model() -> None:
    x = X.clone().double().requires_grad_()
    model = held()

    def value(x: Tensor) -> Tensor:
        y = model[0](x)
        y = (y - y.mean(0)) / (y.var(0, unbiased=False) + model[1].eps).sqrt() * model[1].weight + model[1].bias
        return CE(model[3](torch.tanh(y)), Y)

    expected = torch.autograd.functional.hessian(value, x.detach()).reshape(50, 50)
    with hessian(model, CE, (x, Y), parameters=[x]) as op:
        assert_right(op.dense(), expected)


def test_a_frozen_model_whose_parameters_are_asked_for_is_told_what_can_be_had() -> None:
    words = nn.Sequential(nn.Embedding(7, 5), nn.Flatten(), nn.BatchNorm1d(15)).requires_grad_(False)
    for model, batch in ((held(), (X.double(), Y)), (words, (torch.randint(7, (10, 3)), Y))):
        with pytest.raises(ValueError, match=r"no parameter requires a gradient.*Activation"):
            probe(model, CE, batch)
