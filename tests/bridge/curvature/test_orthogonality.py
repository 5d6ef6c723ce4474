"""The estimate of lost orthogonality: against overlaps measured along a recurrence that nothing holds together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.bridge.curvature import FunctionOperator, top_eigenvalues
from bntheory.bridge.curvature import low_rank_model as room
from bntheory.bridge.curvature import spectrum as solver
from bntheory.bridge.curvature.low_rank_model import LowRankModel
from bntheory.bridge.curvature.orthogonality import Orthogonality

SPECTRA = {
    "one-outlier": np.concatenate([[50.0], np.linspace(-1, 3, 399)]),
    "outliers": np.concatenate([[50.0, 20.0, 19.5, -12.0], np.linspace(-1, 3, 396)]),
    "slow": np.linspace(0, 1, 400) ** 0.3,
    "geometric": 0.7 ** np.arange(400.0),
}


def operator(d: np.ndarray, dtype: type = np.float64) -> FunctionOperator:
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(d), len(d))))
    a = (q * d) @ q.T
    return FunctionOperator.of_matrix(((a + a.T) / 2).astype(dtype))


def lost(basis: torch.Tensor) -> np.ndarray:
    double = basis.double()
    return np.abs((double @ double.T).numpy() - np.eye(len(basis)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_estimate_follows_the_loss_of_plain_lanczos(name: str, dtype: type) -> None:
    """From rounding up to 1e-3: never far below the truth, and never so far above that it would be of no use."""
    op = operator(SPECTRA[name], dtype)
    eps = float(torch.finfo(op.dtype).eps)
    vectors = [op.random_vector(torch.Generator().manual_seed(2))]
    vectors[0] /= vectors[0].norm()
    estimate = Orthogonality(eps)
    alphas: list[float] = []
    betas: list[float] = []
    scale, compared = 0.0, 0
    for n in range(1, 40):
        image = op.apply(vectors[-1]).clone()
        scale = max(scale, float(image.norm()))
        if betas:
            image -= betas[-1] * vectors[-2]
        alphas.append(float(vectors[-1] @ image))
        image -= alphas[-1] * vectors[-1]
        betas.append(float(image.norm()))
        if betas[-1] < 1e-6 * scale:
            break
        vectors.append(image / betas[-1])
        matrix = np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1)
        found = matrix[:, -1].copy()
        matrix[-1, -1] = 0.0  # as the model knows it before it learns
        guess = estimate.append(matrix, found, betas[-1], scale, 0.0)
        truth = float(lost(torch.stack(vectors))[-1, :-1].max())
        if truth > 1e-3:
            break
        assert truth < 10 * guess, n
        assert guess < 1e4 * max(truth, eps), n
        compared += 1
    assert compared >= 4


@pytest.mark.parametrize("name", SPECTRA)
def test_the_basis_stays_orthogonal_and_would_not_without_the_estimate(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for believed in (True, False):
        if not believed:
            monkeypatch.setattr(Orthogonality, "append", lambda *_: 0.0)
        op = operator(SPECTRA[name])
        model = LowRankModel(op, op.random_vector(torch.Generator().manual_seed(2)), torch.Generator())
        for _ in range(60):
            model.expand()
        found[believed] = lost(model.carried(10**6).basis).max()
        if believed:
            assert model.defect < 2.2e-14 * op.size**0.5
    assert found[True] < 1e-11
    assert found[False] > 1e-3 or name == "slow"  # where nothing converges in 60 steps nothing is lost either


def test_a_top_eigenvalue_to_1e_6_hardly_needs_passes_over_the_whole_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    plain = LowRankModel._orthogonalise

    def counted(self: LowRankModel, image: torch.Tensor, found: np.ndarray, start: int, stop: int) -> float:
        rows.append(stop - start)
        return plain(self, image, found, start, stop)

    monkeypatch.setattr(room.LowRankModel, "_orthogonalise", counted)
    d = np.concatenate([[50.0, 30.0, 20.0], np.linspace(-1, 3, 397)])
    found = top_eigenvalues(operator(d), 1, tol=1e-6, stop="estimate")
    assert found.top == pytest.approx(50.0, rel=1e-6)
    assert sum(count > 1 for count in rows) <= 1 < 5 < found.products  # at most in the last step
    rows.clear()
    top_eigenvalues(operator(d), 1, tol=1e-14)
    assert max(rows) > 5


@pytest.mark.long
@pytest.mark.parametrize("size", [30, 100, 1000])
def test_lost_orthogonality_is_not_taken_for_asymmetry(size: int) -> None:
    """The smaller the operator, the less its probe of symmetry tolerates; cold, and warm from what a cold start left."""
    rng = np.random.default_rng(size)
    d = np.concatenate([[50.0, 30.0, 20.0], rng.uniform(-1, 3, size - 3)])
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    a = (q * d) @ q.T
    change = rng.standard_normal((size, size)) * 0.3 / np.sqrt(size)
    op, moved = (FunctionOperator.of_matrix((m + m.T) / 2) for m in (a, a + change))
    top = np.linalg.eigvalsh((a + change + (a + change).T) / 2)[-1]
    overlaps = []
    for seed in range(20):
        for tol in (1e-6, 1e-8, 1e-10, 1e-12):
            cold = top_eigenvalues(op, 2, tol=tol, seed=seed)
            warm = top_eigenvalues(moved, 2, tol=tol, seed=seed, start=cold)
            assert cold.values == pytest.approx([50.0, 30.0], rel=tol)
            assert warm.top == pytest.approx(top, rel=tol)
            assert max(cold.symmetry_defect, warm.symmetry_defect) < 7e-15 * op.size**0.5
            left = solver._searched(op, 2, "LA", tol, seed, None, 300, 60, None, "error", carry=18).model
            assert left is not None
            overlaps.append(left.overlap)
            fitted = left.fitted(op, 30)
            assert lost(fitted.basis).max() < 20 * np.finfo(float).eps
    assert max(overlaps) > 1e-14  # or nothing was tested
