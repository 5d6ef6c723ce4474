"""What cannot be measured is named and the rest is right; what a training loop leaves behind does not enter."""

from __future__ import annotations

from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from objective_cases import CE, X, Y, assert_right, measured, mlp
from torch import Tensor, nn

from bntheory.bridge import capture, probe, state_fingerprint
from bntheory.bridge.curvature import hessian

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
            return (x - self.running_mean) * torch.rsqrt(self.running_var + self.eps) * self.weight + self.bias

    model = nn.Sequential(nn.Linear(5, 6), Constant(6), nn.Tanh(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    found = capture(model, CE, (X, Y), dtype=torch.float64)
    assert list(found.layers) == ["4"]
    assert list(found.left_out) == ["1"]
    assert "constants" in found.left_out["1"]


class Standardised(nn.Conv2d):
    """A convolution whose weight is standardised by the function of batch normalisation, as norm-free networks have them."""

    def forward(self, x: Tensor) -> Tensor:
        as_one = self.weight.reshape(1, self.out_channels, -1)
        w = torch.nn.functional.batch_norm(as_one, None, None, training=True, eps=1e-6)
        return torch.nn.functional.conv2d(x, w.reshape_as(self.weight), self.bias)


def standardised(norm: nn.Module | None, change: Any) -> nn.Module:
    torch.manual_seed(3)
    between = nn.Identity() if norm is None else norm
    model = nn.Sequential(Standardised(2, 4, 3), between, nn.Tanh(), Standardised(4, 3, 2), nn.Flatten())
    change(model)
    return model


@pytest.mark.parametrize("examples", [1, 4])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: None, id="plain"),
        pytest.param(lambda m: m.to(memory_format=torch.channels_last), id="channels last"),
        pytest.param(lambda m: m[3].weight.requires_grad_(False), id="held"),
    ],
)
def test_a_weight_that_is_standardised_is_no_layer_over_the_batch(change: Any, examples: int) -> None:
    """Right: the twin that ``nn.BatchNorm2d`` alone has; its weights, whatever is done with them, stay alive."""
    batch = (torch.randn(examples, 2, 4, 4), torch.arange(examples) % 3)
    with_batch_norm = standardised(nn.BatchNorm2d(4), change)
    found = probe(with_batch_norm, CE, batch, tol=1e-8)
    assert [layer.name for layer in found.layers] == ["1"]
    assert set(found.left_out) == {"0", "3"}
    assert "left out: 0, 3: normalises a parameter" in str(found)
    model = oracle.plain(with_batch_norm)
    norm, weights = model[1], [p for p in model.parameters() if p.requires_grad]
    h = model[0](batch[0].double()).detach()
    mean, deviation = h.mean((0, 2, 3)), (h.var((0, 2, 3), unbiased=False) + norm.eps).sqrt()
    z = (model[0](batch[0].double()) - mean[:, None, None]) / deviation[:, None, None] * norm.weight[:, None, None]
    value = CE(model[4](model[3](torch.tanh(z + norm.bias[:, None, None]))), batch[1])
    slopes = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, weights, create_graph=True)])
    rows = [torch.autograd.grad(s, weights, retain_graph=True) for s in slopes]
    expected = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])
    assert found.twin.lambda_max == pytest.approx(oracle.top(expected), rel=1e-6)
    without = standardised(None, change)
    assert "nothing to freeze" in probe(without, CE, batch, tol=1e-8).missing["twin"]
    with pytest.raises(ValueError, match=r"no normalisation layer that can be captured \(0, 3: normalises a parameter"):
        capture(without, CE, batch)


