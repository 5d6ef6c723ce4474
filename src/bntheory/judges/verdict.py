"""Verdicts: what the evidence of all judges amounts to.

Each judge answers with an :class:`Evidence`; :func:`verdict_of` is the only place where evidence becomes a
:class:`Status`. "Unknown" is a status of its own and never counts as a pass. When one judge proves what another refutes, one
of them is broken: that is :attr:`Status.DISAGREEMENT`, an internal error, and never resolved by preferring a judge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

from bntheory.claims.claim import Claim, Kind
from bntheory.evidence.checks import Check
from bntheory.evidence.source import only_shows

JudgeName = Literal["algebra", "search", "network", "study"]
Finding = Literal[
    "proved",
    "refuted",
    "survives",
    "holds",
    "fails",
    "equivalent",
    "inconclusive",
    "vacuous",
    "unknown",
    "error",
    "not-applicable",
]


class Status(Enum):
    """The status of a claim; the value is the word that is printed."""

    PROVED = "proved"
    REFUTED = "refuted"
    SURVIVES = "survives"
    HOLDS_ON_NETWORKS = "holds-on-networks"
    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    VACUOUS = "vacuous"
    UNKNOWN = "unknown"
    ERROR = "error"
    DISAGREEMENT = "disagreement"

    @property
    def explanation(self) -> str:
        """What the status means, in a sentence, whatever the claim is about."""
        return _EXPLANATION[self]

    def explanation_for(self, kind: Kind) -> str:
        """What the status of a claim of this kind means, in a sentence."""
        return (_OF_A_LAYER if kind == "layer" else _OF_OTHERS).get(self, self.explanation)


_OF_A_LAYER = {
    Status.PROVED: "Shown for every layer of the claim's domain, every batch size and every loss; the proof replays.",
    Status.REFUTED: "A counterexample is certified in exact or ball arithmetic, its hypotheses included; it replays from its file.",
}
_OF_OTHERS = {
    Status.PROVED: "Shown exactly, without rounding, for all that the claim is stated for.",
    Status.SURVIVES: "It held in every case that was computed; the closest is given. Not a proof.",
}
_EXPLANATION = {
    Status.PROVED: "Shown without rounding for all that the claim is stated for: of a layer, for every batch size and every loss.",
    Status.REFUTED: "It fails at an example that is certified in exact or ball arithmetic, its hypotheses included.",
    Status.SURVIVES: "No attack within the budget found a violation; the closest call is given. Not a proof.",
    Status.HOLDS_ON_NETWORKS: "Met, within the derived tolerance, by every layer measured in real networks that satisfied its hypotheses; nothing stronger is known.",
    Status.SUPPORTED: "An experiment's interval lies on the claim's side, at the scale that was run.",
    Status.CONTRADICTED: "An experiment's interval lies on the other side, at the scale that was run.",
    Status.EQUIVALENT: "An experiment's interval lies within the margin that was stated beforehand: whatever the difference is, it is too small to matter.",
    Status.INCONCLUSIVE: "The experiment's interval contains both answers.",
    Status.VACUOUS: "Nothing satisfies the claim's hypotheses and gives it a value, so it says nothing.",
    Status.UNKNOWN: "No judge could decide: outside the vocabulary, out of time, or not measured.",
    Status.ERROR: "A judge ended in an error, so nothing is decided; the message says which line, or what happened.",
    Status.DISAGREEMENT: "One judge proves what another refutes: a defect of this tool. Please report it.",
}


@dataclass(frozen=True)
class Evidence:
    """One judge's answer.

    finding: what this judge found. summary: one sentence. details: JSON-ready, with whatever replays it (a proof object,
    a witness, margins, checks). seconds: what it cost. seed: where chance was involved.
    """

    judge: JudgeName
    finding: Finding
    summary: str
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    seed: int | None = None

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        return {**vars(self), "details": dict(self.details), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Verdict:
    """A claim's status and all the evidence it rests on."""

    claim: Claim
    status: Status
    evidence: tuple[Evidence, ...]

    @property
    def explanation(self) -> str:
        """The status in words."""
        if self.status is Status.VACUOUS and self.claim.assume is None:
            return "The claim is defined nowhere: nothing gives it a value, so it says nothing."
        if self.status is Status.VACUOUS and not any(e.details.get("partial") for e in self.evidence):
            return "Nothing satisfies the claim's hypotheses, so it says nothing."
        return self.status.explanation_for(self.claim.kind)

    @property
    def wherever(self) -> tuple[str, ...]:
        """What a proof needs in order that the claim has a value: it holds wherever all of these do."""
        needed = (w["text"] for e in self.evidence if e.finding == "proved" for w in e.details.get("wherever", ()))
        return tuple(needed) if self.status is Status.PROVED else ()

    @property
    def answers(self) -> tuple[Evidence, ...]:
        """The evidence of every judge that had an answer; where none had, why."""
        return tuple(e for e in self.evidence if e.finding != "not-applicable") or self.evidence

    @only_shows
    def latex(self) -> str:
        """A paragraph for a review: statement, verdict, proof or counterexample."""
        from bntheory.judges.latex import latex_paragraph

        return latex_paragraph(self)

    @only_shows
    def plot(self, *, statement: str = "") -> Any:
        """A matplotlib figure: where random layers stand to the claim, and the counterexample; or the intervals of an experiment.

        statement: what its sentence calls the claim, by default the id. UserError where there is nothing to draw.
        """
        from bntheory.judges.picture import verdict_figure

        return verdict_figure(self, statement=statement).figure

    def render(self) -> str:
        """Plain text for the terminal: the status, and a line for each judge that had an answer."""
        lines = [f"{self.status.value:<18}{self.claim.id}"]
        lines += [f"    {e.judge:<8} {e.finding:<13} {e.summary}" for e in self.answers]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.render()

    @only_shows
    def cite(self) -> str:
        """A BibTeX entry for this verdict."""
        from bntheory.judges.latex import bibtex

        return bibtex(self.claim, verdict=self)

    def as_json(self) -> dict[str, Any]:
        """The stable object of ``--json``: at least id, kind, status, evidence."""
        c = self.claim
        return {
            "id": c.id,
            "kind": c.kind,
            "status": self.status.value,
            "explanation": self.explanation,
            "wherever": list(self.wherever),
            "statement": c.statement,
            "reading": c.reading,
            "source": c.source.as_json(),
            "repairs": c.repairs,
            "evidence": [e.as_json() for e in self.evidence],
        }


