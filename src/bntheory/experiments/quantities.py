"""Records of an experiment as points, and the numbers of a point by name: how everything else reads records."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bntheory.evidence.record import Record
from bntheory.experiments.experiment import Needed

Json = Mapping[str, Any]


def merged(asked: Sequence[Needed], records: Mapping[str, Record]) -> list[dict[str, Any]]:
    """One mapping for every point of every run, with the values of all its measures; in the order of the experiment.

    Names are those of the experiment that asks, whatever the store calls them; "addresses" are those of its records, by
    measure. A point without any record is left out.
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
                "layers": [],
                "theorem_4_2": [],
                "identities": [],
                "addresses": {},
            },
        )
        identities = [*point["identities"], *record.values.get("identities", ())]
        point |= {**record.values, "identities": identities}
        point["addresses"][n.measure.name] = n.address
    return list(points.values())


def quantity(point: Json, name: str, of: str = "own") -> float | None:
    """One number of a measurement by name; None where it was not measured, or refused.

    of: the network itself, or one of its twins, where it was measured on them too.
    """
    if name in ("shift_l2", "shift_angle"):
        return _shift(point, name)
    place = (point.get("linearity") or {}).get(of) or (point.get("sharpness") or {}).get(of) or {}
    if name in ("loss", "top", "linearity_error", "gradient_norm"):  # all of the batch whose curvature it is
        return _number(place.get(name))
    if name == "relative_curvature":  # lambda_max (f - f*)/||grad f||^2, f* = 0 being the least cross-entropy
        top, loss, norm = (_number(place.get(key)) for key in ("top", "loss", "gradient_norm"))
        return None if top is None or loss is None or not norm else top * loss / norm**2
    return _number(point.get(name))  # "training_loss", "test_accuracy": of the network itself


def _number(x: float | None) -> float | None:
    return None if x is None or not math.isfinite(x) else float(x)


def _shift(point: Json, name: str) -> float | None:
    """Of the layers after the first, whose shift is zero by definition: geometric mean of lengths, mean of
    1 - cosine."""
    found = (point.get("shift") or {}).get("l2" if name == "shift_l2" else "cosine") or []
    later = [x for x in found[1:] if x is not None]
    if not later:
        return None
    if name == "shift_angle":
        return float(np.mean([1 - x for x in later]))
    return math.exp(float(np.mean(np.log(later)))) if min(later) > 0 else None
