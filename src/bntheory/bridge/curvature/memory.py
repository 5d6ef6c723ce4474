"""What a graph will need, before it is built: from one real forward pass of the whole batch.

A slice of the batch would tell less and cost more: a network that normalises by its batch, or whose inputs refer to one another, is
another function on a slice, or none.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from bntheory.errors import UserError

_BACKWARD = 2.0


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that the graphs of an operator keep; ``None`` with the ``reason`` where that could not be measured."""

    graph_bytes: int | None
    available_bytes: int | None
    reason: str = ""


def graph_bytes(forward_bytes: int) -> int:
    """Bytes that the graph of a gradient keeps, from what its loss's forward pass keeps.

    A backward pass that keeps its graph saves the gradient behind each tensor that the forward pass saved: as much again. It was
    1.7 to 2.0 in all for convolutional nets and transformers, 1.1 to 1.7 for perceptrons, 2.7 for an LSTM.
    """
    return int(_BACKWARD * forward_bytes)


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
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


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