#: What the findings of all judges amount to: the first of these that occurs decides.
_AMOUNTS_TO = {
    "error": Status.ERROR,
    "refuted": Status.REFUTED,
    "vacuous": Status.VACUOUS,
    "proved": Status.PROVED,
    "fails": Status.CONTRADICTED,
    "inconclusive": Status.INCONCLUSIVE,
    "equivalent": Status.EQUIVALENT,
    "supported": Status.SUPPORTED,
    "survives": Status.SURVIVES,
    "holds": Status.HOLDS_ON_NETWORKS,
}


def verdict_of(claim: Claim, evidence: Iterable[Evidence]) -> Verdict:
    """The status that the evidence amounts to.

    Disagreement of two judges, or of the two routes of one, comes before all else; then the order of the table above, in which a
    counterexample to what nothing satisfies is a disagreement too.
    A failure inside networks without a certificate does not refute, but it contradicts a proof.
    """
    evidence = tuple(evidence)
    found = {"supported" if e.judge == "study" and e.finding == "holds" else e.finding for e in evidence}
    network_fails = any(e.judge == "network" and e.finding == "fails" for e in evidence)
    contradicts_itself = any(e.details.get("internal_error") for e in evidence)
    if contradicts_itself or ("proved" in found and ("refuted" in found or network_fails)):
        status = Status.DISAGREEMENT
    else:
        status = next((status for finding, status in _AMOUNTS_TO.items() if finding in found), Status.UNKNOWN)
        if status is Status.REFUTED and "vacuous" in found:
            status = Status.DISAGREEMENT
    return Verdict(claim, status, evidence)


