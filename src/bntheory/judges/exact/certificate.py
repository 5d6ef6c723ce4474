"""Whether one layer in rational numbers refutes a claim, decided without rounding.

The claim's domain is checked in rational arithmetic (H positive semidefinite by an exact LDL'). Then the hypotheses and the
claim are evaluated twice, through the same closed-form layer: in Arb balls, whose precision is doubled until every sign is
that of a whole ball, and, where balls cannot decide (an equality, a strict inequality that is met with equality), in exact
radicals. A relation that neither decides is undecided, one whose sides have no value is undefined; the claim is refuted where
it is false in spite of them (:mod:`bntheory.layer.three_valued`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bntheory.claims.claim import Claim
from bntheory.errors import ClaimError
from bntheory.judges.exact.domain_check import outside_domain
from bntheory.judges.exact.witness import Instance
from bntheory.judges.failing import structure_of
from bntheory.layer.constants import exact, of_any_length
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, AnyOf, Relation, Statement, atoms
from bntheory.layer.three_valued import map_atoms, value_of
from bntheory.layer.view import state

__all__ = ["Certificate", "CheckedRelation", "certify", "negated_equalities", "outside_domain", "statements"]

_FIRST_BITS, _MORE_BITS = (96, 384), (1536, 6144)


@dataclass(frozen=True)
class CheckedRelation:
    """One relation at one layer: enclosures of both sides, and whether it holds (None: undecided, or undefined).

    margin: (right - left)/(|left| + |right|), or minus |left - right|/(|left| + |right|) for an equality; None where both are zero.
    """

    op: str
    left: str
    right: str
    holds: bool | None
    label: str = ""
    exact: bool = False
    margin: float | None = None
    undefined: bool = False

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        return {
            "label": self.label,
            "op": self.op,
            "left": self.left,
            "right": self.right,
            "holds": self.holds,
            "margin": self.margin,
            "by": "radicals" if self.exact else "balls",
            **({"undefined": True} if self.undefined else {}),
        }


@dataclass(frozen=True)
class Certificate:
    """What exact evaluation says of a claim at one layer.

    refuted: the domain and all hypotheses hold and the claim fails, all of it decided. why: in words. bits: the precision at
    which the balls decided (0: they did not, radicals did). hypotheses, relations: every atom with both sides.
    structure: how the claim joins several relations (:func:`~bntheory.judges.failing.structure_of`).
    """

    refuted: bool
    why: str
    bits: int = 0
    hypotheses: tuple[CheckedRelation, ...] = ()
    relations: tuple[CheckedRelation, ...] = ()
    structure: Any = None

    def as_json(self) -> dict[str, Any]:
        """The ``certificate`` block of a witness file."""
        return {
            "refuted": self.refuted,
            "why": self.why,
            "bits": self.bits,
            "hypotheses": [r.as_json() for r in self.hypotheses],
            "relations": [r.as_json() for r in self.relations],
            **({} if self.structure is None else {"structure": self.structure}),
        }


@of_any_length()
def certify(claim: Claim, x: Instance) -> Certificate:
    """Decide whether ``x`` refutes ``claim``. ClaimError where the claim's own code raises."""
    domain = claim.domain
    if domain is None:
        raise ValueError(f"claim {claim.id} has no layer domain; only layer claims have witnesses of this kind")
    reason = outside_domain(domain, x)
    if reason:
        return Certificate(False, f"outside the domain: {reason}")
    known: tuple[Any, ...] | None = None
    for bits in (*_FIRST_BITS, 0, *_MORE_BITS):
        found = _by_balls(claim, domain, x, bits) if bits else _by_radicals(claim, domain, x)
        if found is not None:
            known = found if known is None else tuple(map(_merge, known, found))
            settled = _verdict(*known) is not None
            if settled or all(a.holds is not None or a.undefined for tree in known for a in atoms(tree)):
                return _certificate(bits, known)
    if known is None:
        return Certificate(False, "undecided: the claim compares numbers that rounding cannot tell apart")
    return _certificate(_MORE_BITS[-1], known)


def _certificate(bits: int, trees: tuple[Any, ...]) -> Certificate:
    verdict = _verdict(*trees)
    hypotheses, relations = (tuple(atoms(tree)) for tree in trees)
    assumed = value_of(trees[0], _truth)
    open_ = [r for r in (*hypotheses, *relations) if r.holds is None]
    if verdict:
        why = "every hypothesis holds and the claim fails"
    elif assumed is False:
        why = "a hypothesis fails"
    elif value_of(trees[1], _truth) is True:
        why = "the claim holds here" if assumed else "a hypothesis is undecided, and the claim holds here"
    elif all(r.undefined for r in open_):
        why = "undefined here: " + "; ".join(f"{r.left} {r.op} {r.right}" for r in open_[:1])
    else:
        why = "undecided: " + next(f"{r.left} {r.op} {r.right}" for r in open_ if not r.undefined)
    structure = structure_of(trees[1]) if len(relations) > 1 else None
    return Certificate(verdict is True, why, bits, hypotheses, relations, structure)


