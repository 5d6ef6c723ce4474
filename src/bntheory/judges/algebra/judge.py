"""The algebra judge: a claim in, evidence out."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bntheory.claims.claim import Claim
from bntheory.errors import OutsideVocabulary, RoutesDisagree
from bntheory.judges.exact.witness import Instance, Reference, Witness
from bntheory.judges.verdict import Evidence
from bntheory.layer.constants import of_any_length
from bntheory.layer.relations import AllOf, lt
from bntheory.layer.three_valued import conjuncts

if TYPE_CHECKING:
    from bntheory.judges.algebra.calculus import Calculus
    from bntheory.judges.algebra.guards import Guard
    from bntheory.judges.algebra.procedure import Decision, Proof
    from bntheory.judges.exact.certificate import Certificate

_MOST_TERMS, _HIGHEST_DEGREE = 2000, 24
_MOST_HYPOTHESES = 8


@of_any_length()
def judge(
    claim: Claim, *, milliseconds: int = 1500, seconds: float = 30.0, reference: Reference | None = None
) -> Evidence:
    """Decide a layer claim for every layer of its domain and every batch size.

    milliseconds: the limit for one question to the solver, in time of an idle core but counted in the solver's own steps,
    so that a busy machine changes nothing; seconds: a backstop for the claim. reference: how the witness of a
    refutation names its claim (default: by id).
    A claim is refuted where it is false, whatever else is undefined there, and proved if it is false nowhere.

    The evidence's details: ``calculus``, every relation in normal form; ``questions``, what the solver was asked;
    ``wherever``, what must not vanish or not be negative for the claim to say anything; ``proof`` with the SMT-LIB scripts whose *unsat* is the proof, or ``witness``, a counterexample that replays.
    Raises RoutesDisagree where the two routes contradict each other, and passes on what the claim itself raises.
    """
    start = time.perf_counter()
    if claim.kind != "layer" or claim.domain is None:
        return Evidence("algebra", "not-applicable", f"a claim of kind {claim.kind} is not about one layer")
    details: dict[str, Any] = {}

    def evidence(finding: Any, summary: str) -> Evidence:
        return Evidence("algebra", finding, summary, details, time.perf_counter() - start)

    calculus = _calculus(claim, details)
    decision = _decide_defined(claim, milliseconds, seconds / 2)
    if decision is None:
        decision = _decide(claim, calculus, milliseconds, start + seconds - time.perf_counter())
    details["questions"] = [{"asked": q, "answer": a, "seconds": round(s, 4)} for q, a, s in decision.questions]
    details["directions"] = decision.directions
    by_eye = calculus is not None and calculus.proved
    if by_eye and decision.outcome in ("counterexample", "candidate"):
        raise RoutesDisagree(
            f"claim {claim.id}: the inner-product calculus proves it, the coordinates refute it. Please report it"
        )
    if decision.outcome == "vacuous":
        details |= {"proof": _proof(claim, decision, milliseconds), "partial": decision.partial}
        return evidence("vacuous", decision.why)
    if decision.outcome == "counterexample" and decision.instance is not None:
        witness = Witness(
            reference or Reference("registry", claim.id),
            claim.domain,
            decision.instance,
            decision.certificate.as_json(),
        )
        details["witness"] = witness.as_json()
        return evidence("refuted", f"m = {decision.instance.m}: {decision.instance.describe()}")
    if decision.outcome != "proved" and not by_eye:
        return evidence("unknown", decision.why)
    how, wherever = decision.why, decision.wherever
    if decision.outcome == "proved":
        details["proof"] = _proof(claim, decision, milliseconds)
        if by_eye and calculus is not None and all(form.how == "identity" for form in calculus.forms):
            how = "both sides have one normal form"
    else:
        how, wherever = "read off the normal form", tuple(_divisors(claim))
    where = ""
    if wherever:
        where = f" wherever {' and '.join(guard.text for guard in wherever)}"
        details["wherever"] = [{"text": g.text, "latex": g.latex} for g in wherever]
    return evidence("proved", f"for every m >= {claim.domain.min_m}{where}: {how}")


def _of_any_curvature(claim: Claim) -> Claim | None:
    """The claim for losses that need not be convex, where it compares two batches of a smooth one: what convexity adds is much for the solver
    to go through, and often not needed."""
    from bntheory.claims.typed.transcript import text_of, transcribe
    from bntheory.claims.typed.trees import conjuncts_of
    from bntheory.layer.second_batch import one_loss

    domain, assume = claim.domain, claim.assume
    assert domain is not None
    if assume is None or not ("grad@2" in domain.vectors and domain.smoothness and domain.hessian == "psd"):
        return None
    ties, said = (
        [text_of(part) for part in conjuncts_of(transcribe(statement, domain))]
        for statement in (lambda layer: AllOf(tuple(one_loss(layer, domain))), assume)
    )
    if said[-len(ties) :] != ties:
        return None
    wide = replace(domain, hessian="any")

    def tied_otherwise(layer: Any) -> AllOf:
        return AllOf((*assume(layer).parts[: -len(ties)], *one_loss(layer, wide)))

    return replace(claim, domain=wide, assume=tied_otherwise)


def _decide_defined(claim: Claim, milliseconds: int, seconds: float) -> Decision | None:
    """The decision of the claim in which free quantities are what its hypotheses say they are; None where there are none, or it stays open."""
    from bntheory.judges.algebra.definitions import definitions_of

    definitions = definitions_of(claim)
    if definitions is None:
        return None

    def certified(instance: Instance) -> tuple[Instance, Certificate]:
        tried = (_certified(claim, x) for x in (*definitions.completed(instance), instance))
        return next((found for found in tried if found[1].refuted), _certified(claim, instance))

    shorter = definitions.put_into(claim)
    with suppress(OutsideVocabulary):
        decision = _decide(shorter, _calculus(shorter, {}), milliseconds, seconds, certified)
        if decision.outcome in ("proved", "vacuous", "counterexample"):
            return replace(decision, assumptions_needed=None)  # the definitions are used, the rest is not known
    return None


def _decide(
    claim: Claim,
    calculus: Calculus | None,
    milliseconds: int,
    seconds: float,
    certified: Callable[[Instance], tuple[Instance, Certificate]] | None = None,
    deeper: int = 2,
    proof: Proof = "",
) -> Decision:
    """What the coordinates say, with the inner products asked where they are too hard for the solver.

    deeper: how many bounds between two others a proof may have. proof: nothing but a proof is looked for, or one that is found at once.
    """
    from bntheory.judges.algebra.procedure import MOST_PARTS, NOTHING, Decision, decide_by_coordinates, part_of
    from bntheory.judges.algebra.second_batch import of_the_first

    assert claim.domain is not None
    deadline = time.perf_counter() + seconds

    def second_opinion(part: int | None = None) -> list[str]:
        if part == NOTHING:
            return _in_any_space(replace(claim, check=lambda layer: lt(0, 0)), milliseconds)
        stated = claim if part is None else replace(claim, check=part_of(claim.check, part))
        wider = _of_any_curvature(stated)
        scripts = all_proved([wider], "short") if wider else []
        scripts = scripts or all_proved(of_the_first(stated), proof or "any") or _in_any_space(stated, milliseconds)
        if scripts or calculus is None:
            return scripts
        forms = calculus.claim if part is None else conjuncts(calculus.claim, MOST_PARTS)[part]
        return _over_inner_products(replace(calculus, claim=forms), milliseconds, deadline)

    def all_proved(claims: list[Claim], proof: Proof) -> list[str]:
        """Proofs of all of them; none where one stays open."""
        scripts: list[str] = []
        for one in claims:
            remaining = deadline - time.perf_counter()
            if remaining <= 0:
                return []
            forms = _calculus(one, {}) if proof == "any" else None
            limit = milliseconds if proof == "any" or one.assume is None else milliseconds // 2
            decision = _decide(one, forms, limit, remaining, None, max(0, deeper - 1), proof)
            if decision.outcome != "proved":
                return []
            scripts += decision.smt
        return scripts

    def by_bounds(part: int | None, length: Proof) -> list[str]:
        from bntheory.judges.algebra.bounds import sufficient

        stated = claim if part is None else replace(claim, check=part_of(claim.check, part))
        ways = sufficient(stated) if deeper else ()
        return next((found for bounds in ways if (found := all_proved(bounds, length))), [])

    try:
        return decide_by_coordinates(
            claim.check,
            claim.assume,
            claim.domain,
            certified or (lambda instance: _certified(claim, instance)),
            second_opinion,
            by_bounds,
            proof=proof,
            milliseconds=milliseconds,
            seconds=seconds,
        )
    except OutsideVocabulary as error:  # a limit of this route; the other may do without
        scripts = second_opinion()
        return Decision(
            "proved" if scripts else "unknown",
            f"outside real arithmetic: {error}",
            smt=tuple(scripts),
            wherever=tuple(_divisors(claim)) if scripts else (),
        )


def _certified(claim: Claim, instance: Instance) -> tuple[Instance, Certificate]:
    """The layer, or one near it that meets the claim's equalities exactly, and what exact evaluation says there."""
    from bntheory.judges.exact.certificate import certify  # with numpy, which a proof can do without
    from bntheory.judges.exact.repair import repair

    assert claim.domain is not None
    certificate = certify(claim, instance)
    repaired = None if certificate.refuted else repair(claim, claim.domain, instance)
    return (instance, certificate) if repaired is None else (repaired, certify(claim, repaired))


