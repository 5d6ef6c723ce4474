"""What a model or a loss takes from its precision stays that of the model, in whichever one it is measured."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bntheory.bridge
from bntheory.bridge import Objective, capture
from bntheory.bridge.curvature import hessian

EPS = 2.0**-23  # of float32


class Root(nn.Module):
    def __init__(self, eps: Callable[[Tensor], float]) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps(x))


class Called(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (5,), eps=None)


def logarithm(outputs: Tensor, y: Tensor, eps: float | None = None) -> Tensor:
    chances = F.softmax(50 * outputs, 1) + (torch.finfo(outputs.dtype).eps if eps is None else eps)
    return -chances.log().gather(1, y[:, None]).mean()


def of_a_library(outputs: Tensor, y: Tensor, eps: float | None = None) -> Tensor:
    """torch clamps the chance by the precision's eps, and takes it back to the logit."""
    chance, wanted = torch.sigmoid(300 * outputs), F.one_hot(y, 3).to(outputs)
    if eps is None:
        return -torch.distributions.Bernoulli(probs=chance).log_prob(wanted).mean()
    chance = chance.clamp(eps, 1 - eps)
    return F.binary_cross_entropy_with_logits(chance.log() - (-chance).log1p(), wanted)


def network(norm: nn.Module, size: float = 1e-4) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(6, 5), norm, nn.Linear(5, 3))
    with torch.no_grad():
        for parameter in made[0].parameters():
            parameter *= size
    return made


NORMS = {
    "a module": lambda: nn.RMSNorm(5, elementwise_affine=False),
    "a call": Called,
    "by hand": lambda: Root(lambda x: torch.finfo(x.dtype).eps),
    "by the default precision": lambda: Root(lambda x: torch.finfo().eps),
}


def _data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(12, 6), torch.randint(3, (12,))


@pytest.mark.parametrize("kind", NORMS)
def test_a_norm_keeps_the_eps_of_its_model(kind: str) -> None:
    """The oracle: the same network in float64, with float32's eps written down."""
    x, y = _data()
    model = network(NORMS[kind]())
    written = copy.deepcopy(model).double()
    written[1] = Root(lambda x: EPS)
    loss = F.cross_entropy(written(x.double()), y)
    assert Objective(model, F.cross_entropy, (x, y), dtype=torch.float64).loss_value() == pytest.approx(
        float(loss.detach()), rel=1e-12
    )
    parameters = list(written.parameters())
    slopes = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.cat([h.flatten() for h in torch.autograd.grad(s, parameters, retain_graph=True)]) for s in slopes]
    with hessian(model, F.cross_entropy, (x, y), dtype=torch.float64) as operator:
        found = torch.from_numpy(operator.dense())
    assert float((found - torch.stack(rows)).abs().max()) < 1e-9 * float(torch.stack(rows).abs().max())
    if kind in ("a module", "a call"):
        (layer,) = capture(model, F.cross_entropy, (x, y), dtype=torch.float64)
        assert layer.eps == EPS
    assert torch.finfo(torch.float64).eps == 2.0**-52


@pytest.mark.parametrize("loss", [logarithm, of_a_library])
def test_a_loss_keeps_the_eps_of_its_model(loss: Callable[..., Tensor]) -> None:
    x, y = _data()
    model = network(nn.Identity(), 1.0)
    with torch.no_grad():
        right = float(loss(copy.deepcopy(model).double()(x.double()), y, EPS))
        other = float(loss(copy.deepcopy(model).double()(x.double()), y))
    assert abs(other - right) > 1e-3 * right  # what float64's eps gives
    assert Objective(model, loss, (x, y), dtype=torch.float64).loss_value() == pytest.approx(right, rel=1e-12)
    double = copy.deepcopy(model).double()
    assert Objective(double, loss, (x.double(), y)).loss_value() == pytest.approx(other, rel=1e-12)


def test_what_is_ours_has_a_name_of_its_own_for_what_a_precision_is() -> None:
    """torch's is replaced while a model is evaluated."""
    room = Path(bntheory.bridge.__file__).parent
    assert [p.name for p in room.rglob("*.py") if re.search(r"[^`]torch\.finfo", p.read_text("utf-8"))] == []
