r"""The mean-field rates with a symbolic batch size: each step of the derivation that algebra can replay.

What is taken from textbooks, and named where it is used: Green's formula on the sphere, the addition theorem
(Funk-Hecke) with ``|P_l(x)| < 1`` inside (-1, 1), and the Gaussian averages ``J`` and ``J'`` of ReLU (Cho and Saul).
Everything else is an identity of rational functions in ``B``, or in ``n = B - 1``, that sympy reduces to zero: each
function returns what is left of the difference of its two sides.
"""

from __future__ import annotations

from math import comb
from typing import Any

from bntheory.errors import UserError
from bntheory.models.checks import checked


def inverse_radius_moment() -> Any:
    """``E[1/R^2] = 1/(B - 3)`` for ``R^2`` chi-squared with ``B - 1`` degrees of freedom, by Gamma functions."""
    import sympy as sp

    n = sp.symbols("n", positive=True)
    # the integral of r^k exp(-r^2/2) over r > 0 is 2^((k - 1)/2) Gamma((k + 1)/2)
    moment = 2 ** ((n - 4) / 2) * sp.gamma((n - 2) / 2) / (2 ** ((n - 2) / 2) * sp.gamma(n / 2))
    return sp.simplify(sp.gammasimp(moment) - 1 / (n - 2))


def trace_identity() -> Any:
    """``||(G - u u') D G||^2`` in sums over the batch, ``D = diag(d)``, for every ``B``.

    ``G`` and ``G - u u'`` are projections (u centred, norm one), so the norm is ``tr((G - u u') D G D)``, which is
    ``(1 - 2/B) sum d^2 + (sum d)^2/B^2 - sum d^2 u^2 + (sum d u)^2/B`` as polynomials in ``d`` and ``u``. Each
    coefficient, times ``B^2``, is a polynomial in ``B`` of degree at most 2 (``G = 1 - 11'/B`` enters twice), so three
    batch sizes, multiplied out here, prove it for all.
    """
    import sympy as sp

    remainder: Any = sp.Integer(0)
    for b in (4, 5, 6):
        d, u = sp.symbols(f"d0:{b}"), sp.symbols(f"u0:{b}")
        g, diagonal, column = sp.eye(b) - sp.ones(b, b) / b, sp.diag(*d), sp.Matrix(u)
        norm2 = ((g - column * column.T) * diagonal * g * diagonal).trace()
        along = sum(x * y for x, y in zip(d, u, strict=True))
        sums = (1 - sp.Rational(2, b)) * sum(x**2 for x in d) + sum(d) ** 2 / sp.Integer(b) ** 2
        sums += along**2 / b - sum((x * y) ** 2 for x, y in zip(d, u, strict=True))
        found = sp.expand(norm2 - sums)
        remainder = found if found != 0 else remainder
    return remainder


def averaging_identity() -> Any:
    """The averaged trace is ``(B - 1)/B`` times the numerator of the rate, for samples that enter alike, every ``B``.

    ``sum d^2 -> B a``, ``(sum d)^2 -> B a + B(B - 1) c``, ``sum d^2 u^2 -> q`` and ``(sum d u)^2 -> q + (B - 1) e``
    with ``a = E d^2, c = E d_1 d_2, q = E d^2 t^2, e = E d_1 t_1 d_2 t_2`` and ``t = sqrt(B) u``.
    """
    import sympy as sp

    b, a, c, q, e = sp.symbols("B a c q e", positive=True)
    averaged = (1 - 2 / b) * b * a + (b * a + b * (b - 1) * c) / b**2 - q + (q + (b - 1) * e) / b
    numerator = (b - 1) * a - q + c + e
    return sp.simplify(averaged - (b - 1) / b * numerator)


def relu_limit_identity() -> Any:
    """The limit of the printed ReLU rate as ``B`` grows, with the kernel written out, minus ``pi/(pi - 1)``."""
    import sympy as sp

    b = sp.symbols("B", positive=True)
    c = -1 / (b - 1)
    angle = sp.pi - sp.acos(c)
    j, dj = (sp.sqrt(1 - c**2) + angle * c) / sp.pi, angle / sp.pi
    # the two parts have limits of their own: (B - 1)/(B - 3) -> 1, and everything else over B - 3 vanishes
    leading = sp.limit((b - 1) / (b - 3), b, sp.oo) * sp.limit(1 / (1 - j), b, sp.oo)
    rest = sp.limit(1 / (b - 3), b, sp.oo) * (sp.limit(dj / (1 - j), b, sp.oo) - 1)
    return sp.simplify(leading + rest - sp.pi / (sp.pi - 1))


