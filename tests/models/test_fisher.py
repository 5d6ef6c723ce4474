"""Largest Fisher eigenvalues against the full matrix, formed parameter by parameter.

The oracle builds the network again in torch, output normalisation included, differentiates every output by autograd,
forms the Fisher matrix in parameter space and takes numpy's eigenvalues: it knows no dual, no tangent pass, no
derivative of a standardisation. The exponents are checked against what the theory's own hypotheses say, and each
has a companion in which one hypothesis is dropped and the exponent changes.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bntheory.evidence.decision import position
from bntheory.evidence.slopes import SlopeFit, fit_power_law
from bntheory.models.fisher import RandomNetwork, fisher_scaling, top_eigenvalue

HIDDEN = ["none", "batch-norm", "layer-norm"]
OUTPUT = ["none", "mean", "batch-norm", "layer-norm"]


def draw(hidden: str, seed: int = 0, **options: object) -> RandomNetwork:
    settings = {
        "samples": 6,
        "input_dimension": 4,
        "width": 5,
        "outputs": 3,
        "bias_variance": 0.3,
        "act": "tanh",
        **options,
    }
    return RandomNetwork.draw(np.random.default_rng(seed), hidden=hidden, **settings)  # type: ignore[arg-type]


def full_fisher(network: RandomNetwork, output: str) -> np.ndarray:
    import torch

    parameters = []
    for w, b in zip(network.weights, network.biases, strict=True):
        parameters += [torch.tensor(w, requires_grad=True), torch.tensor(b, requires_grad=True)]

    def standardise(h: torch.Tensor, axis: int) -> torch.Tensor:
        centred = h - h.mean(axis, keepdim=True)
        return centred / torch.sqrt((centred**2).mean(axis, keepdim=True))

    x = torch.tensor(network.inputs)
    for level in range(len(network.weights)):
        x = x @ parameters[2 * level].T + parameters[2 * level + 1]
        if level < len(network.weights) - 1:
            if network.hidden != "none":
                x = standardise(x, 0 if network.hidden == "batch-norm" else 1)
            x = torch.tanh(x) if network.act.name == "tanh" else torch.relu(x)
    if output == "mean":
        x = x - x.mean(0, keepdim=True)
    elif output != "none":
        x = standardise(x, 0 if output == "batch-norm" else 1)
    rows = [
        torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, parameters, retain_graph=True)]).numpy()
        for value in x.reshape(-1)
    ]
    jacobian = np.stack(rows)
    return jacobian.T @ jacobian / network.samples


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("output", OUTPUT)
@pytest.mark.parametrize("act", ["tanh", "relu"])
def test_top_eigenvalue_against_the_matrix_in_parameter_space(hidden: str, output: str, act: str) -> None:
    network = draw(hidden, act=act)
    found = top_eigenvalue(network, output, tolerance=1e-10)  # type: ignore[arg-type]
    expected = np.linalg.eigvalsh(full_fisher(network, output))[-1]
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert found.residual <= 1e-8 * found.value
    assert (found.products > 0) == (hidden == "batch-norm")


@pytest.mark.parametrize("hidden", HIDDEN)
def test_tangent_and_backward_pass_are_adjoint(hidden: str) -> None:
    network = draw(hidden, seed=3, outputs=2, hidden_layers=3)
    network.forward()
    rng = np.random.default_rng(1)
    cotangent = rng.standard_normal((network.samples, 2))
    direction = [
        (rng.standard_normal(w.shape), rng.standard_normal(b.shape))
        for w, b in zip(network.weights, network.biases, strict=True)
    ]
    left = float(np.sum(network.tangent(direction) * cotangent))
    right = sum(
        float(np.sum(dw * gw) + np.sum(db * gb))
        for (dw, db), (gw, gb) in zip(direction, network.backward(cotangent), strict=True)
    )
    assert left == pytest.approx(right, rel=1e-12)


def test_products_agree_with_the_formed_dual() -> None:
    network = draw("layer-norm", seed=4)
    network.forward()
    v = np.random.default_rng(2).standard_normal((network.samples, network.outputs))
    np.testing.assert_allclose(
        network.tangent(network.backward(v)).ravel() / network.samples, network.dual() @ v.ravel(), rtol=1e-11
    )


def test_linear_regression_in_closed_form() -> None:
    # one hidden layer with the identity: outputs w2' W1 x + w2' b1 + b2; the dual is elementary
    network = draw("none", act="linear", outputs=1, width=7, hidden_layers=1)
    network.forward()
    x, (w1, w2) = network.inputs, network.weights
    hidden = x @ w1.T + network.biases[0]
    expected = (hidden @ hidden.T + 1 + float(np.sum(w2**2)) * (x @ x.T + 1)) / network.samples
    np.testing.assert_allclose(network.dual(), expected, rtol=1e-12)


def is_linear(fit: SlopeFit, margin: float) -> bool:
    return position(fit.low, fit.high, 1.0, margin) == "equivalent"


WIDTHS = [128, 181, 256, 362, 512, 724]


def exponent(**options: object):  # type: ignore[no-untyped-def]
    widths = options.pop("widths", WIDTHS)
    return fit_power_law(widths, fisher_scaling(widths, seeds=12, **options).eigenvalues)  # type: ignore[arg-type]


@pytest.mark.long
def test_exponents_with_samples_in_proportion_to_the_width() -> None:
    plain, subtracted = exponent(), exponent(output="mean")
    assert is_linear(plain, 0.15), str(plain)
    assert subtracted.high < 0.5, str(subtracted)
    assert plain.low > 0.5  # the test can fail


def test_bound_of_mean_subtraction_needs_more_samples_as_the_width_grows() -> None:
    fixed = exponent(output="mean", samples=32)
    assert fixed.low > 0.5, str(fixed)


@pytest.mark.long
def test_linear_growth_needs_activations_with_a_mean() -> None:
    # tanh is odd and there are no biases: two samples' gradients have mean overlap zero
    assert exponent(act="tanh").high < 0.5
    assert is_linear(exponent(act="tanh", bias_variance=0.5), 0.2)


@pytest.mark.long
def test_layer_norm_inside_does_not_remove_the_growth() -> None:
    inside = exponent(hidden="layer-norm")
    assert is_linear(inside, 0.15), str(inside)


@pytest.mark.long
def test_batch_norm_inside_does_not_remove_the_growth() -> None:
    inside = exponent(hidden="batch-norm", samples_per_width=0.25, widths=[64, 128, 256])
    assert inside.low > 0.5, str(inside)


def test_same_seed_same_numbers_and_progress_ends_at_one() -> None:
    seen: list[float] = []
    first = fisher_scaling([8, 16], seeds=2, seed=5, progress=lambda f, _: seen.append(f))
    again = fisher_scaling([16], seeds=2, seed=5)
    np.testing.assert_array_equal(first.eigenvalues[:, 1], again.eigenvalues[:, 0])
    assert seen[-1] == 1.0
    assert first.samples == (4, 8)
    rng = np.random.default_rng([5, 1, 16])
    default = RandomNetwork.draw(rng, samples=8, input_dimension=16, width=16)
    assert (default.outputs, len(default.weights)) == (1, 3)
    assert top_eigenvalue(default).value == first.eigenvalues[1, 1]


ERRORS = {
    "one sample": (lambda: draw("none", samples=1), "samples=1"),
    "hidden": (lambda: draw("group-norm"), "hidden='group-norm'"),
    "output": (lambda: top_eigenvalue(draw("none"), "max"), "output='max'"),  # type: ignore[arg-type]
    "two outputs": (lambda: top_eigenvalue(draw("none", outputs=2), "layer-norm"), "fewer than 3"),
    "variance": (lambda: draw("none", weight_variance=0.0), "weight_variance=0"),
    "no widths": (lambda: fisher_scaling([]), "widths"),
    "ratio": (lambda: fisher_scaling([8], samples_per_width=-1), "samples_per_width=-1"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument(case: str) -> None:
    call, words = ERRORS[case]
    with pytest.raises(ValueError, match=words):
        call()


def test_dual_refuses_coupled_samples() -> None:
    network = draw("batch-norm")
    network.forward()
    with pytest.raises(ValueError, match="couples the samples"):
        network.dual()


def test_dead_unit_is_an_error_and_not_a_nan() -> None:
    network = draw("batch-norm")
    zeroed = RandomNetwork(
        network.inputs,
        (np.zeros_like(network.weights[0]), *network.weights[1:]),
        network.biases,
        network.act,
        "batch-norm",
    )
    with pytest.raises(ValueError, match="constant"):
        zeroed.forward()
    assert math.isfinite(top_eigenvalue(network).value)
