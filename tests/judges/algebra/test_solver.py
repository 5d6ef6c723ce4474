"""One question has one answer, whatever was asked before it: else a recorded proof is another on the next machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import z3
from algebra_statements import MORE, READINGS, claim_of

from bntheory.claims import registry
from bntheory.judges.algebra import judge, solver
from bntheory.judges.algebra.field import Field

#: one whose first question is given up at the limit, so that every step counts
AT_THE_LIMIT = "lesswrong2019.two-lipschitz.batchnorm-reduces.layer.squared-loss"


@pytest.fixture(autouse=True, scope="module")
def in_a_copy(answered_in_a_copy: Any) -> Iterator[None]:
    solver._answer, here = answered_in_a_copy, solver._answer
    yield
    solver._answer = here


def steps_of(claim, monkeypatch):
    """The judge's answer, and z3's steps for every question that it asked."""
    count = []
    answer_here = solver._answer_here

    def counted(asked):
        answer = answer_here(asked)
        count.append((asked.statistics().get_key_value("rlimit count"), asked.reason_unknown()))
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(solver, "FORKS", False)
        patch.setattr(solver, "_answer_here", counted)
        evidence = judge(claim)
    return evidence, count


@pytest.mark.long
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


#: at this limit z3's portfolio stops inside a factorisation
STOPPED_WITHIN = """
from bntheory.judges.algebra import solver
from bntheory.judges.algebra.field import Field

field = Field()
m, u, v, w = field.symbol("m"), field.symbol("u_1", "nonnegative"), field.symbol("v_1"), field.symbol("v_2", "nonnegative")
square = u * u + v * v + w * w
product = u * v * (u**4 + u**3 * v * 2 + u**2 * v**2 * 2 + u * v**3 * 2 + v**4 + u**2 * w**2 * 2 + u * v * w**2 * 2 + v**2 * w**2 * 2 + w**4)
defined = [("ne", x.num) for x in (square, v, u)]
formulas = [("and", (*defined, ("gt", product.num))), ("ge", u.num), ("ge", w.num), ("ge", (m - 3).num)]
print(*{solver.ask(field, formulas, milliseconds).answer for milliseconds in (250, 251, 252) * 7})
"""


@pytest.mark.long
def test_a_question_that_is_given_up_does_not_end_the_process():
    run = subprocess.run([sys.executable, "-c", STOPPED_WITHIN], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.strip()) == (0, "unknown"), run.stderr


def quadratic(field):
    x = field.symbol("x")
    return {"sat": [("eq", (x * x - 2).num)], "unsat": [("gt", (-x * x).num)]}


def test_a_copy_gives_the_answer_and_leaves_the_solver_as_it_is():
    field = Field()
    for answer, formulas in quadratic(field).items():
        context, expressions = solver._alone(field, formulas)
        asked = solver._solver("nlsat", 300, context)
        asked.add(*expressions)
        before = asked.statistics()
        assert solver._answer_of_a_copy(asked) == answer
        assert len(asked.statistics()) == len(before)


def test_the_answer_is_the_same_where_a_process_cannot_be_copied(monkeypatch):
    field = Field()
    questions = quadratic(field)
    monkeypatch.setattr(solver, "FORKS", False)
    assert {answer: solver.ask(field, formulas, 300).answer for answer, formulas in questions.items()} == {
        "sat": "sat",
        "unsat": "unsat",
    }


def test_a_copy_that_ends_without_an_answer_leaves_the_question_open(monkeypatch):
    field = Field()
    monkeypatch.setattr(solver, "_answer_here", lambda asked: 1 / 0)
    context, _ = solver._alone(field, [])
    assert solver._answer_of_a_copy(solver._solver("nlsat", 300, context)) == "unknown"
