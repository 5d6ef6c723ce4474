"""Runs of paired arms as records: what is measured on the batch of a step, and how points become numbers and checks.

Oracles: torch's own optimiser in a plain loop, with the measures computed on its network from their definitions; batch normalisation
written out from its formula; numbers worked out by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge import LpBatchNorm, NetworkSpec, batch_at, build_network, load_dataset
from bntheory.claims.claim import Study
from bntheory.errors import UserError
from bntheory.evidence.study import APART
from bntheory.experiments.arms import build
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import (
    CLASSIFICATION,
    Protocol,
    Run,
    check_of,
    difference_at_equal_loss,
    each_seed,
    held_out_accuracy,
    mean_difference,
    training_point,
)
from bntheory.experiments.store import RECORDS, MemoryStore

PROTOCOL = Protocol.even(6, 2, batch_size=16, measured=40)
WALK = {"step_range": [0.5, 4.0], "points": 2}
MEASURES = (
    CLASSIFICATION,
    Measure("walk", WALK),
    Measure("twin-walk", WALK, "batch normalised"),
    Measure("step-shift"),
)


def arm(norm: str = "batch", rate: float = 0.1, **options: Any) -> Arm:
    return Arm("mlp", norm, "mlp", {"norm": norm, "layout": (12, 12)}, rate, **options)


def one(a: Arm, seed: int, device: str = "cpu", store: Path | None = None) -> Run:
    """Its run, with everything measured; the seed is 1000 times the study's."""
    study = Study(seed=seed, device=device, store=store)
    return each_seed(study, [a], PROTOCOL, 1, "test", lambda _: MEASURES)[0][a.name]


def by_torch(a: Arm, seed: int, steps: int, device: str = "cpu") -> nn.Module:
    """The network after so many steps of torch.optim.SGD in a plain loop."""
    data = load_dataset()
    spec = NetworkSpec("mlp", norm=a.options["norm"], layout=(12, 12))
    model = build_network(spec, 1000 * seed, device=device).train()
    optimiser = torch.optim.SGD(
        model.parameters(), lr=a.learning_rate, momentum=a.momentum, weight_decay=a.weight_decay
    )
    for step in range(steps):
        x, y = batch_at(data, step, batch_size=16, seed=1000 * seed, device=device)
        optimiser.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimiser.step()
    return model


