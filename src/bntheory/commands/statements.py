"""``claims`` and ``show``: what is claimed, by its permanent id."""

from __future__ import annotations

import inspect
import textwrap
from typing import Annotated, Any

import typer

from bntheory.claims.claim import Claim, Study
from bntheory.commands.common import clear_errors, one_of, plain, wrapped
from bntheory.commands.options import Json, Latex
from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.report.strict_json import json_text

_KINDS = ("layer", "landscape", "dynamics", "network", "experiment")


def ids(incomplete: str) -> list[str]:
    """The ids that begin so, for the completion of a shell."""
    from bntheory.claims import registry

    return [claim.id for claim in registry() if claim.id.startswith(incomplete)]


def _sources(incomplete: str) -> list[str]:
    return sorted({name.partition(".")[0] for name in ids(incomplete)})


Paper = Annotated[
    str, typer.Option("--paper", autocompletion=_sources, help="Only the claims of this source, e.g. santurkar2018.")
]
Kind = Annotated[str, typer.Option("--kind", help=f"Only claims of this kind: {', '.join(_KINDS)}.")]


def selected(paper: str, kind: str) -> list[Claim]:
    """The claims of a source and of a kind; of all where one is empty. Raises UserError for what is none."""
    from bntheory.claims import registry

    all_claims = registry()
    if kind:
        one_of("kind", kind, _KINDS)
    if paper and paper not in all_claims.sources():
        raise UserError(f"no claim comes from {paper!r}; the sources are {', '.join(all_claims.sources())}")
    return list(all_claims.select(key=paper or None, kind=kind or None))


@clear_errors
def claims(paper: Paper = "", kind: Kind = "", as_json: Json = False) -> None:
    """List the claims of the literature by their permanent ids. No verdicts here: `bntheory check` computes them.

    Examples:
      bntheory claims --paper santurkar2018
      bntheory claims --kind network --json
    """
    chosen = selected(paper, kind)
    if as_json:
        typer.echo(json_text([_claim_json(c) for c in chosen]))
        return
    counts = counted(len(chosen), "claim")
    for key in dict.fromkeys(c.key for c in chosen):  # each once, though claims of ours stand among those of others
        typer.echo("\n".join([key, *(f"  {c.kind:<10} {c.id}" for c in chosen if c.key == key), ""]))
    typer.echo(wrapped(f"{counts}. `bntheory show ID` prints one, `bntheory check ID` judges it."))


def _claim_json(c: Claim) -> dict[str, Any]:
    return {
        "id": c.id,
        "kind": c.kind,
        "source": c.source.as_json(),
        "statement": c.statement,
        "reading": c.reading,
        "domain": c.domain.describe() if c.domain else "",
        "repairs": c.repairs,
    }


@clear_errors
def show(
    claim_id: Annotated[str, typer.Argument(metavar="ID", autocompletion=ids, help="The claim's permanent id.")],
    as_latex: Latex = False,
    as_bibtex: Annotated[bool, typer.Option("--bibtex", help="Print a BibTeX entry for the verdict.")] = False,
    as_json: Json = False,
) -> None:
    """Print one claim: as printed, how it was read, where it is asserted, and the function that states it.

    With --latex it is judged, at quick effort, and printed as a paragraph for a review.

    Examples:
      bntheory show santurkar2018.theorem-4.1.neurips
    """
    from bntheory.claims import registry

    c = registry()[claim_id]
    if as_json:
        typer.echo(json_text({**_claim_json(c), "note": c.note, "function": inspect.getsource(c.check)}))
        return
    if as_latex:
        from bntheory.judges.check import judge_claim

        typer.echo(judge_claim(c, Study("quick")).latex())
    if as_bibtex:
        from bntheory.judges.latex import bibtex

        typer.echo(bibtex(c))
    if as_latex or as_bibtex:
        return
    seen = {"own": "this project's own", "recalled": "recalled: statement not checked against the source"}
    rows = [
        ("kind", c.kind),
        ("source", f"{c.source} ({seen.get(c.source.seen, c.source.seen)})"),
        ("statement", c.statement),
        ("reading", c.reading),
        ("domain", c.domain.describe() if c.domain else ""),
        ("repairs", c.repairs or ""),
        ("note", c.note),
    ]
    typer.echo(c.id if plain() else typer.style(c.id, bold=True))
    for name, text in rows:
        if text:
            typer.echo(wrapped(f"{name:<10} {text}", 11, one=True))
    typer.echo("")
    typer.echo(textwrap.indent(inspect.getsource(c.check).rstrip(), "  "))
    typer.echo(f"\njudge it: bntheory check {c.id}")
