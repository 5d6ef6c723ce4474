"""The arms of the experiment: networks that start from the same weights, see the same batches, and differ in one thing.

``batchnorm``: the network with batch norm. ``standard``: the same without. ``rescaled``: the standard one on the loss c L, with c
such that its gradient norm at initialisation is batch norm's: what a mere rescaling would do. The *frozen-statistics twin* is no
arm of its own: it is made anew at every measured point of ``batchnorm`` and never trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.data import ImageData, batch_at
from bntheory.bridge.networks.evaluation import Loss, flat, loss_and_gradients
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.training import SGDConfig, Trainer
from bntheory.bridge.networks.twins import rescaled_loss
from bntheory.errors import UserError
from bntheory.experiments.preset import NetworkEntry, Preset

__all__ = ["ARMS", "Cell", "cells", "make_trainer", "measurement_batch"]

ARMS = ("batchnorm", "standard", "rescaled")
#: The measured batch is drawn from the training images by a seed of its own, far from those of the training batches.
MEASUREMENT_SEED = 1_000_003
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Cell:
    """One network trained once."""

    network: NetworkEntry
    seed: int
    arm: str

    @property
    def name(self) -> str:
        """Names its records and its checkpoint."""
        return f"{self.network.name}-s{self.seed}-{self.arm}"


def cells(preset: Preset) -> list[Cell]:
    """All cells in the order of their run: whole seeds first, so that an unfinished run still compares arms."""
    return [Cell(network, seed, arm) for seed in preset.seeds for network in preset.networks for arm in ARMS]


def measurement_batch(data: ImageData, seed: int, size: int, **options: Any) -> Batch:
    """The fixed batch on which a seed's arms are measured; a smaller one holds the first examples of a larger one's epoch."""
    available = data.size("train")
    if size > available:
        raise UserError(
            f"preset: a measured batch of {size} images is more than the {available} training images of {data.name}"
        )
    return batch_at(data, 0, batch_size=size, seed=MEASUREMENT_SEED + seed, **options)


def make_trainer(cell: Cell, preset: Preset, data: ImageData, device: str) -> tuple[Trainer, float]:
    """The cell's network at its initial values, ready to train, and the factor on its loss."""
    model = _build(cell, "batch" if cell.arm == "batchnorm" else "none", data, device)
    loss: Loss = nn.functional.cross_entropy
    factor = 1.0
    if cell.arm == "rescaled":
        batch = measurement_batch(data, cell.seed, preset.measure.batch_size, device=device)
        normalised = _build(cell, "batch", data, device)
        factor = _gradient_norm(normalised, loss, batch) / _gradient_norm(model, loss, batch)
        loss = rescaled_loss(loss, factor)
    t = preset.training
    config = SGDConfig(t.learning_rate, momentum=t.momentum, weight_decay=t.weight_decay, seed=cell.seed)
    return Trainer(model, loss, config), factor


def _build(cell: Cell, norm: str, data: ImageData, device: str) -> nn.Module:
    options = {**cell.network.options, "norm": norm, "input_shape": data.shape, "classes": data.classes}
    try:
        spec = NetworkSpec(cell.network.kind, **options)
    except TypeError as error:
        raise UserError(f"preset: network {cell.network.name!r}: {error}") from error
    return build_network(spec, cell.seed, device=device)


def _gradient_norm(model: nn.Module, loss: Loss, batch: Batch) -> float:
    model.train()
    with state_guard(model, parameters=False):
        return float(torch.linalg.vector_norm(flat(loss_and_gradients(model, loss, batch)[1])))
