"""One task after another in a process of its own: train to each step that is asked for, measure, hand the records over.

A worker owns no file but its tasks' checkpoints. Records go to the parent, which writes them and says so; only then is
the checkpoint that follows them written, so work is repeated rather than lost, and repeating it gives the same numbers.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.keepers import kept_outside
from bntheory.bridge.networks.noise import set_noise_step
from bntheory.bridge.networks.training import Trainer, reproducible
from bntheory.errors import UserError
from bntheory.evidence.record import Record, plain, trail
from bntheory.experiments.arms import make_trainer
from bntheory.experiments.experiment import Conditions, Needed, Protocol, Task
from bntheory.experiments.images import LOSSES, images_of, training_batch
from bntheory.experiments.measure import measure
from bntheory.experiments.measures.situation import Situation
from bntheory.experiments.own import is_own, left_as_found, not_in_checkpoint
from bntheory.experiments.ranks import Ranks
from bntheory.experiments.store import Unwritable
from bntheory.experiments.together import trained_together
from bntheory.experiments.toys import DRAWN, MEASURES

#: (kind, content): "records" (records, timing), "trained" (step), "measuring" (step), "said" (text), "refused" (addresses
#: of records that cannot be had, message, where it happened), "unwritable" (why the store takes no more).
Emit = Callable[[str, Any], None]


@dataclass(frozen=True)
class Workplace:
    """What all tasks of a run share.

    data: by the name of a data set, its conditions and images; none of what is drawn from the seed. checkpoints: the
    folder of the tasks' states; None: none are kept. ranks: who trains each network together with this process; None:
    nobody.
    """

    data: Mapping[str, tuple[Conditions, ImageData | None]]
    device: str
    checkpoints: Path | None
    ranks: Ranks | None = None


@dataclass(frozen=True)
class Assignment:
    """A task, by all that is to be measured on it.

    together: the assignments of several tasks that may be trained as one, of whose records ``asked`` is the whole.
    """

    asked: tuple[Needed, ...]
    together: tuple[Assignment, ...] = ()

    @property
    def task(self) -> Task:
        """The task."""
        return self.asked[0].task

    def by_step(self) -> dict[int, list[Needed]]:
        """What is to be measured, step after step."""
        found: dict[int, list[Needed]] = {}
        for n in sorted(self.asked, key=lambda n: n.step):
            found.setdefault(n.step, []).append(n)
        return found


def do(assignment: Assignment, place: Workplace, emit: Emit) -> None:
    """Do one assignment. ``emit`` returns once what it was given is safe; an exception out of it ends the task."""
    if assignment.together:
        _do_together(assignment.together, place, emit)
        return
    one, steps = assignment.asked[0], assignment.by_step()
    if one.data == DRAWN:
        _do_toy(one, steps, place, emit)
        return
    with left_as_found(one.task.arm.kind):
        _do_run(one, steps, place, emit)


def _do_run(one: Needed, steps: Mapping[int, Sequence[Needed]], place: Workplace, emit: Emit) -> None:
    """A task's records, step after step, with a checkpoint after each that another one follows."""
    task, protocol, own, last = one.task, one.protocol, one.state, max(steps)
    conditions, data = place.data[one.data]
    assert data is not None
    path = None if place.checkpoints is None else place.checkpoints / f"{own}.safetensors"
    images = images_of(data, protocol, task.seed)
    trainer, factor, on = _taken_up(task, images, path, own, min(steps), place.device, protocol, emit)
    conditions.hold(task.arm.kind, one)
    of_a_user = is_own(task.arm.kind)
    untrained = kept_outside(trainer.model) if of_a_user else {}
    ranks = place.ranks
    if ranks is not None:
        why = ranks.why_alone(trainer.model, min(protocol.batch_size, images.size("train")))
        if of_a_user:
            why = "the others do not have its file"
        if why:
            emit("said", f"{task.name}: is trained by one rank alone, since {why}")
            ranks = None
    for step, asked in steps.items():
        began = time.perf_counter()
        if trainer.step < step:
            on = trail(on, trainer.step, 1 if ranks is None else ranks.size)
        at = _trained(trainer, factor, step, task, images, place.device, protocol, emit, ranks)
        emit("measuring", step)
        made = {"ranks": on} if on else {}
        diverged = _recorded(at, asked, conditions, time.perf_counter() - began, emit, made)
        if diverged:
            break
        if path is not None and of_a_user and (changed := not_in_checkpoint(trainer.model, untrained)):
            emit(
                "said",
                f"{task.name}: cut off, it starts over, since training changes {changed}, which no checkpoint holds; what a network "
                "registers as a buffer is in it",
            )
            path.unlink(missing_ok=True)
            path = None
        if path is not None and step != last:
            try:
                trainer.save(path, {"task": own, **made})
            except (UserError, OSError) as error:
                emit("unwritable", f"{error}. What was finished is kept; put that right, and --resume goes on")
                raise
    if path is not None:
        path.unlink(missing_ok=True)


