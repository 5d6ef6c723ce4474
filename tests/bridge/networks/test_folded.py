"""Networks trained as one against the same networks trained one by one, by the trainer that knows nothing of folding."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge import NetworkSpec, SGDConfig, Trainer, batch_at, build_network, synthetic_data
from bntheory.bridge.networks.evaluation import Loss
from bntheory.bridge.networks.folded import FoldedNetwork, FoldedTrainer, Sample, timed_sample, why_not_foldable
from bntheory.bridge.networks.twins import rescaled_loss
from bntheory.errors import UserError

COUNT, STEPS = 3, 12
DATA = synthetic_data(shape=(1, 8, 8), train=200, test=20, seed=5)
MLP: dict[str, Any] = {"kind": "mlp", "layout": (9, 7)}
KINDS: dict[str, dict[str, Any]] = {
    "mlp": MLP,
    "mlp-tanh": {**MLP, "activation": "tanh"},
    "mlp-without": {**MLP, "norm": "none"},
    "mlp-primitive": {**MLP, "norm": "batch-primitive"},
    "mlp-l1": {**MLP, "norm": "l1"},
    "mlp-detached": {**MLP, "norm": "detached-variance"},
    "mlp-scale-alone": {**MLP, "norm": "variance-only"},
    "deep-linear": {"kind": "deep-linear", "layout": (6, 6, 6)},
    "sigmoids": {"kind": "ioffe-mnist", "layout": (8, 8)},
    "vgg": {"kind": "vgg", "layout": (4, 0, 5, 0)},
    "vgg-average": {"kind": "vgg", "layout": (4, 0, 5), "pool": "average", "norm": "none"},
    "resnet": {"kind": "resnet", "layout": ((4, 1), (6, 1))},
}
#: Rates, momenta and weight decays of three runs: none of them alike, one that has neither.
CONFIGS = (SGDConfig(0.05, drops=((8, 0.1),)), SGDConfig(0.02, momentum=0.9), SGDConfig(0.1, 0.5, 1e-2))
FACTORS = (1.0, 0.25, 1.7)


def squared(outputs: Tensor, labels: Tensor) -> Tensor:
    return 0.5 * (outputs - functional.one_hot(labels, outputs.shape[1])).square().sum(1).mean()


def trainers(options: dict[str, Any], dtype: torch.dtype, loss: Loss = functional.cross_entropy) -> list[Trainer]:
    spec = NetworkSpec(**{"norm": "batch", **options, "input_shape": DATA.shape, "classes": DATA.classes})
    return [
        Trainer(build_network(spec, seed, dtype=dtype), rescaled_loss(loss, factor), config)
        for seed, (config, factor) in enumerate(zip(CONFIGS, FACTORS, strict=True))
    ]


def batches(step: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    return [batch_at(DATA, step, batch_size=24, seed=seed, dtype=dtype, device="cpu") for seed in range(COUNT)]


def alone(options: dict[str, Any], dtype: torch.dtype, loss: Loss = functional.cross_entropy) -> list[Trainer]:
    made = trainers(options, dtype, loss)
    for step in range(STEPS):
        for trainer, batch in zip(made, batches(step, torch.float32), strict=True):
            trainer.train_step((batch[0].to(dtype), batch[1]))
    return made


def folded(options: dict[str, Any], dtype: torch.dtype, loss: Loss = functional.cross_entropy) -> list[Trainer]:
    made = trainers(options, dtype, loss)
    one = FoldedTrainer(made, loss, FACTORS)
    for step in range(STEPS):
        one.train_step([(x.to(dtype), y) for x, y in batches(step, torch.float32)])
    one.write_back()
    return made


def distance(some: Sequence[Trainer], others: Sequence[Trainer]) -> list[float]:
    """By run: the largest difference of an entry of the state, momentum included, over the largest entry."""
    found = []
    for a, b in zip(some, others, strict=True):
        pairs = [
            (x.double(), y.double())
            for left, right in ((a.model.state_dict(), b.model.state_dict()), (a.velocity, b.velocity))
            for x, y in zip(left.values(), right.values(), strict=True)
        ]
        largest = max(float(x.abs().max()) for x, _ in pairs)
        found.append(max(float((x - y).abs().max()) for x, y in pairs) / largest)
    return found


@pytest.mark.parametrize("name", KINDS)
def test_trained_as_one_is_trained_one_by_one(name: str) -> None:
    """In float64 rounding is 1e-16 a step; what is left over for its growth in twelve steps is a factor of 1e6."""
    expected, found = alone(KINDS[name], torch.float64), folded(KINDS[name], torch.float64)
    assert max(distance(expected, found)) < 1e-10
    assert [t.step for t in found] == [STEPS] * COUNT
    started = trainers(KINDS[name], torch.float64)
    assert min(distance(started, found)) > 1e-3, "nothing was trained"


@pytest.mark.parametrize("name", ["mlp", "mlp-without", "mlp-l1", "sigmoids", "vgg"])
def test_in_float32_folded_is_as_far_from_exact_training_as_alone(name: str) -> None:
    """Both add a rounding error of one size to every step, and training multiplies them by the same factors.

    So the distance of training alone in float32 from the same training in float64, which holds neither number of folding, says what
    rounding has grown to. Two such errors in other directions differ by twice that at most where they are of one size; by another
    factor of 4 sums over more terms may be worse, and a run's error is at least one rounding of its largest entry.
    """
    exact, single, together = (
        alone(KINDS[name], torch.float64),
        alone(KINDS[name], torch.float32),
        folded(KINDS[name], torch.float32),
    )
    grown = max(*distance(exact, single), torch.finfo(torch.float32).eps)
    assert max(distance(single, together)) <= 8 * grown
    assert grown < 1e-2, "such a tolerance would let another network pass"


def test_any_mean_loss() -> None:
    assert max(distance(alone(MLP, torch.float64, squared), folded(MLP, torch.float64, squared))) < 1e-10


def test_a_run_that_is_no_longer_finite_leaves_the_others_alone() -> None:
    made = trainers(MLP, torch.float64)
    with torch.no_grad():
        next(made[1].model.parameters()).fill_(torch.inf)
    one = FoldedTrainer(made, functional.cross_entropy, FACTORS)
    for step in range(STEPS):
        one.train_step([(x.double(), y) for x, y in batches(step, torch.float32)])
    one.write_back()
    expected = alone(MLP, torch.float64)
    assert distance([expected[0], expected[2]], [made[0], made[2]]) < [1e-10, 1e-10]
    assert not all(bool(p.isfinite().all()) for p in made[1].model.parameters())


def test_goes_on_where_the_trainers_are() -> None:
    """Momentum, statistics and steps are read from them, and given back."""
    made = trainers(MLP, torch.float64)
    for first, last in ((0, 5), (5, STEPS)):
        one = FoldedTrainer(made, functional.cross_entropy, FACTORS)
        for step in range(first, last):
            one.train_step([(x.double(), y) for x, y in batches(step, torch.float32)])
        one.write_back()
    assert max(distance(alone(MLP, torch.float64), made)) < 1e-10


def test_the_trainers_move_by_what_is_written_back_alone() -> None:
    made = trainers(MLP, torch.float64)
    before = copy.deepcopy(made)
    some = batches(0, torch.float64)
    FoldedTrainer(made, functional.cross_entropy).train_step(some)
    timed_sample(made, some, functional.cross_entropy)
    assert distance(before, made) == [0.0] * COUNT
    assert [t.step for t in made] == [0] * COUNT


def test_outputs_and_second_derivatives_are_those_of_each() -> None:
    """The loss's Hessian has a block a network: one product gives the product of each."""
    made = trainers({**MLP, "norm": "batch", "activation": "tanh"}, torch.float64)
    models = [t.model for t in made]
    one = FoldedNetwork(models)
    some = batches(0, torch.float64)
    inputs = torch.stack([x for x, _ in some])
    assert torch.allclose(
        one(inputs), torch.stack([m(x) for m, (x, _) in zip(models, some, strict=True)]), rtol=0, atol=1e-13
    )

    def product(model: nn.Module, value: Tensor, directions: Sequence[Tensor]) -> list[Tensor]:
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(value, parameters, create_graph=True)
        inner = torch.stack([(g * d.view_as(g)).sum() for g, d in zip(gradients, directions, strict=True)]).sum()
        return list(torch.autograd.grad(inner, parameters))

    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(COUNT, p.numel(), generator=generator, dtype=torch.float64) for p in models[0].parameters()]
    whole = COUNT * functional.cross_entropy(one(inputs).flatten(0, 1), torch.cat([y for _, y in some]))
    found = product(one, whole, drawn)
    for number, (model, (x, y)) in enumerate(zip(models, some, strict=True)):
        expected = product(model, functional.cross_entropy(model(x), y), [d[number] for d in drawn])
        for a, b in zip(expected, found, strict=True):
            assert torch.allclose(a.flatten(), b.reshape(COUNT, -1)[number], rtol=0, atol=1e-11)


