"""Two panels over the whole run: how close identities come to their tolerance, and how often printed inequalities fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bntheory.bridge.probes.identities import IDENTITIES, Identity
from bntheory.drawing import legend_below, new_panel
from bntheory.experiments.answers import STATEMENTS

Json = Mapping[str, Any]
_FLOOR = 1e-9
#: The looks of networks: the hatch tells them apart in grey.
_NETWORKS = (("#0072B2", ""), ("#E69F00", "//"), ("#009E73", ".."), ("#CC79A7", "xx"))


def margins_panel(records: Sequence[Json]) -> Any:
    """One dot for each layer, step and seed; the worst unit of each."""
    figure, axes = new_panel("residual / tolerance", height=4.0)
    found: dict[str, list[float]] = {name: [] for name in IDENTITIES}
    for record in records:
        for item in record["identities"]:
            found[item["name"]].append(Identity(**item).margin)
    names = [name for name in reversed(IDENTITIES) if found[name]]
    rng = np.random.default_rng(0)  # spreads dots that would hide each other; moves them sideways only
    for row, name in enumerate(names):
        x = np.clip(found[name], _FLOOR, 1e9)
        y = row + rng.uniform(-0.25, 0.25, len(x))
        good = np.asarray(found[name]) <= 1
        axes.plot(x[good], y[good], ".", color="#0072B2", alpha=0.4, markersize=3.5)
        axes.plot(x[~good], y[~good], "x", color="#b91c1c", markersize=7)
    axes.set_yticks(range(len(names)), names, fontsize=8.5)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1.2)
    axes.set_xlim(_FLOOR / 2, max(10, axes.get_xlim()[1]))
    axes.set_xlabel(f"share of the tolerance (below {_FLOOR:g} drawn there)")
    return figure


def violations_panel(records: Sequence[Json]) -> Any:
    """Bars: the share of measured units on which each printed inequality fails, one a network."""
    figure, axes = new_panel("printed inequalities that fail", height=4.0)
    networks = list(dict.fromkeys(r["network"] for r in records))
    labels = ["4.1 with 1/√m", "4.1 with 1/m", "4.2 first", "4.2 second"]
    width = 0.8 / max(len(networks), 1)
    for column, network in enumerate(networks):
        shares = []
        for _, _, place, key in STATEMENTS:
            checked = violated = 0
            for r in records:
                for layer in (r.get(place) or ()) if r["network"] == network else ():
                    found = layer["theorem_4_1"][key] if place == "layers" else layer[key]
                    if found is not None:
                        checked, violated = checked + found["checked"], violated + found["violated"]
            # of none nothing is drawn: 0 would be a finding
            shares.append(100 * violated / checked if checked else np.nan)
        x = np.arange(len(STATEMENTS)) + (column - (len(networks) - 1) / 2) * width
        colour, hatch = _NETWORKS[column % len(_NETWORKS)]
        bars = axes.bar(x, shares, width * 0.9, color=colour, hatch=hatch, edgecolor="white", label=network)
        axes.bar_label(bars, [f"{s:.0f}" if s >= 1 or s == 0 else f"{s:.1f}" for s in shares], fontsize=8)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_ylim(0, 112)
    axes.set_ylabel("units that break it, %")
    axes.grid(axis="x", visible=False)
    if networks:
        legend_below(axes, columns=3)
    return figure
