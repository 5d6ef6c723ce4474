"""Networks and data of a user's own files, through the commands, in other processes, after a cut.

The oracle is the package's own network and data: written down in a user's file once more, they give the same numbers bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_claims import command
from tiny import TINY

from bntheory.bridge import load_dataset
from bntheory.errors import UserError
from bntheory.experiments import engine
from bntheory.experiments.experiment import Arm, Conditions, Experiment, Measure, Needed, Protocol, needed
from bntheory.experiments.manifest import conditions, conditions_of, make_manifest
from bntheory.experiments.own import dataset, own_code, own_network
from bntheory.experiments.preset import load_preset, preset_from_json
from bntheory.experiments.runs import CLASSIFICATION
from bntheory.experiments.store import CHECKPOINTS, Store
from bntheory.experiments.worker import Workplace

NETWORKS = """
import math, os
from contextvars import ContextVar
import numpy as np, torch
from torch import nn

class Unit(nn.Module):
    def __init__(self, inputs, width, norm):
        super().__init__()
        self.weight_layer = nn.Linear(inputs, width, bias=norm == "none")
        self.norm = {"batch": nn.BatchNorm1d, "none": lambda width: nn.Identity()}[norm](width)
        self.act = nn.ReLU()
    def forward(self, x):
        return self.act(self.norm(self.weight_layer(x)))

def build(shape, classes, options):
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    model.add_module("hidden0", Unit(math.prod(shape), options["width"], options["norm"]))
    model.add_module("output", nn.Linear(options["width"], classes))
    return model

def few_outputs(shape, classes, options):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes - 1))

def other_images(shape, classes, options):
    return nn.Linear(5, classes)

def number(shape, classes, options):
    return 3

def breaks(shape, classes, options):
    return options["absent"]

def other_each_time(shape, classes, options):
    model = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))
    model.register_buffer("word", torch.tensor(list(os.urandom(8))))
    return model

class Counted(nn.Module):
    # its outputs grow with the number of calls in training mode, which one of several places holds
    called = 0
    def __init__(self, body, where):
        super().__init__()
        self.body, self.where, self.count, self.history = body, where, 0, []
        self.mean = torch.zeros(())
    def forward(self, x):
        global CALLED
        out = self.body(x)
        if self.training:
            if self.where == "attribute":
                self.count += 1
            elif self.where == "list":
                self.history.append(self.count)
            elif self.where == "tensor":
                self.mean = self.mean + out.detach().abs().mean()
            elif self.where == "class":
                Counted.called += 1
            elif self.where == "context":
                CONTEXT.set(CONTEXT.get() + 1)
            elif self.where == "global tensor":
                TOTAL.add_(0.1)
            else:
                CALLED += 1
        return out * (1 + 0.1 * self.count + 0.1 * len(self.history) + self.mean + 0.1 * Counted.called + 0.1 * CALLED + 0.1 * CONTEXT.get() + TOTAL)

CALLED, CONTEXT, TOTAL = 0, ContextVar("count", default=0), torch.zeros(())

def counted(shape, classes, options):
    return Counted(build(shape, classes, options), options["where"])

def ends(shape, classes, options):
    raise SystemExit(0)

def lazy(shape, classes, options):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))

def changes_all(shape, classes, options):
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    os.chdir("/")
    return build(shape, classes, options)

def draws(shape, classes, options):
    model = build(shape, classes, options)
    model.shift = nn.Parameter(torch.tensor(np.random.rand(3)) + torch.rand(3))
    return model
"""
DATA = """
import os
import numpy as np
from bntheory.bridge import load_dataset

def images(change=lambda x: x):
    data = load_dataset("fashion-mnist-subset")
    return change(data.train_images.numpy()), data.train_labels, change(data.test_images), data.test_labels

def floats():
    return images(lambda x: np.asarray(x, dtype=float).reshape(len(x), -1) / 100 - 7)

def three():
    return images()[:3]

def words():
    return "abcd"

def negative():
    a, b, c, d = images()
    return a, b - 1, c, d

def far():
    a, b, c, d = images()
    return a, b + 10**9, c, d

