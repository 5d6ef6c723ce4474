"""Where a loss, a model or a hook may keep a state outside of parameters and buffers: counters, histories, generators, moving means.

What lives here: finding the places, by following what is called to whatever its code names (cells, globals, attributes), as far as that
is a user's own. What does not: saving and restoring (:mod:`bntheory.bridge.networks.state`).
"""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from contextvars import ContextVar
from functools import _lru_cache_wrapper, cache, partial
from inspect import isclass, ismodule, isroutine
from types import CodeType, FunctionType, MethodType, SimpleNamespace
from typing import Any
from weakref import ReferenceType

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.networks.caches import results_of, table_of
from bntheory.bridge.networks.generators import GENERATORS, generator_states
from bntheory.bridge.networks.places import BUFFERS, CONTAINERS, ENTRIES, Arguments, Names, attributes_of

#: At most so many places are looked at.
_PLACES = 10_000
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_OF_A_MODULE = frozenset(vars(nn.Module()))
#: Where objects are from that another thread or process may be changing: neither they nor what holds them is put back.
_ELSEWHERE = {"threading", "concurrent", "asyncio", "multiprocessing", "queue", "subprocess", "socket"}
_PLAIN = (type(None), int, float, complex, str, bytes, Tensor, CodeType)


def keepers_of(*called: Any) -> list[Any]:
    """The objects, containers and names in which what is called may keep a state, each once, for a guard of the state."""
    found: list[Any] = []
    met: dict[int, Any] = {}  # held, so that no id is used twice
    sought = deque((value, True) for value in called)
    while sought and len(met) < _PLACES:
        value, given = sought.popleft()
        if isinstance(value, _PLAIN) or id(value) in met:
            continue
        met[id(value)] = value
        own, further = _place(value, given)
        found += own
        sought.extend((one, False) for one in further)
    inner = {id(one) for value in found if isinstance(value, nn.Module) for one in value.modules() if one is not value}
    return [value for value in found if id(value) not in inner]


def kept_outside(model: nn.Module) -> dict[str, str]:
    """What a model keeps outside of its parameters and buffers: by the name of the place, a text that changes with what it holds.

    A state dict lacks all of it, and so does a checkpoint.
    """
    registered = {id(t) for t in (*model.parameters(), *model.buffers())}
    modules = {id(module): f"{name}." if name else "" for name, module in model.named_modules()}
    found: dict[str, str] = {}
    for number, place in enumerate((*model.modules(), *(k for k in keepers_of(model) if id(k) not in modules))):
        where = modules.get(id(place), f"{type(place).__name__} {number}: ")
        held = attributes_of(place) or {"": place}
        found |= {
            f"{where}{name}": _told(value, registered)
            for name, value in held.items()
            if id(place) not in modules or name not in _OF_A_MODULE
        }
    return found


def _told(value: Any, registered: set[int], depth: int = 3) -> str:
    """A text that another value changes; of an object that has attributes, which are places of their own, its class."""
    if id(value) in registered or isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{type(value).__name__} {tuple(value.shape)} {_hash(value)}"
    if isinstance(value, GENERATORS):
        return repr(generator_states(value)[-1])
    if isinstance(value, ContextVar):
        return f"ContextVar {_told(value.get(None), registered, depth)}"
    if isinstance(value, (*CONTAINERS, tuple)) and depth:
        inside = value.items() if isinstance(value, dict) else value
        told = [_told(one, registered, depth - 1) for one in inside]
        return f"{type(value).__name__} {sorted(told) if isinstance(value, set) else told}"
    if isinstance(value, (*BUFFERS, type(None), int, float, complex, str, bytes)):
        return repr(value)
    return type(value).__name__


