"""Arguments of another type are refused by name in every public function of the bridge, before anything is done."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory import bridge
from bntheory.bridge import Monitor, activation_moments, capture, curvature, reparametrised
from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature import FunctionOperator, hessian, top_eigenvalues

CE = F.cross_entropy
X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


TRIPLE = (net(), CE, (X, Y))
#: Of every public function, arguments that it needs, and a wrong one.
WRONG: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "Objective": (bridge.Objective, {"model": net(), "loss": CE, "batch": (X, Y)}, {"dtype": "float64", "split": 2.5, "seed": "0", "model": "net", "loss": 3, "examples": 3}),
    "capture": (capture, {"model": TRIPLE}, {"layers": 1, "second_order": "no", "seed": [0]}),
    "probe": (bridge.probe, {"model": TRIPLE}, {"infimum": None, "tol": "1e-3", "dtype": 64, "layers": torch.zeros(0, 4)}),
    "frozen_twin": (bridge.frozen_twin, {"model": net(), "inputs": X}, {"freeze": 3}),
    "rescaled_loss": (bridge.rescaled_loss, {"loss": CE, "factor": 2.0}, {"factor": [2.0], "loss": None}),
    "batch_norm_layers": (bridge.batch_norm_layers, {}, {"model": None}),
    "along_gradient": (bridge.along_gradient, {"model": TRIPLE}, {"step_sizes": 0.1}),
    "covariate_shift": (bridge.covariate_shift, {"model": TRIPLE}, {"learning_rate": torch.zeros(2, 3)}),
    "weight_layers": (bridge.weight_layers, {}, {"model": X}),
    "activation_moments": (activation_moments, {"model": net(), "inputs": X}, {"places": 2, "model": "net"}),
    "reparametrised": (reparametrised, {"model": net(), "inputs": X, "factor": 2.0}, {"factor": "2"}),
    "to_primitive": (bridge.to_primitive, {}, {"model": CE}),
    "state_fingerprint": (bridge.state_fingerprint, {}, {"model": None}),
    "evaluate": (bridge.evaluate, {"model": net(), "loss": CE, "batch": (X, Y)}, {"model": None, "loss": "ce"}),
    "loss_and_gradients": (bridge.loss_and_gradients, {"model": net(), "loss": CE, "batch": (X, Y)}, {"parameters": 3}),
    "build_network": (bridge.build_network, {"spec": bridge.NetworkSpec("mlp"), "seed": 0}, {"spec": "mlp", "seed": None, "device": "nowhere"}),
    "NetworkSpec": (bridge.NetworkSpec, {"kind": "mlp"}, {"classes": "ten", "eps": None, "input_shape": 3, "layout": torch.zeros(2, 3)}),
    "load_dataset": (bridge.load_dataset, {}, {"name": 3}),
    "synthetic_data": (bridge.synthetic_data, {"seed": 0}, {"shape": (1, 8), "train": "all", "seed": 0.5}),
    "batch_at": (bridge.batch_at, {"data": bridge.synthetic_data(seed=0), "step": 0, "batch_size": 4, "seed": 0}, {"data": X, "step": None, "dtype": "float32"}),
    "batch_indices": (bridge.batch_indices, {"size": 8, "batch_size": 4, "seed": 0, "step": 0}, {"size": "8"}),
    "SGDConfig": (bridge.SGDConfig, {"learning_rate": 0.1}, {"learning_rate": None, "drops": 3}),
    "Trainer": (bridge.Trainer, {"model": net(), "loss": CE, "config": bridge.SGDConfig(0.1)}, {"config": 0.1, "model": None}),
    "ActivationNoise": (bridge.ActivationNoise, {"seed": 0}, {"dose": "1"}),
    "set_noise_step": (bridge.set_noise_step, {"model": net(), "step": 1}, {"model": 3, "step": "1"}),
    "LpBatchNorm": (bridge.LpBatchNorm, {"num_features": 3}, {"num_features": 3.5, "p": None, "eps": "0"}),
    "PrimitiveLayerNorm": (bridge.PrimitiveLayerNorm, {"normalized_shape": 3}, {"normalized_shape": "3"}),
    "PrimitiveGroupNorm": (bridge.PrimitiveGroupNorm, {"num_groups": 1, "num_channels": 2}, {"num_groups": None}),
    "NetworkLandscape": (bridge.NetworkLandscape, {"model": TRIPLE}, {"dtype": 3}),
    "Monitor": (Monitor, {"model": TRIPLE}, {"every": "5", "share": "all", "tolerance": [], "out": 3, "measures": 3}),
    "hessian": (hessian, {"model": TRIPLE}, {"parameters": 3, "memory_limit": "2 GB", "dtype": "x", "split": "4"}),
    "gauss_newton": (curvature.gauss_newton, {"model": TRIPLE}, {"parameters": 2.5}),
    "fisher": (curvature.fisher, {"model": net(), "batch": (X, Y)}, {"parameters": 2.5}),
    "empirical_fisher": (curvature.empirical_fisher, {"model": net(), "batch": (X, Y)}, {"loss": CE}),
    "top_eigenvalues": (top_eigenvalues, {"op": FunctionOperator(lambda v: v, 3)}, {"op": X, "k": "1", "tol": None, "seed": True}),
    "trace": (curvature.trace, {"op": FunctionOperator(lambda v: v, 3)}, {"samples": 2.5}),
    "spectral_density": (curvature.spectral_density, {"op": FunctionOperator(lambda v: v, 3)}, {"steps": "9", "deflate": 3}),
    "gradient_share": (curvature.gradient_share, {"op": FunctionOperator(lambda v: v, 3), "spectrum": None}, {"spectrum": X}),
    "norm_scaled": (curvature.norm_scaled, {}, {"op": net()}),
    "measure_routes": (curvature.measure_routes, {}, {"device": "nowhere", "seed": "0"}),
    "FunctionOperator": (FunctionOperator, {"product": abs, "size": 3}, {"size": "3", "product": 3}),
    "Activation": (curvature.Activation, {"module": "1"}, {"module": 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_refused_by_name(name: str) -> None:
    function, needed, wrong = WRONG[name]
    for argument, value in wrong.items():
        with pytest.raises(ValueError, match=rf"^{argument} is ") as caught:
            function(**{**needed, argument: value})
        assert type(caught.value).__name__ == "UserError"


def test_every_public_function_is_held_to_it() -> None:
    taken = {name for room in (bridge, curvature) for name in room.__all__}
    unasked = {
        "DATASETS", "ActivationMoments", "AlongGradient", "Capture", "CapturedLayer", "ImageData", "LayerShift", "Probe",
        "Residual", "StepRecord", "PrimitiveBatchNorm", "CurvatureOperator", "DoctorReport", "GradientShare", "MemoryEstimate",
        "NormScaledOperator", "Route", "RouteTable", "SpectralDensity", "Spectrum", "SymmetricOperator", "TraceEstimate",
        "doctor_report", "primitive_normalisation", "reproducible", "state_guard",
    }  # fmt: skip
    assert taken - unasked == WRONG.keys()


def test_numbers_of_every_kind_pass_and_the_signature_stays() -> None:
    @checked
    def taken(number: float, count: int = 1, several: tuple[float, ...] = (), *, name: str | None = None) -> float:
        return float(number) * int(count) + sum(map(float, several))

    assert taken(np.float32(2), count=np.int64(3)) == 6
    assert taken(torch.tensor(2.0), 3, (1, np.float64(2))) == 9
    assert taken(2, several=torch.tensor([1.0, 2.0])) == 5
    assert list(inspect.signature(taken).parameters) == ["number", "count", "several", "name"]
    with pytest.raises(ValueError, match=r"several is a Tensor of shape \(1, 2\); it must be several, each a number"):
        taken(2, several=torch.zeros(1, 2))
    with pytest.raises(
        ValueError, match=r"taken: got an unexpected keyword argument 'nam'; it takes number, count, several, name"
    ):
        taken(2, nam="x")


@pytest.mark.parametrize("inputs", [torch.zeros(2, 3), None, (X, Y), {"x": X}])
@pytest.mark.parametrize(
    "function", [activation_moments, lambda m, x: reparametrised(m, x, 2.0)], ids=["moments", "copy"]
)
def test_an_error_of_the_models_own_pass_names_the_layer(function: Any, inputs: Any) -> None:
    with pytest.raises(
        ValueError, match=r"raised in (layer '.*'|the loss or the model).*, the forward pass of the model"
    ) as caught:
        function(net(), inputs)
    assert caught.value.__cause__ is not None


def test_moments_of_a_module_that_is_called_by_keyword() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(input=x)

    found = activation_moments(Named(), X)["act"]
    torch.testing.assert_close(found.mean, X.double().mean(0))
    with pytest.raises(ValueError, match=r"act: its input has shape \(0, 4\)"):
        activation_moments(Named(), X[:0])


def test_products_take_vectors_of_the_units_alone() -> None:
    layer = capture(*TRIPLE)["1"]
    for product in (layer.hess, layer.input_hess, layer.jac):
        for v in (torch.zeros(12), torch.zeros(1, 12), torch.zeros(2, 12)):
            with pytest.raises(ValueError, match=r"v has shape .* it is \(5, 12\)"):
                product(v)
    with pytest.raises(ValueError, match="none is chosen"):
        layer.hessian_residual([])