def step_batch(seed: int, step: int, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    return batch_at(load_dataset(), step, batch_size=16, seed=1000 * seed, device=device)


def test_records_are_even_and_end_with_the_run() -> None:
    assert Protocol.even(80, 4).record == (0, 20, 40, 60, 80)
    assert Protocol.even(7, 2).record == (0, 3, 7)


@pytest.mark.long
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("step", [3, 6])
def test_training_is_torchs_own_sgd(norm: str, step: int, device: str) -> None:
    """What the batch of a step loses there, and how the measured and the test images are classified."""
    a = arm(norm, momentum=0.5, weight_decay=1e-3)
    run = one(a, 7, device)
    model = by_torch(a, 7, step, device)
    x, y = step_batch(7, step, device)
    assert run.points[step]["walk"]["loss"] == pytest.approx(float(F.cross_entropy(model(x), y).detach()), rel=1e-4)
    assert (run.diverged_at, run.after_start) == (None, (3, 6))
    images, labels = load_dataset().inputs(slice(0, 1000), "test", device=device)
    model = by_torch(a, 7, step, device).eval()  # the batch above moved its running statistics
    with torch.no_grad():
        right = model(images).argmax(1) == labels
    assert held_out_accuracy(run, step) == pytest.approx(float(right.double().mean()), abs=1e-3)


def test_every_seed_has_its_own_start_and_batches() -> None:
    first, second = each_seed(Study(seed=2), [arm("none")], PROTOCOL, 2, "seeds")
    assert (first["none"].seed, second["none"].seed) == (2000, 2001)
    assert training_point(first["none"], 6) != training_point(second["none"], 6)


def test_arms_of_a_seed_are_paired() -> None:
    """Common parameters start alike, and an arm that is the same under another name has the same numbers."""
    data = load_dataset()
    start, other = (build(arm(norm), 2000, data, "cpu").state_dict() for norm in ("batch", "none"))
    common = [name for name in other if name.endswith("weight_layer.weight")]
    assert len(common) == 2
    assert all(torch.equal(start[name], other[name]) for name in common)
    twice = [arm("none"), replace(arm("none"), name="again")]
    (runs,) = each_seed(Study(seed=2), twice, PROTOCOL, 1, "pairs")
    assert training_point(runs["none"], 6) == training_point(runs["again"], 6)


def test_training_accuracy_from_the_formula_of_batch_norm(device: str) -> None:
    run = one(arm(), 7, device)
    weights = {name: value.double() for name, value in by_torch(arm(), 7, 6, device).state_dict().items()}
    images, labels = batch_at(load_dataset(), 0, batch_size=40, seed=APART + 7000, dtype=torch.float64, device=device)
    outputs = []
    for part in (images[:16], images[16:32], images[32:]):
        h = part.reshape(len(part), -1)
        for layer in ("hidden0", "hidden1"):
            y = h @ weights[f"{layer}.weight_layer.weight"].T
            y = (y - y.mean(0)) / torch.sqrt(y.var(0, unbiased=False) + 1e-5)
            h = torch.relu(y * weights[f"{layer}.norm.weight"] + weights[f"{layer}.norm.bias"])
        outputs.append(h @ weights["output.weight"].T + weights["output.bias"])
    z = torch.cat(outputs)
    loss, accuracy = training_point(run, 6)
    assert loss == pytest.approx(float(F.cross_entropy(z, labels)), rel=1e-4)
    assert accuracy == pytest.approx(float((z.argmax(1) == labels).double().mean()), abs=0.03)


@pytest.mark.long
def test_along_the_gradient_by_the_definition(device: str) -> None:
    along = one(arm("none"), 7, device).points[3]["walk"]["along"]
    x, y = step_batch(7, 3, device)

    def loss_and_gradient(model: nn.Module) -> tuple[float, list[torch.Tensor]]:
        value = F.cross_entropy(model(x), y)
        return float(value.detach()), list(torch.autograd.grad(value, list(model.parameters())))

    g = loss_and_gradient(by_torch(arm("none"), 7, 3, device))[1]
    for index, s in enumerate((0.05, 0.4)):  # the multiples times the learning rate 0.1
        moved = by_torch(arm("none"), 7, 3, device)
        with torch.no_grad():
            for p, direction in zip(moved.parameters(), g, strict=True):
                p -= s * direction
        there, h = loss_and_gradient(moved)
        change = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(g, h, strict=True)))
        assert along["losses"][index] == pytest.approx(there, rel=1e-4)
        assert along["gradient_changes"][index] == pytest.approx(change, rel=1e-3)


def test_the_twins_walk_starts_at_the_networks_loss(device: str) -> None:
    """And differs from its walk elsewhere: the statistics are frozen on the batch of the step."""
    point = one(arm(), 7, device).points[3]
    assert point["twin_walk"]["loss"] == pytest.approx(point["walk"]["loss"], rel=1e-5)
    assert point["twin_walk"]["along"]["losses"] != pytest.approx(point["walk"]["along"]["losses"], rel=1e-3)
    assert "twin_walk" not in one(arm("none"), 7, device).points[3]


def test_the_shift_by_its_definition(device: str) -> None:
    """Layer 2 before and after layer 1, with its gamma and beta, has taken its step of plain gradient descent."""
    found = one(arm(), 7, device).points[3]["step_shift"]
    assert found["layers"] == ["hidden0.weight_layer", "hidden1.weight_layer", "output"]
    x, y = step_batch(7, 3, device)
    model, moved = (by_torch(arm(), 7, 3, device) for _ in range(2))
    model.zero_grad()
    moved.zero_grad()
    F.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for name, p in moved.named_parameters():
            if name.startswith("hidden0."):
                p -= 0.1 * model.get_parameter(name).grad
    F.cross_entropy(moved(x), y).backward()
    own, other = (m.get_parameter("hidden1.weight_layer.weight").grad for m in (model, moved))
    assert found["l2"][0] == 0
    assert found["l2"][1] == pytest.approx(float((own - other).norm()), rel=1e-3)
    assert found["gradient_norm"][1] == pytest.approx(float(own.norm()), rel=1e-3)
    cosine = float(F.cosine_similarity(own.flatten(), other.flatten(), dim=0))
    assert found["cosine"][1] == pytest.approx(cosine, abs=1e-5)


