"""Statistics of the batch that a user's own code computes: frozen right in a twin, or the twin is refused by name.

Right values: the same formulas with their statistics detached, differentiated twice in float64 (at the point itself a detached tensor has
the derivatives of a constant). Nothing of the bridge enters them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

from bntheory.bridge import capture, frozen_twin, probe, state_fingerprint
from bntheory.bridge.curvature import hessian

CE = F.cross_entropy
DRAW = torch.Generator().manual_seed(3)
X, Y = torch.randn(12, 4, generator=DRAW), torch.arange(12) % 3


def alive(t: Tensor) -> Tensor:
    return t


Statistics = Callable[[Any, Tensor, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], Tensor]


class Layer(nn.Module):
    """A layer by a formula, in which ``mean`` and ``scale`` are held constant by the oracle alone."""

    def __init__(self, formula: Statistics, **attributes: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(5) + 0.5), nn.Parameter(torch.randn(5))
        self.formula, self.mean, self.scale = formula, alive, alive
        self.__dict__.update(attributes)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * self.formula(self, x, self.mean, self.scale) + self.bias


def einsum(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    mu = x.sum(0) / len(x)
    var = torch.einsum("ij,ij->j", x - mu, x - mu) / len(x)
    return (x - mean(mu)) / scale((var + s.eps).sqrt())


def matrix_product(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    average = x.new_ones(1, len(x)) / len(x)
    mu = average @ x
    return (x - mean(mu)) * scale((average @ (x - mu).square() + s.eps).rsqrt())


def unbiased(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    return (x - mean(x.mean(0))) / scale(torch.sqrt(x.var(0) + 1e-5))  # an eps without a name


class Fused(torch.autograd.Function):
    """Right in its first derivative, whose intermediate results are constants to the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.var(0, unbiased=False) + 1e-5)
        ctx.save_for_backward((x - x.mean(0)) * scale, scale)
        return (x - x.mean(0)) * scale

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        y_hat, scale = ctx.saved_tensors
        return scale * (g - g.mean(0) - y_hat * (g * y_hat).mean(0))


def fused(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    if mean is alive and scale is alive:
        return Fused.apply(x)
    return (x - mean(x.mean(0))) / scale((x.var(0, unbiased=False) + 1e-5).sqrt())


def net(layer: nn.Module, behind: nn.Module | None = None) -> nn.Sequential:
    """A perceptron with the layer, and with torch's batch norm elsewhere: a twin is made either way."""
    torch.manual_seed(1)
    for p in layer.parameters():
        nn.init.normal_(p)
    return nn.Sequential(nn.Linear(4, 5), layer, behind or nn.Tanh(), nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))  # fmt: skip


def standard(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
    mu = x.mean(0)
    return (x - mean(mu)) / scale((((x - mu) ** 2).mean(0) + 1e-5).sqrt())


def by_formulas(model: nn.Sequential, freeze: str | None) -> nn.Sequential:
    """The network of :func:`net` with torch's own layer written by a formula as well, and its statistics as constants."""
    other = Layer(standard)
    other.weight, other.bias = model[4].weight, model[4].bias
    model[4] = other
    for layer in (model[1], other):
        layer.mean = Tensor.detach if freeze in ("both", "mean") else alive
        layer.scale = Tensor.detach if freeze in ("both", "variance") else alive
    return model


def right(formula: Statistics, freeze: str | None, **attributes: float) -> tuple[float, dict[str, Tensor], Tensor]:
    """Loss, gradient and Hessian."""
    return oracle.derivatives(by_formulas(net(Layer(formula, **attributes)), freeze), CE, (X, Y))


def assert_right(found: np.ndarray, expected: Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-8 * float(expected.abs().max()))


CLOSED = {"einsum": (einsum, {"eps": 1e-3}), "matrix product": (matrix_product, {"eps": 1e-5}), "unbiased": (unbiased, {}), "fused": (fused, {})}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED)
def test_batch_norm_in_any_writing_is_frozen(name: str) -> None:
    formula, attributes = CLOSED[name]
    model = net(Layer(formula, **attributes))
    before = state_fingerprint(model, rng=False)
    for freeze in ("both", "mean", "variance"):
        value, gradient, matrix = right(formula, freeze, **attributes)
        with hessian(model, CE, (X, Y), mode="frozen", freeze=freeze, dtype=torch.float64) as op:
            assert_right(op.dense(), matrix)
            assert op.loss == pytest.approx(value, rel=1e-11)
        twin = frozen_twin(model, X, freeze=freeze)
        CE(twin(X), Y).backward()
        for key, p in twin.named_parameters():
            torch.testing.assert_close(p.grad.double(), gradient[key], rtol=1e-3, atol=1e-5)
    layers = capture(model, CE, (X, Y), dtype=torch.float64)
    assert list(layers.layers) == ["1", "4"]
    assert all(bool(layer.gradient_residual().passed.all()) for layer in layers)
    if name != "fused":
        assert_right(hessian(model, CE, (X, Y), dtype=torch.float64).dense(), right(formula, None, **attributes)[2])
    assert state_fingerprint(model, rng=False) == before


