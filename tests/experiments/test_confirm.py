"""Stale records are confirmed by a sample that is made again: taken over where it comes out the same, and nowhere else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_claims
import pytest
from made_up_claims import CODES, GOOD, command, compare, tasks_that_were_trained, these_claims_alone

from bntheory.claims.claim import Registry
from bntheory.experiments import worker
from bntheory.experiments.experiment import Measure
from bntheory.experiments.runs import Protocol
from bntheory.experiments.store import RECORDS, Store

__all__ = ["tasks_that_were_trained", "these_claims_alone"]  # fixtures


def new_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
    monkeypatch.setattr("bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"})


def test_what_a_change_of_code_left_as_it_was_is_confirmed_by_a_sample(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    out = tmp_path / "store"
    assert compare(out).exit_code == 0
    before = json.loads((out / "verdicts.json").read_text())
    new_code(monkeypatch)
    trained.clear()
    said = command("runs", "confirm", str(out), "--claims", ",".join(GOOD))
    assert said.exit_code == 0, said.output
    assert "made again: 2 records; confirmed by that: 10 more" in said.output  # a seed of each arm
    assert "made again: 1 record; confirmed by that: 1 more" in said.output  # and of the second look
    assert len(trained) == 3
    words = ("check", *GOOD, "--scale", "quick", "--store", str(out), "--no-train")
    after = {v["id"]: v for v in json.loads(command(*words, "--json").stdout)}
    for verdict in before["verdicts"]:
        assert after[verdict["id"]]["status"] == verdict["status"]
        checks = [after[verdict["id"]], verdict]
        assert checks[0]["evidence"][0]["details"]["checks"] == checks[1]["evidence"][0]["details"]["checks"]
    assert "5 of them of earlier code, confirmed by a sample" in " ".join(command(*words).output.split())
    marked = [r for r in Store(out).read().every() if "confirmed" in r.made]
    assert {r.made["code"] for r in marked} == {"new"}
    assert {r.made["sample"] for r in marked} == {"1 of 6", "1 of 2"}
    old = next(r.made["confirmed"] for r in marked)
    # and once more, where only what was taken over is left
    records = [r for r in Store(out).read().every() if r.made["code"] == "new"]
    (out / RECORDS).write_text("".join(r.line() for r in records))
    monkeypatch.setattr("bntheory.experiments.manifest.codes", lambda: dict.fromkeys(CODES, "newer"))
    told = json.loads(command("runs", "confirm", str(out), "--claims", ",".join(GOOD), "--json").stdout)
    assert told == {"of": str(out), "made": 3, "confirmed": 11, "differing": []}
    trails = {r.made["confirmed"] for r in Store(out).read().every() if r.made["code"] == "newer" and len(r.made) > 3}
    assert f"{old} > new" in trails


def test_what_comes_out_otherwise_is_confirmed_for_nobody(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "store"
    assert compare(out, claims="made.up.first").exit_code == 0
    new_code(monkeypatch)
    measure = worker.measure

    def other(at: Any, asked: Measure) -> dict[str, Any]:
        values = measure(at, asked)
        return values | {"held_out": abs(values["held_out"] - (at.task.arm.name == "none"))}

    monkeypatch.setattr(worker, "measure", other)
    said = command("runs", "confirm", str(out), "--claims", "made.up.first")
    assert "made again: 2 records; confirmed by that: 5 more" in said.output
    assert "differs, so all of its kind are to be made anew: mlp, none: classification" in said.output
    lacks = command("runs", str(out), "--claims", "made.up.first")
    assert "5 records of 3 runs missing, 5 of which are there from other code" in " ".join(lacks.output.split())


def test_records_of_another_machine_are_confirmed_by_what_their_code_gives_here(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, here = tmp_path / "store", tmp_path / "here"
    measure = worker.measure

    def elsewhere(at: Any, asked: Measure) -> dict[str, Any]:
        values = measure(at, asked)
        return values | {"training": values["training"] | {"loss": values["training"]["loss"] * (1 + 1e-12)}}

    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
    assert compare(here, claims="made.up.first").exit_code == 0
    with monkeypatch.context() as other_processor:
        other_processor.setattr(worker, "measure", elsewhere)
        assert compare(out, claims="made.up.first").exit_code == 0
    theirs = {r.address: dict(r.values) for r in Store(out).read().every()}
    new_code(monkeypatch)
    again = tmp_path / "again"
    shutil.copytree(out, again)
    alone = command("runs", "confirm", str(again), "--claims", "made.up.first")
    assert "confirmed by that: 0 more" in alone.output, alone.output
    both = command("runs", "confirm", str(out), "--claims", "made.up.first", "--against", str(here))
    assert "made again: 2 records; confirmed by that: 12 more" in both.output, both.output
    counting = [r for r in Store(out).read().every() if r.made["code"] == "new"]
    assert {r.address: dict(r.values) for r in counting} == theirs  # none of this machine among them
    # records of any other code say nothing about that of the archive
    strangers = [replace(r, made={**r.made, "code": "else"}) for r in Store(here).read().every()]
    (here / RECORDS).write_text("".join(r.line() for r in strangers))
    shutil.rmtree(again)
    (again / RECORDS).parent.mkdir()
    (again / RECORDS).write_text("".join(r.line() for r in Store(out).read().every() if r.made["code"] != "new"))
    neither = command("runs", "confirm", str(again), "--claims", "made.up.first", "--against", str(here))
    assert "confirmed by that: 0 more" in neither.output, neither.output


def test_one_look_of_a_sample_that_comes_out_otherwise_is_enough(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample is the looks after steps 1 and 2; only the second changes."""
    out = tmp_path / "store"
    later = Protocol(6, (1, 2, 3, 6), batch_size=8, measured=16)
    monkeypatch.setattr(made_up_claims, "PROTOCOL", later)
    assert compare(out, claims="made.up.first").exit_code == 0
    new_code(monkeypatch)
    measure = worker.measure

    def other(at: Any, asked: Measure) -> dict[str, Any]:
        values = measure(at, asked)
        return values | {"held_out": abs(values["held_out"] - (at.task.arm.name == "none" and at.step == 2))}

    monkeypatch.setattr(worker, "measure", other)
    said = command("runs", "confirm", str(out), "--claims", "made.up.first")
    assert "made again: 4 records; confirmed by that: 10 more" in said.output
    assert "differs, so all of its kind are to be made anew: mlp, none: classification" in said.output


