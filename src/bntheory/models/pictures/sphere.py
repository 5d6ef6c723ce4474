"""Figures of scale-invariant losses: any learning rate, weight decay, exponential learning rates, the edge
of stability."""

from __future__ import annotations

import numpy as np

from bntheory.drawing import BLUE, GREY, ORANGE, CaptionedFigure, legend_below, new_grid

_ROW = ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#4d4d4d")
_MARKS = ("o", "s", "^", "v", "D", "P", "X")  # told apart in grey as well


def scale_invariant(*, power: int = 2, steps: int = 20_000, seed: int = 0) -> CaptionedFigure:
    """Gradient descent on a scale-invariant loss at any learning rate, and what eps > 0 breaks (Arora, Li, Lyu 2019).

    ``f(w) = R^power/2``, R a Rayleigh quotient in R^4. ``w'grad f = 0``, so ``||w||`` only grows and the
    effective rate ``lr/||w||^2`` adapts. Left: running minimum of the gradient norm on the sphere, times
    T^1/2, over the theorem's constant for its rate, for rates over six orders of magnitude: the theorem
    says at most 1. Right: with eps inside the normalisation, ``|w'grad f|`` and the defect of ``||w_next||^2 = ||w||^2 +
    lr^2 ||grad f||^2`` against eps; both of first order.
    """
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.scale_invariant import (
        RayleighPower,
        any_rate_bound,
        descend,
        orthogonality_defect,
        pythagoras_defect,
    )

    spectrum = (0.0, 0.3, 0.6, 1.0)
    loss, rates = RayleighPower(spectrum, power), np.geomspace(1e-3, 1e3, 7)
    w0 = np.random.default_rng(seed).normal(size=4)
    w0 /= np.linalg.norm(w0)
    run = descend(loss, w0, rates, steps)
    bound = any_rate_bound(loss, w0, rates)
    titles = ["Any learning rate: the gradient over its proved bound", "What eps > 0 breaks"]
    figure, (left, right) = new_grid(1, 2, titles, width=5.4, height=4.9)
    t = run.steps + 1
    shares = run["least_sphere_grad"] * np.sqrt(t) / bound.constant[:, None]
    for row, rate, colour, mark in zip(shares, rates, _ROW, _MARKS, strict=True):
        left.plot(t, row, color=colour, marker=mark, markevery=0.12, label=f"rate {rate:g}")
    left.axhline(1, color="black", linestyle=":", label="proved: at most 1")
    left.set(xscale="log", yscale="log", xlabel="steps T")
    left.set_ylabel("least ‖∇f‖ so far × √T, over its bound")
    legend_below(left, columns=4)
    eps = np.geomspace(1e-8, 1e-1, 15)
    models = [RayleighPower(spectrum, 1, float(e)) for e in eps]
    angle = np.array([abs(float(orthogonality_defect(m, w0))) for m in models])
    growth = np.array([abs(float(pythagoras_defect(m, w0, 1.0))) for m in models])
    fit = fit_power_law(eps[:8], angle[:8])
    right.plot(eps, angle, "o-", color=BLUE, label="|⟨w, ∇f⟩|, which is 0 at eps = 0")
    right.plot(eps, growth, "s--", color=ORANGE, label="|‖w⁺‖² − ‖w‖² − lr² ‖∇f‖²|, rate 1")
    right.set(xscale="log", yscale="log", xlabel="eps in units of the variance", ylabel="violation")
    legend_below(right)
    sentence = (
        "At every learning rate over six orders of magnitude the least gradient so far stays under its proved bound, a constant of that "
        f"rate over √T: at most {shares.max():.2f} of it, and in the end it falls faster. With eps > 0 the gradient is no longer orthogonal "
        f"to the weights, and both equalities fail in proportion to eps (fitted exponent {fit.slope:.3f})."
    )
    return CaptionedFigure(figure, sentence)


