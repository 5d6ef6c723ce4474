"""The single unit, studied: phase diagrams for several losses and every smoothness constant against its twin's.

This is what ``bntheory smooth --example single-unit`` computes; :mod:`bntheory.models.pictures.smoothness` draws it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.evidence.progress import Progress, silent
from bntheory.smoothness.eigenpairs import dense_hessian
from bntheory.smoothness.two_lipschitz import two_lipschitz
from bntheory.smoothness.unit.phase import PhaseDiagram, phase_diagram
from bntheory.smoothness.unit.unit import BatchNormUnit


@dataclass(frozen=True)
class CriticalGamma:
    """The |gamma|/T above which each constant of the unit (squared loss, eps = 0, gamma > 0) is below its frozen
    twin's.

    correlations: phi = corr(y, t), (k,). top, norm: local, (k,). two_lipschitz: at that y, over all u. worst: the top
    eigenvalue over all y of one sigma, one number. stationary: |gamma|/T where dL/dgamma = 0, that is phi where
    positive. The measured ones, at ``at``, come from dense spectra and from ascents over u that know values and
    gradients only.
    """

    correlations: Floats
    top: Floats
    norm: Floats
    two_lipschitz: Floats
    worst: float
    stationary: Floats
    at: Floats
    measured_top: Floats
    measured_norm: Floats
    measured_two_lipschitz: Floats


def critical_gamma(*, m: int = 5, points: int = 7, seed: int = 0) -> CriticalGamma:
    """Closed forms on a fine grid of correlations and measurements at ``points`` of them.

    Every constant is proportional to gamma and T while the twin's goes with gamma^2, so the critical |gamma|/T is the
    constant itself at gamma = T = sigma = 1.
    """
    if m < 4 or points < 1:
        raise ValueError(f"m is {m} and points is {points}; measuring needs m >= 4 and at least one point")
    phi = np.linspace(-1, 1, 201)
    root = np.sqrt(4 - 3 * phi**2)
    at = np.linspace(-0.95, 0.95, points)
    rng = np.random.default_rng(seed)
    top, norm, two = [], [], []
    for c in at:
        raw = rng.standard_normal((m, 2))
        y, e = (np.linalg.qr(raw - raw.mean(axis=0))[0] * math.sqrt(m)).T
        unit = BatchNormUnit(c * y + math.sqrt(1 - c**2) * e)
        values = np.linalg.eigvalsh(dense_hessian(unit, y))
        top.append(values[-1])
        norm.append(np.max(np.abs(values)))
        two.append(two_lipschitz(unit, y, reach=math.sqrt(m), samples=160, climbs=8, seed=seed).value)
    return CriticalGamma(
        phi,
        (phi + root) / 2,
        (np.abs(phi) + root) / 2,
        2 * (1 + np.abs(phi)),
        2 / math.sqrt(3),
        np.maximum(phi, 0),
        at,
        np.array(top),
        np.array(norm),
        np.array(two),
    )


@dataclass(frozen=True)
class SingleUnitStudy:
    """phases: one diagram a loss. critical: from which gamma on the squared loss is smoothed, by each constant."""

    phases: tuple[PhaseDiagram, ...]
    critical: CriticalGamma

    def lines(self) -> tuple[str, ...]:
        """What was found, in sentences with numbers."""
        found = []
        for p in self.phases:
            eps = "" if p.q == 1 else f" with eps = {1 / p.q - 1:.3g} var"
            found.append(
                f"{p.loss} loss{eps}: BN's top eigenvalue is below its frozen twin's in {p.smoothed:.1%} of the reachable cells; "
                f"{p.violations} of {p.layers} layers contradict the proved region"
            )
        c = self.critical
        found.append(
            "squared loss: the top eigenvalue is below the twin's from a |gamma| between "
            f"{c.top.min():.3g} and {c.top.max():.3g} standard deviations of the targets on, the 2-Lipschitz constant from one between "
            f"{c.two_lipschitz.min():.3g} and {c.two_lipschitz.max():.3g}, depending on the correlation; globally it never is"
        )
        found.append(
            "squared loss: where gamma is stationary the residual has no part along y_hat, and BN's top eigenvalue is never below its twin's"
        )
        return tuple(found)


def single_unit_study(
    losses: Sequence[str] = ("squared", "cross-entropy", "log-cosh", "quartic"),
    *,
    gamma: float = 1.0,
    m: int = 16,
    resolution: int = 41,
    draws: int = 4,
    seed: int = 0,
    progress: Progress = silent,
) -> SingleUnitStudy:
    """Phase diagrams of the named losses at batch size m and eps = 0, one of the squared loss at eps = var (q = 1/2),
    and the critical gamma of the squared loss."""
    if resolution < 5:
        raise ValueError(f"resolution is {resolution}; a diagram needs at least 5 cells a side")
    phases = []
    wanted = [*((name, 1.0) for name in losses), ("squared", 0.5)]
    for number, (name, q) in enumerate(wanted):
        progress(0.9 * number / len(wanted), f"phase diagram, {name} loss")
        phases.append(
            phase_diagram(
                name,
                gamma=gamma,
                m=m,
                q=q,
                alignments=np.linspace(-1, 1, resolution),
                sizes=np.geomspace(0.05, 5, resolution),
                draws=draws,
                seed=seed,
            )
        )
    progress(0.9, "critical gamma")
    critical = critical_gamma(seed=seed)
    progress(1.0, "done")
    return SingleUnitStudy(tuple(phases), critical)
