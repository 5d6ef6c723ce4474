"""What is checked about an objective before a number is returned, and what its first evaluation shows.

None of the following is assumed, each is looked at on every batch: the loss depends on the model that is measured, and on no other copy
of it; it is the same function at every call (:mod:`bntheory.bridge.repeatability`); the mode took effect in every layer; freezing held the
statistics constant, and the twin has the network's loss. What lives here: these checks. What does not: evaluating, and errors of a user's
own code (:mod:`bntheory.bridge.explanation`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, finfo, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bntheory.bridge import left_out
from bntheory.bridge.examined import Examined
from bntheory.bridge.graph import SavedBytes, custom_functions, differentiated, leaves_of, live_batch_norms, nodes_of
from bntheory.bridge.live_statistics import refuse_live_statistics
from bntheory.bridge.networks.evaluation import convert, requiring_a_gradient, tensors_in
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.normalisers import Normalisation, NormalisationTrace
from bntheory.bridge.raised import EvaluationError
from bntheory.bridge.repeatability import check_repeatable
from bntheory.errors import UserError


@dataclass(frozen=True)
class Examination:
    """What the first evaluation on a batch shows.

    loss: there. dtype: the coarsest one of loss and parameters. normalisations: of its forward pass, in order. over_the_batch: the modules
    that normalise over the batch (for one written by hand its channels' axis and eps). forward_bytes: what the graph of the loss keeps for
    its first derivative. unused: the trainable parameters that the loss does not use. custom_functions: the names of a user's own autograd
    functions in it. weights: the parameters that it standardises by the function of batch normalisation.
    """

    loss: float
    dtype: torch.dtype
    normalisations: tuple[Normalisation, ...]
    over_the_batch: dict[str, tuple[int, float | None] | None]
    forward_bytes: int
    unused: tuple[str, ...] = ()
    custom_functions: tuple[str, ...] = ()
    weights: tuple[Tensor, ...] = ()

    @property
    def by_hand(self) -> dict[str, tuple[int, float | None]]:
        """Of the layers over the batch that are written by hand, the axis of the channels and eps."""
        return {name: at for name, at in self.over_the_batch.items() if at is not None}


def examine(objective: Examined) -> Examination:
    """Evaluate every batch and check what was asked for; what is found on each is in ``objective.examinations``, and returned as one.

    Raises ValueError naming what was asked, what was found, what to do.
    """
    _refuse_empty(objective)
    objective.examinations.clear()
    indices = range(len(objective.batches))
    for index in indices:
        with _named(objective, index):
            objective.examinations.append(_first_look(objective, index))
    found = _as_one(objective.examinations)
    objective.__dict__["examination"] = found  # the twin's constants are taken by way of it
    for index in indices:
        with _named(objective, index):
            seen = objective.examinations[index]
            check_repeatable(objective, index, seen.loss, seen.dtype)
            if objective.mode == "frozen":
                refuse_live_statistics(objective, index)
    return found


@contextmanager
def _named(objective: Examined, index: int) -> Iterator[None]:
    """Context in which a refusal says which one of several batches it is about."""
    try:
        yield
    except UserError as error:
        if len(objective.batches) == 1 or type(error) is not UserError or str(error).startswith("batch["):
            raise
        raise UserError(f"batch[{index}]: {error}") from error.__cause__


def _as_one(found: Sequence[Examination]) -> Examination:
    """Several batches as one: the layers and functions of all, what none of them uses, the largest graph; the loss of the first."""
    first, *others = found
    if not others:
        return first
    by_name: dict[str, Normalisation] = {}
    for item in (n for examined in found for n in examined.normalisations):
        if by_name.get(item.name, item).reason == left_out.UNREACHED:
            by_name[item.name] = item
        by_name.setdefault(item.name, item)
    return replace(
        first,
        normalisations=tuple(by_name.values()),
        over_the_batch={name: at for examined in found for name, at in examined.over_the_batch.items()},
        forward_bytes=max(examined.forward_bytes for examined in found),
        unused=tuple(name for name in first.unused if all(name in examined.unused for examined in others)),
        custom_functions=tuple(dict.fromkeys(name for examined in found for name in examined.custom_functions)),
        weights=tuple({id(w): w for examined in found for w in examined.weights}.values()),
    )


def _first_look(objective: Examined, index: int) -> Examination:
    try:
        return _looked_at(objective, index)
    except UserError as error:
        if "saved tensor hooks" in str(error):
            return _looked_at(
                objective, index, hooks=False
            )  # torch.func inside of a forward pass cannot run under them
        rest = tensors_in((objective.batches[index] or ())[1:])
        if not isinstance(error, EvaluationError) or not any(t.is_floating_point() for t in rest):
            raise
        with suppress(UserError):  # torch differentiates by no weights of classes, and by some losses' targets not
            return _looked_at(objective, index, rest=torch.Tensor.clone)
        raise


def _looked_at(
    objective: Examined, index: int, *, hooks: bool = True, rest: Callable[[Tensor], Tensor] = requiring_a_gradient
) -> Examination:
    """rest: what is made of the batch's tensors behind the inputs."""
    batch = objective.batches[index]
    try:
        trace = NormalisationTrace(objective.network, zero_eps=objective.normalisation == "primitive")
        # with a copy of the parameters, once: a forward pass that changes them is refused, and has changed nothing
        guard = state_guard(_held(objective.leaves), objective.network, *objective.keepers)
        with guard as changed, objective.conditions(index, frozen=False, trace=trace):
            if batch is not None:
                objective.batches[index] = (*convert(batch[:1], requiring_a_gradient), *convert(batch[1:], rest))
            given = [(tensor, tensor._version) for tensor in tensors_in(objective.batches[index])]
            value, kept = _value_and_bytes(objective, index, hooks)
            _refuse_changed_parameters(changed())
            objective.differentiates |= trace.differentiates or differentiated(value)
            if any(tensor._version != version for tensor, version in given):
                _refuse_overwritten_twice(batch)
                objective.overwrites_inputs = True
            unused = _check_dependence(objective, value)
            custom = custom_functions(value) + (("a hook on a tensor",) if trace.hooked else ())
    finally:
        objective.batches[index] = batch
    loss = float(value.detach())
    _refuse_overflow(loss, trace.found)
    scripted = sum(item.reason == left_out.SCRIPTED for item in trace.found)
    if trace.fused + scripted < live_batch_norms(value):
        trace.found.append(Normalisation("(unseen)", "", None, left_out.UNSEEN))
    normalisations = tuple(trace.found)
    _check_modes(objective, normalisations)
    seen, weights = _without_tensors(normalisations), tuple(trace.weights)
    precisions = [t.dtype for t in (value, *objective.leaves.values()) if t.is_floating_point()]
    coarsest = max(precisions, key=lambda dtype: finfo(dtype).eps)
    return Examination(loss, coarsest, seen, trace.over_the_batch(), kept, unused, custom, weights)


def _refuse_overflow(loss: float, normalisations: Sequence[Normalisation]) -> None:
    for item in normalisations:
        if item.y is None or not item.y.numel():
            continue
        largest = float(item.y.detach().abs().amax())
        if not math.isfinite(largest) and not math.isfinite(loss):
            raise UserError(
                f"layer {item.name!r} receives non-finite pre-activations; the network has diverged or its input is not finite"
            )
        if math.sqrt(finfo(item.y.dtype).max) < largest < math.inf:
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


def _value_and_bytes(objective: Examined, index: int, hooks: bool) -> tuple[Tensor, int]:
    """The loss of a batch, and what its graph keeps: counted as it is saved, or read from the graph where that cannot be."""
    saved = SavedBytes(list(objective.leaves.values()))
    if hooks:
        with saved:
            return objective.value(index), saved.total
    value = objective.value(index)
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
        if id(varied[0][1]) in objective.tensors.stand_ins:
            raise UserError(
                f"the loss depends on a tensor that was computed from the parameter {varied[0][0]} before the measurement (a view, a sum), "
                "which would be held constant. Compute it inside the loss, from model.parameters()"
            )
        raise UserError(
            f"the loss depends on a tensor that equals the parameter {varied[0][0]} and is not it: on another copy of the model, which "
            "would be held constant. Use one model in the loss and in the measurement, or freeze the copy (requires_grad_(False))"
        )
    used = {id(objective.leaves[own[key]]) for key in reached}
    return tuple(name for name, t in objective.leaves.items() if t.requires_grad and id(t) not in used)


# -- modes ---------------------------------------------------------------------------------------


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
