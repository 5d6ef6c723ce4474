"""A run that is killed at any moment ends with the same numbers as one that was left alone.

The oracle is the uninterrupted run itself: its records, compared as bytes. Cutting is done in three ways that share nothing:
SIGKILL of a separate process, an exception out of a random progress call, and a records file cut at random bytes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from tiny import tiny_preset

from bntheory.errors import UserError
from bntheory.experiments.folder import RunFolder, free_folder, latest_folder, open_run
from bntheory.experiments.store import Store
from bntheory.files import write_atomic
from bntheory.report.compare import compare


def _fixed() -> dict[str, str]:
    return defaultdict(lambda: "fixed")


class Cut(BaseException):
    """Stands for the end of the process."""


def _lines(folder: Path) -> list[bytes]:
    return sorted((folder / "records.jsonl").read_bytes().splitlines())


@pytest.fixture(scope="module", autouse=True)
def _only_the_records() -> Iterator[None]:
    """No figures here (another test's business), and source files that may be edited while tests run count as one version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bntheory.experiments.manifest.codes", _fixed)
        patch.setattr("bntheory.report.run_page.write_report", _no_figures)
        patch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)
        yield


def _no_figures(folder: RunFolder, *_: object) -> Path:
    path = folder.path / "report.html"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[bytes]]:
    """A preset's folder, its path, and the records of a run that nobody disturbed."""
    home = tmp_path_factory.mktemp("whole")
    preset = tiny_preset(home)
    result = compare(preset, out=home / "run")
    assert result.exit_code == 0
    lines = _lines(home / "run")
    assert len(lines) == 2 * (12 + 5 + 4)  # seeds; batch norm, the standard network, the four others
    return home, preset, lines


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_cut_at_a_random_moment(whole: tuple[Path, str, list[bytes]], tmp_path: Path, seed: int) -> None:
    _, preset, lines = whole
    rng = random.Random(seed)
    resume, out = False, tmp_path / "run"
    for _ in range(3):
        left = rng.randrange(2, 25)

        def progress(fraction: float, text: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Cut

        try:
            compare(preset, out=out, resume=resume, progress=progress)
        except Cut:
            resume = (out / "manifest.json").exists()
        else:
            break
    if rng.random() < 0.5 and (out / "records.jsonl").exists():  # and a torn last line
        content = (out / "records.jsonl").read_bytes()
        (out / "records.jsonl").write_bytes(content + lines[0][: rng.randrange(1, 200)])
        resume = True
    compare(preset, out=out, resume=resume, overwrite=not resume)
    assert _lines(out) == lines
    assert not list((out / "checkpoints").iterdir())


@pytest.mark.long
def test_killed_by_the_system(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    """SIGKILL as soon as some records are there, twice; the numbers are those of the run in another process."""
    _, preset, lines = whole
    out = tmp_path / "run"
    code = (
        "from bntheory.experiments import manifest; import collections; manifest.codes = lambda: collections.defaultdict(lambda: 'fixed'); from bntheory.report import compare as c; "
        f"c.compare({preset!r}, out={str(out)!r}, resume=RESUME)"
    )
    for resume, enough in ((False, 12), (True, 40)):
        process = subprocess.Popen([sys.executable, "-c", code.replace("RESUME", str(resume))], env=os.environ)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            records = out / "records.jsonl"
            if records.exists() and records.read_bytes().count(b"\n") >= enough:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 40 <= len(_lines(out)) <= len(lines)
    compare(preset, out=out, resume=True)
    assert _lines(out) == lines


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_ten_times_at_random_moments(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    """The parent of two workers each time; those see it and end, and the records, verdicts and numbers are the undisturbed run's."""
    home, preset, lines = whole
    out, rng = tmp_path / "run", random.Random(10)
    code = (
        "from bntheory.experiments import manifest; import collections; manifest.codes = lambda: collections.defaultdict(lambda: 'fixed'); from bntheory.report import compare as c; "
        f"c.compare({preset!r}, out={str(out)!r}, resume=RESUME, workers=2)"
    )
    for _ in range(10):
        resume = str((out / "manifest.json").exists())
        process = subprocess.Popen([sys.executable, "-c", code.replace("RESUME", resume)], env=os.environ)
        before, deadline = _count(out), time.monotonic() + 120
        goal = before + rng.randrange(0, 12)
        while process.poll() is None and time.monotonic() < deadline and _count(out) <= goal:
            time.sleep(0.005)
        time.sleep(rng.random() / 20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    said: list[str] = []
    result = compare(preset, out=out, resume=True, say=said.append)
    assert _lines(out) == lines
    assert said == []  # half a line is nobody's fault
    assert json.loads((out / "verdicts.json").read_text()) == json.loads((home / "run" / "verdicts.json").read_text())
    assert result.exit_code == 0


def _count(out: Path) -> int:
    records = out / "records.jsonl"
    return records.read_bytes().count(b"\n") if records.exists() else 0


@pytest.mark.long
def test_neither_killed_workers_nor_their_number_change_a_number(
    whole: tuple[Path, str, list[bytes]], tmp_path: Path
) -> None:
    """Two at a time, where the whole run had none; two are killed as soon as they have handed a record over, fewer than give a task up."""
    _, preset, lines = whole
    out, killed, said = tmp_path / "run", [], []

    def kill_one(fraction: float, text: str) -> None:
        if len(killed) < 2 and (out / "records.jsonl").exists():
            for process in multiprocessing.active_children():
                if process.pid not in killed and process.pid is not None:
                    killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)
                    return

    compare(preset, out=out, workers=2, progress=kill_one, say=said.append)
    assert len(killed) == 2
    assert sum("another one goes on" in text for text in said) == 2
    assert _lines(out) == lines
    assert not list((out / "checkpoints").iterdir())


@pytest.mark.long
def test_a_task_that_kills_every_process_is_given_up_and_the_others_are_done(
    whole: tuple[Path, str, list[bytes]], tmp_path: Path
) -> None:
    _, preset, lines = whole

    def kill_all(fraction: float, text: str) -> None:
        for process in multiprocessing.active_children() if "seed 1, standard:" in text else ():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)

    result = compare(preset, out=tmp_path / "run", workers=1, progress=kill_all)
    assert result.exit_code == 2
    assert "died 3 times" in result.verdicts["refused"][0]
    assert all("mlp-s1-standard" in text for text in result.verdicts["refused"])
    compare(preset, out=tmp_path / "run", resume=True)
    assert _lines(tmp_path / "run") == lines


@pytest.mark.long
def test_checkpoints_that_cannot_be_written_end_the_run_with_a_message(
    whole: tuple[Path, str, list[bytes]], tmp_path: Path
) -> None:
    home, _, lines = whole
    out = Path(shutil.copytree(home / "run", tmp_path / "run"))
    (out / "records.jsonl").write_bytes(b"")
    (out / "checkpoints").rmdir()
    (out / "checkpoints").write_text("a file")
    with pytest.raises(UserError, match=r"checkpoints.*What was finished is kept"):
        compare(out=out, resume=True, workers=0)
    (out / "checkpoints").unlink()
    (out / "checkpoints").mkdir()
    compare(out=out, resume=True, workers=0)
    assert _lines(out) == lines


@pytest.mark.long
def test_a_lost_checkpoint_costs_time_and_no_number(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    home, preset, lines = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    records = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
    (out / "records.jsonl").write_bytes(b"".join(records[:4]))
    compare(preset, out=out, resume=True)
    assert _lines(out) == lines


def test_a_finished_run_is_only_reported_again(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    home, _, lines = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    (out / "report.html").unlink()
    began = (out / "records.jsonl").stat().st_mtime_ns
    result = compare(out=out, resume=True)  # preset, seeds and data come from the folder
    assert result.report.exists()
    assert (out / "records.jsonl").stat().st_mtime_ns == began
    assert _lines(out) == lines


# -- another run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"preset": "other"}, "preset other, now tiny"),
        ({"preset_sha256": "0"}, "content of the preset"),
        ({"seeds": [7]}, r"seeds \[7\], now \[0, 1\]"),
        ({"device": "cuda"}, "device cuda, now cpu"),
        ({"versions": {"torch": "1.0"}}, "versions: torch 1.0, now"),
        ({"data": {"name": "cifar10"}}, "data: name cifar10, now"),
        ({"code": {"linearity": "0"}}, "code that trains"),
        ({"format": 99}, "format"),
    ],
)
def test_resume_refuses_another_run(
    whole: tuple[Path, str, list[bytes]], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    home, preset, _ = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    manifest = json.loads((out / "manifest.json").read_text())
    for key, value in change.items():
        manifest[key] = {**manifest[key], **value} if isinstance(value, dict) else value
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=said):
        compare(preset, out=out, resume=True, seeds=[0, 1], device="cpu", data="fashion-mnist-subset")


@pytest.mark.long
def test_seeds_can_be_added(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    """What is there is kept, and the records are those of a run that had all seeds from the start."""
    _, preset, lines = whole
    out = tmp_path / "run"
    compare(preset, out=out, seeds=[0])
    began = _lines(out)
    assert 0 < len(began) < len(lines)
    compare(out=out, resume=True, seeds=[0, 1])
    assert _lines(out) == lines
    assert json.loads((out / "manifest.json").read_text())["seeds"] == [0, 1]


def test_nothing_is_touched_before_the_lock_is_held(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    """What looks like the torn line and the leftovers of a dead run may be a living one's."""
    home, preset, _ = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    with (out / "records.jsonl").open("ab") as file:
        file.write(b'{"half')
    (out / "checkpoints" / ".a.part").write_bytes(b"x")
    (out / ".tmp-x").write_bytes(b"x")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    with FileLock(out / ".lock"), pytest.raises(UserError, match="another process"):
        compare(preset, out=out, resume=True)
    with FileLock(out / ".lock"), pytest.raises(UserError, match="another process"):
        compare(preset, out=out, overwrite=True)
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before


def test_two_processes_do_not_write_one_run(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    home, preset, _ = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    with Store(out).lock(), pytest.raises(UserError, match="another process"):
        compare(preset, out=out, resume=True)


# -- folders -----------------------------------------------------------------------------------------------------------


def _begun(path: Path, preset: str) -> Path:
    with open_run(path, {"preset": preset, "seeds": [0]}):
        pass
    return path


def test_folders_are_numbered_and_the_latest_is_found(tmp_path: Path) -> None:
    assert free_folder(tmp_path, "quick").name == "quick"
    first = _begun(tmp_path / "quick", "quick")
    assert free_folder(tmp_path, "quick").name == "quick-2"
    second = _begun(tmp_path / "quick-2", "quick")
    _begun(tmp_path / "quick-cpu", "cpu")  # a name alone says nothing
    os.utime(first / "manifest.json", (1, 1))
    assert latest_folder(tmp_path, "quick") == second
    with pytest.raises(UserError, match="no run of preset 'gpu'"):
        latest_folder(tmp_path, "gpu")


def test_an_atomic_write_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
