"""A preset that is done in seconds, for tests of the machinery around an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bntheory.bridge.networks.image_data import ImageData
from bntheory.experiments.experiment import Task
from bntheory.experiments.measure import measure
from bntheory.experiments.measures.situation import Situation
from bntheory.experiments.preset import Preset
from bntheory.experiments.worker import follow

TINY = """
about = "a run for tests"
data = "fashion-mnist-subset"
seeds = [0, 1]
[training]
steps = 6
batch_size = 16
learning_rate = 0.1
momentum = 0.5
[measure]
at = [0, 2, 6]
batch_size = 24
theory_batch_size = 12
hessian_units = 1
test_size = 50
[curvature]
batch_size = 16
tolerance = 0.2
max_products = 8
[[networks]]
name = "mlp"
kind = "mlp"
options = { layout = [6, 5] }
"""


def tiny_preset(folder: Path, **replace: str) -> str:
    """The path of a tiny preset; keywords replace its lines, as in ``seeds="[0]"``."""
    text = TINY
    for key, value in replace.items():
        lines = [f"{key} = {value}" if line.startswith(f"{key} =") else line for line in text.splitlines()]
        text = "\n".join(lines)
    path = folder / "tiny.toml"
    path.write_text(text)
    return str(path)


def at_start(preset: Preset, data: ImageData, arm: str, device: str = "cpu") -> Situation:
    """An arm of the first network at its initial values, from seed 0."""
    experiment = preset.experiment()
    task = Task(next(a for a in experiment.arms if a.name == arm), 0)
    return next(follow(task, [0], data, device, experiment.protocol))


def measured(preset: Preset, situation: Situation) -> dict[str, Any]:
    """The point that all measures of the preset make of it."""
    arm = situation.task.arm
    point: dict[str, Any] = {"network": arm.network, "arm": arm.name, "seed": 0, "step": 0, "identities": []}
    for asked in preset.experiment().measures:
        if asked.applies(arm) and asked.made_at(0, 0):
            values = measure(situation, asked)
            point |= {**values, "identities": [*point["identities"], *values.get("identities", [])]}
    return point
