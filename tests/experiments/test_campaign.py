"""Experiment claims judged from one store: `check`, `compare --claims` and pages say the same, nothing is made twice, nothing is lost.

The claims here train a tiny network in a second; what they assert is nothing that anybody believes.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bntheory.claims.claim import Claim, Registry, Source, Study, claim, collecting
from bntheory.cli import app
from bntheory.evidence.checks import Check
from bntheory.evidence.looks import Looks
from bntheory.experiments import worker
from bntheory.experiments.campaign import ask, settle
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import Protocol, Run, check_of, each_seed, training_point, until_decided
from bntheory.experiments.store import RECORDS, Store
from bntheory.judges.experiments import (
    asked_at,
    judge_experiments,
    judge_recorded,
    place_name,
    recorded_verdicts,
    study_at,
)

PROTOCOL = Protocol(3, (1, 3), batch_size=8, measured=16)
BOUND = 0.0


def arms() -> list[Arm]:
    return [Arm("mlp", norm, "mlp", {"norm": norm, "layout": [4]}, 0.1) for norm in ("batch", "none")]


def loss(run: Run) -> float:
    return training_point(run, 3)[0]


def claims() -> list[Claim]:
    """Two claims on the same runs, one that adds seeds, one that cannot be measured, one that breaks, and one that trains nothing."""
    registry = Registry()
    with collecting(registry):
        _define()
    return list(registry)


def _define() -> None:
    options: dict[str, Any] = {
        "kind": "experiment",
        "statement": "x",
        "source": Source("made", "up", seen="own"),
    }

    @claim("made.up.first", **options)
    def first(study: Study) -> list[Check]:
        seeds = study.choose(quick=3, normal=4, thorough=4)
        runs = each_seed(study, arms(), PROTOCOL, seeds, "first")
        numbers = [loss(r["batch"]) - loss(r["none"]) for r in runs]
        return [check_of(study, "loss", numbers, "below", BOUND, "tiny")]

    @claim("made.up.second", **options)
    def second(study: Study) -> list[Check]:
        runs = each_seed(study, arms()[:1], PROTOCOL, 3, "second")
        return [check_of(study, "own loss", [loss(r["batch"]) for r in runs], "above", 0.1, "tiny")]

    @claim("made.up.looks", **options)
    def looks(study: Study) -> list[Check]:
        def read(seeds: int, confidence: float) -> list[Check]:
            runs = each_seed(study, arms()[1:], PROTOCOL, seeds, "looks")
            numbers = [loss(r["none"]) for r in runs]
            bound = sum(numbers) / len(numbers)  # never decided
            return [check_of(study, "loss", numbers, "below", bound, "tiny", confidence=confidence)]

        return until_decided(study, Looks((3, 4)), read)

    @claim("made.up.refused", **options)
    def refused(study: Study) -> list[Check]:
        runs = each_seed(study, arms()[:1], PROTOCOL, 3, "refused", lambda arm: (Measure("no such measure"),))
        return [check_of(study, "x", [1.0 for _ in runs], "above", 0.0, "tiny")]

    @claim("made.up.broken", **options)
    def broken(study: Study) -> list[Check]:
        runs = each_seed(study, arms()[:1], PROTOCOL, 3, "broken")
        return [
            check_of(study, "x", [1 / (loss(r["batch"]) - loss(r["batch"])) for r in runs], "above", 0.0, "")
        ]

    @claim("made.up.nothing", **options)
    def nothing(study: Study) -> list[Check]:
        return [Check("one", 1.0, "le", 2.0, "numerical", "always")]


CODES = ("classification", "training")
GOOD = ("made.up.first", "made.up.second", "made.up.looks", "made.up.nothing")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The package has these claims and no others, and no recorded experiments."""
    registry = Registry()
    for one in claims():
        registry.add(one)
    monkeypatch.setattr("bntheory.claims.registry", lambda: registry)
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: None)
    return registry


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every task that is done in this process."""
    found: list[str] = []
    do = worker.do

    def counted(assignment: worker.Assignment, *rest: Any) -> None:
        found.append(assignment.task.name)
        do(assignment, *rest)

    monkeypatch.setattr(worker, "do", counted)
    return found


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def compare(out: Path, *words: str, claims: str = ",".join(GOOD)) -> Result:
    return command("compare", "--claims", claims, "--out", str(out), "--workers", "0", *words)


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


def test_check_and_compare_say_the_same_of_every_claim_on_one_store(own: Registry, tmp_path: Path) -> None:
    made = compare(tmp_path / "store", "--preset", "quick")
    assert made.exit_code == 0, made.output
    compared = json.loads((tmp_path / "store" / "verdicts.json").read_text())
    checked = command(
        "check", *GOOD, "--scale", "quick", "--store", str(tmp_path / "store"), "--no-train", "--json"
    )
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


def test_a_run_goes_on_and_another_scale_stands_beside(
    own: Registry, tmp_path: Path, trained: list[str]
) -> None:
    out = tmp_path / "store"
    assert compare(out, claims="made.up.second").exit_code == 0
    count, records = len(trained), (out / RECORDS).read_bytes()
    refused = compare(out)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    assert compare(out, "--resume", "--preset", "cpu").exit_code == 0
    assert (out / RECORDS).read_bytes().startswith(records)
    assert (
        len(trained) == len(set(trained)) == count + 1 + 4
    )  # four seeds of two arms, three of which were there
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


@pytest.mark.parametrize("place", ["quick", "cpu+2", "gpu@cuda", "gpu@cuda+1"])
def test_a_place_names_scale_device_and_block(place: str) -> None:
    study = study_at(place)
    assert place_name(study.scale, study.device, study.seed) == place


def test_an_interrupt_keeps_what_was_recorded(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_worker_processes_make_the_same_records(own: Registry, tmp_path: Path) -> None:
    assert compare(tmp_path / "one", claims="made.up.first").exit_code == 0
    many = command("compare", "--claims", "made.up.first", "--out", str(tmp_path / "many"), "--workers", "2")
    assert many.exit_code == 0, many.output
    one, two = (sorted((tmp_path / n / RECORDS).read_bytes().splitlines()) for n in ("one", "many"))
    assert one == two


def test_what_claims_lack_is_listed_once_and_each_further_round_is_a_line(
    own: Registry, tmp_path: Path
) -> None:
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
    assert "6 of 3 seeds at scale quick" in made.output
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


def test_a_recorded_store_is_read_and_never_written(
    own: Registry, tmp_path: Path, trained: list[str]
) -> None:
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

    answers: Iterator[Any] = settle(
        {"a": count, "b": lambda study: 7}, Study("quick", store=tmp_path), workers=0
    )
    assert {s.name: (s.answer, s.made) for s in answers} == {"a": (2, True), "b": (7, False)}


# -- recorded stores ---------------------------------------------------------------------------------------------------


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
    assert (
        "14 records of 4 claims at scale quick" in packed.output
    )  # 2 arms, 3 seeds, 2 steps; one seed of one arm
    assert {p.name for p in archive.iterdir()} == {
        "records-made.jsonl.gz",
        "timings.jsonl.gz",
        "claims.json",
    }
    before = {p.name: p.read_bytes() for p in archive.iterdir() if p.is_file()}
    assert command("runs", "pack", str(store), str(archive)).exit_code == 0
    assert {p.name: p.read_bytes() for p in archive.iterdir() if p.is_file()} == before
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: archive)
    words = ("check", *GOOD, "--scale", "quick", "--no-train", "--json")
    read, whole = json.loads(command(*words).stdout), json.loads((store / "verdicts.json").read_text())
    assert [v["status"] for v in read] == [v["status"] for v in whole["verdicts"]]
    assert [v["evidence"][0]["details"] for v in read] == [
        v["evidence"][0]["details"] for v in whole["verdicts"]
    ]
    monkeypatch.setattr(
        "bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"}
    )
    stale = command("runs", "pack", str(store), str(archive))
    assert "0 records of 1 claim" in stale.output  # the one that trains nothing
    assert "left out at scale quick: made.up.first: 12 records are missing or from other code" in stale.output


def test_what_claims_miss_in_a_store_and_would_cost(own: Registry, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert compare(store, claims="made.up.second").exit_code == 0
    assert "claims at scale quick: 1 of 1 have all their records" in command("runs", str(store)).output
    said = command("runs", str(store), "--claims", ",".join(GOOD), "--scale", "cpu")
    assert said.exit_code == 0, said.output
    assert "claims at scale cpu: 2 of 4 have all their records" in said.output
    assert "made.up.first: 10 records of 5 runs missing" in said.output
    assert "about 0 s on one core" in said.output


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


def test_a_page_prints_the_checks_that_check_prints_and_a_row_a_scale(
    pages: Path, trained: list[str]
) -> None:
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


def test_a_threshold_that_has_changed_makes_a_page_stale(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "BOUND", 7.0)
    found = command("papers", "--check", "--dir", str(pages))
    assert found.exit_code == 1
    assert "made.up.first: " in found.output
    assert "its records say" in found.output


def test_a_measure_that_has_changed_makes_records_stale(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"}
    )
    for option in ("--check", "--write"):
        found = command("papers", option, "--dir", str(pages))
        assert found.exit_code == 1
        assert "made.up.second: at scale quick: 6 records of 3 runs missing, 6 of which" in found.output
    assert "supported" in (pages / "made" / "README.md").read_text()


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


# -- stale records confirmed by a sample ---------------------------------------------------------------------------------


def new_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
    monkeypatch.setattr(
        "bntheory.experiments.manifest.codes", lambda: {"classification": "new", "training": "new"}
    )


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
    assert command("runs", "confirm", str(out), "--claims", ",".join(GOOD)).exit_code == 0
    trails = {
        r.made["confirmed"]
        for r in Store(out).read().every()
        if r.made["code"] == "newer" and len(r.made) > 3
    }
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
        return values | {"held_out": values["held_out"] + (at.task.arm.name == "none")}

    monkeypatch.setattr(worker, "measure", other)
    said = command("runs", "confirm", str(out), "--claims", "made.up.first")
    assert "made again: 2 records; confirmed by that: 5 more" in said.output
    assert "differs, so all of its kind are to be made anew: mlp, none: classification" in said.output
    lacks = command("runs", str(out), "--claims", "made.up.first")
    assert "5 records of 3 runs missing, 5 of which are there from other code" in lacks.output


def test_one_look_of_a_sample_that_comes_out_otherwise_is_enough(
    own: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample is the looks after steps 1 and 2; only the second changes."""
    out = tmp_path / "store"
    later = Protocol(6, (1, 2, 3, 6), batch_size=8, measured=16)
    monkeypatch.setitem(globals(), "PROTOCOL", later)
    assert compare(out, claims="made.up.first").exit_code == 0
    new_code(monkeypatch)
    measure = worker.measure

    def other(at: Any, asked: Measure) -> dict[str, Any]:
        values = measure(at, asked)
        return values | {"held_out": values["held_out"] + (at.task.arm.name == "none" and at.step == 2)}

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
