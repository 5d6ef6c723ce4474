"""What a run consists of besides its preset: data, device, versions, source; for its manifest and for the address of its records."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bntheory.experiments.experiment import Conditions
from bntheory.experiments.preset import Preset

if TYPE_CHECKING:
    from bntheory.bridge.networks.image_data import ImageData

__all__ = ["conditions", "conditions_of", "make_manifest", "source_hash"]

FORMAT = 2


def conditions(data: ImageData, device: str) -> Conditions:
    """Those of records that are made now."""
    import numpy
    import torch

    return Conditions(
        {"name": data.name, "sha256": dict(data.sha256)},
        device.partition(":")[0],
        {"torch": str(torch.__version__), "numpy": numpy.__version__, "source": source_hash()},
    )


def conditions_of(manifest: Mapping[str, Any]) -> Conditions:
    """Those of the records of a run, from its manifest: what of it decides the numbers of its records."""
    versions = {name: manifest["versions"][name] for name in ("torch", "numpy")}
    return Conditions(
        {"name": manifest["data"]["name"], "sha256": manifest["data"]["sha256"]},
        manifest["device"].partition(":")[0],
        {**versions, "source": manifest["source_sha256"]},
    )


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


#: The source that decides the numbers of records; what only reads them may improve under a finished run.
_NUMBERS = (
    "arrays.py",
    "layer",
    "smoothness",
    "bridge",
    "experiments/arms.py",
    "experiments/images.py",
    "experiments/measure.py",
    "experiments/measures",
    "experiments/worker.py",
)


def source_hash() -> str:
    """A hash of the source that decides a run's numbers."""
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
