"""How badly a batch of candidate layers violates a claim: one scale-free number each, differentiable.

An inequality ``a <= b`` scores (a - b)/(|a| + |b| + s), positive where it fails; an equality |a - b|/(|a| + |b| + s), vectors by
their largest entries. The scale s is how much a - b answers to a change of all inputs in the last digits, divided by the size of
that change. It stands for the terms that cancel inside a and b, so a difference of rounding errors (m = 2 and eps = 0, where the
input gradient is zero) scores next to nothing, and ``eq(a, 0)`` has a scale at all.

A conjunction takes its most violated part, a disjunction its least violated one. A part that has no value here violates nothing,
and a hypothesis that has none is not met. In an implication from an equality, the hypothesis is no part to violate but a constraint
to meet, so it counts as an infeasibility instead.
"""

from __future__ import annotations

from typing import Any

import torch

from bntheory.claims.claim import Claim
from bntheory.errors import ClaimError
from bntheory.judges.exact.certificate import negated_equalities, statements
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, Relation, Statement
from bntheory.layer.three_valued import true_where

PENALTY = 4.0
_SHAKE = 1e-10
VISIBLE = 1e-8  # rounding errors of 1e-16 over a shake of 1e-10 stay two orders of magnitude below
_TINY = 1e-300


def score(
    claim: Claim, domain: LayerDomain, values: dict[str, Any], generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Violation and infeasibility of every candidate, both of shape (candidates,).

    Violation is in [-1, 1] and positive where the claim fails; infeasibility is positive where a hypothesis fails.
    """
    n = values["y"].shape[0]
    layer = make_layer(domain.normaliser, **_with_shaken(values, generator))
    assumption, statement = statements(claim, layer)
    violation, infeasible = _violation(statement, layer.y, n)
    if claim.assume is not None:
        infeasible = torch.maximum(infeasible, _unmet(assumption, layer.y, n))
    return violation, infeasible


def _with_shaken(values: dict[str, Any], generator: torch.Generator) -> dict[str, Any]:
    """Every candidate followed by a copy whose inputs differ in the tenth digit."""

    def both(x: Any) -> Any:
        if x is None:
            return None
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        if x.ndim == 3:
            noise = (noise + noise.mT) / 2
        return torch.cat([x, (x * (1 + _SHAKE * noise)).detach()])

    free = {name: both(x) for name, x in values["free"].items()}
    return {name: both(x) for name, x in values.items() if name != "free"} | {"free": free}


def _unmet(statement: Statement, like: torch.Tensor, n: int) -> torch.Tensor:
    """How far a hypothesis is from being true; not positive where it is."""
    zero = torch.zeros(n, dtype=like.dtype, device=like.device)
    return true_where(
        statement,
        lambda a: _atom(a, like, n, undefined=1.0),
        lambda parts: torch.stack([zero - 1, *parts]).amax(0),
        lambda parts: torch.stack([zero + 1, *parts]).amin(0),
    )


def _violation(statement: Statement, like: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How clearly a claim is false, and how far the equalities that it starts from are from being met."""
    zero = torch.zeros(n, dtype=like.dtype, device=like.device)
    if isinstance(statement, Relation):
        return _atom(statement, like, n, undefined=-1.0), zero
    if not statement.parts:
        return (zero - 1 if isinstance(statement, AllOf) else zero + 1), zero
    if isinstance(statement, AllOf):
        scored = [_violation(part, like, n) for part in statement.parts]
        violations = torch.stack([v for v, _ in scored])
        infeasible = torch.stack([r for _, r in scored])
        best = (violations - PENALTY * infeasible.clamp(min=0)).argmax(0, keepdim=True)
        return violations.gather(0, best)[0], infeasible.gather(0, best)[0]
    equalities, rest = negated_equalities(statement)
    scored = [_violation(part, like, n) for part in rest]
    violation = torch.stack([v for v, _ in scored]).amin(0) if scored else zero + 1
    unmet = [r for _, r in scored] + [_atom(e, like, n, undefined=1.0) for e in equalities]
    return violation, torch.stack(unmet).amax(0)


def _atom(relation: Relation, like: torch.Tensor, n: int, *, undefined: float) -> torch.Tensor:
    left, right = (_rows(side, like) for side in (relation.left, relation.right))
    gap = left - right
    response = ((gap[n:] - gap[:n]).detach().abs() / _SHAKE).amax(-1)
    left, right, gap = left[:n], right[:n], gap[:n]
    defined = gap.isfinite().all(-1)
    if relation.op == "eq":
        scored = gap.abs().amax(-1) / (left.abs().amax(-1) + right.abs().amax(-1) + response + _TINY)
        return torch.where(defined, scored, undefined)
    if gap.shape[-1] != 1:
        raise ClaimError(
            f"{relation.op}(a, b) compares numbers, but here it has {gap.shape[-1]} of them; vectors can only be equal (eq)"
        )
    size = (left.abs() + right.abs())[..., 0] + response
    scored = gap[..., 0] / (size + _TINY)
    # 0 <= 0 is met, and by a layer that tells nothing; 0 < 0 fails
    scored = torch.where(size == 0, torch.full_like(scored, 0.0 if relation.op == "lt" else -1.0), scored)
    return torch.where(defined, scored, undefined)


def _rows(side: Any, like: torch.Tensor) -> torch.Tensor:
    tensor = torch.as_tensor(side, dtype=like.dtype, device=like.device)
    rows = like.shape[0]
    if tensor.ndim == 0 or tensor.shape[0] != rows:
        tensor = tensor.expand(rows, *(tensor.shape[1:] if tensor.ndim > 1 else tensor.shape or (1,)))
    return tensor.reshape(rows, -1)
