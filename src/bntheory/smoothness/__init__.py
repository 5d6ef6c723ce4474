"""A scalar function and how smooth it is.

``protocol``        functions with gradient and Hessian product; ``autograd`` torch's, ``functions`` known ones
``restriction``     parts of other functions
``regions``, ``ascent``   where a supremum is taken, and how it is found
``constants``, ``two_lipschitz``   Lipschitz, derivative-Lipschitz and 2-Lipschitz
``affine_defect``   a constant that survives ReLU
``scale_free``      measures that no rescaling changes
``eigenpairs``      extreme eigenvalues of the Hessian at a point
``measure``         what a measure returns
:mod:`.unit` is the single normalised unit, for which everything is known exactly.

Nothing here knows of networks, claims or verdicts; a network becomes a landscape in :mod:`bntheory.bridge`.
"""

from bntheory.smoothness.affine_defect import affine_defect, affine_defect_exponent, averaged_second_difference
from bntheory.smoothness.autograd import TorchLandscape
from bntheory.smoothness.constants import derivative_lipschitz_constant, lipschitz_constant, steepest_secant
from bntheory.smoothness.eigenpairs import Eigenpair, dense_hessian, extreme_eigenpairs
from bntheory.smoothness.measure import Cost, Measure, NumberKind
from bntheory.smoothness.protocol import Counted, FunctionLandscape, Landscape
from bntheory.smoothness.regions import Ball, Box, Everywhere, Region, Sphere, interval
from bntheory.smoothness.restriction import AffinePullback, Scaled, line, plane
from bntheory.smoothness.scale_free import (
    ScaleFree,
    gradient_cosine,
    linearity_error,
    relative_curvature,
    scale_free,
    spectral_ratio,
    trust_fraction,
)
from bntheory.smoothness.two_lipschitz import two_lipschitz, two_lipschitz_constant
from bntheory.smoothness.unit.losses import LOSSES, SeparableLoss, cosine_loss
from bntheory.smoothness.unit.phase import PhaseDiagram, phase_diagram
from bntheory.smoothness.unit.separable_loss import SeparableSpectrum
from bntheory.smoothness.unit.squared_loss import SquaredLossSpectrum, squared_loss_spectrum
from bntheory.smoothness.unit.study import SingleUnitStudy, single_unit_study
from bntheory.smoothness.unit.suprema import unit_suprema, whitened_suprema
from bntheory.smoothness.unit.unit import BatchNormUnit, FrozenUnit

__all__ = [
    "LOSSES",
    "AffinePullback",
    "Ball",
    "BatchNormUnit",
    "Box",
    "Cost",
    "Counted",
    "Eigenpair",
    "Everywhere",
    "FrozenUnit",
    "FunctionLandscape",
    "Landscape",
    "Measure",
    "NumberKind",
    "PhaseDiagram",
    "Region",
    "ScaleFree",
    "Scaled",
    "SeparableLoss",
    "SeparableSpectrum",
    "SingleUnitStudy",
    "Sphere",
    "SquaredLossSpectrum",
    "TorchLandscape",
    "affine_defect",
    "affine_defect_exponent",
    "averaged_second_difference",
    "cosine_loss",
    "dense_hessian",
    "derivative_lipschitz_constant",
    "extreme_eigenpairs",
    "gradient_cosine",
    "interval",
    "line",
    "linearity_error",
    "lipschitz_constant",
    "phase_diagram",
    "plane",
    "relative_curvature",
    "scale_free",
    "single_unit_study",
    "spectral_ratio",
    "squared_loss_spectrum",
    "steepest_secant",
    "trust_fraction",
    "two_lipschitz",
    "two_lipschitz_constant",
    "unit_suprema",
    "whitened_suprema",
]
