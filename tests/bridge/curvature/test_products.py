"""Products against dense matrices that share no derivative formula with them.

The oracle of the Hessian is double backward through normalisation written out by hand *in this file* (means,
subtractions, square roots): it shares neither torch's fused batch-norm derivatives nor the package's interception.
Double backward itself is checked against central differences of first gradients of the *fused* network, and first
gradients against differences of the loss, which need no formula at all. Gauss-Newton is checked against J' H J from
a dense Jacobian by finite differences; the Fisher matrix against its definition, a sum over all labellings.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME, CASES, Case, Functional
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import (
    Activation,
    empirical_fisher,
    fisher,
    gauss_newton,
    hessian,
)

MODES = ("train", "eval", "frozen")


class HandBatchNorm(nn.Module):
    """Batch norm from elementary operations; its statistics may be set to constants."""

    def __init__(
        self, weight: Tensor | None, bias: Tensor | None, eps: float, running: tuple[Tensor, Tensor] | None
    ):
        super().__init__()
        self.weight, self.bias, self.eps, self.running = weight, bias, eps, running
        self.constants: tuple[Tensor, Tensor] | None = None
        self.seen: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(1, -1)
        flat = moved.reshape(-1, moved.shape[-1])
        mean = flat.sum(0) / flat.shape[0]
        var = (flat * flat).sum(0) / flat.shape[0] - mean * mean
        self.seen = (mean.detach(), var.detach())
        if self.constants is not None:
            mean, var = self.constants
        elif not self.training and self.running is not None:
            mean, var = self.running
        z = (moved - mean) * (var + self.eps) ** -0.5
        z = z if self.weight is None else z * self.weight
        z = z if self.bias is None else z + self.bias
        return z.movedim(-1, 1)


class HandGroupNorm(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, eps: float, groups: int) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.groups = weight, bias, eps, groups

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(x.shape[0] * self.groups, -1)
        mean = rows.sum(1, keepdim=True) / rows.shape[1]
        var = (rows * rows).sum(1, keepdim=True) / rows.shape[1] - mean * mean
        z = ((rows - mean) * (var + self.eps) ** -0.5).reshape(x.shape)
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return z * self.weight.reshape(shape) + self.bias.reshape(shape)


def hand_written(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        running = None if module.running_mean is None else (module.running_mean, module.running_var)
        return HandBatchNorm(module.weight, module.bias, module.eps, running)
    if isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
        return HandGroupNorm(module.weight, module.bias, module.eps, getattr(module, "num_groups", 1))
    return None


class FunctionalByHand(nn.Module):
    def __init__(self, original: Functional) -> None:
        super().__init__()
        self.first, self.head, self.gain = original.first, original.head, original.gain
        self.norm = HandBatchNorm(original.gain, None, 1e-5, None)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.softplus(self.norm(self.first(x))))


def by_hand(net: nn.Module, x: Tensor, mode: str) -> tuple[nn.Module, list[Tensor]]:
    """A copy of ``net`` with hand-written normalisation, in ``mode``, and its parameters in the order of ``net``."""
    twin = copy.deepcopy(net)
    parameters = list(twin.parameters())
    if isinstance(twin, Functional):
        twin = FunctionalByHand(twin)
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            replacement = hand_written(child)
            if replacement is not None:
                setattr(parent, name, replacement)
    twin.train(mode != "eval")
    if mode == "frozen":
        with torch.no_grad():
            twin(x)
        for norm in twin.modules():
            if isinstance(norm, HandBatchNorm):
                norm.constants = norm.seen
    return twin, parameters


def double_backward(loss: Tensor, parameters: list[Tensor]) -> np.ndarray:
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [
        torch.cat(
            [
                g.reshape(-1)
                for g in torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
            ]
        )
        for entry in gradient
    ]
    return torch.stack(rows).cpu().numpy()


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def directional(
    function: Callable[[], Tensor], parameters: list[Tensor], direction: Tensor, h: float
) -> Tensor:
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
def test_hessian_equals_the_one_through_hand_written_normalisation(
    case: Case, mode: str, device: str
) -> None:
    net, (x, y) = case.make(device)
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
    direction = torch.randn(sum(p.numel() for p in parameters), generator=generator, dtype=torch.float64).to(
        device
    )
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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["batch-norm-1d", "batch-norm-2d-grouped-strided", "group-norm"])
def test_gauss_newton_is_the_jacobian_squared_around_the_loss_hessian(
    name: str, mode: str, device: str
) -> None:
    """J from the hand-written twin one output at a time; the loss Hessian diag(p) - pp' from its formula."""
    net, (x, y) = BY_NAME[name].make(device)
    twin, parameters = by_hand(net, x, mode)
    outputs = twin(x)
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(o, parameters, retain_graph=True)])
        for o in outputs.reshape(-1)
    ]
    jacobian = torch.stack(rows).cpu().numpy().reshape(*outputs.shape, -1)
    p = outputs.softmax(1).detach().cpu().numpy()
    expected = 0.0
    for i in range(len(p)):
        expected = expected + jacobian[i].T @ (np.diag(p[i]) - np.outer(p[i], p[i])) @ jacobian[i] / len(p)
    with (
        gauss_newton(net, functional.cross_entropy, (x, y), mode=mode) as ggn,
        fisher(net, (x, y), mode=mode) as exact,
        hessian(net, functional.cross_entropy, (x, y), mode=mode) as full,
    ):
        assert relative(ggn.dense(), expected) < 1e-10
        assert relative(exact.dense(), expected) < 1e-10
        assert relative(ggn.gradient.cpu().numpy(), full.gradient.cpu().numpy()) < 1e-12
        assert relative(full.dense(), expected) > 1e-3, (
            "the Hessian is another matrix, or this test shows nothing"
        )


