"""How much orthogonality rounding may have cost the vectors of a three-term recurrence: the estimate of Simon.

In exact arithmetic Lanczos' vectors are orthogonal although each is made orthogonal to the two before it only. Rounding
spoils that, and not before a Ritz value converges (Paige): the first dozen steps, often all that a top eigenvalue
takes, do without a pass over the whole basis. When that ends can be computed from the small matrix alone (Simon, The
Lanczos algorithm with partial reorthogonalization, 1984, section 3). From A v_i = sum_l M_li v_l, once from either side,

    length <v_i, v_new> = (M E - E M)_ij + rounding,        E_ij = <v_i, v_j> - delta_ij,

for the new vector that A v_j leaves behind, with that length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Simon's bound is eps^(1/2), where Ritz values are still exact. At eps^(3/4) a probe of symmetry stays sharp too.
_POWER = 0.75
# The rounding of a product with a network, in units of eps times the norm; seen: up to 8 in float64.
_ROUNDING = 10.0


class Orthogonality:
    """The estimate for the vectors so far; one more after each :meth:`append`. Starts with one vector."""

    def __init__(self, eps: float) -> None:
        self._eps, self.limit = eps, float(eps**_POWER)
        self._overlaps = np.zeros((1, 1))

    def append(self, matrix: Array, image: Array, length: float, scale: float, defect: float) -> float:
        """The largest estimated overlap of the new vector with those before.

        matrix: (n, n), what is known of M; image: (n,), the coordinates of A v for the newest v; length: of the part
        of A v outside; scale: the operator's norm; defect: the largest disagreement with symmetry seen, as measured.
        The new vector counts as orthogonal to the last but one, which the caller has seen to.
        """
        overlaps, rounding = self._overlaps, max(_ROUNDING * self._eps * scale, defect) / length
        row = (matrix @ overlaps[:, -1] - overlaps @ image) / length
        row += np.copysign(rounding, row)
        row[-2:-1] = self._eps
        self._overlaps = np.zeros((len(row) + 1, len(row) + 1))
        self._overlaps[:-1, :-1] = overlaps
        self._overlaps[-1, :-1] = self._overlaps[:-1, -1] = row
        return float(np.abs(row).max())