OWN: dict[str, Statistics] = {
    "largest": lambda s, x, mean, scale: (x - mean(x.mean(0))) / scale((x - x.mean(0)).abs().amax(0) + 1e-5),
    "mean absolute deviation": lambda s, x, mean, scale: (x - mean(x.mean(0))) / scale((x - x.mean(0)).abs().mean(0)),
    "eps beside the deviation": lambda s, x, mean, scale: (x - mean(x.mean(0))) / scale(x.std(0) + 1e-3),
    "second moment": lambda s, x, mean, scale: x / scale((x.square().mean(0) + 1e-5).sqrt()),
    "mean alone": lambda s, x, mean, scale: x - mean(x.mean(0)),
    "median": lambda s, x, mean, scale: x - mean(x.median(0).values),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_another_normalisation_over_the_batch_is_frozen_as_a_whole(name: str) -> None:
    model = net(Layer(OWN[name]))
    value, _, matrix = right(OWN[name], "both")
    with hessian(model, CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), matrix)
        assert op.loss == pytest.approx(value, rel=1e-11)
    found = probe(model, CE, (X, Y), tol=1e-8)
    assert found.twin.lambda_max == pytest.approx(oracle.top(matrix), rel=1e-6)
    assert [layer.name for layer in found.layers] == ["4"]
    assert "statistics of its own" in found.left_out["1"]
    for freeze in ("mean", "variance"):
        with pytest.raises(ValueError, match=r"layer '1' .* by a scale of its own.*freeze='both'"):
            frozen_twin(model, X, freeze=freeze)


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_parameter_that_enters_a_statistic_does_not_move_it(share: float) -> None:
    """Graph normalisation (Cai et al. 2021, equation 4), with a learned share of the mean; at a share of 1 its values are batch norm's."""

    def graph_norm(s: Any, x: Tensor, mean: Any, scale: Any) -> Tensor:
        centred = x - s.share * mean(x.mean(0))
        return centred / scale((centred.square().mean(0) + 1e-5).sqrt())

    def network() -> nn.Sequential:
        model = net(Layer(graph_norm))
        model[1].share = nn.Parameter(torch.full((5,), share))
        return model

    with hessian(network(), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(by_formulas(network(), "both"), CE, (X, Y))[2])
    for freeze in ("mean", "variance"):
        with pytest.raises(ValueError, match=r"layer '1'.*neither its mean nor its scale.*freeze='both'"):
            hessian(network(), CE, (X, Y), mode="frozen", freeze=freeze)


class Whitened(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        c = x - x.mean(0)
        root = torch.linalg.cholesky(c.T @ c / len(x) + 0.01 * torch.eye(x.shape[1]))
        return torch.linalg.solve_triangular(root, c.T, upper=False).T


class Inline(nn.Module):
    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.one, self.bn, self.two, self.between = (nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3), between)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.between(torch.tanh(self.bn(self.one(x)))))


def correlated(outputs: Tensor, y: Tensor) -> Tensor:
    z = (outputs - outputs.mean(0)) / outputs.std(0)
    return (z.T @ z / len(z) - torch.eye(3)).square().sum() + CE(outputs, y)


