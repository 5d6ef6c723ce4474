"""Two units of one layer: the second, unit b, and the block of the Hessian between the two.

Unit b has a batch ``y@b``, a scale and a shift of its own; the batch size, eps and the normaliser are the layer's. The
gradient of the loss at its output is ``grad@b``. With H_ab = d2L/dz_a dz_b, a matrix that need not be symmetric, the
block of the Hessian with respect to the inputs is J_a H_ab J_b: the two units meet in nothing but the loss.

A claim applies the block to one vector q of unit b. For every w there is then a block with H_ab q = w, unless q = 0;
its norm can be ||w||/||q||. So ``cross(q)`` is a free vector, tied to q by :func:`cross_block`, and what is decided is
decided for every loss. Applied to two vectors the block would have to be a matrix of its own, and beside hess of a
smooth or convex loss a part of a larger one; both are outside.
"""

from __future__ import annotations

from collections.abc import Collection

from bntheory.layer.domain import LayerDomain, ScalarRange
from bntheory.layer.relations import Statement, any_of, eq, le, lt
from bntheory.layer.second_batch import SecondBatch
from bntheory.layer.vocabulary import Layer, Scalar, Vector
from bntheory.layer.words import SECOND, UNIT_B

CROSS = ("cross", "input_cross")


class SecondUnit(SecondBatch):
    """The words of :data:`~bntheory.layer.words.UNIT_B`, without the suffix."""

    _suffix = "@b"
    _frozen_by_the_first = False  # but of its own batch

    @property
    def gamma(self) -> Scalar:
        """Its scale."""
        return self.layer.scalar("gamma@b")

    @property
    def beta(self) -> Scalar:
        """Its shift."""
        return self.layer.scalar("beta@b")

    def cross(self, _: Vector) -> Vector:
        """H_ab applied to the one vector that the claim speaks of."""
        return self.layer.vector("cross")

    def input_cross(self, v: Vector) -> Vector:
        """J_a H_ab J_b v."""
        return self.layer.jac(self.cross(v))


def free_of_unit_b(names: Collection[str], domain: LayerDomain) -> tuple[dict[str, ScalarRange], tuple[str, ...]]:
    """The free scalars and vectors that a claim with these words needs."""
    used = [name for name in names if name in UNIT_B and name != "cross"]
    vectors: tuple[str, ...] = ("y@b",) if used else ()
    if any(name in ("grad@b", "input_grad@b") for name in used):
        vectors = (*vectors, "grad@b")
    if any(name in names for name in CROSS):
        vectors = (*vectors, "cross")
    return ({"gamma@b": domain.gamma, "beta@b": "any"} if used else {}), vectors


def cross_block(layer: Layer, domain: LayerDomain, q: Vector, direction: Vector | None = None) -> list[Statement]:
    """The relations between w = H_ab q and q: w = 0 where q = 0, and ||w|| <= b ||q|| for a loss of smoothness b.

    For a convex loss, 0 <= H <= b I, even ||w|| <= (b/2) ||q||: the norm of H - (b/2) I is at most b/2, and it has the
    same block.

    direction: v where q is J_b v; then ||q|| <= (gamma_b/sigma_b) ||v|| is said too, which shortens proofs.
    """
    w, bound = layer.vector("cross"), domain.smoothness_in(layer.scalar)
    if bound is not None:
        share = 4 if domain.hessian == "psd" else 1
        ties: list[Statement] = [le(share * layer.norm2(w), bound**2 * layer.norm2(q))]
        if direction is not None:
            unit = SecondUnit(layer, domain.normaliser)
            slope2 = unit.gamma**2 / unit.sigma**2
            ties.append(le(share * layer.norm2(w), bound**2 * slope2 * layer.norm2(direction)))
        return ties
    return [any_of(lt(0, layer.norm2(q)), eq(w, 0 * w))]


def refusal_of_unit_b(names: Collection[str], domain: LayerDomain) -> str:
    """Why a claim with these words cannot be judged on this domain, and what can be said instead; "" where it can."""
    if not any(name in UNIT_B for name in names):
        return ""
    if any(name in SECOND for name in names):
        return "two units at two batches; state the batches and the units apart"
    if domain.normaliser in ("l1", "linf"):
        return f"a second unit under {domain.normaliser}: its scale is no function of inner products; 'batch' and 'l2' are inside"
    if domain.gradient != "any" and {"grad@b", "input_grad@b"} & set(names):
        return "the gradient at another unit of a loss that bounds its entries; leave the loss open, and state the bound as a hypothesis"
    crossed = any(name in names for name in CROSS)
    if crossed and (domain.loss or domain.hessian not in ("any", "psd")):
        return "the block between two units of a loss whose Hessian is given: for squared and linear losses it is zero; leave the loss open"
    if crossed and (domain.smoothness or domain.hessian == "psd") and {"hess", "input_hess"} & set(names):
        return "two blocks of one Hessian that is bounded as a whole; state the bounds on hess and on cross apart"
    return ""
