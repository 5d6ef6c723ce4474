"""Internal covariate shift by Definition 2.1 of Santurkar et al. 2018.

What lives here: the change of a layer's gradient that the update of the layers before it causes. What does not: the
older reading by the distribution of activations (``activation_moments.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.evaluation import flat, trainable
from bntheory.bridge.networks.reparametrised import WEIGHT_LAYERS
from bntheory.bridge.normalisers import is_normalisation
from bntheory.bridge.objective import Objective
from bntheory.bridge.ranges import in_range, length
from bntheory.errors import UserError

#: Layers all of whose tensors of two or more axes are weights, however many units they have.
LAYERS = (*WEIGHT_LAYERS, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@dataclass(frozen=True)
class LayerShift:
    """The shift of one layer: l2 = ||G - G'||, the cosine of G and G', and both norms."""

    layer: str
    index: int  # 1 for the first layer
    l2: float
    cosine: float
    gradient_norm: float  # ||G||
    shifted_norm: float  # ||G'||

    @property
    def relative(self) -> float:
        """||G - G'|| / ||G||: does not change when the loss is multiplied by a constant and lr divided by it."""
        return self.l2 / self.gradient_norm if self.gradient_norm > 0 else math.nan


def _owner(name: str) -> str:
    """The module that a parameter belongs to; a parametrised one to the layer whose weight it makes."""
    return name.rpartition(".")[0].partition(".parametrizations")[0]


def is_weight(name: str, parameter: Tensor, modules: Mapping[str, nn.Module]) -> bool:
    """Whether a parameter is a matrix or a kernel: of two or more axes, and no affine map of a normalisation or of channels.

    In a module that is none of torch's layers with weights, a tensor with all its entries along one axis, as (1, C, 1, 1), has one for
    each channel: a scale or a shift, as normalisations written by hand and layer scales have them.
    """
    owner = modules.get(_owner(name))
    if parameter.dim() < 2 or (owner is not None and is_normalisation(owner)):
        return False
    return isinstance(owner, LAYERS) or parameter.numel() > max(parameter.shape)


@checked
def weight_layers(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """The layers W_1, ..., W_k: name of each weight layer, and the names of the parameters that move with it.

    A layer is a module with a weight of its own (:func:`is_weight`: linear, convolutional, recurrent, attention,
    embedding; no normalisation and no affine map written by hand), in the order of definition. Gamma, beta and whatever other parameters are defined after
    it and before the next one belong to it. For modules defined in another order than they run in, give
    :func:`covariate_shift` the layers yourself.
    """
    modules = dict(model.named_modules())
    owners = {name: _owner(name) for name in trainable(model)}
    heads = {owners[name] for name, parameter in trainable(model).items() if is_weight(name, parameter, modules)}
    layers: dict[str, list[str]] = {}
    current: str | None = None
    for name, owner in owners.items():
        if current is None or (owner in heads and owner != current):
            current = owner  # parameters before the first weight form a layer of their own
        layers.setdefault(current, []).append(name)
    return {name: tuple(parameters) for name, parameters in layers.items()}


@checked
def covariate_shift(
    model: Any,
    loss: Any = None,
    batch: Any = None,
    *,
    learning_rate: float | None = None,
    next_parameters: Mapping[str, Tensor] | None = None,
    layers: Mapping[str, tuple[str, ...]] | None = None,
    weights_only: bool = True,
    **options: Any,
) -> list[LayerShift]:
    """Definition 2.1 at the present parameters W^(t), for every layer i, on one batch.

    G = the gradient by W_i at W^(t); G' = the same with layers 1, ..., i-1 already at W^(t+1). The first layer's
    shift is zero by definition, and is computed nevertheless. In float32 a shift below about 1e-6 of the gradient's
    norm is rounding; use ``dtype=torch.float64`` for small learning rates. The model is left bit for bit as it was.

    Args:
        model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple.
        learning_rate: W^(t+1) = W^(t) - learning_rate * gradient; give this or ``next_parameters``.
        next_parameters: W^(t+1) by parameter name, e.g. ``Trainer.next_parameters(...)`` with momentum.
        layers: as from :func:`weight_layers`, which is the default.
        weights_only: G is taken by matrices and kernels alone (:func:`is_weight`), so that networks with and
            without gamma and beta compare; otherwise by all parameters of the layer.
        options: of the objective.

    Raises:
        ValueError: neither or both of ``learning_rate`` and ``next_parameters``; unknown or repeated names.
    """
    if (learning_rate is None) == (next_parameters is None):
        raise UserError("learning_rate, next_parameters: give exactly one of them; they are two ways to W^(t+1)")
    # parameters of its own are moved: a graph that is open over the model's stays good
    objective = Objective.of(model, loss, batch, private=True, **options)
    named = objective.parameters
    groups = dict(weight_layers(objective.network) if layers is None else layers)
    listed = [name for group in groups.values() for name in group]
    if len(set(listed)) != len(listed) or not set(listed) <= named.keys():
        raise UserError(f"layers: parameters {sorted(set(listed) ^ named.keys())[:3]} are unknown or repeated")
    if next_parameters is not None and not set(listed) <= next_parameters.keys():
        raise UserError(f"next_parameters: {sorted(set(listed) - next_parameters.keys())[:3]} missing")
    names, modules = list(named), dict(objective.network.named_modules())
    shifts: list[LayerShift] = []
    with objective.movable():
        before = dict(zip(names, objective.loss_and_gradients([named[n] for n in names])[1], strict=True))
        after: Mapping[str, Tensor] = next_parameters or {}
        if learning_rate is not None:
            after = {n: named[n].detach() - learning_rate * before[n] for n in listed}
        for index, (layer, group) in enumerate(groups.items(), start=1):
            of = [n for n in group if is_weight(n, named[n], modules)] if weights_only else list(group)
            of = of or list(group)
            there = objective.loss_and_gradients([named[n] for n in of])[1]
            shifts.append(_shift(layer, index, [before[n] for n in of], there))
            with torch.no_grad():
                for n in group:
                    named[n].copy_(after[n])
    return shifts


def _shift(layer: str, index: int, before: list[Tensor], there: list[Tensor]) -> LayerShift:
    a, b = flat(before), flat(there)
    (one, _), (two, _) = in_range(a), in_range(b)  # a cosine does not depend on lengths
    product = float(torch.linalg.vector_norm(one)) * float(torch.linalg.vector_norm(two))
    cosine = float(torch.dot(one, two)) / product if product > 0 else math.nan
    return LayerShift(layer, index, length(a - b), cosine, length(a), length(b))
