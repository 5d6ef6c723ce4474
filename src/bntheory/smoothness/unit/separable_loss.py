r"""The BN Hessian of one unit with any separable loss: exact eigenvalues at O(m) a step, no m-by-m matrix.

With D = diag(l''(z_i)), c = gamma^2/sigma^2, b = -gamma/(m sigma^2), s = <y_hat,g> and N = (11' + y_hat y_hat')/m,

    K = c P D P + b [ s P + Pg y_hat' + y_hat (Pg)' ] = diag(delta) + U J U',     delta_i = c l''(z_i) + b s,

where U has at most five columns, which span 1, y_hat, D1, D y_hat, Pg, and J is diagonal with entries -1 and 1.
Sylvester's law of inertia, applied to the block matrix [[diag(delta) - x, U], [U', -J]] and its Schur complements,
counts eigenvalues. Split the deltas into a few *near* x and all that are *far*, and eliminate only the far ones:

    #{eigenvalues < x} = #{far delta_i < x} + n_-(M(x)) - n_-(-J),

    M(x) = [[diag(near delta) - x, U_near], [U_near', -J - U_far' diag(1/(far delta - x)) U_far]].

M is small and one evaluation costs O(m); no division by a small number occurs, so counts are right to rounding even
where x sits on a delta. M decreases in x, hence an eigenvalue is the only zero of one eigenvalue of M between two
neighbouring deltas: bracketed by counts, polished by Brent's method. Equal deltas (all of them, for the squared loss)
are first reduced to at most five by a rotation; the others are eigenvalues of K themselves. The case of rank one is the
secular equation of Golub (1973).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.smoothness.measure import Cost, Measure, NumberKind
from bntheory.smoothness.unit.unit import BatchNormUnit

_BLOCK = 16384  # columns swept at a time, so that they stay in the cache
_NEAR = 4  # deltas kept out of the elimination on either side of x


class SeparableSpectrum:
    """The spectrum of ``unit``'s Hessian in y at one point, and of its frozen twin. float64.

    ``rounding`` is the absolute accuracy that is asked of an eigenvalue; ``evaluations`` counts the O(m) evaluations of
    M.
    """

    def __init__(self, unit: BatchNormUnit, y: ArrayLike) -> None:
        layer = unit.layer(y)
        self.m = layer.m
        gamma, sigma = unit.gamma, float(layer.sigma[0])
        second = unit.loss.second(layer.z, unit.target)
        self.factor = c = gamma**2 / sigma**2
        b = -gamma / (self.m * sigma**2)
        s = float(layer.gamma_grad[0])
        self.largest, self.smallest = float(second.max()), float(second.min())
        order = np.argsort(second)
        self.nodes: Floats = c * second[order] + b * s
        n1, n2 = np.full(self.m, self.m**-0.5), layer.y_hat[order] / np.sqrt(self.m)
        pg = layer.projected_grad[order]
        if self.largest == self.smallest:  # D = h I: D1 and D y_hat add nothing to 1 and y_hat
            h = self.largest
            rows = np.stack([n1, n2, pg])
            middle = np.diag([-c * h - b * s, -c * h * (2 - float(n2 @ n2)) - b * s, 0.0])
            middle[1, 2] = middle[2, 1] = b * np.sqrt(self.m)
        else:
            d = second[order]
            rows = np.stack([n1, n2, d * n1, d * n2, pg])  # row-major: every later sweep runs along the batch
            middle = np.zeros((5, 5))
            middle[:2, :2] = c * (rows[:2] @ rows[2:4].T) - b * s * np.eye(2)
            middle[0, 2] = middle[2, 0] = middle[1, 3] = middle[3, 1] = -c
            middle[1, 4] = middle[4, 1] = b * np.sqrt(self.m)
        left, base, r = _orthonormal_rows(rows)
        values, vectors = np.linalg.eigh(r @ middle @ r.T)
        terms = c * max(abs(self.largest), abs(self.smallest)) + abs(b * s)  # they may cancel; their rounding does not
        self.scale = float(max(np.max(np.abs(self.nodes)) + np.max(np.abs(values)), terms))
        self.rounding = float(8 * np.finfo(float).eps * self.scale)
        keep = np.abs(values) > self.rounding / 8  # dropping the others moves no eigenvalue by more than that
        values, vectors = values[keep], vectors[:, keep]
        self.rank = int(values.size)
        self._reach = float(np.max(np.abs(values), initial=0.0) + 4 * self.rounding)
        self._sign: Floats = np.sign(values)
        self._offset = int(np.sum(self._sign > 0))
        basis = ((vectors * np.sqrt(np.abs(values))).T @ left) @ base
        self._reduced, self._basis, self._released = _merge_equal(self.nodes, basis, self.rounding / 8)
        self.evaluations = 0

    def _inertia_matrix(self, x: float, low: int, high: int) -> Floats:
        """Eigenvalues, ascending, of M(x) with the deltas low..high-1 near, after an equilibrating congruence.

        Directions of very different strength meet in M; without the scaling the weak ones drown in the rounding of the
        strong.
        """
        self.evaluations += 1
        delta, basis = self._reduced, self._basis
        inner = -np.diag(self._sign)
        size = np.ones(self.rank)
        for begin, end in ((0, low), (high, delta.size)):  # one sign on each side: no cancellation
            side = np.zeros((self.rank, self.rank))
            for at in range(begin, end, _BLOCK):
                block = slice(at, min(at + _BLOCK, end))
                part = basis[:, block]
                side += (part * (1 / (delta[block] - x))) @ part.T
            inner -= side
            size += np.abs(np.diag(side))
        far = 1 / np.sqrt(size)
        rows = basis[:, low:high] * far[:, None]
        gap = delta[low:high] - x
        near = 1 / np.sqrt(np.abs(gap) + np.sum(rows**2, axis=0) + np.finfo(float).tiny)
        rows = rows * near
        matrix = np.block([[np.diag(near**2 * gap), rows.T], [rows, far[:, None] * ((inner + inner.T) / 2) * far]])
        return np.linalg.eigvalsh(matrix)

    def _near(self, x: float) -> tuple[int, int]:
        spot = int(np.searchsorted(self._reduced, x))
        return max(spot - _NEAR, 0), min(spot + _NEAR, self._reduced.size)

    def count_below(self, x: float) -> int:
        """How many eigenvalues are less than x (one within rounding of x may fall on either side)."""
        low, high = self._near(x)
        outside = low + int(np.searchsorted(self._released, x)) - self._offset
        return outside + int(np.sum(self._inertia_matrix(float(x), low, high) < 0))

    def eigenvalue(self, k: int) -> float:
        """The k-th smallest eigenvalue, 0 <= k < m, to about ``rounding`` absolutely.

        Raises ValueError for k outside the range.
        """
        if not 0 <= k < self.m:
            raise ValueError(f"k is {k}; the {self.m} eigenvalues are numbered 0 (smallest) to {self.m - 1} (largest)")
        nodes, tol = self.nodes, self.rounding / 4
        if self.rank == 0:
            return float(nodes[k])
        # The perturbation has rank r, so the k-th eigenvalue lies between the nodes k - r and k + r.
        low, high = max(k - self.rank, 0), min(k + self.rank, self.m - 1)
        while low < high:  # the first node with more than k eigenvalues up to it
            middle = (low + high) // 2
            if self.count_below(nodes[middle] + tol) > k:
                high = middle
            else:
                low = middle + 1
        beyond = low == self.m - 1 and self.count_below(nodes[low] + tol) <= k
        if not beyond and self.count_below(nodes[low] - tol) <= k:
            return float(nodes[low])
        if beyond:
            left, right = float(nodes[low]), float(nodes[low]) + self._reach
        else:
            left = float(nodes[low - 1]) if low > 0 else float(nodes[0]) - self._reach
            right = float(nodes[low])
        return self._polish(k, left, right)

    def _polish(self, k: int, left: float, right: float) -> float:
        """The zero in (left, right), which no delta interrupts, of the eigenvalue of M that counts the k-th eigenvalue
        of K.

        The near set is held fixed across the interval, so the function is smooth up to its ends.
        """
        from scipy.optimize import brentq

        middle = (left + right) / 2
        low, high = self._near(middle)
        index = k - low - int(np.searchsorted(self._released, middle)) + self._offset

        known: dict[float, float] = {}

        def crossing(x: float) -> float:
            if x not in known:
                known[x] = float(self._inertia_matrix(x, low, high)[index])
            return known[x]

        if crossing(left) <= 0:
            return left
        if crossing(right) >= 0:
            return right
        return float(brentq(crossing, left, right, xtol=self.rounding / 2, rtol=8.9e-16))

    @property
    def top(self) -> float:
        """lambda_max(K)."""
        return self.eigenvalue(self.m - 1)

    @property
    def bottom(self) -> float:
        """lambda_min(K)."""
        return self.eigenvalue(0)

    @property
    def twin_top(self) -> float:
        """lambda_max of the frozen twin at this point, (gamma^2/sigma^2) max l''."""
        return self.factor * self.largest

    @property
    def twin_norm(self) -> float:
        """The spectral norm of the frozen twin's Hessian at this point."""
        return self.factor * max(abs(self.largest), abs(self.smallest))

    def top_below_twin(self) -> bool:
        """Whether no eigenvalue reaches the twin's largest: the exact condition, one evaluation (ties within rounding
        aside)."""
        return self.count_below(self.twin_top) == self.m

    def norm_below_twin(self) -> bool:
        """Whether the spectral norm is below the twin's: two evaluations."""
        return self.count_below(self.twin_norm) == self.m and self.count_below(-self.twin_norm) == 0

    def measure(self) -> Measure:
        """The spectral norm of K, exact up to rounding."""
        before = self.evaluations
        low, high = self.bottom, self.top
        steps = self.evaluations - before
        return Measure(
            "spectral norm of the single unit's Hessian",
            max(high, -low),
            NumberKind.EXACT,
            Cost(gradients=1),
            error=self.rounding,
            witness={"lambda_min": low, "lambda_max": high, "evaluations": steps},
            note=f"{steps} evaluations at O(m) each",
        )


