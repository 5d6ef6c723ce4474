"""Every normalisation layer against the closed form."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.evaluation import Loss, evaluate, loss_and_gradients
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.probes.capture import Capture, capture
from bntheory.bridge.probes.identities import Identity, check_identity
from bntheory.bridge.probes.layer_theory import first_order, second_order, single_precision
from bntheory.experiments.measures.situation import Batch, Json, Options, Situation


def theory(at: Situation, options: Options) -> Json:
    """Every normalisation layer in float64 against the closed form, and once more in the precision of training."""
    model, loss = at.model, at.loss
    x, labels = at.batch(options["batch_size"])
    exact = copy.deepcopy(model).double().train()
    found = capture(exact, loss, (x.double(), labels))
    parameters = dict(exact.named_parameters())
    named = [f"{name}.{part}" for name in found.layers for part in ("bias", "weight")]
    own = [name for name in named if name in parameters]  # the steps of a recurrent layer have none of their own
    by_name: dict[str, Tensor] = {}
    if own:
        with state_guard(exact, parameters=False):
            _, gradients = loss_and_gradients(exact, loss, (x.double(), labels), [parameters[n] for n in own])
        by_name = dict(zip(own, gradients, strict=True))
    layers, second, identities = [], [], []
    for number, layer in enumerate(found):
        record, checks = first_order(layer, by_name.get(f"{layer.name}.bias"), by_name.get(f"{layer.name}.weight"))
        layers.append(record)
        identities += checks
        units = _spread(layer.units, options["hessian_units"])
        more, checks = second_order(layer, units, at.task.seed * 1000 + number)
        second.append(more)
        identities += checks
    identities.append(_twin_loss(exact, found, loss, (x.double(), labels)))
    del found, exact
    identities += [single_precision(layer) for layer in capture(model, loss, (x, labels))]
    return {"layers": layers, "theorem_4_2": second, "identities": [identity.as_json() for identity in identities]}


def _spread(total: int, wanted: int) -> list[int]:
    """Some of ``total`` units, evenly spread, the first and the last among them."""
    if wanted >= total:
        return list(range(total))
    if wanted == 1:
        return [total // 2]
    return sorted({round(i * (total - 1) / (wanted - 1)) for i in range(wanted)})


def _twin_loss(model: nn.Module, found: Capture, loss: Loss, batch: Batch) -> Identity:
    """The twin's loss is the network's, to rounding.

    The two differ in how each unit's z is rounded: by at most its tolerance times the size of its terms. To first order
    that moves the loss by the inner product with the gradient at z, so the sum over all units of ||g|| times that
    difference bounds it.
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