class Calls(nn.Module):
    """Batch normalisation by another call than torch's functional one."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


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


def unit(h: Tensor, eps: float = 0.0) -> Tensor:
    return torch.einsum("nc,c->nc", h, (torch.einsum("nc,nc->c", h, h) / len(h) + eps).rsqrt())


def entropy_and(term: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda o, y: CE(o, y) + term(o)


HIDDEN_IN_A_LOSS: dict[str, Any] = {
    "a correlation alone": lambda o, y: (torch.corrcoef(o.T) - torch.eye(3)).square().sum(),
    "a correlation beside it": entropy_and(lambda o: torch.corrcoef(o.T).abs().mean()),
    "a correlation of what it computes": entropy_and(
        lambda o: torch.corrcoef(torch.tanh(o @ o.new_tensor([[1, 2], [3, -1], [0, 1]])).T).sum()
    ),
    "a correlation with the labels": lambda o, y: 1 - torch.corrcoef(torch.stack([o[:, 0], y.to(o)]))[0, 1],
    "einsum": lambda o, y: CE(unit(o), y),
    "columns' cosines": entropy_and(lambda o: F.cosine_similarity(o, o.roll(1, 1), dim=0).sum()),
}

UNRECOGNISED: dict[str, Callable[[Tensor], Tensor]] = {
    "a function of its own": Twice.apply,
    "repeated": lambda h: (h - h.mean(0).repeat(len(h), 1)) * moments(h)[1].repeat(len(h), 1),
    "einsum": lambda h: torch.einsum("nc,c->nc", h - h.mean(0), moments(h)[1]),
    "a linear map": lambda h: F.linear(h, torch.diag(moments(h)[1]), -moments(h)[0] * moments(h)[1]),
    "a transform": looped,
    "whitened": lambda h: Whitened()(h),
    "channels first": across,
    "a mean alone": lambda h: h - h.mean(0),
    "a second moment": lambda h: unit(h, 1e-3),
    "orthonormal columns": lambda h: torch.linalg.qr(h)[0],
}  # fmt: skip

OUT_OF_REACH: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "in the middle": (lambda: Inline(lambda h: h / (h.abs().amax(0) + 0.1)), CE, r"'\(model\)'.*in the middle"),
    "expanded": (lambda: Inline(lambda h: h / (h.abs().amax(0) + 0.1).expand_as(h)), CE, r"'\(model\)'.*in the middle"),
    "by a unit norm of the columns": (lambda: Inline(lambda h: F.normalize(h, dim=0)), CE, r"'\(model\)'.*in the middle"),
    "in the loss": (lambda: Inline(lambda h: h), correlated, r"'\(loss\)'.*in the middle"),
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


def mixed(h: Tensor) -> Tensor:
    """A graph, a set's mean that is added, and an attention over the batch: examples mix, and nothing is normalised."""
    h = h + 0.5 * h.roll(1, 0) + torch.tanh(h.mean(0))
    return torch.softmax(h @ h.T, 1) @ h


STANDARDISED = nn.Parameter(torch.randn(5, 5, generator=DRAW))


def attended(h: Tensor) -> Tensor:
    """A shift of every key changes nothing, and no example meets another."""
    keys = (h[:, None] * torch.linspace(-1, 1, 4).to(h)[:, None]).tanh()
    return (torch.softmax((keys * h[:, None].roll(1, 2)).sum(2), 1)[..., None] * keys).sum(1)


def within(h: Tensor, axis: int) -> Tensor:
    h = torch.stack([h, h.sin(), h.cos()], 1).flatten(0, 1)  # several rows an example
    h = h if axis else h.T
    h = (h - h.mean(axis, keepdim=True)) / (h.var(axis, keepdim=True) + 1e-5).sqrt()
    return (h if axis else h.T).unflatten(0, (-1, 3)).sum(1)


def apart(h: Tensor) -> Tensor:
    """Squared distances between all examples: shifts change nothing, and scales do."""
    return (h[:, None] - h).square().mean(1)


def graph_attention(h: Tensor) -> Tensor:
    """A softmax over each node's edges, with the largest taken away for safety's sake, and each node's mean of its neighbours."""
    to, of = (
        torch.arange(12).repeat(3),
        (torch.arange(12).repeat(3) + torch.tensor([1, 2, 5]).repeat_interleave(12)) % 12,
    )
    e = h[to] * h[of]
    e = torch.exp(e - e.max())
    total = h.new_zeros(12, 5).index_add(0, to, e)
    mean = h.new_zeros(12, 5).index_add(0, to, torch.einsum("ec,ec,ec->ec", e, total.reciprocal()[to], h[of]))
    return F.normalize(torch.cat([h, mean], 1), dim=1)[:, 2:7]


def variance_and_covariance(o: Tensor) -> Tensor:
    centred = o - o.mean(0)
    return F.relu(1 - o.std(0)).mean() + (centred.T @ centred / len(o)).square().sum() + torch.cov(o.T).abs().sum()