def _verdict(hypotheses: Any, relations: Any) -> bool | None:
    """True: refuted. False: it cannot be. None: undecided, or undefined."""
    assumed, stated = value_of(hypotheses, _truth), value_of(relations, _truth)
    if assumed is False or stated is True:
        return False
    if assumed is True and stated is False:
        return True
    return None


def _truth(relation: CheckedRelation) -> bool | None:
    return relation.holds


def _merge(one: Any, other: Any) -> Any:
    if not isinstance(one, CheckedRelation):
        return type(one)(tuple(_merge(a, b) for a, b in zip(one.parts, other.parts, strict=True)))
    if one.holds is not None and other.holds is not None and one.holds != other.holds:
        raise AssertionError(
            f"balls and radicals disagree on {one.left} {one.op} {one.right}: a defect of bntheory, please report it"
        )
    return one if one.holds is not None or one.undefined else other


def _by_balls(claim: Claim, domain: LayerDomain, x: Instance, bits: int) -> tuple[Any, ...] | None:
    from bntheory.judges.exact.balls import Ball, precision

    with precision(bits):
        try:
            return _evaluate(claim, domain, x.arrays(Ball))
        except ArithmeticError:  # the claim's code compares balls that overlap
            return None


def _by_radicals(claim: Claim, domain: LayerDomain, x: Instance) -> tuple[Any, ...] | None:
    from bntheory.judges.exact.radicals import Radical

    try:
        return _evaluate(claim, domain, x.arrays(Radical))
    except ArithmeticError:
        return None


def hypotheses(claim: Claim, layer: Any) -> Statement:
    """What a claim assumes at a layer, as :func:`~bntheory.layer.view.state` has it."""
    return AllOf(()) if claim.assume is None else state(claim.assume, layer, claim.domain)


def statements(claim: Claim, layer: Any) -> tuple[Statement, Statement]:
    """The hypotheses and the claim at a layer."""
    return hypotheses(claim, layer), state(claim.check, layer, claim.domain)


def negated_equalities(statement: AnyOf) -> tuple[list[Relation], list[Statement]]:
    """What of a disjunction denies an equality (a pair a < b, b < a, or 0 < ||u - v||^2), as that equality; and its other parts."""
    parts: list[Statement] = []
    for part in statement.parts:
        parts.extend(part.parts if isinstance(part, AnyOf) else (part,))
    strict = [p for p in parts if isinstance(p, Relation) and p.op == "lt"]
    paired = [p.denies for p in strict if p.denies is not None]
    used = {id(p) for p in strict if p.denies is not None}
    for i, one in enumerate(strict):
        for other in strict[i + 1 :]:
            if one.left is other.right and one.right is other.left:
                paired.append(Relation("eq", one.left, one.right, one.label))
                used |= {id(one), id(other)}
    return paired, [p for p in parts if id(p) not in used]


def _evaluate(claim: Claim, domain: LayerDomain, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
    assumed, stated = statements(claim, make_layer(domain.normaliser, **arrays))
    return map_atoms(assumed, _check_relation), map_atoms(stated, _check_relation)


def _check_relation(relation: Relation) -> CheckedRelation:
    left, right = (_numbers(v) for v in (relation.left, relation.right))
    difference = np.atleast_1d(left - right).ravel()
    signs = [_sign(d) for d in difference]
    missing = {getattr(d, "missing", "") for d in difference}
    if relation.op != "eq" and len(signs) != 1:
        raise ClaimError(
            f"{relation.op}(a, b) compares numbers, but its operands have {len(signs)} entries; vectors can only be equal (eq)"
        )
    at = next((i for i, s in enumerate(signs) if s not in (0, None)), 0)
    holds: bool | None = None
    if missing == {""}:
        if relation.op == "eq":
            holds = False if any(signs) else None if None in signs else True
        elif signs[0] is not None:
            holds = signs[0] in ((-1, 0) if relation.op == "le" else (-1,))
    radicals = any(type(v).__name__ == "Radical" for v in difference)
    shown = [str(np.broadcast_to(v, np.broadcast_shapes(left.shape, right.shape)).ravel()[at]) for v in (left, right)]
    return CheckedRelation(
        relation.op,
        shown[0],
        shown[1],
        holds,
        relation.label,
        radicals,
        _margin(relation.op, left, right, difference),
        "undefined" in missing,
    )


def _numbers(side: Any) -> Any:
    """A side as an array of exact numbers."""
    array = np.atleast_1d(np.asarray(side, dtype=object))
    return np.vectorize(lambda x: exact(x) if isinstance(x, float) else x, otypes=[object])(array)


def _margin(op: str, left: Any, right: Any, difference: Any) -> float | None:
    size = max(abs(float(v)) for v in left.ravel()) + max(abs(float(v)) for v in right.ravel())
    if not 0 < size < float("inf"):
        return None
    gaps = [0.0 if _sign(d) in (0, None) else float(d) for d in difference]
    return -max(map(abs, gaps)) / size if op == "eq" else -gaps[0] / size


def _sign(value: Any) -> int | None:
    if isinstance(value, (int, float, Fraction)):
        return (value > 0) - (value < 0) if value == value else None
    sign: int | None = value.sign()
    return sign
