"""Losses that do not see the length of w, and (momentum) gradient descent on them.

A weight vector in front of batch normalisation is scale invariant: f(c w) = f(w) for c > 0. By Euler's theorem

* grad f(w) is orthogonal to w, and grad f(c w) = grad f(w)/c;
* so a plain step has ||w_next||^2 = ||w||^2 + lr^2 ||grad f||^2: the norm only grows, and with it falls
  the *effective learning rate* lr/||w||^2 that the direction w/||w|| feels.

(van Laarhoven 2017; Arora, Li, Lyu 2019, lemma 2.4.) With eps > 0 inside the normalisation none of this is exact; the
losses below take eps, and :func:`orthogonality_defect` and :func:`pythagoras_defect` measure by how much.

The losses are functions of the Rayleigh quotient R = w'Aw/(w'w + eps), which is what BN does to a linear
unit with white inputs; their sphere versions (eps = 0) have closed forms for gradient and curvature.
Arrays: w (..., d), results (...).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.models.checks import checked, positive
from bntheory.models.trajectory import Recorder, Trajectories, recording_steps


class ScaleInvariantLoss(Protocol):
    """What the dynamics need: value, gradient, and the top curvature of f on the unit sphere."""

    @property
    def dimension(self) -> int: ...

    def value(self, w: Floats) -> Floats: ...

    def grad(self, w: Floats) -> Floats: ...

    def spherical_sharpness(self, w: Floats) -> Floats:
        """Largest eigenvalue of the Riemannian Hessian of f at w/||w|| (for eps = 0)."""
        ...


@checked()
@dataclass(frozen=True)
class RayleighPower:
    """f(w) = R^k / 2 with R = sum_i A_i w_i^2 / (||w||^2 + eps), A_i >= 0 given on the diagonal, k = 1 or k >= 2.

    k = 1: a non-degenerate minimum, gradient descent converges geometrically. k > 1: where the smallest
    A_i is 0 the minimum is flat of order 2k, and convergence is only a power of the step count.
    """

    spectrum: tuple[float, ...]
    power: float = 1.0
    eps: float = 0.0
    _diagonal: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        A = np.asarray(self.spectrum, dtype=np.float64)
        if A.ndim != 1 or len(A) < 2 or not np.isfinite(A).all() or np.any(A < 0):
            raise ValueError(f"spectrum must hold at least two finite numbers >= 0, got {self.spectrum}")
        if not (self.power == 1 or self.power >= 2):
            raise ValueError(f"power must be 1 or at least 2 (else curvature is unbounded), got {self.power}")
        if self.eps < 0:
            raise ValueError(f"eps must be >= 0, got {self.eps}")
        object.__setattr__(self, "_diagonal", A)

    @property
    def dimension(self) -> int:
        return len(self._diagonal)

    def _quotient(self, w: Floats) -> tuple[Floats, Floats]:
        norm2 = np.einsum("...i,...i->...", w, w) + self.eps
        return (w * w) @ self._diagonal / norm2, norm2

    def value(self, w: Floats) -> Floats:
        return self._quotient(w)[0] ** self.power / 2

    def grad(self, w: Floats) -> Floats:
        R, norm2 = self._quotient(w)
        slope = self.power * R ** (self.power - 1) / norm2
        return slope[..., None] * (self._diagonal - R[..., None]) * w

    def spherical_sharpness(self, w: Floats) -> Floats:
        v = w / np.linalg.norm(w, axis=-1, keepdims=True)
        A, k = self._diagonal, self.power
        R = (v * v) @ A
        g = 2.0 * (A - R[..., None]) * v
        project = np.eye(len(A)) - v[..., :, None] * v[..., None, :]
        core = 2.0 * project @ ((A - R[..., None])[..., :, None] * project)
        hessian = k * R[..., None, None] ** (k - 1) * core / 2
        if k != 1:
            bend = k * (k - 1) * R ** (k - 2) / 2
            hessian = hessian + bend[..., None, None] * g[..., :, None] * g[..., None, :]
        return _top_tangent(hessian, v)

    @property
    def gradient_bound(self) -> float:
        """sup ||grad f|| on the unit sphere is at most this (attained for k = 1 between the extreme A_i)."""
        low, high = self._diagonal.min(), self._diagonal.max()
        return float(self.power * high ** (self.power - 1) * (high - low) / 2)

    @property
    def curvature_bound(self) -> float:
        """No eigenvalue of the spherical Hessian exceeds this in absolute value."""
        low, high, k = self._diagonal.min(), self._diagonal.max(), self.power
        bend = k * (k - 1) * high ** (k - 2) * (high - low) ** 2 / 2 if k != 1 else 0.0
        return float(k * high ** (k - 1) * (high - low) + bend)


@checked()
@dataclass(frozen=True)
class CircleOfMinima:
    """f(w) = v3^2 (1 + tilt v1)/2, v = w/||w|| in R^3: the circle v3 = 0 is minimal, its sharpness is 1 + tilt v1.

    The smallest model in which the minimisers are connected and differ in sharpness; |tilt| < 1.
    """

    tilt: float = 0.5

    def __post_init__(self) -> None:
        if not abs(self.tilt) < 1:
            raise ValueError(f"tilt must lie in (-1, 1) for the circle to be minimal, got {self.tilt}")

    @property
    def dimension(self) -> int:
        return 3

    def value(self, w: Floats) -> Floats:
        v = w / np.linalg.norm(w, axis=-1, keepdims=True)
        return np.asarray(v[..., 2] ** 2 * (1 + self.tilt * v[..., 0]) / 2)

    def grad(self, w: Floats) -> Floats:
        norm = np.linalg.norm(w, axis=-1, keepdims=True)
        v = w / norm
        x, z = v[..., :1], v[..., 2:]
        pull = np.concatenate([self.tilt * z**2 / 2, np.zeros_like(x), z * (1 + self.tilt * x)], axis=-1)
        return np.asarray((pull - np.sum(pull * v, axis=-1, keepdims=True) * v) / norm)

    def spherical_sharpness(self, w: Floats) -> Floats:
        v = w / np.linalg.norm(w, axis=-1, keepdims=True)
        x, z = v[..., 0], v[..., 2]
        pull = np.stack([self.tilt * z**2 / 2, np.zeros_like(x), z * (1 + self.tilt * x)], axis=-1)
        flat = np.zeros((*x.shape, 3, 3))
        flat[..., 2, 2] = 1 + self.tilt * x
        flat[..., 0, 2] = flat[..., 2, 0] = self.tilt * z
        flat -= np.sum(pull * v, axis=-1)[..., None, None] * np.eye(3)
        project = np.eye(3) - v[..., :, None] * v[..., None, :]
        return _top_tangent(project @ flat @ project, v)


def _top_tangent(hessian: Floats, v: Floats) -> Floats:
    """Largest eigenvalue on the complement of v; v itself is pushed below everything, lest its 0 be taken for one."""
    below = 1.0 + 2.0 * np.sqrt(np.sum(hessian**2, axis=(-2, -1)))
    lowered = hessian - below[..., None, None] * v[..., :, None] * v[..., None, :]
    return np.linalg.eigvalsh(lowered)[..., -1]


@checked()
def orthogonality_defect(loss: ScaleInvariantLoss, w: Floats) -> Floats:
    """w'grad f(w), without absolute value: 0 for a scale-invariant loss, O(eps) with eps inside the normalisation."""
    return np.asarray(np.einsum("...i,...i->...", w, loss.grad(w)))


