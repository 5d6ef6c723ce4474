"""Checks of an operator before a number is believed: batch composition, memory, and that splitting is an average."""

from __future__ import annotations

import math

import torch
from torch import finfo

from bntheory.bridge.curvature.memory import MemoryEstimate, available_bytes, graph_bytes, in_words
from bntheory.bridge.curvature.options import Options
from bntheory.bridge.custom_functions import check_custom_functions
from bntheory.bridge.left_out import NO_GRADIENT
from bntheory.bridge.normalisers import shown_name
from bntheory.bridge.objective import Objective
from bntheory.errors import UserError


def check_batches(objective: Objective, o: Options) -> None:
    """Refuse to split a batch whose statistics a normalisation layer uses, unless asked for by name."""
    if objective.split is None or o.ghost_batches:
        return
    coupled = list(objective.examination.over_the_batch)
    if coupled:
        shown = ", ".join(map(shown_name, coupled[:5])) + (", ..." if len(coupled) > 5 else "")
        raise UserError(
            f"split={objective.split} would change the function: {shown} normalise by the statistics of the batch, and "
            f"pieces of {objective.split} have other statistics (ghost batches). Take a smaller batch, measure in "
            "mode='eval', use keep_graphs=False or fewer parameters to save memory, or ask for the other function "
            "by name: ghost_batches=True"
        )


def check_derivatives(objective: Objective) -> None:
    """Refuse a network whose gradients are, by intention or by mistake, not the derivatives of its loss: it has no Hessian from them."""
    check_custom_functions(objective)
    for item in objective.normalisations if objective.mode != "frozen" else ():
        if item.reason.startswith(NO_GRADIENT):
            raise UserError(
                f"layer {item.name!r} {item.reason}. So derivatives by autograd are not those of the loss, and no curvature matrix of it. "
                "Measure the same parameters in a network with the full normalisation (the loss's own curvature), or the frozen twin "
                "(mode='frozen': that of the function that descent follows)"
            )


def check_memory(objective: Objective, o: Options) -> MemoryEstimate:
    """Estimate what the graphs keep, from the objective's first evaluation; raise ValueError when that is more than there is."""
    limit = o.memory_limit
    if limit is not None and not limit > 0:
        raise UserError(f"memory_limit is {limit}; it is a positive number of bytes, math.inf for no check")
    if limit == math.inf:
        return MemoryEstimate(None, None, "not asked for")
    device = next((t.device for t in objective.leaves.values()), torch.device("cpu"))
    available = int(limit) if limit is not None else available_bytes(device)
    objective.check()
    graphs = [graph_bytes(found.forward_bytes) for found in objective.examinations]
    needed = sum(graphs) if o.keep_graphs else max(graphs)
    if available is not None and needed > available:
        advice = "fewer examples in the batch, fewer `parameters` (a layer instead of all)"
        if len(objective.batches) > 1 and o.keep_graphs:
            advice += ", keep_graphs=False"
        if objective.precision == torch.float64:
            advice += ", float32"
        raise UserError(
            f"the graphs of {len(objective.batches)} batch(es) would keep about {in_words(needed)}, and {in_words(available)} are "
            + ("allowed by memory_limit" if limit is not None else f"free on {device}")
            + f". Reduce: {advice}"
        )
    return MemoryEstimate(needed, available)


def check_split(objective: Objective, loss: float) -> None:
    """The pieces' average has to be the loss of the whole batch, otherwise the loss is no mean over examples."""
    expected = objective.changed(split=None, examples=None).loss_value()
    eps = finfo(objective.precision or torch.float32).eps
    tolerance = 1000 * float(eps) * max(abs(loss), abs(expected))
    if not abs(expected - loss) <= tolerance:
        raise UserError(
            f"split={objective.split}: the pieces average to a loss of {loss!r}, the whole batch has {expected!r}. The loss "
            "is no mean over examples (reduction='sum'?) or the model mixes examples; do not split, or use a mean"
        )
