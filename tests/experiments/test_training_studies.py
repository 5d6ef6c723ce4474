"""Training studies: paired arms, what is kept and what is measured.

Oracles: torch's own optimiser in a plain loop; batch normalisation written out from its formula; the definitions of the measures
computed on deep copies of the network; numbers worked out by hand.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.bridge import LpBatchNorm, NetworkSpec, batch_at, build_network, load_dataset, set_noise_step
from bntheory.claims.claim import Study
from bntheory.experiments import runs as studies
from bntheory.experiments.runs import (
    MEASURED_SEED,
    Arm,
    Protocol,
    along,
    check_of,
    difference_at_equal_loss,
    each_seed,
    held_out_accuracy,
    mean_difference,
    shifts,
    train_arm,
    training_point,
)

PROTOCOL = Protocol.even(6, 2, batch_size=16, measured=40)


def arm(norm: str = "batch", rate: float = 0.1, **options: Any) -> Arm:
    return Arm(norm, NetworkSpec("mlp", norm=norm, layout=(12, 12)), rate, **options)


def double_the_weights(model: nn.Module) -> None:
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2)


@pytest.fixture(scope="module")
def data() -> Any:
    return load_dataset()


def test_records_are_even_and_end_with_the_run() -> None:
    assert Protocol.even(80, 4).record == (0, 20, 40, 60, 80)
    assert Protocol.even(7, 2).record == (0, 3, 7)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_training_is_torchs_own_sgd(norm: str, data: Any, device: str) -> None:
    """torch.optim.SGD in a plain loop; on the CPU both do the same operations up to their order."""
    run = train_arm(arm(norm, momentum=0.5, weight_decay=1e-3), PROTOCOL, 7, device)
    model = build_network(run.arm.spec, 7, device=device).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5, weight_decay=1e-3)
    losses = []
    for step in range(7):
        if step in (0, 3, 6):
            own = run.network_at(step).state_dict()
            for name, value in model.state_dict().items():
                torch.testing.assert_close(own[name], value, rtol=1e-4, atol=1e-6)
        if step < 6:
            x, y = batch_at(data, step, batch_size=16, seed=7, device=device)
            loss = F.cross_entropy(model(x), y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
    assert run.losses == pytest.approx(losses, rel=1e-4)
    assert (run.diverged_at, run.after_start) == (None, (3, 6))


def test_arms_of_a_seed_share_initial_values_and_batches(device: str) -> None:
    study = Study(seed=2, device=device)
    first, second = each_seed(study, [arm("batch"), arm("none")], PROTOCOL, 2, "pairs")
    for runs, seed in ((first, 2000), (second, 2001)):
        a, b = runs["batch"], runs["none"]
        assert (a.seed, b.seed, a.device) == (seed, seed, device)
        start, other = a.network_at(0).state_dict(), b.network_at(0).state_dict()
        common = [name for name in other if name.endswith("weight_layer.weight")]
        assert len(common) == 2
        assert all(torch.equal(start[name], other[name]) for name in common)
        assert torch.equal(a.batch(3)[0], b.batch(3)[0])
    assert not torch.equal(first["batch"].batch(0)[0], second["batch"].batch(0)[0])
    assert first["batch"].losses != second["batch"].losses


def test_a_run_is_trained_once_and_again_gives_the_same_numbers(device: str) -> None:
    run = train_arm(arm(), PROTOCOL, 3, device)
    assert train_arm(arm(), PROTOCOL, 3, device) is run
    assert train_arm(arm(rate=0.2), PROTOCOL, 3, device) is not run
    again = train_arm.__wrapped__(arm(), PROTOCOL, 3, device)
    assert again is not run
    assert again.losses == run.losses
    assert training_point(again, 6) == training_point(run, 6)


def test_global_random_numbers_are_left_alone(device: str) -> None:
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    run = train_arm(arm("noisy-batch"), PROTOCOL, 4, device)
    training_point(run, 3), held_out_accuracy(run, 6), along(run, 3, (0.5, 4.0)), shifts(run, 3)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002


def test_measuring_leaves_the_run_as_it_was(device: str) -> None:
    run = train_arm(arm(), PROTOCOL, 5, device)
    before = copy.deepcopy(run.snapshots[3])
    training_point(run, 3), held_out_accuracy(run, 3), along(run, 3, (1.0,), twin=True), shifts(run, 3)
    assert all(torch.equal(before[name], value) for name, value in run.snapshots[3].items())


def test_training_accuracy_from_the_formula_of_batch_norm(data: Any, device: str) -> None:
    run = train_arm(arm(), PROTOCOL, 7, device)
    weights = {name: value.double() for name, value in run.snapshots[6].items()}
    images, labels = batch_at(
        data, 0, batch_size=40, seed=MEASURED_SEED + 7, dtype=torch.float64, device=device
    )
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
    assert loss == pytest.approx(float(F.cross_entropy(z, labels)), rel=1e-5)
    assert accuracy == float((z.argmax(1) == labels).double().mean())


def test_held_out_accuracy_is_that_of_evaluation_mode(data: Any, device: str) -> None:
    run = train_arm(arm(), PROTOCOL, 7, device)
    model = run.network_at(6).eval()
    images, labels = data.inputs(slice(0, 1000), "test", device=device)
    with torch.no_grad():
        correct = model(images).argmax(1) == labels
    assert held_out_accuracy(run, 6) == pytest.approx(float(correct.double().mean()), abs=1e-3)


def test_along_the_gradient_by_the_definition(device: str) -> None:
    run = train_arm(arm("none"), PROTOCOL, 7, device)
    found = along(run, 3, (0.5, 4.0))
    assert found is not None
    x, y = run.batch(3)

    def loss_and_gradient(model: nn.Module) -> tuple[float, list[torch.Tensor]]:
        value = F.cross_entropy(model(x), y)
        return float(value.detach()), list(torch.autograd.grad(value, list(model.parameters())))

    loss, g = loss_and_gradient(run.network_at(3))
    assert found.loss == pytest.approx(loss, rel=1e-5)
    for index, s in enumerate((0.05, 0.4)):  # the multiples times the learning rate 0.1
        moved = run.network_at(3)
        with torch.no_grad():
            for p, direction in zip(moved.parameters(), g, strict=True):
                p -= s * direction
        there, h = loss_and_gradient(moved)
        change = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(g, h, strict=True)))
        assert found.losses[index] == pytest.approx(there, rel=1e-5)
        assert found.gradient_changes[index] == pytest.approx(change, rel=1e-3)


def test_the_shift_by_its_definition(device: str) -> None:
    """Layer 2 before and after layer 1, with its gamma and beta, has taken its step of plain gradient descent."""
    run = train_arm(arm(), PROTOCOL, 7, device)
    found = shifts(run, 3)
    assert found is not None
    assert [s.layer for s in found] == ["hidden0.weight_layer", "hidden1.weight_layer", "output"]
    x, y = run.batch(3)
    model, moved = run.network_at(3), run.network_at(3)
    F.cross_entropy(model(x), y).backward()
    with torch.no_grad():
        for name, p in moved.named_parameters():
            if name.startswith("hidden0."):
                p -= 0.1 * model.get_parameter(name).grad
    F.cross_entropy(moved(x), y).backward()
    own, other = (m.get_parameter("hidden1.weight_layer.weight").grad for m in (model, moved))
    assert found[0].l2 == 0
    assert found[1].l2 == pytest.approx(float((own - other).norm()), rel=1e-3)
    assert found[1].cosine == pytest.approx(
        float(F.cosine_similarity(own.flatten(), other.flatten(), dim=0)), abs=1e-5
    )


def test_noise_is_that_of_the_recorded_step(device: str) -> None:
    run = train_arm(arm("noisy-batch"), PROTOCOL, 7, device)
    x, _ = run.batch(3)
    with torch.no_grad():
        outputs = [run.network_at(3)(x), run.network_at(3)(x)]
        other = run.network_at(3)
        set_noise_step(other, 4)
        outputs.append(other(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def test_a_prepared_arm_is_prepared_before_training_and_whenever_it_is_looked_at(device: str) -> None:
    plain, prepared = (
        train_arm(a, PROTOCOL, 7, device) for a in (arm("none"), arm("none", prepare=double_the_weights))
    )
    for name, value in plain.snapshots[0].items():
        assert torch.equal(prepared.snapshots[0][name], 2 * value)
    at_three = prepared.network_at(3).state_dict()
    assert all(torch.equal(at_three[name], value) for name, value in prepared.snapshots[3].items())


def test_a_diverged_run_is_said_and_counts_as_guessing(device: str) -> None:
    run = train_arm(arm("none", rate=1e20), PROTOCOL, 7, device)
    assert run.diverged_at is not None
    assert 0 < run.diverged_at < 6
    assert 6 not in run.snapshots
    assert training_point(run, 6) == (math.inf, 0.1)
    assert held_out_accuracy(run, 6) == 0.1
    assert along(run, 6, (1.0,)) is None
    assert shifts(run, 6) is None


def test_differences_by_hand() -> None:
    left, right = {1: 100.0, 2: 1000.0, 3: None, 4: 5.0}, {1: 10.0, 2: 10.0, 3: 2.0, 5: 1.0}
    assert mean_difference(left, right, log=True) == pytest.approx(1.5)
    assert mean_difference(right, left, log=True) == pytest.approx(-1.5)
    assert mean_difference(left, right) == pytest.approx((90 + 990) / 2)
    assert mean_difference({1: math.inf}, {1: 1.0}) is None
    assert mean_difference({1: -1.0}, {1: 1.0}, log=True) is None
    assert mean_difference({}, right) is None


def test_equal_loss_is_read_between_the_other_runs_steps() -> None:
    right, right_losses = {0: 10.0, 10: 1000.0}, {0: 2.0, 10: 1.0}
    value = difference_at_equal_loss({5: 100.0, 6: 7.0}, right, {5: math.sqrt(2), 6: 0.5}, right_losses)
    assert value == pytest.approx(
        0.0
    )  # at the geometric mean the other's log10 is 2; the loss 0.5 it never had
    assert difference_at_equal_loss({6: 7.0}, right, {6: 0.5}, right_losses) is None
    at_the_end = difference_at_equal_loss({6: 100.0}, right, {6: 1.0}, right_losses)
    assert at_the_end == pytest.approx(-1.0)


def test_seeds_without_a_number_are_counted_in_the_scope() -> None:
    check = check_of(Study(seed=5), "x", [1.0, None, 1.1, 0.9], "above", 0.0, "made up")
    assert check.outcome == "holds"
    assert check.scope == "3 seeds, made up; 1 of 4 seeds gave no number"
    assert check.witness["seed"] == 5
    assert check_of(Study(), "x", [1.0, None, None], "above", 0.0, "made up").outcome == "undecided"


def test_the_device_reaches_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(studies, "train_arm", lambda arm, protocol, seed, device: seen.append(device))
    list(each_seed(Study(device="elsewhere"), [arm()], PROTOCOL, 2, "device"))
    assert seen == ["elsewhere", "elsewhere"]


def test_layers_of_lp_norms_can_be_prepared(device: str) -> None:
    from bntheory.claims.sources.santurkar2018.figures_1_2 import scale_of_raw_values

    raw, centred = (
        train_arm(a, PROTOCOL, 7, device) for a in (arm("l1", prepare=scale_of_raw_values), arm("l1"))
    )
    layers = [m for m in raw.network_at(6).modules() if isinstance(m, LpBatchNorm)]
    assert [m.scale_of for m in layers] == ["raw", "raw"]
    assert raw.losses != centred.losses
