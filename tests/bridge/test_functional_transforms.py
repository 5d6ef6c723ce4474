"""Models that are called through ``torch.func``: inside of a transform on data of their own, or as a member of an ensemble under ``vmap``.

Right values: the same loss by autograd, or the same ensemble as a loop, with normalisation written out.
"""

from __future__ import annotations

from collections.abc import Callable

import network_oracle as oracle
import pytest
import torch
from statistics_by_hand import CE, X, Y, assert_right
from torch import Tensor, nn

from bntheory.bridge import Monitor
from bntheory.bridge.curvature import hessian


@pytest.mark.parametrize(
    "norm", [lambda: nn.BatchNorm1d(5, track_running_stats=False), lambda: nn.LayerNorm(5), nn.Tanh]
)
@pytest.mark.parametrize("key", ["0.weight", "2.weight"])
def test_a_closure_may_call_the_model_on_its_own_data_inside_of_a_transform(
    norm: Callable[[], nn.Module], key: str
) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), norm(), nn.Linear(5, 3)).double()
    x = X.double()

    def penalised(net: nn.Module, slope: Callable[[Tensor], Tensor]) -> Tensor:
        weight = dict(net.named_parameters())[key]
        return CE(net(x), Y) + slope(weight).square().sum()

    def by_a_transform(net: nn.Module) -> Tensor:
        return penalised(
            net, torch.func.grad(lambda w: CE(torch.func.functional_call(net, {key: w}, (x,)), Y))
        )  # x is captured

    def by_autograd(net: nn.Module) -> Tensor:
        return penalised(net, lambda w: torch.autograd.grad(CE(net(x), Y), w, create_graph=True)[0])

    with oracle.written_out():
        wanted = list(model.parameters())
        slopes = torch.autograd.grad(by_autograd(model), wanted, create_graph=True)
        rows = [torch.autograd.grad(g, wanted, retain_graph=True) for g in torch.cat([s.reshape(-1) for s in slopes])]
    right = torch.stack([torch.cat([r.reshape(-1) for r in row]) for row in rows])
    with hessian(model, by_a_transform) as op:
        assert_right(op.dense(), right)


def test_a_module_without_values_beside_the_model_is_let_alone() -> None:
    """An ensemble by ``vmap`` calls a copy of a member on the meta device, as torch's own guide has it."""
    torch.manual_seed(1)
    members = [nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double() for _ in range(3)]
    stacked, _ = torch.func.stack_module_state(members)
    skeleton = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to("meta")

    class Ensemble(nn.Module):
        def __init__(self, by_vmap: bool) -> None:
            super().__init__()
            self.held = nn.ParameterDict({n.replace(".", "_"): nn.Parameter(t.detach()) for n, t in stacked.items()})
            self.norm, self.by_vmap = nn.BatchNorm1d(3).double(), by_vmap

        def forward(self, x: Tensor) -> Tensor:
            named = {n.replace("_", "."): t for n, t in self.held.items()}
            if self.by_vmap:
                outputs = torch.vmap(lambda p: torch.func.functional_call(skeleton, p, (x,)))(named)
                return self.norm(outputs.mean(0))
            a, b, c, d = (named[n] for n in ("0.weight", "0.bias", "2.weight", "2.bias"))
            each = [torch.tanh(x @ a[i].T + b[i]) @ c[i].T + d[i] for i in range(3)]
            return self.norm(torch.stack(each).mean(0))

    batch = (X.double(), Y)
    right = oracle.derivatives(Ensemble(False), CE, batch)[2]
    with hessian(Ensemble(True), CE, batch) as op:
        assert_right(op.dense(), right)
    model = Ensemble(True)
    monitor = Monitor(model, CE, batch, every=1, share=None)
    CE(model(batch[0]), Y).backward()
    monitor.step()
    assert [r.step for r in monitor.records] != []
