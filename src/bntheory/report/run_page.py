"""The report of a run: figures as PNG files, and one self-contained HTML page with them inside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bntheory.evidence.intervals import summarise
from bntheory.experiments.folder import RunFolder
from bntheory.experiments.preset import Preset
from bntheory.experiments.quantities import Runs
from bntheory.experiments.store import write_atomic
from bntheory.report.effect_text import effect_text
from bntheory.report.html import render
from bntheory.report.run_answers import answers
from bntheory.report.run_figures import draw_groups
from bntheory.report.run_panels import batch_norm_steps, layer_names, split_values

__all__ = ["write_report"]

Json = Mapping[str, Any]


def write_report(folder: RunFolder, preset: Preset, records: Sequence[Json], verdicts: Json) -> Path:
    """Draw the figures into ``figures/`` and write ``report.html``; returns its path."""
    networks = [n.name for n in preset.networks]
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    groups = []
    for group in draw_groups(records, networks, preset.seeds, verdicts):
        for panel in group.panels:
            write_atomic(figures / f"{panel.name}.png", panel.png)
        shown = [{"alt": p.alt, "src": _inline(p.png), "name": p.name} for p in group.panels]
        groups.append(
            {
                "key": group.key,
                "title": group.title,
                "shows": group.shows,
                "not_shows": group.not_shows,
                "panels": shown,
            }
        )
    page = render(
        "run.html",
        manifest=folder.manifest,
        preset=preset,
        verdicts=verdicts,
        groups=groups,
        answers=answers(verdicts),
        comparisons=comparison_rows(verdicts, networks),
        networks=networks,
        layers=list(layer_tables(Runs(records), networks)),
        command=command_line(folder.manifest),
    )
    path = folder.path / "report.html"
    write_atomic(path, page.encode())
    return path


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def comparison_rows(verdicts: Json, networks: Sequence[str]) -> list[dict[str, Any]]:
    """One row a question, one cell a network: the effect, its interval, the outcome."""
    rows: dict[str, dict[str, Any]] = {}
    for o in verdicts["outcomes"]:
        row = rows.setdefault(
            o["name"],
            {"question": o["question"], "control": o["control"], "claims": o["claims"], "cells": {}},
        )
        row["cells"][o["network"]] = {"outcome": o["outcome"], "text": effect_text(o), "n": len(o["seeds"])}
    return [{**row, "cells": [row["cells"].get(n) for n in networks]} for row in rows.values()]


def layer_tables(runs: Runs, networks: Iterable[str]) -> Iterable[dict[str, Any]]:
    """For each network the layers at the last measured step, medians over seeds."""
    for network in networks:
        steps = batch_norm_steps(runs, network)
        if not steps:
            continue
        step, rows = steps[-1], []
        for i, name in enumerate(layer_names(runs, network)):
            layers = [r["layers"][i] for r in runs.of(network) if r["step"] == step and r["layers"]]
            parts = {
                key: _median(split_values(runs, network, i, step, key))
                for key in ("scaling", "share_mean", "share_y_hat", "left")
            }
            affine = {
                f"affine_{key}": _median(split_values(runs, network, i, step, key, "affine_split"))
                for key in ("share_mean", "share_y_hat")
            }
            rows.append(
                {
                    "name": name,
                    "m": layers[0]["m"],
                    "units": layers[0]["units"],
                    "sigma": _median([x["sigma"][2] for x in layers]),
                    "gamma": _median([x["gamma"][2] for x in layers]),
                    **parts,
                    **affine,
                }
            )
        yield {"network": network, "step": step, "rows": rows}


def _median(values: Sequence[float]) -> float | None:
    return summarise(values).median if values else None


def command_line(manifest: Json) -> str:
    """The command that repeats the run (data folders are the reader's own)."""
    words = ["bntheory compare", f"--preset {manifest['preset']}"]
    words.append("--seeds " + ",".join(map(str, manifest["seeds"])))
    words.append(f"--data {manifest['data']['name']}")
    if manifest["data"]["name"] not in ("fashion-mnist-subset", "fashion-mnist"):
        words.append("--data-dir FOLDER")
    words.append(f"--device {manifest['device']}")
    return " ".join(words)
