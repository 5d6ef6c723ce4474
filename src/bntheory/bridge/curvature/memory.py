"""What a graph will need, before it is built: measured on two small pieces of the batch and extrapolated.

The bytes that autograd keeps are affine in the number of examples, so two small batches determine them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from bntheory.errors import UserError

_SMALL = (2, 4)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that the graphs of an operator keep; ``None`` with the ``reason`` where that could not be measured."""

    graph_bytes: int | None
    available_bytes: int | None
    reason: str = ""


def saved_bytes(build: Callable[[], Any], exclude: Sequence[Tensor] = ()) -> int:
    """Bytes of all storages that autograd saves while ``build`` runs, those of ``exclude`` not counted."""
    known = {tensor.untyped_storage().data_ptr() for tensor in exclude}
    total = 0
    alive: list[Tensor] = []  # keeps addresses from being used again, which would hide a tensor

    def pack(tensor: Tensor) -> Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            alive.append(tensor.detach())
            total += storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        build()
    return total


def extrapolate(measure: Callable[[int], int], examples: int) -> int:
    """Bytes for ``examples`` examples, from ``measure`` at two small numbers of them."""
    low, high = (measure(n) for n in _SMALL)
    slope = (high - low) / (_SMALL[1] - _SMALL[0])
    return int(max(low, low + slope * (examples - _SMALL[0])))


def worth_measuring(examples: int) -> bool:
    """Whether the batch is larger than the pieces that a measurement would take."""
    return examples > 2 * _SMALL[1]


def require_room(vectors: int, size: int, dtype: torch.dtype, device: torch.device, remedy: str) -> None:
    """Raise ValueError when ``vectors`` vectors of ``size`` entries do not fit into the free memory."""
    needed = vectors * size * dtype.itemsize
    free = available_bytes(device)
    if free is not None and needed > free:
        raise UserError(
            f"{vectors} vectors of {size} entries in {dtype} take {in_words(needed)}, and {in_words(free)} are free on "
            f"{device}; {remedy}, or choose fewer `parameters` (a layer instead of all)"
        )


def available_bytes(device: torch.device) -> int | None:
    """Free memory on the device, or None where the system does not tell."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # blocks that torch's allocator holds without using them are free for us as well
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    if device.type != "cpu" or not sys.platform.startswith("linux"):
        return None
    found = [_meminfo(), _cgroup()]
    known = [value for value in found if value is not None]
    return min(known) if known else None


def _meminfo() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)


def in_words(count: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} TiB"
