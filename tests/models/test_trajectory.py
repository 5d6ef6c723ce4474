"""Which steps are recorded. The oracle is the specification: first and last step always, no step twice, in
order."""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.models.checks import positive
from bntheory.models.trajectory import Recorder, recording_steps


@pytest.mark.parametrize("total", [1, 2, 7, 1000])
@pytest.mark.parametrize("points", [2, 3, 64, None])
def test_first_and_last_step_are_always_recorded(total, points):
    steps = recording_steps(total, points)
    assert steps[0] == 0
    assert steps[-1] == total
    assert np.all(np.diff(steps) > 0)
    assert points is None or len(steps) <= points


def test_recorder_puts_values_at_their_steps():
    recorder = Recorder(recording_steps(3, None))
    for t in range(4):
        recorder.store(t, square=np.array([t**2, -(t**2)]))
    run = recorder.result({"w": np.zeros(2)}, 3)
    np.testing.assert_array_equal(run["square"], [[0, 1, 4, 9], [0, -1, -4, -9]])
    np.testing.assert_array_equal(run.last("square"), [9, -9])
    with pytest.raises(KeyError, match="recorded: \\['square'\\]"):
        run["cube"]


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, []])
def test_positive_says_which_argument(bad):
    with pytest.raises(ValueError, match="lr must be positive"):
        positive(bad, "lr")


def test_bad_counts():
    with pytest.raises(ValueError, match="steps"):
        recording_steps(0)
    with pytest.raises(ValueError, match="points"):
        recording_steps(5, 1)
