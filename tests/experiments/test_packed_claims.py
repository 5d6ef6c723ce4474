"""What claims rest on, packed as a recorded store, and the pages that are written from it."""

from __future__ import annotations

import json
from pathlib import Path

import made_up_claims
import pytest
from made_up_claims import GOOD, command, compare, tasks_that_were_trained, these_claims_alone

from bntheory.claims.claim import Registry
from bntheory.experiments.store import Store

__all__ = ["tasks_that_were_trained", "these_claims_alone"]  # fixtures


def test_a_packed_store_holds_what_claims_rest_on_and_nothing_else(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, archive = tmp_path / "store", tmp_path / "archive"
    assert compare(store).exit_code == 0
    with Store(store).lock():
        one = Store(store).read().every()[0]
        Store(store).append([type(one)(**{**vars(one), "seed": 77})])  # nobody's
    packed = command("runs", "pack", str(store), str(archive))
    assert packed.exit_code == 0, packed.output
    assert "14 records of 4 claims at scale quick" in packed.output  # 2 arms, 3 seeds, 2 steps; one seed of one arm
    assert {p.name for p in archive.iterdir()} == {"records-made.jsonl.gz", "timings.jsonl.gz", "claims.json"}
    before = {p.name: p.read_bytes() for p in archive.iterdir() if p.is_file()}
    assert command("runs", "pack", str(store), str(archive)).exit_code == 0
    assert {p.name: p.read_bytes() for p in archive.iterdir() if p.is_file()} == before
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: archive)
    words = ("check", *GOOD, "--scale", "quick", "--no-train", "--json")
    read, whole = json.loads(command(*words).stdout), json.loads((store / "verdicts.json").read_text())
    assert [v["status"] for v in read] == [v["status"] for v in whole["verdicts"]]
    assert [v["evidence"][0]["details"] for v in read] == [v["evidence"][0]["details"] for v in whole["verdicts"]]
    monkeypatch.setattr("bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"})
    stale = command("runs", "pack", str(store), str(archive))
    assert "0 records of 1 claim" in stale.output  # the one that trains nothing
    why = "12 records are missing or from other code"
    assert f"left out at scale quick: made.up.first: {why}" in stale.output
    said = json.loads(command("runs", "pack", str(store), str(archive), "--json").stdout)
    assert (said["into"], said["of"], said["records"], said["claims"].keys()) == (
        str(archive),
        str(store),
        0,
        {"quick"},
    )
    assert {"scale": "quick", "claim": "made.up.first", "why": why} in said["left_out"]


def test_a_recorded_store_is_not_replaced_by_nothing(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, archive = tmp_path / "store", tmp_path / "archive"
    assert compare(store, claims="made.up.first").exit_code == 0
    assert command("runs", "pack", str(store), str(archive)).exit_code == 0
    before = {p.name: p.read_bytes() for p in archive.iterdir()}
    monkeypatch.setattr("bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"})
    refused = command("runs", "pack", str(store), str(archive))
    assert refused.exit_code == 2
    assert "is left as it is (made.up.first: 12 records are missing or from other code)" in refused.stderr
    assert {p.name: p.read_bytes() for p in archive.iterdir()} == before


