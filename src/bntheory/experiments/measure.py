"""What is measured on an arm at one step, by name. Every measurement leaves the network bit for bit as it was.

The measurements themselves are in :mod:`bntheory.experiments.measures`, a file each by meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bntheory.errors import UserError
from bntheory.experiments.experiment import Measure
from bntheory.experiments.measures.activations import percentiles
from bntheory.experiments.measures.classification import accuracies, classification
from bntheory.experiments.measures.flat_regions import affine_defect, saturation
from bntheory.experiments.measures.input_robustness import input_robustness
from bntheory.experiments.measures.landscape import twin_walk, walk
from bntheory.experiments.measures.layers_alone import layers_alone
from bntheory.experiments.measures.linearity import linearity
from bntheory.experiments.measures.mean_directions import mean_overlap
from bntheory.experiments.measures.sharpness import progress, sharpness
from bntheory.experiments.measures.shift import shift, step_shift
from bntheory.experiments.measures.situation import Json, Options, Situation
from bntheory.experiments.measures.spectrum import frozen_outliers, hessian_trace, outliers
from bntheory.experiments.measures.theory import theory
from bntheory.experiments.own import is_own, own_values


def measure(situation: Situation, asked: Measure) -> Json:
    """The values of one measure, JSON-ready. Raises UserError for a name that no measure has."""
    if is_own(asked.name):
        return own_values(asked.name, situation, asked.options)
    if asked.name not in MEASURES:
        raise UserError(
            f"measure: {asked.name!r} is unknown; choose among {', '.join(MEASURES)}, or name your own as FILE.py:function"
        )
    return MEASURES[asked.name](situation, asked.options)


#: Each gives a part of what a point of a run is known by; together they are merged into one mapping.
MEASURES: Mapping[str, Callable[[Situation, Options], Json]] = {
    "accuracy": accuracies,
    "shift": shift,
    "theory": theory,
    "classification": classification,
    "walk": walk,
    "twin-walk": twin_walk,
    "step-shift": step_shift,
    "linearity": linearity,
    "outliers": outliers,
    "frozen-outliers": frozen_outliers,
    "trace": hessian_trace,
    "percentiles": percentiles,
    "layers-alone": layers_alone,
    "sharpness": sharpness,
    "progress": progress,
    "mean-overlap": mean_overlap,
    "input-robustness": input_robustness,
    "affine-defect": affine_defect,
    "saturation": saturation,
}
