"""``smooth`` and ``model``: the analytic models, drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from bntheory.commands.common import clear_errors, one_of, plot_to_write, wrapped
from bntheory.commands.options import CheckedCommand, Json, Seed, described, quietly
from bntheory.commands.progress import show_progress
from bntheory.errors import UserError
from bntheory.models.pictures.limits import check_parameters, limits_of
from bntheory.report.strict_json import json_text

_EXAMPLES = ("single-unit", "two-lipschitz", "rough-layer")
Plot = Annotated[Path | None, typer.Option(help="Write the figure here (.png, .pdf or .svg).")]


@clear_errors
@described(example=f"One of: {', '.join(_EXAMPLES)}.", gamma="gamma of the unit.", m="Batch size.")
def smooth(
    example: str = "single-unit",
    plot: Plot = None,
    gamma: float = 1.0,
    m: int = 16,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Where does batch normalisation smooth, and where does it roughen? The single unit, exactly, against its frozen twin.

    For squared loss the largest eigenvalue of BN's Hessian is below the twin's exactly where
    gamma <y_hat, g> > ||P g||^2 (eps = 0): where gamma is stationary it never is. The phase diagram shows the measured regions
    with the proved boundary on top, over the residual's alignment with y_hat and its size.

    --example two-lipschitz draws the 2-Lipschitz constant and the affine defect of smooth functions and of a kink; --example rough-layer
    a network of one layer, arbitrarily rough, that has no internal covariate shift.

    Examples:
      bntheory smooth --plot smooth.png
    """
    one_of("example", example, _EXAMPLES)
    plot_to_write(plot)
    check_parameters("smooth", {"gamma": gamma, "m": m})
    if example != "single-unit" and (gamma, m) != (1.0, 16):
        raise UserError(
            f"--gamma, --m: are of the single unit, which --example {example} does not draw; leave them out"
        )
    if example == "single-unit":
        from bntheory.models.pictures.smoothness import single_unit_figure
        from bntheory.smoothness.unit.study import single_unit_study

        try:
            with show_progress() as progress:
                study = single_unit_study(gamma=gamma, m=m, seed=seed, progress=progress)
        except ValueError as error:
            raise UserError(str(error)) from error
        _shown(study.lines(), lambda: single_unit_figure(study), plot, as_json)
        return
    from bntheory.models.pictures.catalogue import SMOOTH

    with show_progress() as progress:
        progress(0.0, example)
        drawn = SMOOTH[example](seed=seed)
    _shown((drawn.sentence,), lambda: drawn, plot, as_json)


def _shown(lines: tuple[str, ...], draw: Callable[[], Any], plot: Path | None, as_json: bool) -> None:
    """Print what was found and write its figure where one is asked for."""
    if plot is not None:
        from bntheory.drawing import save_figure

        save_figure(draw().figure, plot)
    if as_json:
        typer.echo(json_text({"found": list(lines), "figure": None if plot is None else str(plot)}))
        return
    for line in lines:
        typer.echo(wrapped(line))
    if plot is not None:
        typer.echo(f"figure: {plot}")


def _range(picture: str, parameter: str) -> str | None:
    limits = limits_of(picture, parameter)
    return limits and f"From {limits[0]:,} to {limits[1]:,}.".replace(",", " ")


def _drawer(name: str, draw: Callable[..., Any]) -> Callable[..., None]:
    """A command whose options are the keyword arguments of the function that draws the model."""
    hints = get_type_hints(draw)
    own = [
        inspect.Parameter(
            p.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=p.default,
            annotation=Annotated[hints[p.name], typer.Option(help=_range(name, p.name))],
        )
        for p in inspect.signature(draw).parameters.values()
        if p.name != "progress"
    ]
    shared = [
        inspect.Parameter("plot", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Plot),
        inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json),
    ]

    def run(*, plot: Path | None, as_json: bool, **parameters: Any) -> None:
        plot_to_write(plot)
        check_parameters(name, parameters)
        try:
            with show_progress() as progress:
                progress(0.0, name)
                hook = {"progress": progress} if "progress" in hints else {}
                drawn = draw(**parameters, **hook)
        except ValueError as error:
            raise UserError(str(error)) from error
        _shown((drawn.sentence,), lambda: drawn, plot, as_json)

    run.__name__ = name.replace("-", "_")
    run.__doc__ = (inspect.getdoc(draw) or "").replace("``", "`")  # plain text has one kind of quotes
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own, *shared)}
    return clear_errors(run)


def model_commands() -> typer.Typer:
    """``bntheory model NAME``: one command a model, its mathematics and source in its help."""
    from bntheory.models.pictures.catalogue import MODELS

    group = typer.Typer(
        no_args_is_help=True,
        help="Run one of the analytic models with exact dynamics, say what it shows, and draw it with --plot FILE.\n\n\b\nExamples:\n  bntheory model slope --plot slope.png",
    )
    for name, draw in MODELS.items():
        command = quietly(_drawer(name, draw))
        # whole: what is short is cut before it says which
        shown = " ".join((command.__doc__ or "").partition("\n\n")[0].split())
        group.command(name, cls=CheckedCommand, short_help=shown)(command)
    return group
