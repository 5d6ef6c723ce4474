"""Ioffe and Szegedy: Batch Normalization, ICML 2015, arXiv 1502.03167: the statements about one layer.

y = Wu is the batch of one unit's pre-activations, so (aW)u is a*y and BN((aW)u) is the standardised a*y.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim, readings
from bntheory.layer import LayerDomain, Statement, all_of, centre, eq, le, sqrt, standardise
from bntheory.layer.vocabulary import Layer, Scalar, Vector

KEY = "ioffe2015"
_PLACE = "section 3.3"


_OUTPUT = r"\mathrm{BN}((aW)u) = \mathrm{BN}(Wu)"


@readings(
    claim(
        "ioffe2015.scale-invariance.output.any-scalar",
        source=Source(KEY, _PLACE),
        statement=_OUTPUT,
        domain=LayerDomain(eps="zero", scalars={"a": "nonzero"}),
        reading="'for a scalar a': any a != 0, eps = 0",
    ),
    claim(
        "ioffe2015.scale-invariance.output.positive",
        source=Source(KEY, _PLACE),
        statement=_OUTPUT,
        domain=LayerDomain(eps="zero", scalars={"a": "positive"}),
        reading="a > 0, eps = 0",
        repairs="ioffe2015.scale-invariance.output.any-scalar",
    ),
    claim(
        "ioffe2015.scale-invariance.output.positive-eps",
        source=Source(KEY, _PLACE),
        statement=_OUTPUT,
        domain=LayerDomain(eps="positive", scalars={"a": "positive"}),
        reading="a > 0, eps > 0, the same eps on both sides",
    ),
)
def scaled_output(layer: Layer) -> Statement:
    return eq(standardise(layer, layer.scalar("a") * layer.y), layer.y_hat)


@claim(
    "ioffe2015.scale-invariance.output.scaled-eps",
    source=Source(KEY, _PLACE),
    statement=_OUTPUT + r",\quad \varepsilon \to a^2\varepsilon \text{ on the left}",
    domain=LayerDomain(eps="any", scalars={"a": "positive"}),
    reading="a > 0, eps replaced by a^2 eps on the scaled side",
    repairs="ioffe2015.scale-invariance.output.positive-eps",
)
def output_scaled_eps(layer: Layer) -> Statement:
    a = layer.scalar("a")
    return eq(standardise(layer, a * layer.y, eps=a**2 * layer.eps), layer.y_hat)


def _derivative(layer: Layer, factor: Scalar, direction: Vector) -> Vector:
    """d BN at the batch factor*y in a direction: (1/sigma') (C d - y_hat' <y_hat', d>/m)."""
    y = factor * layer.y
    sigma = sqrt(layer.norm2(centre(layer, y)) / layer.m + layer.eps)
    y_hat = standardise(layer, y)
    return (centre(layer, direction) - layer.dot(y_hat, direction) / layer.m * y_hat) / sigma


_JACOBIAN = r"\frac{\partial\,\mathrm{BN}((aW)u)}{\partial u} = \frac{\partial\,\mathrm{BN}(Wu)}{\partial u}"
_DIRECTION = ("d",)


@readings(
    claim(
        "ioffe2015.scale-invariance.jacobian",
        source=Source(KEY, _PLACE),
        statement=_JACOBIAN,
        domain=LayerDomain(eps="zero", scalars={"a": "positive"}, vectors=_DIRECTION),
        reading="a > 0, as the invariance of the output needs; d = W du is any change of the batch, a*d that of (aW)u",
    ),
    claim(
        "ioffe2015.scale-invariance.jacobian.any-scalar",
        source=Source(KEY, _PLACE),
        statement=_JACOBIAN,
        domain=LayerDomain(eps="zero", scalars={"a": "nonzero"}, vectors=_DIRECTION),
        reading="'for a scalar a': any a != 0",
    ),
)
def jacobian(layer: Layer) -> Statement:
    a, d = layer.scalar("a"), layer.vector("d")
    return eq(_derivative(layer, a, a * d), _derivative(layer, 1, d))


_GRADIENT = r"\frac{\partial\,\mathrm{BN}((aW)u)}{\partial(aW)} = \frac1a\,\frac{\partial\,\mathrm{BN}(Wu)}{\partial W}"


@readings(
    claim(
        "ioffe2015.scale-invariance.gradient",
        source=Source(KEY, _PLACE),
        statement=_GRADIENT,
        domain=LayerDomain(eps="zero", scalars={"a": "positive"}, vectors=_DIRECTION),
        reading="a > 0; d = dW u is any change of the batch through the weights",
    ),
    claim(
        "ioffe2015.scale-invariance.gradient.any-scalar",
        source=Source(KEY, _PLACE),
        statement=_GRADIENT,
        domain=LayerDomain(eps="zero", scalars={"a": "nonzero"}, vectors=_DIRECTION),
        reading="'for a scalar a': any a != 0",
    ),
)
def gradient(layer: Layer) -> Statement:
    a, d = layer.scalar("a"), layer.vector("d")
    return eq(_derivative(layer, a, d), _derivative(layer, 1, d) / a)


def _moved_by_jacobian(layer: Layer) -> list[Statement]:
    """gamma = 1, and a direction (here named grad, since J is symmetric) that is not sent to zero in any case."""
    return [eq(layer.gamma, 1), eq(layer.dot(layer.one, layer.grad), 0), eq(layer.dot(layer.y_hat, layer.grad), 0)]


@claim(
    "ioffe2015.singular-values.batch-jacobian",
    source=Source(KEY, _PLACE, printed=False),
    statement=r"\tfrac12 \le s \le 2 \text{ for every non-zero singular value } s \text{ of } \partial\,\mathrm{BN}(y)/\partial y",
    domain=LayerDomain(eps="zero"),
    assume=_moved_by_jacobian,
    reading="'singular values close to 1' read as: within a factor of two, for BN's own Jacobian over the batch, at gamma = 1",
    note="The non-zero singular values are |gamma|/sigma, m - 2 times: they are whatever the batch's sigma makes them.",
)
def batch_jacobian(layer: Layer) -> Statement:
    image, size = layer.norm2(layer.input_grad), layer.norm2(layer.grad)
    return all_of(le(size, 4 * image, "at least 1/2"), le(image, 4 * size, "at most 2"))


@claim(
    "ioffe2015.singular-values.batch-jacobian.exact",
    source=Source(KEY, _PLACE, seen="own"),
    statement=r"s_1 = \dots = s_{m-2} = \frac{|\gamma|}{\sigma},\quad s_{m-1} = s_m = 0",
    domain=LayerDomain(eps="zero", vectors=("d",)),
    assume=lambda layer: [eq(layer.dot(v, layer.vector("d")), 0) for v in (layer.one, layer.y_hat)],
    repairs="ioffe2015.singular-values.batch-jacobian",
)
def batch_jacobian_exact(layer: Layer) -> Statement:
    d, zero = layer.vector("d"), 0 * layer.one
    return all_of(
        eq(layer.gamma * _derivative(layer, 1, d), layer.gamma / layer.sigma * d, "the rest"),
        eq(layer.gamma * _derivative(layer, 1, layer.one), zero, "1"),
        eq(layer.gamma * _derivative(layer, 1, layer.y_hat), zero, "y_hat"),
    )
