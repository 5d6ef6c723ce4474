"""Stochastic estimates against the exact trace, moments and counts of matrices with a chosen spectrum.

An estimate is right if its error is of the size that its own standard error says: tested as a rate over many seeds,
whose expected value under normality is known (68 % within one, 95 % within two standard errors).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from torch import nn
from torch.nn import functional

from bntheory.bridge.curvature import FunctionOperator, hessian, norm_scaled, spectral_density, top_eigenvalues, trace

VALUES = np.concatenate([[40.0, 25.0, 15.0], np.linspace(-1, 2, 97)])


def operator(values: np.ndarray = VALUES, seed: int = 0) -> FunctionOperator:
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return FunctionOperator.of_matrix((q * values) @ q.T)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_trace_estimates_are_off_by_what_they_say(method: str) -> None:
    op = operator()
    scores = []
    for seed in range(120):
        found = trace(op, 30, method=method, seed=seed)
        assert found.products == 30
        scores.append((found.value - VALUES.sum()) / found.error)
    scores = np.array(scores)
    assert abs(scores.mean()) < 4 / np.sqrt(len(scores)) * scores.std()
    assert 0.5 < (np.abs(scores) < 1).mean() < 0.85
    assert (np.abs(scores) < 3).mean() > 0.94


def test_hutch_plus_plus_and_deflation_have_smaller_errors_at_equal_products() -> None:
    op = operator()
    spectrum = top_eigenvalues(op, 3, tol=1e-8)
    plain = np.array([trace(op, 30, seed=s).value for s in range(40)])
    better = np.array([trace(op, 30, method="hutch++", seed=s).value for s in range(40)])
    deflated = np.array([trace(op, 30, deflate=spectrum, seed=s).value for s in range(40)])
    exact = VALUES.sum()
    rms = {
        name: float(np.sqrt(np.mean((v - exact) ** 2)))
        for name, v in (("plain", plain), ("hutch++", better), ("deflated", deflated))
    }
    assert rms["hutch++"] < 0.5 * rms["plain"]
    assert rms["deflated"] < 0.5 * rms["plain"]


def test_hutch_plus_plus_is_exact_below_the_rank_of_its_sketch() -> None:
    op = operator(np.concatenate([[3.0, 2.0, -4.0], np.zeros(47)]))
    found = trace(op, 24, method="hutch++")
    assert found.value == pytest.approx(1.0, abs=1e-10)
    assert found.error < 1e-10


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("known", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_deflated_is_counted_once_where_little_is_left(
    rank: int, known: int, rotated: bool, dtype: torch.dtype
) -> None:
    """The sketch of what is left has fewer directions than columns."""
    values = np.concatenate([[9.0, 7.0, -6.0][:known], np.geomspace(1, 0.01, rank) if rank else [], np.zeros(60)])
    q, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((len(values), len(values))))
    q = q if rotated else np.eye(len(values))
    matrix = torch.tensor((q * values) @ q.T, dtype=dtype)
    op = FunctionOperator.of_matrix(matrix)
    ends, rounding = top_eigenvalues(op, k=known, which="LM", tol=1e-9), 1e-4 if dtype == torch.float32 else 1e-9
    for samples, seed in ((18, 0), (30, 0), (30, 1), (30, 2), (30, 3)):
        found = trace(op, samples, method="hutch++", deflate=ends, seed=seed)
        if rank <= samples // 3:
            assert found.value == pytest.approx(values.sum(), abs=rounding)
            assert found.error < rounding


def test_trace_stops_at_its_tolerance() -> None:
    op = operator(np.linspace(1, 2, 200))
    found = trace(op, 500, tol=0.01)
    assert found.products < 500
    assert found.error <= 0.01 * found.value


@pytest.mark.parametrize("deflated", [False, True])
def test_density_has_the_moments_and_counts_of_the_spectrum(deflated: bool) -> None:
    op = operator()
    spectrum = top_eigenvalues(op, 3, tol=1e-10) if deflated else None
    found = spectral_density(op, steps=25, probes=10, deflate=spectrum)
    assert found.products == 250
    total, error = found.integral(np.ones_like)
    assert total == pytest.approx(1.0, abs=1e-10)
    assert error < 1e-10
    for power in (1, 2, 3):
        value, error = found.integral(lambda t, power=power: t**power)
        assert abs(value - (VALUES**power).mean()) <= 4 * error + 1e-9
    points = np.array([-2.0, 0.5, 3.0, 20.0, 50.0])
    counts, errors = found.cumulative(points)
    expected = (points[:, None] >= VALUES).mean(axis=1)
    assert np.all(np.abs(counts - expected) <= 4 * errors + 0.03)
    if deflated:
        assert counts[3] == pytest.approx(0.98, abs=1e-9), "two of a hundred eigenvalues lie above 20, exactly"
    grid = np.linspace(-5, 45, 2000)
    density, errors = found.on(grid, width=0.3)
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-3)
    assert np.all(errors >= 0)


def test_a_gauss_rule_integrates_polynomials_exactly_for_its_own_probe() -> None:
    """With n nodes, moments up to 2n - 1 of the probe's spectral measure are exact (Golub and Welsch)."""
    values = np.linspace(-1, 1, 40)
    op = FunctionOperator.of_matrix(np.diag(values))
    found = spectral_density(op, steps=5, probes=2, seed=3)
    generator = torch.Generator().manual_seed(3)
    probe = op.random_vector(generator).numpy()
    mass = probe**2 / (probe @ probe)
    for power in range(10):
        assert found.weights[0] @ found.nodes[0] ** power == pytest.approx(mass @ values**power, abs=1e-13)
    assert abs(found.weights[0] @ found.nodes[0] ** 10 - mass @ values**10) > 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op: trace(op, 2), "samples is 2"),
        (lambda op: trace(op, method="exact"), "method is 'exact'"),
        (lambda op: trace(op, tol=-1.0), "tol is -1"),
        (lambda op: spectral_density(op, probes=1), "probes is 1"),
        (lambda op: spectral_density(op, steps=1), "steps is 1"),
        (lambda op: trace(op, deflate=top_eigenvalues(operator(np.arange(5.0)), 1)), "length 5"),
        (lambda op: spectral_density(op, steps=3).on([1.0, 0.0]), "ascending"),
    ],
)
def test_bad_requests_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(operator(np.linspace(0, 1, 20)))


