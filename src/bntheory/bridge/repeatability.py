"""Whether a loss is one function: the same value, gradient and Hessian whenever it is evaluated on a batch, and a twin the network's.

What lives here: evaluating it once more, and what is allowed for rounding. What else is checked: :mod:`bntheory.bridge.examination`.
"""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from torch import Tensor, finfo

from bntheory.bridge.draws import normal_like
from bntheory.bridge.examined import Examined
from bntheory.bridge.graph import Reduced, fused_norms, leaves_of
from bntheory.bridge.networks.evaluation import flat, gradients_of
from bntheory.bridge.networks.generators import generator_states
from bntheory.bridge.ranges import in_range
from bntheory.errors import UserError


def check_repeatable(objective: Examined, index: int, loss: float, dtype: torch.dtype) -> None:
    """Evaluate the loss once more, without a graph and with other random numbers (a twin with its constants), and refuse another value."""
    reseed = 0x5EED if objective.seed is None and objective.dropout != "drawn" else None
    drawn = False

    def evaluated() -> float:
        nonlocal drawn
        with objective.conditions(index, reseed=reseed), objective.without_graph():
            holders = (objective.network, *objective.keepers)
            before = generator_states(*holders)
            value = objective.value(index)
            drawn = generator_states(*holders) != before
            if objective.differentiates and fused_norms(value):
                raise UserError(
                    "the model or the loss takes derivatives itself, and a normalisation is called past torch's functional interface "
                    "(torch.native_layer_norm, torch.ops, a compiled graph), whose third derivatives torch has not right: call "
                    "torch.nn.functional, which is written out"
                )
            return float(value.detach())

    try:
        again = evaluated()
    except UserError:
        objective.needs_graph = True  # a forward pass that hangs hooks on tensors cannot run without
        again = evaluated()
    eps = float(finfo(dtype).eps)
    # other kernels may serve a pass without gradients; dropout changes a loss by far more than their rounding. Each frozen layer rounds
    # anew, and what follows amplifies it: half of the digits tell one function from another; where the loss takes derivatives, a twin is
    # another function by as little as those are small
    half = objective.mode == "frozen" and not objective.differentiates
    share, apart = (math.sqrt(eps) if half else 1000 * eps), abs(again - loss)
    if apart <= share * max(abs(loss), abs(again)) or apart <= 1000 * eps * _size_of_terms(objective, index, reseed):
        if drawn and reseed is not None:
            _refuse_random_derivatives(objective, index, reseed)
        return
    if objective.mode == "frozen" and not (drawn and reseed is not None):
        raise UserError(
            f"the frozen twin has a loss of {again!r} where the network has {loss!r}: it is not the same function at this point. A layer "
            "computes its statistics where they cannot be replaced, or the loss takes derivatives of the outputs, which the twin changes"
        )
    fixed = "" if objective.seed is None else " although every evaluation draws from the same seed"
    raise UserError(
        f"the loss is not deterministic{fixed}: two evaluations on the same batch gave {loss!r} and {again!r}. Something in the "
        "model or the loss draws random numbers or keeps a state that cannot be put back (functional dropout, stochastic depth, noise, "
        "augmentation, an iterator, a closure that draws a new batch, os.environ); such a state outside of the model may have moved on by "
        "these evaluations. Hold random numbers fixed with seed=..., keep counters in attributes, or switch it off"
    )


def _size_of_terms(objective: Examined, index: int, reseed: int | None) -> float:
    """The size of the terms that a loss is the sum of. They may cancel, as in a mean of normalised values, and its rounding is relative to them."""
    reduced, size = Reduced(), 0.0
    with suppress(RuntimeError), objective.conditions(index, reseed=reseed, trace=reduced):
        value, terms = objective.value(index), list(reduced.terms.values())
        for t, g in zip(terms, torch.autograd.grad(value, terms, allow_unused=True), strict=True):
            size = size if g is None else max(size, float((t.detach() * g).abs().sum()))
    return size


def _refuse_random_derivatives(objective: Examined, index: int, seed: int) -> None:
    """Refuse random numbers that the derivatives depend on and the loss does not.

    So it is behind a factor that is zero (a residual branch at its start); behind the square of one (a gate on both sides) only the
    second derivatives depend on them.
    """
    wanted = [t for t in objective.leaves.values() if t.requires_grad]
    found: dict[str, list[Tensor]] = {"gradient": [], "Hessian": []}
    for reseed in (seed, seed + 1):
        with objective.conditions(index, reseed=reseed):
            value, draw = objective.value(index), torch.Generator().manual_seed(0)
            wanted = wanted or list(leaves_of(value).values())
            slopes = torch.autograd.grad(value, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
            along = [(g, normal_like(g, draw)) for g in slopes if g.requires_grad and g.layout == torch.strided]
            found["gradient"].append(flat([g.to_dense() for g in slopes]))
            with suppress(RuntimeError):  # what has no second derivative is told where one is asked for
                slope = torch.stack([value.new_zeros(()), *((g * v).sum() for g, v in along)]).sum()
                found["Hessian"].append(flat(gradients_of(slope, wanted)[1]) if along else value.new_zeros(1))
    for what, (one, other) in ((what, pair) for what, pair in found.items() if len(pair) == 2):
        pair, _ = in_range(torch.stack([one, other]))
        apart = float((pair[0] - pair[1]).norm() / pair.norm().clamp(min=1e-300))
        if apart > (100 * finfo(value.dtype).eps if what == "gradient" else finfo(value.dtype).eps ** 0.5):
            raise UserError(
                f"the {what} of the loss is not deterministic: two evaluations on the same batch gave some that differ by "
                f"{apart:.2g} of their length. The model or the loss draws random numbers (functional dropout, stochastic depth, noise). Hold "
                "them fixed with seed=..., or switch it off"
            )
