"""The end of a spectrum that is small beside the other one, and other spectra in which an end is easily missed.

Diagonal operators: their spectrum is written down, and no other solver is involved. A result is right when the truth lies
within its stated error; where that error is within the tolerance, nothing hides behind it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.bridge.curvature import FunctionOperator, top_eigenvalues
from bntheory.bridge.curvature.accumulation import dot, dots
from bntheory.errors import UserError

SIZE = 1000
BULK = np.linspace(-1, 1, SIZE)
SPECTRA = {
    "small-lower-end": np.r_[1000.0, -12.0, 0.02 * BULK],
    "smaller-lower-end": np.r_[1e6, -12.0, 0.02 * BULK],
    "tiny-lower-end": np.r_[1000.0, -0.5, 0.02 * BULK],
    "interior-outliers": np.r_[1000.0, 30.0, 5.0, -12.0, -4.0, 0.02 * BULK],
    "one-sided": np.r_[1000.0, 50.0, 0.004, 0.01 * (2 + BULK)],
    "shifted": np.r_[1000.0, 4.0, 5 + 0.02 * BULK],
    "two-bulks": np.r_[100 + BULK[::2], BULK[::2], -3.0],
    "rank-one": np.r_[7.0, np.zeros(SIZE)],
    "positive-low-rank": np.r_[1000.0, 50.0, np.zeros(SIZE)],
    "zero": np.zeros(SIZE),
}


def diagonal(d: np.ndarray, dtype: torch.dtype) -> tuple[FunctionOperator, np.ndarray]:
    """The operator, and its spectrum as the dtype holds it."""
    held = torch.as_tensor(d, dtype=dtype)
    return FunctionOperator(lambda v: held * v, len(d), dtype=dtype), held.double().numpy()


def ends(d: np.ndarray, k: int, which: str) -> np.ndarray:
    d = np.sort(d)
    top, bottom = d[::-1][:k], d[:k]
    by_size = d[np.argsort(-np.abs(d), kind="stable")][:k]
    return {"LA": top, "SA": bottom, "LM": by_size, "both": np.r_[top, bottom]}[which]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", SPECTRA)
def test_every_end_lies_within_its_error(name: str, sign: int, dtype: torch.dtype) -> None:
    op, d = diagonal(sign * SPECTRA[name], dtype)
    for which in ("LA", "SA", "LM", "both"):
        for seed in range(6):
            found = top_eigenvalues(op, 1, which, tol=1e-6, seed=seed, max_products=1000)
            assert found.converged, (which, seed)
            assert np.all(np.abs(found.values - ends(d, 1, which)) <= found.errors), (which, seed)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_the_small_end_is_found_in_every_seed_and_to_the_tolerance_that_float32_allows(sign: int, tol: float) -> None:
    op, d = diagonal(sign * SPECTRA["small-lower-end"], torch.float32)
    for seed in range(50):
        found = top_eigenvalues(op, 1, "SA" if sign > 0 else "LA", tol=tol, seed=seed)
        assert found.top == pytest.approx(-12.0 * sign, rel=1e-4)
        # 8 roundings of 1000 are a part of 8e-5 of 12
        assert found.accurate == (tol > 1e-4)
        assert ("float64" in found.note) == (tol < 1e-4)
    assert len(np.unique(d)) > 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_several_values_of_both_ends_among_them_interior_outliers(dtype: torch.dtype) -> None:
    op, d = diagonal(SPECTRA["interior-outliers"], dtype)
    for k, which in ((3, "LA"), (2, "SA"), (5, "LM"), (2, "both")):
        for seed in range(10):
            found = top_eigenvalues(op, k, which, tol=1e-6, seed=seed)
            assert np.all(np.abs(found.values - ends(d, k, which)) <= found.errors), (which, seed)
            assert np.all(found.errors < 0.01)
    both = top_eigenvalues(op, 2, "both", tol=1e-6)
    assert (both.top, both.bottom) == (both.values[0], both.values[2])
    with pytest.raises(UserError, match="lower end was not measured"):
        _ = top_eigenvalues(op, 2, "LA", tol=1e-6).bottom


def test_both_ends_from_one_basis_cost_less_than_two_runs() -> None:
    d = np.r_[50.0, 30.0, 20.0, -9.0, -7.0, 3 * BULK]
    op, _ = diagonal(d, torch.float64)
    together = apart = 0
    for seed in range(10):
        both = top_eigenvalues(op, 1, "both", tol=1e-6, seed=seed)
        assert both.values == pytest.approx([50.0, -9.0], rel=1e-6)
        together += both.products
        apart += sum(top_eigenvalues(op, 1, which, tol=1e-6, seed=seed).products for which in ("LA", "SA"))
    assert apart > 1.4 * together


def test_both_ends_of_a_drifting_operator_are_followed_from_the_measurement_before() -> None:
    rng = np.random.default_rng(0)
    found, warm, cold = None, 0, 0
    d = np.r_[12.0, 8.0, -9.0, -5.0, 0.5 * rng.standard_normal(146)]
    q, _ = np.linalg.qr(rng.standard_normal((150, 150)))
    for seed in range(8):
        turn = rng.standard_normal((150, 150))
        q, _ = np.linalg.qr(q + 0.001 * q @ (turn - turn.T))
        op = FunctionOperator.of_matrix((q * d) @ q.T)
        found = top_eigenvalues(op, 1, "both", tol=1e-6, seed=seed, start=found, stop="estimate")
        assert found.values == pytest.approx([12.0, -9.0], rel=1e-6)
        if seed:
            warm += found.products
            cold += top_eigenvalues(op, 1, "both", tol=1e-6, seed=seed, stop="estimate").products
    assert warm < 1.1 * cold


def test_a_start_from_the_other_end_is_no_start() -> None:
    op, _ = diagonal(SPECTRA["small-lower-end"], torch.float32)
    for seed in range(10):
        before = top_eigenvalues(op, 1, "LA", tol=1e-3, seed=seed)
        found = top_eigenvalues(op, 1, "SA", tol=1e-3, seed=seed, start=before)
        assert found.top == pytest.approx(-12.0, rel=1e-3)


def test_an_eigenvalue_beyond_a_value_is_hidden_no_farther_than_is_said() -> None:
    """Stopped early on purpose: the truth may lie beyond the estimate, but not beyond what may be hidden."""
    op, d = diagonal(SPECTRA["interior-outliers"], torch.float64)
    for products in (1, 2, 3, 4, 6):
        for seed in range(20):
            found = top_eigenvalues(op, 1, "both", seed=seed, max_products=products)
            if len(found.values) < 2:
                continue
            missed = np.abs(ends(d, 1, "both") - found.values)
            assert np.all(missed <= found.hidden)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_close_pairs_are_told_apart_where_the_tolerance_asks_for_it(gap: float) -> None:
    op, d = diagonal(np.r_[10.0, 10.0 * (1 - gap), BULK], torch.float64)
    for seed in range(5):
        one = top_eigenvalues(op, 1, tol=1e-4, seed=seed)
        assert abs(one.top - 10.0) <= one.errors[0]
        pair = top_eigenvalues(op, 2, tol=1e-12, seed=seed)
        assert np.all(np.abs(pair.values - ends(d, 2, "LA")) <= pair.errors)
    single, d = diagonal(np.r_[10.0, 10.0 * (1 - 1e-7), BULK], torch.float32)  # one number in float32, or nearly
    found = top_eigenvalues(single, 2, tol=1e-6)
    assert abs(found.top - 10.0) <= found.errors[0] + found.residuals[0]


def test_many_small_terms_beside_a_large_one_are_not_lost() -> None:
    a = torch.full((20_001,), 1e-2)
    a[0] = 1000.0
    for size in (8_000, 20_001):
        part = a[:size]
        exact = float(np.square(part.double().numpy()).sum())
        assert dot(part, part) == pytest.approx(exact, rel=1e-12)
        assert dots(torch.stack([part, part.flip(0)]), part)[0] == pytest.approx(exact, rel=1e-12)


@pytest.mark.long
def test_inner_products_of_millions_of_entries_are_summed_in_float64() -> None:
    """Float32 all the way is off by 1e-4 or more here: the unit vector's norm, and the eigenvalue with it."""
    size = 3_000_000
    held = torch.full((size,), 1e-3)
    held[size // 2 :] = -1e-3
    held[7] = 150.758
    op = FunctionOperator(lambda v: held * v, size, dtype=torch.float32)
    found = top_eigenvalues(op, 1, tol=1e-6, max_basis=12)
    assert found.top == pytest.approx(150.758, rel=3e-7)
    assert float(found.vectors[:, 0].double().norm()) == pytest.approx(1.0, abs=1e-6)
