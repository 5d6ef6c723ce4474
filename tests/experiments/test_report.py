"""The report says what the records say.

The oracle is a second reading: numbers are taken out of the HTML by a parser and recomputed here from the records with plain numpy,
without the code that made the page.
"""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import NETWORKS, OWN, SEEDS, identity, make_records, preset

from bntheory.errors import UserError
from bntheory.experiments.answers import failures, run_verdicts
from bntheory.experiments.folder import RunFolder
from bntheory.report.effect_text import effect_text, place_text
from bntheory.report.forest import axis_of, bar
from bntheory.report.run_answers import answers, seeds_text
from bntheory.report.run_page import command_line, write_comparison, write_report

MANIFEST = {
    "preset": "smoke",
    "seeds": list(SEEDS),
    "device": "cpu",
    "device_name": "a processor",
    "data": {"name": "fashion-mnist-subset", "description": "pictures", "train": 10, "test": 5},
    "data_note": "",
    "versions": {"bntheory": "0", "python": "3", "torch": "2", "numpy": "2"},
    "source_revision": "abc",
    "started": "then",
    "preset_content": preset().as_json(),
}


class Page(HTMLParser):
    """Lines of forest plots as (label, text, outcome, link), prose links, ids, and every address that the page would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.lines: list[dict[str, str]] = []
        self.links: list[tuple[str, str]] = []
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self.prose: list[str] = []
        self._into: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {k: v or "" for k, v in attrs}
        if "id" in given:
            self.ids.add(given["id"])
        if tag in ("img", "script", "link", "iframe") and ("src" in given or "href" in given):
            self.loads.append(given.get("src") or given.get("href") or "")
        if tag == "a":
            self.links.append((given.get("href", ""), ""))
            if given.get("class") == "line":
                self.lines.append({"href": given.get("href", ""), "label": "", "text": "", "outcome": ""})
        kind = given.get("class", "").split(" ")[0]
        self._into.append(kind if tag == "span" else tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("img", "meta", "br"):
            while self._into and self._into.pop() in ("img", "meta", "br"):
                pass

    def handle_data(self, data: str) -> None:
        for kind in ("label", "text", "outcome"):
            if kind in self._into and self.lines:
                self.lines[-1][kind] += data


@pytest.fixture(scope="module")
def records() -> list[dict[str, Any]]:
    return make_records()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]) -> str:
    folder = RunFolder(tmp_path_factory.mktemp("run"), MANIFEST)
    return write_report(folder, preset(), records, run_verdicts(preset(), records)).read_text("utf-8")


@pytest.mark.long
def test_the_page_is_self_contained(page: str) -> None:
    found = Page(page)
    assert found.loads
    assert all(x.startswith("data:image/png;base64,") for x in found.loads)
    assert all(base64.b64decode(x.partition(",")[2])[:4] == b"\x89PNG" for x in found.loads)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)


def test_every_deciding_row_has_its_line_with_its_numbers(page: str, records: list[dict[str, Any]]) -> None:
    rows = run_verdicts(preset(), records)["outcomes"]
    lines = {line["href"]: line for line in Page(page).lines}
    assert set(lines) == {f"#row-{i}" for i, o in enumerate(rows) if o["decisive"]}
    for i, o in enumerate(rows):
        if not o["decisive"]:
            continue
        line = lines[f"#row-{i}"]
        assert line["outcome"].split(" (")[0].strip() == o["outcome"]
        assert line["label"].startswith(o["network"])
        if o["estimate"] is not None:
            mean = float(np.mean(o["estimate"]["values"]))
            shown = float(re.findall(r"[-\d.e+]+", line["text"])[0])
            assert shown == pytest.approx(10**mean if o["unit"] == "ratio" else mean, rel=6e-3, abs=6e-3)
        if o["outcome"] == "inconclusive":
            assert "would decide" in line["outcome"]


def test_the_planted_factor_is_on_the_page_from_the_records_alone(page: str, records: list[dict[str, Any]]) -> None:  # fmt: skip
    """Not through the code of comparisons: own over twin, read from the points."""
    logs = {}
    for p in records:
        if p["network"] == "mlp" and p["arm"].startswith("batchnorm") and p["step"] > 0:
            tops = [p["linearity"][of]["top"] for of in ("own", "twin")]
            logs.setdefault((p["seed"], p["step"]), []).append(np.log10(tops[0] / tops[1]))
    value = 10 ** np.mean([np.mean(x) for x in logs.values()])
    assert value == pytest.approx(OWN, rel=0.03)
    line = next(x for x in Page(page).lines if x["label"] == "mlp")
    assert float(re.findall(r"[\d.]+", line["text"])[0]) == pytest.approx(value, rel=6e-3)


def test_every_link_leads_somewhere_and_every_row_names_its_records(page: str) -> None:
    found = Page(page)
    inside = [href[1:] for href, _ in found.links if href.startswith("#")]
    assert inside
    assert set(inside) <= found.ids
    assert 'href="records.jsonl"' in page
    assert re.search(r"<code>0: li[a-z]{2}\d+", page)  # the first digits of an address of seed 0


def test_at_most_three_sentences_a_question(records: list[dict[str, Any]]) -> None:
    found = answers(run_verdicts(preset(), records))
    assert [len(a.sentences) <= 3 for a in found] == [True] * len(found)
    for answer in found:
        for sentence in answer.sentences:
            text = "".join(part.text for part in sentence)
            assert text.endswith(".")
            words = {part.verdict for part in sentence if part.verdict}
            outcomes = {o["outcome"] for rows in answer.groups for _, o in rows}
            assert words <= outcomes


@pytest.mark.long
def test_a_crossing_and_an_untrained_arm_are_told(tmp_path: Path) -> None:
    def change(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if p["arm"] == "rescaled":
            p["training_loss"] = 2.3
        if p["arm"].startswith("batchnorm"):
            p["linearity"]["own"]["top"] *= {5: 10.0, 20: 0.5}.get(p["step"], 1.0)
        return p

    made = make_records(change=change)
    verdicts = run_verdicts(preset(), made)
    text = write_report(RunFolder(tmp_path, MANIFEST), preset(), made, verdicts).read_text("utf-8")
    assert "changes sign along training, a crossing, on mlp (from the start to" in text
    assert "not comparable" in text
    assert "rescaled has not trained" in text


@pytest.mark.parametrize(("untrained", "other"), [("mlp", "smooth"), ("smooth", "mlp")])
def test_a_network_that_cannot_be_compared_says_why_beside_others_with_places(untrained: str, other: str) -> None:
    def change(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if p["network"] == untrained and p["arm"].startswith("standard"):
            p["training_loss"] = 2.3
        return p

    found = answers(run_verdicts(preset(), make_records(change=change)))
    text = "".join(part.text for answer in found for sentence in answer.sentences for part in sentence)
    assert f"{untrained}\u00a0(an arm has not trained)" in text
    assert f"{other}\u00a0(start)" in text
    assert "()" not in text


@pytest.mark.long
def test_a_failed_identity_stands_at_the_top(tmp_path: Path) -> None:
    made = make_records()
    made[0]["identities"] = [identity("theorem-4.1", "hidden0.norm", failing=2, relative=0.5, left=1.5, right=1.0)]
    verdicts = run_verdicts(preset(), made)
    assert verdicts["exit_code"] == 1
    text = write_report(RunFolder(tmp_path, MANIFEST), preset(), made, verdicts).read_text("utf-8")
    assert text.index("does not hold here") < text.index('class="forest"')
    assert "left 1.5, right 1.0" in text
    assert failures(made)[0].startswith("mlp (batchnorm")


def test_marks_tell_outcomes_apart_without_colour() -> None:
    shapes = set()
    base = {"unit": "ratio", "threshold": 0.0, "margin": None, "estimate": {"mean": 0.1, "low": 0.0, "high": 0.2}}
    axis = axis_of([base])
    for outcome in ("supported", "contradicted", "equivalent", "inconclusive"):
        drawn = re.sub(r"#[0-9a-fA-F]{3,6}", "", bar({**base, "outcome": outcome}, axis))
        shapes.add(re.sub(r"[\d.]+", "", drawn.split('stroke-width="2.2"/>')[1]))
    assert len(shapes) == 4


def test_an_axis_holds_what_it_must_and_arrows_say_what_goes_on() -> None:
    far = {"unit": "ratio", "threshold": -0.1, "margin": 0.1, "outcome": "supported", "estimate": {"mean": 1.0, "low": -1.0, "high": 3.5}}  # fmt: skip
    axis = axis_of([far])
    assert axis.low < -1.0 < 1.0 < axis.high < 3.5
    drawn = bar(far, axis)
    assert drawn.count("<path") == 1  # to the right alone
    assert 'stroke-dasharray="3 2"' in drawn
    left, width = (float(x) for x in re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', drawn)[0])
    assert left == pytest.approx(axis.x(-0.2), abs=0.1)  # the margin reaches from the threshold to both sides
    assert left + width == pytest.approx(axis.x(0.0), abs=0.2)
    assert "×1" in axis.svg()
    slopes = axis_of([{**far, "unit": "slope", "estimate": {"mean": -2.0, "low": -3.0, "high": -1.0}}])
    assert slopes.low < -3.0 < 0.0 < slopes.high
    assert 2 <= len(slopes.ticks) <= 7


def test_texts_of_effects() -> None:
    e = {"unit": "ratio", "estimate": {"mean": -0.30103, "low": -0.5, "high": 0.0}}
    assert effect_text(e) == "×0.5 [×0.316, ×1]"
    assert effect_text({**e, "unit": "slope"}) == "-0.301 [-0.5, 0]"
    assert effect_text({"unit": "ratio", "estimate": None, "why": "no"}) == "no"
    short = {"unit": "ratio", "estimate": {"n": 2, "mean": 1.0, "low": None, "high": None}}
    assert "no interval" in effect_text(short)
    assert "fewer than 3 seeds" in effect_text(short)
    tied = {"unit": "", "estimate": {"n": 4, "mean": 0.0, "low": None, "high": None}}
    assert effect_text(tied) == "0 (4 seeds with equal values: no interval)"


def test_a_mean_over_one_step_is_told_as_the_number_at_it() -> None:
    assert place_text("mean of steps 20") == "at step 20"
    for place in ("mean of steps 5, 20", "step 20", "the end", ""):
        assert place_text(place) == place


@pytest.mark.long
def test_the_table_of_all_rows_calls_one_step_a_step(tmp_path: Path) -> None:
    short = [p for p in make_records() if p["step"] in (0, 20)]
    verdicts = run_verdicts(preset(), short)
    assert "mean of steps 20" in {o["place"] for o in verdicts["outcomes"]}
    text = write_report(RunFolder(tmp_path, MANIFEST), preset(), short, verdicts).read_text("utf-8")
    assert ", at step 20<br>" in text
    assert "mean of steps" not in text


@pytest.mark.parametrize(
    ("estimate", "needed", "said"),
    [
        ({"n": 1}, None, "too few seeds have a number"),
        (None, None, "too few seeds have a number"),
        ({"n": 8}, None, "no number of seeds would decide"),
        ({"n": 8}, 1, "1 seed would decide"),
        ({"n": 8}, 30, "30 seeds would decide"),
    ],
)
def test_how_many_seeds_would_decide_is_said_where_it_is_known(estimate: Any, needed: Any, said: str) -> None:
    assert seeds_text({"seeds_needed": needed, "estimate": estimate}).startswith(said)


@pytest.mark.parametrize(
    ("changes", "preset", "data"),
    [
        ({}, "--preset quick ", "--data fashion-mnist-subset "),
        ({"preset": "mine"}, "--preset mine.toml ", "--data fashion-mnist-subset "),
        ({"data": {"name": "cifar10"}}, "--preset quick ", "--data cifar10 --data-dir FOLDER "),
        ({"data": {"name": "mine.py:load"}}, "--preset quick ", "--data mine.py:load --device"),
        ({"folded": {}}, "--preset quick ", "--device cpu --fold auto"),
    ],
)
def test_the_command_of_a_run_repeats_it(changes: Any, preset: str, data: str) -> None:
    manifest = {"preset": "quick", "seeds": [0, 4], "data": {"name": "fashion-mnist-subset"}, "device": "cpu"}
    command = command_line({**manifest, **changes})
    assert preset in command
    assert data in command
    assert "--seeds 0,4 " in command


def test_two_runs_beside_each_other(tmp_path: Path) -> None:
    """Every comparison of both, a line a run; the second run's effect is planted to be another one."""

    def weaker(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if "linearity" in p:
            p["linearity"]["own"]["top"] *= 2
        return p

    runs = [
        (label, MANIFEST, run_verdicts(preset(), make_records(change=change)))
        for label, change in (("small", lambda p, rng: p), ("large", weaker))
    ]
    text = write_comparison(runs, tmp_path / "both.html").read_text("utf-8")
    lines = [x for x in Page(text).lines if x["label"].startswith("mlp ·")][:2]
    assert [x["label"] for x in lines] == ["mlp · small", "mlp · large"]
    small, large = (float(re.findall(r"[\d.]+", x["text"])[0]) for x in lines)
    assert large / small == pytest.approx(2, rel=0.03)
    assert all(n in text for n in NETWORKS)
    nothing = ("none", MANIFEST, {**runs[0][2], "outcomes": []})
    with pytest.raises(UserError, match="no comparison in common"):
        write_comparison([runs[0], nothing], tmp_path / "none.html")
