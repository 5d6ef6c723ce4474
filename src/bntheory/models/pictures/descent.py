"""Figures of descent in small models: least squares with BN, ignored statistics, the slope."""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.drawing import BLUE, GREEN, GREY, ORANGE, CaptionedFigure, legend_below, new_grid


def least_squares(
    *, dimension: int = 20, condition: float = 30.0, starts: int = 40, steps: int = 3000, seed: int = 0
) -> CaptionedFigure:
    """Least squares with a batch-normalised unit over ten decades of learning rates (Cai, Li, Shen 2019).

    ``J(a, w) = E[y^2]/2 - a w'b/s + a^2/2, s = sqrt(w'Sw)``, gradient descent on both; u = S^-1 b, e = u -
    (w'b/s^2) w. Left: the error ``||e||_S^2`` after a fixed number of steps, with plain gradient descent,
    which diverges beyond ``2/lambda_max``. Right: the limiting effective step ``lr (a/s)(w'b/s^2)``,
    proportional to the rate where it is small, to its inverse where it is large, and held below
    ``2/lambda*_max`` of ``S* = S - Suu'S/(u'Su)`` in between.
    """
    from bntheory.models.least_squares import LeastSquares
    from bntheory.models.least_squares_dynamics import bngd, gradient_descent, trap_certificate

    problem = LeastSquares.random(dimension, condition, seed=seed)
    limit = problem.gradient_descent_limit
    rates = np.geomspace(1e-5, 1e5, 81)
    w0 = np.random.default_rng(seed).normal(size=(starts, 1, dimension))
    w0 *= np.sign(w0 @ problem.correlation)[..., None]
    run = bngd(problem, w0, rates * limit, steps, points=2)
    plain = gradient_descent(problem, w0[0, 0], rates * limit, steps, points=2)
    proof = trap_certificate(problem, run.last("a"), run["w"], rates * limit)
    figure, (left, right) = new_grid(
        1, 2, [f"Error after {steps} steps", "Limiting effective step"], width=5.2, height=4.6
    )
    blue, grey = BLUE, GREY
    share = run.last("excess") / problem.signal
    median, low, high = np.quantile(np.maximum(share, 1e-32), [0.5, 0.1, 0.9], axis=0)
    left.plot(rates, median, color=blue, label="batch norm: median of starts")
    left.fill_between(rates, low, high, color=blue, alpha=0.2, linewidth=0, label="batch norm: 10 % to 90 % of starts")
    stable = rates < 1
    distance = np.maximum(plain.last("distance")[stable] / problem.signal, 1e-32)
    left.plot(rates[stable], distance, color=grey, linestyle="--", label="without, one start")
    left.axvspan(1, rates[-1], color=grey, alpha=0.08, linewidth=0)
    left.axvline(1, color=grey, linewidth=1)
    left.text(1.5, 1e3, "without BN: diverges", color=grey, fontsize=9, va="center")
    left.set(
        xscale="log",
        yscale="log",
        xlabel=r"learning rate in units of $2/\lambda_{\max}$",
        ylabel=r"squared error $\|e\|_S^2$ over the signal $\|u\|_S^2$",
        ylim=(1e-33, 1e5),
    )
    legend_below(left)

    held = proof.holds
    middle = np.sqrt(proof.step_low * proof.step_high) / limit
    settled = (run.last("excess") <= 1e-18 * problem.signal) & ~held
    values = np.where(held, middle, np.where(settled, run.last("effective_step") / limit, np.nan))
    known = np.isfinite(values).sum(axis=0) >= starts // 2
    quantiles = np.full((3, len(rates)), np.nan)
    quantiles[:, known] = np.nanquantile(values[:, known], [0.5, 0.1, 0.9], axis=0)
    right.plot(rates, quantiles[0], color=blue, label="batch norm: median of starts")
    right.fill_between(rates, quantiles[1], quantiles[2], color=blue, alpha=0.2, linewidth=0)
    right.plot(
        rates[rates < 100], rates[rates < 100], color=grey, linestyle="--", label="without: the learning rate itself"
    )
    edge = 2 / problem.effective_eigenvalues[-1] / limit
    right.axhline(edge, color=ORANGE, linestyle=":", label=r"$2/\lambda^*_{\max}$, the edge for $S^*$")
    right.set(xscale="log", yscale="log", xlabel=r"learning rate in units of $2/\lambda_{\max}$", ylim=(1e-6, 1e2))
    right.set_ylabel(r"effective step in units of $2/\lambda_{\max}$")
    legend_below(right)
    proved, finite = int(held.sum()), int(np.isfinite(run["w"]).all(axis=-1).sum())
    sentence = (
        f"Over ten decades of learning rates {finite} of {held.size} runs stay finite, {proved} of them in a "
        "state from which convergence to "
        "a minimiser is proved; plain gradient descent diverges beyond twice the inverse of the largest eigenvalue. The condition number "
        f"that counts is {problem.effective_condition_number:.3g} instead of {problem.condition_number:.3g}."
    )
    return CaptionedFigure(figure, sentence)