def test_noise_is_that_of_the_step(device: str) -> None:
    """Two runs of the same noisy arm agree, and the loss on the batch of a step is with noise."""
    run, again = (one(arm("noisy-batch"), 7, device) for _ in range(2))
    assert run.points == again.points
    assert run.points[3]["walk"]["loss"] != pytest.approx(one(arm(), 7, device).points[3]["walk"]["loss"])


def test_global_random_numbers_are_left_alone(device: str) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one(arm("noisy-batch"), 11, device)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_a_diverged_run_is_said_and_counts_as_guessing(device: str) -> None:
    run = one(arm("none", rate=1e20), 7, device)
    assert run.diverged_at == 3
    assert training_point(run, 6) == (math.inf, 0.1)
    assert held_out_accuracy(run, 6) == 0.1
    assert run.points == {}


def test_layers_of_lp_norms_can_be_prepared() -> None:
    raw, centred = arm("l1", prepared="lp-of-raw-values"), arm("l1")
    layers = [m for m in build(raw, 0, load_dataset(), "cpu").modules() if isinstance(m, LpBatchNorm)]
    assert [m.scale_of for m in layers] == ["raw", "raw"]
    assert one(raw, 7).points != one(centred, 7).points


# -- the store --------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of one process share their runs, and those of several share a folder."""
    first = one(arm(), 21, store=tmp_path / "store")
    lines = (tmp_path / "store" / RECORDS).read_bytes()
    kept = MemoryStore()
    monkeypatch.setattr("bntheory.experiments.asking._in_memory", lambda: kept)
    in_memory = one(arm(), 21)
    assert in_memory.points == first.points

    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("bntheory.experiments.worker.make_trainer", no_training)
    assert one(arm(), 21, store=tmp_path / "store").points == first.points
    assert one(arm(), 21).points == first.points
    assert (tmp_path / "store" / RECORDS).read_bytes() == lines
    with pytest.raises(AssertionError, match="trained again"):
        one(arm(rate=0.2), 21, store=tmp_path / "store")


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_differences_by_hand() -> None:
    left, right = {1: 100.0, 2: 1000.0}, {1: 10.0, 2: 10.0}
    assert mean_difference(left, right, log=True) == pytest.approx(1.5)
    assert mean_difference(right, left, log=True) == pytest.approx(-1.5)
    assert mean_difference(left, right) == pytest.approx((90 + 990) / 2)
    assert mean_difference({1: math.inf}, {1: 1.0}) is None
    assert mean_difference({1: -1.0}, {1: 1.0}, log=True) is None
    assert mean_difference({}, {}) is None


@pytest.mark.parametrize("lacking", [{1: 100.0}, {1: 100.0, 2: None}, {1: 100.0, 2: math.inf}, {2: 1000.0}, {}])
def test_a_seed_that_lacks_a_step_has_no_mean_over_the_others(lacking) -> None:
    whole = {1: 10.0, 2: 10.0}
    assert mean_difference(lacking, whole, log=True) is None
    assert mean_difference(whole, lacking, log=True) is None


def test_equal_loss_is_read_between_the_other_runs_steps() -> None:
    right, right_losses = {0: 10.0, 10: 1000.0}, {0: 2.0, 10: 1.0}
    value = difference_at_equal_loss({5: 100.0, 6: 7.0}, right, {5: math.sqrt(2), 6: 0.5}, right_losses)
    assert value == pytest.approx(0.0)  # at the geometric mean the other's log10 is 2; the loss 0.5 it never had
    assert difference_at_equal_loss({6: 7.0}, right, {6: 0.5}, right_losses) is None
    at_the_end = difference_at_equal_loss({6: 100.0}, right, {6: 1.0}, right_losses)
    assert at_the_end == pytest.approx(-1.0)


