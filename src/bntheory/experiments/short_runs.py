"""Short training runs on small images: what the claims that compare trained classifiers share.

What lives here: a few hundred of the packaged images, coarsened so that a run costs seconds on one core, and one run of stochastic
gradient descent on them that may diverge. Two arms of a comparison that are given the same seed share initial values of common
parameters, images and batches. What does not: the claims, and what is measured on the networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bntheory.bridge import NetworkSpec

__all__ = ["CLASSES", "Images", "Run", "accuracy", "choose_images", "squared_error", "train"]

CLASSES = 10


@dataclass(frozen=True)
class Images:
    """Standardised images (n, 1, side, side), float32, with labels (n,): some to train on, some to test on."""

    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor

    @property
    def whole(self) -> tuple[Tensor, Tensor]:
        """All training images as one batch."""
        return self.inputs, self.labels


@dataclass(frozen=True)
class Run:
    """A trained network and the training loss before each step; the losses end early where one was not finite."""

    model: nn.Module
    losses: npt.NDArray[np.float64]
    steps: int

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite."""
        return not bool(np.isfinite(self.losses).all())

    def late_loss(self, share: float = 0.25) -> float:
        """The mean loss over the last ``share`` of the steps; infinite for a run that diverged."""
        if self.diverged:
            return float("inf")
        return float(self.losses[-max(1, round(share * self.steps)) :].mean())


@lru_cache(maxsize=4)
def _coarse(side: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """All packaged images, each block of (28/side) x (28/side) pixels averaged."""
    import torch.nn.functional as F

    from bntheory.bridge import load_dataset

    data = load_dataset()
    parts: list[Tensor] = []
    for split in ("train", "test"):
        inputs, labels = data.inputs(slice(None), split, device=device)
        factor, left = divmod(inputs.shape[-1], side)
        if left:
            raise ValueError(
                f"side: {side} does not divide the images' {inputs.shape[-1]} pixels; use 7, 14 or 28"
            )
        parts += [F.avg_pool2d(inputs, factor) if factor > 1 else inputs, labels]
    return parts[0], parts[1], parts[2], parts[3]


def choose_images(size: int, *, side: int, seed: int, device: str, tests: int = 0) -> Images:
    """``size`` training and ``tests`` test images, chosen by ``seed``; sides of 7, 14 or 28 pixels."""
    import torch

    from bntheory.bridge import batch_indices

    inputs, labels, test_inputs, test_labels = _coarse(side, device)
    chosen = torch.from_numpy(batch_indices(len(labels), size, seed, 0).copy()).to(device)
    if tests:
        kept = torch.from_numpy(batch_indices(len(test_labels), tests, seed, 0).copy()).to(device)
    else:
        kept = chosen[:0]
    return Images(inputs[chosen], labels[chosen], test_inputs[kept], test_labels[kept])


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to the one-hot label, averaged over the examples."""
    import torch.nn.functional as F

    target = F.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return 0.5 * (outputs - target).square().sum(1).mean()


def train(
    spec: NetworkSpec,
    images: Images,
    *,
    seed: int,
    rate: float,
    steps: int,
    batch_size: int,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    loss: Callable[..., Any] | None = None,
    visit: Callable[[int, nn.Module], None] | None = None,
) -> Run:
    """``steps`` steps from the initial values of ``seed``, batches drawn by ``seed``; cross-entropy unless a loss is given.

    visit: called with the number of steps done and the model, before the first step and after each. A loss or a gradient that is
    not finite ends the run.
    """
    import math

    import torch
    import torch.nn.functional as F

    from bntheory.bridge import SGDConfig, Trainer, batch_indices, build_network

    inputs, labels = images.whole
    model = build_network(spec, seed, device=inputs.device, dtype=inputs.dtype)
    config = SGDConfig(rate, momentum=momentum, weight_decay=weight_decay)
    trainer = Trainer(model, loss or F.cross_entropy, config)
    losses: list[float] = []
    if visit is not None:
        visit(0, model)
    for step in range(steps):
        chosen = torch.from_numpy(batch_indices(len(labels), batch_size, seed, step).copy())
        chosen = chosen.to(inputs.device)
        done = trainer.train_step((inputs[chosen], labels[chosen]))
        losses.append(done.loss if math.isfinite(done.gradient_norm) else math.inf)
        if not math.isfinite(losses[-1]):
            break
        if visit is not None:
            visit(step + 1, model)
    return Run(model, np.asarray(losses), steps)


def accuracy(model: nn.Module, images: Images) -> float:
    """The share of the test images that the network classifies rightly, in evaluation mode; the mode is put back."""
    import torch

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            right = model(images.test_inputs).argmax(1) == images.test_labels
    finally:
        model.train(training)
    return float(right.double().mean())
