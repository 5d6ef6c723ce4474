"""Controls: networks that agree with a batch-normalised one where they must, and differ in one thing only.

What lives here: the frozen-statistics twin (equal outputs on a batch, constant statistics) and the rescaled loss. What does not: the
constants and the modules that use them (:mod:`bntheory.bridge.freezing`), the reparametrised network, any measurement.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bntheory.bridge.arguments import checked
from bntheory.bridge.freezing import Freeze, freeze_in_place
from bntheory.bridge.graph import leaves_of
from bntheory.bridge.networks.evaluation import Loss, call_model, outputs_in, tensors_in
from bntheory.bridge.networks.normalisation import LpBatchNorm
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.normalisers import LOSS
from bntheory.bridge.objective import Objective
from bntheory.errors import UserError


@checked
def batch_norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of ``model`` whose kind normalises over the batch, by name; a shared one once."""
    return {name: m for name, m in model.named_modules() if isinstance(m, (_BatchNorm, LpBatchNorm))}


@checked
def frozen_twin(model: Any, inputs: Any = None, *, freeze: Freeze = "both") -> nn.Module:
    """A copy of ``model`` in which every normalisation over the batch is affine with the constants that it has on ``inputs``.

    On ``inputs`` (and with the model's other randomness fixed) the outputs are those of the model in training mode, to rounding,
    which is checked. Parameters keep names and values, and gradients reach all of them; what is gone is the dependence of mean and
    scale on the activations. Frozen are modules, functional calls and layers written by hand, each call with constants of its own;
    a layer that divides by another statistic than the deviation (a largest entry, say) is frozen as a whole alone.
    Layers that normalise within an example (layer, group, instance, RMS) stay.

    Args:
        model: a module with ``inputs`` as it takes them (a tensor, a tuple of positional or a mapping of keyword arguments); or an
            objective or a triple (model, loss, batch) alone.
        freeze: "both" statistics, the "mean" alone, or the "variance" alone.

    Raises:
        ValueError: nothing normalises over the batch, something does that cannot be frozen (it is named, with the way out), or the
            twin's outputs are not the network's.
    """
    with torch.inference_mode(False):  # a copy that was made in inference mode could not be trained
        return _frozen_twin(model, inputs, freeze)


def _frozen_twin(model: Any, inputs: Any, freeze: Freeze) -> nn.Module:
    objective = Objective.of(model) if inputs is None else Objective(model, _mean_square, (inputs,), dropout="drawn")
    if len(objective.batches) > 1:
        raise UserError(
            "batch: a twin has the constants of one batch; give one, or measure with mode='frozen' on several"
        )
    frozen = objective.twin(freeze)
    frozen.check()  # its outputs are the network's, or it raises
    constants = {name: found for name, found in frozen.constants().items() if name != LOSS}
    twin = copied(frozen.network)
    modules = dict(twin.named_modules())
    freeze_in_place({name: modules[name] for name in constants}, constants, frozen.examination.by_hand, freeze)
    _refuse_shared(frozen, twin)
    return twin


def _refuse_shared(frozen: Objective, twin: nn.Module) -> None:
    """A copy whose outputs depend on the model's own parameters (a method of it that was kept, a closure) is no twin that can be trained."""
    batch = frozen.plain_batches()[0]
    if batch is None:
        return
    name = still_used(frozen.network, twin, batch[0])
    if name is not None:
        raise UserError(
            f"{still_held(name)}, and a twin that is trained is a copy. Let the module reach its own parameters by self, or measure the twin "
            "in the model's own place: Objective(model, loss, batch, mode='frozen'), or hessian(..., mode='frozen')"
        )


def still_used(model: nn.Module, copied_model: nn.Module, inputs: Any) -> str | None:
    """The name of a parameter of ``model`` itself that a copy's outputs on ``inputs`` depend on; None where there is none."""
    own = {id(p): name for name, p in model.named_parameters()}
    with state_guard(model, copied_model, parameters=False), torch.enable_grad():
        try:
            found = call_model(copied_model, inputs)
        except Exception:
            return None  # a batch that the objective converts: whoever calls the copy is told
        used = {key for t in outputs_in(found) for key in leaves_of(t)}
    return next((name for key, name in own.items() if key in used), None)


def still_held(name: str) -> str:
    """What is wrong where :func:`still_used` finds a parameter."""
    return f"model: a copy of it still depends on {name} of the model itself (a forward that was set on an instance, a closure)"


def _mean_square(outputs: Any) -> Tensor:
    """The loss of a twin that was given no other: one number that depends on every floating output."""
    parts = [t.square().mean() for t in outputs_in(outputs) if t.is_floating_point() and t.numel()]
    if not parts:
        raise UserError(
            f"model: returned a {type(outputs).__name__} without a floating tensor; give a triple (model, loss, batch)"
        )
    return torch.stack(parts).sum()


_IN_PLACE = (
    "and a twin that is trained is a copy. Measure the twin in the model's own place: Objective(model, loss, batch, mode='frozen'), "
    "or hessian(..., mode='frozen')"
)


def copied(model: nn.Module, otherwise: str = _IN_PLACE) -> nn.Module:
    """A deep copy; tensors with a history that modules hold as attributes, which cannot be copied, are copied without it.

    Raises ValueError where there can be none, with ``otherwise`` behind the reason: why a copy is needed, and what to do without one.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in tensors_in(list(module.__dict__.values())):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:
        raise UserError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), {otherwise}"
        ) from error


@checked
def rescaled_loss(loss: Loss, factor: float) -> Loss:
    """``factor * loss``: the control for "a smaller gradient proves nothing by itself".

    Raises:
        ValueError: ``factor`` is not positive and finite.
    """
    if not 0 < factor < float("inf"):
        raise UserError(f"factor: {factor} is not a positive finite number")

    def rescaled(*arguments: Any, **named: Any) -> Any:
        return factor * loss(*arguments, **named)

    return rescaled
