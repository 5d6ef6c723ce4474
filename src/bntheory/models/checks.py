"""What a model refuses, with the name of what was given."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
_NUMBERS = ("ArrayLike", "Floats", "tuple[float, ...]")
_WANTED = dict.fromkeys(_NUMBERS, "an array of numbers") | {
    "bool": "True or False",
    "int": "a whole number",
    "float": "a finite number",
    "Sequence[int]": "a list of whole numbers",
    "tuple[int, int]": "two whole numbers",
}


def checked(*unbounded: str) -> Callable[[F], F]:
    """A decorator for a function or a class: what is not the number or the numbers that its annotation asks for is refused by name.

    A ``float`` is finite, but for the parameters named in ``unbounded``; None is taken where ``| None`` says so. Nothing is converted. The
    decorated call raises UserError.
    """

    def decorate(made: F) -> F:
        function: Any = made.__init__ if isinstance(made, type) else made  # type: ignore[misc]
        kinds = {name: str(p.annotation) for name, p in inspect.signature(function).parameters.items()}

        @wraps(function)
        def call(*given: Any, **named: Any) -> Any:
            for name, value in (*zip(kinds, given, strict=False), *named.items()):
                wanted = _not_the(kinds.get(name, ""), value, name in unbounded)
                if wanted:
                    raise UserError(f"{name}={value!r:.60}: must be {wanted}")
            return function(*given, **named)

        if not isinstance(made, type):
            return call  # type: ignore[return-value]
        made.__init__ = call  # type: ignore[misc]
        return made

    return decorate


def _not_the(kind: str, value: Any, unbounded: bool) -> str:
    """What an argument of this annotation has to be, where ``value`` is not; else ""."""
    bare = kind.removesuffix(" | None")
    if bare not in _WANTED or (value is None and bare != kind):
        return ""
    if bare in ("bool", "int"):
        return "" if isinstance(value, (bool, np.bool_) if bare == "bool" else Integral) else _WANTED[bare]
    try:
        array = np.asarray(value)
        array = array if array.dtype.kind in "biuf" else np.vectorize(_number, otypes=[np.float64])(array)
    except (TypeError, ValueError, OverflowError):
        return _WANTED[bare]
    if bare == "float":
        fits = array.ndim == 0 and not np.isnan(array) and bool(unbounded or np.isfinite(array))
    elif "int" in bare:
        fits = array.ndim == 1 and array.dtype.kind in "iu" and (array.size == 2 or bare == "Sequence[int]")
    else:
        fits = True
    return "" if fits else _WANTED[bare]


def _number(entry: Any) -> float:
    """A Fraction as a float, say; TypeError for text, which ``float`` would read, and for None."""
    if isinstance(entry, str):
        raise TypeError
    return float(entry)


def at_least(least: int, **sizes: int) -> None:
    """Raises UserError for the first size below ``least`` or no whole number."""
    for name, size in sizes.items():
        if not (isinstance(size, Integral) and size >= least):
            raise UserError(f"{name}={size!r}: must be a whole number of at least {least}")


def positive(value: ArrayLike, name: str) -> Floats:
    """``value`` as a float64 array of positive finite numbers; raises UserError with the offender's name."""
    array = np.asarray(value, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all() or np.any(array <= 0):
        raise UserError(f"{name} must be positive and finite, got {np.array2string(array, threshold=8)}")
    return array