def ignored_statistics(*, steps: int = 300, lr: float = 0.5, seed: int = 0, device: str = "cpu") -> CaptionedFigure:
    """A step that ignores the batch statistics makes the bias grow and changes nothing (Ioffe and Szegedy
    2015, section 2).

    ``x_hat = u + b - E[u + b]`` does not depend on b; taking ``E[x]`` for a constant gives ``b_t = b_0 -
    lr t <1, dl/dx_hat>`` at constant loss. Left: the norm of the bias in front of BN in a small network;
    right: its loss, at ``lr`` and at a fifth of it. Growth needs that b alone is trained: with the rest of
    the network the bias moves by what BN's own shift learns, and settles.
    """
    from bntheory.models.ignored_statistics import Statistics, Trained, network_run

    runs: list[tuple[str, str, str, Statistics, Trained, float]] = [
        ("ignored, only the bias trained", GREEN, ":", "ignored", "bias", lr),
        ("ignored, all trained", ORANGE, "--", "ignored", "all", lr),
        ("differentiated, all trained", BLUE, "-", "differentiated", "all", lr),
        ("ignored, all trained, a fifth of the rate", ORANGE, "-.", "ignored", "all", lr / 5),
        ("differentiated, all trained, a fifth of the rate", "#56B4E9", "o-", "differentiated", "all", lr / 5),
    ]
    titles = ["Norm of the bias in front of BN", "Loss"]
    figure, (left, right) = new_grid(1, 2, titles, width=5.2, height=4.7)
    found = []
    for label, colour, line, statistics, trained, rate in runs:
        run = network_run(steps=steps, lr=rate, statistics=statistics, trained=trained, seed=seed, device=device)
        found.append(run)
        if rate == lr:
            left.plot(run.bias_norm, color=colour, linestyle=line, label=label)
        right.plot(run.loss, line, color=colour, markersize=4, markevery=0.1, label=label)
    left.set(xlabel="step", ylabel="norm of the bias, ‖b‖")
    right.set(xlabel="step", ylabel="mean squared error / 2", yscale="log")
    legend_below(left, title="batch statistics:")
    legend_below(right, title="batch statistics:")
    alone, together, proper, together_slow, proper_slow = found
    spread = float(alone.loss.max() - alone.loss.min())

    def order(ignored: Any, differentiated: Any) -> str:
        a, b = float(ignored.loss[-1]), float(differentiated.loss[-1])
        return f"{'below' if a < b else 'above'} ({a:.2g} against {b:.2g})"

    sentence = (
        "Where a step ignores that the batch statistics depend on the bias, and the bias alone is trained, its norm grows by the same "
        f"{alone.bias_norm[1]:.3g} every step, to {alone.bias_norm[-1]:.3g}, while the loss moves by {spread:.1g}. With everything trained the "
        f"norm ends at {together.bias_norm[-1]:.3g}; with the statistics differentiated the bias itself stays at {proper.bias_norm[-1]:.1g}. "
        f"Which loss ends lower depends on the rate: at {lr:g} the one that ignores ends {order(together, proper)}, at {lr / 5:g} "
        f"{order(together_slow, proper_slow)}."
    )
    return CaptionedFigure(figure, sentence)