def weight_decay(
    *, lr: float = 0.1, momentum: float = 0.9, dimension: int = 30, seeds: int = 8, seed: int = 0
) -> CaptionedFigure:
    """Weight decay on scale-invariant weights: the equilibrium of norm and angle (van Laarhoven 2017; Wan et al. 2021).

    Noise model: gradients orthogonal to w, Gaussian in the tangent space, of root mean square 1 on the
    unit sphere, independent in time. Left: the norm from three starts without momentum, to
    ``||w||^4 = lr/(4 penalty)`` for penalty ``penalty ||w||^2``. Right: the angle between successive
    weights over the printed ``sqrt(2 lr decay/(1 + momentum))``, by two definitions: the root mean square
    angle, simulated; and the angle of the exact mean cosine ``1 - lr decay/(1 + momentum)``. They are the same
    where the norm does not fluctuate.
    """
    from bntheory.models.weight_decay import (
        exact_cosine,
        norm_recursion,
        simulate_equilibrium,
        van_laarhoven_norm4,
        wan_angle,
    )

    figure, (left, right) = new_grid(1, 2, ["The norm forgets its start", "The angle of a step"], width=5.2, height=4.9)
    penalty, length = 0.01, 4000
    level = van_laarhoven_norm4(lr, penalty, 1.0) ** 0.25
    for start, colour, line in ((4.0, _ROW[0], "-"), (1.0, _ROW[2], "-."), (0.1, _ROW[4], "--")):
        norms = norm_recursion(start * level, lr, 2 * penalty, 1.0, length)
        left.plot(np.arange(length + 1) + 1, norms / level, color=colour, linestyle=line, label=f"start at {start:g}")
    left.axhline(1, color="black", linestyle=":", label="printed equilibrium")
    left.set(xscale="log", yscale="log", xlabel="step", ylabel=r"$\|w\|$ over $(\mathrm{lr}\,E\|g\|^2/4\lambda)^{1/4}$")
    legend_below(left, columns=2)
    products = np.geomspace(1e-3, 1e-1, 7)
    for mu, colour, line, mark in ((0.0, BLUE, "-", "o"), (momentum, ORANGE, "--", "^")):
        grid = np.geomspace(products[0] / 2, products[-1] * 2, 60)
        exact = [np.arccos(exact_cosine(lr, p / lr, mu)) / wan_angle(lr, p / lr, mu) for p in grid]
        right.plot(grid, exact, color=colour, linestyle=line, label=f"angle of the mean cosine, exact, momentum {mu:g}")
        found = []
        for p in products:
            steps = int(max(20 * (1 - mu) / p, 400))
            run = simulate_equilibrium(
                dimension=dimension, lr=lr, decay=p / lr, momentum=mu, seeds=seeds, seed=seed, steps=steps
            )
            found.append(np.sqrt(run.angle2.mean()) / wan_angle(lr, p / lr, mu))
        right.plot(
            products,
            found,
            mark,
            color=colour,
            markersize=5,
            label=f"root mean square angle, simulated, momentum {mu:g}",
        )
        gap = float(found[0] - 1)
    right.axhline(1, color="black", linestyle=":", label="printed: √(2 lr decay/(1 + momentum))")
    right.set(xscale="log", xlabel="learning rate × decay", ylabel="angle of a step over the printed one")
    legend_below(right)
    sentence = (
        "From any start the norm settles within a few 1/(lr·decay) steps. The angle follows the printed law at small lr·decay (at 0.001 and "
        f"momentum {momentum:g} within {100 * abs(gap):.2g} %). Points and lines are two means of one "
        "angle, which part where the norm fluctuates."
    )
    return CaptionedFigure(figure, sentence)


def exponential_lr(
    *, lr: float = 0.1, decay: float = 5e-4, momentum: float = 0.9, steps: int = 1500, seed: int = 0
) -> CaptionedFigure:
    """Weight decay is an exponentially growing learning rate (Li and Arora 2020, arXiv 1910.07454).

    ``alpha^2 - (1 + momentum - lr decay) alpha + momentum = 0``: momentum descent with decay equals the
    one without and with ``lr_t = lr alpha^(-2t-1)``, ``w_t = alpha^t u_t``, for a scale-invariant loss and
    matched first buffers. Left: the two norms and the learning rate. Right: the roots against ``lr
    decay``; beyond ``(1 - sqrt momentum)^2`` they are complex and no schedule exists.
    """
    from bntheory.models.exponential_lr import compare_runs, exponential_schedule, largest_decay, matching_buffer
    from bntheory.models.scale_invariant import RayleighPower, descend

    schedule = exponential_schedule(lr, decay, momentum)
    loss, w0 = RayleighPower((0.0, 1.0, 2.0, 5.0)), np.random.default_rng(seed).normal(size=4)
    alpha = schedule.slow
    decayed = descend(loss, w0, lr, steps, momentum=momentum, weight_decay=decay, points=None)
    first = matching_buffer(w0, lr, alpha, momentum)
    grown = descend(
        loss,
        w0,
        schedule.first_rate(),
        steps,
        momentum=momentum,
        buffer0=first,
        lr_growth=schedule.growth(),
        points=None,
    )
    check = compare_runs(loss, w0, schedule, steps, seed=seed)
    figure, (left, right) = new_grid(
        1, 2, ["Two runs, one direction", "Where a schedule exists"], width=5.2, height=4.6
    )
    t = decayed.steps
    left.plot(t, decayed["norm"], color=BLUE, label="‖w‖, with weight decay")
    left.plot(t, grown["norm"], color=ORANGE, linestyle="--", label="‖u‖, growing rate")
    left.plot(t[::75], (grown["norm"] * alpha**t)[::75], "o", color=BLUE, markersize=4, label=r"$\alpha^t \|u\|$")
    left.plot(
        t,
        lr * alpha ** (-2.0 * t - 1),
        color=GREY,
        linestyle=":",
        label=r"the growing learning rate, $\alpha^{-2t-1}$ lr",
    )
    left.set(xlabel="step t", ylabel="norm of the weights; learning rate", yscale="log")
    legend_below(left, columns=2)
    edge = largest_decay(momentum)
    grid = np.linspace(0, edge, 400)
    root = np.sqrt(np.maximum((1 + momentum - grid) ** 2 - 4 * momentum, 0))
    right.plot(grid, (1 + momentum - grid + root) / 2, color=BLUE, label="root next to 1")
    right.plot(grid, (1 + momentum - grid - root) / 2, color=ORANGE, linestyle="--", label="root next to the momentum")
    right.axvspan(edge, 2 * edge, color=GREY, alpha=0.1, linewidth=0)
    right.text(1.5 * edge, float(np.sqrt(momentum)), "complex:\nno schedule", ha="center", va="center", fontsize=9)
    right.plot([lr * decay], [alpha], "o", color="black", label=f"lr·decay = {lr * decay:.2g}")
    right.set(xlabel="learning rate × decay", ylabel="α, factor a step", xlim=(0, 2 * edge))
    legend_below(right, columns=2)
    sentence = (
        "With weights over αᵗ the run with decay and the one with a growing learning rate are one: they agree to "
        f"{check.discrepancy:.1g} over {steps} steps. The rate grows by a factor of {schedule.growth():.6f} a step and "
        f"{schedule.growth_after(391):.3f} in 391 steps; a schedule exists for lr·decay up to {edge:.3g}."
    )
    return CaptionedFigure(figure, sentence)


