"""A run on a Dask cluster has the records, verdicts and numbers of one in this process, whatever becomes of its workers.

The oracle is the run in this process, its records compared as bytes. What needs workers of their own has two, in processes; what does
not has one in a thread of this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_preset
from typer.testing import CliRunner

from bntheory.bridge.networks.data import load_dataset
from bntheory.bridge.networks.training import Trainer
from bntheory.cli import app
from bntheory.errors import UserError
from bntheory.evidence.study import Study
from bntheory.experiments import cluster
from bntheory.experiments.campaign import settle
from bntheory.experiments.experiment import Arm
from bntheory.experiments.folder import RunFolder
from bntheory.experiments.runs import Protocol, each_seed, training_point
from bntheory.experiments.toy_runs import toy_runs
from bntheory.report import compare as comparison
from bntheory.report.compare import CompareResult, compare

distributed = pytest.importorskip("distributed", reason="the extra [cluster]")


@pytest.fixture(autouse=True)
def _no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_drawn(folder: RunFolder, *_: object) -> Path:
        path = folder.path / "report.html"
        path.write_text("")
        return path

    monkeypatch.setattr("bntheory.report.run_page.write_report", nothing_drawn)


def lines(folder: Path) -> list[bytes]:
    return sorted((folder / "records.jsonl").read_bytes().splitlines())


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A cluster without workers."""
    with distributed.LocalCluster(n_workers=0, dashboard_address=":0", silence_logs=50) as made:
        yield made.scheduler_address


@pytest.fixture
def one_thread(request: pytest.FixtureRequest) -> Iterator[str]:
    """A cluster whose one worker is a thread of this process; its resources are the fixture's parameter."""
    made = distributed.LocalCluster(
        n_workers=1,
        processes=False,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=50,
        resources=getattr(request, "param", {}),
    )
    with made:
        yield made.scheduler_address


