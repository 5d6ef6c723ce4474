"""The report of a run as one self-contained page; and of two runs beside each other."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bntheory.drawing import as_png
from bntheory.errors import UserError
from bntheory.evidence.progress import Progress, silent
from bntheory.experiments.answers import METHOD
from bntheory.experiments.comparisons import QUESTIONS
from bntheory.experiments.folder import RunFolder
from bntheory.experiments.network_runs import NetworkRuns, network_runs
from bntheory.experiments.own import is_own
from bntheory.experiments.preset import Preset, preset_names
from bntheory.files import write_atomic
from bntheory.report.effect_text import effect_text, place_text
from bntheory.report.forest import axis_of, bar
from bntheory.report.html import render
from bntheory.report.margins import margins_panel, violations_panel
from bntheory.report.run_answers import Answer, answers, deciding, seeds_text, shares
from bntheory.report.run_panels import largest_eigenvalue, layer_rows

Json = Mapping[str, Any]
#: Rows of one comparison: the row, its number in verdicts.json or -1, and which run it is of where there are two.
Labelled = Sequence[tuple[Json, int, str]]


def write_report(
    folder: RunFolder, preset: Preset, records: Sequence[Json], verdicts: Json, progress: Progress = silent
) -> Path:
    """Draw the figures into ``figures/`` and write ``report.html``; returns its path."""
    progress(0.0, "drawing the figures")
    networks = network_runs(preset.experiment(), records)
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    shown: dict[str, str] = {}
    drawn = run_figures(networks, records)
    for name, figure in drawn.items():
        progress(0.4 + 0.4 * len(shown) / len(drawn), f"saving the figure {name}")
        png = as_png(figure, palette=128)
        write_atomic(figures / f"{name}.png", png)
        shown[name] = "data:image/png;base64," + base64.b64encode(png).decode()
    progress(0.8, "writing the page")
    page = render(
        "run.html",
        manifest=folder.manifest,
        preset=preset,
        verdicts=verdicts,
        answers=[_answer(a) for a in answers(verdicts)],
        counts=shares(deciding(verdicts)),
        curvature={name: src for name, src in shown.items() if name.startswith("curvature")},
        margins=[shown["identities"], shown["statements"]],
        rows=list(_rows(verdicts, networks)),
        layers={name: layer_rows(runs) for name, runs in networks.items()},
        records=next((p.name for p in sorted(folder.path.glob("records.jsonl*"))), "records.jsonl"),
        command=command_line(folder.manifest),
        method=METHOD,
    )
    path = folder.path / "report.html"
    write_atomic(path, page.encode())
    return path


def run_figures(networks: Mapping[str, NetworkRuns], records: Sequence[Json]) -> dict[str, Any]:
    """The report's matplotlib figures, by the names of their files."""
    drawn = {f"curvature-{name}": largest_eigenvalue(runs) for name, runs in networks.items()}
    return drawn | {"identities": margins_panel(records), "statements": violations_panel(records)}


def write_comparison(runs: Sequence[tuple[str, Json, Json]], path: Path) -> Path:
    """Two runs beside each other, question by question; ``runs``: label, manifest, verdicts of each. Returns the page's path.

    Raises UserError where they have no comparison in common.
    """
    names = [{o["name"] for o in deciding(verdicts)} for _, _, verdicts in runs]
    common = set.intersection(*names)
    if not common:
        raise UserError("report: these runs have no comparison in common, so there is nothing to set beside each other")
    found = []
    for key, question in QUESTIONS.items():
        groups: list[Labelled] = []
        for name in dict.fromkeys(
            o["name"] for o in deciding(runs[0][2]) if o["question"] == key and o["name"] in common
        ):
            rows = [(o, -1, label) for label, _, verdicts in runs for o in deciding(verdicts) if o["name"] == name]
            order = list(dict.fromkeys(o["network"] for o, *_ in rows))
            groups.append(
                sorted(rows, key=lambda row: order.index(row[0]["network"]))
            )  # runs of one network side by side
        if groups:
            found.append({"key": key, "question": question, "sentences": [], "groups": _drawn(groups)})
    page = render("runs.html", runs=runs, answers=found, counts=[shares(deciding(v)) for _, _, v in runs])
    write_atomic(path, page.encode())
    return path


