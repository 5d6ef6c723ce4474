"""A run that is stopped anywhere goes on with the same bits, and a step is that of stochastic gradient descent.

Oracles: ``torch.optim.SGD`` on a copy of the network (other code); an uninterrupted run for the resumed one,
compared by bits; the file format is read back with ``safetensors`` directly.
"""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from bntheory.bridge.networks.data import batch_at, synthetic_data
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.training import SGDConfig, Trainer, reproducible
from bntheory.bridge.probes.along_gradient import along_gradient

DATA = synthetic_data(seed=0)
CONFIG = SGDConfig(0.05, momentum=0.9, weight_decay=1e-3, drops=((5, 0.1),), seed=3)


def network(device: str, norm: str = "batch", dropout: float = 0.0, seed: int = 0) -> nn.Module:
    spec = NetworkSpec("vgg", size="tiny", norm=norm, input_shape=DATA.shape, classes=DATA.classes)
    model = build_network(spec, seed, device=device)
    if dropout:
        model.add_module("dropout", nn.Dropout(dropout))
    return model


def batch(step: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    return batch_at(DATA, step, batch_size=32, seed=1, device=device)


def bits(trainer: Trainer) -> dict[str, bytes]:
    state = {**trainer.model.state_dict(), **{f"v/{n}": v for n, v in trainer.velocity.items()}}
    return {n: t.detach().cpu().numpy().tobytes() for n, t in state.items()} | {"step": str(trainer.step).encode()}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 1e-2])
def test_steps_are_those_of_torch(momentum: float, decay: float, device: str) -> None:
    trainer = Trainer(network(device), F.cross_entropy, SGDConfig(0.05, momentum, decay))
    reference = copy.deepcopy(trainer.model)
    optimiser = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=momentum, weight_decay=decay, foreach=False)
    for step in range(6):
        x, y = batch(step, device)
        loss = F.cross_entropy(reference(x), y)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.cat([p.grad.reshape(-1) for p in reference.parameters()]).norm()
        optimiser.step()
        record = trainer.train_step((x, y))
        assert (record.step, record.learning_rate) == (step, 0.05)
        assert record.loss == pytest.approx(loss.item(), rel=1e-6)
        assert record.gradient_norm == pytest.approx(norm.item(), rel=1e-5)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, rtol=1e-5, atol=1e-7)
    assert all(p.grad is None for p in trainer.model.parameters())


def test_learning_rate_drops() -> None:
    config = SGDConfig(0.4, drops=((3, 0.5), (6, 0.1)))
    assert [config.rate(t) for t in (0, 2, 3, 5, 6)] == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.02])


