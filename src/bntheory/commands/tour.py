"""``tour``: a first look, in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bntheory.commands.common import clear_errors, plain, plot_to_write, wrapped
from bntheory.commands.options import Json, Seed
from bntheory.commands.progress import show_progress
from bntheory.report.strict_json import json_text


@clear_errors
def tour(
    plot: Annotated[Path, typer.Option(help="Where the picture goes (.png, .pdf or .svg).")] = Path(
        "bntheory-tour.png"
    ),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """A first look in under a minute: a printed theorem refuted and repaired, a picture, a network beside its twin.

    Everything is computed here and now, from what is in the package.

    Examples:
      bntheory tour
    """
    from bntheory.report.tour import tour as stops

    plot_to_write(plot)
    seen = []
    with show_progress() as progress:
        for number, stop in enumerate(stops(plot, seed=seed, progress=progress), 1):
            seen.append(stop)
            if as_json:
                continue
            title = wrapped(f"{number}. {stop.title}", 3)
            typer.echo(title if plain() else typer.style(title, bold=True))
            for paragraph in stop.paragraphs:
                typer.echo(wrapped(paragraph, len(paragraph) - len(paragraph.lstrip())))
            for command in stop.commands:
                typer.echo(f"more: {command}")
            typer.echo("")
    if as_json:
        typer.echo(json_text([{"title": s.title, "said": list(s.paragraphs), **s.found} for s in seen]))
