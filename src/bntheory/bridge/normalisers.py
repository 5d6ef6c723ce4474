"""The one list of a network's normalisations: found by running it, and trusted only as far as they were seen to normalise.

A normalisation is a call of one of torch's functional normalisations, wherever it is made (a module of torch's own, a subclass with
a forward of its own, a user's code), or a module written by hand whose output and derivative equal a closed form on this batch. What
lives here: finding them, cutting them out of the graph, and why any is left out. What does not: what is measured on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode

from bntheory.bridge import left_out
from bntheory.bridge.batch_statistics import by_a_hook, by_a_statistic, own_normalisation
from bntheory.bridge.functional_calls import FUNCTIONS, Call
from bntheory.bridge.graph import of_a_weight
from bntheory.bridge.networks.evaluation import convert, first_tensor, plain_storage, requiring_a_gradient, transformed
from bntheory.bridge.networks.normalisation import LpBatchNorm, PrimitiveGroupNorm, PrimitiveLayerNorm
from bntheory.bridge.networks.partial_normalisation import detached_statistics
from bntheory.bridge.units import UnitView, is_scale, is_statistic, matched_view, unit_view
from bntheory.errors import UserError

KNOWN = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, LpBatchNorm, PrimitiveLayerNorm, PrimitiveGroupNorm)
#: The module that stands for the loss, by a name that no module of the model can have.
LOSS = "."


def is_normalisation(module: nn.Module) -> bool:
    """Whether a module is of a kind known to normalise, or says so (``is_batch_norm``)."""
    return isinstance(module, KNOWN) or bool(getattr(module, "is_batch_norm", False))


@dataclass(frozen=True)
class Normalisation:
    """One normalisation of one forward pass, as it was seen.

    name: of the module that makes the call, with ``#2`` for its second call (and another # where a module has that name). module: the
    same without the number. view: its units; None where it is left out, for the reason given. by_hand: a module written by hand, and
    not a functional call.
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
    """A module that is running, and what its own code was seen to do.

    x: its input. functional: calls one of torch's normalisations. scales: computes a square root or a norm. statistics: takes a spread of
    its batch. combines, divides: combines activations with, or divides them by, a statistic of the batch. before: how many normalisations
    were found before it began.
    """

    name: str
    module: nn.Module
    x: Tensor | None
    functional: bool = False
    scales: bool = False
    statistics: bool = False
    combines: bool = False
    divides: bool = False
    before: int = 0


