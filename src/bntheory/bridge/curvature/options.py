"""What a curvature operator keeps, and with how much memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Graphs and memory; how the loss is evaluated is the objective's. See :func:`hessian`."""

    ghost_batches: bool = False
    keep_graphs: bool = True
    memory_limit: float | None = None
    closed_forms: bool = True
