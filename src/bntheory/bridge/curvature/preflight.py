"""Checks before a number is believed: batch composition, memory, determinism, and that splitting is an average."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bntheory.bridge.curvature.isolation import isolated
from bntheory.bridge.curvature.memory import (
    MemoryEstimate,
    available_bytes,
    extrapolate,
    in_words,
    saved_bytes,
    worth_measuring,
)
from bntheory.bridge.curvature.objective import Objective, pieces
from bntheory.bridge.curvature.options import Options
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.errors import UserError


def batch_coupled(model: nn.Module | None, mode: str) -> list[str]:
    """Names of the modules whose output for one example depends on the other examples in this mode."""
    if model is None:
        return []
    coupled = []
    for name, module in model.named_modules():
        if not isinstance(module, (nn.modules.batchnorm._BatchNorm, LpBatchNorm)):
            continue
        training = module.training if mode == "current" else mode != "eval"
        # without tracked statistics even eval mode normalises by the batch
        if training or module.running_mean is None:
            coupled.append(name or type(module).__name__)
    return coupled


def check_batches(model: nn.Module | None, o: Options) -> None:
    """Refuse to split a batch whose statistics a normalisation layer uses, unless asked for by name."""
    if o.split is None or o.ghost_batches:
        return
    coupled = batch_coupled(model, o.mode)
    if coupled:
        shown = ", ".join(coupled[:5]) + (", ..." if len(coupled) > 5 else "")
        raise UserError(
            f"split={o.split} would change the function: {shown} normalise by the statistics of the batch, and "
            f"pieces of {o.split} have other statistics (ghost batches). Take a smaller batch, measure in "
            "mode='eval', use keep_graphs=False or fewer parameters to save memory, or ask for the other function "
            "by name: ghost_batches=True"
        )


def check_memory(
    build: Callable[[tuple[Any, ...]], Any],
    model: nn.Module | None,
    batches: list[tuple[Any, ...] | None],
    sizes: list[int],
    o: Options,
) -> MemoryEstimate:
    """Estimate what the graphs keep; raise ValueError when that is more than there is."""
    device = next((p.device for p in model.parameters()), torch.device("cpu")) if model is not None else None
    limit = o.memory_limit
    if limit is not None and not limit > 0:
        raise UserError(f"memory_limit is {limit}; it is a positive number of bytes, math.inf for no check")
    if limit == math.inf:
        return MemoryEstimate(None, None, "not asked for")
    available = int(limit) if limit is not None else (None if device is None else available_bytes(device))
    largest = max(range(len(sizes)), key=lambda i: sizes[i])
    whole = batches[largest]
    if whole is None or model is None:
        return MemoryEstimate(None, available, "a closure cannot be run on a part of its data")
    if not worth_measuring(sizes[largest]):
        return MemoryEstimate(None, available, "the batch is too small to measure on a part of it")
    parameters = list(model.parameters())

    def measure(examples: int) -> int:
        return saved_bytes(lambda: build(pieces(whole, examples)[0]), exclude=parameters)

    try:
        one = extrapolate(measure, sizes[largest])
    except (ValueError, RuntimeError) as error:
        # the whole batch may still be fine (a loss with a weight for each example, a BN that needs more of them)
        return MemoryEstimate(None, available, f"a part of the batch does not run: {str(error)[:200]}")
    needed = int(one * sum(sizes) / sizes[largest]) if o.keep_graphs else one
    if available is not None and needed > available:
        advice = "fewer examples in the batch, fewer `parameters` (a layer instead of all)"
        if len(batches) > 1 and o.keep_graphs:
            advice += ", keep_graphs=False"
        if o.dtype == torch.float64:
            advice += ", float32"
        raise UserError(
            f"the graphs of {len(batches)} batch(es) with {max(sizes)} examples at most would keep about "
            f"{in_words(needed)}, and {in_words(available)} are "
            + ("allowed by memory_limit" if limit is not None else f"free on {device}")
            + f". Reduce: {advice}"
        )
    return MemoryEstimate(needed, available)


def check_determinism(
    objective: Objective, batch: tuple[Any, ...] | None, loss: float, kind: str, o: Options
) -> None:
    """Evaluate the loss again with other random seeds: a loss that draws random numbers has no Hessian."""
    with (
        isolated(objective.model, o.mode, normalisation=o.normalisation, dropout=o.dropout, reseed=0x5EED),
        torch.no_grad(),
    ):
        if kind == "empirical_fisher" and batch is not None:
            value = objective.loss(objective.outputs(batch), *batch[1:])
            again = float(value.mean())
        else:
            value = objective.value(batch)
            again = float(value)
    # other kernels may serve a pass without gradients; dropout changes a loss by far more than their rounding
    tolerance = 1000 * float(torch.finfo(value.dtype).eps) * max(abs(loss), abs(again))
    if not abs(again - loss) <= tolerance:
        raise UserError(
            f"the loss is not deterministic: two evaluations on the same batch gave {loss!r} and {again!r}. "
            "Something in the model or the loss draws random numbers or keeps a state (functional dropout, noise, "
            "augmentation, a counter, a closure that draws a new batch). Switch it off, or fix its seed inside the "
            "forward pass"
        )


def check_split(objective: Objective, whole: tuple[Any, ...], loss: float, o: Options) -> None:
    """The pieces' average has to be the loss of the whole batch, otherwise the loss is no mean over examples."""
    with isolated(objective.model, o.mode, normalisation=o.normalisation, dropout=o.dropout), torch.no_grad():
        value = objective.value(whole)
    expected = float(value)
    tolerance = 1000 * float(torch.finfo(value.dtype).eps) * max(abs(loss), abs(expected))
    if not abs(expected - loss) <= tolerance:
        raise UserError(
            f"split={o.split}: the pieces average to a loss of {loss!r}, the whole batch has {expected!r}. The loss "
            "is no mean over examples (reduction='sum'?) or the model mixes examples; do not split, or use a mean"
        )
