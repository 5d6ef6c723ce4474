"""Yang et al., A mean field theory of batch normalization, ICLR 2019, arXiv 1902.08129: gradients grow exponentially.

Setting of all three: fully connected layers, Gaussian weights, eps = 0, gamma = 1, beta = 0, width -> infinity at a
fixed batch size B > 3, at the fixed point of the batch covariance that treats all samples alike. The derivation is in
:mod:`bntheory.models.mean_field`; its algebra is replayed here, and random networks stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, numerical, statistical
from bntheory.evidence.identity import identity

if TYPE_CHECKING:
    import numpy as np

    from bntheory.models.activations import Activation

KEY = "yang2019"
_REDUCED = "the difference of both sides, reduced by sympy"
_SETTING = (
    "mean field: width -> infinity, the weights of the backward pass taken as independent of the activations, batch covariance at "
    "its symmetric fixed point; B > 3 (at B = 3 the expected squared gradient is infinite, at B = 2 it is 0)"
)


def beside_a_proof(check: Check) -> Check:
    """A measurement next to a proof: it cannot add to the proof, but it decides where it contradicts it."""
    return replace(check, decisive=check.outcome == "fails")


def against_quadrature(name: str, rate: Callable[[int], float], batches: Sequence[int]) -> Iterator[Check]:
    """The claimed rate against the average over the sphere, which uses the activation's values and derivative only."""
    from bntheory.models.activations import activation
    from bntheory.models.mean_field_quadrature import rate_by_quadrature

    for batch in batches:
        found = rate_by_quadrature(activation(name), batch)
        yield beside_a_proof(
            numerical(
                f"claimed rate against quadrature, {name}",
                f"B = {batch}",
                uncertainty=4 * found.refinement + 1e-11 * found.rate,
                why="four times the change when the nodes are doubled, and the rounding of 1e5 terms",
                witness={"batch_size": batch, "series_rate": found.series_rate},
            ).eq(rate(batch), found.rate)
        )


def against_networks(study: Study, name: str, rate: Callable[[int], float]) -> Iterator[Check]:
    """The claimed rate against forward and backward passes of random networks, the order-1/width bias removed."""
    from bntheory.evidence.intervals import student_quantile
    from bntheory.models.activations import activation
    from bntheory.models.mean_field_monte_carlo import monte_carlo_limit

    batches = (4, 5, 8, 16, 64)
    networks = study.choose(quick=8, normal=48, thorough=400)
    confidence = 1 - 1e-3 / len(batches)  # all of them together at 99.9 %
    for done, batch in enumerate(batches):
        found = monte_carlo_limit(activation(name), batch, width=1024, networks=networks, seed=study.seed)
        yield beside_a_proof(
            statistical(
                f"claimed rate against random networks, {name}",
                f"B = {batch}, widths 1024 and 512, {networks} and {2 * networks} networks",
                uncertainty=student_quantile(networks, confidence) * found.standard_error,
                confidence=confidence,
                why="standard error over independent networks, Student's quantile",
                witness={
                    "batch_size": batch,
                    "seed": study.seed,
                    "standard_error": found.standard_error,
                    "standard_errors_off": found.deviation(rate(batch)),
                    "rate_at_width_1024": found.fine.rate,
                    "standard_error_at_width_1024": found.fine.standard_error,
                },
            ).eq(rate(batch), found.rate)
        )
        study.progress((done + 1) / len(batches), f"{name}, B = {batch}")


def _layer_jacobian() -> list[Check]:
    """The three steps from the layer's Jacobian to the formula of the rate."""
    from bntheory.models.mean_field_symbolic import averaging_identity, inverse_radius_moment, trace_identity

    return [
        identity(
            "E[1/R^2] = 1/(B - 3)", inverse_radius_moment(), "every B > 3", "ratio of Gamma functions, reduced by sympy"
        ),
        identity(
            "squared norm of the layer's Jacobian",
            trace_identity(),
            "every B: multiplied out at three, which fix its coefficients",
            _REDUCED,
        ),
        identity("averaged trace", averaging_identity(), "every B", _REDUCED),
    ]


