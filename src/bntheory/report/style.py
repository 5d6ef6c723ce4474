"""How every figure looks: one colour and one line style for each arm, drawn without pyplot's global state."""

from __future__ import annotations

import io
from typing import Any

__all__ = ["ARM_LABELS", "COLOURS", "LINES", "PARTS", "as_png", "new_grid", "new_panel"]

#: Okabe and Ito's palette: told apart also with colour-blind eyes; line styles tell them apart in grey.
COLOURS = {"batchnorm": "#0072B2", "twin": "#D55E00", "standard": "#4d4d4d", "rescaled": "#009E73"}
LINES = {"batchnorm": "-", "twin": "--", "standard": "-", "rescaled": ":"}
MARKERS = {"batchnorm": "o", "twin": "s", "standard": "^", "rescaled": "v"}
PARTS = {"mean": "#E69F00", "y_hat": "#CC79A7", "left": "#d9e2ec"}
ARM_LABELS = {
    "batchnorm": "batch norm",
    "twin": "its frozen-statistics twin",
    "standard": "standard",
    "rescaled": "standard, rescaled loss",
}
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def new_panel(title: str, *, width: float = 5.2, height: float = 3.5) -> tuple[Any, Any]:
    """A figure with one pair of axes in the common style; small, so that panels wrap on a narrow screen."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_title(title)
    return figure, axes


def new_grid(
    rows: int, columns: int, titles: list[str], *, width: float = 4.2, height: float = 3.5, **options: Any
) -> tuple[Any, list[Any]]:
    """A figure with rows x columns axes in the common style, filled row by row; ``width`` and ``height`` are those of one panel.

    ``options`` go to ``Figure.subplots``. Axes without a title are hidden.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False, **options).ravel())
        for axis, title in zip(axes, titles, strict=False):
            axis.set_title(title)
        for axis in axes[len(titles) :]:
            axis.set_visible(False)
    return figure, axes


def as_png(figure: Any, *, dpi: int = 150, palette: int = 0) -> bytes:
    """The figure as PNG bytes, without a time stamp: the same records give the same file.

    palette: with so many colours at most (up to 256), a third of the size; 0 keeps every colour.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    if not palette:
        return buffer.getvalue()
    from PIL import Image

    small = io.BytesIO()
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(palette, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()
