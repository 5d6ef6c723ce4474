"""Eigenvalues against matrices whose spectrum is built in, against LAPACK, and against ARPACK.

A matrix Q diag(d) Q' made from chosen d has its spectrum by construction; LAPACK's dense solver and ARPACK share no
code with the Lanczos iteration under test. Residuals are recomputed with products of their own.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.nn import functional

from bntheory.bridge.curvature import FunctionOperator, gradient_share, hessian, spectral_density, top_eigenvalues


def symmetric(values: np.ndarray, seed: int = 0) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return (q * values) @ q.T


SPECTRA = {
    "outliers-over-a-bulk": np.concatenate([[50.0, 20.0, 19.5], np.linspace(-1, 3, 97)]),
    "negative-definite": -(np.linspace(1, 5, 60) ** 2),
    "geometric": 0.7 ** np.arange(80.0),
    "clustered-top": np.concatenate([[10.0, 9.99, 9.98], np.linspace(0, 5, 57)]),
    "low-rank": np.concatenate([[3.0, 2.0, -4.0], np.zeros(47)]),
    "tiny": np.array([2.0, -1.0, 0.5]),
}


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("name", SPECTRA)
def test_built_in_spectra_are_found(name: str, which: str) -> None:
    d = SPECTRA[name]
    matrix = symmetric(d)
    op = FunctionOperator.of_matrix(matrix)
    k = 3
    found = top_eigenvalues(op, k, which, tol=1e-10, seed=3)
    key = {"LA": -d, "SA": d, "LM": -np.abs(d)}[which]
    expected = d[np.argsort(key, kind="stable")][:k]
    if name == "low-rank" and which == "SA":
        assert found.values[0] == pytest.approx(-4.0, rel=1e-9)
        return  # the zeros behind it are one eigenvalue of multiplicity 47
    if name == "geometric" and which == "SA":
        # eigenvalues of 1e-13 of the norm have no relative accuracy in products of float64, and it says so
        assert not found.converged
        assert np.all(np.abs(found.values - expected) < 1e-9)
        return
    assert found.converged
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-12)
    vectors = found.vectors.numpy()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-9)
    residuals = np.linalg.norm(matrix @ vectors - vectors * found.values, axis=0)
    np.testing.assert_allclose(residuals, found.residuals, atol=1e-10 * np.abs(d).max())
    # the certain statement: an eigenvalue within the residual
    assert np.all(np.abs(d[:, None] - found.values).min(axis=0) <= found.residuals + 1e-11 * np.abs(d).max())
    assert op.products == found.products


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-6, 1e-10])
def test_accuracy_is_what_was_asked_for_and_cheaper_when_coarser(tol: float) -> None:
    op = FunctionOperator.of_matrix(symmetric(SPECTRA["outliers-over-a-bulk"]))
    errors, products = [], []
    for seed in range(20):
        found = top_eigenvalues(op, 1, tol=tol, seed=seed)
        errors.append(abs(found.top - 50.0) / 50.0)
        products.append(found.products)
    assert max(errors) <= tol
    exact = top_eigenvalues(op, 1, tol=1e-12, seed=0)
    assert np.mean(products) < exact.products


@pytest.mark.long
def test_restarts_find_the_same_with_less_memory() -> None:
    d = np.linspace(0, 1, 300) ** 0.3
    op = FunctionOperator.of_matrix(symmetric(d))
    calls: list[int] = []
    long = top_eigenvalues(op, 4, tol=1e-9, max_basis=300, max_products=2000)
    short = top_eigenvalues(
        op, 4, tol=1e-9, max_basis=16, max_products=4000, callback=lambda n, values: calls.append(n)
    )
    assert long.converged
    assert short.converged
    assert short.products > long.products > 16
    assert calls == list(range(1, short.products + 1))
    np.testing.assert_allclose(short.values, np.sort(d)[::-1][:4], rtol=1e-8)
    vectors = short.vectors.numpy()
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-9)


def test_giving_up_is_said() -> None:
    op = FunctionOperator.of_matrix(symmetric(np.linspace(0, 1, 300) ** 0.3))
    found = top_eigenvalues(op, 4, tol=1e-12, max_products=7)
    assert not found.converged
    assert found.products == 7
    assert len(found.values) == 4
    assert np.all(found.residuals > 1e-6)


@pytest.mark.parametrize("matrix", [np.eye(30), np.zeros((30, 30))], ids=["identity", "zero"])
def test_multiples_of_the_identity(matrix: np.ndarray) -> None:
    found = top_eigenvalues(FunctionOperator.of_matrix(matrix), 2)
    assert found.converged
    np.testing.assert_allclose(found.values, matrix[0, 0], atol=1e-14)


def test_a_start_in_the_wrong_eigenvector_does_not_deceive() -> None:
    """The start is an exact eigenvector of another eigenvalue: a Krylov space of it alone never leaves it."""
    d = np.concatenate([[5.0, 4.0], np.linspace(0, 1, 58)])
    matrix = symmetric(d)
    values, vectors = np.linalg.eigh(matrix)
    op = FunctionOperator.of_matrix(matrix)
    found = top_eigenvalues(op, 1, tol=1e-8, start=vectors[:, -2])
    assert found.top == pytest.approx(values[-1], rel=1e-8)


def test_a_cold_start_does_not_lean_on_the_gradient() -> None:
    """A gradient along the second eigenvector is a trap: the Ritz value there is accurate long before the first emerges."""
    d = np.concatenate([[5.0, 4.0], np.linspace(0, 1, 58)])
    matrix = symmetric(d)
    _, vectors = np.linalg.eigh(matrix)
    for seed in range(20):
        op = FunctionOperator.of_matrix(matrix)
        op.gradient = torch.as_tensor(1e3 * vectors[:, -2])  # type: ignore[attr-defined]
        assert top_eigenvalues(op, 1, tol=1e-3, seed=seed).top == pytest.approx(5.0, rel=1e-3)


def test_a_warm_start_survives_a_crossing_and_saves_products() -> None:
    rng = np.random.default_rng(0)
    d = np.concatenate([[5.0, 4.9, 3.0], np.linspace(0, 1, 197)])
    q, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    before = top_eigenvalues(FunctionOperator.of_matrix((q * d) @ q.T), 1, tol=1e-6)
    crossed = d.copy()
    crossed[:2] = [4.9, 5.0]
    after = FunctionOperator.of_matrix((q * crossed) @ q.T)
    assert top_eigenvalues(after, 1, tol=1e-6, start=before).top == pytest.approx(5.0, rel=1e-6)
    nudged = (q * d) @ q.T + 1e-3 * symmetric(rng.standard_normal(200))
    op = FunctionOperator.of_matrix(nudged)
    cold, warm = top_eigenvalues(op, 1, tol=1e-4), top_eigenvalues(op, 1, tol=1e-4, start=before)
    assert warm.products < cold.products
    assert warm.top == pytest.approx(float(np.linalg.eigvalsh(nudged)[-1]), rel=1e-4)


def test_float32_stops_at_its_rounding_and_says_how_far_it_got() -> None:
    matrix = symmetric(SPECTRA["outliers-over-a-bulk"]).astype(np.float32)
    found = top_eigenvalues(FunctionOperator.of_matrix((matrix + matrix.T) / 2), 1, tol=1e-12)
    assert found.converged
    assert found.top == pytest.approx(50.0, rel=1e-5)


def test_an_asymmetric_operator_is_refused_by_every_algorithm() -> None:
    """Half a percent off, far less than the wrong derivative routes, and the free probe still sees it."""
    matrix = symmetric(SPECTRA["outliers-over-a-bulk"])
    matrix[3, 40] += 0.3
    op = FunctionOperator.of_matrix(matrix)
    with pytest.raises(ValueError, match="not symmetric"):
        top_eigenvalues(op, 1, tol=1e-8)


def test_a_product_of_a_users_own_may_keep_its_graph() -> None:
    matrix = torch.diag(torch.arange(1.0, 9.0, dtype=torch.float64)).requires_grad_()
    op = FunctionOperator(lambda v: matrix @ v, 8)
    np.testing.assert_array_equal(op.dense(), np.diag(np.arange(1.0, 9.0)))
    assert top_eigenvalues(op, 1).top == pytest.approx(8.0, rel=1e-6)
    assert not FunctionOperator.of_matrix(matrix).apply(torch.ones(8, dtype=torch.float64)).requires_grad


@pytest.mark.long
def test_a_wrong_derivative_route_is_refused_as_asymmetric() -> None:
    """The Hessian through fused batch norm by jvp(jacrev), wrong on some versions of torch, as a user's function."""
    net, (x, y) = BY_NAME["batch-norm-1d-untracked"].make("cpu")
    parameters = {name: p.detach() for name, p in net.named_parameters()}
    sizes = [p.numel() for p in parameters.values()]
    point = torch.cat([p.reshape(-1) for p in parameters.values()])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        pieces = dict(
            zip(
                parameters,
                (t.view(p.shape) for t, p in zip(flat.split(sizes), parameters.values(), strict=True)),
                strict=True,
            )
        )
        return functional.cross_entropy(torch.func.functional_call(net, pieces, (x,)), y)

    slope = torch.func.jacrev(loss)
    op = FunctionOperator(lambda v: torch.func.vjp(slope, point)[1](v)[0], len(point))
    with hessian(net, functional.cross_entropy, (x, y)) as right:
        wrong = float(np.abs(op.dense() - right.dense()).max() / np.abs(right.dense()).max())
    if wrong < 1e-8:
        pytest.skip("this version of torch has this route right; test_routes.py says so")
    with pytest.raises(ValueError, match="not symmetric"):
        top_eigenvalues(op, 1)


