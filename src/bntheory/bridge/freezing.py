"""Normalisation over the batch with constants in place of its mean, its scale, or both.

What lives here: the constants that a network's layers have on one batch, and modules that use them. It is installed on a copy (a
twin) or, while a context is open, on the user's own model. Constants belong to a call, so a layer that is called several times has
several. What does not: which calls normalise (:mod:`bntheory.bridge.normalisers`).

**Partial freezing.** Let A be the layer with both statistics frozen at c and s. With the mean alone frozen the layer is
x -> A(c + s (x - c)/s(x)), with the scale alone A(c + x - mu(x)): the same rule for every kind of layer, whatever stands behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bntheory.bridge.constant_statistics import (
    ConstantStatistics,
    State,
    Statistics,
    as_it_was,
    statistics_of_parameters,
)
from bntheory.bridge.functional_calls import FUNCTIONS, Call
from bntheory.bridge.graph import of_a_weight
from bntheory.bridge.left_out import UNREACHABLE
from bntheory.bridge.networks.evaluation import convert, first_tensor
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.bridge.normalisers import Normalisation
from bntheory.bridge.units import eps_of
from bntheory.errors import UserError
from bntheory.evidence.counts import reasons

Freeze = Literal["both", "mean", "variance"]


@dataclass(frozen=True)
class Constants:
    """One call's mean and scale s = sqrt(var + eps) (s of its own where the layer divides by another norm), (C,) each.

    axis: of the channels. eps: added to the variance; None where the layer's scale is another than s, so that mean and scale cannot be
    frozen apart. held: the input of a layer written by hand, at which its affine map is read off. state: the mode and the buffers of the
    layer and of each module in it, as they were when it was called. statistics: those that a layer by hand computes from its parameters
    too, which may move, by their place in its forward.
    """

    mean: Tensor
    scale: Tensor
    axis: int = 1
    eps: float | None = 0.0
    held: Tensor | None = None
    state: State = ()
    statistics: Statistics = field(default_factory=dict)


def require_freezable(seen: Sequence[Normalisation], over_the_batch: Mapping[str, Any]) -> None:
    """Raise ValueError where nothing normalises over the batch, or where not all of it can be frozen."""
    for hidden in (n for n in seen if n.reason in UNREACHABLE):
        raise UserError(
            f"layer {hidden.name!r} normalises over the batch and {hidden.reason}. Its statistics cannot be frozen, and a twin would keep "
            "them alive"
        )
    if not over_the_batch:
        left = reasons({n.name: n.reason for n in seen if n.reason})
        why = f" ({'; '.join(left)})" if left else ""
        raise UserError(f"model: has no layer that normalises over the batch, so there is nothing to freeze{why}")


def _statistics(x: Tensor, axis: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and sqrt(var + eps) of each channel, (C,)."""
    over = [a for a in range(x.dim()) if a != axis % x.dim()]
    mean = x.mean(dim=over)
    return mean, torch.sqrt((x - _spread(mean, x, axis)).square().mean(dim=over) + eps)


def _spread(channel: Tensor, x: Tensor, axis: int) -> Tensor:
    return channel.reshape([-1 if a == axis % x.dim() else 1 for a in range(x.dim())])


def _moved(module: nn.Module, x: Tensor, constants: Constants, freeze: Freeze) -> Tensor:
    """The input at which the fully frozen layer has the output of the partially frozen one."""
    if x.shape[constants.axis] != len(constants.mean):
        raise UserError(
            f"a frozen layer with {len(constants.mean)} channels receives an input of shape {tuple(x.shape)}: the order of its calls "
            "differs from the pass in which its statistics were taken"
        )
    if freeze == "both":
        return x
    if constants.eps is None:
        raise UserError(
            "normalises over the batch by a scale of its own, and neither its mean nor its scale can be frozen alone; freeze='both' can"
        )
    c, s = (_spread(t.to(x), x, constants.axis) for t in (constants.mean, constants.scale))
    if isinstance(module, LpBatchNorm):
        live, moment = module.statistics(x)
        scale = module.scale(moment)
    else:
        live, scale = _statistics(x, constants.axis, constants.eps)
    if freeze == "mean":
        return c + s * ((x - c) / _spread(scale, x, constants.axis))
    return c + (x - _spread(live, x, constants.axis))


