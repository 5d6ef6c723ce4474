"""Figures of deep random networks: what normalisation does to a batch, and to its gradient, before any training."""

from __future__ import annotations

import numpy as np

from bntheory.drawing import BLUE, COLOURS, GREY, CaptionedFigure, legend_below, new_grid


def deep_random(
    *, width: int = 64, depth: int = 120, batch: int = 32, networks: int = 5, seed: int = 0
) -> CaptionedFigure:
    """Deep random networks with and without normalisation, medians over several draws (Daneshmand et al. 2020; De and Smith 2020).

    Layers ``H <- act(norm(W H))``, W Gaussian, and for the last panel residual blocks ``H <- H + W act(norm(H))``. From left to right: the
    stable rank of the batch in linear networks; how much of it every unit gives to all samples alike in ReLU networks; the gradient's norm
    on its way back from a unit gradient at the output; and the residual branch over its skip connection.
    """
    from bntheory.models.deep_random import DeepRandom, channel_share, stable_rank

    figure, (rank, alike, gradient, branch) = new_grid(
        2,
        2,
        [
            "Rank of the batch, linear layers",
            "What is alike in all samples, ReLU",
            "Gradient on its way back, ReLU",
            "Residual branch over its skip connection",
        ],
        width=5.2,
        height=3.9,
    )
    layers = np.arange(depth + 1)
    looks = {
        "batch": (BLUE, "-", "batch norm"),
        "layer": (COLOURS["variance-alive"], "--", "layer norm"),
        "none": (GREY, ":", "no normalisation"),
    }
    last: dict[str, tuple[float, float]] = {}
    for norm, (colour, line, label) in looks.items():
        style = {"color": colour, "linestyle": line, "label": label}
        draws = range(seed, seed + networks)
        linear = [DeepRandom(width, depth, batch, norm=norm, activation="linear").run(s) for s in draws]
        relu = [DeepRandom(width, depth, batch, norm=norm).run(s) for s in draws]
        ranks = np.median([[stable_rank(h) for h in p.representations] for p in linear], axis=0)
        shares = np.median([[channel_share(h) for h in p.representations] for p in relu], axis=0)
        rank.plot(layers, ranks, **style)
        alike.plot(layers, shares, **style)
        gradient.plot(layers[1:], np.median([p.gradient_norms for p in relu], axis=0), **style)
        last[norm] = (float(ranks[-1]), float(shares[-1]))
        if norm != "layer":
            residual = [DeepRandom(width, depth, batch, norm=norm, residual=True).run(s) for s in draws]
            branch.plot(layers[1:], np.median([p.branch_over_skip for p in residual], axis=0), **style)
    branch.plot(layers[1:], layers[1:] ** -0.5, color="black", linewidth=1, linestyle="-.", label="1/√block")
    rank.set(xlabel="layer", ylabel="stable rank of the batch", ylim=(0, None))
    alike.set(xlabel="layer", ylabel="share of the mean square", ylim=(0, 1.02))
    gradient.set(xlabel="layer", ylabel="norm of the gradient", yscale="log")
    branch.set(xlabel="block", ylabel="ratio of standard deviations", xscale="log", yscale="log")
    for axes in (rank, alike, gradient, branch):
        legend_below(axes, columns=3)
    sentence = (
        f"After {depth} layers of width {width} a batch of {batch} has stable rank {last['none'][0]:.3g} without normalisation and "
        f"{last['batch'][0]:.3g} with batch norm; ReLU layers with layer norm give {last['layer'][1]:.0%} of it to all samples alike, with "
        f"batch norm {last['batch'][1]:.0%}. The price of batch norm is the gradient, which grows towards the input."
    )
    return CaptionedFigure(figure, sentence)