def evidence_of_checks(checks: Iterable[Check], *, seconds: float, seed: int) -> Evidence:
    """The evidence of a landscape, dynamics, network or experiment study from its decisive checks.

    refuted: an exact check fails. proved: at least one proof, and every decisive check is a proof or an exact instance that
    holds. fails: a numerical or statistical check fails beyond its uncertainty. unknown: none is comparable. inconclusive: one is
    undecided or not comparable. equivalent: at least one lies within its margin, and the rest hold.
    survives: all hold, none of them statistical; holds: all hold, some of them statistical.
    """
    checks = tuple(checks)
    decisive = [c for c in checks if c.decisive]
    details = {"checks": [c.as_json() for c in checks]}

    def evidence(finding: Finding, summary: str) -> Evidence:
        return Evidence("study", finding, summary, details, seconds, seed)

    closest = deciding(decisive)
    if closest is None:
        return evidence("unknown", "the study made no decisive check")
    failing = [c for c in decisive if c.outcome == "fails"]
    exact_failing = [c for c in failing if c.exactness in ("proof", "exact")]
    if exact_failing:
        return evidence("refuted", f"fails exactly: {_say(exact_failing[0])}")
    if failing:
        return evidence(
            "fails", f"{len(failing)} of {_count(decisive)} {_verb('fail', failing)}{_closest(closest, failing)}"
        )
    incomparable = [c for c in decisive if c.outcome == "not comparable"]
    if len(incomparable) == len(decisive):
        return evidence("unknown", f"not comparable: {incomparable[0].not_comparable}")
    undecided = [c for c in decisive if c.outcome == "undecided"]
    if incomparable and not undecided:
        return evidence(
            "inconclusive",
            f"{len(incomparable)} of {_count(decisive)} not comparable: {incomparable[0].not_comparable}",
        )
    if undecided:
        return evidence(
            "inconclusive", f"{len(undecided)} of {_count(decisive)} undecided{_closest(closest, undecided)}"
        )
    equivalent = [c for c in decisive if c.outcome == "equivalent"]
    if equivalent:
        return evidence(
            "equivalent",
            f"{len(equivalent)} of {_count(decisive)} within the margin of {closest.margin:g}{_closest(closest, equivalent)}",
        )
    exactness = {c.exactness for c in decisive}
    if "proof" in exactness and exactness <= {"proof", "exact"}:
        proof = next(c for c in decisive if c.exactness == "proof")
        among = f"{len(decisive)} exact checks, among them a proof: " if len(decisive) > 1 else ""
        return evidence("proved", among + _say(proof))
    finding: Finding = "holds" if "statistical" in exactness else "survives"
    return evidence(finding, f"{_count(decisive)} {_verb('hold', decisive)}{_closest(closest, decisive)}")


def _closest(check: Check, group: Sequence[Check]) -> str:
    return f"{'; the closest' if len(group) > 1 else ''}: {_say(check)}"


def _count(checks: Sequence[Check]) -> str:
    return f"{len(checks)} check{'' if len(checks) == 1 else 's'}"


def _verb(verb: str, checks: Sequence[Check]) -> str:
    return verb + "s" if len(checks) == 1 else verb


def deciding(checks: Iterable[Check]) -> Check | None:
    """The decisive check that a verdict rests on: of the strongest outcome that occurs, the one with the least room."""
    decisive = [c for c in checks if c.decisive]
    return min(decisive, key=lambda c: (_STRENGTH.index(c.outcome), _room(c)), default=None)


#: Which outcomes decide, the strongest first: one that fails before one that is open, both before those that hold.
_STRENGTH = ("fails", "undecided", "not comparable", "equivalent", "holds")


def _room(c: Check) -> tuple[bool, float]:
    """The less, the closer a check is to the other answer: in half-widths of its interval where it has one."""
    in_widths = c.op != "eq" and 0 < c.uncertainty < math.inf
    room = abs(c.gap) / c.uncertainty if in_widths else abs(c.gap) if c.op != "eq" else c.uncertainty - abs(c.gap)
    return not in_widths, math.inf if math.isnan(room) else room


def _say(c: Check) -> str:
    if math.isnan(c.gap):  # of too few seeds
        return f"{c.name}: no number ({c.scope})"
    sign = {"le": "<=", "lt": "<", "eq": "="}[c.op]
    blur = f", difference +- {c.uncertainty:.2g}" if c.uncertainty else ""
    digits = 3 if c.exactness == "statistical" else 6
    refused = "not " if c.outcome == "fails" else ""
    return f"{c.name}: {refused}{c.left:.{digits}g} {sign} {c.right:.{digits}g}{blur} ({c.scope})"