def _do_together(members: Sequence[Assignment], place: Workplace, emit: Emit) -> None:
    """Tasks that are looked at after the same steps, as one where that is faster; else, and where they cannot be, one
    by one.

    As one they keep no checkpoints: a checkpoint goes on to the numbers of its run alone.
    """
    runs, steps = [m.asked[0] for m in members], [m.by_step() for m in members]
    conditions, data = place.data[runs[0].data]
    assert data is not None
    try:
        followed = trained_together(runs, list(steps[0]), data, place.device, lambda step: emit("trained", step))
    except Exception:  # one of them cannot be trained, and says so by itself
        followed = None
    if followed is None:
        for number, member in enumerate(members):
            try:
                do(member, place, emit if number == len(members) - 1 else _without_steps(emit))
            except Unwritable:
                raise
            except Exception as error:  # the other runs may do
                emit("refused", ([n.address for n in member.asked], *failure(error)))
        return
    left = dict(enumerate(steps))
    for step, seconds, situations in followed:
        for number in list(left):
            emit("measuring", step)
            asked = left[number][step]
            as_one = {"folded": str(len(runs))}
            if _recorded(situations[number], asked, conditions, seconds, emit, as_one):
                del left[number]
        if not left:
            break


def _without_steps(emit: Emit) -> Emit:
    """Says what matters, and not how far it is: the steps that are said count for all tasks of an assignment."""
    return lambda kind, content: None if kind in ("trained", "measuring") else emit(kind, content)


def _recorded(
    at: Situation, asked: Sequence[Needed], conditions: Conditions, trained: float, emit: Emit, made: Mapping[str, str]
) -> bool:
    """Measure, and hand over the records; whether the run has diverged. trained: seconds. made: how, where it was not
    by this process alone.

    "folded": with how many runs it was trained as one; "ranks": on how many ranks.
    """
    seconds, records = {"train": trained}, []
    kind = at.task.arm.kind
    own = at.model if is_own(kind) else None
    with left_as_found(kind, model=own):
        diverged = at.diverged
    for n in asked:
        began, name = time.perf_counter(), n.measure.name
        try:
            with left_as_found(kind, name, model=own):
                values = {} if diverged else plain(measure(at, n.measure))
            conditions.hold(name, n)
        except Exception as error:  # the other measures of this run may do
            emit("refused", ([n.address], *failure(error)))
            continue
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began
        code = {"code": n.folded} if "folded" in made else {}
        records.append(_record(n, conditions, values, diverged, {**code, **made}))
    _hand_over(asked[0], records, seconds, emit)
    return diverged


def _record(n: Needed, conditions: Conditions, values: Any, diverged: bool, made: Mapping[str, str]) -> Record:
    setting = conditions.setting(n.task.arm, n.protocol, n.measure)
    return Record(**n.called, setting=setting, values=values, diverged=diverged, made={**n.made, **made})


def _hand_over(one: Needed, records: Sequence[Record], seconds: Mapping[str, float], emit: Emit) -> None:
    """The records of a run after one step, and what they have cost. one: of what was asked for there."""
    arm, rounded = one.task.arm, {name: round(s, 4) for name, s in seconds.items()}
    timing = {"network": arm.network, "arm": arm.name, "seed": one.task.seed, "step": one.step}
    emit("records", (records, {**timing, "recipe": one.recipe, "seconds": rounded}))


