"""What a loss may return and differentiate, and what a forward pass may do beside computing: right, or refused by name.

Right values come from ``network_oracle`` (primitive operations, double backward in float64) or from a network written otherwise.
"""

from __future__ import annotations

import random
from collections import UserDict
from collections.abc import Callable
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from bntheory.bridge import (
    Monitor,
    Objective,
    along_gradient,
    capture,
    covariate_shift,
    frozen_twin,
    probe,
    state_fingerprint,
)
from bntheory.bridge.curvature import hessian

CE = F.cross_entropy
torch.manual_seed(3)
X, Y = torch.randn(10, 4), torch.arange(10) % 3
WORDS = torch.randint(7, (10, 3))


class Net(nn.Module):
    """A perceptron with batch normalisation between two functions of a test's own."""

    def __init__(self, before: Callable[..., Any] = lambda s, x: x, after: Callable[..., Any] = lambda s, z: z) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.bn, self.out = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
        self.before, self.after = before, after

    def forward(self, x: Any) -> Any:
        return self.after(self, self.out(torch.tanh(self.bn(self.fc(self.before(self, x))))))


def dense(model: Any, loss: Any, batch: Any, **options: Any) -> np.ndarray:
    with hessian(model, loss, batch, **{"dtype": torch.float64, **options}) as op:
        return op.dense()


def assert_right(found: np.ndarray, expected: Tensor, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=rtol * float(expected.abs().max()))


PLAIN = oracle.derivatives(Net(), CE, (X, Y))

# -- what a loss returns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [lambda v: (v, {"accuracy": 0.5}), lambda v: [v, torch.ones(4)], lambda v: {"loss": v, "entropy": v * 2}],
    ids=["in a tuple", "in a list", "by name"],
)
def test_a_loss_beside_other_results_is_taken_where_there_is_no_doubt(beside: Any) -> None:
    def loss(out: Tensor, y: Tensor) -> Any:
        return beside(CE(out, y))

    assert_right(dense(Net(), loss, (X, Y)), PLAIN[2])
    assert probe(Net(), loss, (X, Y)).network.loss == pytest.approx(PLAIN[0], rel=1e-12)


@pytest.mark.parametrize("results", [lambda v: (v, v.square()), lambda v: (torch.ones(4), v), lambda v: {"ce": v}])
def test_several_results_in_doubt_are_refused_with_the_way_out(results: Any) -> None:
    with pytest.raises(ValueError, match=r"the one to differentiate: lambda \*a: loss\(\*a\)\[0\]"):
        hessian(Net(), lambda out, y: results(CE(out, y)), (X, Y))


# -- losses that normalise over the batch, and twins of the mode that is measured --------------------------------------------


class Decorrelated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(3, affine=False)

    def forward(self, out: Tensor, y: Tensor) -> Tensor:
        z = self.bn(out)
        return CE(z, y) + (z.T @ z / len(z) - torch.eye(3)).square().mean()


def functional_in_loss(out: Tensor, y: Tensor) -> Tensor:
    return CE(F.batch_norm(out, None, None, training=True), y)


@pytest.mark.parametrize("loss", [Decorrelated(), functional_in_loss], ids=["module", "function"])
def test_what_a_loss_normalises_is_captured_and_frozen_with_the_rest(loss: Any) -> None:
    model, right = (Net(), {f: oracle.derivatives(Net(), _doubled(loss), (X, Y), frozen=f) for f in (False, True)})
    assert list(capture(model, loss, (X, Y)).layers) == ["bn", "(loss)"]
    assert_right(dense(model, loss, (X, Y)), right[False][2])
    assert_right(dense(model, loss, (X, Y), mode="frozen"), right[True][2])
    found = probe(model, loss, (X, Y), tol=1e-9)
    assert found.twin.loss == pytest.approx(found.network.loss, rel=1e-12)
    assert found.twin.lambda_max == pytest.approx(oracle.top(right[True][2]), rel=1e-7)
    twin = frozen_twin((model, loss, (X, Y)))
    torch.testing.assert_close(twin(X), model.train()(X))


