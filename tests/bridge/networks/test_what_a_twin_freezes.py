"""Every kind of layer, call and forward that normalises over the batch is frozen in a twin, and nothing else is.

Oracles: the outputs of the model itself in training mode; and that moving one example changes no other example's output.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin_networks import ByHand, batch, network

from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.twins import batch_norm_layers, frozen_twin
from bntheory.bridge.objective import Objective

pytestmark = pytest.mark.usefixtures("deterministic")


LAYERS = {
    "1d": (lambda: nn.BatchNorm1d(3), (8, 3)),
    "1d sequence": (lambda: nn.BatchNorm1d(3), (4, 3, 5)),
    "2d": (lambda: nn.BatchNorm2d(3), (4, 3, 2, 2)),
    "3d": (lambda: nn.BatchNorm3d(3), (2, 3, 2, 2, 3)),
    "no affine": (lambda: nn.BatchNorm1d(3, affine=False), (8, 3)),
    "not tracked": (lambda: nn.BatchNorm1d(3, track_running_stats=False), (8, 3)),
    "cumulative": (lambda: nn.BatchNorm1d(3, momentum=None), (8, 3)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_every_kind_of_layer(kind: str, mode: str, device: str) -> None:
    make, shape = LAYERS[kind]
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device) + 2
    for model in (make().double().to(device), nn.Sequential(nn.Sequential(make())).double().to(device)):
        model.train(mode == "train")
        before = state_fingerprint(model)
        twin = frozen_twin(model, x)
        assert state_fingerprint(model) == before
        assert twin.training is (mode == "train")
        expected = model.train()(x)
        torch.testing.assert_close(twin(x), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(twin.eval()(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["l1", "l2", "linf", "mean-only", "batch-primitive", "noisy-batch"])
def test_twins_of_the_family(norm: str, device: str) -> None:
    model = network("vgg", device, norm)
    x, _ = batch(device)
    torch.testing.assert_close(frozen_twin(model, x)(x), model(x), rtol=1e-11, atol=1e-11)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.unused = nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.relu(self.norm(x)))


class OwnForward(nn.BatchNorm1d):
    """A forward of its own: statistics inside, and more around them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(super().forward(2 * x)) + x


class Renorm(nn.BatchNorm1d):
    """Batch renormalisation (Ioffe 2017), written by hand: r and d are constants for the gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, std = x.mean(0), torch.sqrt(x.var(0, unbiased=False) + self.eps)
        r = (std.detach() / self.running_var.sqrt()).clamp(0.5, 2)
        d = ((mean.detach() - self.running_mean) / self.running_var.sqrt()).clamp(-1, 1)
        return self.weight * ((x - mean) / std * r + d) + self.bias


class Functional(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.norm, self.how = nn.BatchNorm1d(4), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(x))
        if self.how == "positional":
            return F.batch_norm(x, None, None, None, None, True)
        if self.how == "keyword":
            return F.batch_norm(x, None, None, training=True)
        if self.how == "torch":
            return torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
        return F.batch_norm(x, torch.zeros(4).to(x), torch.ones(4).to(x))


SEEN = {
    "called twice": (Twice, ["norm"]),
    "own forward": (lambda: OwnForward(4), [""]),
    "batch renormalisation": (lambda: Renorm(4), [""]),
    "written by hand": (lambda: ByHand(4), [""]),
    "functional, positional": (lambda: Functional("positional"), ["", "norm"]),
    "functional, keyword": (lambda: Functional("keyword"), ["", "norm"]),
    "functional, torch": (lambda: Functional("torch"), ["", "norm"]),
    "functional, constants": (lambda: Functional("constants"), ["norm"]),
    "parametrised": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
            nn.utils.parametrize.register_parametrization(nn.BatchNorm1d(4), "weight", nn.Softplus()),
        ),
        ["1"],
    ),
}


@pytest.mark.parametrize("freeze", ["both", "mean", "variance"])
@pytest.mark.parametrize("name", SEEN)
def test_whatever_normalises_over_the_batch_is_frozen(name: str, freeze: str, device: str) -> None:
    """Outputs agree; and one step away from the batch the twin is what the constants make of it: affine or partly so.

    Oracle of the freezing: moving one example changes no other example's output when both statistics are constants, and does when
    one is live.
    """
    make, frozen = SEEN[name]
    torch.manual_seed(3)
    model = nn.Sequential(make(), nn.Linear(4, 3)).double().to(device)
    inner = model[0]
    x = torch.randn(9, 4, dtype=torch.float64, device=device)
    found = Objective(model, lambda out: out.square().sum(), (x,)).constants()
    assert sorted(found) == sorted(f"0.{n}" if n else "0" for n in frozen)
    twin = frozen_twin(model, x, freeze=freeze)
    expected = model(x)
    torch.testing.assert_close(twin(x), expected, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(twin.eval()(x), expected, rtol=1e-10, atol=1e-11)
    moved = x.clone()
    moved[0] += 1.5
    with torch.no_grad():
        others = (twin[0](moved) - twin[0](x))[1:].abs().amax()
    assert (others == 0) == (freeze == "both")
    wanted = list(twin.parameters())
    grads = torch.autograd.grad(twin(x).square().sum(), wanted, allow_unused=True)
    assert sum(g is not None for g in grads) >= len(wanted) - 2 * ("unused" in dict(inner.named_modules()))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(4, 4), "no layer that normalises over the batch"),
        (nn.Sequential(nn.LayerNorm(4)), "no layer that normalises over the batch"),
        (
            nn.Sequential(nn.Linear(4, 4), frozen_twin(nn.Sequential(nn.BatchNorm1d(4)), torch.randn(5, 4))),
            "nothing to freeze.*constants",
        ),
    ],
    ids=["no layer", "layer norm", "frozen already"],
)
def test_refusals(model: nn.Module, message: str, device: str) -> None:
    model.to(device)
    x = torch.randn(5, 4, device=device)
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=message):
        frozen_twin(model, x)
    assert state_fingerprint(model) == before


def test_an_unused_layer_takes_nothing_with_it(device: str) -> None:
    torch.manual_seed(0)
    model, x = Twice().to(device).double(), torch.randn(5, 4, dtype=torch.float64, device=device)
    torch.testing.assert_close(frozen_twin(model, x)(x), model(x), rtol=1e-12, atol=1e-12)
    left = {n.name: n.reason for n in Objective(model, lambda o: o.square().sum(), (x,)).normalisations if n.reason}
    assert left == {"unused": "the forward pass does not reach it"}


def test_a_twin_on_another_order_of_calls_is_refused(device: str) -> None:
    twin = frozen_twin(nn.Sequential(nn.BatchNorm1d(4)).to(device), torch.randn(5, 4, device=device))
    with pytest.raises(ValueError, match="4 channels receives"):
        twin(torch.randn(5, 3, device=device))


def test_shared_layers_stay_shared_in_the_twin(device: str) -> None:
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), norm)
    model.add_module("alias", nn.Identity())
    model.alias.reference = norm
    model.to(device)
    assert list(batch_norm_layers(model)) == ["1"]
    twin = frozen_twin(model, torch.randn(5, 4, device=device))
    assert twin[1].has_frozen_statistics
    assert twin.alias.reference is twin[1]
