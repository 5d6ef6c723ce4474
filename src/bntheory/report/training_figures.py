"""Figures of single short trainings, for the pages under ``papers/``: what two of the claims about trained networks measure.

What lives here: the drawing of one seed. What does not: the evidence, which is made over several seeds by the claims themselves
(:mod:`bntheory.claims.sources.cohen2021`, :mod:`bntheory.claims.sources.ioffe2015.training`), from records
that are made and read by the very functions that are drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bntheory.drawing import COLOURS, CaptionedFigure, new_grid
from bntheory.evidence.study import SEEDS, Study
from bntheory.experiments.experiment import Arm, Measure, Protocol
from bntheory.experiments.runs import Run, each_seed


def sharpness_along_training(*, seed: int = 0, images: int = 200, steps: int = 1500) -> CaptionedFigure:
    """The sharpness of one network with batch norm along full-batch descent, at two learning rates, and 2/eta (Cohen et al. 2021)."""
    from bntheory.claims.sources.cohen2021 import logs_to_the_edge, measures_of, mlp, protocol_of

    rates = (0.1, 0.2)
    at = {*range(1, min(steps, 30), 3), *range(0, steps + 1, max(1, steps // 60) | 1), steps} - {0}
    protocol = replace(
        protocol_of(Study()), steps=steps, record=tuple(sorted(at)), images=images, batch_size=images, measured=images
    )
    arms = [mlp("batch", rate) for rate in rates]
    runs = _one(seed, arms, protocol, "sharpness", measures_of(protocol))
    figure, panels = new_grid(1, 2, [f"eta = {rate:g}" for rate in rates], sharey=True)
    words, highest = [], 0.0
    for axes, rate, arm in zip(panels, rates, arms, strict=True):
        relative = {step: float(np.exp(x)) for step, x in logs_to_the_edge(runs[arm.name]).items()}
        axes.plot(
            list(relative), list(relative.values()), color=COLOURS["batchnorm"], label="largest Hessian eigenvalue"
        )
        axes.axhline(1.0, color=COLOURS["standard"], linestyle="--", label="2/eta")
        axes.set_xlabel("step")
        axes.set_ylabel("sharpness in units of 2/eta")
        axes.legend(frameon=False, fontsize=8.5)
        highest = max(highest, *relative.values())
        late = [value for step, value in relative.items() if step > steps / 2]
        words.append(f"{sum(late) / len(late):.2f} at eta = {rate:g}")
    panels[0].set_ylim(0, 1.05 * highest)
    sentence = (
        f"One network with batch norm, full-batch gradient descent on {images} images, {steps} steps. Mean sharpness over the second half, in "
        f"units of 2/eta: {' and '.join(words)}."
    )
    return CaptionedFigure(figure, sentence)


def percentiles_along_training(*, seed: int = 0, steps: int = 2500, times: int = 25) -> CaptionedFigure:
    """Percentiles 15, 50 and 85 of the inputs of a typical sigmoid of the last hidden layer, after Ioffe and Szegedy 2015, figure 1.

    Typical: the unit whose percentiles wander by the median over the layer's units.
    """
    from bntheory.claims.sources.ioffe2015.training import measures_of, network, percentiles_along, protocol_of

    protocol = protocol_of(steps, times)
    networks = [network(norm) for norm in ("none", "batch")]
    runs = _one(seed, networks, protocol, "percentiles", measures_of(protocol))
    arms = (("none", "standard", "without batch norm"), ("batch", "batchnorm", "with batch norm"))
    figure, panels = new_grid(1, 2, [label for _, _, label in arms], sharey=True)
    words = []
    for axes, (norm, colour, label) in zip(panels, arms, strict=True):
        course = percentiles_along(runs[norm], "running")
        if course is None:
            raise ValueError(f"seed: the training {label} diverged with seed {seed}; draw another one")
        unit, wandering = _typical(course)
        low, middle, high = course[:, :, unit].T
        x = protocol.record
        axes.fill_between(x, low, high, color=COLOURS[colour], alpha=0.2, label="percentiles 15 to 85")
        axes.plot(x, middle, color=COLOURS[colour], label="median")
        axes.set_xlabel("step")
        axes.set_ylabel("input of the sigmoid")
        axes.margins(y=0.25)  # room for the legend
        axes.legend(frameon=False, fontsize=8.5, loc="upper right")
        words.append(f"{wandering:.2f} {label}")
    sentence = (
        f"One unit of the last of three layers of 100 sigmoid units on 1000 test images along {steps} steps, the unit whose percentiles wander by "
        f"the median over the layer, BN normalising by its running statistics: {' and '.join(words)}, in units of their mean distance."
    )
    return CaptionedFigure(figure, sentence)


def _one(
    seed: int, arms: Sequence[Arm], protocol: Protocol, what: str, measures: tuple[Measure, ...]
) -> dict[str, Run]:
    """The runs of one seed, in whichever study's thousand it lies."""
    block, first = divmod(seed, SEEDS)
    (runs,) = each_seed(Study(seed=block), arms, protocol, 1, what, lambda arm: measures, first=first)
    return runs


def _typical(percentiles: npt.NDArray[np.float64]) -> tuple[int, float]:
    """The unit in the middle of the order by how far its percentiles wander, and how far that is; percentiles: (times, 3, units)."""
    wandering = (percentiles.max(0) - percentiles.min(0)).max(0)
    relative = wandering / (percentiles[:, 2] - percentiles[:, 0]).mean(0)
    unit = int(relative.argsort(kind="stable")[(len(relative) - 1) // 2])
    return unit, float(relative[unit])
