"""What an attack may cost."""

from __future__ import annotations

from dataclasses import dataclass

from bntheory.claims.core import Effort

__all__ = ["Budget"]


@dataclass(frozen=True)
class Budget:
    """An explicit budget for one claim.

    extra_sizes: batch sizes beyond the claim's least one, as offsets. starts: candidates for each batch size. steps: gradient
    steps from every start. rounds: fresh sets of starts. certificates: candidates handed to exact arithmetic in each round.
    seconds: the time after which no new work is begun. shrink_seconds: for making a witness small.
    """

    extra_sizes: tuple[int, ...]
    starts: int
    steps: int
    rounds: int
    certificates: int
    seconds: float
    shrink_seconds: float

    @classmethod
    def of(cls, effort: Effort) -> Budget:
        """The budget of an effort."""
        if effort not in _BUDGETS:
            raise ValueError(f"effort is {effort!r}; it can be one of {', '.join(map(repr, _BUDGETS))}")
        return _BUDGETS[effort]


_BUDGETS: dict[str, Budget] = {
    "quick": Budget((0, 1, 3), 256, 30, 1, 8, 0.7, 0.5),
    "normal": Budget((0, 1, 2, 4), 512, 80, 2, 16, 3.0, 1.5),
    "thorough": Budget((0, 1, 2, 3, 5, 9), 2048, 300, 8, 64, 60.0, 10.0),
}
