"""Ranks that train together: the oracle is the run of one process, which knows of none; ranks are processes over gloo, started as torchrun does."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rank_runs import DATA, PROTOCOL, REFUSED, arm, asked, ended, run, start, workplace
from tiny import tiny_preset
from typer.testing import CliRunner

from bntheory.cli import app
from bntheory.errors import UserError
from bntheory.evidence.record import Record, by_ranks, spoken, trail
from bntheory.experiments import ranks
from bntheory.experiments.confirm import confirm
from bntheory.experiments.experiment import Task, missing
from bntheory.experiments.ranks import joined, present
from bntheory.experiments.store import CHECKPOINTS, MemoryStore, Store
from bntheory.experiments.worker import follow

RUN = str(Path(__file__).with_name("rank_runs.py"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("alone")
    failed: dict[str, str] = {}
    run(folder, failed, [])
    assert len(failed) == 3  # all that is asked of one arm
    return Store(folder).read().records


def same_numbers(found: dict[str, Record], alone: dict[str, Record]) -> None:
    """In float64 eight steps of small networks differ by rounding alone: 1e-10 of a number is a thousand times that."""
    assert found.keys() == alone.keys()
    for address, record in found.items():
        for name, value in alone[address].values["progress"].items():
            other = record.values["progress"][name]
            assert math.isclose(other, value, rel_tol=1e-10), (record.arm, record.step, name)


def marks(found: dict[str, Record]) -> dict[int, set[str]]:
    """On how many ranks the networks were trained, by step."""
    return {step: {r.made.get("ranks", "") for r in found.values() if r.step == step} for step in PROTOCOL.record}


@pytest.mark.long
def test_ranks_make_the_records_of_one_process(alone, tmp_path):
    """With 15 examples a batch, shares are unequal. What no rank can have is refused, and the others go on."""
    (code, out, err), other = ended(start(2, RUN, str(tmp_path)))
    assert (code, err) == (0, "")
    assert other == (0, "", "")
    assert REFUSED in out
    assert "constant values" in out
    found = Store(tmp_path).read().records
    same_numbers(found, alone)
    assert marks(found) == {0: {""}, 2: {"2"}, 8: {"2"}}  # nothing is trained before step 0
    assert {r.step for r in found.values() if r == alone[r.address]} == {0}
    assert by_ranks(found.values()) == {"ranks": {"2": 6}}
    assert not missing([n for n in asked(tmp_path) if n.task.name != REFUSED], found)  # they count
    assert list((tmp_path / CHECKPOINTS).glob("*")) == []


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[int, str, str]]]:
    """A run whose second rank is killed between two looks at the first network."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, ended(start(2, RUN, str(folder), "1"))


@pytest.mark.long
def test_a_rank_that_is_killed_ends_the_run_with_a_message(killed):
    folder, ((code, _, err), (other, *_)) = killed
    assert other == -9
    # what is said is said; then threads of gloo, whose other end is gone, may end the process in their own way
    assert code in (2, -signal.SIGABRT)
    said, *more = err.splitlines()
    assert re.match(r"error: torchrun: a rank was lost, .* kept: start again with --resume, ", said), err
    assert not more or code != 2
    assert [r.step for r in Store(folder).read().records.values()] == [0, 2]
    assert len(list((folder / CHECKPOINTS).glob("*"))) == 1


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_it_goes_on_with_as_many_ranks_as_there_are(count, killed, alone, tmp_path):
    """From the checkpoint; the records say what trained their network, one after another."""
    shutil.copytree(killed[0], tmp_path, dirs_exist_ok=True)
    if count == 1:
        run(tmp_path, {}, [])
    else:
        assert [code for code, *_ in ended(start(count, RUN, str(tmp_path)))] == [0] * count
    found = Store(tmp_path).read().records
    same_numbers(found, alone)
    later = {1: {"2 > 1", ""}, 3: {"2 > 3", "3"}}[count]
    assert marks(found)[8] == later


@pytest.mark.long
def test_a_first_rank_that_is_gone_ends_the_others(tmp_path):
    (first, *_), (code, _, err) = ended(start(2, RUN, str(tmp_path), "0"))
    assert first == -9
    # the first rank held the store of the process group: a thread of gloo that notices it before we do ends the process
    assert code in (2, -signal.SIGABRT)
    assert code != 2 or re.match(r"error: torchrun: rank 1 ends \(.*\)\n$", err), err


