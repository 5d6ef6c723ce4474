"""What mixes examples, or normalises something else than the batch, stands against no twin, and stays alive in it.

Right values come from ``network_oracle``, in which the statistics of the one batch norm beside it are detached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from statistics_by_hand import (
    CE,
    DRAW,
    SERIES,
    Calls,
    Inline,
    Layer,
    Sequences,
    X,
    Y,
    assert_right,
    entropy_and,
    net,
    standard,
    standardised_over,
)
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Objective
from bntheory.bridge.curvature import hessian


def mixed(h: Tensor) -> Tensor:
    """A graph, a set's mean that is added, and an attention over the batch: examples mix, and nothing is normalised."""
    h = h + 0.5 * h.roll(1, 0) + torch.tanh(h.mean(0))
    return torch.softmax(h @ h.T, 1) @ h


STANDARDISED = nn.Parameter(torch.randn(5, 5, generator=DRAW))


def attended(h: Tensor) -> Tensor:
    """A shift of every key changes nothing, and no example meets another."""
    keys = (h[:, None] * torch.linspace(-1, 1, 4).to(h)[:, None]).tanh()
    return (torch.softmax((keys * h[:, None].roll(1, 2)).sum(2), 1)[..., None] * keys).sum(1)


def within(h: Tensor, axis: int) -> Tensor:
    h = torch.stack([h, h.sin(), h.cos()], 1).flatten(0, 1)  # several rows an example
    h = h if axis else h.T
    h = (h - h.mean(axis, keepdim=True)) / (h.var(axis, keepdim=True) + 1e-5).sqrt()
    return (h if axis else h.T).unflatten(0, (-1, 3)).sum(1)


def apart(h: Tensor) -> Tensor:
    """Squared distances between all examples: shifts change nothing, and scales do."""
    return (h[:, None] - h).square().mean(1)


def graph_attention(h: Tensor) -> Tensor:
    """A softmax over each node's edges, with the largest taken away for safety's sake, and each node's mean of its neighbours."""
    to, of = (
        torch.arange(12).repeat(3),
        (torch.arange(12).repeat(3) + torch.tensor([1, 2, 5]).repeat_interleave(12)) % 12,
    )
    e = h[to] * h[of]
    e = torch.exp(e - e.max())
    total = h.new_zeros(12, 5).index_add(0, to, e)
    mean = h.new_zeros(12, 5).index_add(0, to, torch.einsum("ec,ec,ec->ec", e, total.reciprocal()[to], h[of]))
    return F.normalize(torch.cat([h, mean], 1), dim=1)[:, 2:7]


def variance_and_covariance(o: Tensor) -> Tensor:
    centred = o - o.mean(0)
    return F.relu(1 - o.std(0)).mean() + (centred.T @ centred / len(o)).square().sum() + torch.cov(o.T).abs().sum()


def contrast(o: Tensor) -> Tensor:
    z = F.normalize(o, dim=1)
    return CE(z @ z.roll(1, 1).T / 0.2, torch.arange(len(z)))


def positive(o: Tensor) -> Tensor:
    if not bool((o > 0).all()):
        raise ValueError("not positive")
    return o


class AtItsOwn(nn.Module):
    """A loss that refuses all outputs but those that it has met first, up to rounding."""

    def forward(self, o: Tensor, y: Tensor) -> Tensor:
        met = self.__dict__.setdefault("met", o.detach().float().clone())
        if not torch.allclose(o.detach().float(), met, atol=1e-3):
            raise RuntimeError("other outputs")
        return CE(o, y)


