"""Judge many claims, two at a time, each verdict as soon as it is there.

Claims hold functions and do not travel between processes; a worker gets a claim's id (or a file and an id) and gives the evidence
back. One worker runs in this process. The verdict is always computed here, by :func:`~bntheory.judges.verdict.verdict_of`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from bntheory.claims.claim import Claim, Effort
from bntheory.judges.exact.witness import Reference
from bntheory.judges.verdict import Evidence, JudgeName, Verdict, verdict_of

__all__ = ["Task", "judge_many"]


@dataclass(frozen=True)
class Task:
    """A claim to judge; path is the user's file that it comes from, "" for a claim of the package."""

    claim: Claim
    path: str = ""

    @property
    def reference(self) -> Reference:
        """How a witness names the claim."""
        return (
            Reference("file", self.claim.id, self.path) if self.path else Reference("registry", self.claim.id)
        )


def judge_many(
    tasks: Sequence[Task],
    *,
    judges: Sequence[JudgeName],
    effort: Effort = "normal",
    seed: int = 0,
    device: str = "cpu",
    jobs: int = 1,
) -> Generator[tuple[Task, Verdict], None, None]:
    """Verdicts in the order in which they are reached. With jobs > 1 claims are judged in parallel processes."""
    options = (tuple(judges), effort, seed, device)
    if jobs <= 1 or len(tasks) < 2:
        for task in tasks:
            yield task, verdict_of(task.claim, _judge(task.reference, *options))
        return
    # spawn: a fork of a process that runs torch's threads may hang
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_start_worker) as pool:
        running: dict[Future[tuple[Evidence, ...]], Task] = {
            pool.submit(_judge, task.reference, *options): task for task in tasks
        }
        try:
            for future in as_completed(running):
                task = running[future]
                yield task, verdict_of(task.claim, _evidence_of(future))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - before:
                worker.terminate()  # what they are at would otherwise be waited for
            raise


def _evidence_of(future: Future[tuple[Evidence, ...]]) -> tuple[Evidence, ...]:
    """What the worker sent back; where it died, an error that says so, for this claim and for those that waited behind it."""
    try:
        return future.result()
    except BrokenExecutor:
        return (
            Evidence(
                "study",
                "error",
                "a process that was judging claims ended without an answer (out of memory, or a claim that ends the process); "
                "judge with --jobs 1 to see which claim it was",
            ),
        )


def _start_worker() -> None:
    """Workers share the cores among themselves, not each core among many threads; Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)


def _judge(
    reference: Reference, judges: tuple[JudgeName, ...], effort: Effort, seed: int, device: str
) -> tuple[Evidence, ...]:
    from bntheory.judges.check import judge_claim

    with contextlib.redirect_stdout(sys.stderr):  # what a user's claim prints is no part of the answer
        claim = _find(reference)
        return judge_claim(
            claim, judges=judges, effort=effort, seed=seed, device=device, reference=reference
        ).evidence


def _find(reference: Reference) -> Claim:
    if reference.kind == "file":
        from bntheory.claims.user_file import load_claims

        return next(claim for claim in load_claims(reference.path).claims if claim.id == reference.id)
    from bntheory.claims import registry

    return registry()[reference.id]
