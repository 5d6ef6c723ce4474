"""Stale records confirmed: a sample is made again by the code of today, and where it is the same bit for bit, the rest
is taken over.

A fingerprint follows every definition that a measure reaches, so a change that computes nothing else makes records
stale as one that does. Here each kind of record (one way of training, one measure with its options, one make) is
sampled: one seed, the looks of the first third of the run, the first look at least. If every value of the sample comes
out as it was, the others of its kind are written once more under the code of today, and say that they are *confirmed*,
from which code (one after another, where it was done before) and by how many. If one differs, none of its kind is.

The error bar of a number (``top_error`` beside ``top``) alone may differ, since no reading decides anything by it:
where the sample has the same number with another bar, what is taken over keeps the bars of its time and names them
(``other_bars``).

Processors round differently, so on another machine than that of the records every sample differs. There the earlier
code makes records first, and what today's has to give is these.

What this cannot see: a change that shows late in a run only, or for other seeds. Records of other versions of the
libraries are left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bntheory.evidence.progress import Progress, silent
from bntheory.evidence.record import Record, canonical
from bntheory.experiments.engine import hired, run
from bntheory.experiments.experiment import Needed
from bntheory.experiments.store import MemoryStore, Store
from bntheory.experiments.worker import Workplace

Kind = tuple[str, str, str, int, str]
_BAR = "_error"  # what the name of a number's error bar has more than the number's own


@dataclass(frozen=True)
class Confirmed:
    """taken_over: how many records were confirmed; made: how many were made again for that; differing: a sentence for
    each kind that differs."""

    taken_over: int
    made: int
    differing: tuple[str, ...]


def confirm(
    left: Sequence[Needed],
    store: Store,
    place: Workplace,
    *,
    workers: int | None,
    against: Mapping[str, Record] | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
) -> Confirmed:
    """Confirm what of ``left``, which has no fresh record, has a stale one in the store. Hold the store's lock.

    against: by address, records that the code of stale ones made on this machine; a kind that has some is sampled among
    these and compared with them. workers, progress, say: as in :func:`bntheory.experiments.engine.hired` and ``run``.
    """
    kinds = _kinds(left, store.read().versions)
    samples = {kind: _sample(of, against or {}) for kind, of in kinds.items()}
    sample = {n.address: n for chosen in samples.values() for n, _ in chosen}
    again, failed = MemoryStore(), dict[str, str]()
    with hired(workers, None, place.device) as crew:
        run(
            list(sample.values()),
            again,
            replace(place, checkpoints=None),
            crew=crew,
            progress=progress,
            say=say,
            failed=failed,
        )
    made = dict(again.read().records)
    count = len(made)
    taken, differing = [], []
    for kind, of in kinds.items():
        chosen = [(made.get(n.address), expected) for n, expected in samples[kind]]
        first = of[0][0]
        apart = [None if new is None else _apart(new, expected) for new, expected in chosen]
        if all(names is not None for names in apart):
            size, bars = f"{len(chosen)} of {len(of)}", set[str]().union(*(names or () for names in apart))
            for n, old in of:  # one run's numbers stay those of one machine
                if n.address in made and _apart(made[n.address], old) is None:
                    del made[n.address]
            taken += [
                replace(old, made={**n.made, "confirmed": _trail(old), "sample": size, **_named(bars, old)})
                for n, old in of
                if n.address not in made
            ]
        else:
            differing.append(f"{first.task.arm.network}, {first.task.arm.name}: {first.measure.name}")
    store.append([*made.values(), *taken])
    return Confirmed(len(taken), count, tuple(sorted(set(differing))))


def _kinds(left: Sequence[Needed], versions: Mapping[str, Sequence[Record]]) -> dict[Kind, list[tuple[Needed, Record]]]:
    """What is stale, by kind: each with the last record of these libraries, one that was itself made if there is
    one."""
    found: dict[Kind, list[tuple[Needed, Record]]] = {}
    for n in {n.address: n for n in left}.values():
        same = [r for r in versions.get(n.address, ()) if _libraries(r.made) == _libraries(n.made)]
        old = [r for r in same if "confirmed" not in r.made] or same
        if old:
            options = canonical(dict(n.measure.options))
            kind = (n.recipe, n.measure.name, options, n.protocol.measured, _code(old[-1]))
            found.setdefault(kind, []).append((n, old[-1]))
    return found


def _code(record: Record) -> str:
    return str(record.made.get("code"))


def _trail(old: Record) -> str:
    """The codes that a record is confirmed from, one after another."""
    return " > ".join(filter(None, (old.made.get("confirmed"), _code(old))))


def _named(bars: set[str], old: Record) -> dict[str, str]:
    """The bars that are not those of the code of today, now or when the record was taken over before."""
    names = bars | set(filter(None, old.made.get("other_bars", "").split(", ")))
    return {"other_bars": ", ".join(sorted(names))} if names else {}


def _libraries(made: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in made.items() if k not in ("code", "confirmed", "sample", "other_bars")}


def _sample(of: Sequence[tuple[Needed, Record]], against: Mapping[str, Record]) -> list[tuple[Needed, Record]]:
    """What is made again, each with the record that it has to equal."""
    here = [
        (n, record) for n, old in of if (record := against.get(n.address)) is not None and _code(record) == _code(old)
    ]
    of = here or of
    seed = min(n.task.seed for n, _ in of)
    own = sorted(((n, old) for n, old in of if n.task.seed == seed), key=lambda pair: pair[0].step)
    last = own[-1][0].step
    return [pair for i, pair in enumerate(own) if i == 0 or 3 * pair[0].step <= last]


def _apart(new: Record, old: Record) -> set[str] | None:
    """The names of error bars that differ; None where anything else does."""
    bars = set[str]()
    same = new.diverged == old.diverged and _agree(dict(new.values), dict(old.values), bars)
    return bars if same else None


def _agree(new: Any, old: Any, bars: set[str]) -> bool:
    if isinstance(new, dict) and isinstance(old, dict) and new.keys() == old.keys():
        of_bars = {f"{name}{_BAR}" for name in new} & new.keys()
        bars |= {name for name in of_bars if canonical(new[name]) != canonical(old[name])}
        return all(_agree(new[name], old[name], bars) for name in new.keys() - of_bars)
    return canonical(new) == canonical(old)
