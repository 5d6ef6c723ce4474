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


class ConstantStatistics(TorchFunctionMode):
    """Context in which a layer's statistics that a parameter enters too have the values of ``known``."""

    def __init__(self, known: Statistics) -> None:
        super().__init__()
        self._known, self._call = known, 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found, place = func(*args, **(kwargs or {})), count()
        self._call += 1
        return convert(found, lambda tensor: self._constant(tensor, (self._call, next(place))))

    def _constant(self, tensor: Tensor, place: tuple[int, int]) -> Tensor:
        known = self._known.get(place)
        return tensor if known is None or known.shape != tensor.shape else known.to(tensor)


class _Finding(ConstantStatistics):
    """Holds constant what is computed from several examples of the input ``held``; those that a parameter enters are ``found``.

    axis: of the channels, of which a statistic may mix some.
    """

    def __init__(self, held: Tensor, axis: int) -> None:
        super().__init__({})
        self._held, self._axis = held, axis
        self.found: dict[tuple[int, int], Tensor] = {}

    def _constant(self, tensor: Tensor, place: tuple[int, int]) -> Tensor:
        if transformed(tensor) or tensor.grad_fn is None or not 0 < tensor.numel() < self._held.numel():
            return tensor
        leaves = leaves_of(tensor)
        if id(self._held) not in leaves or not self._of_several(tensor):
            return tensor
        if any(isinstance(leaf, nn.Parameter) for leaf in leaves.values()):
            self.found[place] = tensor.detach()
        return tensor.detach()

    def _of_several(self, tensor: Tensor) -> bool:
        """Whether one entry depends on more than one place of a channel: what is smaller may also be a part of the input, or of its image."""
        entries = tensor.reshape(-1)
        try:
            slopes = [torch.autograd.grad(e, self._held, retain_graph=True)[0] for e in (entries[0], entries[-1])]
        except RuntimeError:  # what it was computed from has been overwritten
            return True
        return any(int(slope.ne(0).any(self._axis).sum()) > 1 for slope in slopes)


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
    layer: nn.Module, own: Callable[..., Any], held: Tensor, axis: int, state: State, x: Tensor, given: tuple[Any, Any]
) -> Statistics:
    """The statistics that a layer computes from its parameters too, as they are where ``own``, its forward, is given ``given``.

    held: a leaf that equals its input x. axis: of the channels.
    """
    if not any(p.requires_grad for p in layer.parameters()):
        return {}
    seen = _Finding(held, axis)
    args, kwargs = convert(given, lambda tensor: held if tensor is x else tensor)
    devices = [x.device] if x.is_cuda else []
    with torch.random.fork_rng(devices), torch.enable_grad(), seen, as_it_was(layer, state, x):
        own(*args, **kwargs)
    return seen.found
