"""What is measured on an arm at one step. Every measurement leaves the network bit for bit as it was."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.evaluation import Loss, evaluate, flat, loss_and_gradients, trainable
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.training import Trainer
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.activation_moments import activation_moments, moment_shift
from bntheory.bridge.probes.along_gradient import along_gradient
from bntheory.bridge.probes.capture import Capture, capture
from bntheory.bridge.probes.covariate_shift import covariate_shift
from bntheory.bridge.probes.identities import Identity, check_identity
from bntheory.bridge.probes.layer_theory import first_order, second_order, single_precision
from bntheory.bridge.probes.scale_free_point import scale_free_point
from bntheory.experiments.arms import Cell, measurement_batch
from bntheory.experiments.preset import Preset

__all__ = ["measure"]

Json = dict[str, Any]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Setting:
    preset: Preset
    data: ImageData
    device: str
    seed: int
    loss: Loss

    def batch(self, size: int) -> Batch:
        return measurement_batch(self.data, self.seed, size, device=self.device)


def measure(
    cell: Cell, trainer: Trainer, factor: float, preset: Preset, data: ImageData, device: str
) -> Json:
    """The record of one arm at the trainer's present step; a network that has diverged gives a record that only says so."""
    head: Json = {
        "cell": cell.name,
        "network": cell.network.name,
        "seed": cell.seed,
        "arm": cell.arm,
        "step": trainer.step,
        "factor": factor,
    }
    model = trainer.model.train()
    setting = _Setting(preset, data, device, cell.seed, trainer.loss)
    batch = setting.batch(preset.measure.batch_size)
    nothing: Json = {"twin": None, "layers": [], "theorem_4_2": [], "identities": []}
    if not _finite(model, trainer.loss, batch):
        return {**head, "diverged": True, **nothing}
    free = cell.arm != "rescaled"  # what a rescaled loss does not change is not measured on it
    point = _point(model, setting, batch, free=free)
    if not math.isfinite(point["gradient_norm"]):  # the loss can still be finite where its gradient overflows
        return {**head, "diverged": True, **nothing}
    record: Json = {**head, "diverged": False, **point}
    record |= _accuracy(model, batch, "", trainer.loss)
    held_out = data.inputs(slice(0, min(preset.measure.test_size, data.size("test"))), "test", device=device)
    record |= _accuracy(model, held_out, "test_", trainer.loss, evaluation=True)
    rate = trainer.config.rate(trainer.step)
    shift, first = _shift(model, setting, batch, rate)
    shift["moments"] = _moments(model, setting, setting.batch(preset.measure.theory_batch_size), rate)
    record["shift"] = shift
    record["twin"], record["layers"], record["theorem_4_2"] = None, [], []
    identities = [first]
    if cell.arm == "batchnorm":
        record["twin"] = _point(model, setting, batch, frozen=True)
        layers, second, found = _theory(model, setting)
        record["layers"], record["theorem_4_2"] = layers, second
        identities += found
    record["identities"] = [identity.as_json() for identity in identities]
    return record


def _finite(model: nn.Module, loss: Loss, batch: Batch) -> bool:
    with state_guard(model, parameters=False), torch.no_grad():
        value = evaluate(model, loss, batch)
    weights = all(bool(torch.isfinite(p).all()) for p in model.parameters())
    return weights and math.isfinite(float(value))


# -- one point of the landscape --------------------------------------------------------------------------------------


def _point(
    model: nn.Module, setting: _Setting, batch: Batch, *, frozen: bool = False, free: bool = True
) -> Json:
    """Loss, gradient norm, Santurkar's three measures, the ends of the Hessian's spectrum and the scale-free measures.

    frozen: those of the frozen-statistics twin. It is made on the very batch on which it is measured, the smaller one of the
    curvature included, since only there its outputs are the network's own.
    """
    small = setting.batch(setting.preset.curvature.batch_size)
    near = frozen_twin(model, small[0]) if frozen else model
    model = frozen_twin(model, batch[0]) if frozen else model
    spec = setting.preset.measure
    low, high = spec.step_range
    rate = setting.preset.training.learning_rate
    multiples = [low + (high - low) * i / (spec.points - 1) for i in range(spec.points)]
    along = along_gradient(model, setting.loss, batch, [rate * s for s in multiples])
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
        **_curvature_or_why(near, setting, small),
        "scale_free": scale_free_point(near, setting.loss, small) if free else None,
    }


