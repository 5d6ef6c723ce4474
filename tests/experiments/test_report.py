"""The report says what the records say.

The oracle is a second reading: numbers are taken out of the HTML by a parser and recomputed here from the records with plain
numpy, without the code that made the page.
"""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up import LAYERS, NETWORKS, SEEDS, identity, make_records

from bntheory.experiments.answers import failures, run_verdicts
from bntheory.experiments.folder import RunFolder
from bntheory.experiments.preset import load_preset, preset_from_json
from bntheory.report.effect_text import effect_text
from bntheory.report.run_page import write_report


class Page(HTMLParser):
    """Tables as lists of rows of texts, and every address that the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.loads: list[str] = []
        self.text = ""
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("img", "script", "link", "iframe"):
            self.loads.append(given.get("src") or given.get("href") or "")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open:
            self.tables[-1][-1][-1] += data


def _preset():  # type: ignore[no-untyped-def]
    content = load_preset("smoke").as_json()
    content["networks"] = [{"name": n, "kind": "mlp", "options": {}} for n in NETWORKS]
    return preset_from_json({**content, "seeds": list(SEEDS)})


MANIFEST = {
    "preset": "smoke",
    "seeds": list(SEEDS),
    "device": "cpu",
    "device_name": "a processor",
    "data": {"name": "fashion-mnist-subset", "description": "pictures", "train": 10, "test": 5},
    "data_note": "CIFAR-10, JPEG-recompressed & more",
    "versions": {"bntheory": "1", "python": "3", "torch": "2", "numpy": "2"},
    "source_revision": None,
    "code": {"training": "abc"},
    "started": "2026-01-01",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Path, list[dict[str, object]]]:
    folder = RunFolder(tmp_path_factory.mktemp("report"), MANIFEST)
    records = make_records()
    for record in records:  # every identity must have been checked
        if record["arm"] == "batchnorm":
            names = (
                "input-gradient-float32",
                "input-hessian",
                "beta-gradient",
                "gamma-gradient",
                "affine-split",
            )
            record["identities"] += [
                identity(n, LAYERS[0]) for n in (*names, "theorem-4.2-exact", "twin-loss")
            ]
    verdicts = run_verdicts(_preset(), records)
    assert verdicts["passed"]
    path = write_report(folder, _preset(), records, verdicts)
    return Page(path.read_text()), folder.path, records


def test_the_page_loads_nothing_from_elsewhere(report) -> None:  # type: ignore[no-untyped-def]
    page, folder, _ = report
    assert page.loads
    assert all(address.startswith("data:image/png;base64,") for address in page.loads)
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]*", "", (folder / "report.html").read_text())
    assert not re.search(r"(https?:)?//[a-z]|url\(|@import", text)
    inside = {base64.b64decode(address.partition(",")[2]) for address in page.loads}
    on_disk = {path.read_bytes() for path in (folder / "figures").glob("*.png")}
    assert inside == on_disk


def test_every_figure_says_what_it_shows_and_what_not(report) -> None:  # type: ignore[no-untyped-def]
    page, _, _ = report
    assert page.text.count("Shows:") == page.text.count("Does not show:") == 6


def test_comparisons_are_those_of_the_records(report) -> None:  # type: ignore[no-untyped-def]
    page, _, records = report
    row = next(
        r for r in page.tables[0] if r[0].startswith("Batch norm lowers the largest Hessian eigenvalue")
    )
    for column, network in enumerate(NETWORKS):
        means = []
        for seed in SEEDS:
            ratios = [
                np.log10(r["curvature"]["top"] / r["twin"]["curvature"]["top"])
                for r in records
                if r["network"] == network and r["seed"] == seed and r["arm"] == "batchnorm" and r["step"] > 0
            ]
            means.append(np.mean(ratios))
        printed = [float(x) for x in re.findall(r"×([\d.]+)", row[2 + column])]
        half = 4.302653 * np.std(means, ddof=1) / np.sqrt(3)
        expected = [10 ** (np.mean(means) + d) for d in (0, -half, half)]
        assert printed == pytest.approx(expected, rel=6e-3)  # three digits are printed
        assert "supported" in row[2 + column]


def test_layer_medians_are_those_of_the_records(report) -> None:  # type: ignore[no-untyped-def]
    page, _, records = report
    table = page.tables[-1]  # the second network
    for i, name in enumerate(LAYERS):
        row = next(r for r in table if r[0] == name)
        values = [
            r["layers"][i]["split"]["share_y_hat"]
            for r in records
            if r["network"] == NETWORKS[1] and r["step"] == 40 and r["layers"]
        ]
        assert float(row[8].removesuffix(" %")) == pytest.approx(100 * np.median(values), rel=6e-3)


def test_counts_of_printed_statements(report) -> None:  # type: ignore[no-untyped-def]
    page, _, records = report
    layers = [layer for r in records for layer in r["layers"]]
    checked = sum(x["theorem_4_1"]["neurips"]["checked"] for x in layers)
    violated = sum(x["theorem_4_1"]["neurips"]["violated"] for x in layers)
    row = next(r for t in page.tables for r in t if r[0].startswith("santurkar2018.theorem-4.1.neurips"))
    assert row[1] == str(checked)
    assert row[2].startswith(f"{violated} (")


def test_the_users_note_is_shown_and_escaped(report) -> None:  # type: ignore[no-untyped-def]
    page, folder, _ = report
    assert "CIFAR-10, JPEG-recompressed & more" in page.text
    assert "JPEG-recompressed &amp; more" in (folder / "report.html").read_text()


def test_failures_and_missing_checks_do_not_pass() -> None:
    records = make_records()
    verdicts = run_verdicts(_preset(), records)  # some identities were never checked
    assert not verdicts["passed"]
    assert verdicts["exit_code"] == 2  # nothing failed, and what was not checked has not passed
    assert verdicts["identities"]["input-hessian"]["checks"] == 0
    records[0]["identities"].append(
        identity("input-gradient", "hidden1.norm", failing=1, relative=1e-3, left=2.0, right=1.0)
    )
    assert run_verdicts(_preset(), records)["exit_code"] == 1
    said = failures(records)
    assert len(said) == 1
    assert "mlp (batchnorm, seed 0, step 0), layer hidden1.norm, channel 3" in said[0]
    assert "left 2, right 1" in said[0]


@pytest.mark.parametrize(
    ("estimate", "unit", "text"),
    [
        (None, "ratio", "not measured"),
        ({"mean": -1.0, "low": None, "high": None}, "ratio", "×0.1 (fewer than 3 seeds: no interval)"),
        ({"mean": 0.0, "low": -1.0, "high": 1.0}, "ratio", "×1 [×0.1, ×10]"),
        ({"mean": 0.0, "low": -400.0, "high": 400.0}, "ratio", "×1 [×0, ×∞]"),
        ({"mean": 0.125, "low": 0.1, "high": 0.15}, "share", "12.5 % [10 %, 15 %]"),
    ],
)
def test_effects_as_text(estimate: dict[str, float] | None, unit: str, text: str) -> None:
    assert effect_text({"estimate": estimate, "unit": unit}) == text
