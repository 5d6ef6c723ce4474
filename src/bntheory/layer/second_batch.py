"""One layer at two batches, with one loss: what a statement about Lipschitz constants speaks of.

The second batch is a free vector ``y@2`` of the claim's domain, and the gradient of the loss at its output another,
``grad@2``; gamma, beta and eps are the layer's. Everything else follows by the vocabulary's own operations, in whatever
world the layer belongs to. What makes the two gradients those of *one* loss is a hypothesis, :func:`one_loss`. For two
points it is exact: a quadratic loss interpolates whatever meets it (for a smooth loss S = H with S dz = dg and ||S|| =
|dg|/|dz|, for a convex one S = dg dg'/<dg, dz>). ``rise`` is L(z@2) - L(z); what it can be beside both gradients is
known exactly for losses with a Lipschitz gradient (Taylor, Hendrickx and Glineur 2017, SIAM J. Optim. 27, 1283,
interpolation of smooth functions). The Hessian at a point is not tied to gradients elsewhere beyond that, so a bounded
Hessian and a second gradient are not mixed.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any

from bntheory.layer.domain import LayerDomain, Normaliser, ScalarRange
from bntheory.layer.relations import Statement, all_of, any_of, eq, le, lt
from bntheory.layer.vocabulary import Layer, Scalar, Vector, centre, sqrt
from bntheory.layer.words import SECOND

_OF_THE_LOSS = ("grad@2", "input_grad@2", "rise")


class SecondBatch:
    """The words of :data:`~bntheory.layer.words.SECOND`, without the suffix, at the free vectors ``y@2`` and ``grad@2``
    of ``layer``'s domain."""

    _suffix = "@2"
    _frozen_by_the_first = True  # frozen statistics are those of the first batch

    def __init__(self, layer: Layer, normaliser: Normaliser = "batch") -> None:
        self.layer, self.kind = layer, normaliser

    @property
    def gamma(self) -> Scalar:
        """The scale."""
        return self.layer.gamma

    @property
    def beta(self) -> Scalar:
        """The shift."""
        return self.layer.beta

    @cached_property
    def y(self) -> Vector:
        """The second batch."""
        return self.layer.vector("y" + self._suffix)

    @cached_property
    def grad(self) -> Vector:
        """The gradient of the same loss at the second output."""
        return self.layer.vector("grad" + self._suffix)

    @property
    def rise(self) -> Scalar:
        """L(z@2) - L(z)."""
        return self.layer.scalar("rise")

    @cached_property
    def mu(self) -> Scalar:
        """Its mean; the first batch's where statistics are frozen, zero where none is subtracted."""
        layer = self.layer
        if self.kind == "rms" or (self.kind == "frozen" and self._frozen_by_the_first):
            return layer.mu
        return layer.dot(layer.one, self.y) / layer.m

    @cached_property
    def var(self) -> Scalar:
        """Its biased variance about mu."""
        return self.layer.norm2(self._centred(self.y)) / self.layer.m

    @cached_property
    def sigma(self) -> Scalar:
        """What it is divided by."""
        layer = self.layer
        if self.kind == "mean-only" or (self.kind == "frozen" and self._frozen_by_the_first):
            return layer.sigma
        return sqrt(layer.norm2(self._centred(self.y)) / self._degrees + layer.eps)

    @cached_property
    def y_hat(self) -> Vector:
        """(y - mu)/sigma."""
        if self.kind == "frozen":
            return (self.y - self.mu * self.layer.one) / self.sigma
        return self._centred(self.y) / self.sigma

    @cached_property
    def z(self) -> Vector:
        """The output."""
        return self.gamma * self.y_hat + self.beta * self.layer.one

    @cached_property
    def input_grad(self) -> Vector:
        """The gradient of the loss through the layer; the Jacobian is symmetric."""
        return self.jac(self.grad)

    def jac(self, v: Vector) -> Vector:
        """(dz/dy) v."""
        layer, slope = self.layer, self.gamma / self.sigma
        if self.kind == "frozen":
            return slope * v
        centred = self._centred(v)
        if self.kind == "mean-only":
            return slope * centred
        return slope * (centred - layer.dot(self.y_hat, v) / self._degrees * self.y_hat)

    @property
    def _degrees(self) -> Any:
        return self.layer.m - 1 if self.kind == "unbiased" else self.layer.m

    def _centred(self, v: Vector) -> Vector:
        return v if self.kind == "rms" else centre(self.layer, v)


