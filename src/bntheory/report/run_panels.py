"""The panels of a run's report: each draws one comparison of one network from the records, median and range over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bntheory.evidence.intervals import summarise
from bntheory.experiments.quantities import Runs, quantity
from bntheory.report.style import ARM_LABELS, COLOURS, LINES, MARKERS, PARTS, new_panel

__all__ = ["Series", "alongside", "band", "depth", "over_steps", "scaling_by_depth", "shares_over_steps"]

Json = Mapping[str, Any]
Read = Callable[[Json], float | None]
ARMS = ("batchnorm", "twin", "standard", "rescaled")


@dataclass(frozen=True)
class Series:
    """A quantity over steps: median, smallest and largest over the seeds that have it."""

    steps: list[int]
    median: list[float]
    low: list[float]
    high: list[float]


def series(runs: Runs, network: str, seeds: Iterable[int], arm: str, read: Read) -> Series:
    """Collect ``read`` of the arm's measurements over seeds."""
    found: dict[int, list[float]] = {}
    for seed in seeds:
        for step, point in runs.arms(network, seed).get(arm, {}).items():
            value = read(point)
            if value is not None and np.isfinite(value):
                found.setdefault(step, []).append(float(value))
    steps = sorted(found)
    rows = [summarise(found[s]) for s in steps]
    return Series(
        steps,
        [r.median for r in rows],
        [min(found[s]) for s in steps],
        [max(found[s]) for s in steps],
    )


def _draw(axes: Any, s: Series, arm: str, label: str | None = None) -> None:
    if not s.steps:
        return
    axes.plot(
        s.steps,
        s.median,
        color=COLOURS[arm],
        linestyle=LINES[arm],
        marker=MARKERS[arm],
        label=ARM_LABELS[arm] if label is None else label,
    )
    axes.fill_between(s.steps, s.low, s.high, color=COLOURS[arm], alpha=0.18, linewidth=0)


def _finish(axes: Any, *, ylabel: str, log: bool = False, legend: bool = True) -> None:
    axes.set_xlabel("training step")
    axes.set_ylabel(ylabel)
    if log and any(np.any(np.asarray(line.get_ydata()) > 0) for line in axes.get_lines()):
        axes.set_yscale("log")
        _plain_log_ticks(axes)
    if legend and axes.get_legend_handles_labels()[0]:
        axes.legend()


def over_steps(
    runs: Runs,
    network: str,
    seeds: Sequence[int],
    name: str | Read,
    *,
    title: str,
    ylabel: str,
    arms: Sequence[str] = ARMS,
    log: bool = True,
) -> Any:
    """A quantity of each arm over training: median line, band from the smallest seed to the largest."""
    figure, axes = new_panel(title)
    read: Read = (lambda p: quantity(p, name)) if isinstance(name, str) else name
    for arm in arms:
        _draw(axes, series(runs, network, seeds, arm, read), arm)
    _finish(axes, ylabel=ylabel, log=log)
    return figure


