"""``assert_claim``: a claim as one line of a test suite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bntheory.claims.claim import Claim, Effort, Source, registry
from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import as_statement

if TYPE_CHECKING:
    from bntheory.judges.exact.witness import Instance

_TYPED = "asserted.expression"
Assumption = Callable[[Any], Any] | str | Sequence[str]


def instance_of(layer: BatchNormLayer, domain: LayerDomain) -> Instance:
    """The layer's floats as the rational numbers that they are. ValueError for a batch of layers, and another normaliser's."""
    from bntheory.judges.exact.witness import Instance

    if not isinstance(layer, BatchNormLayer):
        raise ValueError(f"layer is {layer!r:.60}, a {type(layer).__name__}; give one such as BatchNormLayer(y, grad)")
    kinds = [kind.replace("l2", "batch") for kind in (layer.made_as, domain.normaliser)]
    if kinds[0] != kinds[1]:
        raise ValueError(
            f"the layer's normaliser is {kinds[0]!r}, the claim's {kinds[1]!r}; domain=LayerDomain(normaliser=...) says which is meant"
        )
    if "direction 1" in domain.vectors:
        raise ValueError(
            "max_eig and min_eig speak of all directions; at one layer state dot(u, A(u)) <= b*norm2(u) for one of them, a "
            "vector u of LayerDomain(vectors=('u',)) and of the layer's free quantities"
        )
    if len(layer.shape) != 1:
        raise ValueError(f"y has shape {layer.shape}; give one layer at a time, shape (m,)")

    def exact(x: Any) -> Any:
        return Fraction(x) if isinstance(x, float) else tuple(exact(v) for v in x)

    def matrix(product: Callable[[Any], Any]) -> Any:
        return exact(layer.dense(product).tolist())

    return Instance(
        y=exact(layer.y.tolist()),
        grad=exact(layer.grad.tolist()),
        hess=matrix(layer.hess),
        gamma=Fraction(layer.gamma.item()),
        beta=Fraction(layer.beta.item()),
        eps=Fraction(layer.eps.item()),
        scalars={k: Fraction(layer.scalar(k).item()) for k in domain.scalars},
        vectors={k: exact(layer.vector(k).tolist()) for k in domain.vectors},
        operators={k: matrix(layer.operator(k)) for k in domain.operators},
    )


def assert_claim(
    claim: Claim | str | Callable[[Any], Any],
    layer: BatchNormLayer | None = None,
    *,
    domain: LayerDomain | None = None,
    assume: Assumption | None = None,
    effort: Effort = "quick",
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Fail with a small counterexample and both sides there; pass if ``claim`` is proved, or survives an attack.

    claim: a claim, the id of a printed one, a function of a layer that returns relations, or a typed expression; for
    the last two ``domain`` and ``assume`` (a function, or typed expressions) say where it is asserted. layer: decide at
    this layer alone, from its floats, without rounding; outside the domain or where a hypothesis fails, nothing is
    asserted. Otherwise algebra decides for every layer, and where it cannot, the search judge attacks with ``effort``,
    ``seed`` and ``device``.

    Raises AssertionError where the claim fails, ValueError where it cannot be judged: its code raises or contradicts
    itself, no layer meets its hypotheses, or it has a value at none.
    """
    from bntheory.judges.check import contradicts_itself
    from bntheory.judges.exact.certificate import certify

    target = _as_claim(claim, domain, assume)
    said = str(claim) if target.id == _TYPED else target.id  # what was typed is its own name
    if target.domain is None:
        raise ValueError(f"{said} is a claim of kind {target.kind!r}; assert_claim judges layer claims")
    if fickle := contradicts_itself(target):
        raise ValueError(f"{said} cannot be judged: {fickle}")
    if layer is not None:
        certificate = certify(target, instance_of(layer, target.domain))
        if certificate.refuted:
            raise AssertionError(f"{said} fails at {layer!r}: {_failure(certificate.as_json())}")
        return
    from bntheory.judges.algebra import judge as by_algebra

    evidence = by_algebra(target, seconds=10.0)
    if evidence.finding == "proved":
        return
    if evidence.finding == "unknown":
        from bntheory.judges.search import judge as by_search

        evidence = by_search(target, effort, seed, device)
    if evidence.finding == "refuted":
        raise AssertionError(f"{said} {_counterexample(evidence.details['witness'])}")
    if evidence.finding == "vacuous":
        unmet = "" if evidence.details.get("partial") else "; its hypotheses cannot be met"
        raise ValueError(f"{said} says nothing: {evidence.summary}{unmet}")
    if evidence.finding != "survives":
        raise ValueError(f"{said} cannot be judged: {evidence.summary}")


def _counterexample(witness: Any) -> str:
    from bntheory.judges.exact.witness import Instance

    instance = Instance.from_json(witness["layer"])
    return f"fails at m = {instance.m}: {instance.describe()}: {_failure(witness['certificate'])}"


def _failure(certificate: Any) -> str:
    """Both sides of the relation that fails, as short numbers that still differ."""
    from bntheory.judges.failing import failing

    failed = failing(certificate)
    if not failed:
        return str(certificate["why"])
    shown = max(failed, key=lambda r: abs(r["margin"] or 0.0))
    left, right = shown["left"], shown["right"]
    for digits in (4, 8, 12, 17):
        short = [_short(side, digits) for side in (left, right)]
        if short[0] != short[1]:
            break
    sign = {"le": "<=", "lt": "<", "eq": "=="}[shown["op"]]
    label = f"{shown['label']}: " if shown["label"] else ""
    return f"{label}not {short[0]} {sign} {short[1]}"


def _short(side: str, digits: int) -> str:
    """An enclosure or an exact number as a decimal; what is no number stays as it is."""
    middle = side.strip("[]").partition("+/-")[0].strip() or "0"
    try:
        value = float(Fraction(middle))
    except (ValueError, OverflowError):
        return side
    return f"{value:.{digits}g}" if math.isfinite(value) else side


def _as_claim(
    claim: Claim | str | Callable[[Any], Any], domain: LayerDomain | None, assume: Assumption | None
) -> Claim:
    if isinstance(claim, Claim) or (isinstance(claim, str) and not any(sign in claim for sign in "<>=")):
        if domain is not None or assume is not None:
            raise ValueError("domain and assume belong to the claim; give them with a function or an expression")
        return registry()[claim] if isinstance(claim, str) else claim
    from bntheory.claims.typed.expression import claim_of_expression

    domain = domain or LayerDomain()
    texts: Sequence[str] = (
        () if assume is None or callable(assume) else (assume,) if isinstance(assume, str) else assume
    )
    if isinstance(claim, str):
        target = claim_of_expression(claim, texts, domain, id=_TYPED)
        return replace(target, assume=_all((target.assume, assume))) if callable(assume) else target
    typed = [claim_of_expression(text, (), domain).check for text in texts]
    name = getattr(claim, "__name__", "claim")
    assumed = assume if callable(assume) else _all(typed)
    return Claim(f"asserted.{_slug(name)}", "layer", Source("asserted", "", seen="own"), name, claim, domain, assumed)


def _all(functions: Sequence[Callable[[Any], Any] | None]) -> Callable[[Any], Any] | None:
    """What several assumptions say together."""
    given = [f for f in functions if f is not None]
    return (lambda layer: [as_statement(f(layer)) for f in given]) if given else None


def _slug(name: str) -> str:
    """A name of Python's as a word of an id."""
    return "-".join(part for part in name.strip("<>").lower().split("_") if part) or "claim"
