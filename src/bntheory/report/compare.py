"""The main job from end to end: run (or take up) an experiment, draw what it shows, decide, and say so with an exit code."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bntheory.errors import UserError
from bntheory.experiments.folder import MANIFEST, RunFolder, free_folder, latest_folder
from bntheory.experiments.preset import Preset, load_preset, preset_from_json

__all__ = ["CompareResult", "compare"]

FORMAT = 1
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class CompareResult:
    """Where a run lies and what it amounts to.

    exit_code: 0 where every proved identity held on every layer of every network, 1 where one failed, 2 where none failed and one could
    not be checked. failures: one sentence for
    each identity that failed, with network, layer, channel and both sides. report: the HTML page.
    """

    folder: Path
    report: Path
    exit_code: int
    failures: tuple[str, ...]
    verdicts: Mapping[str, Any]


def compare(
    preset: str | None = None,
    *,
    device: str | None = None,
    data: str | None = None,
    data_dir: str | Path | None = None,
    data_note: str = "",
    out: str | Path | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda fraction, text: None,
) -> CompareResult:
    """Train matched networks, measure every batch-norm layer in them, hold it against the theory, write the report.

    preset: a name of the package (``quick`` where left out) or the path of a TOML file. device: a torch device, ``cpu`` where
    left out. data, data_dir: as for
    :func:`bntheory.bridge.networks.data.load_dataset`; the preset's own data where left out. data_note: where the data come from, shown
    with every result. out: the folder of the run; ``runs/<preset>`` (numbered if taken) where left out. seeds: instead of the
    preset's. resume: go on with a run that was cut off; options left out are taken from it. overwrite: replace the run in ``out``. progress: called with the fraction
    done and what is being done.

    Raises UserError for bad use: unknown preset, unreadable or damaged data, unwritable folder, missing device, a folder that
    holds another run.
    """
    from bntheory.bridge.networks.data import load_dataset
    from bntheory.experiments.run import check_device, run_cells

    path = _folder(out, preset or "quick", resume=resume, overwrite=overwrite)
    old = RunFolder.read_manifest(path) if resume else None
    chosen = _preset(preset, old).with_options(
        data=data or (old["data"]["name"] if old else None), seeds=seeds or (old["seeds"] if old else None)
    )
    device = check_device(device or (old["device"] if old else "cpu"))
    progress(0.0, f"loading {chosen.data}")
    images = load_dataset(chosen.data, data_dir)
    manifest = make_manifest(chosen, images, device, data_note)
    if overwrite and (path / MANIFEST).exists():
        _remove_run(path)
    folder = RunFolder.resume(path, manifest) if resume else RunFolder.create(path, manifest)
    with folder.lock():
        records = run_cells(folder, chosen, images, device, progress, workers=_workers())
        progress(1.0, "writing the report")
        return finish(folder, chosen, records)


def finish(folder: RunFolder, preset: Preset, records: Sequence[Mapping[str, Any]]) -> CompareResult:
    """Verdicts, figures and page of a run whose records are complete."""
    from bntheory.experiments.answers import failures, run_verdicts
    from bntheory.report.run_page import write_report

    verdicts = run_verdicts(preset, records)
    report = write_report(folder, preset, records, verdicts)
    folder.write_json("verdicts.json", verdicts)
    failed = tuple(failures(records))
    return CompareResult(folder.path, report, int(verdicts["exit_code"]), failed, verdicts)


def _preset(name: str | None, old: Mapping[str, Any] | None) -> Preset:
    if name is None and old is not None:
        return preset_from_json(old["preset_content"])
    return load_preset(name or "quick")


def _folder(out: str | Path | None, preset: str, *, resume: bool, overwrite: bool) -> Path:
    if resume and overwrite:
        raise UserError("resume, overwrite: choose one; the first goes on with a run, the second replaces it")
    name = Path(preset).stem if preset.endswith(".toml") else preset
    if out is None:
        root = Path("runs")
        return latest_folder(root, name) if resume else free_folder(root, name)
    path = Path(out).expanduser()
    if path.exists() and not path.is_dir():
        raise UserError(f"out: {path} is a file; name a folder")
    if not resume and path.is_dir() and not (path / MANIFEST).exists() and any(path.iterdir()):
        raise UserError(f"out: {path} holds other files and no run; name an empty or a new folder")
    return path


def _remove_run(path: Path) -> None:
    """Remove what a run writes, and nothing else; the manifest goes first, so that half a removal leaves no run behind."""
    with RunFolder(path, {}).lock():
        (path / MANIFEST).unlink()
        for pattern in (
            "*.jsonl",
            "verdicts.json",
            "report.html",
            "figures/*.png",
            "checkpoints/cell-*.safetensors",
        ):
            for file in path.glob(pattern):
                file.unlink()


def make_manifest(preset: Preset, data: Any, device: str, data_note: str) -> dict[str, Any]:
    """What a run consists of; everything that two runs must share to give the same numbers, and when it began."""
    import numpy
    import scipy
    import torch

    import bntheory

    return {
        "format": FORMAT,
        "preset": preset.name,
        "preset_sha256": preset.sha256,
        "preset_content": preset.as_json(),
        "seeds": list(preset.seeds),
        "device": device,
        "device_name": torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor(),
        "data": {
            "name": data.name,
            "description": data.description,
            "licence": data.licence,
            "sha256": dict(data.sha256),
            "train": data.size("train"),
            "test": data.size("test"),
        },
        "data_note": data_note,
        "versions": {
            "bntheory": bntheory.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
            "scipy": scipy.__version__,
        },
        "source_sha256": source_hash(),
        "source_revision": source_revision(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _workers() -> int:
    """How many cells run side by side: the cores that this process may use, four at most, fewer where OMP_NUM_THREADS says so."""
    import torch

    return max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0)), 4))


_NUMBERS = ("arrays.py", "layer", "evidence", "smoothness", "bridge", "experiments")


def source_hash() -> str:
    """A hash of the source that decides a run's numbers (not of the report, whose code may improve under a finished run)."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for part in _NUMBERS:
        for path in _sources(root / part):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def source_revision() -> str | None:
    """The commit of the checkout that this package runs from, with "+changes" where files differ; None outside one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(
            ("git", "-C", str(root), *words), capture_output=True, text=True, timeout=20, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
