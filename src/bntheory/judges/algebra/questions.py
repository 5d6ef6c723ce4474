"""Questions to the solver about a claim at a symbolic batch size, which is a whole number."""

from __future__ import annotations

import math
from typing import Any

from bntheory.judges.algebra.encode import Formula, Problem
from bntheory.judges.algebra.solver import Reply, ask, batch_size_at_least, batch_size_of, not_between, terms
from bntheory.judges.algebra.squares import cauchy_schwarz, without_roots

_CUTS = 8
_MOST_TERMS = 20_000


class Questions:
    """What is asked of one claim, and the answers. ``generic`` is the claim at a symbolic batch size."""

    def __init__(self, generic: Problem, milliseconds: int) -> None:
        self.generic, self.milliseconds = generic, milliseconds
        self.questions: list[tuple[str, str, float]] = []

    def _ask(self, what: str, problem: Problem, formulas: list[Any], *, quick: bool = False) -> Any:
        reply = ask(problem.frame.field, formulas, self.milliseconds, quick=quick)
        self.questions.append((what, reply.answer, reply.seconds))
        return reply

    def _ask_whole(self, what: str, formulas: list[Formula], least: int, *, quick: bool = False) -> Any:
        """A question about a symbolic m >= least, which is a whole number: solutions between two are cut away, one by one."""
        problem = self.generic
        formulas = [*formulas, batch_size_at_least(problem, least)]
        for _ in range(_CUTS):
            reply = self._ask(what, problem, formulas, quick=quick)
            below = math.floor(batch_size_of(problem, reply)) if reply.answer == "sat" else 0
            if reply.answer != "sat" or batch_size_of(problem, reply) == below:
                break
            formulas = [*formulas, not_between(problem, below)]
        return reply

    def _squared_question(self, least: int, *, quick: bool = False) -> Any:
        """The negation without roots, beside Cauchy-Schwarz for the claim's vectors: what both say of it, it says as well."""
        problem, field = self.generic, self.generic.frame.field
        formulas = [without_roots(field, f) for f in problem.negation()]
        formulas = problem.closed([*formulas, *cauchy_schwarz(problem)])
        # beyond it one step of the solver's would take minutes, which no limit stops
        if sum(map(terms, formulas)) > (_MOST_TERMS // 10 if quick else _MOST_TERMS):
            return Reply("unknown", None, 0.0, ())
        return self._ask_whole(f"negation without roots, any m >= {least}", formulas, least, quick=quick)

    def _generic_question(self, least: int, what: str, *, quick: bool = False) -> Any:
        formulas = self.generic.closed(self.generic.negation())
        return self._ask_whole(what, formulas, least, quick=quick)

    def _unsigned_question(self, least: int) -> Any:
        """The negation in which a quantity with even powers alone is not held positive, which changes nothing but the solver's way; None without one."""
        field = self.generic.frame.field
        asked = formulas = self.generic.closed(self.generic.negation())
        for i, symbol in enumerate(field.context.gens()):
            others = [f for f in formulas if f not in (("gt", symbol), ("ge", symbol))]
            if len(others) < len(formulas) and all(_even(f, i) for f in others):
                formulas = [*others, *([("ne", symbol)] if ("gt", symbol) in formulas else [])]
        return (
            None if formulas is asked else self._ask_whole(f"negation, signs aside, any m >= {least}", formulas, least)
        )

    def _least_batch(self, least: int, known: int) -> int:
        """The smallest batch size from ``least`` on with a counterexample, where the solver says so at once; ``known`` is one."""
        formulas = self.generic.closed(self.generic.negation())
        while least < known:
            middle = (least + known) // 2
            at_most = ("ge", (middle - self.generic.frame.m).num)
            reply = self._ask_whole(f"negation, {least} <= m <= {middle}", [*formulas, at_most], least, quick=True)
            if reply.answer == "sat":
                known = max(least, math.ceil(batch_size_of(self.generic, reply)))
            elif reply.answer == "unsat":
                least = middle + 1
            else:
                break
        return known


def _even(formula: Formula, i: int) -> bool:
    """Whether symbol i occurs in even powers alone."""
    op, body = formula
    if op in ("and", "or"):
        return all(_even(part, i) for part in body)
    return all(exponents[i] % 2 == 0 for exponents in body.monoms())
