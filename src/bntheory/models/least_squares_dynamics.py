"""Trajectories of gradient descent with and without BN on least squares, vectorised over runs.

BNGD, the iteration of Cai, Li, Shen (2019):  a <- a + lr_a (w'b/s - a),  w <- w + lr (a/s)(b - (w'b/s^2) S w), both
with the old values on the right. With e = u - c w, c = w'b/s^2, the second line is w <- w + lr (a/s) S e, and
everything follows from two facts: S e is orthogonal to w (so ||w|| grows by Pythagoras), and c w is the S-nearest
multiple of w to u (so ||e_next||_S <= ||(I - step S) e||_S with the *effective step* lr (a/s) c).

Kohler et al. (2019) minimise a out, rho(w) = -(w'b)^2/(w'Sw), and take the step w'Sw/(2 L |rho|): the same
iteration with effective step exactly 1/L.

All runs are carried in the eigenbasis of S, where a step costs no matrix product; the dynamics commute with rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bntheory.arrays import Floats
from bntheory.models.checks import checked, positive
from bntheory.models.least_squares import LeastSquares
from bntheory.models.trajectory import Recorder, Trajectories, recording_steps

_BLOCK = 2048  # runs a block: a (block, d) array and its temporaries stay in cache


@checked()
def gradient_descent(
    problem: LeastSquares, w0: ArrayLike, lr: ArrayLike, steps: int, *, points: int | None = 64
) -> Trajectories:
    """Plain gradient descent on (1/2) E (y - x'w)^2: error multiplies by I - lr S. Exact at every step, by powers.

    ``w0`` (..., d) and ``lr`` (...) broadcast over runs. Series: ``distance`` = ||w - u||_S^2, which
    overflows to inf where the run diverges. Raises ``ValueError`` for non-positive ``lr``.
    """
    rates = positive(lr, "lr")
    start = _start(problem, w0, rates)
    times = recording_steps(steps, points)
    lam = problem.eigenvalues
    offset = (start - problem.solution) @ problem.eigenvectors
    recorder = Recorder(times)
    factor = 1.0 - np.broadcast_to(rates, start.shape[:-1])[..., None] * lam
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for t in times.tolist():
            recorder.store(t, distance=np.sum(lam * (offset * factor**t) ** 2, axis=-1))
        end = problem.solution + (offset * factor**steps) @ problem.eigenvectors.T
    return recorder.result({"w": end}, steps)


@checked()
def bngd(
    problem: LeastSquares,
    w0: ArrayLike,
    lr: ArrayLike,
    steps: int,
    *,
    a0: ArrayLike | None = None,
    lr_a: ArrayLike = 1.0,
    points: int | None = 64,
) -> Trajectories:
    """Gradient descent on J(a, w) with batch normalisation (for eps > 0 with the gradient of that J).

    ``w0`` (..., d), ``lr``, ``lr_a``, ``a0`` (...) broadcast to the runs' shape; ``a0`` None starts a at its
    optimum w0'b/s. Series, each (*runs, r): ``a``, ``norm`` = ||w||, ``excess`` = ||e||_S^2, ``alignment``
    = w'b/s and ``effective_step`` = lr (a/s)(w'b/s^2). Final state: ``w`` (*runs, d). Raises
    ``ValueError`` for non-positive rates or w0 = 0.
    """
    rates, rates_a = positive(lr, "lr"), positive(lr_a, "lr_a")
    start = _start(problem, w0, rates, rates_a, *(() if a0 is None else (np.asarray(a0, dtype=float),)))
    runs = start.shape[:-1]
    flat = start.reshape(-1, problem.dimension)
    first = (start @ problem.correlation / problem.scale(start)) if a0 is None else np.asarray(a0, dtype=float)
    pieces = []
    columns = [np.broadcast_to(v, runs).reshape(-1) for v in (first, rates, rates_a)]
    for at in range(0, len(flat), _BLOCK):
        chunk = slice(at, at + _BLOCK)
        a, eta, eta_a = (np.array(column[chunk]) for column in columns)
        pieces.append(_bngd_block(problem, flat[chunk], a, eta, eta_a, steps, points))
    return _joined(pieces, runs, steps)


@checked()
def kohler_descent(problem: LeastSquares, w0: ArrayLike, steps: int) -> Trajectories:
    """Gradient descent on rho(w) = -(w'b)^2/(w'Sw) with the adaptive step w'Sw/(2 L |rho|), L = lambda_max(S).

    Written in the paper's own terms (gradient of rho, adaptive step), so that its equality with a fixed effective step
    1/L is a theorem to test and not an assumption. Series ``gap`` = rho - rho* and ``norm``. Raises ``ValueError``
    where w0'b = 0: there rho = 0, the step is infinite and the claim says nothing.
    """
    start = _start(problem, w0)
    wb = start @ problem.correlation
    if np.any(wb == 0):
        raise ValueError(
            "w0'b = 0: rho(w0) = 0 and the adaptive step w'Sw/(2 L |rho|) is infinite; move w0 off that plane"
        )
    S, b, L = problem.covariance, problem.correlation, problem.eigenvalues[-1]
    w = start.copy()
    recorder = Recorder(recording_steps(steps, None))
    for t in range(steps + 1):
        recorder.store(t, gap=problem.excess(w), norm=np.linalg.norm(w, axis=-1))
        if t == steps:
            break
        wb, Sw = (w @ b)[..., None], w @ S
        power = np.sum(w * Sw, axis=-1, keepdims=True)
        rho = -(wb**2) / power
        gradient = (-2.0 * wb * b - 2.0 * rho * Sw) / power
        w = w - power / (2.0 * L * np.abs(rho)) * gradient
    return recorder.result({"w": w}, steps)


@dataclass(frozen=True)
class TrapCertificate:
    """A proof, evaluated in float64, that BNGD converges to a minimiser from a given state (eps = 0, lr_a in (0, 1]).

    Let U = ||u||_S, E = ||e||_S, A = max(a, U), and let q <= s^2/||w||^2 be the better of the two lower bounds
    lambda_min and (U^2 - E^2)/(||u|| + E/sqrt(lambda_min))^2, which hold now and, as long as E does not grow, for ever.
    If a > 0, w'b > 0 (or both < 0: the iteration commutes with (a, w) -> (-a, -w)) and theta = lambda_max lr A U/(q
    ||w||^2) < 2, then every later effective step stays in (0, 2/lambda_max), E never grows, and ||w||^2 never exceeds
    ``norm2_high``; so effective steps stay above a positive number and E -> 0 geometrically. The limiting step is lr
    ||u||^2/||w_limit||^2, in [step_low, step_high]. The condition is sufficient only: limits between 2/lambda_max and
    2/lambda*_max exist and are never certified.
    """

    holds: NDArray[np.bool_]
    norm2_high: Floats
    step_low: Floats
    step_high: Floats


@checked()
def trap_certificate(problem: LeastSquares, a: ArrayLike, w: Floats, lr: ArrayLike) -> TrapCertificate:
    """Evaluate :class:`TrapCertificate` at states a (...), w (..., d). Raises ``ValueError`` if eps is not 0.

    Derivation: the decrease E^2 - E_next^2 >= step (2 - theta) ||Se||^2 pays for the growth
    ||w_next||^2 - ||w||^2 = (step/c)^2 ||Se||^2, since step/c^2 <= lr A U/(c s)^2 and (c s)^2 = U^2 - E^2
    only grows.
    """
    if problem.eps != 0:
        raise ValueError(f"the certificate is proved for eps = 0 only, the problem has eps = {problem.eps}")
    wb, eta = w @ problem.correlation, positive(lr, "lr")
    A = np.asarray(a, dtype=float) * np.sign(wb)
    U2, lam = problem.signal, problem.eigenvalues
    E2, norm2 = problem.excess(w), np.sum(w * w, axis=-1)
    top = np.maximum(A, np.sqrt(U2))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        reach = np.linalg.norm(problem.solution) + np.sqrt(E2 / lam[0])
        share = np.maximum(lam[0], (U2 - E2) / reach**2)
        theta = lam[-1] * eta * top * np.sqrt(U2) / (share * norm2)
        holds = (A > 0) & (theta < 2.0 * (1 - 1e-9)) & (E2 < U2)
        growth = eta * top * np.sqrt(U2) / (U2 - E2) * E2 / (2.0 - theta)
        high = np.where(holds, norm2 + growth, np.inf)
        u2 = float(problem.solution @ problem.solution)
        return TrapCertificate(holds, high, eta * u2 / high, eta * u2 / norm2)


def _bngd_block(
    problem: LeastSquares, w0: Floats, a: Floats, eta: Floats, eta_a: Floats, steps: int, points: int | None
) -> Trajectories:
    lam, basis, eps = problem.eigenvalues, problem.eigenvectors, problem.eps
    # Runs last: reductions over the few coordinates are then long vector operations.
    w = np.ascontiguousarray((w0 @ basis).T)
    b, column = (problem.correlation @ basis)[:, None], lam[:, None]
    recorder = Recorder(recording_steps(steps, points))
    work = np.empty_like(w)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for t in range(steps + 1):
            np.multiply(w, column, out=work)  # S w
            power = np.einsum("ij,ij->j", w, work)
            s2 = power + eps
            s = np.sqrt(s2)
            wb = b[:, 0] @ w
            c = wb / s2
            if recorder.wants(t):
                e = (b / column) - (wb / power) * w
                recorder.store(
                    t,
                    a=a,
                    norm=np.sqrt(np.einsum("ij,ij->j", w, w)),
                    excess=lam @ (e * e),
                    alignment=wb / s,
                    effective_step=eta * a / s * c,
                )
            if t == steps:
                break
            factor = eta * a / s
            # w <- w + factor (b - c S w) [- eta a^2 eps/s^4 S w]
            pull = factor * c
            if eps:
                pull = pull + eta * (a / s2) ** 2 * eps
                share = power / s2
                a = a + eta_a * (wb / s - a * share)
            else:
                a = a + eta_a * (wb / s - a)
            work *= pull
            w -= work
            np.multiply(b, factor, out=work)
            w += work
    return recorder.result({"w": w.T @ basis.T}, steps)


def _joined(pieces: list[Trajectories], runs: tuple[int, ...], steps: int) -> Trajectories:
    first = pieces[0]
    series = {k: np.concatenate([p.series[k] for p in pieces]).reshape(*runs, -1) for k in first.series}
    final = {
        k: np.concatenate([p.final[k] for p in pieces]).reshape(runs + first.final[k].shape[1:]) for k in first.final
    }
    return Trajectories(first.steps, series, final, steps)


def _start(problem: LeastSquares, w0: ArrayLike, *others: Floats) -> Floats:
    start = np.asarray(w0, dtype=np.float64)
    if start.ndim == 0 or start.shape[-1] != problem.dimension:
        raise ValueError(f"w0 must end in dimension {problem.dimension}, got shape {start.shape}")
    if not np.isfinite(start).all() or np.any(np.linalg.norm(start, axis=-1) == 0):
        raise ValueError("w0 must be finite and not zero: BN of a constant unit has no direction to move in")
    runs = np.broadcast_shapes(start.shape[:-1], *(o.shape for o in others))
    return np.array(np.broadcast_to(start, (*runs, problem.dimension)))
