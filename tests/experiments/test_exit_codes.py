"""What the command says and returns: 0, 1 with the failure named, 2 for every kind of bad use, and never a traceback.

The planted faults are errors in the closed form and in a captured network; the oracle for "fails" is that the unchanged code
passes on the same run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from tiny import tiny_preset
from typer.testing import CliRunner, Result

from bntheory.commands.compare import compare_command
from bntheory.commands.runs import runs
from bntheory.errors import Terminated, terminated_as_interrupted
from bntheory.experiments.measure import MEASURES
from bntheory.experiments.measures.situation import Options, Situation
from bntheory.experiments.store import RECORDS, Store
from bntheory.layer import BatchNormLayer


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where faults are planted; another process would not have them."""
    monkeypatch.setattr("bntheory.experiments.engine.default_workers", lambda device: 0)


def command(*words: str) -> Result:
    app = typer.Typer()
    app.command()(compare_command)
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def preset(tmp_path: Path) -> str:
    return tiny_preset(tmp_path, seeds="[0]", steps="2", at="[0, 2]")


@pytest.mark.long
def test_a_run_that_holds(preset: str, tmp_path: Path) -> None:
    result = command("--preset", preset, "--out", str(tmp_path / "run"), "--data-note", "a note <i>of mine</i>")
    assert result.exit_code == 0, result.output
    assert "all 11 proved identities held" in result.output
    assert str(tmp_path / "run" / "report.html") in result.output
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_text())
    assert verdicts["passed"] is True
    assert verdicts["exit_code"] == 0
    assert all(i["units"] > 0 and i["failing"] == 0 for i in verdicts["identities"].values())
    assert {o["outcome"] for o in verdicts["outcomes"]} <= {
        "inconclusive",
        "not comparable",
    }  # one seed decides nothing
    page = (tmp_path / "run" / "report.html").read_text()
    assert "a note &lt;i&gt;of mine&lt;/i&gt;" in page
    found = command("--preset", preset, "--out", str(tmp_path / "second"), "--json")
    said = json.loads(found.stdout)
    assert (said["failures"], len(said["identities"])) == ([], 11)
    again = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert again.exit_code == 2
    assert "holds a run already" in again.output
    replaced = command("--preset", preset, "--out", str(tmp_path / "run"), "--overwrite", "--seeds", "3")
    assert replaced.exit_code == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["seeds"] == [3]


def _wrong_gradient(self: BatchNormLayer) -> Any:
    return (self.gamma / self.sigma) * (self.grad - self._mean(self.grad))  # forgets the part along y_hat


def _slightly_wrong_bend(original: Callable[..., Any]) -> Callable[..., Any]:
    def product(self: BatchNormLayer, v: Any) -> Any:
        return original(self, v) * (1 + 1e-6)

    return product


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "identity"),
    [
        ("projection", "dL̂/dy = (γ/σ) P g"),
        ("hessian product, by one part in a million", "d²L̂/dy² v"),
        ("gradient of gamma", "dL̂/dγ = ⟨ŷ,g⟩"),
    ],
)
def test_a_planted_fault_is_exit_code_1_and_named(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plant: str, identity: str
) -> None:
    if plant == "projection":
        monkeypatch.setattr(BatchNormLayer, "input_grad", property(_wrong_gradient))
    elif plant.startswith("hessian"):
        monkeypatch.setattr(BatchNormLayer, "input_hess", _slightly_wrong_bend(BatchNormLayer.input_hess))
    else:
        import bntheory.experiments.measures.theory as theory

        original = theory.loss_and_gradients

        def wrong(*args: Any) -> Any:
            value, gradients = original(*args)
            return value, [g * (1 + 1e-8) for g in gradients]

        monkeypatch.setattr(theory, "loss_and_gradients", wrong)
    result = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert identity in result.output
    for word in ("mlp (batchnorm, seed 0, step", "layer hidden", "channel", "left", "right", "report:"):
        assert word in result.output
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_text())
    assert verdicts["passed"] is False
    assert "does not hold here" in (tmp_path / "run" / "report.html").read_text()


