"""When a monitor measures: every so many steps, and less often where that would cost more than a share of the training time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A tenth of a price short is not short: seconds waver, and a step missed is a whole period lost.
_ENOUGH = 0.9


@dataclass(frozen=True)
class Cost:
    """What following a run has cost so far, in seconds.

    training: between the calls of the monitor. measuring: within them. measures: of each measure, how often it was made and the seconds.
    """

    steps: int
    training: float
    measuring: float
    measures: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Seconds of measuring to each second of training; 0 before any step."""
        return self.measuring / self.training if self.training > 0 else 0.0

    def __str__(self) -> str:
        each = ", ".join(f"{name} {times} x {s / times:.3g} s" for name, (times, s) in self.measures.items())
        on_top = f"{100 * self.share:.1f} % on top"
        if self.share > 1:
            on_top = f"{self.share:.3g} times the training itself; to pay less, follow with a larger every, fewer measures, or a smaller share"
        return f"{self.measuring:.3g} s of measuring to {self.training:.3g} s of training, {on_top}" + (
            f" ({each})" if each else ""
        )


class Schedule:
    """Decides which measures are due, by accounts: a share of every second of training is paid in, and every measurement is paid from it.

    The price of a measure is a guess in training steps until it was made once, and then what it last took. Each measure has savings of
    its own, so that a cheap one need not wait for a dear one, and cheap ones do not starve a dear one. What is paid in is divided by what
    each needs to be made once every ``every`` steps, the least first: it gets that, but at most an equal part of what is left. All
    together never spend more than the share.

    every: steps. share: None for no limit. guesses: of each measure, in training steps, in the order in which they are made.
    """

    def __init__(self, every: int, share: float | None, guesses: Mapping[str, float]) -> None:
        self.every, self.share, self._guesses = every, share, dict(guesses)
        self.steps, self.training, self.measuring = 0, 0.0, 0.0
        self._made: dict[str, tuple[int, float]] = {}
        self._price: dict[str, float] = {}
        self._saved = dict.fromkeys(guesses, 0.0)

    @property
    def cost(self) -> Cost:
        return Cost(self.steps, self.training, self.measuring, dict(self._made))

    @property
    def account(self) -> float:
        """Seconds that may be spent now."""
        return float("inf") if self.share is None else self.share * self.training - self.measuring

    def trained(self, seconds: float) -> None:
        """One step of training took so long."""
        self.steps += 1
        self.waited(seconds)

    def waited(self, seconds: float) -> None:
        """Training took so much longer."""
        self.training += seconds
        if self.share is not None and self.training > 0:
            for name, share in self._shares().items():
                self._saved[name] = min(self._saved[name] + share * seconds, 2 * self.price(name))

    def paid(self, seconds: float, name: str = "") -> None:
        """A measure, or what stands before the first one, took so long."""
        self.measuring += seconds
        if name:
            times, total = self._made.get(name, (0, 0.0))
            self._made[name] = times + 1, total + seconds
            self._price[name] = seconds
            self._saved[name] -= seconds

    def price(self, name: str) -> float:
        """Seconds that a measure is expected to take."""
        return self._price.get(name, self._guesses[name] * self.training / max(self.steps, 1))

    def due(self, step: int, before: int | None = None) -> list[str]:
        """The measures to be made now, in their order. before: the number of the last step, one less if None."""
        if step // self.every == (step - 1 if before is None else before) // self.every:
            return []
        if self.share is None:
            return list(self._guesses)
        if not self.training:
            return []
        account, found = self.account, []
        for name in sorted(self._guesses, key=self.price):
            if self.price(name) <= account and self._saved[name] >= _ENOUGH * self.price(name):
                account -= self.price(name)
                found.append(name)
        return [name for name in self._guesses if name in found]

    def _shares(self) -> dict[str, float]:
        assert self.share is not None
        period = self.every * self.training / max(self.steps, 1)
        left, shares = self.share, {}
        asked = sorted((self.price(name) / period, name) for name in self._guesses)
        for number, (rate, name) in enumerate(asked):
            shares[name] = min(rate, left / (len(asked) - number))
            left -= shares[name]
        return shares
