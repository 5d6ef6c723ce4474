"""What a Python number in a claim means."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any

__all__ = ["exact"]


def exact(x: Any) -> Fraction:
    """A Python number as the rational that its author meant.

    A float is the simplest fraction that rounds to it, 0.1 one tenth and 1/3 one third, or else its shortest decimal. TypeError
    for what is no real number, ValueError for what is not finite.
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
        simple = Fraction(x).limit_denominator(1_000_000)
        return simple if float(simple) == x else Fraction(repr(x))
    raise TypeError(f"{x!r:.60} ({type(x).__name__}) is not a number")
