"""Hessian products against dense matrices that share no derivative formula with them.

The oracle is double backward through normalisation written out by hand (means, subtractions, square roots, in
``hand_written.py``): it shares neither torch's fused batch-norm derivatives nor the package's interception. Double
backward itself is checked against central differences of first gradients of the *fused* network, and first gradients
against differences of the loss, which need no formula at all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME, CASES, Case
from hand_written import by_hand, double_backward, relative
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import Activation, hessian

MODES = ("train", "eval", "frozen")


def directional(function: Callable[[], Tensor], parameters: list[Tensor], direction: Tensor, h: float) -> Tensor:
    """Central difference of fourth order of ``function`` along ``direction``; the parameters are put back."""
    before = [p.detach().clone() for p in parameters]
    sizes = [p.numel() for p in parameters]

    def at(t: float) -> Tensor:
        for p, old, d in zip(parameters, before, torch.split(direction, sizes), strict=True):
            p.data = old + t * d.view_as(p)
        return function()

    result = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    for p, old in zip(parameters, before, strict=True):
        p.data = old
    return result


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hessian_equals_the_one_through_hand_written_normalisation(case: Case, mode: str, device: str) -> None:
    net, (x, y) = case.make(device)
    if mode == "frozen" and case.name in ("layer-norm", "group-norm"):
        with pytest.raises(ValueError, match="nothing to freeze"):
            hessian(net, functional.cross_entropy, (x, y), mode=mode)
        return
    twin, parameters = by_hand(net, x, mode)
    with hessian(net, functional.cross_entropy, (x, y), mode=mode) as op:
        dense = op.dense()
        expected_loss = functional.cross_entropy(twin(x), y)
        assert op.loss == pytest.approx(float(expected_loss.detach()), rel=1e-13)
        expected = double_backward(expected_loss, parameters)
        assert relative(dense, expected) < 1e-10
        assert relative(dense, dense.T) < 1e-12
        gradient = torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(functional.cross_entropy(twin(x), y), parameters)]
        )
        assert relative(op.gradient.cpu().numpy(), gradient.cpu().numpy()) < 1e-11


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hand_written_hessian_and_the_operator_agree_with_finite_differences(
    case: Case, mode: str, device: str
) -> None:
    """Central differences of the fused network's first gradient, whose own check is by differences of the loss.

    Error budget of fourth order at h = 1e-3: truncation about h^4, rounding about 1e-16/h: both far below 1e-7.
    """
    net, (x, y) = case.make(device)
    probe = copy.deepcopy(net).train(mode == "train")
    parameters = list(probe.parameters())
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(sum(p.numel() for p in parameters), generator=generator, dtype=torch.float64).to(device)
    direction /= direction.norm()

    def loss() -> Tensor:
        return functional.cross_entropy(probe(x), y)

    def gradient() -> Tensor:
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss(), parameters)])

    with hessian(net, functional.cross_entropy, (x, y), mode=mode) as op:
        slope = directional(lambda: loss().detach(), parameters, direction, 1e-3)
        assert float(slope) == pytest.approx(float(op.gradient @ direction), rel=1e-7, abs=1e-9)
        differences = directional(gradient, parameters, direction, 1e-3)
        assert relative(op.matvec(direction).cpu().numpy(), differences.cpu().numpy()) < 1e-7


def test_blocks_of_the_hessian_are_the_operators_of_single_layers(device: str) -> None:
    net, batch = BY_NAME["batch-norm-1d"].make(device)
    with hessian(net, functional.cross_entropy, batch) as op:
        whole = op.dense()
        offsets = np.cumsum([0] + [int(np.prod(shape)) for shape in op.shapes])
        place = {name: slice(offsets[i], offsets[i + 1]) for i, name in enumerate(op.names)}
    for wanted in ("1", "3.weight", ["0", "6.bias"]):
        with hessian(net, functional.cross_entropy, batch, parameters=wanted) as op:
            rows = np.concatenate([np.arange(whole.shape[0])[place[name]] for name in op.names])
            assert relative(op.dense(), whole[np.ix_(rows, rows)]) < 1e-12
    tensors = [net[3].weight, net[1].weight]
    with hessian(net, functional.cross_entropy, batch, parameters=tensors) as op:
        assert op.names == ("3.weight", "1.weight")


@pytest.mark.parametrize("mode", MODES)
def test_hessian_with_respect_to_pre_activations(mode: str, device: str) -> None:
    """Oracle: the network cut open at the layer, its second half a function of a leaf tensor."""
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    twin, _ = by_hand(net, x, mode)
    leaf = twin[0](x).detach().requires_grad_()
    expected = double_backward(functional.cross_entropy(twin[1:](leaf), y), [leaf])
    with hessian(net, functional.cross_entropy, (x, y), mode=mode, parameters=Activation("1")) as op:
        assert op.shapes == ((9, 6),)
        assert relative(op.dense(), expected) < 1e-10


def test_an_activation_survives_in_place_operations_behind_it(device: str) -> None:
    def build(inplace: bool) -> nn.Module:
        torch.manual_seed(0)
        layers = [nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ELU(inplace=inplace), nn.Linear(4, 3)]
        return nn.Sequential(*layers).double().to(device)

    _, batch = BY_NAME["batch-norm-1d"].make(device)
    matrices = []
    for inplace in (False, True):
        with hessian(build(inplace), functional.cross_entropy, batch, parameters=Activation("1", "output")) as op:
            matrices.append(op.dense())
    assert relative(matrices[1], matrices[0]) < 1e-14


@pytest.mark.long
def test_batches_are_averaged_by_their_sizes(device: str) -> None:
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    parts = [(x[:3], y[:3]), (x[3:], y[3:])]
    singles = []
    for part in parts:
        with hessian(net, functional.cross_entropy, part) as op:
            singles.append((op.dense(), op.gradient.cpu().numpy(), op.loss))
    for keep_graphs in (True, False):
        with hessian(net, functional.cross_entropy, parts, keep_graphs=keep_graphs) as op:
            assert relative(op.dense(), (3 * singles[0][0] + 6 * singles[1][0]) / 9) < 1e-13
            assert relative(op.gradient.cpu().numpy(), (3 * singles[0][1] + 6 * singles[1][1]) / 9) < 1e-13
            assert op.loss == pytest.approx((3 * singles[0][2] + 6 * singles[1][2]) / 9, rel=1e-14)


@pytest.mark.long
def test_splitting_without_batch_statistics_is_exact(device: str) -> None:
    for name, mode in (("batch-norm-1d", "eval"), ("layer-norm", "train")):
        net, batch = BY_NAME[name].make(device)
        with (
            hessian(net, functional.cross_entropy, batch, mode=mode) as whole,
            hessian(net, functional.cross_entropy, batch, mode=mode, split=4) as pieces,
        ):
            assert relative(pieces.dense(), whole.dense()) < 1e-12


@pytest.mark.long
def test_ghost_batches_are_the_average_over_the_pieces(device: str) -> None:
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    pieces = [(x[:4], y[:4]), (x[4:8], y[4:8]), (x[8:], y[8:])]
    x2, y2, pieces = x[:8], y[:8], pieces[:2]
    with (
        hessian(net, functional.cross_entropy, (x2, y2), split=4, ghost_batches=True) as ghost,
        hessian(net, functional.cross_entropy, pieces) as listed,
        hessian(net, functional.cross_entropy, (x2, y2)) as whole,
    ):
        assert relative(ghost.dense(), listed.dense()) < 1e-14
        assert relative(ghost.dense(), whole.dense()) > 1e-3


def test_zero_eps_is_measured_by_primitive_operations(device: str) -> None:
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = 0.0
    twin, parameters = by_hand(net, x, "train")
    with hessian(net, functional.cross_entropy, (x, y), normalisation="primitive") as op:
        assert relative(op.dense(), double_backward(functional.cross_entropy(twin(x), y), parameters)) < 1e-10


@pytest.mark.long
def test_float32_agrees_to_its_precision_and_dtype_measures_in_double(device: str) -> None:
    net, (x, y) = BY_NAME["batch-norm-2d-grouped-strided"].make(device)
    single = copy.deepcopy(net).float()
    with hessian(net, functional.cross_entropy, (x, y)) as op:
        expected = op.dense()
    with hessian(single, functional.cross_entropy, (x.float(), y)) as op:
        assert op.dtype == torch.float32
        assert 0 < relative(op.dense(), expected) < 1e-4
    with hessian(single, functional.cross_entropy, (x.float(), y), dtype=torch.float64, parameters=["0.weight"]) as op:
        assert op.dtype == torch.float64
        with hessian(
            copy.deepcopy(single).double(), functional.cross_entropy, (x.float().double(), y), parameters="0.weight"
        ) as b:
            assert relative(op.dense(), b.dense()) < 1e-14
    assert all(p.dtype == torch.float32 for p in single.parameters())
