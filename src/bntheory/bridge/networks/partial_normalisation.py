"""Normalisations that leave a part of batch or layer normalisation out: a statistic, its gradient, or the activations.

What lives here: modules, each the control for one part of what normalisation does. *Detached* layers have the forward pass of theirs
and let no gradient through their statistics: descent moves as if these were constants, anew at every step, so a network with them is
trained by the gradients of its frozen-statistics twin. What does not: the full layers (``normalisation.py``), and twins, which are
made of a trained network and never trained (``twins.py``).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.normalisation import (
    LpBatchNorm,
    PrimitiveBatchNorm,
    PrimitiveGroupNorm,
    PrimitiveLayerNorm,
    WithinExamples,
    along_channels,
)
from bntheory.errors import UserError

Detached = Literal["both", "mean", "variance"]
_WORDS = {"both": "mean and variance", "mean": "mean", "variance": "variance"}


def detached_statistics(module: nn.Module) -> str:
    """Which of its live statistics a module lets no gradient through, in words; empty where there are none."""
    which = getattr(module, "detach", None)
    constant = not module.training and getattr(module, "running_mean", None) is not None
    if which not in _WORDS or constant or hasattr(module, "has_frozen_statistics"):
        return ""
    return _WORDS[which]


class DetachedBatchNorm(PrimitiveBatchNorm):
    """Batch normalisation, bit for bit :class:`PrimitiveBatchNorm`'s outputs, without the gradient through one or both statistics.

    Its gradient is that of the twin which has ``detach`` frozen (:func:`bntheory.bridge.frozen_twin`) at the present batch, at every
    step; it is not the derivative of its output. In evaluation mode it is batch normalisation with running statistics.
    """

    def __init__(self, *args: Any, detach: Detached = "both", **options: Any) -> None:
        super().__init__(*args, **options)
        if detach not in _WORDS:
            raise UserError(f"detach: {detach!r} is unknown; choose one of {', '.join(_WORDS)}")
        self.detach = detach

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, detach={self.detach!r}"

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """As of batch normalisation, (C,) each; the detached ones are constants."""
        mean, variance = super().statistics(x.detach() if self.detach == "both" else x)
        if self.detach == "mean":
            return mean.detach(), variance
        return (mean, variance.detach()) if self.detach == "variance" else (mean, variance)


class _WithConstants(WithinExamples):
    """The values of a normalisation, and the gradient of the affine map with the slope that it has there."""

    detach = "both"

    def standardised(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """(x - mean)/sigma with constants."""
        constant = x.detach()
        slope = (constant.var(dim=axes, correction=0, keepdim=True) + self.eps).rsqrt()
        # the difference is zero: the values are bit for bit those of the first term
        return super().standardised(constant, axes) + slope * (x - constant)


class DetachedLayerNorm(_WithConstants, PrimitiveLayerNorm):
    """Layer normalisation without the gradient through mean and variance (Xu et al. 2019, "DetachNorm")."""


class DetachedGroupNorm(_WithConstants, PrimitiveGroupNorm):
    """Group normalisation without the gradient through mean and variance; with one group, layer normalisation of convolutions."""


class VarianceOnlyBatchNorm(LpBatchNorm):
    """y/sigma, scaled and shifted: divided by the standard deviation about the batch's mean, which stays where it is.

    The counterpart of "mean-only". ``running_mean`` stays zero.
    """

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Zero and the variance of each channel, (C,) each."""
        mean, variance = super().statistics(x)
        return torch.zeros_like(mean), variance


class RootMeanSquareNorm(nn.Module):
    """RMS normalisation of convolutions: y/sqrt(mean(y^2) + eps) over an example's channels and positions, gamma a channel.

    (N, C, *) -> the same shape. Zhang and Sennrich 2019 for a feature axis alone, which is ``nn.RMSNorm``.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.num_channels, self.eps = num_channels, eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        y_hat = x / torch.sqrt(x.square().mean(dim=tuple(range(1, x.dim())), keepdim=True) + self.eps)
        return y_hat if self.weight is None else y_hat * along_channels(self.weight, x)


class WeightNorm(nn.Module):
    """Weight normalisation (Salimans and Kingma 2016, eq. 2) as what follows a weight layer: gamma_j y_j/||w_j|| + beta_j.

    gamma starts at 1, as batch normalisation's, so a unit starts with a weight vector of length one.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.ones(num_features)), nn.Parameter(torch.zeros(num_features)))

    def forward(self, y: Tensor, weight: Tensor) -> Tensor:
        """y: (N, C, *), the output of a layer with these weights, (C, ...), and without a bias."""
        norms = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        return along_channels(self.weight / norms, y) * y + along_channels(self.bias, y)
