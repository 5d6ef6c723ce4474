"""Xu, Sun, Zhang, Zhao and Lin: Understanding and improving layer normalization, NeurIPS 2019, arXiv 1911.07013."""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, all_of, batch_mean, centre, eq, le
from bntheory.layer.vocabulary import Layer

KEY = "xu2019"


@claim(
    "xu2019.gradient-recentred",
    source=Source(KEY, "section 4", "arXiv 1911.07013", printed=False),
    statement=r"\langle 1,\nabla_y\hat L\rangle = 0, \qquad \|\nabla_y\hat L\|^2 \le \frac{\gamma^2}{\sigma^2}\|g - \bar g 1\|^2",
    domain=LayerDomain(eps="any"),
    reading=(
        "normalisation's backward pass re-centres the gradient and does not enlarge it beyond gamma/sigma; on one sample layer norm is "
        "this layer over the sample's features, with one gain for all of them (other gains go into g)"
    ),
)
def gradient_recentred(layer: Layer) -> Statement:
    bound = layer.gamma**2 / layer.sigma**2 * layer.norm2(centre(layer, layer.grad))
    return all_of(
        eq(batch_mean(layer, layer.input_grad), 0, "re-centred"),
        le(layer.norm2(layer.input_grad), bound, "not enlarged"),
    )
