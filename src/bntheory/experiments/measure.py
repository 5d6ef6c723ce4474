"""What is measured on an arm at one step, by name. Every measurement leaves the network bit for bit as it was."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.evaluation import Loss, evaluate, flat, loss_and_gradients, trainable
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.activation_moments import activation_moments, moment_shift
from bntheory.bridge.probes.along_gradient import along_gradient
from bntheory.bridge.probes.capture import Capture, capture
from bntheory.bridge.probes.covariate_shift import covariate_shift
from bntheory.bridge.probes.identities import Identity, check_identity
from bntheory.bridge.probes.layer_theory import first_order, second_order, single_precision
from bntheory.bridge.probes.scale_free_point import scale_free_point
from bntheory.errors import UserError
from bntheory.evidence.comparable import guessing_loss, has_diverged
from bntheory.experiments.experiment import Measure, Protocol, Task
from bntheory.experiments.images import measurement_batch, training_batch

__all__ = ["MEASURES", "Situation", "measure"]

Json = dict[str, Any]
Batch = tuple[Tensor, Tensor]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Situation:
    """A task after so many steps, and where it is looked at; the model is in training mode.

    loss: what the arm is trained on, ``factor`` included. data: the images of the task's seed.
    """

    task: Task
    step: int
    model: nn.Module
    loss: Loss
    factor: float
    data: ImageData
    device: str
    protocol: Protocol

    @property
    def dtype(self) -> torch.dtype:
        """That of the model and of every batch."""
        found: torch.dtype = getattr(torch, self.protocol.dtype)
        return found

    def training_batch(self) -> Batch:
        """The batch that the next step of training is, or would be, computed on."""
        return training_batch(self.data, self.protocol, self.task.seed, self.step, self.device)

    def batch(self, size: int | None = None) -> Batch:
        """The first examples of the fixed measured batch of this seed."""
        return measurement_batch(
            self.data, self.task.seed, size or self.protocol.measured, dtype=self.dtype, device=self.device
        )

    def held_out(self, size: int) -> Batch:
        """The first test images, so many or all that there are."""
        chosen = slice(0, min(size, self.data.size("test")))
        return self.data.inputs(chosen, "test", dtype=self.dtype, device=self.device)

    @property
    def diverged(self) -> bool:
        """Whether a weight, the loss or its gradient is no longer finite; the loss can be where its gradient overflows."""
        if not all(bool(torch.isfinite(p).all()) for p in self.model.parameters()):
            return True
        with state_guard(self.model, parameters=False):
            value, gradients = loss_and_gradients(self.model, self.loss, self.batch())
        return has_diverged((float(value), float(torch.linalg.vector_norm(flat(gradients)))))


def measure(situation: Situation, asked: Measure) -> Json:
    """The values of one measure, JSON-ready. Raises UserError for a name that no measure has."""
    if asked.name not in MEASURES:
        raise UserError(f"measure: {asked.name!r} is unknown; choose among {', '.join(MEASURES)}")
    return MEASURES[asked.name](situation, asked.options)


# -- one point of the landscape --------------------------------------------------------------------------------------


def _landscape(at: Situation, options: Options) -> Json:
    """Loss, gradient norm and Santurkar's three measures along the gradient, at multiples of the learning rate."""
    guessing = guessing_loss(at.data.classes, at.protocol.loss) * at.factor
    return {"factor": at.factor, "guessing_loss": guessing, **_along(at.model, at, at.batch(), options)}


def _along(model: nn.Module, at: Situation, batch: Batch, options: Options) -> Json:
    low, high = options["step_range"]
    points = options["points"]
    multiples = [low + (high - low) * i / (points - 1) for i in range(points)]
    rate = at.task.arm.learning_rate
    along = along_gradient(model, at.loss, batch, [rate * s for s in multiples])
    loss_low, loss_high = along.loss_range
    change_low, change_high = along.gradient_change_range
    return {
        "loss": along.loss,
        "gradient_norm": along.gradient_norm,
        "along": {
            "multiples": multiples,
            "losses": [_number(x) for x in along.losses],
            "gradient_changes": [_number(x) for x in along.gradient_changes],
            "cosines": [_number(x) for x in along.cosines],
            "linear_errors": [_number(x) for x in along.linear_errors],
            "loss_low": _number(loss_low),
            "loss_high": _number(loss_high),
            "loss_range": _number(loss_high - loss_low),
            "gradient_low": _number(change_low),
            "gradient_high": _number(change_high),
            "gradient_range": _number(change_high - change_low),
            "effective_beta": _number(along.effective_beta),
        },
    }


def _curvature(at: Situation, options: Options) -> Json:
    """The ends of the Hessian's spectrum."""
    return _curvature_or_why(at.model, at, options)


def _scale_free(at: Situation, options: Options) -> Json:
    """What no rescaling of the loss changes."""
    return {"scale_free": scale_free_point(at.model, at.loss, at.batch(options["batch_size"]))}


