"""Toy functions whose smoothness constants are known exactly: what every estimate here is held against.

The constants are over the whole of R^n, derived from the formula beside each; ``inf`` is a value like any other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from bntheory.smoothness.protocol import FunctionLandscape, Landscape
from bntheory.smoothness.restriction import AffinePullback
from bntheory.smoothness.unit.losses import LOSSES


@dataclass(frozen=True)
class KnownFunction:
    """A landscape with its exact global constants.

    lipschitz: sup ||grad||. derivative_lipschitz: Lip(grad), which for C^1 functions is the global 2-Lipschitz constant
    too. infimum: f*.
    """

    name: str
    landscape: Landscape
    lipschitz: float
    derivative_lipschitz: float
    infimum: float


Number = Callable[[float], float]


def _scalar(name: str, f: Number, d: Number, dd: Number) -> FunctionLandscape:
    """A landscape of dimension one from three functions of a number."""
    return FunctionLandscape(
        1,
        lambda x: float(f(float(x[0]))),
        lambda x: np.array([d(float(x[0]))]),
        lambda x, v: np.array([dd(float(x[0])) * v[0]]),
        name=name,
    )


def quadratic(matrix: ArrayLike, linear: ArrayLike | None = None) -> KnownFunction:
    """(1/2) x'Ax + b'x with A symmetric: Hessian A everywhere, so every 2-Lipschitz constant, at any point and radius,
    is ||A||."""
    a = np.atleast_2d(np.asarray(matrix, dtype=np.float64))
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"matrix has shape {a.shape}; a quadratic form needs a square one")
    if not np.allclose(a, a.T, rtol=1e-12, atol=0):
        raise ValueError("matrix is not symmetric; give (A + A')/2, which is the same quadratic form")
    b = np.zeros(len(a)) if linear is None else np.asarray(linear, dtype=np.float64)
    values = np.linalg.eigvalsh(a)
    flat = not a.any()
    infimum = -math.inf
    if values[0] > 0:
        infimum = -0.5 * float(b @ np.linalg.solve(a, b))
    elif flat and not b.any():
        infimum = 0.0
    return KnownFunction(
        "quadratic",
        FunctionLandscape(
            len(a),
            lambda x: float(0.5 * x @ a @ x + b @ x),
            lambda x: np.asarray(a @ x + b),
            lambda x, v: np.asarray(a @ v),
            name="quadratic",
        ),
        float(np.linalg.norm(b)) if flat else math.inf,
        float(np.max(np.abs(values))),
        infimum,
    )


def sine(amplitude: float = 1.0, frequency: float = 1.0) -> KnownFunction:
    """A sin(kx): |f'| <= |A k|, |f''| <= |A| k^2, both attained."""
    a, k = float(amplitude), float(frequency)
    landscape = _scalar(
        "sine", lambda x: a * math.sin(k * x), lambda x: a * k * math.cos(k * x), lambda x: -a * k * k * math.sin(k * x)
    )
    return KnownFunction("sine", landscape, abs(a * k), abs(a) * k * k, -abs(a) if k else 0.0)


def softplus(sharpness: float = 1.0) -> KnownFunction:
    """log(1 + exp(kx)): slope up to |k|, not attained; curvature k^2/4 at 0. Divided by k it tends to ReLU, its
    curvature to infinity."""
    from scipy.special import expit

    k = float(sharpness)
    landscape = _scalar(
        "softplus",
        lambda x: float(np.logaddexp(0.0, k * x)),
        lambda x: float(k * expit(k * x)),
        lambda x: float(k * k * expit(k * x) * expit(-k * x)),
    )
    return KnownFunction("softplus", landscape, abs(k), k * k / 4, 0.0 if k else math.log(2.0))


def relu(slope: float = 1.0) -> KnownFunction:
    """max(0, s x): the gradient jumps by |s| at 0 (taken as 0 there), so Lip(grad) and the 2-Lipschitz constant are
    infinite."""
    s = float(slope)
    landscape = _scalar("relu", lambda x: max(0.0, s * x), lambda x: s if s * x > 0 else 0.0, lambda x: 0.0)
    return KnownFunction("relu", landscape, abs(s), math.inf if s else 0.0, 0.0)


def gaussian_bump(width: float = 1.0) -> KnownFunction:
    """exp(-x^2/(2 w^2)): slope up to exp(-1/2)/w at x = w, curvature up to 1/w^2 at 0."""
    w = float(width)
    if not w > 0:
        raise ValueError(f"width is {width}; it must be positive")
    landscape = _scalar(
        "gaussian bump",
        lambda x: math.exp(-((x / w) ** 2) / 2),
        lambda x: -x / w**2 * math.exp(-((x / w) ** 2) / 2),
        lambda x: ((x / w) ** 2 - 1) / w**2 * math.exp(-((x / w) ** 2) / 2),
    )
    return KnownFunction("gaussian bump", landscape, math.exp(-0.5) / w, 1 / w**2, 0.0)


def logistic_regression(inputs: ArrayLike, labels: ArrayLike) -> KnownFunction:
    """The mean over examples of log(1 + exp(-l_i <x_i, w>)), labels -1 or 1.

    Hessian X' diag(p (1-p)) X/m, largest at w = 0 in every direction at once: Lip(grad) = lambda_max(X'X)/(4m),
    attained. Lip(f): each example's slope is below its ||x_i||/m, and all reach it along a separating direction; the
    constant is exact, ||X' l||/m, where the data are separable by that direction, and ``nan`` otherwise (the bound
    sum ||x_i||/m is not stated).
    """
    x = np.asarray(inputs, dtype=np.float64)
    l_ = np.asarray(labels, dtype=np.float64)
    if x.ndim != 2 or l_.shape != (x.shape[0],):
        raise ValueError(
            f"inputs have shape {x.shape} and labels {l_.shape}; give (m, n) and (m,), one label an example"
        )
    if not bool(np.isin(l_, (-1.0, 1.0)).all()):
        raise ValueError(f"labels are {sorted(set(l_.tolist()))[:5]}; logistic regression takes -1 and 1")
    m = x.shape[0]
    mean = x.T @ l_ / m
    separated = bool((l_ * (x @ mean) > 0).all())
    loss, share = LOSSES["logistic"], 1 / m
    mean_loss = FunctionLandscape(
        m,
        lambda z: share * loss.total(z, l_),
        lambda z: share * loss.first(z, l_),
        lambda z, v: share * loss.second(z, l_) * v,
        name="mean logistic loss",
    )
    return KnownFunction(
        "logistic regression",
        AffinePullback(mean_loss, x),
        float(np.linalg.norm(mean)) if separated else math.nan,
        float(np.linalg.eigvalsh(x.T @ x)[-1]) / (4 * m),
        0.0 if separated else math.nan,
    )
