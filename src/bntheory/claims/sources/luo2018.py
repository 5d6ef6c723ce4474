r"""Luo, Wang, Shao and Peng: Towards understanding regularization in batch normalization, ICLR 2019, arXiv 1809.00846.

One unit with squared loss over a finite population of pre-activations h_j with targets t_j: the expectation over all
batches of a size is a finite sum, and with batches of two the standard deviations are rational, so that both sides are
exact fractions. Population normalisation uses the mean and variance of the whole population.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact
from bntheory.evidence.identity import identity
from bntheory.layer.rational import centred, mean, variance

KEY = "luo2018"
_SOURCE = Source(KEY, "abstract", "arXiv 1809.00846", printed=False)

#: (h, t): populations of rational standard deviation, so that everything below is a fraction
_POPULATIONS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((-3, -1, 1, 3, 5, -5, 7, -7), (-3, -1, 1, 3, 5, -5, 7, -7)),
    ((0, 0, 0, 4, 4, 4, 0, 4), (0, 1, 0, 4, 3, 4, 0, 4)),
    ((-7, -1, 1, 7), (-1, 0, 1, 2)),
)


def _batches(h: Sequence[int]) -> list[tuple[int, int]]:
    """All pairs of examples whose values differ: at eps = 0 the others have no normalised values."""
    return [(i, j) for i, j in combinations(range(len(h)), 2) if h[i] != h[j]]


def _normalised(h: Sequence[int], pair: tuple[int, int]) -> tuple[Fraction, Fraction]:
    """The pair's two normalised values: each minus their mean, over their (rational) standard deviation."""
    mean = Fraction(h[pair[0]] + h[pair[1]], 2)
    deviation = abs(Fraction(h[pair[0]] - h[pair[1]], 2))
    return (h[pair[0]] - mean) / deviation, (h[pair[1]] - mean) / deviation


def _batch_coefficients(h: Sequence[int], t: Sequence[int]) -> tuple[Fraction, Fraction]:
    """Of (1/2) E mean (gamma y_hat - t)^2 over the batches: the coefficients of gamma^2 and of gamma."""
    pairs = _batches(h)
    quadratic = linear = Fraction(0)
    for pair in pairs:
        for k, value in zip(pair, _normalised(h, pair), strict=True):
            quadratic += value**2 / 4
            linear -= value * t[k] / 2
    return quadratic / len(pairs), linear / len(pairs)


def _population_quadratic(h: Sequence[int]) -> Fraction:
    """The coefficient of gamma^2 in (1/2) mean (gamma p - t)^2, p the population-normalised values."""
    normalised2 = [x**2 / variance(h) for x in centred(h)]
    return mean(normalised2) / 2


@claim(
    "luo2018.decay",
    kind="landscape",
    source=_SOURCE,
    statement=r"E_{\text{batches}}\,\ell_{\mathrm{BN}}(\gamma) = \ell_{\text{population}}(\gamma) + \zeta\gamma^2 + \text{const}, \qquad \zeta > 0",
    reading=(
        "squared loss, one unit, eps = 0, batches of two drawn without replacement from a finite population; each side as a function of gamma, "
        "the shift at its best value on each"
    ),
    note="An equality of functions of gamma, tested by its coefficients. With normalised outputs of mean square one there is no room for a decay.",
)
def decay(study: Study) -> list[Check]:
    h, t = _POPULATIONS[2]
    quadratic, _ = _batch_coefficients(h, t)
    population = _population_quadratic(h)
    return [
        exact(
            "coefficient of gamma^2: population normalisation's is below that of the expected batch loss, by zeta > 0",
            f"h = {h}, t = {t}, all {len(_batches(h))} batches of two different values",
            witness={
                "h": [str(x) for x in h],
                "t": [str(x) for x in t],
                "batch": str(quadratic),
                "population": str(population),
            },
        ).lt(population, quadratic)
    ]


