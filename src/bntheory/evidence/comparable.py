"""Guards: which runs may be compared at all.

A comparison with a network that has not trained, or that has diverged, says nothing about what the two arms differ in.
It is *not comparable*, which is no verdict on a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from bntheory.errors import UserError

#: A loss above this share of that of guessing: the network has not trained.
UNTRAINED = 0.98


def guessing_loss(classes: int, loss: str = "cross-entropy") -> float:
    """The loss of giving every class the same probability; with "squared-error", half the squared distance to the
    one-hot label. Raises UserError for another loss."""
    losses = {"cross-entropy": math.log(classes), "squared-error": 0.5 * (1 - 1 / classes)}
    if loss not in losses:
        raise UserError(f"loss {loss!r:.40} is unknown; choose one of {', '.join(losses)}")
    return losses[loss]


def has_diverged(numbers: Iterable[float]) -> bool:
    """Whether one of the numbers of a run (losses, gradient norms) is not finite."""
    return not all(math.isfinite(x) for x in numbers)


def not_there(last: int | None) -> str:
    """What is said of a run without an end that has not diverged either, behind the arm's name. last: the step whose
    record is not there; None where it has none at all."""
    return "is not there: it has no records" if last is None else f"is not finished: no record of step {last} is there"


def lacks_records(why: str) -> bool:
    """Whether what :func:`why_not_comparable` says speaks of records that are not there."""
    return any(not_there(last).partition(":")[0] in why for last in (None, 0))


def why_not_comparable(
    losses: Mapping[str, float | None], guessing: float | None, lacks: Mapping[str, str] | None = None
) -> str:
    """Why these arms cannot be compared, from the loss with which each ends; empty where they can.

    losses: None or not finite for an arm that has diverged. guessing: the loss of guessing, None where there is no such
    thing. lacks: of arms whose end is not there, what :func:`not_there` says.
    """
    for arm, text in (lacks or {}).items():
        if text:
            return f"{arm} {text}"
    for arm, loss in losses.items():
        if loss is None or not math.isfinite(loss):
            return f"{arm} has diverged"
        if guessing is not None and loss > UNTRAINED * guessing:
            return f"{arm} has not trained: its loss {loss:.4g} is above {UNTRAINED} of guessing's {guessing:.4g}"
    return ""
