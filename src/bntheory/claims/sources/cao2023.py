"""Cao, Zou, Li and Gu: The implicit bias of batch normalization in linear models and two-layer linear convolutional
neural networks, COLT 2023, arXiv 2306.11680."""

from __future__ import annotations

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

KEY = "cao2023"
_FLOOR = 1e-20  # below it the spread of margins near 1 is rounding


@claim(
    "cao2023.uniform-margin",
    kind="dynamics",
    source=Source(KEY, "abstract", "arXiv 2306.11680", printed=False),
    statement=(
        r"\text{gradient descent on the logistic loss of a linear model with BN converges to a classifier of uniform margin, at the rate }"
        r"\exp(-\Omega(\log^2 t))"
    ),
    reading=(
        "the variance D of the normalised margins over the examples, fewer examples than dimensions. The rate: the exponent of D in 1/t is larger "
        "over the second half of log t than over the first, as exp(-c log^2 t) has it and no power of t has"
    ),
)
def uniform_margin(study: Study) -> list[Check]:
    from bntheory.models.normalised_logistic import descend_logistic

    runs, steps = (
        study.choose(quick=8, normal=16, thorough=32),
        study.choose(quick=8_000, normal=30_000, thorough=300_000),
    )
    rng = np.random.default_rng(study.seed)
    n, d = 4, 6
    labels = rng.choice([-1.0, 1.0], size=(runs, n, 1))
    signed = labels * rng.normal(size=(runs, n, d))
    run = descend_logistic(signed, rng.normal(size=(runs, d)), lr=0.25, steps=steps)
    log_t = np.log(np.maximum(run.steps, 1))
    rises, falls, late = [], [], []
    for spread in run["spread"]:
        seen = (run.steps >= 20) & (spread > _FLOOR)
        x, y = log_t[seen], -np.log(spread[seen])
        k = int(np.argmin(np.abs(x - (x[0] + x[-1]) / 2)))
        early, second = (y[k] - y[0]) / (x[k] - x[0]), (y[-1] - y[k]) / (x[-1] - x[k])
        rises.append(float(np.log(second / early)) if early > 0 and second > 0 else float("nan"))
        falls.append(float(np.log10(max(spread[-1], _FLOOR) / spread[0])))
        late.append(float(second))
    scope = f"{n} Gaussian examples in R^{d}, any labels, {runs} data sets, rate 0.25 for w and gamma, {steps} steps"
    return [
        over_seeds("log10 of the margins' variance, end over start", falls, "below", -2.0, scope),
        over_seeds(
            "log of the exponent over the second half of log t, over that of the first half", rises, "above", 0.0, scope
        ),
        over_seeds("exponent over the second half", late, "above", 1.0, scope, decisive=False),
    ]
