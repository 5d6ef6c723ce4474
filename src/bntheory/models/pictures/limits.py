"""Between which values each parameter of a picture may lie: the one place, for the command line and for Python.

The lower ends are where a model still means something (an interval needs three seeds, a direction two dimensions), the upper ones where
it is still computed in hours and within what a double holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bntheory.devices import check_device
from bntheory.errors import UserError
from bntheory.evidence.study import LARGEST_SEED

Limits = tuple[float, float]
#: Of every picture with a parameter of this name; where one differs, its name and a dot stand in front.
_LIMITS: dict[str, Limits] = {
    "batch": (2, 10**5),
    "batch_size": (4, 1024),
    "condition": (1.0, 1e8),
    "conditioning.samples": (16, 10**6),
    "decay": (0.0, 1.0),
    "deep-random.width": (16, 10**4),
    "depth": (2, 10**4),
    "dimension": (2, 10**4),
    "draws": (2, 10**6),
    "examples": (2, 10**4),
    "features": (2, 16),
    "gamma": (1e-6, 1e6),
    "height": (1e-3, 1e6),
    "ignored-statistics.lr": (1e-6, 1.0),
    "intrinsic_time": (6.0, 200.0),
    "largest_width": (128, 10**4),
    "layers": (2, 1000),
    "logistic.steps": (100, 10**7),
    "lr": (1e-6, 10.0),
    "m": (4, 1000),
    "momentum": (0.0, 0.999),
    "networks": (2, 10**4),
    "noise": (0.0, 10.0),
    "plateau": (1e-9, 1.0),
    "power": (1, 100),
    "product": (1e-4, 0.1),
    "projected-descent.lr": (0.08, 0.11),
    "projected-descent.product": (1e-4, 0.04),
    "pull": (1e-3, 1.0),
    "rank": (1, 1000),
    "runs": (2, 10**4),
    "samples": (8, 10**6),
    "seed": (0, LARGEST_SEED),
    "seeds": (3, 10**4),
    "slope.width": (1e-6, 0.9),
    "smoothing": (0.0, 100.0),
    "starts": (1, 10**4),
    "steps": (2, 10**7),
    "tilt": (-0.99, 0.99),
    "time": (1.0, 1000.0),
    "trials": (1, 1000),
    "width": (4, 10**4),
}


def limits_of(picture: str, parameter: str) -> Limits | None:
    """The least and the greatest value; None for what is no number, as a device."""
    return _LIMITS.get(f"{picture}.{parameter}", _LIMITS.get(parameter))


def check_parameters(picture: str, parameters: Mapping[str, Any]) -> None:
    """Raises UserError, naming the parameter as the command line does, for the first that is no number in its range, or no device."""
    for name, value in parameters.items():
        if name == "device" and value != "cpu":
            check_device(value)
        limits = limits_of(picture, name)
        if limits is None:
            continue
        low, high = limits
        try:
            inside = low <= value <= high
        except TypeError:
            inside = False
        if not inside:
            kind = "whole number" if isinstance(low, int) else "number"
            raise UserError(f"{picture}: --{name.replace('_', '-')} is {value}; give a {kind} from {low} to {high}")
