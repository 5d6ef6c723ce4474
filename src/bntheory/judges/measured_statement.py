"""What a statement says of measured layers: margins with uncertainties, three-valued where a side has no value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bntheory.layer.relations import Relation, Statement
from bntheory.layer.three_valued import false_where, true_where

_SAFETY = 8.0  # the spread of a few shakes underestimates their bound


@dataclass(frozen=True)
class _Atom:
    """One relation on every unit: relative margin, its uncertainty, whether it is an equality, where both sides are numbers."""

    margin: Tensor
    uncertainty: Tensor
    equality: bool
    defined: Tensor


def evaluated(statements: list[Statement], y: Tensor, bound: Tensor) -> Any:
    """The same statement evaluated in every copy, as one statement whose atoms are margins with uncertainties."""
    first = statements[0]
    if isinstance(first, Relation):
        return _atom([s for s in statements if isinstance(s, Relation)], y, bound)
    parts = zip(*(s.parts for s in statements if not isinstance(s, Relation)), strict=True)
    return type(first)(tuple(evaluated(list(part), y, bound) for part in parts))


def _atom(relations: list[Relation], y: Tensor, bound: Tensor) -> _Atom:
    zero = y[:, :1] * 0
    gaps, sizes = [], []
    for relation in relations:
        sides = [(side + zero).as_subclass(Tensor) for side in (relation.left, relation.right)]
        left, right = torch.broadcast_tensors(*sides)
        sizes.append(left.norm(dim=-1) + right.norm(dim=-1))
        gaps.append(right - left)
    size = torch.where(sizes[0] > 0, sizes[0], torch.ones_like(sizes[0]))
    spread = torch.stack([(gap - gaps[0]).norm(dim=-1) for gap in gaps[1:]]).amax(0)
    uncertainty = (_SAFETY * spread / size).nan_to_num(torch.inf) + 4 * bound[:, 0]
    equality = relations[0].op == "eq"
    if not equality and gaps[0].shape[-1] != 1:
        raise TypeError(
            f"{relations[0].op}(a, b) compares numbers, but its operands are vectors; vectors can only be equal (eq)"
        )
    margin = (-gaps[0].norm(dim=-1) if equality else gaps[0][..., 0]) / size
    return _Atom(margin.nan_to_num(0.0), uncertainty, equality, gaps[0].isfinite().all(-1))


def _all(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).all(0)


def _any(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).any(0)


def has_value(tree: Any) -> Tensor:
    """Where the claim is true or false, whatever is undefined in it."""
    holds: Tensor = true_where(tree, lambda a: a.defined & (a.margin >= -a.uncertainty), _all, _any)
    fails: Tensor = false_where(tree, lambda a: a.defined & (a.margin < -a.uncertainty), _all, _any)
    return holds | fails


def decided(tree: Any) -> tuple[Tensor, Tensor]:
    """Margin and uncertainty of the part that decides: the worst of a conjunction, the best of a disjunction."""

    def chosen(parts: Sequence[Tensor], best: bool) -> Tensor:
        stacked = torch.stack(list(parts))  # (parts, 2, units)
        upper = stacked.sum(1)
        index = upper.argmax(0) if best else upper.argmin(0)
        return stacked.gather(0, index[None, None].expand(1, 2, -1))[0]

    def pair(a: _Atom) -> Tensor:  # what has no value fails nowhere
        one, nil = torch.ones_like(a.margin), torch.zeros_like(a.margin)
        return torch.where(a.defined, torch.stack([a.margin, a.uncertainty]), torch.stack([one, nil]))

    found = true_where(tree, pair, lambda parts: chosen(parts, False), lambda parts: chosen(parts, True))
    return found[0], found[1]


def certain(tree: Any) -> Tensor:
    """Whether a hypothesis is true for certain; an equality, whether it holds to within its uncertainty."""
    certain: Tensor = true_where(
        tree, lambda a: a.defined & (a.margin >= (-a.uncertainty if a.equality else a.uncertainty)), _all, _any
    )
    return certain
