"""Claims about a second batch, told with fewer unknowns. What is proved of the shorter claims is proved of the claim.

A claim that speaks of the second batch alone is one about the first. And where z@2, sigma@2 and the like are taken for quantities of
which nothing is known, a proof holds whatever they are: so a triangle inequality between outputs is one between vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from bntheory.claims.claim import Claim
from bntheory.claims.typed.expression import read_again
from bntheory.claims.typed.syntax import Compare, Junction, Name, Node, parse
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.claims.typed.trees import conjuncts_of, exchanged, names_of
from bntheory.judges.algebra.definitions import Definitions
from bntheory.layer.domain import LayerDomain, ScalarRange
from bntheory.layer.relations import AllOf, as_statement, le
from bntheory.layer.second_batch import SecondBatch
from bntheory.layer.second_unit import SecondUnit
from bntheory.layer.words import WORDS

_LONGEST = 4000
#: The words that do not tell one batch from another.
_SHARED = {"m", "gamma", "beta", "eps", "one", "dot", "norm2", "trace", "sqrt"}
#: What belongs to a second batch, or to another unit, besides its batch and its gradient.
_SECONDS: Mapping[str, tuple[type[SecondBatch], tuple[str, ...]]] = {
    "@2": (SecondBatch, ()),
    "@b": (SecondUnit, ("gamma", "beta")),
}
_ABSTRACT: Mapping[str, ScalarRange | None] = {
    "mu": "any",
    "var": "nonnegative",
    "sigma": "nonnegative",
    "y_hat": None,
    "z": None,
    "input_grad": None,
}


def of_the_first(claim: Claim) -> list[Claim]:
    """Claims about one batch that together imply a claim about the second one, or the second unit, alone; none where it speaks of more.

    y@2 and grad@2 are any batch with any gradient, so they may be called y and grad; hypotheses that speak of the first batch, or of
    both, are left aside. A batch without a scale (constant, with eps = 0) can be a second one and no first, and is asked about apart.
    """
    domain = claim.domain
    assert domain is not None
    for suffix in _declared(domain):
        second, own = _SECONDS[suffix]
        tree = transcribe(claim.check, domain)
        reader = read_again(tree, domain)
        if reader is None or not _alone(tree, own) or "y" + suffix not in names_of(tree):
            continue
        hypotheses = () if claim.assume is None else conjuncts_of(transcribe(claim.assume, domain))
        kept = tuple(h for h in hypotheses if _alone(h, own))
        assume = read_again(Junction("and", kept, 0), domain) if kept else None
        meaning: dict[str, Node] = {word + suffix: Name(word, 0) for word in ("y", "grad", *own)}
        gamma = domain.scalars.get("gamma@b", "any") if own else domain.gamma
        any_gradient = replace(domain, gamma=gamma, gradient="any", loss="")
        first = replace(claim, assume=assume, domain=any_gradient)
        shorter = Definitions(any_gradient, reader, meaning).put_into(first)
        flat = [] if domain.eps == "positive" else [replace(claim, assume=_without_scale(claim, second))]
        return [shorter, *flat]
    return []


def _declared(domain: LayerDomain) -> list[str]:
    """Of which second batch or unit the domain has all that its words are made of; a free vector may be called y@b and be none."""
    return [
        suffix
        for suffix, (_, own) in _SECONDS.items()
        if "y" + suffix in domain.vectors and all(name + suffix in domain.scalars for name in own)
    ]


def _without_scale(claim: Claim, second: type[SecondBatch]) -> Callable[[Any], AllOf]:
    """The hypotheses, where the second batch is constant and eps is zero."""
    domain, stated = claim.domain, claim.assume
    assert domain is not None

    def hypotheses(layer: Any) -> AllOf:
        parts = [] if stated is None else [as_statement(stated(layer))]
        return AllOf((*parts, le(second(layer, domain.normaliser).var, 0), le(layer.eps, 0)))

    return hypotheses


def _alone(tree: Node, own: tuple[str, ...]) -> bool:
    names = names_of(tree)
    return "rise" not in names and names & set(WORDS) <= _SHARED - set(own)


def abstracted(claim: Claim) -> Claim | None:
    """The claim with every word of a second batch or unit a free quantity; None where it has none.

    Of sigma@2 and sigma@b it is kept that they are not below the root of eps. Where a word has no value the claim and its hypotheses say
    what they say whatever it is, so none of what is false there is lost.
    """
    domain = claim.domain
    assert domain is not None
    table = words_of_others(domain)
    if not table:
        return None
    trees = [transcribe(f, domain) for f in (claim.check, claim.assume) if f is not None]
    if any(text_of(tree, _LONGEST).endswith("...") for tree in trees):  # its parts may be shared, and it has many more
        return None
    trees = [exchanged(tree, table) for tree in trees]
    names = set().union(*map(names_of, trees))
    kinds = {w.name: _ABSTRACT[w.name.partition("@")[0]] for w in table.values() if w.name in names}
    if not kinds:
        return None
    trees += [parse(f"eps <= {name}**2") for name in kinds if name.startswith("sigma@")]
    free = domain.with_free(
        {name: kind for name, kind in kinds.items() if kind}, [name for name in kinds if not kinds[name]]
    )
    check = read_again(trees[0], free)
    assume = read_again(Junction("and", tuple(trees[1:]), 0), free) if trees[1:] else None
    return None if check is None else replace(claim, check=check, assume=assume, domain=free)


def words_of_others(domain: LayerDomain) -> dict[str, Name]:
    """The words of a second batch and a second unit, by what they are in those of one batch; empty where the domain has neither."""
    words = [word + suffix for suffix in _declared(domain) for word in _ABSTRACT]
    trees = {w: written(w, domain) for w in words if "grad" not in w or w.removeprefix("input_") in domain.vectors}
    return {text_of(tree): Name(word, 0) for word, tree in trees.items() if not isinstance(tree, Name)}


def written(text: str, domain: LayerDomain) -> Node:
    """What a typed expression is in the words of one batch."""
    node = parse(text)
    reader = read_again(Compare(node, ("==",), (node,), 0), domain)
    assert reader is not None
    tree = transcribe(reader, domain)
    assert isinstance(tree, Compare)
    return tree.first
