"""What the commands say about a store and a preset, against the store's own lines and a schedule worked out by hand."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import tiny_preset
from typer.testing import CliRunner, Result

from bntheory.bridge import load_dataset
from bntheory.bridge.networks.training import Trainer
from bntheory.cli import app
from bntheory.experiments.experiment import Conditions, needed
from bntheory.experiments.plan import Cost, Plan, costs_of, plan, timed_sample
from bntheory.experiments.preset import load_preset
from bntheory.experiments.store import RECORDS, Store
from bntheory.report.compare import compare


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module", autouse=True)
def _no_figures() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bntheory.report.run_page.write_report", lambda folder, *_: folder.path / "report.html")
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs")
    compare(tiny_preset(home), out=home / "run", workers=0)
    return home / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def _lines(folder: Path) -> list[bytes]:
    return (folder / RECORDS).read_bytes().splitlines(keepends=True)


@pytest.mark.long
def test_a_whole_run_lacks_nothing(run: Path) -> None:
    found = command("runs", str(run))
    assert found.exit_code == 0, found.output
    assert "42 records, seeds 0, 1" in found.output
    assert "42 of 42 records are there" in found.output
    assert "missing" not in found.output
    said = json.loads(command("runs", str(run), "--json").output)
    assert said["records"] == sum(row["records"] for row in said["arms"]) == len(_lines(run))
    assert said["same_code"]


def test_what_is_missing_and_what_it_would_cost(copy: Path) -> None:
    kept = [line for line in _lines(copy) if json.loads(line)["arm"] != "rescaled"]
    (copy / RECORDS).write_bytes(b"".join(kept))
    found = command("runs", str(copy))
    assert found.exit_code == 0
    assert f"{len(kept)} of 42 records are there" in found.output
    assert "mlp-s0-rescaled, mlp-s1-rescaled" in found.output
    assert "on 1 device, " in found.output
    cost = json.loads(command("runs", str(copy), "--json").output)["cost"]
    timings = [json.loads(line) for line in (copy / "timings.jsonl").read_text().splitlines()]
    spent = sum(sum(t["seconds"].values()) for t in timings if t["arm"] == "rescaled")
    assert cost["seconds"]["1"] == pytest.approx(spent, abs=0.1)
    assert cost["seconds"]["1000"] <= cost["seconds"]["8"] <= cost["seconds"]["1"]


def test_records_of_several_makes_are_counted_and_those_that_say_something_else(copy: Path) -> None:
    first, second = Store(copy).read().every()[:2]
    with Store(copy).lock():
        other = {**first.made, "torch": "1.0"}
        Store(copy).append([replace(first, made=other), replace(second, made=other, values={}, diverged=True)])
    found = command("runs", str(copy))
    assert found.exit_code == 0
    assert "of several makes: 2 records, 1 of them with different values" in " ".join(found.output.split())
    assert "42 of 42 records are there" in found.output  # which the others do not change
    said = json.loads(command("runs", str(copy), "--json").output)
    assert said["of_several_makes"] == {"questions": 2, "differing": 1}


def test_faulty_lines_are_named_with_exit_code_2(copy: Path) -> None:
    lines = _lines(copy)
    lines[1] = lines[1].replace(b'"step":', b'"step":1')
    (copy / RECORDS).write_bytes(b"".join([*lines, lines[0], b"{}\n"]))
    found = command("runs", str(copy))
    assert found.exit_code == 2
    for said in ("line 2: edited", "line 43: duplicate", "line 44: foreign", "missing: 1 record of"):
        assert said in found.output


def test_lines_with_one_fault_are_named_together(copy: Path, tmp_path: Path) -> None:
    lines = [line.replace(b'"step":', b'"step":1') for line in _lines(copy)]
    (copy / RECORDS).write_bytes(b"".join([*lines[:3], b"{}\n", *lines[3:]]))
    into = Path(shutil.copytree(copy, tmp_path / "into"))
    (into / RECORDS).unlink()
    merged = command("runs", "merge", str(into), str(copy))
    assert merged.stdout == f"added to {into}: 0 records of {copy}; there before: 0; skipped: {len(lines) + 1} lines\n"
    for found in (merged, command("runs", str(copy))):
        assert found.exit_code == 2
        edited, foreign = (line for line in found.stderr.splitlines() if line.startswith("skipped: "))
        assert f"records.jsonl, lines 1-3 and 5-{len(lines) + 1}: edited; " in edited
        assert "records.jsonl, line 4: foreign; " in foreign
    said = json.loads(command("runs", "merge", str(into), str(copy), "--json").stdout)
    assert (said["added"], said["skipped"], said["differing"]) == (0, len(lines) + 1, 0)


def test_resuming_makes_a_faulty_record_anew_and_says_so(copy: Path) -> None:
    whole = sorted(_lines(copy))
    lines = _lines(copy)
    lines[5] = lines[5].replace(b'"seed":0', b'"seed":1').replace(b"0.1", b"0.2")
    (copy / RECORDS).write_bytes(b"".join(lines))
    said: list[str] = []
    result = compare(out=copy, resume=True, workers=0, say=said.append)
    assert "line 6: edited" in said[0]
    assert result.exit_code == 0
    assert "line 6: edited" in result.verdicts["skipped_lines"][0]
    assert sorted(line for line in _lines(copy) if line != lines[5]) == whole


@pytest.mark.long
def test_the_checkpoint_of_another_task_is_not_believed(run: Path, copy: Path) -> None:
    """One of another arm under this task's name: the checksum fits, the address does not."""
    kept = [line for line in _lines(copy) if json.loads(line)["seed"] == 0 or json.loads(line)["step"] <= 2]
    states: dict[str, bytes] = {}

    def keep(fraction: float, text: str) -> None:
        for path in (copy / "checkpoints").glob("*.safetensors"):
            states.setdefault(path.name, path.read_bytes())

    (copy / RECORDS).write_bytes(b"")
    compare(out=copy, resume=True, workers=0, progress=keep)
    assert len(states) == 4  # an arm that is looked at once needs none
    names = sorted(states)
    (copy / RECORDS).write_bytes(b"".join(kept))
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        (copy / "checkpoints" / name).write_bytes(states[other])
    said: list[str] = []
    compare(out=copy, resume=True, workers=0, say=said.append)
    assert sorted(_lines(copy)) == sorted(_lines(run))
    assert len(said) == 2
    assert all("starts over" in text for text in said)


