"""Workers of a Dask cluster that exists already: a task there is one assignment, and its records come back to this
machine's store.

Workers share no folder with this machine: they load the data themselves, by name or from a folder that is there, and
are held to the versions and the code that the records will name. Dask says which worker does what and does the task of
a lost one again elsewhere; what a task has measured is sent as soon as it is measured, so neither that nor an interrupt
loses it. Nothing is asked of the scheduler but that it passes on what it is given.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bntheory.bridge.networks.data import ImageData
from bntheory.bridge.networks.training import reproducible
from bntheory.devices import check_device
from bntheory.errors import UserError
from bntheory.experiments.crew import ONE_THREAD, Crew
from bntheory.experiments.manifest import device_name, here
from bntheory.experiments.own import dataset
from bntheory.experiments.toys import DRAWN
from bntheory.experiments.worker import Assignment, Workplace, do, failure, single_threaded

#: Seconds between two messages of a task that say no more than how far it is: the scheduler passes on those of all
#: tasks.
_OFTEN = 1.0
#: Until nobody is thought to be at an address.
_PATIENCE = "20s"
#: Random numbers and flags of torch belong to a process, so a worker with several threads does one task at a time.
_AT_WORK = threading.Lock()


class Cluster(Crew):
    """The workers of the scheduler at an address, as tcp://host:8786; where the device is a GPU, those with the
    resource GPU, one task for each.

    Raises UserError where Dask is not installed here, nobody is at the address, or a worker cannot do what is asked:
    other versions or code than here, several threads for one sum, no such device.
    """

    size = sys.maxsize  # Dask knows who is free, and an adaptive cluster grows with what waits

    def __init__(self, address: str, device: str, data_dir: str | Path | None, say: Callable[[str], None]) -> None:
        self.address, self.device, self.say = address, device, say
        self.data_dir = None if data_dir is None else str(Path(data_dir).expanduser())
        self.inbox: queue.SimpleQueue[tuple[str, str, Any]] = queue.SimpleQueue()
        self.tasks: dict[str, tuple[Assignment, Any]] = {}
        self.at: dict[str, str] = {}
        self.number = 0

    def __enter__(self) -> Cluster:
        try:
            from distributed import Client
        except ImportError:
            raise UserError(
                f"scheduler: {self.address} was given, but Dask is not installed here; pip install 'bntheory[cluster]'"
            ) from None
        try:
            self.client = Client(self.address, timeout=_PATIENCE, set_as_default=False, name="bntheory")
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"scheduler: nobody answers at {self.address!r} ({error}); start `dask scheduler` there, and give the address that it "
                "prints, as tcp://host:8786"
            ) from None
        try:
            self.topic = f"bntheory-{self.client.id}"
            self.client.subscribe_topic(self.topic, lambda event: self.inbox.put(pickle.loads(event[1])))
            self._look_around()
        except BaseException:
            self.client.close()
            raise
        return self

    def __exit__(self, *why: object) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self.client.unsubscribe_topic(self.topic)
        self.client.close()

    def _look_around(self) -> None:
        """Whether the workers that are there can do what is asked; those that come later find out with their first
        task."""
        told = False
        while not (found := self.client.run(_there("look_around"), _packed(here(), self.device), on_error="return")):
            if not told:
                self.say(f"no worker of {self.address} is there yet; waiting for one")
                told = True
            time.sleep(1)
        seen = {worker: _unpacked(worker, answer) for worker, answer in found.items()}
        wrong = [f"worker {worker}: {unfit}" for worker, (unfit, *_) in seen.items() if unfit]
        if wrong:
            more = f" (and {len(wrong) - 1} others of {len(seen)} workers)" if len(wrong) > 1 else ""
            raise UserError(f"{wrong[0]}{more}")
        names = {name for _, name, _ in seen.values() if name}
        if not names:
            raise UserError(
                f"device: {self.device!r} was asked for, but none of the {len(seen)} workers of {self.address} offers the resource GPU; "
                "start them as `dask worker ... --nthreads 1 --resources GPU=1`, one for each GPU"
            )
        self.device_name = ", ".join(sorted(names))
        wide = [worker for worker, (_, _, threads) in seen.items() if threads > 1]
        if wide and not self.device.startswith("cuda"):
            self.say(
                f"{len(wide)} workers of {self.address} have several threads, and do one task at a time all the same; start them with "
                "--nthreads 1 and --nworkers, so that every core has one"
            )

    def give(self, assignment: Assignment, place: Workplace) -> Hashable:
        self.number += 1
        name = f"{self.topic}-{self.number}"
        data = {assignment.asked[0].data: (place.data[assignment.asked[0].data][0], None)}
        sent = replace(place, data=data, checkpoints=None)
        future = self.client.submit(
            _there("work"),
            _packed(name, self.topic, here(), assignment, sent, self.data_dir),
            key=name,
            resources={"GPU": 1} if self.device.startswith("cuda") else None,
        )
        future.add_done_callback(lambda ended: self.inbox.put((name, "ended", ended)))
        self.tasks[name] = (assignment, future)
        return name

    def hear(self) -> Iterator[tuple[Any, str, Any]]:
        try:
            name, kind, content = self.inbox.get(timeout=1)  # without one, an interrupt would wait on Windows
        except queue.Empty:
            return
        if name not in self.tasks:  # dropped
            return
        if kind == "began":
            before, self.at[name] = self.at.get(name), content
            if before is not None:
                task = self.tasks[name][0].task.name
                yield name, "said", f"worker {before} is lost; {content} does {task} again"
        elif kind == "ended":
            said, end = self._ended(content)
            for part in said:
                yield name, "records", part
            del self.tasks[name]
            yield name, *end
        else:
            yield name, kind, content

    def _ended(self, future: Any) -> tuple[list[Any], tuple[str, Any]]:
        """All the records of a task, whatever became of the messages on the way, and how it ended."""
        from distributed import KilledWorker

        if future.status == "finished":
            said, failure = _unpacked("", future.result())
            return said, ("done", None) if failure is None else ("failed", failure)
        if future.status != "error":
            raise UserError(
                f"scheduler: {self.address} is gone; once it is back, --resume goes on with what was finished"
            )
        error = future.exception()
        if isinstance(error, ImportError):
            return [], ("failed", (_not_installed("a worker", error), None))
        if isinstance(error, KilledWorker):
            why = "took one worker after another with it; out of memory? Give them more"
            return [], ("failed", (f"{why}, and --resume goes on with what was finished", None))
        return [], ("failed", (f"{type(error).__name__}: {error}", "on a worker of the cluster"))

    def drop(self) -> None:
        futures = [future for _, future in self.tasks.values()]
        self.tasks, self.at = {}, {}
        if futures:
            with suppress(Exception):  # the scheduler may be gone
                self.client.cancel(futures, force=True)


def _there(name: str) -> Callable[..., bytes]:
    """A function of this file, to be called where a worker is. Sent by value, so that the scheduler needs nothing of
    this package."""

    def call(content: bytes, dask_worker: Any = None) -> bytes:
        import pickle
        from importlib import import_module

        from distributed import get_worker

        does = getattr(import_module("bntheory.experiments.cluster"), name)
        done: bytes = pickle.dumps(does(dask_worker or get_worker(), *pickle.loads(content)))
        return done

    return call


def _packed(*content: Any) -> bytes:
    return pickle.dumps(content)


def _unpacked(worker: str, answer: Any) -> Any:
    if isinstance(answer, ImportError):
        raise UserError(_not_installed(f"worker {worker}", answer))
    if isinstance(answer, BaseException):
        raise answer
    return pickle.loads(answer)


def _not_installed(worker: str, error: ImportError) -> str:
    return f"{worker}: cannot load bntheory ({error}); install there what is installed here, and start it again"


# -- what is done where a worker is ------------------------------------------------------------------------------------


def look_around(worker: Any, expected: dict[str, str], device: str) -> tuple[str, str, int]:
    """(why this worker cannot do what is asked, what its device is called, its threads); no name where it offers no
    GPU."""
    threads = worker.state.nthreads
    if device.startswith("cuda") and not worker.state.total_resources.get("GPU"):
        return "", "", threads
    unfit = _unfit(expected, device)
    return unfit, "" if unfit else device_name(device), threads


def _unfit(expected: dict[str, str], device: str) -> str:
    found = here()
    for name in ("bntheory", "torch", "numpy"):
        if found[name] != expected[name]:
            return f"has {name} {found[name]}, but {expected[name]} starts the run; install the same there and start it again"
    if found["code"] != expected["code"]:
        return f"has other code of bntheory {found['bntheory']} than starts the run; install the same there and start it again"
    wide = [name for name in ONE_THREAD if name != "VECLIB_MAXIMUM_THREADS" and os.environ.get(name) != "1"]
    if wide:
        return f"{wide[0]} is not 1, and how a sum is split over threads changes its last bits; start it with {' '.join(f'{n}=1' for n in wide)}"
    try:
        check_device(device)
    except UserError as error:
        return str(error)
    return ""


def work(
    worker: Any,
    name: str,
    topic: str,
    expected: dict[str, str],
    assignment: Assignment,
    place: Workplace,
    folder: str | None,
) -> tuple[list[Any], tuple[str, str | None] | None]:
    """(the records of an assignment, why it failed); what it says on the way goes out as messages of a topic."""
    said: list[Any] = []
    last = 0.0

    def emit(kind: str, content: Any) -> None:
        nonlocal last
        held = worker.state.tasks.get(name)
        if held is None or held.state == "cancelled":
            raise _Dropped
        if kind == "records":
            said.append(content)
        elif kind in ("trained", "measuring"):
            if time.monotonic() < last + _OFTEN:
                return
            last = time.monotonic()
        worker.log_event(topic, pickle.dumps((name, kind, content)))

    try:
        with _AT_WORK:
            emit("began", worker.address)
            if unfit := _unfit(expected, place.device):
                raise UserError(unfit)
            with single_threaded(), reproducible():
                do(assignment, _furnished(assignment, place, folder), emit)
    except _Dropped:
        return said, None
    except UserError as error:
        return said, (f"worker {worker.address}: {error}", None)
    except Exception as error:
        return said, failure(error)
    return said, None


class _Dropped(Exception):
    """Nobody waits for this task any longer."""


def _furnished(assignment: Assignment, place: Workplace, folder: str | None) -> Workplace:
    """The workplace with its images, which are to be those that the records will name."""
    name = assignment.asked[0].data
    conditions, _ = place.data[name]
    if name == DRAWN:
        return place
    images = _images(name, folder, place.device)
    if dict(images.sha256) != dict(conditions.data["sha256"]):
        raise UserError(
            f"data: what it has as {name} is not what this run began with (their SHA-256 differ); give it the same files"
        )
    return replace(place, data={name: (conditions, images)})


@lru_cache(maxsize=4)
def _images(name: str, folder: str | None, device: str) -> ImageData:
    return dataset(name, folder).to(device)
