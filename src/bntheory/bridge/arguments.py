"""Arguments of another type than a function takes, refused by name before anything is done with them.

What lives here: the one rule for public functions and methods of this room, read off their annotations; what is annotated ``Any`` (a model,
a batch) is judged where its meaning is known. What does not: values that cannot be, which each function refuses itself.
"""

from __future__ import annotations

import inspect
import operator
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor

from bntheory.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")
_WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "True or False", NoneType: "None"}
_hints: Callable[[Any], dict[str, Any]] = cache(typing.get_type_hints)


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which first refuses arguments that do not fit their annotations.

    Raises ValueError naming the argument, what was given and what it must be.
    """
    signature = inspect.signature(function)
    named = [n for n, p in signature.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise UserError(f"{function.__qualname__}: {error}; it takes {', '.join(named)}") from error
        _check({name: given[name] for name in named if name in given}, _hints(function))
        return function(*args, **kwargs)

    return call


def check_fields(instance: Any) -> None:
    """Refuse fields of a dataclass that do not fit their annotations. Raises ValueError as :func:`checked`."""
    _check({field.name: getattr(instance, field.name) for field in fields(instance)}, _hints(type(instance)))


def _check(given: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in hints and not _fits(value, hints[name]):
            raise UserError(f"{name} is {_shown(value)}; it must be {_described(hints[name])}")


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        if torch.device in inner and isinstance(value, str):
            return _reads(value, torch.device)
        lists = [one for one in inner if isinstance(get_origin(one), type) and issubclass(get_origin(one), Iterable)]
        # of several kinds of lists, which one is meant is said where they are used
        return any(_fits(value, get_origin(one) if one in lists[1:] else one) for one in inner)
    if origin is Literal:
        return isinstance(value, type(inner[0])) and value in inner
    if origin is not None:
        if not isinstance(origin, type):
            return True
        if not issubclass(origin, Iterable) or issubclass(origin, (Mapping, np.ndarray)):
            return isinstance(value, origin)
        one = inner[0] if inner else Any
        if isinstance(value, (Tensor, np.ndarray)) and one in (int, float):
            return value.ndim == 1 and all(_fits(item, one) for item in value.tolist())
        if origin is tuple and inner and inner[-1] is not Ellipsis:
            fits = isinstance(value, (tuple, list)) and len(value) == len(inner)
            return fits and all(map(_fits, value, inner))
        if not isinstance(value, Iterable) or (isinstance(value, str) and one is not str):
            return False
        if isinstance(value, (Tensor, np.ndarray)):
            return one is Tensor and value.ndim > 0
        return not isinstance(value, (list, tuple)) or all(_fits(item, one) for item in value)
    if hint is int:
        return _reads(value, operator.index) and not isinstance(value, bool)
    if hint is float:
        return _reads(value, float) and not isinstance(value, (str, bytes))
    return not isinstance(hint, type) or isinstance(value, hint)


def _reads(value: Any, read: Callable[[Any], Any]) -> bool:
    try:
        read(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False
    return True


def _shown(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {tuple(value.shape)}"
    if isinstance(value, (torch.nn.Module, type(operator), type)) or callable(value):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _described(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(map(_described, inner)))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple and inner[-1:] != (Ellipsis,):
        return f"({', '.join(map(_described, inner))})"
    if isinstance(origin, type) and issubclass(origin, (Mapping, np.ndarray)):
        return "a mapping" if origin is not np.ndarray else "an array"
    if isinstance(origin, type) and issubclass(origin, Iterable):
        one = inner[0] if inner else Any
        return "several values" if one is Any else f"several, each {_described(one)}"
    if origin is not None:
        return "a function"
    home = getattr(hint, "__module__", "")
    place = "torch.nn." if home.startswith("torch.nn") else "torch." if home.startswith("torch") else ""
    return _WORDS.get(hint, f"a {place}{getattr(hint, '__name__', hint)}")
