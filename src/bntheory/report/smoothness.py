"""Figures about smoothness: the single unit's phase diagrams, what a 2-Lipschitz constant is, and a rough layer without shift.

Every function returns a matplotlib figure; :func:`save_figure` writes it. matplotlib is loaded here and nowhere below.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bntheory.report.style import as_png, new_grid
from bntheory.smoothness.unit.phase import norm_margin, top_margin, two_lipschitz_margin
from bntheory.smoothness.unit.study import CriticalGamma, SingleUnitStudy

__all__ = ["rough_layer_figure", "save_figure", "single_unit_figure", "smooth_pictures"]

_INK, _PROVED, _SECOND, _THIRD, _BRIGHT = "#111827", "#111827", "#7c2d12", "#0f766e", "#facc15"


def save_figure(figure: Any, path: str | Path, *, dpi: int = 150) -> Path:
    """Write the figure: PNG by default, SVG or PDF by the suffix. Raises ValueError for another suffix."""
    path = Path(path)
    if path.suffix == "":
        path = path.with_suffix(".png")
    if path.suffix == ".png":
        path.write_bytes(as_png(figure, dpi=dpi))
    elif path.suffix in (".svg", ".pdf"):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {"CreationDate": None})
    else:
        raise ValueError(f"the figure cannot be written as {path.suffix!r} ({path}); use .png, .svg or .pdf")
    return path


def single_unit_figure(study: SingleUnitStudy) -> Any:
    """The phase diagrams with the proved boundary on top of the measured colours, and the critical gamma."""
    from matplotlib.colors import TwoSlopeNorm

    count = len(study.phases) + 1
    columns = min(3, count)
    rows = -(-count // columns)
    titles = [
        f"{p.loss} loss" + ("" if p.q == 1 else f", eps = {1 / p.q - 1:.3g} var") for p in study.phases
    ] + ["squared loss: how large gamma must be"]
    figure, axes = new_grid(rows, columns, titles, width=4.3, height=3.9)
    shade = TwoSlopeNorm(vmin=-0.6, vcenter=0.0, vmax=0.6)
    mesh = None
    for axis, phase in zip(axes, study.phases, strict=False):
        mesh = axis.pcolormesh(
            phase.alignments,
            phase.sizes,
            np.log10(np.maximum(phase.top_ratio, 1e-6)),  # a top eigenvalue of 0 is as blue as it gets
            cmap="RdBu_r",
            norm=shade,
            shading="nearest",
            rasterized=True,
        )
        axis.set_facecolor("#d1d5db")  # cells that the loss cannot reach
        fine_c, fine_s = np.linspace(-1, 1, 400), np.geomspace(phase.sizes[0], phase.sizes[-1], 400)
        c, s = np.meshgrid(fine_c, fine_s)
        axis.contour(c, s, top_margin(c, s, phase.q), levels=[0], colors=_PROVED, linewidths=2)
        handles = [_line(_PROVED, "-", "proved: top eigenvalue below")]
        if phase.loss == "squared":
            axis.contour(
                c, s, norm_margin(c, s, phase.q), levels=[0], colors=_SECOND, linewidths=1.6, linestyles="--"
            )
            handles.append(_line(_SECOND, "--", "proved: spectral norm below"))
            if phase.q == 1:
                axis.contour(
                    c,
                    s,
                    two_lipschitz_margin(c, s),
                    levels=[0],
                    colors=_BRIGHT,
                    linewidths=1.6,
                    linestyles=":",
                )
                handles.append(_line(_BRIGHT, ":", "proved: 2-Lipschitz constant below"))
        axis.axvline(0, color=_INK, linewidth=0.8, alpha=0.5)
        axis.set_yscale("log")
        axis.grid(False)
        axis.set_xlabel(r"alignment of the residual with $\gamma\hat y$")
        axis.set_ylabel(r"size $\|g_c\|/(\sqrt{m}\,|\gamma|\,h)$")
        axis.legend(handles=handles, loc="upper left", frameon=True, framealpha=0.9, fontsize=7)
    if mesh is not None:
        bar = figure.colorbar(mesh, ax=axes[: len(study.phases)], shrink=0.7, extend="both")
        bar.set_label(r"$\log_{10}$ of BN's top eigenvalue over its frozen twin's")
    _draw_critical(axes[len(study.phases)], study.critical)
    if study.phases:
        figure.suptitle(
            "Where batch normalisation smooths one unit (blue) and where it roughens it (red), "
            f"batch of {study.phases[0].m}, gamma = {study.phases[0].gamma:g}",
            fontsize=11,
        )
    return figure


def _line(colour: str, style: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=label)


def _draw_critical(axis: Any, critical: CriticalGamma) -> None:
    phi = critical.correlations
    rows = (
        (
            "2-Lipschitz constant, all u",
            critical.two_lipschitz,
            critical.measured_two_lipschitz,
            _THIRD,
            ":",
            "v",
        ),
        ("spectral norm", critical.norm, critical.measured_norm, _SECOND, "--", "s"),
        ("top eigenvalue", critical.top, critical.measured_top, _PROVED, "-", "o"),
    )
    for label, values, measured, colour, style, marker in rows:
        axis.plot(phi, values, color=colour, linestyle=style, label=label)
        axis.plot(critical.at, measured, marker, color=colour, markersize=4, markerfacecolor="white")
    axis.axhline(
        critical.worst, color="#6b7280", linewidth=1, linestyle="-.", label="top eigenvalue, worst batch"
    )
    axis.plot(phi, critical.stationary, color="#D55E00", linewidth=2.4, label=r"where $\gamma$ is stationary")
    axis.set_ylim(0, 6.6)
    axis.set_xlabel("correlation of y with the targets")
    axis.set_ylabel(r"$\gamma/T$, $T$ the targets' standard deviation")
    axis.legend(
        loc="upper center",
        fontsize=7,
        title="BN is below its twin above the line; markers: measured",
        title_fontsize=7,
    )


def smooth_pictures(*, seed: int = 0) -> Any:
    """What the constants mean: quadratic bounds on sin at two points, a kink, and the affine defect as the radius shrinks."""
    from bntheory.smoothness import affine_defect, two_lipschitz
    from bntheory.smoothness.functions import relu, sine, softplus

    figure, axes = new_grid(
        1,
        3,
        ["sin at 0: u is not small", "a kink has no quadratic bound", "affine defect as the radius shrinks"],
        width=4.4,
        height=3.6,
    )
    u = np.linspace(-7, 7, 800)
    at = two_lipschitz(sine().landscape, 0.0, seed=seed)
    touch = abs(float(at.witness["u"][0]))
    axes[0].plot(u, np.sin(u), color="#0072B2", label="sin")
    axes[0].plot(u, u, color="#4d4d4d", linestyle="--", linewidth=1.2, label="its affine prediction")
    axes[0].fill_between(
        u,
        u - at.value / 2 * u**2,
        u + at.value / 2 * u**2,
        color="#009E73",
        alpha=0.18,
        label=r"within $\frac{1}{2} a_2 u^2$",
    )
    axes[0].plot([touch, -touch], np.sin([touch, -touch]), "o", color="#D55E00", markersize=5)
    axes[0].annotate(
        f"touches at |u| = {touch:.2f}:\na2 = {at.value:.3f}; curvature here 0,\nlargest anywhere 1",
        (touch, np.sin(touch)),
        xytext=(-6.6, 3.1),
        fontsize=8,
        arrowprops={"arrowstyle": "-", "color": "#D55E00"},
    )
    axes[0].set_ylim(-4.5, 5.5)
    axes[0].legend(loc="lower right", fontsize=7.5)
    axes[0].set_xlabel("u")
    v = np.linspace(-1, 1, 400)
    axes[1].plot(v, np.maximum(v, 0), color="#0072B2", label="max(0, u)")
    for a2, style in ((2.0, "--"), (8.0, "-."), (32.0, ":")):
        axes[1].plot(
            v,
            v / 2 + a2 / 2 * v**2,
            color="#4d4d4d",
            linestyle=style,
            linewidth=1.2,
            label=rf"$u/2 + {a2 / 2:g}\,u^2$",
        )
    axes[1].set_ylim(-0.15, 1.0)
    axes[1].set_xlim(-0.6, 1.0)
    axes[1].set_xlabel("u: near 0 every parabola falls below the kink")
    axes[1].legend(loc="upper left", fontsize=7.5)
    radii = np.geomspace(1e-3, 3, 14)
    curves = (
        ("relu at its kink", relu().landscape, 0.0, "#D55E00", "o"),
        ("softplus(30x)/30", _divided(softplus(30.0).landscape, 30.0), 0.0, "#0072B2", "s"),
        ("sin at its top", sine().landscape, np.pi / 2, "#009E73", "^"),
        ("sin at 0", sine().landscape, 0.0, "#CC79A7", "v"),
    )
    for label, landscape, x, colour, marker in curves:
        scaled = [affine_defect(landscape, x, float(r), seed=seed).witness["scaled"] for r in radii]
        axes[2].loglog(radii, scaled, color=colour, marker=marker, markersize=3, linewidth=1.2, label=label)
    axes[2].set_ylim(1e-4, 2e3)
    axes[2].set_xlabel("radius r")
    axes[2].set_ylabel(r"$2E(r)/r^2$, below the 2-Lipschitz constant")
    axes[2].legend(fontsize=7.5, loc="lower left")
    return figure


def _divided(landscape: Any, factor: float) -> Any:
    from bntheory.smoothness import Scaled

    return Scaled(landscape, 1 / factor)


def rough_layer_figure(*, seed: int = 0) -> Any:
    """One linear layer under losses of growing roughness: the loss on a line in the weights, and both shifts along training."""
    from bntheory.smoothness.unit.rough_layer import RoughLayer

    kinds = ((4.0, 2.0), (100.0, 20.0), (2500.0, 200.0))
    titles = [f"roughness A k^2 = {r:g}" for r, _ in kinds]
    figure, axes = new_grid(1, 3, titles, width=4.2, height=3.2)
    for axis, (roughness, frequency) in zip(axes, kinds, strict=True):
        layer = RoughLayer(roughness, frequency=frequency, batch=4, width=2, seed=seed)
        run = layer.train(steps=200, learning_rate=0.3 / roughness)
        direction = np.random.default_rng(seed).normal(size=layer.weights[0].shape)
        direction /= np.linalg.norm(direction)
        s = np.linspace(-1.5, 1.5, 3000)
        axis.plot(
            s, [layer.value([layer.weights[0] + v * direction]) for v in s], color="#0072B2", linewidth=0.8
        )
        axis.set_xlabel("distance along a line in the weights")
        axis.text(
            0.02,
            0.97,
            f"input shift: {run.input_shift:g}\ngradient shift: {run.gradient_shift:g}\n(200 steps, weights moved {run.distance:.2g})",
            transform=axis.transAxes,
            va="top",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
        )
        axis.margins(y=0.35)
    axes[0].set_ylabel("loss")
    return figure
