"""Figures of training with normalisation: AdamW's rotation, uniform margins, projected descent at the edge, periodic bursts."""

from __future__ import annotations

import numpy as np

from bntheory.drawing import BLUE, GREEN, GREY, ORANGE, CaptionedFigure, legend_below, new_grid


def adamw(*, dimension: int = 64, lr: float = 0.01, seeds: int = 5, seed: int = 0) -> CaptionedFigure:
    """AdamW on scale-invariant weights: the angle of a step at equilibrium (Kosson et al. 2023; the momentum's part is derived here).

    Random gradients in the tangent space, of size 1/||w||, decoupled weight decay. The angle of a step over ``sqrt(2 lr decay)``, for several
    momenta b1, beside ``sqrt((1 - b1)/(1 + b1))``. Left against lr times decay, right against b1.
    """
    from bntheory.models.adamw import adamw_rotation

    figure, (left, right) = new_grid(
        1, 2, ["The angle follows √(lr·decay)", "and falls with the momentum"], width=5.2, height=4.4
    )
    products = (0.005, 0.01, 0.02, 0.05)
    momenta = (0.0, 0.5, 0.9)
    looks = ((BLUE, "o", "-"), (GREEN, "s", "-."), (ORANGE, "^", "--"))
    for b1, (colour, mark, line) in zip(momenta, looks, strict=True):
        found = [
            float(adamw_rotation(dimension=dimension, lr=lr, decay=p / lr, b1=b1, seeds=seeds, seed=seed).angle.mean())
            for p in products
        ]
        left.plot(products, found, mark, color=colour, label=f"simulated, b1 = {b1:g}")
        grid = np.geomspace(products[0], products[-1], 40)
        left.plot(grid, np.sqrt(2 * grid * (1 - b1) / (1 + b1)), color=colour, linestyle=line)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="learning rate × decay",
        ylabel="angle of a step (radians)",
        ylim=(0.015, 0.5),
    )
    left.set_xticks(products, labels=[f"{p:g}" for p in products], minor=False)
    left.set_xticks([], minor=True)
    legend_below(left, columns=2, title="lines: √(2 lr decay (1 − b1)/(1 + b1))")
    grid = np.linspace(0, 0.97, 60)
    right.plot(grid, np.sqrt((1 - grid) / (1 + grid)), color=BLUE, label="√((1 − b1)/(1 + b1))")
    points = np.array([0.0, 0.3, 0.6, 0.9, 0.95])
    shares = [
        float(
            adamw_rotation(
                dimension=dimension, lr=lr, decay=0.01 / lr, b1=float(b), seeds=seeds, seed=seed
            ).angle.mean()
            / np.sqrt(2 * 0.01)
        )
        for b in points
    ]
    right.plot(points, shares, "o", color=ORANGE, label="simulated, lr × decay = 0.01")
    right.axhline(1, color="black", linestyle=":", label="√(2 lr decay), as stated")
    right.set(xlabel="momentum b1", ylabel="angle over √(2 lr decay)")
    legend_below(right)
    sentence = (
        f"Without momentum AdamW turns the weights by {shares[0]:.3f} of √(2 lr decay) a step; with b1 = 0.9 by {shares[3]:.3f} of it, as "
        f"√((1 − b1)/(1 + b1)) = {np.sqrt(0.1 / 1.9):.3f} says."
    )
    return CaptionedFigure(figure, sentence)


def logistic(
    *, examples: int = 4, dimension: int = 6, runs: int = 6, steps: int = 20_000, seed: int = 0
) -> CaptionedFigure:
    """Logistic loss of a linear unit behind batch norm: the margins become equal (Cao et al. 2023).

    ``f(x) = gamma <w, x>/||w||_S``, gradient descent on w and gamma at rate 0.25, fewer examples than dimensions. Left: the variance of the
    margins over the examples. Right: minus its logarithm over log(t)^2, which a power of t would send to zero.
    """
    from bntheory.models.normalised_logistic import descend_logistic

    rng = np.random.default_rng(seed)
    signed = rng.choice([-1.0, 1.0], size=(runs, examples, 1)) * rng.normal(size=(runs, examples, dimension))
    run = descend_logistic(signed, rng.normal(size=(runs, dimension)), lr=0.25, steps=steps)
    figure, (left, right) = new_grid(
        1, 2, ["Margins become equal ...", "... faster than any power of t"], width=5.2, height=4.0
    )
    later = run.steps >= 5
    ends = []
    for spread in run["spread"]:
        seen = later & (spread > 1e-20)
        left.plot(run.steps[seen], spread[seen], color=BLUE, alpha=0.7)
        rate = -np.log(spread[seen]) / np.log(run.steps[seen]) ** 2
        right.plot(run.steps[seen], rate, color=BLUE, alpha=0.7)
        ends.append(float(rate[-1]))
    left.set(xscale="log", yscale="log", xlabel="step t, one line a data set", ylabel="variance of the margins")
    right.set(xscale="log", xlabel="step t, one line a data set", ylabel="−log variance / log(t)²", ylim=(0, None))
    sentence = (
        f"On {runs} data sets the variance of the margins falls to {np.median(run['spread'][..., -1]):.1g} (median) in {steps} steps; "
        f"−log variance/log(t)² ends between {min(ends):.2g} and {max(ends):.2g}, where a power of t would send it to zero."
    )
    return CaptionedFigure(figure, sentence)


