"""The folder of one run: a store, and a manifest that says which run it is.

The manifest is written once the store's lock is held and compared before a run goes on, so two runs never mix and none
is begun twice.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bntheory.errors import UserError
from bntheory.evidence.record import Json, parsed_json, strict_json
from bntheory.experiments.store import CHECKPOINTS, LOCK, RECORDS, REFUSED, TIMINGS, Store
from bntheory.files import read_at_most

MANIFEST, FORMAT = "manifest.json", 3


class RunFolder(Store):
    """One run on disk; take it from :func:`open_run`."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        super().__init__(path)
        self.manifest = dict(manifest)


@contextmanager
def open_run(
    path: Path, manifest: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[RunFolder]:
    """Hold the run in ``path`` for this process: a new one, or the one that lies there.

    resume: go on with it; seeds may have been added, everything else must be as it was. overwrite: remove the run that
    lies there.

    Raises UserError where the folder cannot be written or is held by another process, holds a run already (or none, to
    go on with), or holds another run than ``manifest`` describes.
    """
    old = read_manifest(path, resume=True) if resume else None
    store = Store(path) if resume else Store.create(path)
    with store.lock():
        if old is not None:
            old = read_manifest(path)  # once more: another process may have held it until now
            differences = compare_manifests(old, dict(manifest))
            if differences:
                raise UserError(
                    f"resume: the run in {path} is another one: {'; '.join(differences)}. Going on would mix two experiments. "
                    "Start it again with the options it was started with, or start a new run in another folder"
                )
            if old["seeds"] != manifest["seeds"]:
                old |= {key: manifest[key] for key in ("seeds", "preset_content")}
                store.write_json(MANIFEST, old)
            yield RunFolder(path, old)
            return
        if (path / MANIFEST).exists():
            if not overwrite:
                raise UserError(
                    f"out: {path} holds a run already; give --resume to go on with it, --overwrite to replace it, or name another folder"
                )
            remove_run(path)
        store.write_json(MANIFEST, manifest)
        yield RunFolder(path, manifest)


@contextmanager
def begun(path: Path) -> Iterator[None]:
    """Where a run in a new folder ends in an error before its first record, the folder goes again; an interrupted one
    stays."""
    new = not path.exists()
    try:
        yield
    except Exception:
        if new and path.is_dir() and not (path / RECORDS).exists():
            shutil.rmtree(path, ignore_errors=True)
        raise


def read_manifest(path: Path, *, resume: bool = False) -> Json:
    """The manifest of the run in ``path``, which is to be gone on with or only read. Raises UserError where there is
    none or it is no such."""
    try:
        content = strict_json(read_at_most(path / MANIFEST, 32_000_000).decode("utf-8"))
    except FileNotFoundError:
        if (path / RECORDS).exists():
            what = f"{path} holds records and no {MANIFEST}: a run of claims, which `bntheory compare --claims` goes on with and reports, or what a Monitor wrote and draws (figure())"
        else:
            what = f"there is no run in {path} (no {MANIFEST}); give the folder that `bntheory compare` wrote"
        raise UserError(what + (", or leave out --resume to start one" if resume else "")) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(
            f"{path / MANIFEST} cannot be read ({why}); restore it, or start a new run in another folder"
        ) from error
    wrong = _missing(content)
    if wrong:
        raise UserError(
            f"{path / MANIFEST} is not the manifest of a run ({wrong}); restore it, or start a new run in another folder"
        )
    return content  # type: ignore[no-any-return]


def _missing(content: Any) -> str:
    """What of a manifest is not there or not what it has to be, in words; "" where all is."""
    if not isinstance(content, dict):
        return "no table"
    if content.get("format") != FORMAT:
        return f"its format is {content.get('format')!r:.40}, and this version of bntheory reads {FORMAT}"
    words = ("preset", "preset_sha256", "device", "device_name", "data_note", "started")
    kinds = {**dict.fromkeys(words, str), "preset_content": dict, "seeds": list, "data": dict}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            return f"{name} is {content.get(name)!r:.40}"
    data, least = content["data"], {"versions": ("bntheory", "torch", "numpy"), "code": ("training",)}
    tables = {name: content.get(name, {}) for name in (*least, "folded")}
    for name, table in {"name of data": {"": data.get("name")}, "sha256 of data": data.get("sha256"), **tables}.items():
        if not (isinstance(table, dict) and all(isinstance(word, str) for word in table.values())):
            return f"{name} is {table!r:.60}"
        if missing := [word for word in least.get(name, ()) if word not in table]:
            return f"{name} lacks {missing[0]}"
    if not all(type(seed) is int for seed in content["seeds"]):
        return f"seeds are {content['seeds']!r:.40}"
    return ""


#: What a run writes beside its own list of what it is.
_WRITTEN = (RECORDS, TIMINGS, REFUSED, "verdicts.json", "report.html", "figures/*.png", f"{CHECKPOINTS}/*.safetensors")


def remove_run(path: Path, first: str = MANIFEST) -> None:
    """Remove what a run writes, and nothing else; what says which run it is goes first, so that half a removal leaves no
    run behind. Hold the store's lock."""
    for pattern in (first, *_WRITTEN):
        for file in path.glob(pattern):
            file.unlink()


def holds_other_files(path: Path) -> bool:
    """Whether a folder that is no run holds anything but what a run that was killed at once leaves."""
    return (
        path.is_dir()
        and not (path / MANIFEST).exists()
        and any(file.name not in (LOCK, CHECKPOINTS) for file in path.iterdir())
    )


def compare_manifests(old: Json, new: Json) -> list[str]:
    """In words, what makes two runs different experiments; empty where they are the same one, seeds that were added
    apart."""
    differences = []
    for key, label in (
        ("format", "format of the folder"),
        ("preset", "preset"),
        ("preset_sha256", "content of the preset"),
        ("seeds", "seeds"),
        ("device", "device"),
        ("data", "data"),
        ("versions", "versions"),
        ("code", "code that trains and measures"),
        ("folded", "folding of seeds, whose code"),
    ):
        before, now = old.get(key), new.get(key)
        if before == now or (key == "seeds" and set(before or ()) <= set(now or ())):
            continue
        if key == "folded" and not (before and now):
            differences.append(f"folding of seeds {'auto, now never' if before else 'never, now auto'}")
        elif isinstance(before, dict) and isinstance(now, dict):
            parts = sorted(k for k in {*before, *now} if before.get(k) != now.get(k))
            said = ", ".join(f"{k} {_short(before.get(k))}, now {_short(now.get(k))}" for k in parts[:4])
            differences.append(f"{label}: {said}")
        else:
            differences.append(f"{label} {_short(before)}, now {_short(now)}")
    return differences


def free_folder(root: Path, preset: str) -> Path:
    """The first of root/preset, root/preset-2, ... that does not exist yet."""
    number, path = 1, root / preset
    while path.exists():
        number += 1
        path = root / f"{preset}-{number}"
    return path


def named_folder(out: str | Path | None, *, resume: bool, overwrite: bool) -> Path | None:
    """The folder that was named for a run. Raises UserError for a file, and for a run to go on with and to replace."""
    if resume and overwrite:
        raise UserError("resume, overwrite: choose one; the first goes on with a run, the second replaces it")
    path = None if out is None else Path(out).expanduser()
    if path is not None and path.exists() and not path.is_dir():
        raise UserError(f"out: {path} is a file; name a folder")
    return path


def latest_folder(root: Path, preset: str) -> Path:
    """The newest run of this preset under root. Raises UserError where there is none."""
    candidates = [p.parent for p in root.glob(f"{preset}*/{MANIFEST}") if _preset_of(p) == preset]
    if not candidates:
        raise UserError(
            f"resume: there is no run of preset {preset!r} under {root}; leave out --resume, or name its folder with --out"
        )
    return max(candidates, key=lambda p: (p / MANIFEST).stat().st_mtime)


def _preset_of(manifest: Path) -> str | None:
    try:
        return str(parsed_json(manifest.read_text("utf-8")).get("preset"))
    except (OSError, ValueError, AttributeError):
        return None


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:57] + "..."
