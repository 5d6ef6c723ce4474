"""Experiment claims judged from one store: `check` and `compare --claims` say the same, nothing is made twice, nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from filelock import FileLock, Timeout
from made_up_claims import GOOD, PROTOCOL, arms, claims, command, compare, tasks_that_were_trained, these_claims_alone

from bntheory.claims.claim import Registry, Study
from bntheory.errors import UserError
from bntheory.experiments import worker
from bntheory.experiments.campaign import ask, settle
from bntheory.experiments.crew import Processes, _Hand
from bntheory.experiments.runs import each_seed
from bntheory.experiments.store import RECORDS, Store
from bntheory.experiments.worker import Workplace
from bntheory.judges.experiments import (
    asked_at,
    judge_experiments,
    judge_recorded,
    place_name,
    recorded_verdicts,
    study_at,
)

__all__ = ["tasks_that_were_trained", "these_claims_alone"]  # fixtures


def test_what_is_lacking_is_known_before_anything_is_trained(tmp_path: Path, trained: list[str]) -> None:
    first = next(iter(claims()))
    said, lacking = ask(first.check, Study("quick", store=tmp_path))
    assert trained == []
    assert [len(part.left) for part in lacking] == [2 * 3 * 2]  # arms, seeds, steps
    assert said[0].outcome == "undecided"  # of no use, and not used
    assert Store(tmp_path).state() == []


def test_shared_runs_are_trained_once_and_each_look_alone(tmp_path: Path, trained: list[str]) -> None:
    study = Study("quick", store=tmp_path)
    good = [c for c in claims() if c.id in GOOD]
    verdicts = {v.claim.id: v for v in judge_experiments(good, study, workers=0)}
    assert len(trained) == len(set(trained)) == 2 * 3 + 1  # the second look adds one seed of one arm
    assert verdicts["made.up.second"].status.value == "supported"
    assert verdicts["made.up.nothing"].status.value == "survives"
    assert verdicts["made.up.looks"].evidence[0].details["record_seeds"] == 4
    # once more: read alone
    again = {v.claim.id: v for v in judge_experiments(good, study, workers=0)}
    assert len(trained) == 7
    assert {k: v.status for k, v in again.items()} == {k: v.status for k, v in verdicts.items()}


def test_one_claims_failure_is_its_own(tmp_path: Path) -> None:
    found = {v.claim.id: v for v in judge_experiments(claims(), Study("quick", store=tmp_path), workers=0)}
    assert {k for k, v in found.items() if v.status.value == "error"} == {"made.up.refused", "made.up.broken"}
    assert "no such measure" in found["made.up.refused"].evidence[0].summary
    assert "ZeroDivisionError" in found["made.up.broken"].evidence[0].summary


def test_a_disk_that_takes_no_checkpoint_ends_all_and_is_no_claims_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bntheory.bridge.networks.training.save_file", full)
    with pytest.raises(UserError, match=r"checkpoint cannot be written.*No space left.*--resume goes on"):
        tuple(judge_experiments(claims(), Study("quick", store=tmp_path), workers=0))


def test_images_that_shared_memory_does_not_take_are_told_and_leave_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        ended = False

        def send(self, what: Any) -> None:
            raise RuntimeError("unable to resize file </torch_1> to the right size: No space left on device (28)")

    hand = _Hand(cast(Any, Full()), cast(Any, None))
    monkeypatch.setattr(hand, "end", lambda: setattr(hand.connection, "ended", True))
    crew = Processes(1)
    monkeypatch.setattr(crew, "_start", lambda: hand)
    asked = SimpleNamespace(asked=[SimpleNamespace(data="images")])
    with pytest.raises(UserError, match="shared memory"):
        crew.give(cast(Any, asked), Workplace({"images": cast(Any, ({}, None))}, "cpu", None))
    assert cast(Any, hand.connection).ended
    assert not crew.busy


def test_check_and_compare_say_the_same_of_every_claim_on_one_store(own: Registry, tmp_path: Path) -> None:
    made = compare(tmp_path / "store", "--preset", "quick")
    assert made.exit_code == 0, made.output
    compared = json.loads((tmp_path / "store" / "verdicts.json").read_text())
    checked = command("check", *GOOD, "--scale", "quick", "--store", str(tmp_path / "store"), "--no-train", "--json")
    assert checked.exit_code == 0, checked.output
    judged = {v["id"]: v for v in json.loads(checked.stdout)}
    for verdict in compared["verdicts"]:
        other = judged[verdict["id"]]
        assert verdict["status"] == other["status"]
        assert verdict["evidence"][0]["details"] == other["evidence"][0]["details"]
    page = (tmp_path / "store" / "report.html").read_text()
    for row in compared["rows"]:
        assert row["id"] in page
        assert f"{row['status']:<14}{row['id']}" in made.stdout
    assert {row["scale"] for row in compared["rows"]} == {"quick"}


def test_a_run_goes_on_and_another_scale_stands_beside(own: Registry, tmp_path: Path, trained: list[str]) -> None:
    out = tmp_path / "store"
    assert compare(out, claims="made.up.second").exit_code == 0
    count, records = len(trained), (out / RECORDS).read_bytes()
    refused = compare(out)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    assert compare(out, "--resume", "--preset", "cpu").exit_code == 0
    assert (out / RECORDS).read_bytes().startswith(records)
    assert len(trained) == len(set(trained)) == count + 1 + 4  # four seeds of two arms, three of which were there
    assert set(json.loads((out / "claims.json").read_text())) == {"quick", "cpu"}


def test_another_block_of_seeds_stands_beside_the_first(own: Registry, tmp_path: Path) -> None:
    """It trains other seeds, is judged from these alone, and is packed under its own name."""
    out = tmp_path / "store"
    assert compare(out, claims="made.up.second").exit_code == 0
    first = {r.seed for r in Store(out).read().every()}
    assert compare(out, "--resume", "--block", "1", claims="made.up.second").exit_code == 0
    assert {r.seed for r in Store(out).read().every()} - first == {1000 + seed for seed in first}
    rows = json.loads((out / "verdicts.json").read_text())
    assert rows["seed"] == 1
    assert command("runs", "pack", str(out), str(tmp_path / "packed")).exit_code == 0
    assert set(asked_at(tmp_path / "packed")) == {"quick", "quick+1"}
    shown = json.loads(command("runs", str(tmp_path / "packed"), "--json").stdout)
    assert {place: (c["asked"], c["whole"]) for place, c in shown["claims"].items()} == {
        "quick": (1, 1),
        "quick+1": (1, 1),
    }
    claim = own["made.up.second"]
    other, lacking = judge_recorded(claim, study_at("quick+1", archive=tmp_path / "packed"))
    assert not lacking
    assert recorded_verdicts(claim, tmp_path / "packed")["quick+1"][0].status == other.status
    assert other.evidence[0].details["records"] == 2 * len(first)  # two arms


def test_merged_stores_say_what_was_asked_of_either(own: Registry, tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    assert compare(a, claims="made.up.second").exit_code == 0
    assert compare(b, "--block", "1", claims="made.up.second").exit_code == 0
    assert command("runs", "merge", str(a), str(b)).exit_code == 0
    shown = json.loads(command("runs", str(a), "--json").stdout)["claims"]
    assert {place: c["whole"] for place, c in shown.items()} == {"quick": 1, "quick+1": 1}


def test_a_block_of_seeds_is_one_of_claims(own: Registry, tmp_path: Path) -> None:
    refused = command("compare", "--preset", "smoke", "--block", "1", "--out", str(tmp_path / "run"))
    assert refused.exit_code == 2
    assert "--block" in refused.output
    assert "--seeds" in refused.output
    assert compare(tmp_path / "store", claims="made.up.second").exit_code == 0
    refused = command("runs", "confirm", str(tmp_path / "store"), "--scale", "quick,quick+one")
    assert refused.exit_code == 2
    assert "quick+one" in refused.output
    taken = command(
        "runs", "confirm", str(tmp_path / "store"), "--claims", "made.up.second", "--scale", "quick, quick+1"
    )
    assert "is no scale" not in taken.output
    assert "is not known" not in taken.output
    shown = command("runs", str(tmp_path / "store"), "--claims", "made.up.second", "--scale", "quick+1", "--json")
    assert json.loads(shown.stdout)["claims"]["quick+1"]["whole"] == 0


@pytest.mark.parametrize("place", ["quick", "cpu+2", "gpu@cuda", "gpu@cuda+1"])
def test_a_place_names_scale_device_and_block(place: str) -> None:
    study = study_at(place)
    assert place_name(study.scale, study.device, study.seed) == place


def test_an_interrupt_keeps_what_was_recorded(own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    do = worker.do
    done: list[int] = []

    def cut(assignment: worker.Assignment, *rest: Any) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        do(assignment, *rest)

    monkeypatch.setattr(worker, "do", cut)
    stopped = compare(tmp_path / "store")
    assert stopped.exit_code == 130
    assert "--resume" in stopped.output
    monkeypatch.setattr(worker, "do", do)
    assert compare(tmp_path / "store", "--resume").exit_code == 0
    assert compare(tmp_path / "whole").exit_code == 0

    def lines(name: str) -> list[bytes]:
        return sorted((tmp_path / name / RECORDS).read_bytes().splitlines())

    assert lines("store") == lines("whole")
    rows = [json.loads((tmp_path / n / "verdicts.json").read_text())["rows"] for n in ("store", "whole")]
    assert rows[0] == rows[1]


@pytest.mark.long
def test_worker_processes_make_the_same_records(own: Registry, tmp_path: Path) -> None:
    assert compare(tmp_path / "one", claims="made.up.first").exit_code == 0
    many = command("compare", "--claims", "made.up.first", "--out", str(tmp_path / "many"), "--workers", "2")
    assert many.exit_code == 0, many.output
    one, two = (sorted((tmp_path / n / RECORDS).read_bytes().splitlines()) for n in ("one", "many"))
    assert one == two


def test_what_claims_lack_is_listed_once_and_each_further_round_is_a_line(own: Registry, tmp_path: Path) -> None:
    said = compare(tmp_path / "store").stderr.splitlines()
    assert [line.split(":")[0] for line in said if " missing" in line] == list(GOOD[:3])
    assert [line.partition(";")[0] for line in said if "to be made" in line] == [
        "to be made: 12 records of 3 claims",
        "round 2, to be made: 2 records of 1 claim",
    ]


def test_check_says_what_is_missing_and_stale_and_makes_it(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    store = str(tmp_path / "store")
    words = ("check", "made.up.second", "--scale", "quick", "--store", store, "--jobs", "1")
    unknown = command(*words, "--no-train")
    assert "unknown" in unknown.output
    assert "6 records of 3 runs missing" in unknown.output
    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
    monkeypatch.setattr("bntheory.experiments.engine._Pool", None)
    made = command(*words[:-2])
    assert made.exit_code == 0, made.output
    assert "to be made: 6 records" in made.output
    assert "6, of 3 seeds, at scale quick" in made.output
    count = len(trained)
    assert "to be made" not in command(*words[:-2]).output
    assert len(trained) == count
    monkeypatch.setattr(
        "bntheory.experiments.manifest.codes", lambda: dict.fromkeys(("classification", "training"), "new")
    )
    stale = command(*words, "--no-train")
    assert "6 of which are there from other code" in " ".join(stale.output.split())
    again = command("check", "made.up.second", "--again", "--store", store)
    assert again.exit_code == 2
    assert "name a new folder" in again.output


def test_a_check_that_names_no_store_keeps_what_it_makes(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: None)
    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
    words = ("check", "made.up.second", "--scale", "quick")
    made = command(*words)
    assert "kept in runs/check:" in made.stderr
    count = len(trained)
    assert command(*words, "--store", "runs/check").exit_code == 0
    assert len(trained) == count
    assert "kept in runs/check-2:" in command(*words).stderr
    for nothing in (("--no-train",), ("--judge", "algebra")):
        command(*words, *nothing)
    assert sorted(p.name for p in Path("runs").iterdir()) == ["check", "check-2"]

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bntheory.commands.check._print_verdict", cut_off)
    assert "kept in runs/check-3:" in command(*words).stderr


def test_a_check_where_nothing_can_be_written_says_that_it_keeps_nothing(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: None)
    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
    Path("runs").write_text("a file", encoding="utf-8")
    made = command("check", "made.up.second", "--scale", "quick")
    assert made.exit_code == 0
    assert "will not be kept" in made.stderr
    assert Path("runs").read_text(encoding="utf-8") == "a file"


def test_a_recorded_store_is_read_and_never_written(own: Registry, tmp_path: Path, trained: list[str]) -> None:
    archive = tmp_path / "archive"
    assert compare(archive).exit_code == 0
    before = {p.name: p.read_bytes() for p in archive.iterdir() if p.is_file()}
    count = len(trained)
    good = [c for c in own if c.id in GOOD]
    for scale, more in (("quick", 0), ("normal", 1)):
        study = Study(scale, store=tmp_path / scale, archive=archive)  # type: ignore[arg-type]
        list(judge_experiments(good, study, workers=0))
        assert len(trained) == count + more  # the fourth seed of the arm that no second look had
        count = len(trained)
    assert {p.name: p.read_bytes() for p in archive.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("torch", ["", "1.0"], ids=["this torch", "another torch"])
def test_records_of_a_store_that_is_named_count_before_recorded_ones(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch: str
) -> None:
    """A machine of the same versions can have other last bits, here other losses; the oracle is ``compare``, which reads one store."""
    archive, store = tmp_path / "archive", tmp_path / "store"
    assert compare(archive, claims="made.up.second").exit_code == 0
    Store.create(store).append(
        [
            replace(
                r,
                values={"training": {"loss": 100.0 * r.seed + (r.arm == "none"), "accuracy": 0.5}, "held_out": 0.5},
                made={**r.made, **({"torch": torch} if torch else {})},
            )
            for r in Store(archive).read().every()
        ]
    )
    words = ("check", "made.up.second", "--scale", "quick", "--json", "--no-train", "--store", str(store))
    recorded = json.loads(command(*words[:-1], str(archive)).stdout)
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: archive)
    checked = json.loads(command(*words).stdout)
    assert compare(store, "--resume", claims="made.up.second").exit_code == 0
    compared = json.loads((store / "verdicts.json").read_text("utf-8"))["verdicts"]
    assert [e["details"] for e in checked[0]["evidence"]] == [e["details"] for e in compared[0]["evidence"]]
    assert checked[0]["evidence"][0]["details"] != recorded[0]["evidence"][0]["details"]


def test_records_of_other_versions_are_read_and_named(own: Registry, tmp_path: Path) -> None:
    out = tmp_path / "store"
    assert compare(out, claims="made.up.second").exit_code == 0
    store = Store(out)
    records = store.read().every()
    (out / RECORDS).unlink()
    with store.lock():
        store.append([type(r)(**{**vars(r), "made": {**r.made, "torch": "1.0"}}) for r in records])
    said = command("check", "made.up.second", "--scale", "quick", "--store", str(out), "--no-train")
    assert "supported" in said.output
    assert "made with torch 1.0 (here " in said.output


def test_a_claim_whose_text_has_changed_is_named(own: Registry, tmp_path: Path) -> None:
    out = tmp_path / "store"
    assert compare(out, claims="made.up.second").exit_code == 0
    known = json.loads((out / "claims.json").read_text())
    known["quick"]["made.up.second"] = "0"
    (out / "claims.json").write_text(json.dumps(known))
    said = command("check", "made.up.second", "--scale", "quick", "--store", str(out), "--no-train")
    assert "its text has changed since its records were made" in said.output


@pytest.mark.long
def test_what_two_processes_ask_of_a_store_is_said_of_both(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one writes between reading and writing, as soon as nobody holds the store."""
    out, waits = tmp_path / "store", list[str]()

    def other_at_work(store: Store, name: str, content: Any) -> Path:
        try:
            with FileLock(out / ".lock", timeout=0):
                known = asked_at(out).get("quick", {})
                write(store, "claims.json", {"quick": {**known, "made.up.other": "0"}})
        except Timeout:
            waits.append(name)
        return write(store, name, content)

    write = Store.write_json
    monkeypatch.setattr(Store, "write_json", other_at_work)
    assert compare(out, claims="made.up.second").exit_code == 0
    assert waits or "made.up.other" in asked_at(out)["quick"]
    assert "made.up.second" in asked_at(out)["quick"]


