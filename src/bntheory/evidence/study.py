"""What a claim of kind landscape, dynamics, network or experiment is given: how hard to try, from which seed, on which
device."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, TypeVar

from bntheory.errors import UserError
from bntheory.evidence.progress import Progress, silent

Effort = Literal["quick", "normal", "thorough"]
Scale = Literal["quick", "cpu", "gpu"]
_Choice = TypeVar("_Choice")
#: Families of seeds that must not meet are so far apart; a prime.
APART = 1_000_003
LARGEST_SEED = 2**31 - 1
#: Of a block, so that no two meet; and the last block, whose seeds are all numbers that a seed may be.
SEEDS = 1000
LAST_BLOCK = (LARGEST_SEED + 1) // SEEDS - 1
#: How large experiments are at each effort.
SCALES: dict[Effort, Scale] = {"quick": "quick", "normal": "cpu", "thorough": "gpu"}


@dataclass(frozen=True)
class Study:
    """What a claim of kind landscape, dynamics, network or experiment receives.

    effort bounds the work ("quick" is seconds); every random draw comes from ``seed``; ``device`` is a torch device
    name; ``progress(fraction, text)`` may be called now and then. ``store``: the folder in which experiments look for
    their records and keep new ones; none: they last as long as the process. ``archive``: a store that is read as well
    and never written. ``lacking``: a list where nothing is to be trained: what would have to be is put into it, and the
    checks are those of runs without it. ``asked``: a list that receives every record that is asked for, with the one
    that counts (None where there is none). ``drawn``: all seeds that :meth:`seeds` has given out; no check is made of
    more numbers than these.
    """

    effort: Effort = "normal"
    seed: int = 0
    device: str = "cpu"
    progress: Progress = silent
    store: Path | None = None
    archive: Path | None = None
    lacking: list[Any] | None = None
    asked: list[Any] | None = None
    drawn: set[int] = field(default_factory=set, compare=False, repr=False)

    @property
    def scale(self) -> Scale:
        """How large this effort's experiments are."""
        return SCALES[self.effort]

    def seeds(self, count: int, first: int = 0) -> tuple[int, ...]:
        """So many seeds from ``first`` on, in the thousand that is this study's own.

        Raises UserError for no whole number of them, none, or more than this thousand has.
        """
        if not _whole(first) or not 0 <= first < SEEDS:
            raise UserError(
                f"first is {first!r:.40}; a whole number from 0 to {SEEDS - 1} is needed: a study has {SEEDS} seeds of its own"
            )
        least = 0 if self.drawn else 1  # none is what is shown beside others may ask for
        if not _whole(count) or not least <= count <= SEEDS - first:
            after = f", {first} of which come before the first" if first else ""
            raise UserError(
                f"seeds is {count!r:.40}; a whole number of at least {least} and at most {SEEDS - first} is needed, how many there are "
                f"to be: a study has {SEEDS} of its own{after}"
            )
        found = tuple(SEEDS * self.seed + int(first) + index for index in range(int(count)))
        self.drawn.update(found)
        return found

    def choose(self, *, quick: _Choice, normal: _Choice, thorough: _Choice) -> _Choice:
        """The value for this effort."""
        return {"quick": quick, "normal": normal, "thorough": thorough}[self.effort]


def _whole(number: Any) -> bool:
    return isinstance(number, Integral) and not isinstance(number, bool)
