"""Images and labels in memory: standardisation, and mini-batches as a pure function of seed and step.

What lives here: the value that holds a data set, and which examples come at which step. What does not: where
the data come from (``data.py``) and file formats (``data_files.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.data_files import Bytes
from bntheory.errors import UserError

Split = Literal["train", "test"]


@dataclass(frozen=True)
class ImageData:
    """A labelled image data set: raw bytes, and how they become inputs.

    Images are uint8 tensors (n, channels, height, width), labels int64 tensors (n,). ``mean`` and ``std`` are
    those of the training images' values in [0, 1], one a channel; :meth:`inputs` standardises with them.
    ``sha256`` maps the name of each file that was read to the hash of its (decompressed) content.
    """

    name: str
    train_images: Tensor = field(repr=False)
    train_labels: Tensor = field(repr=False)
    test_images: Tensor = field(repr=False)
    test_labels: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: Mapping[str, str]
    licence: str
    description: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        c, h, w = self.train_images.shape[1:]
        return int(c), int(h), int(w)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def size(self, split: Split = "train") -> int:
        return int(self._labels(split).shape[0])

    def to(self, device: torch.device | str) -> ImageData:
        """The same data with its bytes on another device, so that batches are cut there."""
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def inputs(
        self,
        indices: Tensor | npt.NDArray[np.int64] | slice,
        split: Split = "train",
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Standardised images (len(indices), c, h, w) in ``dtype`` and their labels, on ``device``."""
        images = self.train_images if split == "train" else self.test_images
        if isinstance(indices, np.ndarray):
            indices = torch.from_numpy(indices)
        if isinstance(indices, Tensor):
            indices = indices.to(images.device)
        device = images.device if device is None else device
        x = images[indices].to(device).to(dtype)
        mean = torch.tensor(self.mean, dtype=dtype, device=device).reshape(-1, 1, 1)
        std = torch.tensor(self.std, dtype=dtype, device=device).reshape(-1, 1, 1)
        return (x / 255 - mean) / std, self._labels(split)[indices].to(device)

    def _labels(self, split: Split) -> Tensor:
        if split not in ("train", "test"):
            raise UserError(f"split: {split!r} is neither 'train' nor 'test'")
        return self.train_labels if split == "train" else self.test_labels


def assemble(
    name: str,
    arrays: Mapping[str, Bytes],
    class_names: tuple[str, ...],
    sha256: Mapping[str, str],
    licence: str,
    description: str,
) -> ImageData:
    """An :class:`ImageData` from arrays ("train images", "train labels", ...) that are checked to fit.

    Raises:
        UserError: shapes that do not belong together, no examples, or labels outside the classes.
    """
    tensors: dict[str, Tensor] = {}
    for split in ("train", "test"):
        images, labels = arrays[f"{split} images"], arrays[f"{split} labels"]
        images = images[:, None] if images.ndim == 3 else images
        if images.ndim != 4 or labels.ndim != 1 or len(images) != len(labels) or not images.size:
            raise UserError(
                f"{name}: {split} images of shape {images.shape} and labels of shape {labels.shape} do not belong "
                "together; are files of two data sets mixed, or images and labels exchanged?"
            )
        if int(labels.max()) >= len(class_names):
            raise UserError(f"{name}: {split} label {labels.max()} is outside 0 to {len(class_names) - 1}")
        tensors[f"{split}_images"] = torch.from_numpy(np.ascontiguousarray(images).copy())
        tensors[f"{split}_labels"] = torch.from_numpy(labels.astype(np.int64))
    if tensors["train_images"].shape[1:] != tensors["test_images"].shape[1:]:
        raise UserError(f"{name}: training and test images differ in size; are files of two data sets mixed?")
    mean, std = _moments(tensors["train_images"])
    return ImageData(
        name=name, class_names=class_names, mean=mean, std=std, sha256=dict(sha256),
        licence=licence, description=description, **tensors,
    )  # fmt: skip


def _moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in [0, 1], from exact integer sums of the bytes."""
    means, stds = [], []
    for channel in images.unbind(1):
        counts = torch.bincount(channel.reshape(-1), minlength=256).tolist()
        n = sum(counts)
        first = sum(v * k for v, k in enumerate(counts))
        second = sum(v * v * k for v, k in enumerate(counts))
        variance = (n * second - first * first) / (n * n)
        means.append(first / n / 255)
        stds.append(variance**0.5 / 255 if variance > 0 else 1.0)  # a constant channel stays as it is
    return tuple(means), tuple(stds)


@checked
def synthetic_data(
    *, seed: int, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 4, train: int = 256, test: int = 64
) -> ImageData:
    """Made-up images for tests and demonstrations: one smooth random pattern a class, plus noise."""
    if min(classes, train, test, *shape) < 1:
        raise UserError(f"classes, train, test, shape: {(classes, train, test, *shape)}; each is positive")
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(classes, *shape)).cumsum(-1).cumsum(-2)
    patterns /= np.abs(patterns).max(axis=(1, 2, 3), keepdims=True)
    arrays: dict[str, Bytes] = {}
    for split, n in (("train", train), ("test", test)):
        labels = np.arange(n) % classes
        images = 128 + 60 * patterns[labels] + 25 * rng.normal(size=(n, *shape))
        arrays[f"{split} images"] = np.clip(np.rint(images), 0, 255).astype(np.uint8)
        arrays[f"{split} labels"] = labels.astype(np.uint8)
    return assemble("synthetic", arrays, tuple(f"pattern {i}" for i in range(classes)), {}, "none needed",
                     f"made-up patterns with noise, seed {seed}")  # fmt: skip


@lru_cache(maxsize=8)
def _epoch_order(size: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    # Raw draws of a bit generator are stable between numpy versions, which shuffles are not promised to be.
    keys = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(size)
    order = np.argsort(keys, kind="stable").astype(np.int64)
    order.setflags(write=False)
    return order


@checked
def batch_indices(size: int, batch_size: int, seed: int, step: int) -> npt.NDArray[np.int64]:
    """The examples of the batch at ``step``: a pure function of its arguments.

    Every epoch is a fresh permutation cut into ``size // batch_size`` batches; what is left over at its end is
    skipped, so that all batches have the same size and batch-norm statistics stay comparable.

    Raises:
        UserError: batch size outside 1 to ``size``, or a negative step or seed.
    """
    if not 1 <= batch_size <= size:
        raise UserError(f"batch_size: {batch_size} is outside 1 to {size}, the number of examples")
    if step < 0 or seed < 0:
        raise UserError(f"step and seed must not be negative; got step={step}, seed={seed}")
    epoch, position = divmod(step, size // batch_size)
    return _epoch_order(size, seed, epoch)[position * batch_size : (position + 1) * batch_size]


@checked
def batch_at(
    data: ImageData,
    step: int,
    *,
    batch_size: int,
    seed: int,
    split: Split = "train",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Inputs (batch_size, c, h, w) and labels (batch_size,) of one step; see :func:`batch_indices`."""
    indices = batch_indices(data.size(split), batch_size, seed, step)
    return data.inputs(indices.copy(), split, dtype=dtype, device=device)
