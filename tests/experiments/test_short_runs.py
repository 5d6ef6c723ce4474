"""Short training runs: against a plain torch loop, and what all claims that use them must keep.

The loop here is written from the definitions with ``torch.optim.SGD``; it shares the data set, the batches' order and the initial
values with the package, which have tests of their own, and nothing else.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge import NetworkSpec, batch_indices, build_network, load_dataset
from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.experiments import short_runs as _short_runs
from bntheory.experiments.short_runs import Images, accuracy, choose_images, squared_error, train

SPEC = NetworkSpec("mlp", norm="batch", layout=(6,), input_shape=(1, 7, 7))
USERS = (
    "cohen2021.edge",
    "bjorck2018.learning-rate",
    "yao2020.depth",
    "ghorbani2019.outliers",
    "ghorbani2019.frozen-statistics",
    "ioffe2015.mnist-protocol",
)


def test_images_are_block_means_of_the_packaged_ones() -> None:
    images = choose_images(5, side=7, seed=3, device="cpu", tests=4)
    data = load_dataset()
    for split, inputs, labels in [
        ("train", images.inputs, images.labels),
        ("test", images.test_inputs, images.test_labels),
    ]:
        chosen = batch_indices(data.size(split), len(labels), 3, 0)  # type: ignore[arg-type]
        full, expected = data.inputs(chosen.copy(), split)  # type: ignore[arg-type]
        blocks = full.numpy().astype(float).reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4))
        assert np.allclose(inputs[:, 0].numpy(), blocks, atol=1e-5)
        assert torch.equal(labels, expected)


def test_a_side_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="side: 9"):
        choose_images(5, side=9, seed=0, device="cpu")


def test_squared_error_is_half_the_squared_distance_to_the_label() -> None:
    outputs = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    assert float(squared_error(outputs, torch.tensor([0, 1]))) == pytest.approx((0 + 4 + 0 + 4) / 2 / 2)


def test_a_gradient_that_is_not_finite_ends_a_run_although_its_loss_is() -> None:
    """In the very last step too, where no later loss would show it."""

    def kinked(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return 1 + (0 * outputs).sum().sqrt()  # the root of 0 has no derivative

    images = choose_images(20, side=7, seed=0, device="cpu")
    run = train(SPEC, images, seed=0, rate=0.1, steps=1, batch_size=10, loss=kinked)
    assert run.diverged
    assert run.late_loss() == math.inf


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_a_run_is_that_of_a_plain_loop(norm: str) -> None:
    spec = NetworkSpec("mlp", norm=norm, layout=(6,), input_shape=(1, 7, 7))
    images = choose_images(40, side=7, seed=1, device="cpu")
    run = train(spec, images, seed=1, rate=0.1, steps=7, batch_size=16, weight_decay=1e-2)
    model = build_network(spec, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    losses = []
    for step in range(7):
        chosen = torch.from_numpy(batch_indices(40, 16, 1, step).copy())
        loss = F.cross_entropy(model(images.inputs[chosen]), images.labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert run.losses == pytest.approx(losses, rel=1e-5)
    assert not run.diverged
    assert run.late_loss(0.5) == pytest.approx(np.mean(losses[-4:]), rel=1e-5)
    for (name, a), (other, b) in zip(run.model.named_parameters(), model.named_parameters(), strict=True):
        assert name == other
        assert torch.allclose(a, b, atol=1e-5)


def test_visits_and_the_end_of_a_run_that_diverges() -> None:
    images = choose_images(40, side=7, seed=1, device="cpu")
    spec = NetworkSpec("mlp", norm="none", layout=(6, 6), activation="identity", input_shape=(1, 7, 7))
    seen: list[int] = []
    run = train(
        spec, images, seed=1, rate=1e6, steps=50, batch_size=40, loss=squared_error,
        visit=lambda step, model: seen.append(step),
    )  # fmt: skip
    assert run.diverged
    assert len(run.losses) < 50
    assert seen == list(range(len(run.losses)))
    assert run.late_loss() == math.inf
    seen.clear()
    train(SPEC, images, seed=1, rate=0.1, steps=3, batch_size=40, visit=lambda step, model: seen.append(step))
    assert seen == [0, 1, 2, 3]


def test_accuracy_counts_in_evaluation_mode_and_puts_the_mode_back() -> None:
    images = Images(
        torch.zeros(0, 1), torch.zeros(0), torch.tensor([[2.0], [-1.0], [3.0]]), torch.tensor([1, 0, 0])
    )

    class Sign(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return torch.cat([-x, x], dim=1)

    model = Sign().train()
    assert accuracy(model, images) == pytest.approx(2 / 3)
    assert model.training


def test_arms_share_initial_values_and_the_global_generator_stays() -> None:
    before = torch.get_rng_state()
    images = choose_images(40, side=7, seed=1, device="cpu")
    runs = [
        train(SPEC, images, seed=4, rate=r, steps=2, batch_size=16) for r in (0.0, 0.1, 0.1)
    ]  # fmt: skip
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(runs[1].losses, runs[2].losses)
    bare = build_network(NetworkSpec("mlp", norm="none", layout=(6,), input_shape=(1, 7, 7)), 4)
    untrained = dict(runs[0].model.named_parameters())
    for name, parameter in bare.named_parameters():
        if name in untrained and name.endswith("weight"):
            assert torch.equal(parameter, untrained[name])


@pytest.mark.parametrize("claim_id", USERS)
def test_the_device_reaches_the_data(claim_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReachedError(Exception):
        pass

    def spy(*args: Any, device: str, **named: Any) -> Images:
        raise ReachedError(device)

    monkeypatch.setattr(_short_runs, "choose_images", spy)
    with pytest.raises(ReachedError, match="made-up-device"):
        registry()[claim_id].check(Study(effort="quick", seed=77, device="made-up-device"))
