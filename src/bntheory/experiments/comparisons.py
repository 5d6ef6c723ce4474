"""The comparisons that every run makes, as a table, and their answers: claim in words, control, number, direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bntheory.evidence.comparable import why_not_comparable
from bntheory.evidence.decision import outcome
from bntheory.evidence.intervals import estimate
from bntheory.experiments.effects import (
    Comparison,
    Effect,
    affine_share,
    at_matched_loss,
    last_log_ratio,
    log_ratio,
)
from bntheory.experiments.quantities import Points, Runs

__all__ = ["COMPARISONS", "compare_all"]

Json = Mapping[str, Any]

_NETWORK = "lesswrong2019.two-lipschitz.batchnorm-reduces.network"
_SCALING = "lesswrong2019.more-than-scaling"

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "top-eigenvalue.twin",
        (_NETWORK, _SCALING),
        "Batch norm lowers the largest Hessian eigenvalue beyond what its scaling does",
        "frozen-statistics twin, same point",
        log_ratio("top", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "gradient-norm.twin",
        (_SCALING,),
        "Batch norm lowers the gradient norm beyond what its scaling does",
        "frozen-statistics twin, same point",
        log_ratio("gradient_norm", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "relative-curvature.twin",
        (_SCALING,),
        "Batch norm lowers the relative curvature λ_max·L/‖∇L‖², which no rescaling of the loss or the weights changes",
        "frozen-statistics twin, same point",
        log_ratio("relative_curvature", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "top-eigenvalue.standard",
        (_NETWORK,),
        "The batch-norm network has a smaller largest Hessian eigenvalue",
        "standard network, equal steps",
        log_ratio("top", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "top-eigenvalue.standard-at-matched-loss",
        (_NETWORK,),
        "The batch-norm network has a smaller largest Hessian eigenvalue where both have the same loss",
        "standard network, matched loss",
        at_matched_loss("top", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "relative-curvature.standard",
        (_SCALING,),
        "The batch-norm network has a smaller relative curvature λ_max·L/‖∇L‖²",
        "standard network at any scale of the loss, equal steps",
        log_ratio("relative_curvature", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "linearity-error.twin",
        (_SCALING,),
        "The linear prediction of a gradient step that would remove a tenth of the loss errs less",
        "frozen-statistics twin, same point",
        log_ratio("linearity_error", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "linearity-error.standard",
        (_SCALING,),
        "The linear prediction of a gradient step that would remove a tenth of the loss errs less with batch norm",
        "standard network at any scale of the loss, equal steps",
        log_ratio("linearity_error", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "trust-fraction.twin",
        (_SCALING,),
        "A larger fraction of the loss can be asked of one gradient step before the linear prediction errs by half",
        "frozen-statistics twin, same point",
        log_ratio("trust_fraction", "batchnorm", "twin"),
        "above",
    ),
    Comparison(
        "trust-fraction.standard",
        (_SCALING,),
        "A larger fraction of the loss can be asked of one gradient step before the linear prediction errs by half",
        "standard network at any scale of the loss, equal steps",
        log_ratio("trust_fraction", "batchnorm", "standard"),
        "above",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "gradient-turn.twin",
        (_SCALING,),
        "The gradient turns less (1 − cosine) over a step that would remove a tenth of the loss",
        "frozen-statistics twin, same point",
        log_ratio("gradient_turn", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "gradient-turn.standard",
        (_SCALING,),
        "The gradient turns less (1 − cosine) over a step that would remove a tenth of the loss with batch norm",
        "standard network at any scale of the loss, equal steps",
        log_ratio("gradient_turn", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "loss-variation.standard",
        ("santurkar2018.figure-4.loss-variation",),
        "The loss varies less along the gradient with batch norm",
        "standard network, equal steps",
        log_ratio("loss_range", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "gradient-predictiveness.standard",
        ("santurkar2018.figure-4.gradient-predictiveness",),
        "The gradient changes less along itself with batch norm",
        "standard network, equal steps",
        log_ratio("gradient_range", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "effective-beta.standard",
        ("santurkar2018.figure-4.effective-beta",),
        "The effective smoothness β along the gradient is smaller with batch norm",
        "standard network, equal steps",
        log_ratio("effective_beta", "batchnorm", "standard"),
        "below",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "effective-beta.twin",
        ("santurkar2018.figure-4.effective-beta", _SCALING),
        "The effective smoothness β along the gradient is smaller than that of the scaling alone",
        "frozen-statistics twin, same point",
        log_ratio("effective_beta", "batchnorm", "twin"),
        "below",
    ),
    Comparison(
        "covariate-shift.l2",
        ("santurkar2018.figure-3.covariate-shift",),
        "Batch norm does not reduce internal covariate shift (Definition 2.1, l2, layers after the first)",
        "standard network, equal steps",
        log_ratio("shift_l2", "batchnorm", "standard"),
        "above",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "covariate-shift.angle",
        ("santurkar2018.figure-3.covariate-shift",),
        "Batch norm does not reduce internal covariate shift (Definition 2.1, 1 − cosine, layers after the first)",
        "standard network, equal steps",
        log_ratio("shift_angle", "batchnorm", "standard"),
        "above",
        trained=("batchnorm", "standard"),
    ),
    Comparison(
        "training-loss.standard",
        ("santurkar2018.figure-1.accuracy",),
        "The batch-norm network has the smaller training loss at the last measured step",
        "standard network, equal steps",
        last_log_ratio("loss", "batchnorm", "standard"),
        "below",
    ),
    Comparison(
        "reduction-persists",
        ("santurkar2018.theorem-4.1.reduction-persists",),
        "The ŷ share of the gradient reduction stays above 1 % at the last measured step",
        "1 % of the scaled squared norm, mean over layers",
        affine_share,
        "above",
        threshold=0.01,
        unit="share",
    ),
)


def _not_comparable(arms: Sequence[str], by_seed: Mapping[int, Mapping[str, Points]]) -> str:
    """Why these arms say nothing about each other, from where each ends: in one seed is enough, or seeds would be chosen."""
    for seed, found in by_seed.items():
        last = max((step for points in found.values() for step in points), default=0)
        ends = {arm: found.get(arm, {}).get(last) for arm in arms}
        guessing = next((p.get("guessing_loss") for p in ends.values() if p is not None), None)
        losses = {arm: None if p is None else float(p["loss"]) for arm, p in ends.items()}
        why = why_not_comparable(losses, guessing) if found else ""
        if why:
            return f"seed {seed}: {why}"
    return ""


def compare_all(records: Sequence[Json], networks: Sequence[str], seeds: Sequence[int]) -> list[Effect]:
    """Every comparison on every network."""
    effects, runs = [], Runs(records)
    for network in networks:
        by_seed = {seed: runs.arms(network, seed) for seed in seeds}
        for comparison in COMPARISONS:
            barred = _not_comparable(comparison.trained, by_seed)
            if barred:
                effects.append(Effect(comparison, network, (), None, "not comparable", barred))
                continue
            numbers = {seed: comparison.values(arms) for seed, arms in by_seed.items()}
            known = {seed: x for seed, x in numbers.items() if x is not None and math.isfinite(x)}
            if not known:
                effects.append(Effect(comparison, network, (), None, "inconclusive"))
                continue
            interval = estimate(list(known.values()))
            answer = outcome(interval, claim=comparison.claim, threshold=comparison.threshold)
            effects.append(Effect(comparison, network, tuple(known), interval, answer))
    return effects
