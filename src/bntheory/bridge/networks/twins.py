"""Controls: networks that agree with a batch-normalised one where they must, and differ in one thing only.

What lives here: the frozen-statistics twin (equal outputs on a batch, constant statistics), the rescaled loss and
the reparametrised network (equal function, other weights). What does not: any measurement on them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bntheory.bridge.networks.evaluation import Loss
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.bridge.networks.state import state_guard
from bntheory.errors import UserError

__all__ = [
    "FrozenBatchNorm",
    "LayerStatistics",
    "batch_norm_layers",
    "batch_statistics",
    "frozen_statistics",
    "frozen_twin",
    "rescaled_loss",
]


@dataclass(frozen=True)
class LayerStatistics:
    """Mean and scale s = sqrt(var + eps) of each channel of one layer on one batch, both of shape (C,)."""

    mean: Tensor
    scale: Tensor


class FrozenBatchNorm(nn.Module):
    """``gamma (y - mean)/scale + beta`` with constant mean and scale; the same in training and evaluation mode."""

    mean: Tensor
    scale: Tensor
    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self, statistics: LayerStatistics, weight: nn.Parameter | None, bias: nn.Parameter | None
    ) -> None:
        super().__init__()
        self.register_parameter("weight", weight)
        self.register_parameter("bias", bias)
        self.register_buffer("mean", statistics.mean.detach().clone())
        self.register_buffer("scale", statistics.scale.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return _affine(x, LayerStatistics(self.mean, self.scale), self.weight, self.bias)


def _affine(
    x: Tensor, statistics: LayerStatistics, weight: Tensor | None, bias: Tensor | None
) -> Tensor:  # fmt: skip
    shape = (1, -1, *([1] * (x.dim() - 2)))
    y_hat = (x - statistics.mean.reshape(shape)) / statistics.scale.reshape(shape)
    if weight is not None:
        y_hat = y_hat * weight.reshape(shape)
    return y_hat if bias is None else y_hat + bias.reshape(shape)


def batch_norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of ``model`` that normalise over the batch, by name; a shared layer once.

    Raises:
        ValueError: a subclass of ``nn.BatchNorm`` with a forward of its own: what it computes is unknown.
    """
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            if type(module).forward is not _BatchNorm.forward and not isinstance(module, nn.SyncBatchNorm):
                raise UserError(
                    f"{name or 'model'}: {type(module).__qualname__} has a forward of its own, so its statistics are "
                    "unknown; use nn.BatchNorm1d/2d/3d themselves"
                )
            found[name] = module
        elif isinstance(module, LpBatchNorm):
            found[name] = module
    return found


def _statistics(module: nn.Module, x: Tensor) -> LayerStatistics:
    if isinstance(module, LpBatchNorm):
        mean, moment = module.statistics(x)
        return LayerStatistics(mean, module.scale(moment))
    assert isinstance(module, _BatchNorm)
    axes = [axis for axis in range(x.dim()) if axis != 1]
    mean = x.mean(dim=axes)
    shape = (1, -1, *([1] * (x.dim() - 2)))
    variance = (x - mean.reshape(shape)).square().mean(dim=axes)
    return LayerStatistics(mean, torch.sqrt(variance + module.eps))