def _divisors(claim: Claim) -> list[Guard]:
    """Every divisor and radicand of the claim, where it is not known which of them matter."""
    from bntheory.judges.algebra.guards import guards_of
    from bntheory.layer.symbolic import SymbolicLayer

    assert claim.domain is not None
    layer = None if claim.domain.normaliser in ("l1", "linf") else SymbolicLayer(claim.domain)  # which it has not
    found = guards_of(claim.check, layer, claim.domain)
    signs = {"nonzero": "is_nonzero", "nonnegative": "is_nonnegative"}
    return [g for g in found if g.value is None or not getattr(g.value.value, signs[g.kind])]


def _calculus(claim: Claim, details: dict[str, Any]) -> Calculus | None:
    """The normal forms, compared with the coordinates where these go so far; None where inner products do not suffice."""
    from bntheory.judges.algebra.agreement import compare_routes
    from bntheory.judges.algebra.calculus import calculate
    from bntheory.judges.algebra.encode import evaluate

    assert claim.domain is not None
    terms, degree, compared = 0, 0, False
    try:
        with suppress(OutsideVocabulary):
            terms, degree = evaluate(claim.check, claim.assume, claim.domain).size
        if terms > _MOST_TERMS or degree > _HIGHEST_DEGREE:
            raise OutsideVocabulary(f"a side with {terms} terms of degree {degree} is too long for a normal form")
        calculus = calculate(claim.check, claim.assume, claim.domain)
        with suppress(OutsideVocabulary):
            compared = compare_routes(claim.check, claim.domain, calculus)
    except OutsideVocabulary as error:
        details["calculus"] = {"unavailable": str(error)}
        return None
    details["calculus"] = {
        "relations": [form.as_json() for form in calculus.forms],
        "compared_with_coordinates": compared,
        "seconds": round(calculus.seconds, 4),
    }
    return calculus