ALLOWED: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "examples that mix": (lambda: Inline(mixed), CE),
    "a context that is taken away": (lambda: net(Calls(lambda x: x - torch.tanh(x.mean(0)))), CE),
    "a spread of the batch as a feature": (lambda: Inline(lambda h: h + h.var(0).mean()), CE),
    "examples' own scale": (lambda: Inline(lambda h: (h - h.mean(1, keepdim=True)) / h.norm(dim=1, keepdim=True)), CE),
    "attention": (lambda: Inline(attended), CE),
    "rows of examples": (lambda: Inline(lambda h: within(h, 1)), CE),
    "a graph that joins all, normalised an example": (lambda: Inline(lambda h: F.layer_norm(h + h.mean(0), (5,))), CE),
    "distances": (lambda: Inline(apart), CE),
    "differences": (lambda: Inline(lambda h: (h[:, :1] - h[:, :1].T).tanh()[:, :5]), CE),
    "differences of two multiples": (lambda: Inline(lambda h: (0.5 * h[:, None] - 0.5 * h).tanh().mean(1)), CE),
    "differences of two multiples, of one shape": (lambda: Inline(lambda h: ((h / 2)[:, None] - (h * 0.5)[None]).tanh().mean(1)), CE),
    "differences of neighbours": (lambda: Inline(lambda h: (h - h.roll(1, 0)).tanh()), CE),
    "each example beside the others": (lambda: Inline(lambda h: h + (h.sum(0) - h) / (len(h) - 1)), CE),
    "a residual beside distances": (lambda: Inline(lambda h: 2 * h + apart(3 * h)), CE),
    "a graph's differences": (lambda: Inline(lambda h: h - 0.5 * (h.roll(1, 0) + h.roll(2, 0))), CE),
    "each example's own centre": (lambda: Inline(lambda h: h @ (torch.eye(5) - 1 / 5).to(h)), CE),
    "a standardised weight": (lambda: Inline(lambda h: h @ F.layer_norm(STANDARDISED.to(h), (5,))), CE),
    "detached statistics": (lambda: Inline(lambda h: h / h.detach().abs().amax(0)), CE),
    "a spread in the loss": (lambda: Inline(lambda h: h), lambda o, y: CE(o, y) + F.relu(1 - o.std(0)).mean()),
    "a graph's attention": (lambda: Inline(graph_attention), CE),
    "covariances in the loss": (lambda: Inline(lambda h: h), entropy_and(variance_and_covariance)),
    "contrasts in the loss": (lambda: Inline(lambda h: h), entropy_and(contrast)),
    "a softmax over the batch in the loss": (lambda: Inline(lambda h: h), entropy_and(lambda o: (torch.softmax(o, 0) * o).sum())),
    "a correlation that is only looked at": (lambda: Inline(lambda h: h), lambda o, y: {"loss": CE(o, y), "seen": torch.corrcoef(o.T).sum()}),
    "each example's own shift and scale": (lambda: Inline(lambda h: h), lambda o, y: standardised_over(1)(o)[range(12), y].square().mean()),
    "each example's own scale in the loss": (lambda: Inline(lambda h: h), lambda o, y: 1 - F.cosine_similarity(o, F.one_hot(y).to(o), dim=1).mean()),
    "a contrast of pairs": (lambda: Inline(lambda h: h), lambda o, y: F.softplus(-(o[:, :1] - o[:, :1].T) * (y[:, None] - y)).mean()),
    "of probabilities alone": (lambda: nn.Sequential(Inline(lambda h: h), nn.Sigmoid()), lambda o, y: F.binary_cross_entropy(o, F.one_hot(y).to(o))),
    "of positive numbers alone": (lambda: nn.Sequential(Inline(lambda h: h), nn.Softplus()), lambda o, y: positive(o)[range(12), y].log().square().mean()),
    "at its own outputs alone": (lambda: Inline(lambda h: h), AtItsOwn()),
    "a weighted mean": (lambda: Inline(lambda h: h), lambda o, y: (o[:, 0].exp() * CE(o, y, reduction="none")).sum() / o[:, 0].exp().sum()),
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
def test_mixing_examples_is_no_normalisation(name: str) -> None:
    make, loss = ALLOWED[name]
    with hessian(make(), loss, (X, Y), mode="frozen", dtype=torch.float64) as op:
        alone = (lambda o, y: loss(o, y)["loss"]) if "looked at" in name else loss
        assert_right(op.dense(), oracle.derivatives(make(), alone, (X, Y), frozen=True)[2])


