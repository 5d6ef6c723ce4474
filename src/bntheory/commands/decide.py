"""``decide`` and ``replay``: one claim typed on the spot, one counterexample from its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bntheory.commands.common import FAILED, Json, Latex, clear_errors
from bntheory.errors import UserError
from bntheory.report.strict_json import json_text

__all__ = ["decide", "replay"]


@clear_errors
def decide(
    expression: Annotated[
        str, typer.Argument(help='A relation in the vocabulary, e.g. "dot(y, input_grad) == 0".')
    ],
    eps: Annotated[str, typer.Option(help="zero, positive or any.")] = "any",
    gamma: Annotated[str, typer.Option(help="positive, nonzero or any.")] = "any",
    hessian: Annotated[
        str, typer.Option(help="any, psd, zero, identity, isotropic, diagonal or psd-diagonal.")
    ] = "any",
    smoothness: Annotated[
        str,
        typer.Option(
            help="A bound on the norm of the Hessian: a free scalar's name, or a number such as 1/4."
        ),
    ] = "",
    loss: Annotated[str, typer.Option(help="A given loss: squared, linear or logistic-bounds.")] = "",
    min_m: Annotated[int, typer.Option(help="Least batch size.")] = 2,
    normaliser: Annotated[
        str,
        typer.Option(
            help="batch, unbiased, mean-only, rms, frozen, l1, l2, linf; or by name: layer-norm, instance-norm, group-norm, rms-norm."
        ),
    ] = "batch",
    assume: Annotated[list[str] | None, typer.Option(help="Taken for granted; repeatable.")] = None,
    scalar: Annotated[
        list[str] | None, typer.Option(help="A free scalar, NAME or NAME:positive; repeatable.")
    ] = None,
    vector: Annotated[list[str] | None, typer.Option(help="A free vector, NAME; repeatable.")] = None,
    operator: Annotated[
        list[str] | None, typer.Option(help="A free operator, NAME or NAME:psd; repeatable.")
    ] = None,
    witness: Annotated[
        Path | None, typer.Option(help="Write the counterexample here, for `bntheory replay`.")
    ] = None,
    as_json: Json = False,
    as_latex: Latex = False,
) -> None:
    """Decide a claim typed on the spot, for every layer, every batch size and every loss.

    `bntheory words` explains every word. Scalars: m gamma beta eps mu var sigma gamma_grad beta_grad jac_norm. Vectors: one y y_hat z grad
    input_grad dual. Functions: dot(u, v) norm2(v) hess(v) jac(v) input_hess(v) sqrt(x) batch_mean(v) centre(v) standardise(v), and trace(A)
    for A one of hess, jac, input_hess. Signs: + - * / ** and <= < >= > == != and or not. grad and hess are those of the downstream loss
    at z, jac is dz/dy and jac_norm its largest singular value. For all directions at once: max_eig(A) <= b and min_eig(A) >= b. The same
    layer at a second batch: y@2 z@2 sigma@2 grad@2 input_grad@2 and so on; another unit: y@b grad@b and so on, cross(v).

    Examples:
      bntheory decide "norm2(input_grad) <= gamma**2/sigma**2 * norm2(grad)" --eps zero
      bntheory decide "dot(y, input_grad) == 0" --eps positive
      bntheory decide "trace(jac) == gamma/sigma*(m - 2)" --eps zero
      bntheory decide "max_eig(hess) <= trace(hess)" --hessian psd
      bntheory decide "norm2(z@2 - z) <= gamma**2/eps*norm2(y@2 - y)" --eps positive
      bntheory decide "dot(input_grad, input_hess(input_grad)) <= 0" --hessian zero --assume "dot(grad, y_hat) >= 0" --gamma positive
    """
    from bntheory.judges.decide import decide as decide_expression

    decided = decide_expression(
        expression,
        eps=eps,
        gamma=gamma,
        hessian=hessian,
        min_m=min_m,
        normaliser=normaliser,
        smoothness=smoothness,
        loss=loss,
        assume=assume or (),
        scalars=scalar or (),
        vectors=vector or (),
        operators=operator or (),
    )
    if witness is not None and decided.witness is not None:
        try:
            witness.write_text(json_text(decided.witness, 1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"--witness {witness}: cannot be written ({error.strerror})") from None
    shown = decided.latex if as_latex else decided.render
    typer.echo(json_text(decided.as_json()) if as_json else shown())
    if decided.verdict.status.value in ("disagreement", "error"):
        raise typer.Exit(FAILED)


@clear_errors
def replay(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A witness, as `check --witnesses` writes it.")
    ],
    claims_file: Annotated[
        Path | None,
        typer.Option(
            "--claims", help="A Python file of claims to run and take the claim from; nothing else is run."
        ),
    ] = None,
    as_json: Json = False,
    as_latex: Latex = False,
) -> None:
    """Evaluate a stored counterexample again, in exact or ball arithmetic, trusting nothing that the file says of itself.

    A claim of a user's file travels inside the witness as a typed expression, which is shown; no code that the witness names is run.

    Examples:
      bntheory check mine.py --judge algebra --witnesses found
      bntheory replay found/mine.half-the-gradient.json

    Exit code: 0 if it refutes the claim again, 1 if it does not, 2 if it cannot be read.
    """
    from bntheory.judges.exact.replay import replay as replay_file

    result = replay_file(path, claims_file)
    found = {"id": result.claim.id, "refuted": result.refuted, "certificate": result.certificate.as_json()}
    if as_latex and not as_json:
        from bntheory.judges.latex import latex_witness

        typer.echo(
            latex_witness(
                {**json.loads(path.read_text(encoding="utf-8")), "certificate": found["certificate"]}
            )
        )
    else:
        typer.echo(json_text(found) if as_json else result.summary)
    if not result.refuted:
        raise typer.Exit(FAILED)
