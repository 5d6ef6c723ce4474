"""The post "Rethinking Batch Normalization" (2019) and its discussion: the statements about one layer.

The discussion's 2-Lipschitz constant is a supremum over all directions and distances; a lower bound on it is the
Hessian in any direction. What the post leaves open, whether BN lowers it, is asked here of one unit against its
frozen-statistics twin.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.claims.sources.bntheory2026.layer import SQUARED_LOSS, grad_perp, witness_direction
from bntheory.layer import LayerDomain, Statement, all_of, ge, gt, implies, le, lt, negate
from bntheory.layer.vocabulary import Layer

KEY = "lesswrong2019"


@claim(
    "lesswrong2019.two-lipschitz.batchnorm-reduces.layer",
    source=Source(KEY, "discussion", ""),
    statement=r"\text{BN reduces the 2-Lipschitz constant of the loss for one unit, against its frozen twin, for any loss}",
    domain=LayerDomain(eps="zero", hessian="zero", vectors=("u",)),
    reading=(
        "'any loss' includes linear ones, H = 0, whose frozen twin is affine and has 2-Lipschitz constant 0; the claim then says that "
        "|u'H_hat u| <= 0 for every u"
    ),
)
def reduces_for_any_loss(layer: Layer) -> Statement:
    u = layer.vector("u")
    bend = layer.dot(u, layer.input_hess(u))
    return all_of(le(bend, 0), le(-1 * bend, 0))


@claim(
    "lesswrong2019.two-lipschitz.batchnorm-reduces.layer.squared-loss",
    source=Source(KEY, "discussion, made exact", "", seen="own"),
    statement=r"\|\hat H\| \le \frac{\gamma^2}{\sigma^2}\|H\| \iff \|Pg\|^2 \le \gamma\langle\hat y,g\rangle \le 2m\gamma^2 - \|Pg\|^2 \qquad (L = \tfrac12\|z-t\|^2,\ \varepsilon = 0,\ m \ge 3)",
    domain=SQUARED_LOSS,
    assume=lambda layer: [gt(layer.norm2(grad_perp(layer)), 0)],
    reading="the pointwise second-order constant, the spectral norm of the Hessian, against the frozen twin's gamma^2/sigma^2",
    note=(
        "The first inequality keeps the top eigenvalue below the twin's, the second keeps the bottom one above its negative. BN "
        "reduces the constant on this set and raises it outside."
    ),
)
def reduces_for_squared_loss(layer: Layer) -> Statement:
    twin = layer.gamma**2 / layer.sigma**2
    perp2 = layer.norm2(grad_perp(layer))
    along = layer.gamma * layer.gamma_grad
    d, up = layer.vector("d"), witness_direction(layer)
    down = grad_perp(layer) + perp2 / (layer.m * layer.gamma) * layer.y_hat
    above = le(perp2, along)
    below = ge(2 * layer.m * layer.gamma**2 - perp2, along)

    bend, size = layer.dot(d, layer.input_hess(d)), twin * layer.norm2(d)
    return all_of(
        implies(above, le(bend, size, "top eigenvalue, if")),
        implies(below, le(-1 * bend, size, "bottom eigenvalue, if")),
        implies(
            negate(above), lt(twin * layer.norm2(up), layer.dot(up, layer.input_hess(up)), "top eigenvalue, only if")
        ),
        implies(
            negate(below),
            lt(twin * layer.norm2(down), -1 * layer.dot(down, layer.input_hess(down)), "bottom eigenvalue, only if"),
        ),
    )
