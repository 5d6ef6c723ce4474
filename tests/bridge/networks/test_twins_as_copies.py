"""A twin is a copy that lives on its own: saved, compiled, copied again; and a model of which none can be had is named and left alone."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from twin_networks import ByHand, batch, network

from bntheory.bridge.networks.reparametrised import normalised_weight_layers, reparametrised
from bntheory.bridge.networks.state import state_fingerprint
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.bridge.objective import Objective

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("action", ["statistics", "twin", "weight layers", "reparametrised"])
def test_the_model_is_left_alone(mode: str, action: str, device: str) -> None:
    model = network("resnet", device).train(mode == "train")
    x, y = batch(device)
    before = state_fingerprint(model)
    actions = {
        "statistics": lambda: Objective(model, F.cross_entropy, (x, y)).constants(),
        "twin": lambda: frozen_twin(model, x),
        "weight layers": lambda: normalised_weight_layers(model, x),
        "reparametrised": lambda: reparametrised(model, x, 3.0),
    }
    actions[action]()
    assert state_fingerprint(model) == before
    with pytest.raises(ValueError, match=r"raised in layer '.*Conv2d.*plain forward and backward pass raises as well"):
        frozen_twin(model, x[:, :, :3, :3].repeat(1, 2, 1, 1))  # two channels: the first convolution refuses
    assert state_fingerprint(model) == before


def test_a_copy_that_calls_what_the_model_holds_is_refused(device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 2)).to(device)
    own = model[1].forward
    model[1].forward = lambda x: 2 * own(x)
    x, y = torch.randn(9, 4, device=device), torch.arange(9, device=device) % 2
    before = state_fingerprint(model)
    with pytest.raises(ValueError, match=r"still depends on 1\.weight of the model itself.*mode='frozen'"):
        frozen_twin(model, x)
    with pytest.raises(ValueError, match=r"still depends on 1\.weight of the model itself.*by self"):
        reparametrised(model, x, 2.0)
    assert state_fingerprint(model) == before
    assert Objective(model, F.cross_entropy, (x, y)).twin().loss_value() == pytest.approx(
        float(F.cross_entropy(model(x), y).detach())
    )


def test_a_users_own_forward_on_an_instance_is_kept(device: str) -> None:
    model = network("mlp", device)
    x, y = batch(device)
    layer = model.hidden0.norm
    own = layer.forward
    layer.forward = lambda input: 2 * own(input)
    kept = layer.__dict__["forward"]
    objective = Objective(model, F.cross_entropy, (x, y), mode="frozen")
    assert objective.loss_value() == pytest.approx(F.cross_entropy(model(x), y).item(), rel=1e-12)

    def interrupted() -> None:
        with objective.conditions():
            assert layer.__dict__.get("forward") is not kept
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert layer.__dict__["forward"] is kept
    assert type(layer) is nn.BatchNorm1d


class Sealed(nn.BatchNorm1d):
    """Lets no attribute but its mode be set, and wants no subclasses."""

    def __setattr__(self, name: str, value: object) -> None:
        if "sealed" in self.__dict__ and name != "training":
            raise AttributeError(name)
        super().__setattr__(name, value)

    def __init_subclass__(cls) -> None:
        raise TypeError("no subclasses")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # the compiler's own
@pytest.mark.parametrize("layer", [nn.BatchNorm1d, Sealed, ByHand], ids=["torch's", "sealed", "by hand"])
def test_a_twin_is_copied_saved_compiled_and_frozen_no_further(layer: Any, device: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), layer(4), nn.Tanh(), nn.Linear(4, 2)).to(device, torch.float64)
    model[1].__dict__["sealed"] = True
    x = torch.randn(9, 4, dtype=torch.float64, device=device)
    twin = frozen_twin(model, x)
    outputs = twin(x)
    torch.testing.assert_close(outputs, model(x))
    others = [copy.deepcopy(twin)]
    if layer is not Sealed:  # pickle and the compiler set attributes
        others += [pickle.loads(pickle.dumps(twin)), torch.compile(twin, backend="eager")]
    for other in others:
        torch.testing.assert_close(other(x), outputs)
        torch.testing.assert_close(other(2 * x), twin(2 * x))
    with pytest.raises(ValueError, match=r"nothing to freeze \(1: its statistics are constants"):
        frozen_twin(twin, x)


@dataclass(slots=True)
class Inner:
    logits: torch.Tensor


@dataclass(slots=True)
class Outer:
    """As some libraries' models return what they found: no mapping, and without a dictionary of attributes."""

    inner: Inner
    name: str = "outputs"


class InDataclasses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, x: torch.Tensor) -> Outer:
        return Outer(Inner(self.layers(x)))


def test_outputs_in_dataclasses_are_looked_into(device: str) -> None:
    torch.manual_seed(0)
    model = InDataclasses().to(device, torch.float64)
    x = torch.randn(9, 3, dtype=torch.float64, device=device)
    twin, scaled = frozen_twin(model, x), reparametrised(model, x, 3.0)
    plain = model.layers(x)
    torch.testing.assert_close(twin(x).inner.logits, plain)
    torch.testing.assert_close(scaled(x).inner.logits, plain)
    held = model.layers
    model.forward = lambda x: Outer(Inner(held(x)))  # a copy's forward is the model's own
    with pytest.raises(ValueError, match=r"a copy of it still depends on layers\.0\.weight"):
        frozen_twin(model, x)
