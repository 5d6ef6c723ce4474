"""A probed network as text of a fixed width and as a figure.

What lives here: showing what :func:`bntheory.bridge.probe` found. What does not: measuring.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from bntheory.bridge.probes.layer_split import LayerProbe
from bntheory.bridge.probes.network_landscape import NetworkProbe
from bntheory.drawing import COLOURS, complete, legend_below, new_grid
from bntheory.evidence.counts import counted, reasons


class Probed(Protocol):
    """A model measured, as far as it is shown (:class:`bntheory.bridge.probes.probe.Probe`)."""

    @property
    def layers(self) -> tuple[LayerProbe, ...]: ...
    @property
    def network(self) -> NetworkProbe: ...
    @property
    def twin(self) -> NetworkProbe | None: ...
    @property
    def parameters(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def batches(self) -> int: ...
    @property
    def left_out(self) -> Mapping[str, str]: ...
    @property
    def missing(self) -> Mapping[str, str]: ...
    @property
    def unused(self) -> tuple[str, ...]: ...


#: Title, attribute, and what the number is compared with.
MEASURES = (
    ("loss", "loss"),
    ("gradient norm", "gradient_norm"),
    ("largest Hessian eigenvalue", "lambda_max"),
    ("  its error", "lambda_max_error"),
    ("relative curvature *", "relative_curvature"),
    ("linearity error of a 10 % step *", "linearity_error"),
    ("trust fraction *", "trust_fraction"),
    ("gradient cosine after a 10 % step *", "gradient_cosine"),
)
_NONE = "-"
#: As wide as the tables are; on narrower terminals a row is a sentence.
_TABLE = 72


def probe_text(result: Probed, width: int = 80) -> str:
    """What was found as lines of at most ``width`` characters (at least 40); from 72 on as tables, a line a layer however many there are."""
    lines = [*_layers(result, width), "", *_network(result, width)]
    return "\n".join(lines)


def _layers(result: Probed, width: int) -> list[str]:
    heads = ("kind", "units", "m", "|g|/sig", "along 1", "y_hat", "left")
    widths = (8, 6, 7, 8, 8, 7, 7)
    name_width = max(10, min(max([len(x.name) for x in result.layers] + [5]), width - sum(widths) - 3))
    lines = _wrapped("What each layer does to the gradient that passes through it", width)
    if result.layers and width >= _TABLE:
        lines.append("layer".ljust(name_width) + "".join(h.rjust(w) for h, w in zip(heads, widths, strict=True)))
    names = shortened([x.name for x in result.layers], name_width)
    for name, x in zip(names, result.layers, strict=True):
        cells = (
            x.kind,
            _count(x.units),
            _count(x.m),
            f"{x.scaling:.3g}",
            *map(_share, (x.share_mean, x.share_y_hat, x.left)),
        )
        mark = "" if x.residual <= x.tolerance else " !"
        if width < _TABLE:
            cells_said = ", ".join(f"{h} {c}" for h, c in zip(heads, cells, strict=True))
            lines += _wrapped(f"layer {x.name}: {cells_said}{mark}", width)
            continue
        lines.append(name.ljust(name_width) + "".join(c.rjust(w) for c, w in zip(cells, widths, strict=True)) + mark)
    if result.layers:
        lines += _wrapped(
            "Of the squared norm of the gradient at the output times |gamma|/sigma: what the layer takes off along 1 and along y_hat, and "
            f"what is left; {_NONE} where no gradient arrives.",
            width,
        )
        lines += _wrapped(_against_theory(result.layers), width)
    for left in reasons(result.left_out, len(result.left_out)):
        lines += _wrapped(f"left out: {left}", width)
    if "layers" in result.missing:
        lines += _wrapped(f"no layers: {result.missing['layers']}", width)
    return lines


def _against_theory(layers: tuple[LayerProbe, ...]) -> str:
    off = [x for x in layers if not x.residual <= x.tolerance]
    if not off:
        worst = max(layers, key=lambda x: x.residual / x.tolerance)
        return (
            f"Measured against the closed form: {counted(len(layers), 'layer')} within rounding (worst: layer {worst.name}, {worst.residual:.1e} of a tolerance "
            f"of {worst.tolerance:.1e})."
        )
    named = ", ".join(f"{x.name} ({x.residual:.1e} > {x.tolerance:.1e})" for x in off[:5])
    return f"! {len(off)} of {len(layers)} differ from the closed form by more than rounding: {named}"


def _network(result: Probed, width: int) -> list[str]:
    sides = [("the network", result.network)]
    if result.twin is not None:
        sides.append(("frozen twin", result.twin))
    batches = "" if result.batches == 1 else f", on {result.batches} batches"
    lines = _wrapped(f"The loss in all {result.parameters} parameters ({result.dtype}{batches})", width)
    if width >= _TABLE:
        lines.append(" " * 36 + "".join(title.rjust(14) for title, _ in sides))
    for title, name in MEASURES:
        if width < _TABLE:
            said = ", ".join(f"{of} {_number(getattr(side, name))}" for of, side in sides)
            lines += _wrapped(f"{title}: {said}", width)
            continue
        lines.append(title.ljust(36) + "".join(_number(getattr(side, name)).rjust(14) for _, side in sides))
    lines += _wrapped("* scale-free: unchanged where the loss or the unit of length is multiplied by a constant", width)
    lines += _wrapped(_verdict(result.network, result.twin), width)
    for title, side in sides:
        if side.note:
            lines += _wrapped(f"largest eigenvalue of {title}: {side.note}", width)
    for (names, reason), titles in _missing(sides).items():
        lines += _wrapped(f"missing for {' and '.join(titles)}: {', '.join(names)}: {reason}", width)
    if result.unused:
        lines += _wrapped(f"not used by the loss: {', '.join(result.unused[:20])}", width)
    if result.twin is None and "twin" in result.missing:
        lines += _wrapped(f"no frozen twin: {result.missing['twin']}", width)
    return lines


def _missing(sides: Sequence[tuple[str, NetworkProbe]]) -> dict[tuple[tuple[str, ...], str], list[str]]:
    """What is missing for the same reason, and for which of the sides."""
    found: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for title, side in sides:
        for reason in dict.fromkeys(side.missing.values()):
            names = tuple(name.replace("_", " ") for name, why in side.missing.items() if why == reason)
            found.setdefault((names, reason), []).append(title)
    return found


def _verdict(network: NetworkProbe, twin: NetworkProbe | None) -> str:
    if twin is None or network.lambda_max is None or twin.lambda_max is None or not twin.lambda_max > 0:
        return ""
    ratio = network.lambda_max / twin.lambda_max
    error = (network.lambda_max_error or 0.0) + (twin.lambda_max_error or 0.0)
    if abs(network.lambda_max - twin.lambda_max) <= error:
        return "At this point the largest eigenvalues of the network and of its twin are equal to within their errors."
    word = "smoother" if ratio < 1 else "rougher"
    text = (
        f"At this point the dependence of the statistics on the activations makes the loss {word}: the largest eigenvalue is {ratio:.3g} "
        "times the twin's, at the same weights and outputs, which was checked."
    )
    own, other = network.relative_curvature, twin.relative_curvature
    if own is None or other is None or not other > 0:
        return text
    left = f"{own / other:.3g}"
    beyond = "are equal to three digits" if left == "1" else f"are {left} to 1"
    return f"{text} Beyond scaling, their relative curvatures {beyond}."


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=True)


def shortened(names: Sequence[str], width: int) -> list[str]:
    """Names of at most ``width`` characters that stay apart: by their ends, by both ends, or with their numbers."""
    rules: tuple[Callable[[int, str], str], ...] = (
        lambda i, name: "..." + name[-(width - 3) :],
        lambda i, name: name[: (width - 3) // 2] + "..." + name[-(width - 3 - (width - 3) // 2) :],
        lambda i, name: f"{i + 1}..." + name[-(width - 4 - len(str(i))) :],
    )
    for rule in rules:
        found = [name if len(name) <= width else rule(i, name)[:width] for i, name in enumerate(names)]
        if len(set(found)) == len(set(names)):
            break
    return found


def _count(n: int) -> str:
    return str(n) if n < 100_000 else f"{n:.1e}".replace("e+0", "e")


def _share(x: float | None) -> str:
    return _NONE if x is None or not math.isfinite(x) else f"{100 * x:.1f}%"


def _number(x: float | None) -> str:
    return _NONE if x is None or not math.isfinite(x) else f"{x:.6g}"


def probe_figure(result: Probed) -> Any:
    """A matplotlib figure: each layer's share of the gradient, and the network beside its twin in multiples of the twin's value."""
    layers = [x for x in result.layers if x.left is not None]
    titles = ["what each layer does to the gradient", "the network beside its frozen twin"]
    figure, (left, right) = new_grid(1, 2, titles, width=5.6, height=max(3.2, 0.16 * len(layers) + 1.6))
    start = [0.0] * len(layers)
    for label, attribute, colour, hatch in (
        ("off along 1", "share_mean", COLOURS["mean-alive"], ""),
        ("off along y_hat", "share_y_hat", COLOURS["variance-alive"], "////"),
        ("left", "left", "#d9e2ec", ""),
    ):
        values = [float(getattr(x, attribute)) for x in layers]
        left.barh(
            range(len(layers)),
            values,
            left=start,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            linewidth=0,
            label=label,
        )
        start = [a + b for a, b in zip(start, values, strict=True)]
    left.set_yticks(range(len(layers)), shortened([x.name for x in layers], 22), fontsize=8)
    left.set_ylim(max(len(layers), 1) - 0.4, -0.6)
    left.set_xlabel("share of the scaled gradient's squared norm")
    if layers:
        legend_below(left, columns=3)
    rows = [(title.strip(" *"), name) for title, name in MEASURES if name not in ("loss", "lambda_max_error")]
    shown = []
    for title, name in rows:
        a = getattr(result.network, name)
        b = None if result.twin is None else getattr(result.twin, name)
        if a is not None and b is not None and a > 0 and b > 0:
            shown.append((title, a / b))
    right.scatter([ratio for _, ratio in shown], range(len(shown)), color=COLOURS["batchnorm"], zorder=3)
    right.axvline(1.0, color=COLOURS["twin"], linestyle="--", label="frozen twin")
    right.set_yticks(range(len(shown)), [title for title, _ in shown], fontsize=8)
    right.invert_yaxis()
    right.set_xscale("log")
    spread = max([1.3, *(max(ratio, 1 / ratio) for _, ratio in shown)]) ** 1.1
    right.set_xlim(1 / spread, spread)
    right.set_xlabel("network / twin")
    if not shown:
        right.text(0.5, 0.5, "nothing to compare", transform=right.transAxes, ha="center")
    complete(figure, _verdict(result.network, result.twin) or "What each layer takes off the gradient beyond scaling.")
    return figure
