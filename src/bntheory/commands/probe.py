"""``probe``: a user's own model."""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Annotated, Any

import typer

from bntheory.commands.common import clear_errors
from bntheory.commands.compare import show_progress
from bntheory.errors import UserError

__all__ = ["probe"]


@clear_errors
def probe(
    factory: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FACTORY",
            help="A function without arguments that returns model, loss and batch, e.g. my_model:make.",
        ),
    ],
    infimum: Annotated[
        float, typer.Option(help="The least value the loss could have, for the scale-free measures.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of the eigenvalue solver's start.", min=0)] = 0,
    curvature: Annotated[
        bool, typer.Option(help="Measure curvature; --no-curvature leaves only the layers.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure your own model: per layer what normalisation takes off the gradient, per network how smooth the loss is.

    The factory returns (model, loss, batch) with loss(outputs, *targets) a scalar and batch = (inputs, *targets). The network is compared
    with its frozen-statistics twin: same outputs, same loss, but the statistics are constants. What differs between the two is due to
    the dependence of the statistics on the activations, and to nothing else. The model is left as it was.
    """
    model, loss, batch = _load(factory)
    from bntheory.bridge.probes.probe import probe as probe_model

    try:
        with show_progress() as progress:
            result = probe_model(
                model, loss, batch, infimum=infimum, seed=seed, curvature=curvature, progress=progress
            )
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{factory}: {error}") from error
    if as_json:
        typer.echo(json.dumps(result.as_json(), indent=2))
        return
    _print(result)


def _load(factory: str) -> tuple[Any, Any, Any]:
    module_name, separator, function_name = factory.partition(":")
    if not separator or not module_name or not function_name:
        raise UserError(
            f"{factory!r} is not MODULE:FACTORY; write for example my_model:make (the file my_model.py, its function make)"
        )
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name.removesuffix(".py").replace(os.sep, "."))
    except Exception as error:
        raise UserError(
            f"module {module_name!r} does not import: {type(error).__name__}: {error}. It is looked for in this folder and on "
            "Python's path"
        ) from None
    finally:
        sys.path.remove(os.getcwd())
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(
            f"{module_name} has no function {function_name!r}; it has {', '.join(names[:12]) or 'none'}"
        )
    try:
        returned = function()
    except Exception as error:
        raise UserError(f"{factory} raised {type(error).__name__}: {error}") from None
    if not isinstance(returned, (tuple, list)) or len(returned) != 3:
        raise UserError(f"{factory} returned {type(returned).__name__}; it must return (model, loss, batch)")
    model, loss, batch = returned
    import torch

    if not isinstance(model, torch.nn.Module):
        raise UserError(
            f"{factory} returned a {type(model).__name__} as its model; it must be a torch.nn.Module"
        )
    if not callable(loss):
        raise UserError(
            f"{factory} returned a {type(loss).__name__} as its loss; it must be a function loss(outputs, *targets)"
        )
    if not isinstance(batch, (tuple, list)) or not batch:
        raise UserError(
            f"{factory} returned a {type(batch).__name__} as its batch; it must be (inputs, *targets)"
        )
    return model, loss, batch


def _print(result: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    table = Table(title="What each layer does to the gradient that passes through it", title_justify="left")
    for heading in (
        "layer",
        "kind",
        "units",
        "m",
        "|gamma|/sigma",
        "taken off along 1",
        "along y_hat",
        "left",
        "against theory",
    ):
        table.add_column(heading, justify="left" if heading in ("layer", "kind") else "right")
    for x in result.layers:
        verdict = f"{x.residual:.1e} {'<=' if x.residual <= x.tolerance else '> !'} {x.tolerance:.1e}"
        table.add_row(
            x.name,
            x.kind,
            str(x.units),
            str(x.m),
            f"{x.scaling:.3g}",
            f"{x.share_mean:.2%}",
            f"{x.share_y_hat:.2%}",
            f"{x.left:.2%}",
            verdict,
        )
    console.print(table)
    table = Table(title=f"The loss in all {result.parameters} parameters", title_justify="left")
    table.add_column("measure")
    table.add_column("the network", justify="right")
    if result.twin is not None:
        table.add_column("its frozen twin", justify="right")
    rows = (
        ("loss", "loss"),
        ("gradient norm", "gradient_norm"),
        ("largest Hessian eigenvalue", "lambda_max"),
        ("relative curvature (scale-free)", "relative_curvature"),
        ("linearity error of a 10 % step (scale-free)", "linearity_error"),
        ("trust fraction (scale-free)", "trust_fraction"),
        ("gradient cosine after a 10 % step (scale-free)", "gradient_cosine"),
    )
    for title, name in rows:
        cells = [f"{getattr(side, name):.6g}" for side in (result.network, result.twin) if side is not None]
        table.add_row(title, *cells)
    console.print(table)
    if result.twin is not None and result.twin.lambda_max > 0:
        ratio = result.network.lambda_max / result.twin.lambda_max
        word = "smoother" if ratio < 1 else "rougher"
        console.print(
            f"At this point the dependence of the statistics on the activations makes the loss {word}: the largest eigenvalue is "
            f"{ratio:.3g} times the twin's. Both have the same outputs, so no scaling explains this."
        )
