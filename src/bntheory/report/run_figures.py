"""Which figures a run's report has, what each shows, and what it does not show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bntheory.experiments.quantities import Runs
from bntheory.report import run_panels as panels
from bntheory.report.margins import margins_panel, violations_panel
from bntheory.report.style import as_png

__all__ = ["FigureGroup", "Panel", "draw_groups"]

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Panel:
    """One image. name: of its file. alt: what a reader who cannot see it is told."""

    name: str
    alt: str
    png: bytes


@dataclass(frozen=True)
class FigureGroup:
    """Panels that belong together. shows and not_shows: one sentence each."""

    key: str
    title: str
    shows: str
    not_shows: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class _Run:
    runs: Runs
    networks: tuple[str, ...]
    seeds: tuple[int, ...]


Draw = Callable[[_Run], Iterator[tuple[str, str, Any]]]


def draw_groups(
    records: Sequence[Json], networks: Sequence[str], seeds: Sequence[int], verdicts: Json
) -> Iterator[FigureGroup]:
    """Every figure of the report, in order."""
    run = _Run(Runs(records), tuple(networks), tuple(seeds))
    band = f"Lines are medians over n = {len(run.seeds)} seeds, bands reach from the smallest seed to the largest."
    for key, title, shows, not_shows, draw in _GROUPS:
        drawn = tuple(
            Panel(f"{key}-{name}", alt, as_png(figure, palette=128)) for name, alt, figure in draw(run)
        )
        if drawn:
            yield FigureGroup(key, title, shows.replace("{band}", band), not_shows, drawn)


# -- one generator a group: (name, alt text, figure) -------------------------------------------------------------------


def _decomposition(run: _Run) -> Iterator[tuple[str, str, Any]]:
    for network in run.networks:
        steps = panels.batch_norm_steps(run.runs, network)
        if not steps:
            continue
        last = steps[-1]
        yield (
            f"{network}-depth",
            f"{network}: shares of the scaled gradient's squared norm, by layer, step {last}",
            panels.depth(run.runs, network, last, title=f"{network}: where it goes, step {last}"),
        )
        yield (
            f"{network}-time",
            f"{network}: the two shares over training",
            panels.shares_over_steps(run.runs, network, run.seeds, title=f"{network}: over training"),
        )
        yield (
            f"{network}-scaling",
            f"{network}: the scaling factor of each layer",
            panels.scaling_by_depth(
                run.runs, network, sorted({steps[0], last}), title=f"{network}: the scaling itself"
            ),
        )


def _curvature(run: _Run) -> Iterator[tuple[str, str, Any]]:
    for network in run.networks:
        yield (
            f"{network}-top",
            f"{network}: largest Hessian eigenvalue of each arm over training",
            panels.over_steps(
                run.runs,
                network,
                run.seeds,
                "top",
                title=f"{network}: λ_max",
                ylabel="λ_max of the Hessian",
            ),
        )
        yield (
            f"{network}-twin",
            f"{network}: batch norm over its frozen twin",
            panels.alongside(
                run.runs,
                network,
                run.seeds,
                title=f"{network}: beyond scaling",
                names={
                    "top": "λ_max",
                    "gradient_norm": "‖∇L‖",
                    "relative_curvature": "λ_max·L/‖∇L‖² (scale-free)",
                    "linearity_error": "linearity error (scale-free)",
                },
            ),
        )
        yield (
            f"{network}-bottom",
            f"{network}: smallest Hessian eigenvalue of each arm over training",
            panels.over_steps(
                run.runs,
                network,
                run.seeds,
                "bottom",
                title=f"{network}: λ_min",
                ylabel="λ_min of the Hessian",
                log=False,
            ),
        )


def _along(run: _Run) -> Iterator[tuple[str, str, Any]]:
    for network in run.networks:
        yield (
            f"{network}-loss",
            f"{network}: range of the loss along the gradient",
            panels.band(
                run.runs,
                network,
                run.seeds,
                low="loss_low",
                high="loss_high",
                title=f"{network}: loss along the gradient",
                ylabel="loss at θ − s∇L",
            ),
        )
        yield (
            f"{network}-gradient",
            f"{network}: range of the gradient's change along the gradient",
            panels.band(
                run.runs,
                network,
                run.seeds,
                low="gradient_low",
                high="gradient_high",
                title=f"{network}: change of the gradient",
                ylabel="‖∇L(θ) − ∇L(θ − s∇L)‖",
            ),
        )
        yield (
            f"{network}-beta",
            f"{network}: effective smoothness of each arm",
            panels.over_steps(
                run.runs,
                network,
                run.seeds,
                "effective_beta",
                title=f"{network}: effective β",
                ylabel="largest change / distance",
            ),
        )


def _shift(run: _Run) -> Iterator[tuple[str, str, Any]]:
    for network in run.networks:
        for name, title, label in (
            ("shift_l2", "covariate shift, l2", "‖G − G′‖, geometric mean over layers"),
            ("shift_angle", "covariate shift, angle", "1 − cos(G, G′), mean over layers"),
            ("moment_shift", "moments of the layer inputs", "drift in one step / standard deviation"),
        ):
            figure = panels.over_steps(
                run.runs,
                network,
                run.seeds,
                name,
                title=f"{network}: {title}",
                ylabel=label,
                arms=("batchnorm", "standard"),
            )
            yield f"{network}-{name.replace('_', '-')}", f"{network}: {title} over training", figure


def _training(run: _Run) -> Iterator[tuple[str, str, Any]]:
    for network in run.networks:
        for name, title, read in (
            ("loss", "loss on the measured batch", lambda p: p.get("loss")),
            ("accuracy", "test accuracy", lambda p: p.get("test_accuracy")),
        ):
            figure = panels.over_steps(
                run.runs,
                network,
                run.seeds,
                read,
                title=f"{network}: {title}",
                ylabel=title,
                arms=("batchnorm", "standard", "rescaled"),
                log=name == "loss",
            )
            yield f"{network}-{name}", f"{network}: {title} of each arm", figure


def _margins(run: _Run) -> Iterator[tuple[str, str, Any]]:
    yield "identities", "every identity's residual over its tolerance", margins_panel(run.runs.points)
    yield "statements", "share of units that break a printed inequality", violations_panel(run.runs.points)


_GROUPS: tuple[tuple[str, str, str, str, Draw], ...] = (
    (
        "theory",
        "Theory against measurement",
        "Left: for each identity the residuals of all layers, steps and seeds, as a share of the derived tolerance; beyond the "
        "line at 1 an identity would count as broken. Right: on how many of the measured units a printed inequality fails by more than "
        "the tolerance.",
        "A pass does not prove an identity (that is done on paper and by the algebra judge); it shows that formulas, code and "
        "autograd agree on real layers.",
        _margins,
    ),
    (
        "decomposition",
        "What becomes of the gradient at a batch-norm layer",
        "How much of the squared norm of the scaled gradient (γ²/σ²)‖g‖² the mean and ŷ take off before it reaches the layer's "
        "input (an exact split: the rest passes through); the third panel is the scaling γ²/σ² itself. {band}",
        "It says nothing about the weights' gradient, which also depends on the layer's inputs; nor that a smaller gradient trains "
        "better. The frozen twin passes 100 % of the scaled gradient by construction.",
        _decomposition,
    ),
    (
        "curvature",
        "Curvature: how much smoothing is beyond scaling",
        "The ends of the Hessian's spectrum over training, and the ratio of batch norm to its frozen-statistics twin at the very "
        "same weights and outputs: below 1, the dependence of the statistics on the activations smooths; above 1, it roughens. Two of "
        "the ratios are of measures that no rescaling of the loss changes. {band}",
        "Two eigenvalues on one fixed batch, in all parameters including γ and β, are not the whole Hessian. The curves of batch "
        "norm and standard compare networks at different losses; the table has them at matched loss.",
        _curvature,
    ),
    (
        "along",
        "Along the gradient",
        "Santurkar et al.'s three measures: the range of the loss, the range of the gradient's change, and the largest change over "
        "distance, for steps of 1/2 to 4 times the learning rate along the gradient. Ends of bands are medians over seeds.",
        "Absolute numbers reward a small gradient: the green arm shows what a mere rescaling of the loss does to them. Equal steps "
        "are not equal losses.",
        _along,
    ),
    (
        "shift",
        "Internal covariate shift",
        "By Definition 2.1 of Santurkar et al.: how far, and by which angle, a layer's gradient changes once the layers before it have "
        "taken their step; and by moments of the nonlinearities' inputs, as Ioffe and Szegedy define it, over the same step. {band}",
        "Neither reading says whether the shift harms training. The l2 version grows with the gradient's size, the angle does not. Where "
        "batch norm stands before the nonlinearity, its moments there are β and |γ| by construction: a small drift is no finding.",
        _shift,
    ),
    (
        "training",
        "Training",
        "Loss on the fixed measured batch in training mode, and accuracy on held-out images in evaluation mode. {band}",
        "All arms use one learning rate; none was tuned, so this is no contest of best achievable accuracies.",
        _training,
    ),
)
