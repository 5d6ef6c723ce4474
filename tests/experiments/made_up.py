"""Made-up records with known answers, for the tests of comparisons and of the report: no network is trained here."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from bntheory.experiments.preset import NetworkEntry, Preset, load_preset

NETWORKS = ("mlp", "smooth")
SEEDS = (0, 1, 2, 3)
LAYERS = ("hidden0.norm", "hidden1.norm")
#: Batch norm's lambda_max over its twin's, with both statistics alive or one; over the standard network's at every step.
OWN, MEAN, VARIANCE, STANDARD = 0.3, 0.4, 0.9, 0.5
#: Of the gradient norm over the twin's, the linearity error over the twin's, and the share of y_hat as a multiple of 1/m.
GRADIENT, LINEARITY, CHANCE = 0.6, 0.5, 4.0
Change = Callable[[dict[str, Any], np.random.Generator], dict[str, Any] | None]


def preset(**changes: Any) -> Preset:
    """Two networks that differ in their activation, two rates."""
    entries = (
        NetworkEntry("mlp", "mlp", {"layout": [4]}),
        NetworkEntry("smooth", "mlp", {"layout": [4], "activation": "softplus"}),
    )
    base = replace(load_preset("smoke"), networks=entries, seeds=SEEDS)
    return replace(base, **changes)


def identity(name: str, where: str, **changes: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "layer": where,
        "units": 8,
        "failing": 0,
        "unit": 3,
        "left": 1.25,
        "right": 1.25,
        "relative": 1e-15,
        "tolerance": 1e-12,
    }
    return {**base, **changes}


def layer(name: str, m: int = 128) -> dict[str, Any]:
    bound = {"checked": 8, "violated": 0, "unit": 1, "left": 0.5, "right": 0.6, "excess": -0.1, "tolerance": 1e-12}
    split = {"scaling": 0.8, "share_mean": 1 / m, "share_y_hat": CHANCE / m, "left": 1 - (1 + CHANCE) / m}
    return {
        "name": name,
        "m": m,
        "units": 8,
        "split": split,
        "theorem_4_1": {"neurips": {**bound, "violated": 3, "left": 0.7, "right": 0.6, "excess": 0.1}, "arxiv": bound},
    }


def make_records(
    chosen: Preset | None = None, change: Change = lambda point, rng: point, seed: int = 0, noise: float = 0.02
) -> list[dict[str, Any]]:
    """The points of a whole run in which every effect is a constant factor, up to ``noise`` of it.

    change: makes another point of each, or none.
    """
    rng = np.random.default_rng(seed)
    asked = (chosen or preset()).experiment()
    points = []
    for task in asked.tasks():
        for step in asked.protocol.record:
            found = change(_point(task.arm, task.seed, step, rng, noise), rng)
            if found is not None:
                points.append(found)
    return points


def _point(arm: Any, seed: int, step: int, rng: np.random.Generator, noise: float) -> dict[str, Any]:
    def noisy(value: float) -> float:
        return value * math.exp(noise * rng.standard_normal())

    loss = 2.0 * math.exp(-step / 40) * (1 + 0.01 * seed)
    kind = arm.name.partition("@")[0]
    place = {"gradient_norm": 1.0, "linearity_error": 0.2, "loss": loss, "refused": None}
    top = 20.0 * (1.0 if kind != "batchnorm" else STANDARD)
    measured = {"own": {**place, "top": noisy(top)}}
    point: dict[str, Any] = {
        "cell": f"{arm.network}-s{seed}-{arm.name}",
        "network": arm.network,
        "seed": seed,
        "arm": arm.name,
        "step": step,
        "diverged": False,
        "layers": [],
        "theorem_4_2": [],
        "identities": [],
        "addresses": {
            m: f"{m[:2]}{arm.name[:2]}{seed}{step:03d}0000" for m in ("sharpness", "linearity", "shift", "accuracy")
        },
        "guessing_loss": math.log(10),
        "training_loss": noisy(loss * (0.5 if kind == "batchnorm" else 1.0)),
        "training_accuracy": 0.5,
        "test_accuracy": 0.6 if kind == "batchnorm" else 0.5,
        "test_loss": loss,
        "shift": {
            "layers": ["a", "b"],
            "l2": [0.0, noisy(2.0 if kind == "batchnorm" else 1.0)],
            "cosine": [1.0, 1 - noisy(0.2 if kind == "batchnorm" else 0.1)],
        },
    }
    if kind == "batchnorm":
        own = measured["own"]
        twin = {
            **place,
            "top": noisy(own["top"] / OWN),
            "gradient_norm": noisy(1 / GRADIENT),
            "linearity_error": noisy(0.2 / LINEARITY),
        }
        measured["twin"] = twin
        point["sharpness"] = {
            "mean-alive": {**place, "top": noisy(twin["top"] * MEAN)},
            "variance-alive": {**place, "top": noisy(twin["top"] * VARIANCE)},
        }
        point["linearity"] = measured
        point["layers"] = [layer(name) for name in LAYERS]
        point["theorem_4_2"] = [{"name": n, "units": [0], "first": None, "second": None} for n in LAYERS]
        point["identities"] = [
            identity(i, n) for i in ("input-gradient", "gradient-split", "theorem-4.1") for n in LAYERS
        ]
    else:
        point["sharpness"] = measured
    return point