def _in_any_space(claim: Claim, milliseconds: int) -> list[str]:
    """A proof that asks nothing of the layer, and of a second batch little or nothing."""
    from bntheory.judges.algebra.inner_products import negation_over_inner_products
    from bntheory.judges.algebra.second_batch import abstracted
    from bntheory.judges.algebra.solver import ask, smt_lib

    for stated in (abstracted(claim), claim):
        with suppress(OutsideVocabulary):
            if stated is None:
                continue
            assert stated.domain is not None
            field, formulas = negation_over_inner_products(stated.check, stated.assume, stated.domain)
            if ask(field, formulas, milliseconds).answer == "unsat":
                return [smt_lib(field, formulas)]
    return []


def _over_inner_products(calculus: Calculus, milliseconds: int, deadline: float) -> list[str]:
    """A proof over the inner products, or none; with one hypothesis left out where all of them are too many for the solver, until the
    deadline."""
    from bntheory.judges.algebra.gram import gram_problem
    from bntheory.judges.algebra.solver import ask, smt_lib

    hypotheses = conjuncts(calculus.assumptions, _MOST_HYPOTHESES)
    fewer = range(len(hypotheses)) if len(hypotheses) >= 2 else ()
    weaker = [replace(calculus, assumptions=AllOf(tuple(h for j, h in enumerate(hypotheses) if j != i))) for i in fewer]
    for attempt in (calculus, *weaker):
        if attempt is not calculus and time.perf_counter() > deadline:
            break
        try:
            problem = gram_problem(attempt)
            for size in (2, 3) if attempt is calculus else (2,):
                formulas = problem.formulas(size)
                if ask(problem.field, formulas, milliseconds, quick=True).answer == "unsat":
                    return [smt_lib(problem.field, formulas)]
        except OutsideVocabulary:
            continue
    return []


def _proof(claim: Claim, decision: Decision, milliseconds: int) -> dict[str, Any]:
    import z3

    assert claim.domain is not None
    return {
        "domain": claim.domain.describe(),
        "assumptions": claim.assume is not None,
        "smt_lib": list(decision.smt),
        "solver": f"z3 {z3.get_version_string()}",
        "milliseconds": milliseconds,
        "assumptions_needed": decision.assumptions_needed,
    }
