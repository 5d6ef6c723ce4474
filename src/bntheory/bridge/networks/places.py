"""What holds a state beside parameters and buffers: attributes, names and containers, read and written alike.

What lives here: reading and writing one place. What does not: finding the places (:mod:`bntheory.bridge.networks.keepers`), and saving and
restoring them (:mod:`bntheory.bridge.networks.state`).
"""

from __future__ import annotations

import ast
import itertools
from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

CONTAINERS = (dict, list, set, deque)
BUFFERS = (bytearray, array)
#: No container of more entries is looked into: that is data, and no state.
ENTRIES = 1_000


class Names:
    """Some names of a namespace (globals, a class, slots, a cell), which hold a state as the attributes of an object do."""

    def __init__(self, home: Any, names: Sequence[str]) -> None:
        self._home, self._names = home, names

    def read(self) -> dict[str, Any]:
        """What they hold now; those that hold nothing are left out."""
        found = {}
        for name in self._names:
            with suppress(AttributeError, KeyError, ValueError):
                found[name] = self._home[name] if isinstance(self._home, dict) else getattr(self._home, name)
        return found

    def write(self, values: Mapping[str, Any]) -> None:
        """Let them hold these values, whichever of them are others."""
        now = self.read()
        for name, value in values.items():
            if name not in now or now[name] is not value:
                if isinstance(self._home, dict):
                    self._home[name] = value
                else:  # past a __setattr__ of the user's, as that of a frozen dataclass
                    (type if isinstance(self._home, type) else object).__setattr__(self._home, name, value)


class Arguments(Names):
    """The arguments that a ``functools.partial`` passes by position. (Those by name are a dict of its own.)"""

    def __init__(self, home: partial[Any]) -> None:
        super().__init__(home, ["args"])

    def write(self, values: Mapping[str, Any]) -> None:
        """Let it pass these."""
        home = self._home
        if "args" in values and values["args"] is not home.args:
            home.__setstate__((home.func, values["args"], home.keywords, home.__dict__))


def attributes_of(holder: Any) -> dict[str, Any]:
    """What an object's attributes hold, or what names do."""
    return holder.read() if isinstance(holder, Names) else getattr(holder, "__dict__", {})


def set_attributes(holder: Any, values: Mapping[str, Any]) -> None:
    """Past a ``__setattr__`` of the user's."""
    if isinstance(holder, Names):
        holder.write(values)
    else:
        getattr(holder, "__dict__", {}).update(values)


def refill(container: Any, entries: Any) -> None:
    """Let one of :data:`CONTAINERS` hold these entries and no others; it stays the very object."""
    container.clear()
    if isinstance(container, (dict, set)):
        container.update(entries)
    else:
        container.extend(entries)


def count_from_here(count: itertools.count[Any]) -> itertools.count[Any]:
    """Another one that goes on from where this one stands; the very one where its numbers are of a kind that cannot be read from its name."""
    with suppress(ValueError, SyntaxError):
        told = ast.literal_eval(f"[{repr(count).removeprefix('count(').removesuffix(')')}]")
        return itertools.count(*told)
    return count
