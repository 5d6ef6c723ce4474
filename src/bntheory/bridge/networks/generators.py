"""The random number generators that a model or a loss may draw from, torch's, numpy's and Python's: their states, and seeding them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.networks.places import attributes_of

GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
_UNSET = object()


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and bool(torch.cuda.is_initialized())


def save_global_rng() -> Callable[[], None]:
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else None
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002 - a user's code may draw from the global one
    python = random.getstate()

    def restore() -> None:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        np.random.set_state(legacy)  # noqa: NPY002
        random.setstate(python)

    return restore


def seed_generators(seed: int, *holders: Any) -> None:
    """Seed torch's generators, numpy's global one and Python's; and those that ``holders`` hold as their own.

    torch.manual_seed would leave a note for CUDA devices that are not in use yet, which nothing can take back.
    """
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - a user's model may draw from the global generator
    random.seed(seed)
    for own in _generators_in(holders):
        bits = _bits_of(own)
        if bits is not None:
            set_generator_state(own, {**type(bits)(seed % 2**64).state, "has_gauss": 0, "gauss": 0.0})
        else:
            (own.manual_seed if isinstance(own, torch.Generator) else own.seed)(seed)


def _generators_in(holders: Sequence[Any]) -> list[Any]:
    parts = [m for h in holders for m in (h.modules() if isinstance(h, nn.Module) else (h,))]
    values = [value for part in parts for value in (part, *attributes_of(part).values())]
    return [value for value in values if isinstance(value, GENERATORS)]


def _bits_of(generator: Any) -> Any:
    """The source of a numpy generator's bits; None for a generator of another library."""
    if isinstance(generator, np.random.BitGenerator):
        return generator
    return getattr(
        generator, "_bit_generator" if isinstance(generator, np.random.RandomState) else "bit_generator", None
    )


def generator_state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, ContextVar):
        with suppress(LookupError):
            return generator.get()
        return _UNSET
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.getstate() if isinstance(generator, random.Random) else _bits_of(generator).state


def set_generator_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, ContextVar):
        if state is not _UNSET:  # what was not set cannot be so again
            generator.set(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)  # with half of a pair of normal numbers, which its bits lack
    else:
        _bits_of(generator).state = state


def generator_states(*holders: Any) -> tuple[Any, ...]:
    """The states of the generators that :func:`seed_generators` seeds, to be compared."""
    devices = torch.cuda.get_rng_state_all() if _cuda_in_use() else []
    legacy = np.random.get_state(legacy=False)  # noqa: NPY002
    of_numpy = (legacy["state"]["key"].tobytes(), legacy["state"]["pos"], legacy["has_gauss"], legacy["gauss"])
    own = [generator_state(generator) for generator in _generators_in(holders)]
    with np.printoptions(threshold=10_000):  # entries of a state are told to the last
        own = [one.numpy().tobytes() if isinstance(one, Tensor) else repr(one) for one in own]
    torchs = (s.cpu().numpy().tobytes() for s in (torch.get_rng_state(), *devices))
    return (*torchs, *of_numpy, random.getstate(), *own)
