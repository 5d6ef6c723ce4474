"""The tensors that are measured: a model's own, or ones that stand for them while it is evaluated.

A model is never copied for a change of precision. Stand-ins take the places of its parameters while an evaluation runs, and leave them
afterwards, so that a loss that refers to the model (a penalty on its weights, a closure) meets what is measured.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.fences import unwrapped
from bntheory.bridge.networks.evaluation import convert, plain_storage, transformed
from bntheory.bridge.networks.places import CONTAINERS, ENTRIES, attributes_of, count_from_here, refill, set_attributes
from bntheory.errors import UserError


class Unchanged:
    """Tensors that a graph was built of: :meth:`require` refuses products once one of them was changed, in whatever way."""

    def __init__(self, tensors: Iterable[tuple[str, Tensor]], what: str, again: str) -> None:
        self._what, self._again = what, again
        self._tensors = [(name, t, t._version, _digest(t)) for name, t in tensors]

    def require(self) -> None:
        """Raises ValueError naming the tensor that was changed."""
        for name, tensor, version, digest in self._tensors:
            # a change by way of ``.data`` (vector_to_parameters, an optimiser of one's own) leaves the version
            if tensor._version != version or _digest(tensor) != digest:
                raise UserError(
                    f"{name} was changed after the {self._what}, whose graph belongs to the old values; {self._again} after every step"
                )


def _digest(tensor: Tensor) -> Any:
    """A tensor's place in memory, and sums that show a change of its entries.

    The entries are laid out as a square and summed along rows and along columns, so that exchanging two of them changes a sum too.
    """
    if not plain_storage(tensor):
        return None
    flat = tensor.detach() if not tensor.is_complex() else torch.view_as_real(tensor.detach().resolve_conj())
    flat, side = flat.reshape(-1), math.isqrt(flat.numel())
    square, rest = flat[: side * side].view(side, side), flat[side * side :].double()
    sums = torch.cat([square.sum(0, dtype=rest.dtype), square.sum(1, dtype=rest.dtype), rest])
    found = sums.cpu().numpy().tobytes()  # since what is not a number equals itself as bytes alone
    return tensor.data_ptr(), found


class MeasuredTensors:
    """The parameters and buffers of ``model`` as they are measured, in ``dtype`` (its own if None).

    network, prefix: the module without compiled and parallel wrappers, and what these put before its parameters' names. leaves: what is
    measured, by name, tied ones under every name. stand_ins: by the id of the parameter whose place they take. cast: the precision
    into which every operation is brought; None for none. precision: of the measurement, None where the model has several. own: that of the
    model, None where it has several.

    private: stand-ins for all parameters, so that points may be moved freely.

    Raises ValueError for complex parameters and for lazy ones that have no values yet.
    """

    def __init__(self, model: nn.Module | None, dtype: torch.dtype | None, private: bool) -> None:
        self.network, self.prefix = (nn.Module(), "") if model is None else unwrapped(model)
        self._dtype = dtype
        for name, p in (*self.network.named_parameters(), *self.network.named_buffers()):
            if torch.nn.parameter.is_lazy(p):
                raise UserError(f"{name} is lazy and has no values yet; run one batch through the model first")
        tensors = [*self.network.parameters(), *self.network.buffers()]
        scripted = any(isinstance(module, torch.jit.ScriptModule) for module in self.network.modules())
        kinds = {t.dtype for t in tensors if t.is_floating_point()}
        self.own = kinds.pop() if len(kinds) == 1 else None
        other = dtype is not None and any(t.is_floating_point() and t.dtype != dtype for t in tensors)
        # in double precision every constant counts; in single, what the model does in double by hand stays
        self.cast = dtype if other or dtype == torch.float64 else None
        # those of inference mode have no gradients, and hooks of a training loop (clipping) would change them
        private = private or any(t.is_inference() or getattr(t, "_backward_hooks", None) for t in tensors)
        if scripted and (private or other):
            # the tensors of a compiled graph cannot be exchanged: here a copy of the model is needed
            trains = [p.requires_grad for p in self.network.parameters()]
            with torch.no_grad():
                self.network = copy.deepcopy(self.network)
                self.network = self.network if dtype is None else self.network.to(dtype)
            for p, train in zip(self.network.parameters(), trains, strict=True):
                p.requires_grad_(train)
            private = other = False
        named = list(self.network.named_parameters(remove_duplicate=False))
        _refuse_impossible(named)
        self.stand_ins: dict[int, nn.Parameter] = {}
        if private or other:
            for _, p in named:
                if id(p) not in self.stand_ins:
                    values = p.detach().to(self._target(p), copy=True)
                    self.stand_ins[id(p)] = nn.Parameter(values, requires_grad=p.requires_grad)
        self.leaves: dict[str, Tensor] = {name: self.measured(p) for name, p in named}
        floating = {t.dtype for t in self.leaves.values() if t.is_floating_point()}
        self.precision = dtype or (floating.pop() if len(floating) == 1 else None)
        self.compiled = model is not None and any(
            type(m).__name__ == "OptimizedModule" or getattr(m, "_compiled_call_impl", None) is not None
            for m in model.modules()
        )

    def _target(self, tensor: Tensor) -> torch.dtype:
        return self._dtype if self._dtype is not None and tensor.is_floating_point() else tensor.dtype

    def measured(self, tensor: Tensor) -> Tensor:
        """What is measured in place of a tensor of the user's: itself, or its stand-in."""
        return self.stand_ins.get(id(tensor), tensor)

    def trainable(self) -> dict[str, Tensor]:
        """The leaves that require a gradient; tied ones once, under their first name. Raises ValueError if there are none."""
        seen: dict[int, str] = {}
        for name, leaf in self.leaves.items():
            if leaf.requires_grad:
                seen.setdefault(id(leaf), name)
        if not seen:
            raise UserError("model: no parameter requires a gradient, so there is nothing to differentiate by")
        return {name: self.leaves[name] for name in seen.values()}

    def install(self, *beside: Any) -> None:
        """Put the stand-ins into the modules, and remove hooks on gradients.

        Buffers, and plain tensors that attributes, containers and names hold, are replaced by copies: a pass may change them, and a graph may keep them.

        beside: other objects and modules that an evaluation may change. A guard of the state of all of them undoes it.
        """
        copies: dict[int, Any] = {}  # one for all places, so that one module reads what another leaves

        def copied(tensor: Tensor) -> Tensor:
            if tensor.requires_grad or transformed(tensor):
                return tensor
            found: Tensor = copies.setdefault(id(tensor), tensor.to(self._target(tensor), copy=True))
            return found

        parts = [m for o in (self.network, *beside) for m in (o.modules() if isinstance(o, nn.Module) else (o,))]
        containers: dict[int, Any] = {}
        for part in {id(part): part for part in parts if not isinstance(part, torch.jit.ScriptModule)}.values():
            held = {name: v for name, v in attributes_of(part).items() if name not in ("_parameters", "_modules")}
            containers |= {id(one): one for one in (part, *held.values()) if isinstance(one, CONTAINERS)}
            changed = {n: exchanged(v, copied, copies) for n, v in held.items() if not isinstance(v, _PLAIN)}
            set_attributes(part, {n: v for n, v in changed.items() if v is not held[n]})
        for container in containers.values():
            exchange_entries(container, copied, copies)
        for module in self.network.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # the guard puts the values back
            module._backward_hooks.clear()
            module._backward_pre_hooks.clear()
            if self.stand_ins:
                for name, p in module._parameters.items():
                    if p is not None:
                        module._parameters[name] = self.stand_ins[id(p)]