@pytest.mark.parametrize("mode", ["train", "eval", "frozen"])
@pytest.mark.parametrize("name", ["batch-norm-1d", "residual", "group-norm"])
def test_networks_against_lapack_and_arpack(name: str, mode: str, device: str) -> None:
    net, batch = BY_NAME[name].make(device)
    if mode == "frozen" and name == "group-norm":
        with pytest.raises(ValueError, match="nothing to freeze"):
            hessian(net, functional.cross_entropy, batch, mode=mode)
        return
    with hessian(net, functional.cross_entropy, batch, mode=mode) as op:
        dense = np.linalg.eigvalsh(op.dense())
        found = top_eigenvalues(op, 2, tol=1e-8)
        arpack = eigsh(op.as_linear_operator(), 2, which="LA", v0=np.ones(op.size), tol=1e-10)[0]
    np.testing.assert_allclose(found.values, dense[::-1][:2], rtol=1e-8)
    np.testing.assert_allclose(np.sort(arpack)[::-1], dense[::-1][:2], rtol=1e-8)


def test_the_same_seed_gives_the_same_bits(device: str) -> None:
    net, batch = BY_NAME["batch-norm-1d"].make(device)
    found = []
    for _ in range(2):
        with hessian(net, functional.cross_entropy, batch) as op:
            found.append(top_eigenvalues(op, 2, seed=5))
    assert np.array_equal(found[0].values, found[1].values)
    assert torch.equal(found[0].vectors, found[1].vectors)


