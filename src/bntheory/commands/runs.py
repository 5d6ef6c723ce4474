"""``bntheory runs`` and ``bntheory plan``: what a store holds and lacks, what an experiment would cost, and two stores made one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bntheory.commands.common import BAD_USE, clear_errors, skipped_lines, wrapped
from bntheory.commands.experiments import claims_lack, confirm_records, plan_claims
from bntheory.commands.options import Json, described
from bntheory.commands.progress import duration, show_progress
from bntheory.errors import UserError
from bntheory.evidence.counts import counted

if TYPE_CHECKING:
    from bntheory.experiments.plan import Plan
    from bntheory.experiments.store import Store

DEVICES = (1, 8, 1000)


@clear_errors
@described(
    words=typer.Argument(
        metavar="FOLDER | merge A B | pack A B | confirm A",
        help="A run's folder; or merge, or pack, and two of them; or confirm and one.",
    ),
    claims="Experiment claims to ask of the store: all, or sources and ids with commas between. Left out: those that were asked of it.",
    scale="With --claims: quick (where left out), cpu or gpu; quick+1 for the first other block of seeds; confirm takes several, with commas between.",
    against="With confirm, on another machine than that of A: a folder of records made here by the code of A's, which today's have to equal.",
)
def runs(
    words: list[str], claims: str = "", scale: str | None = None, against: Path | None = None, as_json: Json = False
) -> None:
    """What the store in FOLDER holds, what its preset and claims lack, and what that would cost.

    merge A B adds to A what only B holds. pack A B writes into B what the claims that were asked of A rest on, a packed file a source: a
    recorded store, as the one in validation/recorded/experiments. confirm A makes a sample of A's records of other code again and takes
    the rest over, marked, where the sample is the same bit for bit. Lines that are broken, foreign, edited, repeated, or that
    nobody can have measured, are named, count for nothing, and make the exit code 2.

    Examples:
      bntheory runs runs/quick
    """
    from bntheory.judges.experiments import study_at

    given = {"--claims": claims, "--scale": scale, "--json": as_json, "--against": against}
    without = {
        "merge": ("--claims", "--scale", "--against"),
        "pack": ("--claims", "--scale", "--against"),
        "confirm": (),
    }
    if ignored := next((name for name in without.get(words[0], ("--against",)) if given[name]), ""):
        raise UserError(f"{ignored}: {words[0] if words[0] in without else 'runs FOLDER'} takes none; leave it out")
    if scale and not claims and words[0] != "confirm":
        raise UserError(f"--scale {scale}: belongs to --claims, as in `bntheory runs A --claims all --scale {scale}`")
    scale = scale or "quick"
    for place in scale.split(",") if words[0] == "confirm" else [scale]:
        study_at(place.strip())
    if words[0] == "confirm":
        if len(words) != 2:
            raise UserError("confirm: give one folder, as in `bntheory runs confirm A --claims all --scale cpu`")
        if against is not None:
            _must_be_store(against, "--against")
        _must_be_store(Path(words[1]))
        confirm_records(Path(words[1]), claims, scale, against, as_json=as_json)
        return
    if words[0] == "pack":
        if len(words) != 3:
            raise UserError("pack: give two folders, as in `bntheory runs pack A B`; B becomes the recorded store of A")
        _pack(Path(words[1]), Path(words[2]), as_json=as_json)
        return
    if words[0] == "merge":
        if len(words) != 3:
            raise UserError("merge: give two folders, as in `bntheory runs merge A B`; what only B holds is added to A")
        _merge(Path(words[1]), Path(words[2]), as_json=as_json)
        return
    if len(words) != 1:
        raise UserError(f"runs: {' '.join(words)!r} is not one folder; two are made one with `bntheory runs merge A B`")
    _show(Path(words[0]), claims, scale, as_json=as_json)


def _show(path: Path, claims: str, scale: str, *, as_json: bool) -> None:
    from bntheory.evidence.record import by_ranks
    from bntheory.experiments.folder import MANIFEST
    from bntheory.experiments.store import Store

    _must_be_store(path)
    store = Store(path)
    contents = store.read()
    found = Counter((r.network, r.arm, r.measure) for r in contents.every())
    said: dict[str, Any] = {
        "folder": str(path),
        "records": sum(found.values()),
        "seeds": sorted({r.seed for r in contents.every()}),
        **by_ranks(contents.every()),
        "of_several_makes": dict(zip(("questions", "differing"), contents.of_several_makes(), strict=True)),
        "faults": [str(f) for f in contents.faults],
        "arms": [
            {"network": network, "arm": arm, "measure": measure, "records": count}
            for (network, arm, measure), count in sorted(found.items())
        ],
    }
    if (path / MANIFEST).exists():
        said |= _missing(store, contents.versions)
    said["claims"] = claims_lack(path, claims, scale)
    if as_json:
        from bntheory.report.strict_json import json_text

        typer.echo(json_text(said))
    else:
        _print_store(said)
    if contents.faults:
        raise typer.Exit(BAD_USE)


def _missing(store: Store, versions: Mapping[str, Any]) -> dict[str, Any]:
    """What the run of the manifest lacks, and its cost by what the run has cost so far."""
    from bntheory.experiments.experiment import freshest, missing, needed
    from bntheory.experiments.folder import read_manifest
    from bntheory.experiments.manifest import codes, conditions_of, own_codes
    from bntheory.experiments.plan import costs_of, plan
    from bntheory.experiments.preset import preset_from_json

    manifest = read_manifest(store.path)
    asked = list(needed(preset_from_json(manifest["preset_content"]).experiment(), conditions_of(manifest)))
    left = missing(asked, freshest(asked, versions))
    costs = costs_of(store.timings())
    known = {n.address for n in asked}
    return {
        "preset": manifest["preset"],
        "asked": len(asked),
        "missing": len(left),
        "missing_tasks": sorted({n.task.name for n in left}),
        "refused": store.refused(left),
        "of_other_experiments": sum(address not in known for address in versions),
        "cost": _costs(plan(left, costs)) if left and costs else None,
        "same_code": manifest["code"].items() <= {**codes(), **own_codes(manifest["code"])}.items(),
    }


def _costs(found: Plan) -> dict[str, Any]:
    return {
        "tasks": len(found.seconds),
        "records": found.records,
        "memory_bytes": found.memory,
        "seconds": {str(n): round(found.wall(n), 3) for n in DEVICES},
        "longest_task": round(max(found.seconds.values(), default=0.0), 3),
    }


def _echo(text: str) -> None:
    typer.echo(wrapped(text, 4))


def _echo_refused(texts: Sequence[str]) -> None:
    for text in texts[:6]:
        _echo(f"  refused when it was tried: {text}")
    if len(texts) > 6:
        _echo(f"  and {counted(len(texts) - 6, 'record')} more")


def _print_store(said: Mapping[str, Any]) -> None:
    seeds = ", ".join(map(str, said["seeds"])) or "none"
    from bntheory.evidence.record import spoken

    together = f"; {spoken(said['ranks'])}" if "ranks" in said else ""
    _echo(f"{said['folder']}: {counted(said['records'], 'record')}, seeds {seeds}{together}")
    by_arm: dict[tuple[str, str], list[str]] = {}
    for row in said["arms"]:
        by_arm.setdefault((row["network"], row["arm"]), []).append(f"{row['measure']} {row['records']}")
    for (network, arm), measures in by_arm.items():
        _echo(f"  {network}, {arm}: {', '.join(measures)}")
    if (several := said["of_several_makes"])["questions"]:
        _echo(
            f"of several makes: {counted(several['questions'], 'record')}, {several['differing']} of them with different values; made by the "
            "code of today and on its libraries counts, else the last one written"
        )
    skipped_lines(said["faults"])
    for place, asked in said["claims"].items():
        _echo(f"claims at scale {place}: {asked['whole']} of {asked['asked']} have all their records")
        for key, text in asked["lacking"].items():
            _echo(f"  {key}: {text}")
        _echo_refused(asked["refused"])
        if asked["cost"]:
            _echo(f"  that would cost {asked['cost']}")
    if "asked" not in said:
        return
    _echo(f"preset {said['preset']}: {said['asked'] - said['missing']} of {said['asked']} records are there")
    if said["missing"]:
        names = said["missing_tasks"]
        more = f" and {len(names) - 6} more" if len(names) > 6 else ""
        _echo(f"missing: {counted(said['missing'], 'record')} of {', '.join(names[:6])}{more}")
        _echo_refused(said["refused"])
        if said["cost"]:
            _echo(f"that would cost {_spoken(said['cost'])}")
    if not said["same_code"]:
        _echo(
            "the code that trains and measures has changed since: new records would stand beside these, not among them"
        )


def _spoken(cost: Mapping[str, Any]) -> str:
    times = ", ".join(f"{duration(s)} on {counted(int(n), 'device')}" for n, s in cost["seconds"].items())
    memory = f"; up to {cost['memory_bytes'] / 2**30:.1f} GiB a process" if cost["memory_bytes"] else ""
    return f"{times}; the longest task {duration(cost['longest_task'])}{memory}"


def _merge(a: Path, b: Path, *, as_json: bool) -> None:
    from bntheory.experiments.store import Store
    from bntheory.experiments.stores import merge
    from bntheory.judges.experiments import add_asked, asked_at

    _must_be_store(a)
    _must_be_store(b)
    if a.resolve() == b.resolve():
        raise UserError(f"merge: {a} and {b} are the same folder")
    into = Store(a)
    with into.lock():
        added, theirs, differing = merge(into, Store(b))
        add_asked(into, asked_at(b))
    there = len(theirs.every()) - added
    if as_json:
        from bntheory.report.strict_json import json_text

        left = {"skipped": len(theirs.faults), "differing": len(differing)}
        typer.echo(json_text({"into": str(a), "of": str(b), "added": added, "there": there, **left}))
    else:
        skipped = f"; skipped: {counted(len(theirs.faults), 'line')}" if theirs.faults else ""
        differ = f"; with other values there: {len(differing)}" if differing else ""
        typer.echo(f"added to {a}: {counted(added, 'record')} of {b}; there before: {there}{skipped}{differ}")
    skipped_lines(list(map(str, theirs.faults)))
    skipped_lines(differing, "record")
    if theirs.faults or differing:
        raise typer.Exit(BAD_USE)


def _pack(a: Path, b: Path, *, as_json: bool) -> None:
    from bntheory.claims import registry
    from bntheory.judges.experiments import pack

    _must_be_store(a)
    if a.resolve() == b.resolve():
        raise UserError(f"pack: {a} and {b} are the same folder")
    found = pack(list(registry().select(kind="experiment")), a, b)
    size = sum(p.stat().st_size for p in b.glob("*.gz"))
    if as_json:
        from bntheory.report.strict_json import json_text

        claims = {place: sorted(ids) for place, ids in found.claims.items()}
        left = [{"scale": place, "claim": key, "why": why} for (place, key), why in found.left_out.items()]
        said = {"into": str(b), "of": str(a), "records": found.records, "claims": claims, "bytes": size}
        typer.echo(json_text({**said, "left_out": left}))
    else:
        counts = ", ".join(f"{counted(len(ids), 'claim')} at scale {place}" for place, ids in found.claims.items())
        what = f"{counted(found.records, 'record')} of {counts or 'no claim'}"
        typer.echo(f"packed in {b}: {what} ({size / 2**20:.1f} MiB)")
    for (place, key), why in found.left_out.items():
        typer.echo(f"left out at scale {place}: {key}: {why}", err=True)


def _must_be_store(path: Path, given: str = "runs") -> None:
    from bntheory.experiments.folder import MANIFEST
    from bntheory.experiments.store import RECORDS, Store

    if not path.is_dir():
        raise UserError(f"{given}: {path} is no folder; give the one that `bntheory compare` wrote")
    if not Store(path).state() and not (path / MANIFEST).exists():  # killed before its first record, it lacks all
        raise UserError(f"{given}: {path} holds no {RECORDS}; give the folder that `bntheory compare` wrote")


@clear_errors
@described(
    preset="The preset, or the path of your own .toml file.",
    device="Where to time: cpu, cuda or cuda:1.",
    data="Data set instead of the preset's.",
    data_dir="Folder with the data.",
    claims="Instead, of experiment claims at the scale that --preset names: all, or sources and ids with commas between.",
)
def plan_command(
    preset: str = "quick",
    device: str = "cpu",
    data: str | None = None,
    data_dir: Path | None = None,
    claims: str = "",
    as_json: Json = False,
) -> None:
    """How many tasks, how much time and memory a preset takes: a few steps and every measure once are timed on this device.

    The longest task is the least time, as a task is not cut; torchrun trains one on several devices together (bntheory compare --help).

    Examples:
      bntheory plan --preset smoke
    """
    if claims:
        _print_plan(f"claims {claims} at scale {preset}", device, plan_claims(claims, preset, device), as_json=as_json)
        return
    from bntheory.devices import check_device
    from bntheory.experiments.experiment import needed
    from bntheory.experiments.manifest import conditions_of, make_manifest
    from bntheory.experiments.own import dataset
    from bntheory.experiments.plan import plan, timed_sample
    from bntheory.experiments.preset import load_preset

    chosen = load_preset(preset).with_options(data=data)
    check_device(device)
    images = dataset(chosen.data, data_dir)
    conditions = conditions_of(make_manifest(chosen, images, device, ""))
    asked = list(needed(chosen.experiment(), conditions))
    with show_progress() as progress:
        costs, memory = timed_sample(asked, {images.name: images}, device, progress)
    _print_plan(f"preset {chosen.name}", device, plan(asked, costs, memory), as_json=as_json)


def _print_plan(what: str, device: str, planned: Plan, *, as_json: bool) -> None:
    found = _costs(planned)
    if as_json:
        from bntheory.report.strict_json import json_text

        typer.echo(json_text({"of": what, "device": device, **found}))
        return
    _echo(f"{what}: {counted(found['tasks'], 'task')}, {counted(found['records'], 'record')}")
    _echo(_spoken(found))
    _echo("timed on this device with nothing beside it; processes that share its memory take somewhat longer")
