"""The comparisons of a run, as data: what is compared with what, per network, one number a seed, and what follows.

Everything here is a pure function of the records. Within a seed arms share initial values and batches, so a comparison is a
paired log-ratio; it is averaged over the measured steps after the first, which leaves one number a seed, and only then
summarised over seeds. Quantities are compared at equal steps unless the comparison says "at matched loss".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bntheory.judges.experiment.aggregate import Estimate, Outcome, estimate, outcome

__all__ = ["COMPARISONS", "Comparison", "Effect", "arm_points", "compare_all", "quantity"]

Json = Mapping[str, Any]
Points = dict[int, Json]  # by step


@dataclass(frozen=True)
class Comparison:
    """One question put to every network of a run.

    name: stable. claims: ids that the answer bears on. question: the claim in words, so that "supported" is an answer to it.
    control: what batch norm is compared with. values: seed's arms -> one number, or None where it cannot be had.
    claim, threshold: supported where the number's interval lies ``claim`` the threshold. unit: "ratio" for log10 ratios.
    """

    name: str
    claims: tuple[str, ...]
    question: str
    control: str
    values: Callable[[Mapping[str, Points]], float | None]
    claim: Literal["above", "below"]
    threshold: float = 0.0
    unit: Literal["ratio", "share", "difference"] = "ratio"


@dataclass(frozen=True)
class Effect:
    """A comparison's answer on one network. estimate and outcome are None where no seed gave a number."""

    comparison: Comparison
    network: str
    seeds: tuple[int, ...]
    estimate: Estimate | None
    outcome: Outcome

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        c = self.comparison
        return {
            "name": c.name,
            "claims": list(c.claims),
            "question": c.question,
            "control": c.control,
            "network": self.network,
            "unit": c.unit,
            "claim": c.claim,
            "threshold": c.threshold,
            "seeds": list(self.seeds),
            "estimate": None if self.estimate is None else self.estimate.as_json(),
            "outcome": self.outcome,
        }


# -- reading records ----------------------------------------------------------------------------------------------


def arm_points(records: Iterable[Json], network: str, seed: int) -> dict[str, Points]:
    """A seed's measurements by arm and step; the frozen twin, measured at batch norm's points, is an arm like the others."""
    arms: dict[str, Points] = {}
    for r in records:
        if r["network"] != network or r["seed"] != seed or r["diverged"]:
            continue
        arms.setdefault(r["arm"], {})[r["step"]] = r
        if r.get("twin") is not None:
            arms.setdefault("twin", {})[r["step"]] = r["twin"]
    return arms


def quantity(point: Json, name: str) -> float | None:
    """One number of a measurement by name; None where it was not measured. Scale-free ones are unchanged by a rescaled loss."""
    if name in ("loss", "gradient_norm"):
        return float(point[name])
    curvature, along, shift = point.get("curvature"), point.get("along"), point.get("shift")
    if name == "top":
        return None if curvature is None else float(curvature["top"])
    if name == "bottom":
        return None if curvature is None else float(curvature["bottom"])
    if (
        name == "relative_curvature"
    ):  # lambda_max (f - f*)/||grad f||^2 with f* = 0, the least value of cross-entropy
        if curvature is None:
            return None
        return float(curvature["top"]) * float(point["loss"]) / float(point["gradient_norm"]) ** 2
    if along is not None and name in ("loss_range", "gradient_range", "effective_beta"):
        return None if along[name] is None else float(along[name])  # it overflowed on the way
    if shift is not None and name == "moment_shift":
        moved = [x for x in shift["moments"]["shift"] if x is not None]
        return float(np.mean(moved)) if moved else None
    if shift is not None and name in ("shift_l2", "shift_relative", "shift_angle"):
        key = {"shift_l2": "l2", "shift_relative": "relative", "shift_angle": "cosine"}[name]
        later = [x for x in shift[key][1:] if x is not None]  # the first layer's is zero by definition
        if not later:
            return None
        if name == "shift_angle":  # 1 - cosine: zero where later layers see no change of direction
            return float(np.mean([1 - x for x in later]))
        return _geometric(later)
    return None


def _geometric(values: Sequence[float]) -> float | None:
    positive = [v for v in values if v > 0]
    return math.exp(float(np.mean(np.log(positive)))) if len(positive) == len(values) else None


# -- the kinds of comparison ----------------------------------------------------------------------------------------


def _log_ratio(name: str, arm: str, other: str) -> Callable[[Mapping[str, Points]], float | None]:
    """Mean over steps after the first of log10(quantity of arm / quantity of the other)."""

    def values(arms: Mapping[str, Points]) -> float | None:
        ratios = [
            _log10_ratio(quantity(point, name), quantity(arms[other][step], name))
            for step, point in sorted(arms.get(arm, {}).items())
            if step > 0 and step in arms.get(other, {})
        ]
        found = [r for r in ratios if r is not None]
        return float(np.mean(found)) if found else None

    return values


def _log10_ratio(a: float | None, b: float | None) -> float | None:
    if a is None or b is None or not (a > 0 and b > 0):
        return None
    return math.log10(a / b)


