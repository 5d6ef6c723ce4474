"""Li, Bhojanapalli, Zaheer, Reddi and Kumar: Robust training of neural networks using scale invariant architectures,
ICML 2022, arXiv 2202.00980."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical

KEY = "li2022"


@claim(
    "li2022.clipped-scale",
    kind="dynamics",
    source=Source(KEY, "abstract", "arXiv 2202.00980", printed=False),
    statement=(
        r"\text{with gradients clipped at } \sqrt{2\lambda/\eta}\,\|w\| \text{ the time depends on the initial scale only logarithmically}"
    ),
    reading=(
        "time: steps until ||w||^2 is within a factor 2 of its equilibrium, gradients of constant size on the sphere; logarithmically: a "
        "further decade of ||w_0|| costs the same number of steps as the one before, up to 5 %, over 12 decades upwards and 6 downwards"
    ),
    note=(
        "Upwards a decade costs about ln(10)/(eta lambda) steps. Downwards a clipped step grows ||w||^2 by the factor 1 + (eta lambda)^2 only, so a "
        "decade costs about 2 ln(10)/(eta lambda)^2: logarithmic in the scale as well, and 2/(eta lambda) times as long."
    ),
)
def clipped_scale(study: Study) -> Iterator[Check]:
    from bntheory.models.weight_decay import fixed_norm4, steps_to_equilibrium

    lr, product = 0.1, study.choose(quick=0.05, normal=0.02, thorough=0.01)
    unit = fixed_norm4(lr, product / lr, 1.0) ** 0.25
    for name, decades in (("upwards", np.arange(1, 13)), ("downwards", -np.arange(1, 7))):
        times = [
            steps_to_equilibrium(unit * 10.0 ** float(k), lr, product / lr, clipped=True, factor=2.0) for k in decades
        ]
        extra = np.diff(times).astype(float)
        scope = f"exact recursion of ||w||^2, eta lambda = {product:g}, ||w_0|| 1 to {len(decades)} decades {name} of the equilibrium"
        yield numerical(
            f"steps for a further decade {name}: the most over the least",
            scope,
            witness={"steps": [int(t) for t in times]},
        ).le(extra.max() / extra.min(), 1.05)
    plain = [steps_to_equilibrium(unit * 10.0 ** float(-k), lr, product / lr, factor=2.0) for k in (2, 4, 6)]
    yield numerical(
        "steps without clipping from 6 decades below over those from 2: logarithmic as well, after one step that throws ||w|| far out",
        f"exact recursion, eta lambda = {product:g}",
        witness={"steps": plain},
        decisive=False,
    ).le(plain[-1] / max(plain[0], 1), 6.0)
