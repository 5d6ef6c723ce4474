"""Worker processes, each with a pipe of its own: the death of one leaves the others alone, and they may outlive a run.

Every process computes on one thread. What a task needs of data is sent to a worker once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from bntheory.experiments.worker import Assignment, Workplace

__all__ = ["ONE_THREAD", "Crew", "Hand"]

#: Set while workers start: NumPy's libraries read them when they are loaded, and only then.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass
class Hand:
    """One worker. has: the data sets that it was sent."""

    connection: Connection
    process: BaseProcess
    has: set[str] = field(default_factory=set)

    def end(self) -> int | None:
        """End it, whatever it is at; its exit code."""
        self.process.terminate()
        self.process.join(10)
        self.connection.close()
        return self.process.exitcode


class Crew:
    """Workers, started when there is work for them; those that are idle end with the block."""

    def __init__(self) -> None:
        self.idle: list[Hand] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *why: object) -> None:
        for hand in self.idle:
            with suppress(OSError):  # it is gone
                hand.connection.send(None)
            hand.process.join(10)
            hand.connection.close()
        self.idle = []

    def give(self, assignment: Assignment, place: Workplace) -> Hand:
        """Give a worker something to do."""
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

    def _send(self, hand: Hand, assignment: Assignment, place: Workplace) -> None:
        name = assignment.asked[0].data
        if name not in hand.has:
            hand.connection.send(replace(place, data={name: place.data[name]}))
            hand.has.add(name)
        hand.connection.send(assignment)

    def _start(self) -> Hand:
        from bntheory.experiments.worker import serve

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs,), daemon=True)
        with _one_thread(), _no_main():
            process.start()
        theirs.close()
        return Hand(ours, process)


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
