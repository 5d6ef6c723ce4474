"""Real networks seen through the vocabulary of the theory.

What lives here: data, networks and their training, capture of normalisation layers, curvature that is safe
for batch norm, twins and controls, covariate shift, the measures along the gradient. What does not: any
claim or verdict. torch is imported at the top here, so nothing that must start fast imports this room.
"""

from bntheory.bridge.capture import Capture, capture
from bntheory.bridge.captured import CapturedLayer, Residual
from bntheory.bridge.state import state_fingerprint, state_guard

__all__ = [
    "Capture",
    "CapturedLayer",
    "Residual",
    "capture",
    "state_fingerprint",
    "state_guard",
]
