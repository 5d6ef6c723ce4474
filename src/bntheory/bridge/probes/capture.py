"""See every normalisation layer of a real network as measured layers.

``capture`` runs one forward pass with hooks that cut each layer's input and output out of the graph as their own nodes, and one
backward pass that keeps its graph, so that second derivatives cost one more backward each. The model is left as it was: mode,
buffers, hooks, parameters, gradients and random state, also after an exception.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.probes.captured import CapturedLayer
from bntheory.bridge.probes.units import UnitView, normalisation_layers, unit_view

__all__ = ["Capture", "capture"]


@dataclass(frozen=True)
class Capture:
    """All normalisation layers of one forward pass, by name in the order of their calls, and the loss they lead to."""

    layers: Mapping[str, CapturedLayer]
    loss: float

    def __iter__(self) -> Iterator[CapturedLayer]:
        return iter(self.layers.values())

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> CapturedLayer:
        try:
            return self.layers[name]
        except KeyError:
            raise ValueError(
                f"no captured layer is named {name!r}; captured: {', '.join(self.layers)}"
            ) from None


def capture(
    model: nn.Module,
    loss: Callable[..., Tensor],
    batch: Sequence[Any] | None = None,
    *,
    layers: Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
) -> Capture:
    """Measure the normalisation layers of ``model`` on one batch, with batch statistics.

    Parameters
    ----------
    model: any module. Its normalisation layers are put in training mode for this pass only; the others keep their mode.
    loss: ``loss(outputs, *targets)`` with ``batch = (inputs, *targets)``; or, where batch is None, ``loss(model)``. A scalar.
    layers: names of the modules to capture; all known ones where it is left out.
    dtype: measure a copy of the model in this precision (float64 for theory); floating inputs are converted too.

    Raises ValueError for a model without normalisation layers, a loss that is no finite scalar, a batch of one, a layer name that
    does not exist, a layer that the forward pass does not reach.
    """
    if dtype is not None:
        model = copy.deepcopy(model).to(dtype)
        batch = None if batch is None else [_cast(part, dtype) for part in batch]
    chosen = _choose(model, layers)
    taps: list[_Tap] = []
    with state_guard(model), torch.enable_grad():
        for module in chosen.values():
            module.train()
        handles = [handle for name, module in chosen.items() for handle in _hook(name, module, taps)]
        try:
            value = loss(model) if batch is None else loss(model(batch[0]), *batch[1:])
        finally:
            for handle in handles:
                handle.remove()
        _check_loss(value)
        if not taps:
            raise ValueError(
                "the forward pass reached none of the model's normalisation layers, so nothing was captured"
            )
        inputs = [t for tap in taps for t in (tap.y, tap.z)]
        grads = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
        own = _parameter_gradients(value, chosen, taps)
    captured = {
        tap.name: CapturedLayer(
            tap.name, tap.view, tap.y, tap.z, grads[2 * i], grads[2 * i + 1], own.get(tap.name, {})
        )
        for i, tap in enumerate(taps)
    }
    return Capture(captured, float(value.detach()))


def _parameter_gradients(
    value: Tensor, modules: Mapping[str, nn.Module], taps: Sequence[_Tap]
) -> dict[str, dict[str, Tensor]]:
    """dL/dgamma and dL/dbeta of every batch-normalisation layer that was called once and has them, detached."""
    wanted = [
        (tap.name, role, parameter)
        for tap in taps
        if tap.view.kind == "batch" and f"{tap.name}#2" not in {other.name for other in taps}
        for role, parameter in (
            ("gamma", getattr(modules.get(tap.name), "weight", None)),
            ("beta", getattr(modules.get(tap.name), "bias", None)),
        )
        if parameter is not None and parameter.requires_grad
    ]
    if not wanted:
        return {}
    grads = torch.autograd.grad(value, [p for *_, p in wanted], retain_graph=True, allow_unused=True)
    found: dict[str, dict[str, Tensor]] = {}
    for (name, role, parameter), grad in zip(wanted, grads, strict=True):
        found.setdefault(name, {})[role] = torch.zeros_like(parameter) if grad is None else grad.detach()
    return found


@dataclass(frozen=True)
class _Tap:
    name: str
    view: UnitView
    y: Tensor
    z: Tensor


def _choose(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    known = normalisation_layers(model)
    if not known:
        kinds = sorted({type(module).__name__ for module in model.modules()} - {type(model).__name__})
        raise ValueError(
            f"{type(model).__name__} has no normalisation layer that can be captured (it is made of {', '.join(kinds) or 'nothing'}); "
            "known are BatchNorm1d/2d/3d, LayerNorm and GroupNorm"
        )
    if names is None:
        return known
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no normalisation layer is named {unknown[0]!r}; the model has {', '.join(known)}")
    return {name: known[name] for name in names}


def _hook(name: str, module: nn.Module, taps: list[_Tap]) -> list[Any]:
    pending: list[Tensor] = []
    calls = 0

    def before(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        # A node of its own: the derivative with respect to it goes through this layer and nothing around it.
        y = args[0].clone() if args[0].requires_grad else args[0].detach().clone().requires_grad_()
        pending.append(y)
        return (y, *args[1:])

    def after(_: nn.Module, args: tuple[Any, ...], z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        y = pending.pop()
        label = name if calls == 1 else f"{name}#{calls}"
        _refuse_bad_input(module, y, label)
        taps.append(_Tap(label, unit_view(module, y, label), y, z))
        return z.clone()  # an in-place activation downstream must not overwrite what was measured

    return [module.register_forward_pre_hook(before), module.register_forward_hook(after)]


def _refuse_bad_input(module: nn.Module, y: Tensor, label: str) -> None:
    if not bool(torch.isfinite(y).all()):
        raise ValueError(
            f"layer {label!r} receives non-finite pre-activations; the network has diverged or its input is not finite"
        )


def _check_loss(value: Tensor) -> None:
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"the loss returned {shape}; it must be one number (use reduction='mean' or .sum())")
    if not bool(torch.isfinite(value.detach()).all()):
        raise ValueError(
            f"the loss is {float(value.detach())}; derivatives of it mean nothing. Check the inputs and the weights"
        )
    if not value.requires_grad:
        raise ValueError(
            "the loss does not depend on the model through differentiable operations (no gradient graph)"
        )


def _cast(part: Any, dtype: torch.dtype) -> Any:
    return part.to(dtype) if isinstance(part, Tensor) and part.is_floating_point() else part
