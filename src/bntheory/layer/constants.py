"""What a Python number in a claim means."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any

_TYPED_DIGITS = 15  # so many survive in a float, whatever they are
_MOST_BITS = 14_000  # of a number that a claim names; Python writes no whole number of more than 4300 digits


@contextmanager
def of_any_length() -> Iterator[None]:
    """Lifts Python's limit on the digits of a whole number that is written out: a product of two numbers of a claim may
    be longer than either may be."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(before)


def too_long(x: Any) -> str:
    """Why a claim cannot name this number; "" where it can."""
    bits = max(x.numerator.bit_length(), x.denominator.bit_length()) if isinstance(x, Fraction) else 0
    return "the numbers in the claim grow beyond 4200 digits" if bits > _MOST_BITS else ""


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
