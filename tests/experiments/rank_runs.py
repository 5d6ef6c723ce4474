"""A small experiment run by ranks, for their tests: ``python rank_runs.py FOLDER [RANK]`` is what each of them does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from bntheory.bridge import synthetic_data
from bntheory.bridge.networks import data_parallel
from bntheory.commands.common import clear_errors
from bntheory.experiments import engine, manifest
from bntheory.experiments.experiment import Arm, Conditions, Experiment, Measure, Needed, Protocol, needed
from bntheory.experiments.ranks import joined
from bntheory.experiments.store import CHECKPOINTS, Store
from bntheory.experiments.worker import Workplace

DATA = synthetic_data(shape=(1, 6, 6), train=120, test=20, seed=3)
PROTOCOL = Protocol(8, (0, 2, 8), batch_size=15, measured=32, dtype="float64")
MEASURE = Measure("progress", {"batch_size": 32})
#: Between two looks: where the rank that is named dies.
LAST_STEP_OF_ITS_LIFE = 5


def arm(name: str, kind: str = "mlp", **changes: Any) -> Arm:
    layout = {"mlp": (6, 5), "vgg": (4, 0)}[kind]
    options = {"norm": name, "layout": layout, **changes.pop("options", {})}
    return Arm(kind, name, kind, options, **{"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.01, **changes})


#: Batch norm; convolutions; an arm on a rescaled loss; one whose scale underflows to zero, which every rank refuses alike.
ARMS = (
    arm("batch"),
    arm("noisy-batch", "vgg"),
    arm("none", rescaled_on=32),
    arm("l2", options={"eps": 0.0, "init_scale": 1e-200}),
)
REFUSED = "mlp-s0-l2"


def asked(folder: Path) -> list[Needed]:
    """What the folder is to hold, made by a code that does not change while tests run."""
    codes = {"progress": "fixed", "training": "fixed"}
    conditions = Conditions({"name": DATA.name}, "cpu", {"torch": "any"}, codes)
    return list(needed(Experiment("ranks", ARMS, PROTOCOL, (MEASURE,), (0,)), conditions))


def workplace(folder: Path) -> Workplace:
    data = {DATA.name: (Conditions({"name": DATA.name}, "cpu", {}), DATA)}
    return Workplace(data, "cpu", folder / CHECKPOINTS)


def run(folder: Path, failed: dict[str, str], says: list[str]) -> None:
    every = asked(folder)
    store = Store.create(folder)
    with store.lock(), engine.hired(0, None, "cpu") as crew:
        engine.run(every, store, workplace(folder), crew=crew, failed=failed, say=says.append)


def start(ranks: int, *words: str) -> list[subprocess.Popen[str]]:
    """The ranks' processes, started as torchrun would, each with a number that the test knows."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """(exit code, what was printed, what was said) of each."""
    found = []
    try:
        for process in processes:
            out, err = process.communicate(timeout=300)
            found.append((process.returncode, out, err))
    finally:
        for process in processes:
            process.kill()
    return found


@clear_errors
def main(folder: str, dies: str = "") -> None:
    manifest.here = lambda: {"code": "fixed"}  # type: ignore[assignment]  # which takes seconds otherwise
    if os.environ["RANK"] == dies:
        alive = data_parallel.SharedTrainer.train_step

        def step(self: data_parallel.SharedTrainer, batch: Any) -> None:
            if self.trainer.step == LAST_STEP_OF_ITS_LIFE:
                os.kill(os.getpid(), signal.SIGKILL)
            alive(self, batch)

        data_parallel.SharedTrainer.train_step = step  # type: ignore[method-assign]
    with joined() as goes_on:
        if goes_on:
            failed: dict[str, str] = {}
            said: list[str] = []
            run(Path(folder), failed, said)
            print(*said, *failed.values(), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