def _refuse_impossible(parameters: Iterable[tuple[str, Tensor]]) -> None:
    for name, p in parameters:
        if p.requires_grad and p.layout != torch.strided:
            raise UserError(
                f"parameter {name} is sparse ({p.layout}), and derivatives here are by every entry; make it dense (.to_dense()), or hold "
                "it constant (requires_grad_(False))"
            )
        if hasattr(p, "device_mesh"):
            raise UserError(
                f"parameter {name} is spread over several processes ({type(p).__name__}, as by fully_shard), and each would have to take part in "
                "every pass; measure a copy of the model whose parameters are whole (full_tensor())"
            )
        if p.is_complex():
            raise UserError(f"parameter {name} is complex ({p.dtype}); derivatives here are by real parameters")


#: What attributes mostly hold, and no tensor is in.
_PLAIN = (type(None), bool, int, float, str)


def exchanged(value: Any, change: Callable[[Tensor], Tensor], done: dict[int, Any]) -> Any:
    """A value with every tensor (and every ``itertools.count``) in it changed; a container, which a guard puts back in place, is left to :func:`exchange_entries`.

    done: what was exchanged already, by id, so that what several places share they share afterwards.
    """
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, itertools.count):  # the user's own stays where it is
        return done.setdefault(id(value), count_from_here(value))
    if isinstance(value, CONTAINERS) or not isinstance(value, (tuple, Mapping)) or isinstance(value, torch.Size):
        return value
    if id(value) not in done:
        if isinstance(value, tuple):
            items = [exchanged(item, change, done) for item in value]
            same = all(new is old for new, old in zip(items, value, strict=True))
            found = value if same else type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        else:
            found = convert(value, change)
        done[id(value)] = found
    return done[id(value)]


def exchange_entries(container: Any, change: Callable[[Tensor], Tensor], done: dict[int, Any]) -> None:
    """Change every tensor that a container or tuples in it hold, in place, so that all who refer to the container meet the change."""
    before = list(container.values() if isinstance(container, dict) else container)
    deep = len(before) <= ENTRIES  # more pairs or triples are data
    after = [exchanged(value, change, done) if deep or isinstance(value, Tensor) else value for value in before]
    if any(new is not old for new, old in zip(after, before, strict=True)):
        refill(container, dict(zip(container, after, strict=True)) if isinstance(container, dict) else after)
