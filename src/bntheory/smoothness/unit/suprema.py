r"""The single unit with squared loss over whole regions: globally, on spheres, along a trajectory. In y and in whitened
weights.

Let k = T/|gamma|, T the standard deviation of the targets, and r = sqrt(var/(var + eps)).

    eps > 0:   Lip(grad f) = (gamma^2/eps) max_r (1-r^2)^2 (1 - 4 r^2 + 3 k r),
               Lip(f)      = (sqrt(m) gamma^2/sqrt(eps)) max_r (1-r^2)^(3/2) (r + k),
               both over 0 <= r <= 1, attained with y parallel to t;
    eps = 0:   both infinite (zero where gamma = 0 or T = 0: then f is constant).

The first maximum is at least 1 (r = 0), and above it for every k > 0, while a frozen twin has
gamma^2/sigma^2 <= gamma^2/eps: globally BN never reduces the constant. For k -> infinity it tends to 48/(25 sqrt 5) k,
at r = 1/sqrt 5.

**Proof.** Scale lengths by sqrt(m eps) and f by m gamma^2: up to a constant f(v) = -1/(2(1+|v|^2)) - k
<v,t'>/sqrt(1+|v|^2), v the centred y and t' the unit vector along the centred t. On a line v = p + s d (p orthogonal to
d, |d| = 1) put pi = 1/(1+|p|^2), s = x^(1/2)/pi^(1/2), and maximise over the direction of t' within the plane of p and
d. The derivatives along the line become

    f''  =  pi^2 D(x) +- k G,     D = (1-3x)/(1+x)^3,           G^2  = pi^2 (9x + (1-pi)(1-2x)^2)/(1+x)^5,
    f'   =  pi^(3/2) E(x) +- k F,  E = sqrt(x)/(1+x)^2,          F^2  = pi (1 + (1-pi) x)/(1+x)^3.

pi = 1 is the line through the origin along t, where G^2 = h(x) = 9x/(1+x)^5 and F^2 = 1/(1+x)^3; with x = r^2/(1-r^2)
it gives the polynomials above. It remains to find, for every (pi, x), a y with D(y) >= +-pi^2 D(x) and h(y) >= G^2,
whatever k:

- if pi^2 D(x) >= D(1/4), the y in [x, 1/4] with D(y) = pi^2 D(x) (D falls there); since 1 - pi <= 1 - pi^2 the second
  inequality follows from one between polynomials in x and y;
- otherwise y = 1/4, where h is largest: G^2 <= h(1/4) for all pi and x;
- for -f'': y = 1/4 where D(x) >= 0; elsewhere x > 1/3, y = 19/100, as -D <= 1/4 <= D(19/100) and G^2 <= h(19/100)
  there.

For f': the y in [0, 1/3] with E(y)^2 = pi^3 E(x)^2, E^2 being largest at 1/3, has 1/(1+y)^3 >= F^2. Each of these
polynomial inequalities is decided by real arithmetic in the tests, and the derivatives along the line by symbolic
differentiation.

Whitened weights (y = X w, X'1 = 0, X'X = m I): |y|^2 = m |w|^2, and everything is m times (sqrt(m) times, for Lip(f))
that of y, with T replaced by T_X, the standard deviation of the projection of t on the range of X.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bntheory.smoothness.protocol import as_point


def _largest(coefficients: list[float]) -> tuple[float, float]:
    """(maximum over [0, 1], where) of the polynomial with the given coefficients, constant first: at an end or a
    stationary point."""
    p = np.polynomial.Polynomial(coefficients)
    roots = p.deriv().roots()
    real = roots[np.abs(roots.imag) < 1e-9].real
    points = np.concatenate([[0.0, 1.0], real[(real > 0) & (real < 1)]])
    values = p(points)
    i = int(np.argmax(values))
    return float(values[i]), float(points[i])


@dataclass(frozen=True)
class UnitSuprema:
    """Over all y in R^m. derivative_lipschitz: Lip(grad f), the global 2-Lipschitz constant. lipschitz: Lip(f).

    attained_at: r = sqrt(var/(var+eps)) of the batch that attains the first, nan where it is infinite.
    """

    derivative_lipschitz: float
    lipschitz: float
    attained_at: float


def unit_suprema(m: int, gamma: float, T: float, eps: float) -> UnitSuprema:
    """Exact suprema for (1/2)||gamma y_hat + beta - t||^2 over y in R^m; T is the standard deviation of t.

    Raises ValueError for m < 2, eps < 0 or T < 0.
    """
    if m < 2 or not eps >= 0 or not T >= 0:
        raise ValueError(f"m is {m}, eps is {eps}, T is {T}; they are at least 2, 0 and 0")
    if gamma == 0 or (T == 0 and eps == 0):
        return UnitSuprema(0.0, 0.0, 0.0)
    if eps == 0:
        return UnitSuprema(math.inf, math.inf, math.nan)
    k = T / abs(gamma)
    damp = np.polynomial.Polynomial([1.0, 0.0, -1.0])
    bend, where = _largest(list((damp**2 * np.polynomial.Polynomial([1.0, 3 * k, -4.0])).coef))
    slope2, _ = _largest(list((damp**3 * np.polynomial.Polynomial([k, 1.0]) ** 2).coef))
    return UnitSuprema(gamma**2 / eps * bend, math.sqrt(m * slope2 / eps) * gamma**2, where)


@dataclass(frozen=True)
class WhitenedSuprema:
    """In the weights, for whitened inputs. everywhere: over all w. on_unit_sphere: sup of the Hessian's norm over |w| =
    1 at eps = 0.

    ``everywhere`` is infinite or of order 1/eps; a trajectory of gradient descent (eps = 0, no weight decay)
    nevertheless sees a finite constant, :meth:`at_most`, since its weights never get shorter.
    """

    m: int
    gamma: float
    eps: float
    everywhere: float
    on_unit_sphere: float

    def at_most(self, norm: float) -> float:
        """sup of the Hessian's norm over |w| = norm, eps = 0: a bound on all of gradient descent that starts at this
        norm.

        The gradient is orthogonal to w, so |w - s grad| >= |w| for every s: no point of a step is closer to the origin.
        """
        if not norm > 0:
            raise ValueError(f"norm is {norm}; at w = 0 the unit is not defined for eps = 0")
        return self.on_unit_sphere / norm**2

    def twin(self, norm: float) -> float:
        """The frozen twin's constant, m gamma^2/(norm^2 + eps), statistics frozen at |w| = norm."""
        return self.m * self.gamma**2 / (norm**2 + self.eps)


