"""What models refuse: a number that would give nan, an empty run or a traceback of numpy's is named instead."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from typing import Any, Protocol

import numpy as np
import pytest

import bntheory.models
from bntheory.errors import UserError
from bntheory.models.adamw import adamw_rotation, predicted_angle
from bntheory.models.checks import at_least
from bntheory.models.edge_of_stability import bursts, projected_angle, sharpening_run
from bntheory.models.fisher import RandomNetwork
from bntheory.models.ignored_statistics import network_run
from bntheory.models.scale_invariant import CircleOfMinima, RayleighPower
from bntheory.models.slope import Slope, slope_descent
from bntheory.models.spherical_sharpness import edge_run
from bntheory.models.weight_decay import norm_recursion, simulate_equilibrium, steps_to_equilibrium

REFUSED = {
    "text for a size": (lambda: at_least(1, depth="x"), "depth='x'"),
    "no size": (lambda: at_least(1, depth=None), "depth=None"),
    "nan layers": (lambda: at_least(1, depth=math.nan), "depth=nan"),
    "half a layer": (lambda: at_least(1, depth=1.5), "depth=1.5"),
    "infinite width": (
        lambda: RandomNetwork.draw(np.random.default_rng(0), samples=5, input_dimension=2, width=math.inf),
        "width=inf: must be a whole number",
    ),
    "minus one step of the norm": (lambda: norm_recursion(1.0, 0.1, 0.1, 1.0, -1), "steps=-1"),
    "minus one step on the slope": (lambda: slope_descent(Slope(), 0.1, steps=-1), "steps=-1"),
    "infinite norm": (lambda: norm_recursion(math.inf, 0.1, 0.1, 1.0, 3), "norm0=inf: must be a finite number"),
    "negative norm": (lambda: steps_to_equilibrium(-1.0, 0.1, 0.1), "norm0 must be positive and finite"),
    "negative rate": (lambda: predicted_angle(-1.0, 0.1, 0.5), "need lr, decay > 0"),
    "nan rate": (lambda: predicted_angle(math.nan, 0.1, 0.5), "lr=nan: must be a finite number"),
    "no relaxation": (lambda: adamw_rotation(relaxations=0), "relaxations=0: must be a whole number of at least 1"),
    "no step of noise": (lambda: simulate_equilibrium(dimension=3, lr=0.1, decay=0.1, steps=0), "steps=0: must be"),
    "no batch": (lambda: network_run(batch=0, steps=2), "batch=0: must be"),
    "minus one step of a network": (lambda: network_run(steps=-1), "steps=-1: must be"),
    "no width": (lambda: network_run(width=0, steps=2), "width=0: must be"),
    "no decay": (lambda: edge_run(CircleOfMinima(), np.array([1.0, 0.0, 0.0]), 0.1, 0.0), "decay must be positive"),
    "no rate at the edge": (
        lambda: edge_run(CircleOfMinima(), np.array([1.0, 0.0, 0.0]), 0.0, 0.1),
        "lr must be positive",
    ),
    "no rate of sharpening": (lambda: sharpening_run(lr=0.0), "lr must be positive"),
    "no losses": (lambda: bursts(np.array([])), "values"),
    "one loss that is no series": (lambda: bursts(np.array(3.0)), "values"),
    "no rate on the circle": (lambda: projected_angle(1.0, 0.5, 0.5, 0.0, np.array([0.0, 1.0])), "lr must be positive"),
    "no norm on the circle": (
        lambda: projected_angle(0.0, 0.5, 0.5, 0.1, np.array([0.0, 1.0])),
        "norm0 must be positive",
    ),
    "a circle that is no minimum": (lambda: projected_angle(1.0, 3.0, 2.0, 0.1, np.array([0.0, 1.0])), "-1 < tilt < 1"),
    "no times": (lambda: projected_angle(1.0, 0.5, 0.5, 0.1, np.array([])), "times"),
    "falling times": (lambda: projected_angle(1.0, 0.5, 0.5, 0.1, np.array([1.0, 0.0])), "in increasing order"),
    "infinite power": (lambda: RayleighPower((0.0, 1.0), math.inf), "power=inf: must be a finite number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_model_can_use_is_named(name: str) -> None:
    call, said = REFUSED[name]
    with pytest.raises(ValueError, match=said):
        call()


def test_numbers_of_numpy_are_sizes() -> None:
    at_least(2, width=np.int64(2), depth=np.uint8(3))


_PLACEHOLDERS = {
    "int": 3,
    "float": 0.5,
    "ArrayLike": [1.0, 2.0],
    "Floats": [1.0, 2.0],
    "tuple[float, ...]": (0.5, 1.0),
    "Sequence[int]": (3,),
    "bool": True,
    "tuple[int, int]": (3, 3),
}
_WRONG = {
    "int": ("3", None, 1.5, math.inf),
    "float": ("1.0", None, math.nan, math.inf, [1.0, 2.0]),
    "ArrayLike": ("x", None, [1.0, "x"]),
}
_WRONG["bool"] = ("no", None, 0.5)
_WRONG |= {
    "Floats": _WRONG["ArrayLike"],
    "tuple[float, ...]": _WRONG["ArrayLike"],
    "Sequence[int]": (3, (1.5,)),
    "tuple[int, int]": ((3,), (3, 1.5)),
}


def _made_by_people() -> list[tuple[str, Any]]:
    """Every public function of the room, and every class whose objects people make; those of results are made by functions."""
    found: list[tuple[str, Any]] = []
    for entry in pkgutil.iter_modules(bntheory.models.__path__):
        module = importlib.import_module(f"bntheory.models.{entry.name}")
        own = {n: o for n, o in vars(module).items() if getattr(o, "__module__", "") == module.__name__ and n[0] != "_"}
        returned = {str(inspect.signature(o).return_annotation) for o in own.values() if inspect.isfunction(o)}
        returned |= {"DepthProfile", "MonteCarloRate", "Outcome", "Pass", "RandomNetwork", "Trajectories"}
        own |= {f"{n}.{k}": m for n, o in own.items() for k, m in inspect.getmembers(o, inspect.ismethod)}
        found += [
            (f"{entry.name}.{name}", o)
            for name, o in own.items()
            if entry.name != "checks"
            and (
                not inspect.isclass(o)
                or (name not in returned and not inspect.isabstract(o) and o.__mro__[1] is not Protocol)
            )
        ]
    return found


@pytest.mark.parametrize(("name", "made"), _made_by_people())
def test_every_number_that_is_none_is_refused_by_its_name(name: str, made: Any) -> None:
    """With everything else as its annotation says, so that nothing but the check can refuse it."""
    parameters = inspect.signature(made).parameters
    fine = {
        p.name: _PLACEHOLDERS.get(str(p.annotation).removesuffix(" | None"))
        for p in parameters.values()
        if p.default is p.empty
    }
    for p in parameters.values():
        kind = str(p.annotation)
        for wrong in _WRONG.get(kind.removesuffix(" | None"), ()):
            if (wrong is None and kind.endswith("| None")) or (
                wrong == math.inf and (name, p.name) in _MAY_BE_INFINITE
            ):
                continue
            with pytest.raises(UserError, match=f"^{p.name}="):
                made(**{**fine, p.name: wrong})


_MAY_BE_INFINITE = {("gradient_descent.train", "bound"), ("layer_jacobian.quarter_circle_share", "factor")}
