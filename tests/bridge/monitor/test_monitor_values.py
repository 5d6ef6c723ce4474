"""What a monitor records against right values, computed without the product.

The network is written out in elementary operations in float64: a mean, a difference, a square root; what is frozen is detached. Its
gradient and dense Hessian come from differentiating that, and the eigenvalue from numpy.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Monitor

EPS = 0.1


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, eps=EPS), nn.Tanh(), nn.Linear(5, 3)).double()
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    return net


def data(count: int = 12, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator, dtype=torch.float64), torch.arange(count) % 3


def by_hand(flat: Tensor, x: Tensor, labels: Tensor, frozen: str = "", keep: dict[str, Tensor] | None = None) -> Tensor:
    """The loss as a function of the flat parameters. frozen: "mean", "variance" or both words; keep: the layer's y and z."""
    w1, b1, gamma, beta, w2, b2 = (
        part.reshape(shape)
        for part, shape in zip(
            torch.split(flat, [20, 5, 5, 5, 15, 3]), [(5, 4), (5,), (5,), (5,), (3, 5), (3,)], strict=True
        )
    )
    y = x @ w1.T + b1
    mean, variance = y.mean(0), ((y - y.mean(0)) ** 2).mean(0)
    mean = mean.detach() if "mean" in frozen else mean
    variance = variance.detach() if "variance" in frozen else variance
    z = gamma * (y - mean) / (variance + EPS) ** 0.5 + beta
    if keep is not None:
        y.retain_grad()
        z.retain_grad()
        keep |= {"y": y, "z": z, "sigma": (variance + EPS) ** 0.5, "gamma": gamma, "mean": mean}
    scores = torch.tanh(z) @ w2.T + b2
    return -(scores - scores.logsumexp(1, keepdim=True))[torch.arange(len(labels)), labels].mean()


def flat_parameters(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in net.parameters()]).requires_grad_()


def top_eigenvalue(net: nn.Module, frozen: str) -> float:
    x, labels = data()
    dense = torch.autograd.functional.hessian(lambda p: by_hand(p, x, labels, frozen), flat_parameters(net))
    return float(np.linalg.eigvalsh(dense.numpy())[-1])


@pytest.fixture
def followed(device: str) -> tuple[Monitor, list[nn.Module]]:
    """Three steps of training on other data, everything measured at each, and the networks as they were then."""
    net, points = network().to(device), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    held = tuple(t.to(device) for t in data())
    names = ["loss", "split", "sharpness", "partial-twins", "along-gradient", "covariate-shift"]
    monitor = Monitor(
        net,
        F.cross_entropy,
        held,
        optimizer=optimizer,
        every=1,
        share=None,
        tolerance=1e-8,
        measures=names,
        strict=True,
    )
    x, labels = (t.to(device) for t in data(20, seed=2))
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
        monitor.step()
        points.append(copy.deepcopy(net).cpu())
    return monitor, points


def found(monitor: Monitor, measure: str) -> list[dict]:
    return [dict(r.values) for r in monitor.records if r.measure == measure]


def test_loss_and_gradient(followed):
    monitor, points = followed
    for values, net in zip(found(monitor, "loss"), points, strict=True):
        p = flat_parameters(net)
        loss = by_hand(p, *data())
        loss.backward()
        assert values["loss"] == pytest.approx(float(loss.detach()), rel=1e-12)
        assert values["gradient_norm"] == pytest.approx(float(p.grad.norm()), rel=1e-12)
        assert values["learning_rate"] == 0.5
        assert values["edge"] == 4.0


@pytest.mark.long
@pytest.mark.parametrize(
    ("measure", "name", "frozen"),
    [
        ("sharpness", "own", ""),
        ("sharpness", "twin", "mean variance"),
        ("partial-twins", "mean-alive", "variance"),
        ("partial-twins", "variance-alive", "mean"),
    ],
)
def test_curvature_of_the_network_and_of_its_twins(followed, measure, name, frozen):
    monitor, points = followed
    for values, net in zip(found(monitor, measure), points, strict=True):
        one = values["sharpness"][name]
        right = top_eigenvalue(net, frozen)
        assert one["converged"]
        assert one["top"] == pytest.approx(right, rel=1e-7)
        assert abs(one["top"] - right) <= 2 * one["top_error"]  # an estimate, of what further products would add


def test_the_split_of_the_layer(followed):
    monitor, points = followed
    for values, net in zip(found(monitor, "split"), points, strict=True):
        kept: dict[str, Tensor] = {}
        by_hand(flat_parameters(net), *data(), keep=kept).backward()
        m, g = 12, kept["z"].grad
        y_hat = (kept["y"] - kept["mean"]) / kept["sigma"]
        scale = (kept["gamma"] / kept["sigma"]) ** 2
        y_hat, scale = y_hat.detach(), scale.detach()
        scaled = float((scale * (g**2).sum(0)).sum())
        layers = values["layers"]
        assert (layers["name"], layers["m"], layers["kind"]) == (["1"], [m], ["batch"])
        assert layers["share_mean"][0] == pytest.approx(float((scale * g.sum(0) ** 2 / m).sum()) / scaled)
        along = scale * (1 + EPS / kept["sigma"].detach() ** 2) * (g * y_hat).sum(0) ** 2 / m
        assert layers["share_y_hat"][0] == pytest.approx(float(along.sum()) / scaled)
        assert layers["left"][0] == pytest.approx(float((kept["y"].grad ** 2).sum()) / scaled)
        assert layers["residual"][0] <= layers["tolerance"][0]


