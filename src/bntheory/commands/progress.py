"""How far a long command is: a bar with the time left on a terminal, a line every half minute elsewhere, nothing with ``--quiet``.

All of it goes to standard error, so what is printed can be piped. Whoever computes receives ``progress(fraction, text)``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "be_quiet", "show_progress", "status_bar"]

Progress = Callable[[float, str], None]
_quiet = False


def be_quiet(wanted: bool) -> None:
    """Whether this process shows no progress from now on: the option ``--quiet``."""
    global _quiet
    _quiet = wanted


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A bar with the time left where there is a terminal; elsewhere a line every half minute, so that a log shows life."""
    if _quiet:
        yield lambda fraction, text: None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import (
        Progress as Bar,
    )

    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=text)


@contextmanager
def status_bar(total: int, first: str = "") -> Iterator[Callable[[int, str], None]]:
    """The same for so many things, one after the other: ``advance(done, text)``."""
    with show_progress() as progress:
        progress(0.0, first)
        yield lambda done, text: progress(done / max(total, 1), f"{done} of {total}: {text}")


def _lines(every: float = 30.0) -> Progress:
    began = last = time.monotonic()
    first: float | None = None

    def say(fraction: float, text: str) -> None:
        nonlocal last, first
        now = time.monotonic()
        first = fraction if first is None else first
        if now - last < every:
            return
        last = now
        left = ""
        if fraction > first:
            left = f", about {(now - began) * (1 - fraction) / (fraction - first):.0f} s left"
        print(f"{100 * fraction:3.0f} %{left}: {text}", file=sys.stderr, flush=True)

    return say
