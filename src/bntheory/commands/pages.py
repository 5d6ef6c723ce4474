"""``papers``: the pages of all verdicts, checked or written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bntheory.claims.claim import Effort, Study
from bntheory.commands.common import FAILED, clear_errors, one_of
from bntheory.commands.experiments import judged_experiments, record_place, spoken_lack
from bntheory.commands.options import Jobs, Json, described
from bntheory.commands.progress import status_bar
from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.evidence.study import SCALES
from bntheory.judges.experiments import archive_of_checkout
from bntheory.report.strict_json import json_text

if TYPE_CHECKING:
    from bntheory.claims import Claim
    from bntheory.judges.verdict import Verdict
    from bntheory.report.records import Records

_TOOLS = ("z3-solver", "python-flint", "sympy", "torch", "bntheory")


@clear_errors
@described(
    check="Judge every claim again, an experiment from the recorded store (about two minutes on two cores), and "
    "fail with exit code 1 where code, claims, records and pages disagree.",
    write="Judge every claim again, experiments from the recorded store, and write records and pages. What is not recorded, or does "
    "not follow from its numbers, is refused.",
    again="Train for every experiment anew as well.",
    paper="Judge and check only the claims of this source.",
    effort="With --write: quick, normal or thorough.",
    folder=typer.Option("--dir", help="The folder of pages."),
)
def papers(
    check: bool = False,
    write: bool = False,
    again: bool = False,
    paper: str = "",
    effort: str = "normal",
    jobs: Jobs = 0,
    folder: Path = Path("papers"),
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
    if effort != "normal" and not write:
        raise UserError("--effort: is for --write; --check judges with the recorded effort")
    if (again or jobs) and not (check or write):
        raise UserError("--again, --jobs: are for --check or --write; without them nothing is judged")
    if not folder.is_dir() and not (write and (again or archive_of_checkout())):
        more = ", or add --again to write new ones, for which every experiment is trained" if write else ""
        raise UserError(
            f"--dir {folder}: no such folder; run this in a checkout, where papers/ lies, or name it with --dir{more}"
        )
    claims, began = registry(), time.monotonic()
    if paper:
        one_of("paper", paper, claims.sources())
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
        typer.echo(f"{counted(len(chosen), 'claim')}, {judged}{len(problems)} stale{hint}")
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
    archive = archive_of_checkout()
    asked = [c for c in known if again or archive or c.kind != "experiment"]
    # a solver's limit is one of time: what differs is judged once more, with nothing beside it
    for alone in (False, True):
        found: dict[str, list[str]] = {}
        for judged in _judged(asked, effort, 1 if alone else jobs, again):
            record = records.verdicts[judged.claim.id]
            said = list(judged.lacks)
            if judged.verdict is not None:
                said += disagreements(judged.verdict, record, folder, same_tools=same_tools, scales=judged.scales)
            if said:
                found[judged.claim.id] = [f"{judged.claim.id}: {why}" for why in said]
        asked = [c for c in asked if c.id in found]
        if not asked:
            break
    problems += [line for lines in found.values() for line in lines]
    return problems


def _write(
    claims: Any, chosen: Sequence[Claim], records: Records, folder: Path, *, effort: str, again: bool, jobs: int
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
        or archive_of_checkout()
        or c.kind != "experiment"
        or records.made_with.get("effort") != effort
        or outdated(c, records.verdicts.get(c.id))
    ]
    refused = []
    for c in claims:
        record = records.verdicts.get(c.id)
        if record is not None and c not in judged:
            whole = c.kind == "experiment" and not outdated(c, record)  # what is stale is said to be so anyway
            follows = follows_from_checks(c, record, folder) if whole else ()
            refused += [f"{c.id}: {p}" for p in (unsealed(c, record, folder), *follows) if p]
    if refused:
        return [*refused, "nothing was written: judge these anew, bntheory papers --write --again --paper KEY"]
    folder.mkdir(parents=True, exist_ok=True)
    for one in _judged(judged, effort, jobs, again):
        c, verdict = one.claim, one.verdict
        before = records.verdicts.get(c.id)
        refused += [f"{c.id}: {why}" for why in one.lacks]
        if verdict is None:
            continue  # what was recorded stays, and is stale
        if verdict.status in (Status.ERROR, Status.DISAGREEMENT):
            why = next((e for e in verdict.evidence if e.finding == "error"), verdict.evidence[0])
            refused.append(f"{c.id}: {verdict.status.value}; {why.judge}: {why.summary}")
            continue  # no verdict on the claim; what was recorded stays, and is stale
        if before is not None:
            if before.status != verdict.status.value:
                typer.echo(f"{c.id}: recorded {before.status}, judged {verdict.status.value}", err=True)
            whole = not (outdated(c, before) or unsealed(c, before, folder))
            agree = disagreements(verdict, before, folder, same_tools=True, scales=one.scales)
            if whole and one.scales is None and not list(agree):
                continue  # as recorded, to the last line of a proof: figures of chance stay as they are
        records.verdicts[c.id] = record_of(verdict, folder, one.scales or ())
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


@dataclass(frozen=True)
class _Judged:
    """verdict: None where nothing could be judged. scales: the rows of an experiment that is recorded. lacks: what is not recorded."""

    claim: Claim
    verdict: Verdict | None
    scales: tuple[dict[str, Any], ...] | None = None
    lacks: tuple[str, ...] = ()


def _judged(chosen: Sequence[Claim], effort: Any, jobs: int, again: bool) -> Iterator[_Judged]:
    """Everything but experiments anew; these from the recorded store, or trained where there is none or again asks for it."""
    from bntheory.judges.check import JUDGES
    from bntheory.judges.parallel import Task, judge_many

    others = [c for c in chosen if c.kind != "experiment"]
    experiments = [c for c in chosen if c.kind == "experiment"]
    with status_bar(len(others)) as advance:
        found = judge_many([Task(c) for c in others], Study(effort), judges=JUDGES, jobs=jobs or os.cpu_count() or 1)
        with closing(found):
            for done, (_, verdict) in enumerate(found, 1):
                advance(done, verdict.claim.id)
                yield _Judged(verdict.claim, verdict)
    archive = archive_of_checkout()
    if archive is not None and not again:
        for c in experiments:
            yield _recorded(c, effort, archive)
        return
    with record_place(None, again=again, asked=bool(experiments)) as (folder, _):
        study = Study(effort, store=folder)
        for verdict in judged_experiments(experiments, study, workers=jobs or None):
            yield _Judged(verdict.claim, verdict)


def _recorded(claim: Claim, effort: Effort, archive: Path) -> _Judged:
    """From the recorded store: the verdict at the scale of the effort, or at the largest one that is recorded; a row for each."""
    from bntheory.judges.experiments import changed_texts, recorded_verdicts
    from bntheory.report.claims_table import row_of

    found = recorded_verdicts(claim, archive)
    hint = f"bntheory compare --claims {claim.id} --preset SCALE --out FOLDER, then bntheory runs pack"
    if not found:
        return _Judged(claim, None, (), (f"no records of it in {archive.name}; {hint}",))
    lacks = tuple(f"at scale {p}: {spoken_lack(parts)}; {hint}" for p, (_, parts) in found.items() if parts)
    whole = {place: verdict for place, (verdict, parts) in found.items() if not parts}
    if not whole:
        return _Judged(claim, None, (), lacks)
    order = [SCALES[effort], "gpu@cuda", "gpu", "cpu", "quick", *whole]
    notes = {place: changed_texts([claim], place, [archive]).get(claim.id, "") for place in whole}
    rows = tuple(
        {"place": place, **row_of(whole[place]), "note": notes[place]}
        for place in sorted(whole, key=("quick", "cpu", "gpu", "gpu@cuda", *whole).index)
    )
    return _Judged(claim, next(whole[place] for place in order if place in whole), rows, lacks)


def _made_with(effort: str) -> dict[str, str]:
    from importlib.metadata import version

    return {"effort": effort, **{name: version(name).split("+")[0] for name in _TOOLS}}