def halves():
    a, b, c, d = images()
    return a, b / 2, c, d

def infinite():
    a, b, c, d = floats()
    a[3, 4] = np.inf
    return a, b, c, d

def huge():
    return images(lambda x: np.asarray(x, dtype=float) * 1e300)

def short():
    a, b, c, d = images()
    return a[1:], b, c, d

def other_each_time():
    a, b, c, d = images()
    return a ^ np.frombuffer(os.urandom(1), np.uint8), b, c, d
"""
CLAIM = """
from bntheory import claim
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.preset import load_preset, preset_from_json
from bntheory.experiments.runs import CLASSIFICATION, Protocol, check_of, each_seed

ARMS = [Arm("package", "package", "mlp", {"norm": "batch", "layout": [5]}, 0.1, rescaled_on=0),
        Arm("mine", "mine", "networks.py:build", {"norm": "none", "width": 5}, 0.1, rescaled_on=20),
        Arm("mine too", "batch", "networks.py:build", {"norm": "batch", "width": 5}, 0.1)]

@claim("mine.loss", kind="experiment", statement="the loss is positive")
def loss(study):
    runs = each_seed(study, ARMS, Protocol(6, (3, 6), batch_size=16, measured=24, data="DATA"), 3, "x", lambda arm: (CLASSIFICATION, Measure("shift")))
    return [check_of(study, "loss", [r["batch"].points[6]["training"]["loss"] for r in runs], "above", 0.0, "tiny")]
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    Path("data.py").write_text(DATA)


def _values(folder: str, arm: str) -> dict[tuple[str, int, int], Any]:
    lines = map(json.loads, (Path(folder) / "records.jsonl").read_text().splitlines())
    return {(r["measure"], r["seed"], r["step"]): r["values"] for r in lines if r["arm"] == arm}


def _asked(kind: str, data: str, norm: str = "batch", where: str = "", **arm: Any) -> list[Needed]:
    size = {"layout": [5]} if kind == "mlp" else {"width": 5, **({"where": where} if where else {})}
    arms = (Arm("n", "a", kind, {"norm": norm, **size}, 0.1, **arm),)
    experiment = Experiment("x", arms, Protocol(6, (2, 4, 6), 16, 24), (CLASSIFICATION,), (0, 1))
    return list(needed(experiment, conditions(dataset(data), "cpu")))


def _place(asked: list[Needed], store: Store) -> Workplace:
    images = dataset(asked[0].data)
    held: dict[str, tuple[Conditions, Any]] = {asked[0].data: (conditions(images, "cpu"), images)}
    return Workplace(held, "cpu", store.path / CHECKPOINTS)


def _made(asked: list[Needed], folder: str, say: Any = lambda text: None) -> list[Any]:
    store = Store.create(Path(folder))
    with store.lock():
        engine.run(asked, store, _place(asked, store), say=say)
    return [store.read().records[n.address].values for n in asked]


@pytest.mark.long
def test_the_packages_network_and_data_in_a_users_file_give_its_numbers() -> None:
    for name, data in (("own", "data.py:images"), ("package", "fashion-mnist-subset")):
        Path("mine.py").write_text(CLAIM.replace("DATA", data))
        made = command("compare", "--claims", "mine.py", "--out", name, "--workers", "1")
        assert made.exit_code == 0, made.output
    assert _values("own", "batch") == _values("own", "package") == _values("package", "batch")
    assert len(_values("own", "batch")) == 12
    again = command("check", "mine.py", "--scale", "quick", "--store", "package", "--no-train")
    assert "supported" in again.output
    Path("networks.py").write_text(NETWORKS + "# a word\n")
    again = command("check", "mine.py", "--scale", "quick", "--store", "package", "--no-train")
    assert "24 records of 6 runs missing" in " ".join(again.output.split())


def test_a_rescaled_network_of_ones_own_is_rescaled_as_the_packages() -> None:
    own = _made(_asked("networks.py:build", "data.py:images", "none", rescaled_on=20), "own")
    assert own == _made(_asked("mlp", "fashion-mnist-subset", "none", rescaled_on=20), "package")
    assert own != _made(_asked("mlp", "fashion-mnist-subset", "none"), "plain")