def projected_descent(*, lr: float = 0.1, pull: float = 0.01, product: float = 0.002) -> CaptionedFigure:
    """At the edge of stability descent follows projected descent on {sharpness <= 2/lr} (Damian, Nichani and Lee 2022).

    Left: ``y x^2/2 + pull (y - 30)^2/2 + pull (z - y)^2/2``, whose sharpness y is pulled beyond 2/lr. Right: a scale-invariant loss with a circle
    of minima under weight decay, lr times decay = ``product``: the sharpness on the sphere, beside projected descent's, which slides along
    minima of equal loss.
    """
    from bntheory.models.edge_of_stability import projected_angle, sharpening_run
    from bntheory.models.scale_invariant import CircleOfMinima
    from bntheory.models.spherical_sharpness import edge_run, edge_start

    run = sharpening_run(lr=lr, pull=pull)
    figure, (left, right) = new_grid(
        1, 2, ["Without normalisation", "With normalisation and decay"], width=5.2, height=4.4
    )
    time = np.arange(len(run.descent)) * lr * pull
    left.plot(time, run.descent[:, 1], color=BLUE, linewidth=0.9, label="descent")
    left.plot(time, run.projected[:, 0], color=ORANGE, linestyle="--", label="projected descent")
    left.plot(time, run.free[:, 0], color=GREY, linestyle=":", label="without the edge")
    left.axhline(2 / lr, color="black", linewidth=0.8, linestyle="-.", label="2/lr")
    left.set(xlabel="step × learning rate × pull", ylabel="sharpness")
    legend_below(left, columns=2)
    tilt, phi0 = 0.5, 0.6
    loss = CircleOfMinima(tilt)
    w0 = edge_start(loss, [np.cos(phi0), np.sin(phi0), 0.0], [0.0, 0.0, 1.0], 1.0, product)
    edge = edge_run(loss, w0, 1.0, product, intrinsic_time=5.0, windows=60)
    expected = 1 + tilt * np.cos(projected_angle(float(np.linalg.norm(w0)), phi0, tilt, 1.0, edge.intrinsic_time))
    right.plot(edge.intrinsic_time, edge.sharpness, color=BLUE, label="descent")
    right.plot(edge.intrinsic_time, expected, color=ORANGE, linestyle="--", label="projected descent")
    right.set(xlabel="step × learning rate × decay", ylabel="sharpness on the unit sphere")
    legend_below(right, columns=2)
    error = float(np.abs(edge.sharpness - expected).max() / (expected[0] - expected[-1]))
    sentence = (
        f"Averaged over its oscillation, descent ends at {run.distance_end:.1%} of the free run's distance from projected descent; on the "
        f"circle of minima its sharpness differs from projected descent's by at most {error:.1%} of the whole fall."
    )
    return CaptionedFigure(figure, sentence)


def periodic(*, product: float = 0.01, time: float = 20.0, seed: int = 0) -> CaptionedFigure:
    """Weight decay at a constant rate destabilises descent on scale-invariant weights again and again (Lobacheva et al. 2021).

    Descent on half a Rayleigh quotient with lr = 1 and lr times decay = ``product``. Left: the loss. Right: the norm, which decay shrinks until the
    effective rate lr/||w||^2 is too large, and which the burst throws up again.
    """
    from bntheory.models.edge_of_stability import bursts
    from bntheory.models.scale_invariant import RayleighPower, descend

    loss = RayleighPower((0.0, 0.3, 0.6, 1.0), 1)
    w0 = np.random.default_rng(seed).normal(size=(1, 4))
    run = descend(loss, w0, 1.0, int(time / product), weight_decay=product, points=None)
    values, norm, clock = run["value"][0], run["norm"][0], run.steps * product
    found = bursts(np.maximum(values, 1e-300))
    figure, (left, right) = new_grid(
        1, 2, ["The loss bursts", "The norm rises in a burst, then decays"], width=5.2, height=3.8
    )
    left.plot(clock, np.maximum(values, 1e-60), color=BLUE, linewidth=0.9)
    left.set(yscale="log", xlabel="step × learning rate × decay", ylabel="loss")
    right.plot(clock, norm, color=BLUE, linewidth=0.9)
    right.set(xlabel="step × learning rate × decay", ylabel="norm of the weights, ‖w‖")
    late = found.periods[len(found.periods) // 4 :] * product
    spread = f"{late.mean():.2g} ± {late.std():.1g}" if len(late) > 1 else "unknown"
    sentence = f"In {time:g}/(lr·decay) steps the loss bursts {len(found.times)} times; the distance of two bursts is {spread} in units of 1/(lr·decay)."
    return CaptionedFigure(figure, sentence)
