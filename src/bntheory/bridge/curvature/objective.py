"""The function whose curvature is asked for: a model, a loss and the batches, as given by the user.

Lives here: reading batches and loaders, calling the model, checking that the loss is a finite scalar. Not here:
derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from bntheory.errors import UserError


@dataclass(frozen=True)
class Objective:
    """``loss(model(inputs), *rest)`` on a batch ``(inputs, *rest)``; or, with no batch, ``loss()`` itself."""

    model: nn.Module | None
    loss: Callable[..., Any]

    def outputs(self, batch: tuple[Any, ...]) -> Any:
        """The model's outputs on the batch: a tuple of inputs is spread, a dict is passed by name."""
        if self.model is None:
            raise UserError("model is None; only a closure without arguments works without a model")
        inputs = batch[0]
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        return self.model(*inputs) if isinstance(inputs, (tuple, list)) else self.model(inputs)

    def value(self, batch: tuple[Any, ...] | None, outputs: Any = None) -> Tensor:
        """The scalar loss. Raises ValueError where it is no scalar or not finite."""
        if batch is None:
            return scalar(self.loss())
        return scalar(self.loss(self.outputs(batch) if outputs is None else outputs, *batch[1:]))


def scalar(value: Any) -> Tensor:
    """``value`` checked to be one finite real number that autograd can differentiate."""
    if not isinstance(value, Tensor):
        raise UserError(
            f"loss returned a {type(value).__name__}; it has to return a tensor with one entry, "
            "computed by torch operations (no .item(), no numpy)"
        )
    if value.numel() != 1:
        raise UserError(
            f"loss returned a tensor of shape {tuple(value.shape)}; curvature is that of a scalar. "
            "Reduce it (mean over the batch), or use empirical_fisher for a loss of each example"
        )
    if not bool(torch.isfinite(value.detach())):
        raise UserError(
            f"loss is {value.item()} on this batch; there is no curvature at such a point. Look for a learning rate "
            "that diverged, a logarithm of zero, or a normalised feature of zero variance with eps = 0"
        )
    return value.reshape(())


def read_batches(batch: Any, split: int | None) -> list[tuple[Any, ...] | None]:
    """One batch as a tuple ``(inputs, *rest)``, several as a list or loader of such; pieces of ``split`` examples.

    Raises ValueError for a loader that shuffles, for batches that are no tuples, and where nothing is left.
    """
    if batch is None:
        if split is not None:
            raise UserError(f"split={split} needs a batch to split; a closure holds its own data")
        return [None]
    batches: list[tuple[Any, ...] | None]
    if isinstance(batch, tuple):
        batches = [batch]
    else:
        if isinstance(batch, DataLoader):
            _refuse_shuffling(batch)
        if isinstance(batch, (Tensor, Mapping, str)) or not isinstance(batch, Iterable):
            raise UserError(
                f"batch is a {type(batch).__name__}; give a tuple (inputs, targets, ...), or a list of such tuples"
            )
        batches = [_as_tuple(item, i) for i, item in enumerate(batch)]
    if not batches:
        raise UserError("batch is empty: there is no data to measure on")
    if split is not None:
        if split < 1:
            raise UserError(f"split is {split}; the number of examples in a piece has to be positive")
        batches = [piece for whole in batches for piece in pieces(whole or (), split)]
    return batches


def _as_tuple(item: Any, index: int) -> tuple[Any, ...]:
    if isinstance(item, (tuple, list)) and not (item and isinstance(item[0], Tensor) and item[0].dim() == 0):
        return tuple(item)
    raise UserError(
        f"batch[{index}] is a {type(item).__name__}; every batch has to be a tuple (inputs, targets, ...). "
        "A single batch is a tuple, several are a list of tuples"
    )


def _refuse_shuffling(loader: DataLoader[Any]) -> None:
    sampler = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    if type(sampler) is BatchSampler:
        sampler = sampler.sampler
    if type(sampler) is not SequentialSampler:
        raise UserError(
            f"batch is a DataLoader with a {type(sampler).__name__}: every pass composes other batches, and with "
            "batch normalisation that is another function. Use shuffle=False, or fix the batches once: "
            "batch=list(loader)"
        )


def pieces(batch: tuple[Any, ...], split: int) -> list[tuple[Any, ...]]:
    total = batch_size(batch)

    def cut(value: Any, start: int) -> Any:
        if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == total:
            return value[start : start + split]
        if isinstance(value, Mapping):
            return {key: cut(item, start) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return tuple(cut(item, start) for item in value)
        return value

    return [cut(batch, start) for start in range(0, total, split)]


def batch_size(batch: tuple[Any, ...] | None) -> int:
    """The number of examples: the first axis of the first tensor among the inputs; 1 for a closure."""
    if batch is None:
        return 1
    stack = list(batch[:1])
    while stack:
        value = stack.pop(0)
        if isinstance(value, Tensor):
            if value.dim() == 0 or value.shape[0] == 0:
                raise UserError(
                    f"inputs have shape {tuple(value.shape)}; the first axis has to count examples"
                )
            return int(value.shape[0])
        if isinstance(value, Mapping):
            stack = list(value.values()) + stack
        elif isinstance(value, (tuple, list)):
            stack = list(value) + stack
    raise UserError("batch holds no tensor among its inputs, so its number of examples is unknown")


def convert(value: Any, dtype: torch.dtype) -> Any:
    """The floating tensors in nested data, in ``dtype``; integers (class labels) stay as they are."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: convert(item, dtype) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(convert(item, dtype) for item in value)
    return value
