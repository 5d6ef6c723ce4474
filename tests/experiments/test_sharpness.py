"""Largest eigenvalues of a network and its partial twins, mean directions and robustness of inputs, as measured on an arm.

Oracles: dense Hessians, row by row, of a network written out here with plain functions (batch normalisation from its formula, detached
where a statistic is a constant); eigenvalues by numpy; mean directions by finite differences; accuracies by a loop of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bntheory.bridge import load_dataset
from bntheory.bridge.curvature import convolution as closed_form
from bntheory.bridge.curvature import hessian
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.measures.input_robustness import _NOISE_SEED
from bntheory.experiments.measures.mean_directions import _orthonormal, channel_directions
from bntheory.experiments.measures.situation import Situation, recorded_hessian
from bntheory.experiments.worker import follow

OPTIONS = {"batch_size": 24, "tolerance": 1e-5, "max_products": 400}
LAYOUT = (5, 4)
SEED = 3


def situation(norm: str, steps: int = 5, side: int = 4) -> Situation:
    """A tiny perceptron after a few steps."""
    arm = Arm("mlp", norm, "mlp", {"norm": norm, "layout": LAYOUT}, 0.1)
    protocol = Protocol(steps, (steps,), 16, 40, side=side)
    return next(follow(Task(arm, SEED), [steps], load_dataset(), "cpu", protocol))


def by_formula(x: Tensor, p: dict[str, Tensor], frozen: str) -> Tensor:
    """Logits of the perceptron: flatten, (linear, batch norm, relu) twice, linear."""
    h = x.flatten(1)
    for i in range(len(LAYOUT)):
        y = h @ p[f"hidden{i}.weight_layer.weight"].T
        mean, variance = y.mean(0), y.var(0, correction=0)
        mean = mean.detach() if frozen in ("both", "mean") else mean
        variance = variance.detach() if frozen in ("both", "variance") else variance
        y = (y - mean) / torch.sqrt(variance + 1e-5)
        h = torch.relu(y * p[f"hidden{i}.norm.weight"] + p[f"hidden{i}.norm.bias"])
    return h @ p["output.weight"].T + p["output.bias"]


def dense(at: Situation, logits: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> np.ndarray[Any, Any]:
    x, labels = at.batch(OPTIONS["batch_size"])
    p = {n: q.detach().double().requires_grad_() for n, q in at.model.named_parameters()}
    loss = F.cross_entropy(logits(x.double(), p), labels)
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(p.values()), create_graph=True)])
    rows = [torch.cat([r.flatten() for r in torch.autograd.grad(g, list(p.values()), retain_graph=True)]) for g in flat]
    return torch.stack(rows).numpy()


@pytest.mark.long
def test_sharpness_of_the_network_and_its_twins() -> None:
    at = situation("batch")
    frozen = {"own": "none", "twin": "both", "mean-alive": "variance", "variance-alive": "mean"}
    found = measure(at, Measure("sharpness", {**OPTIONS, "of": list(frozen)}))["sharpness"]
    values = []
    for name, which in frozen.items():
        top = np.linalg.eigvalsh(dense(at, lambda x, p, which=which: by_formula(x, p, which)))[-1]
        assert found[name]["top"] == pytest.approx(top, rel=1e-3), name
        assert found[name]["converged"]
        assert found[name]["refused"] is None
        values.append(top)
    assert len({round(float(v), 2) for v in values}) == 4  # so that no two of them can be exchanged
    x, labels = at.batch(OPTIONS["batch_size"])
    expected = F.cross_entropy(by_formula(x, dict(at.model.named_parameters()), "none"), labels)
    for point in found.values():
        assert point["loss"] == pytest.approx(expected.item(), rel=1e-5)
    whole = measure(at, Measure("progress", {"batch_size": 24}))["progress"]
    assert whole["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert whole["gradient_norm"] == pytest.approx(found["own"]["gradient_norm"], rel=1e-4)


def test_what_has_no_hessian_gives_its_reason_and_the_rest_stays() -> None:
    found = measure(situation("detached"), Measure("sharpness", {**OPTIONS, "of": ["own", "twin"]}))["sharpness"]
    assert found["own"]["top"] is None
    assert "lets no gradient through its mean and variance" in found["own"]["refused"]
    assert found["twin"]["top"] > 0
    with pytest.raises(ValueError, match="'half' is unknown; choose among own"):
        measure(situation("batch"), Measure("sharpness", {**OPTIONS, "of": ["half"]}))


def plain(x: Tensor, p: dict[str, Tensor]) -> Tensor:
    """The perceptron without normalisation."""
    h = x.flatten(1)
    for i in range(len(LAYOUT)):
        h = torch.relu(h @ p[f"hidden{i}.weight_layer.weight"].T + p[f"hidden{i}.weight_layer.bias"])
    return h @ p["output.weight"].T + p["output.bias"]


def test_mean_directions_are_derivatives_of_channel_means() -> None:
    at = situation("none")
    at.model.double()
    x = at.batch(24)[0].double()
    columns = channel_directions(at.model, x, None)
    parameters = list(at.model.parameters())
    assert columns.shape == (sum(p.numel() for p in parameters), sum(LAYOUT))
    g = torch.Generator().manual_seed(0)
    v = [torch.randn(p.shape, generator=g, dtype=torch.float64) for p in parameters]

    def means(shift: float) -> Tensor:
        p = {n: q + shift * d for (n, q), d in zip(at.model.named_parameters(), v, strict=True)}
        first = x.flatten(1) @ p["hidden0.weight_layer.weight"].T + p["hidden0.weight_layer.bias"]
        second = torch.relu(first) @ p["hidden1.weight_layer.weight"].T + p["hidden1.weight_layer.bias"]
        return torch.cat([first.mean(0), second.mean(0)]).detach()

    slope = (means(1e-6) - means(-1e-6)) / 2e-6
    along = columns.T @ torch.cat([d.flatten() for d in v])
    torch.testing.assert_close(along, slope, rtol=1e-6, atol=1e-7)
    other = channel_directions(at.model, x, 0)
    bias = [n for n, p in at.model.named_parameters() for _ in range(p.numel())].index("hidden1.weight_layer.bias")
    moved = other[bias : bias + LAYOUT[1], LAYOUT[0] :]  # a bias moves no contrast: its weights sum to zero
    assert float(moved.abs().max()) < 1e-12
    assert float(columns[bias : bias + LAYOUT[1], LAYOUT[0] :].diagonal().min()) == pytest.approx(1.0)


def test_mean_overlap_against_dense_linear_algebra() -> None:
    at = situation("none")
    found = measure(at, Measure("mean-overlap", OPTIONS))["mean_overlap"]
    h = dense(at, plain)
    values, vectors = np.linalg.eigh(h)
    assert found["top"] == pytest.approx(values[-1], rel=1e-3)
    assert found["parameters"] == len(h)
    x = at.batch(24)[0]
    for name, dimension, without, seed in [
        ("means", "dimension", "without_means", None),
        ("contrasts", "contrast_dimension", "without_contrasts", SEED),
    ]:
        u, s, _ = np.linalg.svd(channel_directions(at.model, x, seed).double().numpy(), full_matrices=False)
        span = u[:, s > 1e-5 * s[0]]
        assert found[dimension] == span.shape[1]
        assert found[name] == pytest.approx(float(np.square(span.T @ vectors[:, -1]).sum()), abs=2e-3)
        off = np.eye(len(h)) - span @ span.T
        assert found[without] == pytest.approx(np.linalg.eigvalsh(off @ h @ off)[-1], rel=2e-3)


def test_a_span_keeps_nearly_parallel_directions_and_drops_repeated_ones() -> None:
    e = torch.eye(6, dtype=torch.float64)
    columns = torch.stack([e[0], e[0] + 1e-3 * e[1], 5 * e[0], 1e-4 * e[2], torch.zeros(6)], 1)
    basis = _orthonormal(columns)
    torch.testing.assert_close(basis.T @ basis, torch.eye(3, dtype=torch.float64), atol=1e-8, rtol=0)
    torch.testing.assert_close(basis @ basis.T, torch.diag(e[0] + e[1] + e[2]), atol=1e-8, rtol=0)


@pytest.mark.long
def test_input_robustness_by_a_loop_of_its_own() -> None:
    at = situation("batch", steps=30, side=0)
    asked = Measure("input-robustness", {"test_size": 300, "noise": [0.5, 2.0], "sign": [0.0, 0.2]})
    before = {n: t.clone() for n, t in at.model.state_dict().items()}
    found = measure(at, asked)["input_robustness"]
    assert all(torch.equal(before[n], t) for n, t in at.model.state_dict().items())
    data = load_dataset()
    x, labels = data.inputs(slice(0, 300), "test")
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(_NOISE_SEED + SEED), dtype=torch.float64)
    at.model.eval()

    def right(images: Tensor) -> float:
        return float(
            np.mean([int(at.model(im[None]).argmax()) == int(y) for im, y in zip(images, labels, strict=True)])
        )

    assert found["clean"] == pytest.approx(right(x))
    for size in (0.5, 2.0):
        assert found["noise"][f"{size:g}"] == pytest.approx(right(x + size * noise.float()), abs=0.01)
    assert found["sign"]["0"] == found["clean"]
    signs = []
    for image, label in zip(x, labels, strict=True):
        image = image[None].clone().requires_grad_()
        signs.append(torch.autograd.grad(F.cross_entropy(at.model(image), label[None]), image)[0][0].sign())
    assert found["sign"]["0.2"] == pytest.approx(right(x + 0.2 * torch.stack(signs)), abs=0.01)
    assert found["sign"]["0.2"] < found["clean"] - 0.05


def test_recorded_products_leave_small_convolutions_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are made again bit for bit, and the closed form sums in another order."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(64, 3))
    batch = (torch.randn(5, 2, 6, 6), torch.randint(3, (5,)))
    calls: list[object] = []
    plain = closed_form._first
    monkeypatch.setattr(closed_form, "_first", lambda *args: calls.append(args) or plain(*args))
    for made, taken in ((recorded_hessian, False), (hessian, True)):
        calls.clear()
        with made(net, torch.nn.functional.cross_entropy, batch) as operator:
            operator.apply(torch.ones(operator.size))
        assert bool(calls) == taken
