"""Whether one layer in rational numbers refutes a claim, decided without rounding.

The claim's domain is checked in rational arithmetic (H positive semidefinite by an exact LDL'). Then the hypotheses and the
claim are evaluated twice, through the same closed-form layer: in Arb balls, whose precision is doubled until every sign is
that of a whole ball, and, where balls cannot decide (an equality, a strict inequality that is met with equality), in exact
radicals. A relation that neither decides is undecided, and then nothing is refuted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bntheory.claims.core import Claim
from bntheory.errors import OutsideVocabulary, UserError
from bntheory.judges.witness import Instance
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
from bntheory.layer.relations import AllOf, Relation, Statement, as_statement

__all__ = ["Certificate", "CheckedRelation", "ClaimError", "certify", "outside_domain", "statements"]

_FIRST_BITS, _MORE_BITS = (96, 384), (1536, 6144)


class ClaimError(UserError):
    """The code of a claim raised, or what it returned makes no sense."""


@dataclass(frozen=True)
class CheckedRelation:
    """One relation at one layer: enclosures of both sides, and whether it holds (None: undecided)."""

    op: str
    left: str
    right: str
    holds: bool | None
    label: str = ""
    exact: bool = False

    def as_json(self) -> dict[str, Any]:
        """A JSON-ready object."""
        return {
            "label": self.label,
            "op": self.op,
            "left": self.left,
            "right": self.right,
            "holds": self.holds,
            "by": "radicals" if self.exact else "balls",
        }


@dataclass(frozen=True)
class Certificate:
    """What exact evaluation says of a claim at one layer.

    refuted: the domain and all hypotheses hold and the claim fails, all of it decided. why: in words. bits: the precision at
    which the balls decided (0: they did not, radicals did). hypotheses, relations: every atom with both sides.
    """

    refuted: bool
    why: str
    bits: int = 0
    hypotheses: tuple[CheckedRelation, ...] = ()
    relations: tuple[CheckedRelation, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The ``certificate`` block of a witness file."""
        return {
            "refuted": self.refuted,
            "why": self.why,
            "bits": self.bits,
            "hypotheses": [r.as_json() for r in self.hypotheses],
            "relations": [r.as_json() for r in self.relations],
        }


def outside_domain(domain: LayerDomain, x: Instance) -> str | None:
    """Why the layer is outside the claim's domain, or None; rational arithmetic throughout."""
    if x.m < domain.min_m:
        return f"m = {x.m} < {domain.min_m}"
    if x.eps < 0 or (domain.eps == "zero" and x.eps) or (domain.eps == "positive" and not x.eps):
        return f"eps = {x.eps}"
    if not _in_range(domain.gamma, x.gamma):
        return f"gamma = {x.gamma} is not {domain.gamma}"
    reason = _undefined(domain, x) or _wrong_hessian(domain.hessian, x)
    if reason:
        return reason
    for what, declared, given in (
        ("scalars", domain.scalars, x.scalars),
        ("vectors", domain.vectors, x.vectors),
        ("operators", domain.operators, x.operators),
    ):
        if set(declared) != set(given):
            return f"the free {what} are {sorted(given)}, the domain declares {sorted(declared)}"
    for name, kind in domain.scalars.items():
        if not _in_range(kind, x.scalars[name]):
            return f"{name} = {x.scalars[name]} is not {kind}"
    for name in domain.vectors:
        if name.endswith("@case") and sorted(x.vectors[name]) != [0] * (x.m - 1) + [1]:
            return f"{name} is no standard basis vector"
    for name, operator in domain.operators.items():
        if operator == "psd" and not _is_psd(x.operators[name]):
            return f"{name} is not positive semidefinite"
    return None


def _in_range(kind: str, value: Fraction) -> bool:
    return {
        "any": True,
        "positive": value > 0,
        "nonzero": value != 0,
        "nonnegative": value >= 0,
        "unit": 0 <= value <= 1,
    }[kind]


