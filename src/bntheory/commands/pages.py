"""``papers``: the pages of all verdicts, checked or written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bntheory.commands.common import FAILED, clear_errors, one_of
from bntheory.commands.options import Json
from bntheory.commands.progress import status_bar
from bntheory.errors import UserError
from bntheory.report.strict_json import json_text

if TYPE_CHECKING:
    from bntheory.claims import Claim
    from bntheory.judges.verdict import Verdict
    from bntheory.report.records import Records

__all__ = ["papers"]

_TOOLS = ("z3-solver", "python-flint", "sympy", "torch", "bntheory")


@clear_errors
def papers(
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Judge every claim again, an experiment from the recorded numbers of its seeds (about two minutes on two cores), and "
            "fail with exit code 1 where code, claims, records and pages disagree.",
        ),
    ] = False,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Judge every claim again, train for the experiments whose code changed, and write records and pages. A record that "
            "does not follow from its numbers is refused.",
        ),
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Train for every experiment anew as well.")] = False,
    paper: Annotated[str, typer.Option(help="Judge and check only the claims of this source.")] = "",
    effort: Annotated[str, typer.Option(help="With --write: quick, normal or thorough.")] = "normal",
    jobs: Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0)] = 0,
    folder: Annotated[Path, typer.Option("--dir", help="The folder of pages.")] = Path("papers"),
    as_json: Json = False,
) -> None:
    """The pages under papers/: every claim as printed, its verdict, the evidence, what holds instead.

    Without an option: what is stale as far as reading shows it; nothing is judged.
    """
    from bntheory.claims import registry
    from bntheory.report.papers import problems_on_disk
    from bntheory.report.records import Records

    one_of("effort", effort, ("quick", "normal", "thorough"))
    if check and write:
        raise UserError("--check, --write: choose one; the first changes nothing, the second writes")
    if not (folder.is_dir() or write):
        raise UserError(f"{folder}: no such folder; run this where papers/ lies, or name it with --dir")
    claims, began = registry(), time.monotonic()
    if paper:
        one_of("source", paper, claims.sources())
    chosen = [c for c in claims if not paper or c.key == paper]
    records = Records.load(folder) if folder.is_dir() else Records()
    problems = []
    if write:
        problems = _write(claims, chosen, records, folder, effort=effort, again=again, jobs=jobs)
    elif check:
        problems = _check(chosen, records, folder, again=again, jobs=jobs)
    problems += problems_on_disk(claims, records, folder, paper) if not (write and problems) else []
    if as_json:
        typer.echo(json_text({"claims": len(chosen), "judged": check or write, "stale": problems}))
    for line in () if as_json else problems:
        typer.echo(line, err=check or write)
    judged = f"judged again in {time.monotonic() - began:.0f} s, " if check or write else ""
    hint = "; bntheory papers --write mends what can be judged again" if problems and not write else ""
    if not as_json:
        typer.echo(f"{len(chosen)} claims, {judged}{len(problems)} stale{hint}")
    if problems and (check or write):
        raise typer.Exit(FAILED)


def _check(chosen: Sequence[Claim], records: Records, folder: Path, *, again: bool, jobs: int) -> list[str]:
    """Judge and compare; what was never recorded is a problem of its own, found on disk."""
    from bntheory.report.rederive import disagreements, follows_from_checks

    known = [c for c in chosen if c.id in records.verdicts]
    effort = records.made_with.get("effort", "normal")
    same_tools = all(records.made_with.get(name) == value for name, value in _made_with(effort).items())
    problems = []
    for c in known:
        if c.kind == "experiment":
            problems += [f"{c.id}: {p}" for p in follows_from_checks(c, records.verdicts[c.id], folder)]
    for verdict in _judged([c for c in known if again or c.kind != "experiment"], effort, jobs):
        record = records.verdicts[verdict.claim.id]
        found = disagreements(verdict, record, folder, same_tools=same_tools)
        problems += [f"{verdict.claim.id}: {p}" for p in found]
    return problems


def _write(
    claims: Any,
    chosen: Sequence[Claim],
    records: Records,
    folder: Path,
    *,
    effort: str,
    again: bool,
    jobs: int,
) -> list[str]:
    """Judge, record, write. What was recorded and is not judged now must follow from its numbers, or nothing is written."""
    from bntheory.judges.verdict import Status
    from bntheory.report.papers import write_pages, wrong_words
    from bntheory.report.records import outdated, record_of, unsealed
    from bntheory.report.rederive import disagreements, follows_from_checks

    judged = [
        c
        for c in chosen
        if again
        or c.kind != "experiment"
        or records.made_with.get("effort") != effort
        or outdated(c, records.verdicts.get(c.id))
    ]
    refused = []
    for c in claims:
        record = records.verdicts.get(c.id)
        if record is not None and c not in judged:
            whole = c.kind == "experiment" and not outdated(
                c, record
            )  # what is stale is said to be so anyway
            follows = follows_from_checks(c, record, folder) if whole else ()
            refused += [f"{c.id}: {p}" for p in (unsealed(c, record, folder), *follows) if p]
    if refused:
        return [
            *refused,
            "nothing was written: judge these anew, bntheory papers --write --again --paper KEY",
        ]
    folder.mkdir(parents=True, exist_ok=True)
    for verdict in _judged(judged, effort, jobs):
        c = verdict.claim
        before = records.verdicts.get(c.id)
        if verdict.status in (Status.ERROR, Status.DISAGREEMENT):
            why = next((e for e in verdict.evidence if e.finding == "error"), verdict.evidence[0])
            refused.append(f"{c.id}: {verdict.status.value}; {why.judge}: {why.summary}")
            continue  # no verdict on the claim; what was recorded stays, and is stale
        if before is not None:
            if before.status != verdict.status.value:
                typer.echo(f"{c.id}: recorded {before.status}, judged {verdict.status.value}", err=True)
            whole = not (outdated(c, before) or unsealed(c, before, folder))
            if whole and not list(disagreements(verdict, before, folder, same_tools=True)):
                continue  # as recorded, to the last line of a proof: figures of chance stay as they are
        records.verdicts[c.id] = record_of(verdict, folder)
        records.save(folder)  # after every claim: an interrupt loses nothing
    for key in [k for k in records.verdicts if k not in claims]:
        del records.verdicts[key]
    records.made_with = _made_with(effort)
    records.save(folder)
    refused += wrong_words(claims, records, folder)
    if refused:
        return [*refused, "what could be judged is recorded, no page was written"]
    write_pages(claims, records, folder)
    return []


def _judged(chosen: Sequence[Claim], effort: Any, jobs: int) -> Iterator[Verdict]:
    from bntheory.judges.check import JUDGES
    from bntheory.judges.parallel import Task, judge_many

    tasks = [Task(c) for c in chosen]
    with status_bar(len(tasks)) as advance:
        found = judge_many(tasks, judges=JUDGES, effort=effort, jobs=jobs or os.cpu_count() or 1)
        with closing(found):
            for done, (_, verdict) in enumerate(found, 1):
                advance(done, verdict.claim.id)
                yield verdict


def _made_with(effort: str) -> dict[str, str]:
    from importlib.metadata import version

    return {"effort": effort, **{name: version(name).split("+")[0] for name in _TOOLS}}
