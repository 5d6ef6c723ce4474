"""What every command shares: errors that read well, choices that are checked, a bar with the time left."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import typer

from bntheory.errors import UserError

__all__ = [
    "BAD_USE",
    "FAILED",
    "INTERRUPTED",
    "STYLE",
    "Json",
    "clear_errors",
    "one_of",
    "status_bar",
]

FAILED, BAD_USE, INTERRUPTED = 1, 2, 130
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
Json = Annotated[bool, typer.Option("--json", help="Print JSON, stable and documented in the README.")]
Command = TypeVar("Command", bound=Callable[..., Any])


def clear_errors(command: Command) -> Command:
    """Bad input becomes one message on standard error and exit code 2; Ctrl-C becomes exit code 130."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(BAD_USE) from None
        except BrokenPipeError:
            # the reader of a pipe went away; there is nobody left to tell
            sys.stderr.close()
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped  # type: ignore[return-value]


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
