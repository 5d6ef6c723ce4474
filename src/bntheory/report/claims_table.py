"""Verdicts on experiment claims as rows: the check that decides, its effect with its interval, seeds and scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bntheory.evidence.checks import Check
from bntheory.judges.verdict import Verdict, deciding
from bntheory.report.effect_text import number_text


def effect_of(check: Check) -> tuple[float, float]:
    """(effect, bound): the side of a check that was measured, and the other one.

    Measured is a side that is no number; of a distance, which has its estimate beside it, the right side; else the side that is nearer to
    the mean over the seeds; and where no seeds are given, the left one.
    """
    if math.isnan(check.right) or "estimate" in check.witness:
        return check.right, check.left
    values = check.witness.get("values", ())
    known = [v for v in values if isinstance(v, (int, float)) and math.isfinite(v)]
    typical = fmean(known) if known else check.left
    if abs(check.right - typical) < abs(check.left - typical):
        return check.right, check.left
    return check.left, check.right


def row_of(verdict: Verdict) -> dict[str, Any]:
    """JSON-ready: id, status, scale, records, seeds, and of the deciding check what it compares, effect, interval and bound.

    A number that is not finite is null; where no check was made, summary says why and the rest is null.
    """
    evidence = verdict.evidence[0] if verdict.evidence else None
    details: Mapping[str, Any] = evidence.details if evidence else {}
    checks = [Check.from_json(c) for c in details.get("checks", ())]
    check = deciding(checks)
    row: dict[str, Any] = {
        "id": verdict.claim.id,
        "status": verdict.status.value,
        "scale": details.get("scale"),
        "records": details.get("records", 0),
        "confirmed": details.get("confirmed", 0),
        **({"ranks": details["ranks"]} if "ranks" in details else {}),
        "summary": evidence.summary if evidence else "",
        "checks": sum(c.decisive for c in checks),
    }
    if check is None:
        return row | dict.fromkeys(("check", "effect", "low", "high", "bound", "op", "seeds", "confidence", "needed"))
    effect, bound = effect_of(check)
    asked = {"le": "at most", "lt": "below", "eq": "equal to"}[check.op]
    if effect == bound and check.op != "eq":
        asked = "above or below"  # which side is the bound cannot be told
    return row | {
        "check": check.name,
        "outcome": check.outcome,
        "effect": _finite(effect),
        "low": _finite(effect - check.uncertainty),
        "high": _finite(effect + check.uncertainty),
        "bound": _finite(bound),
        "op": asked if effect in (check.left, bound) or check.op == "eq" else "at least",
        "seeds": _seeds(check.witness.get("values", ())) or None,
        "confidence": check.confidence,
        "needed": check.witness.get("seeds_for_80_percent_power"),
    }


def _seeds(values: Sequence[Any]) -> int:
    """How many seeds gave numbers: they stand along the last axis."""
    return _seeds(values[0]) if values and isinstance(values[0], (list, tuple)) else len(values)


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def in_words(row: Mapping[str, Any]) -> tuple[str, str]:
    """The effect of a row with its interval, and what is asked of it; a logarithm also as the factor that it is."""
    if row["effect"] is None:
        return "–", "–"
    effect, asked = _with_interval(row, ""), f"{row['op']} {row['bound']:.3g}"
    if "log10 of " in str(row["check"]):
        effect += f": {_with_interval(row, 'ratio')}"
        asked += f": {number_text(row['bound'], 'ratio')}"
    return effect, asked


def _with_interval(row: Mapping[str, Any], unit: str) -> str:
    low, high = row["low"], row["high"]
    interval = "" if low is None else f" [{number_text(low, unit)}, {number_text(high, unit)}]"
    return number_text(row["effect"], unit) + interval
