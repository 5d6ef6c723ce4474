"""The reparametrised control: other weights, the same function.

What lives here: scaling of the weights that feed batch norm, and the proof by running that the copy is what it is said to be. What does
not: the other controls (``twins.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, finfo, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.evaluation import call_model, first_tensor, outputs_in
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.twins import batch_norm_layers, copied, still_held, still_used
from bntheory.bridge.raised import plainly_called
from bntheory.errors import UserError

WEIGHT_LAYERS = (nn.Linear, _ConvNd)

# The factors that a leak is looked for with, first the one that shows it best: powers of two round nothing by themselves.
_PROBES = (1024.0, 16.0, 2.0)
# Roundings of the copy against those of weights that were moved by one eps: up to 5 times as large were seen.
_MAGNIFIED = 32.0
# No whole number: a parametrisation may round what it is given to an integer (torch's orthogonal one does so with its signs).
_TRIAL = 1.5
_OF_A_COPY = "and other weights for the same function are those of a copy"


@dataclass
class _Feeds:
    """norms: which weight layers feed each batch norm, in the order of the calls. called: the first arguments of each weight layer."""

    norms: dict[str, list[str]] = field(default_factory=dict)
    called: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)


def _feeds(model: nn.Module, inputs: Any) -> _Feeds:
    produced: dict[int, str] = {}
    alive: list[Tensor] = []  # holds on to the outputs, so that no id is used twice
    feeds = _Feeds()

    def after(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, named: Any, output: Tensor) -> None:
            produced[id(output)] = name
            alive.append(output)
            feeds.called.setdefault(name, (arguments, named))

        return hook

    def before(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, named: Any) -> None:
            source = produced.get(id(first_tensor(arguments, named)))
            if source is not None and source not in feeds.norms.setdefault(name, []):
                feeds.norms[name].append(source)

        return hook

    layers = batch_norm_layers(model)
    with state_guard(model, parameters=False):
        for name, module in model.named_modules():
            if isinstance(module, WEIGHT_LAYERS):
                module.register_forward_hook(after(name), with_kwargs=True)
        for name, layer in layers.items():
            layer.train()
            layer.register_forward_pre_hook(before(name), with_kwargs=True)
        with plainly_called(model):
            call_model(model, inputs)
    return feeds


@torch.no_grad()
def normalised_weight_layers(model: nn.Module, inputs: Any) -> dict[str, str]:
    """Which weight layer feeds which batch-norm layer directly: {batch-norm name: weight layer name}.

    Found by running ``model`` on ``inputs`` once: the very tensor that the weight layer returns must be what the
    batch-norm layer receives. Of several that feed one, the last is given. The model is left as it was.
    """
    return {norm: sources[-1] for norm, sources in _feeds(model, inputs).norms.items()}


@checked
@torch.no_grad()
def reparametrised(model: nn.Module, inputs: Any, factor: float, *, scale_eps: bool = True) -> nn.Module:
    """A copy whose weights (and biases) before each batch norm are multiplied by ``factor`` > 0.

    Batch norm removes the factor: BN(a W u) = BN(W u) for a > 0 at eps = 0 (Ioffe and Szegedy 2015, section 3.3).
    With ``scale_eps`` each layer's eps is multiplied by factor^2, which makes this exact for eps > 0 as well
    (for the l_p layers: eps by factor^p, or by the factor itself for p = inf). Running statistics are scaled along,
    so evaluation mode agrees too. With a power of two, nothing is even rounded.

    A tensor that several layers share is scaled once. Of a weight that is computed from others (weight norm, a mask), the one is
    scaled that the weight is proportional to. Both are checked by running: on ``inputs`` what enters each of those batch norms is
    ``factor`` times what it was, and the outputs are the same in training and in evaluation mode (where the model can be evaluated on them), to measured rounding.

    Raises:
        ValueError: ``factor`` not positive and finite, no weight layer in front of a batch norm, a weight that no tensor scales
            (spectral norm, an orthogonal parametrisation), what enters a batch norm is not scaled, or the output on ``inputs``
            changes by more than rounding with eps scaled along (the weight layer feeds something else, too).
    """
    if not 0 < factor < float("inf"):
        raise UserError(f"factor: {factor} is not a positive finite number")
    feeds = _feeds(model, inputs)
    if not feeds.norms:
        raise UserError("model: no batch-norm layer is fed directly by a linear or convolutional layer")
    modules = dict(model.named_modules())
    names = {id(p): name for name, p in model.named_parameters()}
    scaled: dict[str, None] = {}  # a tensor that two layers share has one name, and is scaled once
    for layer in sorted({source for sources in feeds.norms.values() for source in sources}):
        for tensor in _scaling(layer, modules[layer], *feeds.called[layer]):
            scaled[names[id(tensor)]] = None
    other = _scaled_copy(model, scaled, feeds.norms, factor)
    held = still_used(model, other, inputs)
    if held is not None:
        raise UserError(f"{still_held(held)}, {_OF_A_COPY}. Let the module reach its own parameters by self")
    _check_same_function(model, other, inputs, factor, scaled, feeds.norms)
    if not scale_eps:
        copies = dict(other.named_modules())
        for norm in feeds.norms:
            setattr(copies[norm], "eps", modules[norm].eps)  # noqa: B010 - typed as a submodule
    return other


def _scaled_copy(model: nn.Module, scaled: Collection[str], norms: Collection[str], factor: float) -> nn.Module:
    other = copied(model, _OF_A_COPY)
    parameters, modules = dict(other.named_parameters()), dict(other.named_modules())
    for name in scaled:
        parameters[name].mul_(factor)
    for norm_name in norms:
        norm: Any = modules[norm_name]
        power = float(getattr(norm, "p", 2.0))
        if power == 0:
            raise UserError(f"{norm_name}: mean-only normalisation does not remove a factor")
        power = 1.0 if power == float("inf") else power
        try:
            growth = factor**power
        except OverflowError:
            growth = float("inf")
        norm.eps = float(norm.eps) * growth
        for name, scale in (("running_mean", factor), ("running_var", growth)):
            buffer = norm._buffers.get(name)
            if buffer is not None:
                buffer.mul_(scale)
    return other


# -- the tensors that scale a layer's output ---------------------------------------------------------------------------


def _scaling(name: str, layer: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> Sequence[Tensor]:
    """The tensors whose multiplication multiplies what ``layer`` returns. Raises ValueError where there are none."""
    choices: list[list[Tensor]] = []
    computed = False
    for role in ("weight", "bias"):
        own = layer._parameters.get(role)
        if own is not None:
            choices.append([own])
        elif parametrize.is_parametrized(layer, role) or getattr(layer, role, None) is not None:
            choices.append(_originals(layer, role))
            computed = True
    if not computed:
        return [tensor for tensors in choices for tensor in tensors]
    with state_guard(layer):
        plain = layer(*arguments, **named)
    for tensors in itertools.product(*choices):
        with state_guard(layer):
            for tensor in {id(t): t for t in tensors}.values():
                tensor.mul_(_TRIAL)
            scaled = layer(*arguments, **named)
        if _difference(_TRIAL * plain, scaled) <= _MAGNIFIED * finfo(plain.dtype).eps:
            return tensors
    raise UserError(
        f"{name}: its weight or bias is computed ({_how(layer)}), and none of the tensors that it is computed from scales it, so that no other "
        "values of them give a multiple of this layer. Give a copy of the model with plain weights: "
        "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight'), or for the older functions "
        "torch.nn.utils.remove_spectral_norm(layer)"
    )


def _originals(layer: nn.Module, role: str) -> list[Tensor]:
    """What a computed weight is computed from: a parametrisation's tensors, or those of torch's older functions (``weight_g``)."""
    if parametrize.is_parametrized(layer, role):
        lists: Any = layer.parametrizations
        return list(lists[role].parameters())
    return [p for name, p in layer._parameters.items() if p is not None and name.startswith(f"{role}_")]


def _how(layer: nn.Module) -> str:
    kinds: list[Any] = []
    if parametrize.is_parametrized(layer):
        lists: Any = layer.parametrizations
        kinds = [part for parts in lists.values() for part in parts]
    kinds = kinds or list(layer._forward_pre_hooks.values())
    return ", ".join(type(kind).__name__ for kind in kinds) or "it is no parameter of the layer"


# -- the proof by running ----------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """What entered each rescaled batch norm, call by call, and what came out in the end."""

    entered: list[tuple[str, Tensor]] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)

    def tensors(self) -> list[Tensor]:
        return [t for _, t in self.entered] + self.outputs

    @property
    def finite(self) -> bool:
        return all(bool(torch.isfinite(t).all()) for t in self.tensors())


def _run(model: nn.Module, network: nn.Module, inputs: Any, norms: Collection[str], training: bool) -> _Run:
    found = _Run()

    def before(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, named: Any) -> None:
            x = first_tensor(arguments, named)
            if x is not None:
                found.entered.append((name, x.detach().clone()))  # a layer behind may write into it

        return hook

    with state_guard(model, network, parameters=False):  # a copy may still call what the model holds
        for module in () if training else network.modules():
            module.training = False
        for name, layer in batch_norm_layers(network).items():
            layer.training = training
            if name in norms:
                layer.register_forward_pre_hook(before(name), with_kwargs=True)
        torch.manual_seed(0)
        with plainly_called(network):
            outputs = call_model(network, inputs)
        found.outputs = [t.detach().clone() for t in outputs_in(outputs) if t.is_floating_point()]
    return found


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference relative to the largest entry of ``a``, where ``a`` is finite."""
    if a.shape != b.shape:
        return float("inf")
    good = torch.isfinite(a)
    a, b = a[good], b[good]
    if not a.numel():
        return 0.0
    tiny = finfo(a.dtype).tiny
    found = float((a - b).abs().max() / a.abs().max().clamp_min(tiny))
    return found if found == found else float("inf")


