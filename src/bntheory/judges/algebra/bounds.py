"""Bounds made of bounds: claims that are enough for a <= b where both sides are sums or products over separate vectors, or hold roots.

    a1 + a2 <= b1 + b2     follows from   a1 <= b1 and a2 <= b2
    a1 a2 <= b1 b2         follows from   0 <= a1 <= b1 and 0 <= a2 <= b2
    sqrt(a) <= c sqrt(b)   follows from   a <= c^2 b and 0 <= c sqrt(b)
    a <= b                 follows from   a <= c and c <= b

Two units of a layer, two gradients: the parts share no vector, so each has half the coordinates, and the solver decides it at once
where the whole is too much. The middle c is a, or b, with one part put in another's place: a hypothesis p <= q has p and q, and so has
what the layer and a smooth loss do to a norm. Where the hypothesis holds q has a value, so c has one wherever a and b have; p and q
rise together where what multiplies them is not negative.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
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
    exchanged,
    factors_of,
    names_of,
    parts,
    product_of,
    same,
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
    if not isinstance(tree, Compare) or tree.ops not in (("<=",), ("<",)) or text_of(tree, _LONGEST).endswith("..."):
        return None
    bent = exchanged(tree, _curvatures(tree, claim.domain))
    return bent if isinstance(bent, Compare) else None


def _curvatures(tree: Node, domain: LayerDomain) -> dict[str, Node]:
    """What <u, input_hess(u)> is, by its text: <J u, H J u>, and what the statistics add where they move with y.

    With dual = q, sigma moves along u by <q, u>/m and J u is gamma dy_hat; the second derivative of gamma y_hat in the direction u is
    -(2 <q, u> J u + k (<u, J u>) y_hat)/(m sigma), centred, with dq = k dy_hat; its product with g is what is taken off.
    """
    if domain.normaliser in ("l1", "linf"):  # whose J is not symmetric
        return {}
    follows = "m/(m - 1)*" if domain.normaliser == "unbiased" else ""
    added = f" - (2*dot(dual, u)*dot(u, input_grad) + {follows}gamma_grad*dot(u, jac(u)))/(m*sigma)"
    own = "dot(jac(u), hess(jac(u)))" + ("" if domain.normaliser in ("frozen", "mean-only") else added)
    squares = [c for c in calls_of(tree, ("dot",)) if same(Call("input_hess", c.arguments[:1], 0), c.arguments[1])]
    return {text_of(c): exchanged(parse(own), {"u": c.arguments[0]}) for c in squares}


def _chained(claim: Claim, domain: LayerDomain, tree: Compare) -> Iterator[list[Claim]]:
    """What is left of a <= c and c <= b, where p <= q makes c of a or of b: the other bound, what must not be negative, and p <= q."""
    left, right = tree.first, tree.rest[0]
    gone: dict[bool, tuple[Any, list[Node], Node]] = {}  # what went over already: squares, before the roots of the same
    for p, q, rest, known in islice(_known(claim, domain, tree), _MOST_KNOWN):
        for near, old, new in ((left, p, q), (right, q, p)):
            same = known is not None and gone.get(near is left, (None,))[0] is known
            _, signs, start = gone[near is left] if same else (known, [], near)
            changed = _exchanged(start, old, new)
            if changed is None:
                continue
            not_negative, middle = [*signs, *changed[0]], changed[1]
            gone[near is left] = known, not_negative, middle
            a, b = (middle, right) if near is left else (left, middle)
            zero = Number(Fraction(0), 0)
            wanted = [(rest, a, tree.ops[0], b), *((claim, zero, "<=", x) for x in not_negative)]
            if known is not None:  # of every layer, whatever the hypotheses; with fewer signs the solver is faster
                bare = replace(claim, assume=None, domain=replace(domain, gamma="any"))
                wanted.append((bare, known[0], "<=", known[1]))
            checks = [(of, read_again(Compare(x, (op,), (y,), 0), domain)) for of, x, op, y in wanted]
            if all(check is not None for _, check in checks):
                yield [replace(of, check=check) for of, check in checks if check is not None]


def _known(
    claim: Claim, domain: LayerDomain, tree: Node
) -> Iterator[tuple[Node, Node, Claim, tuple[Node, Node] | None]]:
    """p <= q, and the claim without the hypothesis that it is; where it is none, the two sides of what implies it."""
    hypotheses = [] if claim.assume is None else list(conjuncts_of(transcribe(claim.assume, domain)))
    for i, part in enumerate(hypotheses):
        if isinstance(part, Compare) and part.ops in (("<=",), ("<",)):
            others = (*hypotheses[:i], *hypotheses[i + 1 :])
            assume = read_again(Junction("and", others, 0), domain) if others else None
            yield part.first, part.rest[0], replace(claim, assume=assume), None
    rooted = "sqrt" in names_of(tree)
    for image, slope, square, v in _maps(domain, tree):
        squares = _norm2(image), Binary("*", parse(square), _norm2(v), 0)
        yield *squares, claim, squares
        if rooted and ("gamma" not in slope or domain.gamma == "positive"):
            yield _root(image), Binary("*", parse(slope), _root(v), 0), claim, squares
    most = domain.smoothness
    least = "0" if domain.hessian.startswith("psd") else most and f"-({most})"
    for call in _each(tree, ("hess",)):
        form = Call("dot", (*call.arguments, call), 0)
        limits = [x and Binary("*", parse(x), _norm2(*call.arguments), 0) for x in (most, least)]
        bounds = [(form, limits[0]), (limits[1], form)]
        yield from ((a, b, claim, (a, b)) for a, b in bounds if a and b)


def _each(tree: Node, names: Container[str]) -> list[Call]:
    """The calls of these names, each once."""
    return list({text_of(call): call for call in calls_of(tree, names)}.values())


def _maps(domain: LayerDomain, tree: Node) -> Iterator[tuple[Node, str, str, Node]]:
    """What of the claim is no longer than a number times another vector: it, the number, its square, the vector."""
    slopes = {"jac": ("gamma/sigma", "gamma**2/sigma**2")}
    slopes |= {"hess": (domain.smoothness, f"({domain.smoothness})**2")} if domain.smoothness else {}
    for call in _each(tree, slopes):
        yield call, *slopes[call.name], call.arguments[0]
    names = names_of(tree)
    if "input_grad" in names:
        yield Name("input_grad", 0), *slopes["jac"], Name("grad", 0)
    if "y@2" in names and domain.eps == "positive":
        yield written("z@2 - z", domain), "gamma/sqrt(eps)", "gamma**2/eps", written("y@2 - y", domain)
    if "grad@2" in names:
        slope = "gamma/sigma@2", "gamma**2/sigma@2**2"
        yield written("input_grad@2", domain), *slope, Name("grad@2", 0)


def _root(v: Node) -> Node:
    return Call("sqrt", (_norm2(v),), 0)


def _norm2(v: Node) -> Node:
    return Call("norm2", (v,), 0)


def _exchanged(side: Node, old: Node, new: Node) -> tuple[list[Node], Node] | None:
    """The side with ``new`` for ``old`` where terms, or what is under their roots, have it as a factor; None where none has.

    First what must not be negative: the numbers before it, so that it rises with what was exchanged, and the new radicands, so that it
    has a value.
    """
    terms = list(islice(terms_of(side), _MOST_PARTS + 1))
    found = [_exchanged_in(term, old, new) for _, term in terms]
    if len(terms) > _MOST_PARTS or not any(found):
        return None
    changed = [(c, *other) for (c, _), other in zip(terms, found, strict=True) if other]
    before = [sum_of([(c, x)]) for c, x, _, _ in changed if not isinstance(x, Number) or c * x.value < 0]
    within = [x for _, _, radicands, _ in changed for x in radicands]
    return [*before, *within], sum_of(
        (c, other[2] if other else term) for (c, term), other in zip(terms, found, strict=True)
    )


def _exchanged_in(term: Node, old: Node, new: Node) -> tuple[Node, list[Node], Node] | None:
    """What stands before ``old`` in a product, what must not be negative under roots, and the product with ``new``."""
    wanted, others = [(above, text_of(f)) for above, f in factors_of(old)], []
    beside: list[tuple[bool, Node]] = []
    roots: list[tuple[bool, Node]] = []
    radicands: list[Node] = []
    for above, factor in factors_of(term):
        if (above, text_of(factor)) in wanted:
            wanted.remove((above, text_of(factor)))
        else:
            others.append((above, factor))
        root = above and isinstance(factor, Call) and factor.name == "sqrt"
        inside = _exchanged(parts(factor)[0], old, new) if root else None
        if inside is None:
            beside.append((above, factor))
        else:
            radicands += [*inside[0], inside[1]]
            roots.append((True, Call("sqrt", (inside[1],), 0)))
    if not wanted:
        return product_of(others), [], product_of([*others, (True, new)])
    return (product_of(beside), radicands, product_of([*beside, *roots])) if roots else None


def _summands(left: Node, right: Node, domain: LayerDomain) -> _Pairs:
    return [(a, b, True) for a, b in _apart(left, right, domain, _multiplied_out, sum_of)]


def _multiplied_out(side: Node) -> Iterator[tuple[Fraction, Node]]:
    """The terms of a side, s a and s b where it has s (a + b)."""
    for c, term in terms_of(side):
        factors = list(factors_of(term))
        sums = [i for i, (above, f) in enumerate(factors) if above and len(list(islice(terms_of(f), 2))) > 1]
        if not sums:
            yield c, term
            continue
        before, after = factors[: sums[0]], factors[sums[0] + 1 :]
        for k, part in terms_of(factors[sums[0]][1]):
            yield from ((c * k * n, node) for n, node in _multiplied_out(product_of([*before, (True, part), *after])))


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
