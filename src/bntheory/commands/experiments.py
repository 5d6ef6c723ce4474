"""Experiment claims on the command line: where their records are read and kept, what is said of those that are missing, their table.

Importing this module is cheap: torch loads once a claim is judged.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import typer

from bntheory.claims.claim import Claim, Study
from bntheory.commands.common import FAILED, interrupted, one_of, wrapped
from bntheory.commands.progress import duration, show_progress
from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.evidence.study import SCALES
from bntheory.report.strict_json import json_text

if TYPE_CHECKING:
    from bntheory.experiments.asking import Lacking
    from bntheory.experiments.confirm import Confirmed
    from bntheory.experiments.experiment import Needed
    from bntheory.experiments.plan import Cost, Plan
    from bntheory.judges.verdict import Verdict


#: Where records are kept of a check that names no store; numbered if taken, as every run is.
_PLACE = Path("runs", "check")
#: Characters of a verdict's summary in a table of many.
_SUMMARY = 400


@contextmanager
def record_place(store: Path | None, *, again: bool, asked: bool) -> Iterator[tuple[Path, Path | None]]:
    """(the store in which records are kept, the recorded one that is read as well).

    Where none is named, a new one of its own among the runs here: it is named, and stays, where records were made.
    asked: whether any may be.

    Raises UserError where everything is to be made again in a store that holds records.
    """
    from bntheory.experiments.store import Store
    from bntheory.judges.experiments import archive_of_checkout

    archive = None if again else archive_of_checkout()
    if store is not None:
        if again and Store(store).state():
            raise UserError(f"--again, --store: {store} holds records; name a new folder, in which all are made anew")
        yield store, archive
        return
    own = _new_place() if asked else None
    if own is None:
        with tempfile.TemporaryDirectory(prefix="bntheory-records-") as folder:
            yield Path(folder), archive
        return
    try:
        yield own, archive
    finally:
        if Store(own).state():
            said = f"new records are kept in {own}: --store {own} reads them, and goes on with what is left"
            typer.echo(wrapped(said, 4), err=True)
        else:
            shutil.rmtree(own, ignore_errors=True)
            with suppress(OSError):
                own.parent.rmdir()


def _new_place() -> Path | None:
    """An empty folder that nobody else has; None, which is said, where none can be made here."""
    from bntheory.experiments.folder import free_folder

    while True:
        own = free_folder(_PLACE.parent, _PLACE.name)
        try:
            own.mkdir(parents=True)
        except OSError as error:
            if isinstance(error, FileExistsError) and own.is_dir():
                continue  # somebody else was faster
            said = f"new records will not be kept: {own} cannot be made ({error.strerror}); --store FOLDER keeps them"
            typer.echo(wrapped(said, 4), err=True)
            return None
        return own


def judged_experiments(
    claims: Sequence[Claim], study: Study, *, workers: int | None, train: bool = True
) -> Iterator[Verdict]:
    """Verdicts as they are reached; what is missing is said, with its cost, and made unless nothing is to be trained.

    workers: processes; None: as many as there are cores.
    """
    from bntheory.judges.experiments import changed_texts, judge_experiments, judge_recorded, place_name
    from bntheory.judges.verdict import Evidence, verdict_of

    if not claims:
        return
    stores = [path for path in (study.store, study.archive) if path is not None]
    for key, why in changed_texts(claims, place_name(study.scale, study.device, study.seed), stores).items():
        typer.echo(f"{key}: {why}", err=True)
    if not train:
        for claim in claims:
            verdict, lacking = judge_recorded(claim, study)
            if lacking:
                said = Evidence("study", "unknown", spoken_lack(lacking), {}, 0.0, study.seed)
                verdict = verdict_of(claim, [said])
            yield verdict
        return

    with show_progress() as progress:
        yield from judge_experiments(
            claims,
            study,
            workers=workers,
            progress=progress,
            say=lambda text: typer.echo(text, err=True),
            lacks=_lack_sayer(stores),
        )


def _lack_sayer(stores: Sequence[Path]) -> Callable[[Mapping[str, Sequence[Lacking]]], None]:
    """Says before each round what claims lack and what it costs: which claims at first; then how many ask for more, as records did not decide them."""
    rounds = 0

    def say(lacking: Mapping[str, Sequence[Lacking]]) -> None:
        nonlocal rounds
        rounds += 1
        left = _left(lacking.values())
        of = counted(len(lacking), "claim")
        what = f"{counted(len(left), 'record')} of {of}; {spoken_cost(left, known_costs(stores))}"
        if rounds > 1:
            typer.echo(f"round {rounds}, to be made: {what}", err=True)
            return
        for key, parts in list(lacking.items())[:8]:
            typer.echo(wrapped(f"{key}: {spoken_lack(parts)}", 4), err=True)
        if len(lacking) > 8:
            typer.echo(f"and {counted(len(lacking) - 8, 'claim')} more", err=True)
        typer.echo(f"to be made: {what}", err=True)

    return say


def judge_at_scale(
    words: str,
    scale: str,
    device: str,
    out: Path | None,
    *,
    resume: bool,
    overwrite: bool,
    workers: int | None,
    block: int = 0,
    scheduler: str | None = None,
    as_json: bool = False,
) -> None:
    """``compare --claims``: make what the claims ask for, judge all, a line a claim, verdicts and a page in the folder."""
    from bntheory.claims import registry
    from bntheory.claims.user_file import in_its_folder
    from bntheory.judges.experiments import archive_of_checkout
    from bntheory.judges.verdict import Status
    from bntheory.report.claims_run import chosen_claims, claims_folder, compare_claims

    size = one_of("scale", scale, SCALES.values())
    chosen = chosen_claims(registry(), words)
    files = [word.strip() for word in words.split(",") if word.strip().endswith(".py")]
    folder = claims_folder(out, size, resume=resume, overwrite=overwrite)
    archive = archive_of_checkout()  # which says what records have cost
    try:
        with ExitStack() as stack:
            progress = stack.enter_context(show_progress())
            for file in files:
                stack.enter_context(in_its_folder(file))
            result = compare_claims(
                chosen,
                size,
                folder,
                device=device,
                seed=block,
                overwrite=overwrite,
                workers=workers,
                scheduler=scheduler,
                progress=progress,
                say=lambda text: typer.echo(text, err=True),
                lacks=_lack_sayer([folder, *([archive] if archive is not None else ())]),
                each=lambda verdict: None if as_json else typer.echo(wrapped(_line(verdict), 14, one=True)),
            )
    except KeyboardInterrupt as stop:
        code, how = interrupted(stop)
        typer.echo(f"{how}; the same command with --resume --out {folder} goes on with it", err=True)
        raise typer.Exit(code) from None
    if as_json:
        found = {"report": str(result.report), "verdicts": [v.as_json() for v in result.verdicts]}
        typer.echo(json_text(found))
        if any(verdict.status is Status.ERROR for verdict in result.verdicts):
            raise typer.Exit(FAILED)
        return
    counts = Counter(verdict.status.value for verdict in result.verdicts)
    typer.echo(
        f"{counted(len(chosen), 'claim')} at scale {size}: "
        + ", ".join(f"{n} {status}" for status, n in counts.items())
    )
    typer.echo(f"report: {result.report}")
    if any(verdict.status is Status.ERROR for verdict in result.verdicts):
        raise typer.Exit(FAILED)


def claims_lack(store: Path, words: str, scale: str) -> dict[str, dict[str, Any]]:
    """By place (:func:`bntheory.judges.experiments.place_name`): how many claims have all their records in a store, what the others lack.

    words, scale: which claims; where words is empty, those that were asked of the store before.
    """
    from bntheory.claims import registry
    from bntheory.experiments.store import Store
    from bntheory.judges.experiments import asked_at, rests_on, study_at
    from bntheory.report.claims_run import chosen_claims

    known = asked_at(store)
    every = {c.id: c for c in registry().select(kind="experiment")}
    if words:
        asked = {scale: chosen_claims(registry(), words)}
    else:
        asked = {place: [every[key] for key in ids if key in every] for place, ids in known.items()}
    found = {}
    for place, claims in asked.items():
        study = study_at(place, store=store)
        asked_for = {c.id: rests_on(c, study)[1:] for c in claims}
        lacking = {key: broken or spoken_lack(parts) for key, (parts, broken) in asked_for.items() if parts or broken}
        left = _left(parts for parts, _ in asked_for.values())
        found[place] = {
            "asked": len(claims),
            "whole": len(claims) - len(lacking),
            "lacking": lacking,
            "refused": Store(store).refused(left),
            "cost": spoken_cost(left, known_costs([store])) if left else "",
        }
    return found


def confirm_records(store: Path, words: str, scale: str, against: Path | None = None, *, as_json: bool = False) -> None:
    """``runs confirm``: take over stale records of claims whose sample comes out bit for bit the same under the code of today.

    scale: places with commas between; what they ask for is sampled as one. against: a store of this machine, made by the earlier code.
    """
    from bntheory.claims import registry
    from bntheory.experiments.asking import workplace
    from bntheory.experiments.confirm import confirm
    from bntheory.experiments.store import Store
    from bntheory.judges.experiments import rests_on, study_at
    from bntheory.report.claims_run import chosen_claims

    studies = [study_at(place.strip(), store=store) for place in scale.split(",")]
    if len({study.device for study in studies}) > 1:
        raise UserError(f"--scale {scale!r}: these were made on several devices; confirm those of one at a time")
    chosen = chosen_claims(registry(), words or "all")
    here = None if against is None else Store(against).read().records
    seen: set[str] = set()
    every: list[Confirmed] = []
    while True:  # a claim whose next runs depend on these asks for more
        lacking = _left(rests_on(claim, study)[1] for study in studies for claim in chosen)
        left = [n for n in lacking if n.address not in seen]
        if not left:
            break
        seen |= {n.address for n in left}
        with show_progress() as progress, Store(store).lock():
            found = confirm(
                left,
                Store(store),
                workplace(studies[0], left),
                workers=None,
                against=here,
                progress=progress,
                say=lambda text: typer.echo(text, err=True),
            )
        every.append(found)
        if as_json:
            continue
        typer.echo(f"made again: {counted(found.made, 'record')}; confirmed by that: {found.taken_over} more")
        for text in found.differing:
            typer.echo(f"differs, so all of its kind are to be made anew: {text}", err=True)
    if as_json:
        counts = {"made": sum(f.made for f in every), "confirmed": sum(f.taken_over for f in every)}
        typer.echo(json_text({"of": str(store), **counts, "differing": [text for f in every for text in f.differing]}))


def plan_claims(words: str, scale: str, device: str) -> Plan:
    """What the first look of claims costs on this device, from a timed sample of every arm and measure."""
    from bntheory.claims import registry
    from bntheory.devices import check_device
    from bntheory.experiments.asking import workplace
    from bntheory.experiments.plan import plan, timed_sample
    from bntheory.judges.experiments import place_name, rests_on, study_at
    from bntheory.report.claims_run import chosen_claims

    one_of("scale", scale, SCALES.values())
    check_device(device)
    with tempfile.TemporaryDirectory() as nothing, show_progress() as progress:
        study = study_at(place_name(scale, device), store=Path(nothing))
        left = _left(rests_on(claim, study)[1] for claim in chosen_claims(registry(), words))
        images = {name: data.to(device) for name, (_, data) in workplace(study, left).data.items() if data is not None}
        costs, memory = timed_sample([n for n in left if n.data in images], images, device, progress)
    return plan(left, costs, memory)


def _line(verdict: Verdict) -> str:
    """One line: status, id, and the effect that decides with its interval."""
    from bntheory.report.claims_table import row_of

    row = row_of(verdict)
    text = f"{row['status']:<14}{row['id']}"
    if row["effect"] is None:
        return f"{text}  {shorten(row['summary'], _SUMMARY, placeholder=' ...')}"
    interval = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    seeds = f", {counted(row['seeds'], 'seed')}" if row["seeds"] else ""
    return f"{text}  {row['check']}: {row['effect']:.3g}{interval}, asked {row['op']} {row['bound']:.3g}{seeds}"


def _left(parts: Iterable[Sequence[Lacking]]) -> list[Needed]:
    from bntheory.experiments.campaign import lacking_records

    return lacking_records(part for of in parts for part in of)


def spoken_lack(parts: Sequence[Lacking]) -> str:
    """What a claim lacks, in words."""
    left, stale = len(_left([parts])), sum(part.stale for part in parts)
    runs = len({n.state for part in parts for n in part.left})
    other = f", {stale} of which are there from other code" if stale else ""
    return f"{counted(left, 'record')} of {counted(runs, 'run')} missing{other}"


def known_costs(stores: Iterable[Path]) -> dict[str, Cost]:
    """What stores say that training and measuring has cost, by recipe; the first one's word counts."""
    from bntheory.experiments.plan import costs_of
    from bntheory.experiments.store import Store

    found: dict[str, Cost] = {}
    for store in stores:
        found = {**costs_of(Store(store).timings()), **found}
    return found


