"""How far something is, for whoever asks."""

from __future__ import annotations

from collections.abc import Callable

#: Called now and then with the share that is done and what is being done.
Progress = Callable[[float, str], None]


def silent(fraction: float, text: str) -> None:
    """For whoever does not ask."""
