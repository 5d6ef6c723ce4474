"""Several stores: looked into as one, and made one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bntheory.evidence.record import Record, canonical
from bntheory.experiments.store import Contents, Store


def read_all(stores: Sequence[Store]) -> Mapping[str, Sequence[Record]]:
    """The records of several stores by address, one after another; faulty lines are nobody's. A file that has not
    changed is read once."""
    return _Together([_known(store).versions for store in stores])


class _Together(Mapping[str, Sequence[Record]]):
    """Several stores looked into one after another: a question asks for a few hundred of their records, so none is
    copied."""

    def __init__(self, parts: Sequence[Mapping[str, Sequence[Record]]]) -> None:
        self.parts = parts

    def __getitem__(self, where: str) -> Sequence[Record]:
        found = [record for part in self.parts for record in part.get(where, ())]
        if not found:
            raise KeyError(where)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(where for part in self.parts for where in part))

    def __len__(self) -> int:
        return sum(1 for _ in self)


_READ: dict[Path, tuple[Any, Contents]] = {}


def _known(store: Store) -> Contents:
    state = store.state()
    if state is None:
        return store.read()
    known = _READ.get(store.path)
    if known is None or known[0] != state:
        known = _READ[store.path] = (state, store.read())
    return known[1]


def merge(into: Store, other: Store) -> tuple[int, Contents, list[str]]:
    """Add to ``into`` what only ``other`` holds; faulty lines stay behind.

    Returns how many records were added, the contents of ``other``, and a sentence for each address at which the two
    hold different values of one make; there ``into`` keeps its own. Hold the lock of ``into``.
    """
    theirs = other.read()
    own = {(r.address, canonical(r.made)): r for r in into.read().every()}
    new, said = [], []
    for record in theirs.every():
        mine = own.get((record.address, canonical(record.made)))
        if mine is None:
            new.append(record)
        elif (mine.values, mine.diverged) != (record.values, record.diverged):
            said.append(
                f"{record.network}, {record.arm}, seed {record.seed}, step {record.step}, {record.measure}: the two stores hold different "
                f"values of one make under one address ({record.address}); that of {into.path} is kept"
            )
    if new:
        into.append(new)
    return len(new), theirs, said
