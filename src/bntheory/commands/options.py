"""Options that several commands have."""

from __future__ import annotations

import functools
import inspect
from typing import Annotated, Any

import typer

from bntheory.commands.progress import be_quiet

__all__ = ["Json", "Latex", "Quiet", "quietly"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, stable and documented in the README.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress; results are printed as ever.")]
Latex = Annotated[
    bool, typer.Option("--latex", help="Print a paragraph for a review; it compiles with amsmath.")
]


def quietly(command: Any) -> Any:
    """The command with the option ``--quiet``, which every one has."""

    @functools.wraps(command)
    def run(*args: Any, quiet: bool = False, **options: Any) -> Any:
        be_quiet(quiet)
        return command(*args, **options)

    own = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in (*own.parameters.values(), option)}
    return run
