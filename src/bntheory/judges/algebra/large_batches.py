"""How large a batch a counterexample may have, and where those with large ones are looked for: in a part of the domain that few numbers describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bntheory.judges.algebra.frame import Frame, needs_entries
from bntheory.judges.exact.witness import LARGEST_BATCH
from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import AllOf, as_statement, le

#: The Hessians that are multiples of the identity.
ISOTROPIC = ("isotropic", "identity", "zero")

#: With matrices, m^2 numbers; in a standard frame m^2/2 unknowns in H; a multiple of the identity is one unknown, and m^2 numbers to write down.
LARGEST_CURVED, _LARGEST_STANDARD, _LARGEST_ISOTROPIC = 128, 6, 512


def largest_batch(frame: Frame) -> int:
    """The largest batch size that is asked about by itself, for claims of this frame's kind."""
    kinds = {operator.kind for operator in frame.operators.values()}
    flat = LARGEST_BATCH if not kinds else _LARGEST_ISOTROPIC if kinds <= {*ISOTROPIC} else LARGEST_CURVED
    return max(_LARGEST_STANDARD if needs_entries(frame.domain) else flat, frame.domain.min_m + 2)


def multiples_of_identity(
    assume: Callable[[Any], Any] | None, domain: LayerDomain
) -> tuple[Callable[[Any], AllOf], dict[str, Any]] | None:
    """Hypotheses, and what of the domain to replace, for the layers of the domain whose Hessian is a multiple of the identity and whose
    gradient is short where its entries are bounded; None where that is no smaller part, or none that these questions reach."""
    plain = domain.hessian in ISOTROPIC and domain.gradient == "any"
    cases = any(v.endswith("@case") for v in domain.vectors)
    if plain or cases or domain.operators or domain.normaliser in ("l1", "linf"):
        return None
    free = domain.hessian not in ISOTROPIC

    def hypotheses(layer: Any) -> AllOf:
        parts = [] if assume is None else [as_statement(assume(layer))]
        if domain.gradient != "any":
            parts.append(le(layer.norm2(layer.grad), 1))
        if free:
            image, bound = layer.hess(layer.one), domain.smoothness_in(layer.scalar)
            parts += [le(0, layer.dot(layer.one, image))] if domain.hessian.startswith("psd") else []
            parts += [] if bound is None else [le(layer.norm2(image), bound**2 * layer.m)]
        return AllOf(tuple(parts))

    hessian = "isotropic" if free else domain.hessian
    return hypotheses, {"loss": "", "gradient": "any", "smoothness": "", "hessian": hessian}
