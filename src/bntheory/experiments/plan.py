"""What an experiment would cost: from a timed sample on this device, or from what a store says that it has cost.

A task is trained step by step and cannot be cut, so however many devices there are, the longest task is the least time.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bntheory.experiments.experiment import Arm, Experiment, Needed, Task

if TYPE_CHECKING:
    from bntheory.bridge.networks.image_data import ImageData

__all__ = ["Cost", "Plan", "costs_of", "plan", "timed_sample"]

#: Training steps that are timed, after one that is not.
STEPS = 3


@dataclass(frozen=True)
class Cost:
    """Seconds of one arm: of a training step, and of each measure once."""

    step: float
    measures: Mapping[str, float]


Costs = Mapping[tuple[str, str], Cost]


@dataclass(frozen=True)
class Plan:
    """What is left to do. seconds: of every task with something left, by name; memory: bytes at the peak of the sample, None if unknown."""

    seconds: Mapping[str, float]
    records: int
    memory: int | None = None

    def wall(self, devices: int) -> float:
        """Seconds until the last of so many devices is done, each taking the longest task that is left."""
        busy = [0.0] * min(devices, max(len(self.seconds), 1))
        for seconds in sorted(self.seconds.values(), reverse=True):
            heapq.heapreplace(busy, busy[0] + seconds)
        return max(busy)


def timed_sample(
    experiment: Experiment,
    data: ImageData,
    device: str,
    progress: Callable[[float, str], None] = lambda fraction, text: None,
) -> tuple[dict[tuple[str, str], Cost], int | None]:
    """(cost of every arm, peak memory): a few steps and every measure once, from the first seed, on one thread as a worker has it."""
    import torch

    from bntheory.bridge.networks.training import reproducible
    from bntheory.experiments.arms import make_trainer
    from bntheory.experiments.images import images_of, training_batch
    from bntheory.experiments.measure import Situation, measure
    from bntheory.experiments.worker import single_threaded

    on_cuda = torch.device(device).type == "cuda"

    def seconds(action: Callable[[], Any]) -> float:
        began = time.perf_counter()
        action()
        if on_cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    found: dict[tuple[str, str], Cost] = {}
    protocol, seed = experiment.protocol, experiment.seeds[0]
    images = images_of(data, protocol, seed)
    with single_threaded(), reproducible():
        for number, arm in enumerate(experiment.arms):
            progress(number / len(experiment.arms), f"timing {arm.network}, {arm.name}")
            trainer, factor = make_trainer(Task(arm, seed), images, device, protocol)
            batch = training_batch(images, protocol, seed, 0, device)
            times = [seconds(lambda t=trainer, b=batch: t.train_step(b)) for _ in range(1 + STEPS)]  # type: ignore[misc]
            at = Situation(
                Task(arm, seed),
                trainer.step,
                trainer.model.train(),
                trainer.loss,
                factor,
                images,
                device,
                protocol,
            )
            found[arm.network, arm.name] = Cost(
                min(times[1:]),
                {
                    m.name: seconds(lambda m=m, at=at: measure(at, m))  # type: ignore[misc]
                    for m in experiment.measures
                    if m.applies(arm)
                },
            )
    return found, int(torch.cuda.max_memory_allocated(device)) if on_cuda else _peak_memory()


def _peak_memory() -> int | None:
    """Of this process, bytes; None where the system does not say."""
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def costs_of(timings: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Cost]:
    """The mean costs of each arm over a store's timings."""
    train: dict[tuple[str, str], dict[int, dict[int, float]]] = {}
    measures: dict[tuple[str, str], dict[str, list[float]]] = {}
    for t in timings:
        key = (t["network"], t["arm"])
        train.setdefault(key, {}).setdefault(t["seed"], {})[t["step"]] = t["seconds"]["train"]
        for name, seconds in t["seconds"].items():
            if name != "train":
                measures.setdefault(key, {}).setdefault(name, []).append(seconds)
    return {
        key: Cost(
            fmean(sum(steps.values()) / max(max(steps), 1) for steps in seeds.values()),
            {name: fmean(values) for name, values in measures.get(key, {}).items()},
        )
        for key, seeds in train.items()
    }


def plan(left: Sequence[Needed], costs: Costs, memory: int | None = None) -> Plan:
    """What these records cost. Every task that lacks one is trained from its start, since its checkpoint may be gone.

    An arm of unknown cost counts as the mean of the known ones of its network, or of all.
    """
    last: dict[str, tuple[Arm, int]] = {}
    seconds: dict[str, float] = {}
    for n in left:
        cost = _of(n.task.arm, costs)
        seconds[n.task.name] = seconds.get(n.task.name, 0.0) + cost.measures.get(n.measure.name, 0.0)
        last[n.task.name] = (n.task.arm, max(n.step, last.get(n.task.name, (n.task.arm, 0))[1]))
    for name, (arm, steps) in last.items():
        seconds[name] += steps * _of(arm, costs).step
    return Plan(seconds, len(left), memory)


def _of(arm: Arm, costs: Costs) -> Cost:
    known = costs.get((arm.network, arm.name))
    if known is not None:
        return known
    near = [c for (network, _), c in costs.items() if network == arm.network] or list(costs.values())
    if not near:
        return Cost(0.0, {})
    names = {name for c in near for name in c.measures}
    return Cost(
        fmean(c.step for c in near),
        {name: fmean(c.measures[name] for c in near if name in c.measures) for name in names},
    )
