"""One network trained by several processes (ranks), each with a share of every batch: the gradient of the whole batch.

What lives here: :class:`SharedTrainer`, and which networks can be trained so. What does not: who the ranks are and what they are told
(:mod:`bntheory.experiments.ranks`).

As in data-parallel training anywhere, parameters are the same on all ranks, each takes the gradient of its examples' part of the loss, and
the sum of these moves all. Normalisations over the batch take the statistics of the whole batch, by :class:`.share.Share`; noise is drawn
for the whole batch, and each rank takes its examples'. In exact arithmetic a step is that of one process; in floating point sums are taken
in another order. torch's own wrapper (DistributedDataParallel) is not used: it wants ``backward()`` and SyncBatchNorm, which has no CPU and
none of the other normalisations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.builder import Unit
from bntheory.bridge.networks.evaluation import Batch, Loss, loss_and_gradients, trainable
from bntheory.bridge.networks.images import _Block, _ResNet
from bntheory.bridge.networks.noise import ActivationNoise, set_noise_step
from bntheory.bridge.networks.normalisation import (
    LpBatchNorm,
    PrimitiveBatchNorm,
    PrimitiveGroupNorm,
    PrimitiveLayerNorm,
)
from bntheory.bridge.networks.partial_normalisation import (
    DetachedBatchNorm,
    DetachedGroupNorm,
    DetachedLayerNorm,
    RootMeanSquareNorm,
    VarianceOnlyBatchNorm,
    WeightNorm,
)
from bntheory.bridge.networks.primitive import to_primitive
from bntheory.bridge.networks.sequences import (
    Recurrent,
    StepNorm,
    Transformer,
    _Attention,
    _RecurrentLayer,
    _TokenNorm,
    _TransformerBlock,
)
from bntheory.bridge.networks.share import Share
from bntheory.bridge.networks.spec import ACTIVATIONS
from bntheory.bridge.networks.training import Trainer

#: What treats each example by itself, or passes on what it is given.
_BY_EXAMPLE = (
    *(nn.Sequential, nn.ModuleList, Unit, _Block, _ResNet, Recurrent, _RecurrentLayer, StepNorm),
    *(Transformer, _TransformerBlock, _TokenNorm, _Attention),
    *(nn.Linear, nn.Conv2d, nn.Identity, nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, *ACTIVATIONS.values()),
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, PrimitiveLayerNorm, PrimitiveGroupNorm),
    *(DetachedLayerNorm, DetachedGroupNorm, RootMeanSquareNorm, WeightNorm),
)
#: What needs to know of the whole batch, and does with a share.
_BY_BATCH = (
    *(nn.BatchNorm1d, nn.BatchNorm2d),  # these become primitive ones
    *(LpBatchNorm, PrimitiveBatchNorm, DetachedBatchNorm, VarianceOnlyBatchNorm, ActivationNoise),
)


def why_not_shared(model: nn.Module, examples: int, ranks: int) -> str:
    """Why so many ranks cannot train this network on batches of so many examples; "" where they can."""
    for module in model.modules():
        if type(module) not in (*_BY_EXAMPLE, *_BY_BATCH):
            return f"what a {type(module).__name__} does with the examples of a batch is unknown here"
        if any(value for name, value in vars(module).items() if name.endswith("_hooks")):
            return f"a {type(module).__name__} has hooks, which would see a part of the batch"
    if examples < ranks:
        return f"a batch of {examples} cannot be shared by {ranks} ranks"
    return ""


class SharedTrainer:
    """A trainer whose steps are taken by all ranks together; every rank has one, of the same network at the same values.

    loss: a mean over examples, of outputs and targets; what is minimised is factor * loss, whatever the trainer's own is. The network must
    be one that can be shared (:func:`why_not_shared`). torch.distributed must have been initialised.
    """

    def __init__(self, trainer: Trainer, loss: Loss, factor: float, rank: int, ranks: int) -> None:
        self.trainer, self.loss, self.factor, self.rank, self.ranks = trainer, loss, factor, rank, ranks
        self.network = to_primitive(trainer.model).train()
        for twin, own in zip(self.network.modules(), trainer.model.modules(), strict=True):
            twin._parameters, twin._buffers = dict(own._parameters), dict(own._buffers)

    def train_step(self, batch: Batch) -> None:
        """One step on the whole ``batch`` = (inputs, targets), which every rank is given; axis 0 counts the examples."""
        parts: list[Tensor] = [t.tensor_split(self.ranks)[self.rank] for t in batch]
        total, own = len(batch[0]), len(parts[0])
        start = sum(len(t) for t in batch[0].tensor_split(self.ranks)[: self.rank])
        for module in self.network.modules():
            if isinstance(module, (LpBatchNorm, ActivationNoise)):
                module.share = Share(start, start + own, total)
        set_noise_step(self.network, self.trainer.step)
        weight = self.factor * own / total

        def weighted(*arguments: Any) -> Any:
            return weight * self.loss(*arguments)

        # the weights stand inside the loss: the gradient through a statistic comes from all ranks at once
        parameters = list(trainable(self.trainer.model).values())
        with self.trainer.randomness():
            _, gradients = loss_and_gradients(self.network, weighted, parts, parameters)
        self.trainer.apply(_summed(gradients))
        self.trainer.step += 1


def _summed(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Over all ranks, all of them in one message."""
    from torch.distributed import all_reduce

    flat = torch.cat([g.reshape(-1) for g in gradients])
    all_reduce(flat)
    parts = torch.split(flat, [g.numel() for g in gradients])
    return [part.view_as(g) for part, g in zip(parts, gradients, strict=True)]