def test_gradient_share_is_one_in_the_whole_space_and_adds_up(device: str) -> None:
    net, batch = BY_NAME["batch-norm-1d"].make(device)
    with hessian(net, functional.cross_entropy, batch, parameters="6") as op:
        _, vectors = np.linalg.eigh(op.dense())
        g = op.gradient.cpu().numpy()
        expected = (vectors[:, ::-1].T @ g) ** 2 / (g @ g)
        found = gradient_share(op, top_eigenvalues(op, 3, tol=1e-12))
        np.testing.assert_allclose(found.shares, expected[:3], rtol=1e-5)
        assert found.share == pytest.approx(expected[:3].sum(), rel=1e-5)
        assert found.gradient_norm == pytest.approx(float(np.linalg.norm(g)), rel=1e-12)
    with pytest.raises(ValueError, match="gradient is zero"):
        gradient_share(op, top_eigenvalues(FunctionOperator.of_matrix(np.eye(op.size)), 1), torch.zeros(op.size))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"k": 4}, "k is 4"),
        ({"tol": 0.0}, "tol is 0"),
        ({"which": "top"}, "which is 'top'"),
        ({"start": np.ones(2)}, "shape"),
        ({"start": np.zeros(3)}, "norm 0"),
        ({"start": np.full(3, np.nan)}, "norm nan"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_requests_are_refused(keywords: dict, message: str) -> None:
    op = FunctionOperator.of_matrix(np.diag([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=message):
        top_eigenvalues(op, **keywords)


def test_vectors_that_cannot_fit_are_refused_before_they_are_made() -> None:
    op = FunctionOperator(lambda v: v, 10**15)
    for call in (lambda: top_eigenvalues(op), op.dense, lambda: spectral_density(op)):
        with pytest.raises(ValueError, match=r"vectors of 1000000000000000 entries .* free on cpu"):
            call()


def test_non_finite_products_are_refused() -> None:
    op = FunctionOperator(lambda v: v * torch.inf, 4)
    with pytest.raises(ValueError, match="not finite"):
        top_eigenvalues(op)
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="square"):
        FunctionOperator.of_matrix(layer.weight.detach()[:1])
