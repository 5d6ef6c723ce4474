"""Bounds made of bounds: claims that are enough for a <= b where both sides are sums or products over separate vectors, or hold roots.

    a1 + a2 <= b1 + b2     follows from   a1 <= b1 and a2 <= b2
    a1 a2 <= b1 b2         follows from   0 <= a1 <= b1 and 0 <= a2 <= b2
    sqrt(a) <= c sqrt(b)   follows from   a <= c^2 b and 0 <= c sqrt(b)

Two units of a layer, two gradients: the parts share no vector, so each has half the coordinates, and the solver decides it at once
where the whole is too much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from typing import Any

from bntheory.claims.claim import Claim
from bntheory.claims.typed.expression import read_again
from bntheory.claims.typed.syntax import Binary, Call, Compare, Node, Number
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.claims.typed.trees import factors_of, names_of, product_of, sum_of, terms_of
from bntheory.layer.domain import LayerDomain

__all__ = ["sufficient"]

_MOST_PARTS, _LONGEST = 32, 4000
_Pairs = list[tuple[Node, Node, bool]]  # a <= b; a < b where the last is true and the claim is strict


def sufficient(claim: Claim) -> Iterator[list[Claim]]:
    """Lists of claims that together imply the claim, on its domain and under its hypotheses."""
    domain = claim.domain
    assert domain is not None
    tree = transcribe(claim.check, domain)
    if not isinstance(tree, Compare) or tree.ops not in (("<=",), ("<",)):
        return
    if text_of(tree, _LONGEST).endswith("..."):
        return
    left, right = tree.first, tree.rest[0]
    for ways in (_summands(left, right, domain), _factors(left, right, domain), _squares(left, right)):
        bounds = [Compare(a, tree.ops if strict else ("<=",), (b,), 0) for a, b, strict in ways]
        checks = [read_again(bound, domain) for bound in bounds]
        if checks and None not in checks:
            yield [replace(claim, check=check) for check in checks if check is not None]


def _summands(left: Node, right: Node, domain: LayerDomain) -> _Pairs:
    return [(a, b, True) for a, b in _apart(left, right, domain, terms_of, sum_of)]


def _factors(left: Node, right: Node, domain: LayerDomain) -> _Pairs:
    pairs = _apart(left, right, domain, factors_of, product_of)
    return [(Number(Fraction(0), 0), a, False) for a, _ in pairs] + [(a, b, True) for a, b in pairs]


def _squares(left: Node, right: Node) -> _Pairs:
    sides = [list(islice(factors_of(side), _MOST_PARTS)) for side in (left, right)]
    if not any(isinstance(f, Call) and f.name == "sqrt" for side in sides for _, f in side):
        return []
    squared = [product_of((above, _squared(f)) for above, f in side) for side in sides]
    return [(Number(Fraction(0), 0), right, False), (squared[0], squared[1], True)]


def _squared(node: Node) -> Node:
    if isinstance(node, Call) and node.name == "sqrt":
        return node.arguments[0]
    return Binary("**", node, Number(Fraction(2), 0), 0)


def _apart(
    left: Node,
    right: Node,
    domain: LayerDomain,
    parts_of: Callable[[Node], Iterator[Any]],
    whole: Callable[[Any], Node],
) -> list[tuple[Node, Node]]:
    """Both sides in parts that share no vector; what names none goes with the first. Empty where there is but one."""
    telling = {"grad", "input_grad", "hess", *domain.vectors, *(s for s in domain.scalars if s.endswith("@b"))}
    groups: list[_Group] = []
    common = _Group()
    for on_left, node in ((True, left), (False, right)):
        parts = list(islice(parts_of(node), _MOST_PARTS + 1))
        if len(parts) > _MOST_PARTS:
            return []
        for part in parts:
            names = {n.removeprefix("input_") for n in names_of(part[1]) & telling}
            group = common if not names else _Group(names)
            (group.left if on_left else group.right).append(part)
            if names:
                met = [g for g in groups if g.names & names]
                groups = [g for g in groups if g not in met] + [_joined([*met, group])]
    if len(groups) < 2:
        return []
    groups[0] = _joined([groups[0], common])
    return [(whole(g.left), whole(g.right)) for g in groups]


@dataclass
class _Group:
    """Parts of both sides, and the vectors that they name."""

    names: set[str] = field(default_factory=set)
    left: list[Any] = field(default_factory=list)
    right: list[Any] = field(default_factory=list)


def _joined(groups: list[_Group]) -> _Group:
    return _Group(
        set().union(*(g.names for g in groups)),
        [part for g in groups for part in g.left],
        [part for g in groups for part in g.right],
    )
