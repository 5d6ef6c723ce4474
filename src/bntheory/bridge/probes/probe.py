"""Measure somebody's own model: what batch normalisation does to its gradients and its curvature, beyond scaling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bntheory.arrays import length as length_of
from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.bridge.curvature.memory import graph_bytes, in_words
from bntheory.bridge.freezing import require_freezable
from bntheory.bridge.objective import Objective
from bntheory.bridge.probes.capture import capture_bytes
from bntheory.bridge.probes.layer_split import LayerProbe, layer_splits
from bntheory.bridge.probes.network_landscape import NetworkLandscape, NetworkProbe
from bntheory.bridge.probes.picture import probe_figure, probe_text
from bntheory.errors import UserError
from bntheory.evidence.record import plain
from bntheory.smoothness.measure import Measure
from bntheory.smoothness.scale_free import gradient_cosine, linearity_error, trust_fraction

__all__ = ["LayerProbe", "NetworkProbe", "Probe", "memory_needed", "probe"]

Progress = Callable[[float, str], None]
# Tensors of a layer's size in the closed form and its residual; vectors of the network's size in float64 at the scale-free measures.
_TERMS, _POINTS = 20, 10


@dataclass(frozen=True)
class Probe:
    """A model measured: its layers, the whole of it, and its frozen-statistics twin.

    left_out: of each normalisation that is not among the layers, the reason, by name. missing: why there is no twin, or no network.
    parameters: how many are trainable. dtype: the precision of all of it. unused: trainable parameters that the loss does not use.
    """

    layers: tuple[LayerProbe, ...]
    network: NetworkProbe
    twin: NetworkProbe | None
    parameters: int
    dtype: str = "float64"
    batches: int = 1
    left_out: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def figure(self) -> Any:
        """A matplotlib figure: each layer's share of the gradient, and the network beside its twin."""
        return probe_figure(self)

    plot = figure

    def __str__(self) -> str:
        return probe_text(self)

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object; None for every number that could not be had."""
        found: dict[str, Any] = plain(asdict(self))
        return found


@checked
def probe(
    model: Any,
    loss: Any = None,
    batch: Any = None,
    *,
    infimum: float = 0.0,
    seed: int | None = None,
    curvature: bool = True,
    layers: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float64,
    tol: float | None = None,
    progress: Progress = lambda fraction, text: None,
    **options: Any,
) -> Probe:
    """Capture every normalisation layer and measure the loss of the model and of its twin, in one precision.

    What cannot be had is left out with its reason, and takes nothing else with it.

    Args:
        model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple; several batches are
            averaged, and a layer's shares are those of the sums over all.
        infimum: the least value that the loss could have, for the scale-free measures.
        seed: of the eigenvalue solver, 0 where left out; where it is given, dropout is held at its numbers.
        layers: names of those to capture.
        tol: relative accuracy of the eigenvalues; by default 1e-6 in float64 and 1e-2 in float32, in which large networks are measured.
        curvature: whether to measure the eigenvalues and the scale-free measures.
        options: of the objective.

    Raises ValueError where neither a layer nor the network can be measured, and as the objective.
    """
    # parameters of its own, which the scale-free measures move: all that follows shares one examination
    objective = Objective.of(model, loss, batch, dtype=dtype, private=True, seed=seed, **options)
    start = 0 if seed is None else seed
    tol = (1e-6 if dtype == torch.float64 else 1e-2) if tol is None else tol
    progress(0.0, "reading the network")
    examined = objective.examination
    progress(0.0, f"about {in_words(memory_needed(objective, curvature=curvature))} of memory beside the model")
    missing: dict[str, str] = {}
    measured: tuple[LayerProbe, ...] = ()
    left_out: dict[str, str] = {}
    try:
        measured, left_out = layer_splits(objective, layers, lambda fraction: progress(0.2 * fraction, "layers"))
    except UserError as error:
        missing["layers"] = str(error)
        if layers is not None:
            raise
    progress(0.2, "the network")
    network = _network(objective, infimum, start, tol, curvature, _scaled(progress, 0.2, 0.6, "the network"))
    twin = None
    try:
        if objective.mode == "frozen":
            raise UserError("mode='frozen' measures the twin in the network's place")
        require_freezable(objective.normalisations, examined.over_the_batch)
        progress(0.6, "its frozen-statistics twin")
        rest = _scaled(progress, 0.6, 1.0, "its frozen-statistics twin")
        twin = _network(objective.twin(), infimum, start, tol, curvature, rest)
    except UserError as error:
        missing["twin"] = str(error)
    if not measured and network.lambda_max is None and curvature:
        reasons = [missing.get("layers", ""), *network.missing.values()]
        raise UserError("nothing could be measured: " + "; ".join(dict.fromkeys(r for r in reasons if r)))
    progress(1.0, "done")
    count = sum(p.numel() for p in objective.parameters.values())
    return Probe(
        measured, network, twin, count, str(dtype).removeprefix("torch."), len(objective.batches), left_out, missing,
        examined.unused,
    )  # fmt: skip


def _scaled(progress: Progress, low: float, high: float, text: str) -> Callable[[float, str], None]:
    return lambda fraction, detail: progress(low + (high - low) * fraction, f"{text}: {detail}")


# -- the network ---------------------------------------------------------------------------------------------------------


def _network(
    objective: Objective, infimum: float, seed: int, tol: float, curvature: bool, progress: Progress
) -> NetworkProbe:
    assert objective.dtype is not None
    landscape = NetworkLandscape(objective, dtype=objective.dtype)
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    if curvature:
        missing.update(_curvature(landscape, seed, tol, found, progress))
    slope = landscape.grad(landscape.point)
    value = landscape.value(landscape.point)  # known from the gradient's pass
    norm = length_of(slope)
    if curvature:
        nothing = _nothing_to_gain(value, infimum, norm)
        if nothing:
            missing.update(dict.fromkeys(("relative_curvature", *_SCALE_FREE), nothing))
        else:
            if "lambda_max" in found:
                found["relative_curvature"] = _relative_curvature(found["lambda_max"], value - infimum, norm)
            missing.update(_scale_free(landscape, infimum, found, progress))
    return NetworkProbe(value, norm, **found, missing=missing)


def _relative_curvature(value: float, excess: float, norm: float) -> float:
    """value * excess/norm^2, also where the square leaves the range."""
    return value * excess / norm**2 if 1e-130 < norm < 1e150 else (value / norm) * (excess / norm)


def _nothing_to_gain(value: float, infimum: float, norm: float) -> str:
    """Why nothing can be compared with what is left to gain; empty where it can."""
    if value < infimum:
        return (
            f"the loss is {value:.6g}, below the infimum {infimum:.6g}: give the least value that the loss could have"
        )
    if value == infimum:
        return "the loss is at its infimum: nothing is left to gain"
    return "the gradient is zero" if norm == 0 else ""


def _curvature(
    landscape: NetworkLandscape, seed: int, tol: float, found: dict[str, Any], progress: Progress
) -> dict[str, str]:
    objective = landscape.objective
    try:
        progress(0.0, "curvature")
        with hessian(objective) as operator:
            landscape.know(operator.loss, operator.gradient)
            spectrum = top_eigenvalues(
                operator,
                tol=tol,
                seed=seed,
                max_basis=_basis(operator.size, operator.dtype),
                callback=lambda n, v: progress(min(0.6, n / 60), f"{n} products"),
                mixed_precision=True,
            )
    except (ValueError, RuntimeError) as error:
        return {"lambda_max": str(error), "relative_curvature": str(error)}
    found.update(
        lambda_max=spectrum.top,
        lambda_max_error=float(spectrum.errors[0]),
        products=spectrum.products,
        single_products=spectrum.single_products,
        note=spectrum.note,
    )
    return {}


def memory_needed(objective: Objective, *, curvature: bool = True) -> int:
    """About how many bytes a probe of an objective takes at its peak, beside the model itself.

    That of its layers, one of them in all the terms of the closed form; or of the network: the graph of its gradient, the solver's basis,
    and the points along the gradient at which the scale-free measures look.
    """
    dtype = objective.precision or torch.float64
    size = sum(p.numel() for p in objective.parameters.values())
    largest = max((n.view.units * n.view.m for n in objective.normalisations if n.view is not None), default=0)
    layers = capture_bytes(objective, second_order=False) + _TERMS * largest * dtype.itemsize
    forward = objective.examination.forward_bytes
    graph = (
        graph_bytes(forward) + forward
    )  # a product keeps what it finds by each layer's input until it comes back to that layer
    if dtype == torch.float64:
        graph += graph_bytes(forward) // 2  # in float32
    basis = _basis(size, dtype) * size * dtype.itemsize
    points = _POINTS * size * torch.float64.itemsize
    return max(layers, graph + points + basis if curvature else 0)


def _basis(size: int, dtype: torch.dtype) -> int:
    """Vectors that the solver keeps: 60, or as many as take 1 GiB, and 24 at least."""
    return max(24, min(60, 2**30 // (size * dtype.itemsize)))


def _trust_fraction(landscape: NetworkLandscape, x: Any, *, infimum: float) -> Measure:
    """From 1/16 up, to 6 % of its value, which it nearly always reaches; the fine scan only where it does not."""
    coarse = trust_fraction(landscape, x, infimum=infimum, smallest=2.0**-4, bisections=4)
    return coarse if coarse.value > 0 else trust_fraction(landscape, x, infimum=infimum)


def _scale_free(
    landscape: NetworkLandscape, infimum: float, found: dict[str, Any], progress: Progress
) -> dict[str, str]:
    missing: dict[str, str] = {}
    for number, (name, measure) in enumerate(_SCALE_FREE.items()):
        progress(0.6 + 0.13 * number, name.replace("_", " "))
        try:
            found[name] = measure(landscape, landscape.point, infimum=infimum).value
        except (ValueError, RuntimeError) as error:
            missing[name] = str(error)
    return missing


_SCALE_FREE: dict[str, Callable[..., Measure]] = {
    "gradient_cosine": gradient_cosine,
    "linearity_error": linearity_error,  # at the point of the gradient before
    "trust_fraction": _trust_fraction,
}