def started(scheduler: str) -> subprocess.Popen[bytes]:
    """A worker in a process of its own, with nobody who would start it again."""
    words = ("distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.long
def test_a_worker_killed_in_the_middle_changes_no_number(scheduler: str, tmp_path: Path) -> None:
    """Two workers; one is killed while it has a task of which some records are there. Verdicts and records are those of this process."""
    preset, out, said = tiny_preset(tmp_path, seeds="[0]"), tmp_path / "run", list[str]()
    workers = [started(scheduler) for _ in range(2)]
    killed: list[int] = []

    def kill_one(fraction: float, text: str) -> None:
        if not killed and (out / "records.jsonl").exists() and len(lines(out)) >= 3:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    try:
        with distributed.Client(scheduler, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=300)
        compare(preset, out=out, scheduler=scheduler, progress=kill_one, say=said.append)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert killed
    assert sum("is lost" in text and "again" in text for text in said) == 1
    compare(preset, out=tmp_path / "here", workers=0)
    assert lines(out) == lines(tmp_path / "here")
    assert len(lines(out)) == len({line.split(b'"address":"')[1][:32] for line in lines(out)})
    verdicts = [(folder / "verdicts.json").read_bytes() for folder in (out, tmp_path / "here")]
    assert verdicts[0] == verdicts[1]
    assert not list((out / "checkpoints").iterdir())


def test_questions_are_answered_from_what_a_cluster_made(one_thread: str, tmp_path: Path) -> None:
    """The second one asks for another look; the third for what is no network and has no images."""
    protocol = Protocol(3, (1, 3), batch_size=8, measured=16)
    arms = [Arm("mlp", norm, "mlp", {"norm": norm, "layout": [4]}, 0.1) for norm in ("batch", "none")]

    def losses(study: Study, seeds: int) -> list[float]:
        runs = each_seed(study, arms, protocol, seeds, "losses")
        return [training_point(r["batch"], 3)[0] - training_point(r["none"], 3)[0] for r in runs]

    def more(study: Study) -> list[float]:
        first = losses(study, 1)
        return first if study.lacking else first + losses(study, 2)

    def toy(study: Study) -> Any:
        arm = Arm(
            "toy", "toy", "matrix-factorisation", {"shape": (8, 6), "rank": 2, "observed": 0.7, "normalise": True}, 0.01
        )
        return toy_runs(study, [arm], (1, 4), 1, "toy")

    asked = {"one": lambda study: losses(study, 2), "two": more, "toy": toy}
    found = {}
    for name, how in (("there", {"workers": None, "scheduler": one_thread}), ("here", {"workers": 0})):
        study = Study("quick", store=tmp_path / name)
        found[name] = {s.name: (s.answer, s.failed) for s in settle(asked, study, **how)}  # type: ignore[arg-type]
    assert found["there"] == found["here"]
    assert lines(tmp_path / "there") == lines(tmp_path / "here")


def interrupted(scheduler: str, preset: str, out: Path) -> None:
    def stop(fraction: float, text: str) -> None:
        if (out / "records.jsonl").exists() and len(lines(out)) >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(preset, out=out, scheduler=scheduler, progress=stop)


@pytest.mark.long
def test_an_interrupt_loses_nothing_and_leaves_the_cluster_idle(one_thread: str, tmp_path: Path) -> None:
    preset, out = tiny_preset(tmp_path, seeds="[0]"), tmp_path / "run"
    interrupted(one_thread, preset, out)
    kept = lines(out)
    assert len(kept) >= 4
    with distributed.Client(one_thread, set_as_default=False) as client:
        deadline = time.monotonic() + 60
        while any(client.processing().values()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(client.processing().values())
    compare(preset, out=out, scheduler=one_thread, resume=True)
    compare(preset, out=tmp_path / "here", workers=0)
    assert lines(out) == lines(tmp_path / "here")
    assert set(kept) <= set(lines(out))


@pytest.mark.long
def test_a_task_that_nobody_waits_for_ends(one_thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask cannot end what a worker is at; the task looks whether it is still asked for."""
    steps: list[int] = []
    step = Trainer.train_step

    def counted(trainer: Trainer, *content: Any) -> Any:
        steps.append(1)
        return step(trainer, *content)

    monkeypatch.setattr(Trainer, "train_step", counted)
    preset = tiny_preset(tmp_path, seeds="[0]", steps="5000", at="[0, 2, 5000]")
    interrupted(one_thread, preset, tmp_path / "run")
    with cluster._AT_WORK:
        assert len(steps) < 5000


@pytest.mark.long
def test_what_is_lost_on_the_way_comes_with_the_end(
    one_thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = tiny_preset(tmp_path, seeds="[0]")
    compare(preset, out=tmp_path / "here", workers=0)
    monkeypatch.setattr(distributed.Worker, "log_event", lambda *content: None)
    compare(preset, out=tmp_path / "there", scheduler=one_thread)
    assert lines(tmp_path / "there") == lines(tmp_path / "here")


# -- what cannot be, and is said ---------------------------------------------------------------------------------------


def refused(scheduler: str, tmp_path: Path, said: str, **options: Any) -> None:
    with pytest.raises(UserError, match=said):
        compare(tiny_preset(tmp_path, seeds="[0]"), out=tmp_path / "run", scheduler=scheduler, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("late", [False, True], ids=["there", "came later"])
@pytest.mark.parametrize("name", ["bntheory", "torch", "numpy", "code"])
def test_a_worker_with_other_versions_is_named(
    one_thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, late: bool
) -> None:
    """Here is the main thread, the worker is another. One that comes later finds out with its first task."""
    if late:
        monkeypatch.setattr(cluster, "look_around", lambda *content: ("", "a processor", 1))
    real = cluster.here()

    def here() -> dict[str, str]:
        main = threading.current_thread() is threading.main_thread()
        return {**real, name: "0.0"} if main else real

    monkeypatch.setattr(cluster, "here", here)
    said = "other code" if name == "code" else f"has {name} .*, but 0.0 starts the run; install the same"
    refused(one_thread, tmp_path, rf"worker inproc://.*{said}")


def test_a_worker_that_sums_on_several_threads_is_refused(
    one_thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    refused(one_thread, tmp_path, "start it with OPENBLAS_NUM_THREADS=1")


def test_a_worker_without_a_device_is_named(one_thread: str, tmp_path: Path) -> None:
    refused(one_thread, tmp_path, "worker .*'abacus' is no device", device="abacus")
    refused(one_thread, tmp_path, "none of the 1 workers .* offers the resource GPU", device="cuda")


@pytest.mark.parametrize("one_thread", [{"GPU": 1}], indirect=True)
def test_a_worker_that_offers_a_gpu_has_to_have_one(
    one_thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(one_thread, tmp_path, "worker .*torch sees no CUDA device", device="cuda")


def idx_folder(folder: Path) -> Path:
    """Four IDX files of a few images."""
    import numpy as np

    data = load_dataset()
    folder.mkdir()
    for split, name, count in (("train", "train", 400), ("test", "t10k", 60)):
        images = getattr(data, f"{split}_images")[:count, 0].numpy()
        labels = getattr(data, f"{split}_labels")[:count].numpy().astype(np.uint8)
        head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = b"\0\0\x08\x01" + len(labels).to_bytes(4, "big")
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    return folder


def changed(folder: Path) -> None:
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\0" if path.read_bytes()[-1] else path.read_bytes()[:-1] + b"\1")


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "worker .*: data_dir: .* does not exist"),
        (changed, "worker .*: data: what it has as idx is not what this run began with"),
    ],
    ids=["not there", "other content"],
)
def test_data_are_read_where_the_worker_is(
    one_thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: Callable[[Path], Any], said: str
) -> None:
    """What this machine has loaded is of no use to a worker."""
    folder = idx_folder(tmp_path / "data")
    real = comparison.make_manifest

    def make_manifest(*content: Any, **options: Any) -> dict[str, Any]:
        then(folder)
        return real(*content, **options)

    cluster._images.cache_clear()
    monkeypatch.setattr(comparison, "make_manifest", make_manifest)
    refused(one_thread, tmp_path, said, data="idx", data_dir=folder)


@pytest.mark.long
def test_a_folder_of_data_is_read_by_the_worker(one_thread: str, tmp_path: Path) -> None:
    folder, preset = idx_folder(tmp_path / "data"), tiny_preset(tmp_path, seeds="[0]")

    def made(out: str, **how: Any) -> CompareResult:
        return compare(preset, out=tmp_path / out, data="idx", data_dir=folder, **how)

    cluster._images.cache_clear()
    made("there", scheduler=one_thread)
    made("here", workers=0)
    assert lines(tmp_path / "there") == lines(tmp_path / "here")


@pytest.mark.long
def test_a_scheduler_that_goes_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    preset, out = tiny_preset(tmp_path, seeds="[0]"), tmp_path / "run"
    made = distributed.LocalCluster(
        n_workers=1, processes=False, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    )

    def close(fraction: float, text: str) -> None:
        if (out / "records.jsonl").exists() and len(lines(out)) >= 4 and made.status.name == "running":
            made.close()

    with made, pytest.raises(UserError, match="is gone; once it is back, --resume goes on"):
        compare(preset, out=out, scheduler=made.scheduler_address, progress=close)
    compare(preset, out=out, resume=True, workers=0)
    compare(preset, out=tmp_path / "here", workers=0)
    assert lines(out) == lines(tmp_path / "here")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scheduler", "tcp://127.0.0.1:9", "--workers", "2"), "--workers, --scheduler: choose one"),
        (("--scheduler", "tcp://127.0.0.1:9"), "nobody answers at 'tcp://127.0.0.1:9'"),
        (("--scheduler", "nonsense"), "nobody answers at 'nonsense'"),
        (("--scheduler", "tcp://127.0.0.1:9", "--claims", "all"), "nobody answers"),
    ],
)
def test_bad_use(words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", "1s")
    found = CliRunner().invoke(app, ["compare", "--out", str(tmp_path / "run"), *words])
    assert found.exit_code == 2, found.output
    assert said in " ".join(found.output.split())
    assert "Traceback" not in found.output


def test_without_dask_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    refused("tcp://127.0.0.1:9", tmp_path, r"pip install 'bntheory\[cluster\]'")
