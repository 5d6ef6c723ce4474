"""Figures of rates and spectra: mean field, conditioning, Fisher spectra, layer Jacobians."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bntheory.drawing import BLUE, GREEN, GREY, ORANGE, CaptionedFigure, legend_below, new_grid
from bntheory.evidence.progress import Progress, silent

_EXTRA = ("#CC79A7", "#E69F00", "#56B4E9")


def mean_field(
    *,
    width: int = 512,
    networks: int = 24,
    depth: int = 40,
    batch_size: int = 16,
    seed: int = 0,
    progress: Progress = silent,
) -> CaptionedFigure:
    r"""Growth of gradients through random batch-normalised networks (Yang et al. 2019, arXiv 1902.08129).

    Left: the rate, the factor on ``E||dL/dh||^2`` per layer towards the input, against the batch size B: closed forms for
    linear, ``(B-2)/(B-3)``, and ReLU, quadrature for tanh, points measured in random networks. Right: growth over the
    depth with and without residual connections.
    """
    from bntheory.models.activations import activation
    from bntheory.models.mean_field import (
        leaky_relu_fixed_point,
        linear_rate,
        overflow_depth,
        relu_limit,
        relu_rate,
        residual_growth,
    )
    from bntheory.models.mean_field_monte_carlo import depth_profile, monte_carlo_limit, residual_profile
    from bntheory.models.mean_field_quadrature import rate_by_quadrature

    sizes = np.unique(np.round(np.geomspace(4, 400, 60))).astype(int)
    tanh = [rate_by_quadrature(activation("tanh"), int(b), nodes=24, degrees=60).rate for b in sizes]
    curves = {"linear": linear_rate(sizes), "relu": relu_rate(sizes), "tanh": np.array(tanh)}
    colours = {"linear": GREY, "relu": BLUE, "tanh": GREEN}
    figure, (left, right) = new_grid(1, 2, ["Rate per layer", "Growth over the depth"], width=5.2, height=4.8)
    worst = 0.0
    looks = {"linear": (":", "s", "linear"), "relu": ("-", "o", "ReLU"), "tanh": ("--", "^", "tanh")}
    for name, values in curves.items():
        line, mark, shown = looks[name]
        progress(0.1 + 0.25 * list(curves).index(name), f"networks, {shown}")
        left.plot(sizes, values, color=colours[name], linestyle=line, label=f"{shown}, theory")
        points = [
            monte_carlo_limit(activation(name), b, width=width, networks=networks, seed=seed) for b in (4, 5, 8, 16, 64)
        ]
        exact = np.interp([p.fine.batch_size for p in points], sizes, values)
        worst = max(worst, max(abs(p.deviation(e)) for p, e in zip(points, exact, strict=True)))
        left.errorbar(
            [p.fine.batch_size for p in points],
            [p.rate for p in points],
            yerr=[3 * p.standard_error for p in points],
            fmt=mark,
            markersize=4,
            capsize=2,
            color=colours[name],
        )
    left.axhline(relu_limit(), color=colours["relu"], linewidth=1, linestyle="-.", label="π/(π − 1), ReLU's limit")
    left.set(xscale="log", xlabel="batch size B", ylabel="factor on E‖∂L/∂h‖² per layer", ylim=(0.9, None))
    legend_below(
        left,
        columns=2,
        title=f"points: networks of widths {width} and {width // 2}, extrapolated,\nwith 3 standard errors",
    )

    relu, rate = activation("relu"), float(relu_rate(batch_size))
    progress(0.85, "growth over the depth")
    plain = depth_profile(relu, batch_size, depth=depth, width=width // 2, networks=4, seed=seed)
    stream = residual_profile(relu, batch_size, depth=depth, width=width // 2, networks=4, seed=seed)
    steps = np.arange(depth + 1)
    from_bottom = residual_growth(rate, 1.0, steps) / math.log(10)
    predicted = from_bottom[-1] - from_bottom[::-1]  # the layers just below the top have the smallest branches
    for index in range(4):
        right.plot(np.arange(depth)[::-1], plain.log_gradient[index] / math.log(10), "^", color=ORANGE, markersize=3)
        right.plot(steps[::-1], stream.log_gradient[index] / math.log(10), ".", color=BLUE, markersize=4)
    right.plot(steps, steps * math.log10(rate), color=ORANGE, linestyle="--", label=f"plain: {rate:.3f} to the power L")
    right.plot(steps, predicted, color=BLUE, label=f"residual: over all layers about L to the power {rate:.3f}")
    right.set(xlabel="layers L below the top", ylabel="log₁₀ of the growth of ‖∂L/∂h‖²")
    legend_below(right, title=f"ReLU, B = {batch_size}; points: 4 networks each")
    variance, covariance = leaky_relu_fixed_point(batch_size)
    sentence = (
        f"Gradients of random BN networks grow by a factor per layer that depends on the batch size only, least for linear ones; the "
        f"measured rates lie within {worst:.1f} standard errors of the theory. A ReLU network at B = {batch_size} overflows float32 "
        f"after about {overflow_depth(rate):.0f} layers; with residual connections (branch variance {float(variance - covariance):.3f}) the growth "
        "is a power of the depth."
    )
    return CaptionedFigure(figure, sentence)


def conditioning(*, samples: int = 30, draws: int = 400, trials: int = 6, seed: int = 0) -> CaptionedFigure:
    """Condition numbers of ``[1, X]`` under centring and unit-variance scaling (Lange et al. 2022, arXiv 2108.01110).

    Left: kappa before and after scaling for random centred data of two and three columns. Right: kappa of unit columns
    against the best diagonal scaling, with van der Sluis's bound, the root of the number of columns.
    """
    from bntheory.models.conditioning import (
        SMALLEST_COUNTEREXAMPLE,
        best_diagonal_scaling,
        condition_number,
        conditioning,
    )

    rng = np.random.default_rng(seed)
    titles = ["Scaling centred columns to unit variance", "Unit columns against the best diagonal scaling"]
    figure, (left, right) = new_grid(1, 2, titles, width=5.2, height=4.6)
    worse, hurt = {}, 0
    for columns, colour, marker in [(3, ORANGE, "^"), (2, BLUE, ".")]:
        found = []
        for _ in range(draws):
            x = rng.standard_normal((samples, columns)) @ rng.standard_normal((columns, columns))
            found.append(conditioning(x))
        hurt += sum(f.centred > f.raw * (1 + 1e-9) for f in found)
        before, after = np.array([f.centred for f in found]), np.array([f.scaled for f in found])
        worse[columns] = float(np.mean(after > before * (1 + 1e-9)))
        left.plot(
            before,
            after / before,
            marker,
            color=colour,
            markersize=3.5,
            label=f"{columns} columns: raised in {worse[columns]:.0%} of draws",
        )
    low, high = 1.0, 60.0
    left.plot([low, high], [1, 1], color="black", linewidth=1, label="unchanged: above it scaling does harm")
    small = conditioning(SMALLEST_COUNTEREXAMPLE)
    left.plot(
        [small.centred],
        [small.scaled / small.centred],
        "*",
        color="black",
        markersize=9,
        label="entries −1, 0, 1: raised, certified exactly",
    )
    left.set(
        xscale="log",
        xlim=(low, high),
        xlabel="condition number κ of [1, X], X centred, up to 60",
        ylabel="κ after scaling / κ before",
    )
    legend_below(left)
    sizes = [2, 3, 4, 6, 8]
    ratios: list[list[float]] = []
    for columns in sizes:
        row = []
        for trial in range(trials):
            x = rng.standard_normal((samples, columns)) @ rng.standard_normal((columns, columns))
            x -= x.mean(axis=0)
            row.append(
                condition_number(x / np.linalg.norm(x, axis=0)) / best_diagonal_scaling(x, starts=2, seed=trial)[0]
            )
        ratios.append(row)
    for columns, row in zip(sizes, ratios, strict=True):
        right.plot(
            [columns] * len(row),
            row,
            "o",
            color=BLUE,
            markersize=4,
            label=f"{trials} draws each" if columns == sizes[0] else None,
        )
    dense = np.linspace(2, 8, 50)
    right.plot(dense, np.sqrt(dense), color="black", linewidth=1.2, label="bound: √columns (van der Sluis)")
    right.set(xlabel="columns", ylabel="κ(unit columns) / κ(best scaling)", ylim=(0.95, None))
    legend_below(right)
    sentence = (
        f"Centring raised the condition number in {hurt} of {2 * draws} draws (a theorem says never). Scaling to unit variance never "
        f"hurts two columns but raised it in {worse[3]:.0%} of draws with three; it stays within √columns of the best diagonal scaling."
    )
    return CaptionedFigure(figure, sentence)


def fisher(*, largest_width: int = 512, seeds: int = 8, seed: int = 0, progress: Progress = silent) -> CaptionedFigure:
    """Largest eigenvalue of the Fisher matrix of random networks against the width (Karakida et al. 2019).

    ReLU networks of two hidden layers of width M, inputs of dimension M, half as many samples N as units (a quarter with BN
    inside) unless N is fixed; slopes of the logarithms with 95 % intervals in the legend.
    """
    from bntheory.evidence.slopes import fit_power_law
    from bntheory.models.fisher import fisher_scaling

    widths = np.unique(np.round(np.geomspace(64, largest_width, 6)).astype(int)).tolist()
    arms: list[tuple[str, dict[str, Any], str, str]] = [
        ("no normalisation", {}, GREY, "-"),
        ("mean subtracted in the last layer", {"output": "mean"}, BLUE, "-"),
        ("the same, N fixed", {"output": "mean", "samples": 32}, BLUE, ":"),
        ("batch norm in the hidden layers", {"hidden": "batch-norm", "samples_per_width": 0.25}, ORANGE, "-"),
        ("layer norm in the hidden layers", {"hidden": "layer-norm"}, GREEN, "-"),
        ("tanh without biases", {"act": "tanh"}, _EXTRA[0], "--"),
    ]
    figure, (axes,) = new_grid(1, 1, ["Largest eigenvalue of the Fisher matrix"], width=6.4, height=5.6)
    slopes: dict[str, float] = {}
    for (label, options, colour, line), mark in zip(arms, "os^vDP", strict=True):
        progress(len(slopes) / len(arms), label)
        values = fisher_scaling(widths, seeds=seeds, seed=seed, **options).eigenvalues
        fit = fit_power_law(widths, values)
        slopes[label] = fit.slope
        axes.plot(
            widths, np.exp(np.log(values).mean(axis=0)), marker=mark, color=colour, linestyle=line,
            label=f"{label}: {fit.slope:.2f} ({fit.low:.2f} to {fit.high:.2f})",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="width M", ylabel=r"$\lambda_{\max}$, geometric mean over networks")
    axes.set_xticks(widths, [str(w) for w in widths])
    axes.minorticks_off()
    legend_below(axes, title="exponent in M, with its 95 % interval")
    sentence = (
        f"Without normalisation the largest eigenvalue grows about like the width (exponent {slopes['no normalisation']:.2f}); subtracting the mean in the "
        f"last layer stops that ({slopes['mean subtracted in the last layer']:.2f}) if the number of samples grows in proportion, not if "
        f"it is fixed ({slopes['the same, N fixed']:.2f}); normalising hidden layers does not."
    )
    return CaptionedFigure(figure, sentence)


def layer_jacobian(*, width: int = 256, networks: int = 3, seed: int = 0) -> CaptionedFigure:
    """Singular values of layer Jacobians of random networks (Ioffe and Szegedy 2015, section 3.3).

    Histograms of the singular values of the Jacobian between the normalised activations of consecutive layers, Gaussian
    weights, over the quarter-circle law of square Gaussian matrices.
    """
    from bntheory.models.activations import activation
    from bntheory.models.layer_jacobian import layer_jacobian, quarter_circle_share

    figure, (axes,) = new_grid(1, 1, ["Singular values of layer Jacobians"], width=7.2, height=4.6)
    bins, shares = np.linspace(0, 3, 61), {}
    for name, colour, line, shown in [
        ("linear", GREY, ":", "linear"),
        ("tanh", GREEN, "--", "tanh"),
        ("relu", BLUE, "-", "ReLU"),
    ]:
        found = [
            layer_jacobian(activation(name), width=width, batch_size=4 * width, seed=seed + k) for k in range(networks)
        ]
        shares[name] = float(np.mean([f.share_within(2.0) for f in found]))
        values = np.concatenate([f.singular_values.ravel() for f in found])
        axes.hist(
            values,
            bins=bins,
            density=True,
            histtype="step",
            linewidth=1.6,
            color=colour,
            linestyle=line,
            label=f"{shown}: {shares[name]:.0%} in [½, 2]",
        )
    s = np.linspace(0, 2, 200)
    axes.plot(s, np.sqrt(4 - s**2) / math.pi, color="black", linewidth=1, linestyle="-.", label="quarter-circle law")
    axes.axvspan(0.5, 2.0, color="#e5e7eb", zorder=0, label="[½, 2]")
    axes.set(xlabel="singular value", ylabel="density", ylim=(0, 1.2), xlim=(-0.1, 3.1))
    axes.annotate("ReLU's exact zeros: a bar beyond the axis", (0.2, 1.08), fontsize=9)
    legend_below(axes, columns=3)
    sentence = (
        "With BN the singular values of a layer have a root mean square near 1 whatever the scale of the weights, but single ones are "
        f"spread over [0, 2] and beyond: {shares['linear']:.0%} (linear; the quarter-circle law says {quarter_circle_share(2.0):.0%}), "
        f"{shares['tanh']:.0%} (tanh) and {shares['relu']:.0%} (ReLU) lie within a factor of 2 of 1."
    )
    return CaptionedFigure(figure, sentence)