@pytest.mark.parametrize(("other", "number"), [("of_error", 0.25), ("of", 0.25), ("alone_error", 0.5)])
def test_the_bar_of_a_number_alone_may_come_out_otherwise_and_is_named(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str, number: float
) -> None:
    """``of_error`` stands beside ``of``, and is its bar; ``alone_error`` stands alone, and is a number as any."""
    out, measure, code = tmp_path / "store", worker.measure, ["old"]

    def with_bars(at: Any, asked: Measure) -> dict[str, Any]:
        found = {"of": 2.0, "of_error": 0.5, "alone_error": 0.25}
        return {**measure(at, asked), "nested": {**found, **({other: number} if code[0] == "new" else {})}}

    monkeypatch.setattr(worker, "measure", with_bars)
    assert compare(out, claims="made.up.first").exit_code == 0
    new_code(monkeypatch)
    code[0] = "new"
    said = command("runs", "confirm", str(out), "--claims", "made.up.first")
    assert said.exit_code == 0
    marked = [r for r in Store(out).read().every() if "confirmed" in r.made]
    if other != "of_error":
        assert "differs" in said.output
        assert not marked
        return
    assert marked
    assert {r.made["other_bars"] for r in marked} == {"of_error"}
    assert all(r.values["nested"]["of_error"] == 0.5 for r in marked)  # those of their time
    # and once more: the bars are still not those of the code of today, though the sample, made by now, agrees with itself
    records = [r for r in Store(out).read().every() if r.made["code"] == "new"]
    (out / RECORDS).write_text("".join(r.line() for r in records))
    monkeypatch.setattr("bntheory.experiments.manifest.codes", lambda: dict.fromkeys(CODES, "newer"))
    assert command("runs", "confirm", str(out), "--claims", "made.up.first").exit_code == 0
    newest = [r for r in Store(out).read().every() if r.made["code"] == "newer" and "confirmed" in r.made]
    of = {r.made["confirmed"].count(">"): r.made.get("other_bars") for r in newest}
    assert of == {0: None, 1: "of_error"} or of == {1: "of_error"}
