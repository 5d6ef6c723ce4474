"""Measure somebody's own model: what batch normalisation does to its gradients and its curvature, beyond scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.probes.capture import capture
from bntheory.bridge.probes.captured import CapturedLayer
from bntheory.bridge.probes.network_landscape import network_landscape
from bntheory.smoothness.measure import Measure
from bntheory.smoothness.scale_free import scale_free

__all__ = ["LayerProbe", "NetworkProbe", "Probe", "probe"]


@dataclass(frozen=True)
class LayerProbe:
    """One normalisation layer. All shares are of the scaled gradient's squared norm, summed over units.

    scaling: root mean square over units of |gamma|/sigma. share_mean, share_y_hat: what the layer takes off along 1 and along y_hat.
    left: ||input_grad||^2 over the scaled ||grad||^2, measured. residual: of measured against closed form, the worst unit;
    tolerance: what rounding allows there.
    """

    name: str
    kind: str
    units: int
    m: int
    scaling: float
    share_mean: float
    share_y_hat: float
    left: float
    residual: float
    tolerance: float


@dataclass(frozen=True)
class NetworkProbe:
    """Raw and scale-free measures of the loss in all parameters at one point."""

    loss: float
    gradient_norm: float
    lambda_max: float
    lambda_max_error: float
    relative_curvature: float
    linearity_error: float
    trust_fraction: float
    gradient_cosine: float


@dataclass(frozen=True)
class Probe:
    """A model measured: its layers, the whole of it, and its frozen-statistics twin (None without batch normalisation)."""

    layers: tuple[LayerProbe, ...]
    network: NetworkProbe
    twin: NetworkProbe | None
    parameters: int

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        return asdict(self)


def probe(
    model: nn.Module,
    loss: Callable[..., Tensor],
    batch: Sequence[Any],
    *,
    infimum: float = 0.0,
    seed: int = 0,
    curvature: bool = True,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> Probe:
    """Capture every normalisation layer and measure the landscape of the model and of its twin, all in float64.

    batch: (inputs, *targets). infimum: the least value that the loss could have, for the scale-free measures. The model is left as
    it was. Raises ValueError as :func:`capture` does.
    """
    progress(0.0, "layers")
    found = capture(model, loss, batch, dtype=torch.float64)
    layers = tuple(_layer(layer) for layer in found)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    batch_norm = any(layer.kind == "batch" for layer in layers)
    progress(0.2, "the network")
    network = _network(model, loss, batch, frozen=False, infimum=infimum, seed=seed, curvature=curvature)
    twin = None
    if batch_norm:
        progress(0.6, "its frozen-statistics twin")
        twin = _network(model, loss, batch, frozen=True, infimum=infimum, seed=seed, curvature=curvature)
    progress(1.0, "done")
    return Probe(layers, network, twin, parameters)


def _layer(captured: CapturedLayer) -> LayerProbe:
    layer = captured.closed_form()
    residual = captured.gradient_residual()
    scale2 = (layer.gamma / layer.sigma) ** 2
    scaled = float((scale2 * layer.norm2(layer.grad)).sum())
    m = captured.m
    mean = float((scale2 * layer.beta_grad**2 / m).sum())
    along = float((scale2 * (1 + layer.eps / layer.sigma**2) * layer.gamma_grad**2 / m).sum())
    left = float(captured.input_grad.square().sum())
    worst = int((residual.relative - residual.tolerance).argmax())

    def share(part: float) -> float:
        return part / scaled if scaled > 0 else math.nan

    return LayerProbe(
        captured.name,
        captured.kind,
        captured.units,
        m,
        float(scale2.mean().sqrt()),
        share(mean),
        share(along),
        share(left),
        float(residual.relative[worst]),
        float(residual.tolerance[worst]),
    )


def _network(
    model: nn.Module,
    loss: Callable[..., Tensor],
    batch: Sequence[Any],
    *,
    frozen: bool,
    infimum: float,
    seed: int,
    curvature: bool,
) -> NetworkProbe:
    landscape, x = network_landscape(model, loss, batch, frozen=frozen)
    value = landscape.value(x)
    slope = landscape.grad(x)
    norm = math.sqrt(float(slope @ slope))
    nothing = math.nan
    if not curvature or norm == 0 or value <= infimum:
        return NetworkProbe(value, norm, nothing, nothing, nothing, nothing, nothing, nothing)
    measured = scale_free(landscape, x, infimum=infimum, seed=seed)
    relative: Measure = measured.relative_curvature
    top = float(relative.witness["lambda_max"])
    factor = (value - infimum) / norm**2
    return NetworkProbe(
        value,
        norm,
        top,
        relative.error / factor,
        relative.value,
        measured.linearity_error.value,
        measured.trust_fraction.value,
        measured.gradient_cosine.value,
    )
