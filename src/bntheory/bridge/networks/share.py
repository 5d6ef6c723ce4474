"""A batch that lies on several processes (ranks), and the numbers of the whole of it that a layer needs, in the graph.

What lives here: :class:`Share`. It is one implementation for every statistic and every backend: sums over all ranks that can be
differentiated, where torch's own SyncBatchNorm knows one normalisation and no CPU. What does not: who holds which part
(:mod:`bntheory.bridge.networks.data_parallel`), and the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """This rank's part of a batch: its examples ``start`` to ``stop`` - 1, of ``total``. Every rank asks for the same numbers in the same order.

    values: (n, ...) with n of the rank's own examples, or several rows for each, along axis 0, which is one of the axes.
    """

    start: int
    stop: int
    total: int

    def count(self, own: int) -> int:
        """The number of values on all ranks, where this one has ``own`` of them and every example equally many."""
        return own * self.total // (self.stop - self.start)

    def mean(self, values: Tensor, axes: Sequence[int]) -> Tensor:
        """Over the axes and all ranks."""
        sums = values.sum(dim=list(axes))
        return sum_over_ranks(sums) / self.count(values.numel() // sums.numel())

    def largest(self, values: Tensor, axes: Sequence[int]) -> Tensor:
        """Over the axes and all ranks; like ``amax``, its gradient is shared evenly by all the values that are the largest."""
        from torch.distributed import ReduceOp, all_reduce

        top = values.detach().amax(dim=list(axes), keepdim=True)
        all_reduce(top, ReduceOp.MAX)
        ties = (values.detach() == top).to(values.dtype)
        sums = torch.stack([(ties * values).sum(dim=list(axes)), ties.sum(dim=list(axes))])
        found, number = sum_over_ranks(sums).unbind(0)
        return found / number


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of every rank's value, in the graph of each."""
    total: Tensor = _Sum.apply(value)
    return total


class _Sum(torch.autograd.Function):
    """Every rank's result depends on every rank's value, so what comes back to a value is the sum of what comes to the results."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _summed(value: Tensor) -> Tensor:
    from torch.distributed import all_reduce

    total = value.detach().clone(memory_format=torch.contiguous_format)
    all_reduce(total)
    return total
