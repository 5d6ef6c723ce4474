"""Kohler et al.: Exponential convergence rates for batch normalization, AISTATS 2019, arXiv 1805.10694
(partly seen)."""

from __future__ import annotations

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, numerical
from bntheory.evidence.rates import count_check

KEY = "kohler2019"
_STATEMENT = (
    r"\rho(w)=-\frac{(w^\top b)^2}{w^\top S w},\ \eta_t=\frac{w_t^\top S w_t}{2L|\rho(w_t)|}:\quad "
    r"\rho(w_t)-\rho^*\le(1-\mu/L)^{2t}(\rho(w_0)-\rho^*)"
)


@claim(
    "kohler2019.rate",
    kind="dynamics",
    source=Source(KEY, "Theorem 1", "arXiv 1805.10694"),
    statement=_STATEMENT,
    reading="rho(w_0) != 0; eigenvalues of S in [mu, L]",
    note="The condition rho(w_0) != 0 is needed for the step to be finite; then w_t'b never vanishes, since rho only falls.",
)
def rate(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import adaptive_rate, contraction

    return [*adaptive_rate(), *contraction(), _instances(study), _tightness()]


@claim(
    "kohler2019.rate.every-start",
    kind="dynamics",
    source=Source(KEY, "Theorem 1", "arXiv 1805.10694"),
    statement=_STATEMENT,
    reading="every w_0 != 0, as the statement reads without the condition rho(w_0) != 0; a step that does not exist leaves w",
)
def rate_every_start(study: Study) -> list[Check]:
    # S = diag(1, 2), b = (1, 0), w_0 = (0, 1): w_0'b = 0, the gradient of rho vanishes, |rho| in the
    # step's denominator too.
    gap0 = gap1 = 1  # rho = 0, rho* = -b'S^-1 b = -1
    return [
        exact(
            "rho(w_1) - rho* <= (1 - mu/L)^2 (rho(w_0) - rho*)",
            "S = diag(1, 2), b = (1, 0), w_0 = (0, 1)",
            why="rho(w_0) = 0: gradient zero, step infinite; the gradient being zero, no finite step moves w either",
            witness={"S": ["1", "2"], "b": ["1", "0"], "w0": ["0", "1"]},
        ).le(gap1, (1 - 1 / 2) ** 2 * gap0)
    ]


def _instances(study: Study) -> Check:
    from bntheory.models.least_squares import LeastSquares
    from bntheory.models.least_squares_dynamics import kohler_descent

    failures, cases = 0, 0
    for seed in range(study.choose(quick=5, normal=20, thorough=100)):
        problem = LeastSquares.random(2 + seed % 9, 10.0 ** (1 + seed % 3), seed=study.seed + seed)
        w0 = np.random.default_rng(seed).normal(size=(8, problem.dimension))
        run = kohler_descent(problem, w0, 60)
        factor = (1 - problem.eigenvalues[0] / problem.eigenvalues[-1]) ** 2
        bound = run["gap"][:, :1] * factor ** np.arange(61)
        failures += int(np.sum(run["gap"] > bound * (1 + 1e-8) + 1e-13 * problem.signal))
        cases += bound.size
    return count_check(
        "the bound fails", failures, cases, "d = 2 to 10, condition 10 to 1000, 60 steps", decisive=False
    )


def _tightness() -> Check:
    """The rate is not improvable by more than kappa*/kappa: the asymptotic factor is 1 - mu*/L, mu* from S*."""
    from bntheory.models.least_squares import LeastSquares
    from bntheory.models.least_squares_dynamics import kohler_descent

    problem = LeastSquares.random(4, 20.0, seed=3)
    gap = kohler_descent(problem, np.ones(4), 200)["gap"]
    observed = float(np.sqrt(gap[151] / gap[150]))
    predicted = float(1 - problem.effective_eigenvalues[0] / problem.eigenvalues[-1])
    return numerical(
        "late contraction of the error against 1 - mu*/L, mu* the smallest non-zero eigenvalue of S*",
        "d = 4, condition 20, step 150",
        uncertainty=1e-4,
        why="the other modes have died out to 1e-6 by then; the printed factor is 1 - mu/L, which is larger",
        decisive=False,
    ).eq(observed, predicted)
