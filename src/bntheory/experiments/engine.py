"""The engine: it does what experiments ask for and a store lacks, nothing twice, by as many workers as there are.

These are processes of this machine, one a core, or those of a Dask cluster. Processes and not threads: two threads that
run small networks hinder each other, two processes do not. Every one computes on one thread, so no number depends on
how many cores there are or how many workers were asked for. The parent alone writes. What a process hands over is on
the disk before it goes on; one that dies is replaced, and its task goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bntheory.bridge.networks.training import reproducible
from bntheory.devices import check_device, default_workers
from bntheory.errors import UserError
from bntheory.evidence.progress import Progress, silent
from bntheory.evidence.record import Record
from bntheory.experiments import worker
from bntheory.experiments.cluster import Cluster
from bntheory.experiments.crew import Crew, Processes
from bntheory.experiments.experiment import Needed, freshest, missing
from bntheory.experiments.meter import Meter
from bntheory.experiments.plan import costs_of
from bntheory.experiments.ranks import RankLost, present
from bntheory.experiments.store import Store, Unwritable
from bntheory.experiments.together import groups
from bntheory.experiments.worker import Assignment, Workplace, single_threaded

Say = Callable[[str], None]
#: So often a task may take its worker with it before the run is given up.
TRIES = 3


@contextmanager
def hired(
    workers: int | None,
    scheduler: str | None,
    device: str,
    *,
    data_dir: str | Path | None = None,
    say: Say = lambda text: None,
) -> Iterator[Crew | None]:
    """Who is to do the tasks; None: this process.

    workers: so many processes; None: :func:`default_workers`; 0: this process, for tests and debuggers. scheduler: the
    address of a Dask cluster, whose workers do them instead. device: is to be there, with whoever does them. data_dir:
    the folder from which a cluster's workers read the data. say: as in :func:`run`. Where ranks train together
    (:func:`.ranks.joined`), it is they, from this process.

    Raises UserError for a negative number, a device that is missing, both workers and scheduler, and as
    :class:`.cluster.Cluster`.
    """
    if workers is not None and workers < 0:
        raise UserError(f"workers: {workers} is negative; give a number of processes, 0 for this one alone")
    if present() is not None:
        if workers or scheduler is not None:
            raise UserError(
                f"{'workers' if workers else 'scheduler'}: torchrun's ranks train one network after another together; leave it out"
            )
        yield None
        return
    if scheduler is None:
        count = default_workers(check_device(device)) if workers is None else workers
        if count == 0:
            yield None
        else:
            with Processes(count) as crew:
                yield crew
        return
    if workers is not None:
        raise UserError("workers, scheduler: choose one; a cluster has as many workers as were started there")
    with Cluster(scheduler, device, data_dir, say) as cluster:
        yield cluster


def run(
    asked: Sequence[Needed],
    store: Store,
    place: Workplace,
    *,
    crew: Crew | None = None,
    progress: Progress = silent,
    say: Say = lambda text: None,
    failed: dict[str, str] | None = None,
) -> None:
    """Make every record that is asked for, by one experiment or many, and has no fresh one in the store. Hold the
    store's lock.

    crew: who does it (:func:`hired`); where left out, this process. say: called with a sentence for everything that a
    person should know: a checkpoint that could not be believed, a worker that died. failed: where it is given, a record
    that cannot be had is put here, by its address with the reason, which the store notes, and the others are made.

    Raises UserError where a task takes its worker with it again and again, or where records cannot be written.
    """
    asked = list({n.address: n for n in asked}.values())
    left = missing(asked, freshest(asked, store.read().versions))
    for state in {n.state for n in asked} - {n.state for n in left}:
        store.drop_checkpoint(state)
    todo, place = assignments(left), replace(place, ranks=present())
    if place.ranks is None:
        todo = _grouped(todo, place.device, 1 if crew is None else crew.size)
    elif todo:
        place.ranks.make_ready(place.device)
    parent = _Parent(store, Meter(asked, left, progress, costs_of(store.timings())), say, failed)
    if crew is None or not todo:
        _here(todo, place, parent)
    else:
        _Pool(parent, place, crew).work_off(todo)


def _here(todo: Sequence[Assignment], place: Workplace, parent: _Parent) -> None:
    """Everything in this process."""
    own = {name: (held, images and images.to(place.device)) for name, (held, images) in place.data.items()}
    place = replace(place, data=own)
    with single_threaded(), reproducible():
        for assignment in todo:
            try:
                worker.do(assignment, place, partial(parent.take, assignment))
            except (Unwritable, RankLost):
                raise
            except Exception as error:
                parent.fail(assignment, error)


def assignments(left: Sequence[Needed]) -> list[Assignment]:
    """What is left, task by task; measurements of one run on batches of different sizes are two."""
    found: dict[tuple[str, int], list[Needed]] = {}
    for n in left:
        found.setdefault((n.state, n.protocol.measured), []).append(n)
    return [Assignment(tuple(asked)) for asked in found.values()]


def _grouped(todo: Sequence[Assignment], device: str, workers: int) -> list[Assignment]:
    """The same, with one assignment for runs that are tried as one; those first, since they take longest."""
    found = groups([assignment.asked for assignment in todo], device, workers)
    of = [[todo[number] for number in group] for group in found]
    together = [Assignment(tuple(n for a in some for n in a.asked), tuple(some)) for some in of]
    return together + [a for number, a in enumerate(todo) if not any(number in group for group in found)]


class _Parent:
    """What becomes of the messages of the workers."""

    def __init__(self, store: Store, meter: Meter, say: Say, failed: dict[str, str] | None) -> None:
        self.store, self.meter, self.say, self.failed = store, meter, say, failed
        self.had: set[str] = set()  # of a task that is done again, what came the first time

    def take(self, assignment: Assignment, kind: str, content: Any) -> None:
        if kind == "records":
            records, timing = content
            records = [r for r in records if r.address not in self.had]
            if records:
                self.store.append(records, timing=timing)
                self.meter.measured(_of_one_run(assignment, records), records, timing)
                self.had |= {r.address for r in records}
        elif kind == "said":
            self.say(content)
        elif kind == "unwritable":
            raise Unwritable(content)
        elif kind == "refused":
            addresses, *said = content
            self._give_up(addresses, assignment, _failure(*said))
        else:
            for one in {n.state: n for n in assignment.asked}.values():
                self.meter.at(one, kind, content)

    def fail(self, assignment: Assignment, error: Exception) -> None:
        """This task cannot be done."""
        self._give_up([n.address for n in assignment.asked], assignment, error)

    def _give_up(self, addresses: Sequence[str], assignment: Assignment, error: Exception) -> None:
        """The end of the run, unless the caller wants to hear of all that cannot be had."""
        given_up = [n for n in assignment.asked if n.address in addresses]
        for name in dict.fromkeys(n.task.name for n in given_up):  # each of those that were to be trained as one
            said = f"{name}: {str(error).removeprefix(f'{name}: ')}"  # once, where a worker in this process is told
            if self.failed is None:
                raise UserError(said) if isinstance(error, UserError) else error
            self.failed |= {n.address: said for n in given_up if n.task.name == name}
            self.say(f"{said}; what else is asked for is made")
        left = [n for n in given_up if n.address not in self.had]
        self.store.refuse([{"address": n.address, **n.called, "why": str(error)} for n in left])


def _of_one_run(assignment: Assignment, records: Sequence[Record]) -> list[Needed]:
    """What is asked of the run that these records are of, among those that are trained as one."""
    made = {record.address for record in records}
    state = next((n.state for n in assignment.asked if n.address in made), assignment.asked[0].state)
    return [n for n in assignment.asked if n.state == state]


class _Pool:
    """Assignments handed out to a crew, and what comes back."""

    def __init__(self, parent: _Parent, place: Workplace, crew: Crew) -> None:
        self.parent, self.place, self.crew = parent, place, crew
        self.busy: dict[Hashable, Assignment] = {}
        self.tries: dict[tuple[str, int], int] = {}

    def work_off(self, todo: list[Assignment]) -> None:
        waiting = list(reversed(todo))
        try:
            while waiting or self.busy:
                while waiting and len(self.busy) < self.crew.size:
                    assignment = waiting.pop()
                    self.busy[self.crew.give(assignment, self.place)] = assignment
                for name, kind, content in self.crew.hear():
                    waiting += self._heard(name, kind, content)
        finally:
            self.crew.drop()

    def _heard(self, name: Hashable, kind: str, content: Any) -> list[Assignment]:
        """Take what a worker says; what is left to do of it, if it is gone."""
        assignment = self.busy[name]
        if kind in ("done", "failed", "lost"):
            del self.busy[name]
        if kind == "lost":
            return self._after_loss(assignment, content)
        if kind == "failed":
            self.parent.fail(assignment, _failure(*content))
        elif kind != "done":
            self.parent.take(assignment, kind, content)
        return []

    def _after_loss(self, assignment: Assignment, why: str) -> list[Assignment]:
        """What is left of the assignment of a worker that is gone."""
        name, key = assignment.task.name, (assignment.asked[0].state, assignment.asked[0].protocol.measured)
        self.tries[key] = self.tries.get(key, 0) + 1
        if self.tries[key] >= TRIES:
            told = f"its process died {TRIES} times ({why}); out of memory? Try fewer --workers"
            self.parent.fail(assignment, UserError(f"{told}; --resume goes on with what was finished"))
            return []
        self.parent.say(f"the process that did {name} died ({why}); another one goes on with it")
        asked = assignment.asked
        return assignments(missing(asked, freshest(asked, self.parent.store.read().versions)))


def _failure(text: str, trace: str | None) -> Exception:
    """A worker's exception in the parent: bad use as such, a defect with where it happened."""
    if trace is None:
        return UserError(text)
    error = RuntimeError(text)
    error.add_note(f"in a worker process:\n{trace}")
    return error
