"""The cheap scale-free measures of a network at its present point: a few losses and gradients, no Hessian."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from bntheory.bridge.networks.evaluation import Loss
from bntheory.bridge.probes.network_landscape import NetworkLandscape
from bntheory.smoothness.scale_free import gradient_cosine, linearity_error, trust_fraction

__all__ = ["FRACTION", "scale_free_point"]

#: The step of the linearity error and of the cosine would, by the linear model, remove this fraction of the loss.
FRACTION = 0.1


def scale_free_point(model: nn.Module, loss: Loss, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Linearity error, trust fraction and gradient cosine of the loss on ``batch``, in float64 on a copy of ``model``.

    f* = 0, the least value of cross-entropy. The trust fraction is known to 3 % (below 1/64 to 2^-11; None where it is less).
    A point at which nothing can be measured (zero gradient) says why, under "refused", and has None for its numbers.
    """
    landscape = NetworkLandscape(model, loss, batch)
    x = landscape.point
    try:
        error = linearity_error(landscape, x, fraction=FRACTION)
        trust = trust_fraction(landscape, x, smallest=2.0**-6, bisections=5)
        cosine = gradient_cosine(landscape, x, fraction=FRACTION)
    except ValueError as why:
        nothing = {"linearity_error": None, "trust_fraction": None, "gradient_cosine": None}
        return {"fraction": FRACTION, **nothing, "refused": str(why)}
    return {
        "fraction": FRACTION,
        "linearity_error": _number(error.value),
        "trust_fraction": trust.value if trust.value > 0 else None,
        "trust_note": trust.note,
        "gradient_cosine": _number(cosine.value),
        "refused": None,
    }


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None
