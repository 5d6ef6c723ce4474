"""The recorded runs are whole, follow from their own records, and the README quotes them rightly.

Two independent readings: verdicts are computed again from the stored records by the present code, and the numbers in the README are
held against the stored verdicts by regular expressions and arithmetic, without that code.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from bntheory.claims import registry
from bntheory.experiments.answers import run_verdicts
from bntheory.experiments.experiment import freshest, missing, needed
from bntheory.experiments.manifest import conditions_of
from bntheory.experiments.preset import preset_from_json
from bntheory.experiments.quantities import merged
from bntheory.experiments.store import Store
from bntheory.judges.experiments import (
    archive_of_checkout,
    asked_at,
    judge_experiments,
    judge_recorded,
    study_at,
)

ROOT = Path(__file__).parents[2]
RUN = ROOT / "validation" / "recorded" / "quick-cpu"


def _json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RUN / name).read_text("utf-8"))
    return content


def _records() -> list[dict[str, Any]]:
    """Its points; every line of the file is believed, and nothing is missing."""
    manifest = _json("manifest.json")
    asked = list(needed(preset_from_json(manifest["preset_content"]).experiment(), conditions_of(manifest)))
    contents = Store(RUN).read()
    assert contents.faults == ()
    found = freshest(asked, contents.versions)
    assert missing(asked, found) == []
    return merged(asked, found)


def _assert_same(a: Any, b: Any, where: str = "verdicts") -> None:
    if isinstance(a, float) and isinstance(b, float):
        assert math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            _assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            _assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where


def test_the_run_is_whole() -> None:
    manifest, verdicts = _json("manifest.json"), _json("verdicts.json")
    preset = preset_from_json(manifest["preset_content"])
    assert preset.sha256 == manifest["preset_sha256"]
    assert len(_records()) == 3 * len(preset.networks) * len(preset.seeds) * len(preset.measure.at)
    assert verdicts["passed"]
    assert "+changes" not in manifest["source_revision"]


def test_verdicts_follow_from_the_records() -> None:
    preset = preset_from_json(_json("manifest.json")["preset_content"])
    again = json.loads(json.dumps(run_verdicts(preset, _records())))
    _assert_same({**again, "skipped_lines": []}, _json("verdicts.json"))


def test_the_figures_are_those_of_the_page() -> None:
    page = (RUN / "report.html").read_text("utf-8")
    inside = {
        hashlib.sha256(base64.b64decode(x)).digest() for x in re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    }
    assert inside == {hashlib.sha256(p.read_bytes()).digest() for p in (RUN / "figures").glob("*.png")}


def test_no_folder_of_a_machine_is_named() -> None:
    text = "".join((RUN / n).read_text("utf-8") for n in ("manifest.json", "verdicts.json", "report.html"))
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text) + json.dumps(_records())
    assert not re.search(r"(?<![\w.<])/(home|root|tmp|usr|var|work|Users|mnt|opt)/", text)


@pytest.mark.parametrize("name", ["top-eigenvalue.twin", "relative-curvature.twin"])
def test_the_readme_quotes_the_run(name: str) -> None:
    """Factors and intervals stand in the README as in the report, three digits: all networks' for λ_max, one's for the other."""
    text = " ".join((ROOT / "README.md").read_text("utf-8").split())
    quoted = re.findall(r"×([\d.]+) \[([\d.]+), ([\d.]+)\]", text)
    effects = [o for o in _json("verdicts.json")["outcomes"] if o["name"] == name]
    wanted = [o for o in effects if name.startswith("top") or o["network"] == "mlp"]
    for effect in wanted:
        exact = [10 ** effect["estimate"][key] for key in ("mean", "low", "high")]
        assert any([float(x) for x in q] == pytest.approx(exact, rel=6e-3) for q in quoted), effect["network"]


def test_the_figure_of_the_readme_is_there() -> None:
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert shown
    assert all((ROOT / path).is_file() for path in shown)
    assert (RUN / "figures" / "curvature-mlp-top.png").is_file()


def test_the_readme_tells_the_verdicts_of_the_run() -> None:
    """Its sentence says: lower against the twin except on the ResNet, which stays open; relative curvature open on all four."""
    found = {(o["name"], o["network"]): o["outcome"] for o in _json("verdicts.json")["outcomes"]}
    networks = {n for _, n in found}
    assert {n for n in networks if found["top-eigenvalue.twin", n] == "inconclusive"} == {"resnet"}
    assert {n for n in networks if found["top-eigenvalue.twin", n] == "supported"} == networks - {"resnet"}
    assert {found["relative-curvature.twin", n] for n in networks} == {"inconclusive"}


# -- recorded experiments ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(archive_of_checkout() is None, reason="no experiments are recorded in this checkout")
@pytest.mark.timeout(300)
def test_on_the_recorded_store_check_and_compare_judge_every_claim_alike(tmp_path: Path) -> None:
    """One reads the packed store beside an empty one; the other an unpacked copy as its own, and trains nothing."""
    archive = archive_of_checkout()
    assert archive is not None
    copy = tmp_path / "copy"
    copy.mkdir()
    with (copy / "records.jsonl").open("wb") as whole:
        for part in sorted(archive.glob("records*.jsonl.gz")):
            whole.write(gzip.decompress(part.read_bytes()))
    for place, ids in asked_at(archive).items():
        claims = [registry()[key] for key in ids]
        read = {
            c.id: judge_recorded(c, study_at(place, store=tmp_path / "none", archive=archive)) for c in claims
        }
        lacking = {key for key, (_, left) in read.items() if left}
        whole_ones = [
            c for c in claims if c.id not in lacking
        ]  # stale ones are the business of papers --check
        made = judge_experiments(
            whole_ones, study_at(place, store=copy), workers=0, lacks=_nothing_is_lacking
        )
        for verdict in made:
            assert verdict.status == read[verdict.claim.id][0].status, (place, verdict.claim.id)
            assert verdict.evidence[0].details == read[verdict.claim.id][0].evidence[0].details


def _nothing_is_lacking(lacking: object) -> None:
    raise AssertionError(f"to be made: {lacking!r:.200}")
