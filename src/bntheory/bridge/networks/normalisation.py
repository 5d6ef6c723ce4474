"""Normalisation layers written with primitive operations, and the family of batch norms by other scales.

What lives here: modules. :class:`LpBatchNorm` divides by the average l_p norm (Santurkar et al. 2018, appendix);
p = 2 is batch normalisation itself (:class:`PrimitiveBatchNorm`), exact for eps = 0 and differentiable to any
order, which torch's fused kernels are not. What does not: replacing layers inside a model (``primitive.py``).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.share import Share
from bntheory.errors import UserError


class LpBatchNorm(nn.Module):
    """Batch normalisation by the average l_p norm: ``y_hat = (y - mu)/s`` with ``sum |y_hat|^p = m`` at eps = 0.

    ``s = (mean |y - mu|^p + eps)^(1/p)`` over the m values of a channel; for p = inf, ``s = max |y - mu| + eps``; for
    p = 0 ("mean-only") ``s = 1``. Input (N, C) or (N, C, *), output the same shape; m = N times the positions.

    Running statistics follow ``nn.BatchNorm``: ``running_mean``, and ``running_var`` for the p-th absolute central
    moment (the unbiased variance for p = 2). ``scale_of="raw"`` takes the norm of y instead of y - mu, another
    reading of the appendix ("before shifting the mean").

    Raises:
        ValueError: in the forward pass, for integers, a wrong number of channels, one value a channel in training
            mode, or (eps = 0 only) a channel whose scale is zero.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    #: Where the input is a part of a batch that several processes hold; statistics are of all of it then.
    share: Share | None = None

    @checked
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        p: float = 2.0,
        scale_of: Literal["centred", "raw"] = "centred",
    ) -> None:
        super().__init__()
        if num_features < 1:
            raise UserError(f"num_features: {num_features} channels; at least 1 is needed")
        if not eps >= 0 or not math.isfinite(eps):
            raise UserError(f"eps: {eps} is not a finite number >= 0")
        if not (p == 0 or p >= 1):
            raise UserError(f"p: {p} gives no norm; use p >= 1, inf, or 0 for mean-only normalisation")
        self.num_features, self.eps, self.momentum, self.p = num_features, eps, momentum, float(p)
        self.affine, self.track_running_stats, self.scale_of = affine, track_running_stats, scale_of
        ones = torch.ones(num_features, device=device, dtype=dtype)
        _register_affine(self, ones, affine, affine)
        self.register_buffer("running_mean", torch.zeros_like(ones) if track_running_stats else None)
        self.register_buffer("running_var", ones.clone() if track_running_stats else None)
        counter = torch.tensor(0, dtype=torch.long, device=device) if track_running_stats else None
        self.register_buffer("num_batches_tracked", counter)

    def extra_repr(self) -> str:
        return f"{self.num_features}, p={self.p:g}, eps={self.eps:g}, affine={self.affine}"

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and p-th absolute central moment (max for p = inf, 1 for p = 0) of each channel, shape (C,)."""
        axes = [axis for axis in range(x.dim()) if axis != 1]
        mean = self._mean(x, axes)
        deviation = (x - along_channels(mean, x)) if self.scale_of == "centred" else x
        if self.p == 0:
            return mean, torch.ones_like(mean)
        if self.p == 2:
            return mean, self._mean(deviation.square(), axes)
        if math.isinf(self.p):
            size = deviation.abs()
            return mean, size.amax(dim=axes) if self.share is None else self.share.largest(size, axes)
        size = deviation.abs() if self.p == 1 else deviation.abs().pow(self.p)
        return mean, self._mean(size, axes)

    def _mean(self, values: Tensor, axes: list[int]) -> Tensor:
        return values.mean(dim=axes) if self.share is None else self.share.mean(values, axes)

    def _count(self, x: Tensor) -> int:
        """The values of a channel."""
        m = x.numel() // x.shape[1]
        return m if self.share is None else self.share.count(m)

    def scale(self, moment: Tensor) -> Tensor:
        """s, from the p-th moment."""
        if self.p == 0:
            return moment
        if self.p == 2:
            return torch.sqrt(moment + self.eps)
        shifted = moment + self.eps
        return shifted if self.p == 1 or math.isinf(self.p) else shifted.pow(1 / self.p)

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        if self.training or self.running_mean is None or self.running_var is None:
            mean, moment = self.statistics(x)
            if self.eps == 0 and self.p != 0:
                _refuse_zero_scale(moment)
            if self.training and self.track_running_stats:
                self._track(mean.detach(), moment.detach(), self._count(x))
        else:
            mean, moment = self.running_mean, self.running_var
        return _affine(self, (x - along_channels(mean, x)) / along_channels(self.scale(moment), x))

    @torch.no_grad()
    def _track(self, mean: Tensor, moment: Tensor, m: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        factor = self.momentum
        if factor is None:
            factor = 1.0 / float(self.num_batches_tracked)
        unbiased = moment * (m / (m - 1)) if self.p == 2 else moment
        self.running_mean.mul_(1 - factor).add_(mean, alpha=factor)
        self.running_var.mul_(1 - factor).add_(unbiased, alpha=factor)

    def _check(self, x: Tensor) -> None:
        if not x.is_floating_point():
            raise UserError(f"input: has dtype {x.dtype}, but normalisation divides; convert it to floats")
        if x.dim() < 2 or x.shape[1] != self.num_features:
            raise UserError(
                f"input: has shape {tuple(x.shape)}, but (N, {self.num_features}, ...) is expected: axis 1 holds the "
                "channels"
            )
        if self.training and self._count(x) < 2:
            raise UserError(
                f"input: shape {tuple(x.shape)} has fewer than 2 values a channel, so their deviation from their own "
                "mean is zero and there is no scale to divide by; use a larger batch, or eval mode"
            )


class PrimitiveBatchNorm(LpBatchNorm):
    """``nn.BatchNorm1d/2d/3d`` in primitive operations: same parameters, buffers, names and values.

    Exact for eps = 0, differentiable to any order, and free of the fused kernels whose derivatives some routes of
    torch get wrong. Source of the formula: Ioffe and Szegedy 2015, algorithm 1.
    """

    is_batch_norm = True  # how capture knows it


class WithinExamples(nn.Module):
    """What normalises every example by itself."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    eps: float

    def standardised(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """(x - mean)/sigma over these axes."""
        if not x.is_floating_point():
            raise UserError(f"input: has dtype {x.dtype}, but normalisation divides; convert it to floats")
        centred = x - x.mean(dim=axes, keepdim=True)
        variance = centred.square().mean(dim=axes, keepdim=True)
        if self.eps == 0:
            _refuse_zero_scale(variance)
        return centred / torch.sqrt(variance + self.eps)


class PrimitiveLayerNorm(WithinExamples):
    """``nn.LayerNorm`` in primitive operations, over the last axes of shape ``normalized_shape``."""

    @checked
    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not self.normalized_shape or min(self.normalized_shape) < 1:
            raise UserError(f"normalized_shape: {self.normalized_shape}; it holds positive sizes")
        self.eps, self.elementwise_affine = eps, elementwise_affine
        ones = torch.ones(self.normalized_shape, device=device, dtype=dtype)
        _register_affine(self, ones, elementwise_affine, elementwise_affine and bias)

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(-len(self.normalized_shape), 0))
        if tuple(x.shape[axes[0] :]) != self.normalized_shape:
            raise UserError(f"input: has shape {tuple(x.shape)}, but its last axes must be {self.normalized_shape}")
        y_hat = self.standardised(x, axes)
        if self.weight is not None:
            y_hat = y_hat * self.weight
        return y_hat if self.bias is None else y_hat + self.bias


