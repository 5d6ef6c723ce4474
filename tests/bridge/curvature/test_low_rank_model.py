"""The model of least change: against its definition as a constrained least-squares problem, and as Lanczos' iteration.

The oracle writes the definition down, min |M - M0| over symmetric M with M V = A V, as one dense linear system in the
entries of M. It knows nothing of update formulas, coordinates or bases.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.bridge.curvature import FunctionOperator, top_eigenvalues
from bntheory.bridge.curvature import spectrum as solver
from bntheory.bridge.curvature.accumulation import Rows
from bntheory.bridge.curvature.carried import Carried
from bntheory.bridge.curvature.low_rank_model import LowRankModel


def symmetric(size: int, seed: int) -> np.ndarray:
    a = np.random.default_rng(seed).standard_normal((size, size))
    return (a + a.T) / 2


def dense(model: LowRankModel) -> np.ndarray:
    carried = model.carried(10**6)
    return carried.basis.numpy().T @ carried.matrix @ carried.basis.numpy()


def searched(model: LowRankModel) -> np.ndarray:
    """The directions searched so far, as columns."""
    return model.carried(10**6).basis.numpy().T @ model._searched


def least_change(before: np.ndarray, v: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The symmetric matrix nearest to ``before`` that maps v to images, by the normal equations of the definition."""
    n = len(before)
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    weights = np.array([1.0 if i == j else 2.0 for i, j in pairs])
    rows, right = [], []
    for column in range(v.shape[1]):
        for i in range(n):
            rows.append([v[j, column] * (i == p) + (v[p, column] if i == j != p else 0.0) for p, j in pairs])
            right.append(images[i, column])
    constraint, start = np.array(rows), np.array([before[i, j] for i, j in pairs])
    # minimise sum w (x - start)^2 subject to constraint x = right
    scaled = constraint / np.sqrt(weights)
    step, *_ = np.linalg.lstsq(scaled, np.array(right) - constraint @ start, rcond=None)
    found = start + step / np.sqrt(weights)
    matrix = np.zeros((n, n))
    for (i, j), x in zip(pairs, found, strict=True):
        matrix[i, j] = matrix[j, i] = x
    return matrix


@pytest.mark.parametrize("products", [1, 2, 3])
@pytest.mark.parametrize("known", [False, True])
def test_each_product_changes_the_model_as_little_as_possible(products: int, known: bool) -> None:
    size, rng = 7, np.random.default_rng(4)
    a = symmetric(size, 0)
    generator = torch.Generator().manual_seed(1)
    if known:
        frame, _ = np.linalg.qr(rng.standard_normal((size, 3)))
        carried = Carried(Rows.of(torch.as_tensor(frame.T.copy())), symmetric(3, 5))
        model = LowRankModel(FunctionOperator.of_matrix(a), None, generator, known=carried)
    else:
        start = torch.as_tensor(rng.standard_normal(size))
        model = LowRankModel(FunctionOperator.of_matrix(a), start, generator)
    before = dense(model)
    for _ in range(products):
        model.expand(model.eigen()[1][:, -1] if known else None)
    v = searched(model)
    np.testing.assert_allclose(v.T @ v, np.eye(products), atol=1e-13)
    np.testing.assert_allclose(dense(model) @ v, a @ v, atol=1e-12)
    np.testing.assert_allclose(dense(model), least_change(before, v, a @ v), atol=1e-10)


def test_from_nothing_it_is_lanczos_iteration() -> None:
    """Its matrix is tridiagonal, and its basis spans the Krylov space of the start."""
    a = symmetric(30, 2)
    start = torch.as_tensor(np.random.default_rng(3).standard_normal(30))
    model = LowRankModel(FunctionOperator.of_matrix(a), start, torch.Generator())
    for _ in range(6):
        model.expand()
    outside = np.triu(model.matrix, 2)
    assert np.abs(outside).max() < 1e-12
    krylov = np.stack([np.linalg.matrix_power(a, p) @ start.numpy() for p in range(6)], axis=1)
    q, _ = np.linalg.qr(krylov)
    v = searched(model)
    np.testing.assert_allclose(q @ (q.T @ v), v, atol=1e-8)
    ritz = model.ritz()
    np.testing.assert_allclose(ritz.values, np.linalg.eigvalsh(v.T @ a @ v), atol=1e-12)
    pairs = model.vectors(ritz.coordinates).numpy()
    np.testing.assert_allclose(ritz.residuals, np.linalg.norm(a @ pairs - pairs * ritz.values, axis=0), atol=1e-11)


def test_a_restart_forgets_no_product_that_it_keeps() -> None:
    a = symmetric(40, 6)
    op = FunctionOperator.of_matrix(a)
    model = LowRankModel(op, torch.ones(40, dtype=torch.float64), torch.Generator())
    for _ in range(20):
        model.expand()
    ritz = model.ritz()
    kept = ritz.coordinates[:, -5:]
    before = model.vectors(kept).numpy()
    model.restart(kept, np.zeros((model.rank, 0)))
    assert (model.order, model.rank) == (5, 6)
    np.testing.assert_allclose(searched(model), before, atol=1e-13)
    np.testing.assert_allclose(dense(model) @ before, a @ before, atol=1e-11)
    np.testing.assert_allclose(model.ritz().values, ritz.values[-5:], atol=1e-11)
    model.expand()
    assert model.defect < 1e-13


