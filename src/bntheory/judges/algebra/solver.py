"""Asking z3, with a limit on every question; "unknown" is an answer.

Limits are given in milliseconds of an idle core but set as z3's count of its own steps, so that the same question gets the same
answer on a busy machine; the clock is only a backstop.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from bntheory.judges.algebra.encode import Formula, Problem, formula_symbols, to_z3, z3_symbol
from bntheory.judges.algebra.field import Field

__all__ = [
    "Answer",
    "Reply",
    "ask",
    "batch_size_at_least",
    "batch_size_of",
    "not_between",
    "rational_model",
    "smt_lib",
]

Answer = Literal["sat", "unsat", "unknown"]


@dataclass(frozen=True)
class Reply:
    """What the solver said of one set of formulas, and in how many seconds."""

    answer: Answer
    model: Any
    seconds: float
    formulas: tuple[Formula, ...]


def batch_size_at_least(problem: Problem, m: int) -> Formula:
    """m >= m0 for a symbolic batch size."""
    field = problem.frame.field
    return ("ge", (problem.frame.m - m).num if problem.frame.m_value is None else field.context.constant(0))


def not_between(problem: Problem, below: int) -> Formula:
    """m <= below or m >= below + 1."""
    m = problem.frame.m
    return ("or", (("ge", (below - m).num), ("ge", (m - (below + 1)).num)))


def batch_size_of(problem: Problem, reply: Reply) -> Fraction:
    """The batch size of a model, which may lie between two whole numbers."""
    return _rational(reply.model.eval(z3_symbol(problem.frame.field, 0), model_completion=True))


def _expressions(field: Field, formulas: Sequence[Formula]) -> list[Any]:
    return [to_z3(field, f) for f in formulas]


def _solvers(milliseconds: int, quick: bool) -> list[tuple[Any, int]]:
    import z3

    first = max(50, milliseconds // 6 if quick else milliseconds // 2)
    nlsat = (z3.Tactic("qfnra-nlsat").solver(), first)
    return [nlsat] if quick else [nlsat, (z3.SolverFor("QF_NRA"), milliseconds - first)]


def _limit(solver: Any, milliseconds: int) -> None:
    solver.set("rlimit", milliseconds * _STEPS_PER_MILLISECOND)
    solver.set("timeout", milliseconds * _BACKSTOP)
    solver.set("ctrl_c", False)  # z3 would take Ctrl-C for a time-out and go on


def ask(field: Field, formulas: Sequence[Formula], milliseconds: int, *, quick: bool = False) -> Reply:
    """Whether the formulas have a common real solution: nlsat first, then z3's portfolio for non-linear arithmetic.

    quick: nlsat alone with a sixth of the time, before other ways are tried.
    """
    import z3

    start = time.perf_counter()
    expressions = _expressions(field, formulas)
    for solver, limit in _solvers(milliseconds, quick):
        _limit(solver, limit)
        solver.add(*expressions)
        try:
            answer = solver.check()
        except z3.Z3Exception:
            continue
        if answer == z3.unsat:
            return Reply("unsat", None, time.perf_counter() - start, tuple(formulas))
        if answer == z3.sat:
            return Reply("sat", solver.model(), time.perf_counter() - start, tuple(formulas))
    return Reply("unknown", None, time.perf_counter() - start, tuple(formulas))


def smt_lib(field: Field, formulas: Sequence[Formula]) -> str:
    """The question as an SMT-LIB 2 script: ``unsat`` from any solver confirms the proof. The same question gives the same text."""
    import z3

    context = z3.Context()  # its own: how z3 prints a term depends on all terms that were made before it
    solver = z3.SolverFor("QF_NRA", ctx=context)
    solver.add(*(e.translate(context) for e in _expressions(field, formulas)))
    return "(set-logic QF_NRA)\n" + "\n".join(
        line for line in solver.to_smt2().splitlines() if not line.startswith((";", "(set-"))
    )


_STEPS_PER_MILLISECOND, _BACKSTOP = 1500, 3
_PLAIN = [Fraction(x) for x in (0, 1, -1, 2, -2, 3, -3)] + [Fraction(x, 2) for x in (1, -1, 3, -3)]
_TELLING = [Fraction(x) for x in (1, 2, -1, -2)] + [Fraction(1, 2), Fraction(-1, 2), Fraction(3), Fraction(0)]


def rational_model(
    problem: Problem, reply: Reply, milliseconds: int, seconds: float, *, vectors_first: bool = False
) -> tuple[dict[int, Fraction], bool]:
    """A solution in short rationals: symbol by symbol, the simplest value that leaves the formulas satisfiable.

    Roots of rationals are left to follow from the rest. Where some symbol is irrational in every solution near the model, or time
    runs out, it and what follows are close to the model only, and the second value is False. vectors_first: fix scalars such as eps
    last, which then follow where an equality is linear in them.
    """
    import z3

    field = problem.frame.field
    deadline = time.perf_counter() + seconds
    formulas = list(reply.formulas)
    expressions = _expressions(field, formulas)
    used = sorted(
        {i for f in formulas for i in formula_symbols(f)} - set(field.roots),
        key=lambda i: (vectors_first and i not in field.components, i),
    )
    values: dict[int, Fraction] = {}
    model, exactly = reply.model, True
    fixed: list[Any] = []
    for i in used:
        current = model.eval(z3_symbol(field, i), model_completion=True)
        for candidate in _candidates(current, telling=i not in field.components) if exactly else ():
            if time.perf_counter() > deadline:
                exactly = False
                break
            equation = z3_symbol(field, i) == z3.Q(candidate.numerator, candidate.denominator)
            if z3.is_true(z3.simplify(current == z3.Q(candidate.numerator, candidate.denominator))):
                break  # the model already says so
            solver = z3.Tactic("qfnra-nlsat").solver()
            _limit(solver, milliseconds)
            solver.add(*expressions, *fixed, equation)
            if solver.check() == z3.sat:
                model = solver.model()
                break
        else:
            exactly = False
        if exactly:
            fixed.append(equation)
            values[i] = candidate
        else:
            values[i] = _rational(current).limit_denominator(1000)
    return values, exactly


def _rational(value: Any) -> Fraction:
    """A number of a model, or a rational near it."""
    import z3

    if not z3.is_rational_value(value):
        value = value.approx(20)
    return Fraction(value.numerator_as_long(), value.denominator_as_long())


def _candidates(value: Any, *, telling: bool) -> list[Fraction]:
    """Simple numbers first, then ever closer approximations of the model's own value.

    telling: a scalar such as gamma, where a counterexample with 0 tells little; a component of a vector is best 0.
    """
    own = _rational(value)
    near = [own.limit_denominator(d) for d in (1, 2, 4, 8, 64, 1024)]
    return list(dict.fromkeys([*(_TELLING if telling else _PLAIN), *near, own]))