class StandardisedAndNormalised(nn.Module):
    """One forward standardises its weight and normalises its input, both by the function of batch normalisation.

    by_hand: the weight in primitive operations, which the oracle's frozen statistics leave alone.
    """

    def __init__(self, change: str, by_hand: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.weight, self.head = nn.Parameter(torch.randn(3, 2, 3, 3)), nn.Linear(12, 3)
        self.gain = nn.Parameter(torch.rand(3, 2, 3, 3) + 0.5) if change == "gain" else None
        low = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(2, 18))]
        self.low = nn.ParameterList(low if change == "low rank" else [])
        self.before, self.turned, self.by_hand = change == "input before", change == "turned", by_hand

    def standardised(self) -> Tensor:
        w = self.weight if self.gain is None else 0.3 * self.weight * self.gain
        w = w.reshape(3, 18) + (self.low[0] @ self.low[1] if len(self.low) else 0)
        if not self.by_hand and self.turned:
            return torch.nn.functional.batch_norm(w.T, None, None, training=True).T.reshape(3, 2, 3, 3)
        if not self.by_hand:
            return torch.nn.functional.batch_norm(w[None], None, None, training=True).reshape(3, 2, 3, 3)
        w = w - w.mean(1, keepdim=True)
        return (w / (w.square().mean(1, keepdim=True) + 1e-5).sqrt()).reshape(3, 2, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.before:
            x = torch.nn.functional.batch_norm(x, None, None, training=True)
        h = torch.nn.functional.conv2d(x, self.standardised())
        return self.head(torch.tanh(torch.nn.functional.batch_norm(h, None, None, training=True)).flatten(1))


@pytest.mark.parametrize(
    ("change", "examples"),
    [("plain", 5), ("gain", 5), ("low rank", 5), ("turned", 5), ("input before", 5), ("turned", 18)],
)
def test_a_weight_that_is_standardised_beside_an_input_that_is_normalised_stays_alive(
    change: str, examples: int
) -> None:
    """Right: the same network whose weight is standardised in primitive operations, its other statistics frozen.

    Of 18 entries each channel, as many as there may be examples.
    """
    batch = (torch.randn(examples, 2, 4, 4), torch.arange(examples) % 3)
    model, right = (StandardisedAndNormalised(change, by_hand) for by_hand in (False, True))
    for mode in ("train", "frozen"):
        expected = oracle.derivatives(right, CE, batch, frozen=mode == "frozen")[2]
        assert_right(measured(model, CE, batch, mode=mode), expected)
    found = capture(model, CE, batch)
    assert [layer.m for layer in found] == ([80] if change == "input before" else []) + [4 * examples]
    assert [reason[:23] for reason in found.left_out.values()] == ["normalises a parameter "]


def test_learned_features_of_every_example_are_no_weight() -> None:
    """A graph's nodes, whose features are a parameter with a row for each. Right: the same by primitive operations, frozen."""

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(4)
            self.features, self.norm, self.head = nn.Parameter(torch.randn(7, 4)), nn.BatchNorm1d(4), nn.Linear(4, 3)

        def forward(self, edges: Tensor) -> Tensor:
            return self.head(torch.tanh(edges @ self.norm(self.features)))

    batch = (torch.softmax(torch.randn(7, 7), 1), torch.arange(7) % 3)
    expected = oracle.derivatives(Graph(), CE, batch, frozen=True)[2]
    assert_right(measured(Graph(), CE, batch, mode="frozen"), expected)
    assert list(capture(Graph(), CE, batch).layers) == ["norm"]


def test_a_code_that_is_no_data_is_normalised_as_an_activation() -> None:
    """A network of one constant input and no batch: its layers normalise what its weights make of it, and no weight."""
    code, target = torch.randn(1, 2, 3, 3), torch.randn(1, 2, 3, 3)
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2), nn.Tanh(), nn.Conv2d(2, 2, 1))
    found = capture(model, lambda net: (net(code.to(net[0].weight)) - target).square().mean(), dtype=torch.float64)
    assert list(found.layers) == ["1"]


@pytest.mark.parametrize(
    ("first", "code"),
    [
        (nn.Conv1d(2, 2, 1, bias=False), torch.randn(1, 2, 2, dtype=torch.float64)),
        (nn.Linear(2, 2, bias=False), torch.randn(1, 2, 2, dtype=torch.float64)),
        (nn.Embedding(2, 2), torch.tensor([[0, 1]])),
    ],
    ids=["convolution", "product", "rows of a table"],
)
def test_what_a_weight_makes_of_a_constant_is_no_weight(first: nn.Module, code: Tensor) -> None:
    """Of as many entries as the weight, and computed from nothing else that has a gradient."""
    model = nn.Sequential(first, nn.BatchNorm1d(2), nn.Tanh(), nn.Conv1d(2, 1, 1)).double()
    found = capture(model, lambda net: (net(code) - 1.0).square().mean(), dtype=torch.float64)
    assert list(found.layers) == ["1"]


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
        np.testing.assert_allclose(op.dense(), expected[2].numpy(), atol=1e-5 * float(expected[2].abs().max()))
    assert probe(model, CE, (X, Y), tol=1e-9).network.lambda_max == pytest.approx(oracle.top(expected[2]), rel=1e-7)
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
    assert "by hand" in found.left_out["(model)"]


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
