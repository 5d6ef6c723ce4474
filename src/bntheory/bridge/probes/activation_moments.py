"""How the inputs of a layer are distributed, whose movement Ioffe and Szegedy 2015 show as covariate shift.

What lives here: moments and percentiles of activations on one batch. What does not: the shift of gradients by Santurkar's
Definition 2.1 (``covariate_shift.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, finfo, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.evaluation import call_model
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.raised import plainly_called
from bntheory.errors import UserError

PERCENTILES = (15.0, 50.0, 85.0)
NONLINEARITIES = (
    nn.ReLU, nn.Tanh, nn.Softplus, nn.Sigmoid, nn.GELU, nn.SiLU, nn.LeakyReLU, nn.ELU, nn.Hardtanh, nn.ReLU6,
)  # fmt: skip


@dataclass(frozen=True)
class ActivationMoments:
    """The distribution of each unit's values in one place of the network, in float64 on the CPU.

    ``mean``, ``std``, ``skewness``: (units,), over the m examples and positions (biased, skewness 0 for a constant
    unit). ``percentiles``: (3, units), the 15th, 50th and 85th.
    """

    place: str
    m: int
    mean: Tensor = field(repr=False)
    std: Tensor = field(repr=False)
    skewness: Tensor = field(repr=False)
    percentiles: Tensor = field(repr=False)


@checked
@torch.no_grad()
def activation_moments(
    model: nn.Module, inputs: Any, *, places: Sequence[str] | None = None
) -> dict[str, ActivationMoments]:
    """Moments and percentiles 15, 50, 85 of what enters chosen modules, on one batch.

    The model runs in the mode that it is in, and is left bit for bit as it was.

    Args:
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments.
        places: names of modules whose first input is measured, axis 1 being the units; by default every nonlinearity,
            as in Ioffe and Szegedy's figure 1. A module that is called again is measured at its first call.

    Raises:
        ValueError: no such module, none found, or one that the forward pass does not reach.
    """
    modules = dict(model.named_modules())
    wanted = [n for n, m in modules.items() if isinstance(m, NONLINEARITIES)] if places is None else list(places)
    unknown = [name for name in wanted if name not in modules]
    if unknown or not wanted:
        what = f"{unknown[:3]} are no modules of the model" if unknown else "the model has no nonlinearity modules"
        raise UserError(f"places: {what}; name modules as model.named_modules() does")
    found: dict[str, ActivationMoments] = {}

    def observe(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            if name not in found:
                found[name] = _moments(name, next(iter([*arguments, *named.values()]), None))

        return hook

    with state_guard(model, parameters=False):
        for name in wanted:
            modules[name].register_forward_pre_hook(observe(name), with_kwargs=True)
        with plainly_called(model):
            call_model(model, inputs)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UserError(f"places: {missing[:3]} were not reached by the forward pass")
    return {name: found[name] for name in wanted}


def _moments(place: str, x: Any) -> ActivationMoments:
    if not isinstance(x, Tensor) or x.dim() < 2 or not x.numel():
        got = f"has shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"is a {type(x).__name__}"
        raise UserError(f"{place}: its input {got}, but (examples, units, ...) is needed")
    values = x.detach().transpose(0, 1).reshape(x.shape[1], -1).double()
    mean = values.mean(1)
    centred = values - mean[:, None]
    std = centred.square().mean(1).sqrt()
    third = centred.pow(3).mean(1)
    varies = values.amax(1) > values.amin(1)  # the mean of equal values is rounded, and leaves a deviation
    skewness = torch.where(varies & (std > 0), third / std.clamp_min(finfo(torch.float64).tiny) ** 3, 0.0)
    m = values.shape[1]
    # linear interpolation between order statistics; torch.quantile refuses more than 2^24 values
    ordered = values.sort(1).values
    rows = []
    for percent in PERCENTILES:
        position = percent / 100 * (m - 1)
        low = int(position)
        high = min(low + 1, m - 1)
        rows.append(ordered[:, low] + (position - low) * (ordered[:, high] - ordered[:, low]))
    return ActivationMoments(place, m, mean.cpu(), std.cpu(), skewness.cpu(), torch.stack(rows).cpu())
