"""Cai, Li and Shen: A quantitative analysis of the effect of batch normalization on gradient descent, ICML 2019.

arXiv 1810.00122. Only the abstract was seen; the statements are recalled. Inputs of mean zero and covariance S,
b = E[xy], u = S^-1 b; the iteration (BNGD) is that of :mod:`bntheory.models.least_squares_dynamics`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.cai2019 import studies
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, numerical
from bntheory.evidence.rates import count_check, median_bound, slope_checks
from bntheory.layer.rational import axpy, dot, root, vector

KEY = "cai2019"


def _source(place: str) -> Source:
    return Source(KEY, place, "arXiv 1810.00122", seen="recalled")


@claim(
    "cai2019.scaling-law",
    kind="dynamics",
    source=_source("section 3, scaling law"),
    statement=r"(w_0,\varepsilon)\to(r w_0, r^2\varepsilon) \Rightarrow w_k\to r w_k,\ a_k\to a_k",
    reading="r > 0",
)
def scaling_law(study: Study) -> list[Check]:
    import sympy

    from bntheory.claims.sources.cai2019.proofs import scaling

    return [*scaling(sympy.Symbol("r", positive=True)), studies.scaling_instance(study, 3.0)]


@claim(
    "cai2019.scaling-law.any-sign",
    kind="dynamics",
    source=_source("section 3, scaling law"),
    statement=r"(w_0,\varepsilon)\to(r w_0, r^2\varepsilon) \Rightarrow w_k\to r w_k,\ a_k\to a_k",
    reading="r != 0 of either sign, as 'scaling' might be read",
    note="For r < 0 the law holds with a_0 -> -a_0, and then a_k -> -a_k.",
)
def scaling_law_any_sign(study: Study) -> list[Check]:
    # d = 1, S = b = 1, w_0 = a_0 = eps_a = 1, r = -1: a_1 = w_0'b/s = 1, with -w_0 it is -1. All numbers are exact.
    a_plain, a_flipped = (1 + 1 * (w * 1 / abs(w) - 1) for w in (1, -1))
    return [
        exact(
            "a_1 from (a_0, -w_0) and from (a_0, w_0)",
            "d = 1, S = b = a_0 = w_0 = eps_a = 1",
            witness={"S": "1", "b": "1", "w0": "1", "a0": "1", "r": "-1", "eps_a": "1"},
        ).eq(a_flipped, a_plain)
    ]


@claim(
    "cai2019.any-learning-rate",
    kind="dynamics",
    source=_source("Theorem 3.3"),
    statement=r"\varepsilon_a\in(0,1],\ a_0 w_0^\top b>0:\ \text{BNGD converges for any } \varepsilon>0;\ "
    r"\text{GD needs } \varepsilon<2/\lambda_{\max}",
    reading="to a minimiser from almost every start, that is, from starts drawn at random",
)
def any_learning_rate(study: Study) -> list[Check]:
    """Ten decades of learning rates; each run must enter the certified region or converge to rounding."""
    from bntheory.models.least_squares_dynamics import bngd, gradient_descent, trap_certificate

    starts = study.choose(quick=20, normal=60, thorough=200)
    rounds = study.choose(quick=(1000, 10000, 100000), normal=(3000, 30000, 300000), thorough=(10000, 100000, 1000000))
    rates = np.geomspace(1e-5, 1e5, study.choose(quick=21, normal=41, thorough=81))
    open_runs, stuck, cases, certified, flipped, wrong = 0, 0, 0, 0, 0, 0
    examples: list[float] = []
    for number, problem in enumerate(studies.random_problems(study, 3, condition=20.0)):
        limit = problem.gradient_descent_limit
        w0 = studies.random_starts(problem, starts, study.seed + 1)
        for lr_a in (1.0, 0.3):
            w = np.repeat(w0, len(rates), axis=1).reshape(-1, problem.dimension)
            lr = np.tile(rates * limit, starts)
            a: Any = None
            cases += len(w)
            for steps in rounds:  # only the runs that are still open go on
                run = bngd(problem, w, lr, steps, a0=a, lr_a=lr_a, points=2)
                w, a = run["w"], run.last("a")
                certificate = trap_certificate(problem, a, w, lr)
                settled = run.last("excess") <= 1e-20 * problem.signal
                certified += int(certificate.holds.sum())
                keep = ~(certificate.holds | settled)
                flipped += int(((w @ problem.correlation < 0) & ~keep).sum())
                w, a, lr = w[keep], a[keep], lr[keep]
                if not len(w):
                    break
            at_rest = ~np.isfinite(w).all(axis=1) | ((a == 0) & (w @ problem.correlation == 0))
            stuck, open_runs = stuck + int(at_rest.sum()), open_runs + int((~at_rest).sum())
            examples += (lr[:3] / limit).tolist()
        study.progress((number + 1) / 3, "sweeps of learning rates")
        plain = gradient_descent(problem, w0[0, 0], rates * limit, 10**6)
        diverged = ~(plain.last("distance") <= plain["distance"][:, 0])
        wrong += int(np.sum(diverged != (rates > 1)))
    return [
        numerical(
            f"runs of BNGD, of {cases}, that overflowed or came to rest off the minimisers",
            f"lr from 1e-5 to 1e5 times 2/lambda_max, eps_a in {{1, 0.3}}, up to {sum(rounds)} steps, "
            "d = 2, 3, 5, condition 20",
            uncertainty=float(open_runs),
            why=f"{certified} runs end in a state from which convergence is proved (trap_certificate), {open_runs} are"
            " still open and count as uncertainty, the others have ||e||_S^2 <= 1e-20 u'Su; "
            f"{flipped} end at the minimiser with a < 0, although a_0 > 0",
            witness={"seed": study.seed, "rates of open runs, in 2/lambda_max": examples[:10]},
        ).lt(stuck, 1.0),
        count_check(
            "plain gradient descent diverges exactly where lr > 2/lambda_max",
            wrong,
            3 * len(rates),
            "the same learning rates, a million steps (by powers)",
        ),
    ]


SADDLE_ORBIT = {
    "S": ("1", "12"),
    "b": ("1", "-4"),
    "w0": ("2", "-1"),
    "a0": "1728/25",
    "eps": "25/81",
    "eps_a": "64/69",
}
"""Found by solving a_2 = 0 and w_2'b = 0 for a_0, eps and eps_a, over small diagonal S with rational s_0 and s_1:
rho = K/(t s_0) with t = eps a_0/s_0 and K = -s_1 w_1'b/(b'Se_1), then 1 - eps_a = p_1 rho/(p_1 - p_0 rho),
p_k = w_k'b/s_k."""


