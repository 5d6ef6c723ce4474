"""A record: one measurement of one arm from one seed after one number of steps, and the text in which it is kept.

It is addressed by a hash of the question that it answers: the arm, the protocol, data, seed, step, the measure with its
options, device kind and precision. So two runs that ask for the same measurement ask for the same record, whatever they
call it. Beside it stands what answered: the versions of the libraries, and the fingerprint of the code that trained and
measured. One question may have answers of several makes. The line also carries a checksum of all that it says: a
changed digit shows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

Json = dict[str, Any]


def canonical(content: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces; floats keep all their bits. Raises ValueError for NaN and
    infinities."""
    return json.dumps(content, allow_nan=False, sort_keys=True, separators=(",", ":"))


def in_json(value: Any) -> bool:
    """Whether a record could hold it: no NaN, no infinity, no date."""
    try:
        return bool(canonical(value))
    except (TypeError, ValueError):
        return False


def digest(content: Any) -> str:
    """128 bits of the SHA-256 of :func:`canonical`, in hexadecimal."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:32]


def plain(value: Any) -> Any:
    """A value as JSON holds it: tuples as lists, arrays as numbers, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Record:
    """One measurement.

    network, arm: what its experiment calls them; they decide nothing and are no part of the address. setting: all of
    the question but seed, step and measure. diverged: the run was no longer finite at this step; values is empty then,
    and there is no later record of this run. made: what answered, by name ("code", "torch", "numpy").
    """

    network: str
    arm: str
    seed: int
    step: int
    measure: str
    setting: Mapping[str, Any]
    values: Mapping[str, Any]
    diverged: bool = False
    made: Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The hash of the question."""
        return address(self.setting, self.seed, self.step, self.measure)

    def line(self) -> str:
        """One JSON line, address and checksum included."""
        content: Json = {f.name: getattr(self, f.name) for f in fields(self)}
        content["address"] = self.address
        return canonical({**content, "checksum": digest(content)}) + "\n"


def address(setting: Mapping[str, Any], seed: int, step: int, measure: str) -> str:
    """The address of the records that answer what this setting, seed, step and measure ask."""
    return digest({"setting": setting, "seed": seed, "step": step, "measure": measure})


def trail(before: str, step: int, ranks: int) -> str:
    """On how many ranks a network has been trained, once so many take it on from ``step``: "2", or "2 > 1" one after
    another; "" for one alone."""
    last = before.rpartition(" > ")[2] or ("1" if step else str(ranks))
    if last == str(ranks):
        return before or ("" if ranks == 1 else last)
    return f"{before or '1'} > {ranks}"


def by_ranks(records: Iterable[Record]) -> dict[str, dict[str, int]]:
    """{"ranks": how many of the records are of networks trained on how many ranks}, as ``trail`` says it; {} where none
    is."""
    found = Counter(r.made["ranks"] for r in records if "ranks" in r.made)
    return {"ranks": dict(sorted(found.items()))} if found else {}


def spoken(ranks: Mapping[str, int]) -> str:
    """The same in words."""
    return ", ".join(f"{n} trained on {where.replace(' > ', ', then ')} ranks" for where, n in ranks.items())


_TYPES: dict[str, type] = {
    **dict.fromkeys(("network", "arm", "measure", "address", "checksum"), str),
    **dict.fromkeys(("seed", "step"), int),
    **dict.fromkeys(("setting", "values", "made"), dict),
    "diverged": bool,
}


class LineFault(ValueError):
    """A line that is no record. kind: "broken" (no JSON), "foreign" (JSON of another kind), "edited" (its checksum does
    not fit), "impossible" (nothing that is measured comes out so)."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def parsed_json(text: str | bytes) -> Any:
    """What JSON says. Raises ValueError for all that is none, nesting deeper than Python follows among it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def strict_json(text: str | bytes) -> Any:
    """The same of a file that may have been edited by hand: NaN, infinities and halves of characters, which no reader
    can show, are none either."""
    content = parsed_json(text)
    json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
    return content


def read_line(line: bytes) -> tuple[str, Record]:
    """(address, record) of one line. Raises LineFault."""
    try:
        content = (strict_json if b"\\ud" in line.lower() else parsed_json)(line)  # which costs more
    except ValueError as error:
        raise LineFault("broken", f"not JSON ({error})") from None
    if not isinstance(content, dict) or content.keys() != _TYPES.keys():
        raise LineFault("foreign", "not a record of this format")
    wrong = [k for k, t in _TYPES.items() if type(content[k]) is not t]
    if wrong:
        raise LineFault("foreign", f"{wrong[0]} is {content[wrong[0]]!r:.40}")
    said, where = content.pop("checksum"), content["address"]
    if not _as_written(line, said):
        try:
            found = digest(content)
        except ValueError:  # NaN is JSON for Python's parser alone
            raise LineFault("edited", "holds a number that no record holds") from None
        if found != said:
            raise LineFault("edited", "its checksum does not fit: it was changed after it was written")
    del content["address"]
    record = Record(**content)
    if record.address != where:
        raise LineFault("foreign", "its address is not that of what it says")
    if why := _impossible(record):
        raise LineFault("impossible", f"{why}; whatever its checksum, nobody has measured that")
    return where, record


def _impossible(record: Record) -> str:
    """Why nobody has made this record, whatever it is of; "" where somebody may have."""
    if min(record.seed, record.step) < 0:
        return f"its seed is {record.seed}, its step {record.step}"
    if not all(type(word) is str for word in record.made.values()):
        return f"it is made by {dict(record.made)!r:.60}"
    return ""


def _as_written(line: bytes, said: str) -> bool:
    """Whether the line's own bytes, without the checksum that it says, have this checksum: then its content has, and
    need not be put down anew."""
    if b"NaN" in line or b"Infinity" in line:
        return False
    before, _, after = line.partition(f'"checksum":"{said}",'.encode())
    return hashlib.sha256(before + after).hexdigest()[:32] == said
