"""The command ``bntheory``: it parses, calls and prints. Whatever computes loads with the command that needs it."""

from __future__ import annotations

from typing import Annotated

import typer

from bntheory.commands import check, compare, decide, doctor, pages, pictures, probe, runs
from bntheory.commands.common import EXIT_CODES

__all__ = ["app", "main"]

app = typer.Typer(
    name="bntheory",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Decide what is true about batch normalisation.\n\n"
        "A claim is judged by algebra (a proof for every batch size, or a counterexample), by adversarial search (with an exact "
        "certificate), inside real networks, and by experiment.\n\n"
        'Start with `bntheory decide "norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)" --eps zero`, '
        "`bntheory check --paper santurkar2018`, or `bntheory compare`."
    ),
    epilog="Exit codes. " + " ".join(f"{code}: {meaning}." for code, meaning in EXIT_CODES.items()),
)


def _version(wanted: bool) -> None:
    if wanted:
        from bntheory import __version__

        typer.echo(f"bntheory {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


_JUDGING, _MEASURING, _SHOWING = "Deciding claims", "Measuring networks", "Pictures and pages"
app.command("decide", rich_help_panel=_JUDGING)(decide.decide)
app.command("claims", rich_help_panel=_JUDGING)(check.claims)
app.command("show", rich_help_panel=_JUDGING)(check.show)
app.command("check", rich_help_panel=_JUDGING)(check.check)
app.command("replay", rich_help_panel=_JUDGING)(decide.replay)
app.command("compare", rich_help_panel=_MEASURING)(compare.compare_command)
app.command("plan", rich_help_panel=_MEASURING)(runs.plan_command)
app.command("runs", rich_help_panel=_MEASURING)(runs.runs)
app.command("probe", rich_help_panel=_MEASURING)(probe.probe)
app.command("doctor", rich_help_panel=_MEASURING)(doctor.doctor)
app.command("smooth", rich_help_panel=_SHOWING)(pictures.smooth)
app.add_typer(pictures.model_commands(), name="model", rich_help_panel=_SHOWING)
app.command("papers", rich_help_panel=_SHOWING)(pages.papers)


def main() -> None:
    """The entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
