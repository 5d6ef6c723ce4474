"""How far a long command is: a bar with the time left on a terminal, a line every half minute elsewhere, nothing with ``--quiet``.

All of it goes to standard error, so what is printed can be piped. Whoever computes receives ``progress(fraction, text)``; with the fraction
0 something new begins, as the next round of several.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bntheory.evidence.progress import Progress, silent

__all__ = ["Progress", "be_quiet", "duration", "show_progress", "status_bar"]

_quiet = False
#: Columns of the bar, and of "100% 0:00:00 120 min left" with the spaces around; the rest is the text's.
_BAR, _NUMBERS = 12, 28


def be_quiet(wanted: bool) -> None:
    """Whether this process shows no progress from now on: the option ``--quiet``."""
    global _quiet
    _quiet = wanted


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A bar with the time left where there is a terminal; elsewhere a line every half minute, so that a log shows life."""
    if _quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(bar_width=_BAR),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}"),
    )
    time_left, console = _TimeLeft(), Console(stderr=True)

    def show(fraction: float, text: str) -> None:
        left, room = time_left(fraction), max(console.width - _BAR - _NUMBERS, 1)
        short = text if len(text) <= room else f"{text[: room - 1]}…"
        bar.update(task, completed=fraction, description=short, left=left and f"{left} left")

    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0, left="")
        yield show


@contextmanager
def status_bar(total: int, first: str = "") -> Iterator[Callable[[int, str], None]]:
    """The same for so many things, one after the other: ``advance(done, text)``."""
    with show_progress() as progress:
        progress(0.0, first)
        yield lambda done, text: progress(done / max(total, 1), f"{done} of {total}: {text}")


def _lines(every: float = 30.0) -> Progress:
    last = time.monotonic()
    time_left = _TimeLeft()

    def say(fraction: float, text: str) -> None:
        nonlocal last
        left, now = time_left(fraction), time.monotonic()
        if now - last < every:
            return
        last = now
        print(f"{100 * fraction:3.0f} %{left and f', about {left} left'}: {text}", file=sys.stderr, flush=True)

    return say


class _TimeLeft:
    """How long it takes yet, in words, from how long it took so far; nothing while that says little."""

    #: So many seconds, and so much of the whole, are seen before anything is said.
    SECONDS, SHARE = 5.0, 0.01

    def __init__(self) -> None:
        self.began, self.first, self.last = time.monotonic(), 0.0, 0.0

    def __call__(self, fraction: float) -> str:
        now = time.monotonic()
        if self.last == 0:  # what is there at the start took no time now
            self.began, self.first = now, fraction
        self.last = fraction
        gained, taken = fraction - self.first, now - self.began
        if gained < self.SHARE or taken < self.SECONDS:
            return ""
        return duration(taken * (1 - fraction) / gained)


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "12 min", "3.4 h"; what is more than nothing is a second at least."""
    if 0 < seconds < 1:
        return "1 s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