def _orthonormal_rows(rows: Floats) -> tuple[Floats, Floats, Floats]:
    """(w, b, r) with q = w b orthonormal rows, (k, m), and rows = r' q; w is k x k and left unmultiplied to save a
    sweep.

    Two rounds of Cholesky on the k x k Gram matrix wherever it is conditioned well enough for that to be as good as
    Householder's method; otherwise Householder's.
    """
    k, m = rows.shape
    gram = rows @ rows.T
    norms = np.sqrt(np.diag(gram))
    if m > 4 * k and norms.min() > 0:
        scaled = gram / np.outer(norms, norms)
        if np.linalg.eigvalsh(scaled)[0] > 1e-6:
            first = norms[:, None] * np.linalg.cholesky(scaled)
            base = np.linalg.inv(first) @ rows
            second = np.linalg.cholesky(base @ base.T)
            return np.linalg.inv(second), base, (first @ second).T
    full = np.linalg.qr(rows.T)
    return np.eye(len(full[1])), np.ascontiguousarray(full[0].T), np.asarray(full[1])


def _merge_equal(nodes: Floats, basis: Floats, tolerance: float) -> tuple[Floats, Floats, Floats]:
    """Rotate each run of equal nodes so that at most ``rank`` of them meet the basis; the others are set free.

    Returns (nodes that are left, their basis rows, released nodes), all ascending.
    """
    rank = basis.shape[0]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(nodes) > tolerance) + 1, [nodes.size]])
    long = np.flatnonzero(np.diff(starts) > max(rank, 1))
    if long.size == 0:
        return nodes, np.ascontiguousarray(basis), np.empty(0)
    kept_nodes, kept_rows, released = [], [], []
    at = 0
    for run in long:
        begin, end = int(starts[run]), int(starts[run + 1])
        if nodes[end - 1] - nodes[begin] > 8 * tolerance:
            continue  # a drifting chain, not one value
        kept_nodes.append(nodes[at:begin])
        kept_rows.append(basis[:, at:begin])
        if rank:
            kept_nodes.append(nodes[begin : begin + rank])
            kept_rows.append(np.asarray(np.linalg.qr(basis[:, begin:end].T, mode="r")).T)
        released.append(nodes[begin + rank : end])
        at = end
    kept_nodes.append(nodes[at:])
    kept_rows.append(basis[:, at:])
    return (
        np.concatenate(kept_nodes),
        np.ascontiguousarray(np.concatenate(kept_rows, axis=1)),
        np.concatenate(released) if released else np.empty(0),
    )
