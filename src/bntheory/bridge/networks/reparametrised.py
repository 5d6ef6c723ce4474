"""The reparametrised control: other weights, the same function.

What lives here: scaling of the weights that feed batch norm. What does not: the other controls (``twins.py``).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, finfo, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.evaluation import call_model, outputs_in
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.twins import batch_norm_layers
from bntheory.bridge.raised import plainly_called
from bntheory.errors import UserError

WEIGHT_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@torch.no_grad()
def normalised_weight_layers(model: nn.Module, inputs: Any) -> dict[str, str]:
    """Which weight layer feeds which batch-norm layer directly: {batch-norm name: weight layer name}.

    Found by running ``model`` on ``inputs`` once: the very tensor that the weight layer returns must be what the
    batch-norm layer receives. The model is left as it was.
    """
    produced: dict[int, str] = {}
    alive: list[Tensor] = []  # holds on to the outputs, so that no id is used twice
    feeds: dict[str, str] = {}

    def after(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            produced[id(output)] = name
            alive.append(output)

        return hook

    def before(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any) -> None:
            source = produced.get(id(arguments[0])) if arguments else None
            if source is not None:
                feeds[name] = source

        return hook

    layers = batch_norm_layers(model)
    with state_guard(model, parameters=False):
        for name, module in model.named_modules():
            if isinstance(module, WEIGHT_LAYERS):
                module.register_forward_hook(after(name))
        for name, layer in layers.items():
            layer.train()
            layer.register_forward_pre_hook(before(name))
        with plainly_called(model):
            call_model(model, inputs)
    return feeds


@checked
@torch.no_grad()
def reparametrised(model: nn.Module, inputs: Any, factor: float, *, scale_eps: bool = True) -> nn.Module:
    """A copy whose weights (and biases) before each batch norm are multiplied by ``factor`` > 0.

    Batch norm removes the factor: BN(a W u) = BN(W u) for a > 0 at eps = 0 (Ioffe and Szegedy 2015, section 3.3).
    With ``scale_eps`` each layer's eps is multiplied by factor^2, which makes this exact for eps > 0 as well
    (for the l_p layers: eps by factor^p, or by the factor itself for p = inf). Running statistics are scaled along,
    so evaluation mode agrees too. With a power of two, nothing is even rounded.

    Raises:
        ValueError: ``factor`` not positive and finite, no weight layer in front of a batch norm, or the output on
            ``inputs`` changes by more than rounding with eps scaled along (the weight layer feeds something else, too).
    """
    if not 0 < factor < float("inf"):
        raise UserError(f"factor: {factor} is not a positive finite number")
    feeds = normalised_weight_layers(model, inputs)
    if not feeds:
        raise UserError("model: no batch-norm layer is fed directly by a linear or convolutional layer")
    other = copy.deepcopy(model)
    modules = dict(other.named_modules())
    eps: dict[str, float] = {}
    for weight_name in sorted(set(feeds.values())):
        for parameter in modules[weight_name].parameters(recurse=False):
            parameter.mul_(factor)
    for norm_name in feeds:
        norm = modules[norm_name]
        power = float(getattr(norm, "p", 2.0))
        if power == 0:
            raise UserError(f"{norm_name}: mean-only normalisation does not remove a factor")
        power = 1.0 if power == float("inf") else power
        eps[norm_name] = float(norm.eps)
        norm.eps = eps[norm_name] * factor**power
        for name, scale in (("running_mean", factor), ("running_var", factor**power)):
            buffer = norm._buffers.get(name)
            if buffer is not None:
                buffer.mul_(scale)
    _check_same_function(model, other, inputs)
    if not scale_eps:
        for norm_name, value in eps.items():
            modules[norm_name].eps = value
    return other


def _check_same_function(model: nn.Module, other: nn.Module, inputs: Any) -> None:
    outputs = []
    for network in (model, other):
        with state_guard(model, other, parameters=False):  # a copy may still call what the model holds
            for layer in batch_norm_layers(network).values():
                layer.train()
            torch.manual_seed(0)
            with plainly_called(network):
                found = call_model(network, inputs)
            parts = [t.reshape(-1) for t in outputs_in(found) if t.is_floating_point()]
            outputs.append(torch.cat(parts) if parts else torch.zeros(0))
    a, b = outputs
    if not a.numel():
        raise UserError("inputs: hold no example, so that the copy cannot be compared with the model")
    difference = float((a - b).abs().max() / a.abs().max().clamp_min(finfo(a.dtype).tiny))
    # rounding grows with depth and conditioning; a real change of the function is of order one
    if not difference < finfo(a.dtype).eps ** 0.5:
        raise UserError(
            f"model: scaling the weights before batch norm changed the output by {difference:.1e} (relative), so a "
            "scaled layer feeds something besides its batch norm; this network has no such reparametrisation"
        )