def _check_same_function(
    model: nn.Module,
    other: nn.Module,
    inputs: Any,
    factor: float,
    scaled: Collection[str],
    norms: Mapping[str, list[str]],
) -> None:
    for training in (True, False):
        try:
            plain = _run(model, model, inputs, norms, training)
        except UserError:
            if training:
                raise
            return  # a model that cannot be evaluated on these inputs has no outputs to compare
        if training and not sum(t.numel() for t in plain.outputs):
            raise UserError("inputs: hold no example, so that the copy cannot be compared with the model")
        moved = copied(model, _OF_A_COPY)
        _move(moved, scaled)
        rounding = _run(model, moved, inputs, norms, training)
        allowed = [
            _MAGNIFIED * max(_difference(a, b), float(finfo(a.dtype).eps))
            for a, b in zip(plain.tensors(), rounding.tensors(), strict=True)
        ]
        proved = False
        for probe in _PROBES:
            copy = _scaled_copy(model, scaled, norms, probe)
            run = _run(model, copy, inputs, norms, training)
            if (run.finite and _holds_finite(copy, norms)) or not plain.finite:
                _compare(plain, run, allowed, probe, training, norms)
                proved = True
                break
        try:
            _compare(plain, _run(model, other, inputs, norms, training), allowed, factor, training, norms)
        except UserError as error:
            if not proved:
                raise
            dtype = str(plain.outputs[0].dtype)
            raise UserError(
                f"factor: {factor:g} takes weights, statistics or eps out of the range of {dtype}, since a factor of {probe:g} leaves the network's "
                "outputs as they are and this one does not; take a factor closer to 1, or a model in float64"
            ) from error


