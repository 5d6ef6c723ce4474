"""Several runs trained as one: which of them may be, whether it is faster here and now, and the training itself.

A run may be trained as one with others where its records were asked for so
(:attr:`bntheory.experiments.experiment.Needed.folded`). It then has the same initial values and batches as alone, and
its numbers differ by rounding (:mod:`bntheory.bridge.networks.folded`), so its records name a make of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.folded import FoldedTrainer, timed_sample, why_not_foldable
from bntheory.evidence.record import canonical
from bntheory.experiments.arms import make_trainer
from bntheory.experiments.experiment import Needed
from bntheory.experiments.images import LOSSES, images_of, training_batch
from bntheory.experiments.measures.situation import Situation

#: The kinds of networks that are tried, and how many at least: on a CPU convolutions gain nothing and a few small
#: networks little.
_TRIED = {
    "cpu": (8, ("mlp", "deep-linear", "ioffe-mnist")),
    "cuda": (2, ("mlp", "deep-linear", "ioffe-mnist", "vgg", "resnet")),
}
#: More than this are no faster, and take memory.
_MOST = 32
#: A shorter training is done before a timed sample has paid.
_STEPS = 50


def groups(runs: Sequence[Sequence[Needed]], device: str, workers: int) -> list[list[int]]:
    """Which of the runs, each given by what is asked of it, are tried as one: lists of their numbers.

    They share kind, options and preparation of the network, protocol and data, and all the steps at which they are
    looked at. No worker is left idle by it.
    """
    least, kinds = _TRIED[device.partition(":")[0]]
    alike: dict[str, list[int]] = {}
    for number, asked in enumerate(runs):
        arm, steps = asked[0].task.arm, sorted({n.step for n in asked})
        if all(n.folded for n in asked) and arm.kind in kinds and steps[-1] >= _STEPS:
            shape = [arm.kind, dict(arm.options), arm.prepared, asked[0].protocol.deciding()]
            alike.setdefault(canonical([*shape, asked[0].protocol.measured, asked[0].data, steps]), []).append(number)
    found = []
    for numbers in alike.values():
        parts = max(workers, ceil(len(numbers) / _MOST))
        if len(numbers) >= parts * least:
            found += [numbers[part::parts] for part in range(parts)]
    return found


def trained_together(
    runs: Sequence[Needed],
    steps: Sequence[int],
    data: ImageData,
    device: str,
    said: Callable[[int], None] = lambda step: None,
) -> Iterator[tuple[int, float, list[Situation]]] | None:
    """(step, seconds that a run's training took, the situation of each run) after each step; None where one by one is
    faster or they cannot be one.

    runs: one of the records of each. said: called with the step that is reached, now and then. Thread counts are the
    caller's.
    """
    protocol = runs[0].protocol
    images = [images_of(data, protocol, run.task.seed) for run in runs]
    made = [make_trainer(run.task, own, device, protocol) for run, own in zip(runs, images, strict=True)]
    trainers, factors = [trainer for trainer, _ in made], [factor for _, factor in made]
    if why_not_foldable([trainer.model for trainer in trainers]):
        return None

    def batches(step: int) -> list[Any]:
        return [
            training_batch(own, protocol, run.task.seed, step, device) for run, own in zip(runs, images, strict=True)
        ]

    loss = LOSSES[protocol.loss]
    if not timed_sample(trainers, batches(0), loss, factors).worth_it:
        return None

    def followed() -> Iterator[tuple[int, float, list[Situation]]]:
        folded = FoldedTrainer(trainers, loss, factors)
        for step in steps:
            began = time.perf_counter()
            step_together(folded, step, batches, said)
            seconds = (time.perf_counter() - began) / len(runs)
            at = [
                Situation(run.task, step, t.model.train(), t.loss, factor, own, device, run.protocol)
                for run, t, factor, own in zip(runs, trainers, factors, images, strict=True)
            ]
            yield step, seconds, at

    return followed()


def step_together(
    folded: FoldedTrainer, step: int, batches: Callable[[int], list[Any]], said: Callable[[int], None]
) -> None:
    """Train all up to a step, and bring every trainer there."""
    while folded.step < step:
        folded.train_step(batches(folded.step))
        if folded.step % 10 == 0 or folded.step == step:
            said(folded.step)
    folded.write_back()
