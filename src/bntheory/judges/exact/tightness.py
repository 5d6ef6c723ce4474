"""How tight a proved inequality is: the largest ratio of its two sides, and the best constant of a bound.

Both are suprema over the claim's layers that the search approaches from below, so every number here is a lower bound with a
layer that attains it, and the layer is rational and its ratio decided in ball arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from bntheory.claims.claim import Claim, Effort
from bntheory.errors import ClaimError
from bntheory.judges.exact.witness import Instance
from bntheory.judges.search import Budget, judge
from bntheory.layer.relations import AllOf, Relation, Statement, as_statement, atoms, le

__all__ = ["BestConstant", "Tightness", "best_constant", "tightness"]


@dataclass(frozen=True)
class Tightness:
    """The largest ratio left/right that was found for ``left <= right``, with both sides positive there.

    ratio: a lower bound on the supremum. attained: equality was certified, so that the ratio is 1 and no smaller right side
    will do. layer: where. bisections: claims that were attacked to find it; refuted: how many of them fell.
    """

    ratio: float
    attained: bool
    layer: Instance | None
    bisections: int
    refuted: int
    seed: int


@dataclass(frozen=True)
class BestConstant:
    """The smallest constant c for which a family of claims was not refuted.

    above: some c for which the claim survived (no proof). below: the largest c refuted, with its layer; the true constant
    is at least ``below``.
    """

    below: Fraction
    above: Fraction
    layer: Instance | None
    bisections: int
    seed: int


def tightness(
    claim: Claim, *, effort: Effort = "quick", seed: int = 0, device: str = "cpu", steps: int = 12
) -> Tightness:
    """How close to equality the layers of an inequality ``0 <= left <= right`` come.

    Attacks ``left <= c right`` for c below 1: each refutation is a layer whose ratio exceeds c. ValueError for claims
    that are no single inequality.
    """
    _single_inequality(claim)

    def family(c: Fraction) -> Claim:
        return _scaled(claim, c)

    strict = _with_statement(claim, f"{claim.id}.strictly", _strictly)
    found = judge(strict, effort, seed, device)
    if found.finding == "refuted":
        layer = Instance.from_json(found.details["witness"]["layer"])
        return Tightness(1.0, True, layer, 1, 1, seed)
    best = best_constant(
        family, low=Fraction(0), high=Fraction(1), effort=effort, seed=seed, device=device, steps=steps
    )
    fell = 0 if best.layer is None else 1
    return Tightness(float(best.below), False, best.layer, best.bisections + 1, fell, seed)


def best_constant(
    family: Callable[[Fraction], Claim],
    *,
    low: Fraction,
    high: Fraction,
    effort: Effort = "quick",
    seed: int = 0,
    device: str = "cpu",
    steps: int = 12,
) -> BestConstant:
    """Bisect for the smallest c at which ``family(c)`` is not refuted.

    The family is monotone: what holds for c holds for every larger one. ``family(high)`` should hold; ValueError if it is
    refuted. ``low`` is taken to fail, or to be the end of the range.
    """
    if not low < high:
        raise ValueError(f"low is {low} and high is {high}; low must be the smaller")
    budget = replace(Budget.of(effort), shrinks=40)
    evidence = judge(family(high), effort, seed, device, budget=budget)
    if evidence.finding != "survives":
        raise ValueError(f"the claim with the constant {high} is {evidence.finding}: {evidence.summary}")
    layer: Instance | None = None
    for _ in range(steps):
        middle = (low + high) / 2
        evidence = judge(family(middle), effort, seed, device, budget=budget)
        if evidence.finding == "refuted":
            low, layer = middle, Instance.from_json(evidence.details["witness"]["layer"])
        elif evidence.finding == "survives":
            high = middle
        else:
            raise ValueError(f"the claim with the constant {middle} is {evidence.finding}: {evidence.summary}")
    return BestConstant(low, high, layer, steps + 1, seed)


def _with_statement(claim: Claim, id: str, change: Callable[[Statement], Statement]) -> Claim:
    return replace(claim, id=id, check=lambda layer: change(as_statement(claim.check(layer))))


def _inequality(statement: Statement) -> Relation:
    found: list[Relation] = list(atoms(statement))
    if len(found) == 1 and found[0].op != "eq":
        return found[0]
    raise ClaimError(f"tightness asks for a single inequality, and this claim has {len(found)} relations")


def _strictly(statement: Statement) -> Statement:
    """left < right wherever right > 0; refuted by equality at a layer that is not trivial."""
    relation = _inequality(statement)
    return AllOf((_unless_zero(relation.right, relation.left),))


def _unless_zero(right: Any, left: Any) -> Statement:
    from bntheory.layer.relations import implies, lt

    return implies(lt(0 * right, right), lt(left, right))


def _scaled(claim: Claim, c: Fraction) -> Claim:
    def change(statement: Statement) -> Statement:
        relation = _inequality(statement)
        return le(c.denominator * relation.left, c.numerator * relation.right)

    return _with_statement(claim, f"{claim.id}.times-{c.numerator}-over-{c.denominator}", change)


def _single_inequality(claim: Claim) -> None:
    if claim.domain is None:
        raise ValueError(f"{claim.id} is a claim of kind {claim.kind!r}; tightness is about layer claims")
    from bntheory.layer.closed_form import BatchNormLayer

    probe: dict[str, Any] = dict.fromkeys(claim.domain.scalars, 0.5)
    probe |= {name: [0.0] * (claim.domain.min_m - 1) + [1.0] for name in claim.domain.vectors}
    probe |= {name: (lambda v: v) for name in claim.domain.operators}
    m = claim.domain.min_m
    layer = BatchNormLayer([float(i * i) for i in range(m)], [1.0] + [0.0] * (m - 1), lambda v: v, eps=0.0, free=probe)
    try:
        _inequality(as_statement(claim.check(layer)))
    except ClaimError as error:
        raise ValueError(f"{claim.id}: {error}") from None
