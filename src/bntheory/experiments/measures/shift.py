"""Internal covariate shift by Definition 2.1 in one step of descent."""

from __future__ import annotations

import torch

from bntheory.bridge.probes.covariate_shift import covariate_shift
from bntheory.bridge.probes.identities import check_identity
from bntheory.experiments.measures.situation import Json, Options, Situation, number

__all__ = ["shift", "step_shift"]


def shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer by Definition 2.1, for the plain gradient step of the arm's rate."""
    found = covariate_shift(at.model, at.loss, at.batch(), learning_rate=at.task.arm.learning_rate)
    shift = {
        "layers": [s.layer for s in found],
        "l2": [number(s.l2) for s in found],
        "cosine": [number(s.cosine) for s in found],
    }
    l2 = torch.tensor([found[0].l2], dtype=torch.float64)
    zero = torch.zeros_like(l2)
    first = check_identity("first-layer-shift", found[0].layer, left=l2, right=zero, relative=l2, tolerance=zero)
    return {"shift": shift, "identities": [first.as_json()]}


def step_shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer (Definition 2.1) for the update of this step on its own batch."""
    found = covariate_shift(at.model, at.loss, at.training_batch(), learning_rate=at.task.arm.learning_rate)
    return {
        "step_shift": {
            "layers": [s.layer for s in found],
            "l2": [number(s.l2) for s in found],
            "cosine": [number(s.cosine) for s in found],
            "gradient_norm": [number(s.gradient_norm) for s in found],
        }
    }
