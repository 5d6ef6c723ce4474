"""What a run consists of besides its preset: data, device, versions, code; for its manifest and for its records."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bntheory.evidence.closure import Package, own_version, package, place_of
from bntheory.evidence.record import digest
from bntheory.experiments.experiment import TRAINING, Conditions
from bntheory.experiments.folder import FORMAT
from bntheory.experiments.own import is_own, own_code
from bntheory.experiments.preset import Preset
from bntheory.experiments.toys import DRAWN, MEASURES

if TYPE_CHECKING:
    from bntheory.bridge.networks.image_data import ImageData


def conditions(data: ImageData, device: str, *, fold: bool = False) -> Conditions:
    """Those of records that are made now; fold: by runs that may be trained as one."""
    return Conditions(
        {"name": data.name, "sha256": dict(data.sha256)},
        device.partition(":")[0],
        _libraries(),
        codes(),
        folded_codes() if fold else {},
    )


def conditions_of(manifest: Mapping[str, Any]) -> Conditions:
    """Those of the records of a run, from its manifest: what of it decides the numbers of its records."""
    versions = {name: manifest["versions"][name] for name in ("torch", "numpy")}
    return Conditions(
        {"name": manifest["data"]["name"], "sha256": manifest["data"]["sha256"]},
        manifest["device"].partition(":")[0],
        versions,
        manifest["code"],
        manifest.get("folded", {}),
    )


def _libraries() -> dict[str, str]:
    """The versions of those that numbers depend on."""
    import numpy
    import torch

    return {"torch": str(torch.__version__), "numpy": numpy.__version__}


#: Where training is, besides the measures: how a network is built, trained and looked at, on which images and in how
#: many threads.
_TRAINING = {
    "bntheory.experiments.worker": ("_taken_up", "_trained", "single_threaded"),
    "bntheory.experiments.images": ("images_of",),
    "bntheory.experiments.measures.situation": ("Situation",),
    "bntheory.bridge.networks.data": ("load_dataset",),
    "bntheory.bridge.networks.image_data": ("ImageData",),
    "bntheory.bridge.networks.training": ("reproducible",),
    "bntheory.bridge.networks.data_parallel": ("SharedTrainer",),  # a question is one, on however many ranks
}
_FOLDED = {"bntheory.experiments.together": ("step_together",), "bntheory.bridge.networks.folded": ("FoldedTrainer",)}


@cache
def codes(source: Package | None = None) -> dict[str, str]:
    """The fingerprint of the code that each measure rests on, training included, by the measure's name; of training
    alone by ``TRAINING``.

    source: the package to read; this one where left out.
    """
    return _fingerprints(source or package(), _TRAINING)


@cache
def folded_codes() -> dict[str, str]:
    """The same of runs that are trained as one with others."""
    return _fingerprints(package(), {**_TRAINING, **_FOLDED})


def _fingerprints(own: Package, training: Mapping[str, Sequence[str]]) -> dict[str, str]:
    from bntheory.experiments.measure import MEASURES

    roots = [(module, name) for module, names in training.items() for name in names]
    found = {name: own.fingerprint([*roots, place_of(measure)]) for name, measure in MEASURES.items()}
    return {**found, TRAINING: own.fingerprint(roots)}


def own_codes(kinds: Iterable[str]) -> dict[str, str]:
    """The code of those kinds of networks that are in a user's file."""
    return {kind: own_code(kind) for kind in kinds if is_own(kind)}


def toy_conditions() -> Conditions:
    """Those of records of toys, whose data are drawn from the seed."""
    found = {name: package().fingerprint([place_of(measure)]) for name, measure in MEASURES.items()}
    return Conditions({"name": DRAWN}, "cpu", _libraries(), {**found, TRAINING: ""})  # no state is kept


@cache
def here() -> dict[str, str]:
    """What numbers depend on besides what a task says: versions, and the code of all measures."""
    return {"bntheory": own_version(), **_libraries(), "code": digest([codes(), dict(toy_conditions().codes)])}


def device_name(device: str) -> str:
    """What a device of this machine is called."""
    import torch

    return torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()


def make_manifest(
    preset: Preset, data: Any, device: str, data_note: str, name: str | None = None, *, fold: bool = False
) -> dict[str, Any]:
    """What a run consists of; everything that two runs must share to give the same numbers, and when it began.

    name: what the device is called; where left out, :func:`device_name` says it. fold: runs may be trained as one.
    """
    import scipy

    names = [*(m.name for m in preset.experiment().measures), TRAINING]
    return {
        "format": FORMAT,
        "preset": preset.name,
        "preset_sha256": preset.sha256,
        "preset_content": preset.as_json(),
        "seeds": list(preset.seeds),
        "device": device,
        "device_name": name or device_name(device),
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
            "bntheory": own_version(),
            "python": platform.python_version(),
            **_libraries(),
            "scipy": scipy.__version__,
        },
        "code": {name: codes()[name] for name in names} | own_codes(network.kind for network in preset.networks),
        **({"folded": {name: folded_codes()[name] for name in names}} if fold else {}),
        "source_revision": source_revision(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


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