def spoken_cost(left: Sequence[Needed], costs: Mapping[str, Cost]) -> str:
    """What records cost, in words; what the first look needs, where seeds are added until a question is decided."""
    from bntheory.experiments.plan import plan

    if not costs:
        steps = sum({n.state: n.step for n in sorted(left, key=lambda n: n.step)}.values())
        return f"{steps} steps of training; nothing here says yet what a step costs"
    seconds = plan(left, costs).wall(1)
    return f"about {duration(seconds)} on one core"


def records_text(details: Mapping[str, Any]) -> str:
    """How many records a verdict rests on, and whether they were made on other versions than these."""
    from importlib.metadata import version

    from bntheory.evidence.record import spoken

    text = f"{details['records']}, of {counted(details['record_seeds'], 'seed')}, at scale {details['scale']}"
    others = sorted(
        f"{name} {made[name]} (here {version(name)})"
        for made in details["made_with"]
        for name in ("torch", "numpy")
        if name in made and made[name].partition("+")[0] != version(name).partition("+")[0]
    )
    if details.get("confirmed"):
        text += f", {details['confirmed']} of them of earlier code, confirmed by a sample"
    if "ranks" in details:
        text += f", {spoken(details['ranks'])}"
    return text + (f", made with {', '.join(others)}" if others else "")
