"""Every model's figure is drawn, labelled, and described by a sentence with numbers in it.

What the numbers are is tested with the models; here the drawing is: labels present, data finite and inside the axes,
the file not blank, the same file for the same seed, and nothing of matplotlib imported before a figure is asked for.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest

from bntheory.report.models.spectra import MODELS_B
from bntheory.report.style import as_png

SMALL: dict[str, dict[str, int]] = {
    "mean-field": {"width": 64, "networks": 4, "depth": 6},
    "conditioning": {"draws": 20, "trials": 1},
    "fisher": {"largest_width": 128, "seeds": 3},
    "layer-jacobian": {"width": 32, "networks": 1},
    "deep-linear": {"layers": 4, "width": 3, "samples": 20, "steps": 8},
    "tensor-train": {"features": 3, "rank": 2, "samples": 20, "steps": 8},
    "matrix-factorisation": {"rank": 2, "steps": 8},
}


def test_every_model_is_drawn_here() -> None:
    assert set(SMALL) == set(MODELS_B)
    for draw in MODELS_B.values():
        assert draw.__doc__ is not None  # the command's help: mathematics and source
        assert len(draw.__doc__.split()) > 20


@pytest.mark.parametrize("name", SMALL)
def test_figure_is_labelled_and_says_what_it_shows(name: str) -> None:
    import matplotlib.image

    drawn = MODELS_B[name](**SMALL[name])
    assert re.search(r"\d", drawn.sentence)
    assert not re.search(r"\b(nan|inf)\b", drawn.sentence)
    for axes in drawn.figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        for line in axes.lines:
            assert np.all(np.isfinite(np.asarray(line.get_ydata(), dtype=float)))
    png = as_png(drawn.figure, dpi=50)
    pixels = matplotlib.image.imread(io.BytesIO(png), format="png")
    assert pixels[..., :3].std() > 0.02


def test_a_seed_determines_the_file() -> None:
    first, again, other = (
        as_png(MODELS_B["layer-jacobian"](width=16, networks=1, seed=seed).figure, dpi=50)
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_every_public_name_of_the_room_loads() -> None:
    import bntheory.models as room

    for name in room.__all__:
        found = getattr(room, name)
        assert isinstance(found, dict) or found.__module__.startswith("bntheory.models.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        room.nothing  # noqa: B018


def test_models_load_without_torch_or_matplotlib() -> None:
    names = [
        "activations", "conditioning", "deep_linear", "fisher", "gradient_descent", "layer_jacobian",
        "matrix_factorisation", "mean_field", "mean_field_monte_carlo", "mean_field_quadrature",
        "mean_field_symbolic", "normalised_regressor", "smoothness_along", "tensor_train",
    ]  # fmt: skip
    code = "; ".join(f"import bntheory.models.{name}" for name in names)
    code += "; import bntheory.report.models.spectra, bntheory.claims.sources.yang2019, bntheory.claims.sources.karakida2019"
    code += "; import sys; print([m for m in ('torch', 'matplotlib', 'sympy', 'z3', 'flint') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
