"""The split and Theorems 4.1 and 4.2 on a layer, against dense matrices.

The oracle never uses the closed form: batch normalisation is written out with primitive operations on one unit's y, and autograd's
dense Jacobian and Hessian of that composition give g, H, dL_hat/dy and K as explicit arrays. Shares come from projecting g on
explicit orthonormal vectors, and the removed energy from explicit matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bntheory.bridge.probes.capture import capture
from bntheory.bridge.probes.identities import IDENTITIES, Identity, check_identity
from bntheory.bridge.probes.layer_theory import first_order, second_order
from bntheory.layer import BatchNormLayer

M, UNITS = 9, 3


def _model(eps: float) -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, UNITS), nn.BatchNorm1d(UNITS, eps=eps), nn.Tanh(), nn.Linear(UNITS, 4))
    model = model.double()
    nn.init.normal_(model[1].weight)
    nn.init.normal_(model[1].bias)
    return model, torch.randn(M, 4, dtype=torch.float64), torch.arange(M) % 4


def _dense(model: nn.Sequential, x: Tensor, labels: Tensor, eps: float, unit: int) -> dict[str, Tensor]:
    """g, H at z; dL_hat/dy and K at y, of one unit with the others held, as arrays."""
    y = model[0](x).detach()
    gamma, beta = model[1].weight.detach(), model[1].bias.detach()

    def normalise(column: Tensor) -> Tensor:
        mean = column.sum() / M
        variance = ((column - mean) ** 2).sum() / M
        return gamma[unit] * (column - mean) / torch.sqrt(variance + eps) + beta[unit]

    z = torch.stack(
        [
            gamma[j] * (y[:, j] - y[:, j].mean()) / torch.sqrt(y[:, j].var(correction=0) + eps) + beta[j]
            for j in range(UNITS)
        ],
        1,
    )

    z = z.detach()

    def downstream(column: Tensor) -> Tensor:
        full = torch.cat([z[:, :unit], column[:, None], z[:, unit + 1 :]], 1)
        return nn.functional.cross_entropy(model[3](torch.tanh(full)), labels)

    def composed(column: Tensor) -> Tensor:
        return downstream(normalise(column))

    grad, hess = torch.func.grad, torch.autograd.functional.hessian
    return {
        "y": y[:, unit],
        "g": grad(downstream)(z[:, unit]).detach(),
        "H": hess(downstream, z[:, unit]).detach(),
        "input_grad": grad(composed)(y[:, unit]).detach(),
        "K": hess(composed, y[:, unit]).detach(),
    }


def _captured(model: nn.Sequential, x: Tensor, labels: Tensor):  # type: ignore[no-untyped-def]
    layer = capture(model, nn.functional.cross_entropy, (x, labels))["1"]
    loss = nn.functional.cross_entropy(model(x), labels)
    gamma_grad, beta_grad = torch.autograd.grad(loss, [model[1].weight, model[1].bias])
    return layer, beta_grad, gamma_grad


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.3, 5.0])
def test_the_split_of_a_layer(eps: float) -> None:
    model, x, labels = _model(eps)
    layer, beta_grad, gamma_grad = _captured(model, x, labels)
    record, found = first_order(layer, beta_grad, gamma_grad)
    assert all(i.passed for i in found), found
    assert {i.name for i in found} <= set(IDENTITIES)
    ones = torch.ones(M, dtype=torch.float64) / M**0.5
    scaled = mean = along = passed = 0.0
    for unit in range(UNITS):
        d = _dense(model, x, labels, eps, unit)
        centred = d["y"] - d["y"].mean()
        direction = centred / centred.norm()
        sigma2 = centred.square().mean() + eps
        factor = model[1].weight.detach()[unit] ** 2 / sigma2
        kept = eps / sigma2  # what the layer lets through along y_hat, as a factor
        scaled += float(factor * d["g"].square().sum())
        mean += float(factor * (d["g"] @ ones) ** 2)
        along += float(factor * (d["g"] @ direction) ** 2 * (1 - kept**2))
        passed += float(d["input_grad"].square().sum())
    expected = {"share_mean": mean / scaled, "share_y_hat": along / scaled, "left": passed / scaled}
    for key, value in expected.items():
        assert record["split"][key] == pytest.approx(value, rel=1e-9)
        if key != "left":
            assert record["affine_split"][key] == pytest.approx(value, rel=1e-9)
    assert sum(expected.values()) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.3, 5.0])
def test_theorem_4_2_on_dense_matrices(eps: float) -> None:
    model, x, labels = _model(eps)
    layer, _, _ = _captured(model, x, labels)
    for unit in range(UNITS):
        record, found = second_order(layer, [unit], seed=0)
        assert all(i.passed for i in found), found
        d = _dense(model, x, labels, eps, unit)
        v = d["input_grad"] / d["input_grad"].norm()
        g = d["g"] / d["input_grad"].norm()
        centred = d["y"] - d["y"].mean()
        sigma2 = centred.square().mean() + eps
        gamma = model[1].weight.detach()[unit]
        bend = gamma / (M * sigma2) * (d["g"] @ centred) / sigma2.sqrt()
        sides = {
            "first": (v @ d["K"] @ v, gamma**2 / sigma2 * (v @ d["H"] @ v) - bend),
            "second": (v @ d["K"] @ v, gamma**2 / sigma2 * (g @ d["H"] @ g) - bend),
        }
        for key, (left, right) in sides.items():
            assert record[key]["left"] == pytest.approx(float(left), rel=1e-8, abs=1e-12)
            assert record[key]["right"] == pytest.approx(float(right), rel=1e-8, abs=1e-12)
            if abs(float(left - right)) > 1e-8:
                assert record[key]["violated"] == int(left > right)


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_both_printed_versions_of_theorem_4_1(eps: float) -> None:
    model, x, labels = _model(eps)
    record, _ = first_order(*_captured(model, x, labels))
    broken = {"neurips": 0, "arxiv": 0}
    for unit in range(UNITS):
        d = _dense(model, x, labels, eps, unit)
        centred = d["y"] - d["y"].mean()
        sigma2 = centred.square().mean() + eps
        inner = (d["g"] @ centred) / sigma2.sqrt()
        for key, power in (("neurips", 0.5), ("arxiv", 1.0)):
            bound = d["g"].square().sum() - d["g"].sum() ** 2 / M - inner**2 / M**power
            factor = model[1].weight.detach()[unit] ** 2 / sigma2
            broken[key] += int(d["input_grad"].square().sum() > factor * bound + 1e-14)
    for key, count in broken.items():
        assert record["theorem_4_1"][key]["violated"] == count
    assert broken["arxiv"] == 0


def test_a_unit_without_gradient_is_left_out_of_theorem_4_2() -> None:
    model, x, labels = _model(1e-5)
    with torch.no_grad():
        model[1].weight[1] = 0  # then dL_hat/dy = 0
    layer, beta_grad, gamma_grad = _captured(model, x, labels)
    record, _ = second_order(layer, [1], seed=0)
    assert record["first"] is None
    record, found = first_order(layer, beta_grad, gamma_grad)
    assert all(i.passed for i in found)


# -- tolerances: no false alarm, no false pass -------------------------------------------------------------------------

LOSSES = {
    "curved": lambda out, labels: nn.functional.cross_entropy(out, labels),
    "linear": lambda out, labels: (out * torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum(),
}
#: How y lies: its spread, and its distance from zero. A channel that is all but constant has a variance far below eps.
BATCHES = {"plain": (1, 0), "far out": (1, 1e3), "all but constant": (1e-6, 1), "tiny": (1e-3, 0)}


def _drawn(m: int, eps: float, batch: str, loss: str, seed: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A layer in a network; with the linear loss nothing else in it bends, so that H = 0 hides no rounding of the other terms."""
    torch.manual_seed(seed)
    spread, offset = BATCHES[batch]
    bend = nn.Identity() if loss == "linear" else nn.Tanh()
    model = nn.Sequential(nn.Linear(4, UNITS), nn.BatchNorm1d(UNITS, eps=eps), bend, nn.Linear(UNITS, 4))
    model = model.double()
    with torch.no_grad():
        model[0].weight.mul_(spread)
        model[0].bias.add_(offset * torch.randn(UNITS, dtype=torch.float64))
        nn.init.normal_(model[1].weight)
        nn.init.normal_(model[1].bias)
    return model, torch.randn(m, 4, dtype=torch.float64), torch.arange(m) % 4


