"""Gradient ascent on the violation, from every start at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bntheory.claims.claim import Claim
from bntheory.judges.search.candidates import Candidates
from bntheory.judges.search.objective import PENALTY, score
from bntheory.layer.domain import LayerDomain

FEASIBLE = 1e-7  # relative; exact arithmetic decides in the end


@dataclass
class Attacked:
    """Candidates with the best violation that each reached, and how many layers were evaluated."""

    candidates: Candidates
    violation: torch.Tensor
    infeasible: torch.Tensor
    evaluations: int

    @property
    def merit(self) -> torch.Tensor:
        """Violation less what is owed to the hypotheses; -inf where a number was not finite."""
        merit = self.violation - PENALTY * (self.infeasible - FEASIBLE).clamp(min=0)
        return torch.where(merit.isfinite(), merit, torch.full_like(merit, -torch.inf))


def evaluate(claim: Claim, domain: LayerDomain, candidates: Candidates) -> Attacked:
    """Score the starts as they are."""
    with torch.no_grad():
        violation, infeasible = score(claim, domain, candidates.values(), candidates.generator)
    return Attacked(candidates, violation, infeasible, candidates.n)


def ascend(
    claim: Claim, domain: LayerDomain, start: Attacked, steps: int, stop: Callable[[Attacked], bool]
) -> Attacked:
    """Adam on merit for every candidate, keeping the best point each has passed; ``stop`` is asked every ten steps."""
    cands = start.candidates
    raw = {k: v.clone().requires_grad_(True) for k, v in cands.raw.items()}
    best = {k: v.clone() for k, v in cands.raw.items()}
    result = Attacked(cands, start.violation.clone(), start.infeasible.clone(), start.evaluations)
    scales = {k: v.detach().abs().flatten(1).amax(1).clamp(min=1e-3) for k, v in cands.raw.items()}
    rate, moments = 0.08, {k: (torch.zeros_like(v), torch.zeros_like(v)) for k, v in cands.raw.items()}
    for step in range(1, steps + 1):
        try:
            violation, infeasible = score(claim, domain, cands.values(raw), cands.generator)
        except ValueError as error:
            if "constant over the batch" in str(error) or "non-finite" in str(error):
                break  # a candidate ran into the edge of the domain; what was found so far stands
            raise
        merit = violation - PENALTY * infeasible.clamp(min=0)
        if not merit.requires_grad:
            break  # the claim does not look at the layer: there is nothing to climb
        grads = torch.autograd.grad(merit.nan_to_num(0.0).sum(), list(raw.values()), allow_unused=True)
        with torch.no_grad():
            now = Attacked(cands, violation.detach(), infeasible.detach(), 0).merit
            better = now > result.merit
            for name, tensor in raw.items():
                shape = (-1,) + (1,) * (tensor.ndim - 1)
                best[name] = torch.where(better.reshape(shape), tensor, best[name])
            result.violation = torch.where(better, violation, result.violation)
            result.infeasible = torch.where(better, infeasible, result.infeasible)
            result.evaluations += cands.n
            decay = rate * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item()) + 1e-3
            for (name, tensor), grad in zip(raw.items(), grads, strict=True):
                if grad is None:
                    continue
                scale = scales[name].reshape((-1,) + (1,) * (tensor.ndim - 1))
                grad = (grad * scale).nan_to_num(0.0, 0.0, 0.0)
                first, second = moments[name]
                first.mul_(0.8).add_(grad, alpha=0.2)
                second.mul_(0.95).addcmul_(grad, grad, value=0.05)
                update = (first / (1 - 0.8**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-12)
                moved = tensor + decay * scale * update
                tensor.copy_(torch.where(moved.isfinite() & (moved.abs() < 1e100), moved, tensor))
        if step % 10 == 0:
            cands.raw = best
            if stop(result):
                return result
    cands.raw = best
    return result
