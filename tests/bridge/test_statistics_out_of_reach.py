"""Statistics of the batch that no constants could replace, or that a twin would keep alive: it is refused, and the network is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from statistics_by_hand import CE, SERIES, Calls, Fused, Inline, Sequences, X, Y, entropy_and, net, standardised_over
from torch import Tensor, nn
from torch.nn import functional as F

from bntheory.bridge import probe
from bntheory.bridge.curvature import hessian


class Whitened(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        c = x - x.mean(0)
        root = torch.linalg.cholesky(c.T @ c / len(x) + 0.01 * torch.eye(x.shape[1]))
        return torch.linalg.solve_triangular(root, c.T, upper=False).T


def correlated(outputs: Tensor, y: Tensor) -> Tensor:
    z = (outputs - outputs.mean(0)) / outputs.std(0)
    return (z.T @ z / len(z) - torch.eye(3)).square().sum() + CE(outputs, y)


def hooked() -> nn.Module:
    model = net(nn.Identity())
    model[1].register_forward_hook(lambda m, args, z: (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt())
    return model


class Twice(Fused):
    """Right in its second derivative as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x - x.mean(0)) * moments(x)[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        mean, scale = moments(x)
        y_hat = (x - mean) * scale
        return scale * (g - g.mean(0) - y_hat * (g * y_hat).mean(0))


def moments(h: Tensor) -> tuple[Tensor, Tensor]:
    return h.mean(0), (h.var(0, unbiased=False) + 1e-5).rsqrt()


def across(h: Tensor) -> Tensor:
    """Channels first, their number a multiple of the examples': no axis tells by its length what it counts."""
    h = h.repeat(1, 24)[:, :24].T * torch.linspace(0.5, 2, 24).to(h)[:, None]
    h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True) + 1e-5).sqrt()
    return h.T[:, :5]


def looped(h: Tensor) -> Tensor:
    return torch.vmap(lambda c, mean, scale: (c - mean) * scale, (1, 0, 0), 1)(h, *moments(h))


def mapped(h: Tensor) -> Tensor:
    """Statistics from outside of the transform, with so large an eps that a scale of a channel changes much."""
    mean, scale = h.mean(0), (h.var(0) + 0.5).rsqrt()
    return torch.vmap(lambda example: (example - mean) * scale)(h)


def softened(apply: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """By so large an eps that a scale of a channel changes much: told by its form alone."""
    return lambda h: apply(h, h.mean(0, keepdim=True), (h.var(0, keepdim=True) + 0.5).sqrt())


SOFTENED: dict[str, Callable[[Tensor], Tensor]] = {
    "einsum": softened(lambda h, mean, scale: torch.einsum("nc,c->nc", h - mean, 1 / scale[0])),
    "a linear map": softened(lambda h, mean, scale: F.linear(h, torch.diag(1 / scale[0]), -(mean / scale)[0])),
    "a product": softened(lambda h, mean, scale: (h - mean) @ torch.diag(1 / scale[0])),
    "a product and a sum": softened(lambda h, m, s: torch.addmm(-(m / s).expand_as(h), h, torch.diag_embed(1 / s[0]))),
    "a quotient and a sum": softened(lambda h, mean, scale: torch.addcdiv(-mean / scale, h, scale.expand_as(h))),
    "a product of entries and a sum": softened(lambda h, mean, scale: torch.addcmul(-mean / scale, h, 1 / scale)),
}  # fmt: skip


def unit(h: Tensor, eps: float = 0.0) -> Tensor:
    return grouped(h, (torch.einsum("nc,nc->c", h, h) / len(h) + eps).rsqrt())


def grouped(h: Tensor, scale: Tensor) -> Tensor:
    """A product with one number a channel that no form tells as one."""
    return F.conv1d(h[:, :, None], scale[:, None, None], groups=h.shape[1])[:, :, 0]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.to(a).norm())


HIDDEN_IN_A_LOSS: dict[str, Any] = {
    "a correlation alone": lambda o, y: (torch.corrcoef(o.T) - torch.eye(3)).square().sum(),
    "a correlation beside it": entropy_and(lambda o: torch.corrcoef(o.T).abs().mean()),
    "a correlation of what it computes": entropy_and(
        lambda o: torch.corrcoef(torch.tanh(o @ o.new_tensor([[1, 2], [3, -1], [0, 1]])).T).sum()
    ),
    "a correlation with the labels": lambda o, y: 1 - torch.corrcoef(torch.stack([o[:, 0], y.to(o)]))[0, 1],
    "a convolution": lambda o, y: CE(unit(o), y),
    "a correlation by norms": lambda o, y: 1 - cosine(o[:, 0] - o[:, 0].mean(), y - y.double().mean()),
    "a correlation by norms of every channel": lambda o, y: (
        3 - sum(cosine(c - c.mean(), y - y.double().mean()) for c in o.T)
    ),
    "a similarity of columns": lambda o, y: -F.cosine_similarity(o - o.mean(0), F.one_hot(y) - 1 / 3, dim=0).sum(),
    "an alignment": lambda o, y: alignment(o, y),
    "columns' cosines": entropy_and(lambda o: F.cosine_similarity(o, o.roll(1, 1), dim=0).sum()),
}


