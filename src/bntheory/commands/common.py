"""What every command shares: errors that read well, choices that are checked, lines that fit the terminal."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from bntheory.errors import Terminated, UserError
from bntheory.evidence.counts import counted, listed
from bntheory.files import is_special

FAILED, BAD_USE, INTERNAL, INTERRUPTED, TERMINATED = 1, 2, 3, 130, 143
#: The same for every command: the table of the README and of ``bntheory --help``.
EXIT_CODES = {
    0: "it went through, whatever was found",
    FAILED: "the answer is no: a proved identity failed (compare), a status that --expect does not name, two judges that disagree or one that ended in an error (check, "
    "decide), a counterexample that does not refute (replay), pages that are stale (papers), a route that is wrong (doctor); nothing else",
    BAD_USE: "it could not be done: bad use, input, a file, the disk, a device; the message says what and what to do",
    INTERNAL: "a defect of bntheory; the message says what to report",
    INTERRUPTED: "interrupted (Ctrl-C)",
    TERMINATED: "ended by SIGTERM; compare ends as at an interrupt and says how to go on",
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
_NO_MEMORY = "error: there is not enough memory for this; ask for less at a time"
Command = TypeVar("Command", bound=Callable[..., Any])
Word = TypeVar("Word", bound=str)


def clear_errors(command: Command) -> Command:
    """What goes wrong becomes one message on standard error and an exit code of :data:`EXIT_CODES`."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            raise _ended(BAD_USE, f"error: {_as_typed(str(error), command, args)}") from None
        except BrokenPipeError:
            _give_up_output()
            raise SystemExit(0) from None  # the reader of a pipe went away; there is nobody left to tell
        except OSError as error:
            raise _ended(BAD_USE, f"error: {refused(error)}") from None
        except MemoryError:
            raise _ended(BAD_USE, _NO_MEMORY) from None
        except KeyboardInterrupt as stop:
            code, how = interrupted(stop)
            raise _ended(code, how) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("typer", "click"):
                raise  # an exit code, or a usage error, on its way out
            if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):  # as torch says it
                raise _ended(BAD_USE, _NO_MEMORY) from None
            if "home directory" in str(error):  # as pathlib says it
                raise _ended(BAD_USE, "error: a path begins with ~ and no user's name; write it from / on") from None
            traceback.print_exc()
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _ended(
                INTERNAL,
                f"internal error: {what:.300}\nThis is a defect of bntheory, not of what you asked. Please report it with the lines above, "
                f"the command, and the output of bntheory --version.",
            ) from None

    return wrapped  # type: ignore[return-value]


def interrupted(stop: KeyboardInterrupt) -> tuple[int, str]:
    """The exit code of an interrupt, and what it is called."""
    return (TERMINATED, "ended by SIGTERM") if isinstance(stop, Terminated) else (INTERRUPTED, "interrupted")


def _as_typed(text: str, command: Callable[..., Any], arguments: Sequence[Any]) -> str:
    """The text, and the options that it begins with, which the library says without their dashes, with them."""
    text = text.removeprefix("LayerDomain: ")
    if names := re.match(r"[a-z_]+(, [a-z_]+)*(?=: | is | ')", text):
        words = [word.partition("=")[0] for several in arguments if isinstance(several, list) for word in several]
        options = []
        for name in names[0].split(", "):
            own, option = inspect.signature(command, eval_str=True).parameters.get(name), f"--{name.replace('_', '-')}"
            known = [type(about).__name__ for about in getattr(own and own.annotation, "__metadata__", ())]
            # the latter: of a command that reads its own arguments
            options.append(option if "OptionInfo" in known or option in words else name)
        return ", ".join(options) + text[names.end() :]
    return text


def _ended(code: int, message: str) -> SystemExit:
    print(message, file=sys.stderr)
    with suppress(OSError):
        said(message, code)
    _give_up_output()
    return SystemExit(code)


