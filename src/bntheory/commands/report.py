"""``bntheory report``: the page of a recorded run anew, or two runs beside each other. Nothing is trained or measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bntheory.commands.common import clear_errors, file_to_write, skipped_lines
from bntheory.commands.options import Json
from bntheory.commands.progress import show_progress
from bntheory.errors import UserError
from bntheory.report.strict_json import json_text


@clear_errors
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER [FOLDER]", help="One run, or two to set beside each other.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Of two runs: the page to write; report-A-beside-B.html here where left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a run anew from its records, or set two runs beside each other.

    Of one run, report.html, verdicts.json and the figures in its folder are replaced. Of two, every comparison that both made is drawn on
    one axis, a line a run; their folders are left alone.

    Examples:
      bntheory report runs/quick
    """
    from bntheory.report.compare import rebuilt, side_by_side

    if len(folders) > 2:
        raise UserError(f"report: {len(folders)} folders; give one run, or two to set beside each other")
    if len(folders) == 1 and out is not None:
        raise UserError("report: --out is for two runs; the report of one stands in its folder")
    file_to_write("--out", out)
    with show_progress() as progress:
        result = rebuilt(folders[0], progress) if len(folders) == 1 else None
        page = result.report if result else side_by_side(folders, out, progress, _say_lacks)
    if result:
        _say_lacks(result.verdicts)
    typer.echo(json_text({"report": str(page)}) if as_json else f"report: {page}")


def _say_lacks(verdicts: Mapping[str, Any]) -> None:
    """What a run lacks, and the lines of its store that count for nothing, on standard error."""
    skipped_lines(verdicts["skipped_lines"])
    if "missing" in verdicts:
        typer.echo(f"not finished: {verdicts['missing']} are not there", err=True)
