"""A loss that does not depend on the model that is measured, or is another one at every call, is refused; a stated seed makes it one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import network_oracle as oracle
import numpy as np
import pytest
import torch
from objective_cases import CE, NET, X, Y, assert_right, measured, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import Monitor, Objective, along_gradient, capture, probe, state_fingerprint
from bntheory.bridge.curvature import hessian


class StochasticDepth(nn.Module):
    """A branch that is left out at random; at its start, with a scale of zero, it changes the gradient and not the loss."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.net, self.more = mlp(), nn.Linear(3, 3)
        with torch.no_grad():
            for parameter in self.more.parameters():
                parameter.mul_(scale)

    def forward(self, x: Tensor) -> Tensor:
        x = self.net(x)
        return x + self.more(x) * torch.empty(len(x), 1).bernoulli_(0.5)


class Gated(nn.Module):
    """A noisy branch behind two factors that are zero at the start: loss and gradient repeat, and no product with the Hessian does."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.into, self.out = mlp(), nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.net(x)
        return x + self.out * self.into * x * torch.randn(3).to(x)


class Counts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.state = mlp(), iter(range(1, 1_000))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * next(self.state)


class By(nn.Module):
    """A function of one parameter, whose mode is fixed if it has one."""

    def __init__(self, forward: Callable[..., Tensor], weight: Tensor, fixed: bool = False) -> None:
        super().__init__()
        self.weight, self.by, self.fixed = nn.Parameter(weight), forward, fixed

    def train(self, mode: bool = True) -> By:
        if self.fixed:
            raise NotImplementedError("no modes here")
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.by(self, x)


OTHER = copy.deepcopy(NET)
VIEW = next(NET.parameters()).view(-1)


REFUSED = {
    "a loss of another copy": (
        lambda: hessian(NET, lambda out, y: CE(OTHER(X), y), (X, Y)),
        "none of its 6 parameters",
    ),
    "a closure over another copy": (lambda: capture(NET, lambda m: CE(OTHER(X), Y)), "none of its 6 parameters"),
    "a loss of both copies": (
        lambda: probe(NET, lambda out, y: CE(out, y) + OTHER(X).square().mean(), (X, Y)),
        "another copy",
    ),
    "a view of a parameter that was made before": (
        lambda: probe(NET, lambda out, y: CE(out, y) + VIEW.square().mean(), (X, Y)),
        "computed from the parameter .*before the measurement.*inside the loss",
    ),
    "functional dropout": (
        lambda: hessian(NET, lambda out, y: CE(F.dropout(out, 0.5), y), (X, Y)),
        "not deterministic.*seed=",
    ),
    "functional dropout in a twin": (
        lambda: Objective(NET, lambda out, y: CE(F.dropout(out, 0.5), y), (X, Y), mode="frozen").loss_value(),
        "not deterministic.*seed=",
    ),
    "dropout": (lambda: probe(nn.Sequential(mlp(), nn.Dropout(0.5)), CE, (X, Y)), r"dropout is active.*\(1\).*seed="),
    "stochastic depth": (lambda: capture(StochasticDepth(), CE, (X, Y)), "stochastic depth"),
    "stochastic depth of a branch that is zero": (
        lambda: capture(StochasticDepth(0.0), CE, (X, Y)),
        "gradient of the loss is not deterministic.*seed=",
    ),
    "stochastic depth of a branch that is small beside rounding": (
        lambda: hessian(StochasticDepth(1e-5).float(), CE, (X.float(), Y)),
        "gradient of the loss is not deterministic.*seed=",
    ),
    **{
        f"noise in second derivatives alone, {name}": (door, "Hessian of the loss is not deterministic.*seed=")
        for name, door in {
            "hessian": lambda: hessian(Gated(), CE, (X, Y)),
            "probe": lambda: probe(Gated(), CE, (X, Y)),
            "twin": lambda: hessian(Gated(), CE, (X, Y), mode="frozen"),
            "capture": lambda: capture(Gated(), CE, (X, Y)),
            "monitor": lambda: Monitor(Gated(), CE, (X, Y), seed=None),
        }.items()
    },
    "a state between calls": (lambda: along_gradient(Counts(), CE, (X, Y), [0.1]), "keeps a state"),
    "complex parameters": (
        lambda: hessian(nn.Linear(5, 3, dtype=torch.complex64), lambda o: o.abs().mean(), (X.to(torch.complex64),)),
        "weight is complex",
    ),
    "sparse parameters": (
        lambda: hessian(By(lambda s, x: x @ s.weight.to_dense(), torch.eye(5, 3).to_sparse()), CE, (X, Y)),
        r"weight is sparse.*\.to_dense\(\)",
    ),
    "a model that cannot be put into a mode": (
        lambda: probe(By(lambda s, x: x @ s.weight, torch.eye(5, 3), fixed=True), CE, (X, Y)),
        "refuses.*mode='train' asks for .*no modes here.*mode='current'",
    ),
    "a loss that is no tensor": (lambda: capture(NET, lambda out, y: 3.0, (X, Y)), "returned a float"),
    "an infinite input": (lambda: probe(NET, CE, (X / 0, Y)), "non-finite"),
    "a batch of none": (lambda: probe(NET, CE, (X[:0], Y[:0])), "counts* examples"),
    "a last batch of one": (
        lambda: hessian(NET, CE, [(X[:9], Y[:9]), (X[9:], Y[9:])]),
        r"batch\[1\]: layer '1' .*m = 1 .*drop_last",
    ),
    "one value a group": (
        lambda: capture(nn.Sequential(nn.Linear(5, 6), nn.GroupNorm(6, 6)), lambda o: o.sum(), (X,)),
        "1: normalises over a single entry",
    ),
    "eps of zero": (
        lambda: probe(nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, eps=0.0)), CE, (X, Y)),
        "'1' has eps = 0.*to_primitive",
    ),
    "outputs that the loss does not take": (
        lambda: hessian(nn.LSTM(5, 3), CE, (X, Y)),
        "does not take what the model returns in mode 'train', a tuple",
    ),
    "several batches captured": (lambda: capture(NET, CE, [(X, Y), (X, Y)]), "2 batches"),
    "no loss": (lambda: hessian(NET, None, (X, Y)), "loss is None"),
    "an unknown freeze": (lambda: hessian(NET, CE, (X, Y), mode="frozen", freeze="neither"), "freeze is 'neither'"),
    "scripted, captured": (lambda: capture(torch.jit.script(NET), CE, (X, Y)), "scripted"),
    "scripted, frozen": (
        lambda: hessian(torch.jit.script(NET), CE, (X, Y), mode="frozen"),
        "normalises over the batch and is scripted",
    ),
    "an objective and a loss": (lambda: capture(Objective(NET, CE, (X, Y)), CE), "already holds"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_mean_nothing_is_refused(name: str) -> None:
    attempt, message = REFUSED[name]
    before = state_fingerprint(NET, rng=False)
    with pytest.raises(ValueError, match=message):
        attempt()
    assert state_fingerprint(NET, rng=False) == before


def test_a_teacher_without_gradients_is_no_other_copy() -> None:
    teacher = copy.deepcopy(NET).requires_grad_(False).eval()
    found = measured(NET, lambda out, y: CE(out, y) + F.mse_loss(out, teacher(X)), (X, Y))
    assert np.isfinite(found).all()


def test_random_numbers_on_which_nothing_depends_are_no_reason_to_refuse() -> None:
    """As a layer that is left out with probability zero draws them."""
    net = mlp()

    def drawing(out: Tensor, y: Tensor) -> Tensor:
        return CE(out, y) if torch.rand(()) >= 0 else out.sum()

    with hessian(net, drawing, (X, Y)) as drawn, hessian(net, CE, (X, Y)) as plain:
        v = torch.ones(plain.size, dtype=plain.dtype)
        torch.testing.assert_close(drawn.matvec(v), plain.matvec(v), rtol=1e-12, atol=0)


def test_a_stated_seed_makes_one_function() -> None:
    """Oracle: the mask that the seed draws, as a constant tensor."""
    model = nn.Sequential(*mlp()[:3], nn.Dropout(0.5), mlp()[3])
    torch.manual_seed(7)
    mask = F.dropout(torch.ones(10, 6, dtype=torch.float64), 0.5)

    class Masked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * mask

    plain = nn.Sequential(*model[:3], Masked(), model[4])
    expected = oracle.derivatives(plain, CE, (X, Y))[2]
    assert_right(measured(model, CE, (X, Y), seed=7), expected)
    other = measured(model, CE, (X, Y), seed=8)
    assert np.abs(other - expected.numpy()).max() > 1e-3
    assert (
        probe(model, CE, (X, Y), seed=0, dropout="off").network.loss
        != probe(Objective(model, CE, (X, Y), seed=7)).network.loss
    )