def test_numbers_are_standardised_as_bytes_are() -> None:
    """Pixels p as p/100 - 7, in one row: the standardised images, which no shift and no factor changes, are the same."""
    mine, theirs = dataset("data.py:floats"), load_dataset("fashion-mnist-subset")
    assert (mine.shape, mine.classes, mine.size("test")) == ((1, 1, 784), 10, theirs.size("test"))
    some = slice(5, 50)
    for split in ("train", "test"):
        x, y = mine.inputs(some, split)
        expected, labels = theirs.inputs(some, split)
        assert np.allclose(x.reshape(45, -1), expected.reshape(45, -1), atol=1e-5)
        assert y.tolist() == labels.tolist()


PLACES = ("attribute", "list", "tensor", "class", "global", "global tensor", "context")


def _cut(asked: list[Needed], folder: str, monkeypatch: pytest.MonkeyPatch, say: Any = lambda text: None) -> None:
    """Stop a run after two of its records."""
    append = Store.append
    first: list[Any] = []

    def cut(store: Store, records: Any, **rest: Any) -> None:
        if len(first) == 2:
            raise KeyboardInterrupt
        first.append(records)
        append(store, records, **rest)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "append", cut)
        with pytest.raises(KeyboardInterrupt):
            _made(asked, folder, say)


def test_a_cut_run_goes_on_from_its_checkpoint_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _asked("networks.py:build", "data.py:images")
    whole = _made(asked, "whole")
    _cut(asked, "cut", monkeypatch)
    assert len(list(Path("cut", CHECKPOINTS).iterdir())) == 1
    assert _made(asked, "cut") == whole