class _CountBatchNormCalls(TorchFunctionMode):
    """Counts calls of torch's batch norm with batch statistics, by modules or by a user's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (F.batch_norm, torch.batch_norm):
            self.calls += bool(kwargs.get("training", args[5] if len(args) > 5 else False))
        return func(*args, **kwargs)


@torch.no_grad()
def batch_statistics(model: nn.Module, inputs: Any) -> dict[str, LayerStatistics]:
    """The statistics that each batch-norm layer has on this batch in training mode, by layer name.

    Batch-norm layers run in training mode, all other modules in the mode that they are in. The model, its buffers,
    its hooks and the random number generators are left as they were.

    Args:
        inputs: what the model takes: a tensor, a tuple of positional or a mapping of keyword arguments.

    Raises:
        ValueError: no batch-norm layer, one that this forward pass does not reach, or one that it calls several
            times (its statistics differ from call to call, and one constant cannot stand for both); a call of
            ``torch.nn.functional.batch_norm`` outside any such layer.
    """
    layers = batch_norm_layers(model)
    if not layers:
        raise UserError("model: has no layer that normalises over the batch, so there is nothing to freeze")
    found: dict[str, LayerStatistics] = {}

    def observe(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            if name in found:
                raise UserError(
                    f"{name or 'model'}: is called several times in one forward pass, with other statistics each time, "
                    "so no constant can replace them; give every call a layer of its own"
                )
            x = arguments[0] if arguments else next(iter(named.values()))
            found[name] = _statistics(module, x)

        return hook

    with state_guard(model, parameters=False), _CountBatchNormCalls() as counted:
        for name, layer in layers.items():
            layer.train()
            layer.register_forward_pre_hook(observe(name), with_kwargs=True)
        if isinstance(inputs, Mapping):
            model(**inputs)
        elif isinstance(inputs, (tuple, list)):
            model(*inputs)
        else:
            model(inputs)
    missing = [name for name in layers if name not in found]
    if missing:
        raise UserError(
            f"{missing[0] or 'model'}: was not reached by the forward pass, so it has no statistics"
        )
    hidden = counted.calls - sum(isinstance(layer, _BatchNorm) for layer in layers.values())
    if hidden > 0:
        raise UserError(
            f"model: calls torch.nn.functional.batch_norm {hidden} times outside any batch-norm layer, where its "
            "statistics cannot be frozen; use nn.BatchNorm1d/2d/3d (with affine=False, track_running_stats=False)"
        )
    return found


def frozen_twin(model: nn.Module, inputs: Any) -> nn.Module:
    """A copy of ``model`` in which every batch-norm layer is affine with the constants that it has on ``inputs``.

    On ``inputs`` (and with the model's other randomness fixed) the outputs are those of the model in training mode,
    to rounding. Parameters keep names and values, and gradients reach all of them; what is gone is the dependence of
    mean and scale on the activations. Layers that normalise within an example (LayerNorm, GroupNorm) stay.

    Raises:
        ValueError: as :func:`batch_statistics`.
    """
    statistics = batch_statistics(model, inputs)
    twin = copy.deepcopy(model)
    frozen: dict[int, nn.Module] = {}
    for name, layer in batch_norm_layers(twin).items():
        new = FrozenBatchNorm(statistics[name], layer._parameters["weight"], layer._parameters["bias"])
        new.training = layer.training
        for attribute, value in layer.__dict__.items():
            if "_hooks" in attribute:
                new.__dict__[attribute] = value
        frozen[id(layer)] = new
    if id(twin) in frozen:
        return frozen[id(twin)]
    for module in list(twin.modules()):
        for child_name, child in list(module._modules.items()):
            if child is not None and id(child) in frozen:
                module._modules[child_name] = frozen[id(child)]
    return twin


@contextmanager
def frozen_statistics(model: nn.Module, statistics: Mapping[str, LayerStatistics]) -> Iterator[None]:
    """``model`` itself, without a copy, as its frozen twin while the block runs.

    Inside, each named layer computes the affine map with the given constants from its present gamma and beta, its
    hooks fire as usual and its buffers stay. Afterwards the layers are what they were, also after an exception.

    Args:
        statistics: as from :func:`batch_statistics`; layers that it does not name stay as they are.

    Raises:
        ValueError: a name that is no batch-norm layer of ``model``, or another number of channels.
    """
    layers = batch_norm_layers(model)
    for name, values in statistics.items():
        if name not in layers:
            raise UserError(f"statistics: {name!r} is no batch-norm layer of the model")
        channels = int(layers[name].num_features)  # type: ignore[arg-type]
        if tuple(values.mean.shape) != (channels,) or tuple(values.scale.shape) != (channels,):
            raise UserError(
                f"statistics: {name!r} has {channels} channels, but mean and scale have shapes "
                f"{tuple(values.mean.shape)} and {tuple(values.scale.shape)}"
            )

    def replacement(layer: nn.Module, values: LayerStatistics) -> Callable[[Tensor], Tensor]:
        constants = LayerStatistics(values.mean.detach(), values.scale.detach())

        def forward(input: Tensor) -> Tensor:  # named as in nn.BatchNorm, for calls by keyword
            return _affine(input, constants, layer._parameters["weight"], layer._parameters["bias"])

        return forward

    previous = {name: layers[name].__dict__.get("forward") for name in statistics}
    try:
        for name, values in statistics.items():
            layers[name].__dict__["forward"] = replacement(layers[name], values)
        yield
    finally:
        for name, forward in previous.items():
            if forward is None:
                layers[name].__dict__.pop("forward", None)
            else:
                layers[name].__dict__["forward"] = forward


def rescaled_loss(loss: Loss, factor: float) -> Loss:
    """``factor * loss``: the control for "a smaller gradient proves nothing by itself".

    Raises:
        ValueError: ``factor`` is not positive and finite.
    """
    if not 0 < factor < float("inf"):
        raise UserError(f"factor: {factor} is not a positive finite number")

    def rescaled(*arguments: Any, **named: Any) -> Tensor:
        return factor * loss(*arguments, **named)

    return rescaled