class NormalisationTrace(TorchFunctionMode):
    """A context in which one forward pass of ``model`` is followed; afterwards ``found`` holds what it normalised, in order.

    by_hand: the calls of modules written by hand, by name, that an earlier pass has found to normalise; None to look for them, where
    only inputs that require a gradient can be verified. tap: whether each normalisation's input and output become nodes of their own.
    zero_eps: whether what answers the calls takes eps = 0.

    Afterwards, fused: how many of torch's fused calls used statistics of their input. differentiates, hooked: whether the pass takes
    derivatives itself, or hangs hooks on tensors. weights: the parameters that it standardises.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        by_hand: Mapping[str, Normalisation] | None = None,
        tap: bool = False,
        zero_eps: bool = False,
    ) -> None:
        super().__init__()
        self.found: list[Normalisation] = []
        self._model, self._by_hand, self._tap, self._zero_eps = model, by_hand, tap, zero_eps
        self._names = {item.module for item in (by_hand or {}).values()}
        self._taken = {name for name, _ in model.named_modules()}
        self._stack: list[_Frame] = []
        self._labels: dict[str, int] = {}
        self._own_scale: dict[str, tuple[int, None]] = {}
        self.fused = 0
        self.weights: list[Tensor] = []
        self._examples, self._outside = 0, _Frame(LOSS, model, None)
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
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()
        if error[0] is None:
            if self._outside.divides and self._by_hand is None:
                self._leave_out(self._label(LOSS), LOSS, left_out.ALIVE)
            self._name_the_missing()

    def over_the_batch(self) -> dict[str, tuple[int, float | None] | None]:
        """The modules with a normalisation whose statistics are the batch's; for one written by hand its channels' axis and eps.

        eps is None where it is none of the closed forms, but divides by, or centres with, statistics of its own.
        """
        found: dict[str, tuple[int, float | None] | None] = dict(self._own_scale)
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
            x = first_tensor(args, kwargs)
            changed = None
            if not self._stack and x is not None and plain_storage(x) and x.dim():
                self._examples = len(x)
                if self._by_hand is None and x.is_floating_point() and not x.requires_grad:  # a closure's own data
                    args, kwargs = changed = convert((args, kwargs), requiring_a_gradient)
                    x = first_tensor(args, kwargs)
            if self._tap and name in self._names and x is not None:
                given, x = x, _node(x)
                changed = convert((args, kwargs), lambda tensor: x if tensor is given else tensor)
            self._stack.append(_Frame(name, module, x, before=len(self.found)))
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
            plain = isinstance(z, Tensor) and frame.x is not None and not frame.functional
            if self._by_hand is not None:
                return self._record_by_hand(frame, z) if plain and name in self._names else None
            if not isinstance(z, Tensor) and frame.statistics and not frame.functional:
                self._leave_out(self._label(name), name, left_out.INSIDE)
            if plain and (frame.scales or is_normalisation(module)):
                self._try(frame, z)
            self._settle(frame, z)
            return None

        return hook

    def _try(self, frame: _Frame, z: Tensor) -> None:
        """Find the closed form of a module that computes a scale by hand, or the reason why it is left out."""
        x, module = frame.x, frame.module
        if x is None or (z.shape != x.shape and not is_normalisation(module)):
            if frame.statistics:
                self._leave_out(self._label(frame.name), frame.name, left_out.INSIDE)
            return
        if not x.is_floating_point() or transformed(x):
            if frame.statistics and transformed(x):
                self._leave_out(self._label(frame.name), frame.name, left_out.BY_HAND_INSIDE_TRANSFORM)
            return
        label, view = self._label(frame.name), None
        constant = isinstance(module, LpBatchNorm) and not module.training and module.running_mean is not None
        if constant or getattr(module, "has_frozen_statistics", False):
            self._leave_out(label, frame.name, left_out.CONSTANTS)
            return
        if not torch.is_grad_enabled():
            self._leave_out(label, frame.name, left_out.NO_GRAD)
            return
        if x.requires_grad and z.requires_grad:
            self._looking = True  # the roots taken here are none of the module around
            view = matched_view(module, x, z, label)
            self._looking = False
        if view is not None and view.kind == "batch" and by_a_hook(module, x, z):
            self._leave_out(label, frame.name, left_out.HOOKED)
        elif view is None:
            detached = detached_statistics(module)
            reason = (
                left_out.DETACHED.format(detached) if detached else left_out.UNMATCHED.format(type(module).__name__)
            )
            self._leave_out(label, frame.name, reason)
        else:
            self._forget_parts(frame)
            self.found.append(Normalisation(label, frame.name, view, by_hand=True, y=x))

    def _forget_parts(self, frame: _Frame) -> None:
        """Of a layer that is found, the modules inside of it that computed its statistics are no layers of their own."""
        inside = [n for n in self.found[frame.before :] if n.reason != left_out.INSIDE]
        self.found[frame.before :] = inside

    def _settle(self, frame: _Frame, z: Any) -> None:
        """Decide about a module whose own code normalises over the batch by none of the closed forms: frozen as a whole, or out of reach."""
        inside = self.found[frame.before :]
        own = [n for n in inside if n.module == frame.name]
        if (
            any(n.by_hand or n.reason == left_out.HOOKED for n in own)
            or isinstance(frame.module, LpBatchNorm)
            or hasattr(frame.module, "has_frozen_statistics")
            or not (frame.scales or frame.combines)
        ):
            return
        batch = any(n.module in self._own_scale or (n.view is not None and n.view.kind == "batch") for n in inside)
        self._looking = True
        normalises, axis = (False, None) if batch else own_normalisation(frame.x, z, spread=frame.statistics)
        self._looking = False
        if not normalises and not frame.divides:
            if axis is not None and left_out.UNMATCHED.format(type(frame.module).__name__) in {n.reason for n in own}:
                self.found[-1] = replace(self.found[-1], reason=left_out.CONSTANTS)
            return
        earlier = [n for n in own if n.view is None][-1:]
        label = earlier[0].name if earlier else self._label(frame.name)
        self.found = [n for n in self.found if not any(n is gone for gone in earlier)]
        if axis is not None:
            self._own_scale[frame.name] = (axis, None)
            self._forget_parts(frame)
            self._leave_out(label, frame.name, left_out.OWN_SCALE.format(type(frame.module).__name__))
        else:
            self._leave_out(label, frame.name, left_out.ALIVE if frame.divides else left_out.MIXED)

    def _record_by_hand(self, frame: _Frame, z: Tensor) -> Tensor | None:
        label = self._label(frame.name)
        known = (self._by_hand or {}).get(label)
        if known is None or known.view is None or not self._tap:
            return None
        view = known.view
        weight, bias = (
            p if isinstance(p, Tensor) and p.shape == v.shape and torch.allclose(p.to(v), v, rtol=1e-5) else None
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
        read, frame = FUNCTIONS.get(func), self._stack[-1] if self._stack else self._outside
        if read is None:
            if not self._looking:
                self._note(frame, func, args, kwargs)
            self.hooked |= func is Tensor.register_hook
            return func(*args, **kwargs)
        frame.functional = True
        call, label = read(*args, **kwargs), self._label(frame.name)
        self.fused += call.live and call.kind in ("batch", "instance")
        view = self._view_or_reason(call, label)
        if isinstance(view, str):
            self._leave_out(label, frame.name, view)
            return func(*args, **kwargs)
        if not self._tap:
            z = func(*args, **kwargs)
            self.found.append(Normalisation(label, frame.name, view, y=call.x, weight=call.weight, bias=call.bias))
            return z
        y = _node(call.x)
        args, kwargs = ((y, *args[1:]), kwargs) if args else (args, {**kwargs, "input": y})
        z = func(*args, **kwargs)
        self.found.append(Normalisation(label, frame.name, view, "", False, y, z, call.weight, call.bias))
        return z.clone()  # an in-place activation downstream must not overwrite what was measured

    def _note(self, frame: _Frame, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What an operation that is no normalisation says about the module whose code calls it."""
        self.differentiates |= func in (torch.autograd.grad, torch.autograd.backward, Tensor.backward)
        frame.scales |= is_scale(func, args, kwargs)
        frame.statistics |= is_statistic(func, args, kwargs)
        if self._by_hand is None and self._examples > 1:
            combines, divides = by_a_statistic(func, args, kwargs, self._examples)
            frame.combines |= combines
            frame.divides |= divides

    def _view_or_reason(self, call: Call, label: str) -> UnitView | str:
        """The units of a functional normalisation, or the reason why it is left out."""
        reason = "" if call.live else left_out.CONSTANTS
        if call.live and not torch.is_grad_enabled():
            reason = left_out.NO_GRAD
        if call.live and call.kind == "batch" and not call.eps > 0 and not self._zero_eps:
            raise UserError(
                f"layer {label!r} has eps = {call.eps}, which torch's batch norm refuses; use a small eps > 0, "
                "normalisation='primitive', or to_primitive(model), whose layers take eps = 0"
            )
        if call.live and transformed(call.x):
            reason = left_out.INSIDE_TRANSFORM + ("" if call.kind == "batch" else left_out.NOT_OVER_THE_BATCH)
        elif (call.kind, self._by_hand) == ("batch", None):  # told by data that require a gradient
            weights = of_a_weight(call.x, self._model.parameters(), self._examples)
            self.weights += weights
            reason = left_out.WEIGHT if weights else reason
        if reason:
            return reason
        try:
            view = unit_view(call.kind, call.x.detach(), call.weight, call.bias, call.eps, call.layout, label)
        except UserError:
            if call.kind in ("batch", "instance"):  # what torch itself refuses
                raise
            return left_out.ONE_ENTRY
        return left_out.TRANSPOSED.format(call.kind) if view.over_the_examples(self._examples) else view

    def _label(self, name: str) -> str:
        count = self._labels[name] = self._labels.get(name, 0) + 1
        label = shown_name(name) + (f"#{count}" if count > 1 else "")
        while label != name and label in self._taken:
            label += "#"
        return label

    def _leave_out(self, label: str, module: str, reason: str) -> None:
        self.found.append(Normalisation(label, module, None, reason))

    def _name_the_missing(self) -> None:
        for name, module in self._model.named_modules():
            scripted = isinstance(module, torch.jit.ScriptModule) and "Norm" in module.original_name
            if not (is_normalisation(module) or scripted) or name in self._labels:
                continue
            if scripted:
                live = module.training and "BatchNorm" in module.original_name
                reason = left_out.SCRIPTED if live else left_out.SCRIPTED + left_out.NOT_OVER_THE_BATCH
            elif name in self.called:
                reason = left_out.UNMATCHED.format(type(module).__name__)
            else:
                reason = left_out.UNREACHED
            self._leave_out(self._label(name), name, reason)


def shown_name(module: str) -> str:
    """A module's name as results and messages show it."""
    return {"": "(model)", LOSS: "(loss)"}.get(module, module)


def _node(x: Tensor) -> Tensor:
    """A node of its own: the derivative with respect to it goes through this layer and nothing around it."""
    return x.clone() if x.requires_grad else x.detach().clone().requires_grad_()
