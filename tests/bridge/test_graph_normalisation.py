"""Normalisation over the nodes of a graph, by hand and with a learned share of the mean (GraphNorm, Cai et al. 2021, as in graph libraries).

On one graph it is one over the batch, and its twin is had; on several it normalises within each, and a twin with another layer frozen
beside it names the way out. Right values come from ``network_oracle``, in which the statistics of the layer are detached.
"""

from __future__ import annotations

from unittest.mock import patch

import network_oracle as oracle
import pytest
import torch
from objective_cases import CE, assert_right, measured
from torch import Tensor, nn

from bntheory.bridge import capture

DRAW = torch.Generator().manual_seed(1)
NODES, EDGES = torch.randn(12, 4, generator=DRAW), torch.eye(12) + (torch.rand(12, 12, generator=DRAW) > 0.7).float()
THREE = torch.tensor([0] * 4 + [1] * 5 + [2] * 3)


class GraphNorm(nn.Module):
    frozen = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(channels) + 0.5), nn.Parameter(torch.randn(channels))
        self.mean_scale, self.eps = nn.Parameter(torch.rand(channels) / 2 + 0.5), 1e-5

    def mean(self, x: Tensor, graph: Tensor) -> Tensor:
        index, count = graph[:, None].expand_as(x), int(graph.max()) + 1
        zeros = x.new_zeros(count, x.shape[1])
        found = zeros.scatter_add(0, index, x) / zeros.scatter_add(0, index, torch.ones_like(x))
        return (found.detach() if self.frozen else found).index_select(0, graph)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        out = x - self.mean(x, graph) * self.mean_scale
        return self.weight * out / (self.mean(out.pow(2), graph) + self.eps).sqrt() + self.bias


class GraphNetwork(nn.Module):
    def __init__(self, *, batch_norm: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.last = nn.Linear(4, 5), GraphNorm(5), nn.Linear(5, 3)
        self.batch_norm = nn.BatchNorm1d(5) if batch_norm else nn.Identity()

    def forward(self, nodes: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
        h = self.last(torch.tanh(self.batch_norm(self.norm(edges @ self.first(nodes), graph))))
        return h.new_zeros(int(graph.max()) + 1, 3).index_add(0, graph, h)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_one_graph(batch_norm: bool, mode: str) -> None:
    model, batch = GraphNetwork(batch_norm=batch_norm), ((NODES, EDGES, THREE * 0), torch.tensor([1]))
    with patch.object(GraphNorm, "frozen", mode == "frozen"):
        expected = oracle.derivatives(model, CE, batch, frozen=mode == "frozen")[2]
    assert_right(measured(model, CE, batch, mode=mode), expected)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_several_graphs(batch_norm: bool) -> None:
    model, batch = GraphNetwork(batch_norm=batch_norm), ((NODES, EDGES, THREE), torch.arange(3))
    assert_right(measured(model, CE, batch), oracle.derivatives(model, CE, batch)[2])
    if batch_norm:
        found = capture(model, CE, batch)
        assert list(found.layers) == ["batch_norm"]
        assert list(found.left_out) == ["norm"]
    message = "within each part of a batch .*: give one graph" if batch_norm else "nothing to freeze .*norm: GraphNorm"
    with pytest.raises(ValueError, match=message):
        measured(model, CE, batch, mode="frozen")
