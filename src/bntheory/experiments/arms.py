"""Arms made real: networks that start from the same weights, see the same batches, and differ in what their arm says.

``batchnorm``: the network with batch norm. ``standard``: the same without. ``rescaled``: the standard one on the loss c L, with c
such that its gradient norm at initialisation is batch norm's: what a mere rescaling would do. The *frozen-statistics twin* is no
arm of its own: it is made anew at every measured point of ``batchnorm`` and never trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.data import ImageData, batch_at
from bntheory.bridge.networks.evaluation import Loss, flat, loss_and_gradients
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.training import SGDConfig, Trainer
from bntheory.bridge.networks.twins import rescaled_loss
from bntheory.errors import UserError
from bntheory.experiments.experiment import Arm, Task

__all__ = ["PREPARATIONS", "build", "make_trainer", "measurement_batch"]

#: The measured batch is drawn from the training images by a seed of its own, far from those of the training batches.
MEASUREMENT_SEED = 1_000_003
Batch = tuple[Tensor, Tensor]


def measurement_batch(data: ImageData, seed: int, size: int, **options: Any) -> Batch:
    """The fixed batch on which a seed's arms are measured; a smaller one holds the first examples of a larger one's epoch."""
    available = data.size("train")
    if size > available:
        raise UserError(
            f"preset: a measured batch of {size} images is more than the {available} training images of {data.name}"
        )
    return batch_at(data, 0, batch_size=size, seed=MEASUREMENT_SEED + seed, **options)


def make_trainer(task: Task, data: ImageData, device: str) -> tuple[Trainer, float]:
    """The task's network at its initial values, ready to train, and the factor on its loss."""
    arm, seed = task.arm, task.seed
    model = build(arm, seed, data, device)
    loss: Loss = nn.functional.cross_entropy
    factor = 1.0
    if arm.rescaled_on:
        batch = measurement_batch(data, seed, arm.rescaled_on, device=device)
        normalised = build(replace(arm, options={**arm.options, "norm": "batch"}), seed, data, device)
        factor = _gradient_norm(normalised, loss, batch) / _gradient_norm(model, loss, batch)
        loss = rescaled_loss(loss, factor)
    config = SGDConfig(arm.learning_rate, momentum=arm.momentum, weight_decay=arm.weight_decay, seed=seed)
    return Trainer(model, loss, config), factor


def build(arm: Arm, seed: int, data: ImageData, device: str) -> nn.Module:
    """The arm's network at its initial values. Raises UserError for options that no such network has."""
    try:
        spec = NetworkSpec(arm.kind, **{**arm.options, "input_shape": data.shape, "classes": data.classes})
    except TypeError as error:
        raise UserError(f"preset: network {arm.network!r}: {error}") from error
    model = build_network(spec, seed, device=device)
    if arm.prepared:
        PREPARATIONS[arm.prepared](model)
    return model


def _scale_of_raw_values(model: nn.Module) -> None:
    """Let every l_p layer divide by the norm of the values before their mean is taken off."""
    for module in model.modules():
        if isinstance(module, LpBatchNorm):
            module.scale_of = "raw"


#: What an arm may have done to its fresh network, in place.
PREPARATIONS: Mapping[str, Callable[[nn.Module], None]] = {"lp-of-raw-values": _scale_of_raw_values}


def _gradient_norm(model: nn.Module, loss: Loss, batch: Batch) -> float:
    model.train()
    with state_guard(model, parameters=False):
        return float(torch.linalg.vector_norm(flat(loss_and_gradients(model, loss, batch)[1])))