def test_a_run_is_not_packed_over(own: Registry, tmp_path: Path) -> None:
    """Readers of a store that holds both read what is not packed, so the packed records would count for nothing."""
    out = tmp_path / "store"
    assert compare(out, claims="made.up.second").exit_code == 0
    shutil.copytree(out, tmp_path / "run")
    refused = command("runs", "pack", str(out), str(tmp_path / "run"))
    assert (refused.exit_code, "holds records that are not packed" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--claims", "nothing.here"), "is no id and no source"),
        (("--claims", ","), "none are named"),
        (("--claims", "all", "--preset", "smoke"), "can be quick, cpu, gpu"),
        (("--claims", "all", "--seeds", "1,2"), "--seeds, --claims"),
        (("--claims", "all", "--resume", "--overwrite"), "choose one"),
        (("--claims", "all", "--device", "abacus"), "device"),
    ],
)
def test_bad_use(
    own: Registry, words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = command("compare", *words)
    assert found.exit_code == 2, found.output
    assert said in found.output
    assert "Traceback" not in found.output


def test_a_question_is_any_function_of_a_study(tmp_path: Path) -> None:
    def count(study: Study) -> int:
        return len(each_seed(study, arms()[:1], PROTOCOL, 2, "count"))

    answers: Iterator[Any] = settle({"a": count, "b": lambda study: 7}, Study("quick", store=tmp_path), workers=0)
    assert {s.name: (s.answer, s.made) for s in answers} == {"a": (2, True), "b": (7, False)}


def test_the_checkpoint_of_a_run_that_was_killed_behind_its_last_record_is_dropped(
    own: Registry, tmp_path: Path
) -> None:
    assert compare(tmp_path, claims="made.up.second").exit_code == 0
    asked: list[Any] = []
    assert not ask(
        lambda study: tuple(own["made.up.second"].check(study)), Study("quick", store=tmp_path, asked=asked)
    )[1]
    left, other = (Store(tmp_path).checkpoint_path(name) for name in (asked[0][0].state, "of-another-experiment"))
    for path in (left, other):
        path.write_bytes(b"the state of a run")
    assert compare(tmp_path, "--resume", claims="made.up.second").exit_code == 0
    assert not left.exists()
    assert other.exists()


@pytest.mark.long
def test_a_worker_that_dies_between_two_rounds_is_replaced(tmp_path: Path) -> None:
    """The second look of a claim comes to a crew whose only worker is gone."""
    rounds: list[int] = []

    def lacks(lacking: Any) -> None:
        rounds.append(len(lacking))
        for process in multiprocessing.active_children():
            process.kill()
            process.join()

    looks = next(c for c in claims() if c.id == "made.up.looks")
    study = Study("quick", store=tmp_path / "killed")
    (killed,) = judge_experiments([looks], study, workers=1, lacks=lacks)
    (whole,) = judge_experiments([looks], Study("quick", store=tmp_path / "whole"), workers=0)
    assert rounds == [1, 1]
    assert killed.evidence[0].details == whole.evidence[0].details
    assert multiprocessing.active_children() == []
