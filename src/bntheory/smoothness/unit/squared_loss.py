r"""The BN Hessian of a single unit with squared loss: its whole spectrum, and when it is below its frozen twin's.

Setting: L(z) = (h/2) ||z - t||^2, so H = h I with h > 0; any m >= 2, eps >= 0, gamma. K = d2L_hat/dy2. Write
sigma^2 = var + eps, q = var/sigma^2 (so <y_hat,y_hat> = m q, and q = 1 exactly when eps = 0), g = h (z - t), and

    rho   = <y_hat,g>/(m gamma h)
    g_perp = g minus its components along 1 and y_hat,   tau^2 = q ||g_perp||^2/(m gamma^2 h^2)
    A = (1-q)^2 - 3 (1-q) rho,      B = 1 - rho.

**Spectrum.** In the orthonormal basis e1 || 1, e2 || y_hat, e3 || g_perp, ... the matrix P is diag(0, 1-q, 1, 1, ...)
and P g = (1-q) <e2,g> e2 + ||g_perp|| e3. Insert both into the formula of :mod:`bntheory.layer.closed_form`:

    K = (h gamma^2/sigma^2) ( 0  on e1,   [[A, -tau], [-tau, B]]  on (e2, e3),   B  on the m - 3 others )

    spec K = (h gamma^2/sigma^2) { 0,  B (m - 3 times),  (A+B)/2 +- sqrt(((A-B)/2)^2 + tau^2) }              (m >= 3)

(m = 2: {0, A}; var = 0: {0, and h gamma^2/eps m - 1 times}.) The frozen twin has h gamma^2/sigma^2 on all of R^m.

**Condition.** lambda_max(K) < lambda_max(twin) exactly when I - [[A, -tau], [-tau, B]] is positive definite
(then B < 1 too):

    rho > 0   and   A < 1   and   rho (1 - A) > tau^2;                at eps = 0:   rho > tau^2,

that is gamma <y_hat,g> > ||P g||^2/h. Both sides are gradients that training computes anyway
(<y_hat,g> = dL_hat/dgamma, and P g = (sigma/gamma) dL_hat/dy). *Where gamma is stationary the top eigenvalue is
therefore never below the twin's*, and it is strictly above unless g_perp = 0. For the spectral norm, -lambda_min < twin
as well: (1 + A)(1 + B) > tau^2, A > -1, B > -1; at eps = 0 both together read |1 - rho| + tau^2 < 1.

**2-Lipschitz constant at a point, eps = 0** (u not small). On the centred space f(v) = const - h gamma sqrt(m)
<v,t>/|v|. With x = v/|Cy|, s = |x|, psi the angle between x and y, c = |corr(y,t)|, kappa = h |gamma| T/sigma^2, T the
standard deviation of t, the claim sup_u 2|f(y+u) - f(y) - <f'(y),u>|/|u|^2 = 2 (1 + c) kappa is, after the supremum
over directions,

    sqrt((2s(1+c) - c)^2 + (1-c^2)(1-s)^2) <= 1 + s^2 (1+c),

which, squared and divided by s (1+c)^2, is (s-1)^2 (s+2) >= 0: true for every s, with equality in the limit s -> 0,
where x comes from the direction of +-t. So it is exact, not attained, and exceeds the Hessian's norm at every y: the
best quadratic majorant is dictated by the jump at constant batches, not by the local curvature.

Over all y with one sigma (eps = 0): the top eigenvalue is largest at |corr| = 1/sqrt 3, where it is (2/sqrt 3) h
|gamma| T/sigma^2 (m >= 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.smoothness.protocol import as_point


def along_y_hat(rho: Any, q: float) -> Any:
    """A, the entry of K's block on (e2, e3) that belongs to y_hat, in units of the twin's eigenvalue. Elementwise."""
    d = 1 - q
    return d**2 - 3 * d * rho


def margins(rho: Any, tau2: Any, q: float) -> tuple[Floats, Floats]:
    """Positive where lambda_max(K), and where its spectral norm, is below the twin's: the least of the quantities that
    the conditions ask to be positive. tau2: tau^2. Elementwise; m >= 3."""
    A = along_y_hat(rho, q)
    top = np.minimum(np.minimum(rho, 1 - A), rho * (1 - A) - tau2)
    below = np.minimum(np.minimum(1 + A, 2 - rho), (1 + A) * (2 - rho) - tau2)
    return top, np.minimum(top, below)


@dataclass(frozen=True)
class SquaredLossSpectrum:
    """The exact curvature of one unit with squared loss and of its frozen twin. All numbers are O(m) to compute.

    m, gamma, eps, sigma, h: the layer. q, rho, tau: the dimensionless coordinates of the module docstring. T: standard
    deviation of the targets (h-free). phi: correlation of y with t, nan where either is constant.
    """

    m: int
    gamma: float
    eps: float
    sigma: float
    h: float
    q: float
    a: float  # gamma rho, which stays finite at gamma = 0
    b: float  # |gamma| tau, likewise
    T: float
    phi: float

    @property
    def rho(self) -> float:
        """<y_hat,g>/(m gamma h): how much of the residual lies along y_hat. nan at gamma = 0."""
        return self.a / self.gamma if self.gamma != 0 else math.nan

    @property
    def tau(self) -> float:
        """sqrt(q) ||g_perp||/(sqrt(m) |gamma| h). nan at gamma = 0."""
        return self.b / abs(self.gamma) if self.gamma != 0 else math.nan

    @property
    def twin(self) -> float:
        """The frozen twin's only eigenvalue, h gamma^2/sigma^2: its global Lipschitz constant of the gradient as
        well."""
        return self.h * self.gamma**2 / self.sigma**2

    @property
    def distinct(self) -> dict[float, int]:
        """Eigenvalue -> multiplicity (one key may stand for several of the families, where they coincide)."""
        gamma, d = self.gamma, 1 - self.q
        unit = self.h / self.sigma**2
        A, B = gamma * (gamma * d**2 - 3 * d * self.a), gamma * (gamma - self.a)
        off = gamma * self.b
        families: list[tuple[float, int]] = [(0.0, 1)]
        if self.m == 2:
            families.append((A, 1))
        else:
            low, high = _two_by_two(A, B, off)
            families += [(B, self.m - 3), (low, 1), (high, 1)]
        table: dict[float, int] = {}
        for value, count in families:
            if count:
                table[unit * value] = table.get(unit * value, 0) + count
        return table

    @property
    def eigenvalues(self) -> Floats:
        """All m of them, ascending."""
        table = self.distinct
        return np.repeat(np.array(sorted(table)), [table[v] for v in sorted(table)])

    @property
    def top(self) -> float:
        """lambda_max(K)."""
        return max(self.distinct)

    @property
    def bottom(self) -> float:
        """lambda_min(K)."""
        return min(self.distinct)

    @property
    def norm(self) -> float:
        """The spectral norm of K."""
        return max(self.top, -self.bottom)

    @property
    def top_margin(self) -> float:
        """Positive exactly where lambda_max(K) is below the twin's: the least of the quantities that the condition asks
        to be positive, all of them dimensionless; 0 at gamma = 0."""
        return self._margins[0]

    @property
    def norm_margin(self) -> float:
        """Positive exactly where the spectral norm of K is below the twin's."""
        return self._margins[1]

    @property
    def _margins(self) -> tuple[float, float]:
        if self.gamma == 0:
            return 0.0, 0.0
        if self.m == 2:
            A = along_y_hat(self.rho, self.q)
            return 1 - A, min(1 - A, 1 + A)
        top, norm = margins(self.rho, self.tau**2, self.q)
        return float(top), float(norm)

    @property
    def two_lipschitz(self) -> float:
        """The 2-Lipschitz constant at y over all u: exact for eps = 0 (the twin's is ``twin``).

        Raises ValueError for eps > 0, where no closed form is known: measure it with
        :func:`bntheory.smoothness.two_lipschitz.two_lipschitz`.
        """
        if self.eps > 0:
            raise ValueError(
                f"eps is {self.eps}: the closed form 2(1+|phi|)|gamma|T/sigma^2 is proved for eps = 0 only; measure it instead"
            )
        if self.T == 0 or self.gamma == 0:
            return 0.0
        return 2 * (1 + abs(self.phi)) * self.h * abs(self.gamma) * self.T / self.sigma**2


