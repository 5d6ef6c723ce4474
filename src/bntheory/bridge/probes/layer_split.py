"""What each normalisation layer of a network does to the gradient that passes through it, summed over units and batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor, finfo

from bntheory.bridge.left_out import UNREACHED
from bntheory.bridge.objective import Objective
from bntheory.bridge.probes.capture import capture
from bntheory.bridge.probes.captured import CapturedLayer
from bntheory.bridge.ranges import exponent_of, times_power
from bntheory.layer.closed_form import BatchNormLayer


@dataclass(frozen=True)
class LayerProbe:
    """One normalisation layer, over all batches. All shares are of the scaled gradient's squared norm, summed over units.

    scaling: root mean square over units of |gamma|/sigma. share_mean, share_y_hat: what the layer takes off along 1 and along y_hat.
    left: ||input_grad||^2 over the scaled ||grad||^2, measured. The three are None where no gradient reaches the layer's output.
    residual: of measured against closed form, the worst unit; tolerance: what rounding allows there.
    """

    name: str
    kind: str
    units: int
    m: int
    scaling: float
    share_mean: float | None
    share_y_hat: float | None
    left: float | None
    residual: float
    tolerance: float


@dataclass
class _Sums:
    """What one layer's batches add up to."""

    scale2: list[float] = field(default_factory=list)
    scaled: float = 0.0
    mean: float = 0.0
    along: float = 0.0
    left: float = 0.0
    exponent: int | None = None
    residual: float = 0.0
    tolerance: float = math.inf

    def add(self, parts: list[float], exponent: int) -> None:
        """Add these parts times 4**exponent. A sum is in units of its largest exponent: that cannot overflow."""
        if parts[0] == 0:
            return
        shared = exponent if self.exponent is None else max(self.exponent, exponent)
        earlier = 0 if self.exponent is None else 2 * (self.exponent - shared)
        for name, part in zip(("scaled", "mean", "along", "left"), parts, strict=True):
            setattr(self, name, math.ldexp(getattr(self, name), earlier) + math.ldexp(part, 2 * (exponent - shared)))
        self.exponent = shared


def layer_splits(
    objective: Objective, names: Sequence[str] | None = None, progress: Callable[[float], None] = lambda fraction: None
) -> tuple[tuple[LayerProbe, ...], dict[str, str]]:
    """The layers of an objective by name (all if None), summed over the batches that reach them; and of each that is left out, the reason.

    Only first derivatives are taken. Raises ValueError as :func:`bntheory.bridge.capture`.
    """
    sums: dict[str, _Sums] = {}
    probes: dict[str, LayerProbe] = {}
    left_out: dict[str, str] = {}
    for index in range(len(objective.batches)):
        progress(index / len(objective.batches))
        found = capture(objective.single(index), layers=names, second_order=False)
        left_out.update(
            {name: why for name, why in found.left_out.items() if left_out.get(name, UNREACHED) == UNREACHED}
        )
        waiting = dict(found.layers)
        del found
        while waiting:  # what a layer needs is let go before the next one
            captured = waiting.pop(next(iter(waiting)))
            try:
                probes[captured.name] = _layer(captured, sums.setdefault(captured.name, _Sums()))
            except ValueError as error:  # one degenerate layer (a constant channel without eps) is not all of them
                left_out[captured.name] = str(error)
    left_out = {name: why for name, why in left_out.items() if why != UNREACHED or name not in probes}
    return tuple(p for name, p in probes.items() if name not in left_out), left_out


def _parts(captured: CapturedLayer, layer: BatchNormLayer, scale2: Tensor) -> tuple[list[float], int]:
    """(parts, k): 4**k times these are the scaled squared norm, what is off along 1 and along y_hat, and what is left; k is 0 where squares
    stay in the dtype's range."""
    m, tiny = captured.m, finfo(scale2.dtype).tiny
    curved = 1 + layer.eps / layer.sigma**2
    norm2 = layer.norm2(layer.grad)
    along_one = captured.kind != "rms"  # which takes nothing off along 1
    parts = [
        float((scale2 * norm2).sum()),
        float((scale2 * layer.beta_grad**2 / m).sum()) if along_one else 0.0,
        float((scale2 * curved * layer.gamma_grad**2 / m).sum()),
        float(captured.input_grad.square().sum()),
    ]
    least = tiny * layer.grad.numel()  # where the squares that underflow may count
    if all(map(math.isfinite, parts)) and min(parts[0], float(norm2.sum())) >= least and float(scale2.max()) >= tiny:
        return parts, 0
    ratio = (layer.gamma / layer.sigma).double()
    scaled = ratio * layer.grad.double()
    exponent = exponent_of(scaled)
    ratio = times_power(ratio, -exponent // 2)
    rest = -exponent - (-exponent // 2)

    def total(x: Tensor) -> float:
        return float((ratio * times_power(x.double(), rest)).square().sum())

    return [
        float(times_power(scaled, -exponent).square().sum()),
        total(layer.beta_grad) / m if along_one else 0.0,
        total(curved.sqrt() * layer.gamma_grad) / m,
        float(times_power(captured.input_grad.double(), -exponent).square().sum()),
    ], exponent


def _layer(captured: CapturedLayer, s: _Sums) -> LayerProbe:
    """A captured layer in numbers, on top of what earlier batches added up to."""
    layer = captured.closed_form()
    residual = captured.gradient_residual()
    scale2 = (layer.gamma / layer.sigma) ** 2
    m = captured.m
    s.scale2.append(float(scale2.mean()))
    s.add(*_parts(captured, layer, scale2))
    worst = int((residual.relative - residual.tolerance).argmax())
    relative, tolerance = float(residual.relative[worst]), float(residual.tolerance[worst])
    if relative - tolerance > s.residual - s.tolerance:
        s.residual, s.tolerance = relative, tolerance
    mean, along, left = (part / s.scaled if s.scaled > 0 else None for part in (s.mean, s.along, s.left))
    scaling = math.sqrt(sum(s.scale2) / len(s.scale2))
    return LayerProbe(
        captured.name, captured.kind, captured.units, m, scaling, mean, along, left, s.residual, s.tolerance
    )
