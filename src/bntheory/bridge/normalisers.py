"""The one list of a network's normalisations: found by running it, and trusted only as far as they were seen to normalise.

A normalisation is a call of one of torch's functional normalisations, wherever it is made (a module of torch's own, a subclass with
a forward of its own, a user's code), or a module written by hand whose output and derivative equal a closed form on this batch. What
lives here: finding them, cutting them out of the graph, and why any is left out. What does not: what is measured on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from bntheory.bridge.networks.evaluation import tensors_in, transformed
from bntheory.bridge.networks.normalisation import (
    LpBatchNorm,
    PrimitiveGroupNorm,
    PrimitiveLayerNorm,
)
from bntheory.bridge.networks.partial_normalisation import detached_statistics
from bntheory.bridge.units import Kind, UnitView, is_scale, is_statistic, matched_view, unit_view
from bntheory.errors import UserError

__all__ = [
    "FUNCTIONS",
    "LOSS",
    "NO_GRADIENT",
    "Call",
    "Normalisation",
    "NormalisationTrace",
    "is_normalisation",
]

KNOWN = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, LpBatchNorm, PrimitiveLayerNorm, PrimitiveGroupNorm)  # fmt: skip
#: The name of what is called outside of the model.
LOSS = "(loss)"


def is_normalisation(module: nn.Module) -> bool:
    """Whether a module is of a kind known to normalise, or says so (``is_batch_norm``)."""
    return isinstance(module, KNOWN) or bool(getattr(module, "is_batch_norm", False))


@dataclass(frozen=True)
class Call:
    """A call of a functional normalisation, by one set of names. live: its statistics are those of its input."""

    kind: Kind
    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    layout: Any = None
    live: bool = True


def _f_batch(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):  # type: ignore[no-untyped-def]  # fmt: skip
    return Call("batch", input, weight, bias, eps, live=bool(training) or running_mean is None)


def _t_batch(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True):  # type: ignore[no-untyped-def]  # fmt: skip
    return Call("batch", input, weight, bias, eps, live=bool(training) or running_mean is None)


def _f_instance(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5):  # type: ignore[no-untyped-def]  # fmt: skip
    return Call("instance", input, weight, bias, eps, live=bool(use_input_stats))


def _t_instance(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=True):  # type: ignore[no-untyped-def]  # fmt: skip
    return Call("instance", input, weight, bias, eps, live=bool(use_input_stats))


def _layer(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):  # type: ignore[no-untyped-def]
    return Call("layer", input, weight, bias, eps, tuple(normalized_shape))


def _group(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):  # type: ignore[no-untyped-def]
    return Call("group", input, weight, bias, eps, num_groups)


def _rms(input, normalized_shape, weight=None, eps=None):  # type: ignore[no-untyped-def]
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return Call("rms", input, weight, None, eps, tuple(normalized_shape))


#: torch's functional normalisations, and how their arguments are read.
FUNCTIONS: dict[Any, Callable[..., Call]] = {
    functional.batch_norm: _f_batch,
    torch.batch_norm: _t_batch,
    functional.instance_norm: _f_instance,
    torch.instance_norm: _t_instance,
    functional.layer_norm: _layer,
    torch.layer_norm: _layer,
    functional.group_norm: _group,
    torch.group_norm: _group,
    functional.rms_norm: _rms,
    torch.rms_norm: _rms,
}


@dataclass(frozen=True)
class Normalisation:
    """One normalisation of one forward pass, as it was seen.

    name: of the module that makes the call, with ``#2`` for its second call. module: the same without the number. view: its units;
    None where it is left out, for the reason given. by_hand: a module written by hand, and not a functional call.
    y, z: its input, as a node of the graph of its own, and its output (None unless they were asked for). weight, bias: the tensors
    that it was called with.
    """

    name: str
    module: str
    view: UnitView | None
    reason: str = ""
    by_hand: bool = False
    y: Tensor | None = field(default=None, repr=False)
    z: Tensor | None = field(default=None, repr=False)
    weight: Tensor | None = field(default=None, repr=False)
    bias: Tensor | None = field(default=None, repr=False)


@dataclass
class _Frame:
    """A module that is running."""

    name: str
    module: nn.Module
    x: Tensor | None
    functional: bool = False
    scales: bool = False
    statistics: bool = False


class NormalisationTrace(TorchFunctionMode):
    """A context in which one forward pass of ``model`` is followed; afterwards ``found`` holds what it normalised, in order.

    by_hand: the calls of modules written by hand, by name, that an earlier pass has found to normalise; None to look for them, where
    only inputs that require a gradient can be verified. tap: whether each normalisation's input and output become nodes of their own.
    zero_eps: whether what answers the calls takes eps = 0. Afterwards, differentiates, hooked: whether the pass takes derivatives itself, or hangs hooks on
    tensors.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        by_hand: Mapping[str, UnitView] | None = None,
        tap: bool = False,
        zero_eps: bool = False,
    ) -> None:
        super().__init__()
        self.found: list[Normalisation] = []
        self._model, self._by_hand, self._tap, self._zero_eps = model, by_hand, tap, zero_eps
        self._names = {label.partition("#")[0] for label in by_hand or ()}
        self._stack: list[_Frame] = []
        self._labels: dict[str, int] = {}
        self.called: set[str] = set()
        self.differentiates = self.hooked = False
        self.where = ""
        self._looking = False

    def __enter__(self) -> NormalisationTrace:
        self._handles: list[Any] = []
        for name, module in self._model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            self._handles += [
                module.register_forward_pre_hook(self._before(name), with_kwargs=True),
                module.register_forward_hook(self._after(name), with_kwargs=True, always_call=True),
            ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self._handles:
            handle.remove()
        if error[0] is None:
            self._name_the_missing()

    def over_the_batch(self) -> dict[str, tuple[int, float] | None]:
        """The modules with a normalisation whose statistics are the batch's; for one written by hand its channels' axis and eps."""
        found: dict[str, tuple[int, float] | None] = {}
        for item in self.found:
            if item.view is not None and item.view.kind == "batch":
                (axis,) = (a for a in range(len(item.view.shape)) if a not in item.view.axes)
                found[item.module] = (axis, item.view.eps) if item.by_hand else None
        for name, module in self._model.named_modules():
            live = isinstance(module, LpBatchNorm) and (module.training or module.running_mean is None)
            if live and name in self.called and not hasattr(module, "has_frozen_statistics"):
                found[name] = None
        return found

    # -- modules ---------------------------------------------------------------------------------------------------

    def _before(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            x = next(iter(tensors_in((args, kwargs))), None)
            changed = None
            if self._tap and name in self._names and x is not None:
                x = _node(x)
                changed = ((x, *args[1:]), kwargs) if args else (args, {**kwargs, next(iter(kwargs)): x})
            self._stack.append(_Frame(name, module, x))
            self.called.add(name)
            self.where = f"{name or '(model)'} ({type(module).__name__})"
            return changed

        return hook

    def _after(self, name: str) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, kwargs: Any, z: Any) -> Any:
            if not self._stack or self._stack[-1].name != name:
                return None  # always called, also while an exception passes
            frame = self._stack.pop()
            if self._stack:
                outer = self._stack[-1]
                self.where = f"{outer.name or '(model)'} ({type(outer.module).__name__})"
            if (
                not isinstance(z, Tensor)
                and frame.statistics
                and not frame.functional
                and self._by_hand is None
            ):
                self._leave_out(self._label(name), name, _INSIDE)
            if not isinstance(z, Tensor) or frame.x is None or frame.functional:
                return None
            if self._by_hand is not None:
                return self._record_by_hand(frame, z) if name in self._names else None
            if frame.scales or is_normalisation(module):
                self._try(frame, z)
            return None

        return hook

    def _try(self, frame: _Frame, z: Tensor) -> None:
        """A module that computes a scale by hand: which closed form is it?"""
        x, module = frame.x, frame.module
        if x is None or (z.shape != x.shape and not is_normalisation(module)):
            if frame.statistics:
                self._leave_out(self._label(frame.name), frame.name, _INSIDE)
            return
        if not x.is_floating_point() or transformed(x):
            if frame.statistics and transformed(x):
                self._leave_out(self._label(frame.name), frame.name, _BY_HAND_INSIDE_TRANSFORM)
            return
        label, view = self._label(frame.name), None
        constant = isinstance(module, LpBatchNorm) and not module.training and module.running_mean is not None
        if constant or getattr(module, "has_frozen_statistics", False):
            self._leave_out(label, frame.name, _CONSTANTS)
            return
        if not torch.is_grad_enabled():
            self._leave_out(label, frame.name, _NO_GRAD)
            return
        if x.requires_grad and z.requires_grad:
            self._looking = True  # the roots taken here are none of the module around
            view = matched_view(module, x, z, label)
            self._looking = False
        if view is None:
            detached = detached_statistics(module)
            reason = _DETACHED.format(detached) if detached else _UNMATCHED.format(type(module).__name__)
            self._leave_out(label, frame.name, reason)
        else:
            self.found.append(Normalisation(label, frame.name, view, by_hand=True, y=x))

    def _record_by_hand(self, frame: _Frame, z: Tensor) -> Tensor | None:
        label = self._label(frame.name)
        view = (self._by_hand or {}).get(label)
        if view is None or not self._tap:
            return None
        weight, bias = (
            p
            if isinstance(p, Tensor) and p.shape == v.shape and torch.allclose(p.to(v), v, rtol=1e-5)
            else None
            for p, v in (
                (getattr(frame.module, "weight", None), view.gamma),
                (getattr(frame.module, "bias", None), view.beta),
            )
        )
        bias = None if weight is None else bias
        self.found.append(Normalisation(label, frame.name, view, "", True, frame.x, z, weight, bias))
        return z.clone()

    # -- functional calls --------------------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        read = FUNCTIONS.get(func)
        if read is None:
            self.differentiates |= (
                func in (torch.autograd.grad, torch.autograd.backward, Tensor.backward) and not self._looking
            )
            self.hooked |= func is Tensor.register_hook
            if self._stack and not self._looking:
                self._stack[-1].scales |= is_scale(func, args, kwargs)
                self._stack[-1].statistics |= is_statistic(func, args, kwargs)
            return func(*args, **kwargs)
        frame = self._stack[-1] if self._stack else _Frame(LOSS, self._model, None)
        frame.functional = True
        call, label = read(*args, **kwargs), self._label(frame.name)
        reason = "" if call.live else _CONSTANTS
        if call.live and not torch.is_grad_enabled():
            reason = _NO_GRAD
        if call.live and call.kind == "batch" and not call.eps > 0 and not self._zero_eps:
            raise UserError(
                f"layer {label!r} has eps = {call.eps}, which torch's batch norm refuses; use a small eps > 0, "
                "normalisation='primitive', or to_primitive(model), whose layers take eps = 0"
            )
        if call.live and transformed(call.x):
            reason = (
                INSIDE_TRANSFORM
                if call.kind == "batch"
                else INSIDE_TRANSFORM + " (none of it is over the batch)"
            )
        if reason:
            self._leave_out(label, frame.name, reason)
            return func(*args, **kwargs)
        view = unit_view(call.kind, call.x.detach(), call.weight, call.bias, call.eps, call.layout, label)
        if not self._tap:
            z = func(*args, **kwargs)
            self.found.append(
                Normalisation(label, frame.name, view, y=call.x, weight=call.weight, bias=call.bias)
            )
            return z
        y = _node(call.x)
        args, kwargs = ((y, *args[1:]), kwargs) if args else (args, {**kwargs, "input": y})
        z = func(*args, **kwargs)
        self.found.append(Normalisation(label, frame.name, view, "", False, y, z, call.weight, call.bias))
        return z.clone()  # an in-place activation downstream must not overwrite what was measured

    def _label(self, name: str) -> str:
        count = self._labels[name] = self._labels.get(name, 0) + 1
        shown = name or "(model)"
        return shown if count == 1 else f"{shown}#{count}"

    def _leave_out(self, label: str, module: str, reason: str) -> None:
        self.found.append(Normalisation(label, module, None, reason))

    def _name_the_missing(self) -> None:
        for name, module in self._model.named_modules():
            scripted = isinstance(module, torch.jit.ScriptModule) and "Norm" in module.original_name
            if not (is_normalisation(module) or scripted) or name in self._labels:
                continue
            if scripted:
                reason = "is scripted, and a compiled graph does not show its layers; measure the model that was scripted"
            elif name in self.called:
                reason = _UNMATCHED.format(type(module).__name__)
            else:
                reason = "the forward pass does not reach it"
            self._leave_out(self._label(name), name, reason)


_NO_GRAD = "runs under torch.no_grad(): no derivative passes through it"
_CONSTANTS = (
    "its statistics are constants (running or frozen ones): an affine map, and no normalisation of this batch"
)
_UNMATCHED = "{}: its own forward, or its derivative, equals none of the closed forms (batch, layer, group, instance, RMS) on this batch"

#: How the reason begins for a layer whose statistics are detached.
NO_GRADIENT = "lets no gradient through its"
_DETACHED = NO_GRADIENT + " {}, as it was asked to: its input gradient is not that of a normalisation"
_INSIDE = "computes a mean and a scale by hand in the middle of its forward, where no layer can be cut out or frozen; write it as a module"


#: The reason for a layer that normalises over the batch where a transform (torch.vmap, torch.func) hides its tensors.
INSIDE_TRANSFORM = "runs inside of torch.vmap or torch.func, where it cannot be cut out of the graph"
_BY_HAND_INSIDE_TRANSFORM = INSIDE_TRANSFORM + " (it is written by hand)"


def _node(x: Tensor) -> Tensor:
    """A node of its own: the derivative with respect to it goes through this layer and nothing around it."""
    return x.clone() if x.requires_grad else x.detach().clone().requires_grad_()
