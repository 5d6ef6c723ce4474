"""Than (2025), arXiv 2511.00958: Lipschitz constants of networks with normalisation layers on running statistics.

With running statistics a normalisation layer is an affine map, y -> (gamma/sigma) y + const: the frozen member of the
family. Two hidden units stand for a layer: input weights c1, c2, output weights r1, r2, slopes k_j = gamma_j/sigma_j.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, gt, le
from bntheory.layer.domain import ScalarRange
from bntheory.layer.vocabulary import Layer

KEY = "than2025"
_ABSTRACT = Source(KEY, "abstract", seen="recalled")
_TWO_UNITS: dict[str, ScalarRange] = {
    "k1": "nonnegative",
    "k2": "nonnegative",
    "largest": "nonnegative",
    "c1": "any",
    "c2": "any",
    "r1": "any",
    "r2": "any",
}


def _largest_slope(layer: Layer) -> list[Statement]:
    return [le(layer.scalar(k), layer.scalar("largest")) for k in ("k1", "k2")]


def _ratio_exists(layer: Layer) -> list[Statement]:
    """As before, and the plain network is not constant."""
    _, _, _, c1, c2, r1, r2 = (layer.scalar(name) for name in _TWO_UNITS)
    return [*_largest_slope(layer), gt((r1 * c1 + r2 * c2) ** 2, 0)]


@claim(
    "than2025.product",
    source=_ABSTRACT,
    statement=r"\frac{\mathrm{Lip}(\text{normalised network})}{\mathrm{Lip}(\text{network})} \le \prod_\ell \max_j \frac{|\gamma_j|}{\sigma_j}",
    domain=LayerDomain(scalars=_TWO_UNITS),
    assume=_ratio_exists,
    reading=(
        "the networks' own Lipschitz constants; for x -> r' W x and x -> r' diag(k) W x with one input and two hidden units they are "
        "|r1 c1 + r2 c2| and |r1 k1 c1 + r2 k2 c2|"
    ),
    note="Weights that cancel in the plain network need not cancel once the units are scaled differently.",
)
def product(layer: Layer) -> Statement:
    k1, k2, top, c1, c2, r1, r2 = (layer.scalar(name) for name in _TWO_UNITS)
    return le((r1 * k1 * c1 + r2 * k2 * c2) ** 2, top**2 * (r1 * c1 + r2 * c2) ** 2)


@claim(
    "than2025.product.norm-bound",
    source=_ABSTRACT,
    statement=r"\|\mathrm{diag}(\gamma/\sigma)\,W\| \le \max_j \frac{|\gamma_j|}{\sigma_j}\,\|W\|",
    domain=LayerDomain(scalars=_TWO_UNITS),
    assume=_largest_slope,
    reading="the usual upper bound, the product of the layers' norms: one layer of two units, and by induction any number of units and layers",
    repairs="than2025.product",
)
def product_norm_bound(layer: Layer) -> Statement:
    k1, k2, top, c1, c2, *_ = (layer.scalar(name) for name in _TWO_UNITS)
    return le((k1 * c1) ** 2 + (k2 * c2) ** 2, top**2 * (c1**2 + c2**2))


@claim(
    "than2025.always-reduces",
    source=Source(KEY, "abstract: normalisation layers can provably reduce", seen="recalled", printed=False),
    statement=r"\|\nabla_y\hat L\| \le \|g\| \text{ whatever } \sigma \text{ and } \gamma",
    domain=LayerDomain(normaliser="frozen"),
    reading="one normalisation layer on running statistics, at any sigma and gamma",
)
def always_reduces(layer: Layer) -> Statement:
    return le(layer.norm2(layer.input_grad), layer.norm2(layer.grad))
