"""Curvature of a network's loss, right through batch normalisation.

What lives here: Hessian, Gauss-Newton and Fisher products by the derivative routes that were measured to be right,
and what is computed from products: extreme eigenvalues, trace, spectral density. What does not: any claim, and
measures that need no second derivative.

    with hessian(model, torch.nn.functional.cross_entropy, (inputs, targets)) as op:
        spectrum = top_eigenvalues(op, k=5)
"""

from bntheory.bridge.curvature.linear import FunctionOperator, SymmetricOperator, SymmetryProbe
from bntheory.bridge.curvature.memory import MemoryEstimate
from bntheory.bridge.curvature.operator import (
    CurvatureOperator,
    empirical_fisher,
    fisher,
    gauss_newton,
    hessian,
)
from bntheory.bridge.curvature.reference import primitive_normalisation
from bntheory.bridge.curvature.selection import Activation
from bntheory.bridge.curvature.spectrum import GradientShare, Spectrum, gradient_share, top_eigenvalues

__all__ = [
    "Activation",
    "CurvatureOperator",
    "FunctionOperator",
    "GradientShare",
    "MemoryEstimate",
    "Spectrum",
    "SymmetricOperator",
    "SymmetryProbe",
    "empirical_fisher",
    "fisher",
    "gauss_newton",
    "gradient_share",
    "hessian",
    "primitive_normalisation",
    "top_eigenvalues",
]
