"""What a measure of smoothness returns: a number, what kind of number it is, its cost, its seed and its witness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any


class NumberKind(Enum):
    """How far a number can be trusted; the value is the whole explanation."""

    EXACT = "exact, up to the rounding stated in `error`"
    UPPER_BOUND = "upper bound: the true value is at most this"
    LOWER_BOUND = "lower bound with witness: the witness attains it, the true value may be larger"
    ESTIMATE = "estimate with error: neither a lower nor an upper bound"


@dataclass(frozen=True)
class Cost:
    """How often a landscape was asked: values, gradients and Hessian-vector products."""

    values: int = 0
    gradients: int = 0
    products: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.values + other.values, self.gradients + other.gradients, self.products + other.products)


@dataclass(frozen=True)
class Measure:
    """One measured number.

    name: what was measured, in words. value: the number (``inf`` where the quantity was found to diverge; ``note`` says
    how that was seen). error: for EXACT a bound on the rounding error, for ESTIMATE the standard error or the stated
    spread, for bounds the uncertainty of the bound itself; all absolute. witness: the points and directions that attain
    the value. seed: of the random starts; None where nothing was drawn.
    """

    name: str
    value: float
    kind: NumberKind
    cost: Cost
    error: float = 0.0
    seed: int | None = None
    witness: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value):
            raise ValueError(
                f"{self.name}: the value is nan. The landscape returned a non-finite value or gradient where it was asked; "
                "restrict the region to where it is defined"
            )
        if not self.error >= 0:
            raise ValueError(f"{self.name}: the error is {self.error!r}; it bounds a deviation, so it is >= 0")
        object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "error", float(self.error))
        object.__setattr__(self, "witness", MappingProxyType(dict(self.witness)))

    @classmethod
    def infinite(cls, name: str, cost: Cost, seed: int, witness: Mapping[str, Any], note: str) -> Measure:
        """The measure of a quantity that was found to have no finite value; ``note`` says how that was seen."""
        return cls(name, math.inf, NumberKind.ESTIMATE, cost, math.inf, seed, witness, f"infinite: {note}")

    @property
    def diverges(self) -> bool:
        """Whether the quantity was found to have no finite value."""
        return math.isinf(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        spread = f" +- {self.error:.2g}" if self.kind is NumberKind.ESTIMATE and math.isfinite(self.value) else ""
        return f"{self.name}: {self.value:.6g}{spread} ({self.kind.name.lower().replace('_', ' ')})"
