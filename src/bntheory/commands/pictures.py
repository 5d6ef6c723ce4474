"""``smooth`` and ``model``: the analytic models, drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bntheory.commands.common import clear_errors, one_of
from bntheory.errors import UserError
from bntheory.report.command import show_progress

__all__ = ["model", "smooth"]

_EXAMPLES = ("single-unit",)
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
    m: Annotated[int, typer.Option(help="Batch size.", min=3)] = 16,
    seed: Annotated[int, typer.Option(help="Where all chance comes from.", min=0)] = 0,
) -> None:
    """Where does batch normalisation smooth, and where does it roughen? The single unit, exactly, against its frozen twin.

    For squared loss the largest eigenvalue of BN's Hessian is below the twin's exactly where
    gamma <y_hat, g> > ||P g||^2 (eps = 0): where gamma is stationary it never is. The phase diagram shows the measured regions
    with the proved boundary on top, over the residual's alignment with y_hat and its size.
    """
    one_of("example", example, _EXAMPLES)
    check_plot(plot)
    from bntheory.landscape.study import single_unit_study

    with show_progress() as progress:
        study = single_unit_study(gamma=gamma, m=m, seed=seed, progress=progress)
    for line in study.lines():
        typer.echo(line)
    if plot is not None:
        from bntheory.report.smoothness import save_figure, single_unit_figure

        save_figure(single_unit_figure(study), plot)
        typer.echo(f"figure: {plot}")


@clear_errors
def model(
    name: Annotated[
        str, typer.Argument(help="Which model; `bntheory model list` names them with their sources.")
    ] = "list",
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter of the model, NAME=VALUE; repeatable. See `--explain`."),
    ] = None,
    plot: Plot = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="The mathematics, the source and the parameters.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Run one of the analytic models with exact dynamics, and draw it.

    Example: bntheory model least-squares --set dimension=20 --plot least-squares.png
    """
    from bntheory.report.models import MODELS, run_model

    if name == "list":
        for key, entry in MODELS.items():
            typer.echo(f"{key:<22} {entry.summary}")
        return
    one_of("model", name, tuple(MODELS))
    if explain:
        typer.echo(MODELS[name].explanation())
        return
    check_plot(plot)
    with show_progress() as progress:
        result = run_model(name, option or [], plot=plot, progress=progress)
    typer.echo(json.dumps(result.numbers, indent=2) if as_json else "\n".join(result.lines))
    if plot is not None:
        typer.echo(f"figure: {plot}")
