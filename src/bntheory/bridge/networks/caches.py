"""Functions that keep what they returned (``functools.cache``, ``lru_cache``): what is in their caches, and putting them back.

What a measurement in double precision lets them keep would meet the user's own single precision afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import _lru_cache_wrapper
from typing import Any

from torch import Tensor


def table_of(cached: _lru_cache_wrapper[Any]) -> dict[Any, Any] | None:
    """The very dictionary of a cache without bound, results by arguments; None for a bounded one, whose table nothing can be written into."""
    if cached.cache_parameters()["maxsize"] is not None:
        return None
    tables = [one for one in gc.get_referents(cached) if isinstance(one, dict) and one is not vars(cached)]
    return tables[0] if len(tables) == 1 and len(tables[0]) == cached.cache_info().currsize else None


def results_of(cached: _lru_cache_wrapper[Any]) -> list[Any]:
    """What a function with a cache has returned and keeps (of a bounded one, the arguments too): one object for all who ask for it."""
    table = table_of(cached)
    if (
        table is not None or not cached.cache_info().currsize
    ):  # an empty table of a bounded one looks like any dictionary
        return list((table or {}).values())
    links = "_lru_list_elem"  # of the table of the cache itself
    held = [one for one in gc.get_referents(cached) if one is not vars(cached)]
    return [one for one in held if not isinstance(one, dict) or all(type(v).__name__ != links for v in one.values())]


def save_cache(cached: _lru_cache_wrapper[Any]) -> Callable[[], None]:
    """A function that empties a bounded cache that was empty, or one that has come to keep further tensors.

    Its entries cannot be put back one by one. What else it has come to keep stays in it, as objects that it kept before may be a state.
    """
    filled = cached.cache_info().currsize
    met = {id(one): one for one in results_of(cached)}  # held, so that no id is used twice

    def restore() -> None:
        if cached.cache_info().currsize and (
            not filled or any(_holds_tensors(one) for one in results_of(cached) if id(one) not in met)
        ):
            cached.cache_clear()

    return restore


def _holds_tensors(value: Any, depth: int = 3) -> bool:
    if isinstance(value, Tensor) or not depth:
        return isinstance(value, Tensor)
    if isinstance(value, Mapping):
        return any(_holds_tensors(one, depth - 1) for one in value.values())
    return isinstance(value, (tuple, list)) and any(_holds_tensors(one, depth - 1) for one in value)