def spherical_sharpness(*, product: float = 0.01, intrinsic_time: float = 24.0, tilt: float = 0.5) -> CaptionedFigure:
    """Gradient descent with weight decay at the edge of stability on the sphere (Lyu, Li, Arora 2022).

    Loss ``v_3^2 (1 + tilt v_1)/2`` of the direction v in R^3: a circle of minima of different sharpness. Decay shrinks
    w until ``lr/||w||^2`` times the sharpness reaches 2; there the oscillation feeds the norm. Left: that product over
    intrinsic time ``lr decay t``. Right: the sharpness, which falls as long as flatter minima are in reach.
    """
    from bntheory.models.scale_invariant import CircleOfMinima
    from bntheory.models.spherical_sharpness import edge_run, edge_start

    loss = CircleOfMinima(tilt)
    start = edge_start(loss, [np.cos(0.8), np.sin(0.8), 0.0], [0.0, 0.0, 1.0], 1.0, product, ratio=1.9, amplitude=1.5)
    run = edge_run(loss, start, 1.0, product, intrinsic_time=intrinsic_time, windows=max(2, int(intrinsic_time)))
    ratio, sharp = run.ratio(), run.trajectory["sharpness"]
    time = np.arange(len(ratio)) * product
    figure, (left, right) = new_grid(1, 2, ["Normalised sharpness", "Sharpness on the sphere"], width=5.2, height=4.8)
    left.plot(time, ratio, color=BLUE, linewidth=0.8)
    left.axhline(2, color=ORANGE, linewidth=1.5, linestyle="--", label="2, the edge of stability")
    left.set(xlabel="learning rate × decay × step", ylabel="learning rate / ‖w‖² × sharpness", yscale="log")
    legend_below(left)
    # during a burst the direction is not near the circle, and the curvature there is that of no minimum
    near = run.trajectory["value"] < 1e-3
    right.plot(time, sharp, ":", color=ORANGE, linewidth=1.2, label="off the circle of minima (loss above 0.001)")
    right.plot(time, np.where(near, sharp, np.nan), color=BLUE, label="near the circle of minima")
    right.axhline(1 - abs(tilt), color=GREY, linewidth=1, linestyle="--", label="the flattest minimum")
    right.set(xlabel="learning rate × decay × step", ylabel="sharpness on the unit sphere", ylim=(0, None))
    legend_below(right)
    early, late = run.intrinsic_time < 4, run.intrinsic_time >= 0.6 * intrinsic_time
    sentence = (
        f"Up to time 4 the product averages {run.mean[early].mean():.3f} while sharpness falls from {sharp[0]:.2f}; "
        "once the flattest minimum is reached the oscillation is no longer damped, and late values range from "
        f"{run.low[late].min():.2g} to {run.high[late].max():.2g}. A burst throws the direction off the circle of "
        "minima, where the curvature may for some steps be less than that of the flattest minimum."
    )
    return CaptionedFigure(figure, sentence)
