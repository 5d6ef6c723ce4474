"""Many questions answered from one store: what they lack is found out, made in one go, and asked again until nothing is
lacking.

A question is a function of a study. Which records it needs is known by asking it: with a list for what it lacks, a
study trains nothing, and the answer counts only where that list stays empty. So a question that adds seeds until it is
decided asks for one look after another, questions that share runs share them, and no list of what a question needs has
to be kept beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypedDict, TypeVar

from bntheory.evidence.progress import Progress, silent
from bntheory.evidence.study import Study
from bntheory.experiments.asking import Lacking, make
from bntheory.experiments.crew import Crew
from bntheory.experiments.experiment import Needed
from bntheory.experiments.store import Store

T = TypeVar("T")
Question = Callable[[Study], T]
Lacks = Callable[[Mapping[str, Sequence[Lacking]]], None]


class Making(TypedDict, total=False):
    """How what is lacking is made and told: the keyword arguments of :func:`settle`."""

    workers: int | None
    scheduler: str | None
    progress: Progress
    say: Callable[[str], None]
    lacks: Lacks


@dataclass(frozen=True)
class Settled(Generic[T]):
    """A question's answer; failed: why its records could not be made, and the answer is None then. made: whether some
    had to be made."""

    name: str
    answer: T | None
    failed: str = ""
    made: bool = False


def ask(question: Question[T], study: Study) -> tuple[T, tuple[Lacking, ...]]:
    """What a question says without anything being trained, and what it lacks; its answer counts only where that is
    nothing."""
    lacking: list[Lacking] = []
    answer = question(replace(study, lacking=lacking))
    return answer, tuple(lacking)


def lacking_records(lacking: Iterable[Lacking]) -> list[Needed]:
    """All that is lacking, each record once."""
    return list({n.address: n for part in lacking for n in part.left}.values())


def settle(
    questions: Mapping[str, Question[T]],
    study: Study,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
    lacks: Lacks = lambda lacking: None,
) -> Iterator[Settled[T]]:
    """The answers of all questions, each as soon as it is there; what they lack is made in the study's store, which
    must be a folder.

    workers, scheduler, progress, say: as in :func:`bntheory.experiments.engine.hired` and ``run``. lacks: called with
    what each question lacks before it is made. An interrupt loses nothing that was recorded. What one question cannot
    have does not take the others with it. Raises UserError where the store cannot be written.
    """
    from bntheory.experiments.engine import hired

    with hired(workers, scheduler, study.device, say=say) as crew:
        yield from _settled(dict(questions), study, crew, progress, say, lacks)


def _settled(
    waiting: dict[str, Question[T]],
    study: Study,
    crew: Crew | None,
    progress: Progress,
    say: Callable[[str], None],
    lacks: Lacks,
) -> Iterator[Settled[T]]:
    rounds = 0
    failed: dict[str, str] = {}
    asked: list[tuple[Needed, object]] = []
    known, unfinished = set[str](), set[str]()
    study = replace(study, asked=asked)
    while waiting:
        lacking: dict[str, tuple[Lacking, ...]] = {}
        for name in list(waiting):
            answer, left = ask(waiting[name], study)
            known |= {n.state for n, record in asked if record is not None}
            asked.clear()
            why = next((failed[n.address] for part in left for n in part.left if n.address in failed), "")
            if why:
                unfinished |= {n.state for part in left for n in part.left}
                yield Settled(name, None, why)
            elif left:
                lacking[name] = left
                continue
            else:
                yield Settled(name, answer, made=rounds > 0)
            del waiting[name]
        if lacking:
            rounds += 1
            lacks(lacking)
            parts = [part for of in lacking.values() for part in of]
            own = partial(_in_round, progress, rounds)
            own(0.0, f"{len(lacking)} questions")
            make(study, lacking_records(parts), crew=crew, progress=own, say=say, failed=failed)
    # a run that was killed between its last record and its checkpoint's removal is asked for nothing more
    assert study.store is not None
    for state in known - unfinished:
        Store(study.store).drop_checkpoint(state)


def _in_round(progress: Progress, number: int, fraction: float, text: str) -> None:
    progress(fraction, f"round {number}: {text}")
