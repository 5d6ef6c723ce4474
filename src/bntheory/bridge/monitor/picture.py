"""A followed training run as a figure: curvature beside its twins' and the edge of stability, loss, and the split of the layers.

What lives here: showing the rows of a :class:`bntheory.bridge.Monitor`. What does not: measuring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bntheory.drawing import COLOURS, complete, legend_below, new_grid

Rows = Sequence[Mapping[str, Any]]
#: Column, label, colour and line: told apart in grey by the line and its marker.
_CURVATURE = (
    ("lambda_max", "network", COLOURS["batchnorm"], "-", "o"),
    ("lambda_max twin", "frozen twin", COLOURS["twin"], "--", "s"),
    ("lambda_max mean-alive", "twin, only the variance frozen", COLOURS["rescaled"], "-.", "^"),
    ("lambda_max variance-alive", "twin, only the mean frozen", "#CC79A7", ":", "v"),
)
_SHARES = (("share_mean * m", "along 1", "#E69F00", "-", "o"), ("share_y_hat * m", "along y_hat", "#7B4B94", "--", "s"))
_SENTENCE = (
    "the network beside twins whose batch statistics are constants, with the same outputs; below 2/eta steps of gradient descent are stable. "
    "Shares are of the squared norm of the gradient at a layer's output, bands from the least layer to the largest; times m, the number of "
    "entries that a mean is taken over, a random gradient has 1."
)


def monitor_figure(network: Rows, layers: Rows, name: str) -> Any:
    """A matplotlib figure of the rows of a monitor; what was not measured is left out."""
    titles = ["largest Hessian eigenvalue", "loss and gradient", "what layers take off the gradient"]
    figure, (curvature, loss, split) = new_grid(1, 3, titles, width=4.4, height=4.6)
    _curves(curvature, network, _CURVATURE, errors=True)
    _edges(curvature, network)
    _curves(
        loss,
        network,
        (
            ("loss", "loss", COLOURS["standard"], "-", "o"),
            ("gradient_norm", "norm of the gradient", COLOURS["batchnorm"], "--", "s"),
        ),
    )
    for column, label, colour, line, marker in _SHARES:
        by_step: dict[int, list[float]] = {}
        for row in layers:
            if row[column] is not None:
                by_step.setdefault(row["step"], []).append(row[column])
        middle = [{"step": step, column: median(found)} for step, found in by_step.items()]
        _curves(split, middle, ((column, f"{label}, median layer", colour, line, marker),))
        split.fill_between(
            list(by_step),
            [min(found) for found in by_step.values()],
            [max(found) for found in by_step.values()],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    if layers:
        split.axhline(1.0, color=COLOURS["standard"], linestyle=":", label="a random gradient")
    labels = ("eigenvalue", "loss; norm", "share of the square, times m")
    for axes, label in zip((curvature, loss, split), labels, strict=True):
        axes.set_xlabel("training step")
        axes.set_ylabel(label)
        if axes.lines:
            axes.set_yscale("log")
            legend_below(axes)
        else:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
    complete(figure, f"{name}, on one held batch: {_SENTENCE}")
    return figure


def _curves(axes: Any, rows: Rows, curves: Sequence[tuple[str, str, str, str, str]], *, errors: bool = False) -> None:
    for column, label, colour, line, marker in curves:
        known = [row for row in rows if row.get(column) is not None and row[column] > 0]
        if not known:
            continue
        steps, values = [row["step"] for row in known], [row[column] for row in known]
        axes.plot(steps, values, color=colour, linestyle=line, marker=marker, label=label)
        if errors:
            high = [row[f"{column} error"] for row in known]
            # the lower end of a logarithmic axis is no zero
            low = [min(error, 0.99 * value) for error, value in zip(high, values, strict=True)]
            axes.errorbar(steps, values, [low, high], fmt="none", ecolor=colour, capsize=2)


def _edges(axes: Any, rows: Rows) -> None:
    """2/eta along the run, and the edge of the optimiser's own steps where that is another one."""
    known = [row for row in rows if row.get("learning_rate")]
    if not known or not axes.lines:
        return
    steps = [row["step"] for row in known]
    plain = [2 / row["learning_rate"] for row in known]
    axes.plot(steps, plain, color=COLOURS["standard"], linestyle=(0, (1, 1)), linewidth=1.4, label="2/eta")
    edges = [row.get("edge") for row in known]
    if all(e is not None and e > 0 for e in edges) and any(
        abs(e - p) > 1e-9 * p for e, p in zip(edges, plain, strict=True)
    ):
        axes.plot(
            steps,
            edges,
            color=COLOURS["standard"],
            linestyle=(0, (5, 1, 1, 1)),
            linewidth=1.4,
            label="edge of stability with momentum",
        )
