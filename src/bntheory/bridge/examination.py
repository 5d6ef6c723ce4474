"""What is checked about an objective before a number is returned, and what its first evaluation shows.

None of the following is assumed, each is looked at: the loss depends on the model that is measured, and on no other copy of it; it is
the same function at every call; the mode took effect in every layer; freezing held the statistics constant, and the twin has the
network's loss. What lives here: these checks. What does not: evaluating, and errors of a user's own code
(:mod:`bntheory.bridge.explanation`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from bntheory.bridge import left_out
from bntheory.bridge.draws import normal_like
from bntheory.bridge.graph import (
    Reduced,
    SavedBytes,
    custom_functions,
    differentiated,
    fused_norms,
    leaves_of,
    live_batch_norms,
    nodes_of,
)
from bntheory.bridge.live_statistics import refuse_live_statistics
from bntheory.bridge.networks.evaluation import convert, flat, gradients_of, requiring_a_gradient, tensors_in
from bntheory.bridge.networks.state import generator_states, state_guard
from bntheory.bridge.normalisers import Normalisation, NormalisationTrace
from bntheory.errors import UserError


class Examined(Protocol):
    """What is known of the objective (:class:`bntheory.bridge.objective.Objective`) that is examined."""

    batches: list[Any]
    keepers: list[Any]
    overwrites_inputs: bool
    differentiates: bool
    needs_graph: bool
    freeze: Any

    @property
    def model(self) -> nn.Module | None: ...
    @property
    def loss(self) -> Any: ...
    @property
    def mode(self) -> str: ...
    @property
    def twin_of(self) -> str | None: ...
    @property
    def dtype(self) -> torch.dtype | None: ...
    @property
    def normalisation(self) -> str: ...
    @property
    def dropout(self) -> str: ...
    @property
    def seed(self) -> int | None: ...
    @property
    def leaves(self) -> Mapping[str, Tensor]: ...
    @property
    def network(self) -> nn.Module: ...
    def named_modules(self) -> dict[str, nn.Module]: ...
    def conditions(
        self, index: int = 0, *, frozen: bool = True, reseed: int | None = None, trace: TorchFunctionMode | None = None
    ) -> AbstractContextManager[None]: ...
    def outputs(self, index: int = 0) -> Any: ...
    def loss_of(self, outputs: Any, index: int = 0) -> Any: ...
    def value(self, index: int = 0) -> Tensor: ...
    def plain_batches(self) -> list[Any]: ...
    def without_graph(self) -> AbstractContextManager[Any]: ...


@dataclass(frozen=True)
class Examination:
    """The first batch, evaluated once with and once without a graph.

    loss: there. normalisations: of its forward pass, in order. over_the_batch: the modules that normalise over the batch (for one
    written by hand its channels' axis and eps). forward_bytes: what the graph of the loss keeps for its first derivative.
    unused: the trainable parameters that the loss does not use. custom_functions: the names of a user's own autograd functions in it.
    weights: the parameters that it standardises by the function of batch normalisation.
    """

    loss: float
    normalisations: tuple[Normalisation, ...]
    over_the_batch: dict[str, tuple[int, float | None] | None]
    forward_bytes: int
    unused: tuple[str, ...] = ()
    custom_functions: tuple[str, ...] = ()
    weights: tuple[Tensor, ...] = ()


def examine(objective: Examined) -> Examination:
    """Evaluate the first batch and check what was asked for. Raises ValueError naming what was asked, what was found, what to do."""
    try:
        return _examined(objective, hooks=True)
    except UserError as error:
        if "saved tensor hooks" not in str(error):
            raise
        return _examined(objective, hooks=False)  # torch.func inside of a forward pass cannot run under them


def _examined(objective: Examined, *, hooks: bool) -> Examination:
    _refuse_empty(objective)
    batch = objective.batches[0]
    try:
        trace = NormalisationTrace(objective.network, zero_eps=objective.normalisation == "primitive")
        # with a copy of the parameters, once: a forward pass that changes them is refused, and has changed nothing
        guard = state_guard(_held(objective.leaves), objective.network, *objective.keepers)
        with guard as changed, objective.conditions(0, frozen=False, trace=trace):
            objective.batches[0] = convert(batch, requiring_a_gradient)
            given = [(tensor, tensor._version) for tensor in tensors_in(objective.batches[0])]
            value, kept = _value_and_bytes(objective, hooks)
            _refuse_changed_parameters(changed())
            objective.differentiates = trace.differentiates or differentiated(value)
            if any(tensor._version != version for tensor, version in given):
                _refuse_overwritten_twice(batch)
                objective.overwrites_inputs = True
            unused = _check_dependence(objective, value)
            custom = custom_functions(value) + (("a hook on a tensor",) if trace.hooked else ())
    finally:
        objective.batches[0] = batch
    loss = float(value.detach())
    _refuse_overflow(loss, trace.found)
    scripted = sum(item.reason == left_out.SCRIPTED for item in trace.found)
    if trace.fused + scripted < live_batch_norms(value):
        trace.found.append(Normalisation("(unseen)", "", None, left_out.UNSEEN))
    normalisations = tuple(trace.found)
    _check_modes(objective, normalisations)
    seen, weights = _without_tensors(normalisations), tuple(trace.weights)
    found = Examination(loss, seen, trace.over_the_batch(), kept, unused, custom, weights)
    objective.__dict__["examination"] = found  # the twin's constants are taken by way of it
    precisions = [t.dtype for t in (value, *objective.leaves.values()) if t.is_floating_point()]
    _check_repeatable(objective, loss, max(precisions, key=lambda dtype: torch.finfo(dtype).eps))
    if objective.mode == "frozen":
        refuse_live_statistics(objective)
    return found


def _refuse_overflow(loss: float, normalisations: Sequence[Normalisation]) -> None:
    for item in normalisations:
        if item.y is None or not item.y.numel():
            continue
        largest = float(item.y.detach().abs().amax())
        if not math.isfinite(largest) and not math.isfinite(loss):
            raise UserError(
                f"layer {item.name!r} receives non-finite pre-activations; the network has diverged or its input is not finite"
            )
        if math.sqrt(torch.finfo(item.y.dtype).max) < largest < math.inf:
            raise UserError(
                f"layer {item.name!r} receives pre-activations up to {largest:.3g}, whose squares overflow {item.y.dtype}: its variance "
                "is infinite and its output a constant. The network has diverged, or its input needs a scale; or use dtype=torch.float64"
            )
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} on this batch; derivatives of it mean nothing. Look for a learning rate that diverged, inputs that "
            "are not finite, a logarithm of zero, or a normalised feature of zero variance with eps = 0"
        )


def _held(leaves: Mapping[str, Tensor]) -> nn.Module:
    """What is measured as a module's parameters, so that a guard holds stand-ins too."""
    module = nn.Module()
    module._parameters.update(cast(Mapping[str, nn.Parameter], leaves))
    return module


def _refuse_changed_parameters(changed: Sequence[str]) -> None:
    if changed:
        raise UserError(
            f"the forward pass changes {', '.join(changed[:5])} in place, and a pass that changes a parameter is no function of it. Change it "
            "outside of forward(), after the optimiser's step"
        )


def _refuse_overwritten_twice(batch: Any) -> None:
    tensors = tensors_in(batch)
    if len({id(t) for t in tensors}) < len(tensors):
        raise UserError(
            "batch: the forward pass overwrites its input in place, and a tensor stands in the batch twice, so that one use would meet "
            "what the other left. Give each use a tensor of its own (.clone())"
        )


def _without_tensors(normalisations: Sequence[Normalisation]) -> tuple[Normalisation, ...]:
    return tuple(Normalisation(n.name, n.module, n.view, n.reason, n.by_hand) for n in normalisations)


def _value_and_bytes(objective: Examined, hooks: bool) -> tuple[Tensor, int]:
    """The loss of the first batch, and what its graph keeps: counted as it is saved, or read from the graph where that cannot be."""
    saved = SavedBytes(list(objective.leaves.values()))
    if hooks:
        with saved:
            return objective.value(), saved.total
    value = objective.value()
    for node in nodes_of(value):
        for name in dir(node):
            kept = getattr(node, name) if name.startswith("_saved_") else None
            if isinstance(kept, Tensor):
                saved.count(kept)
    return value, saved.total


def _refuse_empty(objective: Examined) -> None:
    for index, batch in enumerate(objective.batches):
        for tensor in tensors_in(batch[:1]) if batch is not None else ():
            if tensor.dim() > 0 and tensor.size(0) == 0:
                raise UserError(
                    f"batch[{index}]: inputs have shape {tuple(tensor.shape)}; the first axis has to count examples, and there are none"
                )


# -- the loss depends on this model ------------------------------------------------------------------------------------


def _check_dependence(objective: Examined, value: Tensor) -> tuple[str, ...]:
    """The value was computed from this model's parameters (or a tensor of the user's), and from no second copy of them.

    Returns the names of the trainable parameters that it does not use.
    """
    if objective.leaves and not any(t.requires_grad for t in objective.leaves.values()):
        raise UserError(
            "model: no parameter requires a gradient, so there is nothing to differentiate by. Let some require one (requires_grad_(True)); "
            "of a model that is frozen, capture(...) and hessian(..., parameters=Activation(...)) measure derivatives by activations"
        )
    if not value.requires_grad:
        raise UserError(
            "the loss does not depend on the model through differentiable operations: its value requires no gradient. Look for "
            ".detach(), .item(), torch.no_grad() or numpy inside the model or the loss"
        )
    if objective.model is None:
        return ()
    leaves = leaves_of(value)
    own = {id(t): name for name, t in objective.leaves.items()}
    reached = own.keys() & leaves.keys()
    inputs = {id(t) for batch in objective.batches if batch is not None for t in tensors_in(batch)}
    foreign = [t for key, t in leaves.items() if key not in own and key not in inputs and isinstance(t, nn.Parameter)]
    twins = [
        (name, t)
        for t in foreign
        for name, leaf in objective.leaves.items()
        if t.shape == leaf.shape and t.numel() > 1 and torch.equal(t.detach().to(leaf), leaf.detach())
    ]
    if own and not reached:
        what = f"on {len(foreign)} parameters of another module" if foreign else "on none of any"
        raise UserError(
            f"the loss does not depend on the measured model: it reaches none of its {len(own)} parameters, and depends {what}. Is it "
            "computed with another copy of the model? The loss must use the outputs, or the very module that is given"
        )
    varied = [(name, t) for name, t in twins if bool((t.detach() != t.detach().reshape(-1)[0]).any())]
    if varied:
        raise UserError(
            f"the loss depends on a tensor that equals the parameter {varied[0][0]} and is not it: on another copy of the model, which "
            "would be held constant. Use one model in the loss and in the measurement, or freeze the copy (requires_grad_(False))"
        )
    used = {id(objective.leaves[own[key]]) for key in reached}
    return tuple(name for name, t in objective.leaves.items() if t.requires_grad and id(t) not in used)


# -- modes, repeatability, freezing ---------------------------------------------------------------------------------------


def _check_modes(objective: Examined, normalisations: Sequence[Normalisation]) -> None:
    """Where batch statistics were asked for, no layer of torch's own may have used its running ones."""
    if objective.mode not in ("train", "frozen") or objective.twin_of not in (None, "train"):
        return
    modules = objective.named_modules()
    for item in normalisations:
        module = modules.get(item.module)
        if module is None or item.view is not None or "constants" not in item.reason:
            continue
        if type(module).forward is _BatchNorm.forward:
            frozen = objective.mode == "frozen"
            instead = (
                "the twin of the modes as they are, Objective(..., mode='frozen', twin_of='current')"
                if frozen
                else "mode='current' or 'eval'"
            )
            raise UserError(
                f"layer {item.name!r} ({type(module).__name__}) used its running statistics although mode={objective.mode!r} asks for "
                f"those of the batch: something in the forward pass puts it in evaluation mode. Measure {instead}, or "
                "leave the layer's mode alone in forward()"
            )


def _check_repeatable(objective: Examined, loss: float, dtype: torch.dtype) -> None:
    """Evaluate the loss once more, without a graph and with other random numbers (a twin with its constants), and refuse another value."""
    reseed = 0x5EED if objective.seed is None and objective.dropout != "drawn" else None
    drawn = False

    def evaluated() -> float:
        nonlocal drawn
        with objective.conditions(0, reseed=reseed), objective.without_graph():
            holders = (objective.network, *objective.keepers)
            before = generator_states(*holders)
            value = objective.value()
            drawn = generator_states(*holders) != before
            if objective.differentiates and fused_norms(value):
                raise UserError(
                    "the model or the loss takes derivatives itself, and a normalisation is called past torch's functional interface "
                    "(torch.native_layer_norm, torch.ops, a compiled graph), whose third derivatives torch has not right: call "
                    "torch.nn.functional, which is written out"
                )
            return float(value.detach())

    try:
        again = evaluated()
    except UserError:
        objective.needs_graph = True  # a forward pass that hangs hooks on tensors cannot run without
        again = evaluated()
    eps = float(torch.finfo(dtype).eps)
    # other kernels may serve a pass without gradients; dropout changes a loss by far more than their rounding. Each frozen layer rounds
    # anew, and what follows amplifies it: half of the digits tell one function from another; where the loss takes derivatives, a twin is
    # another function by as little as those are small
    half = objective.mode == "frozen" and not objective.differentiates
    share, apart = (math.sqrt(eps) if half else 1000 * eps), abs(again - loss)
    if apart <= share * max(abs(loss), abs(again)) or apart <= 1000 * eps * _size_of_terms(objective, reseed):
        if drawn and reseed is not None:
            _refuse_random_derivatives(objective, reseed)
        return
    if objective.mode == "frozen" and not (drawn and reseed is not None):
        raise UserError(
            f"the frozen twin has a loss of {again!r} where the network has {loss!r}: it is not the same function at this point. A layer "
            "computes its statistics where they cannot be replaced, or the loss takes derivatives of the outputs, which the twin changes"
        )
    fixed = "" if objective.seed is None else " although every evaluation draws from the same seed"
    raise UserError(
        f"the loss is not deterministic{fixed}: two evaluations on the same batch gave {loss!r} and {again!r}. Something in the "
        "model or the loss draws random numbers or keeps a state that cannot be put back (functional dropout, stochastic depth, noise, "
        "augmentation, an iterator, a closure that draws a new batch, os.environ); such a state outside of the model may have moved on by "
        "these evaluations. Hold random numbers fixed with seed=..., keep counters in attributes, or switch it off"
    )


def _size_of_terms(objective: Examined, reseed: int | None) -> float:
    """The size of the terms that a loss is the sum of. They may cancel, as in a mean of normalised values, and its rounding is relative to them."""
    reduced, size = Reduced(), 0.0
    with suppress(RuntimeError), objective.conditions(0, reseed=reseed, trace=reduced):
        value, terms = objective.value(), list(reduced.terms.values())
        for t, g in zip(terms, torch.autograd.grad(value, terms, allow_unused=True), strict=True):
            size = size if g is None else max(size, float((t.detach() * g).abs().sum()))
    return size


def _refuse_random_derivatives(objective: Examined, seed: int) -> None:
    """Refuse random numbers that the derivatives depend on and the loss does not.

    So it is behind a factor that is zero (a residual branch at its start); behind the square of one (a gate on both sides) only the
    second derivatives depend on them.
    """
    wanted = [t for t in objective.leaves.values() if t.requires_grad]
    found: dict[str, list[Tensor]] = {"gradient": [], "Hessian": []}
    for reseed in (seed, seed + 1):
        with objective.conditions(0, reseed=reseed):
            value, draw = objective.value(), torch.Generator().manual_seed(0)
            wanted = wanted or list(leaves_of(value).values())
            slopes = torch.autograd.grad(value, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
            along = [(g, normal_like(g, draw)) for g in slopes if g.requires_grad and g.layout == torch.strided]
            found["gradient"].append(flat([g.to_dense() for g in slopes]))
            with suppress(RuntimeError):  # what has no second derivative is told where one is asked for
                slope = torch.stack([value.new_zeros(()), *((g * v).sum() for g, v in along)]).sum()
                found["Hessian"].append(flat(gradients_of(slope, wanted)[1]) if along else value.new_zeros(1))
    for what, (one, other) in ((what, pair) for what, pair in found.items() if len(pair) == 2):
        apart = float((one - other).norm() / torch.stack([one, other]).norm().clamp(min=1e-300))
        if apart > (100 * torch.finfo(value.dtype).eps if what == "gradient" else torch.finfo(value.dtype).eps ** 0.5):
            raise UserError(
                f"the {what} of the loss is not deterministic: two evaluations on the same batch gave some that differ by "
                f"{apart:.2g} of their length. The model or the loss draws random numbers (functional dropout, stochastic depth, noise). Hold "
                "them fixed with seed=..., or switch it off"
            )
