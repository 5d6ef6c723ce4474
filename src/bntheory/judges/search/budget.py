"""What an attack may cost."""

from __future__ import annotations

from dataclasses import dataclass

from bntheory.claims.claim import Effort

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """An explicit budget for one claim.

    extra_sizes: batch sizes beyond the claim's least one, as offsets. starts: candidates for each batch size. steps: gradient
    steps from every start. rounds: fresh sets of starts. certificates: candidates of one batch size handed to exact arithmetic at a
    time. shrinks: attempts at making a witness smaller. These counts, and the seed, determine the result. seconds, of
    processor time, is a safety net for claims that are slow to evaluate: after it, no new work is begun.
    """

    extra_sizes: tuple[int, ...]
    starts: int
    steps: int
    rounds: int
    certificates: int
    shrinks: int
    seconds: float

    @classmethod
    def of(cls, effort: Effort) -> Budget:
        """The budget of an effort."""
        if effort not in _BUDGETS:
            raise ValueError(f"effort is {effort!r}; it can be one of {', '.join(map(repr, _BUDGETS))}")
        return _BUDGETS[effort]


_BUDGETS: dict[str, Budget] = {
    "quick": Budget((0, 1, 3), 256, 30, 1, 8, 150, 6.0),
    "normal": Budget((0, 1, 2, 4), 512, 70, 1, 12, 400, 30.0),
    "thorough": Budget((0, 1, 2, 3, 5, 9), 2048, 300, 8, 48, 4000, 600.0),
}
