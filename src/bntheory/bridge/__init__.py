"""Real networks seen through the vocabulary of the theory.

A network as a function
    ``objective``    the one front door: a model, a loss and data, evaluated as asked for and checked to be so
    ``arguments``    arguments of a wrong type, refused by name
    ``fences``, ``modes``   torch's settings around an evaluation, and the mode of every layer in it
    ``measured``     the tensors that are measured: the model's own, or stand-ins in another precision
    ``examination``, ``repeatability``, ``custom_functions``   what is checked before a number is returned; ``examined``   of what
    ``explanation``, ``raised``   what a user's code or torch raised, told by step, layer and line
    ``graph``        what the graph of a value holds, and the bytes that it keeps
    ``draws``        random directions, the same on every device; ``ranges`` norms of what is very small or large
Its normalisations
    ``normalisers``  the one list of them, found by running the network; ``left_out`` why one is not measured
    ``functional_calls``, ``formulas``   calls of torch's own normalisations, and the same in primitive operations
    ``batch_statistics``   a user's code that normalises over the batch by none of the closed forms
    ``units``        the axes that a normalisation is taken over, and its affine map
    ``freezing``, ``constant_statistics``   statistics held constant, and those of a layer written by hand
    ``live_statistics``, ``rescaled_losses``   whether a twin, or its loss, still normalises
Rooms
    :mod:`.networks` builds and trains, :mod:`.probes` measures at a point, :mod:`.curvature` has second derivatives, :mod:`.monitor` follows
    somebody's training.

What does not live here: any claim or verdict. torch is imported at the top, so nothing that must start fast imports this room.
"""

from bntheory.bridge.monitor import Monitor
from bntheory.bridge.networks.data import DATASETS, ImageData, batch_at, batch_indices, load_dataset, synthetic_data
from bntheory.bridge.networks.evaluation import evaluate, loss_and_gradients
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.noise import ActivationNoise, set_noise_step
from bntheory.bridge.networks.normalisation import (
    LpBatchNorm,
    PrimitiveBatchNorm,
    PrimitiveGroupNorm,
    PrimitiveLayerNorm,
)
from bntheory.bridge.networks.primitive import to_primitive
from bntheory.bridge.networks.reparametrised import reparametrised
from bntheory.bridge.networks.state import state_fingerprint, state_guard
from bntheory.bridge.networks.training import SGDConfig, StepRecord, Trainer, reproducible
from bntheory.bridge.networks.twins import batch_norm_layers, frozen_twin, rescaled_loss
from bntheory.bridge.objective import Objective
from bntheory.bridge.probes.activation_moments import ActivationMoments, activation_moments
from bntheory.bridge.probes.along_gradient import AlongGradient, along_gradient
from bntheory.bridge.probes.capture import Capture, capture
from bntheory.bridge.probes.captured import CapturedLayer, Residual
from bntheory.bridge.probes.covariate_shift import LayerShift, covariate_shift, weight_layers
from bntheory.bridge.probes.network_landscape import NetworkLandscape
from bntheory.bridge.probes.probe import Probe, probe

__all__ = [
    "DATASETS",
    "ActivationMoments",
    "ActivationNoise",
    "AlongGradient",
    "Capture",
    "CapturedLayer",
    "ImageData",
    "LayerShift",
    "LpBatchNorm",
    "Monitor",
    "NetworkLandscape",
    "NetworkSpec",
    "Objective",
    "PrimitiveBatchNorm",
    "PrimitiveGroupNorm",
    "PrimitiveLayerNorm",
    "Probe",
    "Residual",
    "SGDConfig",
    "StepRecord",
    "Trainer",
    "activation_moments",
    "along_gradient",
    "batch_at",
    "batch_indices",
    "batch_norm_layers",
    "build_network",
    "capture",
    "covariate_shift",
    "evaluate",
    "frozen_twin",
    "load_dataset",
    "loss_and_gradients",
    "probe",
    "reparametrised",
    "reproducible",
    "rescaled_loss",
    "set_noise_step",
    "state_fingerprint",
    "state_guard",
    "synthetic_data",
    "to_primitive",
    "weight_layers",
]
