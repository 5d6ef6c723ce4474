"""The split read off an ordinary backward pass against capture, which measures both gradients by autograd.

Independent: the monitor never sees the gradient at a layer's input, and capture's split comes from inner products in float64 rather
than from gamma's and beta's gradients. The definition of the shares is written out once more here.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.probes.capture import capture
from bntheory.bridge.probes.decomposition import DecompositionMonitor


def _network(inplace: bool = False, eps: float = 1e-5) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 5, 3),
        nn.BatchNorm2d(5, eps=eps),
        nn.ReLU(inplace),
        nn.Flatten(),
        nn.Linear(5 * 36, 7),
        nn.BatchNorm1d(7, eps=eps),
        nn.ReLU(inplace),
        nn.Linear(7, 3),
    )
    for module in net:
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.weight)
            nn.init.uniform_(module.bias, 0, 0.5)  # no channel dies behind its ReLU
    return net


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 3


@pytest.mark.parametrize("inplace", [False, True], ids=["relu", "relu-in-place"])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_split_is_that_of_capture(device: str, inplace: bool, eps: float, dtype: torch.dtype) -> None:
    net = _network(inplace, eps).to(device, dtype)
    x, labels = (t.to(device) for t in _batch())
    with DecompositionMonitor(net) as monitor:
        nn.functional.cross_entropy(net(x.to(dtype)), labels).backward()
        splits = monitor.read()
    assert set(splits) == {"1", "5"}
    measured = capture(net, nn.functional.cross_entropy, (x.to(dtype), labels), dtype=torch.float64)
    rough = 1e-4 if dtype == torch.float32 else 1e-10
    for name, split in splits.items():
        layer = measured[name]
        g = layer.grad
        centred = layer.y - layer.y.mean(1, keepdim=True)
        sigma = (centred.square().mean(1) + eps).sqrt()
        y_hat = centred / sigma[:, None]
        whole = layer.m * g.square().sum(1)
        expected = {
            "scaling": (layer.gamma / sigma).square(),
            "share_mean": g.sum(1).square() / whole,
            "share_y_hat": (1 + eps / sigma**2) * (g * y_hat).sum(1).square() / whole,
            "output_gradient": g.square().sum(1),
            "input_gradient": layer.input_grad.square().sum(1),
        }
        for key, value in expected.items():
            torch.testing.assert_close(getattr(split, key).double(), value, rtol=rough, atol=rough * 1e-2)


def test_gradients_by_name_and_clean_leaving() -> None:
    net = _network()
    x, labels = _batch()
    before = state_fingerprint(net, rng=False)
    with DecompositionMonitor(net) as monitor:
        loss = nn.functional.cross_entropy(net(x), labels)
        names = dict(net.named_parameters())
        found = dict(zip(names, torch.autograd.grad(loss, list(names.values())), strict=True))
        assert monitor.read(found)["1"].share_mean.shape == (5,)
        with pytest.raises(ValueError, match="no gradient"):
            monitor.read()
    for module in net:
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.reset_running_stats()  # training moved them, and the monitor nothing
    assert state_fingerprint(net, rng=False) == before


def test_a_model_without_batch_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="no BatchNorm layer"):
        DecompositionMonitor(nn.Linear(2, 2))


def test_a_dead_channel_has_shares_zero() -> None:
    net = _network()
    with torch.no_grad():
        net[5].weight[0] = 0  # type: ignore[index,union-attr]
        net[5].bias[0] = -1.0  # type: ignore[index,union-attr]
    x, labels = _batch()
    with DecompositionMonitor(net) as monitor:
        nn.functional.cross_entropy(net(x), labels).backward()
        split = monitor.read()["5"]
    assert (float(split.output_gradient[0]), float(split.share_mean[0]), float(split.share_y_hat[0])) == (
        0,
        0,
        0,
    )
