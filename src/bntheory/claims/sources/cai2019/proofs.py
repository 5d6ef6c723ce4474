"""Symbolic steps of the proofs about least squares with BN, for every dimension and every covariance.

Vectors enter through their S-inner products only: <x, y> = x'Sy, uu = <u,u>, uw = <u,w>, ... with f = S e, so that what
is proved holds in any dimension. c = uw/ww, e = u - c w, and BNGD moves w to w + d f with d = lr a/s, effective step
t = c d.
"""

from __future__ import annotations

from typing import Any

from bntheory.evidence.checks import Check
from bntheory.evidence.identity import identity

_ANY = "every dimension, positive definite S, u != 0"


def contraction() -> tuple[Check, ...]:
    """||(I - t S) e||_S^2 - ||e_next||_S^2 is a square over ww <w_next, w_next>: so the error contracts at
    least as I - tS.

    e_next = u - (u, w_next projection) has ||e_next||_S^2 = uu - <u, w_next>^2/<w_next, w_next>.
    """
    import sympy as sp

    uu, uw, ww, uf, wf, ff, d = sp.symbols("uu uw ww uf wf ff d", real=True)
    c = uw / ww
    t = c * d
    moved = ww + 2 * d * wf + d**2 * ff
    e_next = uu - (uw + d * uf) ** 2 / moved
    model = (uu - uw**2 / ww) - 2 * t * (uf - c * wf) + t**2 * ff
    square = (d * (uw * (d * ff + 2 * wf) - uf * ww)) ** 2 / (ww**2 * moved)
    return (
        identity(
            "||(I - tS)e||_S^2 - ||e_next||_S^2 = a square / (||w||_S^4 ||w_next||_S^2)",
            model - e_next - square,
            _ANY,
            "S and I - tS commute, so ||(I - tS)e||_S <= rho(I - tS)||e||_S by the spectral theorem",
        ),
    )


def contraction_complement() -> tuple[Check, ...]:
    """With r = 1 + d <w,f>/ww and f' = f - (<w,f>/ww) w: e_next is no longer than e - (t/r) f'."""
    import sympy as sp

    uu, uw, ww, uf, wf, ff, d = sp.symbols("uu uw ww uf wf ff d", real=True)
    c, b = uw / ww, wf / ww
    t = c * d / (1 + d * b)
    moved = ww + 2 * d * wf + d**2 * ff
    e_next = uu - (uw + d * uf) ** 2 / moved
    # <e, f'> = <e, f> because <e, w> = 0, and <f', f'> = ff - wf^2/ww
    model = (uu - uw**2 / ww) - 2 * t * (uf - c * wf) + t**2 * (ff - wf**2 / ww)
    best = c / (1 + d * b)
    square = (best * moved - (uw + d * uf)) ** 2 / moved
    return (
        identity(
            "||(I - t' S_w)e||_S^2 - ||e_next||_S^2 = a square / ||w_next||_S^2",
            model - e_next - square,
            _ANY + ", 1 + d<w,f>/<w,w> != 0",
            "S_w is S compressed (in the S-inner product) to the complement of w, where e lies; the "
            "factor is its spectral radius there",
        ),
    )


def norm_growth() -> tuple[Check, ...]:
    """w'(S e) = w'b - (w'b/s^2) w'Sw = 0, so ||w + d S e||^2 = ||w||^2 + d^2 ||S e||^2."""
    import sympy as sp

    wb, s2, w2, d, f2 = sp.symbols("wb s2 w2 d f2", positive=True)
    inner = wb - (wb / s2) * s2
    return (
        identity("w'Se = 0", inner, _ANY),
        identity(
            "||w_next||^2 = ||w||^2 + (lr a/s)^2 ||Se||^2", (w2 + 2 * d * inner + d**2 * f2) - w2 - d**2 * f2, _ANY
        ),
    )


def scaling(factor: Any) -> tuple[Check, ...]:
    """One step from (a, r w) with rate r^2 lr against r times one step from (a, w): coefficients on w, b and Sw.

    With s(r w) = |r| s. ``factor`` is a sympy symbol for r with its assumptions (positive, or merely real).
    """
    import sympy as sp

    r = factor
    a, s, wb, lr, lr_a = sp.symbols("a s wb lr lr_a", positive=True)
    new_s, new_wb = sp.Abs(r) * s, r * wb
    rate = r**2 * lr * a / new_s
    plain = lr * a / s
    return (
        identity("a: w'b/s unchanged", lr_a * (new_wb / new_s - wb / s), "every r of the reading", "by induction on k"),
        identity("w: coefficient of b scales by r", rate - r * plain, "every r of the reading"),
        identity(
            "w: coefficient of Sw scales by r",
            rate * new_wb / new_s**2 * r - r * plain * wb / s**2,
            "every r of the reading",
        ),
    )


def effective_spectrum() -> tuple[Check, ...]:
    """Non-zero eigenvalues of S* are Rayleigh quotients x'x / x'S^-1 x, hence within [lambda_min,
    lambda_max] of S.

    S* u = 0 makes its eigenvectors x of eigenvalue l != 0 orthogonal to u. For z orthogonal to u, S* S^-1
    z = z (the identity below), so S*(S^-1 x - x/l) = 0; S^-1 x - x/l is a multiple of u, to which x is
    orthogonal, and x'S^-1 x = x'x/l.
    """
    import sympy as sp

    S, inverse, u, ut, z = sp.symbols("S Sinv u ut z", commutative=False)
    uSu = sp.symbols("uSu", positive=True)

    def reduced(expression: Any) -> Any:
        out = sp.expand(expression)
        for _ in range(4):
            out = sp.expand(out.subs(S * inverse, 1).subs(ut * z, 0).subs(ut * S * u, uSu))
        return out

    star = S - S * u * ut * S / uSu
    scope = "every dimension >= 2, positive definite S, u != 0"
    return (
        identity("S* u = 0", reduced(star * u), scope),
        identity(
            "S* S^-1 z = z where u'z = 0", reduced(star * inverse * z) - z, scope, effective_spectrum.__doc__ or ""
        ),
    )


def adaptive_rate() -> tuple[Check, ...]:
    """Kohler's step w'Sw/(2L|rho|) on rho moves c w to c w + S e/L: effective step 1/L exactly; and the
    gap is ||e||_S^2."""
    import sympy as sp

    wb, p, L, q = sp.symbols("wb p L q", positive=True)  # w'b, w'Sw, lambda_max, u'Su
    rho = -(wb**2) / p
    step = p / (2 * L * sp.Abs(rho))
    on_b, on_sw = -step * (-2 * wb / p), -step * (-2 * rho / p)
    c = wb / p
    scope = "every dimension, positive definite S, w'b != 0 (else the step is infinite)"
    return (
        identity("c (w_next - w) has coefficient 1/L on b", c * on_b - 1 / L, scope),
        identity("c (w_next - w) has coefficient -c/L on Sw", c * on_sw + c / L, scope),
        identity("rho - rho* = ||u - c w||_S^2", (rho + q) - (q - 2 * c * wb + c**2 * p), scope),
    )
