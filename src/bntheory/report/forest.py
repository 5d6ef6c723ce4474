"""Forest plots as HTML: a line an effect, with its interval on an axis that the whole question shares.

Text is text and a line is a link to the row of numbers behind it, so the plot is read on a phone, copied, and told apart without colours:
every outcome has a mark of its own and is named. What lives here: scales and marks. What does not: which effects, and what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
WIDTH, HEIGHT = 400.0, 16.0
#: No axis reaches further: an interval that does ends in an arrow.
LARGEST = 2.0
#: Ticks of ratios, by the decades that an axis spans less than.
_MARKS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.45, (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6, 2)),
    (1.0, (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5)),
    (2.2, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)),
    (math.inf, (0.01, 0.1, 1, 10, 100)),
)
_COLOURS = {"supported": "#0072B2", "contradicted": "#b03a00", "equivalent": "#006b4f", "inconclusive": "#5b6470"}


@dataclass(frozen=True)
class Axis:
    """From low to high, in the units of the effects (log10 for ratios); ticks with their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def x(self, value: float) -> float:
        """Where a value lies, in pixels."""
        inside = min(max(value, self.low), self.high)
        return 6 + (WIDTH - 12) * (inside - self.low) / (self.high - self.low)

    def svg(self) -> str:
        """The axis with its labels."""
        parts = []
        for value, label in self.ticks:
            x = self.x(value)
            anchor = "start" if x < 25 else "end" if x > WIDTH - 25 else "middle"
            parts.append(f'<text x="{x:.1f}" y="11" text-anchor="{anchor}" font-size="11">{label}</text>')
        return _svg("".join(parts))


def axis_of(effects: Sequence[Json]) -> Axis:
    """The axis that holds all these effects of one unit, zero among them."""
    ends = [0.0]
    for e in effects:
        if e["estimate"] is not None:
            ends += [x for key in ("mean", "low", "high") if (x := e["estimate"][key]) is not None]
    ratio = effects[0]["unit"] == "ratio"
    least, most = min(ends), max(ends)
    if ratio:
        low, high = min(max(least, -LARGEST) - 0.03, -0.06), max(min(most, LARGEST) + 0.03, 0.06)
        marks = next(m for width, m in _MARKS if high - low < width)
        ticks = [(math.log10(m), f"×{m:g}") for m in marks]
    else:
        span = (most - least) or 1.0
        low, high = least - 0.05 * span, most + 0.05 * span
        step = 10 ** math.floor(math.log10(high - low))
        step *= next(k for k in (0.2, 0.5, 1, 2) if (high - low) / (k * step) <= 5)
        ticks = [(k * step, f"{k * step:g}") for k in range(math.ceil(low / step), int(high / step) + 1)]
    return Axis(low, high, tuple((v, label) for v, label in ticks if low <= v <= high))


def bar(effect: Json, axis: Axis) -> str:
    """The line of one effect: interval, mean with the mark of its outcome, threshold (dashed where it is not zero), margin as a band."""
    parts, middle = [], HEIGHT / 2
    threshold, margin = effect["threshold"], effect["margin"]
    if margin is not None:
        x = axis.x(threshold - margin)
        width = axis.x(threshold + margin) - x
        parts.append(f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="{HEIGHT:g}" fill="#e5e7eb"/>')
    for place, dashes in {0.0: "", threshold: "3 2" if threshold else ""}.items():
        x = axis.x(place)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{HEIGHT:g}" stroke="#111" stroke-dasharray="{dashes}"/>'
        )
    e = effect["estimate"]
    if e is not None:
        colour = _COLOURS.get(effect["outcome"], "#5b6470")
        low = axis.low - 1 if e["low"] is None else e["low"]
        high = axis.high + 1 if e["high"] is None else e["high"]
        left, right = axis.x(low), axis.x(high)
        parts.append(
            f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="2.2"/>'
        )
        for beyond, x, sign in ((low < axis.low, left, 1), (high > axis.high, right, -1)):
            if beyond:
                parts.append(f'<path d="M{x:.1f} {middle} l{5 * sign} -4 v8 z" fill="{colour}"/>')  # it goes on
        parts.append(_mark(effect["outcome"], axis.x(e["mean"]), middle, colour))
    return _svg("".join(parts))


def _mark(outcome: str, x: float, y: float, colour: str) -> str:
    """Full circle: supported; full diamond: contradicted; empty square: equivalent; empty circle: inconclusive."""
    if outcome == "supported":
        return f'<circle cx="{x:.1f}" cy="{y}" r="4.6" fill="{colour}"/>'
    if outcome == "contradicted":
        return f'<path d="M{x:.1f} {y - 6} l6 6 l-6 6 l-6 -6 z" fill="{colour}"/>'
    common = f'fill="#fff" stroke="{colour}" stroke-width="1.8"'
    if outcome == "equivalent":
        return f'<rect x="{x - 4:.1f}" y="{y - 4}" width="8" height="8" {common}/>'
    return f'<circle cx="{x:.1f}" cy="{y}" r="4.2" {common}/>'


def _svg(content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" aria-hidden="true">{content}</svg>'
