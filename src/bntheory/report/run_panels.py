"""The panels of a run's report: each draws one comparison of one network from the records, median and range over seeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.drawing import ARM_LABELS, COLOURS, LINES, MARKERS, legend_below, new_panel, plain_numbers
from bntheory.experiments.network_runs import NetworkRuns
from bntheory.experiments.quantities import quantity

#: What is drawn: label and look, the arm whose records hold it, and of which twin of it.
_CURVES = (
    ("batchnorm", "batchnorm", "own"),
    ("twin", "batchnorm", "twin"),
    ("mean-alive", "batchnorm", "mean-alive"),
    ("variance-alive", "batchnorm", "variance-alive"),
    ("standard", "standard", "own"),
)


def largest_eigenvalue(network: NetworkRuns) -> Any:
    """lambda_max of batch norm, of all its twins and without it along training at the common learning rate, and the line 2/eta."""
    figure, axes = new_panel(f"{network.network}: λ_max, learning rate {network.rate:g}")
    for look, arm, of in _CURVES:
        found: dict[int, list[float]] = {}
        for run in network.runs:
            for step, point in run[arm].points.items():
                top = quantity(point, "top", of)
                if top is not None and top > 0:
                    found.setdefault(step, []).append(top)
        steps = sorted(found)
        if not steps:
            continue
        axes.plot(
            steps,
            [float(np.median(found[s])) for s in steps],
            color=COLOURS[look],
            linestyle=LINES[look],
            marker=MARKERS[look],
            label=ARM_LABELS[look],
        )
        low, high = ([end(found[s]) for s in steps] for end in (min, max))
        axes.fill_between(steps, low, high, color=COLOURS[look], alpha=0.12, linewidth=0)
    axes.axhline(2 / network.rate, color="black", linewidth=1.2, label="2/η, the edge of stability")
    axes.set_xlabel("training step")
    axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    plain_numbers(axes.yaxis)
    legend_below(axes, columns=2)
    return figure


def layer_rows(network: NetworkRuns) -> list[dict[str, Any]]:
    """For each layer after the last step at which they were measured: medians over seeds, shares as multiples of chance (1/m)."""
    ends = []
    for run in network.runs:
        measured = [point for point in run["batchnorm"].points.values() if point["layers"]]
        if measured:
            ends.append(measured[-1]["layers"])
    rows = []
    for layers in zip(*ends, strict=True):
        row: dict[str, Any] = {key: layers[0][key] for key in ("name", "m", "units")}
        for key in ("scaling", "share_mean", "share_y_hat", "left"):
            known = [layer["split"][key] for layer in layers if layer["split"][key] is not None]
            row[key] = float(np.median(known)) if known else None
        rows.append(row)
    return rows
