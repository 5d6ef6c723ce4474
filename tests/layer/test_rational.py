"""Exact rational arithmetic of small data sets, against numpy in floats at the same numbers, and by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bntheory.layer.rational import as_text, centred, dot, least_squares, matvec, project, transposed, variance, vector

Y, V = vector([3, -1, Fraction(1, 2), 0]), vector([1, 2, -5, Fraction(7, 3)])
ROWS = [
    [Fraction(1), Fraction(2)],
    [Fraction(3), Fraction(-1)],
    [Fraction(0), Fraction(4)],
    [Fraction(1, 2), Fraction(1)],
]


def floats(values):
    return np.array(values, dtype=float)


def test_products_and_moments():
    assert dot(Y, V) == Fraction(3 - 2) - Fraction(5, 2)
    assert dot([], []) == 0
    assert centred(vector([1, 2, 6])) == [-2, -1, 3]
    assert variance(vector([1, 2, 6])) == Fraction(14, 3)
    assert matvec(ROWS, vector([2, 1])) == [4, 5, 4, 2]
    assert transposed(ROWS) == [[1, 3, 0, Fraction(1, 2)], [2, -1, 4, 1]]
    assert as_text(vector([1, Fraction(-1, 2)])) == ["1", "-1/2"]


@pytest.mark.parametrize("eps", [0, Fraction(3, 4)])
def test_the_projection_agrees_with_its_matrix(eps):
    y, v, m = floats(Y), floats(V), len(Y)
    y_hat = (y - y.mean()) / np.sqrt(y.var() + float(eps))
    matrix = np.eye(m) - np.ones((m, m)) / m - np.outer(y_hat, y_hat) / m
    np.testing.assert_allclose(floats(project(Y, V, Fraction(eps))), matrix @ v, rtol=1e-12)


@pytest.mark.parametrize("columns", [1, 2])
def test_least_squares_agree_with_numpy(columns):
    rows = [row[:columns] for row in ROWS]
    expected = np.linalg.lstsq(floats(rows), floats(V), rcond=None)[0]
    np.testing.assert_allclose(floats(least_squares(rows, V)), expected, rtol=1e-12)


def test_what_has_no_single_minimiser_is_refused():
    with pytest.raises(ValueError, match="linearly dependent"):
        least_squares([[Fraction(1), Fraction(2)], [Fraction(2), Fraction(4)]], vector([1, 1]))
    with pytest.raises(ValueError, match="3 columns"):
        least_squares([[Fraction(1)] * 3], vector([1]))