class FrozenStatistics(nn.Module):
    """Mixed into the class of a module that is frozen: each of its calls uses constants, in training and in evaluation mode alike."""

    has_frozen_statistics = True
    weight: Tensor | None
    bias: Tensor | None

    _constants: list[Constants | None]
    _freeze: Freeze
    _cursor: int

    def __init_subclass__(cls) -> None:
        """Without the call of the user's own class, which may refuse to be extended."""

    def _inner(self) -> Callable[..., Any]:
        """The forward that the module had: an override of the instance, or its class's."""
        own: Callable[..., Any] | None = self.__dict__.get("_own_forward")
        return super().forward if own is None else own

    def _next(self) -> Constants | None:
        found = self._constants[self._cursor % len(self._constants)]
        self.__dict__["_cursor"] = (self._cursor + 1) % len(self._constants)
        return found

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """A class that was made while running has no name by which pickle could find it."""
        make, arguments, *rest = cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        own = getattr(make, "__name__", "") != "__newobj__"
        return (make, arguments, *rest) if own else (_instance, type(self).__bases__, *rest)


class _FrozenModule(FrozenStatistics):
    """A layer that does nothing but normalise (torch's, or by an l_p norm): the affine map itself, also where it runs a second time."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        constants, x = self._next(), first_tensor(args, kwargs)
        if constants is None or x is None:
            return self._inner()(*args, **kwargs)
        return _affine(self, x, constants, self._freeze, self.weight, self.bias)


class _FrozenCalls(FrozenStatistics):
    """A module whose own code calls a functional batch normalisation."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with _Replaced(self):
            return self._inner()(*args, **kwargs)


class _FrozenByHand(FrozenStatistics):
    """A layer written by hand: the affine map that its own forward is on the batch, with whatever its gamma and beta depend on alive."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        x = first_tensor(args, kwargs)
        constants = None if x is None else self._next()
        if x is None or constants is None:
            return self._inner()(*args, **kwargs)
        assert constants.held is not None
        held = constants.held.to(x)
        statistics = ConstantStatistics(constants.statistics)
        args, kwargs = convert((args, kwargs), lambda tensor: held if tensor is x else tensor)
        with statistics, as_it_was(self, constants.state, x):
            z = self._inner()(*args, **kwargs)
        if constants.statistics and self._freeze != "both":
            raise UserError(
                "normalises over the batch by statistics that depend on its parameters, and neither its mean nor its scale can be frozen "
                "alone; freeze='both' can"
            )
        over = [a for a in range(x.dim()) if a != constants.axis % x.dim()]
        c, s = (_spread(t.double(), x, constants.axis) for t in (constants.mean, constants.scale))
        y_hat = (held.double() - c) / s
        weight = (z.double() * y_hat).sum(over) / y_hat.square().sum(over)
        return _affine(self, x, constants, self._freeze, weight.to(x), z.double().mean(over).to(x))


def _affine(
    module: nn.Module, x: Tensor, constants: Constants, freeze: Freeze, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    x = _moved(module, x, constants, freeze)
    c, s = (_spread(t.to(x), x, constants.axis) for t in (constants.mean, constants.scale))
    z = (x - c) / s
    if weight is not None:
        z = z * _spread(weight, x, constants.axis)
    return z if bias is None else z + _spread(bias, x, constants.axis)


_claims: list[None] = []


@contextmanager
def _claim() -> Iterator[None]:
    """While a call runs that belongs to an inner module, the modules around it do not count it as theirs."""
    _claims.append(None)
    try:
        yield
    finally:
        _claims.pop()


def _claimed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Call | None:
    """The call of a functional batch normalisation that nobody has claimed yet."""
    read = FUNCTIONS.get(func)
    call = None if read is None or _claims else read(*args, **(kwargs or {}))
    return call if call is not None and call.kind == "batch" else None


class _Replaced(TorchFunctionMode):
    """Answers a module's calls of a functional batch normalisation with their affine maps."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = module

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = _claimed(func, args, kwargs)
        if call is None:
            return func(*args, **(kwargs or {}))
        constants = self._module._next()
        if constants is None:
            with _claim():
                return func(*args, **(kwargs or {}))
        return _affine(self._module, call.x, constants, self._module._freeze, call.weight, call.bias)


