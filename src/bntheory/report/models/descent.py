"""Figures of descent in small models: least squares with BN, ignored statistics, the slope.

Every function draws one figure from numbers that it computes, and says in a sentence what the figure
shows, with the numbers in it. Keyword arguments are the model's parameters.
"""

from __future__ import annotations

import numpy as np

from bntheory.report.models.figure import ModelFigure
from bntheory.report.style import COLOURS, new_grid

__all__ = ["ignored_statistics", "least_squares", "slope"]


def least_squares(
    *, dimension: int = 20, condition: float = 30.0, starts: int = 40, steps: int = 3000, seed: int = 0
) -> ModelFigure:
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
        1, 2, [f"Error after {steps} steps", "Limiting effective step"], width=5.2, height=4.0
    )
    blue, grey = COLOURS["batchnorm"], COLOURS["standard"]
    share = run.last("excess") / problem.signal
    median, low, high = np.quantile(np.maximum(share, 1e-32), [0.5, 0.1, 0.9], axis=0)
    left.plot(rates, median, color=blue, label="batch norm: median of starts")
    left.fill_between(
        rates, low, high, color=blue, alpha=0.2, linewidth=0, label="batch norm: 10 % to 90 % of starts"
    )
    stable = rates < 1
    distance = np.maximum(plain.last("distance")[stable] / problem.signal, 1e-32)
    left.plot(rates[stable], distance, color=grey, linestyle="--", label="without, one start")
    left.axvspan(1, rates[-1], color=grey, alpha=0.08, linewidth=0)
    left.axvline(1, color=grey, linewidth=1)
    left.text(1.5, 1e2, "without BN: diverges", color=grey, fontsize=8.5, va="center")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="learning rate in units of 2/λ_max",
        ylabel="‖e‖²_S / ‖u‖²_S",
        ylim=(1e-33, 1e17),
    )
    left.legend(loc="upper left")

    held = proof.holds
    middle = np.sqrt(proof.step_low * proof.step_high) / limit
    settled = (run.last("excess") <= 1e-18 * problem.signal) & ~held
    values = np.where(held, middle, np.where(settled, run.last("effective_step") / limit, np.nan))
    known = np.isfinite(values).sum(axis=0) >= starts // 2
    quantiles = np.full((3, len(rates)), np.nan)
    quantiles[:, known] = np.nanquantile(values[:, known], [0.5, 0.1, 0.9], axis=0)
    right.plot(rates, quantiles[0], color=blue, label="batch norm: median of starts")
    right.fill_between(rates, quantiles[1], quantiles[2], color=blue, alpha=0.2, linewidth=0)
    right.plot(rates, rates, color=grey, linestyle="--", label="without: the learning rate itself")
    edge = 2 / problem.effective_eigenvalues[-1] / limit
    right.axhline(edge, color=COLOURS["twin"], linewidth=1.2, label="2/λ*_max, the edge for S*")
    right.set(xscale="log", yscale="log", xlabel="learning rate in units of 2/λ_max", ylim=(1e-6, 1e2))
    right.set_ylabel("effective step in units of 2/λ_max")
    right.legend(loc="lower center")
    proved, finite = int(held.sum()), int(np.isfinite(run["w"]).all(axis=-1).sum())
    sentence = (
        f"Over ten decades of learning rates {finite} of {held.size} runs stay finite, {proved} of them in a "
        "state from which convergence to "
        "a minimiser is proved; plain gradient descent diverges beyond 2/λ_max. The condition number "
        "that counts is "
        f"{problem.effective_condition_number:.3g} instead of {problem.condition_number:.3g}."
    )
    return ModelFigure(figure, sentence)


def ignored_statistics(
    *, steps: int = 300, lr: float = 0.5, seed: int = 0, device: str = "cpu"
) -> ModelFigure:
    """A step that ignores the batch statistics makes the bias grow and changes nothing (Ioffe and Szegedy
    2015, section 2).

    ``x_hat = u + b - E[u + b]`` does not depend on b; taking ``E[x]`` for a constant gives ``b_t = b_0 -
    lr t <1, dl/dx_hat>`` at constant loss. Left: the norm of the bias in front of BN in a small network;
    right: its loss. Growth needs that b alone is trained: with the rest of the network the bias moves by
    what BN's own shift learns, and settles.
    """
    from bntheory.models.ignored_statistics import Statistics, Trained, network_run

    runs: list[tuple[str, str, str, Statistics, Trained]] = [
        ("statistics ignored, bias alone trained", COLOURS["twin"], "-", "ignored", "bias"),
        ("statistics ignored, all trained", COLOURS["twin"], "--", "ignored", "all"),
        ("statistics differentiated, all trained", COLOURS["batchnorm"], "-", "differentiated", "all"),
    ]
    figure, (left, right) = new_grid(1, 2, ["Norm of the bias before BN", "Loss"], width=5.2, height=3.8)
    found = []
    for label, colour, line, statistics, trained in runs:
        run = network_run(
            steps=steps, lr=lr, statistics=statistics, trained=trained, seed=seed, device=device
        )
        found.append(run)
        left.plot(run.bias_norm, color=colour, linestyle=line, label=label)
        right.plot(run.loss, color=colour, linestyle=line, label=label)
    left.set(xlabel="step", ylabel="‖b‖")
    right.set(xlabel="step", ylabel="loss", yscale="log")
    left.legend(loc="upper left")
    alone, together, proper = found
    spread = float(alone.loss.max() - alone.loss.min())
    sentence = (
        "With the statistics ignored and only the bias trained, its norm grows by the same "
        f"{alone.bias_norm[1]:.3g} every step, to "
        f"{alone.bias_norm[-1]:.3g}, while the loss moves by {spread:.1g}. With everything trained it "
        "ends at "
        f"{together.bias_norm[-1]:.3g} and the loss at {together.loss[-1]:.3g}; differentiated, at "
        f"{proper.bias_norm[-1]:.1g}."
    )
    return ModelFigure(figure, sentence)


