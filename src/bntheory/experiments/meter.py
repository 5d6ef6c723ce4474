"""How much of a run is done, in what its parts have cost so far: what the time left is read from. No number of a record
depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bntheory.evidence.progress import Progress
from bntheory.experiments.experiment import Needed
from bntheory.experiments.plan import Cost

if TYPE_CHECKING:
    from bntheory.evidence.record import Record

#: Rough costs of measures in training steps, until something has been timed.
ROUGH = {"sharpness": 40, "linearity": 60, "accuracy": 6, "shift": 25, "theory": 70}
ANY_MEASURE = 30
#: The name under which training stands beside the measures.
TRAIN = "train"
Part = tuple[str, str]
"""The recipe of an arm, and a measure or :data:`TRAIN`."""


class Meter:
    """Counts what is left of a run by its parts, and what each part has cost.

    A part that has not been timed costs what it does on the average of those that have, of the same network if there
    are any; a measure that nobody has timed costs so many training steps.

    costs: what is known at the start.
    """

    def __init__(
        self,
        asked: Sequence[Needed],
        left: Sequence[Needed],
        progress: Progress,
        costs: Mapping[str, Cost] | None = None,
    ) -> None:
        self.progress = progress
        at: dict[str, set[int]] = {}
        for n in asked:
            at.setdefault(n.state, set()).add(n.step)
        #: after how many steps each task was measured last
        self.looked: dict[str, int] = {}
        for n in reversed(left):  # the first one that is left of a task comes last
            self.looked[n.state] = max((step for step in at[n.state] if step < n.step), default=0)
        self.steps = dict(self.looked)
        self.total: Counter[Part] = Counter((n.recipe, n.measure.name) for n in left)
        for state, n in {n.state: n for n in left}.items():
            self.total[n.recipe, TRAIN] += max(at[state]) - self.steps[state]
        self.networks = {n.recipe: n.task.arm.network for n in left}
        self.done: Counter[Part] = Counter()
        self.timed: dict[Part, tuple[float, int]] = {
            (recipe, name): (seconds, 1)
            for recipe, cost in (costs or {}).items()
            if recipe in self.networks
            for name, seconds in {TRAIN: cost.step, **cost.measures}.items()
        }
        self._weigh()

    @property
    def fraction(self) -> float:
        """How much of what was left at the start is done, 0 to 1."""
        return min(self._spent / self._whole, 1.0) if self._whole else 1.0

    def at(self, one: Needed, kind: str, step: int) -> None:
        """A task has trained so far, or is about to measure there."""
        task = one.task
        if kind == "trained":
            self._trained(one, step)
        what = f"training, step {step}" if kind == "trained" else f"measuring at step {step}"
        self.progress(self.fraction, f"{task.arm.network}, seed {task.seed}, {task.arm.name}: {what}")

    def measured(self, asked: Sequence[Needed], records: Sequence[Record], timing: Mapping[str, Any]) -> None:
        """The records of a task after one step are kept. asked: all that the task is to do; timing: what the store
        keeps of it."""
        one, step = asked[0], int(timing["step"])
        self._trained(one, step)
        if any(record.diverged for record in records):  # and it ends there
            self.total.subtract((n.recipe, n.measure.name) for n in asked if n.step > step)
            self.total[one.recipe, TRAIN] -= max(n.step for n in asked) - step
        counts = Counter(record.measure for record in records)
        for name, count in counts.items():
            self._did((one.recipe, name), count)
        counts[TRAIN] = step - self.looked[one.state]
        self.looked[one.state] = step
        for name, seconds in timing["seconds"].items():
            if counts[name] > 0:
                before, times = self.timed.get((one.recipe, name), (0.0, 0))
                self.timed[one.recipe, name] = (before + seconds, times + counts[name])
        self._weigh()

    def _trained(self, one: Needed, step: int) -> None:
        self._did((one.recipe, TRAIN), max(0, step - self.steps[one.state]))
        self.steps[one.state] = max(self.steps[one.state], step)

    def _did(self, part: Part, count: int) -> None:
        self.done[part] += count
        self._spent += count * self.costs[part]

    def _weigh(self) -> None:
        """Reckon anew what every part costs, and what they come to."""
        near: dict[Part, list[float]] = {}
        for (recipe, name), (seconds, times) in self.timed.items():
            for of in (self.networks[recipe], ""):
                near.setdefault((of, name), []).append(seconds / times)
        mean = {part: sum(costs) / len(costs) for part, costs in near.items()}

        def cost(part: Part) -> float:
            recipe, name = part
            if part in self.timed:
                return self.timed[part][0] / self.timed[part][1]
            known = mean.get((self.networks[recipe], name), mean.get(("", name)))
            if known is None:
                known = 1.0 if name == TRAIN else cost((recipe, TRAIN)) * ROUGH.get(name, ANY_MEASURE)
            return known

        self.costs = {part: cost(part) for part in self.total}
        self._whole = sum(count * self.costs[part] for part, count in self.total.items())
        self._spent = sum(count * self.costs[part] for part, count in self.done.items())