def _do_toy(one: Needed, steps: Mapping[int, Sequence[Needed]], place: Workplace, emit: Emit) -> None:
    """A toy's records, measure after measure, one a step."""
    conditions, _ = place.data[one.data]
    for name in dict.fromkeys(n.measure.name for asked in steps.values() for n in asked):
        own = {step: n for step, asked in steps.items() for n in asked if n.measure.name == name}
        began = time.perf_counter()
        for n, values in zip(own.values(), MEASURES[name](one.task, list(own)), strict=False):
            record = _record(n, conditions, plain(values or {}), values is None, {})
            _hand_over(n, [record], {"train": 0.0, name: time.perf_counter() - began}, emit)
            began = time.perf_counter()


def follow(task: Task, steps: Sequence[int], data: ImageData, device: str, protocol: Protocol) -> Iterator[Situation]:
    """The task after each of the steps, in their order, without a store: for what no record holds. Thread counts are
    the caller's."""
    images = images_of(data, protocol, task.seed)
    trainer, factor = make_trainer(task, images, device, protocol)
    for step in steps:
        yield _trained(trainer, factor, step, task, images, device, protocol, lambda kind, content: None)


def _taken_up(
    task: Task, images: ImageData, path: Path | None, own: str, first: int, device: str, protocol: Protocol, emit: Emit
) -> tuple[Trainer, float, str]:
    """The task's trainer where its checkpoint left it, trained on these ranks; at its start where there is none that
    can be believed."""
    trainer, factor = make_trainer(task, images, device, protocol)
    if path is None or not path.exists():
        return trainer, factor, ""
    try:
        found = trainer.load(path)
        if found.get("task") == own and trainer.step <= first:
            return trainer, factor, str(found.get("ranks", ""))
        if found.get("task") != own:
            emit("said", f"{path}: is the checkpoint of another task; {task.name} starts over")
    except UserError as error:
        emit("said", f"{error}; {task.name} starts over")
    return *make_trainer(task, images, device, protocol), ""


def _trained(
    trainer: Trainer,
    factor: float,
    step: int,
    task: Task,
    images: ImageData,
    device: str,
    protocol: Protocol,
    emit: Emit,
    ranks: Ranks | None = None,
) -> Situation:
    """The one training loop of all experiments, up to a step; and the situation there. ranks: who takes part in each
    step."""
    together: AbstractContextManager[Callable[[Any], Any]] = nullcontext(trainer.train_step)
    if ranks is not None and trainer.step < step:
        first = training_batch(images, protocol, task.seed, trainer.step, device)
        together = ranks.stretch(trainer, LOSSES[protocol.loss], factor, step, first)
    with together as train_step:
        while trainer.step < step:
            train_step(training_batch(images, protocol, task.seed, trainer.step, device))
            if trainer.step % 10 == 0 or trainer.step == step:
                emit("trained", trainer.step)
    set_noise_step(trainer.model, step)
    return Situation(task, step, trainer.model.train(), trainer.loss, factor, images, device, protocol)


def serve(connection: Connection) -> None:
    """The life of a worker process: assignments in, records out, until there are no more or the parent is gone.

    Before the first one on a data set comes the workplace with that data.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's to deal with
    places: dict[str, Workplace] = {}

    def emit(kind: str, content: Any) -> None:
        connection.send((kind, content))
        if kind == "records":
            connection.recv()

    with single_threaded(), reproducible():
        try:
            while (message := connection.recv()) is not None:
                if isinstance(message, Workplace):
                    ((name, (own, images)),) = message.data.items()
                    moved = images and images.to(message.device)
                    places[name] = Workplace({name: (own, moved)}, message.device, message.checkpoints)
                    continue
                try:
                    do(message, places[message.asked[0].data], emit)
                except Exception as error:
                    connection.send(("failed", failure(error)))
                else:
                    connection.send(("done", None))
        except (EOFError, OSError):
            os._exit(1)  # the parent was killed: there is nobody to work for


def failure(error: Exception) -> tuple[str, str | None]:
    """(message, where it happened), the latter for what is no bad use but a defect."""
    if isinstance(error, UserError):
        return str(error), None
    return f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))


@contextmanager
def single_threaded() -> Iterator[None]:
    """One thread an operation inside, put back afterwards: how a sum is split over threads changes its last bits.

    Those of torch. NumPy's take their number from the environment when they are loaded
    (:data:`bntheory.experiments.crew.ONE_THREAD`).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
