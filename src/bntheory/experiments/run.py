"""The run: every cell trained from measured step to measured step, its records written as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

import torch

from bntheory.bridge.networks.data import ImageData, batch_at
from bntheory.bridge.networks.training import Trainer, reproducible
from bntheory.errors import UserError
from bntheory.experiments.arms import Cell, cells, make_trainer
from bntheory.experiments.folder import RunFolder
from bntheory.experiments.measure import measure
from bntheory.experiments.preset import Preset

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
def single_threaded_operations() -> Iterator[None]:
    """One thread an operation inside, put back afterwards: how a sum is split over threads changes its last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
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
    *,
    workers: int = 1,
) -> list[dict[str, Any]]:
    """Do what is left of the run and return all its records, ordered by cell and step.

    A cell goes on from its checkpoint, or from its start where there is none; measurements whose record is on disk are not made
    again. On the CPU ``workers`` cells run side by side, each operation on one thread (networks of this size gain little from
    more), so numbers depend neither on where a run was cut nor on the number of workers.
    """
    data = data.to(device)
    on_cpu = torch.device(device).type == "cpu"
    plan = cells(preset)
    existing = folder.records()
    done = {(r["cell"], r["step"]) for r in existing}
    ended = {r["cell"] for r in existing if r["diverged"]}
    meter = _Meter(preset, progress, done)
    run = _Run(folder, preset, data, device, meter)
    with ExitStack() as stack:
        stack.enter_context(reproducible())
        if on_cpu:
            stack.enter_context(single_threaded_operations())
        pool = (
            ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
            if on_cpu
            else ThreadPoolExecutor(1)
        )
        waiting: list[Future[None]] = []
        try:
            for cell in plan:
                steps = [s for s in preset.measure.at if (cell.name, s) not in done]
                if cell.name in ended or not steps:
                    folder.drop_checkpoint(cell.name)
                else:
                    waiting.append(pool.submit(run.cell, cell, steps))
            for future in as_completed(waiting):
                future.result()
        finally:
            meter.stop.set()  # after an error or an interrupt the other cells end at their next step
            pool.shutdown(wait=True, cancel_futures=True)
    order = {cell.name: number for number, cell in enumerate(plan)}
    return sorted(folder.records(), key=lambda r: (order[r["cell"]], r["step"]))


class _Stopped(Exception):  # noqa: N818 - not an error of this cell
    """Another cell failed, or the run was interrupted."""


@dataclass(frozen=True)
class _Run:
    folder: RunFolder
    preset: Preset
    data: ImageData
    device: str
    meter: _Meter

    def cell(self, cell: Cell, steps: list[int]) -> None:
        """Train one cell from step to step; the record comes first, then the checkpoint."""
        meter, folder = self.meter, self.folder
        meter.say(cell, "starting")
        trainer, factor = make_trainer(cell, self.preset, self.data, self.device)
        path = folder.checkpoint_path(cell.name)
        if path.exists():
            trainer.load(path)
        for step in steps:
            began = time.perf_counter()
            self.train_until(trainer, step, cell)
            trained = time.perf_counter()
            meter.say(cell, f"measuring at step {step}")
            record = measure(cell, trainer, factor, self.preset, self.data, self.device)
            seconds = {"train": round(trained - began, 3), "measure": round(time.perf_counter() - trained, 3)}
            folder.append(record, timing={"cell": cell.name, "step": step, **seconds})
            meter.measured(cell)
            if record["diverged"]:
                break
            if step != steps[-1]:
                trainer.save(path)
        folder.drop_checkpoint(cell.name)

    def train_until(self, trainer: Trainer, step: int, cell: Cell) -> None:
        size = self.preset.training.batch_size
        while trainer.step < step:
            batch = batch_at(self.data, trainer.step, batch_size=size, seed=cell.seed, device=self.device)
            trainer.train_step(batch)
            self.meter.trained(cell, trainer.step)


class _Meter:
    """How much of the run is done, by the rough cost of its parts; and whether it is to stop."""

    def __init__(self, preset: Preset, progress: Progress, done: set[tuple[str, int]]) -> None:
        self.progress, self.stop, self.lock = progress, Event(), Lock()
        last = preset.measure.at[-1]
        plan = cells(preset)
        self.total = sum(last + len(preset.measure.at) * _MEASURE_COST[c.arm] for c in plan)
        self.spent = 0.0
        for cell in plan:
            reached = [s for s in preset.measure.at if (cell.name, s) in done]
            self.spent += max(reached, default=0) + len(reached) * _MEASURE_COST[cell.arm]

    def say(self, cell: Cell, what: str) -> None:
        if self.stop.is_set():
            raise _Stopped
        text = f"{cell.network.name}, seed {cell.seed}, {cell.arm}: {what}"
        with self.lock:
            self.progress(min(self.spent / self.total, 1.0), text)

    def trained(self, cell: Cell, step: int) -> None:
        with self.lock:
            self.spent += 1
        if step % 10 == 0:
            self.say(cell, f"training, step {step}")

    def measured(self, cell: Cell) -> None:
        with self.lock:
            self.spent += _MEASURE_COST[cell.arm]