def test_along_the_gradient_and_the_covariate_shift(followed):
    monitor, points = followed
    shifts = found(monitor, "covariate-shift")
    for values, shift, net in zip(found(monitor, "along-gradient"), shifts, points, strict=True):
        p = flat_parameters(net)
        (g,) = torch.autograd.grad(by_hand(p, *data()), p)
        for multiple, loss, change in zip(
            values["along"]["multiples"], values["along"]["losses"], values["along"]["gradient_changes"], strict=True
        ):
            q = (p - 0.5 * multiple * g).detach().requires_grad_()
            there = by_hand(q, *data())
            (h,) = torch.autograd.grad(there, q)
            assert loss == pytest.approx(float(there.detach()), rel=1e-12)
            assert change == pytest.approx(float((g - h).norm()), rel=1e-9)
        moved = p.detach().clone()
        moved[:35] -= 0.5 * g[:35]  # the first layer with gamma and beta
        q = moved.requires_grad_()
        (h,) = torch.autograd.grad(by_hand(q, *data()), q)
        assert shift["shift"]["layers"] == ["0", "3"]
        assert shift["shift"]["l2"][0] == pytest.approx(0.0, abs=1e-14)
        assert shift["shift"]["l2"][1] == pytest.approx(float((g - h)[35:50].norm()), rel=1e-9)


def test_rows_have_eta_times_lambda_and_share_times_m(followed):
    monitor, points = followed
    for row, net in zip(monitor.rows(), points, strict=True):
        assert row["eta lambda_max"] == pytest.approx(0.5 * top_eigenvalue(net, ""), rel=1e-7)
        assert row["eta lambda_max twin"] == pytest.approx(0.5 * top_eigenvalue(net, "mean variance"), rel=1e-7)
    for row in monitor.rows("layers"):
        assert row["share_mean * m"] == pytest.approx(12 * row["share_mean"])


@pytest.mark.long
def test_of_a_random_gradient_each_share_times_m_is_one_on_average():
    """A linear layer above and random targets: the gradient at the layer's output knows nothing of 1 or y_hat."""
    generator = torch.Generator().manual_seed(3)
    shares = []
    for trial in range(60):
        torch.manual_seed(trial)
        net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8)).double()
        x = torch.randn(32, 6, generator=generator, dtype=torch.float64)
        v = torch.randn(32, 8, generator=generator, dtype=torch.float64)
        monitor = Monitor(net, lambda z, v: (z * v).sum(), (x, v), share=None, measures=["split"], strict=True)
        monitor.measure()
        shares += [(row["share_mean * m"], row["share_y_hat * m"]) for row in monitor.rows("layers")]
    mean, y_hat = np.mean(shares, axis=0)
    # 480 channels, each a square of a standard normal: the mean has a standard deviation of sqrt(2/480) = 0.065
    assert abs(mean - 1) < 0.26
    assert abs(y_hat - 1) < 0.26


def test_a_batch_of_the_loop_and_several_held_ones():
    net, (x, labels) = network(), data()
    whole = Monitor(net, F.cross_entropy, [(x[:6], labels[:6]), (x[6:], labels[6:])], share=None, measures=["loss"])
    own = Monitor(net, F.cross_entropy, share=None, measures=["loss"], every=1)
    whole.measure()
    own.step((x[:6], labels[:6]))
    own.step((x[6:], labels[6:]))
    parts = [row["loss"] for row in own.rows()]
    assert whole.rows()[0]["loss"] == pytest.approx(sum(parts) / 2, rel=1e-12)
    assert own.records[0].setting["batch"] != own.records[1].setting["batch"]


def test_the_held_batch_is_a_copy():
    net, (x, labels) = network(), data()
    monitor = Monitor(net, F.cross_entropy, (x, labels), share=None, measures=["loss"])
    right = float(by_hand(flat_parameters(net), x, labels).detach())
    x.zero_()
    monitor.measure()
    assert monitor.rows()[0]["loss"] == pytest.approx(right, rel=1e-12)


def test_a_measure_of_ones_own():
    net = network()

    def size_of_the_weights(objective):
        torch.manual_seed(0)  # whatever it does to the generators and to the model is undone
        with torch.no_grad():
            for p in objective.parameters.values():
                p.mul_(2)
        return sum(float(p.detach().square().sum()) for p in objective.parameters.values())

    monitor = Monitor(net, F.cross_entropy, data(), share=None, measures=[size_of_the_weights])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    monitor.measure()
    assert torch.equal(before, torch.get_rng_state())
    right = 4 * sum(float(p.detach().square().sum()) for p in net.parameters())
    assert monitor.rows()[0]["size_of_the_weights"] == pytest.approx(right)
    assert right < 1e6  # the parameters are what they were