def _doubled(loss: Any) -> Any:
    return oracle.plain(loss) if isinstance(loss, nn.Module) else loss


class Held(nn.Module):
    """Normalises by torch's function, and is given no tensor: its data is its own, or that of an object."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.out, self.gamma = nn.Linear(4, 5), nn.Linear(5, 3), nn.Parameter(torch.linspace(0.5, 2, 5))
        self.register_buffer("x", X.clone())

    def forward(self, *given: Any) -> Tensor:
        x = given[0].x if given else self.x
        return self.out(torch.tanh(F.batch_norm(self.fc(x), None, None, self.gamma, None, training=True)))


class Adversarial(nn.Module):
    """The losses of a generator and a discriminator that both normalise, on data of their own."""

    def __init__(self, whose: str) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.g = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4))
        self.d = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1))
        self.whose, self.z = whose, torch.randn(10, 3)
        self.requires_grad_(False)
        getattr(self, whose).requires_grad_()

    def forward(self) -> Tensor:
        made = self.g(self.z.to(self.g[0].weight))
        if self.whose == "g":
            return F.softplus(-self.d(made.to(self.d[0].weight))).mean()
        real = X.to(self.d[0].weight)
        return F.softplus(-self.d(real)).mean() + F.softplus(self.d(made.detach().to(real))).mean()


@pytest.mark.parametrize("freeze", ["both", "mean", "variance"])
@pytest.mark.parametrize("case", ["own data", "an object", "a discriminator", "a generator"])
def test_what_normalises_by_a_function_needs_no_tensor_among_its_arguments(case: str, freeze: Any) -> None:
    given: tuple[Any, ...]
    if case in ("own data", "an object"):
        model, data = Held().double(), Held().double() if case == "an object" else None
        given = (model, CE, (data, Y)) if data else (model, lambda m: CE(m(), Y), None)
        right = {f: oracle.derivatives(model, CE, ((), Y), frozen=f) for f in (False, True)}
    else:
        both = Adversarial("d" if case == "a discriminator" else "g")
        given = (getattr(both, both.whose), lambda m: both(), None)
        right = {f: oracle.derivatives(both, lambda loss: loss, ((),), frozen=f) for f in (False, True)}
    assert_right(dense(*given), right[False][2])
    twin = Objective(*given, dtype=torch.float64).twin(freeze)
    assert twin.loss_value() == pytest.approx(right[True][0], rel=1e-12)
    if freeze == "both":
        assert_right(dense(*given, mode="frozen"), right[True][2])
        found = probe(*given, tol=1e-9)
        assert found.twin.lambda_max == pytest.approx(oracle.top(right[True][2]), rel=1e-7)


def test_a_twin_is_that_of_the_network_in_the_mode_that_is_measured() -> None:
    """A layer that is in evaluation mode by intention stays so in the twin, whose loss is the network's."""

    def net() -> Net:
        model = Net(before=lambda s, x: s.fixed(x), after=lambda s, z: z if s.training else 2 * z)
        torch.manual_seed(5)
        model.fixed = nn.BatchNorm1d(4).eval()
        model.fixed.running_mean.normal_()
        model.fixed.running_var.uniform_(0.5, 2)
        return model

    double = net().double()
    x = (X.double() - double.fixed.running_mean) / (double.fixed.running_var + 1e-5) ** 0.5
    x = x * double.fixed.weight + double.fixed.bias
    parameters = [*double.fc.parameters(), *double.bn.parameters(), *double.out.parameters()]
    with oracle.written_out(frozen=True):
        value = CE(double.out(torch.tanh(double.bn(double.fc(x)))), Y)
        first = torch.autograd.grad(value, parameters)
    found = probe(Objective(net(), CE, (X, Y), mode="current"))
    norm = float(torch.cat([g.reshape(-1) for g in first]).norm())
    assert found.twin.loss == pytest.approx(float(value.detach()), rel=1e-12)
    twin = Objective(net(), CE, (X, Y), mode="current", dtype=torch.float64).twin()
    gradients = dict(zip(twin.parameters, twin.loss_and_gradients()[1], strict=True))
    own = [g for name, g in gradients.items() if not name.startswith("fixed")]
    assert float(torch.cat([g.reshape(-1) for g in own]).norm()) == pytest.approx(norm, rel=1e-10)
    # without running statistics a layer normalises in evaluation mode too, and the twin is that of evaluation mode
    untracked = net()
    untracked.bn = nn.BatchNorm1d(5, track_running_stats=False)
    evaluated = probe(Objective(untracked, CE, (X, Y), mode="eval"))
    assert evaluated.twin.loss == pytest.approx(evaluated.network.loss, rel=1e-10)
    assert evaluated.network.loss != pytest.approx(float(value.detach()), rel=1e-3)  # its outputs are doubled there