def _twin(at: Situation, options: Options) -> Json:
    """All of the above of the frozen-statistics twin.

    It is made on the very batch on which it is measured, the smaller one of the curvature included, since only there its outputs
    are the network's own.
    """
    small = at.batch(options["batch_size"])
    near = frozen_twin(at.model, small[0])
    return {
        "twin": {
            **_along(frozen_twin(at.model, at.batch()[0]), at, at.batch(), options),
            **_curvature_or_why(near, at, options),
            "scale_free": scale_free_point(near, at.loss, small),
        }
    }


def _curvature_or_why(model: nn.Module, at: Situation, options: Options) -> Json:
    """The curvature; or, where the operator refuses (asymmetric beyond rounding, as on the brink of overflow), the reason."""
    try:
        return {"curvature": _spectrum_ends(model, at, options), "curvature_refused": None}
    except ValueError as error:
        return {"curvature": None, "curvature_refused": str(error)}


def _spectrum_ends(model: nn.Module, at: Situation, options: Options) -> Json:
    batch = at.batch(options["batch_size"])
    with state_guard(model, parameters=False):
        loss, gradients = loss_and_gradients(model, at.loss, batch)
    with hessian(model, at.loss, batch, mode="current") as operator:
        ends = top_eigenvalues(
            operator,
            which="both",
            tol=options["tolerance"],
            seed=at.task.seed,
            max_products=options["max_products"],
        )
    return {
        "loss": float(loss),
        "gradient_norm": float(torch.linalg.vector_norm(flat(gradients))),
        "top": ends.top,
        "top_error": float(ends.errors[0]),
        "top_residual": float(ends.residuals[0]),
        "bottom": ends.bottom,
        "bottom_error": float(ends.errors[1]),
        "bottom_residual": float(ends.residuals[1]),
        "converged": ends.converged,
        "products": ends.products,
        "symmetry_defect": ends.symmetry_defect,
        "batch_size": options["batch_size"],
    }


# -- how it classifies, and how its layers shift ---------------------------------------------------------------------


def _accuracies(at: Situation, options: Options) -> Json:
    """Accuracy on the measured batch in training mode, and loss and accuracy on the first test images in evaluation mode."""
    held_out = at.held_out(options["test_size"])
    return {
        **_accuracy(at.model, at.batch(), "", at.loss),
        **_accuracy(at.model, held_out, "test_", at.loss, evaluation=True),
    }


def _accuracy(model: nn.Module, batch: Batch, prefix: str, loss: Loss, *, evaluation: bool = False) -> Json:
    with state_guard(model, parameters=False), torch.no_grad():
        model.train(not evaluation)
        parts = torch.split(batch[0], 250) if evaluation else (batch[0],)
        outputs = torch.cat([model(x) for x in parts])
        correct = (outputs.argmax(1) == batch[1]).double().mean()
        found = {f"{prefix}accuracy": float(correct)}
        if evaluation:
            found[f"{prefix}loss"] = _number(float(loss(outputs, batch[1])))  # type: ignore[assignment]
    return found


def _shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer by Definition 2.1, and of moments, for the plain gradient step of the arm's rate."""
    found = covariate_shift(at.model, at.loss, at.batch(), learning_rate=at.task.arm.learning_rate)
    shift = {
        "layers": [s.layer for s in found],
        "l2": [_number(s.l2) for s in found],
        "relative": [_number(s.relative) for s in found],
        "cosine": [_number(s.cosine) for s in found],
        "moments": _moments(at, at.batch(options["batch_size"])),
    }
    l2 = torch.tensor([found[0].l2], dtype=torch.float64)
    zero = torch.zeros_like(l2)
    first = check_identity(
        "first-layer-shift", found[0].layer, left=l2, right=zero, relative=l2, tolerance=zero
    )
    return {"shift": shift, "identities": [first.as_json()]}


def _moments(at: Situation, batch: Batch) -> Json:
    """How the distribution of every nonlinearity's input moves in one gradient step, in standard deviations (medians over units).

    The reading of Ioffe and Szegedy, over the same step as Definition 2.1.
    """
    model = at.model
    before = activation_moments(model, batch[0])
    parameters = list(trainable(model).values())
    with state_guard(model):
        _, gradients = loss_and_gradients(model, at.loss, batch, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=at.task.arm.learning_rate)
        after = activation_moments(model, batch[0])
    moved = moment_shift(before, after)
    return {"places": list(moved), "shift": [_number(m.wasserstein) for m in moved.values()]}


# -- on the batch of the step ------------------------------------------------------------------------------------------


def _walk(at: Situation, options: Options) -> Json:
    """Along the gradient on the batch of the step."""
    return {"walk": _along(at.model, at, at.training_batch(), options)}


def _twin_walk(at: Situation, options: Options) -> Json:
    """The same of the frozen-statistics twin, made on the same batch."""
    batch = at.training_batch()
    return {"twin_walk": _along(frozen_twin(at.model, batch[0]), at, batch, options)}


