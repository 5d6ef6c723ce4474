"""Where a measurement is made: a task after so many steps, its images, its fixed batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.curvature.operator import CurvatureOperator, hessian
from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.evaluation import Loss, flat, loss_and_gradients
from bntheory.bridge.networks.state import state_guard
from bntheory.evidence.comparable import has_diverged
from bntheory.experiments.experiment import Protocol, Task
from bntheory.experiments.images import measurement_batch, training_batch

Json = dict[str, Any]
Batch = tuple[Tensor, Tensor]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Situation:
    """A task after so many steps, and where it is looked at; the model is in training mode.

    loss: what the arm is trained on, ``factor`` included. data: the images of the task's seed.
    """

    task: Task
    step: int
    model: nn.Module
    loss: Loss
    factor: float
    data: ImageData
    device: str
    protocol: Protocol

    @property
    def dtype(self) -> torch.dtype:
        """That of the model and of every batch."""
        found: torch.dtype = getattr(torch, self.protocol.dtype)
        return found

    def training_batch(self) -> Batch:
        """The batch that the next step of training is, or would be, computed on."""
        return training_batch(self.data, self.protocol, self.task.seed, self.step, self.device)

    def batch(self, size: int | None = None) -> Batch:
        """The first examples of the fixed measured batch of this seed."""
        return measurement_batch(
            self.data, self.task.seed, size or self.protocol.measured, dtype=self.dtype, device=self.device
        )

    def held_out(self, size: int) -> Batch:
        """The first test images, so many or all that there are."""
        chosen = slice(0, min(size, self.data.size("test")))
        return self.data.inputs(chosen, "test", dtype=self.dtype, device=self.device)

    def search(self, options: Options) -> dict[str, Any]:
        """How eigenvalues are searched for, as ``top_eigenvalues`` takes it. options: tolerance, max_products."""
        tol, most = options["tolerance"], options["max_products"]
        return {"tol": tol, "max_products": most, "seed": self.task.seed, "stop": "estimate"}

    @property
    def diverged(self) -> bool:
        """Whether a weight, the loss or its gradient is no longer finite; the loss can be where its gradient
        overflows."""
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            return True
        return has_diverged(self.loss_and_gradient_norm(self.batch()))

    def loss_and_gradient_norm(self, batch: Batch) -> tuple[float, float]:
        """On a batch, in the mode that the model is in."""
        with state_guard(self.model, parameters=False):
            value, gradients = loss_and_gradients(self.model, self.loss, batch)
        return float(value), float(torch.linalg.vector_norm(flat(gradients)))


def number(x: float) -> float | None:
    """A float that JSON can hold; None for what overflowed."""
    return float(x) if math.isfinite(x) else None


def recorded_hessian(*measured: Any, **how: Any) -> CurvatureOperator:
    """:func:`bntheory.bridge.curvature.hessian` with sums in the order of every record so far, so that a record can be made again
    bit for bit."""
    return hessian(*measured, closed_forms=False, **how)
