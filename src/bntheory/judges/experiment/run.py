"""The run: every cell trained from measured step to measured step, its records written as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bntheory.bridge.data import ImageData, batch_at
from bntheory.bridge.training import Trainer, reproducible
from bntheory.errors import UserError
from bntheory.judges.experiment.arms import Cell, cells, make_trainer
from bntheory.judges.experiment.measure import measure
from bntheory.judges.experiment.presets import Preset
from bntheory.judges.experiment.run_folder import RunFolder

__all__ = ["check_device", "run_cells"]

Progress = Callable[[float, str], None]
#: Rough cost of measuring one point of each arm, in training steps; only the time left that is shown depends on it.
_MEASURE_COST = {"batchnorm": 250.0, "standard": 90.0, "rescaled": 90.0}


def check_device(name: str) -> str:
    """The device, if torch has it. Raises UserError otherwise."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device: {name!r} is no device; use cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device: {name!r}: float64 is needed, which only cpu and cuda have here")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device: {name!r} was asked for, but torch sees no CUDA device; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device: {name!r} does not exist; there are {torch.cuda.device_count()} CUDA devices"
        )
    return name


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """``count`` threads inside: sums are split by them, so that numbers repeat bit for bit only for the same count."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_cells(
    folder: RunFolder,
    preset: Preset,
    data: ImageData,
    device: str,
    progress: Progress = lambda fraction, text: None,
) -> list[dict[str, Any]]:
    """Do what is left of the run and return all its records.

    A cell goes on from its checkpoint, or from its start where there is none; measurements whose record is on disk are not made
    again. Numbers do not depend on where a run was cut.
    """
    data = data.to(device)
    with fixed_threads(int(folder.manifest["threads"])), reproducible():
        done = {(r["cell"], r["step"]) for r in folder.records()}
        ended = {r["cell"] for r in folder.records() if r["diverged"]}
        meter = _Meter(preset, progress, done)
        for cell in cells(preset):
            steps = [s for s in preset.measure.at if (cell.name, s) not in done]
            if cell.name in ended or not steps:
                folder.drop_checkpoint(cell.name)
                continue
            _run_cell(folder, cell, steps, preset, data, device, meter)
    return folder.records()


def _run_cell(
    folder: RunFolder,
    cell: Cell,
    steps: list[int],
    preset: Preset,
    data: ImageData,
    device: str,
    meter: _Meter,
) -> None:
    meter.say(cell, "starting")
    trainer, factor = make_trainer(cell, preset, data, device)
    path = folder.checkpoint_path(cell.name)
    if path.exists():
        trainer.load(path)
    for step in steps:
        began = time.perf_counter()
        _train_until(trainer, step, cell, preset, data, device, meter)
        trained = time.perf_counter()
        meter.say(cell, f"measuring at step {step}")
        record = measure(cell, trainer, factor, preset, data, device)
        seconds = {
            "train": round(trained - began, 3),
            "measure": round(time.perf_counter() - trained, 3),
        }
        folder.append(record, timing={"cell": cell.name, "step": step, **seconds})
        meter.measured(cell)
        if record["diverged"]:
            break
        if step != steps[-1]:
            trainer.save(path)
    folder.drop_checkpoint(cell.name)


def _train_until(
    trainer: Trainer, step: int, cell: Cell, preset: Preset, data: ImageData, device: str, meter: _Meter
) -> None:
    while trainer.step < step:
        trainer.train_step(
            batch_at(data, trainer.step, batch_size=preset.training.batch_size, seed=cell.seed, device=device)
        )
        meter.trained(cell, trainer.step)


class _Meter:
    """How much of the run is done, by the rough cost of its parts."""

    def __init__(self, preset: Preset, progress: Progress, done: set[tuple[str, int]]) -> None:
        self.progress = progress
        last = preset.measure.at[-1]
        plan = cells(preset)
        self.total = sum(last + len(preset.measure.at) * _MEASURE_COST[c.arm] for c in plan)
        self.spent = 0.0
        for cell in plan:
            reached = [s for s in preset.measure.at if (cell.name, s) in done]
            self.spent += max(reached, default=0) + len(reached) * _MEASURE_COST[cell.arm]

    def say(self, cell: Cell, what: str) -> None:
        text = f"{cell.network.name}, seed {cell.seed}, {cell.arm}: {what}"
        self.progress(min(self.spent / self.total, 1.0), text)

    def trained(self, cell: Cell, step: int) -> None:
        self.spent += 1
        if step % 10 == 0:
            self.say(cell, f"training, step {step}")

    def measured(self, cell: Cell) -> None:
        self.spent += _MEASURE_COST[cell.arm]
