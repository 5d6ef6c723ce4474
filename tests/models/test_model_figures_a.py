"""The figures of the models of this half are drawn, labelled, and described by a sentence with numbers in it.

What the numbers are is tested with the models. Here the drawing is: labels, finite data, a file that is
not blank and is the same for the same seed; and a sentence whose numbers move when the parameters do.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest

from bntheory.report.models.descent import MODELS_A
from bntheory.report.style import as_png

SMALL: dict[str, dict[str, float]] = {
    "least-squares": {"dimension": 4, "starts": 6, "steps": 300},
    "scale-invariant": {"steps": 300},
    "weight-decay": {"dimension": 4, "seeds": 3, "lr": 0.2},
    "exponential-lr": {"steps": 100},
    "spherical-sharpness": {"product": 0.05, "intrinsic_time": 10.0},
    "ignored-statistics": {"steps": 20},
    "slope": {"steps": 100},
}
OTHER: dict[str, dict[str, float]] = {
    "least-squares": {"condition": 300.0},
    "scale-invariant": {"power": 4},
    "weight-decay": {"momentum": 0.5},
    "exponential-lr": {"momentum": 0.5},
    "spherical-sharpness": {"tilt": 0.2},
    "ignored-statistics": {"lr": 0.1},
    "slope": {"smoothing": 1.0},
}


def test_every_model_is_drawn_here():
    assert set(SMALL) == set(MODELS_A) == set(OTHER)
    for draw in MODELS_A.values():
        assert draw.__doc__ is not None  # the command's help: mathematics and source
        assert len(draw.__doc__.split()) > 40


@pytest.mark.parametrize("name", SMALL)
def test_figure_is_labelled_and_says_what_it_shows(name):
    import matplotlib.image

    drawn = MODELS_A[name](**SMALL[name])
    assert re.search(r"\d", drawn.sentence)
    assert not re.search(r"\b(nan|inf)\b", drawn.sentence)
    for axes in drawn.figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert (
            axes.get_ylabel() or name == "exponential-lr"
        )  # two quantities share one axis, named in the legend
        finite = [np.isfinite(np.asarray(line.get_ydata(), dtype=float)) for line in axes.lines]
        assert sum(f.sum() for f in finite) >= 20
        # a gap is drawn only where a run left the picture or its limit is not yet known
        assert all(f.all() for f in finite) or name in ("slope", "least-squares")
    png = as_png(drawn.figure, dpi=50)
    assert png == as_png(MODELS_A[name](**SMALL[name]).figure, dpi=50)
    pixels = matplotlib.image.imread(io.BytesIO(png), format="png")
    assert pixels[..., :3].std() > 0.02


@pytest.mark.parametrize("name", SMALL)
def test_the_sentence_is_computed(name):
    first, other = MODELS_A[name](**SMALL[name]), MODELS_A[name](**{**SMALL[name], **OTHER[name]})
    assert first.sentence != other.sentence


def test_models_load_without_torch_or_matplotlib():
    names = [
        "exponential_lr",
        "ignored_statistics",
        "least_squares",
        "least_squares_dynamics",
        "scale_invariant",
        "slope",
        "spherical_sharpness",
        "trajectory",
        "weight_decay",
    ]
    code = (
        "; ".join(f"import bntheory.models.{name}" for name in names)
        + "; import bntheory.report.models.descent"
    )
    code += "; import sys; print([m for m in ('torch', 'matplotlib', 'sympy', 'z3', 'flint') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