def _root(value: Fraction) -> Fraction:
    found = root(value)
    if found is None:
        raise ValueError(f"{value} is no square of a rational; this replay needs rational standard deviations")
    return found


@claim(
    "cai2019.any-learning-rate.every-start",
    kind="dynamics",
    source=_source("Theorem 3.3"),
    statement=r"\varepsilon_a\in(0,1],\ a_0 w_0^\top b>0:\ \text{BNGD converges to a minimiser for any } \varepsilon>0",
    reading="from every start with a_0 w_0'b > 0",
    note="The orbit ends on the saddle a = 0, w'b = 0, whose stable manifold large steps can jump onto; such starts have "
    "measure zero. The condition a_0 w_0'b > 0 keeps small learning rates away from it, not large ones.",
)
def any_learning_rate_every_start(study: Study) -> list[Check]:
    """Replay the orbit in fractions: it satisfies the hypotheses and stops after two steps where J is not minimal."""
    S, b, w = (vector([Fraction(v) for v in SADDLE_ORBIT[k]]) for k in ("S", "b", "w0"))
    a, eps, eps_a = (Fraction(str(SADDLE_ORBIT[k])) for k in ("a0", "eps", "eps_a"))
    start = a * dot(w, b)
    admissible = start > 0 and eps > 0 and 0 < eps_a <= 1
    for _ in range(2):
        s2, wb = dot(w, [x * y for x, y in zip(S, w, strict=True)]), dot(w, b)
        s = _root(s2)
        move = eps * a / s
        a, w = (
            a + eps_a * (wb / s - a),
            [x + move * (bi - wb / s2 * Si * x) for x, bi, Si in zip(w, b, S, strict=True)],
        )
    stopped = a == 0 and dot(w, b) == 0  # then both updates vanish: a fixed point
    signal = dot(b, [bi / Si for bi, Si in zip(b, S, strict=True)])  # u'Su; J - min J = u'Su/2 at the saddle
    scope = "d = 2, one start, exact rationals"
    return [
        exact("hypotheses hold: 0 < a_0 w_0'b", scope).lt(0.0, float(start) if admissible else -1.0),
        exact("a_2 and w_2'b vanish (1: yes), a fixed point", scope).eq(1.0 if stopped else 0.0, 1.0),
        exact(
            "limit of J(a_k, w_k) is the minimum: J - J* at the fixed point",
            scope,
            why="the iteration is at rest on the saddle a = 0, w'b = 0",
            witness=SADDLE_ORBIT,
        ).eq(float(signal / 2) if stopped else 0.0, 0.0),
    ]