def _all_identities(m: int, eps: float, batch: str, loss: str) -> list[Identity]:
    found: list[Identity] = []
    for seed in range(2):
        model, x, labels = _drawn(m, eps, batch, loss, seed)
        layer = capture(model, LOSSES[loss], (x, labels))["1"]
        gamma_grad, beta_grad = torch.autograd.grad(LOSSES[loss](model(x), labels), [model[1].weight, model[1].bias])
        found += first_order(layer, beta_grad, gamma_grad)[1]
        for unit in range(UNITS):
            found += second_order(layer, [unit], seed=seed)[1]
    return found


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1e-2])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_identity_fails_by_rounding(m: int, eps: float, loss: str) -> None:
    """At m = 2 the input gradient is (eps/sigma^2) of what cancelled; where the variance is far below eps, y_hat is mostly rounding."""
    for batch in BATCHES:
        failed = [i for i in _all_identities(m, eps, batch, loss) if not i.passed]
        assert not failed, (batch, failed)


@pytest.mark.parametrize("m", [2, 3, 9])
@pytest.mark.parametrize(
    ("name", "wrong", "identity"),
    [
        ("input_grad", lambda layer: (layer.gamma / layer.sigma) * layer.projected_grad * (1 + 1e-6), "input-gradient"),
        (
            "input_grad",
            lambda layer: (layer.gamma / layer.sigma) * (layer.grad - layer._mean(layer.grad)),
            "input-gradient",
        ),
        ("gamma_grad", lambda layer: layer.dot(layer.grad, layer.y_hat) * (1 + 1e-9), "gamma-gradient"),
    ],
    ids=["by a millionth", "without its second projection", "gradient of gamma"],
)
def test_a_formula_that_is_wrong_fails_at_every_batch_size(
    monkeypatch: pytest.MonkeyPatch, m: int, name: str, wrong: Callable[[Any], Tensor], identity: str
) -> None:
    """With eps = 1/2 a share of the gradient passes also at m = 2, so that there is something to be wrong about."""
    monkeypatch.setattr(BatchNormLayer, name, property(wrong))
    failed = {i.name for i in _all_identities(m, 0.5, "plain", "curved") if not i.passed}
    assert identity in failed


