"""The figures of single trainings: labelled, with a sentence whose numbers are those of the claims' own functions."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bntheory.bridge import load_dataset
from bntheory.bridge.curvature import hessian, top_eigenvalues
from bntheory.claims.sources.cohen2021 import mlp
from bntheory.claims.sources.ioffe2015.training import network, unsteadiness
from bntheory.drawing import CaptionedFigure, as_png
from bntheory.experiments.experiment import Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.worker import follow
from bntheory.report.training_figures import _typical, percentiles_along_training, sharpness_along_training


def check_drawing(drawn: CaptionedFigure) -> None:
    assert not re.search(r"\b(nan|inf)\b", drawn.sentence)
    for axes in drawn.figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.lines
        for line in axes.lines:
            assert np.all(np.isfinite(np.asarray(line.get_ydata(), dtype=float)))
    assert as_png(drawn.figure).startswith(b"\x89PNG")


@pytest.mark.long
def test_sharpness_is_drawn_against_two_over_eta() -> None:
    drawn = sharpness_along_training(seed=3, images=40, steps=40)
    check_drawing(drawn)
    for axes, rate in zip(drawn.figure.axes, (0.1, 0.2), strict=True):
        curve, edge = axes.lines
        assert set(edge.get_ydata()) == {1.0}  # in units of 2/eta
        assert list(curve.get_xdata()) == sorted(curve.get_xdata())
        protocol = Protocol(40, (40,), 40, 40, loss="squared-error", dtype="float64", images=40, side=14)
        at = next(follow(Task(mlp("batch", rate), 3), [40], load_dataset(), "cpu", protocol))
        top = top_eigenvalues(hessian(at.model, at.loss, at.training_batch()), tol=1e-4).top
        assert curve.get_ydata()[-1] == pytest.approx(top * rate / 2, rel=2e-3)
        late = [y for x, y in zip(curve.get_xdata(), curve.get_ydata(), strict=True) if x > 20]
        assert f"{np.mean(late):.2f} at eta = {rate:g}" in drawn.sentence


@pytest.mark.long
def test_percentiles_of_the_typical_unit_are_drawn() -> None:
    drawn = percentiles_along_training(seed=3, steps=4, times=3)
    check_drawing(drawn)
    asked = Measure("percentiles", {"place": "hidden2.act", "test_size": 1000})
    for axes, norm in zip(drawn.figure.axes, ("none", "batch"), strict=True):
        along = follow(Task(network(norm), 3), [1, 2, 4], load_dataset(), "cpu", Protocol(4, (1, 2, 4), 60, 60))
        course = np.array([measure(at, asked)["percentiles"]["running"] for at in along])
        unit, wandering = _typical(course)
        assert list(axes.lines[0].get_xdata()) == [1, 2, 4]
        assert np.allclose(axes.lines[0].get_ydata(), course[:, 1, unit], rtol=1e-3)
        assert f"{wandering:.2f} with" in drawn.sentence
        # the median of an even number of units lies between the two in the middle
        assert wandering == pytest.approx(unsteadiness(course), rel=0.1)


def test_the_typical_unit_is_the_one_in_the_middle() -> None:
    base = np.tile(np.array([-1.0, 0.0, 1.0])[None, :, None], (3, 1, 5))
    moved = base + np.array([0.0, 1.0, 2.0])[:, None, None] * np.array([5.0, 1.0, 3.0, 2.0, 9.0])
    unit, wandering = _typical(moved)
    assert unit == 2
    assert wandering == pytest.approx(2 * 3 / 2)
