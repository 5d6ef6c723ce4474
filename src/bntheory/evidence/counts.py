"""Counts with their noun, and lists, for whatever is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

#: Entries of a vector up to which every one of them is written.
WRITTEN_OUT = 24


def counted(count: int, noun: str) -> str:
    """ "1 record", "2 records"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def reasons(of: Mapping[str, str], shown: int = 3) -> list[str]:
    """Every reason once, behind the names that it holds for, so many of them: "a, b, c and 4 more: why"."""
    names: dict[str, list[str]] = {}
    for name, reason in of.items():
        names.setdefault(reason, []).append(name)
    more = (f" and {len(found) - shown} more" if len(found) > shown else "" for found in names.values())
    return [f"{', '.join(found[:shown])}{rest}: {why}" for (why, found), rest in zip(names.items(), more, strict=True)]


def entries(numbers: Sequence[str], repeated: str = "{} ({} times)") -> str:
    """The entries of a vector, one after another; in a long one equal neighbours are counted: "1 (40 times), -1"."""
    if len(numbers) <= WRITTEN_OUT:
        return ", ".join(numbers)
    runs = [(number, len(list(run))) for number, run in groupby(numbers)]
    return ", ".join(number if count == 1 else repeated.format(number, count) for number, count in runs)


def many(count: int) -> str:
    """A number of seeds that would decide. Beyond 1000, which nobody runs, it hangs on the effect's last digit."""
    return str(count) if count <= 1000 else "over 1000"
