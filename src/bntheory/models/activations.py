"""Activations with what an exact average over them needs: the derivative, and where it breaks.

``kinks`` are the points where the derivative jumps, ``jumps`` those where the function itself does. Quadrature
splits its intervals there; theorems that integrate by parts need ``jumps`` to be empty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.smoothness.unit.losses import sigmoid, sigmoid_slope


@dataclass(frozen=True)
class Activation:
    """A function of one real variable and its derivative (almost everywhere), both elementwise on arrays."""

    name: str
    value: Callable[[Floats], Floats]
    derivative: Callable[[Floats], Floats]
    kinks: tuple[float, ...] = ()
    jumps: tuple[float, ...] = ()

    @property
    def breaks(self) -> tuple[float, ...]:
        """All points where the function or its derivative is not smooth, in increasing order."""
        return tuple(sorted({*self.kinks, *self.jumps}))


@checked()
def leaky_relu(negative_slope: float) -> Activation:
    """``max(t, 0) + a min(t, 0)`` with slope ``a`` on the left (finite, else ValueError)."""
    a = float(negative_slope)
    return Activation(
        f"leaky_relu({a:g})",
        lambda t: np.where(t > 0, t, a * t),
        lambda t: np.where(t > 0, 1.0, a),
        kinks=() if a == 1.0 else (0.0,),
    )


def _erf(t: Floats) -> Floats:
    from scipy.special import erf

    return np.asarray(erf(t))


def _gaussian_cdf(t: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(t))


def _gaussian_density(t: Floats) -> Floats:
    return np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)


_LIST = (
    Activation("linear", lambda t: 1.0 * t, np.ones_like),
    Activation("relu", lambda t: np.maximum(t, 0.0), lambda t: np.where(t > 0, 1.0, 0.0), kinks=(0.0,)),
    Activation("abs", np.abs, np.sign, kinks=(0.0,)),
    Activation("tanh", np.tanh, lambda t: 1.0 / np.cosh(t) ** 2),
    Activation("erf", _erf, lambda t: 2.0 / math.sqrt(math.pi) * np.exp(-(t**2))),
    Activation("sigmoid", sigmoid, sigmoid_slope),
    Activation("softplus", lambda t: np.logaddexp(0.0, t), sigmoid),
    Activation("silu", lambda t: t * sigmoid(t), lambda t: sigmoid(t) + t * sigmoid_slope(t)),
    Activation("gelu", lambda t: t * _gaussian_cdf(t), lambda t: _gaussian_cdf(t) + t * _gaussian_density(t)),
    # alpha = 1: the second derivative jumps at 0, so the interval is split there too
    Activation(
        "elu",
        lambda t: np.where(t > 0, t, np.expm1(np.minimum(t, 0.0))),
        lambda t: np.where(t > 0, 1.0, np.exp(np.minimum(t, 0.0))),
        kinks=(0.0,),
    ),
    Activation(
        "hardtanh", lambda t: np.clip(t, -1.0, 1.0), lambda t: np.where(np.abs(t) < 1.0, 1.0, 0.0), kinks=(-1.0, 1.0)
    ),
    Activation("sin", np.sin, np.cos),
    Activation("square", np.square, lambda t: 2.0 * t),
    Activation("cube", lambda t: t**3, lambda t: 3.0 * t**2),
    Activation("sign", np.sign, np.zeros_like, jumps=(0.0,)),
)
ACTIVATIONS: dict[str, Activation] = {item.name: item for item in _LIST}


def activation(name: str) -> Activation:
    """The activation of that name, ``leaky_relu(0.1)`` included; ValueError lists the known ones."""
    if name in ACTIVATIONS:
        return ACTIVATIONS[name]
    if name.startswith("leaky_relu(") and name.endswith(")"):
        try:
            return leaky_relu(float(name[len("leaky_relu(") : -1]))
        except ValueError as error:
            raise UserError(f"name={name!r}: the slope in brackets must be a finite number") from error
    raise UserError(f"name={name!r}: unknown activation; known: {', '.join(ACTIVATIONS)}, leaky_relu(SLOPE)")