def test_a_start_from_what_was_found_on_the_same_operator_is_no_dearer() -> None:
    d = np.concatenate([[50.0, 20.0, 9.0], np.linspace(-1, 3, 97)])
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((100, 100)))
    op = FunctionOperator.of_matrix((q * d) @ q.T)
    for k in (1, 3):
        cold = top_eigenvalues(op, k, tol=1e-6)
        again = top_eigenvalues(op, k, tol=1e-6, start=cold)
        assert again.converged
        assert again.products <= cold.products
        np.testing.assert_allclose(again.values, [50.0, 20.0, 9.0][:k], rtol=1e-6)


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
def test_a_drifting_operator_is_followed_with_no_error(which: str, tol: float) -> None:
    """Fifteen small rotations and rescalings; the truth comes from LAPACK. What is saved is little: a larger eigenvalue has to be excluded."""
    rng = np.random.default_rng(8)
    size = 150
    d = np.concatenate([[12.0, 8.0, 6.0, -9.0, -5.0], rng.normal(0, 0.5, size - 5)])
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    previous, warm, cold = None, 0, 0
    for step in range(16):
        turn = rng.standard_normal((size, size))
        q, _ = np.linalg.qr(q + 0.05 / np.sqrt(size) * q @ (turn - turn.T))
        d = d * (1 + 0.02 * rng.standard_normal(size))
        a = (q * d) @ q.T
        op = FunctionOperator.of_matrix((a + a.T) / 2)
        ends = np.linalg.eigvalsh((a + a.T) / 2)
        truth = {"LA": ends[-1], "SA": ends[0], "LM": ends[np.argmax(np.abs(ends))]}[which]
        found = top_eigenvalues(op, 1, which, tol=tol, seed=step, start=previous)
        assert found.converged
        assert abs(found.top - truth) <= tol * abs(truth)
        if previous is not None:
            warm += found.products
            cold += top_eigenvalues(op, 1, which, tol=tol, seed=step).products
        previous = found
    assert warm < 1.1 * cold


def test_an_unrelated_operator_is_measured_cold_after_one_product() -> None:
    d = np.concatenate([[12.0, 8.0, 6.0], np.linspace(-1, 1, 97)])
    for seed in range(10):
        first, second = (
            FunctionOperator.of_matrix((q * d) @ q.T)
            for q in (np.linalg.qr(np.random.default_rng(s).standard_normal((100, 100)))[0] for s in (seed, seed + 100))
        )
        before = top_eigenvalues(first, 1, tol=1e-3)
        found = top_eigenvalues(second, 1, tol=1e-3, start=before)
        assert found.top == pytest.approx(12.0, rel=1e-3)
        assert found.products <= top_eigenvalues(second, 1, tol=1e-3).products + 3


def test_a_model_serves_another_precision_and_another_end() -> None:
    d = np.concatenate([[12.0, 8.0, -9.0], np.linspace(-1, 1, 97)])
    q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((100, 100)))
    a = (q * d) @ q.T
    fine = FunctionOperator.of_matrix((a + a.T) / 2)
    coarse = FunctionOperator.of_matrix(((a + a.T) / 2).astype(np.float32))
    single = top_eigenvalues(coarse, 1, tol=1e-4)
    double = top_eigenvalues(fine, 1, tol=1e-9, start=single)
    assert double.top == pytest.approx(12.0, rel=1e-9)
    assert double.symmetry_defect < 1e-12
    assert top_eigenvalues(coarse, 1, tol=1e-4, start=double).top == pytest.approx(12.0, rel=1e-4)
    assert top_eigenvalues(fine, 1, "SA", tol=1e-8, start=double).top == pytest.approx(-9.0, rel=1e-8)


def test_rounding_does_not_add_up_along_many_checkpoints() -> None:
    d = np.concatenate([[12.0, 8.0, 6.0], np.linspace(-1, 1, 97)])
    rng = np.random.default_rng(1)
    q, _ = np.linalg.qr(rng.standard_normal((100, 100)))
    found = None
    for _ in range(120):
        turn = rng.standard_normal((100, 100))
        q, _ = np.linalg.qr(q + 0.01 * q @ (turn - turn.T))
        a = (q * d) @ q.T
        op = FunctionOperator.of_matrix((a + a.T) / 2)
        found = top_eigenvalues(op, 1, tol=1e-6, start=found)
        assert found.symmetry_defect < 1e-13
        assert found.top == pytest.approx(12.0, rel=1e-6)


