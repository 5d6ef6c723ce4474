"""More of the Hessian's spectrum than its ends: the outliers and what of the gradient lies in them, and the trace."""

from __future__ import annotations

from bntheory.bridge.curvature import gradient_share, top_eigenvalues, trace
from bntheory.bridge.objective import Mode
from bntheory.experiments.measures.situation import Json, Options, Situation, recorded_hessian


def outliers(at: Situation, options: Options) -> Json:
    """The largest eigenvalue in training mode, the count-th largest, and the gradient's share in the eigenvectors of
    the first ``count``.

    options: batch_size, count, tolerance, max_products.
    """
    return {"outliers": _outliers(at, "train", options)}


def frozen_outliers(at: Situation, options: Options) -> Json:
    """The same with every mean and variance of batch norm replaced by the constant that it has on this batch."""
    return {"frozen_outliers": _outliers(at, "frozen", options)}


def _outliers(at: Situation, mode: Mode, options: Options) -> Json:
    with recorded_hessian(at.model, at.loss, at.batch(options["batch_size"]), mode=mode) as operator:
        found = top_eigenvalues(operator, options["count"], **at.search(options))
        return {
            "loss": operator.loss,
            "first": float(found.values[0]),
            "last": float(found.values[-1]),
            "share": gradient_share(operator, found).share,
            "converged": found.converged,
        }


def hessian_trace(at: Situation, options: Options) -> Json:
    """The trace in training mode with the standard error of its estimate. options: batch_size, samples (random
    vectors)."""
    with recorded_hessian(at.model, at.loss, at.batch(options["batch_size"]), mode="train") as operator:
        found = trace(operator, options["samples"], seed=at.task.seed)
        return {"trace": {"loss": operator.loss, "value": found.value, "error": found.error}}
