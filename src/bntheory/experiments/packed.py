"""Recorded stores: packed, split into a file a source so that a change of one shows as one, the same bytes for the same
records."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from bntheory.evidence.record import Record
from bntheory.experiments.plan import Cost
from bntheory.experiments.store import RECORDS, TIMINGS
from bntheory.files import write_atomic


def write_packed(folder: Path, parts: Mapping[str, Iterable[Record]], costs: Mapping[str, Cost]) -> list[Path]:
    """Write the records by the name of their part, and what they have cost by recipe, in place of what is packed there.

    Returns the files. Raises OSError where one cannot be written.
    """
    stem, suffix = RECORDS.split(".", 1)
    written = []
    for name, records in parts.items():
        lines = [record.line() for record in sorted(records, key=_order)]
        if lines:
            path = folder / f"{stem}-{name}.{suffix}.gz"
            write_atomic(path, _gzipped("".join(lines)))
            written.append(path)
    spent = [
        {"network": c.network, "arm": "", "seed": 0, "step": 1, "recipe": key, "seconds": {"train": c.step, **c.measures}}
        for key, c in sorted(costs.items())
    ]  # fmt: skip
    write_atomic(folder / f"{TIMINGS}.gz", _gzipped("".join(json.dumps(line) + "\n" for line in spent)))
    for old in folder.glob(f"{stem}*.{suffix}.gz"):
        if old not in written:
            old.unlink()
    return written


def _order(record: Record) -> tuple[str, str, int, int, str, str]:
    return record.network, record.arm, record.seed, record.step, record.measure, record.address


def _gzipped(text: str) -> bytes:
    """Without a name or a time in it."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as file:
        file.write(text.encode())
    return buffer.getvalue()
