"""Counts with their noun, and lists, for whatever is read."""

from __future__ import annotations

from collections.abc import Sequence


def counted(count: int, noun: str) -> str:
    """ "1 record", "2 records"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def many(count: int, most: int = 1000) -> str:
    """A number of seeds that would decide; beyond what anybody runs it hangs on the last digit of the effect, and is
    said to be so large."""
    return str(count) if count <= most else f"over {most}"