def other_sizes() -> list[nn.Module]:
    return [nn.Sequential(nn.Linear(4, size)) for size in (3, 5)]


def tied() -> nn.Module:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].register_forward_hook(lambda module, inputs, output: output - output.mean())
    return model


def half_trained() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 3))
    model[0].bias.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("models", "why"),
    [
        ([], "no networks"),
        ([nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))] * 2, "LayerNorm"),
        ([nn.Sequential(nn.Linear(4, 3), nn.Dropout())] * 2, "Dropout"),
        ([nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4))] * 2, "GroupNorm"),
        (other_sizes(), "differ"),
        ([nn.Sequential(nn.BatchNorm1d(4, eps=e), nn.Linear(4, 2)) for e in (1e-5, 1e-3)], "differ"),
        ([nn.Sequential(nn.Linear(4, 2)), nn.Sequential(nn.Linear(4, 2)).double()], "differ"),
        ([tied(), tied()], "share"),
        ([hooked(), hooked()], "hooks"),
        ([half_trained(), half_trained()], "not trained"),
    ],
    ids=["none", "layer-norm", "dropout", "group-norm", "sizes", "eps", "dtype", "tied", "hooks", "constant"],
)
def test_what_cannot_be_one_is_refused(models: list[nn.Module], why: str) -> None:
    assert why in why_not_foldable(models)
    with pytest.raises(UserError, match=why):
        FoldedNetwork(models)


def test_bad_use() -> None:
    made = trainers(MLP, torch.float64)
    with pytest.raises(UserError, match="shape"):
        FoldedNetwork([t.model for t in made])(torch.zeros(2, 5, 64, dtype=torch.float64))
    made[0].train_step(batches(0, torch.float64)[0])
    with pytest.raises(UserError, match=r"differ|same step"):
        FoldedTrainer(made, functional.cross_entropy)


def test_worth_it_means_faster_by_more_than_noise() -> None:
    assert Sample(2.0, 1.0).worth_it
    assert not Sample(1.0, 1.0).worth_it
    assert not Sample(1.0, 2.0).worth_it
    found = timed_sample(trainers(MLP, torch.float32), batches(0, torch.float32), functional.cross_entropy)
    assert found.alone > 0
    assert found.folded > 0
