r"""Where batch normalisation smooths a single unit and where it roughens it, against its frozen twin.

Coordinates of a layer, whatever its loss: the *size* of the residual, ||g_c||/(sqrt(m) |gamma| h), g_c the centred
gradient at z and h = lambda_max(H), and its *alignment*, the cosine of g_c with gamma y_hat. With q = var/(var + eps)
(1 at eps = 0)

    rho = sqrt(q) size * alignment,     tau^2 = q size^2 (1 - alignment^2),

the top eigenvalue of the BN Hessian is below the twin's, (gamma^2/sigma^2) h, where

    rho > 0,  A = (1-q)^2 - 3(1-q) rho < 1,  rho (1 - A) > tau^2        (eps = 0: size < alignment/(1 - alignment^2)).

For H = h I this is exact (:mod:`bntheory.smoothness.unit.squared_loss`). **For every other loss it is sufficient**: H
<= h I gives P H P <= h P P, so the BN Hessian lies below that of the squared loss with the same g and h, while both
twins have the top (gamma^2/sigma^2) h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.arrays import Floats
from bntheory.layer import BatchNormLayer
from bntheory.smoothness.unit.losses import SeparableLoss, loss_named
from bntheory.smoothness.unit.squared_loss import margins


def _coordinates(alignment: ArrayLike, size: ArrayLike, q: float) -> tuple[Floats, Floats]:
    """rho and tau^2."""
    c, s = np.asarray(alignment, dtype=np.float64), np.asarray(size, dtype=np.float64)
    if not 0 <= q <= 1:
        raise ValueError(f"q is {q}; it is var/(var + eps), between 0 and 1")
    if bool((np.abs(c) > 1).any()) or bool((s < 0).any()):
        raise ValueError("an alignment is a cosine, in [-1, 1], and a size is at least 0")
    return np.sqrt(q) * s * c, q * s**2 * (1 - c**2)


def top_margin(alignment: ArrayLike, size: ArrayLike, q: float = 1.0) -> Floats:
    """Positive where the top eigenvalue is proved to be below the twin's (squared loss: exactly there). Broadcasts."""
    return margins(*_coordinates(alignment, size, q), q)[0]


def norm_margin(alignment: ArrayLike, size: ArrayLike, q: float = 1.0) -> Floats:
    """Positive where, for the squared loss, the spectral norm is below the twin's; at eps = 0:
    1 - |1 - rho| - tau^2."""
    return margins(*_coordinates(alignment, size, q), q)[1]


def two_lipschitz_margin(alignment: ArrayLike, size: ArrayLike) -> Floats:
    """Positive where, for the squared loss at eps = 0, the 2-Lipschitz constant over all u is below the twin's.

    2(1 + |phi|) T/|gamma| < 1, written in the coordinates: T/|gamma| = sqrt((1-rho)^2 + tau^2) and phi
    T/gamma = 1 - rho.
    """
    rho, tau2 = _coordinates(alignment, size, 1.0)
    return np.asarray(1 - 2 * (np.sqrt((1 - rho) ** 2 + tau2) + np.abs(1 - rho)))


@dataclass(frozen=True)
class PhaseDiagram:
    """Measured ratios to the twin over a grid of (size, alignment). Cells that most draws cannot reach are nan.

    alignments: (a,). sizes: (s,). top_ratio: lambda_max(K)/lambda_max(twin), the median over the draws, (s, a).
    norm_ratio: the same for spectral norms. inside: cells that the proof covers, (s, a).
    violations: draws inside the proved region, ties aside, whose top eigenvalue is not below the twin's; layers: draws
    in all.
    """

    loss: str
    m: int
    gamma: float
    q: float
    alignments: Floats
    sizes: Floats
    top_ratio: Floats
    norm_ratio: Floats
    inside: NDArray[np.bool_]
    violations: int
    layers: int
    seed: int

    @property
    def smoothed(self) -> float:
        """The share of reachable cells where most draws have a top eigenvalue below the twin's."""
        reachable = np.isfinite(self.top_ratio)
        return float(np.mean(self.top_ratio[reachable] < 1)) if reachable.any() else float("nan")


