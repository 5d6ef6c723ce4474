"""What experiments would cost: from a timed sample on this device, or from what a store says that it has cost.

A task is trained step by step and cannot be cut, so however many devices there are, the longest task is the least time
(of one device: what several would make of a task together, :mod:`.ranks`, is not reckoned).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bntheory.evidence.progress import Progress, silent
from bntheory.experiments.experiment import Needed

if TYPE_CHECKING:
    from bntheory.bridge.networks.image_data import ImageData

#: Training steps that are timed, after one that is not.
STEPS = 3


@dataclass(frozen=True)
class Cost:
    """Seconds of one arm: of a training step, and of each measure once. network: what its experiment calls it."""

    network: str
    step: float
    measures: Mapping[str, float]


#: What a timing says; seconds by the name of a measure, and by "train".
_KEPT = {"recipe": str, "network": str, "seed": int, "step": int, "seconds": dict}
#: By the recipe of an arm (:meth:`Conditions.recipe`).
Costs = Mapping[str, Cost]


@dataclass(frozen=True)
class Plan:
    """What is left to do. seconds: of every task with something left, by its address; memory: bytes at the peak of the
    sample, None if unknown."""

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
    asked: Sequence[Needed], data: Mapping[str, ImageData], device: str, progress: Progress = silent
) -> tuple[dict[str, Cost], int | None]:
    """(cost of every arm, peak memory): a few steps and every measure once, from the first seed, on one thread as a
    worker has it.

    data: the images by the name of their data set.
    """
    import torch

    from bntheory.bridge.networks.training import reproducible
    from bntheory.experiments.arms import make_trainer
    from bntheory.experiments.images import images_of, training_batch
    from bntheory.experiments.measure import measure
    from bntheory.experiments.measures.situation import Situation
    from bntheory.experiments.worker import single_threaded

    on_cuda = torch.device(device).type == "cuda"

    def seconds(action: Callable[[], Any]) -> float:
        began = time.perf_counter()
        action()
        if on_cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    arms: dict[str, list[Needed]] = {}
    for n in asked:
        arms.setdefault(n.recipe, []).append(n)
    found: dict[str, Cost] = {}
    with single_threaded(), reproducible():
        for recipe, of in arms.items():
            task, protocol = of[0].task, of[0].protocol
            progress(len(found) / len(arms), f"timing {task.arm.network}, {task.arm.name}")
            images = images_of(data[of[0].data], protocol, task.seed)
            trainer, factor = make_trainer(task, images, device, protocol)
            batch = training_batch(images, protocol, task.seed, 0, device)
            times = [seconds(lambda t=trainer, b=batch: t.train_step(b)) for _ in range(1 + STEPS)]  # type: ignore[misc]
            model, loss = trainer.model.train(), trainer.loss
            at = Situation(task, trainer.step, model, loss, factor, images, device, protocol)
            measures = {n.measure.name: n.measure for n in of}
            taken = {name: seconds(lambda m=m, at=at: measure(at, m)) for name, m in measures.items()}  # type: ignore[misc]
            found[recipe] = Cost(task.arm.network, min(times[1:]), taken)
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


def costs_of(timings: Iterable[Mapping[str, Any]]) -> dict[str, Cost]:
    """The mean costs of each arm over a store's timings; what is none, or of no record as a monitor's, is left out."""
    train: dict[str, dict[int, dict[int, float]]] = {}
    measures: dict[str, dict[str, list[float]]] = {}
    networks: dict[str, str] = {}
    for t in timings:
        kept = all(isinstance(t.get(name), kind) for name, kind in _KEPT.items()) and "train" in t["seconds"]
        if not (kept and all(isinstance(seconds, (int, float)) for seconds in t["seconds"].values())):
            continue
        key = t["recipe"]
        networks[key] = t["network"]
        train.setdefault(key, {}).setdefault(t["seed"], {})[t["step"]] = t["seconds"]["train"]
        for name, seconds in t["seconds"].items():
            if name != "train":
                measures.setdefault(key, {}).setdefault(name, []).append(seconds)
    return {
        key: Cost(
            networks[key],
            fmean(sum(steps.values()) / max(max(steps), 1) for steps in seeds.values()),
            {name: fmean(values) for name, values in measures.get(key, {}).items()},
        )
        for key, seeds in train.items()
    }


def plan(left: Sequence[Needed], costs: Costs, memory: int | None = None) -> Plan:
    """What these records cost. Every task that lacks one is trained from its start, since its checkpoint may be gone.

    An arm of unknown cost counts as the mean of the known ones of its network, or of all.
    """
    last: dict[str, Needed] = {}
    seconds: dict[str, float] = {}
    for n in left:
        measures = _of(n, costs).measures
        seconds[n.state] = seconds.get(n.state, 0.0) + measures.get(n.measure.name, 0.0)
        last[n.state] = max(n, last.get(n.state, n), key=lambda n: n.step)
    for state, n in last.items():
        seconds[state] += n.step * _of(n, costs).step
    return Plan(seconds, len(left), memory)


def _of(n: Needed, costs: Costs) -> Cost:
    network = n.task.arm.network
    if n.recipe in costs:
        return costs[n.recipe]
    near = [c for c in costs.values() if c.network == network] or list(costs.values())
    if not near:
        return Cost(network, 0.0, {})
    names = {name for c in near for name in c.measures}
    measures = {name: fmean(c.measures[name] for c in near if name in c.measures) for name in names}
    return Cost(network, fmean(c.step for c in near), measures)
