"""An operator times a power of two, where its products are so small or so large that squares of them leave the range.

The eigenvalues scale back exactly. Nothing is scaled where a search can do its arithmetic on the products as they are.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.ranges import times_power

# Binary exponents of norms within which a search's arithmetic, residuals times residuals for one, stays in the range. In float32 what is
# small against a product has to be a number still; sums of squares are in float64.
_FITS = {torch.float32: 100, torch.float64: 450}


class RescaledOperator(SymmetricOperator):
    """2**-exponent A: half of the power goes to the vector, so that what a product computes on the way is of size 1 as well."""

    def __init__(self, op: SymmetricOperator, exponent: int) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op, self.exponent = op, exponent

    def _product(self, v: Tensor) -> Tensor:
        half = -self.exponent // 2
        return times_power(self._op.apply(times_power(v, half)), -self.exponent - half)

    def unit_rounding(self) -> float:
        return self._op.unit_rounding()

    def rounding(self, vector: Tensor, needed: float) -> float:
        return self._op.rounding(vector, needed)

    def symmetry_tolerance(self) -> float:
        return self._op.symmetry_tolerance()

    def only_rounding(self) -> bool:
        return self._op.only_rounding()


def rescaled(op: SymmetricOperator, scale: float) -> RescaledOperator | None:
    """The operator with products of size 1, by an estimate of its norm; None where they may stay as they are, or are scaled already."""
    if not 0 < scale < math.inf or isinstance(op, RescaledOperator):
        return None
    exponent = math.frexp(scale)[1]
    return RescaledOperator(op, exponent) if abs(exponent) > _FITS[op.dtype] else None
