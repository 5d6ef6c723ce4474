"""``decide``: a claim typed on the spot.

The command that is typed most reads its own arguments, with what Python has at hand: so it has answered before a library for command
lines would have loaded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from bntheory.commands.common import (
    BAD_USE,
    FAILED,
    clear_errors,
    empty_word,
    file_to_write,
    plot_to_write,
    said,
    wrapped,
)
from bntheory.errors import UserError
from bntheory.files import write_atomic
from bntheory.report.strict_json import json_text

HELP = """\
Decide a claim typed on the spot: for every layer, batch size and loss.

`bntheory words` explains every word. Scalars: m gamma beta eps mu var sigma
gamma_grad beta_grad jac_norm. Vectors: one y y_hat z grad input_grad dual.
Functions: dot(u, v) norm2(v) hess(v) jac(v) input_hess(v) sqrt(x)
batch_mean(v) centre(v) standardise(v), and trace(A) for A one of hess, jac,
input_hess. Signs: + - * / ** and <= < >= > == != and or not. grad and hess are
those of the downstream loss at z, jac is dz/dy and jac_norm its largest
singular value. For all directions at once: max_eig(A) <= b, min_eig(A) >= b.
The same layer at a second batch: y@2 z@2 sigma@2 grad@2 input_grad@2 and so
on; another unit: y@b grad@b and so on, cross(v).

Examples:
  bntheory decide "norm2(input_grad) <= gamma**2/sigma**2*norm2(grad)"
  bntheory decide "dot(y, input_grad) == 0" --eps positive
  bntheory decide "trace(jac) == gamma/sigma*(m - 2)" --eps zero
  bntheory decide "max_eig(hess) <= trace(hess)" --hessian psd
  bntheory decide "norm2(z@2 - z) <= gamma**2/eps*norm2(y@2 - y)" --eps positive
  bntheory decide "norm2(input_grad) <= norm2(grad)" --assume "gamma == sigma"
"""
_OPTIONS = {
    # option: (default, help)
    "eps": ("any", "zero, positive or any"),
    "gamma": ("any", "positive, nonzero or any"),
    "hessian": ("any", "any, psd, zero, identity, isotropic, diagonal or psd-diagonal"),
    "smoothness": ("", "a bound on the norm of the Hessian: a free scalar's name, or a number such as 1/4"),
    "loss": ("", "a given loss: squared, linear or logistic-bounds"),
    "normaliser": (
        "batch",
        "batch, unbiased, mean-only, rms, frozen (the statistics of y itself, held constant), l1, l2, linf; or by name: layer-norm, "
        "instance-norm, group-norm, rms-norm",
    ),
}
_REPEATED = {
    "assume": ("EXPRESSION", "taken for granted; repeatable"),
    "scalar": ("NAME[:RANGE]", "a free scalar; positive, nonzero, nonnegative or unit; repeatable"),
    "vector": ("NAME", "a free vector; repeatable"),
    "operator": ("NAME[:psd]", "a free operator; repeatable"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        said(message, BAD_USE)
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "bntheory decide", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("expression", help='a relation in the vocabulary, e.g. "dot(y, input_grad) == 0"')
    for name, (default, text) in _OPTIONS.items():
        shown = f"{text} (default: {default})" if default else text
        spelt = [f"--{name}", *(["--normalizer"] if name == "normaliser" else [])]
        parser.add_argument(*spelt, default=default, metavar="WORD", help=shown)
    parser.add_argument("--min-m", type=int, default=2, metavar="M", help="least batch size (default: 2)")
    for name, (metavar, text) in _REPEATED.items():
        parser.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=text)
    parser.add_argument(
        "--witness", type=Path, metavar="FILE", help="write the counterexample here, for `bntheory replay`"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else; its fields stay")
    parser.add_argument("--latex", action="store_true", help="print a paragraph for a review; it compiles with amsmath")
    parser.add_argument("--bibtex", action="store_true", help="print a BibTeX entry for the verdict")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the verdict (.png, .pdf or .svg)")
    parser.add_argument("--quiet", action="store_true", help="show no progress; results are printed as ever")
    return parser


def _fitted(text: str) -> str:
    """Lines with a word at their head continue under what it says."""
    return "\n".join(wrapped(line, 11 if line[10:11] == " " else 4) for line in text.splitlines())


@contextmanager
def _stage(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Which judge is at work and for how long at most, on a terminal alone, and wiped away at the end."""
    if quiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    yield lambda text: print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr, flush=True)


@clear_errors
def decide(arguments: Sequence[str]) -> None:
    """Run the command with these arguments. SystemExit with a code of the table where it is not 0."""
    parser = _parser()
    if wrong := empty_word(arguments):
        parser.error(wrong)
    given = vars(parser.parse_args(arguments))
    from bntheory.judges.decide import decide as decide_expression

    as_json, as_latex, as_bibtex, plot, witness, quiet = (
        given.pop(name) for name in ("json", "latex", "bibtex", "plot", "witness", "quiet")
    )
    file_to_write("--witness", witness)
    plot_to_write(plot)
    free = {f"{name}s": given.pop(name) for name in ("scalar", "vector", "operator")}
    with _stage(quiet) as show:
        decided = decide_expression(given.pop("expression"), **given, **free, progress=show)
    if witness is not None and decided.witness is not None:
        try:
            write_atomic(witness, (json_text(decided.witness, 1) + "\n").encode())
        except OSError as error:
            raise UserError(f"--witness {witness}: cannot be written ({error.strerror})") from None
    if as_json:
        print(json_text(decided.as_json()))
    else:
        asked = [decided.latex()] * as_latex + [decided.cite()] * as_bibtex
        print("\n".join(asked) if asked else _fitted(decided.render()))
    if plot is not None:
        from bntheory.drawing import save_figure

        save_figure(decided.plot(), plot)
        print(f"figure: {plot}", file=sys.stderr)
    if decided.verdict.status.value in ("disagreement", "error"):
        raise SystemExit(FAILED)