def _truncated_cifar(folder: Path) -> Path:
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(b"\0" * 1000)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--preset nope", "'nope' is unknown; choose one of smoke, quick"),
        ("--preset missing.toml", "cannot be read"),
        ("--preset {preset} --seeds one", "no list of whole numbers"),
        ("--preset {preset} --seeds 1,1", "give different numbers"),
        ("--preset {preset} --device quantum", "no device"),
        ("--preset {preset} --device cuda:77", "CUDA device"),
        ("--preset {preset} --device meta", "only cpu and cuda"),
        ("--preset {preset} --data mnist", "'mnist' is unknown"),
        ("--preset {preset} --data cifar10", "needs the folder"),
        ("--preset {preset} --data cifar10 --data-dir {tmp}/none", "does not exist"),
        ("--preset {preset} --data cifar10 --data-dir {cifar}", "data_batch_1.bin"),
        ("--preset {preset} --out {preset}", "is a file"),
        ("--preset {preset} --out /proc/none", "cannot be written"),
        ("--preset {preset} --out ./~no.such.user", "begins with ~"),
        ("--preset {preset} --out {cifar}", "holds other files"),
        ("--preset {preset} --out {tmp}/none --resume", "there is no run"),
        ("--preset {preset} --out {tmp}/none --resume --overwrite", "choose one"),
        ("--no-such-option", "No such option"),
    ],
)
def test_bad_use_is_exit_code_2_without_a_traceback(preset: str, tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "cifar").mkdir()
    cifar = _truncated_cifar(tmp_path / "cifar")
    filled = [w.format(preset=preset, tmp=tmp_path, cifar=cifar) for w in words.split()]
    if "--out" not in filled:
        filled += ["--out", str(tmp_path / "run")]
    result = command(*filled)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert not (tmp_path / "run" / "records.jsonl").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ({"options": '{ sise = "tiny" }'}, "sise"),
        ({"options": "{ layout = [0] }"}, "layout"),
        ({"theory_batch_size": "1"}, "theory_batch_size is 1; it must be at least 2"),
        ({"theory_batch_size": "1000000"}, "more than the 10000 training images"),
        ({"learning_rate": "inf"}, "learning_rate is inf"),
        ({"learning_rate": "nan"}, "learning_rate is nan"),
        ({"momentum": "nan"}, "momentum is nan"),
        ({"hessian_units": "0"}, "hessian_units is 0"),
        ({"tolerance": "nan"}, "tolerance is nan"),
        ({"max_products": "1"}, "max_products is 1"),
        ({"name": '"../x"'}, "'../x'"),
        ({"kind": '"unet"'}, "'unet' is unknown"),
        ({"seeds": "[100000000000000000000]"}, "give different numbers"),
        ({"data": "3"}, "data is 3"),
        ({"steps": "2.5"}, "steps is 2.5"),
    ],
    ids=str,
)
def test_a_preset_that_cannot_be_run_is_bad_use_and_leaves_no_folder(
    tmp_path: Path, lines: dict[str, str], said: str
) -> None:
    result = command("--preset", tiny_preset(tmp_path, **lines), "--out", str(tmp_path / "runs" / "x"))
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert not (tmp_path / "runs" / "x").exists()