def slope(
    *,
    smoothing: float = 0.5,
    plateau: float = 0.002,
    height: float = 5.0,
    width: float = 0.05,
    steps: int = 1000,
) -> ModelFigure:
    """A slope with a plateau and a cliff, and the same slope smoothed (the post "Rethinking Batch
    Normalization").

    Piecewise: slope ``-plateau``, a cliff of the given ``height`` and ``width`` at x = 0, a floor, a bowl
    from x = 1; smoothed by convolution with a Gaussian of standard deviation ``smoothing``, in closed
    form. Left: both functions. Middle: paths of gradient descent at three learning rates. Right: the loss
    at the end for rates from 1e-4 to 10, capped at 100 times the start.
    """
    from bntheory.models.slope import Fate, Slope, slope_descent

    sharp = Slope(plateau=plateau, height=height, width=width)
    smooth = Slope(plateau=plateau, height=height, width=width, smoothing=smoothing)
    colours = {"as it is": COLOURS["twin"], "smoothed": COLOURS["batchnorm"]}
    titles = ["The slope", "Paths", f"Loss after {steps} steps"]
    figure, (left, middle, right) = new_grid(1, 3, titles, width=4.1, height=3.8)
    x = np.linspace(-2, 3.2, 1200)
    rates = np.geomspace(1e-4, 10, 161)
    shown = (0.003, 0.1, 1.0)
    lines = ("-", "--", ":")
    windows, counts = {}, {}
    for name, model in (("as it is", sharp), ("smoothed", smooth)):
        colour = colours[name]
        left.plot(x, model.value(x), color=colour, label=name)
        paths = slope_descent(model, shown, steps=steps)
        for path, lr, line in zip(paths.path, shown, lines, strict=True):
            middle.plot(
                np.arange(1, steps + 2),
                np.clip(path, -40, 40),
                color=colour,
                linestyle=line,
                label=f"{name}, lr {lr:g}",
            )
        sweep = slope_descent(model, rates, steps=steps)
        start = sweep.excess[:, 0]
        end = np.clip(sweep.excess[:, -1] / start, 1e-6, 100)
        blown = sweep.fate == Fate.EXPLODED
        right.plot(rates, np.where(blown, np.nan, end), color=colour, label=name)
        right.plot(rates[blown], np.full(blown.sum(), 100.0), "x", color=colour, markersize=3.5)
        windows[name], counts[name] = sweep.window(), blown
    left.plot([-1], sharp.value(-1.0), "o", color=COLOURS["standard"], markersize=6, label="start")
    left.set(xlabel="x", ylabel="loss")
    left.legend()
    middle.set(xlabel="step", ylabel="x, cut at ±40", xscale="log")
    middle.set_yscale("symlog", linthresh=2)
    middle.legend(fontsize=7, loc="upper left")
    right.set(
        xlabel="learning rate", ylabel="loss above the minimum / at the start", xscale="log", yscale="log"
    )
    right.text(1.2e-4, 60, "×: rose above twice the start", fontsize=8, va="top")
    right.legend(loc="lower left")
    window = windows["smoothed"]
    reach = f"from {window[0]:.2g} to {window[1]:.2g}" if window else "at no rate"
    none = (
        "at no rate"
        if windows["as it is"] is None
        else f"only from {windows['as it is'][0]:.2g} to {windows['as it is'][1]:.2g}"
    )
    sentence = (
        f"Within {steps} steps gradient descent settles {none} on the slope as it is: it stalls on "
        "the plateau or is thrown out by "
        f"the cliff. Smoothed, it settles {reach}; outside that window it still stalls or explodes."
    )
    return ModelFigure(figure, sentence)
