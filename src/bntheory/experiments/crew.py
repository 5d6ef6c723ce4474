"""Workers: what the engine asks of them, and those that are processes of this machine.

Who does what, what is done again and what is given up is the engine's to say; a crew carries assignments to workers and
back what these say. Each process has a pipe of its own, so the death of one leaves the others alone, and computes on
one thread. What a task needs of data is sent to a process once. Workers elsewhere: :mod:`bntheory.experiments.cluster`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, cast

from bntheory.errors import UserError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from bntheory.experiments.worker import Assignment, Workplace

#: Set while workers start: NumPy's libraries read them when they are loaded, and only then.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Crew(ABC):
    """Workers that do assignments; they may outlive a run and end with the block.

    size: how many assignments are given out at a time. device_name: what their device is called, where it is not this
    machine's.
    """

    size: int
    device_name: str | None = None

    def __enter__(self) -> Crew:
        return self

    @abstractmethod
    def __exit__(self, *why: object) -> None: ...

    @abstractmethod
    def give(self, assignment: Assignment, place: Workplace) -> Hashable:
        """Have it done by somebody; the name under which :meth:`hear` speaks of it."""

    @abstractmethod
    def hear(self) -> Iterator[tuple[Any, str, Any]]:
        """(name, kind, content) of what workers say, once one says something; dealt with before the next is asked for.

        The kinds are those of :data:`bntheory.experiments.worker.Emit`, and of an end: "done"; "failed" (message, where
        it happened); "lost" (why): its worker is gone, and nobody else does it.
        """

    @abstractmethod
    def drop(self) -> None:
        """End whatever is still being done."""


@dataclass(eq=False)
class _Hand:
    """One process. has: the data sets that it was sent."""

    connection: Connection
    process: BaseProcess
    has: set[str] = field(default_factory=set)

    def end(self) -> int | None:
        """End it, whatever it is at; its exit code."""
        self.process.terminate()
        self.process.join(10)
        self.process.kill()  # where it has not ended
        self.process.join()
        self.connection.close()
        return self.process.exitcode


class Processes(Crew):
    """Processes of this machine, started when there is work for them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.idle: list[_Hand] = []
        self.busy: dict[Connection, _Hand] = {}

    def __exit__(self, *why: object) -> None:
        for hand in self.idle:
            with suppress(OSError):  # it is gone
                hand.connection.send(None)
            hand.process.join(10)
            hand.end()
        self.idle = []

    def give(self, assignment: Assignment, place: Workplace) -> Hashable:
        hand = self._given(assignment, place)
        self.busy[hand.connection] = hand
        return hand

    def hear(self) -> Iterator[tuple[Any, str, Any]]:
        for ready in cast("list[Connection]", wait(list(self.busy))):
            hand = self.busy[ready]
            try:
                kind, content = ready.recv()
            except (EOFError, OSError):
                del self.busy[ready]
                yield hand, "lost", f"exit code {hand.end()}"
                continue
            if kind in ("done", "failed"):
                del self.busy[ready]
                self.idle.append(hand)
            yield hand, kind, content
            if kind == "records":
                with suppress(OSError):  # it will be found dead
                    ready.send(None)

    def drop(self) -> None:
        for hand in self.busy.values():
            hand.end()
        self.busy = {}

    def _given(self, assignment: Assignment, place: Workplace) -> _Hand:
        while self.idle:
            hand = self.idle.pop()
            try:
                self._send(hand, assignment, place)
            except OSError:  # it died while it had nothing to do
                hand.end()
                continue
            return hand
        hand = self._start()
        with suppress(OSError):  # it will be found dead
            self._send(hand, assignment, place)
        return hand

    def _send(self, hand: _Hand, assignment: Assignment, place: Workplace) -> None:
        name = assignment.asked[0].data
        if name not in hand.has:
            try:
                hand.connection.send(replace(place, data={name: place.data[name]}))
            except RuntimeError as error:  # torch hands images over in shared memory
                hand.end()
                raise UserError(
                    f"the images cannot be shared with other processes ({error}); make room in shared memory (/dev/shm), or "
                    "compute in one process, as `bntheory compare --workers 0` does"
                ) from error
            hand.has.add(name)
        hand.connection.send(assignment)

    def _start(self) -> _Hand:
        from bntheory.experiments.worker import serve

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        with _one_thread(), _no_main():
            process.start()
        theirs.close()
        return _Hand(ours, process)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_main() -> Iterator[None]:
    """Keep a new process from running the user's script again, which a script without a guard would not survive.

    A worker needs nothing of it: all that it is given lives in this package.
    """
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    if "__file__" in kept:
        del main.__file__
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(main, name, value)
