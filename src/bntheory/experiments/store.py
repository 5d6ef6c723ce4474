"""The store: a folder of records and checkpoints that survives being killed, copied, merged and edited by hand.

``records.jsonl`` is append-only, one record a line (``pandas.read_json("records.jsonl", lines=True)``). A line that is
broken, foreign, edited, impossible or repeated is never believed and never dropped without a word: it is a :class:`Fault` of the
contents, and the record that it may have been is missing, so a run makes it anew. ``timings.jsonl`` holds what differs
from run to run, ``refused.jsonl`` why records could not be had. A recorded store may have them packed, in one file or several (``records*.jsonl.gz``), to be read and
not to be added to. Checkpoints are safetensors files with checksum and address; nothing is ever unpickled.

One process writes, under a lock that dies with it; anybody may read. Nothing in the folder is touched before the lock
is held. Every moment is a good one to die: half a line that a killed run left is cut off by the next writer, every
other file is written beside its place and moved there in one step.
"""

from __future__ import annotations

import gzip
import json
import mmap
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bntheory.errors import UserError
from bntheory.evidence.counts import counted
from bntheory.evidence.record import Json, LineFault, Record, canonical, read_line, strict_json
from bntheory.experiments.forms import impossible
from bntheory.files import write_atomic

if TYPE_CHECKING:
    from bntheory.experiments.experiment import Needed

RECORDS, TIMINGS, REFUSED, CHECKPOINTS, LOCK = "records.jsonl", "timings.jsonl", "refused.jsonl", "checkpoints", ".lock"


class Unwritable(UserError):
    """A store that takes no more records; no other task could be done either."""


@dataclass(frozen=True)
class Fault:
    """A line that was skipped. kind: broken, foreign, edited, impossible, duplicate, or conflict (one address, two
    contents)."""

    file: str
    line: int
    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.kind}; {self.why}"


@dataclass(frozen=True)
class Contents:
    """What a store holds, by address in the order of the file, and the lines that are no records.

    versions: of every question the records of all makes, the last written last.
    """

    versions: Mapping[str, Sequence[Record]]
    faults: tuple[Fault, ...]

    @property
    def records(self) -> dict[str, Record]:
        """Of every question the record that was written last."""
        return {where: found[-1] for where, found in self.versions.items()}

    def every(self) -> list[Record]:
        """The records of all makes."""
        return [record for found in self.versions.values() for record in found]

    def of_several_makes(self) -> tuple[int, int]:
        """How many questions have records of several makes, and of how many of them these say different things."""
        several = [found for found in self.versions.values() if len(found) > 1]
        said = [[(r.values, r.diverged) for r in found] for found in several]
        return len(several), sum(any(one != of[0] for one in of) for of in said)

    def fault_text(self) -> str:
        """What a run says of them: how many, and the first five, a line each."""
        lines = [str(fault) for fault in self.faults[:5]]
        rest = len(self.faults) - len(lines)
        head = f"skipped, and what they may have been is made anew: {counted(len(self.faults), 'line')}"
        return "\n".join([head, *lines, *([f"and {rest} more"] if rest else [])])


