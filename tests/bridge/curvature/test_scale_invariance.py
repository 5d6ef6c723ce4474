"""The norm-scaled Hessian is taken of groups in whose scale the loss is invariant, and of no other ones.

Oracle: the Hessian is the same after each of those groups was scaled by a factor of its own; the dense matrix with its rows scaled by hand.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature import hessian, norm_scaled

pytestmark = pytest.mark.usefixtures("deterministic")


def fresh(device: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)).double().to(device)
    return net, (torch.randn(12, 6, dtype=torch.float64, device=device), torch.arange(12, device=device) % 3)


def test_by_default_the_invariant_parameters_of_a_fresh_network_are_scaled(device: str) -> None:
    net, batch = fresh(device)
    with hessian(net, functional.cross_entropy, batch) as op:
        found = norm_scaled(op)
        one = torch.cat([torch.ones(p.numel()) for n, p in net.named_parameters() if not n.startswith("0.")])
        rows = net[0].weight.detach().norm(dim=1, keepdim=True).expand(5, 6).reshape(-1)
        bias = net[0].bias.detach().norm().expand(5)  # without effect, so invariant as well
        torch.testing.assert_close(found.scale, torch.cat([rows, bias, one.to(rows)]))
        with pytest.raises(ValueError, match=r"^1\.bias: all weights of this group are zero.*names=\["):
            norm_scaled(op, ["0.weight", "1.bias"])
        with pytest.raises(
            ValueError, match=r"^3\.weight, unit \d: the loss is not invariant.*leave the parameter out"
        ):
            norm_scaled(op, ["0.weight", "3.weight"])
    with (
        hessian(net, functional.cross_entropy, batch, mode="eval") as op,
        pytest.raises(ValueError, match="nothing to"),
    ):
        norm_scaled(op)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_has_its_units_on_the_second_axis(groups: int, device: str) -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 6, 2, groups=groups, bias=False)
    net = nn.Sequential(layer, nn.BatchNorm2d(6, affine=False), nn.Tanh(), nn.Flatten(), nn.Linear(54, 3))
    net = net.double().to(device)
    x, y = torch.randn(5, 4, 2, 2, dtype=torch.float64, device=device), torch.arange(5, device=device) % 3
    net[1].eps = 1e-12

    def dense() -> np.ndarray:
        with hessian(net, functional.cross_entropy, (x, y), parameters=["0.weight"]) as op:
            return norm_scaled(op, ["0.weight"]).dense()

    before = dense()
    factors = torch.linspace(0.5, 3.0, 6, dtype=torch.float64, device=device).reshape(groups, -1)
    with torch.no_grad():  # the output channels of each group of input channels
        for part, own in zip(net[0].weight.chunk(groups), factors, strict=True):
            part.mul_(own[None, :, None, None])
    np.testing.assert_allclose(dense(), before, atol=1e-7 * np.abs(before).max())


class InputFirst(nn.Module):
    """A layer written as x @ W: its units are on the second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.norm, self.last = nn.Parameter(torch.randn(6, 5)), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(x @ self.matrix).tanh())


def test_groups_that_are_not_invariant_are_refused_with_a_way_out(device: str) -> None:
    _, batch = fresh(device)
    net = InputFirst().double().to(device)
    with hessian(net, functional.cross_entropy, batch) as op:
        with pytest.raises(ValueError, match=r"^matrix, unit \d: the loss is not invariant.*use per='tensor'"):
            norm_scaled(op, ["matrix"])
        found = norm_scaled(op, ["matrix"], per="tensor")  # the way out
        assert float(found.scale[0]) == pytest.approx(float(net.matrix.detach().norm()))
        with pytest.raises(ValueError, match=r"^the named parameters together: the loss is not invariant"):
            norm_scaled(op, ["matrix", "last.weight"], per="all")
