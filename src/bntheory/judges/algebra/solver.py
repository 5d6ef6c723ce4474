"""Asking z3, with a limit on every question; "unknown" is an answer.

Limits are given in milliseconds of an idle core but set as z3's count of its own steps, and every question is asked in a context of
its own: how many steps z3 needs depends on the terms that a context has seen before. So the same question gets the same answer on a
busy machine and after any other question; the clock is only a backstop.

A solver that factors and gives up is never freed: where it stops inside a factorisation, z3 frees what it holds in the wrong order, and
the process ends by a segmentation fault then or later. Nor may it stay: z3's portfolio chooses its ways by the memory in use. So it
answers in a copy of the process, which ends with the answer; here it runs only for a solution that it is known to find.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from bntheory.devices import FORKS
from bntheory.judges.algebra.encode import Formula, Problem, formula_symbols, to_z3, z3_symbol
from bntheory.judges.algebra.field import Field

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
    model = reply.model
    return _rational(model.eval(z3_symbol(problem.frame.field, 0, model.ctx), model_completion=True))


def _alone(field: Field, formulas: Sequence[Formula]) -> tuple[Any, list[Any]]:
    """The formulas as terms of a new context, and the context, in which nothing else was ever made."""
    import z3

    context = z3.Context()
    return context, [to_z3(field, f).translate(context) for f in formulas]


def terms(formula: Formula) -> int:
    """How many terms its polynomials have in all."""
    op, body = formula
    return sum(map(terms, body)) if op in ("and", "or") else len(body)


def degree(formula: Formula) -> int:
    """The highest degree of its polynomials."""
    op, body = formula
    return max(map(degree, body), default=0) if op in ("and", "or") else int(body.total_degree())


def _ways(formulas: Sequence[Formula], milliseconds: int, quick: bool) -> list[tuple[str, int]]:
    """(name, milliseconds) of each solver that is asked in turn."""
    first = max(50, milliseconds // 6 if quick else milliseconds // 2)
    small = sum(map(terms, formulas)) <= _FEW_TERMS and max(map(degree, formulas), default=0) <= _LOW_DEGREE
    # of larger ones one step may take minutes, which no limit stops
    linear = [("linear", milliseconds // 15)] if small else []
    return [*linear, ("nlsat", first), *([] if quick else [("portfolio", milliseconds - first)])]


def _solver(name: str, milliseconds: int, context: Any) -> Any:
    import z3

    tactics = {"linear": "smt", "nlsat": "qfnra-nlsat"}
    solver = z3.Tactic(tactics[name], context).solver() if name in tactics else z3.SolverFor("QF_NRA", context)
    _limit(solver, milliseconds)
    return solver


def _limit(solver: Any, milliseconds: int) -> None:
    solver.set("rlimit", milliseconds * _STEPS_PER_MILLISECOND)
    solver.set("timeout", milliseconds * _BACKSTOP)
    solver.set("ctrl_c", False)  # z3 would take Ctrl-C for a time-out and go on


def ask(field: Field, formulas: Sequence[Formula], milliseconds: int, *, quick: bool = False) -> Reply:
    """Whether the formulas have a common real solution.

    First, for a moment, it is looked for a contradiction between inequalities that are linear in the products that occur in them, or
    nearly so; then nlsat is asked, then z3's portfolio for non-linear arithmetic. A solution is nlsat's or the portfolio's, whose numbers
    are simpler. quick: nlsat has a sixth of the time and the portfolio none, before other ways are tried.
    """
    start = time.perf_counter()
    for name, limit in _ways(formulas, milliseconds, quick):
        context, expressions = _alone(field, formulas)
        solver = _solver(name, limit, context)
        solver.add(*expressions)
        answer = _answer_here(solver) if name == "linear" else _answer(solver)  # the former factors nothing
        if answer == "unsat":
            return Reply("unsat", None, time.perf_counter() - start, tuple(formulas))
        if answer == "sat" and name != "linear":
            return Reply("sat", solver.model(), time.perf_counter() - start, tuple(formulas))
    return Reply("unknown", None, time.perf_counter() - start, tuple(formulas))


def _answer(solver: Any) -> Answer:
    """What the solver answers; after "sat" it has a model."""
    answer = _answer_of_a_copy(solver) if FORKS else None
    if answer in ("unsat", "unknown"):
        return answer
    answer = _answer_here(solver)
    if answer == "unknown":
        solver.solver, solver.ctx.owner = None, False  # what z3 holds for it is left as it is
    return answer


def _answer_here(solver: Any) -> Answer:
    import z3

    try:
        answer: Answer = str(solver.check())  # type: ignore[assignment]
    except z3.Z3Exception:
        return "unknown"
    return answer


def _answer_of_a_copy(solver: Any) -> Answer | None:
    """What the solver answers in a copy of this process, which then ends as it is; None where there cannot be one."""
    with warnings.catch_warnings(), contextlib.suppress(OSError):
        warnings.simplefilter("ignore")  # a fork beside threads is warned of; the copy uses none of those
        copy = os.fork()
        if copy == 0:
            code = 0
            try:
                code = _EXIT_CODES[_answer_here(solver)]
            finally:
                os._exit(code)
        try:
            _, status = os.waitpid(copy, 0)
        except BaseException:
            os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)
            raise
        ended = os.waitstatus_to_exitcode(status)
        return next((answer for answer, code in _EXIT_CODES.items() if code == ended), "unknown")
    return None


def smt_lib(field: Field, formulas: Sequence[Formula]) -> str:
    """The question as an SMT-LIB 2 script: ``unsat`` from any solver confirms the proof. The same question gives the same text."""
    import z3

    context, expressions = _alone(field, formulas)  # how z3 prints a term depends on the others, too
    solver = z3.SolverFor("QF_NRA", ctx=context)
    solver.add(*expressions)
    return "(set-logic QF_NRA)\n" + "\n".join(
        line for line in solver.to_smt2().splitlines() if not line.startswith((";", "(set-"))
    )


_EXIT_CODES: dict[Answer, int] = {"unknown": 0, "sat": 10, "unsat": 20}
_STEPS_PER_MILLISECOND, _BACKSTOP = 1500, 10
_FEW_TERMS, _LOW_DEGREE = 300, 16
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
    context, expressions = _alone(field, formulas)
    used = sorted(
        {i for f in formulas for i in formula_symbols(f)} - set(field.roots),
        key=lambda i: (vectors_first and i not in field.components, i),
    )
    values: dict[int, Fraction] = {}
    model, exactly = reply.model, True
    fixed: list[Any] = []
    for i in used:
        symbol = z3_symbol(field, i, model.ctx)
        current, own = model.eval(symbol, model_completion=True), z3_symbol(field, i, context)
        for candidate in _candidates(current, telling=i not in field.components) if exactly else ():
            if time.perf_counter() > deadline:
                exactly = False
                break
            equation = own == z3.Q(candidate.numerator, candidate.denominator, context)
            if z3.is_true(z3.simplify(current == z3.Q(candidate.numerator, candidate.denominator, model.ctx))):
                break  # the model already says so
            solver = _solver("nlsat", milliseconds, context)
            solver.add(*expressions, *fixed, equation)
            if _answer(solver) == "sat":
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
