"""Along the gradient: loss, gradient and Santurkar's three measures at multiples of the learning rate, on one batch or
another."""

from __future__ import annotations

from torch import nn

from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.along_gradient import along_gradient
from bntheory.experiments.measures.situation import Batch, Json, Options, Situation


def along(model: nn.Module, at: Situation, batch: Batch, options: Options) -> Json:
    low, high = options["step_range"]
    points = options["points"]
    multiples = [low + (high - low) * i / (points - 1) for i in range(points)]
    rate = at.task.arm.learning_rate
    return along_gradient(model, at.loss, batch, [rate * s for s in multiples]).as_json(multiples)


def walk(at: Situation, options: Options) -> Json:
    """Along the gradient on the batch of the step."""
    return {"walk": along(at.model, at, at.training_batch(), options)}


def twin_walk(at: Situation, options: Options) -> Json:
    """The same of the frozen-statistics twin, made on the same batch."""
    batch = at.training_batch()
    return {"twin_walk": along(frozen_twin(at.model, batch[0]), at, batch, options)}
