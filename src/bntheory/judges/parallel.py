"""Judge many claims, in several processes, each verdict as soon as it is there.

A worker is forked where the system allows it: it has the claims already, so that a user's file is run once. Elsewhere it gets ids and
reads the file itself. A worker that dies, or that a claim keeps for too long, is replaced; what its judges had found by then counts. The
verdict is always computed here, by :func:`~bntheory.judges.verdict.verdict_of`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from bntheory.claims.claim import Claim, Effort, Study
from bntheory.claims.user_file import in_its_folder
from bntheory.devices import FORKS
from bntheory.judges.exact.witness import Reference
from bntheory.judges.verdict import Evidence, JudgeName, Verdict, verdict_of

Options = tuple[tuple[JudgeName, ...], Study]


@dataclass(frozen=True)
class Task:
    """A claim to judge; path is the user's file that it comes from, "" for a claim of the package; effort, where it has one of its own."""

    claim: Claim
    path: str = ""
    effort: Effort | None = None

    @property
    def reference(self) -> Reference:
        """How a witness names the claim."""
        return Reference("file", self.claim.id, self.path) if self.path else Reference("registry", self.claim.id)


def judge_many(
    tasks: Sequence[Task], study: Study, *, judges: Sequence[JudgeName], jobs: int = 1, time_limit: float | None = None
) -> Generator[tuple[Task, Verdict], None, None]:
    """Verdicts in the order in which they are reached, of up to ``jobs`` processes.

    study: as of ``judge_claim``; it goes to other processes. time_limit: seconds after which a claim is stopped; the judges that had not answered by then count as unknown. Without a limit, one
    job is done in this process.
    """
    options: Options = (tuple(judges), study)
    if time_limit is None and (jobs <= 1 or len(tasks) < 2):
        for task in tasks:
            yield task, verdict_of(task.claim, _judge(task, options))
        return
    todo = deque(tasks)
    workers: list[_Worker] = []
    try:
        while True:
            while todo and len(workers) < max(1, jobs):
                workers.append(_Worker(tasks, options))
            for worker in workers:
                if worker.task is None and todo:
                    worker.begin(todo.popleft(), tasks)
            workers = [w for w in workers if w.task is not None or w.end()]
            if not workers:
                break
            left = [time_limit - (time.monotonic() - w.since) for w in workers if time_limit is not None]
            ready = wait([w.connection for w in workers], max(0.0, min(left)) if left else None)
            for worker in list(workers):
                late = time_limit is not None and time.monotonic() - worker.since > time_limit
                if worker.connection in ready:
                    worker.listen()
                elif late:
                    worker.stop(f"stopped after {time_limit:g} s (--time-limit)", "unknown")
                if worker.finished is not None:
                    assert worker.task is not None
                    yield worker.task, verdict_of(worker.task.claim, worker.finished)
                    worker.task = worker.finished = None
                if not worker.alive:
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.end()  # what it is at would otherwise be waited for


@dataclass
class _Worker:
    """One process, the claim that it is at, and what it has said of it."""

    tasks: Sequence[Task]
    options: Options
    task: Task | None = None
    since: float = 0.0
    alive: bool = True
    judge: JudgeName | None = None
    heard: list[Evidence] = field(default_factory=list)
    finished: tuple[Evidence, ...] | None = None

    def __post_init__(self) -> None:
        context: Any = multiprocessing.get_context("fork" if FORKS else "spawn")
        self.connection, theirs = context.Pipe()
        known = list(self.tasks) if FORKS else [(task.reference, task.effort) for task in self.tasks]
        self.process = context.Process(target=_serve, args=(theirs, known, self.options), daemon=True)
        with warnings.catch_warnings():
            # a fork beside threads is warned of; the worker uses one thread of its own and none of those
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        theirs.close()

    def begin(self, task: Task, tasks: Sequence[Task]) -> None:
        self.task, self.judge, self.heard, self.since = task, None, [], time.monotonic()
        with contextlib.suppress(BrokenPipeError):  # it will be found dead
            self.connection.send(next(i for i, other in enumerate(tasks) if other is task))

    def listen(self) -> None:
        """What the worker sent: which judge is at work, what one found, or that all have answered."""
        try:
            kind, content = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            code = self.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            self.stop(
                f"the process that judged this claim ended without an answer ({how}: out of memory, or a claim that ends the process)",
                "error",
            )
            return
        if kind == "asks":
            self.judge = content
        elif kind == "found":
            self.heard.append(content)
        else:
            self.finished = content

    def stop(self, why: str, finding: Any) -> None:
        """End the process; what it had found stands, and the judge that was at work has this to say."""
        self.end()
        at_work: JudgeName = self.judge or (self.options[0][0] if self.options[0] else "study")
        self.finished = (*self.heard, Evidence(at_work, finding, why, {}, time.monotonic() - self.since))

    def end(self) -> bool:
        """Kill the process. False, for a filter of those that live."""
        self.alive = False
        self.process.kill()
        self.process.join()
        self.connection.close()
        return False


def _serve(connection: Connection, known: Sequence[Task | tuple[Reference, Effort | None]], options: Options) -> None:
    """The life of a worker: an index comes, evidence goes. It shares the cores with the others, and Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a command that was started without one of the two
        os.dup2(2, 1)  # what a claim, or a process that it starts, writes past Python is no part of the answer either
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if "torch" in sys.modules or set(options[0]) - {"algebra"}:
        import torch

        torch.set_num_threads(1)
    found: dict[int, Task] = {}
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):  # the last one only a claim raises here
        while True:
            index = connection.recv()
            entry = known[index]
            if index not in found:
                found[index] = entry if isinstance(entry, Task) else _find(*entry)
            connection.send(("done", _judge(found[index], options, connection)))


def _end_with_parent() -> None:
    """A claim that never ends must not outlive the command."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _judge(task: Task, options: Options, connection: Connection | None = None) -> tuple[Evidence, ...]:
    from bntheory.judges.check import judge_claim

    def report(judge: JudgeName, evidence: Evidence | None) -> None:
        if connection is not None:
            connection.send(("asks", judge) if evidence is None else ("found", evidence))

    judges, study = options
    if task.effort is not None:
        study = replace(study, effort=task.effort)
    # what a user's claim prints is no part of the answer
    with contextlib.redirect_stdout(sys.stderr), in_its_folder(task.path):
        return judge_claim(task.claim, study, judges=judges, reference=task.reference, report=report).evidence


def _find(reference: Reference, effort: Effort | None) -> Task:
    if reference.kind == "file":
        from bntheory.claims.user_file import load_claims

        claim = next(claim for claim in load_claims(reference.path).claims if claim.id == reference.id)
        return Task(claim, reference.path, effort)
    from bntheory.claims import registry

    return Task(registry()[reference.id], effort=effort)