def _undefined(domain: LayerDomain, x: Instance) -> str | None:
    """Where the normaliser divides by zero or has no derivative."""
    mean = sum(x.y) / x.m
    centred = [v - mean for v in x.y]
    kind = domain.normaliser
    if kind == "rms":
        return "y = 0 and eps = 0" if not any(x.y) and not x.eps else None
    if kind != "mean-only" and not any(centred) and not x.eps:
        return "y is constant and eps = 0"
    if kind == "l1" and not all(centred):
        return "an entry of y equals the mean, where the l1 scale has no derivative"
    if kind == "linf":
        if x.eps:
            return "eps > 0 with the largest entry as scale"
        sizes = sorted(abs(v) for v in centred)
        if sizes[-1] == sizes[-2]:
            return "two entries of y - mu are largest, where the scale has no derivative"
    return None


def _wrong_hessian(kind: str, x: Instance) -> str | None:
    h, m = x.hess, x.m
    zero = h is None or not any(any(row) for row in h)
    if kind == "zero":
        return None if zero else "H is not zero"
    if kind == "identity" and (h is None or any(h[i][j] != (i == j) for i in range(m) for j in range(m))):
        return "H is not the identity"
    if h is None:
        return None
    off = any(h[i][j] for i in range(m) for j in range(m) if i != j)
    if kind == "diagonal" and off:
        return "H is not diagonal"
    if kind == "isotropic" and (off or any(h[i][i] != h[0][0] for i in range(m))):
        return "H is no multiple of the identity"
    if kind == "psd" and not _is_psd(h):
        return "H is not positive semidefinite"
    return None


def _is_psd(matrix: tuple[tuple[Fraction, ...], ...]) -> bool:
    """LDL' in rationals: every pivot non-negative, and a zero pivot only above a zero column."""
    a = [list(row) for row in matrix]
    n = len(a)
    for k in range(n):
        pivot = a[k][k]
        if pivot < 0 or (pivot == 0 and any(a[i][k] for i in range(k, n))):
            return False
        if pivot:
            for i in range(k + 1, n):
                factor = a[i][k] / pivot
                if factor:
                    for j in range(k, n):
                        a[i][j] -= factor * a[k][j]
    return True


def certify(claim: Claim, x: Instance) -> Certificate:
    """Decide whether ``x`` refutes ``claim``. ClaimError where the claim's own code raises."""
    domain = claim.domain
    if domain is None:
        raise ValueError(
            f"claim {claim.id} has no layer domain; only layer claims have witnesses of this kind"
        )
    reason = outside_domain(domain, x)
    if reason:
        return Certificate(False, f"outside the domain: {reason}")
    balls: tuple[Any, ...] | None = None
    for bits in _FIRST_BITS:
        balls = _by_balls(claim, domain, x, bits) or balls
        if balls is not None and (verdict := _verdict(*balls)) is not None:
            return _certificate(verdict, bits, balls)
    exact = _by_radicals(claim, domain, x)
    if exact is not None:
        merged = exact if balls is None else tuple(_merge(b, e) for b, e in zip(balls, exact, strict=True))
        return _certificate(_verdict(*merged), 0, merged)
    for bits in _MORE_BITS:
        balls = _by_balls(claim, domain, x, bits) or balls
        if balls is not None and (verdict := _verdict(*balls)) is not None:
            return _certificate(verdict, bits, balls)
    if balls is None:
        return Certificate(False, "undefined here: neither balls nor radicals could evaluate the claim")
    return _certificate(None, _MORE_BITS[-1], balls)


def _certificate(verdict: bool | None, bits: int, trees: tuple[Any, ...]) -> Certificate:
    hypotheses, relations = (tuple(_leaves(tree)) for tree in trees)
    if verdict is None:
        why = "undecided: " + next(
            (f"{r.left} {r.op} {r.right}" for r in (*hypotheses, *relations) if r.holds is None), "a sign"
        )
    elif verdict:
        why = "every hypothesis holds and the claim fails"
    elif _holds(trees[0]) is False:
        why = "a hypothesis fails"
    else:
        why = "the claim holds here"
    return Certificate(verdict is True, why, bits, hypotheses, relations)


def _verdict(hypotheses: Any, relations: Any) -> bool | None:
    """True: refuted. False: it cannot be. None: undecided."""
    assumed, stated = _holds(hypotheses), _holds(relations)
    if assumed is False or stated is True:
        return False
    if assumed is True and stated is False:
        return True
    return None


