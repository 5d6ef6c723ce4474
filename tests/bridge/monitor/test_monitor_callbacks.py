"""The callbacks for two trainers: with the trainers themselves where they are installed, and with the least that follows their protocol."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

LIGHTNING, HUGGINGFACE = "bntheory.bridge.monitor.lightning", "bntheory.bridge.monitor.huggingface"


class Network(nn.Module):
    """Takes a tensor, or keyword arguments with labels, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None):
        scores = self.net(x)
        return scores if labels is None else {"logits": scores, "loss": F.cross_entropy(scores, labels)}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 3


@pytest.fixture
def module(request, monkeypatch):
    """A callback module imported against a stand-in of its trainer's package."""
    name, packages = request.param
    monkeypatch.delitem(sys.modules, name, raising=False)
    for package, content in packages.items():
        made = ModuleType(package)
        made.__dict__.update(content)
        monkeypatch.setitem(sys.modules, package, made)
    yield importlib.import_module(name)
    sys.modules.pop(name, None)


class Base:
    def __init__(self) -> None:
        self.made = True


@pytest.mark.parametrize(
    "module", [(LIGHTNING, {"lightning": {}, "lightning.pytorch": {"Callback": Base}})], indirect=True
)
@pytest.mark.parametrize("network", [None, lambda m: m.net], ids=["module", "part"])
def test_lightning(module, network):
    net, (x, labels) = Network(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    callback = module.MonitorCallback(
        F.cross_entropy, (x, labels), network=network, every=1, share=None, measures=["loss"]
    )
    assert callback.made
    trainer = SimpleNamespace(global_step=0, optimizers=[optimizer])
    callback.on_train_start(trainer, net)
    for index in range(6):  # gradients of two batches make a step
        F.cross_entropy(net(x), labels).backward()
        if index % 2:
            optimizer.step()
            optimizer.zero_grad()
            trainer.global_step += 1
        callback.on_train_batch_end(trainer, net, None, (x, labels), index)
    callback.on_train_end(trainer, net)
    assert [(row["step"], row["learning_rate"]) for row in callback.monitor.rows()] == [(1, 0.1), (2, 0.1), (3, 0.1)]
    callback.monitor.step()
    assert len(callback.monitor.records) == 3, "it is closed"


@pytest.mark.parametrize(
    "module", [(LIGHTNING, {"lightning": {}, "lightning.pytorch": {"Callback": Base}})], indirect=True
)
def test_lightning_with_several_optimisers(module):
    net = Network()
    optimizers = [torch.optim.SGD(part.parameters(), lr=lr) for part, lr in ((net.net[:2], 0.1), (net.net[2:], 0.2))]
    for network, rate, edge in ((None, 0.2, 10.0), (lambda m: m.net[:2], 0.1, 20.0)):
        callback = module.MonitorCallback(F.cross_entropy, data(), network=network, share=None, measures=["loss"])
        callback.on_train_start(SimpleNamespace(global_step=0, optimizers=optimizers), net)
        callback.monitor.measure()
        (row,) = callback.monitor.rows()
        assert (row["learning_rate"], row["edge"]) == (rate, pytest.approx(edge))


@pytest.mark.parametrize("module", [(HUGGINGFACE, {"transformers": {"TrainerCallback": Base}})], indirect=True)
def test_huggingface(module):
    net, (x, labels) = Network(), data()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    callback = module.MonitorCallback({"x": x, "labels": labels}, every=2, share=None, measures=["loss", "sharpness"])
    state, control = SimpleNamespace(global_step=0), object()
    callback.on_train_begin(None, state, control, model=net, optimizer=optimizer, processing_class=None)
    for _ in range(4):
        net(x, labels)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        state.global_step += 1
        callback.on_step_end(None, state, control, model=net, optimizer=optimizer)
    callback.on_train_end(None, state, control, model=net)
    rows = callback.monitor.rows()
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[1]["loss"] == pytest.approx(float(net.train()(x, labels)["loss"].detach()), rel=1e-6)
    assert not callback.monitor.missing


def _steps(callback, net, optimizer, told, done) -> list[float]:
    """Four steps as both trainers make them: told of the optimiser's step, the schedule moved on, told that all is done."""
    schedule, used = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), []
    for _ in range(4):
        optimizer.zero_grad()
        net(*data())["loss"].backward()
        told()
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
        done()
    return used


