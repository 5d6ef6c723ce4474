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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bntheory.claims import registry
from bntheory.evidence.checks import Check
from bntheory.evidence.intervals import estimate
from bntheory.experiments.answers import run_verdicts
from bntheory.experiments.experiment import freshest, missing, needed
from bntheory.experiments.manifest import conditions_of
from bntheory.experiments.preset import preset_from_json
from bntheory.experiments.quantities import merged
from bntheory.experiments.store import Store
from bntheory.judges.experiments import archive_of_checkout, asked_at, judge_experiments, judge_recorded, study_at
from bntheory.judges.verdict import Verdict
from bntheory.report.claims_table import effect_of
from bntheory.report.effect_text import mean_text

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "validation" / "recorded"
QUICK, CIFAR = RECORDED / "quick-cpu", RECORDED / "cifar10-cpu"
RUNS = sorted(path.parent for path in RECORDED.glob("*/verdicts.json"))
every_run = pytest.mark.parametrize("run", RUNS, ids=[run.name for run in RUNS])


def _json(run: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / name).read_text("utf-8"))
    return content


def _records(run: Path) -> list[dict[str, Any]]:
    """Its points; every line of the file is believed, and nothing is missing."""
    manifest = _json(run, "manifest.json")
    asked = list(needed(preset_from_json(manifest["preset_content"]).experiment(), conditions_of(manifest)))
    contents = Store(run).read()
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


@every_run
def test_the_run_is_whole(run: Path) -> None:
    manifest, verdicts = _json(run, "manifest.json"), _json(run, "verdicts.json")
    preset = preset_from_json(manifest["preset_content"])
    assert preset.sha256 == manifest["preset_sha256"]
    assert {p["seed"] for p in _records(run)} == set(preset.seeds)
    assert verdicts["passed"]
    assert all(i["checks"] for i in verdicts["identities"].values())
    assert "+changes" not in manifest["source_revision"]


@every_run
def test_verdicts_follow_from_the_records(run: Path) -> None:
    preset = preset_from_json(_json(run, "manifest.json")["preset_content"])
    again = json.loads(json.dumps(run_verdicts(preset, _records(run))))
    _assert_same({**again, "skipped_lines": []}, _json(run, "verdicts.json"))


@every_run
def test_the_figures_are_those_of_the_page(run: Path) -> None:
    page = (run / "report.html").read_text("utf-8")
    inside = {hashlib.sha256(base64.b64decode(x)).digest() for x in re.findall(r"base64,([A-Za-z0-9+/=]+)", page)}
    assert inside <= {hashlib.sha256(p.read_bytes()).digest() for p in (run / "figures").glob("*.png")}


@every_run
def test_no_folder_of_a_machine_is_named(run: Path) -> None:
    text = "".join((run / n).read_text("utf-8") for n in ("manifest.json", "verdicts.json", "report.html"))
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text) + json.dumps(_records(run))
    assert not re.search(r"(?<![\w.<])/(home|root|tmp|usr|var|work|Users|mnt|opt)/", text)


@every_run
def test_an_open_row_says_how_many_seeds_would_decide_it(run: Path) -> None:
    rows = [o for o in _json(run, "verdicts.json")["outcomes"] if o["decisive"]]
    assert len(rows) > 15 * len(_json(run, "manifest.json")["preset_content"]["networks"])
    assert all(o["seeds_needed"] for o in rows if o["outcome"] == "inconclusive")


def test_most_deciding_rows_of_the_quick_run_are_decided() -> None:
    rows = [o for o in _json(QUICK, "verdicts.json")["outcomes"] if o["decisive"]]
    assert sum(o["outcome"] == "inconclusive" for o in rows) <= len(rows) / 5


