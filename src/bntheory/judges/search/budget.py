"""What an attack may cost."""

from __future__ import annotations

from dataclasses import dataclass

from bntheory.claims.claim import Effort
from bntheory.errors import OutsideVocabulary
from bntheory.layer.domain import LayerDomain

MEMORY = 2**30  # bytes that candidates of one batch size and their gradients may take
_COPIES = 40  # of every number: the kinds of starts, a shaken copy, what the gradient keeps; measured
_FEWEST = 4


@dataclass(frozen=True)
class Budget:
    """An explicit budget for one claim.

    extra_sizes: batch sizes beyond the claim's least one, as offsets. starts: candidates for each batch size. steps: gradient
    steps from every start. rounds: fresh sets of starts. certificates: candidates of one batch size handed to exact arithmetic at a
    time. shrinks: attempts at making a witness smaller. These counts, and the seed, determine the result; of large batches as many
    are drawn as fit into :data:`MEMORY`. seconds, of processor time, is a safety net for claims that are slow to evaluate: after it,
    no new work is begun.
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


def fitting(domain: LayerDomain, wanted: int, m: int) -> int:
    """How many candidates of batch size m fit into :data:`MEMORY`, at most ``wanted``. OutsideVocabulary where too few do."""
    matrices = len(domain.operators) + (domain.hessian not in ("zero", "identity"))
    numbers = matrices * m * m + (3 + len(domain.vectors)) * m + 8
    fit = MEMORY // (8 * _COPIES * numbers)
    if fit < _FEWEST:
        raise OutsideVocabulary(
            f"one layer of batch size {m} takes {8 * _COPIES * numbers / 2**20:.0f} MiB to attack, and the search judge uses at most "
            f"{MEMORY / 2**20:.0f} MiB: give a smaller min_m, or a Hessian that is zero or the identity"
        )
    return int(min(wanted, fit))


_BUDGETS: dict[str, Budget] = {
    "quick": Budget((0, 1, 3), 256, 30, 1, 8, 150, 6.0),
    "normal": Budget((0, 1, 2, 4), 512, 70, 1, 12, 400, 30.0),
    "thorough": Budget((0, 1, 2, 3, 5, 9), 2048, 300, 8, 48, 4000, 600.0),
}
