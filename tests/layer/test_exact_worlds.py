"""In exact worlds no word may pass through a rounded number: a sum of Python ints divided by m is a float, and a certificate made
of it is worth nothing. Independent: a number type that refuses to meet floats; every word of every normaliser is spoken in it.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from bntheory.layer import SecondBatch, SecondUnit, make_layer
from bntheory.layer.words import SECOND, UNIT_B, WORDS

NORMALISERS = ["batch", "unbiased", "l2", "mean-only", "rms", "frozen", "l1", "linf"]


class Strict:
    """A rational, and roots to 60 digits, that meets whole numbers and its own kind only."""

    def __init__(self, value):
        self.value = Fraction(value)

    def _with(self, other, operation):
        if isinstance(other, (float, np.floating)):
            raise AssertionError(f"a rounded number: {other!r}")
        other = other.value if isinstance(other, Strict) else Fraction(int(other))
        result = operation(self.value, other)
        return result if isinstance(result, bool) else Strict(result)

    def __add__(self, other):
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other):
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other):
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other):
        return self._with(other, lambda a, b: a * b)

    def __truediv__(self, other):
        return self._with(other, lambda a, b: a / b)

    def __rtruediv__(self, other):
        return self._with(other, lambda a, b: b / a)

    def __lt__(self, other):
        return self._with(other, lambda a, b: a < b)

    def __gt__(self, other):
        return self._with(other, lambda a, b: a > b)

    def __ge__(self, other):
        return self._with(other, lambda a, b: a >= b)

    def __eq__(self, other):
        return self._with(other, lambda a, b: a == b)

    def __hash__(self):
        return hash(self.value)

    def __pow__(self, n):
        return Strict(self.value ** int(n))

    def __neg__(self):
        return Strict(-self.value)

    def __abs__(self):
        return Strict(abs(self.value))

    def sqrt(self):
        scaled = self.value * 10**120
        root = math.isqrt(scaled.numerator // scaled.denominator)
        return Strict(Fraction(root, 10**60))

    __radd__, __rmul__ = __add__, __mul__


def strict(x):
    return np.vectorize(Strict, otypes=[object])(np.array(x, dtype=object))


@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_exact_numbers_are_those_of_floats(normaliser):
    exact = layer_of(normaliser, 5)
    y, g = (np.array([float(e.value) for e in v]) for v in (exact.y, exact.grad))
    h = np.array([[float(e.value) for e in exact.hess(strict(unit))] for unit in np.eye(5, dtype=int).tolist()])
    rounded = make_layer(normaliser, y, g, h, gamma=-2.0, beta=1.0)
    pairs = [(exact.y_hat, rounded.y_hat), (exact.input_grad, rounded.input_grad)]
    pairs += [(exact.input_hess(exact.y), rounded.input_hess(y)), (exact.jac(exact.grad), rounded.jac(g))]
    for ours, theirs in pairs:
        np.testing.assert_allclose([float(e.value) for e in ours], theirs, rtol=1e-12, atol=1e-12)


def layer_of(normaliser, m):
    y, g, y2, g2, u = (strict([(7 * i * i + k) % 11 - 4 for i in range(m)]) for k in range(5))
    h = strict([[(i * j + i + j) % 5 - 2 for j in range(m)] for i in range(m)])
    free = {"y@2": y2, "grad@2": g2, "y@b": g2, "grad@b": u, "cross": u, "gamma@b": strict(3), "beta@b": strict(-1)}
    return make_layer(
        normaliser, y, g, h, gamma=strict(-2), beta=strict(1), eps=strict(0), free={**free, "rise": strict(2)}
    )


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("normaliser", NORMALISERS)
def test_no_word_meets_a_rounded_number(normaliser, m):
    layer = layer_of(normaliser, m)
    worlds = [(layer, WORDS, "")]
    if normaliser not in ("l1", "linf"):
        worlds += [(SecondBatch(layer, normaliser), SECOND, "@2"), (SecondUnit(layer, normaliser), UNIT_B, "@b")]
    for world, words, suffix in worlds:
        for name, word in words.items():
            if word.helper or name in ("m",):
                continue
            value = getattr(world, name.removesuffix(suffix))
            arguments = {None: (), ("vector",): (layer.grad,), ("vector", "vector"): (layer.grad, layer.y)}
            if word.takes == ("operator",):
                results = [value(a) for a in (layer.hess, layer.jac, layer.input_hess)]
            else:
                results = [value(*arguments[word.takes]) if word.takes else value]
            for result in results:
                entries = np.ravel(result)
                assert all(isinstance(e, Strict) for e in entries), f"{name}: {entries[0]!r}"
