"""Internal covariate shift (Santurkar et al. 2018, definition 2.1) of the regressors, stage by stage.

For stage i, ``G`` is the gradient with respect to its weights at x, and ``G'`` the same after all earlier stages have
taken their step of gradient descent, on the same batch. The shift is ``||G - G'||``, and the cosine of the two says
how far the direction turned. To first order in the learning rate it is the Hessian's block between stage i and the
earlier ones times their gradient, so it is proportional to the learning rate; the first stage has none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.models.normalised_regressor import NormalisedRegressor


@dataclass(frozen=True)
class CovariateShift:
    """One entry a stage that has weights of its own, in order."""

    names: tuple[str, ...]
    distances: Floats  # ||G - G'||, in units of the gradient
    cosines: Floats  # of G and G'; 1 where nothing moved
    gradient_norms: Floats  # ||G||


@checked()
def covariate_shift(model: NormalisedRegressor, x: Floats, learning_rate: float) -> CovariateShift:
    """Shift of every stage at the point ``x`` for one step; gamma and beta move with the stage that they follow.

    One gradient a stage. Raises ValueError for a learning rate that is not positive and where a gradient vanishes.
    """
    if not learning_rate > 0:
        raise UserError(f"learning_rate={learning_rate}: must be positive")
    here = model.unflatten(x)
    gradient = model.unflatten(model.value_and_grad(x)[1])
    moved = {name: here[name] - learning_rate * gradient[name] for name in here}
    names = tuple(sorted(model.weight_shapes(), key=model.stage_of))
    distances, cosines, norms = [], [], []
    for name in names:
        before = {k for k in here if model.stage_of(k) < model.stage_of(name)}
        mixed = model.flatten({k: moved[k] if k in before else here[k] for k in here})
        after = model.unflatten(model.value_and_grad(mixed)[1])[name].ravel()
        own = gradient[name].ravel()
        sizes = float(np.linalg.norm(own)), float(np.linalg.norm(after))
        if min(sizes) == 0:
            raise UserError(f"x: the gradient of {name} is zero there, so it has no direction to turn from")
        distances.append(float(np.linalg.norm(own - after)))
        cosines.append(float(own @ after) / (sizes[0] * sizes[1]) if before else 1.0)
        norms.append(sizes[0])
    return CovariateShift(names, np.array(distances), np.array(cosines), np.array(norms))