def test_seeds_without_a_number_are_counted_in_the_scope() -> None:
    check = check_of(Study(seed=5), "x", [1.0, None, 1.1, 0.9], "above", 0.0, "made up")
    assert check.outcome == "holds"
    assert check.scope == "3 seeds, made up; 1 of 4 seeds gave no number"
    assert check.witness["seed"] == 5
    assert check_of(Study(), "x", [1.0, None, None], "above", 0.0, "made up").outcome == "undecided"


def test_more_numbers_than_the_study_has_seeds_are_refused() -> None:
    """A number a seed and step, or layer, would pass for so many seeds."""
    study = Study()
    alone = check_of(study, "d", [1.0, 1.1, 0.9, 1.0], "above", 0.0, "u")  # of no runs: nobody knows how many there are
    study.seeds(3)
    assert check_of(study, "d", [1.0, None, 0.9], "above", 0.0, "u").scope.startswith("2 seeds")
    with pytest.raises(
        UserError, match=r"check 'd': 4 numbers .* asked for 3 seeds alone; .* average them within each"
    ):
        check_of(study, "d", [1.0, 1.1, 0.9, 1.0], "above", 0.0, "u")
    study.seeds(2)  # the same ones
    with pytest.raises(UserError, match="4 numbers"):
        check_of(study, "d", [1.0, 1.1, 0.9, None], "above", 0.0, "u")
    study.seeds(1, 100)
    assert check_of(study, "d", [1.0, 1.1, 0.9, 1.0], "above", 0.0, "u") == alone
    assert study == Study()


def test_what_is_no_list_of_numbers_is_refused_by_the_name_of_the_check() -> None:
    wrong: Any = [1.0, 1.1, 0.9]
    with pytest.raises(UserError, match=r"its name is \[1.0, 1.1, 0.9\]"):
        check_of(Study(), wrong, "d", "above", 0.0, "u")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="check 'd': its numbers are <generator"):
        check_of(Study(), "d", (x for x in wrong), "above", 0.0, "u")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seeds", "first", "words"),
    [
        (0, 0, "seeds is 0; a whole number of at least 1 and at most 1000"),
        (-1, 0, "seeds is -1; a whole number of at least 1"),
        (10**9, 0, "seeds is 1000000000; .* at most 1000"),
        (901, 100, "seeds is 901; .* at most 900 .*100 of which come before the first"),
        (2.5, 0, "seeds is 2.5; a whole number"),
        ("3", 0, "seeds is '3'; a whole number"),
        (True, 0, "seeds is True"),
        (3, -1, "first is -1; a whole number from 0 to 999"),
        (3, 1.0, "first is 1.0"),
    ],
)
def test_a_number_of_seeds_that_cannot_be_is_refused(seeds: Any, first: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        each_seed(Study(), [arm()], PROTOCOL, seeds, "test", first=first)


@pytest.mark.parametrize(
    ("arms", "measures", "words"),
    [
        (arm(), lambda a: MEASURES, "arms is Arm.*; give a list or a tuple"),
        (["batch"], lambda a: MEASURES, r"arms is \['batch'\]; .* made by Arm"),
        ([arm()], MEASURES, "measures is .*; give a function of an arm"),
        (
            [arm()],
            lambda a: MEASURES[0],
            "what measures gives for the arm 'batch' is Measure.*; give a list or a tuple",
        ),
        ([arm()], lambda a: "shift", "what measures gives for the arm 'batch' is 'shift'; .* made by Measure"),
    ],
)
def test_one_arm_or_measure_where_several_are_meant_is_refused(arms: Any, measures: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        each_seed(Study(), arms, PROTOCOL, 3, "test", measures)


def test_what_is_shown_beside_others_may_ask_for_no_seeds() -> None:
    study = Study()
    study.seeds(3)
    assert each_seed(study, [arm()], PROTOCOL, 0, "beside") == []
