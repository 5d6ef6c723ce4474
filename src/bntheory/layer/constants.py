"""What a Python number in a claim means."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any

_TYPED_DIGITS = 15  # so many survive in a float, whatever they are


def exact(x: Any) -> Fraction:
    """A Python number as the rational that its author meant.

    A float is its shortest decimal, 0.1 one tenth. One that needs more than 15 digits was not typed but computed, and
    is the simple fraction that it rounds, if there is one: 1/3 is a third. TypeError for what is no real number,
    ValueError for what is not finite.
    """
    if isinstance(x, Fraction):
        return x
    if getattr(x, "shape", None) == () and hasattr(x, "item"):
        x = x.item()  # a numpy scalar, a tensor with one entry
    if isinstance(x, (Integral, Rational)) and not isinstance(x, bool):
        return Fraction(int(x.numerator), int(x.denominator))
    if isinstance(x, (float, Decimal)):
        if not math.isfinite(x):
            raise ValueError(f"the number {x} appears in the claim; only finite numbers have a meaning here")
        if isinstance(x, Decimal):
            return Fraction(x)
        decimal, simple = Fraction(repr(x)), Fraction(x).limit_denominator(1_000_000)
        digits = repr(x).lower().partition("e")[0].replace(".", "").lstrip("-0").rstrip("0")
        return simple if len(digits) > _TYPED_DIGITS and float(simple) == x else decimal
    raise TypeError(f"{x!r:.60} ({type(x).__name__}) is not a number")