class Store:
    """A store on disk. Reading creates nothing; write inside :meth:`lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Store:
        """The store in ``path``, its folder made if need be. Raises UserError where it cannot be written."""
        try:
            (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path)

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the store for this process. Raises UserError where another one holds it (unless it may wait), or where
        it cannot be written.

        What a killed writer left is put in order once the lock is held, and not before: it may be a living one's.
        """
        from filelock import FileLock, Timeout

        held = FileLock(self.path / LOCK, timeout=-1 if wait else 0)
        try:
            held.acquire()
        except Timeout:
            raise UserError(
                f"{self.path}: another process is writing to it; wait for it or name another folder"
            ) from None
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            self._put_in_order()
            yield
        finally:
            held.release()

    def _put_in_order(self) -> None:
        if self.packed:
            raise UserError(
                f"{self.path}: its records are packed, as recorded ones are; unpack a copy with gunzip to go on with it"
            )
        try:
            for name in (RECORDS, TIMINGS, REFUSED):
                _cut_torn_line(self.path / name)
            for leftover in (*self.path.rglob(".tmp*"), *self.path.rglob(".*.part")):  # safetensors' among them
                leftover.unlink()
        except OSError as error:
            raise _unwritable(self.path, error) from error

    @property
    def packed(self) -> bool:
        """Whether its records are, as recorded ones: nothing is added to them."""
        return bool(_packed(self.path / RECORDS))

    # -- records -----------------------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], *, timing: Mapping[str, Any] | None = None) -> None:
        """Add measurements; they are on the disk when this returns, all or (on a full disk) none.

        Raises UserError where they cannot be written.
        """
        _append(self.path / RECORDS, "".join(record.line() for record in records))
        if timing is not None:
            _append(self.path / TIMINGS, json.dumps(timing, allow_nan=False) + "\n")

    def read(self) -> Contents:
        """All records that can be believed, and what cannot. Raises UserError where the file cannot be read at all."""
        versions: dict[str, list[Record]] = {}
        lines: dict[tuple[str, str], bytes] = {}
        faults: list[Fault] = []
        for name, number, line in _numbered(self.path / RECORDS):
            try:
                where, record = read_line(line)
            except LineFault as fault:
                faults.append(Fault(name, number, fault.kind, str(fault)))
                continue
            if why := impossible(record):
                said = f"{why}; whatever its checksum, nobody has measured that"
                faults.append(Fault(name, number, "impossible", said))
                continue
            own = (where, canonical(record.made))
            if own in lines:
                kind, why = (
                    ("duplicate", "the same record stands above")
                    if lines[own] == line
                    else ("conflict", "another record of the same address and make stands above, and is kept")
                )
                faults.append(Fault(name, number, kind, why))
                continue
            versions.setdefault(where, []).append(record)
            lines[own] = line
        return Contents(versions, tuple(faults))

    def state(self) -> Any:
        """Changes when records are added; None where nobody can tell."""
        return [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in _parts(self.path / RECORDS)]

    def timings(self) -> list[Json]:
        """Seconds, in the order of the measurements; lines that are none are left out, since no number rests on
        them."""
        return self._notes(TIMINGS)

    def refuse(self, notes: Sequence[Json]) -> None:
        """Note records that could not be had, each by its address and why: they stay missing, so a run that is taken up
        again tries them again. Raises as :meth:`append`."""
        _append(self.path / REFUSED, "".join(json.dumps(note) + "\n" for note in notes))

    def refused(self, left: Iterable[Needed]) -> list[str]:
        """Those of what is left that could not be had when they were tried last, each with the reason."""
        why = {str(note.get("address")): note.get("why") for note in self._notes(REFUSED)}
        return [
            f"{n.task.name}, {n.measure.name}, at step {n.step}: {why[n.address]}" for n in left if n.address in why
        ]

    def _notes(self, name: str) -> list[Json]:
        found = []
        for _, _, line in _numbered(self.path / name):
            try:
                note = strict_json(line)
            except ValueError:
                continue
            if isinstance(note, dict):
                found.append(note)
        return found

    # -- checkpoints and other files ---------------------------------------------------------------------------

    def checkpoint_path(self, task: str) -> Path:
        """Where the state of a task lies; ``task`` is its address."""
        return self.path / CHECKPOINTS / f"{task}.safetensors"

    def drop_checkpoint(self, task: str) -> None:
        """Remove the checkpoint of a finished task."""
        self.checkpoint_path(task).unlink(missing_ok=True)

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """A JSON file in the folder, written in one step. Raises UserError where it cannot be written."""
        text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        try:
            write_atomic(self.path / name, text.encode())
        except OSError as error:
            raise _unwritable(self.path / name, error) from error
        return self.path / name


class MemoryStore(Store):
    """A store that lasts as long as this process: no folder, no checkpoints."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._records: dict[str, list[Record]] = {}

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Nobody else has it."""
        yield

    def append(self, records: Sequence[Record], *, timing: Mapping[str, Any] | None = None) -> None:
        """Keep measurements."""
        for record in records:
            self._records.setdefault(record.address, []).append(record)

    def read(self) -> Contents:
        """All of them."""
        return Contents(dict(self._records), ())

    def state(self) -> None:
        """Reading it costs nothing."""

    def _notes(self, name: str) -> list[Json]:
        return []

    def refuse(self, notes: Sequence[Json]) -> None:
        """It keeps none."""

    def drop_checkpoint(self, task: str) -> None:
        """There is none."""


def _append(path: Path, text: str) -> None:
    try:
        with open(path, "ab") as file:
            before = file.tell()
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, before)  # a full disk takes a part of a line
                raise
    except OSError as error:
        raise Unwritable(
            f"{path}: cannot be written ({error.strerror or error}). What was finished is kept; put that right, and --resume goes on"
        ) from error


def _numbered(path: Path) -> Iterator[tuple[str, int, bytes]]:
    """(file, number, line), so that 100 000 records need not lie in memory twice; packed ones where only those are
    there."""
    for part in _parts(path):
        try:
            with gzip.open(part) if part.suffix == ".gz" else open(part, "rb") as file:
                for number, line in enumerate(file, start=1):
                    yield part.name, number, line.rstrip(b"\r\n")
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{part}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _parts(path: Path) -> list[Path]:
    return [path] if path.exists() else _packed(path)


def _packed(path: Path) -> list[Path]:
    """In one file or several: ``records.jsonl.gz``, ``records-santurkar2018.jsonl.gz``."""
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}.gz"))


def _cut_torn_line(path: Path) -> None:
    if not path.exists() or not path.stat().st_size:
        return
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end, whole = len(content), content.rfind(b"\n") + 1
        if whole != end:
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError | UserError) -> UserError:
    why = getattr(error, "strerror", None) or error
    return UserError(f"{path}: cannot be written ({why}); change its permissions, or name another folder")