@claim(
    "luo2018.decay.averaged",
    kind="landscape",
    source=Source(KEY, "the exact decomposition", seen="own"),
    statement=(
        r"E_B\sum_{j \in B}\tfrac12(\gamma\hat h_{jB} + \beta - t_j)^2 = \sum_j p_j\Big[\tfrac12(\gamma\bar h_j + \beta - t_j)^2 + "
        r"\tfrac12\gamma^2\,\mathrm{Var}_B(\hat h_{jB})\Big]"
    ),
    reading="h_bar_j: the mean of the normalised value of example j over the batches that hold it, p_j the chance that a batch holds it",
    repairs="luo2018.decay",
    note=(
        "Against the *averaged* normalisation the rest is exactly a decay of gamma, with the variance of the normalised values as its "
        "strength; the averaged values have mean square below one by just that variance."
    ),
)
def decay_averaged(study: Study) -> Iterator[Check]:
    import sympy as sp

    gamma_, beta_, t_, p, q = sp.symbols("gamma beta t p q", positive=True)
    values, chances = sp.symbols("a:3", real=True), (p, q, 1 - p - q)
    mean_ = sum(c * a for c, a in zip(chances, values, strict=True))
    variance_ = sum(c * (a - mean_) ** 2 for c, a in zip(chances, values, strict=True))
    expected = sum(c * (gamma_ * a + beta_ - t_) ** 2 for c, a in zip(chances, values, strict=True)) / 2
    yield identity(
        "mean of the loss of one example = loss of the mean + gamma^2/2 times the variance",
        expected - (gamma_ * mean_ + beta_ - t_) ** 2 / 2 - gamma_**2 * variance_ / 2,
        "any three values with any chances; more values by the same sum",
    )
    for h, t in _POPULATIONS:
        pairs = _batches(h)
        own: list[list[Fraction]] = [[] for _ in h]
        for pair in pairs:
            for k, value in zip(pair, _normalised(h, pair), strict=True):
                own[k].append(value)
        for gamma, beta in (
            (Fraction(1), Fraction(0)),
            (Fraction(-3, 2), Fraction(2, 3)),
            (Fraction(5), Fraction(1, 7)),
        ):
            left = sum((gamma * s + beta - t[k]) ** 2 for k, values in enumerate(own) for s in values) / (
                2 * len(pairs)
            )
            right = Fraction(0)
            for k, values in enumerate(own):
                if not values:
                    continue
                chance, error = Fraction(len(values), len(pairs)), gamma * mean(values) + beta - t[k]
                right += chance * (error**2 + gamma**2 * variance(values)) / 2
            yield exact(
                f"both sides at gamma = {gamma}, beta = {beta}",
                f"h = {h}, t = {t}, all {len(pairs)} batches of two different values",
                witness={"left": str(left), "right": str(right)},
            ).eq(left - right, 0.0)


@claim(
    "luo2018.decay.smaller-gamma",
    kind="landscape",
    source=Source(KEY, "what remains of the decay", seen="own"),
    statement=r"t = h:\quad \arg\min_\gamma E_B\,\ell_{\mathrm{BN}} = E_B[\sigma_B] < \sigma = \arg\min_\gamma \ell_{\text{population}}",
    reading="squared loss with targets that are the pre-activations themselves, batches of two",
    note="The best gamma is smaller, as under a decay, since a batch's standard deviation is smaller than the population's on average.",
)
def decay_smaller_gamma(study: Study) -> Iterator[Check]:
    for h in ((-3, -1, 1, 3), (-7, -1, 1, 7), (0, 0, 1, 5)):
        pairs = list(combinations(range(len(h)), 2))
        spread = sum(Fraction(abs(h[i] - h[j]), 2) for i, j in pairs) / len(pairs)
        quadratic, linear = _batch_coefficients(h, h)
        distinct = _batches(h)
        best = -linear / (2 * quadratic)
        scope = f"h = {h}, all {len(pairs)} batches of two"
        yield exact(
            "the best gamma of the expected batch loss times the share of usable batches is E[sigma_B]",
            scope,
            witness={"gamma": str(best)},
        ).eq(best * Fraction(len(distinct), len(pairs)) - spread, 0.0)
        yield exact(
            "its square is below the population's variance",
            scope,
            witness={"gamma^2": str(best**2), "variance": str(variance(h))},
        ).lt(best**2, variance(h))
