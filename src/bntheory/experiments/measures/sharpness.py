"""The largest Hessian eigenvalue at a point of training, of the network itself and of its twins; and the loss alone,
for many steps.

A twin is the network with statistics of the measured batch as constants: both of them, or one, so that the other is the
only one whose dependence on the activations is alive. All have one loss and one gradient with respect to what follows
the layers; what differs is the derivative through the statistics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bntheory.bridge.curvature import top_eigenvalues
from bntheory.errors import UserError
from bntheory.experiments.measures.situation import Json, Options, Situation, number, recorded_hessian

#: How a network is evaluated whose sharpness is asked for, by name.
OF: Mapping[str, Mapping[str, Any]] = {
    "own": {"mode": "train"},
    "twin": {"mode": "frozen", "freeze": "both"},
    "mean-alive": {"mode": "frozen", "freeze": "variance"},
    "variance-alive": {"mode": "frozen", "freeze": "mean"},
}


def sharpness(at: Situation, options: Options) -> Json:
    """By name of :data:`OF`, as ``options["of"]`` lists them: loss, gradient norm, largest eigenvalue with its error.

    options: batch_size of the measured batch; tolerance and max_products of each eigenvalue, which starts at the vector
    of the one before it and as much of a random one. ``top`` is None where the operator refuses, and ``refused`` says
    why.
    """
    unknown = set(options["of"]) - set(OF)
    if unknown:
        raise UserError(f"sharpness: {sorted(unknown)[0]!r} is unknown; choose among {', '.join(OF)}")
    batch, found, start = at.batch(options["batch_size"]), Json(), None
    for name in options["of"]:
        found[name], start = _top(at, batch, OF[name], start, options)
    return {"sharpness": found}


def _top(
    at: Situation, batch: Any, how: Mapping[str, Any], start: Tensor | None, options: Options
) -> tuple[Json, Tensor | None]:
    try:
        with recorded_hessian(at.model, at.loss, batch, **how) as operator:
            spectrum = top_eigenvalues(operator, start=start, **at.search(options))
            loss, norm = float(operator.loss), float(operator.gradient.norm())
    except ValueError as error:
        none = dict.fromkeys(("loss", "gradient_norm", "top", "top_error", "converged"))
        return {**none, "refused": str(error)}, start
    values = {
        "loss": loss,
        "gradient_norm": norm,
        "top": spectrum.top,
        "top_error": float(spectrum.errors[0]),
        "converged": spectrum.converged,
        "refused": None,
    }
    return values, spectrum.vectors[:, 0]


def progress(at: Situation, options: Options) -> Json:
    """Loss and gradient norm on the measured batch in training mode: what costs little more than a step of training.

    options: batch_size, of the first so many measured images.
    """
    loss, norm = at.loss_and_gradient_norm(at.batch(options["batch_size"]))
    return {"progress": {"loss": number(loss), "gradient_norm": number(norm)}}
