"""Statistics of the batch that a user's own code computes: frozen right in a twin, or the twin is refused by name.

Right values: the same formulas with their statistics detached, differentiated twice in float64 (at the point itself a detached tensor has
the derivatives of a constant). Nothing of the bridge enters them.
"""

from __future__ import annotations

import copy
from typing import Any

import network_oracle as oracle
import pytest
import torch
from statistics_by_hand import (
    CE,
    DRAW,
    Inline,
    Layer,
    Statistics,
    X,
    Y,
    assert_right,
    by_formulas,
    einsum,
    fused,
    matrix_product,
    net,
    right,
    standard,
    unbiased,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from bntheory.bridge import capture, frozen_twin, probe, state_fingerprint
from bntheory.bridge.curvature import hessian

CLOSED = {"einsum": (einsum, {"eps": 1e-3}), "matrix product": (matrix_product, {"eps": 1e-5}), "unbiased": (unbiased, {}), "fused": (fused, {})}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", CLOSED)
def test_batch_norm_in_any_writing_is_frozen(name: str) -> None:
    formula, attributes = CLOSED[name]
    model = net(Layer(formula, **attributes))
    before = state_fingerprint(model, rng=False)
    for freeze in ("both", "mean", "variance"):
        value, gradient, matrix = right(formula, freeze, **attributes)
        with hessian(model, CE, (X, Y), mode="frozen", freeze=freeze, dtype=torch.float64) as op:
            assert_right(op.dense(), matrix)
            assert op.loss == pytest.approx(value, rel=1e-11)
        twin = frozen_twin(model, X, freeze=freeze)
        CE(twin(X), Y).backward()
        for key, p in twin.named_parameters():
            torch.testing.assert_close(p.grad.double(), gradient[key], rtol=1e-3, atol=1e-5)
    layers = capture(model, CE, (X, Y), dtype=torch.float64)
    assert list(layers.layers) == ["1", "4"]
    assert all(bool(layer.gradient_residual().passed.all()) for layer in layers)
    if name != "fused":
        assert_right(hessian(model, CE, (X, Y), dtype=torch.float64).dense(), right(formula, None, **attributes)[2])
    assert state_fingerprint(model, rng=False) == before


def coarse(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    return (x - mean(x.mean(0))) / scale(torch.sqrt(x.var(0) + s.eps))


@pytest.mark.parametrize("freeze", ["both", "mean", "variance"])
@pytest.mark.parametrize("several", ["batches", "calls"])
def test_an_unbiased_variance_on_parts_of_several_sizes(several: str, freeze: str) -> None:
    """Its eps, that of the biased form, is another one for every number of entries."""

    class Parts(Layer):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([super(Parts, self).forward(part) for part in x.split([8, 4])])

    class Outer(nn.Module):
        def __init__(self, layer: Layer) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.layer(part) for part in x.split([8, 4])])

    expected = by_formulas(net((Layer if several == "batches" else Parts)(coarse, eps=0.1)), freeze)
    parts = [(X[:8], Y[:8]), (X[8:], Y[8:])]
    if several == "batches":
        right = sum(len(y) / 12 * oracle.derivatives(expected, CE, (x, y))[2] for x, y in parts)
    else:
        right = oracle.derivatives(expected, CE, (X, Y))[2]
    layer = Layer(coarse, eps=0.1)
    model = net(layer)
    if several == "calls":
        model[1] = Outer(layer)
    given = parts if several == "batches" else (X, Y)
    with hessian(model, CE, given, mode="frozen", freeze=freeze, dtype=torch.float64) as op:
        assert_right(op.dense(), right)


OWN: dict[str, Statistics] = {
    "largest": lambda s, x, mean, scale: (x - mean(x.mean(0))) / scale((x - x.mean(0)).abs().amax(0) + 1e-5),
    "mean absolute deviation": lambda s, x, mean, scale: (x - mean(x.mean(0))) / scale((x - x.mean(0)).abs().mean(0)),
    "eps beside the deviation": lambda s, x, mean, scale: (x - mean(x.mean(0))) / scale(x.std(0) + 1e-3),
    "second moment": lambda s, x, mean, scale: x / scale((x.square().mean(0) + 1e-5).sqrt()),
    "mean alone": lambda s, x, mean, scale: x - mean(x.mean(0)),
    "all channels' at once": lambda s, x, mean, scale: (x - mean(x.mean())) / scale(x.std() + 1e-3),
    "median": lambda s, x, mean, scale: x - mean(x.median(0).values),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", OWN)
def test_another_normalisation_over_the_batch_is_frozen_as_a_whole(name: str) -> None:
    model = net(Layer(OWN[name]))
    value, _, matrix = right(OWN[name], "both")
    with hessian(model, CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), matrix)
        assert op.loss == pytest.approx(value, rel=1e-11)
    found = probe(model, CE, (X, Y), tol=1e-8)
    assert found.twin.lambda_max == pytest.approx(oracle.top(matrix), rel=1e-6)
    assert [layer.name for layer in found.layers] == ["4"]
    assert "statistics of its own" in found.left_out["1"]
    for freeze in ("mean", "variance"):
        with pytest.raises(ValueError, match=r"layer '1' .* by a scale of its own.*freeze='both'"):
            frozen_twin(model, X, freeze=freeze)