def test_asymmetric_operators_are_refused() -> None:
    matrix = np.diag(np.linspace(0, 1, 50))
    matrix[3, 40] += 0.1
    op = FunctionOperator.of_matrix(matrix)
    with pytest.raises(ValueError, match="not symmetric"):
        trace(op, 30)
    with pytest.raises(ValueError, match="not symmetric"):
        spectral_density(op, steps=10)


def test_norm_scaled_curvature_does_not_see_the_scale_of_invariant_weights(device: str) -> None:
    """Metamorphic: with eps = 0 each unit's weights in front of batch norm may be scaled, each by its own factor."""
    net, batch = BY_NAME["batch-norm-1d-no-affine"].make(device)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eps = 0.0
    names = ["0.weight", "3.weight"]

    def spectra() -> list[np.ndarray]:
        with hessian(net, functional.cross_entropy, batch, parameters=names, normalisation="primitive") as op:
            plain = np.linalg.eigvalsh(op.dense())
            scaled = norm_scaled(op)
            tangent = norm_scaled(op, tangent=True)
            return [plain, np.linalg.eigvalsh(scaled.dense()), np.linalg.eigvalsh(tangent.dense())]

    before = spectra()
    factors = torch.linspace(0.3, 4.0, 6, dtype=torch.float64, device=device)[:, None]
    with torch.no_grad():
        net[0].weight *= factors
        net[3].weight *= factors.flip(0)
    after = spectra()
    assert np.abs(after[0] - before[0]).max() > 0.1 * np.abs(before[0]).max()
    for i in (1, 2):
        np.testing.assert_allclose(after[i], before[i], atol=1e-9 * np.abs(before[i]).max())


@pytest.mark.long
def test_norm_scaling_by_its_definition(device: str) -> None:
    net, batch = BY_NAME["batch-norm-2d-grouped-strided"].make(device)
    with hessian(net, functional.cross_entropy, batch, parameters=["0.weight", "3.weight", "7.bias"]) as op:
        dense, scales = op.dense(), {"unit": [], "tensor": [], "all": []}
        weights = [net[0].weight, net[3].weight]
        together = float(torch.sqrt(sum(w.detach().square().sum() for w in weights)))
        for w in weights:
            rows = w.detach().flatten(1).norm(dim=1, keepdim=True).expand(-1, w[0].numel())
            scales["unit"].append(rows.reshape(-1).cpu().numpy())
            scales["tensor"].append(np.full(w.numel(), float(w.detach().norm())))
            scales["all"].append(np.full(w.numel(), together))
        for per, pieces in scales.items():
            d = np.concatenate([*pieces, np.ones(net[7].bias.numel())])
            found = norm_scaled(op, ["0.weight", "3.weight"], per=per)
            np.testing.assert_allclose(found.dense(), d[:, None] * dense * d, atol=1e-12 * np.abs(dense).max())
            tangent = norm_scaled(op, ["0.weight", "3.weight"], per=per, tangent=True)
            radial = torch.where(torch.as_tensor(d) != 1, op.point.cpu(), torch.zeros(op.size)).to(device)
            if per == "all":
                assert float(tangent.apply(radial).norm()) < 1e-12
        with pytest.raises(ValueError, match="names lists"):
            norm_scaled(op, ["nothing"])
        with pytest.raises(ValueError, match="per is"):
            norm_scaled(op, per="layer")
