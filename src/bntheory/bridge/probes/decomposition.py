"""The decomposition of the gradient reduction at every training step, read off the ordinary backward pass.

What lives here: a monitor that costs one reduction over each normalisation layer's output gradient. What does not: anything that
needs a second pass or second derivatives (``capture.py``). Theorem 4.1's subtracted terms are gradients that training computes
anyway: <1, g> = dL/dbeta and <g, y_hat> = dL/dgamma; sigma is kept by the forward pass for its own backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bntheory.errors import UserError

__all__ = ["DecompositionMonitor", "StepSplit"]


@dataclass(frozen=True)
class StepSplit:
    """One layer at one step; every field is (channels,), on the model's device.

    scaling = gamma^2/sigma^2. share_mean = (dL/dbeta)^2/(m ||g||^2). share_y_hat = (1 + eps/sigma^2)(dL/dgamma)^2/(m ||g||^2).
    output_gradient = ||g||^2. So the squared norm of the gradient at the layer's input is
    scaling * output_gradient * (1 - share_mean - share_y_hat), exactly for every eps >= 0. Shares are 0 where g is 0.
    """

    m: int
    scaling: Tensor
    share_mean: Tensor
    share_y_hat: Tensor
    output_gradient: Tensor

    @property
    def input_gradient(self) -> Tensor:
        """||dL_hat/dy||^2 of each channel, (channels,)."""
        return self.scaling * self.output_gradient * (1 - self.share_mean - self.share_y_hat)


@dataclass
class _Seen:
    m: int
    inverse_sigma: Tensor
    squared: Tensor | None = None


class DecompositionMonitor:
    """Watch the batch-norm layers of ``model`` while it trains; use as a context manager and call :meth:`read` after backward.

    ::

        with DecompositionMonitor(model) as monitor:
            loss_function(model(x), target).backward()
            split = monitor.read()["features.1"].share_y_hat

    Raises ValueError where the model has no batch-norm layer with gamma and beta.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm) and module.affine
        }
        if not self.layers:
            raise UserError(
                "model: has no BatchNorm layer with weight and bias, from whose gradients the split is read"
            )
        self._seen: dict[str, _Seen] = {}
        self._handles: list[Any] = []
        self._rows: dict[Any, Tensor] = {}

    def __enter__(self) -> Self:
        self._handles = [
            module.register_forward_hook(partial(self._after, name)) for name, module in self.layers.items()
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _after(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], z: Tensor) -> None:
        if not module.training or not z.requires_grad:
            return
        y = inputs[0].detach()
        seen = _Seen(y.numel() // y.shape[1], _inverse_sigma(module, y, z))
        self._seen[name] = seen

        def gradient(g: Tensor) -> None:
            seen.squared = _squared_norms(g)

        z.register_hook(gradient)  # type: ignore[no-untyped-call]

    def read(self, gradients: Mapping[str, Tensor] | None = None) -> dict[str, StepSplit]:
        """The split of every layer that the last forward and backward pass went through.

        gradients: of the parameters by name, where they are not in ``.grad``.
        """
        seen = {name: s for name, s in self._seen.items() if s.squared is not None}
        if not seen:
            return {}
        layers = [self.layers[name] for name in seen]
        weight_grad, bias_grad = (
            torch.cat([self._gradient(name, part, gradients) for name in seen]) for part in ("weight", "bias")
        )
        # all layers in one row: a dozen small operations in all, and not for each layer
        sizes = [layer.num_features for layer in layers]
        inverse_sigma = torch.cat([s.inverse_sigma for s in seen.values()])
        squared = torch.cat([s.squared for s in seen.values() if s.squared is not None])
        gamma = torch.cat([layer.weight.detach() for layer in layers])
        m, eps = self._constants(tuple(s.m for s in seen.values()), layers, gamma)
        inverse = torch.where(squared > 0, 1 / (m * squared), 0.0)
        rows = (
            (gamma * inverse_sigma).square(),
            bias_grad.square() * inverse,
            (1 + eps * inverse_sigma.square()) * weight_grad.square() * inverse,
            squared,
        )
        parts = zip(*(torch.split(row, sizes) for row in rows), strict=True)
        return {name: StepSplit(s.m, *part) for (name, s), part in zip(seen.items(), parts, strict=True)}

    def _constants(self, m: tuple[int, ...], layers: list[_BatchNorm], like: Tensor) -> tuple[Tensor, Tensor]:
        """m and eps of every channel in a row; made once, since they change with the batch size only."""
        key = (m, like.dtype, like.device)
        if key not in self._rows:
            sizes = torch.tensor([layer.num_features for layer in layers])
            values = torch.tensor([[float(x) for x in m], [layer.eps for layer in layers]], dtype=like.dtype)
            self._rows[key] = values.repeat_interleave(sizes, dim=1).to(like.device)
        row = self._rows[key]
        return row[0], row[1]

    def _gradient(self, name: str, part: str, gradients: Mapping[str, Tensor] | None) -> Tensor:
        found: Tensor | None = (
            getattr(self.layers[name], part).grad if gradients is None else gradients[f"{name}.{part}"]
        )
        if found is None:
            raise UserError(
                f"{name}: gamma and beta have no gradient; call backward() first, or pass gradients by name"
            )
        return found.detach()


def _inverse_sigma(module: nn.Module, y: Tensor, z: Tensor) -> Tensor:
    """1/sqrt(var + eps): what the forward pass saved for its backward, where torch shows it; computed once more elsewhere."""
    saved = getattr(z.grad_fn, "_saved_result2", None)
    if isinstance(saved, Tensor) and saved.shape == (y.shape[1],):
        return saved.detach()
    axes = [axis for axis in range(y.dim()) if axis != 1]
    return torch.rsqrt(torch.var(y, axes, correction=0) + float(module.eps))  # type: ignore[arg-type]


def _squared_norms(g: Tensor) -> Tensor:
    """The squared norm of each channel. Rows of many positions are reduced along memory, short ones across examples first."""
    if g.dim() > 2 and g[0, 0].numel() >= 16:
        rows: Tensor = torch.linalg.vector_norm(g.flatten(2), dim=2)
        return rows.square_().sum(0)
    total = g.square().sum(0)
    return total.flatten(1).sum(1) if g.dim() > 2 else total