def whitened_suprema(inputs: ArrayLike, target: ArrayLike, *, gamma: float = 1.0, eps: float = 0.0) -> WhitenedSuprema:
    """The suprema for f(w) = (1/2)||gamma BN(X w) + beta - t||^2. Raises ValueError where X'1 = 0 or X'X = m I does not
    hold."""
    x = np.asarray(inputs, dtype=np.float64)
    if x.ndim != 2 or not 1 <= x.shape[1] < x.shape[0]:
        raise ValueError(f"inputs have shape {x.shape}; give (m, n) with 1 <= n < m")
    m, n = x.shape
    t = as_point(target, m, "target")
    off_mean = float(np.max(np.abs(x.mean(axis=0))))
    off_white = float(np.max(np.abs(x.T @ x / m - np.eye(n))))
    if max(off_mean, off_white) > 1e-8:
        raise ValueError(
            f"inputs are not whitened: a column mean is {off_mean:.2g}, and X'X/m differs from I by {off_white:.2g}. Centre and whiten "
            "them, or measure (bntheory.smoothness.derivative_lipschitz_constant)"
        )
    projected = float(np.linalg.norm(x.T @ t)) / m
    inner = unit_suprema(m, gamma, projected, eps)
    # With one weight only the direction of y is left, in which the eps = 0 loss is flat.
    sphere = 2 / math.sqrt(3) * m * abs(gamma) * projected if n >= 2 else 0.0
    return WhitenedSuprema(m, float(gamma), float(eps), m * inner.derivative_lipschitz, sphere)
