"""``claims``, ``show`` and ``check``: what is claimed, and what is true of it."""

from __future__ import annotations

import inspect
import os
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from bntheory.claims.claim import Claim, Effort
from bntheory.commands.common import (
    BAD_USE,
    FAILED,
    INTERRUPTED,
    STYLE,
    clear_errors,
    one_of,
    status_bar,
)
from bntheory.commands.options import Json, Latex
from bntheory.errors import UserError
from bntheory.report.strict_json import json_text

__all__ = ["check", "claims", "show"]

_KINDS = ("layer", "landscape", "dynamics", "network", "experiment")
_TIME_LIMIT = 300.0
_EFFORTS = ("quick", "normal", "thorough")
Paper = Annotated[str, typer.Option("--paper", help="Only the claims of this source, e.g. santurkar2018.")]
Kind = Annotated[str, typer.Option("--kind", help=f"Only claims of this kind: {', '.join(_KINDS)}.")]


def _selected(paper: str, kind: str) -> list[Claim]:
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
    chosen = _selected(paper, kind)
    if as_json:
        typer.echo(json_text([_claim_json(c) for c in chosen]))
        return
    key = ""
    for c in chosen:
        if c.key != key:
            key = c.key
            typer.echo(f"{'' if c is chosen[0] else chr(10)}{key}")
        typer.echo(f"  {c.id:<72} {c.kind}")
    typer.echo(f"\n{len(chosen)} claims. `bntheory show ID` prints one, `bntheory check ID` judges it.")


def _claim_json(c: Claim) -> dict[str, Any]:
    return {
        "id": c.id,
        "kind": c.kind,
        "source": {
            "key": c.source.key,
            "place": c.source.place,
            "version": c.source.version,
            "seen": c.source.seen,
        },
        "statement": c.statement,
        "reading": c.reading,
        "domain": c.domain.describe() if c.domain else "",
        "repairs": c.repairs,
    }


@clear_errors
def show(
    claim_id: Annotated[str, typer.Argument(metavar="ID", help="The claim's permanent id.")],
    as_latex: Latex = False,
    as_bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print a BibTeX entry for the verdict.")
    ] = False,
) -> None:
    """Print one claim: as printed, how it was read, where it is asserted, and the function that states it.

    With --latex it is judged, at quick effort, and printed as a paragraph for a review.

    Examples:
      bntheory show santurkar2018.theorem-4.1.neurips
    """
    from bntheory.claims import registry

    c = registry()[claim_id]
    if as_bibtex:
        from bntheory.judges.latex import bibtex

        typer.echo(bibtex(c))
        return
    if as_latex:
        from bntheory.judges.check import judge_claim

        typer.echo(judge_claim(c, effort="quick").latex())
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
    typer.secho(c.id, bold=True)
    for name, text in rows:
        if text:
            typer.echo(
                textwrap.fill(f"{name:<10} {text}", 100, subsequent_indent=" " * 11, break_long_words=False)
            )
    typer.echo("")
    typer.echo(textwrap.indent(inspect.getsource(c.check).rstrip(), "  "))
    typer.echo(f"\njudge it: bntheory check {c.id}")