def slope(
    *, smoothing: float = 0.5, plateau: float = 0.002, height: float = 5.0, width: float = 0.05, steps: int = 1000
) -> CaptionedFigure:
    """A slope with a plateau and a cliff, and the same slope smoothed (the post "Rethinking Batch Normalization").

    Piecewise: slope ``-plateau``, a cliff of the given ``height`` and ``width`` at x = 0, a floor, a bowl
    from x = 1; smoothed by convolution with a Gaussian of standard deviation ``smoothing``, in closed
    form. Left: both functions. Middle: paths of gradient descent at three learning rates. Right: the loss
    at the end for rates from 1e-4 to 10, capped at 100 times the start.
    """
    from bntheory.models.slope import Fate, Slope, slope_descent

    sharp = Slope(plateau=plateau, height=height, width=width)
    smooth = Slope(plateau=plateau, height=height, width=width, smoothing=smoothing)
    colours = {"as it is": ORANGE, "smoothed": BLUE}
    titles = ["The slope", "Paths", f"Loss after {steps} steps"]
    figure, (left, middle, right) = new_grid(1, 3, titles, width=4.3, height=4.9)
    x = np.linspace(-2, 3.2, 1200)
    rates = np.geomspace(1e-4, 10, 161)
    shown = (0.003, 0.1, 1.0)
    lines = (":", "--", "-")
    windows, counts = {}, {}
    for name, model in (("as it is", sharp), ("smoothed", smooth)):
        colour = colours[name]
        drawn = {"as it is": "--", "smoothed": "-"}[name]
        left.plot(x, model.value(x), color=colour, linestyle=drawn, label=name)
        paths = slope_descent(model, shown, steps=steps)
        for path, lr, line in zip(paths.path, shown, lines, strict=True):
            middle.plot(
                np.arange(1, steps + 2),
                np.clip(path, -40, 40),
                color=colour,
                linestyle=line,
                label=f"{name}, rate {lr:g}",
                linewidth=1.3 if name == "as it is" else 1.8,
                marker={"as it is": "x", "smoothed": None}[name],
                markevery=0.12,
            )
        sweep = slope_descent(model, rates, steps=steps)
        start = sweep.excess[:, 0]
        end = np.clip(sweep.excess[:, -1] / start, 1e-6, 100)
        blown = sweep.fate == Fate.EXPLODED
        right.plot(rates, np.where(blown, np.nan, end), color=colour, linestyle=drawn, label=name)
        right.plot(
            rates[blown],
            np.full(blown.sum(), {"as it is": 100.0, "smoothed": 40.0}[name]),
            {"as it is": "x", "smoothed": "+"}[name],
            color=colour,
            markersize=4,
            label=f"{name}: thrown out",
        )
        windows[name], counts[name] = sweep.window(), blown
    left.plot([-1], sharp.value(-1.0), "o", color=GREY, markersize=6, label="start")
    left.set(xlabel="x", ylabel="loss")
    legend_below(left)
    middle.set(xlabel="step", ylabel="x, cut at ±40", xscale="log")
    middle.set_yscale("symlog", linthresh=2)
    legend_below(middle, columns=2)
    right.set(
        xlabel="learning rate", ylabel="excess loss, end over start", xscale="log", yscale="log", ylim=(3e-7, 300)
    )
    legend_below(right, columns=2, title="thrown out: the loss rose above twice the start's")
    window = windows["smoothed"]
    reach = f"from {window[0]:.2g} to {window[1]:.2g}" if window else "at no rate"
    none = (
        "at no rate"
        if windows["as it is"] is None
        else f"only from {windows['as it is'][0]:.2g} to {windows['as it is'][1]:.2g}"
    )
    sentence = (
        f"Within {steps} steps gradient descent settles {none} on the slope as it is: it stalls on the plateau or is "
        f"thrown out by the cliff. Smoothed, it settles {reach}; outside that window it still stalls or explodes."
    )
    return CaptionedFigure(figure, sentence)
