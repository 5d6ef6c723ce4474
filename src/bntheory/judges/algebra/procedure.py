"""The decision procedure: for every batch size at once, then the small batch sizes one by one.

1. Symbolic m, as many directions as the vectors of the claim can span. A small batch is the special case of vanishing
   components, so *unsat* here proves the claim for every m at once.
2. Otherwise m = min_m, min_m + 1, ...: each exact, with exactly m directions. The first satisfiable one is the smallest
   counterexample in m, and is lifted to vectors and certified. A conjunction that is open after step 1 is decided part by part: it is
   false where a part is.
3. If every m below the number n of directions is unsat, the symbolic question with m >= n settles the rest.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.encode import Formula, Problem, both, evaluate, evaluate_at, relevant, where
from bntheory.judges.algebra.frame import needs_entries
from bntheory.judges.algebra.guards import Guard, guards_of
from bntheory.judges.algebra.large_batches import LARGEST_CURVED, largest_batch, multiples_of_identity
from bntheory.judges.algebra.lift import lift
from bntheory.judges.algebra.questions import Questions
from bntheory.judges.algebra.solver import Reply, batch_size_of, rational_model, smt_lib
from bntheory.judges.exact.witness import Instance
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import Relation, as_statement
from bntheory.layer.three_valued import conjuncts

MOST_PARTS = 6  # of a conjunction, to be decided one by one
_PATIENCE = 3
_IRRATIONAL = "its coordinates could not be made rational"

Proof = Literal["", "any", "short"]
Outcome = Literal["proved", "counterexample", "candidate", "vacuous", "unknown"]


@dataclass(frozen=True)
class Decision:
    """What the coordinates route found.

    outcome: ``"candidate"`` is a solution of the negation that could not be lifted to a certified layer; it refutes nothing.
    instance: the certified layer of a counterexample. smt: the questions whose *unsat* is the proof, as SMT-LIB scripts.
    wherever: what must not vanish or not be negative for the claim to say anything; where all of it holds, the claim is true.
    assumptions_needed: whether the proof fails without the assumptions (None: there are none, or not known).
    directions: how many basis vectors the claim needs. questions: (what was asked, answer, seconds). partial: whether what is vacuous
    may be so for want of a value.
    """

    outcome: Outcome
    why: str
    instance: Instance | None = None
    certificate: Any = None
    smt: tuple[str, ...] = ()
    wherever: tuple[Guard, ...] = ()
    assumptions_needed: bool | None = None
    directions: int = 0
    questions: tuple[tuple[str, str, float], ...] = ()
    partial: bool = False


def decide_by_coordinates(
    check: Callable[[Any], Any],
    assume: Callable[[Any], Any] | None,
    domain: LayerDomain,
    certify: Callable[[Instance], tuple[Instance, Any]],
    second_opinion: Callable[[int | None], list[str]] = lambda part: [],
    by_bounds: Callable[[int | None, Proof], list[str]] = lambda part, proof: [],
    *,
    proof: Proof = "",
    milliseconds: int = 1500,
    seconds: float = 30.0,
) -> Decision:
    """Decide a claim.

    certify: is given each lifted layer and returns it, or one near it, with a certificate that has a boolean ``refuted``. second_opinion: is asked for
    a proof (SMT-LIB scripts, or none) of the claim, or of the part with a number, where the symbolic question is too hard for the solver; by_bounds
    where it stays so. proof: no counterexample is looked for, and none of what a proof needs beside its scripts; "short": nor a proof that takes long.
    """
    means = certify, second_opinion, by_bounds, milliseconds, time.perf_counter() + seconds
    run = _Run(check, assume, domain, *means, part=0 if proof else None)
    run.proof = proof
    return replace(run.decide(), questions=tuple(run.questions), directions=run.directions)


#: In place of a part of the claim: what is false everywhere, so that a proof of it is one that nothing meets the hypotheses.
NOTHING = -1


def part_of(check: Callable[[Any], Any], part: int) -> Callable[[Any], Any]:
    """The claim that one part of a conjunction is."""
    return lambda layer: conjuncts(as_statement(check(layer)), MOST_PARTS)[part]


class _Run(Questions):
    def __init__(
        self,
        check: Callable[[Any], Any],
        assume: Callable[[Any], Any] | None,
        domain: LayerDomain,
        certify: Callable[[Instance], tuple[Instance, Any]],
        second_opinion: Callable[[int | None], list[str]],
        by_bounds: Callable[[int | None, Proof], list[str]],
        milliseconds: int,
        deadline: float,
        part: int | None = None,
    ) -> None:
        self.check, self.assume, self.certify = check, assume, certify
        self.second_opinion, self.by_bounds, self.part = second_opinion, by_bounds, part
        self.means = certify, second_opinion, by_bounds, milliseconds, deadline
        self.proof: Proof = ""
        self.asserted, self.domain = domain, relevant(check, assume, domain)
        self.deadline = deadline
        super().__init__(evaluate(check, assume, self.domain), milliseconds)
        self.directions = len(self.generic.frame.norms)

    def _exhausted(self) -> bool:
        """Whether the solver gave up too often over single batch sizes, or (the backstop) the time is over."""
        unknown = sum(answer == "unknown" for _, answer, _ in self.questions[self.before :])
        return unknown > _PATIENCE or time.perf_counter() > self.deadline

    def decide(self) -> Decision:
        least = self.domain.min_m
        what = f"negation, any m >= {least}"
        crowded = bool(self.generic.frame.operators)
        # products have many coordinates: a short proof is looked for first
        if crowded and (scripts := self._opinion()):
            return self._proved(scripts)
        reply = self._generic_question(least, what, quick=True)
        if reply.answer == "unknown":
            if not crowded and (scripts := self._opinion()):
                return self._proved(scripts)
            if self.proof == "short":
                reply = self._squared_question(least, quick=True)
                if reply.answer != "unsat" and self.assume is None:
                    reply = self._unsigned_question(least) or self._generic_question(least, what)
                found = [smt_lib(self.generic.frame.field, reply.formulas)] if reply.answer == "unsat" else []
                return self._proved(found) if found else Decision("unknown", "")
            if scripts := self._scripts("negation, bound by bound", self.by_bounds, "short"):
                return self._proved(scripts)
            decision = self._part_by_part()
            if decision is not None:
                return decision
            reply = self._squared_question(least)
            if reply.answer != "unsat":
                reply = self._generic_question(least, what)
        if reply.answer == "unknown":
            reply = self._unsigned_question(least) or reply
        if reply.answer == "unsat":
            return self._proved([smt_lib(self.generic.frame.field, reply.formulas)])
        at_length = "negation, bound by bound, at length", self.by_bounds, "any"
        if reply.answer == "unknown" and (scripts := self._scripts(*at_length)):
            return self._proved(scripts)
        return Decision("unknown", "") if self.proof else self._batch_by_batch(reply.answer)

    def _part_by_part(self) -> Decision | None:
        """The decision of a conjunction from those of its parts; None where one of them stays open, or there is but one."""
        parts = len(conjuncts(self.generic.stated, MOST_PARTS))
        if parts == 1 or self.part is not None:
            return None
        scripts: list[str] = []
        for part in range(parts):
            run = _Run(part_of(self.check, part), self.assume, self.asserted, *self.means, part)
            decision = run.decide()
            self.questions += [(f"part {part + 1}: {asked}", a, s) for asked, a, s in run.questions]
            if decision.outcome == "counterexample":
                return decision
            if decision.outcome != "proved":
                return None
            scripts += decision.smt
        return self._proved(scripts)

    def _scripts(self, what: str, ask: Callable[..., list[str]], *how: str) -> list[str]:
        start = time.perf_counter()
        scripts = ask(self.part, *how)
        self.questions.append((what, "unsat" if scripts else "unknown", time.perf_counter() - start))
        return scripts

    def _opinion(self) -> list[str]:
        return self._scripts("negation over inner products", self.second_opinion)

    def _batch_by_batch(self, generic_answer: str) -> Decision:
        late = self.domain.min_m > LARGEST_CURVED
        decision = (self._among_multiples() if late else None) or self._from_the_least_batch(generic_answer)
        if late or decision.outcome in ("proved", "counterexample"):
            return decision
        return self._among_multiples() or decision

    def _among_multiples(self) -> Decision | None:
        """A counterexample with a batch that is too large for any Hessian, or for a question about entries."""
        few = multiples_of_identity(self.assume, self.domain)
        if few is None:
            return None
        run = _Run(self.check, few[0], replace(self.domain, **few[1]), *self.means, self.part)
        run.asserted = replace(self.asserted, **few[1])
        decision = run._from_the_least_batch("sat")
        self.questions += [(f"multiples of the identity: {asked}", a, s) for asked, a, s in run.questions]
        return decision if decision.outcome == "counterexample" else None

    def _from_the_least_batch(self, generic_answer: str) -> Decision:
        least, n, self.before = self.domain.min_m, self.directions, len(self.questions)
        scripts: list[str] = []
        reasons: list[str] = []
        settled, found = True, False  # all smaller batches are unsat; some batch was satisfiable
        ask_again = max(least, n)
        m = least
        largest = largest_batch(self.generic.frame)
        while m <= largest:
            if self._exhausted():
                reasons.append("the limit was reached")
                break
            jump = m
            if m >= ask_again:
                ask_again = m + max(1, (m - n) // 2)
                reply = self._generic_question(m, f"negation, any m >= {m}")
                if reply.answer == "unsat" and settled:
                    return self._proved([*scripts, smt_lib(self.generic.frame.field, reply.formulas)])
                if reply.answer == "unsat":
                    break
                if reply.answer == "unknown" and m >= n + 3:
                    reasons.append(f"m >= {m}: the solver could not decide")
                    break
                if reply.answer == "sat" and m >= n + 8:
                    jump = self._least_batch(m, max(m, math.ceil(batch_size_of(self.generic, reply))))
            if jump > largest:
                reasons.append(f"a counterexample needs a batch of about {jump}, too large to write down")
                break
            settled, m = settled and jump == m, jump
            for problem in evaluate_at(self.check, self.assume, self.domain, m, n):
                if time.perf_counter() > self.deadline:
                    settled = False
                    reasons.append("the limit was reached")
                    break
                reply = self._ask(f"negation, m = {m}", problem, problem.closed(problem.negation(), all_symbols=True))
                if reply.answer == "unsat":
                    scripts.append(smt_lib(problem.frame.field, reply.formulas))
                elif reply.answer == "unknown":
                    settled = False
                    reasons.append(f"m = {m}: the solver could not decide")
                else:
                    settled, found = False, True
                    lifted = self._lift(problem, reply)
                    if lifted == _IRRATIONAL:
                        lifted = self._lift_otherwise(m)
                    if isinstance(lifted, Decision):
                        return lifted
                    reasons.append(f"m = {m}: {lifted}")
            if found and m >= n + 4:
                break
            m += 1
        why = "; ".join(dict.fromkeys(reasons)) or "the solver could not decide"
        if found:
            return Decision("candidate", f"the negation has a solution, but it is not certified: {why}")
        return Decision("unknown", why)

    def _lift(self, problem: Problem, reply: Any, *, vectors_first: bool = False) -> Decision | str:
        budget = min(15.0, max(1.0, self.deadline - time.perf_counter()))
        values, exactly = rational_model(problem, reply, 300, budget, vectors_first=vectors_first)
        try:
            instance = lift(problem.frame, values, self.asserted)
        except OutsideVocabulary as error:
            return str(error)
        instance, certificate = self.certify(instance)
        if not certificate.refuted:
            if not exactly:
                return _IRRATIONAL
            return f"the lifted layer was not certified ({certificate.why})"
        return Decision("counterexample", "a lifted layer violates the claim", instance, certificate)

    def _lift_otherwise(self, m: int) -> Decision | str:
        """Where y_hat and sigma cannot both be rational, y and eps perhaps can; or there is a layer in the plane of 1 and y."""
        domain = self.domain
        lifted: Decision | str = _IRRATIONAL
        if needs_entries(domain):
            return lifted
        free_eps = domain.eps != "zero" and domain.normaliser in ("batch", "unbiased")
        for what, room in [("y rational", self.directions)] * free_eps + [("in the plane", 2)]:
            (problem,) = evaluate_at(self.check, self.assume, domain, m, room, rational_batch=what == "y rational")
            formulas = problem.closed(problem.negation(), all_symbols=True)
            reply = self._ask(f"negation, m = {m}, {what}", problem, formulas)
            for vectors_first in (False, True):
                if lifted == _IRRATIONAL and reply.answer == "sat":
                    lifted = self._lift(problem, reply, vectors_first=vectors_first)
            if lifted != _IRRATIONAL:
                break
        return lifted

    def _proved(self, scripts: list[str]) -> Decision:
        if self.part is not None:  # the rest is asked of the whole
            return Decision("proved", "", smt=tuple(scripts))
        vacuous = self._vacuity()
        if vacuous is not None:
            return vacuous
        return Decision(
            "proved",
            "the negation has no solution",
            smt=tuple(scripts),
            wherever=self._wherever(),
            assumptions_needed=self._assumptions_needed(),
        )

    def _wherever(self) -> tuple[Guard, ...]:
        """The divisors and radicands for whose sake the claim may be undefined at a layer that meets its hypotheses."""
        problem, field = self.generic, self.generic.frame.field
        if not problem.partial:
            return ()
        undefined = [problem.hypotheses(), problem.undefined()]

        def may_happen(what: str, formulas: list[Formula]) -> bool:
            asked = self._ask_whole(what, problem.closed(formulas), self.domain.min_m, quick=True)
            return bool(asked.answer != "unsat")

        if not may_happen("undefined somewhere", undefined):
            return ()
        kept = []
        for guard in guards_of(self.check, problem.frame, self.asserted):
            if guard.value is None:
                kept.append(guard)
                continue
            op: Literal["eq", "le"] = "eq" if guard.kind == "nonzero" else "le"
            missed = Relation(op, field.zero, field.zero + guard.value)
            truth: Literal["true", "false"] = "true" if guard.kind == "nonzero" else "false"
            if may_happen(f"undefined, and not {guard.text}", [where(field, missed, truth), *undefined]):
                kept.append(guard)
        return tuple(kept)

    def _assumptions_needed(self) -> bool | None:
        """Whether the proof fails without the assumptions; None: there are none, or it is not known."""
        problem = self.generic
        if self.assume is None:
            return None
        formulas = problem.closed(problem.negation(assumed=False))
        reply = self._ask_whole("negation without the assumptions", formulas, self.domain.min_m, quick=True)
        return {"sat": True, "unsat": False}.get(reply.answer)

    def _contradiction(self) -> Decision | None:
        """Whether the hypotheses contradict each other in every inner-product space already."""
        scripts = [] if self.assume is None else self.second_opinion(NOTHING)
        why = "no layer of the domain meets the assumptions"
        return Decision("vacuous", why, smt=tuple(scripts)) if scripts else None

    def _vacuity(self) -> Decision | None:
        """Whether anything meets the hypotheses and gives the claim a value; a claim about nothing proves nothing."""

        def needed(problem: Problem) -> list[Formula]:
            return [problem.hypotheses(), *([problem.true(problem.claim)] if problem.partial else [])]

        problem, least = self.generic, self.domain.min_m
        if needed(problem) == [both([])]:
            return None
        hypotheses = problem.closed(needed(problem))
        scripts: list[str] = []
        reply = self._ask_whole("hypotheses, any m", hypotheses, least)
        m = least
        while reply.answer != "unsat":
            late = time.perf_counter() > self.deadline
            if late or reply.answer == "unknown" or m > least + self.directions + 2:
                return self._contradiction()
            for small in evaluate_at(self.check, self.assume, self.domain, m, self.directions):
                at_m = self._ask(f"hypotheses, m = {m}", small, small.closed(needed(small)))
                if at_m.answer != "unsat":
                    return None if at_m.answer == "sat" else self._contradiction()
                scripts.append(smt_lib(small.frame.field, at_m.formulas))
            m += 1
            rest = max(m, self.directions)
            reply = self._ask_whole(f"hypotheses, any m >= {rest}", hypotheses, rest)
            if reply.answer == "unsat" and m < self.directions:
                reply = Reply("sat", None, 0.0, ())  # small batches remain to be asked
        scripts.append(smt_lib(problem.frame.field, reply.formulas))
        value = "gives the claim a value (a division by zero, or the root of a negative number)"
        said = ["meets the assumptions"] * (self.assume is not None) + [value] * problem.partial
        why = f"no layer of the domain {' and '.join(said)}"
        return Decision("vacuous", why, smt=tuple(scripts), partial=problem.partial)