@claim("cai2019.norm-grows", kind="dynamics", source=_source("section 3"), statement=r"\|w_{k+1}\| \ge \|w_k\|")
def norm_grows(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import norm_growth

    return [*norm_growth(), studies.norm_instances(study)]


@claim(
    "cai2019.effective-condition-number",
    kind="dynamics",
    source=_source("Lemma on S*"),
    statement=r"S^*=S-\frac{S u u^\top S}{u^\top S u}:\quad \kappa^*(S^*)\le\kappa(S)",
    reading="kappa* from the non-zero eigenvalues",
)
def effective_condition_number(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import effective_spectrum

    return [*effective_spectrum(), studies.condition_instances(study)]


@claim(
    "cai2019.contraction.s",
    kind="dynamics",
    source=_source("Proposition on e_k"),
    statement=r"\|e_{k+1}\|_S\le\rho(I-\varepsilon_k S)\|e_k\|_S,\quad "
    r"\varepsilon_k=\varepsilon\frac{a_k}{s_k}\frac{w_k^\top b}{s_k^2}",
    note="Neither eps_a = 1 nor any condition on a_k is needed: the proof uses the w-step alone.",
)
def contraction_s(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import contraction

    return [*contraction(), studies.contraction_instances(study)]


@claim(
    "cai2019.contraction.s-star",
    kind="dynamics",
    source=_source("Proposition on e_k"),
    statement=r"\|e_{k+1}\|_S\le\rho^*(I-\varepsilon_k S^*)\|e_k\|_S \text{ at every step}",
    reading="rho* over the non-zero eigenvalues of S*, that is, on the complement of u",
    note="e_k is S-orthogonal to w_k and not to u; only in the limit are the two the same.",
)
def contraction_s_star(study: Study) -> list[Check]:
    """d = 2: S* has one non-zero eigenvalue l; with effective step 1/l the claim demands an exact hit,
    which is missed."""
    S, u, w, a = vector([1, 4]), vector([1, 1]), vector([3, 2]), Fraction(1)
    b = [x * y for x, y in zip(S, u, strict=True)]
    s2, wb, signal = dot(w, [x * y for x, y in zip(S, w, strict=True)]), dot(w, b), dot(u, b)
    eigenvalue = sum(S) - dot(b, b) / signal  # the trace of S*
    c, s = wb / s2, _root(s2)
    eps = s / (a * c * eigenvalue)  # makes the effective step 1/l
    e = axpy(-c, w, u)
    moved = [y + eps * a / s * Si * x for x, y, Si in zip(e, w, S, strict=True)]
    after = signal - dot(moved, b) ** 2 / dot(moved, [x * y for x, y in zip(S, moved, strict=True)])
    factor = abs(1 - (eps * a / s * c) * eigenvalue)
    before = signal - wb**2 / s2
    witness = {
        "S": ["1", "4"],
        "u": ["1", "1"],
        "w": ["3", "2"],
        "a": "1",
        "eps": str(eps),
        "e_next_squared": str(after),
    }
    return [
        exact(
            "||e_1||_S^2 <= rho*(I - eps_0 S*)^2 ||e_0||_S^2",
            "d = 2, one step, exact rationals; a_0 w_0'b > 0, eps > 0",
            witness=witness,
        ).le(after, factor**2 * before),
        studies.violations_along_runs(study),
    ]


@claim(
    "bntheory2026.least-squares.contraction",
    kind="dynamics",
    source=Source("bntheory2026", "least squares with BN", seen="own"),
    statement=r"\|e_{k+1}\|_S\le\rho\big((I-t_k' S_{w_k})|_{w_k^\perp}\big)\|e_k\|_S,\quad "
    r"t_k'=\frac{\varepsilon_k}{1+\varepsilon_k\langle w,Se\rangle_S/(w^\top b)}",
    repairs="cai2019.contraction.s-star",
    reading="S_w is S compressed to the S-complement of w_k; tends to S* and eps_k as w_k turns towards u",
)
def contraction_complement(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import contraction_complement as proof

    return [*proof(), studies.complement_instances(study)]


@claim(
    "cai2019.rate.s-star",
    kind="dynamics",
    source=_source("asymptotic rate"),
    statement=r"\limsup_k \|e_{k+1}\|_S/\|e_k\|_S \le \rho^*(I-\hat\varepsilon S^*)",
    reading="with the limiting effective step; the bound is reached by generic starts",
)
def rate_s_star(study: Study) -> list[Check]:
    """Late ratios ||e_next||/||e|| against rho*(I - step S*), and the slope of log ||e|| where the bound is reached."""
    from bntheory.evidence.slopes import fit_slope
    from bntheory.models.least_squares_dynamics import bngd

    rates = np.array([0.3, 1.0, 3.0, 100.0])
    worst, ratios = -np.inf, []
    for problem in studies.random_problems(study, study.choose(quick=3, normal=6, thorough=12), condition=10.0):
        run = bngd(problem, studies.random_starts(problem, 6, study.seed), rates, 2000, points=None)
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
    return [
        numerical(
            "largest late ratio ||e_next||/||e|| minus rho*",
            scope,
            uncertainty=1e-3,
            why="the linearisation at the limit has a remainder of order kappa ||e||/||u|| <= 1e-4; times ten",
        ).le(worst, 0.0),
        median_bound(
            "the rate is reached: median of (decay rate)/(log rho*) is at least 0.98",
            ratios,
            "above",
            0.98,
            scope,
            why=f"{len(ratios)} runs; the longer side of the distribution-free interval of the median",
        ),
    ]


@claim(
    "cai2019.insensitivity",
    kind="dynamics",
    source=_source("section 3, insensitivity"),
    statement=r"\hat\varepsilon \sim C\varepsilon\ (\varepsilon\to 0),\qquad \hat\varepsilon\sim C'/\varepsilon\ "
    r"(\varepsilon\to\infty)",
    reading="limit of the effective step along runs from fixed random starts, eps_a = 1",
)
def insensitivity(study: Study) -> Iterator[Check]:
    """Limiting effective steps, bracketed by the certificate, at small and large learning rates."""
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.least_squares_dynamics import bngd, trap_certificate

    problem = studies.random_problems(study, 3, condition=20.0)[2]
    starts, steps = (
        study.choose(quick=8, normal=20, thorough=60),
        study.choose(quick=3000, normal=10000, thorough=30000),
    )
    w0 = studies.random_starts(problem, starts, study.seed)
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
            f"limits bracketed by the certificate, which adds {slack:.2g} to the interval"
        )
        yield from slope_checks(f"limiting effective step at {name}", fit, claimed, 0.05, scope)
