"""Made-up records with known answers, for the tests of aggregation and of the report: no network is trained here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

NETWORKS = ("mlp", "resnet")
SEEDS = (0, 1, 2)
STEPS = (0, 10, 40)
LAYERS = ("hidden0.norm", "hidden1.norm", "hidden2.norm")
#: what batch norm does to each quantity, beside the control: the answers that aggregation must find again
TWIN_RATIO, STANDARD_RATIO = 0.5, 0.25


def point(rng: np.random.Generator, loss: float, factor: float) -> dict[str, Any]:
    """One measured point whose curvature, gradient and ranges scale with ``factor``, up to 2 % of noise."""

    def noisy(value: float) -> float:
        return value * factor * math.exp(0.02 * rng.standard_normal())

    multiples = [0.5, 1.0, 2.0, 4.0]
    losses = [loss - 0.1 * s + 0.02 * noisy(1) * s * s for s in multiples]
    changes = [noisy(0.3 * s) for s in multiples]
    return {
        "loss": loss,
        "gradient_norm": noisy(2.0),
        "accuracy": max(0.1, 1 - loss / 2.4),
        "test_loss": loss + 0.05,
        "test_accuracy": max(0.1, 0.95 - loss / 2.4),
        "curvature": {
            "loss": loss,
            "gradient_norm": noisy(2.0),
            "top": noisy(20.0),
            "top_residual": 0.01,
            "bottom": -noisy(2.0),
            "bottom_residual": 0.01,
            "products": 40,
        },
        "along": {
            "multiples": multiples,
            "losses": losses,
            "gradient_changes": changes,
            "loss_low": min(losses),
            "loss_high": max(losses),
            "loss_range": noisy(0.2),
            "gradient_low": min(changes),
            "gradient_high": max(changes),
            "gradient_range": noisy(1.0),
            "effective_beta": noisy(30.0),
        },
        "scale_free": {
            "fraction": 0.1,
            "linearity_error": noisy(0.2),
            "trust_fraction": 0.1 / noisy(1.0),
            "trust_note": "",
            "gradient_cosine": 1 - noisy(0.05),
            "refused": None,
        },
    }


def layer(rng: np.random.Generator, name: str, step: int) -> dict[str, Any]:
    mean, y_hat = 0.05 + 0.02 * rng.random(), 0.1 + 0.1 * rng.random()
    split = {
        "scaling": float(np.exp(rng.normal())),
        "share_mean": mean,
        "share_y_hat": y_hat,
        "left": 1 - mean - y_hat,
    }
    bound = {
        "checked": 8,
        "violated": 0,
        "unit": 1,
        "left": 0.5,
        "right": 0.6,
        "excess": -0.1,
        "tolerance": 1e-12,
    }
    return {
        "name": name,
        "m": 128,
        "units": 8,
        "sigma": [0.5, 0.8, 1.0, 1.2, 2.0],
        "gamma": [0.9, 0.95, 1.0, 1.05, 1.1],
        "output_gradient": 0.3,
        "input_gradient": 0.2,
        "split": split,
        "affine_split": dict(split),
        "unit_share_mean": [0, 0.01, 0.04, 0.1, 0.3],
        "unit_share_y_hat": [0, 0.05, 0.1, 0.2, 0.5],
        "eps_correction": 1.0001,
        "theorem_4_1": {
            "neurips": {**bound, "violated": 3 if step else 0, "left": 0.7, "right": 0.6, "excess": 0.1},
            "arxiv": bound,
        },
    }


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


def shift(rng: np.random.Generator, factor: float, step: int) -> dict[str, Any]:
    return {
        "layers": ["a", "b", "c"],
        "l2": [0.0, *(factor * (0.1 + 0.01 * rng.random()) for _ in range(2))],
        "relative": [0.0, *(factor * (0.2 + 0.01 * rng.random()) for _ in range(2))],
        "cosine": [1.0, *(1 - factor * 0.1 * (1 + 0.1 * rng.random()) for _ in range(2))],
        "moments": {"places": ["a", "b"], "shift": [0.1 * factor, 0.2 * factor]},
    }


def make_records(seed: int = 0) -> list[dict[str, Any]]:
    """A whole run of two networks, three seeds and three arms."""
    rng = np.random.default_rng(seed)
    records = []
    for s in SEEDS:
        for network in NETWORKS:
            for arm, factor in (("batchnorm", STANDARD_RATIO), ("standard", 1.0), ("rescaled", 0.5)):
                for step in STEPS:
                    loss = 2.3 * math.exp(-step / 40) + 0.01 * s
                    record: dict[str, Any] = {
                        "cell": f"{network}-s{s}-{arm}",
                        "network": network,
                        "seed": s,
                        "arm": arm,
                        "step": step,
                        "factor": 0.5 if arm == "rescaled" else 1.0,
                        "diverged": False,
                        **point(rng, loss, factor),
                        "shift": shift(rng, 2.0 if arm == "batchnorm" else 1.0, step),
                        "twin": None,
                        "layers": [],
                        "theorem_4_2": [],
                        "identities": [identity("first-layer-shift", "a", relative=0.0)],
                    }
                    if arm == "batchnorm":
                        record["twin"] = point(rng, loss, factor / TWIN_RATIO)
                        record["layers"] = [layer(rng, name, step) for name in LAYERS]
                        record["theorem_4_2"] = [
                            {"name": n, "units": [0], "first": None, "second": None} for n in LAYERS
                        ]
                        record["identities"] += [
                            identity(i, n)
                            for i in ("input-gradient", "gradient-split", "theorem-4.1")
                            for n in LAYERS
                        ]
                    records.append(record)
    return records