def _step_shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer (Definition 2.1) for the update of this step on its own batch."""
    found = covariate_shift(at.model, at.loss, at.training_batch(), learning_rate=at.task.arm.learning_rate)
    return {
        "step_shift": {
            "layers": [s.layer for s in found],
            "l2": [_number(s.l2) for s in found],
            "cosine": [_number(s.cosine) for s in found],
            "gradient_norm": [_number(s.gradient_norm) for s in found],
        }
    }


def _classification(at: Situation, options: Options) -> Json:
    """Loss and accuracy on the measured images in training mode, in batches of the size that is trained on; accuracy on test images."""
    images, labels = at.batch()
    held_out = at.held_out(options["test_size"])
    with state_guard(at.model, parameters=False), torch.no_grad():
        at.model.train()
        outputs = torch.cat([at.model(part) for part in torch.split(images, at.protocol.batch_size)])
        loss = float(at.loss(outputs, labels))
        right = float((outputs.argmax(1) == labels).double().mean())
    return {
        "training": {"loss": _number(loss), "accuracy": right},
        "held_out": _accuracy(at.model, held_out, "test_", at.loss, evaluation=True)["test_accuracy"],
    }


# -- against the theory ------------------------------------------------------------------------------------------------


def _theory(at: Situation, options: Options) -> Json:
    """Every normalisation layer in float64 against the closed form, and once more in the precision of training."""
    model, loss = at.model, at.loss
    x, labels = at.batch(options["batch_size"])
    exact = copy.deepcopy(model).double().train()
    found = capture(exact, loss, (x.double(), labels))
    parameters = dict(exact.named_parameters())
    named = [f"{name}.{part}" for name in found.layers for part in ("bias", "weight")]
    own = [
        name for name in named if name in parameters
    ]  # the steps of a recurrent layer have none of their own
    by_name: dict[str, Tensor] = {}
    if own:
        with state_guard(exact, parameters=False):
            _, gradients = loss_and_gradients(exact, loss, (x.double(), labels), [parameters[n] for n in own])
        by_name = dict(zip(own, gradients, strict=True))
    layers, second, identities = [], [], []
    for number, layer in enumerate(found):
        record, checks = first_order(
            layer, by_name.get(f"{layer.name}.bias"), by_name.get(f"{layer.name}.weight")
        )
        layers.append(record)
        identities += checks
        units = _spread(layer.units, options["hessian_units"])
        more, checks = second_order(layer, units, at.task.seed * 1000 + number)
        second.append(more)
        identities += checks
    identities.append(_twin_loss(exact, found, loss, (x.double(), labels)))
    del found, exact
    identities += [single_precision(layer) for layer in capture(model, loss, (x, labels))]
    return {
        "layers": layers,
        "theorem_4_2": second,
        "identities": [identity.as_json() for identity in identities],
    }


def _spread(total: int, wanted: int) -> list[int]:
    """Some of ``total`` units, evenly spread, the first and the last among them."""
    if wanted >= total:
        return list(range(total))
    if wanted == 1:
        return [total // 2]
    return sorted({round(i * (total - 1) / (wanted - 1)) for i in range(wanted)})


def _twin_loss(model: nn.Module, found: Capture, loss: Loss, batch: Batch) -> Identity:
    """The twin's loss is the network's, to rounding.

    The two differ in how each unit's z is rounded: by at most its tolerance times the size of its terms. To first order that moves
    the loss by the inner product with the gradient at z, so the sum over all units of ||g|| times that difference bounds it.
    """
    twin = frozen_twin(model, batch[0])
    with torch.no_grad():
        value = evaluate(twin, loss, batch).double()
    bound = torch.finfo(value.dtype).eps * abs(found.loss)
    for layer in found:
        closed = layer.closed_form()
        size = closed.gamma.abs()[..., 0] * closed.y_hat.norm(dim=-1)
        size = size + closed.beta.abs()[..., 0] * math.sqrt(layer.m)
        bound += float((layer.grad.norm(dim=-1) * size * layer.gradient_residual().tolerance).sum())
    left, right = value.reshape(1), torch.tensor([found.loss], dtype=torch.float64)
    scale = abs(found.loss) or 1.0
    return check_identity(
        "twin-loss",
        "(whole network)",
        left=left,
        right=right,
        relative=(left.cpu() - right).abs() / scale,
        tolerance=torch.tensor([bound / scale], dtype=torch.float64),
    )


def _number(x: float) -> float | None:
    """A float that JSON can hold; None for what overflowed."""
    return float(x) if math.isfinite(x) else None


#: Each gives a part of what a point of a run is known by; together they are merged into one mapping.
MEASURES: Mapping[str, Callable[[Situation, Options], Json]] = {
    "landscape": _landscape,
    "curvature": _curvature,
    "scale-free": _scale_free,
    "accuracy": _accuracies,
    "shift": _shift,
    "twin": _twin,
    "theory": _theory,
    "classification": _classification,
    "walk": _walk,
    "twin-walk": _twin_walk,
    "step-shift": _step_shift,
}