@every_run
def test_two_disjoint_blocks_of_seeds_judged_apart_agree(run: Path) -> None:
    """The first half of the seeds and the second: no more than a tenth of the rows is decided one way by one and another by the other.

    The figures stand in the folder's README.
    """
    preset = preset_from_json(_json(run, "manifest.json")["preset_content"])
    points, half = _records(run), len(preset.seeds) // 2
    blocks = []
    for seeds in (preset.seeds[:half], preset.seeds[half:]):
        own = [p for p in points if p["seed"] in seeds]
        found = run_verdicts(preset.with_options(seeds=seeds), own)["outcomes"]
        blocks.append({(o["name"], o["network"], o["place"]): o["outcome"] for o in found if o["decisive"]})
    common = blocks[0].keys() & blocks[1].keys()
    both = [(blocks[0][key], blocks[1][key]) for key in common]
    open_ones = {"inconclusive", "not comparable"}
    flipped = sum(a != b and not {a, b} & open_ones for a, b in both)
    same = sum(a == b for a, b in both)
    said = (run / "README.md").read_text("utf-8")
    assert f"{len(both)} rows" in said
    assert f"{same} have the same outcome" in said
    assert f"{flipped} are decided differently" in said
    assert flipped <= 0.1 * len(both)


def _text(path: Path) -> str:
    return " ".join(path.read_text("utf-8").split())


@pytest.mark.parametrize("path", ["README.md", "docs/pages/concepts/smoothing.md"])
def test_factors_are_quoted_from_the_run(path: str) -> None:
    """Every factor with an interval in these texts stands in the verdicts, to three digits."""
    quoted = re.findall(r"×([\d.]+) \[×?([\d.]+), ×?([\d.]+)\]", _text(ROOT / path))
    outcomes = [o for run in RUNS for o in _json(run, "verdicts.json")["outcomes"]]
    estimates = [o["estimate"] for o in outcomes if o["estimate"] is not None]
    exact = [[10 ** e[key] for key in ("mean", "low", "high")] for e in estimates if e["low"] is not None]
    assert quoted
    for q in quoted:
        assert any([float(x) for x in q] == pytest.approx(e, rel=6e-3) for e in exact), q


def test_the_table_of_the_page_is_that_of_the_verdicts() -> None:
    """Every deciding row of every network: its statement, its outcome and its effect."""
    lines = (ROOT / "docs/pages/concepts/smoothing.md").read_text("utf-8").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    networks, rows = cells[0][1:], cells[1:]
    shown = {
        (row[0], network, cell) for row in rows for network, cell in zip(networks, row[1:], strict=True) if cell != "–"
    }
    deciding = [o for o in _json(QUICK, "verdicts.json")["outcomes"] if o["decisive"] and o["question"] != "relu"]
    for o in deciding:
        text = o["outcome"] if o["estimate"] is None else f"{o['outcome']}, {mean_text(o)}"
        assert any(s.startswith(o["statement"]) and (n, c) == (o["network"], text) for s, n, c in shown), o["name"]
    assert {(n, c) for _, n, c in shown if c == "not comparable"} == {
        (o["network"], o["outcome"]) for o in deciding if o["outcome"] == "not comparable"
    }


def test_the_readme_and_the_page_say_what_the_run_says() -> None:
    """Their words without numbers: what they call lower, higher, a crossing and open is so in the verdicts."""
    found: dict[tuple[str, str], list[str]] = {}
    for o in _json(QUICK, "verdicts.json")["outcomes"]:
        if o["decisive"]:
            found.setdefault((o["name"], o["network"]), []).append(o["outcome"])
    for network in ("mlp", "vgg", "mlp-softplus"):
        for name in (
            "top-eigenvalue.twin",
            "top-eigenvalue.mean-or-variance",
            "relative-curvature.twin",
            "linearity-error.twin",
            "sharpening.standard",
            "sharpening.difference",
            "loss.detached",
        ):
            assert found[name, network] == ["supported"], (name, network)
        assert found["sharpening.batchnorm", network] == ["contradicted"]  # with it the curvature does not rise
    assert found["top-eigenvalue.standard", "mlp"] == ["contradicted", "supported", "supported"]
    assert found["top-eigenvalue.standard", "vgg"] == ["contradicted", "inconclusive", "inconclusive"]
    assert found["top-eigenvalue.standard", "mlp-softplus"] == ["supported"] * 3
    assert found["loss.detached-over-standard", "mlp"] == ["contradicted"]
    assert found["loss.detached-over-standard", "vgg"] == ["supported"]
    assert found["loss.detached-mean-or-variance", "mlp"] == ["supported"]
    assert found["loss.detached-mean-or-variance", "vgg"] == ["contradicted"]
    crossed = {(c["comparison"], c["network"]) for c in _json(QUICK, "verdicts.json")["crossings"]}
    assert ("top-eigenvalue.standard", "mlp") in crossed
    assert {c for c in crossed if c[0] == "covariate-shift.l2"} == {
        ("covariate-shift.l2", n) for n in ("mlp", "mlp-softplus")
    }


