"""How a study comes by the records that a question asks for: read from its stores, made by the engine, or named as
lacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bntheory.evidence.study import Study
from bntheory.experiments.experiment import Conditions, Experiment, Needed, freshest, missing, needed
from bntheory.experiments.own import dataset

if TYPE_CHECKING:
    from bntheory.bridge import ImageData
    from bntheory.evidence.record import Record
    from bntheory.experiments.store import Store
    from bntheory.experiments.worker import Workplace


def recorded(study: Study, experiment: Experiment, name: str, what: str) -> list[dict[str, Any]]:
    """The points of an experiment on the data set ``name``: those in the study's stores, and those that had to be made.

    Where the study only asks what is lacking, the points that are there.
    """
    from bntheory.experiments.manifest import conditions

    now = conditions(dataset(name), study.device)
    return points_of(study, list(needed(experiment, now)), what)


def points_of(study: Study, asked: Sequence[Needed], what: str) -> list[dict[str, Any]]:
    """The same of records that are named one by one."""
    from bntheory.experiments.quantities import merged
    from bntheory.experiments.store import Store

    own = _in_memory() if study.store is None else Store(study.store)
    # an own record counts before a recorded one, whose machine may have been another
    stores = [*([Store(study.archive)] if study.archive is not None else ()), own]
    found = _counting(asked, stores)
    left = missing(asked, found)
    if left and study.lacking is not None:
        study.lacking.append(Lacking(what, tuple(left), sum(n.address in found for n in left)))
    elif left:
        make(study, left, progress=lambda fraction, text: study.progress(fraction, f"{what}: {text}"))
        found = _counting(asked, stores)
    fresh = {n.address: found[n.address] for n in asked if n.fresh(found.get(n.address))}
    if study.asked is not None:
        study.asked.extend((n, fresh.get(n.address)) for n in asked)
    return merged(asked, fresh)


def _counting(asked: Sequence[Needed], stores: Sequence[Store]) -> dict[str, Record]:
    """By address, the record that counts; a fresh one of a later store before any of an earlier one."""
    from bntheory.experiments.stores import known

    found: dict[str, Record] = {}
    for store in stores:
        there = freshest(asked, known(store).versions)
        found |= {n.address: r for n in asked if (r := there.get(n.address)) and (n.fresh(r) or n.address not in found)}
    return found


def make(study: Study, left: Sequence[Needed], **how: Any) -> None:
    """Make these records in the study's store, which another claim may be at. how: as of
    :func:`bntheory.experiments.engine.run`."""
    from bntheory.experiments.engine import run
    from bntheory.experiments.store import Store

    store = _in_memory() if study.store is None else Store.create(study.store)
    with store.lock(wait=True):
        run(left, store, workplace(study, left), **how)


@dataclass(frozen=True)
class Lacking:
    """What an experiment of a claim asks for and no store has: which records, and how many of them are there but
    stale."""

    what: str
    left: tuple[Needed, ...]
    stale: int


class NotYet(Exception):
    """What a question asks next depends on records that are not there yet."""


def must_be_there(study: Study) -> None:
    """Raise :class:`NotYet` where something that was asked for is lacking: for a question whose next runs depend on
    these."""
    if study.lacking:
        raise NotYet(f"{len(study.lacking)} experiments are not there yet")


def workplace(study: Study, left: Sequence[Needed]) -> Workplace:
    """Where these records are made: their data, the study's device, the checkpoints of its store."""
    from bntheory.experiments.manifest import conditions, toy_conditions
    from bntheory.experiments.store import CHECKPOINTS
    from bntheory.experiments.toys import DRAWN
    from bntheory.experiments.worker import Workplace

    found: dict[str, tuple[Conditions, ImageData | None]] = {}
    for name in sorted({n.data for n in left}):
        if name == DRAWN:
            found[name] = (toy_conditions(), None)
        else:
            found[name] = (conditions(dataset(name), study.device), dataset(name))
    return Workplace(found, study.device, None if study.store is None else study.store / CHECKPOINTS)


@lru_cache(maxsize=1)
def _in_memory() -> Store:
    from bntheory.experiments.store import MemoryStore

    return MemoryStore()
