"""Condition numbers of least squares under centring and scaling.

Oracles: numpy's singular values of the matrices themselves against the argument that proves the inequality (explicit
test vectors), and against eigenvalues written in closed form with square roots.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bntheory.models.conditioning import SMALLEST_COUNTEREXAMPLE, best_diagonal_scaling, condition_number, conditioning


def random_data(seed: int, samples: int, columns: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((columns, columns)) * 10 ** rng.uniform(-1.5, 1.5, columns)
    return rng.standard_normal((samples, columns)) @ mixing + 10 ** rng.uniform(-2, 2) * rng.standard_normal(columns)


@given(seed=st.integers(0, 10**6), samples=st.integers(8, 40), columns=st.integers(1, 6))
def test_centring_never_hurts_and_the_test_vectors_show_why(seed: int, samples: int, columns: int) -> None:
    x = random_data(seed, samples, columns)
    found = conditioning(x)
    assert found.centred <= found.raw * (1 + 1e-9)
    extended = np.column_stack([np.ones(samples), x])
    mean, centred = x.mean(0), x - x.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    singular = np.linalg.svd(extended, compute_uv=False)
    w = vectors[:, 0]
    v = np.concatenate([[-mean @ w], w])
    # A v = X_c w, and |v| >= |w|: the smallest singular value is at most that of the centred matrix
    np.testing.assert_allclose(extended @ v, centred @ w, atol=1e-9 * singular[0])
    assert singular[-1] ** 2 <= values[0] / (v @ v) * (1 + 1e-6)
    top = np.concatenate([[0.0], vectors[:, -1]])
    assert singular[0] ** 2 >= np.sum((extended @ top) ** 2) * (1 - 1e-9) >= values[-1] * (1 - 1e-8)


@given(seed=st.integers(0, 10**6), samples=st.integers(4, 30), columns=st.integers(1, 2))
def test_scaling_does_not_hurt_one_or_two_columns(seed: int, samples: int, columns: int) -> None:
    found = conditioning(random_data(seed, samples, columns))
    assert found.scaled <= found.centred * (1 + 1e-9)
    if columns == 1:
        assert found.scaled == pytest.approx(1.0, rel=1e-9)


def test_smallest_counterexample_in_closed_form() -> None:
    before = (7 + math.sqrt(33)) / (7 - math.sqrt(33))
    after = (5 + math.sqrt(17)) / (5 - math.sqrt(17))
    found = conditioning(SMALLEST_COUNTEREXAMPLE)
    assert found.raw**2 == pytest.approx(before, rel=1e-12)
    assert found.centred**2 == pytest.approx(before, rel=1e-12)
    assert found.scaled**2 == pytest.approx(after, rel=1e-12)


@pytest.mark.parametrize("columns", [2, 3, 5])
def test_unit_columns_are_within_the_root_of_their_number(columns: int) -> None:
    for seed in range(6):
        a = random_data(seed, 12, columns)
        a = a - a.mean(0)
        best, diagonal = best_diagonal_scaling(a, seed=seed)
        unit = condition_number(a / np.linalg.norm(a, axis=0))
        assert condition_number(a * diagonal) == pytest.approx(best, rel=1e-6)
        assert best <= unit * (1 + 1e-12)
        assert unit <= math.sqrt(columns) * best
        # the proof's lower bound on every scaling
        assert best >= 1 / np.linalg.svd(a / np.linalg.norm(a, axis=0), compute_uv=False)[-1] * (1 - 1e-9)
        if columns == 2:
            assert unit == pytest.approx(best, rel=1e-6)


ERRORS = {
    "one sample": (lambda: conditioning([[1.0, 2.0]]), "samples >= 2"),
    "constant column": (lambda: conditioning([[1.0, 2.0], [1.0, 3.0], [1.0, 5.0]]), "column 0 is constant"),
    "nan": (lambda: condition_number([[math.nan]]), "finite"),
    "dependent": (lambda: best_diagonal_scaling([[1.0, 2.0], [2.0, 4.0]]), "dependent"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument(case: str) -> None:
    call, words = ERRORS[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_two_samples_are_enough_for_one_column() -> None:
    assert conditioning([[0.0], [2.0]]).scaled == pytest.approx(1.0)


def test_wide_matrix_has_an_infinite_condition_number() -> None:
    assert condition_number(np.ones((2, 3))) == math.inf
    assert condition_number([[1.0, 1.0], [1.0, 1.0]]) == math.inf
