"""Hypotheses that say what a free quantity is, such as ``y@2 == y - t*input_grad``: it is put in, and fewer numbers are left.

A claim about all y and v with v = f(y) is one about all y, with f(y) for v; where f(y) has no value the hypothesis is not met, and the
claim says nothing. A counterexample of the shorter claim is one of the claim itself when v is given its value there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Any

from bntheory.claims.claim import Claim
from bntheory.claims.typed.expression import TypedClaim, read_again
from bntheory.claims.typed.interpreter import Interpreter
from bntheory.claims.typed.syntax import Binary, Compare, Junction, Name, Node, Number
from bntheory.claims.typed.transcript import text_of, transcribe
from bntheory.claims.typed.trees import names_of, sum_of, terms_of
from bntheory.judges.exact.witness import Instance
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import Relation
from bntheory.layer.three_valued import map_atoms
from bntheory.layer.view import View, state

_MOST_TERMS, _LONGEST = 64, 4000
_SHORT = sorted({Fraction(a, b) for b in (1, 2, 3, 4) for a in range(1, 12 * b)}, key=lambda s: (s.denominator, s))


class Definitions:
    """What some free scalars and vectors of a domain are: trees of the typed grammar, none of which leads back to itself."""

    def __init__(self, domain: LayerDomain, reader: TypedClaim, meaning: Mapping[str, Node]) -> None:
        self.domain, self.reader, self.meaning = domain, reader, dict(meaning)

    def put_into(self, claim: Claim) -> Claim:
        """The claim in which they are free no longer; to be stated in a world of symbols."""
        assume = claim.assume
        return replace(claim, check=self._put(claim.check), assume=assume and self._put(assume))

    def _put(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def put(view: View) -> Any:
            def own(side: Any) -> Any:
                if isinstance(side, (int, float, Fraction)):
                    return side
                return view._wrapped(side, "vector" if hasattr(side, "norm2") else "scalar")

            def in_view(r: Relation) -> Relation:
                return Relation(r.op, own(r.left), own(r.right), r.label)

            return map_atoms(state(function, _Defined(view._world, self), self.domain), in_view)

        return put

    def value(self, world: Any, name: str) -> Any:
        """What a quantity is in a world."""
        view = View(world, self.domain)
        return view._unwrapped(Interpreter(self.reader, view).value(self.meaning[name]), name)

    def completed(self, x: Instance) -> Iterator[Instance]:
        """Layers of the claim, x or near it, with the quantities at their values; none where these are irrational."""
        import numpy as np

        from bntheory.judges.exact.radicals import Radical
        from bntheory.judges.exact.repair import rational_sigma
        from bntheory.layer.family import make_layer

        for near in (x, *rational_sigma(self.domain, x), *self._with_short_sigma(x)):
            with suppress(ArithmeticError, ValueError):
                layer = _Defined(make_layer(self.domain.normaliser, **near.arrays(Radical)), self)
                of = {name: [Radical(r).as_fraction() for r in np.ravel(layer.value(name))] for name in self.meaning}
                scalars = {name: v[0] for name, v in of.items() if name in self.domain.scalars}
                vectors = {name: tuple(v) for name, v in of.items() if name not in scalars}
                yield replace(near, scalars={**near.scalars, **scalars}, vectors={**near.vectors, **vectors})

    def _with_short_sigma(self, x: Instance) -> Iterator[Instance]:
        """Layers whose eps makes sigma a short rational: for some, the roots at a second batch are rational too."""
        mean = sum(x.y, Fraction(0)) / x.m
        variance = sum(((v - mean) ** 2 for v in x.y), Fraction(0)) / x.m
        if self.domain.eps != "zero":
            for sigma in _SHORT:
                if sigma**2 > variance:
                    yield replace(x, eps=sigma**2 - variance)


class _Defined:
    """A world in which the defined quantities have their values."""

    def __init__(self, world: Any, definitions: Definitions) -> None:
        self._world, self._definitions = world, definitions
        self._values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def value(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = self._definitions.value(self, name)
        return self._values[name]

    def scalar(self, name: str) -> Any:
        return self.value(name) if name in self._definitions.meaning else self._world.scalar(name)

    def vector(self, name: str) -> Any:
        return self.value(name) if name in self._definitions.meaning else self._world.vector(name)


def definitions_of(claim: Claim) -> Definitions | None:
    """The free quantities that hypotheses define; None where there are none."""
    domain = claim.domain
    if claim.assume is None or domain is None:
        return None
    free = {v for v in domain.vectors if not v.endswith("@case")}
    free |= {s for s, kind in domain.scalars.items() if kind == "any" and s != domain.smoothness}
    meaning: dict[str, Node] = {}

    def reached(names: set[str]) -> set[str]:
        return names.union(*(reached(names_of(meaning[n])) for n in names & set(meaning)))

    for equation in _equations(transcribe(claim.assume, domain)):
        terms = list(islice(terms_of(equation), _MOST_TERMS + 1))
        if len(terms) > _MOST_TERMS or text_of(equation, _LONGEST).endswith("..."):
            continue
        for i, (factor, term) in enumerate(terms):
            others = terms[:i] + terms[i + 1 :]
            used = reached(set().union(*(names_of(node) for _, node in others)))
            if isinstance(term, Name) and term.name in free - set(meaning) - used:
                meaning[term.name] = sum_of(
                    [(-c / factor, node) for c, node in others], vector=term.name in domain.vectors
                )
                break
    reader = read_again(Number(Fraction(0), 0), domain)
    return Definitions(domain, reader, meaning) if meaning and reader is not None else None


def _equations(tree: Node) -> Iterator[Node]:
    """left - right of every equality that has to hold."""
    if isinstance(tree, Junction) and tree.op == "and":
        for part in tree.parts:
            yield from _equations(part)
    elif isinstance(tree, Compare) and tree.ops == ("==",):
        yield Binary("-", tree.first, tree.rest[0], tree.column)
