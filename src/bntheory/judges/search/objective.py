"""How badly a batch of candidate layers violates a claim: one scale-free number each, differentiable.

An inequality ``a <= b`` scores (a - b)/(|a| + |b|), positive where it fails; an equality |a - b|/(|a| + |b|), vectors by
their largest entries. A conjunction takes its most violated part, a disjunction its least violated one. In an implication
from an equality, the hypothesis is no part to violate but a constraint to meet, so it counts as an infeasibility instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bntheory.claims.core import Claim
from bntheory.judges.certificate import ClaimError, statements
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement

__all__ = ["PENALTY", "score", "score_statement"]

PENALTY = 4.0
_TINY = 1e-300


def score(claim: Claim, domain: LayerDomain, values: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Violation and infeasibility of every candidate, both of shape (candidates,).

    Violation is in [-1, 1] and positive where the claim fails; infeasibility is positive where a hypothesis fails.
    """
    layer = make_layer(domain.normaliser, **values)
    n = layer.shape[0]
    assumption, statement = statements(claim, layer)
    violation, infeasible = score_statement(statement, layer.y, n)
    if claim.assume is not None:
        assumed, unmet = score_statement(assumption, layer.y, n)
        infeasible = torch.maximum(torch.maximum(infeasible, assumed), unmet)
    return violation, infeasible


def score_statement(statement: Statement, like: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Violation and infeasibility of a statement over n candidates."""
    zero = torch.zeros(n, dtype=like.dtype, device=like.device)
    if isinstance(statement, Relation):
        return _atom(statement, like, n), zero
    if not statement.parts:
        return (zero - 1 if isinstance(statement, AllOf) else zero + 1), zero
    if isinstance(statement, AllOf):
        scored = [score_statement(part, like, n) for part in statement.parts]
        violations = torch.stack([v for v, _ in scored])
        infeasible = torch.stack([r for _, r in scored])
        best = (violations - PENALTY * infeasible.clamp(min=0)).argmax(0, keepdim=True)
        return violations.gather(0, best)[0], infeasible.gather(0, best)[0]
    equalities, rest = _negated_equalities(statement)
    scored = [score_statement(part, like, n) for part in rest]
    violation = torch.stack([v for v, _ in scored]).amin(0) if scored else zero + 1
    unmet = [r for _, r in scored] + [_atom(e, like, n) for e in equalities]
    return violation, torch.stack(unmet).amax(0)


def _negated_equalities(statement: AnyOf) -> tuple[list[Relation], list[Statement]]:
    """The pairs a < b, b < a of a disjunction as equalities a = b, and the other parts."""
    parts: list[Statement] = []
    for part in statement.parts:
        parts.extend(part.parts if isinstance(part, AnyOf) else (part,))
    strict = [p for p in parts if isinstance(p, Relation) and p.op == "lt"]
    paired: list[Relation] = []
    used: set[int] = set()
    for i, one in enumerate(strict):
        for other in strict[i + 1 :]:
            if one.left is other.right and one.right is other.left:
                paired.append(Relation("eq", one.left, one.right, one.label))
                used |= {id(one), id(other)}
    return paired, [p for p in parts if id(p) not in used]


def _atom(relation: Relation, like: torch.Tensor, n: int) -> torch.Tensor:
    left, right = (_rows(side, like, n) for side in (relation.left, relation.right))
    if relation.op == "eq":
        gap = (left - right).abs().amax(-1)
        return gap / (left.abs().amax(-1) + right.abs().amax(-1) + _TINY)
    if max(left.shape[-1], right.shape[-1]) != 1:
        raise ClaimError(
            f"{relation.op}(a, b) compares numbers, but its operands have shapes {tuple(left.shape)} and "
            f"{tuple(right.shape)}; vectors can only be equal (eq)"
        )
    return ((left - right) / (left.abs() + right.abs() + _TINY))[..., 0]


def _rows(side: Any, like: torch.Tensor, n: int) -> torch.Tensor:
    tensor = torch.as_tensor(side, dtype=like.dtype, device=like.device)
    if tensor.ndim == 0:
        tensor = tensor.reshape(1, 1)
    elif tensor.ndim == 1:
        tensor = tensor[None] if tensor.shape[0] != n else tensor[:, None]
    tensor = tensor.reshape(tensor.shape[0], -1)
    return tensor.expand(n, tensor.shape[-1])
