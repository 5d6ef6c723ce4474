"""``smooth`` and ``model``: the analytic models, drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from bntheory.commands.common import clear_errors, one_of
from bntheory.commands.compare import show_progress
from bntheory.errors import UserError

__all__ = ["model_commands", "smooth"]

_EXAMPLES = ("single-unit", "two-lipschitz", "rough-layer")
Plot = Annotated[Path | None, typer.Option(help="Write the figure here (.png, .pdf or .svg).")]


def check_plot(path: Path | None) -> None:
    """UserError for a figure that could not be written, before the work is done."""
    if path is None:
        return
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {path}: the ending decides the format; use .png, .pdf or .svg")
    if not path.parent.is_dir():
        raise UserError(f"--plot {path}: the folder {path.parent} does not exist; make it first")


@clear_errors
def smooth(
    example: Annotated[str, typer.Option(help=f"One of: {', '.join(_EXAMPLES)}.")] = "single-unit",
    plot: Plot = None,
    gamma: Annotated[float, typer.Option(help="gamma of the unit.")] = 1.0,
    m: Annotated[int, typer.Option(help="Batch size.", min=4)] = 16,
    seed: Annotated[int, typer.Option(help="Where all chance comes from.", min=0)] = 0,
) -> None:
    """Where does batch normalisation smooth, and where does it roughen? The single unit, exactly, against its frozen twin.

    For squared loss the largest eigenvalue of BN's Hessian is below the twin's exactly where
    gamma <y_hat, g> > ||P g||^2 (eps = 0): where gamma is stationary it never is. The phase diagram shows the measured regions
    with the proved boundary on top, over the residual's alignment with y_hat and its size.

    --example two-lipschitz draws the 2-Lipschitz constant and the affine defect of smooth functions and of a kink; --example rough-layer
    a network of one layer, arbitrarily rough, that has no internal covariate shift.
    """
    one_of("example", example, _EXAMPLES)
    check_plot(plot)
    if example != "single-unit":
        _draw_example(example, plot, seed)
        return
    from bntheory.smoothness.unit.study import single_unit_study

    try:
        with show_progress() as progress:
            study = single_unit_study(gamma=gamma, m=m, seed=seed, progress=progress)
    except ValueError as error:
        raise UserError(str(error)) from error
    for line in study.lines():
        typer.echo(line)
    if plot is not None:
        from bntheory.report.smoothness import save_figure, single_unit_figure

        save_figure(single_unit_figure(study), plot)
        typer.echo(f"figure: {plot}")


def _draw_example(example: str, plot: Path | None, seed: int) -> None:
    if plot is None:
        raise UserError(f"--example {example} is a picture and has no numbers to print: give --plot FILE")
    from bntheory.report.smoothness import rough_layer_figure, save_figure, smooth_pictures

    draw = {"two-lipschitz": smooth_pictures, "rough-layer": rough_layer_figure}[example]
    save_figure(draw(seed=seed), plot)
    typer.echo(f"figure: {plot}")


def _drawer(name: str, draw: Callable[..., Any]) -> Callable[..., None]:
    """A command whose options are the keyword arguments of the function that draws the model."""
    hints = get_type_hints(draw)
    own = [
        inspect.Parameter(p.name, inspect.Parameter.KEYWORD_ONLY, default=p.default, annotation=hints[p.name])
        for p in inspect.signature(draw).parameters.values()
    ]
    plot_option = inspect.Parameter("plot", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Plot)

    def run(*, plot: Path | None, **parameters: Any) -> None:
        check_plot(plot)
        try:
            with show_progress() as progress:
                progress(0.0, name)
                drawn = draw(**parameters)
        except ValueError as error:
            raise UserError(str(error)) from error
        typer.echo(drawn.sentence)
        if plot is not None:
            from bntheory.report.smoothness import save_figure

            save_figure(drawn.figure, plot)
            typer.echo(f"figure: {plot}")

    run.__name__ = name.replace("-", "_")
    run.__doc__ = inspect.getdoc(draw)
    run.__signature__ = inspect.Signature([*own, plot_option])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, plot_option)}
    return clear_errors(run)


def model_commands() -> typer.Typer:
    """``bntheory model NAME``: one command a model, its mathematics and source in its help."""
    from bntheory.report.models.catalogue import MODELS

    group = typer.Typer(
        no_args_is_help=True,
        help="Run one of the analytic models with exact dynamics, say what it shows, and draw it with --plot FILE.",
    )
    for name, draw in MODELS.items():
        group.command(name)(_drawer(name, draw))
    return group