def test_fisher_is_the_expected_outer_product_of_scores_over_all_labellings(device: str) -> None:
    """By definition: sum over all 3^3 labellings of the batch, with the network's own probabilities."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 3)).double().to(device)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    parameters = list(net.parameters())
    expected: np.ndarray | float = 0.0
    for labels in itertools.product(range(3), repeat=3):
        y = torch.tensor(labels, device=device)
        log_likelihood = -functional.cross_entropy(net(x), y, reduction="sum")
        score = (
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(log_likelihood, parameters)]).cpu().numpy()
        )
        expected = expected + float(log_likelihood.detach().exp()) * np.outer(score, score)
    with fisher(net, (x, y)) as op:
        assert relative(op.dense(), expected / 3) < 1e-10


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_fisher_of_other_likelihoods_is_the_mean_over_samples_of_scores(likelihood: str, device: str) -> None:
    """Bernoulli by enumeration of all labels; Gaussian from J'J, the textbook form."""
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 1)).double().to(device)
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    parameters = list(net.parameters())
    out = net(x).reshape(-1)
    rows = [torch.autograd.grad(o, parameters, retain_graph=True) for o in out]
    jacobian = torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows]).cpu().numpy()
    expected = jacobian.T @ jacobian
    if likelihood == "bernoulli":
        p = out.sigmoid().detach().cpu().numpy()
        expected = np.zeros_like(expected)
        for labels in itertools.product((0.0, 1.0), repeat=4):
            t = np.array(labels)
            probability = float(np.prod(np.where(t == 1, p, 1 - p)))
            score = jacobian.T @ (t - p)
            expected += probability * np.outer(score, score)
    targets = torch.zeros(4, 1, dtype=torch.float64, device=device)
    with fisher(net, (x, targets), likelihood=likelihood) as op:
        assert relative(op.dense(), expected / 4) < 1e-10


def test_empirical_fisher_is_the_mean_outer_product_of_example_gradients(device: str) -> None:
    """With the other examples' part in each gradient, since batch normalisation couples them."""
    net, (x, y) = BY_NAME["batch-norm-1d"].make(device)
    twin, parameters = by_hand(net, x, "train")
    losses = functional.cross_entropy(twin(x), y, reduction="none")
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, retain_graph=True)])
        for loss in losses
    ]
    g = torch.stack(rows).cpu().numpy()

    def each(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none")

    with empirical_fisher(net, each, (x, y)) as op:
        assert relative(op.dense(), g.T @ g / len(g)) < 1e-10
        assert relative(op.gradient.cpu().numpy(), g.mean(0)) < 1e-10


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
        with hessian(
            build(inplace), functional.cross_entropy, batch, parameters=Activation("1", "output")
        ) as op:
            matrices.append(op.dense())
    assert relative(matrices[1], matrices[0]) < 1e-14


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


def test_splitting_without_batch_statistics_is_exact(device: str) -> None:
    for name, mode in (("batch-norm-1d", "eval"), ("layer-norm", "train")):
        net, batch = BY_NAME[name].make(device)
        with (
            hessian(net, functional.cross_entropy, batch, mode=mode) as whole,
            hessian(net, functional.cross_entropy, batch, mode=mode, split=4) as pieces,
        ):
            assert relative(pieces.dense(), whole.dense()) < 1e-12


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


def test_float32_agrees_to_its_precision_and_dtype_measures_in_double(device: str) -> None:
    net, (x, y) = BY_NAME["batch-norm-2d-grouped-strided"].make(device)
    single = copy.deepcopy(net).float()
    with hessian(net, functional.cross_entropy, (x, y)) as op:
        expected = op.dense()
    with hessian(single, functional.cross_entropy, (x.float(), y)) as op:
        assert op.dtype == torch.float32
        assert 0 < relative(op.dense(), expected) < 1e-4
    with hessian(
        single, functional.cross_entropy, (x.float(), y), dtype=torch.float64, parameters=["0.weight"]
    ) as op:
        assert op.dtype == torch.float64
        with hessian(
            copy.deepcopy(single).double(),
            functional.cross_entropy,
            (x.float().double(), y),
            parameters="0.weight",
        ) as b:
            assert relative(op.dense(), b.dense()) < 1e-14
    assert all(p.dtype == torch.float32 for p in single.parameters())
