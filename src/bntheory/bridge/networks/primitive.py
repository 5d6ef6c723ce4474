"""Replace the normalisation layers of a model by ones of primitive operations.

What lives here: the translation of one module into another. What does not: the layers (``normalisation.py``).
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.normalisation import PrimitiveBatchNorm, PrimitiveGroupNorm, PrimitiveLayerNorm
from bntheory.errors import UserError


@checked
def to_primitive(model: nn.Module) -> nn.Module:
    """A deep copy of ``model`` whose normalisation layers are written with primitive operations.

    Replaces ``nn.BatchNorm1d/2d/3d``, ``nn.LayerNorm``, ``nn.GroupNorm`` and ``nn.InstanceNorm1d/2d/3d`` without running
    statistics. Names, parameters, buffers, modes and hooks stay, so a state dict fits both; a layer that is used in
    several places stays one layer. The model itself is not touched.

    Raises:
        ValueError: a layer of these kinds whose own ``forward`` or kind has no primitive counterpart here.
    """
    twin = copy.deepcopy(model)
    done: dict[int, nn.Module] = {}
    root = _translated(twin, "model", done)
    for name, module in list(twin.named_modules()):
        for child_name, child in list(module._modules.items()):
            if child is not None:
                path = f"{name}.{child_name}" if name else child_name
                module._modules[child_name] = _translated(child, path, done)
    return root


def _translated(module: nn.Module, path: str, done: dict[int, nn.Module]) -> nn.Module:
    if id(module) not in done:
        done[id(module)] = _translate(module, path)
    return done[id(module)]


def _translate(module: nn.Module, path: str) -> nn.Module:
    new: nn.Module
    if isinstance(module, _InstanceNorm):
        _refuse_own_forward(module, path, _InstanceNorm)
        if module.track_running_stats:
            raise UserError(f"{path}: InstanceNorm with running statistics has no primitive counterpart here")
        new = PrimitiveGroupNorm(module.num_features, module.num_features, module.eps, affine=False)
    elif isinstance(module, _BatchNorm):
        if isinstance(module, nn.SyncBatchNorm):
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                raise UserError(f"{path}: SyncBatchNorm over several processes has no primitive counterpart here")
        else:
            _refuse_own_forward(module, path, _BatchNorm)
        new = PrimitiveBatchNorm(module.num_features, module.eps, module.momentum, False, False, device="meta")
        new.affine, new.track_running_stats = module.affine, module.track_running_stats
    elif isinstance(module, nn.LayerNorm):
        _refuse_own_forward(module, path, nn.LayerNorm)
        new = PrimitiveLayerNorm(tuple(module.normalized_shape), module.eps, False)
        new.elementwise_affine = module.elementwise_affine
    elif isinstance(module, nn.GroupNorm):
        _refuse_own_forward(module, path, nn.GroupNorm)
        new = PrimitiveGroupNorm(module.num_groups, module.num_channels, module.eps, affine=False)
        new.affine = module.affine
    else:
        return module
    # the very parameters and buffers of the copy, so that tensors shared with other layers stay shared
    new._parameters = {name: module._parameters.get(name) for name in ("weight", "bias")}
    new._buffers = dict(module._buffers)
    new.training = module.training
    for name, value in module.__dict__.items():
        if "_hooks" in name:
            new.__dict__[name] = value
    return new


def _refuse_own_forward(module: nn.Module, path: str, base: type[nn.Module]) -> None:
    if type(module).forward is not base.forward:
        raise UserError(
            f"{path}: {type(module).__qualname__} has a forward of its own, so its primitive counterpart is unknown; "
            f"use {base.__name__.lstrip('_')} itself, or write the layer with primitive operations"
        )