def _holds(tree: Any) -> bool | None:
    """Three-valued truth of a tree ('all' | 'any', parts) of checked relations."""
    if isinstance(tree, CheckedRelation):
        return tree.holds
    values: list[bool | None] = [_holds(part) for part in tree[1]]
    decisive: bool = tree[0] == "any"
    if decisive in values:
        return decisive
    return None if None in values else not decisive


def _leaves(tree: Any) -> Any:
    if isinstance(tree, CheckedRelation):
        yield tree
    else:
        for part in tree[1]:
            yield from _leaves(part)


def _merge(one: Any, other: Any) -> Any:
    if isinstance(one, CheckedRelation):
        if one.holds is not None and other.holds is not None and one.holds != other.holds:
            raise AssertionError(
                f"balls and radicals disagree on {one.left} {one.op} {one.right}: a defect of bntheory, please report it"
            )
        return one if one.holds is not None else other
    return one[0], [_merge(a, b) for a, b in zip(one[1], other[1], strict=True)]


def _by_balls(claim: Claim, domain: LayerDomain, x: Instance, bits: int) -> tuple[Any, ...] | None:
    from bntheory.judges.balls import Ball, precision

    with precision(bits):
        try:
            return _evaluate(claim, domain, x.arrays(Ball))
        except ArithmeticError:  # overlapping balls; a division by zero; a root of a negative number
            return None


def _by_radicals(claim: Claim, domain: LayerDomain, x: Instance) -> tuple[Any, ...] | None:
    from bntheory.judges.radicals import Radical

    try:
        return _evaluate(claim, domain, x.arrays(Radical))
    except ArithmeticError:
        return None


def statements(claim: Claim, layer: Any) -> tuple[Statement, Statement]:
    """The hypotheses and the claim at a layer. ClaimError, with the cause, where the claim's own code raises.

    ArithmeticError (a division by zero at this layer) and OutsideVocabulary pass through: they are no mistake of the claim.
    """
    try:
        assumed: Statement = AllOf(()) if claim.assume is None else as_statement(claim.assume(layer))
        return assumed, as_statement(claim.check(layer))
    except (ArithmeticError, OutsideVocabulary):
        raise
    except Exception as error:
        raise ClaimError(f"{type(error).__name__}: {error}") from error


def _evaluate(claim: Claim, domain: LayerDomain, arrays: Mapping[str, Any]) -> tuple[Any, ...]:
    assumed, stated = statements(claim, make_layer(domain.normaliser, **arrays))
    return _check(assumed), _check(stated)


def _check(statement: Statement) -> Any:
    if isinstance(statement, Relation):
        return _check_relation(statement)
    return "all" if isinstance(statement, AllOf) else "any", [_check(part) for part in statement.parts]


def _check_relation(relation: Relation) -> CheckedRelation:
    left, right = (np.atleast_1d(np.asarray(v, dtype=object)) for v in (relation.left, relation.right))
    difference = np.atleast_1d(left - right).ravel()
    signs = [_sign(d) for d in difference]
    if relation.op != "eq" and len(signs) != 1:
        raise ClaimError(
            f"{relation.op}(a, b) compares numbers, but its operands have {len(signs)} entries; vectors can only be equal (eq)"
        )
    holds: bool | None
    if relation.op == "eq":
        holds = False if any(s not in (0, None) for s in signs) else None if None in signs else True
        at = next((i for i, s in enumerate(signs) if s not in (0, None)), 0)
    else:
        allowed = (-1, 0) if relation.op == "le" else (-1,)
        holds = None if signs[0] is None else signs[0] in allowed
        at = 0
    exact = any(type(v).__name__ == "Radical" for v in difference)
    shown = [
        str(np.broadcast_to(v, np.broadcast_shapes(left.shape, right.shape)).ravel()[at])
        for v in (left, right)
    ]
    return CheckedRelation(relation.op, shown[0], shown[1], holds, relation.label, exact)


def _sign(value: Any) -> int | None:
    if isinstance(value, (int, float, Fraction)):
        return (value > 0) - (value < 0) if value == value else None
    sign: int | None = value.sign()
    return sign
