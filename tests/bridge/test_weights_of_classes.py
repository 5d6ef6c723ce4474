"""A batch that holds more than inputs and targets: weights of classes, and targets by which torch does not differentiate."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Objective
from bntheory.bridge.curvature import hessian
from bntheory.errors import UserError

torch.manual_seed(0)
X, Y, SOFT, CLASSES = (
    torch.randn(12, 6),
    torch.randint(3, (12,)),
    (torch.rand(12, 3) > 0.5).float(),
    torch.tensor([1.0, 2, 3]),
)


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


LOSSES: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "cross-entropy": (lambda o, t, w: F.cross_entropy(o, t, weight=w), (X, Y, CLASSES)),
    "positive weights": (lambda o, t, w: F.binary_cross_entropy_with_logits(o, t, pos_weight=w), (X, SOFT, CLASSES)),
    "signs": (F.soft_margin_loss, (X, 2 * SOFT - 1)),
    "numpy": (lambda o, t: F.cross_entropy(o, torch.as_tensor(t.numpy()).argmax(1)), (X, SOFT)),
}


@pytest.mark.parametrize("dtype", [None, torch.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_measured_though_torch_differentiates_by_none_of_its_targets(name: str, dtype: Any) -> None:
    loss, batch = LOSSES[name]
    model, plain = network(), network().double()
    x, *rest = (t.double() if t.is_floating_point() else t for t in batch)
    value = loss(plain(x), *rest)
    slopes = torch.autograd.grad(value, list(plain.parameters()), create_graph=True)
    objective = Objective(model, loss, batch, dtype=dtype)
    tolerance = 1e-5 if dtype is None else 1e-10
    assert objective.loss_value() == pytest.approx(float(value.detach()), rel=tolerance)
    with hessian(objective) as operator:
        v = torch.ones(operator.size, dtype=operator.dtype)
        along = sum((g * torch.ones_like(g)).sum() for g in slopes)
        right = torch.cat([h.flatten() for h in torch.autograd.grad(along, list(plain.parameters()))])
        assert float((operator.matvec(v) - right).abs().max()) < 100 * tolerance * float(right.abs().max())
    frozen = copy.deepcopy(plain).eval()
    frozen[1].running_mean, frozen[1].running_var = (
        plain[0](x).detach().mean(0),
        plain[0](x).detach().var(0, correction=0),
    )
    with hessian(objective.twin()) as operator:
        slopes = torch.autograd.grad(loss(frozen(x), *rest), list(frozen.parameters()), create_graph=True)
        right = torch.cat(
            [h.flatten() for h in torch.autograd.grad(sum(g.sum() for g in slopes), list(frozen.parameters()))]
        )
        assert float((operator.matvec(v) - right).abs().max()) < 100 * tolerance * float(right.abs().max())


def _batch(count: int, *more: Tensor) -> tuple[Tensor, ...]:
    return torch.randn(count, 6), torch.rand(count, 3), *more


def squared(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return ((outputs - targets).square() * weights).mean()


def test_the_weights_of_classes_count_no_examples() -> None:
    batches = [_batch(16, CLASSES), _batch(4, CLASSES)]
    objective = Objective(network(), squared, batches, dtype=torch.float64)
    assert objective.weights == [0.8, 0.2]
    each = [Objective(network(), squared, batch, dtype=torch.float64).loss_value() for batch in batches]
    assert objective.loss_value() == pytest.approx(0.8 * each[0] + 0.2 * each[1], rel=1e-12)
    labels = [(torch.randn(n, 6), torch.randint(3, (n,)), CLASSES) for n in (16, 4)]
    weighted = Objective(network(), lambda o, t, w: F.cross_entropy(o, t, weight=w), labels, dtype=torch.float64)
    assert weighted.weights == [0.8, 0.2]


def test_where_the_weights_of_classes_stand_alone_the_count_is_asked_for() -> None:
    batches = [(torch.randn(n, 6), CLASSES) for n in (16, 4)]
    model = network()
    with pytest.raises(UserError, match=r"cannot be told from the shapes \(16, 6\), \(3,\)"):
        Objective(model, lambda o, w: (o * w).square().mean(), batches).loss_value()
    given = Objective(model, lambda o, w: (o * w).square().mean(), batches, examples=[16, 4])
    assert given.weights == [0.8, 0.2]


def test_labels_count_where_the_first_axis_of_inputs_is_another() -> None:
    """Time first, crops of an example one below the other, nodes of graphs."""

    def weights(shapes: list[tuple[tuple[int, ...], int]]) -> list[float]:
        model = nn.Linear(6, 3)
        batches = [(torch.randn(*shape), torch.randint(3, (count,))) for shape, count in shapes]
        return Objective(model, lambda o, t: o.square().mean(), batches).weights

    assert weights([((7, 16, 6), 16), ((7, 4, 6), 4)]) == [0.8, 0.2]
    assert weights([((32, 6), 16), ((8, 6), 4)]) == [0.8, 0.2]
    assert weights([((37, 6), 16), ((9, 6), 4)]) == [0.8, 0.2]