# -- taking the constants, and installing them ---------------------------------------------------------------------------


class _Observer(TorchFunctionMode):
    """Notes the statistics of a module's functional batch normalisations."""

    def __init__(self, kept: list[Constants | None], weights: Sequence[Tensor]) -> None:
        super().__init__()
        self._kept, self._weights = kept, weights

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        call = _claimed(func, args, kwargs)
        if call is None:
            return func(*args, **(kwargs or {}))
        live = call.live and not of_a_weight(call.x, self._weights)
        taken = _statistics(call.x.detach(), 1, call.eps) if live else None
        self._kept.append(None if taken is None else Constants(*taken, 1, call.eps))
        with _claim():
            return func(*args, **(kwargs or {}))


def observed(
    modules: Mapping[str, nn.Module], by_hand: Mapping[str, tuple[int, float | None]], weights: Sequence[Tensor]
) -> tuple[dict[str, list[Constants | None]], Callable[[], None]]:
    """Wrap the forward of each module so that the next pass notes its constants; call what is returned to stop.

    by_hand: of the layers written by hand, the channels' axis and eps (None where their scale is one of their own). weights: the
    parameters that are standardised by the same function, and stay alive.
    """
    kept: dict[str, list[Constants | None]] = {name: [] for name in modules}

    def wrapped(name: str, module: nn.Module) -> Callable[..., Any]:
        own = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            x = first_tensor(args, kwargs)
            if isinstance(module, LpBatchNorm) and x is not None:
                live = module.training or module.running_mean is None
                mean, moment = module.statistics(x.detach())
                kept[name].append(Constants(mean, module.scale(moment)) if live else None)
                return own(*args, **kwargs)
            if name not in by_hand or x is None:
                with _Observer(kept[name], weights):
                    return own(*args, **kwargs)
            axis, eps = by_hand[name]
            held = x.detach().clone()
            named = min((e for e in eps_of(module) if eps is not None and e >= eps), default=eps)
            if eps is not None and named not in (None, eps):  # an unbiased variance, whose eps depends on the entries
                eps = named * (1 - held.shape[axis] / held.numel())
            state = [
                (m.training, {n: b.detach().clone() for n, b in m._buffers.items() if b is not None})
                for m in module.modules()
            ]
            held.requires_grad_()
            moving = statistics_of_parameters(module, own, held, axis, state, x, (args, kwargs))
            kept[name].append(Constants(*_statistics(held.detach(), axis, eps or 0.0), axis, eps, held, state, moving))
            return own(*args, **kwargs)

        return forward

    before = {name: module.__dict__.get("forward") for name, module in modules.items()}
    for name, module in modules.items():
        module.__dict__["forward"] = wrapped(name, module)

    def stop() -> None:
        for name, module in modules.items():
            if before[name] is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = before[name]

    return kept, stop


def _instance(kind: Any, cls: Any) -> Any:
    made = _frozen_class(kind, cls)
    return made.__new__(made)


_CLASSES: dict[tuple[Any, Any], Any] = {}


def _frozen_class(kind: type[FrozenStatistics], cls: type[nn.Module]) -> Any:
    return _CLASSES.setdefault((kind, cls), type(f"Frozen{cls.__name__}", (kind, cls), {"__module__": cls.__module__}))


def freeze_in_place(
    modules: Mapping[str, nn.Module],
    constants: Mapping[str, Sequence[Constants | None]],
    by_hand: Mapping[str, tuple[int, float | None]],
    freeze: Freeze,
) -> None:
    """Give each module the class that uses its constants; its parameters, buffers, hooks and name stay.

    Undone by the guard of its state, which restores classes and attributes (:mod:`bntheory.bridge.networks.state`).
    """
    for name, module in modules.items():
        plain = type(module).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)
        kind: type[FrozenStatistics]
        if isinstance(module, LpBatchNorm) or (plain and "forward" not in module.__dict__ and name not in by_hand):
            kind = _FrozenModule
        else:
            kind = _FrozenByHand if name in by_hand else _FrozenCalls
        own = module.__dict__.pop("forward", None)
        object.__setattr__(module, "__class__", _frozen_class(kind, type(module)))  # past a __setattr__ of the user's
        module.__dict__.update(_constants=list(constants[name]), _freeze=freeze, _cursor=0, _own_forward=own)
