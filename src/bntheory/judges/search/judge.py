"""The search judge: attack a claim, certify what is found, and say how close it came otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic, process_time
from typing import Any

import torch

from bntheory.claims.claim import Claim, Effort
from bntheory.errors import ClaimError, OutsideVocabulary
from bntheory.judges.exact.certificate import Certificate, certify
from bntheory.judges.exact.repair import has_equality_hypotheses, repair
from bntheory.judges.exact.shrink import map_numbers, minimise, roundings
from bntheory.judges.exact.witness import Instance, Reference, Witness
from bntheory.judges.failing import failing
from bntheory.judges.latex import told_apart
from bntheory.judges.search.ascent import FEASIBLE, Attacked, ascend, evaluate
from bntheory.judges.search.budget import Budget, fitting
from bntheory.judges.search.candidates import Candidates
from bntheory.judges.search.objective import VISIBLE
from bntheory.judges.search.starts import small_integers
from bntheory.judges.verdict import Evidence
from bntheory.layer.constants import of_any_length
from bntheory.layer.domain import LayerDomain

# Characters of a closest call that a reader still takes in.
_LONGEST = 240


@dataclass
class _Closest:
    """The nearest miss so far: the relative margin (positive: the claim holds) and the layer."""

    margin: float = float("inf")
    instance: Instance | None = None


@of_any_length()
def judge(
    claim: Claim,
    effort: Effort = "normal",
    seed: int = 0,
    device: str = "cpu",
    *,
    reference: Reference | None = None,
    budget: Budget | None = None,
) -> Evidence:
    """Attack ``claim`` within the budget of ``effort``.

    refuted: a certified counterexample, in ``details["witness"]``. survives: none was found; ``details`` has the number of
    layers tried and the closest margin, (right - left)/(|left| + |right|), with the layer that attains it. unknown: no
    layer that meets the hypotheses was found, or the claim is outside the vocabulary. error: the claim raised.
    """
    domain = claim.domain
    if domain is None:
        return Evidence("search", "not-applicable", f"a claim of kind {claim.kind} has no layers to search")
    budget = budget or Budget.of(effort)
    started = monotonic()
    attack = _Attack(claim, domain, budget, seed, device)
    try:
        found = attack.run()
    except OutsideVocabulary as error:
        return Evidence("search", "unknown", f"outside the vocabulary: {error}", {}, monotonic() - started, seed)
    except (ClaimError, ArithmeticError) as error:
        cause = str(error) if isinstance(error, ClaimError) else f"{type(error).__name__}: {error}"
        return Evidence("search", "error", f"the claim raised {cause}", {}, monotonic() - started, seed)
    details: dict[str, Any] = {"layers_tried": attack.evaluations, "candidates_certified": attack.certified}
    if found is not None:
        instance, certificate = found
        reference = reference or Reference("registry", claim.id)
        witness = Witness(reference, domain, instance, certificate.as_json())
        details["witness"] = witness.as_json()
        summary = f"fails at m = {instance.m}: {instance.describe()}; {_failure(certificate)}"
        return Evidence("search", "refuted", summary, details, monotonic() - started, seed)
    if not attack.feasible:
        says = (
            "equalities are met by chance alone, so this says little"
            if attack.needs_equalities()
            else "it may be vacuous"
        )
        summary = f"none of {attack.evaluations} layers met the claim's hypotheses: {says}"
        return Evidence("search", "unknown", summary, details, monotonic() - started, seed)
    closest = attack.closest
    summary = f"{attack.evaluations} layers tried"
    if closest.instance is not None:
        details["closest_margin"] = closest.margin
        details["closest_layer"] = closest.instance.as_json()
        tight = "met with equality at" if closest.margin == 0 else f"closest relative margin {closest.margin:.3g} at"
        where = closest.instance.describe()
        if len(where) > _LONGEST:
            where = f"a layer of m = {closest.instance.m} whose numbers are long, and printed with --json"
        summary += f"; {tight} {where}"
    if attack.undecided:
        summary += f"; {attack.undecided} candidates that exact arithmetic could not decide"
        details["undecided"] = attack.undecided
    return Evidence("search", "survives", summary, details, monotonic() - started, seed)


def _failure(certificate: Certificate) -> str:
    failed = failing(certificate.as_json())
    if not failed:
        return certificate.why
    shown = max(failed, key=lambda r: abs(r["margin"] or 0.0))  # of a disjunction all parts fail; show the clearest
    sign = {"le": "<=", "lt": "<", "eq": "="}[shown["op"]]
    left, right = told_apart(shown)
    return f"{shown['label'] + ': ' if shown['label'] else ''}not {left} {sign} {right}"


class _Attack:
    """One run against one claim."""

    def __init__(self, claim: Claim, domain: LayerDomain, budget: Budget, seed: int, device: str) -> None:
        self.claim, self.domain, self.budget, self.device = claim, domain, budget, device
        self.generator = torch.Generator().manual_seed(seed)
        self.deadline = process_time() + budget.seconds  # of this process: a busy machine changes no result
        self.evaluations = self.certified = self.undecided = 0
        self.feasible = False
        self.closest = _Closest()
        self.equalities: bool | None = None

    def run(self) -> tuple[Instance, Certificate] | None:
        """The minimised counterexample, or None."""
        sizes = [self.domain.min_m + extra for extra in self.budget.extra_sizes]
        for round_ in range(self.budget.rounds):
            if round_ and process_time() > self.deadline:
                break
            starts = [self._start(m) for m in sizes]
            found = self._certify(starts)
            for start in starts:
                if found is not None or process_time() > self.deadline:
                    break
                if bool((start.violation.abs() < VISIBLE).all()):
                    continue  # an identity at every start: there is no slope to climb, only rounding
                before = start.evaluations
                end = ascend(self.claim, self.domain, start, self.budget.steps, self._promising)
                self.evaluations += end.evaluations - before
                found = self._certify([end])
            if found is not None:
                return self._smallest(found, starts)
        polished = self._polish()
        return None if polished is None else self._smallest(polished, [])

    def _smallest(self, found: tuple[Instance, Certificate], starts: list[Attacked]) -> tuple[Instance, Certificate]:
        """Attack smaller batches than the one that fell, then shrink."""
        for start in starts:
            if start.candidates.m >= found[0].m or process_time() > self.deadline:
                break
            end = ascend(self.claim, self.domain, start, self.budget.steps, self._promising)
            self.evaluations += end.evaluations - start.evaluations
            smaller = self._certify([end])
            if smaller is not None and smaller[0].m < found[0].m:
                found = smaller
        shrinks, deadline = self.budget.shrinks, self.deadline
        instance, certificate = minimise(*found, self._accept, shrinks, deadline)
        for m in range(self.domain.min_m, instance.m + 1):
            for x, c in self._small_integers(m):
                x, c = minimise(x, c, self._accept, shrinks // 5, deadline)
                if x.size() < instance.size():
                    instance, certificate = x, c
            if instance.m == m:
                break
        return instance, certificate

    def _small_integers(self, m: int) -> Iterator[tuple[Instance, Certificate]]:
        """A few refutations among layers of small integers, the lightest first."""
        return filter(None, map(self._accept, self._lightest(m, VISIBLE)))

    def _lightest(self, m: int, floor: float) -> Iterator[Instance]:
        """The lightest layers of small integers whose merit is above ``floor``."""
        n = fitting(self.domain, 4096, m)
        candidates = Candidates(self.domain, n, m, self.generator, self.device, small_integers)
        scored = evaluate(self.claim, self.domain, candidates)
        self.evaluations += scored.evaluations
        weight = torch.where(scored.merit > floor, candidates.weight(), torch.inf)
        order = weight.topk(min(4, n), largest=False)
        for value, i in zip(order.values.tolist(), order.indices.tolist(), strict=True):
            if value < float("inf"):
                yield candidates.exact(i)(lambda v: v)

    def _start(self, m: int) -> Attacked:
        n = fitting(self.domain, self.budget.starts, m)
        start = evaluate(self.claim, self.domain, Candidates(self.domain, n, m, self.generator, self.device))
        self.evaluations += start.evaluations
        return start

    def _promising(self, attacked: Attacked) -> bool:
        return process_time() > self.deadline or bool((attacked.merit > 1e-3).any())

    def _certify(self, attacked: list[Attacked]) -> tuple[Instance, Certificate] | None:
        for group, i in self._ranked(attacked):
            build = group.candidates.exact(i)
            exact = build(lambda v: v)
            self.certified += 1
            found = self._accept(exact)
            if found is not None:
                return next(filter(None, map(self._accept, roundings(build))), found)
        return None

    def needs_equalities(self, x: Instance | None = None) -> bool:
        """Whether a hypothesis is an equality, told at a layer."""
        if self.equalities is None:
            x = x or self._start(self.domain.min_m).candidates.exact(0)(lambda v: v)
            self.equalities = has_equality_hypotheses(self.claim, self.domain, x)
        return self.equalities

    def _accept(self, x: Instance) -> tuple[Instance, Certificate] | None:
        """x, or x with its equality hypotheses met exactly, if that refutes the claim."""
        if self.needs_equalities(x):
            repaired = repair(self.claim, self.domain, x)
            if repaired is None:
                return None
            x = repaired
        certificate = certify(self.claim, x)
        if certificate.refuted:
            return x, certificate
        self.undecided += certificate.why.startswith("undecided")
        if certificate.why == "the claim holds here":
            self.feasible = True  # hypotheses met exactly, if not by any candidate as it was drawn
            self._near(x, certificate)
        return None

    def _ranked(self, attacked: list[Attacked]) -> Iterator[tuple[Attacked, int]]:
        """Candidates worth exact arithmetic: visible violations, ties where a claim is strict, and the closest few."""
        pool: list[tuple[float, int, Attacked, int]] = []
        for group in attacked:
            self.feasible |= bool((group.infeasible <= FEASIBLE).any())
            top = group.merit.topk(min(self.budget.certificates, group.candidates.n))
            for value, i in zip(top.values.tolist(), top.indices.tolist(), strict=True):
                pool.append((value, len(pool), group, i))
        pool.sort(key=lambda e: (e[0] <= VISIBLE, e[2].candidates.m if e[0] > VISIBLE else 0, -e[0]))
        for rank, (value, _, group, i) in enumerate(pool):
            tie = rank < self.budget.certificates and value > -1e-12
            # an equality hypothesis is met by the repair, so candidates that violate it are worth a try
            near = rank < (self.budget.certificates if self.equalities else 3) or self.closest.instance is None
            if process_time() > self.deadline and rank > 3:
                return
            if value > VISIBLE or tie or (near and value > -float("inf")):
                yield group, i

    def _near(self, instance: Instance, certificate: Certificate) -> None:
        margins = [abs(r.margin) for r in certificate.relations if r.margin is not None]
        if margins and min(margins) < self.closest.margin:
            self.closest = _Closest(min(margins), instance)

    def _polish(self) -> tuple[Instance, Certificate] | None:
        """Show the closest call in short rationals, where they come as close; one of them may even refute the claim."""
        closest = self.closest
        if closest.instance is None:
            return None
        original, shown = closest.instance, None
        small = self._lightest(self.domain.min_m, -1.1 * closest.margin - 1e-12)
        for shorter in (*small, *roundings(lambda change: map_numbers(original, change))):
            self.closest = _Closest()
            found = self._accept(shorter)
            if found is not None:
                return found
            if shown is None and self.closest.margin <= 1.1 * closest.margin:
                shown = self.closest
        self.closest = shown or closest
        return None