@pytest.mark.parametrize(
    "module",
    [
        (LIGHTNING, {"lightning": {}, "lightning.pytorch": {"Callback": Base}}),
        (HUGGINGFACE, {"transformers": {"TrainerCallback": Base}}),
    ],
    indirect=True,
)
@pytest.mark.parametrize("tells", [True, False], ids=["told", "not told"])
def test_the_rate_is_that_of_the_step_and_not_of_the_next(module, tells):
    """A schedule has moved on when a trainer says that a step is done; told of the step before, a callback has read its rate."""
    net, (x, labels) = Network(), data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    options = {"every": 1, "share": None, "measures": ["loss"]}
    state = SimpleNamespace(global_step=0, optimizers=[optimizer])
    if module.__name__ == LIGHTNING:
        callback = module.MonitorCallback(None, {"x": x, "labels": labels}, **options)
        callback.on_train_start(state, net)
        told = lambda: callback.on_before_optimizer_step(state, net, optimizer)  # noqa: E731
        after = lambda: callback.on_train_batch_end(state, net, None, None, 0)  # noqa: E731
    else:
        callback = module.MonitorCallback({"x": x, "labels": labels}, **options)
        callback.on_train_begin(None, state, None, model=net, optimizer=optimizer)
        told = lambda: callback.on_optimizer_step(None, state, None)  # noqa: E731
        after = lambda: callback.on_step_end(None, state, None)  # noqa: E731

    def done() -> None:
        state.global_step += 1
        after()

    used = _steps(callback, net, optimizer, told if tells else lambda: None, done)
    following = [rate / 2 for rate in used]
    assert [row["learning_rate"] for row in callback.monitor.rows()] == (used if tells else following)
    assert [row["edge"] for row in callback.monitor.rows()] == [2 / r for r in (used if tells else following)]


@pytest.mark.parametrize("name", [LIGHTNING, HUGGINGFACE])
def test_without_the_package_the_import_says_what_to_install(name, monkeypatch):
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ValueError, match=r"pip install 'bntheory\["):
        importlib.import_module(name)


@pytest.mark.filterwarnings("ignore")
def test_lightning_itself(tmp_path):
    lightning = pytest.importorskip("lightning.pytorch")
    MonitorCallback = importlib.import_module(LIGHTNING).MonitorCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network()

        def forward(self, x):
            return self.network(x)

        def training_step(self, batch, index):
            return F.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(callbacks):
        module = Module()
        trainer = lightning.Trainer(
            max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=callbacks, default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=8))
        return [p.detach().clone() for p in module.state_dict().values()]

    callback = MonitorCallback(F.cross_entropy, data(), every=2, share=None)
    watched, alone = fit([callback]), fit([])
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))
    assert [row["step"] for row in callback.monitor.rows()] == [2, 4]
    assert not callback.monitor.missing


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_transformers_itself(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    MonitorCallback = importlib.import_module(HUGGINGFACE).MonitorCallback
    x, labels = data()
    rows = [{"x": a, "labels": b} for a, b in zip(x, labels, strict=True)]

    def fit(callbacks):
        net = Network()
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=4, per_device_train_batch_size=8, learning_rate=0.1, use_cpu=True, report_to=[],
            save_strategy="no", disable_tqdm=True, logging_strategy="no",
        )  # fmt: skip
        transformers.Trainer(net, arguments, train_dataset=rows, callbacks=callbacks).train()
        return [p.detach().clone() for p in net.state_dict().values()]

    callback = MonitorCallback({"x": x, "labels": labels}, every=2, share=None)
    watched, alone = fit([callback]), fit([])
    assert all(torch.equal(a, b) for a, b in zip(watched, alone, strict=True))
    assert [row["step"] for row in callback.monitor.rows()] == [2, 4]