def _curvature_or_why(model: nn.Module, setting: _Setting, batch: Batch) -> Json:
    """The curvature; or, where the operator refuses (asymmetric beyond rounding, as on the brink of overflow), the reason."""
    try:
        return {"curvature": _curvature(model, setting, batch), "curvature_refused": None}
    except ValueError as error:
        return {"curvature": None, "curvature_refused": str(error)}


def _curvature(model: nn.Module, setting: _Setting, batch: Batch) -> Json:
    spec = setting.preset.curvature
    with state_guard(model, parameters=False):
        loss, gradients = loss_and_gradients(model, setting.loss, batch)
    with hessian(model, setting.loss, batch, mode="current") as operator:
        ends = top_eigenvalues(
            operator,
            which="both",
            tol=spec.tolerance,
            seed=setting.seed,
            max_products=spec.max_products,
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
        "batch_size": spec.batch_size,
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


def _shift(model: nn.Module, setting: _Setting, batch: Batch, rate: float) -> tuple[Json, Identity]:
    """Internal covariate shift of every weight layer by Definition 2.1, for the plain gradient step with this learning rate."""
    found = covariate_shift(model, setting.loss, batch, learning_rate=rate)
    shift = {
        "layers": [s.layer for s in found],
        "l2": [_number(s.l2) for s in found],
        "relative": [_number(s.relative) for s in found],
        "cosine": [_number(s.cosine) for s in found],
    }
    l2 = torch.tensor([found[0].l2], dtype=torch.float64)
    zero = torch.zeros_like(l2)
    first = check_identity(
        "first-layer-shift", found[0].layer, left=l2, right=zero, relative=l2, tolerance=zero
    )
    return shift, first


def _moments(model: nn.Module, setting: _Setting, batch: Batch, rate: float) -> Json:
    """How the distribution of every nonlinearity's input moves in one gradient step, in standard deviations (medians over units).

    The reading of Ioffe and Szegedy, over the same step as Definition 2.1.
    """
    before = activation_moments(model, batch[0])
    parameters = list(trainable(model).values())
    with state_guard(model):
        _, gradients = loss_and_gradients(model, setting.loss, batch, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=rate)
        after = activation_moments(model, batch[0])
    moved = moment_shift(before, after)
    return {"places": list(moved), "shift": [_number(m.wasserstein) for m in moved.values()]}


# -- against the theory ------------------------------------------------------------------------------------------------


def _theory(model: nn.Module, setting: _Setting) -> tuple[list[Json], list[Json], list[Identity]]:
    """Every normalisation layer in float64 against the closed form, and once more in the precision of training."""
    spec = setting.preset.measure
    x, labels = setting.batch(spec.theory_batch_size)
    exact = copy.deepcopy(model).double().train()
    found = capture(exact, setting.loss, (x.double(), labels))
    parameters = dict(exact.named_parameters())
    named = [f"{name}.{part}" for name in found.layers for part in ("bias", "weight")]
    own = [
        name for name in named if name in parameters
    ]  # the steps of a recurrent layer have none of their own
    by_name: dict[str, Tensor] = {}
    if own:
        with state_guard(exact, parameters=False):
            _, gradients = loss_and_gradients(
                exact, setting.loss, (x.double(), labels), [parameters[n] for n in own]
            )
        by_name = dict(zip(own, gradients, strict=True))
    layers, second, identities = [], [], []
    for number, layer in enumerate(found):
        record, checks = first_order(
            layer, by_name.get(f"{layer.name}.bias"), by_name.get(f"{layer.name}.weight")
        )
        layers.append(record)
        identities += checks
        units = _spread(layer.units, spec.hessian_units)
        more, checks = second_order(layer, units, setting.seed * 1000 + number)
        second.append(more)
        identities += checks
    identities.append(_twin_loss(exact, found, setting, (x.double(), labels)))
    del found, exact
    identities += [single_precision(layer) for layer in capture(model, setting.loss, (x, labels))]
    return layers, second, identities


def _spread(total: int, wanted: int) -> list[int]:
    """Some of ``total`` units, evenly spread, the first and the last among them."""
    if wanted >= total:
        return list(range(total))
    if wanted == 1:
        return [total // 2]
    return sorted({round(i * (total - 1) / (wanted - 1)) for i in range(wanted)})


def _twin_loss(model: nn.Module, found: Capture, setting: _Setting, batch: Batch) -> Identity:
    """The twin's loss is the network's, to rounding.

    The two differ in how each unit's z is rounded: by at most its tolerance times the size of its terms. To first order that moves
    the loss by the inner product with the gradient at z, so the sum over all units of ||g|| times that difference bounds it.
    """
    twin = frozen_twin(model, batch[0])
    with torch.no_grad():
        value = evaluate(twin, setting.loss, batch).double()
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
