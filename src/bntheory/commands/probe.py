"""``probe``: a user's own model."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from bntheory.commands.common import clear_errors, columns, one_of, plot_to_write
from bntheory.commands.options import Json, Seed, described
from bntheory.commands.progress import show_progress
from bntheory.errors import UserError
from bntheory.report.strict_json import json_text


@clear_errors
@described(
    factory=typer.Argument(
        metavar="MODULE:FACTORY",
        help="A function without arguments that returns model, loss and batch, e.g. my_model:make.",
    ),
    infimum="The least value the loss could have, for the scale-free measures.",
    curvature="Measure curvature; --no-curvature leaves only the layers.",
    dtype="Precision of the measurement: float64, or float32 for large networks.",
    tol=typer.Option(
        help="Relative accuracy of the eigenvalues, by default 1e-6, in float32 1e-2; a coarser one takes fewer products.",
        min=1e-12,
        max=0.5,
    ),
    batches=typer.Option(
        help="Average over the first so many, where the factory returns a list or loader of batches; 0 for all.",
        min=0,
        max=10**9,
    ),
    layers="Only these layers, by name; may be given several times.",
    plot="Also write a figure (.png, .svg or .pdf).",
)
def probe(
    factory: str,
    infimum: float = 0.0,
    seed: Seed = 0,
    curvature: bool = True,
    dtype: str = "float64",
    tol: float | None = None,
    batches: int = 0,
    layers: list[str] | None = None,
    plot: Path | None = None,
    as_json: Json = False,
) -> None:
    """Measure your own model: per layer what normalisation takes off the gradient, per network how smooth the loss is.

    The factory returns (model, loss, batch) with loss(outputs, *targets) a scalar and batch = (inputs, *targets), or a list or
    unshuffled loader of batches. The network is compared with its frozen-statistics twin: same outputs, same loss, but the statistics
    are constants. What differs between the two is due to the dependence of the statistics on the activations, and to nothing else.
    What cannot be measured is left out with its reason. Dropout is held at the numbers of --seed. The model is left as it was.

    Examples:
      bntheory probe my_model:make
      bntheory probe my_model:make --dtype float32 --layers 1 --plot probe.png
    """
    precision = one_of("dtype", dtype, ("float32", "float64"))
    plot_to_write(plot)
    model, loss, batch = _load(factory)
    import torch

    from bntheory.bridge import Objective
    from bntheory.bridge import probe as measure
    from bntheory.bridge.probes.picture import probe_figure, probe_text

    try:
        with show_progress() as progress:
            objective = Objective(model, loss, _first(batch, batches))
            result = measure(
                objective,
                infimum=infimum,
                seed=seed,
                curvature=curvature,
                layers=layers or None,
                dtype=getattr(torch, precision),
                tol=tol,
                progress=progress,
            )
    except (UserError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # of the model or the loss, whose own errors are the user's to see
        raise UserError(f"{factory}: {type(error).__name__}: {error}") from error
    if plot is not None:
        from bntheory.drawing import save_figure

        save_figure(probe_figure(result), plot)
    typer.echo(json_text(result.as_json()) if as_json else probe_text(result, min(80, columns())))


def _first(batch: Any, count: int) -> Any:
    """The first ``count`` batches of several, all for 0; a single one as it is."""
    if count == 0 or isinstance(batch, (tuple, Mapping)):
        return batch
    items = list(itertools.islice(iter(batch), count))
    return items if all(isinstance(item, (tuple, list, Mapping)) for item in items) else batch


def _load(factory: str) -> tuple[Any, Any, Any]:
    module_name, separator, function_name = factory.rpartition(":")
    if not separator or not module_name or not function_name:
        raise UserError(
            f"{factory!r} is not MODULE:FACTORY; for the function make in the file my_model.py write my_model:make"
        )
    place, name = os.getcwd(), module_name.removesuffix(".py")
    if os.path.isabs(name) or name.startswith(".."):  # a file elsewhere
        place, name = os.path.split(os.path.abspath(name))
    sys.path.insert(0, place)
    try:
        module = importlib.import_module(re.sub(r"[\\/]", ".", name).lstrip("."))
    except (Exception, SystemExit) as error:
        raise UserError(
            f"module {module_name!r} does not import: {type(error).__name__}: {error}. It is looked for in this folder and on "
            "Python's path"
        ) from None
    finally:
        sys.path.remove(place)
    function = getattr(module, function_name, None)
    if not callable(function):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(f"{module_name} has no function {function_name!r}; it has {', '.join(names[:12]) or 'none'}")
    try:
        returned = function()
    except (Exception, SystemExit) as error:
        raise UserError(f"{factory} raised {type(error).__name__}: {error}") from None
    if not isinstance(returned, (tuple, list)) or len(returned) != 3:
        raise UserError(f"{factory} returned {type(returned).__name__}; it must return (model, loss, batch)")
    model, loss, batch = returned
    return model, loss, batch
