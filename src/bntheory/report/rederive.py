"""Recorded verdicts judged again: nothing on a page is believed because a file says so.

Whatever takes seconds is judged anew, by all judges of its kind, and must come out as recorded: status, findings, proofs line by line,
counterexamples in rational numbers. Recorded proofs go to a solver of their own, recorded counterexamples through exact arithmetic.
Of an experiment, whose networks take minutes, the checks are computed once more from the recorded numbers of every seed, and the verdict
from the checks; that the numbers are still those of the code is what the fingerprint is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bntheory.claims.claim import Claim
from bntheory.errors import UserError
from bntheory.evidence.checks import Check
from bntheory.evidence.record import parsed_json
from bntheory.judges.verdict import Verdict, evidence_of_checks, verdict_of
from bntheory.report.records import Record, proof_text

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
#: Judges whose sentences hold exact or reproducible numbers; where a search stopped, a network came closest or a judge gave up depends on
#: the machine.
_REPEATABLE = ("algebra", "study")


def disagreements(
    verdict: Verdict,
    record: Record,
    folder: Path,
    *,
    same_tools: bool,
    scales: Sequence[Mapping[str, Any]] | None = None,
) -> Iterator[str]:
    """Where a record and a verdict that was reached just now do not agree, and which of the record's files do not hold.

    Of an experiment that was trained anew the status only: its numbers are others. Of one that was read from its records also what is
    said, and scales, its rows at all scales at which it is recorded.
    same_tools: the solver and the arithmetic have the versions that the record was made with, so that texts must agree too.
    """
    claim = verdict.claim
    if record.status != verdict.status.value:
        yield f"recorded {record.status}, judged {verdict.status.value}"
    elif record.wherever != verdict.wherever:
        yield f"recorded wherever {_joined(record.wherever)}, judged wherever {_joined(verdict.wherever)}"
    if claim.kind == "experiment":
        if scales is not None:
            yield from _other_scales(verdict, record, scales)
        return
    found = [e for e in verdict.evidence if e.finding != "not-applicable"]
    before = [(judge, finding) for judge, finding, _ in record.evidence]
    now = [(str(e.judge), str(e.finding)) for e in found]
    if before != now:
        yield f"recorded {_listed(before)}, found {_listed(now)}"
    elif same_tools:
        for (judge, _, said), e in zip(record.evidence, found, strict=True):
            if judge in _REPEATABLE and e.finding != "unknown" and not _same_sentence(said, e.summary):
                yield f"{judge} says {e.summary!r:.200}, recorded is {said!r:.200}"
    files = record.files(claim, folder)
    if "proof" in files:
        yield from _proof_problems(files["proof"], proof_text(verdict) if same_tools else None)
    if "witness" in files:
        yield from _witness_problems(claim, files["witness"], same_tools=same_tools)
    exact = {"refuted": record.witness, "proved": record.proof}.get(record.status, True)
    if claim.kind == "layer" and not exact:
        yield f"recorded {record.status} without the file that shows it"


def _other_scales(verdict: Verdict, record: Record, scales: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    said = verdict.evidence[0].summary if verdict.evidence else ""
    before = record.evidence[0][2] if record.evidence else ""
    if not _same_sentence(before, said):
        yield f"its records say {said!r:.200}, recorded is {before!r:.200}"
    was = {row["place"]: row["status"] for row in record.scales}
    now = {row["place"]: row["status"] for row in scales}
    if was != now:
        yield f"recorded at scales {_listed(list(was.items()))}; its records say {_listed(list(now.items()))}"


def _joined(conditions: Sequence[str]) -> str:
    return " and ".join(conditions) or "it is defined"


def _listed(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{judge}: {finding}" for judge, finding in pairs) or "nothing"


def _same_sentence(one: str, other: str) -> bool:
    """The same words, and numbers that differ by rounding at most."""
    if _NUMBER.split(one) != _NUMBER.split(other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= 1e-3 * max(abs(float(a)), abs(float(b))) + 1e-9 for a, b in pairs)


def _proof_problems(path: Path, expected: str | None) -> Iterator[str]:
    """Of a recorded proof: that every question in it has the answer unsat, and that they are the questions that the claim asks."""
    import z3

    text = path.read_text(encoding="utf-8")
    context = z3.Context()  # held here: the library does not keep it alive during the call
    try:
        answers = z3.Z3_eval_smtlib2_string(context.ref(), text).split()
    except z3.Z3Exception as error:
        answers = [str(error)]
    if not answers or answers != ["unsat"] * text.count("(check-sat)"):
        yield f"{path.name}: the solver does not answer unsat to every question ({' '.join(answers)[:60] or 'no answer'})"
    elif expected is not None and text != expected:
        yield f"{path.name}: these are not the questions that the claim amounts to"


def _witness_problems(claim: Claim, path: Path, *, same_tools: bool) -> Iterator[str]:
    """Of a recorded counterexample: that it is one of this claim, and that its certificate is what its layer gives."""
    from bntheory.judges.exact.certificate import certify
    from bntheory.judges.exact.witness import Reference, load_witness

    try:
        witness = load_witness(path)
    except UserError as error:
        yield str(error)
        return
    if witness.reference != Reference("registry", claim.id) or witness.domain != claim.domain:
        yield f"{path.name}: it is about another claim, or another domain"
        return
    certificate = certify(claim, witness.instance)
    if not certificate.refuted:
        yield f"{path.name}: {certificate.why}"
    elif same_tools and not _is_recorded(certificate.as_json(), witness.certificate):
        yield f"{path.name}: its layer gives another certificate than the recorded one"


def _is_recorded(certificate: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether a certificate is the recorded one, which may be of a version that did not write down the structure."""
    found = json.loads(json.dumps(certificate))
    return dict(recorded) in (found, {k: v for k, v in found.items() if k != "structure"})


