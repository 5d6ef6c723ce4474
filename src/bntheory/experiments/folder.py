"""The folder of one run: a manifest, append-only records, checkpoints; safe against being killed at any moment.

The order of writes makes every moment a good one to die. A record is one line that ends in a newline: a half-written last
line is cut off when the run is taken up again. Every other file is written beside its place and moved there in one step. A
checkpoint is written after the records that it follows, so work is repeated rather than lost, and repeating it gives the same
numbers. Nothing is ever unpickled.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from bntheory.errors import UserError

__all__ = [
    "MANIFEST",
    "RECORDS",
    "RunFolder",
    "compare_manifests",
    "free_folder",
    "latest_folder",
    "write_atomic",
]

MANIFEST, RECORDS, TIMINGS = "manifest.json", "records.jsonl", "timings.jsonl"
Json = dict[str, Any]


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def as_line(record: Mapping[str, Any]) -> str:
    """One JSON line; floats keep all their bits (shortest text that reads back equal), non-finite ones are refused."""
    return json.dumps(record, allow_nan=False, ensure_ascii=False, separators=(",", ":")) + "\n"


class RunFolder:
    """One run on disk. Open it with :meth:`create` or :meth:`resume`, and hold :meth:`lock` while writing."""

    def __init__(self, path: Path, manifest: Json) -> None:
        self.path, self.manifest = path, manifest
        self._writing = Lock()

    # -- opening -----------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, manifest: Json) -> RunFolder:
        """A new run. Raises UserError where the folder cannot be written or holds a run already."""
        if (path / MANIFEST).exists():
            raise UserError(
                f"out: {path} holds a run already; give --resume to go on with it, --overwrite to replace it, or name another folder"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / "checkpoints").mkdir(exist_ok=True)
            write_atomic(path / MANIFEST, _pretty(manifest))
        except (OSError, UserError) as error:
            raise UserError(
                f"out: {path} cannot be written ({_why(error)}); name a folder that you may write to with --out"
            ) from error
        return cls(path, manifest)

    @classmethod
    def resume(cls, path: Path, manifest: Json) -> RunFolder:
        """Go on with a run. Raises UserError where there is none, or where it is another run than ``manifest`` describes."""
        old = cls.read_manifest(path)
        differences = compare_manifests(old, manifest)
        if differences:
            raise UserError(
                f"resume: the run in {path} is another one: {'; '.join(differences)}. Going on would mix two experiments. "
                "Start it again with the options it was started with, or start a new run in another folder"
            )
        if not os.access(path, os.W_OK):
            raise UserError(f"resume: {path} cannot be written; change its permissions or copy the folder")
        (path / "checkpoints").mkdir(exist_ok=True)
        folder = cls(path, old)
        for name in (RECORDS, TIMINGS):
            folder._cut_torn_line(path / name)
        for leftover in (*path.rglob(".tmp-*"), *path.rglob(".*.part")):
            leftover.unlink()
        return folder

    @staticmethod
    def read_manifest(path: Path) -> Json:
        """The manifest of the run in ``path``. Raises UserError where there is none or it cannot be read."""
        try:
            content = json.loads((path / MANIFEST).read_text("utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"resume: there is no run in {path} (no {MANIFEST}); leave out --resume to start one, or name its folder with --out"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"resume: {path / MANIFEST} cannot be read ({_why(error)})") from error
        if not isinstance(content, dict):
            raise UserError(f"resume: {path / MANIFEST} is not a manifest")
        return content

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the lock dies with the process. Raises UserError where another one holds it."""
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"out: another process is writing the run in {self.path}; wait for it or name another folder"
                ) from None
            yield

    # -- records -----------------------------------------------------------------------------------------------

    def append(self, record: Mapping[str, Any], *, timing: Mapping[str, Any] | None = None) -> None:
        """Add one measurement. What differs from run to run (seconds) goes to its own file, so that records replay bit for bit."""
        with self._writing:
            self._append_line(self.path / RECORDS, as_line(record))
            if timing is not None:
                self._append_line(self.path / TIMINGS, as_line(timing))

    @staticmethod
    def _append_line(path: Path, line: str) -> None:
        with open(path, "ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> list[Json]:
        """All measurements, in the order in which they were made. Raises UserError for a line that is no record."""
        return self._read(self.path / RECORDS)

    def timings(self) -> list[Json]:
        """Seconds, in the order of the measurements."""
        return self._read(self.path / TIMINGS)

    @staticmethod
    def _read(path: Path) -> list[Json]:
        if not path.exists():
            return []
        records: list[Json] = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"{path}, line {number}: not a record ({_why(error)}); the file was changed by hand or damaged. "
                    "Restore it, or start a new run"
                ) from error
            records.append(record)
        return records

    @staticmethod
    def _cut_torn_line(path: Path) -> None:
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            with open(path, "r+b") as file:
                file.truncate(whole)
                file.flush()
                os.fsync(file.fileno())

    # -- checkpoints -------------------------------------------------------------------------------------------

    def checkpoint_path(self, cell: str) -> Path:
        """Where the state of a cell (one network, seed and arm) lies."""
        return self.path / "checkpoints" / f"cell-{cell}.safetensors"

    def drop_checkpoint(self, cell: str) -> None:
        """Remove the checkpoint of a finished cell."""
        self.checkpoint_path(cell).unlink(missing_ok=True)

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """A JSON file in the folder, written in one step."""
        write_atomic(self.path / name, _pretty(content))
        return self.path / name


def compare_manifests(old: Json, new: Json) -> list[str]:
    """In words, what makes two runs different experiments; empty where they are the same one."""
    differences = []
    for key, label in (
        ("format", "format of the folder"),
        ("preset", "preset"),
        ("preset_sha256", "content of the preset"),
        ("seeds", "seeds"),
        ("device", "device"),
        ("data", "data"),
        ("versions", "versions"),
        ("source_sha256", "source code of bntheory"),
    ):
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
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
        return str(json.loads(manifest.read_text("utf-8")).get("preset"))
    except (OSError, ValueError, AttributeError):
        return None


def _pretty(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 60 else text[:57] + "..."


def _why(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
