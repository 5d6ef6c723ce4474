"""Whether a loss normalises its outputs over the batch, told by its values at outputs that were shifted and scaled.

What lives here: such outputs, and which changes leave a loss as it is. What does not: the same of a network, told by its derivatives
(:mod:`bntheory.bridge.live_statistics`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, finfo

from bntheory.bridge.draws import normal_like
from bntheory.bridge.networks.evaluation import convert, plain_storage

#: How far a loss may move by what changes nothing, relative to what a change of each example by itself makes of it.
_ZERO = 1e-3
_SEEDS = (0, 1, 2)


class Change(NamedTuple):
    """Along which axis each entry has a scale and a shift of its own; None: one of all entries.

    seed: where the numbers come from.
    """

    scale: int | None
    shift: int | None
    seed: int = 0


#: A change of each example by itself.
ALONE = Change(0, 0)
#: Changes of the batch as a whole, which leave alone what is normalised over it by a mean and a scale of each channel, or by each channel's
#: mean and one scale. (One scale without a shift leaves everything that is homogeneous and happens to be zero.)
TOGETHER = (Change(1, 1), Change(-1, -1), Change(None, 1), Change(None, -1))


def rescaled(outputs: Any, change: Change) -> Any:
    """The outputs, shifted and scaled at random.

    All stay between the least and the largest that there was: a loss may be defined for probabilities alone.
    """
    draw = torch.Generator().manual_seed(change.seed)

    def drawn(t: Tensor, axis: int | None) -> Tensor:
        own = axis % max(t.dim(), 2) if axis is not None else None
        return normal_like(t.detach().new_empty([n if a == own else 1 for a, n in enumerate(t.shape)]), draw).sigmoid()

    def changed(t: Tensor) -> Tensor:
        if not (t.is_floating_point() and t.dim() and t.numel() > 1 and plain_storage(t)):
            return t
        scale, room = drawn(t, change.scale), drawn(t, change.shift)
        scale, low, high = 0.3 + 0.6 * scale, t.detach().min(), t.detach().max()
        return low + scale * (t - low) + (1 - scale) * room * (high - low)

    return convert(outputs, changed)


def unchanged(objective: Any, value: Tensor, ends: list[Tensor], at: Callable[[Change], Tensor]) -> bool:
    """Whether changes of the batch as a whole leave a loss as it is, and one of each example by itself does not.

    ends: the outputs. at: the loss where they are rescaled.
    """
    slopes = torch.autograd.grad(value, ends, retain_graph=True, allow_unused=True) if ends else ()
    if not any(g is not None and bool(g.any()) for g in slopes):
        return False
    small = 1000 * max(finfo(t.dtype).eps for t in (value, *ends)) * abs(float(value.detach()))

    @cache
    def moved(change: Change, seed: int) -> float:
        return abs(float(at(change._replace(seed=seed)).detach()) - float(value.detach()))

    def still(change: Change, seed: int) -> bool:
        examples = moved(ALONE, seed)
        return examples > small and moved(change, seed) <= max(_ZERO * examples, small)

    with objective.without_graph():
        # by other numbers too, so that chance is left out
        return any(all(still(change, seed) for seed in _SEEDS) for change in TOGETHER)
