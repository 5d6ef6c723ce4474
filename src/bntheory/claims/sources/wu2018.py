"""Wu and He: Group Normalization, ECCV 2018, arXiv 1803.08494: the two limits.

One example's activations over channels and positions are the vector y, m = channels times positions. Two channels stand
for any number: their indicator vectors ``a`` and ``b`` add up to 1, and ``y_a`` and ``y_b`` are y restricted to them.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, all_of, eq, gt
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


def _pooled(layer: Layer, group: list[tuple[Vector, Vector]]) -> tuple[Scalar, Scalar]:
    """Mean and variance of a group, accumulated channel by channel as sums of entries and of squares."""
    count: Scalar = sum((layer.dot(indicator, indicator) for indicator, _ in group), 0)
    mean = sum((layer.dot(indicator, part) for indicator, part in group), 0) / count
    square = sum((layer.norm2(part) for _, part in group), 0) / count
    return mean, square - mean**2


def _two_pass(layer: Layer, indicator: Vector, part: Vector) -> tuple[Scalar, Scalar]:
    """A channel's own mean, and the mean square of what is left when it is subtracted."""
    count = layer.dot(indicator, indicator)
    mean = layer.dot(indicator, part) / count
    return mean, layer.norm2(part - mean * indicator) / count


@claim(
    "wu2018.group-limits",
    source=Source(KEY, "section 3.1"),
    statement=r"G = 1:\ \mathrm{GN} = \mathrm{LN} \text{ over channels and positions}, \qquad G = C:\ \mathrm{GN} = \mathrm{IN}",
    domain=LayerDomain(vectors=("a", "y_a")),
    assume=_disjoint,
    reading=(
        "two channels, and more by induction, a being those that are pooled already; the three layers divide (y - mean) by sqrt(var + eps) and differ only in mean and var, so those are compared: "
        "pooled from the channels' sums against the whole example's, and against the channel's own"
    ),
)
def group_limits(layer: Layer) -> Statement:
    one, other = _channels(layer)
    mean, var = _pooled(layer, [one, other])
    channel_mean, channel_var = _pooled(layer, [one])
    instance_mean, instance_var = _two_pass(layer, *one)
    return all_of(
        eq(mean, layer.mu, "one group: mean"),
        eq(var, layer.var, "one group: variance"),
        eq(channel_mean, instance_mean, "one channel a group: mean"),
        eq(channel_var, instance_var, "one channel a group: variance"),
    )