def projector(h: Tensor) -> Tensor:
    return torch.eye(len(h)).to(h) - 1 / len(h)


CENTRED: dict[str, Callable[[Tensor], Tensor]] = {
    "a negative": lambda h: h + (-h.mean(0)),
    "a factor": lambda h: torch.add(h, h.mean(0), alpha=-1),
    "a copy": lambda h: h - h.mean(0, keepdim=True).repeat(len(h), 1),
    "a stack": lambda h: h - torch.stack([h.mean(0)] * len(h)),
    "an outer product": lambda h: h - torch.outer(h.new_ones(len(h)), h.mean(0)),
    "a product and a sum": lambda h: torch.addmm(h, h.new_ones(len(h), 1), h.mean(0)[None], alpha=-1),
    "all the others": lambda h: h - (h.sum(0) - h) / (len(h) - 1),
    "a projector": lambda h: projector(h) @ h,
    "an einsum": lambda h: torch.einsum("ij,jc->ic", projector(h), h),
    "a linear map": lambda h: h - F.linear(h.T, h.new_full((len(h), len(h)), 1 / len(h))).T,
    "its lowest frequency": lambda h: torch.fft.irfft(torch.cat([h.new_zeros(1, 5), torch.fft.rfft(h, dim=0)[1:]]), len(h), dim=0),
    "a uniform attention": lambda h: h - torch.softmax(0 * h @ h.T, 1) @ h,
    "the first example": lambda h: h - h[torch.zeros(len(h), dtype=torch.long)],
}  # fmt: skip


def alignment(outputs: Tensor, y: Tensor) -> Tensor:
    """Of two kernels (CKA): one scale for all channels, and each channel's mean."""
    outputs = outputs - outputs.mean(0)
    return -cosine(outputs @ outputs.T, F.one_hot(y).double() @ F.one_hot(y).double().T)


UNRECOGNISED: dict[str, Callable[[Tensor], Tensor]] = {
    "a function of its own": Twice.apply,
    "repeated": lambda h: (h - h.mean(0).repeat(len(h), 1)) * moments(h)[1].repeat(len(h), 1),
    "a convolution": lambda h: grouped(h - h.mean(0), moments(h)[1]),
    "an affine map": lambda h: grouped(h, moments(h)[1]) - moments(h)[0] * moments(h)[1],
    "a transform": looped,
    "whitened": lambda h: Whitened()(h),
    "channels first": across,
    "a mean alone": lambda h: h - h.mean(0),
    **{f"a mean alone, by {way}": centre for way, centre in CENTRED.items()},
    "a second moment": lambda h: unit(h, 1e-3),
    "orthonormal columns": lambda h: torch.linalg.qr(h)[0],
}  # fmt: skip


