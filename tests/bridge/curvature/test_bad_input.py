"""Everything that would make the number meaningless is a ValueError that says what, where, why and what to do.

Each row of the table is a mistake that a user makes; the pattern holds the words that the message has to contain.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from bntheory.bridge import capture
from bntheory.bridge.curvature import (
    Activation,
    empirical_fisher,
    fisher,
    gauss_newton,
    hessian,
    norm_scaled,
    top_eigenvalues,
)

CE = functional.cross_entropy


def net() -> nn.Module:
    return BY_NAME["batch-norm-1d"].make("cpu")[0]


def data(n: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 5, generator=generator, dtype=torch.float64), torch.arange(n) % 3


def loader(shuffle: bool) -> DataLoader:
    return DataLoader(TensorDataset(*data()), batch_size=4, shuffle=shuffle)


class Noisy(nn.Module):
    """Functional dropout: no module shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(functional.dropout(x, 0.3))


class Counting(Noisy):
    """Keeps a state between calls that nobody can put back."""

    calls = iter(range(1, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * next(self.calls))


class Unused(Noisy):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(2, 2, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Twice(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + self.net[1](self.net[0](x)).mean()


class Pair(Noisy):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.net(x), x


def dropout_net() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 3)).double()


def frozen_parameter() -> nn.Module:
    found = net()
    found[0].weight.requires_grad_(False)
    return found


def no_gradient() -> nn.Module:
    found = net()
    for p in found.parameters():
        p.requires_grad_(False)
    return found


def mixed() -> nn.Module:
    found = net()
    found[6].float()
    return found


def nan_batch() -> tuple[Tensor, Tensor]:
    x, y = data()
    x[0, 0] = math.nan
    return x, y


def h(model: nn.Module | None = None, loss: object = CE, batch: object = None, **options: object) -> object:
    return hessian(model if model is not None else net(), loss, data() if batch is None else batch, **options)


CASES = {
    "shuffled-loader": (lambda: h(batch=loader(True)), "RandomSampler.*batch=list"),
    "dropout-in-training": (lambda: h(dropout_net()), "dropout is active.*dropout='off'"),
    "functional-dropout": (lambda: h(Noisy()), "not deterministic"),
    "state-between-calls": (lambda: h(Counting()), "not deterministic"),
    "empty-parameter-list": (lambda: h(parameters=[]), "parameters is empty"),
    "no-trainable-parameter": (lambda: h(no_gradient()), "no parameter that requires a gradient"),
    "parameter-without-gradient": (
        lambda: h(frozen_parameter(), parameters=["0.weight"]),
        r"0\.weight does not require a gradient.*requires_grad_",
    ),
    "parameter-not-used": (
        lambda: h(Unused(), parameters=["net", "spare.weight"]),
        r"parameter without gradient.*spare\.weight",
    ),
    "duplicate-parameter": (lambda: (lambda n: h(n, parameters=[n[0].weight] * 2))(net()), "lists 0.weight twice"),
    "single-tensor": (lambda: (lambda n: h(n, parameters=n[0].weight))(net()), r"\[tensor\]"),
    "unknown-name": (lambda: h(parameters="layer9"), "'layer9', which is no module or parameter.*it has 0, 1"),
    "module-without-parameters": (lambda: h(parameters="2"), "no parameter that requires"),
    "mixed-names-and-tensors": (lambda: (lambda n: h(n, parameters=["0", n[1].weight]))(net()), "mixes"),
    "whole-numbers": (
        lambda: h(dtype=torch.int32),
        r"dtype is torch.int32; derivatives need a real floating precision",
    ),
    "seed-of-too-many-bits": (lambda: h(seed=2**70), r"seed is \d+; torch's generators take 64 bits"),
    "freezing-what-is-not-frozen": (
        lambda: h(freeze="mean"),
        r"freeze='mean' .*the mode is 'train'.*give both, or neither",
    ),
    "tensor-of-another-precision": (
        lambda: h(parameters=[torch.ones(2, requires_grad=True)], dtype=torch.float64),
        r"tensor\[0\] is torch.float32 and no parameter of the model.*dtype=torch.float64.*Register it",
    ),
    "mixed-dtypes": (lambda: h(mixed()), "several dtypes.*float32.*float64"),
    "nan-loss": (lambda: h(batch=nan_batch()), "non-finite pre-activations"),
    "non-scalar-loss": (lambda: h(loss=lambda o, t: CE(o, t, reduction="none")), r"shape \(12,\).*scalar"),
    "loss-is-no-tensor": (lambda: h(loss=lambda o, t: float(CE(o, t).detach())), "returned a float"),
    "loss-is-detached": (lambda: h(loss=lambda o, t: CE(o, t).detach()), "requires no gradient"),
    "batch-is-a-tensor": (lambda: h(batch=data()[0]), "batch is a Tensor"),
    "batch-is-empty": (lambda: h(batch=[]), "batch is empty"),
    "batch-of-no-examples": (lambda: h(batch=(torch.zeros(0, 5), torch.zeros(0))), "first axis"),
    "splitting-batch-norm": (lambda: h(split=4), "split=4 would change the function.*ghost_batches=True"),
    "splitting-untracked-in-eval": (
        lambda: h(BY_NAME["batch-norm-1d-untracked"].make("cpu")[0], split=4, mode="eval"),
        "would change the function",
    ),
    "splitting-a-sum": (
        lambda: h(loss=lambda o, t: CE(o, t, reduction="sum"), split=4, mode="eval"),
        "no mean over examples",
    ),
    "splitting-a-closure": (lambda: hessian(net(), lambda: torch.ones(()), split=2), "a closure holds its own data"),
    "split-zero": (lambda: h(split=0), "split is 0"),
    "unknown-mode": (lambda: h(mode="test"), "mode is 'test'.*train, eval, frozen, current"),
    "unknown-normalisation": (lambda: h(normalisation="fused"), "normalisation is 'fused'"),
    "half-precision": (lambda: h(dtype=torch.float16), "float16"),
    "too-little-memory": (lambda: h(memory_limit=1000), "1000 bytes are allowed.*Reduce: fewer examples"),
    "memory-limit-negative": (lambda: h(memory_limit=-1.0), "memory_limit is -1"),
    "gauss-newton-of-a-closure": (lambda: gauss_newton(net(), lambda: torch.ones(()), None), "apart from the loss"),
    "gauss-newton-of-a-pair": (lambda: gauss_newton(Pair(), lambda o, t: CE(o[0], t), data()), "one tensor"),
    "empirical-fisher-of-a-mean": (lambda: empirical_fisher(net(), CE, data()), r"reduction='none'"),
    "fisher-of-unknown-likelihood": (lambda: fisher(net(), data(), likelihood="poisson"), "likelihood is 'poisson'"),
    "activation-twice": (lambda: h(Twice(), parameters=Activation("net.1")), "called 2 times"),
    "activation-of-nothing": (lambda: h(parameters=Activation("9")), "'9', which is no module"),
    "eval-without-model": (lambda: hessian(None, lambda: torch.ones(()), mode="eval"), "needs the model"),
    "nothing-to-differentiate": (lambda: hessian(None, lambda: torch.ones(())), "name the tensors"),
}


@pytest.mark.parametrize("name", CASES)
def test_mistakes_are_refused_with_the_reason_and_the_remedy(name: str) -> None:
    attempt, message = CASES[name]
    with pytest.raises(ValueError, match=message):
        attempt()


SIZE = 5 * 6 + 6 + 12 + 36 + 6 + 12 + 18 + 3


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.ones(3), rf"shape \(3,\).*length {SIZE}"),
        (np.ones((SIZE, 2)), "shape"),
        (torch.ones(SIZE, device="meta"), r"lies on meta.*v\.to"),
        (np.ones(SIZE, dtype=complex), "complex"),
        (torch.ones(SIZE, dtype=torch.complex128), "complex"),
        (np.array(["a"] * SIZE), "dtype"),
    ],
    ids=["size", "matrix", "device", "complex-numpy", "complex-torch", "text"],
)
def test_vectors_that_do_not_fit_are_refused(vector: object, message: str) -> None:
    with hessian(net(), CE, data()) as op:
        assert op.matvec(np.ones(SIZE)).shape == (SIZE,)
        with pytest.raises(ValueError, match=message):
            op.matvec(vector)


