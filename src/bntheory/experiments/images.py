"""What one seed of an experiment is trained and measured on: its training images, its batches, the loss on them.

All of it is a function of the protocol and the seed, so arms of one seed share it. What does not live here: which
images there are (:mod:`bntheory.bridge`), and the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bntheory.bridge.networks.data import ImageData, batch_at, batch_indices
from bntheory.bridge.networks.evaluation import Loss
from bntheory.errors import UserError
from bntheory.evidence.study import APART
from bntheory.experiments.experiment import Protocol

Batch = tuple[Tensor, Tensor]


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to the one-hot label, averaged over the examples."""
    target = F.one_hot(labels, outputs.shape[1]).to(outputs.dtype)
    return 0.5 * (outputs - target).square().sum(1).mean()


#: A protocol's losses by name.
LOSSES: Mapping[str, Loss] = MappingProxyType({"cross-entropy": F.cross_entropy, "squared-error": squared_error})


def images_of(data: ImageData, protocol: Protocol, seed: int) -> ImageData:
    """The images of one seed: ``protocol.images`` of the training images, chosen by the seed, all averaged down to
    ``protocol.side``.

    They are standardised by the moments of all training images as they are, so a seed's choice does not move the
    others.

    Raises UserError for more images than there are, or a side that does not divide theirs.
    """
    if protocol.images:
        available = data.size("train")
        if protocol.images > available:
            raise UserError(
                f"protocol: {protocol.images} images to train on are more than the {available} of {data.name}"
            )
        chosen = torch.from_numpy(batch_indices(available, protocol.images, seed, 0).copy())
        chosen = chosen.to(data.train_images.device)
        data = replace(data, train_images=data.train_images[chosen], train_labels=data.train_labels[chosen])
    if protocol.side:
        data = replace(
            data,
            train_images=_coarse(data.train_images, protocol.side),
            test_images=_coarse(data.test_images, protocol.side),
        )
    return data


def _coarse(images: Tensor, side: int) -> Tensor:
    """Each block of pixels averaged: sums of bytes over a power of two are exact in float32."""
    factors = {n // side if n % side == 0 else 0 for n in images.shape[-2:]}
    if 0 in factors or len(factors) > 1:
        raise UserError(
            f"protocol: side {side} does not divide images of {images.shape[-2]} x {images.shape[-1]} pixels into squares"
        )
    factor = factors.pop()
    return images if factor == 1 else F.avg_pool2d(images.float(), factor)


def training_batch(data: ImageData, protocol: Protocol, seed: int, step: int, device: str) -> Batch:
    """The batch of a step, from the images of the seed; all of them in a fixed order where they are no more than a
    batch holds."""
    dtype = getattr(torch, protocol.dtype)
    if protocol.images and protocol.batch_size >= protocol.images:
        return data.inputs(slice(None), dtype=dtype, device=device)
    return batch_at(data, step, batch_size=protocol.batch_size, seed=seed, dtype=dtype, device=device)


def measurement_batch(data: ImageData, seed: int, size: int, **options: Any) -> Batch:
    """The fixed batch on which a seed's arms are measured; a smaller one holds the first examples of a larger one's
    epoch."""
    available = data.size("train")
    if size > available:
        raise UserError(
            f"preset: a measured batch of {size} images is more than the {available} training images of {data.name}"
        )
    return batch_at(data, 0, batch_size=size, seed=APART + seed, **options)
