"""What every command shares: errors that read well, choices that are checked, a bar with the time left."""

from __future__ import annotations

import functools
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from bntheory.errors import UserError

__all__ = [
    "BAD_USE",
    "EXIT_CODES",
    "FAILED",
    "INTERNAL",
    "INTERRUPTED",
    "STYLE",
    "clear_errors",
    "one_of",
    "show_progress",
    "status_bar",
]

FAILED, BAD_USE, INTERNAL, INTERRUPTED = 1, 2, 3, 130
#: The same for every command: the table of the README and of ``bntheory --help``.
EXIT_CODES = {
    0: "it went through, whatever was found",
    FAILED: "the answer is no: a proved identity failed (compare), a status that --expect does not name, two judges that disagree or one that ended in an error (check, "
    "decide), a counterexample that does not refute (replay), pages that are stale (papers), a route that is wrong (doctor); nothing else",
    BAD_USE: "it could not be done: bad use, input, a file, the disk, a device; the message says what and what to do",
    INTERNAL: "a defect of bntheory; the message says what to report",
    INTERRUPTED: "interrupted",
}
STYLE = {
    "proved": "bold green",
    "refuted": "bold red",
    "survives": "cyan",
    "holds-on-networks": "cyan",
    "supported": "green",
    "contradicted": "red",
    "equivalent": "yellow",
    "inconclusive": "yellow",
    "vacuous": "yellow",
    "unknown": "yellow",
    "error": "bold magenta",
    "disagreement": "bold white on red",
}
Progress = Callable[[float, str], None]
Command = TypeVar("Command", bound=Callable[..., Any])


def clear_errors(command: Command) -> Command:
    """What goes wrong becomes one message on standard error and an exit code of :data:`EXIT_CODES`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            raise _ended(BAD_USE, f"error: {error}") from None
        except BrokenPipeError:
            # the reader of a pipe went away; there is nobody left to tell
            sys.stderr.close()
            raise SystemExit(0) from None
        except OSError as error:
            raise _ended(BAD_USE, f"error: {_said(error)}") from None
        except MemoryError:
            raise _ended(
                BAD_USE, "error: there is not enough memory for this; ask for less at a time"
            ) from None
        except KeyboardInterrupt:
            raise _ended(INTERRUPTED, "interrupted") from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("typer", "click"):
                raise  # an exit code, or a usage error, on its way out
            traceback.print_exc()
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _ended(
                INTERNAL,
                f"internal error: {what:.300}\nThis is a defect of bntheory, not of what you asked. Please report it with the lines above, "
                f"the command, and the output of bntheory --version.",
            ) from None

    return wrapped  # type: ignore[return-value]


def _ended(code: int, message: str) -> SystemExit:
    print(message, file=sys.stderr)
    return SystemExit(code)


def _said(error: OSError) -> str:
    """What the system refused, and of which file."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def one_of(what: str, value: str, allowed: tuple[str, ...]) -> str:
    """value, if allowed. UserError lists what is."""
    if value not in allowed:
        raise UserError(f"{what} {value!r} is not known; it can be {', '.join(allowed)}")
    return value


@contextmanager
def status_bar(total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on standard error while there is a terminal to show it; ``advance(done, text)``."""
    if not sys.stderr.isatty() or total < 2:
        yield lambda done, text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda done, text: bar.update(task, completed=done, description=text)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A bar with the time left where there is a terminal; elsewhere a line every half minute, so that a log shows life."""
    if not sys.stderr.isatty():
        yield _quiet_progress()
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


def _quiet_progress(every: float = 30.0) -> Progress:
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