def phase_diagram(
    loss: str | SeparableLoss = "squared",
    *,
    gamma: float = 1.0,
    m: int = 16,
    q: float = 1.0,
    alignments: ArrayLike | None = None,
    sizes: ArrayLike | None = None,
    draws: int = 4,
    seed: int = 0,
) -> PhaseDiagram:
    """Draw layers at every (size, alignment), compute their spectra densely, and compare with the frozen twin.

    The residual is prescribed and the targets are solved for, so the loss must have ``target_for``. Raises ValueError
    where it has not, for m < 4 (no room for a residual beside 1 and y_hat), gamma = 0, or q outside (0, 1].
    """
    loss = loss_named(loss)
    if loss.target_for is None:
        raise ValueError(
            f"the targets of the loss {loss.name!r} cannot be chosen freely, so its residual cannot be prescribed; use cross-entropy for "
            "the logistic loss"
        )
    if m < 4:
        raise ValueError(f"m is {m}; a residual beside 1 and y_hat, and a spectrum beside it, need m >= 4")
    if gamma == 0 or not 0 < q <= 1:
        raise ValueError(f"gamma is {gamma} and q is {q}; gamma must not be 0, and q = var/(var + eps) lies in (0, 1]")
    c = np.linspace(-1, 1, 41) if alignments is None else np.asarray(alignments, dtype=np.float64)
    s = np.geomspace(0.05, 5, 41) if sizes is None else np.asarray(sizes, dtype=np.float64)
    rng = np.random.default_rng(seed)
    size, cosine = (np.broadcast_to(v, (draws, s.size, c.size)) for v in (s[:, None], c[None, :]))
    y = rng.standard_normal((draws, s.size, c.size, m))
    y -= y.mean(axis=-1, keepdims=True)
    y /= np.sqrt(np.mean(y**2, axis=-1, keepdims=True))  # var = 1, so sigma^2 = 1/q
    across = rng.standard_normal(y.shape)
    across -= across.mean(axis=-1, keepdims=True)
    across -= y * np.mean(across * y, axis=-1, keepdims=True)
    across /= np.sqrt(np.mean(across**2, axis=-1, keepdims=True))
    along = np.sign(gamma) * y
    direction = cosine[..., None] * along + np.sqrt(np.maximum(1 - cosine**2, 0))[..., None] * across  # rms 1
    z = gamma * np.sqrt(q) * y
    g, t, h = _residual(loss, z, direction, size * abs(gamma))
    second = loss.second(z, np.where(np.isfinite(t), t, 0.0))
    layer = BatchNormLayer(y, np.where(np.isfinite(g), g, 0.0), lambda v: second * v, gamma=gamma, eps=1 / q - 1)
    values = np.linalg.eigvalsh(layer.dense(layer.input_hess))
    reachable = np.isfinite(h)
    twin = np.where(reachable, gamma**2 * q * h, np.nan)
    twin_norm = gamma**2 * q * np.max(np.abs(second), axis=-1)
    top = values[..., -1] / twin
    norm = np.max(np.abs(values), axis=-1) / np.where(reachable, twin_norm, np.nan)
    margin = top_margin(cosine, size, q)
    inside = margin[0] > 0
    wrong = reachable & (margin > 1e-9) & (top >= 1 + 1e-9)
    empty = reachable.mean(axis=0) < 0.5  # a median of a few draws that happen to be reachable would mislead

    def middle(x: Floats) -> Floats:
        filled = np.where(empty, 0.0, x)
        return np.where(empty, np.nan, np.nanmedian(filled, axis=0))

    return PhaseDiagram(
        loss.name,
        m,
        float(gamma),
        float(q),
        c,
        s,
        middle(top),
        middle(norm),
        inside,
        int(wrong.sum()),
        int(reachable.sum()),
        seed,
    )


def _residual(loss: SeparableLoss, z: Floats, direction: Floats, size: Floats) -> tuple[Floats, Floats, Floats]:
    """(g, t, h): g = r * direction with r/h = size, h = max l'' at the targets t that give g. nan where no r does.

    r/h increases with r for the losses here; r is bracketed on a logarithmic scale and bisected for all cells at once.
    """
    target_for = loss.target_for
    assert target_for is not None
    low, high = np.full(size.shape, -30.0), np.full(size.shape, 30.0)

    def curvature(log_r: Floats) -> tuple[Floats, Floats, Floats]:
        g = np.exp(log_r)[..., None] * direction
        t = target_for(z, g)
        h = np.max(loss.second(z, np.where(np.isfinite(t), t, 0.0)), axis=-1)
        return g, t, np.where(np.isfinite(t).all(axis=-1) & (h > 0), h, np.nan)

    for _ in range(70):
        middle = (low + high) / 2
        h = curvature(middle)[2]
        small = np.exp(middle) < size * h  # False where h is nan: too large
        low, high = np.where(small, middle, low), np.where(small, high, middle)
    g, t, h = curvature(low)
    met = np.isfinite(h) & (np.abs(np.exp(low) / (size * h) - 1) < 1e-6)
    return np.where(met[..., None], g, np.nan), np.where(met[..., None], t, np.nan), np.where(met, h, np.nan)
