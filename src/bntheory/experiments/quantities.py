"""Numbers of a measurement by name, and the measurements of one seed by arm: how everything else reads records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["Points", "arm_points", "quantity"]

Json = Mapping[str, Any]
Points = dict[int, Json]  # by step


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
    if name == "relative_curvature":  # lambda_max (f - f*)/||grad f||^2, f* = 0 being the least cross-entropy
        if curvature is None:  # all three from the one batch whose Hessian it is
            return None
        return float(curvature["top"]) * float(curvature["loss"]) / float(curvature["gradient_norm"]) ** 2
    free = point.get("scale_free")
    if free is not None and name in ("linearity_error", "trust_fraction"):
        return None if free[name] is None else float(free[name])
    if free is not None and name == "gradient_turn":
        return None if free["gradient_cosine"] is None else 1 - float(free["gradient_cosine"])
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
