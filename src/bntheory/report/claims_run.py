"""Every experiment claim at one scale: records made in one folder, all judged, verdicts and a page written there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bntheory.claims.claim import Claim, Registry, Study
from bntheory.errors import UserError
from bntheory.evidence.closure import own_version
from bntheory.evidence.study import Scale
from bntheory.experiments.folder import MANIFEST, free_folder, holds_other_files, named_folder, remove_run
from bntheory.experiments.store import RECORDS, Store
from bntheory.files import write_atomic
from bntheory.judges.experiments import CLAIMS, effort_of, judge_experiments
from bntheory.judges.verdict import Status, Verdict
from bntheory.report.claims_table import row_of
from bntheory.report.html import render
from bntheory.report.strict_json import json_text

if TYPE_CHECKING:
    from bntheory.experiments.campaign import Making


@dataclass(frozen=True)
class ClaimsResult:
    """Where the records lie, the page, and the verdicts in the order of the claims."""

    folder: Path
    report: Path
    verdicts: tuple[Verdict, ...]


def chosen_claims(claims: Registry, words: str) -> list[Claim]:
    """The experiment claims that "all", or a list of sources, ids and files of claims with commas, stands for.

    Raises UserError for what is none, and for a file of which a part cannot be used.
    """
    every = list(claims.select(kind="experiment"))
    if words.strip() == "all":
        return every
    found: dict[str, Claim] = {}
    for word in filter(None, (w.strip() for w in words.split(","))):
        if word.endswith(".py"):
            found |= {c.id: c for c in _of_file(word, {*(c.id for c in claims), *found})}
            continue
        if word in claims and claims[word].kind != "experiment":
            raise UserError(
                f"claims: {word} is of kind {claims[word].kind}, which trains nothing; bntheory check {word} judges it"
            )
        some = [c for c in every if word in (c.id, c.key)]
        if not some:
            keys = ", ".join(sorted({c.key for c in every}))
            raise UserError(f"claims: {word!r} is no id and no source of an experiment claim; the sources are {keys}")
        found |= {c.id: c for c in some}
    if not found:
        raise UserError(
            "claims: none are named; give all, a source as santurkar2018, a file, or ids with commas between"
        )
    return list(found.values())


def _of_file(path: str, taken: set[str]) -> list[Claim]:
    from bntheory.claims.user_file import load_claims

    loaded = load_claims(path)
    some = [c for c in loaded.claims if c.kind == "experiment"]
    wrong = [str(p) for p in loaded.problems] + [f"claim id {c.id!r} is taken" for c in some if c.id in taken]
    if wrong or not some:
        raise UserError(f"claims: {path}: {wrong[0] if wrong else 'holds no claim of kind experiment'}")
    return some


def claims_folder(out: Path | None, scale: str, *, resume: bool, overwrite: bool) -> Path:
    """The folder of the run; a new one, unless the run that lies there is gone on with or replaced. Raises UserError as ``compare``."""
    path, name, root = named_folder(out, resume=resume, overwrite=overwrite), f"claims-{scale}", Path("runs")
    if path is None:
        if not resume:
            return free_folder(root, name)
        old = [p.parent for p in root.glob(f"{name}*/{CLAIMS}")] or [p.parent for p in root.glob(f"{name}*/{RECORDS}")]
        if not old:
            raise UserError(
                f"resume: there is no run of claims at scale {scale} under {root}; leave out --resume to start one"
            )
        return max(old, key=lambda p: p.stat().st_mtime)
    if (path / MANIFEST).exists():
        raise UserError(f"out: {path} holds the run of a preset; name another folder for claims")
    if Store(path).state() or (path / CLAIMS).exists():
        if not (resume or overwrite):
            raise UserError(
                f"out: {path} holds records already; give --resume to go on with them, --overwrite to replace them, or name another folder"
            )
    elif not resume and holds_other_files(path):
        raise UserError(f"out: {path} holds other files and no records; name an empty or a new folder")
    return path


def compare_claims(
    chosen: Sequence[Claim],
    scale: Scale,
    folder: Path,
    *,
    device: str = "cpu",
    seed: int = 0,
    overwrite: bool = False,
    each: Callable[[Verdict], None] = lambda verdict: None,
    **how: Unpack[Making],
) -> ClaimsResult:
    """Make what the claims ask for at this scale and ``folder`` lacks, judge all, write ``verdicts.json`` and ``report.html`` there.

    overwrite: remove the records that lie there. each: called with every verdict as it is reached. how: as of
    :func:`bntheory.experiments.campaign.settle`; an interrupt keeps what was recorded. Raises UserError for a device that is missing and a folder that cannot be written.
    """
    from bntheory.devices import check_device

    if how.get("scheduler") is None:
        check_device(device)
    study = Study(effort_of(scale), seed, device, store=folder)
    store = Store.create(folder)
    with store.lock():
        contents = store.read()
        if contents.faults and "say" in how:
            how["say"](contents.fault_text())
        if overwrite:
            remove_run(folder, CLAIMS)
    found: dict[str, Verdict] = {}
    for verdict in judge_experiments(chosen, study, **how):
        found[verdict.claim.id] = verdict
        each(verdict)
    verdicts = tuple(found[claim.id] for claim in chosen)
    return ClaimsResult(folder, _write(store, verdicts, study), verdicts)


def _write(store: Store, verdicts: Sequence[Verdict], study: Study) -> Path:
    """Verdicts with all their checks, and the page with one row a claim."""
    rows = [row_of(verdict) for verdict in verdicts]
    about: dict[str, Any] = {
        "scale": study.scale,
        "seed": study.seed,
        "device": study.device,
        "bntheory": own_version(),
        "made_with": _makes(verdicts),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": dict(Counter(row["status"] for row in rows)),
    }
    text = json_text({**about, "rows": rows, "verdicts": [v.as_json() for v in verdicts]})
    write_atomic(store.path / "verdicts.json", (text + "\n").encode())
    by_source: dict[str, list[dict[str, Any]]] = {}
    for verdict, row in zip(verdicts, rows, strict=True):
        row = {**row, "statement": verdict.claim.statement, "reading": verdict.claim.reading}
        by_source.setdefault(verdict.claim.key, []).append(row)
    meaning = {s.value: s.explanation for s in Status if s.value in about["counts"]}
    path = store.path / "report.html"
    write_atomic(path, render("claims.html", about=about, sources=by_source, meaning=meaning).encode())
    return path


def _makes(verdicts: Iterable[Verdict]) -> list[str]:
    made = (m for v in verdicts for e in v.evidence for m in e.details.get("made_with", ()))
    return sorted({", ".join(f"{k} {v}" for k, v in sorted(m.items())) for m in made})
