"""Salimans and Kingma: Weight Normalization, NeurIPS 2016, arXiv 1602.07868.

w = (s/||v||) v is root-mean-square normalisation of the vector v itself: with m the number of weights, y = v, y_hat = v
sqrt(m)/||v|| and gamma = s/sqrt(m). So ``grad`` is the gradient with respect to w, and ``input_grad`` the one with
respect to v.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, centre, eq
from bntheory.layer.vocabulary import Layer

KEY = "salimans2016"


@claim(
    "salimans2016.gradient-orthogonal",
    source=Source(KEY, "section 2", seen="recalled"),
    statement=r"\langle v, \nabla_v L\rangle = 0, \qquad w = \frac{s}{\|v\|}v",
    domain=LayerDomain(eps="zero", normaliser="rms"),
)
def gradient_orthogonal(layer: Layer) -> Statement:
    return eq(layer.dot(layer.y, layer.input_grad), 0)


@claim(
    "salimans2016.norm-grows",
    source=Source(KEY, "section 2", seen="recalled"),
    statement=r"\|v'\| = \sqrt{1 + c^2}\,\|v\|, \qquad v' = v - \eta\nabla_v L,\ c = \|\eta\nabla_v L\|/\|v\|",
    domain=LayerDomain(eps="zero", normaliser="rms", scalars={"eta": "any"}),
    reading="both sides squared; they are norms, hence non-negative",
)
def norm_grows(layer: Layer) -> Statement:
    step = layer.scalar("eta") * layer.input_grad
    c2 = layer.norm2(step) / layer.norm2(layer.y)
    return eq(layer.norm2(layer.y - step), (1 + c2) * layer.norm2(layer.y))


@claim(
    "salimans2016.equals-mean-only-bn",
    source=Source(KEY, "sections 2.2 and 3", seen="recalled"),
    statement=r"X^\top C X = mI:\quad \frac{Xv}{\|v\|} - \text{mean} = \mathrm{BN}(Xv)",
    domain=LayerDomain(eps="zero", scalars={"n": "positive"}),
    assume=lambda layer: [eq(layer.norm2(centre(layer, layer.y)), layer.m * layer.scalar("n") ** 2)],
    reading=(
        "y = Xv and n = ||v||; inputs with unit covariance give ||C Xv||^2 = m ||v||^2, and mean-only normalisation of the "
        "weight-normalised output is then batch normalisation"
    ),
)
def equals_mean_only(layer: Layer) -> Statement:
    return eq(centre(layer, layer.y / layer.scalar("n")), layer.y_hat)
