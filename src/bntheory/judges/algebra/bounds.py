"""Bounds made of bounds: claims that are enough for a <= b where both sides are sums or products over separate vectors, or hold roots.

    a1 + a2 <= b1 + b2     follows from   a1 <= b1 and a2 <= b2
    a1 a2 <= b1 b2         follows from   0 <= a1 <= b1 and 0 <= a2 <= b2
    sqrt(a) <= c sqrt(b)   follows from   a <= c^2 b and 0 <= c sqrt(b)
    a <= b                 follows from   a <= c and c <= b

Two units of a layer, two gradients: the parts share no vector, so each has half the coordinates, and the solver decides it at once
where the whole is too much. The middle c is a, or b, with one part put in another's place: a hypothesis p <= q has p and q, and so has
what the layer and a smooth loss do to a norm. Where the hypothesis holds q has a value, so c has one wherever a and b have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from typing import Any

from bntheory.claims.claim import Claim
from bntheory.claims.typed.expression import read_again
from bntheory.claims.typed.syntax import Binary, Call, Compare, Junction, Name, Node, Number, parse
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.claims.typed.trees import (
    calls_of,
    conjuncts_of,
    factors_of,
    names_of,
    parts,
    product_of,
    sum_of,
    terms_of,
)
from bntheory.judges.algebra.second_batch import written
from bntheory.layer.domain import LayerDomain

_MOST_PARTS, _LONGEST, _MOST_KNOWN = 32, 4000, 8
_Pairs = list[tuple[Node, Node, bool]]  # a <= b; a < b where the last is true and the claim is strict


def sufficient(claim: Claim) -> Iterator[list[Claim]]:
    """Lists of claims that together imply the claim, on its domain and under its hypotheses."""
    domain = claim.domain
    assert domain is not None
    tree = _inequality(claim)
    if tree is None:
        return
    left, right = tree.first, tree.rest[0]
    for ways in (_summands(left, right, domain), _factors(left, right, domain), _squares(left, right)):
        bounds = [Compare(a, tree.ops if strict else ("<=",), (b,), 0) for a, b, strict in ways]
        checks = [read_again(bound, domain) for bound in bounds]
        if checks and None not in checks:
            yield [replace(claim, check=check) for check in checks if check is not None]
    yield from _chained(claim, domain, tree)


def _inequality(claim: Claim) -> Compare | None:
    """The claim's tree where it is one bound, and not too long."""
    assert claim.domain is not None
    tree = transcribe(claim.check, claim.domain)
    if not isinstance(tree, Compare) or tree.ops not in (("<=",), ("<",)):
        return None
    return None if text_of(tree, _LONGEST).endswith("...") else tree


def _chained(claim: Claim, domain: LayerDomain, tree: Compare) -> Iterator[list[Claim]]:
    """a <= c and c <= b, where p <= q makes c of a or of b. The one that is p <= q itself comes first."""
    left, right = tree.first, tree.rest[0]
    for p, q, rest in islice(_known(claim, domain, tree), _MOST_KNOWN):
        for near, old, new in ((left, p, q), (right, q, p)):
            middle = _exchanged(near, old, new)
            if middle is None:
                continue
            ends = (left, middle), (middle, right)
            step, remains = ends if near is left else ends[::-1]
            checks = [
                read_again(Compare(a, ops, (b,), 0), domain) for ops, (a, b) in ((("<=",), step), (tree.ops, remains))
            ]
            if checks[0] is not None and checks[1] is not None:
                yield [replace(claim, check=checks[0]), replace(rest, check=checks[1])]


def _known(claim: Claim, domain: LayerDomain, tree: Node) -> Iterator[tuple[Node, Node, Claim]]:
    """p <= q, and the claim without the hypothesis that it is."""
    hypotheses = [] if claim.assume is None else list(conjuncts_of(transcribe(claim.assume, domain)))
    for i, part in enumerate(hypotheses):
        if isinstance(part, Compare) and part.ops in (("<=",), ("<",)):
            others = (*hypotheses[:i], *hypotheses[i + 1 :])
            yield (
                part.first,
                part.rest[0],
                replace(claim, assume=read_again(Junction("and", others, 0), domain) if others else None),
            )
    factors = {"jac": "gamma**2/sigma**2"} | ({"hess": f"({domain.smoothness})**2"} if domain.smoothness else {})
    for call in calls_of(tree, factors):
        (v,) = call.arguments
        yield _norm2(call), Binary("*", parse(factors[call.name]), _norm2(v), 0), claim
        if call.name == "hess":
            yield Call("dot", (v, call), 0), Binary("*", parse(domain.smoothness), _norm2(v), 0), claim
    if "input_grad" in names_of(tree):
        yield _norm2(Name("input_grad", 0)), Binary("*", parse(factors["jac"]), _norm2(Name("grad", 0)), 0), claim
    if "y@2" in names_of(tree) and domain.eps == "positive":
        yield written("norm2(z@2 - z)", domain), parse("gamma**2/eps*norm2(y@2 - y)"), claim
    if "grad@2" in names_of(tree):
        yield written("norm2(input_grad@2)", domain), parse("gamma**2/sigma@2**2*norm2(grad@2)"), claim


def _norm2(v: Node) -> Node:
    return Call("norm2", (v,), 0)


def _exchanged(side: Node, old: Node, new: Node) -> Node | None:
    """The side with ``new`` for ``old`` in every term that has it as a factor; None where none has."""
    terms, changed = [], False
    for c, term in islice(terms_of(side), _MOST_PARTS):
        wanted, others = [(above, text_of(f)) for above, f in factors_of(old)], []
        for above, factor in factors_of(term):
            if (above, text_of(factor)) in wanted:
                wanted.remove((above, text_of(factor)))
            else:
                others.append((above, factor))
        changes = None if wanted else product_of([*others, (True, new)])
        changes = changes or _exchanged_within(term, old, new)
        changed = changed or changes is not None
        terms.append((c, changes or term))
    return sum_of(terms) if changed else None


def _exchanged_within(term: Node, old: Node, new: Node) -> Node | None:
    """The term with ``new`` for ``old`` under its roots."""
    factors, changed = [], False
    for above, factor in factors_of(term):
        root = above and isinstance(factor, Call) and factor.name == "sqrt"
        inside = _exchanged(parts(factor)[0], old, new) if root else None
        changed = changed or inside is not None
        factors.append((above, factor if inside is None else Call("sqrt", (inside,), 0)))
    return product_of(factors) if changed else None


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