@pytest.mark.long
def test_merge_is_the_union(run: Path, tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path)
    for seed in (0, 1):
        compare(preset, out=tmp_path / str(seed), seeds=[seed], workers=0)
    a, b = str(tmp_path / "0"), str(tmp_path / "1")
    found = command("runs", "merge", a, b)
    assert (found.exit_code, found.output) == (0, f"added to {a}: 21 records of {b}; there before: 0\n")
    assert "0 records" in command("runs", "merge", a, b).output
    assert sorted(_lines(tmp_path / "0")) == sorted(_lines(run))
    result = compare(out=a, resume=True, seeds=[0, 1], workers=0)  # and it is the run of both seeds
    assert (
        json.loads(json.dumps(result.verdicts["outcomes"]))
        == json.loads((run / "verdicts.json").read_text())["outcomes"]
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nowhere"], "is no folder"),
        (["."], "holds no records.jsonl"),
        (["a", "b"], "is not one folder"),
        (["merge", "a"], "give two folders"),
        (["merge", "/nowhere", "."], "is no folder"),
    ],
)
def test_bad_use(words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = command("runs", *words)
    assert found.exit_code == 2
    assert said in found.output
    assert "Traceback" not in found.output


def test_a_run_killed_before_its_first_record_lacks_all_of_them(copy: Path) -> None:
    (copy / "records.jsonl").unlink()
    found = command("runs", str(copy), "--json")
    said = json.loads(found.output)
    assert (found.exit_code, said["records"], said["missing"]) == (0, 0, said["asked"])


def test_notes_that_were_edited_count_for_nothing(copy: Path) -> None:
    timing = json.loads((copy / "timings.jsonl").read_text().splitlines()[0])
    odd = [{**timing, **change} for change in ({"seed": []}, {"step": "a"}, {"seconds": 3}, {"recipe": {}})]
    odd += [{**timing, "seconds": {"train": None}}, [], 3]
    kept = [line for line in _lines(copy) if json.loads(line)["arm"] != "rescaled"]
    (copy / RECORDS).write_bytes(b"".join(kept))
    whole = command("runs", str(copy)).output
    for name, notes in (
        ("timings.jsonl", odd),
        ("refused.jsonl", [{"address": []}, {"address": "x", "why": "\ud800"}]),
    ):
        with (copy / name).open("a") as file:
            file.writelines(json.dumps(note) + "\n" for note in notes)
    found = command("runs", str(copy))
    assert (found.exit_code, found.output) == (0, whole)


def test_a_store_is_not_merged_with_itself(copy: Path) -> None:
    found = command("runs", "merge", str(copy), str(copy / "." / ""))
    assert found.exit_code == 2
    assert "same folder" in found.output


# -- plans ------------------------------------------------------------------------------------------------------------


def test_the_schedule_against_every_assignment() -> None:
    """The longest task first is within 4/3 of the best of all assignments (Graham 1969), which are tried one by one."""
    seconds = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 3.0, "e": 3.0, "f": 1.0}
    found = Plan(seconds, 0)
    for devices in (1, 2, 3):
        best = min(
            max(sum(s for s, d in zip(seconds.values(), where, strict=True) if d == k) for k in range(devices))
            for where in itertools.product(range(devices), repeat=len(seconds))
        )
        assert best <= found.wall(devices) <= best * 4 / 3
    assert found.wall(1) == 19.0
    assert found.wall(1000) == 5.0
    assert Plan({}, 0).wall(8) == 0.0
    assert Plan({"a": 1.0, "b": 1.0, "c": 1.0, "d": 3.0}, 0).wall(2) == 3.0  # whatever the order, the longest first


