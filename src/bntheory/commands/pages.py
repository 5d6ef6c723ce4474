"""``papers``: the pages of all verdicts, checked or written."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from bntheory.commands.common import FAILED, clear_errors, one_of, status_bar

__all__ = ["papers"]


@clear_errors
def papers(
    check: Annotated[
        bool, typer.Option("--check", help="Fail (exit code 1) where pages, records and claims disagree.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Judge what changed since the last time and write the pages.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again",
            help="Judge every claim anew. With --check the new verdicts are compared with the recorded ones.",
        ),
    ] = False,
    paper: Annotated[str, typer.Option(help="With --write or --again: only the claims of this source.")] = "",
    effort: Annotated[str, typer.Option(help="quick, normal or thorough.")] = "normal",
    jobs: Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0)] = 0,
    folder: Annotated[Path, typer.Option("--dir", help="The folder of pages.")] = Path("papers"),
) -> None:
    """The pages under papers/: every claim as printed, its verdict, the evidence, what holds instead.

    Without an option: how many claims have which verdict, and what is stale.
    """
    from bntheory.claims import registry
    from bntheory.report.papers import Records, outdated, record_of, stale, write_pages

    one_of("effort", effort, ("quick", "normal", "thorough"))
    claims = registry()
    records = Records.load(folder) if folder.is_dir() else Records()
    chosen = [c for c in claims if (not paper or c.key == paper) and (again or outdated(c, records))]
    changed: list[str] = []
    if write or again:
        for verdict in _verdicts(chosen, effort, jobs):
            before = records.verdicts.get(verdict.claim.id)
            if before is not None and before.status != verdict.status.value:
                changed.append(f"{verdict.claim.id}: recorded {before.status}, judged {verdict.status.value}")
            if write:
                folder.mkdir(parents=True, exist_ok=True)
                records.verdicts[verdict.claim.id] = record_of(verdict, folder)
                records.made_with = _made_with(effort)
                records.save(folder)  # after every claim: an interrupt loses nothing
    if write:
        for key in [k for k in records.verdicts if k not in claims]:
            del records.verdicts[key]
        records.save(folder)
        write_pages(claims, records, folder)
    for line in changed:
        typer.echo(line, err=True)
    problems = stale(claims, folder)
    for line in problems:
        typer.echo(line, err=check)
    typer.echo(
        f"{len(claims)} claims, {len(problems)} stale"
        + ("" if not problems else "; bntheory papers --write mends them")
    )
    if check and (problems or changed):
        raise typer.Exit(FAILED)


def _verdicts(chosen: list[Any], effort: Any, jobs: int) -> Any:
    from bntheory.judges.check import JUDGES
    from bntheory.judges.parallel import Task, judge_many

    tasks = [Task(c) for c in chosen]
    with status_bar(len(tasks)) as advance:
        found = judge_many(tasks, judges=JUDGES, effort=effort, jobs=jobs or os.cpu_count() or 1)
        for done, (_, verdict) in enumerate(found, 1):
            advance(done, verdict.claim.id)
            yield verdict


def _made_with(effort: str) -> dict[str, str]:
    names = ("bntheory", "torch", "z3-solver", "python-flint", "sympy")
    return {"effort": effort, **{name: version(name).split("+")[0] for name in names}}
