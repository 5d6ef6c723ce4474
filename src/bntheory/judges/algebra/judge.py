"""The algebra judge: a claim in, evidence out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from bntheory.claims.core import Claim
from bntheory.errors import OutsideVocabulary
from bntheory.judges.verdict import Evidence
from bntheory.judges.witness import Instance, Reference, Witness

__all__ = ["judge"]


def judge(
    claim: Claim,
    *,
    milliseconds: int = 3000,
    seconds: float = 20.0,
    reference: Reference | None = None,
) -> Evidence:
    """Decide a layer claim for every layer of its domain and every batch size.

    milliseconds: the limit for one question to the solver; seconds: for the claim. reference: how the witness of a
    refutation names its claim (default: by id). The evidence's details hold ``proof`` or ``witness``.
    """
    start = time.perf_counter()
    if claim.kind != "layer" or claim.domain is None:
        return Evidence("algebra", "not-applicable", f"a claim of kind {claim.kind} is not about one layer")
    from bntheory.judges.algebra.procedure import decide_by_coordinates
    from bntheory.judges.certificate import certify

    def check_instance(instance: Instance) -> Any:
        return certify(claim, instance)

    def evidence(finding: Any, summary: str, details: Mapping[str, Any]) -> Evidence:
        return Evidence("algebra", finding, summary, details, time.perf_counter() - start)

    try:
        decision = decide_by_coordinates(
            claim.check,
            claim.assume,
            claim.domain,
            check_instance,
            milliseconds=milliseconds,
            seconds=seconds,
        )
    except OutsideVocabulary as error:
        return evidence("unknown", f"outside real arithmetic: {error}", {})
    questions = [{"asked": q, "answer": a, "seconds": round(s, 4)} for q, a, s in decision.questions]
    details: dict[str, Any] = {"questions": questions, "directions": decision.directions}
    if decision.outcome == "proved":
        details["proof"] = {"smt_lib": list(decision.smt), "solver": _solver_version()}
        return evidence("proved", f"for every m >= {claim.domain.min_m}: {decision.why}", details)
    if decision.outcome == "vacuous":
        details["proof"] = {"smt_lib": list(decision.smt), "solver": _solver_version()}
        return evidence("vacuous", decision.why, details)
    if decision.outcome == "counterexample" and decision.instance is not None:
        witness = Witness(
            reference or Reference("registry", claim.id),
            claim.domain,
            decision.instance,
            decision.certificate.as_json(),
        )
        details["witness"] = witness.as_json()
        return evidence("refuted", f"m = {decision.instance.m}: {decision.instance.describe()}", details)
    return evidence("unknown", decision.why, details)


def _solver_version() -> str:
    import z3

    return f"z3 {z3.get_version_string()}"
