"""Lange et al.: conditioning of the design matrix [1, X] under centring and scaling, 2022, arXiv 2108.01110.

kappa is the condition number of a matrix A; kappa^2 = lambda_max/lambda_min of A'A. Extreme eigenvalues enter a claim
as free scalars with the inequalities that define them, at the vectors where a proof uses them: what holds under fewer
hypotheses holds for the eigenvalues themselves, so a proof covers every X, every number of columns, every number of
rows.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, all_of, batch_mean, centre, le
from bntheory.layer.domain import ScalarRange
from bntheory.layer.vocabulary import Layer, Scalar

KEY = "lange2022"
_ABSTRACT = Source(KEY, "abstract", seen="recalled")


def _least_and_largest(layer: Layer) -> list[Statement]:
    """low <= ||b 1 + X w||^2/(b^2 + ||w||^2) <= high at (1, 0), (0, w) and (-mean(Xw), w); y = Xw, n2 = ||w||^2."""
    low, high, n2 = layer.scalar("low"), layer.scalar("high"), layer.scalar("n2")
    mean = batch_mean(layer, layer.y)
    centred2 = layer.norm2(centre(layer, layer.y))
    return [
        le(low, layer.norm2(layer.one)),
        le(layer.norm2(layer.one), high),
        le(layer.norm2(layer.y), high * n2),
        le(low * (mean**2 + n2), centred2),
    ]


@claim(
    "lange2022.centring",
    source=_ABSTRACT,
    statement=r"\kappa([1, X - \bar X]) \le \kappa([1, X])",
    domain=LayerDomain(scalars={"low": "nonnegative", "high": "positive", "n2": "positive", "b": "any"}),
    assume=_least_and_largest,
    reading=(
        "low and high are the extreme eigenvalues of [1, X]'[1, X]; shown: every quotient of the centred matrix lies between "
        "them, hence both of its extreme eigenvalues do"
    ),
)
def centring(layer: Layer) -> Statement:
    low, high, n2, b = (layer.scalar(name) for name in ("low", "high", "n2", "b"))
    size = b**2 + n2
    image = layer.norm2(b * layer.one + centre(layer, layer.y))
    return all_of(le(low * size, image, "least"), le(image, high * size, "largest"))


_COLUMNS = ("x1", "x2", "x3")
_EXTREMES: dict[str, ScalarRange] = {"low": "positive", "high": "positive"}
_COEFFICIENTS: dict[str, ScalarRange] = {f"{side}{i}": "any" for side in ("p", "q") for i in (1, 2, 3)}


def _gram(layer: Layer) -> list[list[Scalar]]:
    """Inner products of the centred columns."""
    columns = [centre(layer, layer.vector(name)) for name in _COLUMNS]
    return [[layer.dot(u, v) for v in columns] for u in columns]


def _minors(s: list[list[Scalar]]) -> list[Statement]:
    """All principal minors of a symmetric 3x3 matrix are non-negative: it is positive semidefinite."""
    (a, d, e), (_, b, f), (_, _, c) = s
    det = a * b * c + 2 * d * e * f - a * f * f - b * e * e - c * d * d
    pairs = (a * b - d * d, a * c - e * e, b * c - f * f)
    return [le(0, x) for x in (a, b, c, *pairs, det)]


def _spectrum_of_unscaled(layer: Layer) -> list[Statement]:
    """low I <= X'CX <= high I, and the column of ones lies between as well: the extreme eigenvalues of [1, CX]'[1,
    CX]."""
    s, low, high = _gram(layer), layer.scalar("low"), layer.scalar("high")
    below = [[s[i][j] - (low if i == j else 0) for j in range(3)] for i in range(3)]
    above = [[(high if i == j else 0) - s[i][j] for j in range(3)] for i in range(3)]
    ones = [le(low, layer.m + 0 * low), le(layer.m + 0 * high, high)]
    return [*ones, *_minors(below), *_minors(above)]


# Three nearly dependent columns of different lengths, as integers over 2, and eigenvectors to two digits.
_SUSPECT = {
    "y": ["1", "-1", "0", "0"],
    "grad": ["0", "0", "0", "0"],
    "gamma": "1",
    "eps": "1",
    "vectors": {"x1": ["-2", "4", "0", "-2"], "x2": ["-5/2", "7/2", "1/2", "-3/2"], "x3": ["-1", "2", "-1", "0"]},
    "scalars": {"low": "2/5", "high": "49"}
    | {"p1": "53/100", "p2": "57/100", "p3": "1", "q1": "-1", "q2": "49/50", "q3": "1/5"},
}


@claim(
    "lange2022.scaling",
    source=_ABSTRACT,
    statement=r"\kappa([1, CXD^{-1}]) \le \kappa([1, CX]),\qquad D_{jj} = \text{standard deviation of column } j",
    domain=LayerDomain(min_m=4, vectors=_COLUMNS, scalars={**_EXTREMES, **_COEFFICIENTS}),
    assume=_spectrum_of_unscaled,
    reading=(
        "three columns; with D in the coefficients, every quotient p'Sp/sum(S_jj p_j^2) of the scaled matrix over every other is at most "
        "high/low"
    ),
    candidates=(_SUSPECT,),
)
def scaling(layer: Layer) -> Statement:
    s = _gram(layer)

    def form(side: str) -> tuple[Scalar, Scalar]:
        c = [layer.scalar(f"{side}{i}") for i in (1, 2, 3)]
        image = sum((c[i] * c[j] * s[i][j] for i in range(3) for j in range(3)), 0 * c[0])
        return image, sum((c[i] ** 2 * s[i][i] for i in range(3)), 0 * c[0])

    (top, top_size), (bottom, bottom_size) = form("p"), form("q")
    return le(layer.scalar("low") * top * bottom_size, layer.scalar("high") * bottom * top_size)


def _diagonal_scaling(layer: Layer) -> list[Statement]:
    """For unit columns r_i and b_i = |b_i| r_i, the columns under the best diagonal scaling, with eigenvalues in [low,
    high]:

    ||sum u_i r_i|| <= sum |u_i|, by the triangle inequality (image_u; u holds absolute values);
    with w_i = |b_i| q_i: ||sum w_i r_i||^2 = ||sum q_i b_i||^2 >= low ||q||^2 and sum w_i^2 <= high ||q||^2
    since |b_i|^2 <= high.
    """
    u, w = layer.vector("u"), layer.vector("w")
    low, high, q2 = layer.scalar("low"), layer.scalar("high"), layer.scalar("q2")
    return [
        le(layer.scalar("image_u"), layer.dot(layer.one, u) ** 2),
        le(low * q2, layer.scalar("image_w")),
        le(layer.norm2(w), high * q2),
    ]


@claim(
    "lange2022.scaling.sqrt-n",
    source=_ABSTRACT,
    statement=r"\kappa(A D^{-1}) \le \sqrt{n}\,\min_{\Delta}\kappa(A\Delta),\qquad D_{jj} = \|a_j\|",
    domain=LayerDomain(
        vectors=("u", "w"),
        scalars={
            "low": "positive",
            "high": "positive",
            "q2": "positive",
            "image_u": "nonnegative",
            "image_w": "nonnegative",
        },
    ),
    assume=_diagonal_scaling,
    reading=(
        "the vectors' dimension m is the number n of columns; kappa^2 <= n high/low for the extreme eigenvalues of any diagonal "
        "scaling, the best one included (van der Sluis 1969)"
    ),
)
def scaling_sqrt_n(layer: Layer) -> Statement:
    u, w = layer.vector("u"), layer.vector("w")
    low, high = layer.scalar("low"), layer.scalar("high")
    left = layer.scalar("image_u") * layer.norm2(w) * low
    return le(left, layer.m * high * layer.scalar("image_w") * layer.norm2(u))
