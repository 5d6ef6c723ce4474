"""Whether a layer in rational numbers lies in a claim's domain, in rational arithmetic throughout."""

from __future__ import annotations

from fractions import Fraction

from bntheory.judges.exact.witness import Instance
from bntheory.layer.domain import LayerDomain


def outside_domain(domain: LayerDomain, x: Instance) -> str | None:
    """Why the layer is outside the claim's domain, or None; rational arithmetic throughout."""
    if x.m < domain.min_m:
        return f"m = {x.m} < {domain.min_m}"
    if x.eps < 0 or (domain.eps == "zero" and x.eps) or (domain.eps == "positive" and not x.eps):
        return f"eps = {x.eps}"
    if not _in_range(domain.gamma, x.gamma):
        return f"gamma = {x.gamma} is not {domain.gamma}"
    reason = _undefined(domain, x) or _wrong_hessian(domain.hessian, x) or _wrong_gradient(domain, x)
    if reason:
        return reason
    for what, declared, given in (
        ("scalars", domain.scalars, x.scalars),
        ("vectors", domain.vectors, x.vectors),
        ("operators", domain.operators, x.operators),
    ):
        if set(declared) != set(given):
            return f"the free {what} are {sorted(given)}, the domain declares {sorted(declared)}"
    for name, kind in domain.scalars.items():
        if not _in_range(kind, x.scalars[name]):
            return f"{name} = {x.scalars[name]} is not {kind}"
    bound = domain.smoothness_in(lambda name: x.scalars[name])
    if bound is not None and x.hess is not None and not _within(x.hess, bound):
        return f"the norm of H is above {bound}"
    for name in domain.vectors:
        if name.endswith("@case") and sorted(x.vectors[name]) != [0] * (x.m - 1) + [1]:
            return f"{name} is no standard basis vector"
    for name, operator in domain.operators.items():
        if operator == "psd" and not _is_psd(x.operators[name]):
            return f"{name} is not positive semidefinite"
    return None


def _in_range(kind: str, value: Fraction) -> bool:
    return {
        "any": True,
        "positive": value > 0,
        "nonzero": value != 0,
        "nonnegative": value >= 0,
        "unit": 0 <= value <= 1,
    }[kind]


def _undefined(domain: LayerDomain, x: Instance) -> str | None:
    """Where the normaliser divides by zero or has no derivative."""
    mean = sum(x.y, Fraction(0)) / x.m
    centred = [v - mean for v in x.y]
    kind = domain.normaliser
    if kind == "rms":
        return "y = 0 and eps = 0" if not any(x.y) and not x.eps else None
    if kind != "mean-only" and not any(centred) and not x.eps:
        return "y is constant and eps = 0"
    if kind == "l1" and not all(centred):
        return "an entry of y equals the mean, where the l1 scale has no derivative"
    if kind == "linf":
        if x.eps:
            return "eps > 0 with the largest entry as scale"
        sizes = sorted(abs(v) for v in centred)
        if sizes[-1] == sizes[-2]:
            return "two entries of y - mu are largest, where the scale has no derivative"
    return None


def _wrong_hessian(kind: str, x: Instance) -> str | None:
    h, m = x.hess, x.m
    zero = h is None or not any(any(row) for row in h)
    if kind == "zero":
        return None if zero else "H is not zero"
    if kind == "identity" and (h is None or any(h[i][j] != (i == j) for i in range(m) for j in range(m))):
        return "H is not the identity"
    if h is None:
        return None
    off = any(h[i][j] for i in range(m) for j in range(m) if i != j)
    if kind in ("diagonal", "psd-diagonal") and off:
        return "H is not diagonal"
    if kind == "isotropic" and (off or any(h[i][i] != h[0][0] for i in range(m))):
        return "H is no multiple of the identity"
    if kind in ("psd", "psd-diagonal") and not _is_psd(h):
        return "H is not positive semidefinite"
    return None


def _wrong_gradient(domain: LayerDomain, x: Instance) -> str | None:
    worst = max(map(abs, x.grad))
    return f"an entry of g has size {worst}, above 1" if domain.gradient == "unit-entries" and worst > 1 else None


def _within(h: tuple[tuple[Fraction, ...], ...], bound: Fraction) -> bool:
    """Whether the spectral norm is at most ``bound``."""
    return all(
        _is_psd(tuple(tuple(bound * (i == j) - sign * v for j, v in enumerate(row)) for i, row in enumerate(h)))
        for sign in (1, -1)
    )


def _is_psd(matrix: tuple[tuple[Fraction, ...], ...]) -> bool:
    """LDL' in rationals: every pivot non-negative, and a zero pivot only above a zero column."""
    a = [list(row) for row in matrix]
    n = len(a)
    for k in range(n):
        pivot = a[k][k]
        if pivot < 0 or (pivot == 0 and any(a[i][k] for i in range(k, n))):
            return False
        if pivot:
            for i in range(k + 1, n):
                factor = a[i][k] / pivot
                if factor:
                    for j in range(k, n):
                        a[i][j] -= factor * a[k][j]
    return True
