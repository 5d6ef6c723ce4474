"""What is measured at a step, by name. Every measure evaluates the model by itself on the given batch, and reads nothing off the training."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bntheory.bridge.curvature import Spectrum, hessian, top_eigenvalues
from bntheory.bridge.curvature.accumulation import norm
from bntheory.bridge.freezing import Freeze
from bntheory.bridge.monitor.optimiser import StepSize
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.objective import Objective
from bntheory.bridge.probes.along_gradient import along_gradient
from bntheory.bridge.probes.covariate_shift import covariate_shift
from bntheory.bridge.probes.layer_split import layer_splits
from bntheory.bridge.ranges import root_of_squares
from bntheory.errors import UserError
from bntheory.evidence.record import plain

Json = dict[str, Any]

#: Names of the twins in records: what is left alive of the statistics, and what is frozen.
TWINS: Mapping[str, Freeze] = {"twin": "both", "mean-alive": "variance", "variance-alive": "mean"}
# Multiples of the learning rate, from half a step to four (Santurkar et al. 2018).
_MULTIPLES = (0.5, 1.0, 2.0, 4.0)
_PRODUCTS = 200
_FEWEST = 6
_REFUSED = dict.fromkeys(("loss", "gradient_norm", "top", "top_error", "converged", "products"))
# Vectors of the eigenvalue solver: enough for most solves, few enough for networks of 10^7 parameters.
_BASIS = 32


@dataclass
class Situation:
    """A model at one step, and what earlier steps have left for it.

    spectra: of the last solves, from which the next ones start; replaced by theirs. seconds: that may be spent.
    missing: what could not be had and why, filled by the measure.
    """

    objective: Objective
    step_size: StepSize | None
    spectra: dict[str, Spectrum] = field(default_factory=dict)
    tolerance: float = 1e-2
    seconds: float = math.inf
    missing: dict[str, str] = field(default_factory=dict)
    strict: bool = False

    @property
    def rate(self) -> float:
        """The learning rate. Raises ValueError where none is known."""
        if self.step_size is None:
            raise UserError(
                "no learning rate is known: give optimizer=, or follow one with monitor.following(optimizer)"
            )
        if not 0 < self.step_size.rate < math.inf:
            raise UserError(f"the learning rate is {self.step_size.rate} at this step: there is no step to look along")
        return self.step_size.rate


def _loss(at: Situation) -> Json:
    """Loss and norm of its gradient by all trainable parameters."""
    value, gradients = at.objective.loss_and_gradients()
    return {"loss": float(value), "gradient_norm": root_of_squares([norm(g.reshape(-1)) for g in gradients])}


def _split(at: Situation) -> Json:
    """Per normalisation layer: the shares of the scaled gradient that it takes off, and m, against which share * m = 1 is chance."""
    layers, left_out = layer_splits(at.objective)
    at.missing.update(left_out)
    if not layers:
        raise UserError("no normalisation layer could be measured")
    columns = ("name", "kind", "m", "units", "scaling", "share_mean", "share_y_hat", "left", "residual", "tolerance")
    return {"layers": {key: [getattr(layer, key) for layer in layers] for key in columns}}


def _sharpness(at: Situation, of: Sequence[str]) -> Json:
    """The largest Hessian eigenvalue of the network (own) and of its twins, each with its error."""
    began = time.perf_counter()
    found: dict[str, Json] = {}
    for number, name in enumerate(of):
        left = at.seconds - (time.perf_counter() - began)
        try:
            found[name] = _top(at, name, left / (len(of) - number))
        except (ValueError, RuntimeError) as error:
            if at.strict:
                raise
            at.missing[name] = reason(error)
            found[name] = {**_REFUSED, "refused": at.missing[name]}
    if len(at.missing) == len(of):
        raise UserError("; ".join(dict.fromkeys(at.missing[name] for name in of)))
    return {"sharpness": found}


def _top(at: Situation, name: str, seconds: float) -> Json:
    began = time.perf_counter()
    objective = at.objective if name == "own" else at.objective.twin(TWINS[name])
    with hessian(objective) as operator:
        # building takes one forward and one backward pass, about what a product does
        took = time.perf_counter() - began
        most = _PRODUCTS if math.isinf(seconds) else int(max(seconds - took, 0) / took)
        known = at.spectra.pop(name, None)
        if known is not None and known.vectors.shape[0] != operator.size:
            known = None  # another set of parameters is trained than before
        spectrum = top_eigenvalues(
            operator,
            tol=at.tolerance,
            start=known,
            max_products=min(_PRODUCTS, max(_FEWEST, most)),
            max_basis=_BASIS,
            stop="estimate",
        )
        at.spectra[name] = spectrum
        return {
            "loss": operator.loss,
            "gradient_norm": norm(operator.gradient),
            "top": spectrum.top,
            "top_error": float(spectrum.errors[0]),
            "converged": spectrum.converged,
            "refused": None,
            "products": spectrum.products,
        }


def _along(at: Situation) -> Json:
    """Santurkar's three measures along the gradient, at multiples of the learning rate."""
    return along_gradient(at.objective, step_sizes=[at.rate * s for s in _MULTIPLES]).as_json(_MULTIPLES)


