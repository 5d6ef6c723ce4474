"""Wu and He: Group Normalization, ECCV 2018, arXiv 1803.08494: the two limits.

One example's activations over channels and positions are the vector y, m = channels times positions. Two channels stand for any
number: their indicator vectors ``a`` and ``b`` add up to 1, and ``y_a`` and ``y_b`` are y restricted to them.
"""

from __future__ import annotations

from bntheory.claims.core import Source, claim
from bntheory.layer import LayerDomain, Statement, all_of, eq, gt, sqrt
from bntheory.layer.vocabulary import Layer, Scalar, Vector

KEY = "wu2018"


def _channels(layer: Layer) -> tuple[tuple[Vector, Vector], tuple[Vector, Vector]]:
    """(indicator, restriction of y) for both channels."""
    a, y_a = layer.vector("a"), layer.vector("y_a")
    return (a, y_a), (layer.one - a, layer.y - y_a)


def _disjoint(layer: Layer) -> list[Statement]:
    """a is an indicator and y_a is supported on it, as far as inner products with 1, a, y and y_a can say so."""
    (a, y_a), (b, y_b) = _channels(layer)
    dot = layer.dot
    zeros = [eq(dot(a, b), 0), eq(dot(y_a, b), 0), eq(dot(y_b, a), 0), eq(dot(y_a, y_b), 0)]
    return [*zeros, gt(dot(a, a), 0), gt(dot(b, b), 0)]


def _standardised(layer: Layer, group: list[tuple[Vector, Vector]]) -> Vector:
    """Group normalisation of one group of channels, statistics accumulated channel by channel."""
    count: Scalar = sum((layer.dot(indicator, indicator) for indicator, _ in group), 0)
    mean = sum((layer.dot(indicator, part) for indicator, part in group), 0) / count
    square = sum((layer.norm2(part) for _, part in group), 0) / count
    sigma = sqrt(square - mean**2 + layer.eps)
    first_indicator, first = group[0]
    out = (first - mean * first_indicator) / sigma
    for indicator, part in group[1:]:
        out = out + (part - mean * indicator) / sigma
    return out


def _instance_norm(layer: Layer, indicator: Vector, part: Vector) -> Vector:
    """Each channel by its own two-pass mean and variance."""
    count = layer.dot(indicator, indicator)
    centred = part - layer.dot(indicator, part) / count * indicator
    return centred / sqrt(layer.norm2(centred) / count + layer.eps)


@claim(
    "wu2018.group-limits",
    source=Source(KEY, "section 3.1"),
    statement=r"G = 1:\ \mathrm{GN} = \mathrm{LN} \text{ over channels and positions}, \qquad G = C:\ \mathrm{GN} = \mathrm{IN}",
    domain=LayerDomain(eps="positive", vectors=("a", "y_a")),
    assume=_disjoint,
    reading="two channels; group statistics pooled from the channels' sums against statistics of the whole example, or of the channel",
)
def group_limits(layer: Layer) -> Statement:
    one, other = _channels(layer)
    return all_of(
        eq(_standardised(layer, [one, other]), layer.y_hat, "one group"),
        eq(_standardised(layer, [one]), _instance_norm(layer, *one), "one channel a group"),
    )