OUT_OF_REACH: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "in the middle": (lambda: Inline(lambda h: h / (h.abs().amax(0) + 0.1)), CE, r"'\(model\)'.*by hand"),
    "expanded": (lambda: Inline(lambda h: h / (h.abs().amax(0) + 0.1).expand_as(h)), CE, r"'\(model\)'.*by hand"),
    "by a unit norm of the columns": (lambda: Inline(lambda h: F.normalize(h, dim=0)), CE, r"'\(model\)'.*by hand"),
    "outside of a transform": (lambda: Inline(mapped), CE, r"'\(model\)'.*by hand"),
    **{f"softened, {name}": (lambda f=f: Inline(f), CE, r"'\(model\)'.*by hand") for name, f in SOFTENED.items()},
    "in the loss": (lambda: Inline(lambda h: h), correlated, r"'\(loss\)'.*by hand"),
    "whitening": (lambda: net(Whitened()), CE, "'1'.*no affine map"),
    **{f"in the middle, {name}": (lambda f=f: Inline(f), CE, r"'\(model\)' returns what is then normalised") for name, f in UNRECOGNISED.items()},
    **{f"in the loss, {name}": (lambda: Inline(lambda h: h), loss, r"'\(loss\)' normalises over the batch in a way") for name, loss in HIDDEN_IN_A_LOSS.items()},
    "under a maximum": (  # as in EvoNorm-B1
        lambda: net(Calls(lambda x: x / (x.var(0) + 1e-5).sqrt().max((x + 1) * x.square().mean(1, keepdim=True).sqrt()))), CE, "'1'.*divides by a statistic"),
    "transposed": (lambda: net(Calls(lambda x: F.layer_norm(x.T, (len(x),)).T)), CE, "'1'.*layer normalisation of a transposed input"),
    "as instances": (lambda: net(Calls(lambda x: F.instance_norm(x.T[None])[0].T)), CE, "'1'.*instance normalisation of a transposed"),
    "past the functional interface": (
        lambda: net(Calls(lambda x: torch.native_batch_norm(x, None, None, None, None, True, 0.1, 1e-5)[0])), CE, r"'\(unseen\)'.*is called past"),
    "in a hook": (hooked, CE, "'1'.*in a hook"),
    "scripted": (lambda: net(torch.jit.script(nn.BatchNorm1d(5))), CE, "'1'.*is scripted"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("name", OUT_OF_REACH)
def test_a_twin_that_would_keep_statistics_alive_is_refused(name: str) -> None:
    make, loss, told = OUT_OF_REACH[name]
    with pytest.raises(ValueError, match=rf"layer {told}.*keep them alive"):
        hessian(make(), loss, (X, Y), mode="frozen")
    found = probe(make(), loss, (X, Y), tol=1e-8)
    assert "keep them alive" in found.missing["twin"]
    if name != "scripted":
        expected = oracle.top(oracle.derivatives(make(), loss, (X, Y))[2])
        assert found.network.lambda_max == pytest.approx(expected, rel=1e-6)


def test_a_probe_tells_what_cannot_be_frozen_also_where_nothing_else_can() -> None:
    model = nn.Sequential(nn.Linear(4, 5), Whitened(), nn.Linear(5, 3))
    found = probe(model, CE, (X, Y), curvature=False)
    assert "layer '1' normalises over the batch" in found.missing["twin"]
    assert "mode='frozen'" in probe(net(nn.Tanh()), CE, (X, Y), mode="frozen", curvature=False).missing["twin"]


@pytest.mark.parametrize("name", ["in the loss", *(f"in the loss, {name}" for name in HIDDEN_IN_A_LOSS)])
def test_a_closure_that_would_keep_statistics_alive_is_refused(name: str) -> None:
    make, loss, told = OUT_OF_REACH[name]
    with pytest.raises(ValueError, match=rf"layer {told}.*keep them alive"):
        hessian(make(), lambda model: loss(model(X), Y), mode="frozen")
    assert hessian(make(), lambda model: CE(model(X), Y), mode="frozen").loss > 0


@pytest.mark.parametrize("axes", [(0,), (0, 1)], ids=["every position", "a channel"])
@pytest.mark.parametrize("parts", [{}, {"scale": False}, {"mean": False}], ids=["both", "mean", "scale"])
@pytest.mark.parametrize("behind", [torch.tanh, torch.nn.Identity()], ids=["tanh", "nothing"])
def test_statistics_of_sequences_that_a_twin_would_keep_alive(axes: Any, parts: Any, behind: Any) -> None:
    """Those of every position by itself, and those of all, although positions hardly differ behind their mean."""
    normalise = standardised_over(*axes, **parts)
    with pytest.raises(ValueError, match=r"layer '(one|\(model\))' .*keep them alive"):
        hessian(Sequences(lambda h: behind(normalise(h))), CE, SERIES, mode="frozen", dtype=torch.float64)


class Images(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.bn, self.two = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1)
        self.head, self.between = nn.Linear(5, 3), between

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.two(self.bn(self.one(x)).relu())).relu().mean((2, 3)))


PICTURES = torch.randn(6, 3, 6, 6, generator=torch.Generator().manual_seed(2)), torch.arange(6) % 3


@pytest.mark.parametrize("axes", [(0, 2, 3), (0,), (0, 1, 2, 3)], ids=str)
def test_a_mean_of_images_that_a_twin_would_keep_alive(axes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"layer 'two' returns what is then normalised.*keep them alive"):
        hessian(Images(lambda h: h + (-h.mean(axes, keepdim=True))), CE, PICTURES, mode="frozen", dtype=torch.float64)


@pytest.mark.parametrize("axes", [(2, 3), (1, 2, 3), (1,)], ids=str)
def test_a_mean_of_each_image_by_itself_is_none_of_the_batch(axes: tuple[int, ...]) -> None:
    model = Images(lambda h: h + (-h.mean(axes, keepdim=True)))
    with hessian(model, CE, PICTURES, mode="frozen", dtype=torch.float64) as op:
        assert op.loss > 0


def test_a_closure_s_data_that_is_normalised_first_is_frozen() -> None:
    """By hand, right on the data: its statistics are constants already. Right: the batch given as such."""
    model = nn.Sequential(
        Calls(lambda x: (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()), Inline(torch.tanh)
    )
    matrices = [
        hessian(model, *given, mode="frozen", dtype=torch.float64).dense()
        for given in ((lambda m: CE(m(X.to(m[1].one.weight)), Y),), (CE, (X, Y)))
    ]
    np.testing.assert_allclose(*matrices, atol=1e-12)


def test_a_correlation_in_a_loss_of_the_model_s_own() -> None:
    class WithLoss(Inline):
        share = 1.0

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            o = super().forward(x)
            return {"loss": CE(o, y) + self.share * torch.corrcoef(o.T).square().sum(), "logits": o}

    model = WithLoss(torch.tanh)
    with pytest.raises(ValueError, match=r"layer '\(loss\)' normalises over the batch in a way.*keep them alive"):
        hessian(model, None, {"x": X, "y": Y}, mode="frozen")
    model.share = 0.0
    assert hessian(model, None, {"x": X, "y": Y}, mode="frozen").loss > 0