# -- experiments -------------------------------------------------------------------------------------------------------


def follows_from_checks(claim: Claim, record: Record, folder: Path) -> Iterator[str]:
    """Where an experiment's recorded verdict does not follow from its recorded checks, or a check not from its numbers."""
    path = record.files(claim, folder).get("checks")
    if path is None:
        if record.status not in ("unknown", "error"):
            yield f"recorded {record.status} without the checks that it rests on"
        return
    try:
        data = parsed_json(path.read_text(encoding="utf-8"))
        checks = [Check.from_json(item) for item in data]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        yield f"{path.name}: not a list of checks ({type(error).__name__}: {error})"
        return
    for check, item in zip(checks, data, strict=True):
        if item.get("outcome") != check.outcome:
            yield f"{path.name}: {check.name}: recorded {item.get('outcome')}, its numbers say {check.outcome}"
        elif check.exactness == "statistical" and not _follows_from_values(check):
            yield f"{path.name}: {check.name}: the mean or the interval is not that of the seeds' numbers"
    verdict = verdict_of(claim, [evidence_of_checks(checks, seconds=0.0, seed=0)])
    if record.status != verdict.status.value:
        yield f"recorded {record.status}, its checks amount to {verdict.status.value}"
    said = [(str(e.judge), str(e.finding), e.summary) for e in verdict.evidence]
    if list(record.evidence) != said:
        yield f"the sentence recorded is not that of its checks, which say {said[0][2]!r:.200}"


def _follows_from_values(check: Check) -> bool:
    """Whether the two sides are the middle of the interval over seeds and the bound, and the uncertainty no less than its half-width.

    Of numbers that it has a median of, a check has the median and the longer side of its interval. Some checks add to the half-width what
    a search has left open. A check without enough numbers is undecided whatever they are.
    """
    import numpy as np

    from bntheory.evidence.decision import LEAST_SEEDS
    from bntheory.evidence.distance import distance_interval
    from bntheory.evidence.intervals import estimate, summarise

    confidence = check.confidence or 0.95
    if "median_of" in check.witness:
        found = summarise(check.witness["median_of"], confidence)
        half = max(found.median - found.low, found.high - found.median)
        return _stands_on(check, found.median, half, max(map(abs, check.witness["median_of"])))
    values = np.asarray(check.witness.get("values", ()), dtype=float)
    if values.shape[-1] < LEAST_SEEDS or not np.isfinite(values).all():
        return check.outcome in ("undecided", "not comparable")
    if values.ndim == 1:
        over = estimate(values.tolist(), confidence)
        low, high = over.low, over.high
    else:
        low, high = distance_interval(values, confidence)
    return _stands_on(check, (low + high) / 2, (high - low) / 2, float(np.abs(values).max()))


def _stands_on(check: Check, middle: float, half: float, size: float) -> bool:
    """size: of the largest of the numbers that ``middle`` and ``half`` are computed from."""
    rounding = 2e-6 + 1e-4 * size  # the recorded values have six decimals
    close = any(abs(side - middle) <= rounding for side in (check.left, check.right))
    return close and check.uncertainty >= half - rounding
