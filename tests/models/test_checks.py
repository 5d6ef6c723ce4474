"""What models refuse: a number that would give nan, an empty run or a traceback of numpy's is named instead."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.models.adamw import predicted_angle
from bntheory.models.checks import at_least
from bntheory.models.fisher import RandomNetwork
from bntheory.models.scale_invariant import RayleighPower
from bntheory.models.slope import Slope, slope_descent
from bntheory.models.weight_decay import norm_recursion, steps_to_equilibrium

REFUSED = {
    "text for a size": (lambda: at_least(1, depth="x"), "depth='x'"),
    "no size": (lambda: at_least(1, depth=None), "depth=None"),
    "nan layers": (lambda: at_least(1, depth=math.nan), "depth=nan"),
    "half a layer": (lambda: at_least(1, depth=1.5), "depth=1.5"),
    "infinite width": (
        lambda: RandomNetwork.draw(np.random.default_rng(0), samples=5, input_dimension=2, width=math.inf),
        "width=inf: must be a whole number of at least 3",
    ),
    "minus one step of the norm": (lambda: norm_recursion(1.0, 0.1, 0.1, 1.0, -1), "steps=-1"),
    "minus one step on the slope": (lambda: slope_descent(Slope(), 0.1, steps=-1), "steps=-1"),
    "infinite norm": (lambda: norm_recursion(math.inf, 0.1, 0.1, 1.0, 3), "norm0 must be positive and finite"),
    "negative norm": (lambda: steps_to_equilibrium(-1.0, 0.1, 0.1), "norm0 must be positive and finite"),
    "negative rate": (lambda: predicted_angle(-1.0, 0.1, 0.5), "need lr, decay > 0"),
    "nan rate": (lambda: predicted_angle(math.nan, 0.1, 0.5), "need lr, decay > 0"),
    "infinite power": (lambda: RayleighPower((0.0, 1.0), math.inf), "power must be 1 or at least 2 and finite"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_model_can_use_is_named(name: str) -> None:
    call, said = REFUSED[name]
    with pytest.raises(ValueError, match=said):
        call()


def test_numbers_of_numpy_are_sizes() -> None:
    at_least(2, width=np.int64(2), depth=np.uint8(3))
