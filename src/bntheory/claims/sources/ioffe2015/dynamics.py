"""Ioffe and Szegedy (2015), section 2: what happens when the gradient ignores the batch statistics."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact
from bntheory.evidence.identity import identity
from bntheory.evidence.rates import count_check

KEY = "ioffe2015"
_SOURCE = Source(KEY, "section 2", "arXiv 1502.03167")
_STATEMENT = (
    r"\text{ignoring } \partial E[x]/\partial b:\quad b \text{ grows without bound while the loss stays the same}"
)
_INPUTS = [Fraction(1), Fraction(-2), Fraction(7, 3)]
_TARGETS = [Fraction(1, 2), Fraction(3), Fraction(-5)]


@claim(
    "ioffe2015.ignored-statistics.bias-grows",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="b alone is trained, by a constant learning rate, and <1, dl/dx_hat> != 0",
    note="Neither condition is in the source. With <1, dl/dx_hat> = 0 b does not move; with other parameters trained see"
    " .trained-shift.",
)
def bias_grows(study: Study) -> list[Check]:
    import sympy as sp

    from bntheory.models.ignored_statistics import ignored_mean_descent

    u, mean, b, step = sp.symbols("u mean_u b step")
    scope = "every batch, every loss of the centred unit"
    centred = (u + b) - (mean + b)
    moved = (u + b + step) - (mean + b + step)
    run = ignored_mean_descent(_INPUTS, _TARGETS, Fraction(1, 3), 40)
    line = [Fraction(0) - Fraction(1, 3) * t * run.gradient_sum for t in range(41)]
    return [
        identity("x_hat after a step of any size equals x_hat before it", moved - centred, scope),
        identity(
            "x_hat does not depend on b, so neither does the gradient: b_t = b_0 - lr t <1, g>",
            sp.diff(centred, b),
            scope,
        ),
        exact("distance of b_t from the line b_0 - lr t <1, g>, 40 steps", "three inputs, squared loss").eq(
            max(abs(x - y) for x, y in zip(run.bias, line, strict=True)), 0.0
        ),
        exact("spread of the loss over 40 steps", "the same run").eq(max(run.loss) - min(run.loss), 0.0),
        exact("<1, g>^2 is positive", "the same run").lt(0.0, run.gradient_sum**2),
        _network(study),
    ]


@claim(
    "ioffe2015.ignored-statistics.bias-grows.zero-gradient",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="whatever the loss: also where <1, dl/dx_hat> = 0",
)
def bias_grows_zero_gradient(study: Study) -> list[Check]:
    from bntheory.models.ignored_statistics import ignored_mean_descent

    targets = [Fraction(1), Fraction(2), Fraction(-3)]
    run = ignored_mean_descent(_INPUTS, targets, Fraction(1, 3), 40)
    return [
        exact(
            "|b_40 - b_0| is positive",
            "squared loss against centred targets",
            witness={"inputs": [str(v) for v in _INPUTS], "targets": [str(v) for v in targets]},
        ).lt(0.0, abs(run.bias[-1]))
    ]


@claim(
    "ioffe2015.ignored-statistics.bias-grows.trained-shift",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="a shift beta after the normalisation is trained as well, as in every BN layer",
    note="beta gets the same gradient, so b_t - b_0 = beta_t - beta_0: b converges whenever beta does, and the loss falls.",
)
def bias_grows_trained_shift(study: Study) -> list[Check]:
    from bntheory.models.ignored_statistics import ignored_mean_descent

    run = ignored_mean_descent(_INPUTS, _TARGETS, Fraction(1, 3), 60, train_shift=True)
    bound = 2 * abs(sum(_TARGETS, Fraction(0)) / 3)
    follows = all(b - run.bias[0] == s - run.shift[0] for b, s in zip(run.bias, run.shift, strict=True))
    scope = "three inputs, squared loss, beta trained, lr 1/3; beta_t - beta* = (2/3)^t (beta_0 - beta*)"
    return [
        exact("b_t - b_0 = beta_t - beta_0 at every step (1: yes)", scope).eq(1.0 if follows else 0.0, 1.0),
        exact(
            "b leaves the ball of radius 2 |beta*| that beta never leaves",
            scope,
            why="|b_t| <= |beta*| (1 + (2/3)^t) for all t, by the closed form of beta_t",
            witness={"inputs": [str(v) for v in _INPUTS], "targets": [str(v) for v in _TARGETS], "lr": "1/3"},
        ).lt(bound, max(abs(b) for b in run.bias)),
    ]


def _network(study: Study) -> Check:
    from bntheory.models.ignored_statistics import network_run

    steps = study.choose(quick=50, normal=300, thorough=2000)
    run = network_run(steps=steps, seed=study.seed, device=study.device)
    line = run.bias_norm[1] * np.arange(steps + 1)
    off = np.abs(run.bias_norm - line) > 1e-9 * line + 1e-12
    changed = np.abs(run.loss - run.loss[0]) > 1e-12 * run.loss[0]
    return count_check(
        "steps of a network at which ||b|| left its line or the loss moved",
        int(np.sum(off | changed)),
        steps + 1,
        "linear, BN with detached statistics, tanh, linear; only the bias in front of BN trained, float64",
        why=f"||b|| reached {run.bias_norm[-1]:.4g}, loss {run.loss[0]:.6g} throughout",
        decisive=False,
    )
