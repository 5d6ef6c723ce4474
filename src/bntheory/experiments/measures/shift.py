"""Internal covariate shift by Definition 2.1 in one step of descent."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bntheory.bridge.probes.covariate_shift import LayerShift, covariate_shift
from bntheory.bridge.probes.identities import check_identity
from bntheory.experiments.measures.situation import Json, Options, Situation, number


def shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer by Definition 2.1, for the plain gradient step of the arm's
    rate."""
    found = covariate_shift(at.model, at.loss, at.batch(), learning_rate=at.task.arm.learning_rate)
    l2 = torch.tensor([found[0].l2], dtype=torch.float64)
    zero = torch.zeros_like(l2)
    first = check_identity("first-layer-shift", found[0].layer, left=l2, right=zero, relative=l2, tolerance=zero)
    return {"shift": _columns(found, "l2", "cosine"), "identities": [first.as_json()]}


def step_shift(at: Situation, options: Options) -> Json:
    """Internal covariate shift of every weight layer (Definition 2.1) for the update of this step on its own batch."""
    found = covariate_shift(at.model, at.loss, at.training_batch(), learning_rate=at.task.arm.learning_rate)
    return {"step_shift": _columns(found, "l2", "cosine", "gradient_norm")}


def _columns(found: Sequence[LayerShift], *names: str) -> Json:
    return {"layers": [s.layer for s in found], **{name: [number(getattr(s, name)) for s in found] for name in names}}
