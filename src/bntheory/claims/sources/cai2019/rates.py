"""Rates claimed by Cai, Li and Shen: the asymptotic contraction and the limiting effective step, fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bntheory.claims.claim import Study
from bntheory.claims.sources.cai2019.studies import random_problems, random_starts
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical, statistical
from bntheory.evidence.rates import slope_checks


def asymptotic_rate(study: Study) -> list[Check]:
    """Late ratios ||e_next||/||e|| against rho*(I - step S*), and the slope of log ||e|| where the bound is reached."""
    from bntheory.evidence.slopes import fit_slope
    from bntheory.models.least_squares_dynamics import bngd

    rates = np.array([0.3, 1.0, 3.0, 100.0])
    worst, ratios = -np.inf, []
    for problem in random_problems(study, study.choose(quick=3, normal=6, thorough=12), condition=10.0):
        run = bngd(problem, random_starts(problem, 6, study.seed), rates, 2000, points=None)
        error = np.sqrt(run["excess"] / problem.signal)
        for i, j in np.ndindex(*error.shape[:2]):
            window = np.nonzero((error[i, j] < 1e-5) & (error[i, j] > 1e-10))[0]
            if len(window) < 8 or np.any(np.diff(window) != 1):
                continue
            step = run["effective_step"][i, j, window[-1]]
            bound = float(np.abs(1 - step * problem.effective_eigenvalues).max())
            late = error[i, j, window]
            worst = max(worst, float((late[1:] / late[:-1]).max()) - bound)
            ratios.append(fit_slope(window[-8:], np.log(late[-8:]), resamples=200).slope / np.log(bound))
    scope = "lr 0.3, 1, 3, 100, starts where 1e-10 < ||e||/||u|| < 1e-5 is passed, d = 2 to 13, condition 10"
    if not ratios:
        raise ValueError("no run passed the window where the asymptotic rate can be read off")
    share = float(np.median(ratios))
    spread = float(1.96 * 1.2533 * np.std(ratios, ddof=1) / np.sqrt(len(ratios)))
    return [
        numerical(
            "largest late ratio ||e_next||/||e|| minus rho*",
            scope,
            uncertainty=1e-3,
            why="the linearisation at the limit has a remainder of order kappa ||e||/||u|| <= 1e-4; times ten",
        ).le(worst, 0.0),
        statistical(
            "the rate is reached: median of (decay rate)/(log rho*) is at least 0.98",
            scope,
            uncertainty=spread,
            confidence=0.95,
            why=f"{len(ratios)} runs; half-width of the interval of the median",
        ).le(0.98, share),
    ]


def insensitivity(study: Study) -> Iterator[Check]:
    """Limiting effective steps, bracketed by the certificate, at small and large learning rates."""
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.least_squares_dynamics import bngd, trap_certificate

    problem = random_problems(study, 3, condition=20.0)[2]
    starts, steps = (
        study.choose(quick=8, normal=20, thorough=60),
        study.choose(quick=3000, normal=10000, thorough=30000),
    )
    w0 = random_starts(problem, starts, study.seed)
    for name, rates, claimed in (
        ("small lr", np.geomspace(1e-6, 1e-3, 7), 1.0),
        ("large lr", np.geomspace(1e4, 1e7, 7), -1.0),
    ):
        run = bngd(problem, w0, rates, steps)
        certificate = trap_certificate(problem, run.last("a"), run["w"], rates)
        usable = certificate.holds.all(axis=1)
        if usable.sum() < 5:
            raise ValueError(f"{name}: only {int(usable.sum())} starts reach the certified region in {steps} steps")
        low, high = certificate.step_low[usable], certificate.step_high[usable]
        fit = fit_power_law(rates, np.sqrt(low * high))
        # the limit may lie anywhere in its bracket: at worst at opposite ends for the extreme rates
        slack = float(np.log((high / low).max()) / np.log(rates[-1] / rates[0]))
        fit = replace(fit, low=fit.low - slack, high=fit.high + slack)
        scope = (
            f"{name}: {rates[0]:g} to {rates[-1]:g}, {int(usable.sum())} starts, d = 5, condition 20; "
            "limits bracketed by "
            f"the certificate, which adds {slack:.2g} to the interval"
        )
        yield from slope_checks(f"limiting effective step at {name}", fit, claimed, 0.05, scope)
