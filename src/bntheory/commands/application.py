"""The subcommands put together."""

from __future__ import annotations

import inspect
import textwrap
from importlib import import_module
from typing import Annotated, Any

import typer

# name -> (module of bntheory.commands, function there, what it does in a line of the list)
COMMANDS = {
    "tour": ("tour", "tour", "a first look, in a minute"),
    "decide": ("decide", "decide", "decide a claim that you type"),  # reads its own arguments
    "words": ("words", "words", "the words that a claim may use, and what they mean"),
    "claims": ("statements", "claims", "list the claims of the literature by their ids"),
    "show": ("statements", "show", "print one claim: as printed, and as it was read"),
    "check": ("check", "check", "judge the literature's claims, or a file of your own"),
    "replay": ("replay", "replay", "evaluate a stored counterexample again"),
    "compare": ("compare", "compare_command", "the main job: train matched networks, measure, report"),
    "report": ("report", "report", "a run's page anew from its records; two runs side by side"),
    "plan": ("runs", "plan_command", "what a preset would cost on this machine"),
    "runs": ("runs", "runs", "what a run holds and lacks; merge, confirm or pack"),
    "probe": ("probe", "probe", "measure a model of your own"),
    "doctor": ("doctor", "doctor", "is a Hessian through batch norm right in this torch"),
    "smooth": ("pictures", "smooth", "where batch norm smooths and where it roughens"),
    "model": ("pictures", "model_commands", "an analytic model with exact dynamics, drawn"),
    "papers": ("pages", "papers", "write or check the pages of the papers"),
}
_HELP = """Decide what is true about batch normalisation.

A claim is judged by algebra (a proof for every batch size, or a counterexample), by adversarial search (with an exact certificate),
inside real networks, and by experiment.

Examples:
  bntheory tour
  bntheory decide "norm2(input_grad) <= gamma**2/sigma**2*norm2(grad)"
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
        module, function, does = COMMANDS[name]
        command: Any = getattr(import_module(f"bntheory.commands.{module}"), function)
        if name == "model":
            made.add_typer(command(), name=name, short_help=does)
        elif name == "decide":
            untouched = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
            made.command(name, short_help=does, context_settings=untouched)(_decide)
        else:
            made.command(name, cls=CheckedCommand, help=_unwrapped(command.__doc__), short_help=does)(quietly(command))
    return made


def _row(code: int, meaning: str) -> str:
    return textwrap.fill(f"{code:>3}  {meaning}", 76, subsequent_indent=" " * 5)


def _unwrapped(text: str | None) -> str:
    """Help in which the lines of examples stay lines; none under ``python -OO``."""
    return inspect.cleandoc(text or "").replace("\n\nExamples:", "\n\n\b\nExamples:")


def _version(wanted: bool) -> None:
    if wanted:
        from bntheory.evidence.closure import own_version

        typer.echo(f"bntheory {own_version()}")
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