# -- losses and models that take derivatives themselves -----------------------------------------------------------------------


def penalised(outputs: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    out, x = outputs
    (slope,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    return CE(out, y) + slope.square().sum(1).mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_a_loss_whose_terms_cancel_is_a_function_like_another(mode: str, dtype: torch.dtype) -> None:
    """The mean of normalised values is zero up to rounding, in a network and in its twin each to another; its derivatives are not."""

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return (outputs.mean() + outputs[:, 0].mean() ** 2) * 7

    def model() -> nn.Module:
        torch.manual_seed(2)
        return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3), nn.BatchNorm1d(3))

    right = oracle.derivatives(model(), loss, (X, Y), frozen=mode == "frozen")[2]
    assert_right(dense(model(), loss, (X, Y), mode=mode, dtype=dtype), right, 1e-9 if dtype == torch.float64 else 1e-4)


def test_terms_that_cancel_hide_no_noise() -> None:
    noisy = lambda o, y: (o - o.mean(0)).mean() + 1e-3 * torch.rand(()) * o.square().mean()  # noqa: E731
    with pytest.raises(ValueError, match="not deterministic"):
        hessian(Net(), noisy, (X, Y))


def with_inputs() -> Net:
    return Net(before=lambda s, x: setattr(s, "seen", x) or x, after=lambda s, z: (z, s.seen))


def test_a_penalty_on_gradients_is_a_loss_like_another() -> None:
    """Its Hessian holds third derivatives of batch normalisation, which only the written-out form has right."""
    x = X.clone().requires_grad_()
    loss, gradient, right = oracle.derivatives(with_inputs(), penalised, (X.double().requires_grad_(), Y))
    assert_right(dense(with_inputs(), penalised, (x, Y)), right, rtol=1e-8)
    found = probe(with_inputs(), penalised, (x, Y), tol=1e-9)
    assert found.network.lambda_max == pytest.approx(oracle.top(right), rel=1e-6)
    assert not found.layers
    assert "takes derivatives itself" in found.missing["layers"]
    assert "takes derivatives of the outputs" in found.missing["twin"]
    there = along_gradient(with_inputs(), penalised, (x, Y), [0.05], dtype=torch.float64)
    moved = with_inputs().double()
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p -= 0.05 * gradient[name]
    with oracle.written_out():
        expected = float(penalised(moved(X.double().requires_grad_()), Y).detach())
    assert (there.loss, there.losses[0]) == (pytest.approx(loss, rel=1e-10), pytest.approx(expected, rel=1e-10))
    assert len(covariate_shift(with_inputs(), penalised, (x, Y), learning_rate=0.1)) == 2
    monitor = Monitor(with_inputs(), penalised, (x, Y), optimizer=0.1, measures=["loss"], strict=True)
    monitor.measure()
    assert monitor.rows()[-1]["loss"] == pytest.approx(loss, rel=1e-5)


