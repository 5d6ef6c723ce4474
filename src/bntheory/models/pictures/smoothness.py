"""Figures about smoothness: the single unit's phase diagrams, what a 2-Lipschitz constant is, and a rough layer without shift."""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.drawing import CaptionedFigure, legend_below, new_grid
from bntheory.smoothness.unit.phase import PhaseDiagram, norm_margin, top_margin, two_lipschitz_margin
from bntheory.smoothness.unit.study import CriticalGamma, SingleUnitStudy, single_unit_study

_INK, _NORM, _TWO = "#111827", "#7c2d12", "#ffffff"


def single_unit(*, gamma: float = 1.0, m: int = 16, seed: int = 0) -> CaptionedFigure:
    """Where batch normalisation smooths one unit and where it roughens it: measured regions and the proved boundary.

    The ratio of the unit's largest Hessian eigenvalue to its frozen-statistics twin's, over the residual's alignment with y_hat and its size,
    for several losses; and from which gamma on each constant of the squared loss is below the twin's.
    """
    return single_unit_figure(single_unit_study(gamma=gamma, m=m, seed=seed))


def single_unit_figure(study: SingleUnitStudy) -> CaptionedFigure:
    """The phase diagrams with the proved boundary on top of the measured colours, and the critical gamma."""
    from matplotlib.colors import TwoSlopeNorm

    count = len(study.phases) + 1
    columns = min(3, count)
    titles = [f"{p.loss} loss" + ("" if p.q == 1 else f", eps = {1 / p.q - 1:.3g} var") for p in study.phases] + [
        "squared loss: how large γ must be"
    ]
    figure, axes = new_grid(-(-count // columns), columns, titles, width=4.6, height=4.7)
    shade = TwoSlopeNorm(vmin=-0.6, vcenter=0.0, vmax=0.6)
    mesh = None
    for axis, phase in zip(axes, study.phases, strict=False):
        mesh = _draw_phase(axis, phase, shade)
    if mesh is not None:
        bar = figure.colorbar(
            mesh, ax=axes[: len(study.phases)], shrink=0.6, extend="both", location="right", aspect=30
        )
        bar.set_label("$\\log_{10}$ of BN's largest eigenvalue over its frozen twin's")
    _draw_critical(axes[len(study.phases)], study.critical)
    batch = f", batch of {study.phases[0].m}, γ = {study.phases[0].gamma:g}" if study.phases else ""
    regions = "; ".join(f"{p.loss}{'' if p.q == 1 else ' with eps'} {p.smoothed:.0%}" for p in study.phases)
    against = sum(p.violations for p in study.phases)
    sentence = (
        f"One unit behind batch norm{batch}: blue, marked “smoother”, where its largest Hessian eigenvalue is below that of the same unit with "
        f"frozen statistics; red, marked “rougher”, where it is above. Smoother in these shares of the reachable cells: {regions}. "
        f"{against} of {sum(p.layers for p in study.phases)} layers contradict the proved boundary, which for the squared loss is exact: the "
        "residual must point along γŷ, and where γ is stationary it never does."
    )
    return CaptionedFigure(figure, sentence)


def _draw_phase(axis: Any, phase: PhaseDiagram, shade: Any) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    mesh = axis.pcolormesh(
        phase.alignments,
        phase.sizes,
        np.log10(np.maximum(phase.top_ratio, 1e-6)),  # a top eigenvalue of 0 is as blue as it gets
        cmap="RdBu_r",
        norm=shade,
        shading="nearest",
        rasterized=True,
    )
    axis.set_facecolor("#d1d5db")
    c, s = np.meshgrid(np.linspace(-1, 1, 400), np.geomspace(phase.sizes[0], phase.sizes[-1], 400))
    outlined = [withStroke(linewidth=3.4, foreground=_INK)]
    drawn: list[tuple[Any, ...]] = [(top_margin(c, s, phase.q), _INK, "-", None, "largest eigenvalue lower →")]
    if phase.loss == "squared":
        drawn.append((norm_margin(c, s, phase.q), _NORM, "--", None, "spectral norm lower ↘"))
        if phase.q == 1:
            drawn.append((two_lipschitz_margin(c, s), _TWO, "-", outlined, "2-Lipschitz constant lower →"))
    handles: list[Any] = []
    for margin, colour, line, effects, label in drawn:
        contour = axis.contour(c, s, margin, levels=[0], colors=colour, linewidths=1.8, linestyles=line)
        contour.set_path_effects(effects)
        handles.append(Line2D([], [], color=colour, linestyle=line, path_effects=effects, label=f"proved: {label}"))
    unreachable = np.isnan(phase.top_ratio)
    if unreachable.mean() > 0.1:
        handles.append(Patch(color="#d1d5db", label="no residual is this large here"))
    axis.axvline(0, color=_INK, linewidth=0.8, alpha=0.5)
    axis.set(yscale="log", xlabel=r"cosine of the residual with $\gamma\hat y$")
    axis.set_ylabel(r"size of the residual, $\|g_c\|/(\sqrt{m}\,|\gamma|\,h)$")
    axis.grid(False)
    top = float(np.max(np.broadcast_to(phase.sizes[:, None], unreachable.shape)[~unreachable]))
    words = {"ha": "center", "va": "center", "fontsize": 9, "fontweight": "bold", "color": _INK}
    halo = [withStroke(linewidth=2.5, foreground="white")]
    height = float(np.sqrt(phase.sizes[0] * top))
    axis.text(-0.6, height, "rougher", path_effects=halo, **words)
    axis.text(0.72, height, "smoother", path_effects=halo, **words)
    legend_below(axis, handles=handles)
    return mesh


def _draw_critical(axis: Any, critical: CriticalGamma) -> None:
    phi = critical.correlations
    rows = (
        ("2-Lipschitz constant, all u", critical.two_lipschitz, critical.measured_two_lipschitz, "#0f766e", ":", "v"),
        ("spectral norm", critical.norm, critical.measured_norm, _NORM, "--", "s"),
        ("largest eigenvalue", critical.top, critical.measured_top, _INK, "-", "o"),
    )
    for label, values, measured, colour, style, marker in rows:
        axis.plot(phi, values, color=colour, linestyle=style, label=label)
        axis.plot(critical.at, measured, marker, color=colour, markersize=4, markerfacecolor="white")
    axis.axhline(critical.worst, color="#6b7280", linewidth=1, linestyle="-.", label="largest eigenvalue, worst batch")
    axis.plot(phi, critical.stationary, color="#D55E00", linewidth=2.4, label="where γ is stationary")
    axis.set_ylim(0, 4.3)
    axis.set_xlabel("correlation of y with the targets")
    axis.set_ylabel("γ over the targets' standard deviation")
    legend_below(axis, title="BN is below its twin above a line; markers: measured")


def two_lipschitz(*, seed: int = 0) -> CaptionedFigure:
    """What the 2-Lipschitz constant means: quadratic bounds on sin, a kink that has none, and the affine defect as the radius shrinks."""
    from bntheory.smoothness import Scaled, affine_defect
    from bntheory.smoothness import two_lipschitz as constant_at
    from bntheory.smoothness.functions import relu, sine, softplus

    titles = ["sin at 0: u need not be small", "A kink has no quadratic bound", "As the radius shrinks"]
    figure, (bounded, kink, defect) = new_grid(1, 3, titles, width=4.4, height=4.9)
    u = np.linspace(-7, 7, 800)
    at = constant_at(sine().landscape, 0.0, seed=seed)
    touch = abs(float(at.witness["u"][0]))
    bounded.plot(u, np.sin(u), color="#0072B2", label="sin u")
    bounded.plot(u, u, color="#4d4d4d", linestyle="--", linewidth=1.2, label="its affine prediction, u")
    bounded.fill_between(
        u,
        u - at.value / 2 * u**2,
        u + at.value / 2 * u**2,
        color="#009E73",
        alpha=0.18,
        label=rf"within $a_2 u^2/2$ of it, $a_2 = {at.value:.3f}$",
    )
    bounded.plot(
        [touch, -touch],
        np.sin([touch, -touch]),
        "o",
        color="#D55E00",
        markersize=5,
        label=f"touched at |u| = {touch:.2f}",
    )
    bounded.set(ylim=(-4.5, 4.5), xlabel="u", ylabel="value")
    legend_below(bounded)
    v = np.linspace(-0.6, 1, 400)
    kink.plot(v, np.maximum(v, 0), color="#0072B2", label="max(0, u)")
    for a2, style in ((2.0, "--"), (8.0, "-."), (32.0, ":")):
        parabola = v / 2 + a2 / 2 * v**2
        label = rf"$u/2 + {a2 / 2:g}\,u^2$"
        kink.plot(v, parabola, color="#4d4d4d", linestyle=style, linewidth=1.2, label=label)
    kink.set(ylim=(-0.15, 1.0), xlim=(-0.6, 1.0), xlabel="u", ylabel="value")
    legend_below(kink, columns=2)
    radii = np.geomspace(1e-3, 3, 14)
    curves = (
        ("ReLU at its kink", relu().landscape, 0.0, "#D55E00", "o"),
        ("softplus(30 x)/30", Scaled(softplus(30.0).landscape, 1 / 30.0), 0.0, "#0072B2", "s"),
        ("sin at its top", sine().landscape, np.pi / 2, "#009E73", "^"),
        ("sin at 0", sine().landscape, 0.0, "#CC79A7", "v"),
    )
    for label, landscape, x, colour, marker in curves:
        scaled = [affine_defect(landscape, x, float(r), seed=seed).witness["scaled"] for r in radii]
        defect.loglog(radii, scaled, color=colour, marker=marker, markersize=3, linewidth=1.2, label=label)
    defect.set(ylim=(1e-4, 2e3), xlabel="radius r")
    defect.set_ylabel("affine defect, $2E(r)/r^2$")
    legend_below(defect, columns=2)
    sentence = (
        f"The 2-Lipschitz constant of sin at 0 is {at.value:.3f}, though the curvature there is 0 and the largest anywhere is 1: the bound must "
        "hold for every u. At a kink every parabola falls below the function near 0, so no constant is finite; the affine defect over r², which "
        "is below the constant, grows like 1/r there and levels off where there is curvature."
    )
    return CaptionedFigure(figure, sentence)


def rough_layer(*, seed: int = 0) -> CaptionedFigure:
    """One linear layer under losses of growing roughness: the loss on a line in the weights, and both covariate shifts along training."""
    from bntheory.smoothness.unit.rough_layer import RoughLayer

    kinds = ((4.0, 2.0), (100.0, 20.0), (2500.0, 200.0))
    titles = [f"curvature up to Ak² = {r:g}  (k = {k:g})" for r, k in kinds]
    figure, axes = new_grid(1, 3, titles, width=4.2, height=3.4, sharey=True)
    shifts, distances = [], []
    for axis, (roughness, frequency) in zip(axes, kinds, strict=True):
        layer = RoughLayer(roughness, frequency=frequency, batch=4, width=2, seed=seed)
        run = layer.train(steps=200, learning_rate=0.3 / roughness)
        shifts += [run.input_shift, run.gradient_shift]
        distances.append(run.distance)
        direction = np.random.default_rng(seed).normal(size=layer.weights[0].shape)
        direction /= np.linalg.norm(direction)
        s = np.linspace(-1.5, 1.5, 3000)
        values = np.array([layer.value([layer.weights[0] + v * direction]) for v in s])
        axis.plot(s, values * frequency**2 / roughness, color="#0072B2", linewidth=0.8)
        axis.set_xlabel("distance along a line in the weights")
    axes[0].set_ylabel("loss in units of A")
    moved = ", ".join(f"{d:.2g}" for d in distances)
    sentence = (
        "One linear layer z = w·x with the loss mean A(1 − cos k(z − t)), which can be as rough as one likes. Along 200 steps of descent, which "
        f"move the weights by {moved}, the largest shift of the layer's inputs and of its gradient's inputs, by either definition of "
        f"internal covariate shift, is {max(shifts):g}: there is no earlier layer. So roughness needs no covariate shift."
    )
    return CaptionedFigure(figure, sentence)