def test_a_step_costs_the_least_of_those_after_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only steps move: the first one warms up, and what disturbed another is no cost of it."""
    now, taken = [0.0], iter([9.0, 3.0, 2.0, 4.0])
    monkeypatch.setattr("bntheory.experiments.plan.time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(Trainer, "train_step", lambda self, batch: now.append(now.pop() + next(taken)))
    data = load_dataset("fashion-mnist-subset")
    every = needed(load_preset(tiny_preset(tmp_path)).experiment(), Conditions({"name": data.name}, "cpu", {}))
    asked = [n for n in every if (n.task.name, n.measure.name) == ("mlp-s0-detached", "accuracy")]
    (cost,) = timed_sample(asked, {data.name: data}, "cpu")[0].values()
    assert (cost.step, cost.measures) == (2.0, {"accuracy": 0.0})


def test_the_cost_of_a_preset_by_hand(tmp_path: Path) -> None:
    experiment = load_preset(tiny_preset(tmp_path)).experiment()
    asked = list(needed(experiment, Conditions({}, "cpu", {})))
    names = [m.name for m in experiment.measures]
    one = {n.task.name: n for n in asked}
    costs = {
        one[f"mlp-s0-{arm}"].recipe: Cost("mlp", 2.0, dict.fromkeys(names, 1.0)) for arm in ("batchnorm", "standard")
    }
    found = plan(asked, costs)
    seconds = {name: found.seconds[n.state] for name, n in one.items()}
    # six steps, and every measure where it is made; the unknown arm costs what the others do
    assert seconds["mlp-s0-batchnorm"] == 6 * 2 + 3 * 3 + 2 + 1
    assert seconds["mlp-s1-standard"] == 6 * 2 + 2 * 2 + 1
    assert seconds["mlp-s1-rescaled"] == 6 * 2 + 1
    assert found.records == 42
    assert set(plan(asked, {}).seconds.values()) == {0}


def test_costs_are_read_from_timings() -> None:
    timings = [
        {"network": "n", "arm": "a", "recipe": "r", "seed": s, "step": step, "seconds": {"train": train, "m": 1.0 + s}}
        for s in (0, 1)
        for step, train in ((0, 0.0), (10, 5.0), (20, 5.0))
    ]
    assert costs_of(timings) == {"r": Cost("n", 0.5, {"m": 1.5})}


@pytest.mark.long
def test_the_plan_of_a_preset_is_told(tmp_path: Path) -> None:
    found = command("plan", "--preset", tiny_preset(tmp_path))
    assert found.exit_code == 0, found.output
    for said in ("12 tasks, 42 records", "on 1 device,", "on 8 devices,", "on 1000 devices;", "GiB"):
        assert said in found.output
    said = json.loads(command("plan", "--preset", tiny_preset(tmp_path), "--json").output)
    assert said["seconds"]["1000"] == said["longest_task"] > 0
    assert command("plan", "--preset", "nope").exit_code == 2
