"""True claims and the same with a small error planted: every true one is proved, every planted one refuted with a witness."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bntheory.judges.algebra import judge
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.witness import Witness

sys.path.insert(0, str(Path(__file__).parents[3] / "validation" / "benchmarks"))
from planted_table import PAIRS

sys.path.pop(0)


@pytest.mark.parametrize("claim", [p.true for p in PAIRS], ids=lambda c: c.id)
def test_true_claims_are_proved(claim):
    evidence = judge(claim)
    assert evidence.finding == "proved", evidence.summary


@pytest.mark.parametrize("claim", [p.planted for p in PAIRS], ids=lambda c: c.id)
def test_planted_errors_are_refuted(claim):
    evidence = judge(claim)
    assert evidence.finding == "refuted", evidence.summary
    assert certify(claim, Witness.from_json(evidence.details["witness"]).instance).refuted