@claim(
    "yang2019.linear-rate",
    kind="dynamics",
    source=Source(KEY, "linear networks", "submission"),
    statement=r"\varphi = \mathrm{id}:\quad \text{rate} = \frac{B-2}{B-3}",
    reading=_SETTING,
)
def linear_rate_claim(study: Study) -> list[Check]:
    from bntheory.models.mean_field import linear_rate
    from bntheory.models.mean_field_symbolic import linear_identity

    def rate(batch: int) -> float:
        return float(linear_rate(batch))

    return [
        identity("linear rate = (B - 2)/(B - 3)", linear_identity(), "every B > 3", _REDUCED),
        *_layer_jacobian(),
        *against_quadrature("linear", rate, (4, 5, 8, 64, 10_000)),
        *against_networks(study, "linear", rate),
    ]


@claim(
    "yang2019.relu-rate",
    kind="dynamics",
    source=Source(KEY, "ReLU networks", "submission"),
    statement=(
        r"\varphi = \mathrm{relu}:\quad \text{rate} = \frac{1}{B-3}\Big[\frac{B-1+J'(c)}{1-J(c)} - 1\Big],\quad c = \frac{-1}{B-1},"
        r"\quad J(c) = \frac{\sqrt{1-c^2} + (\pi - \arccos c)\,c}{\pi},\quad J'(c) = \frac{\pi - \arccos c}{\pi};\quad"
        r" \text{limit } \frac{\pi}{\pi-1}\ (B \to \infty)"
    ),
    reading=_SETTING,
    note="J and J' are the averages of relu(a) relu(b) and of 1(a > 0) 1(b > 0), doubled (Cho and Saul 2009).",
)
def relu_rate_claim(study: Study) -> list[Check]:
    from bntheory.models.mean_field import relu_limit, relu_rate_as_printed
    from bntheory.models.mean_field_symbolic import relu_identity, relu_limit_identity

    def rate(batch: int) -> float:
        return float(relu_rate_as_printed(batch))

    far = 10**8
    excess = [rate(b) - relu_limit() for b in (far // 100, far // 10, far)]
    return [
        identity(
            "ReLU rate: derived = printed",
            relu_identity(),
            "every B > 3",
            "rational identity in B, J and J', reduced by sympy",
        ),
        *_layer_jacobian(),
        identity("limit of the ReLU rate", relu_limit_identity(), "B -> infinity", "limits of the two parts, by sympy"),
        beside_a_proof(
            numerical(
                "order at which the printed rate approaches its limit: log10 of the ratio of excesses",
                "B from 1e7 to 1e8",
                uncertainty=1e-3,
                why="excess C/B + O(1/B^2), and its rounding, 1e-16/1e-8",
            ).eq(math.log10(excess[1] / excess[2]), 1.0)
        ),
        *against_quadrature("relu", rate, (4, 5, 8, 16, 64, 1000, 10_000)),
        *against_networks(study, "relu", rate),
    ]


@claim(
    "yang2019.always-explodes",
    kind="dynamics",
    source=Source(KEY, "gradient explosion", "submission"),
    statement=(
        r"\text{every non-constant activation has rate} \ge \frac{B-2}{B-3}\text{, with equality only if it is linear}"
    ),
    reading=(
        _SETTING
        + "; the activation has a square integrable weak derivative (no jumps); non-constant and linear (affine) are "
        "meant on [-sqrt(B-1), sqrt(B-1)], the values that a normalised batch can take"
    ),
    note=(
        "The rate is a weighted mean of the Laplacian's eigenvalues l(l + B - 3) on the sphere of centred batches, over B - 3, with weights "
        "a_l^2 (1 - P_l(-1/(B-1))) >= 0, l >= 1 (Green's formula, addition theorem, |P_l| < 1 inside (-1, 1)). Least at l = 1."
    ),
)
def always_explodes(study: Study) -> Iterator[Check]:
    from bntheory.models.mean_field import linear_rate
    from bntheory.models.mean_field_quadrature import rate_by_quadrature
    from bntheory.models.mean_field_symbolic import gap_of_degrees, sphere_identity

    degree = study.choose(quick=3, normal=5, thorough=7)
    yield identity(
        f"numerator = Dirichlet form, degrees up to {degree}",
        sphere_identity(degree),
        "every B; polynomials, which are dense among activations with a square integrable derivative",
        "Green's formula on the sphere says it for all of them; moments as rational functions of B, by sympy",
    )
    yield identity(
        "eigenvalue gap = (l - 1)(l + n - 1)",
        gap_of_degrees(),
        "every degree and B: a weighted mean is at least its least term, attained by degree 1 alone",
        _REDUCED,
    )
    yield from _layer_jacobian()
    count = study.choose(quick=20, normal=120, thorough=1000)
    worst = None
    for index in range(count):
        act, batch = _random_activation(study.seed, index)
        found = rate_by_quadrature(act, batch, degrees=100)
        margin = found.rate / float(linear_rate(batch)) - 1
        if worst is None or margin < worst[0]:
            worst = (margin, found)
        study.progress((index + 1) / count, act.name)
    assert worst is not None
    yield beside_a_proof(
        numerical(
            "least rate of random activations, relative to (B - 2)/(B - 3), minus 1",
            f"{count} random sums of sines, kinks and steep sigmoids, B from 4 to 64",
            uncertainty=4 * worst[1].refinement / worst[1].rate + 1e-11,
            why="four times the change when the nodes are doubled",
            witness={"activation": worst[1].activation, "batch_size": worst[1].batch_size, "seed": study.seed},
        ).le(0.0, worst[0])
    )
    for batch in (4, 8):
        found = rate_by_quadrature(_clipped(2.0), batch)
        yield numerical(
            "clip(t, -2, 2), not linear on the line: its rate against the linear one",
            f"B = {batch}, |t| <= sqrt({batch - 1})",
            uncertainty=4 * found.refinement + 1e-11,
            why="equal at B = 4, where it is linear on all that is reached; larger at B = 8",
            decisive=False,
        ).le(linear_rate(batch), found.rate)


@claim(
    "yang2019.always-explodes.any-activation",
    kind="dynamics",
    source=Source(KEY, "gradient explosion, taken at its word", "submission"),
    statement=r"\text{every non-constant activation, smooth or not, has rate} \ge \frac{B-2}{B-3}",
    reading=_SETTING + "; gradients are those that backpropagation computes: the derivative almost everywhere",
    note="A step has derivative 0 almost everywhere. The hypothesis that the source does not state is a weak derivative.",
)
def explodes_for_any_activation(study: Study) -> list[Check]:
    from bntheory.models.activations import ACTIVATIONS
    from bntheory.models.mean_field import linear_rate
    from bntheory.models.mean_field_quadrature import rate_by_quadrature

    found = rate_by_quadrature(ACTIVATIONS["sign"], 8)
    return [
        exact(
            "(B - 2)/(B - 3) against the rate of the sign function, whose derivative is 0 almost everywhere",
            "B = 8; the batch of signs is not constant, so the next layer is defined",
            why="every term of the rate's numerator carries a factor phi' = 0, a product that is exact in floating point",
            witness={"activation": "sign", "batch_size": 8, "variance": found.variance, "covariance": found.covariance},
        ).le(linear_rate(8), found.rate)
    ]


def _clipped(limit: float) -> Activation:
    import numpy as np

    from bntheory.models.activations import Activation

    return Activation(
        f"clip at {limit:g}",
        lambda t: np.clip(t, -limit, limit),
        lambda t: np.where(np.abs(t) < limit, 1.0, 0.0),
        kinks=(-limit, limit),
    )


def _random_activation(seed: int, index: int) -> tuple[Activation, int]:
    """Sums of a line, sines, a kink and a steep sigmoid, nearly linear ones included: where a violation would be."""
    import numpy as np

    from bntheory.models.activations import Activation

    rng = np.random.default_rng([seed, index])
    batch = int(rng.choice([4, 5, 6, 8, 16, 64]))
    sines = rng.standard_normal(3) * 10 ** rng.uniform(-3, 0)
    frequency, phase = rng.uniform(0.2, 3.0, 3), rng.uniform(0, 2 * np.pi, 3)
    kink, steep = rng.standard_normal() * 10 ** rng.uniform(-3, 0), rng.standard_normal()
    sharp, line = rng.uniform(0.3, 4.0), rng.choice([0.0, 1.0])

    def value(t: np.ndarray) -> np.ndarray:
        waves = sum(a * np.sin(f * t + p) for a, f, p in zip(sines, frequency, phase, strict=True))
        return np.asarray(line * t + waves + kink * np.abs(t) + steep * np.tanh(sharp * t))

    def derivative(t: np.ndarray) -> np.ndarray:
        waves = sum(a * f * np.cos(f * t + p) for a, f, p in zip(sines, frequency, phase, strict=True))
        return np.asarray(line + waves + kink * np.sign(t) + steep * sharp / np.cosh(sharp * t) ** 2)

    return Activation(f"random activation {index}", value, derivative, kinks=(0.0,)), batch
