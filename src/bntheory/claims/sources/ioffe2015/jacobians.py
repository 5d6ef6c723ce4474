"""Ioffe and Szegedy 2015, arXiv 1502.03167, section 3.3: singular values of layer Jacobians in random networks.

The source's argument: were the normalised inputs and outputs of a layer Gaussian and uncorrelated and the layer linear,
its Jacobian J would satisfy I = J J'. Normalisation makes the diagonal of J J' one for linear layers with white inputs;
what is off the diagonal, the correlation between units, it leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import statistical

KEY = "ioffe2015"
_FACTOR, _SHARE = 2.0, 0.9


@claim(
    "ioffe2015.singular-values.random-network",
    kind="network",
    source=Source(KEY, "section 3.3"),
    statement=r"\text{BN may lead the layer Jacobians to have singular values close to 1}",
    reading=(
        "'may lead' read as 'does, at random initialisation'; layer Jacobian: between the normalised activations of consecutive layers, "
        "independent Gaussian weights; close to 1: at least nine in ten singular values within a factor of 2 of 1"
    ),
    note=(
        "What holds: their root mean square is near 1 whatever the scale of the weights. What does not: single values follow the "
        "quarter-circle law on [0, 2], as in the standard network at its critical scale; ReLU adds exact zeros."
    ),
)
def singular_values_of_random_layers(study: Study) -> Iterator[Check]:
    from bntheory.evidence.intervals import estimate
    from bntheory.models.activations import activation
    from bntheory.models.layer_jacobian import layer_jacobian, quarter_circle_share

    width, networks = study.choose(quick=(64, 6), normal=(256, 8), thorough=(512, 32))
    confidence = 0.999

    def measured(name: str, scale: float, normalise: bool, what: str) -> tuple[float, float]:
        found = [
            layer_jacobian(
                activation(name),
                width=width,
                batch_size=4 * width,
                weight_scale=scale,
                normalise=normalise,
                samples=2,
                seed=1000 * study.seed + index,
            )
            for index in range(networks)
        ]
        values = [j.share_within(_FACTOR) if what == "share" else j.root_mean_square for j in found]
        e = estimate(values, confidence)
        return e.mean, e.high - e.mean

    for step, name in enumerate(("linear", "relu", "tanh")):
        scope = f"{networks} networks, width {width}, batch {4 * width}, four layers below"
        share, blur = measured(name, 1.0, True, "share")
        witness = {"activation": name, "seed": study.seed, "factor": _FACTOR}
        yield statistical(
            f"{_SHARE:.0%} of the singular values within a factor of 2 of 1, {name}",
            scope,
            uncertainty=blur,
            confidence=confidence,
            why="Student's interval over independent networks",
            witness=witness,
        ).le(_SHARE, share)
        for scale in (0.1, 10.0):
            size, blur = measured(name, scale, True, "size")
            yield statistical(
                f"root mean square of the singular values <= 3/2, {name}, weights times {scale:g}",
                scope,
                uncertainty=blur,
                confidence=confidence,
                why="without normalisation it would be in proportion to the weights",
                witness=witness,
                decisive=False,
            ).le(size, 1.5)
        study.progress((step + 1) / 3, name)
    standard, blur = measured("linear", 1.0, False, "share")
    yield statistical(
        "share within a factor of 2: standard linear network at its critical scale against the quarter-circle law",
        f"{networks} networks, width {width}",
        uncertainty=blur + 2.0 / width,
        confidence=confidence,
        why="Student's interval, and the granularity of a share of so many values",
        witness={"seed": study.seed},
        decisive=False,
    ).eq(standard, quarter_circle_share(_FACTOR))
