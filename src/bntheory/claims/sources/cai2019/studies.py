"""What stands beside the proofs of the claims of Cai, Li and Shen: the same statements along runs and on random
problems, in floats."""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.claims.claim import Study
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical
from bntheory.evidence.rates import count_check


def random_problems(study: Study, count: int, condition: float = 30.0) -> list[Any]:
    """Random problems of dimension 2, 3, 5, 8, 13, 2, ..."""
    from bntheory.models.least_squares import LeastSquares

    return [LeastSquares.random((2, 3, 5, 8, 13)[i % 5], condition, seed=study.seed + i) for i in range(count)]


def random_starts(problem: Any, count: int, seed: int) -> Any:
    """Random starts with w0'b > 0, shape (count, 1, d)."""
    w0 = np.random.default_rng(seed).normal(size=(count, 1, problem.dimension))
    return w0 * np.sign(w0 @ problem.correlation)[..., None]


def scaling_instance(study: Study, factor: float) -> Check:
    """Whole trajectories, scaled and not, in floats."""
    from bntheory.models.least_squares_dynamics import bngd

    worst = 0.0
    for problem in random_problems(study, 3):
        w0 = random_starts(problem, 4, study.seed)[:, 0]
        plain = bngd(problem, w0, 0.5, 50, a0=0.7, lr_a=0.5)
        scaled = bngd(problem, factor * w0, factor**2 * 0.5, 50, a0=0.7, lr_a=0.5)
        worst = max(worst, float(np.abs(scaled["w"] / (factor * plain["w"]) - 1).max()))
    return numerical(
        f"largest relative difference of w_50 and its {factor:g}-fold",
        "12 random runs of 50 steps",
        uncertainty=1e-9,
        why="rounding: 50 steps of a contraction, condition 30, a unit roundoff of 1e-16 and margin",
        decisive=False,
    ).le(worst, 0.0)


def norm_instances(study: Study) -> Check:
    """Norms along runs at rates over eight decades."""
    from bntheory.models.least_squares_dynamics import bngd

    failures, cases = 0, 0
    for problem in random_problems(study, 3):
        rates = np.geomspace(1e-4, 1e4, 9)
        run = bngd(problem, random_starts(problem, 10, study.seed), rates, 200, points=None)
        growth = np.diff(run["norm"], axis=-1)
        # lr a/s (b - c S w) cancels: its rounding is a few ulp of lr |a| |b|/s, and s >= sqrt(lambda_min) ||w||
        step = rates[:, None] * np.abs(run["a"]) * np.linalg.norm(problem.correlation)
        blur = 16 * np.finfo(float).eps * (run["norm"] + step / (np.sqrt(problem.eigenvalues[0]) * run["norm"]))
        failures += int(np.sum(growth < -blur[..., :-1] - 1e-15))
        cases += growth.size
    return count_check("the norm falls by more than rounding", failures, cases, "lr 1e-4 to 1e4", decisive=False)


def condition_instances(study: Study) -> Check:
    """kappa* <= kappa on random and on aligned problems, u along eigenvectors included."""
    from bntheory.models.least_squares import LeastSquares

    failures, cases = 0, 0
    for problem in random_problems(study, study.choose(quick=10, normal=50, thorough=200), condition=300.0):
        vectors = problem.eigenvectors
        for direction in (problem.solution, vectors[:, 0], vectors[:, -1], vectors[:, 0] + vectors[:, -1]):
            one = LeastSquares(problem.covariance, problem.covariance @ direction)
            failures += int(one.effective_condition_number > one.condition_number * (1 + 1e-9))
            cases += 1
    return count_check("kappa* exceeds kappa", failures, cases, "d = 2 to 13, condition 300", decisive=False)


def contraction_instances(study: Study) -> Check:
    """The bound along runs, at rates where it says much and where it says little."""
    from bntheory.models.least_squares_dynamics import bngd

    failures, cases = 0, 0
    for problem in random_problems(study, 3):
        for lr_a in (1.0, 0.2):
            run = bngd(
                problem, random_starts(problem, 10, study.seed), np.geomspace(1e-2, 1e2, 9), 60, lr_a=lr_a, points=None
            )
            error, step = np.sqrt(run["excess"]), run["effective_step"][..., :-1, None]
            factor = np.abs(1 - step * problem.eigenvalues).max(axis=-1)
            floor = 1e-12 * np.sqrt(problem.signal)
            failures += int(np.sum(error[..., 1:] > factor * error[..., :-1] * (1 + 1e-9) + floor))
            cases += factor.size
    return count_check("||e_next||_S exceeds the bound", failures, cases, "lr 1e-2 to 1e2, 60 steps", decisive=False)


def violations_along_runs(study: Study) -> Check:
    from bntheory.models.least_squares_dynamics import bngd

    failures, cases = 0, 0
    for problem in random_problems(study, 3):
        run = bngd(problem, random_starts(problem, 10, study.seed), np.geomspace(1e-1, 1e1, 7), 40, points=None)
        error, step = np.sqrt(run["excess"]), run["effective_step"][..., 1:-1, None]
        factor = np.abs(1 - step * problem.effective_eigenvalues).max(axis=-1)
        live = error[..., 2:] > 1e-10 * np.sqrt(problem.signal)
        failures += int(np.sum((error[..., 2:] > factor * error[..., 1:-1] * (1 + 1e-6)) & live))
        cases += int(live.sum())
    return count_check(
        "steps k >= 1 of eps_a = 1 runs that break the bound", failures, cases, "lr 0.1 to 10, 40 steps", decisive=False
    )


def complement_instances(study: Study) -> Check:
    """The repaired bound on random single steps, by dense eigenvalues of the compressed operator."""
    failures, cases = 0, 0
    rng = np.random.default_rng(study.seed)
    for problem in random_problems(study, study.choose(quick=20, normal=60, thorough=300)):
        S, u = problem.covariance, problem.solution
        root = problem.eigenvectors * np.sqrt(problem.eigenvalues) @ problem.eigenvectors.T
        w = rng.normal(size=problem.dimension)
        d = float(np.exp(rng.normal())) * np.sign(w @ problem.correlation)
        c = (w @ S @ u) / (w @ S @ w)
        e = u - c * w
        r = 1 + d * (w @ S @ S @ e) / (w @ S @ w)
        moved = w + d * (S @ e)
        v = root @ w / np.linalg.norm(root @ w)
        project = np.eye(len(w)) - np.outer(v, v)
        basis = np.linalg.svd(v[None, :])[2][1:]
        spectrum = np.linalg.eigvalsh(basis @ project @ S @ project @ basis.T)
        bound = np.abs(1 - c * d / r * spectrum).max() ** 2 * problem.excess(w)
        failures += int(problem.excess(moved) > bound * (1 + 1e-9) + 1e-12 * problem.signal)
        cases += 1
    return count_check("||e_next||_S exceeds the repaired bound", failures, cases, "d = 2 to 13", decisive=False)