def test_the_page_says_what_the_run_on_cifar_says() -> None:
    found: dict[str, list[str]] = {}
    verdicts = _json(CIFAR, "verdicts.json")
    for o in verdicts["outcomes"]:
        if o["decisive"]:
            found.setdefault(o["name"], []).append(o["outcome"])
    for name in (
        "top-eigenvalue.twin",
        "top-eigenvalue.mean-or-variance",
        "relative-curvature.twin",
        "linearity-error.twin",
        "sharpening.standard",
        "sharpening.difference",
        "loss.standard",
        "loss.detached",
    ):
        assert found[name] == ["supported"], name
    assert found["sharpening.batchnorm"] == found["loss.detached-over-standard"] == ["contradicted"]
    assert found["top-eigenvalue.standard"] == ["contradicted", "inconclusive", "inconclusive"]
    assert found["loss.rescaled"] == found["loss.detached-mean-or-variance"] == ["not comparable"]
    counts = {
        outcome: sum(of.count(outcome) for of in found.values())
        for outcome in ("supported", "contradicted", "inconclusive")
    }
    page = _text(ROOT / "docs/pages/concepts/smoothing.md")
    assert (
        f"{counts['supported']} are supported, {counts['contradicted']} contradicted, {counts['inconclusive']} open"
        in page
    )


def test_all_networks_stand_in_the_readme() -> None:
    quoted = re.findall(r"×([\d.]+) \[×?([\d.]+), ×?([\d.]+)\]", _text(ROOT / "README.md"))
    for o in _json(QUICK, "verdicts.json")["outcomes"]:
        if o["name"] == "top-eigenvalue.twin" and o["decisive"]:
            assert any(float(q[0]) == pytest.approx(10 ** o["estimate"]["mean"], rel=6e-3) for q in quoted)


def test_the_figure_of_the_readme_is_there() -> None:
    shown = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert shown
    assert all((ROOT / path).is_file() for path in shown)


# -- recorded experiments ----------------------------------------------------------------------------------------------


@pytest.mark.long
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
        read = {c.id: judge_recorded(c, study_at(place, store=tmp_path / "none", archive=archive)) for c in claims}
        lacking = {key for key, (_, left) in read.items() if left}
        whole_ones = [c for c in claims if c.id not in lacking]  # stale ones are the business of papers --check
        made = judge_experiments(whole_ones, study_at(place, store=copy), workers=0, lacks=_nothing_is_lacking)
        for verdict in made:
            assert verdict.status == read[verdict.claim.id][0].status, (place, verdict.claim.id)
            assert verdict.evidence[0].details == read[verdict.claim.id][0].evidence[0].details


def _outcomes(verdict: Verdict) -> dict[str, str]:
    """By name, the outcome of every check that decides."""
    checks = [Check.from_json(c) for c in verdict.evidence[0].details["checks"]]
    return {c.name: c.outcome for c in checks if c.decisive}


def _alike(pairs: Sequence[tuple[str, str]], opens: set[str]) -> tuple[int, int, int]:
    """How many pairs are the same, open in one of the two, and decided differently."""
    same = sum(a == b for a, b in pairs)
    flipped = sum(a != b and not {a, b} & opens for a, b in pairs)
    return same, len(pairs) - same - flipped, flipped


