"""Cohen, Kaur, Li, Kolter, Talwalkar, Gradient descent on neural networks typically occurs at the edge of stability,
ICLR 2021, arXiv 2103.00065.

Full-batch gradient descent with step size eta: the largest eigenvalue of the Hessian (the sharpness) rises until it
reaches 2/eta, the value above which gradient descent on a quadratic diverges, and then stays there. The claim here is
that networks with batch normalisation do the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.counts import counted
from bntheory.evidence.looks import Looks
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import FIRST_JUDGED, Protocol, Run, check_of, each_seed, until_decided

KEY = "cohen2021"
#: "Sits at": within this factor of 2/eta, as a geometric mean over the late phase. Decided before any run.
_BAND = 1.25
#: Rates at which the edge is reached within the steps, as pilots had it; and others, at which what happens is shown.
_RATES = (0.1, 0.2)
_OTHER_RATES = (0.02, 0.05, 0.4)
#: Without batch norm the initial sharpness is above 2/eta at those rates and the run may diverge at once.
_RATE_STANDARD = 0.05
_NAMES = {"batch": "batch norm", "none": "no normalisation"}


def mlp(norm: str, rate: float) -> Arm:
    """Two hidden layers of 32 tanh units."""
    options = {"norm": norm, "layout": (32, 32), "activation": "tanh"}
    return Arm("mlp", f"{_NAMES[norm]}, eta = {rate:g}", "mlp", options, rate)


def protocol_of(study: Study) -> Protocol:
    """Full-batch descent on the squared error, in float64: rounding must not decide what happens at the border of
    stability.

    The late points are an odd distance apart: at the edge the iterates jump from side to side, and an even one would
    see one side only.
    """
    images, steps, points = study.choose(quick=(100, 400, 6), normal=(200, 1500, 10), thorough=(400, 4000, 20))
    distance = (steps // 2 // points - 1) | 1
    late = [steps - distance * i for i in range(points)]
    early = [steps * i // 8 for i in range(1, 4)]
    return Protocol(
        steps, tuple(sorted({*early, *late})), batch_size=images, measured=images, loss="squared-error",
        dtype="float64", images=images, side=14,
    )  # fmt: skip


def measures_of(protocol: Protocol) -> tuple[Measure, ...]:
    """The sharpness on all images."""
    options = {"batch_size": protocol.images, "tolerance": 1e-3, "max_products": 400, "of": ["own"]}
    return (Measure("sharpness", options),)


def logs_to_the_edge(run: Run) -> dict[int, float]:
    """log(eta sharpness/2) by step: 0 at the edge. NaN where no eigenvalue above 0 was found; empty where the run
    diverged."""
    if run.diverged_at is not None:
        return {}
    found = {}
    for step in run.after_start:
        of = run.points[step]["sharpness"]["own"]
        known = of["converged"] and of["top"] > 0
        found[step] = math.log(run.arm.learning_rate * of["top"] / 2) if known else math.nan
    return found


def late(run: Run) -> float | None:
    """Their mean over the second half of the run; None for a run that diverged. NaN decides nothing."""
    values = [x for step, x in logs_to_the_edge(run).items() if 2 * step > run.protocol.steps]
    return sum(values) / len(values) if values else None


def highest(run: Run) -> float | None:
    """The largest of them along the run: how near to the edge it came."""
    return max((x for x in logs_to_the_edge(run).values() if not math.isnan(x)), default=None)


def rate_checks(
    study: Study, arm: Arm, runs: Sequence[Mapping[str, Run]], scope: str, confidence: float, *, decisive: bool
) -> list[Check]:
    """The mean of log(eta sharpness/2), late in the run, lies above -log(band) and below log(band); whether 2/eta was
    reached, beside."""
    log = math.log(_BAND)
    own = [r[arm.name] for r in runs]
    diverged = sum(run.diverged_at is not None for run in own)
    scope += f"; {counted(diverged, 'run')} diverged" if diverged else ""
    name = f"{arm.name}: log of (sharpness / (2/eta))"
    values = [late(run) for run in own]
    return [
        check_of(
            study, f"{name}, late phase, above -log {_BAND:g}", values, "above", -log, scope,
            decisive=decisive, confidence=confidence,
        ),
        check_of(
            study, f"{name}, late phase, below log {_BAND:g}", values, "below", log, scope,
            decisive=decisive, confidence=confidence,
        ),
        check_of(
            study, f"{name}, its highest: the edge is reached", [highest(run) for run in own], "above", -log,
            scope, decisive=False,
        ),
    ]  # fmt: skip


@claim(
    "cohen2021.edge",
    kind="experiment",
    source=Source(KEY, "networks with batch normalisation", seen="recalled"),
    statement=(
        r"\text{full-batch gradient descent on a network with batch normalisation brings the sharpness } \lambda_{\max}(\nabla^2 L) "
        r"\text{ to } 2/\eta \text{ and keeps it there}"
    ),
    reading=(
        "sharpness: the largest Hessian eigenvalue in training mode at the iterates; it sits at 2/eta if its geometric mean over the second half "
        f"of the run lies within a factor of {_BAND:g} of 2/eta, at each of the learning rates {', '.join(f'{r:g}' for r in _RATES)}; from "
        "which side it came there is not asked"
    ),
    note=(
        "Scaled down: two hidden layers of 32 tanh units on a few hundred images of 14 x 14 pixels, squared loss on one-hot labels. The learning "
        "rates were chosen, with other seeds, so that a run reaches 2/eta within its steps. What happens at "
        f"{', '.join(f'{r:g}' for r in _OTHER_RATES)} is shown beside, whether the edge is reached there or not; and the same network without "
        f"batch norm, at {_RATE_STANDARD:g}, from effort normal on. Seeds below {FIRST_JUDGED} were seen when this was designed, and are not used."
    ),
)
def edge_of_stability(study: Study) -> list[Check]:
    protocol = protocol_of(study)
    decisive = [mlp("batch", rate) for rate in _RATES]
    others = [mlp("batch", rate) for rate in study.choose(quick=(), normal=_OTHER_RATES, thorough=_OTHER_RATES)]
    if study.effort != "quick":
        others.append(mlp("none", _RATE_STANDARD))
    points = sum(2 * step > protocol.steps for step in protocol.record)
    scope = f"{protocol.steps} steps on {protocol.images} images, sharpness at {points} iterates of the second half"

    def read(seeds: int, confidence: float) -> list[Check]:
        runs = each_seed(
            study,
            [*decisive, *others],
            protocol,
            seeds,
            "edge of stability",
            lambda arm: measures_of(protocol),
            first=FIRST_JUDGED,
        )
        return [
            check
            for arm in [*decisive, *others]
            for check in rate_checks(study, arm, runs, scope, confidence, decisive=arm in decisive)
        ]

    sizes = study.choose(quick=(3,), normal=(4, 6), thorough=(6, 12))
    return until_decided(study, Looks(sizes, checks=2 * len(_RATES)), read)
