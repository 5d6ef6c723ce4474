"""What the number types of the worlds share: operands are converted first, and the reflected operators follow from
the others."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import wraps
from typing import Any, Self, TypeVar

S = TypeVar("S", bound="Number")
R = TypeVar("R")

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow}


def between(operation: Callable[[S, S], R]) -> Callable[[S, Any], R]:
    """An operator of a number type, as a method that takes any operand: what converts to the type is converted; for
    anything else Python is left to ask the other operand."""

    @wraps(operation)
    def apply(self: S, other: Any) -> R:
        try:
            own = self._own(other)
        except TypeError:
            return NotImplemented  # type: ignore[no-any-return]
        return operation(self, own)

    return apply


class Number:
    """A number type: a subclass has _own, +, -x, * and /, and gets every other operator from here."""

    __slots__ = ()

    def _own(self, x: Any) -> Any:
        """x as a number of this type; TypeError where it is none."""
        raise NotImplementedError

    def __add__(self, x: Any) -> Self:
        raise NotImplementedError

    def __mul__(self, x: Any) -> Self:
        raise NotImplementedError

    def __truediv__(self, x: Any) -> Self:
        raise NotImplementedError

    def __neg__(self) -> Self:
        raise NotImplementedError

    def __pos__(self) -> Self:
        return self

    def __radd__(self, x: Any) -> Self:
        return self.__add__(x)

    @between
    def __sub__(self, x: Self) -> Self:
        return self + -x

    def __rsub__(self, x: Any) -> Self:
        return (-self).__add__(x)

    def __rmul__(self, x: Any) -> Self:
        return self.__mul__(x)

    @between
    def __rtruediv__(self, x: Self) -> Self:
        return x / self


class BySign:
    """All four operators by one method: ``_with("-", x)`` is self - x, and x - self where ``turned``."""

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
