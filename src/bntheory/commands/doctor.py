"""``doctor``: whether this torch differentiates batch normalisation correctly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import typer

from bntheory.commands.common import FAILED, clear_errors, columns, wrapped
from bntheory.commands.options import Json
from bntheory.commands.progress import show_progress
from bntheory.report.strict_json import json_text


@clear_errors
def doctor(as_json: Json = False) -> None:
    """Which routes to a Hessian are right through batch normalisation on the installed torch, and which versions are here.

    Every route of torch is compared with a network whose normalisation is written in primitive operations. bntheory itself uses only the
    routes that agree. Exit code 1 if one of those does not.
    """
    from bntheory.bridge.curvature import doctor_report

    with show_progress() as progress:
        report = doctor_report(progress=progress)
    typer.echo(json_text(_as_json(report)) if as_json else wrapped(report.as_text(table=columns() >= 80), 2))
    if not report.healthy:
        raise typer.Exit(FAILED)


def _as_json(report: Any) -> Any:
    """The report as JSON-ready objects; mappings of read-only views become plain dictionaries."""
    if is_dataclass(report) and not isinstance(report, type):
        return {f.name: _as_json(getattr(report, f.name)) for f in fields(report)} | (
            {"healthy": report.healthy} if hasattr(report, "healthy") else {}
        )
    if isinstance(report, Mapping):
        return {str(key): _as_json(value) for key, value in report.items()}
    if isinstance(report, (list, tuple)):
        return [_as_json(value) for value in report]
    return report