def free_of_second_batch(names: Collection[str]) -> tuple[dict[str, ScalarRange], tuple[str, ...]]:
    """The free scalars and vectors that a claim with these words needs."""
    vectors: tuple[str, ...] = ("y@2",) if any(name in SECOND for name in names) else ()
    if any(name in _OF_THE_LOSS for name in names):
        vectors = (*vectors, "grad@2")
    return ({"rise": "any"} if "rise" in names else {}), vectors


def one_loss(layer: Layer, domain: LayerDomain) -> list[Statement]:
    """What ties the gradients at two batches together: they are those of one loss of the domain's kind.

    Squared and linear losses by what they are. Otherwise ||dg|| <= b ||dz|| for a loss of smoothness b, ||dg||^2 <= b
    <dg, dz> where it is convex as well (``hessian="psd"`` at every point), <dg, dz> > 0 or dg = 0 where it is only
    convex, and in any case equal gradients at equal outputs. Where the domain has the scalar ``rise``, what ties it to
    the gradients.
    """
    other = SecondBatch(layer, domain.normaliser)
    dz, dg = other.z - layer.z, other.grad - layer.grad
    if "rise" in domain.scalars:
        return _one_loss_with_values(layer, domain, other, dz, dg)
    if domain.loss in ("squared", "linear"):
        return [eq(dg, dz if domain.loss == "squared" else 0 * dz)]
    bound, convex = domain.smoothness_in(layer.scalar), domain.hessian == "psd"
    if bound is not None:
        limit = bound * layer.dot(dg, dz) if convex else bound**2 * layer.norm2(dz)
        return [le(layer.norm2(dg), limit)]
    differ = layer.dot(dg, dz) if convex else layer.norm2(dz)
    return [any_of(lt(0, differ), eq(dg, 0 * dz))]


def _one_loss_with_values(
    layer: Layer, domain: LayerDomain, other: SecondBatch, dz: Vector, dg: Vector
) -> list[Statement]:
    """As :func:`one_loss`, with the difference of the loss's values. What follows from the rest is said too: it
    shortens proofs."""
    dot, rise = layer.dot, layer.scalar("rise")
    before, after = dot(layer.grad, dz), dot(other.grad, dz)  # slopes at the two ends
    if domain.loss == "squared":
        return [eq(dg, dz), eq(2 * rise, before + after), eq(2 * rise, dot(layer.grad + other.grad, dg))]
    if domain.loss == "linear":
        return [eq(dg, 0 * dz), eq(rise, before)]
    bound, convex = domain.smoothness_in(layer.scalar), domain.hessian == "psd"
    if bound is not None:
        length2, turned2 = layer.norm2(dz), layer.norm2(dg)
        above, below = rise - before, after - rise  # what the loss gains on its tangents at the two ends
        ties: list[Statement] = [le(2 * gap, bound * length2) for gap in (above, below)]
        if convex:
            return [*ties, *(le(turned2, 2 * bound * gap) for gap in (above, below)), le(turned2, bound * dot(dg, dz))]
        ties += [le(-2 * gap, bound * length2) for gap in (above, below)]
        return [*ties, *(le(sign * 2 * bound * (above - below), bound**2 * length2 - turned2) for sign in (1, -1))]
    alike = all_of(eq(dg, 0 * dz), eq(rise, before))
    apart = all_of(lt(before, rise), lt(rise, after)) if convex else lt(0, layer.norm2(dz))
    return [any_of(apart, alike)]


def refusal(names: Collection[str], domain: LayerDomain) -> str:
    """Why a claim with these words can have no second batch on this domain, and what can be said instead; "" where it can."""
    scalars, vectors = free_of_second_batch(names)
    if not vectors:
        return ""
    if domain.normaliser in ("l1", "linf"):
        return f"a second batch under {domain.normaliser}: its scale is no function of inner products; 'batch' and 'l2' are inside"
    if "grad@2" not in vectors:
        return ""
    if (
        domain.gradient != "any"
        or domain.loss not in ("", "squared", "linear")
        or (not domain.loss and domain.hessian not in ("any", "psd"))
    ):
        return (
            "two gradients of one loss whose Hessian is known entry by entry, or at one point only; inside are --loss squared, --loss linear, "
            "--smoothness b and --hessian psd (a convex loss)"
        )
    if scalars and domain.scalars.get(domain.smoothness, "positive") != "positive":
        return (
            f"rise of a loss whose smoothness may be zero; declare {domain.smoothness}:positive, or give --loss linear"
        )
    bounded = domain.smoothness or (domain.hessian == "psd" and not domain.loss)
    if bounded and any(name in names for name in ("hess", "input_hess")):
        return "a Hessian at one batch beside the gradient at another, for a smooth or convex loss; state the two apart, or give --loss squared"
    return ""
