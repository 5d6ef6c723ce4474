"""Curvature of a network's loss, right through batch normalisation.

    with hessian(model, torch.nn.functional.cross_entropy, (inputs, targets)) as op:
        spectrum = top_eigenvalues(op, k=5)

``operator``        Hessian, Gauss-Newton, Fisher and empirical Fisher; ``options`` and ``selection`` say of what, ``linear`` what they are
``products``        their products with vectors; ``routes`` the derivative routes that were measured to be right, ``rounding`` how exact
``closed_forms``, ``batch_norm``, ``convolution``   layers whose second backward pass is faster by a closed form
``preflight``, ``memory``   what is checked and foretold before a number is returned
``spectrum``        eigenvalues with error bars and the gradient's share; ``eigen_search``, ``low_rank_model``, ``mixed_precision``, ``carried``,
                    ``orthogonality``, ``rescaled`` and ``accumulation`` are how they are found
``trace``, ``density``   the trace and the spectral density; ``spherical`` curvature in the units of the weights
``doctor``          the state of this installation

What does not live here: any claim, and measures that need no second derivative.
"""

from bntheory.bridge.curvature.density import SpectralDensity, spectral_density
from bntheory.bridge.curvature.doctor import DoctorReport, doctor_report
from bntheory.bridge.curvature.linear import FunctionOperator, SymmetricOperator
from bntheory.bridge.curvature.memory import MemoryEstimate
from bntheory.bridge.curvature.operator import CurvatureOperator, empirical_fisher, fisher, gauss_newton, hessian
from bntheory.bridge.curvature.routes import Route, RouteTable, measure_routes
from bntheory.bridge.curvature.selection import Activation
from bntheory.bridge.curvature.spectrum import GradientShare, Spectrum, gradient_share, top_eigenvalues
from bntheory.bridge.curvature.spherical import NormScaledOperator, norm_scaled
from bntheory.bridge.curvature.trace import TraceEstimate, trace
from bntheory.bridge.formulas import primitive_normalisation

__all__ = [
    "Activation",
    "CurvatureOperator",
    "DoctorReport",
    "FunctionOperator",
    "GradientShare",
    "MemoryEstimate",
    "NormScaledOperator",
    "Route",
    "RouteTable",
    "SpectralDensity",
    "Spectrum",
    "SymmetricOperator",
    "TraceEstimate",
    "doctor_report",
    "empirical_fisher",
    "fisher",
    "gauss_newton",
    "gradient_share",
    "hessian",
    "measure_routes",
    "norm_scaled",
    "primitive_normalisation",
    "spectral_density",
    "top_eigenvalues",
    "trace",
]