def contrast(o: Tensor) -> Tensor:
    z = F.normalize(o, dim=1)
    return CE(z @ z.roll(1, 1).T / 0.2, torch.arange(len(z)))


ALLOWED: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "examples that mix": (lambda: Inline(mixed), CE),
    "a context that is taken away": (lambda: net(Calls(lambda x: x - torch.tanh(x.mean(0)))), CE),
    "a spread of the batch as a feature": (lambda: Inline(lambda h: h + h.var(0).mean()), CE),
    "examples' own scale": (lambda: Inline(lambda h: (h - h.mean(1, keepdim=True)) / h.norm(dim=1, keepdim=True)), CE),
    "attention": (lambda: Inline(attended), CE),
    "rows of examples": (lambda: Inline(lambda h: within(h, 1)), CE),
    "a graph that joins all, normalised an example": (lambda: Inline(lambda h: F.layer_norm(h + h.mean(0), (5,))), CE),
    "distances": (lambda: Inline(apart), CE),
    "differences": (lambda: Inline(lambda h: (h[:, :1] - h[:, :1].T).tanh()[:, :5]), CE),
    "a standardised weight": (lambda: Inline(lambda h: h @ F.layer_norm(STANDARDISED.to(h), (5,))), CE),
    "detached statistics": (lambda: Inline(lambda h: h / h.detach().abs().amax(0)), CE),
    "a spread in the loss": (lambda: Inline(lambda h: h), lambda o, y: CE(o, y) + F.relu(1 - o.std(0)).mean()),
    "a graph's attention": (lambda: Inline(graph_attention), CE),
    "covariances in the loss": (lambda: Inline(lambda h: h), entropy_and(variance_and_covariance)),
    "contrasts in the loss": (lambda: Inline(lambda h: h), entropy_and(contrast)),
    "a softmax over the batch in the loss": (lambda: Inline(lambda h: h), entropy_and(lambda o: (torch.softmax(o, 0) * o).sum())),
    "a correlation that is only looked at": (lambda: Inline(lambda h: h), lambda o, y: {"loss": CE(o, y), "seen": torch.corrcoef(o.T).sum()}),
    "a weighted mean": (lambda: Inline(lambda h: h), lambda o, y: (o[:, 0].exp() * CE(o, y, reduction="none")).sum() / o[:, 0].exp().sum()),
}  # fmt: skip


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


@pytest.mark.parametrize("name", ALLOWED)
def test_mixing_examples_is_no_normalisation(name: str) -> None:
    make, loss = ALLOWED[name]
    with hessian(make(), loss, (X, Y), mode="frozen", dtype=torch.float64) as op:
        alone = (lambda o, y: loss(o, y)["loss"]) if "looked at" in name else loss
        assert_right(op.dense(), oracle.derivatives(make(), alone, (X, Y), frozen=True)[2])


def test_a_hook_that_only_looks_stands_against_nothing() -> None:
    model, seen = net(Layer(einsum, eps=1e-3)), []
    model[1].register_forward_hook(lambda m, args, z: seen.append(float(z.detach().sum())))
    with hessian(model, CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), right(einsum, "both", eps=1e-3)[2])


