"""The front door: however a network is called, held and set up, the number is that of the function that was asked for, or a refusal.

Right values come from ``network_oracle`` (primitive operations, double backward in float64, nothing of the bridge). Each case is
measured by ``hessian`` in float64 and, where it has layers, captured and probed, since all three go through the same door.
"""

from __future__ import annotations

from collections import UserDict
from functools import partial
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from objective_cases import CE, W, Wrapped, X, Y, assert_right, measured, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Objective, along_gradient, capture, covariate_shift, probe, state_fingerprint
from bntheory.bridge.curvature import fisher, gauss_newton, hessian, top_eigenvalues


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
    "label smoothing by hand": lambda m: lambda out, y: -(F.one_hot(y, 3).float() * out.log_softmax(1)).mean(),
    "a penalty on the model's parameters": penalised,
    "a penalty on parameters kept in a list": list_of_parameters,
}


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
        expected = oracle.derivatives(double, FULL[name](double), (X, Y)) if "parameters" not in name else None
    if expected is None:  # the oracle's loss has to speak of the oracle's own copy
        names = [n for n, _ in double.named_parameters()]
        with oracle.written_out():
            value = FULL[name](double)(double(X.double()), Y)
            first = torch.autograd.grad(value, list(double.parameters()), create_graph=True)
            rows = [
                torch.cat([r.reshape(-1) for r in torch.autograd.grad(e, list(double.parameters()), retain_graph=True)])
                for e in torch.cat([g.reshape(-1) for g in first])
            ]
        expected = float(value.detach()), dict(zip(names, first, strict=True)), torch.stack(rows)
    assert_right(measured(model, loss, (X, Y)), expected[2])
    assert probe(model, loss, (X, Y), tol=1e-9).network.lambda_max == pytest.approx(oracle.top(expected[2]), rel=1e-7)
    assert state_fingerprint(model, rng=False) == before


# -- settings of the caller ------------------------------------------------------------------------------------------------


def under(setting: str) -> Any:
    if setting == "no_grad":
        return torch.no_grad()
    if setting == "inference_mode":
        return torch.inference_mode()
    if setting == "default device":
        return torch.device("meta")  # where nothing has values
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize("dtype", [None, torch.float64], ids=["own precision", "float64"])
@pytest.mark.parametrize("setting", ["no_grad", "inference_mode", "autocast", "default device", "default dtype"])
def test_settings_of_the_caller_do_not_enter(setting: str, dtype: torch.dtype | None) -> None:
    expected = oracle.derivatives(mlp(), CE, (X, Y))[2]

    def measure() -> tuple[np.ndarray, float, float]:
        with torch.device("cpu"):
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
    with pytest.raises(ValueError, match=r"used its running statistics.*mode='frozen', twin_of='current'"):
        hessian(SwitchesInside(), CE, (X, Y), mode="frozen")


def test_the_twin_of_a_network_with_a_part_in_evaluation_mode_is_had_as_the_message_says() -> None:
    class PartlyFixed(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self[1].eval()
            return super().forward(x)

    torch.manual_seed(4)
    model = moved(PartlyFixed(*mlp()[:3], nn.BatchNorm1d(6), nn.Linear(6, 3)))
    with pytest.raises(ValueError, match=r"'1' \(BatchNorm1d\).*mode='frozen', twin_of='current'"):
        hessian(model, CE, (X, Y), mode="frozen")
    plain = nn.Sequential(StaysInEvaluation(*model[:3]), *model[3:])
    expected = oracle.derivatives(plain, CE, (X, Y), frozen=True)
    found = Objective(model, CE, (X, Y), dtype=torch.float64, mode="frozen", twin_of="current")
    with hessian(found) as op:
        assert_right(op.dense(), expected[2])


# -- one object for everything -----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_an_objective_serves_every_measurement() -> None:
    objective = Objective(mlp(), CE, (X, Y), dtype=torch.float64)
    expected, frozen = (oracle.derivatives(mlp(), CE, (X, Y), frozen=f) for f in (False, True))
    assert objective.loss_value() == pytest.approx(expected[0], rel=1e-12)
    for name, g in zip(objective.parameters, objective.loss_and_gradients()[1], strict=True):
        torch.testing.assert_close(g, expected[1][name], rtol=1e-9, atol=1e-12)
    assert [n.name for n in objective.normalisations] == ["1"]
    with hessian(objective) as op, hessian(objective.twin()) as twin, hessian(objective, mode="frozen") as same:
        assert_right(op.dense(), expected[2])
        assert_right(twin.dense(), frozen[2])
        np.testing.assert_array_equal(twin.dense(), same.dense())
        assert top_eigenvalues(op).top == pytest.approx(probe(objective).network.lambda_max, rel=1e-9)
    for made in (gauss_newton(objective), fisher(objective), gauss_newton((mlp(), CE, (X, Y)), dtype=torch.float64)):
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