@clear_errors
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID|FILE.py]...", help="Ids, or Python files of your own claims."),
    ] = None,
    paper: Paper = "",
    kind: Kind = "",
    everything: Annotated[bool, typer.Option("--all", help="Every claim of the package.")] = False,
    judge: Annotated[
        list[str] | None,
        typer.Option("--judge", help="Ask only this judge: algebra, search, network or study. Repeatable."),
    ] = None,
    effort: Annotated[
        str, typer.Option(help="The budget of search and studies: quick, normal or thorough.")
    ] = "normal",
    seed: Annotated[int, typer.Option(help="Where all chance comes from.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="torch device for search, networks and studies.")] = "cpu",
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder in which experiments look for their records and keep new ones: a check that was cut off goes on, and one made "
            "again with the same source reads. `bntheory runs` lists it."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0)] = 0,
    expect: Annotated[
        str, typer.Option(help="Exit with 1 unless every verdict is this status, e.g. proved.")
    ] = "",
    time_limit: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which a claim is stopped and the others go on; 0 for none. "
            "Left out: 300 for your own files, none for the claims of the package.",
            min=0.0,
        ),
    ] = None,
    witnesses: Annotated[
        Path | None,
        typer.Option(help="Folder for the witness of every refutation; `bntheory replay` reads them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge claims and print the verdicts with their evidence.

    Layer claims are asked of three judges: algebra (a proof for every batch size, or a counterexample), search (an adversarial
    attack with an exact certificate) and network (the same relation on layers measured in real networks). Other kinds have a study of
    their own. "unknown" is a verdict and never a pass.

    Exit code: 0 when judging went through, whatever the verdicts; 1 when two judges disagree, one ended in an error, or --expect is not
    met; 2 for bad use and for a file of claims of which a part could not be used.

    Examples:
      bntheory check santurkar2018.theorem-4.1.neurips
      bntheory check --paper cai2019 --effort quick
      bntheory check mine.py --expect proved
    """
    from bntheory.judges.check import JUDGES
    from bntheory.judges.parallel import Task, judge_many
    from bntheory.judges.verdict import Status

    one_of("effort", effort, _EFFORTS)
    judges = tuple(name for name in JUDGES if name in (judge or JUDGES))
    for name in judge or ():
        one_of("judge", name, JUDGES)
    if expect:
        one_of("status", expect, tuple(s.value for s in Status))
    _check_device(device)
    own = any(_is_file(target) for target in targets or ())
    limit = (_TIME_LIMIT if own else 0.0) if time_limit is None else time_limit
    tasks, problems = _tasks(targets or [], paper, kind, everything, Task, limit)
    for path, problem in problems:
        typer.secho(f"{path}, {problem}", fg="magenta", err=True)
    found: list[Any] = []
    interrupted = False
    try:
        with status_bar(len(tasks)) as advance:
            workers = jobs or (os.cpu_count() or 1)
            judged = judge_many(
                tasks,
                judges=judges,
                effort=cast(Effort, effort),
                seed=seed,
                device=device,
                store=store,
                jobs=workers,
                time_limit=limit or None,
            )
            with closing(judged):  # whatever ends the loop ends the workers
                for task, verdict in judged:
                    found.append((task, verdict))
                    advance(len(found), task.claim.id)
                    if not as_json:
                        _print_verdict(verdict)
                    if witnesses is not None:
                        _save_witness(verdict, witnesses)
    except KeyboardInterrupt:
        interrupted = True
        typer.echo(f"interrupted after {len(found)} of {len(tasks)} claims; what was judged stands", err=True)
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
                    f"{target}: no claims in it; decorate a function with @claim (see the README)"
                )
        else:
            tasks.append(task(registry()[target]))
    if paper or kind or everything:
        tasks += [task(c) for c in _selected(paper, kind)]
    return list({(t.path, t.claim.id): t for t in tasks}.values()), problems


def _is_file(target: str) -> bool:
    return target.endswith(".py") or os.sep in target


def _line(c: Claim) -> int:
    code = getattr(c.check, "__code__", None)
    return code.co_firstlineno if code else 0


def _check_device(device: str) -> None:
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"device {device!r} cannot be used here ({reason}); leave --device out for the CPU"
        ) from None


def _print_verdict(verdict: Any) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    status = verdict.status.value
    console.print(Text(f"{status:<18}", STYLE.get(status, "")), Text(verdict.claim.id, "bold"), sep="")
    for e in verdict.evidence:
        if e.finding != "not-applicable":
            console.print(
                f"    {e.judge:<8} {e.finding:<13} {e.summary if e.finding == 'error' else _short(e.summary)}",
                markup=False,
                style="dim",
            )


def _short(text: str, limit: int = 260) -> str:
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def _print_summary(verdicts: list[Any]) -> None:
    counts: dict[str, int] = {}
    for v in verdicts:
        counts[v.status.value] = counts.get(v.status.value, 0) + 1
    typer.echo(f"\n{len(verdicts)} claims: " + ", ".join(f"{n} {status}" for status, n in counts.items()))


def _save_witness(verdict: Any, folder: Path) -> None:
    for e in verdict.evidence:
        if "witness" in e.details:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{verdict.claim.id}.json"
                path.write_text(json_text(e.details["witness"], 1) + "\n", encoding="utf-8")
            except OSError as error:
                raise UserError(
                    f"--witnesses {folder}: cannot be written ({error.strerror}); give another folder"
                ) from None
            return
