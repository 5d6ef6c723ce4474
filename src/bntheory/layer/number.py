"""What the number types of the worlds have in common: whose operations are for another operand, and the reflected ones."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import wraps
from typing import Any, Self, TypeVar

S = TypeVar("S", bound="Number")
R = TypeVar("R")

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}


def between(operation: Callable[[S, Any], R]) -> Callable[[S, Any], R]:
    """An operation on two numbers of one type: the other operand is made one, or asked to do it itself where it is none."""

    @wraps(operation)
    def apply(self: S, other: Any) -> R:
        try:
            own = self._own(other)
        except TypeError:
            return NotImplemented  # type: ignore[no-any-return]
        return operation(self, own)

    return apply


class Number:
    """A number with +, -x, * and / of its own; the rest follows from these."""

    __slots__ = ()

    def _own(self, x: Any) -> Any:
        """x as a number of this type; TypeError where it is none."""
        raise NotImplementedError

    def __pos__(self) -> Self:
        return self

    def __radd__(self, x: Any) -> Self:
        return self + x  # type: ignore[no-any-return]

    @between
    def __sub__(self, x: Any) -> Self:
        return self + -x  # type: ignore[no-any-return]

    def __rsub__(self, x: Any) -> Self:
        return -self + x  # type: ignore[operator, no-any-return]

    def __rmul__(self, x: Any) -> Self:
        return self * x  # type: ignore[no-any-return]

    @between
    def __rtruediv__(self, x: Any) -> Self:
        return x / self  # type: ignore[no-any-return]


class BySign:
    """Operators told by their signs: ``_with(sign, x)`` is self sign x, and x sign self where it is turned."""

    __slots__ = ()

    def _with(self, sign: str, x: Any, turned: bool = False) -> Any:
        raise NotImplementedError

    def __add__(self, x: Any) -> Any:
        return self._with("+", x)

    def __sub__(self, x: Any) -> Any:
        return self._with("-", x)

    def __rsub__(self, x: Any) -> Any:
        return self._with("-", x, turned=True)

    def __mul__(self, x: Any) -> Any:
        return self._with("*", x)

    def __truediv__(self, x: Any) -> Any:
        return self._with("/", x)

    def __rtruediv__(self, x: Any) -> Any:
        return self._with("/", x, turned=True)

    __radd__, __rmul__ = __add__, __mul__
