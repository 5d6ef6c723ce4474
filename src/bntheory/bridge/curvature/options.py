"""How a curvature operator evaluates the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from bntheory.bridge.curvature.isolation import Mode
from bntheory.bridge.curvature.reference import Normalisation

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """How to evaluate the loss, and with how much memory; see :func:`hessian`."""

    mode: Mode = "train"
    dtype: torch.dtype | None = None
    normalisation: Normalisation = "native"
    dropout: Literal["refuse", "off"] = "refuse"
    split: int | None = None
    ghost_batches: bool = False
    keep_graphs: bool = True
    memory_limit: float | None = None