class Running(Layer):
    """Keeps running statistics, which it uses in an evaluation, and in training where it corrects by them (Ioffe 2017)."""

    def __init__(self, corrects: bool) -> None:
        super().__init__(standard)
        self.corrects = corrects
        self.register_buffer("kept", torch.full((5,), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        scale = (x.var(0, unbiased=False) + 1e-5).sqrt() if self.training else self.kept
        correction = (scale.detach() / self.kept).clamp(0.5, 2) if self.corrects else 1
        if self.training:
            self.kept += 0.1 * (scale.detach() - self.kept)
        return self.weight * (x - x.mean(0)) / scale * correction + self.bias


@pytest.mark.parametrize("corrects", [False, True])
def test_a_twin_by_hand_is_the_same_at_every_call_and_in_every_mode(corrects: bool) -> None:
    model = net(Running(corrects)).double()
    twin, expected = frozen_twin(model, X.double()), copy.deepcopy(model)(X.double())
    for mode in (True, True, False):
        found = twin.train(mode)(X.double())
        torch.testing.assert_close(found, expected)
    assert torch.equal(twin[1].kept, model[1].kept)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_parameter_that_enters_a_statistic_does_not_move_it(share: float) -> None:
    """Graph normalisation (Cai et al. 2021, equation 4), with a learned share of the mean; at a share of 1 its values are batch norm's."""

    def graph_norm(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
        centred = x - s.share * mean(x.mean(0))
        return centred / scale((centred.square().mean(0) + 1e-5).sqrt())

    def network() -> nn.Sequential:
        model = net(Layer(graph_norm))
        model[1].share = nn.Parameter(torch.full((5,), share))
        return model

    with hessian(network(), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(by_formulas(network(), "both"), CE, (X, Y))[2])
    for freeze in ("mean", "variance"):
        with pytest.raises(ValueError, match=r"layer '1'.*neither its mean nor its scale.*freeze='both'"):
            hessian(network(), CE, (X, Y), mode="frozen", freeze=freeze)


def test_a_hook_that_only_looks_stands_against_nothing() -> None:
    model, seen = net(Layer(einsum, eps=1e-3)), []
    model[1].register_forward_hook(lambda m, args, z: seen.append(float(z.detach().sum())))
    with hessian(model, CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), right(einsum, "both", eps=1e-3)[2])


def test_a_packed_sequence_is_one_input() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.rnn, self.bn, self.out = nn.RNN(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)

        def forward(self, x: PackedSequence) -> Tensor:
            h = self.rnn(x)[0]
            h = PackedSequence(self.bn(h.data), h.batch_sizes, h.sorted_indices, h.unsorted_indices)
            padded, lengths = pad_packed_sequence(h)
            return self.out(padded.sum(0) / lengths[:, None])

    parts = [torch.randn(n, 2, generator=torch.Generator().manual_seed(n)) for n in (4, 2, 3, 1, 2, 3)]
    packed, labels = pack_sequence(parts, enforce_sorted=False), torch.arange(6) % 3
    found = probe(Recurrent(), CE, (packed, labels), tol=1e-8)
    for at, frozen in ((found.network, False), (found.twin, True)):
        matrix = oracle.derivatives(Recurrent(), CE, (packed, labels), frozen=frozen)[2]
        assert at.lambda_max == pytest.approx(oracle.top(matrix), rel=1e-6)


@pytest.mark.parametrize("name", ["(loss)", "(model)", "bn#2", "a#b", "#"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_no_name_of_a_layer_hides_another(name: str, by_hand: bool) -> None:
    """Layers, calls and the loss have names of their own, whatever the modules are called; right is the count of what is called."""

    class Named(Inline):
        def __init__(self) -> None:
            super().__init__(torch.tanh)
            self.add_module(name, Layer(standard) if by_hand else nn.BatchNorm1d(5))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.bn(self.one(x)))
            return self.two(torch.tanh(self._modules[name](torch.tanh(self.bn(h + h.square())))))

    def normalising(o: Tensor, y: Tensor) -> Tensor:
        return CE(F.batch_norm(o, None, None, training=True), y)

    found = capture(Named(), normalising, (X, Y), dtype=torch.float64)
    assert len(found.layers) == 4
    assert {"bn", name} < set(found.layers)
    assert len(found.layers[name].gamma) == 5
    assert all(bool(layer.gradient_residual().passed.all()) for layer in found)
    twin = frozen_twin((Named(), normalising, (X, Y)))
    assert type(twin._modules[name]).__name__.startswith("Frozen")
    with pytest.raises(ValueError, match=r"split=6 would change the function: .*\(loss\) normalise by the statistics"):
        hessian(Named(), normalising, (X, Y), split=6)


def test_a_layer_written_by_hand_may_be_the_model() -> None:
    layer, targets = net(Layer(standard))[1], torch.randn(12, 5, generator=torch.Generator().manual_seed(4))
    found = capture(layer, F.mse_loss, (torch.randn(12, 5, generator=DRAW), targets), dtype=torch.float64)
    assert list(found.layers) == ["(model)"]
    assert bool(found.layers["(model)"].gradient_residual().passed.all())