def alongside(runs: Runs, network: str, seeds: Sequence[int], *, title: str, names: Mapping[str, str]) -> Any:
    """Batch norm over its frozen twin at the same point, paired within each seed; one is "no effect beyond scaling"."""
    figure, axes = new_panel(title)
    colours = ["#0072B2", "#CC79A7", "#009E73", "#D55E00"]
    for (name, label), colour in zip(names.items(), colours, strict=False):
        found: dict[int, list[float]] = {}
        for seed in seeds:
            arms = runs.arms(network, seed)
            for step, point in arms.get("batchnorm", {}).items():
                a = quantity(point, name)
                b = quantity(arms["twin"][step], name) if step in arms.get("twin", {}) else None
                if a is not None and b is not None and a > 0 and b > 0:
                    found.setdefault(step, []).append(a / b)
        if found:
            steps = sorted(found)
            axes.plot(steps, [float(np.median(found[s])) for s in steps], "o-", color=colour, label=label)
            axes.fill_between(
                steps,
                [min(found[s]) for s in steps],
                [max(found[s]) for s in steps],
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
    axes.axhline(1, color="black", linewidth=1)
    axes.annotate(
        "no effect beyond scaling",
        (0.99, 1),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        ha="right",
    )
    _finish(axes, ylabel="batch norm / frozen twin", log=True, legend=False)
    if axes.get_legend_handles_labels()[0]:  # under the axes, since the curves may lie anywhere in them
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _plain_log_ticks(axes: Any) -> None:
    """Plain numbers on a logarithmic axis, with ticks between the powers of ten where it spans little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_ylim()
    if axes.get_yscale() != "log" or not 0 < low < high:
        return
    decades = float(np.log10(high / low))
    subs = (1, 1.5, 2, 3, 5, 7) if decades < 0.8 else (1, 2, 5) if decades < 2.5 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    if low >= 1e-4 and high <= 1e5:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def band(
    runs: Runs,
    network: str,
    seeds: Sequence[int],
    *,
    low: str,
    high: str,
    title: str,
    ylabel: str,
    arms: Sequence[str] = ("standard", "rescaled", "batchnorm"),
    log: bool = True,
) -> Any:
    """Santurkar's bands: at each step the range that a quantity covers along the gradient, medians of its ends over seeds."""
    figure, axes = new_panel(title)
    for arm in arms:
        ends = [series(runs, network, seeds, arm, _reader(key)) for key in (low, high)]
        if not ends[0].steps:
            continue
        axes.fill_between(
            ends[0].steps,
            ends[0].median,
            ends[1].median,
            color=COLOURS[arm],
            alpha=0.25,
            label=ARM_LABELS[arm],
            linewidth=0,
        )
        for end in ends:
            axes.plot(end.steps, end.median, color=COLOURS[arm], linestyle=LINES[arm], linewidth=1)
    _finish(axes, ylabel=ylabel, log=log)
    return figure


def _reader(key: str) -> Read:
    def read(point: Json) -> float | None:
        along = point.get("along")
        return None if along is None else along[key]

    return read


# -- layers ---------------------------------------------------------------------------------------------------------


def layer_names(runs: Runs, network: str) -> list[str]:
    """The normalisation layers in order."""
    for r in runs.of(network):
        if r["layers"]:
            return [layer["name"] for layer in r["layers"]]
    return []


def split_values(
    runs: Runs, network: str, layer: int, step: int, key: str, split: str = "split"
) -> list[float]:
    """A part of one layer's split at one step, one value a seed."""
    values = []
    for r in runs.of(network):
        if r["arm"] == "batchnorm" and r["step"] == step and r["layers"]:
            value = r["layers"][layer].get(split, {}).get(key)
            if value is not None:
                values.append(float(value))
    return values


def batch_norm_steps(runs: Runs, network: str) -> list[int]:
    """The steps at which batch norm's layers were measured."""
    return sorted({r["step"] for r in runs.of(network) if r["layers"]})


def depth(runs: Runs, network: str, step: int, *, title: str) -> Any:
    """What the mean and y_hat take off the scaled gradient's squared norm, layer by layer; the rest passes through."""
    names = layer_names(runs, network)
    figure, axes = new_panel(title)
    x = np.arange(len(names))
    bottom = np.zeros(len(names))
    for key, part, label in (
        ("share_y_hat", "y_hat", "taken by ŷ"),
        ("share_mean", "mean", "taken by the mean"),
    ):
        found = [split_values(runs, network, i, step, key) for i in range(len(names))]
        median = np.array([100 * float(np.median(values)) if values else 0.0 for values in found])
        axes.bar(x, median, bottom=bottom, color=PARTS[part], label=label, width=0.8)
        bottom += median
    for place, total in zip(x, bottom, strict=True):
        if len(names) <= 14 and total > 0.03 * bottom.max():
            axes.annotate(f"{total:.2g} %", (place, total), ha="center", va="bottom", fontsize=7.5)
    _layer_axis(axes, names)
    axes.set_ylim(0, max(float(bottom.max(initial=0)) * 1.35, 1e-6))
    axes.set_ylabel("% of (γ²/σ²)‖g‖²")
    axes.legend(loc="upper left")
    axes.grid(axis="x", visible=False)
    return figure


def scaling_by_depth(runs: Runs, network: str, steps: Sequence[int], *, title: str) -> Any:
    """The factor γ²/σ² of each layer (weighted by ‖g‖²) at the first and the last measured step."""
    names = layer_names(runs, network)
    figure, axes = new_panel(title)
    for step, colour, offset in zip(steps, ("#9ca3af", "#0072B2"), (-0.12, 0.12), strict=False):
        for i in range(len(names)):
            values = split_values(runs, network, i, step, "scaling")
            if values:
                axes.plot([i + offset] * 2, [min(values), max(values)], color=colour, linewidth=3, alpha=0.4)
                axes.plot(
                    [i + offset],
                    [float(np.median(values))],
                    "o",
                    color=colour,
                    label=f"step {step}" if i == 0 else None,
                )
    axes.set_yscale("log")
    axes.axhline(1, color="black", linewidth=1)
    _layer_axis(axes, names)
    axes.set_ylabel("scaling γ²/σ²")
    axes.margins(y=0.18)
    axes.legend(loc="best")
    _plain_log_ticks(axes)
    return figure


def _layer_axis(axes: Any, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), [str(i + 1) for i in range(len(names))])
    if len(names) > 14:
        axes.set_xticks(range(0, len(names), 3), [str(i + 1) for i in range(0, len(names), 3)])
    axes.set_xlabel("normalisation layer, from input to output")


def shares_over_steps(runs: Runs, network: str, seeds: Sequence[int], *, title: str) -> Any:
    """Mean over layers of the two shares, over training."""
    figure, axes = new_panel(title)
    for key, part, label in (
        ("share_y_hat", "y_hat", "taken by ŷ"),
        ("share_mean", "mean", "taken by the mean"),
    ):

        def read(point: Json, key: str = key) -> float | None:
            values = [
                layer["split"][key] for layer in point.get("layers", ()) if layer["split"][key] is not None
            ]
            return float(np.mean(values)) if values else None

        s = series(runs, network, seeds, "batchnorm", read)
        axes.plot(s.steps, s.median, "o-", color=PARTS[part], label=label)
        axes.fill_between(s.steps, s.low, s.high, color=PARTS[part], alpha=0.25, linewidth=0)
    axes.set_ylim(bottom=0)
    _finish(axes, ylabel="share of (γ²/σ²)‖g‖², mean over layers")
    return figure