def test_a_defect_is_exit_code_3_asks_for_a_report_and_leaves_no_folder(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bntheory.experiments.engine as engine

    def broken(*args: Any, **options: Any) -> Any:
        raise IndexError("list index out of range")

    monkeypatch.setattr(engine, "run", broken)
    result = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert result.exit_code == 3
    assert "internal error: IndexError: list index out of range" in result.output
    assert "Please report it" in result.output
    assert not (tmp_path / "run").exists()


def _idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def test_data_of_one_class_are_bad_use(preset: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for part, size in (("train", 200), ("t10k", 60)):
        _idx(tmp_path / f"{part}-images-idx3-ubyte", draw.integers(0, 255, (size, 28, 28)))
        _idx(tmp_path / f"{part}-labels-idx1-ubyte", np.full(size, 3))
    result = command("--preset", preset, "--data", "idx", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "the same label" in result.output
    assert not (tmp_path / "run").exists()


MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no data": lambda m: m.pop("data"),
    "no seeds": lambda m: m.update(seeds=["a"]),
    "another preset": lambda m: m.update(preset_content={"x": 1}),
    "empty": lambda m: m.clear(),
    "device": lambda m: m.update(device=3),
    "versions": lambda m: m.update(versions={}),
    "sums": lambda m: m["data"].update(sha256=None),
    "a version that is infinite": lambda m: m["versions"].update(torch=1e999),
    "half a character": lambda m: m.update(data_note="\ud800"),
    "a newer version's": lambda m: m.update(format=4),
    "no note": lambda m: m.pop("data_note"),
    "no name": lambda m: m.pop("preset"),
}


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_ends_a_run_as_an_interrupt_does_with_code_143(tmp_path: Path, workers: int) -> None:
    """Of a scheduler, which sends it to the command alone: it says how to go on, its workers end, and what was measured stays."""
    preset, out = tiny_preset(tmp_path, seeds="[0, 1, 2, 3, 4, 5]"), tmp_path / "run"
    words = ["compare", "--preset", preset, "--out", str(out), "--workers", str(workers), "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bntheory", *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / RECORDS).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        _, said = process.communicate(timeout=60)
        assert process.returncode == 143
        assert said == "ended by SIGTERM; the same command with --resume goes on with it\n"
        while _lives(process.pid):  # Python's own tracker of resources ends a moment later
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert Store(out).read().every()
    assert Store(out).read().faults == ()


def test_sigterm_is_an_interrupt_inside_alone_and_no_fork_takes_it_for_one() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with terminated_as_interrupted():
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:  # which waits for its end, and has another one only where the signal did not end it
            with suppress(BaseException):
                os.write(theirs, b"ready")
                time.sleep(10)
            os._exit(0)
        os.read(ours, 5)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_broken_manifest_is_bad_use(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bntheory.experiments.engine as engine

    def stopped(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(engine, "run", stopped)
        assert command("--preset", preset, "--out", str(tmp_path / "run")).exit_code == 130
    manifest = tmp_path / "run" / "manifest.json"
    whole = manifest.read_text()  # an interrupted run stays, to go on with
    for name, change in MANIFESTS.items():
        content = json.loads(whole)
        change(content)
        manifest.write_text(json.dumps(content))
        result = command("--out", str(tmp_path / "run"), "--resume")
        assert (name, result.exit_code) == (name, 2), result.output
        assert "manifest" in result.output
    manifest.write_text("[" * 100_000)
    result = command("--out", str(tmp_path / "run"), "--resume")
    assert (result.exit_code, "nested too deeply" in result.output) == (2, True), result.output


def test_help_teaches() -> None:
    text = command("--help").output
    for word in ("--preset", "--device", "--data-dir", "--resume", "Exit code", "quick"):
        assert word in text


@pytest.mark.long
def test_a_diverged_arm_is_recorded_and_said(tmp_path: Path) -> None:
    preset = tiny_preset(tmp_path, seeds="[0]", learning_rate="1e30", at="[0, 6]")
    result = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert result.exit_code == 2, result.output  # what is measured after the start alone was never checked
    assert "first-layer-shift was never checked" in result.output
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_text())
    assert any("standard at step 6" in d for d in verdicts["diverged"])
    count = len(verdicts["diverged"])
    said = f"{count} run{'' if count == 1 else 's'} diverged"
    assert said in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.long
def test_a_refused_curvature_is_said_and_leaves_the_rest(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("the operator is not symmetric: planted")

    for module in ("sharpness", "linearity"):
        monkeypatch.setattr(f"bntheory.experiments.measures.{module}.top_eigenvalues", refuse)
    result = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    verdicts = json.loads((tmp_path / "run" / "verdicts.json").read_text())
    points = 2 * 4 + 1  # batch norm with its twins after two steps, the standard network after the last
    assert len(verdicts["refused"]) == points
    assert "planted" in (tmp_path / "run" / "report.html").read_text()
    answers = {o["name"]: o for o in verdicts["outcomes"]}
    assert answers["top-eigenvalue.twin"]["estimate"] is None
    assert answers["affine-share.y-hat"]["estimate"] is not None


def test_a_full_disk_is_a_message(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "No space left" in result.output
    assert "Traceback" not in result.output


@pytest.mark.long
def test_a_measurement_that_is_refused_says_of_which_run(tmp_path: Path) -> None:
    """A learning rate at which batch norm's input overflows before the loss does."""
    preset = tiny_preset(tmp_path, seeds="[3]", learning_rate="1e3")
    result = command("--preset", preset, "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "mlp-s3-batchnorm: layer 'hidden" in result.output
    assert "overflow" in result.output
    made = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    assert {r["arm"] for r in made if r["step"] == 6} > {"standard", "detached"}  # what came after it all the same


@pytest.mark.long
def test_a_measurement_that_fails_is_noted_and_tried_again(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is short at two of 16 measurements. The oracle is the run that had enough: the same records in the end."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    with monkeypatch.context() as patched:
        original = MEASURES["accuracy"]

        def short(at: Situation, options: Options) -> Any:
            if at.task.arm.name in ("standard", "rescaled"):
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: planted")
            return original(at, options)

        patched.setattr("bntheory.experiments.measure.MEASURES", {**MEASURES, "accuracy": short})
        result = command("--preset", preset, "--out", str(run))
        assert result.exit_code == 2, result.output
        said = command("--preset", preset, "--out", str(tmp_path / "json"), "--json")
        assert len(json.loads(said.stdout)["refused"]) == 2
    why = "mlp-s0-standard, accuracy, at step 2: RuntimeError: DefaultCPUAllocator: can't allocate memory: planted"
    verdicts = json.loads((run / "verdicts.json").read_text())
    assert verdicts["refused"][0] == why
    assert (len(verdicts["refused"]), verdicts["exit_code"]) == (2, 2)
    assert verdicts["missing"].startswith("2 of the ")
    assert "2 measurements were refused or failed" in (run / "report.html").read_text()
    app = typer.Typer()
    app.command()(runs)
    found = CliRunner().invoke(app, [str(run), "--json"])
    assert json.loads(found.stdout)["refused"] == verdicts["refused"]
    assert command("--out", str(run), "--resume").exit_code == 0
    assert json.loads((run / "verdicts.json").read_text())["refused"] == []
    assert command("--preset", preset, "--out", str(whole)).exit_code == 0
    lines = [sorted((folder / "records.jsonl").read_bytes().splitlines()) for folder in (run, whole)]
    assert lines[0] == lines[1]


def test_another_block_of_seeds_is_one_of_numbers_that_are_seeds(tmp_path: Path) -> None:
    result = command("--claims", "all", "--block", "99999999999999999999", "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()
