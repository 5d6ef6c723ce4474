r"""Seeds are added until a question is decided or the budget is spent, and the error over all looks is still the stated
one.

Looking again and again at 95 % tells identical arms apart far more often than in 5 %. Here the looks are named
beforehand, by their numbers of seeds n_1 < ... < n_K, and look k spends

    alpha_k = (alpha / checks) (t_k^2 - t_{k-1}^2),      t_k = n_k / n_K

(a power family of spending, after Kim and DeMets 1987): little early, where only a large effect counts, most of it at
the end. The interval of look k stands at confidence 1 - alpha_k. The alpha_k sum to alpha / checks, so by the union
bound the probability that any look at any of a claim's ``checks`` decisive checks puts an interval on the wrong side of
the truth is at most alpha, whatever the dependence between looks and checks. Nothing is gained by the dependence
between looks, which keeps the rule simple and a little strict.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from bntheory.errors import UserError
from bntheory.evidence.decision import LEAST_SEEDS


@dataclass(frozen=True)
class Looks:
    """The numbers of seeds at which one looks, and the error over all looks and all of a claim's decisive checks."""

    sizes: tuple[int, ...]
    alpha: float = 0.05
    checks: int = 1

    def __post_init__(self) -> None:
        if not self.sizes or self.sizes[0] < LEAST_SEEDS or any(a >= b for a, b in pairwise(self.sizes)):
            raise ValueError(f"looks: {list(self.sizes)}; give increasing numbers of seeds from {LEAST_SEEDS} up")
        if not 0 < self.alpha < 1 or self.checks < 1:
            raise ValueError(f"looks: alpha {self.alpha} is not between 0 and 1, or {self.checks} checks are none")

    @classmethod
    def doubling(cls, first: int, most: int, *, alpha: float = 0.05, checks: int = 1) -> Looks:
        """first, twice as many, ... and last ``most``."""
        if first < LEAST_SEEDS:  # twice nothing is nothing
            raise UserError(
                f"looks: first {first} is below {LEAST_SEEDS}, the least number of seeds that decides anything"
            )
        sizes = []
        while first < most:
            sizes.append(first)
            first *= 2
        return cls((*sizes, most), alpha, checks)

    def confidence(self, size: int) -> float:
        """That of the interval of this look. Raises ValueError where ``size`` is no look."""
        if size not in self.sizes:
            raise ValueError(f"looks: {size} seeds is none of the looks {list(self.sizes)}")
        place = self.sizes.index(size)
        last = self.sizes[-1]
        before = self.sizes[place - 1] / last if place else 0.0
        return 1 - self.alpha / self.checks * ((size / last) ** 2 - before**2)