def _holds_finite(network: nn.Module, norms: Collection[str]) -> bool:
    """Whether the scaled statistics of half-precision layers are within range: where they are not, other outputs show no leak."""
    modules = dict(network.named_modules())
    return all(bool(torch.isfinite(b).all()) for name in norms for b in modules[name].buffers())


def _move(network: nn.Module, scaled: Collection[str]) -> None:
    """Every scaled weight by one eps of itself up or down: as rounding moves it, at most."""
    generator = torch.Generator().manual_seed(0)
    parameters = dict(network.named_parameters())
    for name in scaled:
        p = parameters[name]
        signs = torch.randint(0, 2, p.shape, generator=generator).to(p.device) * 2 - 1
        p.mul_(1 + signs.to(p.dtype) * finfo(p.dtype).eps)


def _compare(
    plain: _Run, run: _Run, allowed: Sequence[float], factor: float, training: bool, norms: Mapping[str, list[str]]
) -> None:
    mode = "training" if training else "evaluation"
    if [name for name, _ in plain.entered] != [name for name, _ in run.entered] or len(plain.outputs) != len(
        run.outputs
    ):
        raise UserError(
            "model: a pass with scaled weights calls other layers than one without, so that the two cannot be compared; "
            "this network has no such reparametrisation"
        )
    for (name, before), (_, after), limit in zip(plain.entered, run.entered, allowed, strict=False):
        difference = _difference(before, after / factor)
        if not difference <= limit:
            raise UserError(
                f"{name}: with the weights of {', '.join(norms[name])} multiplied by {factor:g}, what enters this batch norm in {mode} mode is not "
                f"{factor:g} times what it was: it differs by {difference:.1e} (relative), where rounding makes {limit:.1e} at most. Something "
                "else enters it as well, or a layer before it is scaled too and feeds something besides its own batch norm; let nothing but what "
                "linear or convolutional layers return enter it"
            )
    for before, after, limit in zip(plain.outputs, run.outputs, allowed[len(plain.entered) :], strict=True):
        difference = _difference(before, after)
        if not difference <= limit:
            raise UserError(
                f"model: scaling the weights before batch norm by {factor:g} changed the output in {mode} mode by {difference:.1e} (relative), where "
                f"rounding makes {limit:.1e} at most, so a scaled layer feeds something besides its batch norm (a skip, a penalty, a weight "
                "that another layer shares); this network has no such reparametrisation. Give what else it feeds a layer of its own"
            )
