"""Arms made real: networks that start from the same weights, see the same batches, and differ in what their arm says.

``batchnorm``: the network with batch norm. ``standard``: the same without. ``rescaled``: the standard one on the loss c
L, with c such that its gradient norm at initialisation is batch norm's: what a mere rescaling would do. The
*frozen-statistics twin* is no arm of its own: it is made anew at every measured point of ``batchnorm`` and never
trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.evaluation import Loss, flat, loss_and_gradients
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.training import SGDConfig, Trainer
from bntheory.bridge.networks.twins import rescaled_loss
from bntheory.errors import UserError
from bntheory.experiments.experiment import Arm, Protocol, Task
from bntheory.experiments.images import LOSSES, measurement_batch
from bntheory.experiments.own import is_own, own_network

Batch = tuple[Tensor, Tensor]


def make_trainer(task: Task, data: ImageData, device: str, protocol: Protocol) -> tuple[Trainer, float]:
    """The task's network at its initial values, ready to train, and the factor on its loss. data: the images of its
    seed."""
    arm, seed, dtype = task.arm, task.seed, getattr(torch, protocol.dtype)
    model = build(arm, seed, data, device, dtype)
    loss, factor = LOSSES[protocol.loss], 1.0
    if arm.rescaled_on:
        batch = measurement_batch(data, seed, arm.rescaled_on, dtype=dtype, device=device)
        normalised = build(replace(arm, options={**arm.options, "norm": "batch"}), seed, data, device, dtype)
        factor = _gradient_norm(normalised, loss, batch) / _gradient_norm(model, loss, batch)
        loss = rescaled_loss(loss, factor)
    config = SGDConfig(arm.learning_rate, momentum=arm.momentum, weight_decay=arm.weight_decay, seed=seed)
    return Trainer(model, loss, config), factor


def build(arm: Arm, seed: int, data: ImageData, device: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The arm's network at its initial values. Raises UserError for options that no such network has."""
    if is_own(arm.kind):
        model = own_network(arm.kind, seed, data, arm.options).to(device=device, dtype=dtype)
    else:
        try:
            spec = NetworkSpec(arm.kind, **{**arm.options, "input_shape": data.shape, "classes": data.classes})
        except TypeError as error:
            raise UserError(f"preset: network {arm.network!r}: {error}") from error
        model = build_network(spec, seed, device=device, dtype=dtype)
    if arm.prepared:
        PREPARATIONS[arm.prepared](model, seed)
    return model


def _scale_of_raw_values(model: nn.Module, seed: int) -> None:
    """Let every l_p layer divide by the norm of the values before their mean is taken off."""
    for module in model.modules():
        if isinstance(module, LpBatchNorm):
            module.scale_of = "raw"


def _random_affine(model: nn.Module, seed: int) -> None:
    """Gamma of both signs and beta other than zero in every normalisation layer, so that no layer is special."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            gamma, beta = getattr(module, "weight", None), getattr(module, "bias", None)
            if isinstance(gamma, Tensor) and isinstance(beta, Tensor) and gamma.ndim == 1:
                gamma.copy_(1 + torch.randn(gamma.shape, generator=generator, dtype=torch.float64))
                beta.copy_(torch.randn(gamma.shape, generator=generator, dtype=torch.float64) / 2)


#: What an arm may have done to its fresh network, in place, by the seed.
PREPARATIONS: Mapping[str, Callable[[nn.Module, int], None]] = {
    "lp-of-raw-values": _scale_of_raw_values,
    "random-affine": _random_affine,
}


def _gradient_norm(model: nn.Module, loss: Loss, batch: Batch) -> float:
    model.train()
    with state_guard(model, parameters=False):
        return float(torch.linalg.vector_norm(flat(loss_and_gradients(model, loss, batch)[1])))
