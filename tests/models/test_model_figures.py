"""Every model's figure is drawn, labelled, readable, and described by a sentence with numbers in it.

What the numbers are is tested with the models; here the drawing is: labels present, data finite and inside the axes, the file not blank,
the same file for the same seed, a sentence whose numbers move when the parameters do, and nothing of matplotlib imported before a figure
is asked for.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_boxes import faults

import bntheory.models as room
from bntheory.drawing import CaptionedFigure, as_png, new_grid
from bntheory.errors import UserError
from bntheory.models.pictures.catalogue import MODELS, SMOOTH

SMALL: dict[str, dict[str, Any]] = {
    "least-squares": {"dimension": 4, "starts": 6, "steps": 300},
    "scale-invariant": {"steps": 300},
    "weight-decay": {"dimension": 4, "seeds": 3, "lr": 0.2},
    "exponential-lr": {"steps": 100},
    "spherical-sharpness": {"product": 0.05, "intrinsic_time": 10.0},
    "ignored-statistics": {"steps": 20},
    "slope": {"steps": 100},
    "adamw": {"dimension": 8, "seeds": 3},
    "logistic": {"runs": 3, "steps": 400},
    "projected-descent": {"pull": 0.05, "product": 0.01},
    "periodic": {"product": 0.03},
    "mean-field": {"width": 64, "networks": 4, "depth": 6},
    "conditioning": {"draws": 20, "trials": 1},
    "fisher": {"largest_width": 128, "seeds": 3},
    "layer-jacobian": {"width": 32, "networks": 1},
    "deep-random": {"width": 8, "depth": 20, "batch": 6, "networks": 2},
    "deep-linear": {"layers": 4, "width": 3, "samples": 20, "steps": 8},
    "tensor-train": {"features": 3, "rank": 2, "samples": 20, "steps": 8},
    "matrix-factorisation": {"rank": 2, "steps": 8},
}
OTHER: dict[str, dict[str, Any]] = {
    "least-squares": {"condition": 300.0},
    "scale-invariant": {"power": 4},
    "weight-decay": {"momentum": 0.5},
    "exponential-lr": {"momentum": 0.5},
    "spherical-sharpness": {"tilt": 0.2},
    "ignored-statistics": {"lr": 0.1},
    "slope": {"smoothing": 1.0},
    "adamw": {"seed": 1},
    "logistic": {"seed": 1},
    "projected-descent": {"pull": 0.02},
    "periodic": {"product": 0.02},
    "layer-jacobian": {"seed": 1},
    "deep-random": {"seed": 1},
}
#: where a run left the picture, its limit is not yet known, or one line has two looks
GAPS = {"slope", "least-squares", "spherical-sharpness"}


@cache
def small(name: str) -> tuple[CaptionedFigure, bytes]:
    """The small picture of a model and its file, drawn once for all tests that look at it."""
    drawn = MODELS[name](**SMALL[name])
    return drawn, as_png(drawn.figure, dpi=50)


def test_every_model_is_drawn_here() -> None:
    assert set(SMALL) == set(MODELS)
    for draw in MODELS.values():
        assert draw.__doc__ is not None  # the command's help: mathematics and source
        assert len(draw.__doc__.split()) > 20


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_figure_is_labelled_and_says_what_it_shows(name: str) -> None:
    import matplotlib.image

    drawn, file = small(name)
    assert re.search(r"\d", drawn.sentence)
    assert not re.search(r"\b(nan|inf)\b", drawn.sentence)
    for axes in drawn.figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        finite = [np.isfinite(np.asarray(line.get_ydata(), dtype=float)) for line in axes.lines]
        assert all(f.all() for f in finite) or name in GAPS
    assert drawn.sentence.split() == drawn.figure.get_supxlabel().split()  # inside the file, whole
    assert not faults(drawn.figure)
    pixels = matplotlib.image.imread(io.BytesIO(file), format="png")
    assert pixels[..., :3].std() > 0.02


@pytest.mark.long
@pytest.mark.parametrize("name", SMOOTH)
def test_pictures_of_smoothness_have_no_faults(name: str) -> None:
    drawn = SMOOTH[name]()
    assert drawn.sentence.split() == drawn.figure.get_supxlabel().split()
    assert not faults(drawn.figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_figures_as_the_command_draws_them_have_no_faults(name: str) -> None:
    assert not faults(MODELS[name]().figure)


def test_faults_are_found() -> None:
    figure, (left, right) = new_grid(1, 2, ["one", "two"], width=2.0, height=2.0)
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], label="up")
        axes.plot([0, 1], [1, 0], label="down")
    left.set_ylabel("a label that is far too long for so small a figure to hold")
    right.text(0.4, 0.5, "over the crossing", fontsize=7)
    right.set_xticks([0.5, 0.52], ["same", "same"])
    right.legend(loc="center")
    found = "; ".join(faults(figure))
    for kind in (
        "clipped",
        "over data: 'the legend'",
        "over data: 'over the",
        "too small",
        "alike",
        "over one another",
        "colour alone",
    ):
        assert kind in found, kind


@pytest.mark.long
def test_a_picture_from_python_is_the_commands() -> None:
    figure = room.show("slope", steps=100)
    assert as_png(figure, dpi=50) == as_png(MODELS["slope"](steps=100).figure, dpi=50)
    with pytest.raises(UserError, match=r"no picture 'slop'.*single-unit.*slope"):
        room.show("slop")
    with pytest.raises(UserError, match=r"no parameter 'step'.*steps"):
        room.show("slope", step=3)


@pytest.mark.long
@pytest.mark.parametrize("name", OTHER)
def test_the_sentence_is_computed_and_a_seed_determines_the_file(name: str) -> None:
    (first, file), again = small(name), MODELS[name](**SMALL[name])
    other = MODELS[name](**{**SMALL[name], **OTHER[name]})
    assert as_png(again.figure, dpi=50) == file != as_png(other.figure, dpi=50)
    assert first.sentence == again.sentence
    assert first.sentence != other.sentence or name in ("layer-jacobian",)


def test_every_public_name_of_the_room_loads() -> None:
    for name in room.__all__:
        found = getattr(room, name)
        assert isinstance(found, dict) or found.__module__.startswith("bntheory.models")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        room.nothing  # noqa: B018


def test_models_load_without_torch_or_matplotlib() -> None:
    names = sorted(p.stem for p in Path(room.__file__ or "").parent.glob("*.py") if p.stem != "__init__")
    needs_torch = {"covariate_shift"}
    code = "; ".join(f"import bntheory.models.{name}" for name in names if name not in needs_torch)
    code += "; import bntheory.models.pictures.catalogue, bntheory.claims.sources.yang2019, bntheory.claims.sources.karakida2019"
    code += "; import sys; print([m for m in ('torch', 'matplotlib', 'sympy', 'z3', 'flint') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
