"""See every normalisation layer of a real network as measured layers.

``capture`` runs one forward pass in which each layer's input and output are cut out of the graph as their own nodes, and one
backward pass that keeps its graph, so that second derivatives cost one more backward each. The model is left as it was: mode,
buffers, hooks, parameters, gradients and random state, also after an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.memory import graph_bytes
from bntheory.bridge.curvature.selection import differentiable
from bntheory.bridge.custom_functions import check_custom_functions
from bntheory.bridge.explanation import first_backward
from bntheory.bridge.normalisers import Normalisation, NormalisationTrace
from bntheory.bridge.objective import Objective
from bntheory.bridge.probes.captured import CapturedLayer
from bntheory.errors import UserError
from bntheory.evidence.counts import reasons


@dataclass(frozen=True)
class Capture:
    """All normalisation layers of one forward pass, by name in the order of their calls, and the loss they lead to.

    left_out: of every normalisation that is not among them, the reason, by name.
    """

    layers: Mapping[str, CapturedLayer]
    loss: float
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[CapturedLayer]:
        return iter(self.layers.values())

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, name: str) -> CapturedLayer:
        try:
            return self.layers[name]
        except (KeyError, TypeError):
            why = f" ({name} is left out: {self.left_out[name]})" if str(name) in self.left_out else ""
            raise UserError(f"no captured layer is named {name!r}{why}; captured: {', '.join(self.layers)}") from None


@checked
def capture(
    model: Any,
    loss: Any = None,
    batch: Any = None,
    *,
    layers: Sequence[str] | None = None,
    second_order: bool = True,
    **options: Any,
) -> Capture:
    """Measure the normalisation layers of ``model`` on one batch, with batch statistics.

    Parameters
    ----------
    model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple.
    layers: names of the modules (or of their calls) to capture; all that are known where it is left out.
    second_order: keep the graph, from which second derivatives are taken; without it about half the memory is needed.
    options: of the objective, e.g. ``dtype=torch.float64`` to measure in this precision.

    Raises ValueError for a model without normalisation layers, a loss that is no finite scalar, a batch of one, a layer name that
    does not exist. A layer that cannot be measured is left out, with the reason.
    """
    objective = Objective.of(model, loss, batch, **options)
    if len(objective.batches) > 1:
        raise UserError(
            f"batch holds {len(objective.batches)} batches; a layer is measured on one, whose statistics it uses. Give batch=batches[0]"
        )
    if objective.mode == "frozen":
        raise UserError("mode='frozen' leaves no normalisation to capture; capture the network itself, mode='train'")
    if not any(leaf.requires_grad for leaf in objective.leaves.values()):
        objective = differentiable(objective)
    known = {n.name: n for n in objective.normalisations}
    if objective.differentiates:
        raise UserError(
            "the model or the loss takes derivatives itself (a penalty on gradients, an inner step), so the loss reaches a layer's input "
            "not by its output alone, and no decomposition of the gradient there holds; capture with a loss without that term"
        )
    why_not = ""
    if second_order:
        try:
            check_custom_functions(objective)
        except UserError as error:
            second_order, why_not = False, str(error)
    wanted = _chosen(objective, known, layers)
    by_hand = {n.name: n for n in known.values() if n.by_hand and n.view is not None}
    trace = NormalisationTrace(
        objective.network, by_hand=by_hand, tap=True, zero_eps=objective.normalisation == "primitive"
    )
    with objective.conditions(trace=trace):
        value = objective.value()
        taps = [n for n in trace.found if n.view is not None and n.name in wanted]
        inputs = [t for tap in taps for t in (tap.y, tap.z) if t is not None]
        own = _own_parameters(taps, trace.found)
        grads = first_backward(objective, value, [*inputs, *(p for *_, p in own)], again=second_order)
    collected: dict[str, dict[str, Tensor]] = {}
    for (name, role, parameter), grad in zip(own, grads[len(inputs) :], strict=True):
        collected.setdefault(name, {})[role] = torch.zeros_like(parameter) if grad is None else grad.detach()
    captured, unchanged = {}, objective.unchanged("layers were captured", "capture them anew")
    for i, tap in enumerate(taps):
        assert tap.view is not None
        assert tap.y is not None
        assert tap.z is not None
        by_y, by_z = grads[2 * i : 2 * i + 2]
        captured[tap.name] = CapturedLayer(
            tap.name, tap.view, tap.y, tap.z, by_y, by_z, collected.get(tap.name), second_order, why_not, unchanged
        )
    left = {n.name: n.reason for n in known.values() if n.view is None and (layers is None or n.name in layers)}
    return Capture(captured, float(value.detach()), left)


def capture_bytes(objective: Objective, *, second_order: bool = True) -> int:
    """About how much memory a capture takes at its peak: the graph, and each layer's gradients by input and output."""
    sizes = [n.view.units * n.view.m for n in objective.normalisations if n.view is not None]
    itemsize = (objective.precision or torch.float32).itemsize
    graph = objective.examination.forward_bytes
    return (graph_bytes(graph) if second_order else graph) + 2 * sum(sizes) * itemsize


def _chosen(objective: Objective, known: Mapping[str, Normalisation], names: Sequence[str] | None) -> frozenset[str]:
    measurable = [n for n in known.values() if n.view is not None]
    if not measurable:
        left = "; ".join(reasons({n.name: n.reason for n in known.values()}))
        kinds = sorted({type(module).__name__ for module in objective.network.modules()})
        raise UserError(
            f"{type(objective.model).__name__} has no normalisation layer that can be captured ({left or 'it is made of ' + ', '.join(kinds)}); "
            "known are torch's batch, layer, group, instance and RMS normalisation and layers whose output equals one of them"
        )
    if names is None:
        return frozenset(n.name for n in measurable)
    names = (names,) if isinstance(names, str) else names
    unknown = [name for name in names if name not in known and name not in {n.module for n in known.values()}]
    if unknown:
        raise UserError(f"no normalisation layer is named {unknown[0]!r}; the model has {', '.join(known)}")
    return frozenset(n.name for n in measurable if n.name in names or n.module in names)


def _own_parameters(
    taps: Sequence[Normalisation], found: Sequence[Normalisation]
) -> list[tuple[str, Literal["gamma", "beta"], Tensor]]:
    """gamma and beta of every batch normalisation that shares them with no other call."""
    uses: dict[int, int] = {}
    for item in found:
        for tensor in (item.weight, item.bias):
            if tensor is not None:
                uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    roles: tuple[Literal["gamma", "beta"], ...] = ("gamma", "beta")
    return [
        (tap.name, role, parameter)
        for tap in taps
        if tap.view is not None and tap.view.kind == "batch"
        for role, parameter in zip(roles, (tap.weight, tap.bias), strict=True)
        if parameter is not None and parameter.requires_grad and uses[id(parameter)] == 1
    ]
