"""What a claim of kind landscape, dynamics, network or experiment is given: how hard to try, from which seed, on which device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

__all__ = ["Effort", "Study"]

Effort = Literal["quick", "normal", "thorough"]


@dataclass(frozen=True)
class Study:
    """What a claim of kind landscape, dynamics, network or experiment receives.

    effort bounds the work ("quick" is seconds); every random draw comes from ``seed``; ``device`` is a torch device name;
    ``progress(fraction, text)`` may be called now and then. ``store``: the folder in which experiments look for their records and keep
    new ones; none: they last as long as the process.
    """

    effort: Effort = "normal"
    seed: int = 0
    device: str = "cpu"
    progress: Callable[[float, str], None] = lambda fraction, text: None
    store: Path | None = None

    def choose(self, *, quick: Any, normal: Any, thorough: Any) -> Any:
        """The value for this effort."""
        return {"quick": quick, "normal": normal, "thorough": thorough}[self.effort]