@pytest.mark.long
@pytest.mark.skipif(archive_of_checkout() is None, reason="no experiments are recorded in this checkout")
@pytest.mark.timeout(300)
def test_claims_judged_on_another_block_of_seeds_are_not_decided_differently() -> None:
    """Verdicts, and the checks that decide them, of every claim that two blocks have; the figures stand in the folder's README."""
    archive = archive_of_checkout()
    assert archive is not None
    known = asked_at(archive)
    said = _text(archive / "README.md")
    others = [place for place in known if "+" in place]
    assert others
    for other in others:
        place = other.partition("+")[0]
        both = known[place].keys() & known[other].keys()
        verdicts, checks = [], []
        for key in both:
            (first, left), (second, lacking) = (
                judge_recorded(registry()[key], study_at(p, archive=archive)) for p in (place, other)
            )
            if left or lacking:  # stale ones are the business of papers --check
                continue
            verdicts.append((str(first.status.value), str(second.status.value)))
            one, two = _outcomes(first), _outcomes(second)
            checks += [(one[name], two[name]) for name in one.keys() & two.keys()]
        same, open_in_one, flipped = _alike(verdicts, {"inconclusive", "not comparable"})
        assert flipped <= 0.1 * len(verdicts)
        row = f"| {other} | {len(verdicts)} claims: {same} / {open_in_one} / {flipped} "
        same, open_in_one, flipped = _alike(checks, {"undecided", "not comparable"})
        assert flipped <= 0.1 * len(checks)
        assert f"{row}| {len(checks)} checks: {same} / {open_in_one} / {flipped} |" in said


def _half(check: Check, values: Sequence[float]) -> str:
    """The outcome of a check on the numbers of some of its seeds; what a search left open stays as it is."""
    whole, part = (estimate(v, check.confidence or 0.95) for v in (check.witness["values"], values))
    left_open = max(check.uncertainty - (whole.high - whole.low) / 2, 0.0)
    of_seeds = {"left" if effect_of(check)[0] == check.left else "right": part.mean}
    return replace(check, **of_seeds, uncertainty=(part.high - part.low) / 2 + left_open).outcome


@pytest.mark.long
@pytest.mark.skipif(archive_of_checkout() is None, reason="no experiments are recorded in this checkout")
@pytest.mark.timeout(300)
def test_checks_judged_on_halves_of_their_seeds_are_not_decided_differently() -> None:
    """Of scale cpu, every deciding check with the numbers of at least six seeds; the figures stand in the folder's README."""
    archive = archive_of_checkout()
    assert archive is not None
    halves, left_out = [], 0
    for key in asked_at(archive)["cpu"]:
        verdict, lacking = judge_recorded(registry()[key], study_at("cpu", archive=archive))
        checks = [Check.from_json(c) for c in verdict.evidence[0].details["checks"]]
        for check in (c for c in checks if c.decisive and not lacking):
            values = np.asarray(check.witness.get("values", ()), dtype=float)
            if values.ndim != 1 or len(values) < 6 or not np.isfinite(values).all() or check.not_comparable:
                left_out += 1
                continue
            parts = np.split(values, [len(values) // 2])
            halves.append((_half(check, parts[0].tolist()), _half(check, parts[1].tolist())))
    same, open_in_one, flipped = _alike(halves, {"undecided"})
    decided = sum(a == b != "undecided" for a, b in halves)
    assert flipped <= 0.1 * len(halves)
    said = f"Of {len(halves)} checks {same} come out the same ({decided} of them decided), {open_in_one} are open on one half, {flipped} are decided"
    assert said in _text(archive / "README.md")
    assert f"{left_out} more" in _text(archive / "README.md")


def _nothing_is_lacking(lacking: object) -> None:
    raise AssertionError(f"to be made: {lacking!r:.200}")