BY_TORCH: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "batch": (lambda z: torch.batch_norm(z, None, None, None, None, True, 0.1, 1e-5, False), lambda z: F.batch_norm(z, None, None, training=True)),
    "batch, named": (
        lambda z: torch.batch_norm(input=z, weight=None, bias=None, running_mean=None, running_var=None, training=True, momentum=0.1, eps=1e-5, cudnn_enabled=False),
        lambda z: F.batch_norm(z, None, None, training=True)),
    "batch, running": (lambda z: torch.batch_norm(z, None, None, *running(z), False, 0.1, 1e-5, False), lambda z: F.batch_norm(z, *running(z))),
    "layer": (lambda z: torch.layer_norm(z, (3,)), lambda z: F.layer_norm(z, (3,))),
    "group": (lambda z: torch.group_norm(z, 1), lambda z: F.group_norm(z, 1)),
    "instance": (lambda z: torch.instance_norm(z.T[None], None, None, None, None, True, 0.1, 1e-5, False)[0].T, lambda z: F.instance_norm(z.T[None])[0].T),
    "rms": (lambda z: torch.rms_norm(z, (3,), None, 1e-5), lambda z: F.rms_norm(z, (3,), None, 1e-5)),
}  # fmt: skip


def running(z: Tensor) -> tuple[Tensor, Tensor]:
    return z.new_tensor([0.1, -0.2, 0.3]), z.new_tensor([0.5, 1.0, 2.0])


@pytest.mark.parametrize("name", BY_TORCH)
def test_a_normalisation_that_is_called_by_torchs_own_name_is_written_out_as_well(name: str) -> None:
    """The name that ``torch.nn.functional`` stands before: its third derivatives were torch's, which are wrong."""
    call, functional = BY_TORCH[name]
    nets = [Net(lambda s, x: setattr(s, "seen", x) or x, lambda s, z, f=f: (f(z), s.seen)) for f in (call, functional)]
    x = X.clone().requires_grad_()
    right = oracle.derivatives(nets[1], penalised, (X.double().requires_grad_(), Y))[2]
    assert_right(dense(nets[0], penalised, (x, Y)), right, rtol=1e-8)


def test_a_fused_normalisation_that_cannot_be_written_out_is_refused_where_a_loss_takes_derivatives() -> None:
    def past(s: Any, z: Tensor) -> tuple[Tensor, Tensor]:
        return torch.native_layer_norm(z, (3,), None, None, 1e-5)[0], s.seen

    model = Net(lambda s, x: setattr(s, "seen", x) or x, past)
    assert hessian(model, lambda o, y: CE(o[0], y), (X, Y)).size > 0
    with pytest.raises(ValueError, match=r"takes derivatives.*past torch's functional interface"):
        hessian(model, penalised, (X.clone().requires_grad_(), Y))


def test_layers_cannot_be_split_where_the_loss_takes_derivatives_itself() -> None:
    with pytest.raises(ValueError, match="capture with a loss without that term"):
        capture(with_inputs(), penalised, (X.clone().requires_grad_(), Y))


# -- side effects of a forward pass -------------------------------------------------------------------------------------------