def test_dropout_off_measures_the_network_without_it() -> None:
    model = dropout_net()
    with hessian(model, CE, data(), dropout="off") as op:
        found = op.dense()
    model[1].p = 0.0
    with hessian(model, CE, data()) as op:
        np.testing.assert_allclose(found, op.dense(), atol=1e-15)


@pytest.mark.long
def test_an_unshuffled_loader_is_the_list_of_its_batches() -> None:
    with hessian(net(), CE, loader(False)) as a, hessian(net(), CE, list(loader(False))) as b:
        np.testing.assert_array_equal(a.dense(), b.dense())
        assert a.products == a.size


def test_closures_dictionaries_and_losses_with_more_arguments() -> None:
    model, (x, y) = net(), data()
    weights = torch.linspace(0.5, 2, len(x), dtype=torch.float64)

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = model

        def forward(self, *, left: Tensor, right: Tensor) -> Tensor:
            return self.net(left + right)

    def weighted(outputs: Tensor, targets: Tensor, w: Tensor) -> Tensor:
        return (CE(outputs, targets, reduction="none") * w).mean()

    model.train()
    with (
        hessian(model, lambda: weighted(model(x), y, weights)) as closure,
        hessian(model, weighted, (x, y, weights)) as plain,
        hessian(Named(), weighted, ({"left": x - 1, "right": torch.ones_like(x)}, y, weights)) as named,
        hessian(None, lambda: weighted(model(x), y, weights), parameters=list(model.parameters())) as bare,
    ):
        expected = plain.dense()
        for op in (closure, named, bare):
            np.testing.assert_allclose(op.dense(), expected, atol=1e-13)
        assert closure.memory.graph_bytes == pytest.approx(plain.memory.graph_bytes, rel=0.05)