def test_next_parameters_are_where_a_step_goes(device: str) -> None:
    trainer = Trainer(network(device), F.cross_entropy, CONFIG)
    trainer.run(lambda t: batch(t, device), 3)
    gradients = [torch.randn_like(p) for p in trainer.model.parameters()]
    before = bits(trainer)
    predicted = trainer.next_parameters(gradients)
    assert bits(trainer) == before
    trainer.apply(gradients)
    for name, p in trainer.model.named_parameters():
        torch.testing.assert_close(predicted[name], p.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("norm", ["batch", "none", "l1", "noisy-batch", "noisy-none"])
@pytest.mark.parametrize("stop", [0, 1, 5, 8])
def test_a_resumed_run_has_the_same_bits(norm: str, stop: int, tmp_path: Path, device: str) -> None:
    with reproducible():
        whole = Trainer(network(device, norm, dropout=0.2), F.cross_entropy, CONFIG)
        records = whole.run(lambda t: batch(t, device), 9)
        first = Trainer(network(device, norm, dropout=0.2), F.cross_entropy, CONFIG)
        before = first.run(lambda t: batch(t, device), stop)
        first.save(tmp_path / "state.safetensors", {"note": [1, "two"]})
        torch.manual_seed(999)  # another process has other global generators, and other initial values
        second = Trainer(network(device, norm, dropout=0.2, seed=77), F.cross_entropy, CONFIG)
        assert second.load(tmp_path / "state.safetensors") == {"note": [1, "two"]}
        assert bits(second) == bits(first)
        after = second.run(lambda t: batch(t, device), 9)
    assert bits(second) == bits(whole)
    assert [*before, *after] == records


def test_measurements_in_between_change_nothing(device: str) -> None:
    with reproducible():
        plain = Trainer(network(device, "noisy-batch", 0.3), F.cross_entropy, CONFIG)
        measured = Trainer(network(device, "noisy-batch", 0.3), F.cross_entropy, CONFIG)
        plain.run(lambda t: batch(t, device), 6)

        def measure(record: object) -> None:
            torch.rand(5)
            with measured.randomness():
                along_gradient(
                    measured.model, F.cross_entropy, batch(measured.step, device), [0.05, 0.1], dropout="drawn"
                )

        measured.run(lambda t: batch(t, device), 6, after=measure)
    assert bits(plain) == bits(measured)


def test_global_generators_are_not_moved(device: str) -> None:
    trainer = Trainer(network(device, "noisy-batch", 0.3), F.cross_entropy, CONFIG)
    states = torch.get_rng_state(), np.random.get_state()[1].tobytes(), random.getstate()  # noqa: NPY002
    trainer.train_step(batch(0, device))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tobytes() == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


@pytest.mark.parametrize(("norm", "dropout"), [("batch", 0.5), ("noisy-batch", 0.0), ("noisy-none", 0.0)])
def test_randomness_differs_between_steps_and_seeds(norm: str, dropout: float, device: str) -> None:
    def losses(seed: int) -> list[float]:
        config = SGDConfig(0.0, seed=seed)
        trainer = Trainer(network(device, norm, dropout, seed=0), F.cross_entropy, config)
        return [r.loss for r in trainer.run(lambda t: batch(0, device), 3)]

    assert len(set(losses(0))) == 3
    assert losses(0) == losses(0)
    assert (losses(0) != losses(1)) is (dropout > 0)  # the noise layers have seeds of their own


def test_training_learns(device: str) -> None:
    trainer = Trainer(network(device), F.cross_entropy, SGDConfig(0.05, 0.9))
    records = trainer.run(lambda t: batch(t, device), 40)
    assert records[-1].loss < 0.2 * records[0].loss


KILLED = """
import sys, torch
import torch.nn.functional as F
from bntheory.bridge.networks.data import batch_at, synthetic_data
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.training import SGDConfig, Trainer
data = synthetic_data(seed=0)
spec = NetworkSpec("vgg", size="tiny", norm="noisy-batch", input_shape=data.shape, classes=data.classes)
trainer = Trainer(build_network(spec, 0), F.cross_entropy, SGDConfig(0.05, 0.9))
torch.set_num_threads(1)
while True:
    trainer.train_step(batch_at(data, trainer.step, batch_size=32, seed=1))
    trainer.save(sys.argv[1])
"""


@pytest.mark.slow
def test_a_run_killed_without_warning_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    try:
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
    finally:
        child.kill()
        child.wait()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed = Trainer(network("cpu", "noisy-batch"), F.cross_entropy, SGDConfig(0.05, 0.9))
        resumed.load(path)
        stopped = resumed.step
        whole = Trainer(network("cpu", "noisy-batch"), F.cross_entropy, SGDConfig(0.05, 0.9))
        whole.run(lambda t: batch(t, "cpu"), stopped + 3)
        resumed.run(lambda t: batch(t, "cpu"), stopped + 3)
    finally:
        torch.set_num_threads(threads)
    assert stopped >= 1
    assert bits(resumed) == bits(whole)


# ------------------------------------------------------------------------------------------------------------- files


def test_file_holds_plain_tensors_and_json(tmp_path: Path, device: str) -> None:
    trainer = Trainer(network(device), F.cross_entropy, CONFIG)
    trainer.run(lambda t: batch(t, device), 2)
    path = tmp_path / "state.safetensors"
    trainer.save(path)
    with safe_open(path, framework="numpy") as file:
        note = json.loads(file.metadata()["bntheory"])
        for name, p in trainer.model.named_parameters():
            assert np.array_equal(file.get_tensor(f"model/{name}"), p.detach().cpu().numpy())
            assert np.array_equal(file.get_tensor(f"velocity/{name}"), trainer.velocity[name].cpu().numpy())
    assert note["step"] == 2
    assert note["config"] == json.loads(json.dumps(asdict(CONFIG)))
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    trainer = Trainer(network(device), F.cross_entropy, CONFIG)
    path = tmp_path / "state.safetensors"
    trainer.save(path)
    old = path.read_bytes()
    trainer.run(lambda t: batch(t, device), 1)

    def broken(tensors: object, target: Path, metadata: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bntheory.bridge.networks.training.save_file", broken)
    with pytest.raises(ValueError, match=r"cannot be written.*No space"):
        trainer.save(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_unwritable_folder(tmp_path: Path, device: str) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        Trainer(network(device), F.cross_entropy, CONFIG).save(tmp_path / "nowhere" / "state.safetensors")


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


LOAD_FAILURES = {
    "missing": (lambda p: p.unlink(), CONFIG, "batch", "cannot be read"),
    "truncated": (_damage, CONFIG, "batch", "cannot be read"),
    "garbage": (lambda p: p.write_bytes(b"\x80\x04garbage"), CONFIG, "batch", "cannot be read"),
    "other safetensors": (lambda p: save_file({"a": torch.ones(1)}, p), CONFIG, "batch", "no checkpoint"),
    "other metadata": (
        lambda p: save_file({"a": torch.ones(1)}, p, metadata={"bntheory": '{"format": "bntheory-checkpoint-1"}'}),
        CONFIG,
        "batch",
        "no checkpoint",
    ),
    "metadata no JSON": (
        lambda p: save_file({"a": torch.ones(1)}, p, metadata={"bntheory": "{"}),
        CONFIG,
        "batch",
        "no checkpoint",
    ),
    "other configuration": (lambda p: None, SGDConfig(0.1, 0.9), "batch", "configured as"),
    "other network": (lambda p: None, CONFIG, "none", "holds another network"),
}


@pytest.mark.parametrize("failure", LOAD_FAILURES)
def test_load_failures_change_nothing(tmp_path: Path, failure: str, device: str) -> None:
    action, config, norm, message = LOAD_FAILURES[failure]
    path = tmp_path / "state.safetensors"
    Trainer(network(device), F.cross_entropy, CONFIG).save(path)
    action(path)
    other = Trainer(network(device, norm, seed=5), F.cross_entropy, config)
    before = bits(other)
    with pytest.raises(ValueError, match=message):
        other.load(path)
    assert bits(other) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"learning_rate": 0.1, "momentum": 1.0}, "momentum"),
        ({"learning_rate": 0.1, "weight_decay": float("inf")}, "weight_decay"),
        ({"learning_rate": 0.1, "seed": -1}, "seed"),
    ],
    ids=str,
)
def test_bad_configurations(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SGDConfig(**arguments)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda out, y: out.detach().sum(), "does not depend on any parameter"),
        (lambda out, y: out.sum(1), "must return one real number"),
        (lambda out, y: 3.0, "returned a float"),
    ],
    ids=["detached", "vector", "float"],
)
def test_bad_losses(loss: object, message: str, device: str) -> None:
    trainer = Trainer(network(device), loss, CONFIG)
    with pytest.raises(ValueError, match=message):
        trainer.train_step(batch(0, device))
    assert trainer.step == 0


def test_bad_batches_and_models(device: str) -> None:
    trainer = Trainer(network(device), F.cross_entropy, CONFIG)
    for bad in (torch.ones(3), (), iter([1])):
        with pytest.raises(ValueError, match="batch: a "):
            trainer.train_step(bad)
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        Trainer(nn.ReLU(), F.cross_entropy, CONFIG)


def test_reproducible_puts_its_settings_back() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
    with reproducible():
        assert (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32) == (True, False, False)
    assert (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32) == before