def _shift(at: Situation) -> Json:
    """Internal covariate shift of every weight layer (Definition 2.1 of Santurkar et al.), for a plain gradient step of the learning rate."""
    found = covariate_shift(at.objective, learning_rate=at.rate)
    return {
        "shift": {
            "layers": [s.layer for s in found],
            "l2": [s.l2 for s in found],
            "relative": [s.relative for s in found],
            "cosine": [s.cosine for s in found],
        }
    }


Measure = Callable[[Situation], Json]
MEASURES: Mapping[str, Measure] = {
    "loss": _loss,
    "split": _split,
    "sharpness": partial(_sharpness, of=("own", "twin")),
    "partial-twins": partial(_sharpness, of=("mean-alive", "variance-alive")),
    "along-gradient": _along,
    "covariate-shift": _shift,
}
DEFAULT = ("loss", "split", "sharpness")
#: What a measure costs before it was ever made, in training steps: as seen on a ResNet-18 of full width.
GUESSES: Mapping[str, float] = {
    "loss": 3, "split": 3, "sharpness": 60, "partial-twins": 70, "along-gradient": 12, "covariate-shift": 40,
}  # fmt: skip


def of_user(function: Callable[[Objective], Any], name: str, columns: dict[str, str]) -> Measure:
    """A user's own function of the objective as a measure: its number, or its mapping of numbers.

    columns: the names that are taken, and by which measure; they are shared by all measures of a monitor.
    """

    def values(at: Situation) -> Json:
        objective = at.objective
        with state_guard(objective.network):
            found = function(objective)
        numbers: Json = plain(found if isinstance(found, Mapping) else {name: found})
        for key, value in numbers.items():
            if columns.setdefault(key, name) != name:
                raise UserError(f"{name} returns {key!r}, which is a column of {columns[key]}; give it another name")
            if value is not None and not isinstance(value, (int, float)):
                raise UserError(f"{name} returns a {type(value).__name__} for {key!r}; it has to be a number")
        return numbers

    return values


def measured(name: str, measure: Measure, at: Situation) -> Json:
    """What a measure gives at a step, JSON-ready: null for what is not finite or could not be had, and the reason under "missing"."""
    try:
        values = measure(at)
    except Exception as error:
        if at.strict:
            raise
        values = {}
        at.missing[name] = reason(error)
    known = at.step_size
    values["learning_rate"] = None if known is None else known.rate
    values["edge"] = None if known is None else known.edge
    values["missing"] = dict(at.missing)
    found: Json = plain(values)
    return found


def reason(error: BaseException) -> str:
    """An error in a line."""
    text = str(error).splitlines()[0] if str(error) else ""
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
