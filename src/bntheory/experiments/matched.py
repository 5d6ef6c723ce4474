"""Does batch normalisation smooth along a run? The numbers of one seed, and the checks that many seeds make.

What lives here: the comparison of a normalised model with its frozen-statistics twin at the same points and with the standard
model where it has the same loss; the same for toy models and for networks. What does not: training and measuring them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bntheory.evidence.checks import Check
from bntheory.evidence.curves import mean_log_ratio_at_equal_loss
from bntheory.evidence.seeds import over_seeds

if TYPE_CHECKING:
    from bntheory.models.smoothness_along import Curvatures

__all__ = ["at_equal_loss", "at_equal_points", "run_effects", "smoothing_checks"]

#: name of the effect, what it is the logarithm of, the side of 0 that speaks for smoothing, whether a claim rests on it
_EFFECTS: tuple[tuple[str, str, Literal["below", "above"], bool], ...] = (
    ("curvature, twin", "the {curvature} over the frozen twin's", "below", True),
    ("curvature, standard", "the {curvature} over the standard model's at equal loss", "below", True),
    ("relative curvature, twin", "the relative curvature over the frozen twin's", "below", False),
    ("gradient norm, twin", "the gradient norm over the frozen twin's", "below", False),
    ("loss, standard", "the lowest loss over the standard model's", "below", False),
    ("rate, standard", "the learning rate over the standard model's", "above", False),
    (
        "curvature, same rate",
        "the {curvature} over the standard model's at equal loss and equal learning rate",
        "below",
        False,
    ),
)


def at_equal_points(own: Curvatures, twin: Curvatures, measure: str) -> float:
    """The mean over a run's points of log10 of the ratio to the twin's; nan where no point gives both."""
    ratios = zip(getattr(own, measure), getattr(twin, measure), strict=True)
    return _mean([math.log10(left / right) for left, right in ratios if left > 0 and right > 0])


def at_equal_loss(own: Curvatures, other: Curvatures, measure: str) -> float:
    """The mean over a run's points of log10 of the ratio to the other run's where its loss is the same; nan where it never is."""
    found = mean_log_ratio_at_equal_loss(
        own.losses.tolist(),
        getattr(own, measure).tolist(),
        other.losses.tolist(),
        getattr(other, measure).tolist(),
    )
    return math.nan if found is None else found


def run_effects(
    own: Curvatures,
    twin: Curvatures,
    standard: Curvatures,
    lowest: tuple[float, float],
    curvature: str = "top_eigenvalues",
) -> dict[str, float]:
    """All effects of one seed, each a log10 of a ratio; ``lowest``: the lowest losses of the normalised and the standard run.

    own, twin: without the initialisation, which is the same for every learning rate and no part of training.
    """
    return {
        "curvature, twin": at_equal_points(own, twin, curvature),
        "curvature, standard": at_equal_loss(own, standard, curvature),
        "relative curvature, twin": at_equal_points(own, twin, "relative_curvatures"),
        "gradient norm, twin": at_equal_points(own, twin, "gradient_norms"),
        "loss, standard": math.log10(lowest[0] / lowest[1]),
    }


def smoothing_checks(
    rows: Sequence[Mapping[str, float]],
    what: str,
    scope: str,
    witness: Mapping[str, Any],
    curvature: str = "largest Hessian eigenvalue",
) -> list[Check]:
    """Each effect that the rows have is on its side of 0: the mean over seeds, with its interval.

    A seed that gave no number (nan) is left out and counted.
    """
    checks = []
    for name, label, side, decisive in _EFFECTS:
        if rows and name not in rows[0]:
            continue
        values = [row[name] for row in rows if not math.isnan(row[name])]
        missing = len(rows) - len(values)
        checks.append(
            over_seeds(
                f"log10 of {label.format(curvature=curvature)}, {what}",
                values,
                side,
                0.0,
                scope + (f"; {missing} seeds gave no number" if missing else ""),
                witness=witness,
                decisive=decisive,
            )
        )
    return checks


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
