"""What a protocol chooses: loss, precision, how many images and how coarse; and that what was recorded before keeps its address.

Oracles: torch's optimiser in a plain loop on images that are chosen and averaged here; losses by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch

from bntheory.bridge import NetworkSpec, batch_indices, build_network, load_dataset, synthetic_data
from bntheory.errors import UserError
from bntheory.evidence.comparable import guessing_loss
from bntheory.evidence.study import APART, Study
from bntheory.experiments import runs
from bntheory.experiments.experiment import Arm, Conditions, Experiment, Measure, Protocol, Task
from bntheory.experiments.images import images_of, squared_error, training_batch
from bntheory.experiments.measures.input_robustness import _NOISE_SEED
from bntheory.experiments.worker import follow

ARM = Arm("mlp", "batch", "mlp", {"norm": "batch", "layout": (8,)}, 0.1)
OLD = Protocol(5, (5,), 16, 24)
MEASURE = Measure("accuracy", arms=("batch",), at=(5,))


def test_a_default_changes_no_address() -> None:
    """Records made before there was a choice are found again; every choice is another question."""
    conditions = Conditions({"name": "some"}, "cpu", {})
    training = conditions.setting(ARM, OLD, Measure("accuracy"))["training"]
    assert training == {
        "arm": ARM.deciding(),
        "batch_size": 16,
        "data": {"name": "some"},
        "device": "cpu",
        "dtype": "float32",
    }
    task = Task(ARM, 0)
    chosen: list[dict[str, Any]] = [{}, {"loss": "squared-error"}, {"dtype": "float64"}, {"images": 100}, {"side": 14}]
    addresses = [conditions.task_address(task, replace(OLD, **c)) for c in chosen]
    assert len(set(addresses)) == len(chosen)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"loss": "hinge"}, "hinge"),
        ({"dtype": "float16"}, "float16"),
        ({"images": -1}, "images is -1"),
        ({"side": -2}, "side is -2"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": "16"}, "batch_size is '16'"),
        ({"batch_size": 0}, "batch_size is 0; it must be at least 1"),
        ({"measured": 0}, "measured is 0; it must be at least 1"),
        ({"measured": 2.0}, "measured is 2.0"),
        ({"measured": math.nan}, "measured is nan"),
        ({"record": (5, 5)}, "increasing steps"),
        ({"record": (-1, 5)}, "increasing steps"),
        ({"record": 5}, "record is 5"),
        ({"record": (1.0,)}, "whole numbers"),
        ({"record": (3, 6)}, "up to the last, 5"),
        ({"steps": -1}, "steps is -1"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(choice: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(OLD, **choice)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"learning_rate": True}, "learning_rate is True"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'"),
        ({"learning_rate": 10**400}, "learning_rate is 1000"),
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"weight_decay": None}, "weight_decay is None"),
        ({"rescaled_on": 8.0}, "rescaled_on is 8.0"),
        ({"options": {"layout": (math.inf,)}}, "finite numbers"),
        ({"options": "deep"}, "options is 'deep'"),
    ],
)
def test_an_arm_that_cannot_be_is_refused(choice: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(ARM, **choice)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"seeds": (0, 1, 0)}, "different numbers"),
        ({"seeds": 3}, r"seeds is 3; give a list of them, such as \[0, 1, 2\]"),
        ({"seeds": "012"}, "seeds is '012'; give a list of them"),
        ({"arms": ARM}, "arms is Arm.*; give a list or a tuple, each of it made by Arm"),
        ({"measures": MEASURE}, "measures is Measure.*; give a list or a tuple, each of it made by Measure"),
        ({"seeds": (0, True)}, "different numbers"),
        ({"seeds": (0.5,)}, "different numbers"),
        ({"seeds": (-1,)}, "different numbers"),
        ({"seeds": (2**31,)}, "different numbers"),
        ({"measures": (Measure("accuracy", arms=("bacth",)),)}, "'bacth', which is none of the experiment's"),
        ({"measures": (Measure("accuracy", at=(3,)),)}, "3, which is none of the experiment's"),
        # every arm whose name is a part of it
        ({"measures": (replace(MEASURE, arms=cast(Any, "batch")),)}, "arms is 'batch'; give a tuple of words"),
        ({"measures": (replace(MEASURE, on=cast(Any, "all")),)}, "on is 'all'"),
        ({"measures": (replace(MEASURE, options={"size": math.nan}),)}, "finite numbers"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(choice: dict[str, Any], words: str) -> None:
    whole = Experiment("e", (ARM,), OLD, (MEASURE,), (0, 1))
    with pytest.raises(UserError, match=words):
        replace(whole, **choice)


def test_seeds_of_measurements_are_as_far_from_those_of_training_as_any_family() -> None:
    """The number of the noise stands where records name its text."""
    assert _NOISE_SEED - APART >= 10**6


def test_images_are_chosen_by_the_seed_and_averaged() -> None:
    data = synthetic_data(seed=3, shape=(1, 8, 8), train=40, test=8)
    found = images_of(data, replace(OLD, images=10, side=4), 7)
    chosen = batch_indices(40, 10, 7, 0)
    blocks = data.train_images[torch.from_numpy(chosen.copy())].double().reshape(10, 1, 4, 2, 4, 2)
    assert torch.equal(found.train_images.double(), blocks.mean((3, 5)))
    assert torch.equal(found.train_labels, data.train_labels[torch.from_numpy(chosen.copy())])
    assert found.shape == (1, 4, 4)
    assert found.size("test") == 8
    assert images_of(data, OLD, 7) is data
    with pytest.raises(UserError, match="side 3 does not divide"):
        images_of(data, replace(OLD, side=3), 0)
    with pytest.raises(UserError, match="more than the 40"):
        images_of(data, replace(OLD, images=41), 0)


def test_a_batch_of_all_images_is_the_same_at_every_step() -> None:
    data = synthetic_data(seed=3, train=40)
    whole = replace(OLD, images=12, batch_size=12)
    seen = images_of(data, whole, 5)
    first, later = (training_batch(seen, whole, 5, step, "cpu") for step in (0, 9))
    assert all(torch.equal(a, b) for a, b in zip(first, later, strict=True))
    assert len(first[1]) == 12
    part = replace(whole, batch_size=6)
    epoch = torch.cat([training_batch(seen, part, 5, step, "cpu")[0] for step in (0, 1)])
    assert torch.equal(epoch.flatten(1).sort(0).values, first[0].flatten(1).sort(0).values)
    assert not torch.equal(epoch, first[0])


def test_the_squared_error_by_hand() -> None:
    outputs = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([1, 2])
    assert float(squared_error(outputs, labels)) == pytest.approx(0.5 * ((1 + 1 + 0) + (0 + 0 + 1)) / 2)
    same = torch.full((5, 4), 0.25, dtype=torch.float64)
    assert float(squared_error(same, torch.arange(5) % 4)) == pytest.approx(guessing_loss(4, "squared-error"))
    assert guessing_loss(4) == pytest.approx(math.log(4))
    with pytest.raises(UserError, match="loss 'hinge' is unknown; choose one of cross-entropy, squared-error"):
        guessing_loss(4, "hinge")


def test_training_by_a_protocol_is_that_of_torch() -> None:
    """Full batch, squared error, float64, coarse images: torch's optimiser, step by step."""
    protocol = Protocol(3, (0, 3), 20, 20, loss="squared-error", dtype="float64", images=20, side=7)
    data = load_dataset()
    start, end = follow(Task(ARM, 4), protocol.record, data, "cpu", protocol)
    chosen = torch.from_numpy(batch_indices(data.size("train"), 20, 4, 0).copy())
    x, labels = data.inputs(chosen, dtype=torch.float64)
    x = x.reshape(20, 1, 7, 4, 7, 4).mean((3, 5))
    spec = NetworkSpec("mlp", norm="batch", layout=(8,), input_shape=(1, 7, 7))
    model = build_network(spec, 4, dtype=torch.float64)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        target = torch.nn.functional.one_hot(labels, 10).double()
        (torch.nn.functional.mse_loss(model(x), target) * 10 / 2).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    for (name, ours), theirs in zip(end.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14, msg=name)
    assert start.step == 0
    assert end.dtype == torch.float64
    assert end.batch()[0].dtype == end.held_out(3)[0].dtype == torch.float64


def test_a_record_of_such_a_run_says_how_it_was_trained() -> None:
    """The claims' protocol hands everything on; seeds before the first are another claim's."""
    protocol = runs.Protocol(2, (2,), batch_size=8, measured=8, loss="squared-error", dtype="float64", images=8, side=7)
    (run,) = runs.each_seed(Study(), [ARM], protocol, 1, "test", first=100)
    assert run["batch"].seed == 100
    loss, _ = runs.training_point(run["batch"], 2)
    at = next(
        follow(
            Task(ARM, 100),
            [2],
            load_dataset(),
            "cpu",
            Protocol(2, (2,), 8, 8, loss="squared-error", dtype="float64", images=8, side=7),
        )
    )
    x, labels = at.batch()
    assert loss == pytest.approx(float(squared_error(at.model(x).detach(), labels)), rel=1e-12)