def _at_matched_loss(name: str, arm: str, other: str) -> Callable[[Mapping[str, Points]], float | None]:
    """As a log-ratio, with the other arm read where its loss equals this arm's: log-linear between its measured points.

    Points whose loss the other arm never had are left out; None where nothing is left.
    """

    def values(arms: Mapping[str, Points]) -> float | None:
        known = []
        for _, point in sorted(arms.get(other, {}).items()):
            value = quantity(point, name)
            if value is not None and value > 0:
                known.append((float(point["loss"]), math.log10(value)))
        known.sort()
        if len(known) < 2:
            return None
        losses, logs = (np.array(side) for side in zip(*known, strict=True))
        found = []
        for step, point in sorted(arms.get(arm, {}).items()):
            value, loss = quantity(point, name), float(point["loss"])
            if step > 0 and value is not None and value > 0 and losses[0] <= loss <= losses[-1]:
                found.append(math.log10(value) - float(np.interp(loss, losses, logs)))
        return float(np.mean(found)) if found else None

    return values


def _affine_share(arms: Mapping[str, Points]) -> float | None:
    """The share of y_hat at the last measured step, averaged over layers."""
    points = arms.get("batchnorm", {})
    if not points or max(points) == 0:
        return None
    layers = points[max(points)]["layers"]
    shares = [layer["split"]["share_y_hat"] for layer in layers if layer["split"]["share_y_hat"] is not None]
    return float(np.mean(shares)) if shares else None


_NETWORK = "lesswrong2019.two-lipschitz.batchnorm-reduces.network"
_SCALING = "lesswrong2019.more-than-scaling"

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "top-eigenvalue.twin",
        (_NETWORK, _SCALING),
        "Batch norm lowers the largest Hessian eigenvalue beyond what its scaling does",
        "frozen-statistics twin, same point",
        _log_ratio("top", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "gradient-norm.twin",
        (_SCALING,),
        "Batch norm lowers the gradient norm beyond what its scaling does",
        "frozen-statistics twin, same point",
        _log_ratio("gradient_norm", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "relative-curvature.twin",
        (_SCALING,),
        "Batch norm lowers the relative curvature λ_max·L/‖∇L‖², which no rescaling of the loss or the weights changes",
        "frozen-statistics twin, same point",
        _log_ratio("relative_curvature", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "top-eigenvalue.standard",
        (_NETWORK,),
        "The batch-norm network has a smaller largest Hessian eigenvalue",
        "standard network, equal steps",
        _log_ratio("top", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "top-eigenvalue.standard-at-matched-loss",
        (_NETWORK,),
        "The batch-norm network has a smaller largest Hessian eigenvalue where both have the same loss",
        "standard network, matched loss",
        _at_matched_loss("top", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "relative-curvature.standard",
        (_SCALING,),
        "The batch-norm network has a smaller relative curvature λ_max·L/‖∇L‖²",
        "standard network at any scale of the loss, equal steps",
        _log_ratio("relative_curvature", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "loss-variation.standard",
        ("santurkar2018.figure-4.loss-variation",),
        "The loss varies less along the gradient with batch norm",
        "standard network, equal steps",
        _log_ratio("loss_range", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "gradient-predictiveness.standard",
        ("santurkar2018.figure-4.gradient-predictiveness",),
        "The gradient changes less along itself with batch norm",
        "standard network, equal steps",
        _log_ratio("gradient_range", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "effective-beta.standard",
        ("santurkar2018.figure-4.effective-beta",),
        "The effective smoothness β along the gradient is smaller with batch norm",
        "standard network, equal steps",
        _log_ratio("effective_beta", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "effective-beta.twin",
        ("santurkar2018.figure-4.effective-beta", _SCALING),
        "The effective smoothness β along the gradient is smaller than that of the scaling alone",
        "frozen-statistics twin, same point",
        _log_ratio("effective_beta", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "covariate-shift.l2",
        ("santurkar2018.figure-3.covariate-shift",),
        "Batch norm does not reduce internal covariate shift (Definition 2.1, l2, layers after the first)",
        "standard network, equal steps",
        _log_ratio("shift_l2", "batchnorm", "standard"),
        "above",
    ),
    Comparison(
        "covariate-shift.angle",
        ("santurkar2018.figure-3.covariate-shift",),
        "Batch norm does not reduce internal covariate shift (Definition 2.1, 1 − cosine, layers after the first)",
        "standard network, equal steps",
        _log_ratio("shift_angle", "batchnorm", "standard"),
        "above",
    ),
    Comparison(
        "reduction-persists",
        ("santurkar2018.theorem-4.1.reduction-persists",),
        "The ŷ share of the gradient reduction stays above 1 % at the last measured step",
        "1 % of the scaled squared norm, mean over layers",
        _affine_share,
        "above",
        threshold=0.01,
        unit="share",
    ),
)


def compare_all(records: Sequence[Json], networks: Sequence[str], seeds: Sequence[int]) -> list[Effect]:
    """Every comparison on every network."""
    effects = []
    for network in networks:
        by_seed = {seed: arm_points(records, network, seed) for seed in seeds}
        for comparison in COMPARISONS:
            numbers = {seed: comparison.values(arms) for seed, arms in by_seed.items()}
            known = {seed: x for seed, x in numbers.items() if x is not None and math.isfinite(x)}
            if not known:
                effects.append(Effect(comparison, network, (), None, "inconclusive"))
                continue
            interval = estimate(list(known.values()))
            answer = outcome(interval, claim=comparison.claim, threshold=comparison.threshold)
            effects.append(Effect(comparison, network, tuple(known), interval, answer))
    return effects
