"""From evidence to a status: every combination that matters, as a table; and checks, whose outcome is computed, never given."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from bntheory.claims import Check
from bntheory.claims.claim import Claim, Source
from bntheory.judges.verdict import Evidence, Status, evidence_of_checks, verdict_of
from bntheory.layer import le

CLAIM = Claim("mine.claim", "layer", Source("mine", ""), "x", lambda layer: le(0, 1))


def status(*pairs, **details):
    return verdict_of(CLAIM, [Evidence(judge, finding, "", details) for judge, finding in pairs]).status


TABLE = [
    ([], Status.UNKNOWN),
    ([("algebra", "proved")], Status.PROVED),
    ([("algebra", "proved"), ("search", "survives"), ("network", "holds")], Status.PROVED),
    ([("algebra", "refuted"), ("search", "refuted"), ("network", "fails")], Status.REFUTED),
    ([("algebra", "refuted"), ("search", "survives"), ("network", "holds")], Status.REFUTED),
    ([("algebra", "unknown"), ("search", "refuted")], Status.REFUTED),
    ([("algebra", "unknown"), ("search", "survives"), ("network", "holds")], Status.SURVIVES),
    ([("algebra", "unknown"), ("search", "unknown"), ("network", "holds")], Status.HOLDS_ON_NETWORKS),
    ([("algebra", "unknown"), ("network", "fails")], Status.CONTRADICTED),
    ([("algebra", "unknown"), ("search", "unknown")], Status.UNKNOWN),
    ([("algebra", "unknown"), ("network", "not-applicable")], Status.UNKNOWN),
    ([("algebra", "vacuous"), ("search", "unknown")], Status.VACUOUS),
    ([("algebra", "error"), ("search", "error")], Status.ERROR),
    ([("algebra", "error"), ("search", "refuted")], Status.ERROR),
    ([("algebra", "proved"), ("search", "survives"), ("network", "error")], Status.ERROR),
    ([("algebra", "proved"), ("search", "refuted"), ("network", "error")], Status.DISAGREEMENT),
    ([("algebra", "error"), ("search", "survives")], Status.ERROR),
    ([("study", "holds")], Status.SUPPORTED),
    ([("study", "fails")], Status.CONTRADICTED),
    ([("study", "inconclusive")], Status.INCONCLUSIVE),
    ([("study", "survives")], Status.SURVIVES),
    ([("algebra", "proved"), ("search", "refuted")], Status.DISAGREEMENT),
    ([("algebra", "proved"), ("network", "fails")], Status.DISAGREEMENT),
    ([("algebra", "vacuous"), ("search", "refuted")], Status.DISAGREEMENT),
]


@pytest.mark.parametrize(("evidence", "expected"), TABLE, ids=lambda x: str(x) if isinstance(x, Status) else None)
def test_table(evidence, expected):
    for order in itertools.permutations(evidence):
        assert status(*order) is expected


def test_every_status_has_an_explanation_of_its_own():
    assert len({s.explanation for s in Status}) == len(Status)


def test_unknown_never_becomes_a_pass():
    silent = [("algebra", "unknown"), ("search", "unknown"), ("network", "not-applicable"), ("study", "unknown")]
    for n in range(5):
        for some in itertools.combinations(silent, n):
            assert status(*some) is Status.UNKNOWN


def check(left, op, right, exactness="numerical", uncertainty=0.0, **rest):
    confidence = 0.95 if exactness == "statistical" else None
    return Check("x", left, op, right, exactness, "here", uncertainty, confidence, **rest)


OUTCOMES = [
    (check(1, "le", 2), "holds"),
    (check(2, "le", 1), "fails"),
    (check(1, "lt", 1), "fails"),
    (check(1, "le", 1), "holds"),
    (check(1, "eq", 1 + 1e-9, uncertainty=1e-8), "holds"),
    (check(1, "eq", 1 + 1e-7, uncertainty=1e-8), "fails"),
    (check(1.01, "le", 1, uncertainty=0.1), "holds"),
    (check(0.99, "lt", 1, uncertainty=0.1), "undecided"),
    (check(0.99, "le", 1, "statistical", 0.1), "undecided"),
    (check(1.5, "le", 1, "statistical", 0.1), "fails"),
    (check(0.5, "le", 1, "statistical", 0.1), "holds"),
    (check(math.nan, "le", 1), "undecided"),
    (check(1, "le", math.inf), "holds"),
    (check(math.inf, "eq", math.inf), "holds"),
    (check(0, "le", 1, uncertainty=math.inf), "undecided"),
]


@pytest.mark.parametrize(("made", "outcome"), OUTCOMES)
def test_outcome_of_a_check(made, outcome):
    assert made.outcome == outcome


EVIDENCE = [
    ([check(1, "le", 2, "proof"), check(1, "le", 2, "exact")], "proved"),
    ([check(1, "le", 2, "exact")], "survives"),
    ([check(1, "le", 2, "proof"), check(1, "le", 2)], "survives"),
    ([check(2, "le", 1, "exact"), check(1, "le", 2, "proof")], "refuted"),
    ([check(2, "le", 1)], "fails"),
    ([check(1, "le", 2), check(0.99, "le", 1, "statistical", 0.1)], "inconclusive"),
    ([check(1, "le", 2), check(0.5, "le", 1, "statistical", 0.1)], "holds"),
    ([check(1, "le", 2), check(2, "le", 1, decisive=False)], "survives"),
    ([check(2, "le", 1, decisive=False)], "unknown"),
    ([], "unknown"),
]


@pytest.mark.parametrize(("checks", "finding"), EVIDENCE)
def test_evidence_of_checks(checks, finding):
    found = evidence_of_checks(checks, seconds=0.0, seed=0)
    assert found.finding == finding
    assert len(found.details["checks"]) == len(checks)


def test_the_closest_check_is_so_in_widths_of_its_interval() -> None:
    """A far bound with a wide interval is nearer to not holding than a near one with a narrow interval."""
    narrow = check(0.9, "le", 1, "statistical", 0.01)
    wide = dataclasses.replace(check(-3, "le", 1, "statistical", 3.5), name="wide")
    sure = check(0.999, "le", 1, "exact")
    for order in itertools.permutations([narrow, wide, sure]):
        found = evidence_of_checks(order, seconds=0.0, seed=0)
        assert found.summary.startswith("3 checks hold; the closest: wide: -3 <= 1, difference +- 3.5")
    assert evidence_of_checks([sure], seconds=0.0, seed=0).summary.startswith("1 check holds: ")


def test_what_fails_is_not_shown_as_if_it_held() -> None:
    """One check alone has no closest; of several that fail the closest is said."""
    found = {
        "1 of 1 check fails: x: not 2 <= 1": [check(2, "le", 1, "numerical")],
        "1 of 2 checks fails: x: not 2 <= 1": [check(2, "le", 1, "numerical"), check(1, "le", 2)],
        "2 of 2 checks fail; the closest: x: not 2 <= 1": [
            check(2, "le", 1, "numerical"),
            check(9, "le", 1, "numerical"),
        ],
        "fails exactly: x: not 1 < 1": [check(1, "lt", 1, "exact")],
    }
    for said, checks in found.items():
        assert evidence_of_checks(checks, seconds=0.0, seed=0).summary.startswith(said)


@pytest.mark.parametrize(
    "make",
    [
        lambda: check(1, "le", 2, uncertainty=-1),
        lambda: check(1, "le", 2, uncertainty=math.nan),
        lambda: check(1, "le", 2, "exact", uncertainty=0.1),
        lambda: Check("x", 1, "le", 2, "statistical", "here", 0.1),
    ],
    ids=["negative", "nan", "exact with blur", "no confidence"],
)
def test_a_check_that_cannot_be_is_refused(make):
    with pytest.raises(ValueError, match="check 'x'"):
        make()


def test_a_check_of_too_few_seeds_has_no_number_and_says_so():
    check = Check("gain", math.nan, "le", 0.0, "statistical", "2 seeds", math.inf, 0.95)
    assert evidence_of_checks([check], seconds=0.0, seed=0).summary.endswith("gain: no number (2 seeds)")


def test_the_proof_among_exact_checks_is_the_one_that_is_told():
    found = evidence_of_checks([check(1, "le", 2, "exact"), check(0, "eq", 0, "proof")], seconds=0.0, seed=0)
    assert found.summary == "2 exact checks, among them a proof: x: 0 = 0 (here)"
    assert evidence_of_checks([check(0, "eq", 0, "proof")], seconds=0.0, seed=0).summary == "x: 0 = 0 (here)"
