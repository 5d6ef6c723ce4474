r"""Logistic loss of a linear unit behind batch normalisation, trained by gradient descent on the weights and on gamma.

    f(x) = gamma <w, x>/||w||_S,   S = X'X/n,   loss = mean log(1 + exp(-label f(x)))    (Cao et al. 2023: no centring)

The *margins* are u_i = label_i <w, x_i>/||w||_S, whose mean square is 1; a classifier of uniform margin has all
u_i = 1. Their spread is the variance of u over the examples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.models.checks import checked
from bntheory.models.trajectory import Recorder, Trajectories, recording_steps


def _margins(A: Floats, S: Floats, w: Floats) -> tuple[Floats, Floats]:
    norm = np.sqrt(np.einsum("...i,...ij,...j->...", w, S, w))
    return np.einsum("...ni,...i->...n", A, w) / norm[..., None], norm


@checked()
def logistic_loss(signed: Floats, w: Floats, gamma: Floats) -> Floats:
    """The loss (...) of weights w (..., d) and gamma (...) on ``signed`` = label_i x_i, (..., n, d)."""
    S = np.einsum("...ni,...nj->...ij", signed, signed) / signed.shape[-2]
    u, _ = _margins(signed, S, w)
    return np.asarray(np.logaddexp(0.0, -gamma[..., None] * u).mean(axis=-1))


@checked()
def logistic_gradient(signed: Floats, S: Floats, w: Floats, gamma: Floats) -> tuple[Floats, Floats, Floats]:
    """The gradients with respect to w (..., d) and gamma (...), and the margins (..., n)."""
    u, norm = _margins(signed, S, w)
    push = np.exp(-np.logaddexp(0.0, gamma[..., None] * u)) / signed.shape[-2]  # -dloss/d(gamma u_i)
    total = np.einsum("...n,...n->...", push, u)
    towards = np.einsum("...n,...ni->...i", push, signed) / norm[..., None]
    back = np.einsum("...ij,...j->...i", S, w) * (total / norm**2)[..., None]
    return -gamma[..., None] * (towards - back), -total, u


@checked()
def descend_logistic(signed: ArrayLike, w0: ArrayLike, *, lr: float = 1.0, steps: int = 10_000) -> Trajectories:
    """Descent at rate ``lr`` from w0 (..., d) and gamma = 1 on ``signed`` (..., n, d).

    Series: ``loss``, ``gamma``, ``spread`` (variance of the margins), ``least_margin``. Raises ``ValueError`` where
    shapes do not fit.
    """
    A, w = np.asarray(signed, dtype=np.float64), np.array(w0, dtype=np.float64)
    if A.ndim < 2 or w.shape != (*A.shape[:-2], A.shape[-1]):
        raise ValueError(f"signed must be (..., n, d) and w0 (..., d); got {A.shape} and {w.shape}")
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr}")
    S = np.einsum("...ni,...nj->...ij", A, A) / A.shape[-2]
    gamma = np.ones(w.shape[:-1])
    recorder = Recorder(recording_steps(steps, 60))
    for t in range(steps + 1):
        down_w, down_gamma, u = logistic_gradient(A, S, w, gamma)
        if recorder.wants(t):
            recorder.store(
                t, loss=logistic_loss(A, w, gamma), gamma=gamma, spread=u.var(axis=-1), least_margin=u.min(axis=-1)
            )
        if t < steps:
            w, gamma = w - lr * down_w, gamma - lr * down_gamma
    return recorder.result({"w": w}, steps)
