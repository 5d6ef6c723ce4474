"""The command ``bntheory``: it parses, calls and prints. Whatever computes loads with the command that needs it."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Any

from bntheory.commands.common import clear_errors, said

__all__ = ["main"]


def main() -> None:
    """The entry point of the console script. Only the subcommand that is asked for is loaded."""
    # a process without a console has none
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or sys.stdout
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a pipe on Windows takes no square root; JSON with such escapes is JSON
            stream.reconfigure(errors="backslashreplace")
    clear_errors(_run)()


#: Their processes share the cores, and how a sum is split over threads changes its last bits.
_JUDGES = ("check", "decide", "papers")


def _run() -> None:
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked in _JUDGES:
        from bntheory.experiments.crew import ONE_THREAD

        for name in ONE_THREAD:
            os.environ.setdefault(name, "1")
    try:
        if asked == "decide":
            from bntheory.commands.decide import decide

            decide(sys.argv[2:])
        else:
            sys.exit(_typed(asked))
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the library that reads the command line ends with 1
            raise end.__context__ from None
        raise
    finally:
        sys.stdout.flush()


def _typed(asked: str) -> int:
    """The exit code of the command that was typed."""
    from bntheory.commands.application import COMMANDS, application

    try:
        code = application(*([asked] if asked in COMMANDS else []))(standalone_mode=False)
    except Exception as error:  # of the library that reads the command line: bad use, said by itself
        if not hasattr(error, "format_message"):
            raise
        error.show()  # type: ignore[attr-defined]
        said(error.format_message(), error.exit_code)  # type: ignore[attr-defined]
        return int(error.exit_code)  # type: ignore[attr-defined]
    return code if isinstance(code, int) else 0


def __getattr__(name: str) -> Any:
    """``app``, all subcommands together, made when it is first asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bntheory.commands.application import application

    whole = globals()["app"] = application()
    return whole


if __name__ == "__main__":
    main()