def linear_identity() -> Any:
    """The rate of the identity activation from the trace formula, minus ``(B - 2)/(B - 3)``."""
    import sympy as sp

    b = sp.symbols("B", positive=True)
    off = -1 / (b - 1)  # Sigma_12; Sigma_11 = E t^2 = 1
    derived = _trace_formula(b, 1, 1, 1, off, 1, off)
    return sp.simplify(derived - (b - 2) / (b - 3))


def relu_identity() -> Any:
    """The rate of ReLU from the trace formula with symbols ``J, J'``, minus the form of the source."""
    import sympy as sp

    b, j, dj = sp.symbols("B J Jp", positive=True)
    half = sp.Rational(1, 2)
    derived = _trace_formula(b, half, half, dj / 2, j / 2, half, j / 2)
    printed = ((b - 1 + dj) / (1 - j) - 1) / (b - 3)
    return sp.simplify(derived - printed)


def gap_of_degrees() -> Any:
    """``l(l + n - 2) - (n - 1) = (l - 1)(l + n - 1)``: degree 1 has the least eigenvalue, and it alone."""
    import sympy as sp

    n, level = sp.symbols("n l")
    difference = level * (level + n - 2) - (n - 1) - (level - 1) * (level + n - 1)
    return sp.expand(difference)


@checked()
def sphere_identity(degree: int = 5) -> Any:
    r"""The rate's numerator is a Dirichlet form, for polynomial activations up to ``degree`` and every ``B``.

    With ``f_i(s) = s^i`` (``t = sqrt(n) s``) and ``-Delta s^i = i(i + n - 2) s^i - i(i - 1) s^(i-2)`` on the sphere:

        E[(n - t_1^2) d_i d_j + (1 + t_1 t_2) d_i(t_1) d_j(t_2)] = E[(-Delta f_i)(s_1) (f_j(s_1) - f_j(s_2))]

    for all ``i, j <= degree``, with exact moments as rational functions of ``n``. Green's formula says it for every
    activation with a square integrable weak derivative; expanding ``f`` in eigenfunctions gives the weighted mean.
    """
    import sympy as sp

    if degree < 1:
        raise UserError(f"degree={degree}: a polynomial that is not constant has degree at least 1")
    n = sp.symbols("n", positive=True)
    worst: Any = sp.Integer(0)
    for i in range(1, degree + 1):
        for j in range(1, degree + 1):
            numerator = _moment(n, i + j - 2, 0) - _moment(n, i + j, 0)
            numerator = i * j * (numerator + _moment(n, i - 1, j - 1) / n + _moment(n, i, j))
            form = i * (i + n - 2) * (_moment(n, i + j, 0) - _moment(n, i, j))
            if i > 1:
                form -= i * (i - 1) * (_moment(n, i - 2 + j, 0) - _moment(n, i - 2, j))
            remainder = sp.cancel(sp.together(numerator - form))
            if remainder != 0:
                worst = remainder
    return worst


def _trace_formula(b: Any, d2: Any, d2t2: Any, dd: Any, dtdt: Any, variance: Any, covariance: Any) -> Any:
    """The rate from the averages of ``d^2, d^2 t^2, d_1 d_2, d_1 t_1 d_2 t_2`` and the fixed point's covariance."""
    return ((b - 1) * d2 - d2t2 + dd + dtdt) / ((b - 3) * (variance - covariance))


def _moment(n: Any, a: int, b: int) -> Any:
    """``E[s_1^a s_2^b]`` on the unit sphere of ``R^n`` for two corners of the simplex, ``<e_1, e_2> = -1/n``.

    A Gaussian moment (write ``g_2 = c g_1 + sqrt(1 - c^2) h``) over ``E |g|^(a+b) = n (n + 2) ... (n + a + b - 2)``.
    """
    import sympy as sp

    if (a + b) % 2:
        return sp.Integer(0)
    c = -1 / n
    total: Any = sp.Integer(0)
    for k in range(0, b + 1, 2):
        total += (
            comb(b, k)
            * c ** (b - k)
            * (1 - c**2) ** (k // 2)
            * sp.factorial2(k - 1)  # the Gaussian moment of order k
            * sp.factorial2(a + b - k - 1)
        )
    norm: Any = sp.Integer(1)
    for k in range(0, a + b, 2):
        norm *= n + k
    return total / norm