@pytest.mark.parametrize("m", [2, 3, 9])
def test_a_wrong_second_order_fails_at_every_batch_size(monkeypatch: pytest.MonkeyPatch, m: int) -> None:
    right = BatchNormLayer.input_hess
    monkeypatch.setattr(BatchNormLayer, "input_hess", lambda self, v: right(self, v) * (1 + 1e-6))
    assert "input-hessian" in {i.name for i in _all_identities(m, 0.5, "plain", "curved") if not i.passed}


def test_a_direction_that_is_rounding_is_none() -> None:
    """At m = 2 and eps = 0 the input gradient is zero, and what is measured of it is noise."""
    model, x, labels = _drawn(2, 1e-300, "plain", "curved", 0)
    layer = capture(model, LOSSES["curved"], (x, labels))["1"]
    record, found = second_order(layer, [0, 1, 2], seed=0)
    assert record["first"] is None
    assert [i.name for i in found] == ["input-hessian"]
    assert bool((layer.gradient_residual().direction_error > 1e-3).all())


def test_a_nan_is_a_failure_and_a_worst_case() -> None:
    def row(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    one = row(1.0, 1.0, 1.0)
    item = check_identity(
        "beta-gradient", "x", left=one, right=one, relative=row(0.0, float("nan"), 0.5), tolerance=one
    )
    assert (item.failing, item.unit, item.passed) == (1, 1, False)
    assert item.relative == 1e300  # JSON can hold it, and no tolerance reaches it
    with pytest.raises(ValueError, match="unknown"):
        check_identity("no-such", "x", left=one, right=one, relative=one, tolerance=one)
    empty = row()
    with pytest.raises(ValueError, match="no unit"):
        check_identity("beta-gradient", "x", left=empty, right=empty, relative=empty, tolerance=empty)
