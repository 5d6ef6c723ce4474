"""A search begun in float32 and ended in float64: against eigenvalues of the whole matrix, also where float32 leads astray."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import CurvatureOperator, FunctionOperator, hessian, top_eigenvalues
from bntheory.bridge.curvature.mixed_precision import RefiningSearch
from bntheory.bridge.objective import Objective

SIZE = 200


def matrices(values: list[float], seed: int, rounding: float) -> tuple[Tensor, Tensor]:
    """A matrix with these eigenvalues beside a bulk in [-1, 1], and one in float32 off by this part of the largest."""
    rng = np.random.default_rng(seed)
    d = np.concatenate([values, np.linspace(-1, 1, SIZE - len(values))])
    q, _ = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))
    noise = rng.standard_normal((SIZE, SIZE))
    noise = (noise + noise.T) / np.linalg.norm(noise + noise.T, 2)
    a = (q * d) @ q.T
    a = (a + a.T) / 2
    return torch.as_tensor(a), torch.as_tensor(a + rounding * np.abs(d).max() * noise, dtype=torch.float32)


def operator(a: Tensor, single: Tensor) -> FunctionOperator:
    return FunctionOperator(
        lambda v: a @ v, SIZE, single=FunctionOperator(lambda v: single @ v, SIZE, dtype=torch.float32)
    )


def wanted(a: Tensor, which: str, k: int) -> np.ndarray:
    w = np.linalg.eigvalsh(a.numpy())
    if which == "both":
        return np.concatenate([w[::-1][:k], w[:k]])
    return {"LA": w[::-1], "SA": w, "LM": w[np.argsort(-np.abs(w))]}[which][:k]


@pytest.mark.parametrize(
    ("values", "which", "k"),
    [
        ([9.0], "LA", 1),
        ([9.0, 8.999], "LA", 1),
        ([9.0, 8.99995], "LA", 2),
        ([9.0, 8.999995, 5.0], "LA", 1),  # nearer to each other than float32 moves them
        ([800.0, -9.0, -8.9], "SA", 1),
        ([800.0, -9.0, -8.9999], "SA", 1),  # nearer than float32 moves them: by 800 x 1e-5
        ([9.0, -8.9999, 4.0], "LM", 1),
        ([9.0, -8.999999, 4.0], "LM", 1),  # of which float32 takes either for the larger
        ([9.0, 8.0, -7.0, -6.9], "both", 2),
    ],
)
@pytest.mark.parametrize("tol", [1e-6, 1e-10])
def test_values_are_as_accurate_as_those_of_a_search_in_float64(
    values: list[float], which: str, k: int, tol: float
) -> None:
    for seed in (1, 2, 3):
        a, single = matrices(values, seed, 1e-5)
        op = operator(a, single)
        found = top_eigenvalues(op, k, which, tol=tol, seed=seed, mixed_precision=True)
        truth = wanted(a, which, k)
        assert np.all(np.abs(found.values - truth) <= found.errors)
        assert found.accurate
        assert found.which == which
        assert found.products == op.products
        assert found.single_products > 0
        images = a @ found.vectors - found.vectors * torch.as_tensor(found.values)
        assert np.all(images.norm(dim=0).numpy() <= found.residuals + 1e-12 * np.linalg.norm(a, 2))


def test_few_products_are_taken_in_float64() -> None:
    for seed in range(3):
        a, single = matrices([9.0, 7.0], seed, 1e-5)
        op = operator(a, single)
        cold = top_eigenvalues(op, tol=1e-6, seed=seed)
        found = top_eigenvalues(op, tol=1e-6, seed=seed, mixed_precision=True)
        assert found.products <= 3 < cold.products
        # what a start may have of an eigenvector at least, but for 1 in 100: 0.0125 of the expected length
        assert found.errors >= found.residuals / 0.0125
        assert found.single_products < 1.5 * cold.products
        assert cold.single_products == 0


def test_several_values_take_two_products_each() -> None:
    """Also where one correction leans on what was asked for another."""
    for seed in range(3):
        a, single = matrices([9.0, 8.0, 7.0, 6.0, 5.0], seed, 1e-6)
        found = top_eigenvalues(operator(a, single), 5, tol=1e-6, seed=seed, mixed_precision=True)
        assert np.all(np.abs(found.values - wanted(a, "LA", 5)) <= found.errors)
        assert found.products <= 11


def moved(values: list[float], shifts: list[float]) -> tuple[Tensor, Tensor]:
    """As :func:`matrices`, with the first eigenvalues in float32 off by these shifts."""
    q = torch.as_tensor(np.linalg.qr(np.random.default_rng(0).standard_normal((SIZE, SIZE)))[0])
    d = torch.cat(
        [torch.tensor(values, dtype=torch.float64), torch.linspace(-1, 1, SIZE - len(values), dtype=torch.float64)]
    )
    other = d.clone()
    other[: len(shifts)] += torch.tensor(shifts)
    return (q * d) @ q.T, ((q * other) @ q.T).float()


def test_float32_may_move_the_largest_value_further_than_the_one_that_it_takes_for_it() -> None:
    """The first product shows how far the second one was moved; the largest was moved the other way by twenty times that."""
    a, single = moved([9.0, -8.99995, 4.0], [-0.004, -0.0002])
    for seed in range(5):
        found = top_eigenvalues(operator(a, single), which="LM", tol=1e-6, seed=seed, mixed_precision=True)
        assert found.products <= 5  # by way of float32
        assert abs(found.top - 9.0) <= found.errors[0] <= 1e-5


def test_an_operator_that_float32_knows_to_three_digits_is_searched_in_float64() -> None:
    """The value that it takes for the largest is off by 1e-3 of it, and the largest by seven times that."""
    a, single = moved([9.0, 8.993], [-0.056, 0.008])
    for seed in range(5):
        found = top_eigenvalues(operator(a, single), tol=1e-6, seed=seed, mixed_precision=True)
        assert abs(found.top - 9.0) <= found.errors[0] <= 1e-5


class Overflows(FunctionOperator):
    """Finite for so many products."""

    def _product(self, v: Tensor) -> Tensor:
        return super()._product(v) * (1.0 if self.products < self.most else float("inf"))

    most = 10


@pytest.mark.parametrize("wrong", ["another matrix", "off by a twentieth", "not symmetric", "overflows early", "overflows late", "zero"])  # fmt: skip
def test_where_float32_is_no_help_the_search_is_in_float64(wrong: str) -> None:
    a, single = matrices([9.0, 8.0], 0, 1e-5)
    if wrong == "another matrix":
        single = matrices([9.5, 3.0], 1, 1e-5)[1]
    if wrong == "off by a twentieth":
        single = matrices([9.0, 8.0], 0, 0.05)[1]
    if wrong == "not symmetric":
        single = single + 0.05 * torch.triu(torch.ones_like(single))
    if wrong == "zero":
        single = torch.zeros_like(single)
    coarse = Overflows(lambda v: single @ v, SIZE, dtype=torch.float32)
    draft = top_eigenvalues(FunctionOperator(lambda v: single @ v, SIZE, dtype=torch.float32), tol=1e-3) if "late" in wrong else None  # fmt: skip
    coarse.most = {"overflows early": 5, "overflows late": draft.products + 2 if draft else 0}.get(wrong, 10**9)  # fmt: skip
    op = FunctionOperator(lambda v: a @ v, SIZE, single=coarse)
    found = top_eigenvalues(op, tol=1e-8, mixed_precision=True)
    cold = top_eigenvalues(FunctionOperator(lambda v: a @ v, SIZE), tol=1e-8)
    assert found.top == pytest.approx(9.0, rel=1e-12)
    assert found.accurate
    assert cold.products <= found.products <= cold.products + 5


def test_a_search_that_does_not_come_to_an_end_is_given_up() -> None:
    model = SimpleNamespace(order=8, restarts=0, surprise=0.0, scale=1.0)
    search = RefiningSearch(model, 1, "LA", FunctionOperator(lambda v: v, SIZE), 80.0, 1e-6)
    assert not search.lost
    model.order = 9
    assert search.lost


class Weighted(nn.Module):
    """A loss with constants in float64, kept as an attribute, in a list and in the code."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64))
        self.shifts = [torch.tensor([0.1, -0.2, 0.0], dtype=torch.float64)]

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        scale = torch.tensor(3.0, dtype=torch.float64)
        return functional.cross_entropy(outputs * scale + self.shifts[0], labels, weight=self.weight)


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_a_network_with_constants_in_float64(mode: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Softplus(), nn.Conv2d(4, 4, 2), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3),
    ).double()  # fmt: skip
    batch = (torch.randn(12, 1, 5, 5, dtype=torch.float64), torch.arange(12) % 3)
    before = {name: t.clone() for name, t in net.state_dict().items()}
    with hessian(net, Weighted(), batch, mode=mode) as op:
        found = top_eigenvalues(op, 2, tol=1e-8, mixed_precision=True)
        truth = np.linalg.eigvalsh(op.dense())[::-1][:2]
    assert np.all(np.abs(found.values - truth) <= found.errors)
    assert found.accurate
    assert found.single_products > found.products
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())