def test_a_small_basis_restarts_on_a_warm_start_too() -> None:
    """The operator's spectrum decays slowly, so the basis of ten vectors is full several times."""
    d = np.linspace(0, 1, 300) ** 0.3
    q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((300, 300)))
    turn = np.random.default_rng(2).standard_normal((300, 300))
    p, _ = np.linalg.qr(q + 1e-3 * q @ (turn - turn.T))
    first, second = (FunctionOperator.of_matrix((frame * d) @ frame.T) for frame in (q, p))
    before = top_eigenvalues(first, 1, tol=1e-4, max_basis=10, max_products=2000)
    found = top_eigenvalues(second, 1, tol=1e-6, start=before, max_basis=10, max_products=2000)
    assert found.converged
    assert found.products > 10
    assert found.top == pytest.approx(d[-1], rel=2e-6)
    assert found.symmetry_defect < 1e-13


def test_what_is_cut_where_it_is_used_is_what_is_cut_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, and as often as it is used."""
    op, near = (FunctionOperator.of_matrix(symmetric(80, 3) + shift * np.eye(80)) for shift in (0.0, 0.01))
    found = []
    for small in (1 << 26, 0):
        monkeypatch.setattr("bntheory.bridge.curvature.low_rank_model._SMALL", small)
        first = solver._searched(op, 2, "LA", 1e-8, 0, None, 300, 60, None, "error", carry=5).model
        assert first is not None
        assert (first.most is None) == (small == 0)
        found.append([first.basis, *(first.fitted(near, rank).basis for rank in (5, 3, 5))])
    assert all(torch.equal(late, once) for late, once in zip(*found, strict=True))


@pytest.mark.long
def test_a_restart_leaves_the_basis_orthonormal() -> None:
    """Directions at rounding level were kept askew, and operators that are symmetric exactly were refused for it."""
    d = torch.linspace(0, 1, 400, dtype=torch.float64)
    op = FunctionOperator(lambda v: d * v, 400)
    moved = FunctionOperator(lambda v: d * v + 1e-2 * v.flip(0), 400)
    truth = np.linalg.eigvalsh(np.diag(d.numpy()) + 1e-2 * np.eye(400)[::-1])[::-1]
    for k in (8, 12):
        found = top_eigenvalues(moved, k, start=top_eigenvalues(op, k))
        np.testing.assert_allclose(found.values, truth[:k], rtol=1e-5)
    x = torch.as_tensor(np.random.default_rng(0).uniform(-1, 1, 1000))
    for seed in range(5):
        cold = top_eigenvalues(FunctionOperator(lambda v: x * v, 1000), 3, tol=1e-8, seed=seed, max_basis=100)
        assert cold.top == pytest.approx(float(x.max()), rel=1e-6)


def test_a_start_does_not_depend_on_the_default_dtype() -> None:
    op = FunctionOperator(lambda v: v * torch.arange(50.0, dtype=torch.float64), 50)
    found = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            found.append(top_eigenvalues(op, seed=3).top)
        finally:
            torch.set_default_dtype(torch.float32)
    assert found[0] == found[1]


def test_edges_of_start_and_of_range() -> None:
    for seed in range(12):
        one = FunctionOperator(lambda v: 2 * v, 1)
        assert top_eigenvalues(one, start=np.ones(1), seed=seed).top == pytest.approx(2.0)
    large = FunctionOperator(lambda v: 1e200 * v * torch.arange(1.0, 51.0, dtype=torch.float64), 50)
    assert top_eigenvalues(large).top == pytest.approx(50e200, rel=1e-6)
    beyond = FunctionOperator(lambda v: 1e308 * 8 * v * torch.arange(1.0, 51.0, dtype=torch.float64), 50)
    with pytest.raises(ValueError, match=r"overflows torch\.float64") as refusal:
        top_eigenvalues(beyond)
    assert "dtype=" not in str(refusal.value)


@pytest.mark.parametrize("max_basis", [14, 20, None])
def test_a_warm_restart_makes_room(max_basis: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the dense edge of a bulk, where the basis is full again and again: its bound is kept, and an end is found."""
    ranks: list[int] = []
    plain = LowRankModel.restart

    def seen(self: LowRankModel, kept: np.ndarray, guesses: np.ndarray) -> None:
        ranks.append(self.rank)
        plain(self, kept, guesses)
        assert self.rank <= 0.8 * ranks[-1]

    monkeypatch.setattr(LowRankModel, "restart", seen)
    size = 30 if max_basis else 400
    rng = np.random.default_rng(4)
    d = np.concatenate([[50.0, 30.0, 20.0], rng.uniform(-1, 3, size - 3)])
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    turn = symmetric(size, 1) * 50 / np.sqrt(size)
    found = None
    for step in range(3):
        a = (q * d) @ q.T + step * 1e-2 * turn
        a = (a + a.T) / 2
        op = FunctionOperator.of_matrix(a)
        found = top_eigenvalues(op, 3, "SA", tol=1e-6, seed=4, start=found, max_basis=max_basis)
        assert found.converged
        np.testing.assert_allclose(found.values, np.linalg.eigvalsh(a)[:3], rtol=1e-5)
        assert found.products < 300
    assert max(ranks) <= (max_basis or 60)
