"""A run that is killed at any moment ends with the same numbers as one that was left alone.

The oracle is the uninterrupted run itself: its records, compared as bytes. Cutting is done in three ways that share nothing:
SIGKILL of a separate process, an exception out of a random progress call, and a records file cut at random bytes.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_preset

from bntheory.errors import UserError
from bntheory.experiments.folder import RunFolder, free_folder, latest_folder, write_atomic
from bntheory.report.compare import compare


class Cut(BaseException):
    """Stands for the end of the process."""


def _lines(folder: Path) -> list[bytes]:
    return sorted((folder / "records.jsonl").read_bytes().splitlines())


@pytest.fixture(scope="module", autouse=True)
def _only_the_records() -> Iterator[None]:
    """No figures here (another test's business), and source files that may be edited while tests run count as one version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bntheory.report.compare.source_hash", lambda: "fixed")
        patch.setattr("bntheory.report.run_page.write_report", _no_figures)
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
    assert len(lines) == 2 * 3 * 3  # seeds, arms, steps
    return home, preset, lines


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


def test_killed_by_the_system(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    """SIGKILL as soon as some records are there, twice; the numbers are those of the run in another process."""
    _, preset, lines = whole
    out = tmp_path / "run"
    code = (
        "from bntheory.report import compare as c; c.source_hash = lambda: 'fixed'; "
        f"c.compare({preset!r}, out={str(out)!r}, resume=RESUME)"
    )
    for resume, enough in ((False, 3), (True, 8)):
        process = subprocess.Popen(
            [sys.executable, "-c", code.replace("RESUME", str(resume))], env=os.environ
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            records = out / "records.jsonl"
            if records.exists() and records.read_bytes().count(b"\n") >= enough:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 8 <= len(_lines(out)) <= len(lines)
    compare(preset, out=out, resume=True)
    assert _lines(out) == lines


def test_a_lost_checkpoint_costs_time_and_no_number(
    whole: tuple[Path, str, list[bytes]], tmp_path: Path
) -> None:
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


def test_the_number_of_workers_changes_no_number(
    whole: tuple[Path, str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, preset, lines = whole
    monkeypatch.setattr("bntheory.report.compare._workers", lambda: 3)
    compare(preset, out=tmp_path / "run")
    assert _lines(tmp_path / "run") == lines


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
        ({"source_sha256": "0"}, "source code"),
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


def test_damage_is_named_with_its_line(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    home, preset, _ = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    content = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
    content[2] = b'{"cell": oops}\n'
    (out / "records.jsonl").write_bytes(b"".join(content))
    with pytest.raises(UserError, match=r"records\.jsonl, line 3"):
        compare(preset, out=out, resume=True)


def test_two_processes_do_not_write_one_run(whole: tuple[Path, str, list[bytes]], tmp_path: Path) -> None:
    home, preset, _ = whole
    out = tmp_path / "run"
    shutil.copytree(home / "run", out)
    with RunFolder(out, {}).lock(), pytest.raises(UserError, match="another process"):
        compare(preset, out=out, resume=True)


# -- folders -----------------------------------------------------------------------------------------------------------


def test_folders_are_numbered_and_the_latest_is_found(tmp_path: Path) -> None:
    assert free_folder(tmp_path, "quick").name == "quick"
    first = RunFolder.create(tmp_path / "quick", {"preset": "quick"})
    assert free_folder(tmp_path, "quick").name == "quick-2"
    second = RunFolder.create(tmp_path / "quick-2", {"preset": "quick"})
    RunFolder.create(tmp_path / "quick-cpu", {"preset": "cpu"})  # a name alone says nothing
    os.utime(first.path / "manifest.json", (1, 1))
    assert latest_folder(tmp_path, "quick") == second.path
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


def test_records_refuse_what_json_cannot_hold(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    with pytest.raises(ValueError, match="JSON"):
        folder.append({"x": float("nan")})
    folder.append({"x": 0.1 + 0.2})
    assert folder.records() == [{"x": 0.30000000000000004}]  # every bit