@pytest.mark.parametrize("axes", [(1,), (1, 2)])
def test_a_sequence_that_is_normalised_by_itself(axes: tuple[int, ...]) -> None:
    """Over time, and over all of it."""
    model = Sequences(standardised_over(*axes))
    with hessian(model, CE, SERIES, mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(model, CE, SERIES, frozen=True)[2])


@pytest.mark.parametrize("mean", [True, False])
def test_features_of_an_entry_behind_a_small_branch_and_before_a_maximum(mean: bool) -> None:
    """Which passes most entries no gradient but the branch's, and that sums to anything."""
    x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
    normalise = standardised_over(2, mean=mean)
    model = Sequences(lambda h: torch.tanh(normalise(h + 0.01 * torch.tanh(h.flip(1)))).amax(1, keepdim=True))
    with hessian(model, CE, (x, SERIES[1]), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(model, CE, (x, SERIES[1]), frozen=True)[2])


def test_inputs_that_are_standardised_are_constants() -> None:
    class Standardises(Inline):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - x.mean(0)) / x.std(0))

    standardised = (X.double() - X.double().mean(0)) / X.double().std(0)
    with hessian(Standardises(torch.tanh), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(Inline(torch.tanh), CE, (standardised, Y), frozen=True)[2])


class PostNorm(nn.Module):
    """A batch norm, then blocks with a layer norm behind a small branch: each is nearly indifferent to a shift of all features of an entry."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.head = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.branches = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x.reshape(len(x), -1, 3)).transpose(1, 2)).transpose(1, 2)
        for branch, norm in zip(self.branches, self.norms, strict=True):
            h = norm(h + torch.tanh(branch(h)))
        return self.head(h.mean(1))


@pytest.mark.long
@pytest.mark.parametrize("examples", [6, 24])
def test_a_layer_norm_behind_a_small_branch_is_none_over_the_batch(examples: int) -> None:
    batch = (torch.randn(examples, 15, generator=torch.Generator().manual_seed(1)), torch.arange(examples) % 3)
    with hessian(PostNorm(), CE, batch, mode="frozen", dtype=torch.float64) as op:
        expected = oracle.derivatives(PostNorm(), CE, batch, frozen=True)[2].numpy()
        np.testing.assert_allclose(op.dense(), expected, atol=1e-9 * np.abs(expected).max())


def test_a_layer_by_hand_whose_gamma_is_zero_is_none_over_the_batch_for_that() -> None:
    """Every form has a constant output then; what divides by its batch is refused as long as it cannot be told."""

    class Within(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(5))

        def forward(self, x: Tensor) -> Tensor:
            centred = x - x.mean(1, keepdim=True)
            return self.weight * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + self.bias

    class Residual(Inline):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__(torch.tanh)
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            h = self.bn(self.one(x))
            return self.two(torch.tanh(h + self.layer(h)))

    expected = oracle.derivatives(Residual(Within()), CE, (X, Y), frozen=True)[2].numpy()
    with hessian(Residual(Within()), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), expected, atol=1e-9 * np.abs(expected).max())
    over = Layer(standard, eps=1e-5)
    nn.init.zeros_(over.weight)
    nn.init.zeros_(over.bias)
    with pytest.raises(ValueError, match=r"layer 'layer'.*keep them alive"):
        hessian(Residual(over), CE, (X, Y), mode="frozen")


@pytest.mark.long
@pytest.mark.parametrize("channels", [3, 5])
def test_two_views_that_are_normalised_and_multiplied_are_no_normalisation_of_the_product(channels: int) -> None:
    """Barlow twins (Zbontar et al. 2021): the mean of one view is zero, so that a shift of the other changes nothing at this point."""

    def twins(o: Tensor) -> Tensor:
        a, b = (F.batch_norm(part, None, None, training=True, eps=1e-5) for part in o.chunk(2))
        return ((a.T @ b) / len(a) - torch.eye(channels, dtype=o.dtype)).square().sum()

    refused = 0
    for seed in range(40):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, channels)).double()
        try:
            Objective(model, twins, (torch.randn(16, 4, dtype=torch.float64),), mode="frozen").check()
        except ValueError:
            refused += 1
    assert refused == 0