def _two_by_two(a: float, b: float, off: float) -> tuple[float, float]:
    """Eigenvalues of [[a, off], [off, b]], ascending."""
    mean, radius = (a + b) / 2, math.hypot((a - b) / 2, off)
    return mean - radius, mean + radius


def squared_loss_spectrum(
    y: ArrayLike, target: ArrayLike, *, gamma: float = 1.0, eps: float = 0.0, h: float = 1.0
) -> SquaredLossSpectrum:
    """The exact curvature in y of (h/2)||gamma y_hat + beta - t||^2 at y (it does not depend on beta).

    y, target: shape (m,), m >= 2. Raises ValueError for a constant batch with eps = 0, eps < 0, h <= 0 or shapes that
    disagree.
    """
    y = np.asarray(y, dtype=np.float64)
    if y.ndim != 1 or y.shape[0] < 2:
        raise ValueError(f"y has shape {y.shape}; one unit is a flat vector of m >= 2 pre-activations")
    y = as_point(y, y.shape[0], "y")
    t = as_point(target, y.shape[0], "target")
    if not eps >= 0:
        raise ValueError(f"eps is {eps}; it is added to a variance, so it must be >= 0")
    if not h > 0:
        raise ValueError(f"h is {h}; the loss (h/2)||z - t||^2 needs h > 0")
    m = y.shape[0]
    yc, tc = _centred(y), _centred(t)
    size = float(np.max(np.abs(yc)))
    if size > 1e150 or (0 < size < 1e-150 and eps == 0):
        raise ValueError(
            f"y varies by {size:.2g} over the batch, which over- or underflows when squared: rescale y (and eps)"
        )
    var = float(yc @ yc) / m
    if bool((y == y[0]).all()) or var == 0:
        yc, var = np.zeros_like(yc), 0.0
        if eps == 0:
            raise ValueError(
                "y is constant over the batch and eps = 0: the variance is zero and y_hat is 0/0. Give eps > 0"
            )
    sigma = math.sqrt(var + eps)
    T = math.sqrt(float(tc @ tc) / m)
    q = var / (var + eps)
    if var == 0.0:
        return SquaredLossSpectrum(m, float(gamma), float(eps), sigma, float(h), 0.0, 0.0, 0.0, T, math.nan)
    unit = yc / math.sqrt(var * m)
    along = float(unit @ tc) / math.sqrt(m)  # corr * T
    rest = tc - (along * math.sqrt(m)) * unit  # explicit, since T^2 - along^2 cancels
    rest -= (unit @ rest) * unit
    across = math.sqrt(float(rest @ rest) / m) if m > 2 else 0.0
    phi = max(-1.0, min(1.0, along / T)) if T > 0 else math.nan
    a = gamma * q - math.sqrt(q) * along
    b = math.sqrt(q) * across
    return SquaredLossSpectrum(m, float(gamma), float(eps), sigma, float(h), q, a, b, T, phi)


def _centred(x: Floats) -> Floats:
    first = x - x.mean()
    return np.asarray(first - first.mean())
