"""What is wrong with a drawn figure as far as the boxes of its texts can say: clipped, over one another, over data, told apart by nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["faults"]


def faults(figure: Any) -> list[str]:
    """One sentence a fault, in the order in which they are found; empty for a figure without any."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    found, boxes = [], []
    visible = [a for a in figure.axes if a.get_visible()]
    for text in _texts(figure, visible):
        box = text.get_window_extent(renderer)
        boxes.append((text.get_text(), box))
        if box.x0 < page.x0 - 1 or box.y0 < page.y0 - 1 or box.x1 > page.x1 + 1 or box.y1 > page.y1 + 1:
            found.append(f"clipped: {text.get_text()!r}")
        if text.get_fontsize() < 8.5:
            found.append(f"too small at half size ({text.get_fontsize()} points): {text.get_text()!r}")
    for i, (first, a) in enumerate(boxes):
        found += [f"over one another: {first!r} and {second!r}" for second, b in boxes[:i] if _overlap(a, b)]
    for axes in visible:
        inside = list(axes.texts) + ([axes.get_legend()] if axes.get_legend() else [])
        for thing in inside:
            box = thing.get_window_extent(renderer)
            name = thing.get_text() if hasattr(thing, "get_text") else "the legend"
            if any(_crosses(line, box) for line in axes.lines):
                found.append(f"over data: {name!r} in {axes.get_title(loc='left')!r}")
        for axis in (axes.xaxis, axes.yaxis):
            found += _tick_faults(axis, renderer)
        looks = [_look(line) for line in axes.lines if not str(line.get_label()).startswith("_")]
        if len(set(looks)) < len(looks):
            found.append(f"told apart by colour alone: lines of {axes.get_title(loc='left')!r}")
    return found


def _texts(figure: Any, visible: list[Any]) -> list[Any]:
    texts = [*figure.texts]  # the caption among them
    for axes in visible:
        texts += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        if legend := axes.get_legend():
            texts += [*legend.get_texts(), legend.get_title()]
    return [t for t in texts if t is not None and t.get_visible() and t.get_text().strip()]


def _look(line: Any) -> tuple[str, ...]:
    """What is left of a line's look in grey."""
    hollow = str(line.get_markerfacecolor()) == "white"
    return str(line.get_linestyle()), str(line.get_marker()), str(hollow), str(round(line.get_linewidth(), 1))


def _overlap(a: Any, b: Any) -> bool:
    return bool(min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1)


def _crosses(line: Any, box: Any) -> bool:
    points = line.get_transform().transform(np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float))
    points = points[np.isfinite(points).all(axis=1)]
    if line.get_linestyle() not in ("None", "none", "", " ") and len(points) > 1:
        steps = np.linspace(0, 1, 50)[:, None, None]
        points = (points[:-1] * (1 - steps) + points[1:] * steps).reshape(-1, 2)
    seen = line.axes.bbox
    inside = (points >= [box.x0, box.y0]) & (points <= [box.x1, box.y1])
    shown = (points >= [seen.x0, seen.y0]) & (points <= [seen.x1, seen.y1])
    return bool((inside & shown).all(axis=1).any())


def _tick_faults(axis: Any, renderer: Any) -> list[str]:
    low, high = sorted(axis.get_view_interval())
    labels = [t.label1 for t in axis.get_major_ticks() if low <= t.get_loc() <= high and t.label1.get_text().strip()]
    words = [label.get_text() for label in labels]
    name = axis.get_label_text() or "an axis"
    found = [] if len(set(words)) == len(words) else [f"{name}: ticks alike, {words}"]
    if len(words) < 2 and axis.get_label_text():  # a colour bar has one axis without any
        found.append(f"{name}: fewer than two ticks are labelled, {words}")
    boxes = [label.get_window_extent(renderer) for label in labels]
    found += [
        f"{name}: ticks {words[i]!r} and {words[i + 1]!r} over one another"
        for i in range(len(boxes) - 1)
        if _overlap(boxes[i], boxes[i + 1])
    ]
    return found