@pytest.mark.long
def test_only_where_products_cost_more_than_vectors() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Tanh(), nn.Linear(30, 2)).double()
    for examples, many in ((8, False), (800, True)):
        batch = (torch.randn(examples, 40, dtype=torch.float64), torch.arange(examples) % 2)
        with hessian(net, functional.cross_entropy, batch) as op:
            found = top_eigenvalues(op, mixed_precision=True)
            assert (found.single_products > 0) == many
            assert found.top == pytest.approx(np.linalg.eigvalsh(op.dense())[-1], rel=1e-9)


def test_only_of_the_same_point_and_for_operators_in_float64() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)).double()
    batch = (torch.randn(80, 4, dtype=torch.float64), torch.arange(80) % 2)
    moved = Objective(net, functional.cross_entropy, batch, private=True)
    with torch.no_grad():
        for p in moved.parameters.values():
            p.add_(0.3)
    with hessian(moved) as op:
        assert op.in_single_precision() is None
        found = top_eigenvalues(op, mixed_precision=True)
        assert found.top == pytest.approx(np.linalg.eigvalsh(op.dense())[-1], rel=1e-9)
    with hessian(net, functional.cross_entropy, batch) as op:
        single = op.in_single_precision()
        assert isinstance(single, CurvatureOperator)
        assert single.dtype == torch.float32
        cold = top_eigenvalues(op)
        again = top_eigenvalues(op, start=cold, mixed_precision=True)
        assert again.single_products == 0
    with hessian(net, functional.cross_entropy, batch, dtype=torch.float32) as op:
        assert top_eigenvalues(op, mixed_precision=True).values == top_eigenvalues(op).values
