"""Arora, Li and Lyu: Theoretical analysis of auto rate-tuning by batch normalization, ICLR 2019, arXiv 1812.03981.

The weights w enter through y = Xw, so their gradient is X' input_grad: <w, grad_w> = <y, input_grad> and
||grad_w|| is a number of its own (the free scalar ``grad_w``), since X may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from bntheory.claims.claim import Source, Study, claim, readings
from bntheory.evidence.checks import Check
from bntheory.layer import LayerDomain, Statement, eq
from bntheory.layer.domain import ScalarRange
from bntheory.layer.vocabulary import Layer

KEY = "arora2019"
_SOURCE = Source(KEY, "Lemma 2.4", seen="second hand")
_STEP: dict[str, ScalarRange] = {"w": "nonnegative", "grad_w": "nonnegative", "eta": "positive"}


@readings(
    claim(
        "arora2019.orthogonal.eps-zero",
        source=_SOURCE,
        statement=r"\langle w, \nabla_w\hat L\rangle = 0",
        domain=LayerDomain(eps="zero"),
        reading="eps = 0",
    ),
    claim(
        "arora2019.orthogonal.eps-positive",
        source=_SOURCE,
        statement=r"\langle w, \nabla_w\hat L\rangle = 0",
        domain=LayerDomain(eps="positive"),
        reading="eps > 0, as in practice",
    ),
)
def orthogonal(layer: Layer) -> Statement:
    return eq(layer.dot(layer.y, layer.input_grad), 0)


@claim(
    "arora2019.orthogonal.eps-exact",
    source=Source(KEY, "Lemma 2.4, with eps", seen="own"),
    statement=r"\langle w, \nabla_w\hat L\rangle = \frac{\varepsilon}{\sigma^2}\,\gamma\,\frac{\partial\hat L}{\partial\gamma}",
    domain=LayerDomain(eps="any"),
    repairs="arora2019.orthogonal.eps-positive",
)
def orthogonal_exact(layer: Layer) -> Statement:
    right = layer.eps / layer.sigma**2 * layer.gamma * layer.gamma_grad
    return eq(layer.dot(layer.y, layer.input_grad), right)


@readings(
    claim(
        "arora2019.pythagoras.eps-zero",
        source=_SOURCE,
        statement=r"\|w_{t+1}\|^2 = \|w_t\|^2 + \eta^2\|\nabla_w\hat L\|^2",
        domain=LayerDomain(eps="zero", scalars=_STEP),
        reading="eps = 0",
    ),
    claim(
        "arora2019.pythagoras.eps-positive",
        source=_SOURCE,
        statement=r"\|w_{t+1}\|^2 = \|w_t\|^2 + \eta^2\|\nabla_w\hat L\|^2",
        domain=LayerDomain(eps="positive", scalars=_STEP),
        reading="eps > 0, as in practice",
    ),
)
def pythagoras(layer: Layer) -> Statement:
    w2, size2, eta = layer.scalar("w") ** 2, layer.scalar("grad_w") ** 2, layer.scalar("eta")
    after = w2 - 2 * eta * layer.dot(layer.y, layer.input_grad) + eta**2 * size2
    return eq(after, w2 + eta**2 * size2)


_RATE = r"\min_{t<T}\|\nabla_{w/\|w\|}L(w_t)\|\ \text{falls like}\ T^{-1/2}\ \text{for } \eta \text{ over six orders of magnitude}"


@claim(
    "arora2019.any-learning-rate",
    kind="dynamics",
    source=Source(KEY, "Theorem 3.1", seen="second hand"),
    statement=_RATE,
    reading="at least as fast as T^-1/2, plain gradient descent on a smooth scale-invariant loss, eps = 0; the constant may"
    " depend on eta",
)
def any_learning_rate(study: Study) -> Iterator[Check]:
    from bntheory.claims.sources.sphere import any_rate_checks

    return any_rate_checks(study)


@claim(
    "arora2019.any-learning-rate.exactly",
    kind="dynamics",
    source=Source(KEY, "Theorem 3.1", seen="second hand"),
    statement=_RATE,
    reading="the exponent is -1/2 and not a smaller one",
    note="For one fixed trajectory it never is: the squares of the gradients are summable, so T min^2 -> 0. T^-1/2 is the"
    " best bound that holds for all losses together.",
)
def any_learning_rate_exactly(study: Study) -> Iterator[Check]:
    from bntheory.claims.sources.sphere import exact_exponent_checks

    return exact_exponent_checks(study)
