"""What a study of a claim brings back: checks, each one comparison of two numbers with its uncertainty.

A check never says "true": it states what was compared, how exact the two sides are, and on which scope. The verdict is
computed from all checks of a claim by :func:`bntheory.judges.verdict.verdict_of`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from bntheory.errors import UserError
from bntheory.evidence.decision import position

Op = Literal["le", "lt", "eq"]
Exactness = Literal["proof", "exact", "numerical", "statistical"]
Outcome = Literal["holds", "fails", "undecided", "equivalent", "not comparable"]

_STATISTICAL: Mapping[str, Outcome] = {
    "above": "holds",
    "below": "fails",
    "equivalent": "equivalent",
    "open": "undecided",
}


def _listed(words: Any) -> str:
    return ", ".join(map(repr, get_args(words)))


@dataclass(frozen=True)
class Check:
    """One comparison ``left op right``.

    name: what is compared, in words. scope: over which cases ("eta from 1e-5 to 1e5, 64 starts").
    exactness:
      ``"proof"``        left and right are symbolic or rational identities valid on the whole scope of the claim;
      ``"exact"``        rational or ball arithmetic at one point: a failure here refutes, a success is one instance;
      ``"numerical"``    floating point, deterministic; ``uncertainty`` bounds |error of (left - right)|;
      ``"statistical"``  an estimate; ``uncertainty`` is the half-width of left - right's interval at ``confidence``.
    uncertainty: absolute, in the units of left and right; derived, never guessed (say from what in ``why``).
    witness: what is needed to replay the comparison (rationals as "p/q" strings, seeds, parameters), JSON-ready.
    decisive: False for a check that only illustrates and must not decide the verdict.
    margin: of a statistical check: an effect that lies this close to the bound is too small to matter, and an interval
    that lies wholly within it says "equivalent"; None where no such margin was stated.
    not_comparable: why the comparison says nothing at all (an arm that has not trained), else empty.
    """

    name: str
    left: float
    op: Op
    right: float
    exactness: Exactness
    scope: str
    uncertainty: float = 0.0
    confidence: float | None = None
    why: str = ""
    witness: Mapping[str, Any] = field(default_factory=dict)
    decisive: bool = True
    margin: float | None = None
    not_comparable: str = ""

    def __post_init__(self) -> None:
        if self.op not in get_args(Op):
            turned = {"ge": "le", ">=": "le", "gt": "lt", ">": "lt"}.get(self.op)
            how = f"swap the two sides and write {turned!r}" if turned else "write one of these"
            raise UserError(f"check {self.name!r}: op {self.op!r} is not known; it can be {_listed(Op)}: {how}")
        if self.exactness not in get_args(Exactness):
            raise UserError(
                f"check {self.name!r}: exactness {self.exactness!r} is not known, and what a failure says hangs on it; "
                f"it can be {_listed(Exactness)}"
            )
        if not self.uncertainty >= 0:
            raise ValueError(f"check {self.name!r}: the uncertainty is {self.uncertainty!r}; it is a bound, so >= 0")
        if self.exactness in ("proof", "exact") and self.uncertainty > 0:
            raise ValueError(f"check {self.name!r}: an {self.exactness} comparison has no uncertainty")
        if self.exactness == "statistical" and self.confidence is None:
            raise ValueError(f"check {self.name!r}: say at which confidence the interval stands")

    @property
    def gap(self) -> float:
        """right - left: how much room is left (negative: by how much it fails)."""
        if self.left == self.right:
            return 0.0  # equal infinities included
        return self.right - self.left

    @property
    def outcome(self) -> Outcome:
        """Whether the comparison holds, fails, or cannot be told from its uncertainty."""
        if self.not_comparable:
            return "not comparable"
        gap, blur = self.gap, self.uncertainty
        if math.isnan(gap) or not math.isfinite(blur):
            return "undecided"
        if self.op == "eq":
            # An equality can be met to within its uncertainty, never shown by floating point.
            return "holds" if abs(gap) <= blur else "fails"
        if self.exactness == "statistical":
            return _STATISTICAL[position(gap - blur, gap + blur, 0.0, self.margin)]
        if abs(gap) <= blur and blur > 0:
            return "undecided" if self.op == "lt" else "holds"
        if self.op == "lt":
            return "holds" if gap > 0 else "fails"
        return "holds" if gap >= 0 else "fails"

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object, with the outcome for the reader's eye."""
        return {**vars(self), "witness": dict(self.witness), "outcome": self.outcome}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Check:
        """The inverse of :meth:`as_json`, also where JSON has no number for a NaN; the outcome is computed, not
        read."""
        given = {key: value for key, value in data.items() if key != "outcome"}
        numbers = {key: float(given[key]) for key in ("left", "right", "uncertainty")}
        return cls(**{**given, **numbers})
