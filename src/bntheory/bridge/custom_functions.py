"""Second derivatives through a user's own ``autograd.Function``, held against differences of the gradient.

A backward that is marked ``once_differentiable``, or that computes with detached tensors, lets no second derivative through. Torch says
nothing about it: ``autograd.grad`` visits only what lies on a path to the parameters, and the path ends there. What remains is often
symmetric, so that no check of symmetry finds it either. What lives here: this check, made only where the graph holds such a function.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import product as pairs_of
from typing import Any

import torch
from torch import Tensor, finfo
from torch.overrides import TorchFunctionMode

from bntheory.bridge.draws import normal_like
from bntheory.bridge.explanation import first_backward, second_backward
from bntheory.bridge.networks.evaluation import convert, flat, plain_storage
from bntheory.bridge.objective import Objective
from bntheory.errors import UserError


def check_custom_functions(objective: Objective) -> None:
    """Refuse a loss whose gradient, a small step away, has not changed as its second backward pass says.

    A surrogate gradient (a straight-through estimator) is by intention not the loss's, so there is nothing to compare its derivative with,
    and it passes. It is told by this: it is not the derivative of the loss, whether what the forward pass detaches is held constant or not.
    Several lengths of the step are tried, since the kink of an activation may lie within one of them; one that agrees is enough.
    """
    names = objective.examination.custom_functions
    if not names:
        return
    try:
        work = objective.changed(dtype=torch.float64, private=True)
        tolerance = 1e-3
        work.check()  # constants of a twin are those of the model's own point
    except UserError:  # a kernel of its own precision
        work = objective.changed(private=True)
        tolerance = 0.05
        work.check()
    left = set(names)
    for index, examined in enumerate(work.examinations):
        if left.intersection(examined.custom_functions):
            _check_on(work, index, tolerance, examined.custom_functions)
        left.difference_update(examined.custom_functions)


def _check_on(work: Objective, index: int, tolerance: float, names: Sequence[str]) -> None:
    leaves = list(work.parameters.values())
    generator = torch.Generator().manual_seed(0)
    directions = [normal_like(p, generator) for p in leaves]
    held = _Held()
    with work.conditions(index, reseed=0):
        with held:
            value = work.value(index)
        slopes = first_backward(work, value, leaves, index)
        live = [(g, v) for g, v in zip(slopes, directions, strict=True) if g is not None and g.requires_grad]
        found = second_backward([g for g, _ in live], leaves, [v for _, v in live]) if live else [None] * len(leaves)
    product, slope, along = (_flat(t, leaves) for t in (found, slopes, directions))
    size = max(float(_flat(leaves, leaves).norm() / along.norm()), 1e-3)
    # with what was held constant, and without: a fixed point is found under no_grad as well
    apart = {True: 1.0, False: 1.0}
    surrogate = {True: True, False: True}
    for share, hold in pairs_of((1.0, 0.1, 0.01), apart):
        step = share * size * float(finfo(leaves[0].dtype).eps) ** (1 / 3)
        (above, ahead), (below, behind) = (
            _moved(work, index, directions, s, held if hold else None) for s in (step, -step)
        )
        change, rise = (ahead - behind) / (2 * step), (above - below) / (2 * step)
        surrogate[hold] &= abs(rise - float(slope @ along)) > tolerance * float(slope.norm())
        larger = max(float(change.norm()), float(product.norm()))
        apart[hold] = min(apart[hold], float((change - product).norm()) / larger if larger > 0 else 0.0)
        if apart[hold] <= tolerance:
            return
    if all(surrogate.values()):
        return
    raise UserError(
        f"the second derivative through {', '.join(names)} is wrong: along a random direction the gradient changes otherwise than its "
        f"second backward pass says, by {min(apart.values()):.2g} of it. The backward of a torch.autograd.Function, or a hook, has to be differentiable itself (no "
        "once_differentiable, no_grad, .detach() or .data in it): write it with plain tensor operations"
    )


class _Held(TorchFunctionMode):
    """What a forward pass holds constant, by ``.detach()``, ``torch.no_grad()`` or otherwise: every tensor without a gradient that an
    operation with gradients takes. Noted in the first pass, and the same in every later one."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Tensor] = []
        self._later: list[Tensor] | None = None

    def again(self) -> _Held:
        self._later = list(self._kept)
        return self

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if torch.is_grad_enabled() and name not in ("__get__", "__set__", "detach"):
            args = convert(args, self._constant)
        return func(*args, **kwargs)

    def _constant(self, tensor: Tensor) -> Tensor:
        if tensor.requires_grad or not plain_storage(tensor):
            return tensor
        if self._later is None:
            self._kept.append(tensor.clone())
            return tensor
        if self._later and self._later[0].shape == tensor.shape and self._later[0].dtype == tensor.dtype:
            return self._later.pop(0)
        return tensor


def _moved(
    work: Objective, index: int, directions: list[Tensor], step: float, held: _Held | None
) -> tuple[float, Tensor]:
    """The loss and its gradient a step away."""
    leaves = list(work.parameters.values())
    with work.movable():
        with torch.no_grad():
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf.add_(direction, alpha=step)
        with work.conditions(index, reseed=0):
            with nullcontext() if held is None else held.again():
                value = work.value(index)
            slopes = first_backward(work, value, leaves, index, again=work.differentiates)
            return float(value.detach()), _flat(slopes, leaves)


def _flat(values: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    return flat([torch.zeros_like(p) if t is None else t for t, p in zip(values, like, strict=True)])
