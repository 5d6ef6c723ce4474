"""Yao, Gholami, Keutzer, Mahoney, PyHessian: neural networks through the lens of the Hessian, IEEE Big Data 2020, arXiv 1912.07145.

The trace of the Hessian at the end of training, with batch normalisation and without, in residual networks of small and of larger
depth. The source finds that what batch norm does to it depends on the depth: in the shallow network the Hessian trace is smaller
without batch norm, in the deep one it is larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.seeds import over_seeds

KEY = "yao2020"
_CHANNELS = (8, 16, 32)


@dataclass(frozen=True)
class Setting:
    """The trainings that are compared, and how their traces are estimated. deep: blocks a stage; the shallow network has one."""

    deep: int
    images: int
    steps: int
    measured: int
    samples: int
    batch_size: int = 50
    rate: float = 0.02


@dataclass(frozen=True)
class Traced:
    """One trained network: Hessian trace with the standard error of its estimate, loss on the images that were measured."""

    trace: float
    error: float
    loss: float


def trained_trace(study: Study, norm: str, blocks: int, seed: int, setting: Setting) -> Traced | None:
    """Train and measure; None for a training that diverged."""
    import torch.nn.functional as F

    from bntheory.bridge import NetworkSpec
    from bntheory.bridge.curvature import hessian, trace
    from bntheory.experiments.short_runs import choose_images, train

    images = choose_images(setting.images, side=7, seed=seed, device=study.device)
    layout = tuple((channels, blocks) for channels in _CHANNELS)
    spec = NetworkSpec("resnet", norm=norm, layout=layout, input_shape=(1, 7, 7))
    run = train(
        spec, images, seed=seed, rate=setting.rate, steps=setting.steps, batch_size=setting.batch_size,
        weight_decay=5e-4,
    )  # fmt: skip
    if run.diverged:
        return None
    batch = (images.inputs[: setting.measured], images.labels[: setting.measured])
    with hessian(run.model, F.cross_entropy, batch) as op:
        found = trace(op, setting.samples, seed=seed)
        return Traced(found.value, found.error, op.loss)


def log_ratio(normalised: Traced | None, standard: Traced | None) -> float | None:
    """log10 of the trace with batch norm over that without; None where a training diverged or a trace is not positive."""
    if normalised is None or standard is None or normalised.trace <= 0 or standard.trace <= 0:
        return None
    return math.log10(normalised.trace / standard.trace)


def compare(
    name: str, pairs: list[tuple[Traced | None, Traced | None]], side: Literal["below", "above"], scope: str
) -> list[Check]:
    """log10 of the trace with batch norm over that without: its side of 0, and the losses beside.

    pairs: (with, without), one a seed.
    """
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    kept = [(a, b) for a, b in both if log_ratio(a, b) is not None]
    if lost := len(pairs) - len(both):
        scope += f"; {lost} seeds left out because a training diverged"
    if lost := len(both) - len(kept):
        scope += f"; {lost} seeds left out because a trace was not positive"
    if kept:
        worst = max(x.error / x.trace for pair in kept for x in pair)
        scope += f"; relative standard error of one trace at most {worst:.2f}"
    return [
        over_seeds(
            f"{name}: log10 of the Hessian trace with batch norm over that without",
            [value for pair in kept if (value := log_ratio(*pair)) is not None],
            side,
            0.0,
            scope,
            witness={"traces": [[round(a.trace, 3), round(b.trace, 3)] for a, b in kept]},
        ),
        over_seeds(
            f"{name}: log10 of the loss with batch norm over that without, where the traces were measured",
            [math.log10(a.loss / b.loss) for a, b in both],
            "below",
            0.0,
            scope,
            decisive=False,
        ),
    ]


@claim(
    "yao2020.depth",
    kind="experiment",
    source=Source(KEY, "Hessian trace with and without batch normalisation", seen="recalled"),
    statement=(
        r"\mathrm{tr}\,\nabla^2 L(\text{without}) < \mathrm{tr}\,\nabla^2 L(\text{batch norm}) \text{ in a shallow ResNet}, \quad "
        r"\mathrm{tr}\,\nabla^2 L(\text{without}) > \mathrm{tr}\,\nabla^2 L(\text{batch norm}) \text{ in a deep one}"
    ),
    reading=(
        "trace of the Hessian by all parameters, in training mode, on training images, after the same number of steps of the same training; shallow: "
        "one block in each of three stages (7 convolutions in a row), deep: several (at normal effort four, 25 in a row)"
    ),
    note=(
        "Scaled down: images of 7 x 7 pixels, 8 to 32 channels, a few hundred steps of stochastic gradient descent with momentum 0.9, weight decay "
        "5e-4 and batches of 50 at a rate that both networks bear, Glorot's initial values. The source trains networks of 20 to 56 layers to the end. With batch norm the trace by "
        "weights that a normalisation follows is in inverse proportion to their squared norm."
    ),
)
def trace_and_depth(study: Study) -> list[Check]:
    seeds = study.choose(quick=3, normal=6, thorough=8)
    setting: Setting = study.choose(
        quick=Setting(2, 200, 50, 64, 6),
        normal=Setting(4, 500, 150, 100, 20),
        thorough=Setting(6, 1000, 400, 200, 40),
    )
    scope = f"{setting.steps} steps at rate {setting.rate:g}, {setting.samples} random vectors on {setting.measured} images"
    checks: list[Check] = []
    ratios: list[dict[int, float]] = []
    asked: list[tuple[str, int, Literal["below", "above"]]] = [
        ("one block a stage", 1, "above"),
        (f"{setting.deep} blocks a stage", setting.deep, "below"),
    ]
    for index, (name, blocks, side) in enumerate(asked):
        pairs = []
        for i in range(seeds):
            seed = 1000 * study.seed + i
            pairs.append(
                (
                    trained_trace(study, "batch", blocks, seed, setting),
                    trained_trace(study, "none", blocks, seed, setting),
                )
            )
            study.progress((index + (i + 1) / seeds) / 2, f"{name}, seed {i}")
        checks += compare(name, pairs, side, scope)
        ratios.append({i: value for i, pair in enumerate(pairs) if (value := log_ratio(*pair)) is not None})
    shallow, deep = ratios
    checks.append(
        over_seeds(
            "log10 of the ratio of the traces, with over without: deep minus shallow",
            [deep[i] - shallow[i] for i in shallow if i in deep],
            "below",
            0.0,
            scope,
            decisive=False,
        )
    )
    return checks