@checked()
def pythagoras_defect(loss: ScaleInvariantLoss, w: Floats, lr: ArrayLike) -> Floats:
    """||w - lr g||^2 - ||w||^2 - lr^2 ||g||^2 = -2 lr w'g, evaluated from the definition."""
    rates, g = positive(lr, "lr"), loss.grad(w)
    moved = w - rates[..., None] * g
    return np.asarray(np.sum(moved**2, -1) - np.sum(w**2, -1) - rates**2 * np.sum(g**2, -1))


@checked()
def descend(
    loss: ScaleInvariantLoss,
    w0: ArrayLike,
    lr: ArrayLike,
    steps: int,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    buffer0: ArrayLike | None = None,
    lr_growth: float = 1.0,
    points: int | None = 64,
    sharpness: bool = False,
) -> Trajectories:
    """Gradient descent in the usual framework's form: v <- momentum v + grad f(w) + weight_decay w, w <- w
    - lr_t v.

    ``w0`` (..., d) and ``lr`` (...) broadcast over runs; lr_t = lr * lr_growth**t; ``buffer0`` is v before the first
    step, zero by default. Series: ``value``, ``norm``, ``sphere_grad`` = ||w|| ||grad f(w)||, its running minimum over
    *all* steps ``least_sphere_grad``, ``growth`` = sum of lr_t^2 ||v||^2, and, if asked for, ``sharpness`` on the
    sphere. Final: ``w``, ``buffer``. Raises ``ValueError`` for rates, momentum or decay outside their range.
    """
    rates = positive(lr, "lr")
    if not 0 <= momentum < 1 or weight_decay < 0 or not lr_growth > 0:
        raise ValueError(
            f"need 0 <= momentum < 1, weight_decay >= 0, lr_growth > 0; got {momentum}, {weight_decay}, {lr_growth}"
        )
    start = np.asarray(w0, dtype=np.float64)
    if start.shape[-1:] != (loss.dimension,) or np.any(np.linalg.norm(start, axis=-1) == 0):
        raise ValueError(f"w0 must end in dimension {loss.dimension} and not be zero, got shape {start.shape}")
    runs = np.broadcast_shapes(start.shape[:-1], rates.shape)
    w = np.array(np.broadcast_to(start, (*runs, loss.dimension)))
    buffer = np.zeros_like(w) if buffer0 is None else np.array(np.broadcast_to(buffer0, w.shape), dtype=float)
    recorder = Recorder(recording_steps(steps, points))
    least, growth = np.full(runs, np.inf), np.zeros(runs)
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps + 1):
            g = loss.grad(w)
            norm = np.sqrt(np.einsum("...i,...i->...", w, w))
            sphere = norm * np.sqrt(np.einsum("...i,...i->...", g, g))
            least = np.minimum(least, sphere)
            if recorder.wants(t):
                extra = {"sharpness": loss.spherical_sharpness(w)} if sharpness else {}
                recorder.store(
                    t,
                    value=loss.value(w),
                    norm=norm,
                    sphere_grad=sphere,
                    least_sphere_grad=least,
                    growth=growth,
                    **extra,
                )
            if t == steps:
                break
            buffer = momentum * buffer + g + weight_decay * w if (momentum or weight_decay) else g
            step = (rates * lr_growth**t)[..., None] * buffer
            growth = growth + np.sum(step**2, axis=-1)
            w = w - step
    return recorder.result({"w": w, "buffer": buffer}, steps)