def _give_up_output() -> None:
    """Where standard output takes no more, on a full disk or of a reader that went away, the end of Python shall not say it again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def said(message: str, code: int) -> None:
    """The same message as JSON on standard output, where JSON was asked for: what reads it finds an object in any case."""
    if "--json" in sys.argv:
        from bntheory.report.strict_json import json_text

        print(json_text({"error": message.removeprefix("error: "), "exit_code": code}))


def columns() -> int:
    """As wide as the terminal is, 40 at the least; 80 where there is none."""
    return max(40, shutil.get_terminal_size((80, 24)).columns)


def wrapped(text: str, indent: int = 0, *, one: bool = False) -> str:
    """The text in lines that fit the terminal (80 columns where there is none), the second and later ones indented.

    one: it is one entry, whose text may have lines of its own (a message of somebody else's); else each of its lines is an entry.
    """
    first, *others = text.splitlines() or [""]
    hang = " " * indent
    fill = functools.partial(
        textwrap.fill, width=columns(), subsequent_indent=hang, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join([fill(first), *(fill(line, initial_indent=hang if one else "") for line in others)])


def plain() -> bool:
    """Whether no colour is wanted: https://no-color.org"""
    return bool(os.environ.get("NO_COLOR"))


def refused(error: OSError) -> str:
    """What the system refused, and of which file; of one that was to be moved into its place, that place."""
    name = error.filename2 or error.filename
    where = f"{name}: " if name else ""
    return f"{where}{error.strerror or error}"


def empty_word(words: Sequence[str]) -> str:
    """What is wrong with the first word that is empty, nothing where none is.

    It would be taken for an option left out, or for this folder, as where a variable of the shell is not set.
    """
    for before, word in pairwise(["", *words]):
        name, sign, value = word.partition("=") if word.startswith("--") else (before, "=", word)
        if sign and not value.strip():
            what = name if name.startswith("--") and "=" not in name else "an argument"
            return f"{what} is empty; give it a value, or leave it out"
    return ""


def file_to_write(option: str, path: Path | None) -> None:
    """UserError for what cannot be written as a file, before the work is done whose result would go there."""
    if path is not None and path.name == "-":  # of a shell's own words, where it stands for standard output
        raise UserError(f"{option} {path}: standard output takes none; name a file")
    place = None if path is None else Path(os.path.realpath(path))  # where a link points: the link itself stays
    if place is not None and (place.is_dir() or not place.parent.is_dir()):
        raise UserError(f"{option} {path}: is a folder, or lies in none; name a file in a folder that is there")
    if place is not None and is_special(place):
        raise UserError(f"{option} {path}: is no regular file (a pipe, a socket or a device); name one, or a new one")
    if place is not None and not os.access(place if place.exists() else place.parent, os.W_OK):
        raise UserError(f"{option} {path}: may not be written; name another place, or change its permissions")


def skipped_lines(faults: Sequence[str], noun: str = "line") -> None:
    """What of a store counts for nothing, on standard error: lines skipped for one reason together, the first twenty reasons, and how
    many more lines."""
    joined: dict[tuple[str, str], list[int]] = {}
    for fault in faults:
        found = _LINE.fullmatch(fault)
        joined.setdefault((found[1], found[3]) if found else (fault, ""), []).append(int(found[2]) if found else 0)
    for (where, why), lines in list(joined.items())[:20]:
        print(f"skipped: {where}{f', {_ranges(lines)}: {why}' if why else ''}", file=sys.stderr)
    if rest := sum(map(len, list(joined.values())[20:])):
        print(f"skipped: {counted(rest, noun)} more", file=sys.stderr)


#: A line that was skipped, as :class:`bntheory.experiments.store.Fault` says it.
_LINE = re.compile(r"(.*?), line (\d+): (.*)", re.DOTALL)


def _ranges(lines: Sequence[int]) -> str:
    """The numbers in words, those that follow one another as one: "lines 1-4 and 6"."""
    groups: list[list[int]] = []
    for n in sorted(lines):
        if groups and n == groups[-1][-1] + 1:
            groups[-1].append(n)
        else:
            groups.append([n])
    said = [f"{g[0]}" if len(g) == 1 else f"{g[0]}-{g[-1]}" for g in groups]
    if len(said) > 10:
        said = [*said[:9], f"{sum(map(len, groups[9:]))} others"]
    return f"line{'s' if len(lines) > 1 else ''} {listed(said)}"


def plot_to_write(path: Path | None) -> None:
    """UserError for what cannot be written as a figure, before the work is done that it shows."""
    file_to_write("--plot", path)
    if path is not None:
        from bntheory.drawing import figure_format

        figure_format(path)


def folder_to_write(option: str, path: Path | None) -> None:
    """UserError for what cannot be a folder, before the work is done whose results would go there."""
    if path is not None and any(p.exists() and not p.is_dir() for p in (path, *path.parents)):
        raise UserError(f"{option} {path}: is a file, or lies in one; name a folder")
    if path is not None and not os.access(next(p for p in (path, *path.absolute().parents) if p.exists()), os.W_OK):
        raise UserError(f"{option} {path}: may not be written; name another folder, or change its permissions")


def one_of(what: str, value: str, allowed: Iterable[Word]) -> Word:
    """value, if allowed. UserError lists what is."""
    words = {str(word): word for word in allowed}
    if value not in words:
        raise UserError(f"{what} {value!r} is not known; it can be {', '.join(words)}")
    return words[value]
