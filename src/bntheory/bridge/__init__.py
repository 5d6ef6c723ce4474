"""Real networks seen through the vocabulary of the theory.

What lives here: data, networks and their training, capture of normalisation layers, curvature that is safe
for batch norm, twins and controls, covariate shift, the measures along the gradient. What does not: any
claim or verdict. torch is imported at the top here, so nothing that must start fast imports this room.
"""

from bntheory.bridge.activation_moments import (
    ActivationMoments,
    MomentShift,
    activation_moments,
    moment_shift,
)
from bntheory.bridge.along_gradient import AlongGradient, along_gradient
from bntheory.bridge.capture import Capture, capture
from bntheory.bridge.captured import CapturedLayer, Residual
from bntheory.bridge.covariate_shift import LayerShift, covariate_shift, weight_layers
from bntheory.bridge.data import (
    DATASETS,
    ImageData,
    batch_at,
    batch_indices,
    batches,
    load_dataset,
    synthetic_data,
)
from bntheory.bridge.evaluation import evaluate, loss_and_gradients
from bntheory.bridge.network_landscape import NetworkLandscape
from bntheory.bridge.networks import NetworkSpec, build_network, common_parameters
from bntheory.bridge.noise import ActivationNoise, set_noise_step
from bntheory.bridge.normalisation import (
    LpBatchNorm,
    PrimitiveBatchNorm,
    PrimitiveGroupNorm,
    PrimitiveLayerNorm,
)
from bntheory.bridge.primitive import to_primitive
from bntheory.bridge.reparametrised import reparametrised
from bntheory.bridge.state import state_fingerprint, state_guard
from bntheory.bridge.training import SGDConfig, StepRecord, Trainer, reproducible
from bntheory.bridge.twins import (
    FrozenBatchNorm,
    LayerStatistics,
    batch_norm_layers,
    batch_statistics,
    frozen_statistics,
    frozen_twin,
    rescaled_loss,
)

__all__ = [
    "DATASETS",
    "ActivationMoments",
    "ActivationNoise",
    "AlongGradient",
    "Capture",
    "CapturedLayer",
    "FrozenBatchNorm",
    "ImageData",
    "LayerShift",
    "LayerStatistics",
    "LpBatchNorm",
    "MomentShift",
    "NetworkLandscape",
    "NetworkSpec",
    "PrimitiveBatchNorm",
    "PrimitiveGroupNorm",
    "PrimitiveLayerNorm",
    "Residual",
    "SGDConfig",
    "StepRecord",
    "Trainer",
    "activation_moments",
    "along_gradient",
    "batch_at",
    "batch_indices",
    "batch_norm_layers",
    "batch_statistics",
    "batches",
    "build_network",
    "capture",
    "common_parameters",
    "covariate_shift",
    "evaluate",
    "frozen_statistics",
    "frozen_twin",
    "load_dataset",
    "loss_and_gradients",
    "moment_shift",
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
