"""``check``: what is true of claims."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from bntheory.claims.claim import Claim, Study
from bntheory.commands.common import (
    BAD_USE,
    FAILED,
    INTERRUPTED,
    STYLE,
    clear_errors,
    folder_to_write,
    one_of,
    plain,
    wrapped,
)
from bntheory.commands.options import Jobs, Json, Seed, described
from bntheory.commands.progress import status_bar
from bntheory.commands.statements import Kind, Paper, ids, selected
from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.evidence.study import SCALES
from bntheory.files import write_atomic
from bntheory.report.strict_json import json_text

_TIME_LIMIT = 300.0


@clear_errors
@described(
    targets=typer.Argument(
        metavar="[ID|FILE.py]...", autocompletion=ids, help="Ids, or Python files of your own claims."
    ),
    everything=typer.Option("--all", help="Every claim of the package."),
    judge="Ask only this judge: algebra, search, network or study. Repeatable.",
    effort="The budget of search and studies: quick, normal or thorough.",
    scale="How large experiments are: quick, cpu or gpu. Left out: what the effort amounts to, in this order.",
    device="torch device for search, networks and studies.",
    store="Folder in which experiments look for their records and keep new ones, besides the recorded ones of a checkout: a check "
    "that was cut off goes on, and one made again with the same code reads. `bntheory runs` lists it. Left out: a new one, runs/check.",
    again="Make all records of experiments anew; the recorded ones are not read.",
    train=typer.Option(
        " /--no-train",
        show_default=False,
        help="With --no-train, experiments are judged from records alone; one that lacks some is unknown.",
    ),
    expect="Exit with 1 unless every verdict is this status, e.g. proved.",
    time_limit=typer.Option(
        help="Seconds after which a claim is stopped and the others go on; 0 for none. "
        "Left out: 300 for your own files, none for the claims of the package.",
        min=0.0,
        max=1e7,
    ),
    witnesses="Folder for the witness of every refutation; `bntheory replay` reads them.",
)
def check(
    targets: list[str] | None = None,
    paper: Paper = "",
    kind: Kind = "",
    everything: bool = False,
    judge: list[str] | None = None,
    effort: str = "normal",
    scale: str = "",
    seed: Seed = 0,
    device: str = "cpu",
    store: Path | None = None,
    again: bool = False,
    train: bool = True,
    jobs: Jobs = 0,
    expect: str = "",
    time_limit: float | None = None,
    witnesses: Path | None = None,
    as_json: Json = False,
) -> None:
    """Judge claims and print the verdicts with their evidence.

    Layer claims are asked of three judges: algebra (a proof for every batch size, or a counterexample), search (an adversarial
    attack with an exact certificate) and network (the same relation on layers measured in real networks). Other kinds have a study of
    their own. Experiments are judged from records: those of --store, those recorded in the checkout, and what neither has (or has from
    other code) is said and made. "unknown" is a verdict and never a pass.

    Exit code: 0 when judging went through, whatever the verdicts; 1 when two judges disagree, one ended in an error, or --expect is not
    met; 2 for bad use and for a file of claims of which a part could not be used.

    Examples:
      bntheory check santurkar2018.theorem-4.1.neurips
      bntheory check --paper cai2019 --effort quick
      bntheory check mine.py --expect proved
    """
    from bntheory.commands.experiments import judged_experiments, record_place
    from bntheory.devices import started_by_torchrun
    from bntheory.judges.check import JUDGES
    from bntheory.judges.experiments import effort_of
    from bntheory.judges.parallel import Task, judge_many
    from bntheory.judges.verdict import Status

    if started_by_torchrun():
        raise UserError(
            "check: every rank of torchrun would judge everything; let bntheory compare --claims ID --out FOLDER train on all of them, "
            "and judge with bntheory check ID --store FOLDER, without torchrun"
        )
    budget = one_of("effort", effort, SCALES)
    folder_to_write("--witnesses", witnesses)
    if train:
        folder_to_write("--store", store)
    judges = tuple(name for name in JUDGES if name in (judge or JUDGES))
    for name in judge or ():
        one_of("judge", name, JUDGES)
    if expect:
        one_of("expect", expect, tuple(s.value for s in Status))
    size = effort_of(one_of("scale", scale, SCALES.values())) if scale else budget
    if device != "cpu":
        from bntheory.devices import check_device

        check_device(device)
    own = any(_is_file(target) for target in targets or ())
    limit = (_TIME_LIMIT if own else 0.0) if time_limit is None else time_limit
    tasks, problems = _tasks(targets or [], paper, kind, everything, Task, limit)
    for path, problem in problems:
        typer.secho(f"{path}, {problem}", fg=None if plain() else "magenta", err=True)
    found: list[Any] = []
    interrupted = False

    def take(task: Any, verdict: Any) -> None:
        found.append((task, verdict))
        if not as_json:
            _print_verdict(verdict)
        if witnesses is not None:
            _save_witness(verdict, witnesses)

    tasks = [replace(t, effort=size) if t.claim.kind == "experiment" else t for t in tasks]
    asked = [
        t for t in tasks if t.claim.kind == "experiment" and "study" in judges and not (train and (t.path or limit))
    ]
    others = [t for t in tasks if t not in asked]
    try:
        experiments = train and "study" in judges and any(t.claim.kind == "experiment" for t in tasks)
        with record_place(store, again=again, asked=experiments) as (folder, archive):
            study = Study(size, seed, device, store=folder, archive=archive)
            with status_bar(len(others), others[0].claim.id if others else "") as advance:
                judged = judge_many(
                    others,
                    replace(study, effort=budget),
                    judges=judges,
                    jobs=jobs or (os.cpu_count() or 1),
                    time_limit=limit or None,
                )
                with closing(judged):  # whatever ends the loop ends the workers
                    for task, verdict in judged:
                        advance(len(found) + 1, task.claim.id)
                        take(task, verdict)
            by_id = {t.claim.id: t for t in asked}
            # after the forked judges: a process that has trained, or has begun with CUDA, is not to be forked
            for verdict in judged_experiments([t.claim for t in asked], study, workers=jobs or None, train=train):
                take(by_id[verdict.claim.id], verdict)
    except KeyboardInterrupt:
        interrupted = True
        typer.echo(
            f"interrupted after {len(found)} of {counted(len(tasks), 'claim')}; what was judged stands", err=True
        )
    order = {id(task): i for i, task in enumerate(tasks)}
    found.sort(key=lambda pair: order[id(pair[0])])
    verdicts = [verdict for _, verdict in found]
    if as_json:
        typer.echo(json_text([v.as_json() for v in verdicts]))
    elif len(verdicts) > 1:
        _print_summary(verdicts)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    broken = any(v.status is Status.ERROR and task.path for task, v in found)
    if problems or broken:
        raise typer.Exit(BAD_USE)
    if any(v.status in (Status.DISAGREEMENT, Status.ERROR) for v in verdicts) or (
        expect and any(v.status.value != expect for v in verdicts)
    ):
        raise typer.Exit(FAILED)


def _tasks(
    targets: list[str], paper: str, kind: str, everything: bool, task: Any, limit: float
) -> tuple[list[Any], list[Any]]:
    from bntheory.claims import registry
    from bntheory.claims.user_file import Problem, load_claims

    if not (targets or paper or kind or everything):
        raise UserError("nothing to check: give ids, a file of claims, --paper KEY, --kind KIND or --all")
    tasks: list[Any] = []
    problems: list[Any] = []
    where: dict[str, str] = {}
    files: set[Path] = set()
    for target in targets:
        if _is_file(target):
            if Path(target).resolve() in files:
                continue
            files.add(Path(target).resolve())
            loaded = load_claims(target, limit)
            problems += [(target, problem) for problem in loaded.problems]
            for c in loaded.claims:
                taken = "the package" if c.id in registry() else where.get(c.id)
                if taken:
                    problems.append(
                        (target, Problem(_line(c), f"claim id {c.id!r} is taken by {taken}; choose another"))
                    )
                    continue
                where[c.id] = target
                tasks.append(task(c, target))
            if not loaded.claims and not loaded.problems:
                raise UserError(
                    f"{target}: no claims in it; write `from bntheory import claim`, and @claim('mine.name', statement='...') over a function of a layer"
                )
        else:
            tasks.append(task(registry()[target]))
    if paper or kind or everything:
        tasks += [task(c) for c in selected(paper, kind)]
    return list({(t.path, t.claim.id): t for t in tasks}.values()), problems


def _is_file(target: str) -> bool:
    return target.endswith(".py") or os.sep in target


def _line(c: Claim) -> int:
    code = getattr(c.check, "__code__", None)
    return code.co_firstlineno if code else 0


def _print_verdict(verdict: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    from bntheory.commands.experiments import records_text

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # rich would end with 1, which says that the answer is no
            raise BrokenPipeError

    console = Piped(soft_wrap=True, highlight=False)
    status = verdict.status.value
    console.print(Text(f"{status:<18}", STYLE.get(status, "")), Text(verdict.claim.id, "bold"), sep="")
    for e in verdict.answers:
        if e.details.get("records"):
            console.print(f"    records  {records_text(e.details)}", markup=False, style="dim")
        summary = e.summary if e.finding == "error" else _short(e.summary)
        console.print(wrapped(f"    {e.judge:<8} {e.finding:<13} {summary}", 27, one=True), markup=False, style="dim")


def _short(text: str, limit: int = 260) -> str:
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def _print_summary(verdicts: list[Any]) -> None:
    counts = Counter(v.status.value for v in verdicts)
    typer.echo(f"\n{counted(len(verdicts), 'claim')}: " + ", ".join(f"{n} {status}" for status, n in counts.items()))


def _save_witness(verdict: Any, folder: Path) -> None:
    for e in verdict.evidence:
        if "witness" in e.details:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{verdict.claim.id}.json"
                write_atomic(path, (json_text(e.details["witness"], 1) + "\n").encode())
            except OSError as error:
                raise UserError(
                    f"--witnesses {folder}: cannot be written ({error.strerror}); give another folder"
                ) from None
            return
