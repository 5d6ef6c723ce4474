"""Where to compute: which device there is, and how many processes are worth starting for it."""

from __future__ import annotations

import os
import sys

from bntheory.errors import UserError

#: Whether a process can be copied as it stands; on macOS the copy may use next to none of the system's libraries.
FORKS = hasattr(os, "fork") and sys.platform != "darwin"


def check_device(name: str) -> str:
    """The device, if torch has it. Raises UserError otherwise."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device: {name!r} is no device; use cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: {name!r}: float64 is needed, which only cpu and cuda have here")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device: {name!r} was asked for, but torch sees no CUDA device; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device: {name!r} does not exist; there are {torch.cuda.device_count()} CUDA devices")
    return name


def default_workers(device: str) -> int:
    """As many processes as cores that this process may use, eight at the most; one for a CUDA device."""
    if device.startswith("cuda"):
        return 1
    count = getattr(os, "process_cpu_count", None) or _usable_cores  # the former from Python 3.13 on
    return max(1, min(count() or 1, 8))


def _usable_cores() -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(affinity(0)) if affinity is not None else os.cpu_count()


def started_by_torchrun() -> bool:
    """Whether this process is one of several that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