class PrimitiveGroupNorm(WithinExamples):
    """``nn.GroupNorm`` in primitive operations, for inputs (N, C, ...)."""

    @checked
    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise UserError(f"num_groups: {num_groups} does not divide {num_channels} channels")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        _register_affine(self, torch.ones(num_channels, device=device, dtype=dtype), affine, affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < 2 or x.shape[1] != self.num_channels:
            raise UserError(f"input: has shape {tuple(x.shape)}, but (N, {self.num_channels}, ...) is expected")
        grouped = x.reshape(x.shape[0], self.num_groups, -1)
        return _affine(self, self.standardised(grouped, (2,)).reshape(x.shape))


def along_channels(channel: Tensor, x: Tensor) -> Tensor:
    """A number a channel, (C,), so that it meets those of x, (N, C, *)."""
    return channel.reshape(1, -1, *([1] * (x.dim() - 2)))


def _register_affine(module: nn.Module, ones: Tensor, gamma: bool, beta: bool) -> None:
    module.register_parameter("weight", nn.Parameter(ones.clone()) if gamma else None)
    module.register_parameter("bias", nn.Parameter(torch.zeros_like(ones)) if beta else None)


def _affine(module: LpBatchNorm | PrimitiveGroupNorm, y_hat: Tensor) -> Tensor:
    """gamma y_hat + beta, one of each a channel."""
    if module.weight is not None:
        y_hat = y_hat * along_channels(module.weight, y_hat)
    return y_hat if module.bias is None else y_hat + along_channels(module.bias, y_hat)


def _refuse_zero_scale(moment: Tensor) -> None:
    zero = (moment.detach() == 0).reshape(-1)
    if bool(zero.any()):
        at = torch.nonzero(zero).reshape(-1)[:5].tolist()
        raise UserError(
            f"input: constant values in normalisation unit(s) {at} with eps = 0, so the scale is zero and the "
            "normalised value is 0/0; use eps > 0, or inputs that vary"
        )