def halved(s: Any, x: Tensor) -> Tensor:
    return x.div_(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_input_that_is_overwritten_is_the_same_at_every_evaluation(dtype: torch.dtype) -> None:
    x = X.clone()
    right = oracle.derivatives(Net(before=lambda s, x: x / 2), CE, (X, Y))
    found = probe(Net(before=halved), CE, (x, Y), dtype=dtype)
    rel = 1e-12 if dtype == torch.float64 else 1e-5
    assert (found.network.loss, found.twin.loss) == (pytest.approx(right[0], rel=rel),) * 2
    assert found.network.lambda_max == pytest.approx(oracle.top(right[2]), rel=1e-3)
    assert torch.equal(x, X)
    counted = Net(before=lambda s, i: F.one_hot(i.remainder_(4), 4).to(s.fc.weight))
    numbers = torch.arange(10)
    assert Objective(counted, CE, (numbers, Y)).loss_value() > 0
    assert torch.equal(numbers, torch.arange(10))


def test_an_overwritten_input_that_serves_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a tensor stands in the batch twice.*\.clone\(\)"):
        hessian(Net(before=halved), lambda out, x: F.mse_loss(out, x[:, :3]), (X.clone(),) * 2)


def looked_up(embedding: nn.Module) -> Net:
    model = Net(before=lambda s, i: s.table(i) if isinstance(s.table, nn.EmbeddingBag) else s.table(i).mean(1))
    model.table = embedding
    return model


def test_an_embedding_that_would_shorten_its_rows_is_refused_and_measured_once_they_are_short() -> None:
    torch.manual_seed(2)
    model = looked_up(nn.Embedding(7, 4, max_norm=0.9))
    before = state_fingerprint(model, rng=False)
    for dtype in (torch.float32, torch.float64):
        with pytest.raises(ValueError, match=r"layer 'table' \(Embedding\): max_norm=0.9 would shorten .* norm"):
            hessian(model, CE, (WORDS, Y), dtype=dtype)
    assert state_fingerprint(model, rng=False) == before
    model(WORDS)
    free = looked_up(nn.Embedding.from_pretrained(model.table.weight.detach().clone(), freeze=False))
    assert_right(dense(model, CE, (WORDS, Y)), oracle.derivatives(free, CE, (WORDS, Y))[2])


def bags(**options: Any) -> tuple[nn.EmbeddingBag, nn.EmbeddingBag]:
    torch.manual_seed(2)
    made = [nn.EmbeddingBag(7, 4, sparse=True, **options) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    return made[0], made[1]


@pytest.mark.parametrize("padding", [None, 2])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_bags_of_embeddings_have_curvature(mode: str, padding: int | None) -> None:
    """Torch's own has no second derivative; the oracle multiplies by a matrix of counts."""
    for last in (False, True):
        ours, _ = bags(mode=mode, padding_idx=padding, include_last_offset=last)
        offsets = torch.tensor([0, 3, 3, 5, 9, 12, 15, 19, 22, 26, *([30] if last else [])])
        used = WORDS.reshape(-1) != (-1 if padding is None else padding)
        counts = torch.zeros(10, 7, dtype=torch.float64)
        ends = [*offsets.tolist()[1:10], 30]
        for row, (start, end) in enumerate(zip(offsets.tolist(), ends, strict=False)):
            for place in range(start, end):
                counts[row, WORDS.reshape(-1)[place]] += float(used[place])
        if mode == "mean":
            counts = counts / counts.sum(1, keepdim=True).clamp(min=1)
        model = looked_up(ours)
        model.before = lambda s, args: s.table(*args)
        by_hand = Net(before=lambda s, c: c @ s.table)
        by_hand.table = nn.Parameter(ours.weight.detach().clone())
        right = oracle.derivatives(by_hand, CE, (counts, Y))
        found = Objective(model, CE, (((WORDS.reshape(-1), offsets),), Y), dtype=torch.float64)
        assert found.loss_value() == pytest.approx(right[0], rel=1e-12)
        with hessian(found) as op:
            assert_right(np.linalg.eigvalsh(op.dense()), torch.linalg.eigvalsh(right[2]))


def test_weighted_bags_of_rows() -> None:
    torch.manual_seed(2)
    shares = torch.rand(10, 3)
    ours, theirs = bags(mode="sum")
    model = Net(before=lambda s, args: s.table(args[0], per_sample_weights=args[1]))
    model.table = ours
    model.double()
    found = Objective(model, CE, (((WORDS, shares.double()),), Y))
    theirs.sparse = False
    expected = theirs.double()(WORDS, per_sample_weights=shares.double())
    plain = Net().double()
    assert found.loss_value() == pytest.approx(float(CE(plain(expected), Y).detach()), rel=1e-12)


# -- settings that a forward pass or its surroundings switch on ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [None, torch.float64])
def test_autocast_inside_of_a_forward_pass_stays_off(dtype: torch.dtype | None) -> None:
    class Cast(Net):
        @torch.autocast("cpu", dtype=torch.bfloat16)
        def forward(self, x: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return super().forward(x).float()

    found = dense(Cast(), CE, (X, Y), dtype=dtype)
    assert_right(found, PLAIN[2], rtol=1e-9 if dtype else 1e-5)
    assert Cast()(X).sub(Net()(X)).abs().max() > 1e-4  # autocast is as it was


def test_parametrised_weights_that_a_caller_keeps_do_not_enter() -> None:
    model, other = Net(), Net()
    for net in (model, other):
        net.fc = parametrizations.weight_norm(net.fc)
    right = oracle.derivatives(other, CE, (X, Y))
    with parametrize.cached():
        kept = model.fc.weight
        assert_right(dense(model, CE, (X, Y)), right[2])
        there = along_gradient(model, CE, (X, Y), [0.1])
        assert model.fc.weight is kept
    assert there.losses == pytest.approx(along_gradient(model, CE, (X, Y), [0.1]).losses, rel=1e-6)


def test_a_twin_that_is_made_in_inference_mode_can_be_trained() -> None:
    model = Net()
    with torch.inference_mode():
        twin = frozen_twin(model, X)
    CE(twin(X), Y).backward()
    right = oracle.derivatives(Net(), CE, (X, Y), frozen=True)[1]
    for name, p in twin.named_parameters():
        torch.testing.assert_close(p.grad.double(), right[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("source", ["numpy", "python"])
def test_generators_that_a_module_holds_are_put_back(source: str) -> None:
    def drawn(s: Any, x: Tensor) -> Tensor:
        value = s.source.standard_normal() if source == "numpy" else s.source.gauss(0, 1)
        return x * (2 + torch.tanh(torch.tensor(value)))

    def model() -> Net:
        net = Net(before=drawn)
        net.source = np.random.default_rng(4) if source == "numpy" else random.Random(4)
        return net

    value = np.random.default_rng(4).standard_normal() if source == "numpy" else random.Random(4).gauss(0, 1)
    right = oracle.derivatives(Net(before=lambda s, x: x * (2 + np.tanh(value))), CE, (X, Y))
    assert_right(dense(model(), CE, (X, Y), seed=0), right[2], rtol=1e-6)


# -- layouts, mappings, precisions, messages ---------------------------------------------------------------------------------


class Leaves(nn.Module):
    """Leaves its output in a list that another module reads, as under deep supervision."""

    def __init__(self, inner: nn.Module, heads: list[Tensor]) -> None:
        super().__init__()
        self.inner, self.heads = inner, heads

    def forward(self, x: Tensor) -> Tensor:
        self.heads[0] = self.inner(x)
        return self.heads[0]


class Supervised(Net):
    def __init__(self, *, apart: bool = False) -> None:
        super().__init__()
        self.heads = [torch.zeros(1)]
        self.fc = self.fc if apart else Leaves(self.fc, self.heads)
        self.apart = apart

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        out = self.out(torch.tanh(self.bn(h)))
        return out + (h if self.apart else self.heads[0])[:, :3]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_list_that_two_modules_share_stays_shared(frozen: bool) -> None:
    model = Supervised()
    expected = oracle.derivatives(Supervised(apart=True), CE, (X, Y), frozen=frozen)[2]
    assert_right(dense(model, CE, (X, Y), mode="frozen" if frozen else "train"), expected)
    assert model.heads is model.fc.heads
    assert torch.equal(model.heads[0], torch.zeros(1))


def test_channels_last_and_transposed_parameters_are_probed() -> None:
    torch.manual_seed(6)
    images, labels = torch.randn(6, 2, 4, 4), torch.arange(6) % 3
    conv = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3))
    right = oracle.top(oracle.derivatives(conv, CE, (images, labels))[2])
    last = conv.to(memory_format=torch.channels_last)
    assert not last[0].weight.is_contiguous()
    for dtype in (torch.float32, torch.float64):
        found = probe(last, CE, (images.to(memory_format=torch.channels_last), labels), dtype=dtype)
        assert found.network.lambda_max == pytest.approx(right, rel=2e-3)


def test_a_mapping_inside_of_a_batch_stays_of_its_kind() -> None:
    class Encoding(UserDict):
        def __getattr__(self, name: str) -> Any:
            return self.data[name]

    model = Net(before=lambda s, e: e.x)
    assert_right(dense(model, CE, ((Encoding(x=X),), Y)), PLAIN[2])


def test_a_batch_of_another_precision_is_told_with_both_and_the_way_out() -> None:
    message = r"layer 'fc' \(Linear\) met tensors of several precisions.*model has float64, the batch float32.*dtype="
    with pytest.raises(ValueError, match=message):
        capture(Net().double(), CE, (X, Y))
    with pytest.raises(ValueError, match=message):
        frozen_twin(Net().double(), X)


def test_a_variance_that_overflows_is_named() -> None:
    with pytest.raises(ValueError, match=r"layer 'bn' receives .* overflow torch.float32: its variance is infinite"):
        capture(Net(), CE, (X * 1e30, Y))
    assert capture(Net(), CE, (X * 1e30, Y), dtype=torch.float64)["bn"].m == 10


def test_a_layer_by_hand_that_returns_more_than_its_output_is_named() -> None:
    class WithLogDeterminant(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            scale = (x.var(0, unbiased=False) + 1e-5).sqrt()
            return (x - x.mean(0)) / scale, scale.log().sum()

    model = Net(before=lambda s, x: s.flow(x)[0])
    model.flow = WithLogDeterminant()
    found = capture(model, CE, (X, Y))
    assert list(found.layers) == ["bn"]
    assert "by hand" in found.left_out["flow"]


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float64])
def test_a_lazy_model_is_named_in_every_precision(dtype: torch.dtype | None) -> None:
    with pytest.raises(ValueError, match=r"0\.weight is lazy and has no values yet; run one batch"):
        hessian(nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Linear(5, 3)), CE, (X, Y), dtype=dtype)


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_by_points_that_a_closure_keeps_in_another_precision(order: int) -> None:
    """A physics-informed loss; right is the same network by its formula, and its derivatives along the line by theirs."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1))
    points = torch.linspace(0, 1, 9)[:, None].requires_grad_()

    def by_derivatives(network: nn.Module) -> Tensor:
        u = slope = network(points)
        for _ in range(order):
            (slope,) = torch.autograd.grad(slope, points, torch.ones_like(slope), create_graph=True)
        return (slope + u).square().mean()

    weights = [p.detach().double().requires_grad_() for p in model.parameters()]
    a, b, c, d = weights
    t = torch.tanh(points.detach().double() @ a.T + b)
    slope = ((1 - t * t) * a.T if order == 1 else -2 * t * (1 - t * t) * a.T**2) @ c.T
    first = torch.autograd.grad((slope + t @ c.T + d).square().mean(), weights, create_graph=True)
    rows = [
        torch.autograd.grad(entry, weights, retain_graph=True, materialize_grads=True)
        for entry in torch.cat([g.reshape(-1) for g in first])
    ]
    right = torch.stack([torch.cat([r.reshape(-1) for r in row]) for row in rows]).numpy()
    with hessian(model, by_derivatives, dtype=torch.float64) as op:
        np.testing.assert_allclose(op.dense(), right, atol=1e-13 * abs(right).max())


class HalvedBackward(torch.autograd.Function):
    """A function in a forward pass, whatever its name."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g / 2


def test_a_function_that_is_called_a_backward_pass_is_none() -> None:
    torch.manual_seed(2)
    norm = nn.BatchNorm1d(5)

    class Halving(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return HalvedBackward.apply(x)

    model = nn.Sequential(nn.Linear(4, 5), norm, Halving(), nn.Tanh(), nn.Linear(5, 3))
    found = capture(model, CE, (X, Y), dtype=torch.float64, second_order=False)
    assert list(found.layers) == ["1"]