def test_inputs_that_are_standardised_are_constants() -> None:
    class Standardises(Inline):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - x.mean(0)) / x.std(0))

    standardised = (X.double() - X.double().mean(0)) / X.double().std(0)
    with hessian(Standardises(torch.tanh), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        assert_right(op.dense(), oracle.derivatives(Inline(torch.tanh), CE, (standardised, Y), frozen=True)[2])


def test_a_packed_sequence_is_one_input() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.rnn, self.bn, self.out = nn.RNN(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)

        def forward(self, x: PackedSequence) -> Tensor:
            h = self.rnn(x)[0]
            h = PackedSequence(self.bn(h.data), h.batch_sizes, h.sorted_indices, h.unsorted_indices)
            padded, lengths = pad_packed_sequence(h)
            return self.out(padded.sum(0) / lengths[:, None])

    parts = [torch.randn(n, 2, generator=torch.Generator().manual_seed(n)) for n in (4, 2, 3, 1, 2, 3)]
    packed, labels = pack_sequence(parts, enforce_sorted=False), torch.arange(6) % 3
    found = probe(Recurrent(), CE, (packed, labels), tol=1e-8)
    for at, frozen in ((found.network, False), (found.twin, True)):
        matrix = oracle.derivatives(Recurrent(), CE, (packed, labels), frozen=frozen)[2]
        assert at.lambda_max == pytest.approx(oracle.top(matrix), rel=1e-6)


@pytest.mark.parametrize("name", ["(loss)", "(model)", "bn#2", "a#b", "#"])
@pytest.mark.parametrize("by_hand", [True, False])
def test_no_name_of_a_layer_hides_another(name: str, by_hand: bool) -> None:
    """Layers, calls and the loss have names of their own, whatever the modules are called; right is the count of what is called."""

    class Named(Inline):
        def __init__(self) -> None:
            super().__init__(torch.tanh)
            self.add_module(name, Layer(standard) if by_hand else nn.BatchNorm1d(5))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.bn(self.one(x)))
            return self.two(torch.tanh(self._modules[name](torch.tanh(self.bn(h + h.square())))))

    def normalising(o: Tensor, y: Tensor) -> Tensor:
        return CE(F.batch_norm(o, None, None, training=True), y)

    found = capture(Named(), normalising, (X, Y), dtype=torch.float64)
    assert len(found.layers) == 4
    assert {"bn", name} < set(found.layers)
    assert len(found.layers[name].gamma) == 5
    assert all(bool(layer.gradient_residual().passed.all()) for layer in found)
    twin = frozen_twin((Named(), normalising, (X, Y)))
    assert type(twin._modules[name]).__name__.startswith("Frozen")
    with pytest.raises(ValueError, match=r"split=6 would change the function: .*\(loss\) normalise by the statistics"):
        hessian(Named(), normalising, (X, Y), split=6)


def test_a_layer_written_by_hand_may_be_the_model() -> None:
    layer, targets = net(Layer(standard))[1], torch.randn(12, 5, generator=torch.Generator().manual_seed(4))
    found = capture(layer, F.mse_loss, (torch.randn(12, 5, generator=DRAW), targets), dtype=torch.float64)
    assert list(found.layers) == ["(model)"]
    assert bool(found.layers["(model)"].gradient_residual().passed.all())


class PostNorm(nn.Module):
    """A batch norm, then blocks with a layer norm behind a small branch: each is nearly indifferent to a shift of all features of an entry."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm, self.head = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.branches = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(2))
        for branch in self.branches:
            nn.init.normal_(branch.weight, std=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x.reshape(len(x), -1, 3)).transpose(1, 2)).transpose(1, 2)
        for branch, norm in zip(self.branches, self.norms, strict=True):
            h = norm(h + torch.tanh(branch(h)))
        return self.head(h.mean(1))


@pytest.mark.parametrize("examples", [6, 24])
def test_a_layer_norm_behind_a_small_branch_is_none_over_the_batch(examples: int) -> None:
    batch = (torch.randn(examples, 15, generator=torch.Generator().manual_seed(1)), torch.arange(examples) % 3)
    with hessian(PostNorm(), CE, batch, mode="frozen", dtype=torch.float64) as op:
        expected = oracle.derivatives(PostNorm(), CE, batch, frozen=True)[2].numpy()
        np.testing.assert_allclose(op.dense(), expected, atol=1e-9 * np.abs(expected).max())


def test_a_layer_by_hand_whose_gamma_is_zero_is_none_over_the_batch_for_that() -> None:
    """Every form has a constant output then; what divides by its batch is refused as long as it cannot be told."""

    class Within(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(5))

        def forward(self, x: Tensor) -> Tensor:
            centred = x - x.mean(1, keepdim=True)
            return self.weight * centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + self.bias

    class Residual(Inline):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__(torch.tanh)
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            h = self.bn(self.one(x))
            return self.two(torch.tanh(h + self.layer(h)))

    expected = oracle.derivatives(Residual(Within()), CE, (X, Y), frozen=True)[2].numpy()
    with hessian(Residual(Within()), CE, (X, Y), mode="frozen", dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), expected, atol=1e-9 * np.abs(expected).max())
    over = Layer(standard, eps=1e-5)
    nn.init.zeros_(over.weight)
    nn.init.zeros_(over.bias)
    with pytest.raises(ValueError, match=r"layer 'layer'.*keep them alive"):
        hessian(Residual(over), CE, (X, Y), mode="frozen")
