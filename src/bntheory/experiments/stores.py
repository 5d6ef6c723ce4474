"""Stores that are read again and again, and two made one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bntheory.evidence.record import canonical
from bntheory.experiments.store import Contents, Store

_READ: dict[Path, tuple[Any, Contents]] = {}


def known(store: Store) -> Contents:
    """What a store holds; a file that has not changed is read once."""
    state = store.state()
    if state is None:
        return store.read()
    kept = _READ.get(store.path)
    if kept is None or kept[0] != state:
        kept = _READ[store.path] = (state, store.read())
    return kept[1]


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
