"""Options that several commands have."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from bntheory.commands.common import empty_word
from bntheory.commands.progress import be_quiet
from bntheory.evidence.study import LARGEST_SEED

Seed = Annotated[int, typer.Option(help="Where all chance comes from.", min=0, max=LARGEST_SEED)]
Jobs = Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0, max=1024)]

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else; its fields stay.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress; results are printed as ever.")]
Latex = Annotated[bool, typer.Option("--latex", help="Print a paragraph for a review; it compiles with amsmath.")]

Command = TypeVar("Command", bound=Callable[..., Any])


def described(**options: Any) -> Callable[[Command], Command]:
    """The command whose options have these helps, or are these; a flag that is off has no word for off."""

    def decorate(command: Command) -> Command:
        parameters = []
        for p in inspect.signature(command, eval_str=True).parameters.values():
            option = options.get(p.name)
            if isinstance(option, str):
                flag = (f"--{p.name.replace('_', '-')}",) if p.default is False else ()
                option = typer.Option(*flag, help=option)
            parameters.append(p if option is None else p.replace(annotation=Annotated[p.annotation, option]))
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


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


class CheckedCommand(TyperCommand):
    """A command that refuses empty words, and numbers that are not finite: nan slips through every comparison."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if wrong := empty_word(args):
            raise typer.BadParameter(wrong, ctx=ctx)
        rest = super().parse_args(ctx, args)
        for name, value in ctx.params.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(f"--{name.replace('_', '-')} is {value}; give a finite number", ctx=ctx)
        return rest