def test_a_group_of_zero_weights_has_no_spherical_curvature() -> None:
    model = net()
    with torch.no_grad():
        model[0].weight[0] = 0.0
    with hessian(model, CE, data(), parameters=["0.weight"]) as op, pytest.raises(ValueError, match="zero"):
        norm_scaled(op)


def test_a_warm_start_from_other_parameters_is_refused() -> None:
    with hessian(net(), CE, data(), parameters=["0"]) as block:
        spectrum = top_eigenvalues(block, 1)
    with hessian(net(), CE, data()) as op, pytest.raises(ValueError, match="other parameters"):
        top_eigenvalues(op, 1, start=spectrum)


@pytest.mark.parametrize("keep_graphs", [True, False])
def test_a_batch_that_changes_under_an_operator(keep_graphs: bool) -> None:
    x, y = data()
    with hessian(net(), CE, (x, y), keep_graphs=keep_graphs) as op:
        op.apply(torch.ones(op.size))
        x.zero_()
        with pytest.raises(
            ValueError, match=r"batch\[0\] was changed after the operator was built.*build the operator anew"
        ):
            op.apply(torch.ones(op.size))


def exchange(weight: torch.Tensor, entries: Callable[[int], list[int]]) -> None:
    """Two entries, given the side of the largest square that the first of them fill."""
    flat = weight.data.view(-1)
    i, j = entries(math.isqrt(flat.numel()))
    flat[[i, j]] = flat[[j, i]]


CHANGES = {
    "in place": lambda m: nn.init.constant_(m[0].bias, 0.3),
    "its data in place": lambda m: m[0].bias.data.add_(0.1),
    "its data": lambda m: setattr(m[0].bias, "data", m[0].bias.data.flip(0)),
    "its data in another order": lambda m: m[0].weight.data.copy_(m[0].weight.data.flip(0).clone()),
    "two entries of a row": lambda m: m[0].weight.data[0].copy_(m[0].weight.data[0].flip(0).clone()),
    "two entries side by side": lambda m: exchange(m[0].weight, lambda side: [0, 1]),
    "two entries above each other": lambda m: exchange(m[0].weight, lambda side: [0, side]),
    "as torch's own vector": lambda m: nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(m.parameters()) + 0.1, m.parameters()
    ),
    "by numpy": lambda m: m[0].bias.detach().numpy().fill(0.3),
    "a buffer, which a graph has copies of": lambda m: m[1].running_mean.add_(1),
}


@pytest.mark.parametrize("keep_graphs", [True, False])
@pytest.mark.parametrize("way", CHANGES)
def test_parameters_that_change_under_an_operator(way: str, keep_graphs: bool) -> None:
    """By whatever way: a product is refused, or is the one of before."""
    model = net()
    with hessian(model, CE, data(), keep_graphs=keep_graphs) as op:
        ones = torch.ones(op.size, dtype=op.dtype)
        before = op.apply(ones)
        layer = next(iter(capture(model, CE, data())))
        v = torch.ones_like(layer.y)
        of_layer = layer.whole_input_hess(v)
        CHANGES[way](model)
        if way.startswith("a buffer"):
            assert torch.equal(op.apply(ones), before)
            assert torch.equal(layer.whole_input_hess(v), of_layer)
            return
        with pytest.raises(
            ValueError, match=r"0\.(weight|bias) was changed after the operator.*build the operator anew"
        ):
            op.apply(ones)
        with pytest.raises(ValueError, match=r"0\.(weight|bias) was changed after the layers .*capture them anew"):
            layer.whole_input_hess(v)
