"""What the claims about deep random networks share: seeds, fits over widths, and one number a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bntheory.evidence.study import APART, Study

if TYPE_CHECKING:
    from bntheory.evidence.slopes import SlopeFit
    from bntheory.models.deep_random import DeepRandom, Pass


def seeds(study: Study) -> list[int]:
    """The study's seeds: 5, 8 or 16 networks."""
    return [APART * study.seed + k for k in range(study.choose(quick=5, normal=8, thorough=16))]


def passes(study: Study, network: DeepRandom, inputs: Callable[[int], Any] | None = None) -> list[Pass]:
    """The network drawn once for each seed."""
    return [network.run(seed, None if inputs is None else inputs(seed)) for seed in seeds(study)]


def exponent(x: Sequence[float], rows: Sequence[Sequence[float]]) -> SlopeFit:
    """The exponent p of y ~ x^p; ``rows`` holds one curve a seed."""
    from bntheory.evidence.slopes import fit_power_law

    return fit_power_law(np.asarray(x, dtype=float), np.asarray(rows, dtype=float))
