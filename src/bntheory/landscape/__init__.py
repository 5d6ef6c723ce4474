"""A scalar function and how smooth it is.

Here live the protocol value/grad/hvp, the measures of smoothness (Lipschitz, derivative-Lipschitz, 2-Lipschitz, affine defect),
the scale-free measures that no rescaling changes, restrictions, and the single normalised unit, for which everything is known
exactly. Nothing here knows of networks, claims or verdicts; a network becomes a landscape in :mod:`bntheory.bridge`.
"""

from bntheory.landscape.affine_defect import (
    affine_defect,
    affine_defect_exponent,
    averaged_second_difference,
    largest_second_difference,
)
from bntheory.landscape.along_gradient import AlongGradient, along_gradient
from bntheory.landscape.autograd import TorchLandscape
from bntheory.landscape.constants import (
    derivative_lipschitz_constant,
    hessian_lipschitz_along,
    lipschitz_constant,
    local_derivative_lipschitz,
    steepest_secant,
)
from bntheory.landscape.curvature import Eigenpair, dense_hessian, extreme_eigenpairs
from bntheory.landscape.losses import LOSSES, SeparableLoss, cosine_loss
from bntheory.landscape.measure import Cost, Measure, NumberKind
from bntheory.landscape.phase import PhaseDiagram, phase_diagram
from bntheory.landscape.protocol import Counted, FunctionLandscape, Landscape, symmetry_defect
from bntheory.landscape.regions import Ball, Box, Everywhere, Region, Sphere, interval
from bntheory.landscape.restriction import AffinePullback, OnSphere, Scaled, line, plane
from bntheory.landscape.scale_free import (
    ScaleFree,
    gradient_cosine,
    linearity_error,
    relative_curvature,
    scale_free,
    spectral_ratio,
    trust_fraction,
)
from bntheory.landscape.separable_spectrum import SeparableSpectrum
from bntheory.landscape.study import SingleUnitStudy, single_unit_study
from bntheory.landscape.two_lipschitz import two_lipschitz, two_lipschitz_constant
from bntheory.landscape.unit import BatchNormUnit, FrozenUnit, StandardUnit
from bntheory.landscape.unit_spectrum import SquaredLossSpectrum, squared_loss_spectrum
from bntheory.landscape.unit_suprema import unit_suprema, whitened_suprema

__all__ = [
    "LOSSES",
    "AffinePullback",
    "AlongGradient",
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
    "OnSphere",
    "PhaseDiagram",
    "Region",
    "ScaleFree",
    "Scaled",
    "SeparableLoss",
    "SeparableSpectrum",
    "SingleUnitStudy",
    "Sphere",
    "SquaredLossSpectrum",
    "StandardUnit",
    "TorchLandscape",
    "affine_defect",
    "affine_defect_exponent",
    "along_gradient",
    "averaged_second_difference",
    "cosine_loss",
    "dense_hessian",
    "derivative_lipschitz_constant",
    "extreme_eigenpairs",
    "gradient_cosine",
    "hessian_lipschitz_along",
    "interval",
    "largest_second_difference",
    "line",
    "linearity_error",
    "lipschitz_constant",
    "local_derivative_lipschitz",
    "phase_diagram",
    "plane",
    "relative_curvature",
    "scale_free",
    "single_unit_study",
    "spectral_ratio",
    "squared_loss_spectrum",
    "steepest_secant",
    "symmetry_defect",
    "trust_fraction",
    "two_lipschitz",
    "two_lipschitz_constant",
    "unit_suprema",
    "whitened_suprema",
]