def _hash(numbers: Tensor | np.ndarray[Any, Any]) -> str:
    if isinstance(numbers, Tensor):
        dense = numbers.detach() if numbers.layout == torch.strided else numbers.detach().to_dense()
        numbers = dense.resolve_conj().cpu().to(torch.complex128 if dense.is_complex() else torch.float64).numpy()
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def _place(value: Any, given: bool) -> tuple[list[Any], list[Any]]:
    """What of a value a guard restores, and where else to look. given: the user handed it over, so it is looked into whoever wrote its class."""
    if isinstance(value, partial):
        return [Arguments(value)], [value.func, value.args, value.keywords, vars(value)]
    if isinstance(value, MethodType):
        return [], [value.__self__, value.__func__]
    if isinstance(value, (staticmethod, classmethod, property)):
        return [], [getattr(value, "__func__", getattr(value, "fget", None))]
    if isinstance(value, FunctionType):
        names = _names_of(value)
        users = [value] if _of_a_user(value.__module__) or given else []
        inside = [entry for name in names for entry in name.read().values()]
        kept = any(not isinstance(one, (type(None), int, float, str)) for one in value.__defaults__ or ())
        defaults = [Names(value, ["__defaults__"])] if kept else []
        return [*users, *names, *defaults], [*inside, value.__defaults__, value.__kwdefaults__, vars(value)]
    if isclass(value):
        if not _of_a_user(value.__module__):
            return [], []
        held = [name for name, one in vars(value).items() if not (name.startswith("__") or hasattr(one, "__get__"))]
        return [Names(value, held)], [*vars(value).values(), *value.__bases__]
    if isinstance(value, (*CONTAINERS, tuple)):
        few = len(value) <= ENTRIES
        inside = list(value.values() if isinstance(value, dict) else value) if few else []
        return [] if isinstance(value, tuple) else [value], inside
    if isinstance(value, ReferenceType):
        return [], [value()]
    if isinstance(value, memoryview):
        return [], [value.obj]
    if isinstance(value, _lru_cache_wrapper):
        table = table_of(value)
        return [value if table is None else table], [value.__wrapped__, *results_of(value)]
    if ismodule(value) or isroutine(value):
        return [], []
    entries = dict(getattr(value, "__dict__", {}))
    if not given and any(_root(one) in _ELSEWHERE for one in (value, *entries.values())):
        return [], []
    slots = [n for c in type(value).__mro__ for n in _listed(vars(c).get("__slots__", ())) if n != "__dict__"]
    own = [value] if entries or isinstance(value, (*GENERATORS, *BUFFERS, ContextVar, np.ndarray)) else []
    if isinstance(value, nn.Module):
        hooks = [hook for kind in _HOOKS for hook in getattr(value, kind, {}).values()]
        entries = {name: one for name, one in entries.items() if name not in _OF_A_MODULE}
        return own, [type(value), *value.children(), *hooks, *entries.values()]
    if not (given or isinstance(value, SimpleNamespace) or _of_a_user(type(value).__module__)):
        return own, []
    in_slots = Names(value, slots)
    return [*own, *([in_slots] if slots else [])], [type(value), *entries.values(), *in_slots.read().values()]


def _root(value: Any) -> str:
    return str(type(value).__module__).partition(".")[0]


def _listed(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def _names_of(function: FunctionType) -> list[Names]:
    """The cells of a function; and of a user's own function the globals that its code uses, and what it uses of the user's modules."""
    cells = [Names(cell, ["cell_contents"]) for cell in function.__closure__ or ()]
    if not _of_a_user(function.__module__):
        return cells
    used = sorted(_names_in(function.__code__))
    named = Names(function.__globals__, used)
    modules = [m for m in named.read().values() if ismodule(m) and _of_a_user(m.__name__)]
    return [*cells, named, *(Names(vars(module), used) for module in modules)]


def _names_in(code: CodeType) -> set[str]:
    return set(code.co_names).union(*(_names_in(one) for one in code.co_consts if isinstance(one, CodeType)))


@cache
def _of_a_user(module: str | None) -> bool:
    """Whether what is defined in a module of this name is a user's own, and of no library."""
    root = (module or "").partition(".")[0]
    if root in sys.stdlib_module_names or root in ("torch", "numpy", "bntheory"):
        return False
    return "site-packages" not in (getattr(sys.modules.get(root), "__file__", None) or "")
