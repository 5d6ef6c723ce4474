"""The front door: however a network is called, held and set up, the number is that of the function that was asked for, or a refusal.

Right values come from ``network_oracle`` (primitive operations, double backward in float64, nothing of the bridge). Each case is
measured by ``hessian`` in float64 and, where it has layers, captured and probed, since all three go through the same door.
"""

from __future__ import annotations

import copy
from collections import UserDict
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Objective, along_gradient, capture, covariate_shift, probe, state_fingerprint
from bntheory.bridge.curvature import fisher, gauss_newton, hessian, top_eigenvalues

CE = F.cross_entropy
torch.manual_seed(0)
X, Y = torch.randn(10, 5), torch.arange(10) % 3
W = torch.tensor([0.2, 1.0, 3.0])


def mlp(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


class Wrapped(nn.Module):
    """The perceptron behind another calling convention."""

    def __init__(self, convention: str) -> None:
        super().__init__()
        self.net, self.convention = mlp(), convention
        self.register_buffer("shift", torch.zeros(5))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        x, *_ = (*args, *kwargs.values())
        if self.convention == "keyword":
            return self.net[3](self.net[2](self.net[1](input=self.net[0](input=x))))
        out = self.net(x + self.shift)
        if self.convention == "loss":
            return {"loss": CE(out, kwargs["labels"]), "logits": out}
        if self.convention == "logits":
            return SimpleNamespace(logits=out, hidden=x)
        if self.convention == "constant":
            return out @ torch.eye(3)
        if self.convention == "float":
            return out.float().to(torch.float32).type(torch.FloatTensor)
        return out


@dataclass
class Case:
    model: nn.Module
    loss: Any
    batch: Any
    mode: str = "train"


def list_of_parameters(model: nn.Module) -> Any:
    kept = list(model.parameters())
    return lambda out, y: CE(out, y) + 0.1 * sum(p.square().sum() for p in kept)


def penalised(model: nn.Module) -> Any:
    return lambda out, y: CE(out, y) + 0.1 * sum(p.square().sum() for p in model.parameters())


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = [W]  # hidden from .to()

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        return CE(out, y, weight=self.weights[0])


NET = mlp()
SAME = {
    # calling conventions; the oracle calls the plain network
    "a tensor": (mlp(), CE, (X, Y)),
    "a list": (mlp(), CE, [X, Y]),
    "a tuple of inputs": (Wrapped("plain"), CE, ((X, torch.ones(3)), Y)),
    "a mapping": (Wrapped("plain"), CE, ({"x": X}, Y)),
    "a mapping of another kind": (Wrapped("plain"), CE, (UserDict(x=X), Y)),
    "a mapping alone": (Wrapped("loss"), lambda out: out["loss"], {"x": X, "labels": Y}),
    "the model's own loss": (Wrapped("loss"), None, {"x": X, "labels": Y}),
    "the model's own loss, in a tuple": (Wrapped("loss"), None, ({"x": X, "labels": Y},)),
    "logits for a loss of torch's": (Wrapped("logits"), nn.CrossEntropyLoss(), (X, Y)),
    "outputs that are no tensor": (Wrapped("logits"), lambda out, y: CE(out.logits, y), (X, Y)),
    "layers called by keyword": (Wrapped("keyword"), CE, (X, Y)),
    "compiled": (torch.compile(mlp(), backend="eager"), CE, (X, Y)),
    "parallel": (nn.DataParallel(mlp()), CE, (X, Y)),
    # precision
    "a constant made in the forward pass": (Wrapped("constant"), CE, (X, Y)),
    "casts by hand": (Wrapped("float"), CE, (X, Y)),
}
FULL = {
    "class weights in a module": lambda m: nn.CrossEntropyLoss(weight=W),
    "class weights in a partial": lambda m: partial(CE, weight=W),
    "class weights in a closure": lambda m: lambda out, y: CE(out, y, weight=W),
    "class weights in a list of a module": lambda m: Weighted(),
    "label smoothing by hand": lambda m: (
        lambda out, y: -(F.one_hot(y, 3).float() * out.log_softmax(1)).mean()
    ),
    "a penalty on the model's parameters": penalised,
    "a penalty on parameters kept in a list": list_of_parameters,
}


def measured(model: Any, loss: Any, batch: Any, **options: Any) -> np.ndarray:
    with hessian(model, loss, batch, dtype=torch.float64, **options) as op:
        return op.dense()


def assert_right(found: np.ndarray, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", SAME)
def test_every_way_to_call_is_the_same_function(name: str) -> None:
    model, loss, batch = SAME[name]
    before = state_fingerprint(model, rng=False)
    expected = oracle.derivatives(mlp(), CE, (X, Y))[2]
    assert_right(measured(model, loss, batch), expected)
    layers = capture(model, loss, batch, dtype=torch.float64)
    assert len(layers) == 1
    found = probe(model, loss, batch, tol=1e-9)
    assert found.network.lambda_max == pytest.approx(oracle.top(expected), rel=1e-7)
    assert found.twin.lambda_max == pytest.approx(
        oracle.top(oracle.derivatives(mlp(), CE, (X, Y), frozen=True)[2]), rel=1e-7
    )
    assert along_gradient(model, loss, batch, [0.1], dtype=torch.float64).loss == found.network.loss
    assert len(covariate_shift(model, loss, batch, learning_rate=0.1)) == 2
    assert state_fingerprint(model, rng=False) == before


@pytest.mark.parametrize("name", FULL)
def test_a_full_cast_reaches_everything(name: str) -> None:
    """In float64 the class weights are the float32 numbers, exactly: no value is rounded anew."""
    model = mlp()
    loss = FULL[name](model)
    before = state_fingerprint(model, rng=False)
    double = oracle.plain(model)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(globals(), "W", W.double())
        expected = (
            oracle.derivatives(double, FULL[name](double), (X, Y)) if "parameters" not in name else None
        )
    if expected is None:  # the oracle's loss has to speak of the oracle's own copy
        names = [n for n, _ in double.named_parameters()]
        with oracle.written_out():
            value = FULL[name](double)(double(X.double()), Y)
            first = torch.autograd.grad(value, list(double.parameters()), create_graph=True)
            rows = [
                torch.cat(
                    [
                        r.reshape(-1)
                        for r in torch.autograd.grad(e, list(double.parameters()), retain_graph=True)
                    ]
                )
                for e in torch.cat([g.reshape(-1) for g in first])
            ]
        expected = float(value.detach()), dict(zip(names, first, strict=True)), torch.stack(rows)
    assert_right(measured(model, loss, (X, Y)), expected[2])
    assert probe(model, loss, (X, Y), tol=1e-9).network.lambda_max == pytest.approx(
        oracle.top(expected[2]), rel=1e-7
    )
    assert state_fingerprint(model, rng=False) == before


# -- settings of the caller ------------------------------------------------------------------------------------------------


def under(setting: str) -> Any:
    if setting == "no_grad":
        return torch.no_grad()
    if setting == "inference_mode":
        return torch.inference_mode()
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["own precision", "float64"])
@pytest.mark.parametrize("setting", ["no_grad", "inference_mode", "autocast", "default dtype"])
def test_settings_of_the_caller_do_not_enter(setting: str, dtype: torch.dtype | None) -> None:
    expected = oracle.derivatives(mlp(), CE, (X, Y))[2]

    def measure() -> tuple[np.ndarray, float, float]:
        model, batch = mlp().float(), (X.clone(), Y)
        with hessian(model, CE, batch, dtype=dtype) as op:
            dense = op.dense()
        found = probe(model, CE, batch)
        assert found.twin is not None
        return dense, float(found.network.lambda_max or 0), capture(model, CE, batch, dtype=dtype).loss

    if setting == "default dtype":
        torch.set_default_dtype(torch.float64)
        try:
            dense, top, loss = measure()
            assert torch.get_default_dtype() == torch.float64
        finally:
            torch.set_default_dtype(torch.float32)
        model = nn.Sequential(mlp(), nn.Identity())
    else:
        with under(setting):
            dense, top, loss = measure()
        model = mlp()
    del model
    tolerance = 1e-9 if dtype is torch.float64 else 1e-5
    if setting == "default dtype":  # the generator draws other numbers in another default precision
        assert np.isfinite(dense).all()
        return
    np.testing.assert_allclose(dense, expected.numpy(), atol=tolerance * float(expected.abs().max()))
    assert top == pytest.approx(oracle.top(expected), rel=1e-5)
    assert loss == pytest.approx(oracle.derivatives(mlp(), CE, (X, Y))[0], rel=1e-5)


# -- modes ---------------------------------------------------------------------------------------------------------------


class StaysInEvaluation(nn.Sequential):
    """As backbones that are fine-tuned: its batch norm is in evaluation mode whatever train() says."""

    def train(self, mode: bool = True) -> StaysInEvaluation:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self


class IgnoresTheMode(nn.Sequential):
    def train(self, mode: bool = True) -> IgnoresTheMode:
        return self


class SwitchesInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        self.net[1].eval()
        return self.net(x)


def moved(model: nn.Module) -> nn.Module:
    """Running statistics unlike those of the batch."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 3)
    return model


@pytest.mark.parametrize("kind", [StaysInEvaluation, IgnoresTheMode])
@pytest.mark.parametrize("training", [True, False])
def test_the_mode_takes_effect_in_every_layer(kind: type[nn.Sequential], training: bool) -> None:
    torch.manual_seed(3)
    model = moved(kind(*mlp())).eval()
    for module in model.modules():
        module.training = training
    plain = nn.Sequential(*model)
    for mode in ("train", "frozen", "eval"):
        expected = oracle.derivatives(
            plain, CE, (X, Y), frozen=mode == "frozen", mode="eval" if mode == "eval" else "train"
        )
        assert_right(measured(model, CE, (X, Y), mode=mode), expected[2])
    found = probe(model, CE, (X, Y))
    assert found.network.loss == pytest.approx(found.twin.loss, rel=1e-12)
    assert found.network.loss == pytest.approx(oracle.derivatives(plain, CE, (X, Y))[0], rel=1e-12)


def test_a_mode_that_does_not_take_effect_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'net\.1' \(BatchNorm1d\) used its running statistics"):
        hessian(SwitchesInside(), CE, (X, Y))
    with hessian(SwitchesInside(), CE, (X, Y), mode="current") as op:
        assert op.size > 0


# -- the loss depends on the model, and is one function -----------------------------------------------------------------------


class StochasticDepth(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.more = mlp(), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.net(x)
        return x + self.more(x) * torch.empty(len(x), 1).bernoulli_(0.5)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.state = mlp(), SimpleNamespace(calls=0)

    def forward(self, x: Tensor) -> Tensor:
        self.state.calls += 1
        return self.net(x) * self.state.calls


OTHER = copy.deepcopy(NET)
REFUSED = {
    "a loss of another copy": (
        lambda: hessian(NET, lambda out, y: CE(OTHER(X), y), (X, Y)),
        "none of its 6 parameters",
    ),
    "a closure over another copy": (
        lambda: capture(NET, lambda m: CE(OTHER(X), Y)),
        "none of its 6 parameters",
    ),
    "a loss of both copies": (
        lambda: probe(NET, lambda out, y: CE(out, y) + OTHER(X).square().mean(), (X, Y)),
        "another copy",
    ),
    "functional dropout": (
        lambda: hessian(NET, lambda out, y: CE(F.dropout(out, 0.5), y), (X, Y)),
        "not deterministic.*seed=",
    ),
    "dropout": (
        lambda: probe(nn.Sequential(mlp(), nn.Dropout(0.5)), CE, (X, Y)),
        r"dropout is active.*\(1\).*seed=",
    ),
    "stochastic depth": (lambda: capture(StochasticDepth(), CE, (X, Y)), "stochastic depth"),
    "a state between calls": (lambda: along_gradient(Counts(), CE, (X, Y), [0.1]), "keeps a state"),
    "complex parameters": (
        lambda: hessian(
            nn.Linear(5, 3, dtype=torch.complex64), lambda o: o.abs().mean(), (X.to(torch.complex64),)
        ),
        "weight is complex",
    ),
    "a loss that is no tensor": (lambda: capture(NET, lambda out, y: 3.0, (X, Y)), "returned a float"),
    "an infinite input": (lambda: probe(NET, CE, (X / 0, Y)), "non-finite"),
    "a batch of none": (lambda: probe(NET, CE, (X[:0], Y[:0])), "counts* examples"),
    "a last batch of one": (
        lambda: hessian(NET, CE, [(X[:9], Y[:9]), (X[9:], Y[9:])]),
        r"batch\[1\].*'1' \(BatchNorm1d\).*drop_last",
    ),
    "one value a group": (
        lambda: capture(nn.Sequential(nn.Linear(5, 6), nn.GroupNorm(6, 6)), lambda o: o.sum(), (X,)),
        "'1' normalises over m = 1",
    ),
    "eps of zero": (
        lambda: probe(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, eps=0.0)), CE, (X, Y)),
        "'1' has eps = 0.*to_primitive",
    ),
    "outputs that the loss does not take": (
        lambda: hessian(nn.LSTM(5, 3), CE, (X, Y)),
        "does not take what the model returns in mode 'train', a tuple",
    ),
    "several batches captured": (lambda: capture(NET, CE, [(X, Y), (X, Y)]), "2 batches"),
    "no loss": (lambda: hessian(NET, None, (X, Y)), "loss is None"),
    "an unknown freeze": (
        lambda: hessian(NET, CE, (X, Y), mode="frozen", freeze="neither"),
        "freeze is 'neither'",
    ),
    "scripted, captured": (lambda: capture(torch.jit.script(NET), CE, (X, Y)), "scripted"),
    "scripted, frozen": (
        lambda: hessian(torch.jit.script(NET), CE, (X, Y), mode="frozen"),
        "normalises over the batch and is scripted",
    ),
    "an objective and a loss": (lambda: capture(Objective(NET, CE, (X, Y)), CE), "already holds"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_mean_nothing_is_refused(name: str) -> None:
    attempt, message = REFUSED[name]
    before = state_fingerprint(NET, rng=False)
    with pytest.raises(ValueError, match=message):
        attempt()
    assert state_fingerprint(NET, rng=False) == before


def test_a_teacher_without_gradients_is_no_other_copy() -> None:
    teacher = copy.deepcopy(NET).requires_grad_(False).eval()
    found = measured(NET, lambda out, y: CE(out, y) + F.mse_loss(out, teacher(X)), (X, Y))
    assert np.isfinite(found).all()


def test_a_stated_seed_makes_one_function() -> None:
    """Oracle: the mask that the seed draws, as a constant tensor."""
    model = nn.Sequential(*mlp()[:3], nn.Dropout(0.5), mlp()[3])
    torch.manual_seed(7)
    mask = F.dropout(torch.ones(10, 6, dtype=torch.float64), 0.5)

    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * mask

    plain = nn.Sequential(*model[:3], Masked(), model[4])
    expected = oracle.derivatives(plain, CE, (X, Y))[2]
    assert_right(measured(model, CE, (X, Y), seed=7), expected)
    other = measured(model, CE, (X, Y), seed=8)
    assert np.abs(other - expected.numpy()).max() > 1e-3
    assert (
        probe(model, CE, (X, Y), seed=0, dropout="off").network.loss
        != probe(Objective(model, CE, (X, Y), seed=7)).network.loss
    )


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
    np.testing.assert_allclose(
        found, expected.numpy(), atol=(1e-9 if dtype else 1e-5) * float(expected.abs().max())
    )
    assert len(along_gradient(model, CE, batch, [0.1], dtype=dtype).losses) == 1


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
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


# -- partial results -----------------------------------------------------------------------------------------------------------------


class Mixture(nn.Module):
    """One layer of each fate."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.inp, self.good, self.out = nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
        self.quiet, self.unused, self.twice = nn.BatchNorm1d(5), nn.LayerNorm(6), nn.LayerNorm(6)
        self.shrinks = Shrinks()

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.quiet(x)
        h = torch.tanh(self.good(self.inp(x)))
        return self.out(self.shrinks(self.twice(torch.tanh(self.twice(h)))))


class Shrinks(nn.Module):
    """Divides by a norm without being a normalisation of the list."""

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.sqrt(1 + x.norm(dim=1, keepdim=True))


def test_what_is_left_out_is_named_and_the_rest_is_measured() -> None:
    found = capture(Mixture(), CE, (X, Y), dtype=torch.float64)
    assert list(found.layers) == ["good", "twice", "twice#2"]
    assert all(layer.gradient_residual().passed.all() for layer in found)
    assert set(found.left_out) == {"quiet", "unused", "shrinks"}
    assert "no_grad" in found.left_out["quiet"]
    assert "does not reach" in found.left_out["unused"]
    assert "closed forms" in found.left_out["shrinks"]
    with pytest.raises(ValueError, match="unused is left out"):
        found["unused"]
    result = probe(Mixture(), CE, (X, Y))
    assert result.left_out == found.left_out
    assert result.twin.loss == pytest.approx(result.network.loss, rel=1e-12)
    expected = oracle.derivatives(Mixture(), CE, (X, Y), frozen=True)[2]
    assert result.twin.lambda_max == pytest.approx(oracle.top(expected), rel=1e-5)


def test_constants_are_not_taken_for_normalisation() -> None:
    """An affine map with constants fits any closed form in its values on one batch, and in no derivative."""

    class Constant(nn.BatchNorm1d):
        def forward(self, x: Tensor) -> Tensor:
            return (x - self.running_mean) * torch.rsqrt(
                self.running_var + self.eps
            ) * self.weight + self.bias

    model = nn.Sequential(
        nn.Linear(5, 6), Constant(6), nn.Tanh(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
    )
    found = capture(model, CE, (X, Y), dtype=torch.float64)
    assert list(found.layers) == ["4"]
    assert set(found.left_out) == {"1"}


# -- one object for everything -----------------------------------------------------------------------------------------------------------


def test_an_objective_serves_every_measurement() -> None:
    objective = Objective(mlp(), CE, (X, Y), dtype=torch.float64)
    expected, frozen = (oracle.derivatives(mlp(), CE, (X, Y), frozen=f) for f in (False, True))
    assert objective.loss_value() == pytest.approx(expected[0], rel=1e-12)
    for name, g in zip(objective.parameters, objective.loss_and_gradients()[1], strict=True):
        torch.testing.assert_close(g, expected[1][name], rtol=1e-9, atol=1e-12)
    assert [n.name for n in objective.normalisations] == ["1"]
    with (
        hessian(objective) as op,
        hessian(objective.twin()) as twin,
        hessian(objective, mode="frozen") as same,
    ):
        assert_right(op.dense(), expected[2])
        assert_right(twin.dense(), frozen[2])
        np.testing.assert_array_equal(twin.dense(), same.dense())
        assert top_eigenvalues(op).top == pytest.approx(probe(objective).network.lambda_max, rel=1e-9)
    for made in (
        gauss_newton(objective),
        fisher(objective),
        gauss_newton((mlp(), CE, (X, Y)), dtype=torch.float64),
    ):
        assert top_eigenvalues(made).top > 0
    assert capture(objective).loss == pytest.approx(expected[0], rel=1e-12)
    assert len(covariate_shift(objective, learning_rate=0.1)) == 2


def test_probe_needs_no_more_products_than_hessian() -> None:
    model, batch = mlp(), (X, Y)
    for dtype, tol in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        with hessian(model, CE, batch, dtype=dtype) as op:
            alone = top_eigenvalues(op, tol=tol, mixed_precision=True)
        found = probe(model, CE, batch, dtype=dtype).network
        assert (found.products, found.single_products) == (alone.products, alone.single_products)


def test_probe_evaluates_the_loss_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward passes beside products: the examination, the layers, the graph, and the points along the gradient; for network and twin."""
    calls = {"values": 0}
    plain = Objective.value

    def counted(self: Objective, index: int = 0) -> torch.Tensor:
        calls["values"] += 1
        return plain(self, index)

    monkeypatch.setattr(Objective, "value", counted)
    found = probe(mlp(), CE, (X, Y), dtype=torch.float32)
    assert found.twin is not None
    assert calls["values"] <= 30


def test_what_moves_is_put_back() -> None:
    model = mlp()
    for private in (False, True):
        objective = Objective(model, CE, (X, Y), private=private)
        before, start = state_fingerprint(model, rng=False), objective.loss_value()

        def interrupted(objective: Objective = objective, start: float = start) -> None:
            with objective.movable(), torch.no_grad():
                for leaf in objective.parameters.values():
                    leaf.add_(1.0)
                assert objective.loss_value() != start
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert objective.loss_value() == start
        assert state_fingerprint(model, rng=False) == before


# -- what a training loop leaves behind -----------------------------------------------------------------------------------------


def test_hooks_that_change_gradients_do_not_enter_and_stay() -> None:
    """Clipping in a hook changes what an optimiser is given, not the loss."""
    model, calls = mlp(), []
    expected = oracle.derivatives(model, CE, (X, Y))
    model[0].weight.register_hook(lambda g: g * 0)
    model[3].register_full_backward_hook(lambda m, gi, go: calls.append(0))
    before = state_fingerprint(model, rng=False)
    assert_right(measured(model, CE, (X, Y)), expected[2])
    with hessian(model, CE, (X, Y)) as op:
        np.testing.assert_allclose(
            op.dense(), expected[2].numpy(), atol=1e-5 * float(expected[2].abs().max())
        )
    assert probe(model, CE, (X, Y), tol=1e-9).network.lambda_max == pytest.approx(
        oracle.top(expected[2]), rel=1e-7
    )
    assert calls == []
    assert state_fingerprint(model, rng=False) == before
    CE(model(X), Y).backward()
    assert calls == [0]
    assert not model[0].weight.grad.any()


class Inline(nn.Module):
    """Batch statistics in the middle of a forward pass, beside a layer that can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.bn, self.two = nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.bn(self.one(x)))
        return self.two((h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + 1e-5))


def test_statistics_in_the_middle_of_a_forward_pass_are_named() -> None:
    found = probe(Inline(), CE, (X, Y))
    assert [layer.name for layer in found.layers] == ["bn"]
    assert "in the middle of its forward" in found.left_out["(model)"]


@pytest.mark.parametrize(
    ("norm", "shape", "m", "kind"),
    [
        (lambda: nn.LayerNorm((3, 4, 4)), (6, 3, 4, 4), 48, "layer"),
        (lambda: nn.LayerNorm((4, 4)), (6, 3, 4, 4), 16, "layer"),
        (lambda: nn.RMSNorm((3, 4)), (6, 5, 3, 4), 12, "rms"),
        (lambda: nn.GroupNorm(3, 6), (4, 6, 3), 6, "group"),
        (lambda: nn.InstanceNorm3d(2, affine=True), (3, 2, 2, 3, 2), 12, "instance"),
        (lambda: nn.BatchNorm3d(2), (3, 2, 2, 3, 2), 36, "batch"),
        (lambda: nn.BatchNorm2d(3).to(memory_format=torch.channels_last), (4, 3, 2, 2), 16, "batch"),
        (lambda: nn.BatchNorm1d(3, affine=False, track_running_stats=False), (5, 3, 4), 20, "batch"),
    ],
    ids=[
        "layer over three axes",
        "layer over two",
        "rms over two",
        "group",
        "instance 3d",
        "batch 3d",
        "channels last",
        "no affine",
    ],
)
def test_every_kind_of_layer_over_its_axes(norm: Any, shape: tuple[int, ...], m: int, kind: str) -> None:
    """Oracle: the module itself, its input and output as leaves."""
    torch.manual_seed(4)
    layer = norm().double()
    x, w = torch.randn(shape).double(), torch.randn(shape).double()
    for p in layer.parameters():
        nn.init.normal_(p)
    found = capture(nn.Sequential(nn.Tanh(), layer), lambda z: (torch.sin(z) * w).sum(), (x,))["1"]
    assert (found.kind, found.m) == (kind, m)
    y = torch.tanh(x).requires_grad_()
    (pulled,) = torch.autograd.grad((torch.sin(layer(y)) * w).sum(), y)
    torch.testing.assert_close(found.view.join(found.input_grad), pulled, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.view.join(found.y), y.detach(), rtol=0, atol=0)
    assert found.gradient_residual().passed.all()
    assert found.hessian_residual(range(min(3, found.units))).passed.all()
