"""The operators beside the other rooms' own ways to the same thing: twins, primitive copies, l_p normalisers.

The primitive copy replaces modules, which the operators never do. The twin and the operators in mode "frozen" share their constants;
the twin's own oracles are in ``test_twins.py``.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from curvature_cases import BY_NAME
from torch import nn
from torch.nn import functional

from bntheory.bridge import NetworkSpec, Objective, build_network
from bntheory.bridge.curvature import hessian
from bntheory.bridge.graph import SavedBytes
from bntheory.bridge.networks.primitive import to_primitive
from bntheory.bridge.networks.twins import frozen_twin


@pytest.mark.long
@pytest.mark.parametrize("name", ["batch-norm-1d", "batch-norm-2d-grouped-strided", "residual", "tied"])
def test_frozen_mode_is_the_hessian_of_the_frozen_twin(name: str, device: str) -> None:
    net, (x, y) = BY_NAME[name].make(device)
    with (
        hessian(net, functional.cross_entropy, (x, y), mode="frozen") as op,
        hessian(frozen_twin(net, x), functional.cross_entropy, (x, y)) as twin,
        hessian(net, functional.cross_entropy, (x, y)) as moving,
    ):
        a, b, c = op.dense(), twin.dense(), moving.dense()
        assert op.loss == pytest.approx(twin.loss, rel=1e-13)
        assert np.abs(a - b).max() < 1e-11 * np.abs(b).max()
        assert np.abs(a - c).max() > 1e-3 * np.abs(c).max()


@pytest.mark.parametrize("norm", ["batch", "batch-primitive", "layer", "group", "l1", "l2", "linf", "mean-only"])
@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_every_normaliser_of_the_family(norm: str, mode: str, device: str) -> None:
    """Oracle: central differences of the gradient of the frozen twin or of the network itself."""
    spec = NetworkSpec("vgg", size="tiny", norm=norm, activation="tanh", input_shape=(1, 8, 8), pool="average")
    net = build_network(spec, 0, device=device, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 1, 8, 8, generator=generator, dtype=torch.float64).to(device)
    y = (torch.arange(6) % 10).to(device)
    if mode == "frozen" and norm in ("layer", "group"):
        with pytest.raises(ValueError, match="nothing to freeze"):
            hessian(net, functional.cross_entropy, (x, y), mode=mode)
        return
    other = frozen_twin(net, x) if mode == "frozen" else net
    parameters = list(other.parameters())
    direction = torch.randn(sum(p.numel() for p in parameters), generator=generator, dtype=torch.float64).to(device)
    direction /= direction.norm()

    def gradient(t: float) -> torch.Tensor:
        with torch.no_grad():
            for p, d in zip(parameters, direction.split([p.numel() for p in parameters]), strict=True):
                p += t * d.view_as(p)
        return torch.cat(
            [g.reshape(-1) for g in torch.autograd.grad(functional.cross_entropy(other(x), y), parameters)]
        )

    with hessian(net, functional.cross_entropy, (x, y), mode=mode) as op:
        product = op.matvec(direction)
    h = 1e-3
    ahead, behind = gradient(h), gradient(-2 * h)
    far, near = gradient(3 * h), gradient(-4 * h)  # at h, -h, 2h, -2h
    expected = (8 * (ahead - behind) - (far - near)) / (12 * h)
    assert float((product - expected).abs().max() / expected.abs().max()) < (1e-6 if norm != "linf" else 1e-3)


@pytest.mark.long
@pytest.mark.parametrize("name", ["batch-norm-1d", "layer-norm", "group-norm", "residual"])
def test_primitive_operations_by_interception_and_by_replacement_agree(name: str, device: str) -> None:
    net, batch = BY_NAME[name].make(device)
    with (
        hessian(net, functional.cross_entropy, batch, normalisation="primitive") as a,
        hessian(to_primitive(net), functional.cross_entropy, batch) as b,
    ):
        assert np.abs(a.dense() - b.dense()).max() < 1e-12 * np.abs(b.dense()).max()


def test_the_memory_estimate_is_what_autograd_keeps(device: str) -> None:
    """The estimate comes from a forward pass; the truth from counting while the whole graph is built."""
    net = build_network(NetworkSpec("vgg", size="tiny"), 0, device=device)
    x = torch.randn(96, 1, 28, 28, generator=torch.Generator().manual_seed(0)).to(device)
    y = (torch.arange(96) % 10).to(device)
    estimate = hessian(net, functional.cross_entropy, (x, y)).memory.graph_bytes
    objective = Objective(net, functional.cross_entropy, (x, y))
    objective.examination  # noqa: B018 - made once, and not part of the graph
    with (saved := SavedBytes(list(net.parameters()))):
        hessian(objective, memory_limit=float("inf"))
    assert estimate is not None
    assert 0.8 * saved.total < estimate < 1.3 * saved.total


def test_the_memory_estimate_runs_the_whole_batch_and_no_part_of_it(device: str) -> None:
    """A network whose second input indexes the rows of the first has no slices."""
    sizes = io.StringIO()  # no list, which would be put back

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = build_network(NetworkSpec("mlp", size="tiny", input_shape=(1, 2, 3)), 0)

        def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
            sizes.write(f"{len(x)} ")
            return self.net(x.index_add(0, edges[1], x[edges[0]]))

    x, edges = torch.randn(32, 1, 2, 3, device=device), torch.tensor([[0, 9, 31], [31, 0, 9]], device=device)
    labels = torch.arange(32, device=device) % 10
    with hessian(Graph().to(device), functional.cross_entropy, ((x, edges), labels)) as op:
        assert op.memory.graph_bytes is not None
    assert set(sizes.getvalue().split()) == {"32"}


def test_saved_bytes_of_operations_that_can_be_counted_by_hand() -> None:
    """exp keeps its result, a product both factors, a sum nothing; a tensor kept twice counts once."""
    a = torch.ones(100, dtype=torch.float64, requires_grad=True)
    b = torch.ones(100, dtype=torch.float64, requires_grad=True)

    def bytes_of(build: Callable[[], torch.Tensor], exclude: tuple[torch.Tensor, ...] = ()) -> int:
        with (saved := SavedBytes(exclude)):
            kept = build()
        del kept
        return saved.total

    assert bytes_of(lambda: a.exp().sum()) == 800
    assert bytes_of(lambda: (a * b).sum()) == 1600
    assert bytes_of(lambda: (a * a).sum()) == 800
    assert bytes_of(lambda: (a * b).sum(), (b,)) == 800
    assert bytes_of(lambda: (a + b).sum()) == 0
