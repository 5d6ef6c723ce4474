"""One question has one answer, whatever was asked before it: else a recorded proof is another on the next machine."""

from __future__ import annotations

import z3
from algebra_statements import MORE, READINGS, claim_of

from bntheory.claims import registry
from bntheory.judges.algebra import judge, solver

#: one whose first question is given up at the limit, so that every step counts
AT_THE_LIMIT = "lesswrong2019.two-lipschitz.batchnorm-reduces.layer.squared-loss"


def steps_of(claim, monkeypatch):
    """The judge's answer, and z3's steps for every question that it asked."""
    asked = []
    made = solver._solver

    def counted(*options):
        asked.append(made(*options))
        return asked[-1]

    with monkeypatch.context() as patch:
        patch.setattr(solver, "_solver", counted)
        evidence = judge(claim)
    count = [(s.statistics().get_key_value("rlimit count"), s.reason_unknown()) for s in asked]
    return evidence, count


def test_what_was_asked_before_changes_no_step_of_a_question(monkeypatch):
    claim = registry()[AT_THE_LIMIT]
    first, steps = steps_of(claim, monkeypatch)
    assert "canceled" in {reason for _, reason in steps}, "no question of this claim comes near the limit"
    x = z3.Reals(" ".join(f"x_{i}" for i in range(30)))
    kept = [a * b + a > b for a in x for b in x]  # terms of the context that z3 shares among all
    for check, domain, assume, _ in [*READINGS.values(), *MORE.values()][:6]:
        judge(claim_of(check, domain, assume))
    again, same = steps_of(claim, monkeypatch)
    assert same == steps
    assert len(kept) == 900
    assert again.details["proof"]["smt_lib"] == first.details["proof"]["smt_lib"]
