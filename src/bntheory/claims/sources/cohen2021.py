"""Cohen, Kaur, Li, Kolter, Talwalkar, Gradient descent on neural networks typically occurs at the edge of stability, ICLR 2021, arXiv 2103.00065.

Full-batch gradient descent with step size eta: the largest eigenvalue of the Hessian (the sharpness) rises until it reaches 2/eta, the
value above which gradient descent on a quadratic diverges, and then stays there. The claim here is that networks with batch
normalisation do the same.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

if TYPE_CHECKING:
    from bntheory.experiments.short_runs import Run

KEY = "cohen2021"
#: "Sits at": within this factor of 2/eta, as a geometric mean over the late phase. Decided before any run.
_BAND = 1.25
_RATES = (0.1, 0.2)
#: Without batch norm the initial sharpness is above 2/eta at those rates and the run may diverge at once.
_RATE_STANDARD = 0.05


def sharpness_along(
    norm: str, rate: float, seed: int, *, images: int, steps: int, at: Collection[int], device: str
) -> tuple[dict[int, float], Run]:
    """The sharpness after each number of steps in ``at`` of a run of full-batch descent (NaN if not converged), and the run."""
    import math

    from torch import nn

    from bntheory.bridge import NetworkSpec
    from bntheory.bridge.curvature import Spectrum, hessian, top_eigenvalues
    from bntheory.experiments.short_runs import Images, choose_images, squared_error, train

    chosen = choose_images(images, side=14, seed=seed, device=device)
    # rounding must not decide what happens at the border of stability
    data = Images(chosen.inputs.double(), chosen.labels, chosen.test_inputs.double(), chosen.test_labels)
    found: dict[int, float] = {}
    spectra: list[Spectrum] = []

    def visit(step: int, model: nn.Module) -> None:
        if step in at:
            with hessian(model, squared_error, data.whole) as op:
                spectrum = top_eigenvalues(
                    op, tol=1e-3, seed=seed, start=spectra[-1] if spectra else None, max_products=400
                )
            spectra[:] = [spectrum]
            found[step] = spectrum.top if spectrum.converged else math.nan

    spec = NetworkSpec("mlp", norm=norm, layout=(32, 32), activation="tanh", input_shape=(1, 14, 14))
    run = train(
        spec, data, seed=seed, rate=rate, steps=steps, batch_size=images, momentum=0.0,
        loss=squared_error, visit=visit,
    )  # fmt: skip
    return found, run


def late_sharpness(
    study: Study, norm: str, rate: float, seed: int, *, images: int, steps: int, points: int
) -> float | None:
    """The mean over the second half of a run of log(eta sharpness/2): 0 at the edge; None for a run that diverged."""
    import math

    # An odd distance: at the edge the iterates jump from side to side, and an even one would see one side only.
    distance = (steps // 2 // points - 1) | 1
    at = {steps - distance * i for i in range(points)}
    found, run = sharpness_along(
        norm, rate, seed, images=images, steps=steps, at=at, device=study.device
    )  # fmt: skip
    if run.diverged:
        return None
    logs = [math.log(rate * x / 2) if x > 0 else math.nan for x in found.values()]  # NaN decides nothing
    return sum(logs) / len(logs)


def band(name: str, values: list[float | None], scope: str, *, decisive: bool = True) -> list[Check]:
    """Two checks: the mean of log(eta sharpness/2) lies above -log(band) and below log(band)."""
    import math

    kept = [v for v in values if v is not None]
    lost = len(values) - len(kept)
    scope += f", {lost} runs diverged" if lost else ""
    name += ": log of (sharpness / (2/eta)), late phase"
    log = math.log(_BAND)
    return [
        over_seeds(f"{name}, above -log {_BAND:g}", kept, "above", -log, scope, decisive=decisive),
        over_seeds(f"{name}, below log {_BAND:g}", kept, "below", log, scope, decisive=decisive),
    ]


@claim(
    "cohen2021.edge",
    kind="experiment",
    source=Source(KEY, "networks with batch normalisation", seen="recalled"),
    statement=(
        r"\text{full-batch gradient descent on a network with batch normalisation brings the sharpness } \lambda_{\max}(\nabla^2 L) "
        r"\text{ to } 2/\eta \text{ and keeps it there}"
    ),
    reading=(
        "sharpness: the largest Hessian eigenvalue in training mode at the iterates; it sits at 2/eta if its geometric mean over the second half "
        f"of the run lies within a factor of {_BAND:g} of 2/eta, at each of the learning rates {', '.join(f'{r:g}' for r in _RATES)}; from "
        "which side it came there is not asked"
    ),
    note=(
        "Scaled down: two hidden layers of 32 tanh units on a few hundred images of 14 x 14 pixels, squared loss on one-hot labels. The learning "
        "rates were chosen, with other seeds, so that a run reaches 2/eta within its steps. The same network without batch norm is shown "
        f"beside, at {_RATE_STANDARD:g} and from effort normal on."
    ),
)
def edge_of_stability(study: Study) -> list[Check]:
    seeds = study.choose(quick=3, normal=6, thorough=8)
    images, steps, points = study.choose(
        quick=(100, 400, 6), normal=(200, 1500, 10), thorough=(400, 4000, 20)
    )
    arms = [("batch", rate, True) for rate in _RATES]
    if study.effort != "quick":
        arms.append(("none", _RATE_STANDARD, False))
    checks: list[Check] = []
    for index, (norm, rate, decisive) in enumerate(arms):
        values: list[float | None] = []
        for i in range(seeds):
            values.append(
                late_sharpness(
                    study, norm, rate, 1000 * study.seed + i, images=images, steps=steps, points=points
                )
            )
            study.progress((index + (i + 1) / seeds) / len(arms), f"{norm}, rate {rate:g}, seed {i}")
        name = f"{'batch norm' if norm == 'batch' else 'no normalisation'}, eta = {rate:g}"
        scope = f"{steps} steps on {images} images, sharpness at {points} iterates of the second half"
        checks += band(name, values, scope, decisive=decisive)
    return checks