@dataclass(frozen=True)
class AnyRateBound:
    """For plain gradient descent at any learning rate: min over t < T of ||grad on the sphere|| <= constant / sqrt(T).

    From three facts, with K and G bounds on curvature and gradient on the unit sphere, C = (K + sqrt(K^2 + 4G^2))/2 one
    on the whole Hessian there, and D the range of f: the norm grows by lr^2 ||grad||^2 a step; once ||w||^2 >= lr C a
    step lowers f by at least lr ||grad||^2/2; and the one step that passes that threshold adds at most (lr G/||w0||)^2.
    Hence ||w_T||^2 <= norm2 for every T, and T min ||grad on the sphere||^2 <= norm2 (norm2 - ||w0||^2)/lr^2. The
    constant depends on lr: it claims no uniform rate. (The route of Arora, Li, Lyu 2019, theorem 3.1; constants derived
    here.)
    """

    norm2: Floats
    constant: Floats
    kind: str = "upper bound"


@checked()
def any_rate_bound(loss: RayleighPower, w0: ArrayLike, lr: ArrayLike) -> AnyRateBound:
    """Evaluate :class:`AnyRateBound` for w0 (..., d), lr (...). Raises ``ValueError`` if the loss has eps > 0."""
    if loss.eps != 0:
        raise ValueError(f"the bound is proved for eps = 0, where the norm cannot fall; the loss has eps = {loss.eps}")
    rates = positive(lr, "lr")
    n0 = np.sum(np.asarray(w0, dtype=float) ** 2, axis=-1)
    K, G = loss.curvature_bound, loss.gradient_bound
    C = (K + np.sqrt(K**2 + 4 * G**2)) / 2
    A = np.asarray(loss.spectrum)
    span = (A.max() ** loss.power - A.min() ** loss.power) / 2
    jump = np.where(n0 < rates * C, (rates * G) ** 2 / n0, 0.0)
    norm2 = np.maximum(n0, rates * C) + jump + 2 * rates * span
    return AnyRateBound(norm2, np.sqrt(norm2 * (norm2 - n0)) / rates)
