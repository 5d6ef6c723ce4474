"""How every figure looks: one colour and one line style for each arm, drawn without pyplot's global state."""

from __future__ import annotations

import functools
import io
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bntheory.errors import UserError
from bntheory.files import write_atomic

#: Okabe and Ito's palette: told apart also with colour-blind eyes; line styles tell them apart in grey.
COLOURS = {
    "batchnorm": "#0072B2",
    "twin": "#D55E00",
    "mean-alive": "#E69F00",
    "variance-alive": "#CC79A7",
    "standard": "#4d4d4d",
    "rescaled": "#009E73",
}
#: The same by what they look like, for pictures whose lines are no arms.
BLUE, ORANGE, GREEN, GREY = (COLOURS[arm] for arm in ("batchnorm", "twin", "rescaled", "standard"))
LINES = {"batchnorm": "-", "twin": "--", "mean-alive": ":", "variance-alive": "-.", "standard": "-"}
MARKERS = {"batchnorm": "o", "twin": "s", "mean-alive": "D", "variance-alive": "v", "standard": "^"}
ARM_LABELS = {
    "batchnorm": "batch norm",
    "twin": "its twin, statistics frozen",
    "mean-alive": "twin, mean alive",
    "variance-alive": "twin, variance alive",
    "standard": "without batch norm",
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
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@functools.cache
def _figure_class() -> Any:
    """matplotlib's Figure, and in a notebook a picture where it is a cell's last value, without pyplot or a magic word."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            return as_png(self, dpi=80, palette=128)

    return Picture


def new_panel(title: str, *, height: float = 3.5) -> tuple[Any, Any]:
    """A figure with one pair of axes in the common style; small, so that panels wrap on a narrow screen."""
    figure, (axes,) = new_grid(1, 1, [title], width=5.2, height=height)
    return figure, axes


def new_grid(
    rows: int, columns: int, titles: list[str], *, width: float = 4.2, height: float = 3.5, **options: Any
) -> tuple[Any, list[Any]]:
    """A figure with rows x columns axes in the common style, filled row by row; ``width`` and ``height`` are those of one panel.

    ``options`` go to ``Figure.subplots``. Axes without a title are hidden.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with mpl.rc_context(_STYLE):
        figure = _figure_class()(figsize=(width * columns, height * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False, **options).ravel())
        for axis, title in zip(axes, titles, strict=False):
            axis.set_title(title)
        for axis in axes[len(titles) :]:
            axis.set_visible(False)
    return figure, axes


def legend_below(axes: Any, *, columns: int = 1, handles: list[Any] | None = None, title: str = "") -> None:
    """The legend under the axes' label, where it covers no data whatever the numbers are."""
    from matplotlib.transforms import ScaledTranslation

    points = 37 + 12 * axes.get_xlabel().count("\n")  # tick labels and the axis label
    under = ScaledTranslation(0, -points / 72, axes.figure.dpi_scale_trans)
    axes.legend(
        **({} if handles is None else {"handles": handles}),
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=axes.transAxes + under,
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderaxespad=0,
        columnspacing=1.2,
        labelspacing=0.35,
        title=title or None,
        title_fontsize=9,
        alignment="left",
    )


def complete(figure: Any, sentence: str) -> None:
    """The sentence that says what is seen, under the panels and inside the figure's file; plain numbers on short logarithmic axes."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            plain_numbers(axis)
    characters = int(figure.get_figwidth() * 72 / 5.7)  # of a font of 9.5 points, on average
    figure.supxlabel(textwrap.fill(sentence, characters), x=0.01, ha="left", fontsize=9.5, color="#374151")


def plain_numbers(axis: Any) -> None:
    """1, 2, 5, 10, ... where a logarithmic axis spans too few decades for powers of ten to be told apart."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if axis.get_scale() != "log" or isinstance(axis.get_major_locator(), FixedLocator):
        return
    low, high = sorted(axis.get_view_interval())
    if high > 300 * low:
        return
    # even steps, of which 1 is one, for less than a factor of 3
    short = MaxNLocator(5, steps=[1, 2, 5, 10]) if high < 3 * low else LogLocator(subs=(1, 2, 3, 5))
    axis.set_major_locator(short if high < 10 * low else LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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


def figure_format(path: Path) -> str:
    """What the ending of a figure's file says: png, pdf or svg. UserError for another one."""
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {path}: the ending decides the format; use .png, .pdf or .svg")
    return path.suffix[1:].lower()


def save_figure(figure: Any, path: Path) -> Path:
    """Write the figure, whole or not at all. Raises UserError where it cannot be."""
    kind, buffer = figure_format(path), io.BytesIO()
    if kind == "png":
        buffer.write(as_png(figure))
    else:
        figure.savefig(buffer, format=kind, metadata={"Date" if kind == "svg" else "CreationDate": None})
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: the figure cannot be written ({error.strerror or error})") from None
    return path


@dataclass(frozen=True)
class CaptionedFigure:
    """A matplotlib figure (:func:`as_png` makes the file) and the sentence that it carries under its panels, which says what it shows."""

    figure: Any
    sentence: str

    def __post_init__(self) -> None:
        complete(self.figure, self.sentence)
