"""What a layer written by hand computes from its input, held constant: so its own forward becomes an affine map.

What lives here: running that forward with its statistics as they were, also where a parameter that moves enters them. What does not:
which constants a twin has, and the affine map (:mod:`bntheory.bridge.freezing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bntheory.bridge.graph import leaves_of
from bntheory.bridge.networks.evaluation import convert, transformed

#: The mode and the buffers of a layer and of each module in it.
State = Sequence[tuple[bool, Mapping[str, Tensor]]]
#: By the number of a call in a layer's forward, and of its result.
Statistics = Mapping[tuple[int, int], Tensor]

#: Operations whose result is smaller than what they take, and no statistic of it.
_SELECTIONS = {
    "__getitem__", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "narrow", "select", "index_select", "masked_select",
    "gather", "take", "take_along_dim",
}  # fmt: skip


class ConstantStatistics(TorchFunctionMode):
    """Holds constant what a layer computes from all of its input.

    Where a parameter enters it too (a learned share of the mean), its value is that of ``known``, by the number of the call and of its
    result; afterwards ``of_parameters`` has those that were met, to be known.
    """

    def __init__(self, held: Tensor, known: Statistics) -> None:
        super().__init__()
        self._held, self._known, self._call = held, known, 0
        self.of_parameters: dict[tuple[int, int], Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found, place = func(*args, **(kwargs or {})), count()
        self._call += 1
        if getattr(func, "__name__", "") in _SELECTIONS or not (self._known or torch.is_grad_enabled()):
            return found
        return convert(found, lambda tensor: self._constant(tensor, (self._call, next(place))))

    def _constant(self, tensor: Tensor, place: tuple[int, int]) -> Tensor:
        known = self._known.get(place)
        if known is not None and known.shape == tensor.shape:
            return known.to(tensor)
        if transformed(tensor) or tensor.grad_fn is None or tensor.numel() >= self._held.numel():
            return tensor
        leaves = leaves_of(tensor)
        if id(self._held) not in leaves:
            return tensor
        if any(isinstance(leaf, nn.Parameter) for leaf in leaves.values()):
            self.of_parameters[place] = tensor.detach()
        return tensor.detach()


@contextmanager
def as_it_was(layer: Any, state: State, x: Tensor) -> Iterator[None]:
    """The layer as it was called: with the running statistics of an evaluation, or after an update, it is another affine map."""
    modules = list(cast(nn.Module, layer).modules())
    now = [(module.training, dict(module._buffers)) for module in modules]
    for module, (training, buffers) in zip(modules, state, strict=True):
        module.training = training
        module._buffers.update({n: (b.to(x) if b.is_floating_point() else b).clone() for n, b in buffers.items()})
    try:
        yield
    finally:
        for module, (training, own) in zip(modules, now, strict=True):
            module.training, module._buffers = training, own


def statistics_of_parameters(
    layer: nn.Module, own: Callable[..., Any], held: Tensor, state: State, x: Tensor, given: tuple[Any, Any]
) -> Statistics:
    """The statistics that a layer computes from its parameters too, as they are where ``own``, its forward, is given ``given``.

    held: a leaf that equals its input x.
    """
    if not any(p.requires_grad for p in layer.parameters()):
        return {}
    seen = ConstantStatistics(held, {})
    args, kwargs = convert(given, lambda tensor: held if tensor is x else tensor)
    devices = [x.device] if x.is_cuda else []
    with torch.random.fork_rng(devices), torch.enable_grad(), seen, as_it_was(layer, state, x):
        own(*args, **kwargs)
    return seen.of_parameters
