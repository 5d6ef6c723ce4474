"""Numbers of a measurement by name, and the measurements of one seed by arm: how everything else reads records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from bntheory.evidence.record import Record
from bntheory.experiments.experiment import Needed

__all__ = ["Points", "Runs", "merged", "quantity"]

Json = Mapping[str, Any]
Points = dict[int, Json]  # by step


def merged(asked: Sequence[Needed], records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """One mapping for every point of every run, with the values of all its measures; in the order of the experiment.

    Names are those of the experiment that asks, whatever the store calls them. A point without any record is left out.
    """
    points: dict[tuple[str, int], dict[str, Any]] = {}
    for n in asked:
        record = records.get(n.address)
        if record is None:
            continue
        arm = n.task.arm
        point = points.setdefault(
            (n.task.name, n.step),
            {
                "cell": n.task.name,
                "network": arm.network,
                "seed": n.task.seed,
                "arm": arm.name,
                "step": n.step,
                "diverged": record.diverged,
                "twin": None,
                "layers": [],
                "theorem_4_2": [],
                "identities": [],
            },
        )
        identities = [*point["identities"], *record.values.get("identities", ())]
        point |= {**record.values, "identities": identities}
    return list(points.values())


class Runs:
    """All points of an experiment, sorted once: what is asked of them later costs no further pass over all of them."""

    def __init__(self, points: Iterable[Json]) -> None:
        self._of: dict[str, list[Json]] = {}
        self._arms: dict[tuple[str, int], dict[str, Points]] = {}
        self.points = list(points)
        for point in self.points:
            self._of.setdefault(point["network"], []).append(point)
            if point["diverged"]:
                continue
            arms = self._arms.setdefault((point["network"], point["seed"]), {})
            arms.setdefault(point["arm"], {})[point["step"]] = point
            if point.get("twin") is not None:
                arms.setdefault("twin", {})[point["step"]] = point["twin"]

    def of(self, network: str) -> Sequence[Json]:
        """The points of one network, diverged ones included."""
        return self._of.get(network, ())

    def arms(self, network: str, seed: int) -> Mapping[str, Points]:
        """A seed's points by arm and step; the frozen twin, measured at batch norm's points, is an arm like the others."""
        return self._arms.get((network, seed), {})


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