def _answer(answer: Answer) -> dict[str, Any]:
    groups: list[Labelled] = [[(o, row, "") for row, o in rows] for rows in answer.groups]
    return {"key": answer.key, "question": answer.question, "sentences": answer.sentences, "groups": _drawn(groups)}


def _drawn(groups: Sequence[Labelled]) -> list[dict[str, Any]]:
    """The groups of a question with their lines, each on the axis of all effects of the question in the same unit."""
    drawn = []
    for rows in groups:
        first = rows[0][0]
        axis = axis_of([o for every in groups for o, *_ in every if o["unit"] == first["unit"]])
        lines = {"rows": [_line(*row) for row in rows], "axis": axis.svg(), "bars": [bar(o, axis) for o, *_ in rows]}
        drawn.append({"statement": first["statement"], "control": first["control"], **lines})
    return drawn


def _line(o: Json, row: int, label: str) -> dict[str, Any]:
    several = o["place"] not in ("along training", "all steps") and not o["place"].startswith("mean of")
    name = f"{o['network']}, {o['place']}" if several and o["place"] else o["network"]
    note = ""
    if o["outcome"] == "inconclusive":
        note = seeds_text(o)
    elif o["outcome"] == "not comparable":
        note = o["why"]
    return {
        "label": f"{name} · {label}" if label else name,
        "text": "" if o["estimate"] is None else effect_text(o),
        "outcome": o["outcome"],
        "note": note,
        "n": len(o["seeds"]),
        "row": row,
    }


def _rows(verdicts: Json, networks: Mapping[str, NetworkRuns]) -> Iterator[dict[str, Any]]:
    """Every row with its numbers, and for each comparison on a network the addresses of the records behind it, seed by seed."""
    before = None
    for i, o in enumerate(verdicts["outcomes"]):
        group = (o["name"], o["network"])
        values = [] if o["estimate"] is None else zip(o["seeds"], o["estimate"]["values"], strict=True)
        yield {
            **o,
            "row": i,
            "text": effect_text(o),
            "place_text": place_text(o["place"]),
            "values": [(seed, f"{value:.4g}") for seed, value in values],
            "seeds_text": seeds_text(o) if o["outcome"] == "inconclusive" else "",
            "addresses": [] if group == before else list(_addresses(o, networks.get(o["network"]))),
        }
        before = group


def _addresses(o: Json, network: NetworkRuns | None) -> Iterator[tuple[int, str]]:
    if network is None:  # a contrast of two networks: its numbers are those of two other rows
        return
    for seed, run in zip(network.seeds, network.runs, strict=True):
        found = (
            point["addresses"][measure][:8]
            for arm in o["arms"]
            for point in run[arm].points.values()
            for measure in o["measures"]
            if measure in point["addresses"]
        )
        yield seed, " ".join(dict.fromkeys(found))


def command_line(manifest: Json) -> str:
    """The command that repeats the run (data folders, and where a preset of one's own lies, are the reader's)."""
    preset, data = manifest["preset"], manifest["data"]["name"]
    words = ["bntheory compare", f"--preset {preset if preset in preset_names() else f'{preset}.toml'}"]
    words.append("--seeds " + ",".join(map(str, manifest["seeds"])))
    words.append(f"--data {data}")
    if data not in ("fashion-mnist-subset", "fashion-mnist") and not is_own(data):
        words.append("--data-dir FOLDER")
    words.append(f"--device {manifest['device']}")
    if "folded" in manifest:
        words.append("--fold auto")
    return " ".join(words)
