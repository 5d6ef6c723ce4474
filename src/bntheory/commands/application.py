"""The subcommands put together."""

from __future__ import annotations

import inspect
import textwrap
from importlib import import_module
from typing import Annotated, Any

import typer

__all__ = ["COMMANDS", "application"]

# name -> (module of bntheory.commands, function there)
COMMANDS = {
    "tour": ("tour", "tour"),
    "decide": ("decide", "decide"),  # reads its own arguments
    "words": ("words", "words"),
    "claims": ("statements", "claims"),
    "show": ("statements", "show"),
    "check": ("check", "check"),
    "replay": ("replay", "replay"),
    "compare": ("compare", "compare_command"),
    "report": ("report", "report"),
    "plan": ("runs", "plan_command"),
    "runs": ("runs", "runs"),
    "probe": ("probe", "probe"),
    "doctor": ("doctor", "doctor"),
    "smooth": ("pictures", "smooth"),
    "model": ("pictures", "model_commands"),
    "papers": ("pages", "papers"),
}
_HELP = """Decide what is true about batch normalisation.

A claim is judged by algebra (a proof for every batch size, or a counterexample), by adversarial search (with an exact certificate),
inside real networks, and by experiment.

Examples:
  bntheory tour
  bntheory decide "norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)" --eps zero
  bntheory check --paper santurkar2018
  bntheory compare
"""


def application(*names: str) -> typer.Typer:
    """The command with the subcommands of these names, or with all."""
    from bntheory.commands.common import EXIT_CODES
    from bntheory.commands.options import CheckedCommand, quietly

    # no markup: what is printed can be pasted, and ** is a power
    made = typer.Typer(
        name="bntheory",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=_unwrapped(_HELP),
        epilog="\b\n" + "\n".join(["Exit codes", *(_row(*item) for item in EXIT_CODES.items())]),
    )
    made.callback()(_root)
    for name in names or tuple(COMMANDS):
        module, function = COMMANDS[name]
        command: Any = getattr(import_module(f"bntheory.commands.{module}"), function)
        if name == "model":
            made.add_typer(command(), name=name)
        elif name == "decide":
            untouched = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
            made.command(name, short_help="Decide a claim typed on the spot.", context_settings=untouched)(
                _decide
            )
        else:
            made.command(name, cls=CheckedCommand, help=_unwrapped(command.__doc__))(quietly(command))
    return made


def _row(code: int, meaning: str) -> str:
    return textwrap.fill(f"{code:>3}  {meaning}", 76, subsequent_indent=" " * 5)


def _unwrapped(text: str) -> str:
    """Help in which the lines of examples stay lines."""
    return inspect.cleandoc(text).replace("\n\nExamples:", "\n\n\b\nExamples:")


def _version(wanted: bool) -> None:
    if wanted:
        from bntheory import __version__

        typer.echo(f"bntheory {__version__}")
        raise typer.Exit


def _decide(context: typer.Context) -> None:
    from bntheory.commands.decide import decide

    decide(context.args)


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