def test_what_claims_miss_in_a_store_and_would_cost(own: Registry, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert compare(store, claims="made.up.second").exit_code == 0
    assert "claims at scale quick: 1 of 1 have all their records" in command("runs", str(store)).output
    said = command("runs", str(store), "--claims", ",".join(GOOD), "--scale", "cpu")
    assert said.exit_code == 0, said.output
    assert "claims at scale cpu: 2 of 4 have all their records" in said.output
    assert "made.up.first: 10 records of 5 runs missing" in said.output
    assert "about 1 s on one core" in said.output


def test_what_claims_would_take_on_this_device(own: Registry) -> None:
    said = command("plan", "--claims", "made.up.first,made.up.second", "--preset", "quick")
    assert said.exit_code == 0, said.output
    assert "6 tasks, 12 records" in said.output
    assert command("plan", "--claims", "made.up.first", "--preset", "smoke").exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pack", "a"), "give two folders"),
        (("pack", "{store}", "{store}"), "same folder"),
        (("pack", "{store}", "b"), "has no claims.json"),
    ],
)
def test_bad_use_of_packing(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.create(tmp_path / "store").lock():
        Store(tmp_path / "store").append([])
    found = command("runs", *(w.format(store=tmp_path / "store") for w in words))
    assert found.exit_code == 2
    assert said in found.output


@pytest.fixture
def pages(own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pages of the claims that can be judged, written from a recorded store of two scales."""
    store, archive, folder = tmp_path / "store", tmp_path / "archive", tmp_path / "papers"
    good = Registry()
    for one in own:
        if one.id in GOOD:
            good.add(one)
    monkeypatch.setattr("bntheory.claims.registry", lambda: good)
    assert compare(store).exit_code == 0
    assert compare(store, "--preset", "cpu", "--resume", claims="made.up.first").exit_code == 0
    assert command("runs", "pack", str(store), str(archive)).exit_code == 0
    for module in ("bntheory.judges.experiments", "bntheory.commands.pages"):
        monkeypatch.setattr(f"{module}.archive_of_checkout", lambda: archive)
    wrote = command("papers", "--write", "--dir", str(folder))
    assert wrote.exit_code == 0, wrote.output
    return folder


def test_a_page_prints_the_checks_that_check_prints_and_a_row_a_scale(pages: Path, trained: list[str]) -> None:
    whole = command("papers", "--check", "--dir", str(pages))
    assert whole.exit_code == 0, whole.output
    text = (pages / "made" / "README.md").read_text()
    first = text.partition("### made.up.first")[2].partition("###")[0]
    assert "(experiment, at scale cpu)" in first
    assert [line.split("|")[1].strip() for line in first.splitlines() if line.startswith("| ")] == [
        "scale",
        "quick",
        "cpu",
    ]
    checked = json.loads(command("check", "made.up.first", "--json").stdout)[0]
    recorded = json.loads((pages / "made" / "checks" / "made.up.first.json").read_text())
    assert checked["evidence"][0]["details"]["checks"] == recorded
    assert f"**{checked['status']}**" in first
    second = text.partition("### made.up.second")[2]
    assert "at scale quick" in second  # the only one that is recorded
    assert trained == []


def test_a_threshold_that_has_changed_makes_a_page_stale(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_up_claims, "BOUND", 7.0)
    found = command("papers", "--check", "--dir", str(pages))
    assert found.exit_code == 1
    assert "made.up.first: " in found.output
    assert "its records say" in found.output


def test_a_measure_that_has_changed_makes_records_stale(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"})
    for option in ("--check", "--write"):
        found = command("papers", option, "--dir", str(pages))
        assert found.exit_code == 1
        assert "made.up.second: at scale quick: 6 records of 3 runs missing, 6 of which" in found.output
    assert "supported" in (pages / "made" / "README.md").read_text()


def test_a_claim_that_breaks_has_not_all_its_records(own: Registry, tmp_path: Path) -> None:
    """The oracle is the judge: what it calls an error is neither whole nor packed, though no record that it asks for is missing."""
    run = tmp_path / "run"
    assert compare(run, claims="made.up.broken,made.up.second").exit_code == 1
    said = json.loads(command("runs", str(run), "--json").stdout)["claims"]["quick"]
    assert (said["asked"], said["whole"]) == (2, 1)
    assert said["lacking"] == {"made.up.broken": "it cannot be judged (ZeroDivisionError: float division by zero)"}
    packed = command("runs", "pack", str(run), str(tmp_path / "packed"))
    assert "left out at scale quick: made.up.broken: it cannot be judged" in packed.output
    far = json.loads(
        command("runs", str(run), "--claims", "made.up.first", "--scale", "quick+9999999", "--json").stdout
    )["claims"]
    assert far["quick+9999999"]["whole"] == 0
    assert command("runs", str(run), "--claims", "made.up.first", "--scale", "quick+" + "9" * 5000).exit_code == 2