@pytest.mark.parametrize("where", PLACES)
def test_a_network_that_counts_outside_of_its_buffers_starts_over_where_it_was_cut(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said = _asked("networks.py:counted", "data.py:images", where=where), list[str]()
    whole = _made(asked, "whole")
    assert whole != _made(_asked("networks.py:build", "data.py:images"), "uncounted")
    _cut(asked, "cut", monkeypatch, said.append)
    assert not list(Path("cut", CHECKPOINTS).iterdir())
    assert len(said) == 1
    assert "starts over, since training changes " in said[0]
    assert _made(asked, "cut") == whole


@pytest.mark.parametrize("where", PLACES)
def test_a_run_is_the_same_whatever_else_its_process_has_done(where: str) -> None:
    asked = _asked("networks.py:counted", "data.py:images", where=where)
    both, last = _made(asked, "both"), [n for n in asked if n.step == 6]
    alone = [value for n in asked for value in _made([n], f"alone-{n.task.seed}-{n.step}")]
    assert alone == both
    assert _made(last, "last") == [value for n, value in zip(asked, both, strict=True) if n.step == 6]


def test_a_file_that_changes_while_a_run_goes_on_gives_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("measures.py").write_text("def one(situation, options):\n    return 1.0\n")
    arm = Arm("n", "a", "networks.py:build", {"norm": "none", "width": 5}, 0.1)
    measures = (Measure("measures.py:one"), CLASSIFICATION)
    experiment = Experiment("x", (arm,), Protocol(2, (2,), 16, 24), measures, (0,))
    asked = list(needed(experiment, conditions(dataset("data.py:images"), "cpu")))
    for file, text, lost in (("measures.py", "1.0", 1), ("networks.py", "bias", 2)):
        before = Path(file).read_text()
        store, failed = Store.create(Path(f"changed-{file}")), dict[str, str]()
        place = _place(asked, store)
        Path(file).write_text(before.replace(text, f" {text}", 1))
        with store.lock():
            engine.run(asked, store, place, failed=failed)
        Path(file).write_text(before)
        assert all("has changed since this run began" in why for why in failed.values())
        assert (len(failed), len(store.read().records)) == (lost, 2 - lost)


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("absent.py:build", {}, "absent.py cannot be read"),
        ("networks.py:absent", {}, "has no function 'absent'; give one of (shape, classes, options)"),
        ("networks.py:number", {}, "3 is no network"),
        ("networks.py:breaks", {}, "line 33, KeyError: 'absent'"),
        ("networks.py:ends", {}, "SystemExit: 0"),
        ("networks.py:lazy", {}, "its weights cannot be drawn (ValueError: "),
        ("networks.py:few_outputs", {}, "(4, 9) is the shape of its outputs for 4 images of 10 classes"),
        ("networks.py:other_images", {}, "does not take images of shape (1, 28, 28)"),
        ("networks.py:other_each_time", {}, "another network at each call"),
        ("networks.py:build", {"norm": "none", "width": 5, "init": "best"}, "init 'best' is unknown"),
    ],
)
def test_what_is_no_network_is_said(kind: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        own_network(kind, 0, load_dataset("fashion-mnist-subset"), options)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("absent", "has no function 'absent'"),
        ("three", "are not these four"),
        ("words", "'abcd' are not these four"),
        ("negative", "train labels are [-1  6"),
        ("halves", "give whole numbers from 0 up"),
        ("far", "a label is 1000000009; number the classes from 0 up"),
        ("infinite", "train images hold what is no finite number"),
        ("huge", "train images hold what is no finite number in float32"),
        ("short", "do not belong together"),
        ("other_each_time", "other data at each call"),
    ],
)
def test_what_is_no_data_is_said(function: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        dataset(f"data.py:{function}")
    assert said in str(error.value)


def test_what_a_function_draws_is_a_function_of_the_seed_and_moves_no_generator() -> None:
    import torch

    data, before = load_dataset("fashion-mnist-subset"), torch.get_rng_state()
    options = {"norm": "batch", "width": 5}

    def values(function: str, name: str, seed: int, **more: str) -> Any:
        return own_network(f"networks.py:{function}", seed, data, {**options, **more}).state_dict()[name]

    assert torch.equal(values("draws", "shift", 3), values("draws", "shift", 3))
    assert not torch.equal(values("draws", "shift", 3), values("draws", "shift", 4))
    assert torch.equal(torch.get_rng_state(), before)
    own, drawn = (values("build", "output.weight", 3, init=init) for init in ("own", "he"))
    assert not torch.equal(own, drawn)


def test_what_a_function_changes_for_the_whole_process_is_put_back() -> None:
    import torch

    def state() -> list[Any]:
        return [torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), Path.cwd()]

    data, before, options = load_dataset("fashion-mnist-subset"), state(), {"norm": "batch", "width": 5}
    other, plain = (own_network(f"networks.py:{of}", 3, data, options).state_dict() for of in ("changes_all", "build"))
    assert state() == before
    assert all(torch.equal(value, plain[name]) for name, value in other.items())


@pytest.mark.long
def test_a_preset_names_both_and_its_run_is_read_without_the_files() -> None:
    text = TINY.replace("fashion-mnist-subset", "data.py:floats").partition("[[networks]]")[0]
    own = '[[networks]]\nname = "mine"\nkind = "networks.py:build"\noptions = { width = 4 }\n'
    Path("own.toml").write_text(text + own.replace("4 }", '4, norm = "batch" }'))
    refused = command("plan", "--preset", "own.toml")
    assert (refused.exit_code, "'norm' is set by the arms" in refused.output) == (2, True)
    Path("own.toml").write_text(text + own)
    preset = load_preset("own.toml")
    manifest = make_manifest(preset, dataset(preset.data), "cpu", "")
    asked = list(needed(preset.experiment(), conditions(dataset(preset.data), "cpu")))
    Path("networks.py").unlink()
    Path("data.py").unlink()
    read = list(needed(preset_from_json(manifest["preset_content"]).experiment(), conditions_of(manifest)))
    assert [(n.address, n.made, n.state) for n in read] == [(n.address, n.made, n.state) for n in asked]


def test_the_code_of_a_kind_is_the_whole_file() -> None:
    before = own_code("networks.py:build")
    assert own_code("networks.py:number") == before  # the text of the file
    Path("networks.py").write_text(NETWORKS + "\n")
    assert own_code("networks.py:build") != before
