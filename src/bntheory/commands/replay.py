"""``replay``: one counterexample, evaluated again from its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bntheory.commands.common import FAILED, clear_errors, wrapped
from bntheory.commands.options import Json, Latex
from bntheory.report.strict_json import json_text


@clear_errors
def replay(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A witness, as `check --witnesses` writes it.")],
    claims_file: Annotated[
        Path | None,
        typer.Option("--claims", help="A Python file of claims to run and take the claim from; nothing else is run."),
    ] = None,
    as_json: Json = False,
    as_latex: Latex = False,
) -> None:
    """Evaluate a stored counterexample again, in exact or ball arithmetic, trusting nothing that the file says of itself.

    A claim of a user's file travels inside the witness as a typed expression, which is shown; no code that the witness names is run.

    Examples:
      bntheory check mine.py --judge algebra --witnesses found
      bntheory replay found/mine.half-the-gradient.json

    Exit code: 0 if it refutes the claim again, 1 if it does not, 2 if it cannot be read.
    """
    from bntheory.judges.exact.replay import replay as replay_file

    result = replay_file(path, claims_file)
    found = {"id": result.claim.id, "refuted": result.refuted, "certificate": result.certificate.as_json()}
    if as_latex and not as_json:
        from bntheory.judges.latex import latex_witness

        typer.echo(
            latex_witness({**json.loads(path.read_text(encoding="utf-8-sig")), "certificate": found["certificate"]})
        )
    else:
        typer.echo(json_text(found) if as_json else wrapped(result.summary, 4))
    if not result.refuted:
        raise typer.Exit(FAILED)