@pytest.mark.long
def test_what_is_wrong_is_said_once(tmp_path):
    command = ("-m", "bntheory", "compare", "--preset", "nothing.toml", "--out", str(tmp_path / "run"))
    (code, _, err), other = ended(start(2, *command))
    assert (code, other) == (2, (0, "", ""))
    assert "nothing.toml" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2"], "workers: torchrun's ranks train one network after another together; leave it out"),
        (["--scheduler", "tcp://x"], "scheduler: torchrun's ranks train one network after another together"),
        (["--fold", "auto"], "--fold: torchrun's ranks train one network after another; leave --fold out"),
        (["--claims", "all", "--preset", "quick", "--workers", "2"], "workers: torchrun's ranks"),
    ],
    ids=["workers", "scheduler", "fold", "claims"],
)
def test_what_ranks_do_not_take(options, said, tmp_path):
    token = ranks._HERE.set(Unable())
    try:
        done = CliRunner().invoke(app, ["compare", "--out", str(tmp_path / "run"), *options])
    finally:
        ranks._HERE.reset(token)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize(("on", "taken"), [({}, True), ({"ranks": "2"}, False)], ids=["alone", "by ranks"])
def test_stale_records_of_ranks_are_confirmed_by_no_sample_of_one_process(on, taken, alone, tmp_path):
    """A sample of one process cannot be theirs bit for bit; they are made anew."""
    store = MemoryStore()
    store.append([replace(r, made={**r.made, "code": "earlier", **on}) for r in alone.values()])
    left = [n for n in asked(tmp_path) if n.task.name != REFUSED]
    found = confirm(left, store, workplace(tmp_path), workers=0)
    assert (found.taken_over > 0, found.made > 0, found.differing) == (taken, taken, ())


def test_a_check_by_ranks_is_refused_before_anything_is_judged(monkeypatch, tmp_path):
    """Each of them would train everything by itself, and say it."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(app, ["check", "--all", "--store", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert "bntheory compare --claims ID" in done.output
    assert not (tmp_path / "run").exists()


def test_without_torchrun_nobody_takes_part(monkeypatch):
    for environment in ({}, {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "1"}, {"RANK": "0", "WORLD_SIZE": "4"}):
        for name in ("TORCHELASTIC_RUN_ID", "WORLD_SIZE", "RANK"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with joined() as goes_on:
            assert goes_on
            assert present() is None


@pytest.mark.parametrize(
    ("before", "step", "count", "after"),
    [
        ("", 0, 1, ""), ("", 0, 4, "4"), ("", 9, 1, ""), ("", 9, 4, "1 > 4"),
        ("4", 9, 4, "4"), ("4", 9, 1, "4 > 1"), ("4 > 1", 9, 1, "4 > 1"), ("4 > 1", 9, 8, "4 > 1 > 8"),
    ],
)  # fmt: skip
def test_the_trail_says_who_trained_one_after_another(before, step, count, after):
    assert trail(before, step, count) == after


def test_the_words():
    assert spoken({"2": 36, "2 > 1": 1}) == "36 trained on 2 ranks, 1 trained on 2, then 1 ranks"


class Unable(ranks.Ranks):
    """Ranks of which none is there."""

    def __init__(self) -> None:
        self.size, self._ready = 2, set()


def test_what_cannot_be_shared_is_trained_by_one_rank():
    model = next(follow(Task(arm("none"), 0), [0], DATA, "cpu", PROTOCOL)).model
    assert Unable().why_alone(model, 15) == ""
    assert Unable().why_alone(model, 1) == "a batch of 1 cannot be shared by 2 ranks"


def test_a_device_by_number_is_refused():
    with pytest.raises(UserError, match="every rank takes the GPU of its number"):
        Unable().make_ready("cuda:1")


@pytest.mark.slow
def test_torchrun_itself(tmp_path):
    """The command as a user types it, from start to report."""
    command = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "bntheory", "compare")
    preset = tiny_preset(tmp_path, seeds="[0]")
    done = subprocess.run(
        [sys.executable, *command, "--preset", preset, "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("proved identities held") == 1
    assert "trained on 2 ranks: as by one process but for rounding" in (tmp_path / "run" / "report.html").read_text()
