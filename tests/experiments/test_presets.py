"""Presets: the packaged ones are whole, and every way to get one wrong is named. The oracle is the text of the file itself."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from bntheory.errors import UserError
from bntheory.experiments.preset import load_preset, preset_from_json, preset_names

GOOD = """
about = "x"
data = "fashion-mnist-subset"
seeds = [0]
[training]
steps = 4
batch_size = 16
learning_rate = 0.1
[measure]
at = [0, 4]
batch_size = 16
theory_batch_size = 8
[curvature]
batch_size = 16
[[networks]]
name = "mlp"
kind = "mlp"
options = { size = "tiny" }
"""


@pytest.mark.parametrize("name", ["smoke", "quick", "cpu", "cpu-cifar10", "gpu"])
def test_packaged_presets_say_what_their_files_say(name: str) -> None:
    preset = load_preset(name)
    table = tomllib.loads((files("bntheory.experiments") / "presets" / f"{name}.toml").read_text("utf-8"))
    assert preset.name == name
    assert list(preset.seeds) == table["seeds"]
    assert preset.training.steps == table["training"]["steps"]
    assert [n.name for n in preset.networks] == [n["name"] for n in table["networks"]]
    assert list(preset.measure.at) == table["measure"]["at"]
    assert len(preset.seeds) >= 2  # never a single run as a fact


def test_packaged_presets_build_their_networks() -> None:
    from bntheory.bridge.networks.images import NetworkSpec

    for name in preset_names():
        for network in load_preset(name).networks:
            NetworkSpec(network.kind, norm="batch", input_shape=(3, 32, 32), classes=10, **network.options)


def test_what_decides_is_measured_where_it_decides_and_nothing_twice() -> None:
    """By arm and step, the measures that the quick preset asks for on its first network and seed; written out by hand."""
    from bntheory.experiments.experiment import Conditions, needed

    asked: dict[tuple[str, int], list[str]] = {}
    for n in needed(load_preset("quick").experiment(), Conditions({}, "cpu", {})):
        if (n.task.arm.network, n.task.seed) == ("mlp", 0):
            asked.setdefault((n.task.arm.name, n.step), []).append(n.measure.name)
    found = {key: sorted(names) for key, names in asked.items()}
    end = ["accuracy"]
    for step in (6, 15, 30, 60, 120):
        last = end if step == 120 else []
        twins = step in (15, 60, 120)
        own = ["linearity", "sharpness", "theory"] if twins else ["sharpness"]
        assert found["batchnorm", step] == sorted([*own, "shift", *last])
        assert found["batchnorm@0.02", step] == sorted(["linearity" if twins else "sharpness", *last])
        assert found["standard", step] == sorted(["sharpness", "shift", *last])
        assert found["standard@0.125", step] == sorted(["sharpness", *last])
    assert found["batchnorm", 0] == ["linearity", "sharpness"]
    alone = ("detached", "detached@0.02", "detached@0.125", "detached-mean", "detached-variance", "rescaled")
    assert {key for key in found if key[0] in alone} == {(arm, 120) for arm in alone}
    assert all(found[arm, 120] == end for arm in alone)


def test_unknown_preset_lists_the_known() -> None:
    with pytest.raises(UserError, match="smoke, quick, cpu, cpu-cifar10, gpu"):
        load_preset("huge")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 4", "steps = 0", "training.steps"),
        ("steps = 4", "steps = 2", "step 4 but training ends at step 2"),
        ("steps = 4", "stepz = 4", "unknown key 'stepz'"),
        ("steps = 4", "steps = 4.5", "expected int"),
        ("steps = 4", "", "'steps' is missing"),
        ("learning_rate = 0.1", "learning_rate = -1", "learning_rate"),
        ("learning_rate = 0.1", "learning_rate = true", "expected float"),
        ("learning_rate = 0.1", f"learning_rate = 1{'0' * 400}", "learning_rate is 10{59}; give a smaller number"),
        ("seeds = [0]", f"seeds = {['a'] * 2000}", "seeds is .{60}; expected tuple"),
        ("at = [0, 4]", "at = [4, 0]", "increasing"),
        ("at = [0, 4]", "at = []", "increasing"),
        ("at = [0, 4]", "at = [0, 4]\ntwins_at = [3]", "each of them in measure.at"),
        ("at = [0, 4]", "at = [0, 4]\ntheory_at = [4, 0]", "increasing"),
        ("at = [0, 4]", "at = [0, 4]\ntheory_seeds = -1", "theory_seeds"),
        ("steps = 4", "steps = 4\nrates = [0.1]", "different rates"),
        ("steps = 4", "steps = 4\nrates = [-0.2]", "different rates"),
        ("steps = 4", "steps = 4\nrates = 'all'", "expected tuple"),
        ("seeds = [0]", "seeds = []", "seeds"),
        ("seeds = [0]", "seeds = [0, 0]", "seeds"),
        ("seeds = [0]", "seeds = [-1]", "seeds"),
        ("seeds = [0]", "seeds = 'all'", "expected tuple"),
        ("about =", "abut =", "unknown key 'abut'"),
        ("[training]", "[training", "not valid TOML"),
        ("steps = 4", f"steps = {'[' * 3000}{']' * 3000}", "not valid TOML"),
        ("steps = 4", f"steps = {'1' * 6000}", "not valid TOML"),
        ("at = [0, 4]", "at = [0]", "one after 0 among them"),
        ("learning_rate = 0.1", "learning_rate = 1e99", "at most 1e\\+37"),
        ("learning_rate = 0.1", "learning_rate = 1e-299", "at least 1e-37"),
        ("steps = 4", "steps = 4\nweight_decay = 1e99", "at most 1e\\+37"),
        ('{ size = "tiny" }', "3", "they are a table"),
        ('{ size = "tiny" }', "{ siz = 'tiny' }", "'siz' is unknown; known are size, init"),
        ('{ size = "tiny" }', "{ norm = 'layer' }", "'norm' is set by the arms"),
        ('{ size = "tiny" }', "{ input_shape = [1, 2, 3] }", "'input_shape' is that of the data"),
        ('{ size = "tiny" }', "{ classes = 3 }", "'classes' is that of the data"),
        ('{ size = "tiny" }', "{ layout = [true] }", "layout is \\[True\\]"),
        ('{ size = "tiny" }', "{ eps = nan }", "eps is nan; give a finite number"),
        ('{ size = "tiny" }', "{ layout = [4, -inf] }", "layout is .*; give a finite number"),
        ('{ size = "tiny" }', "{ init = 2026-01-01 }", "init is datetime.*; give a finite number"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        load_preset(str(path))


def test_a_users_own_file_and_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_preset(str(path)).name == "mine"
    with pytest.raises(UserError, match="cannot be read"):
        load_preset(str(tmp_path / "none.toml"))


def test_json_and_back_is_the_same_experiment() -> None:
    preset = load_preset("smoke").with_options(seeds=[4, 5], data="fashion-mnist")
    again = preset_from_json(preset.as_json())
    assert again == preset
    assert again.sha256 == preset.sha256
    assert preset.sha256 != load_preset("smoke").sha256


@pytest.mark.long
def test_the_script_in_validation_is_the_same_command() -> None:
    """``validation/compare_empirical.py`` answers for bad use without loading torch first, and with the command's own words."""
    import subprocess
    import sys

    script = Path(__file__).parents[2] / "validation" / "compare_empirical.py"
    done = subprocess.run(
        [sys.executable, str(script), "--preset", "nope"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'nope' is unknown; choose one of smoke, quick, cpu, cpu-cifar10, gpu" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("seeds", [3, "012"])
def test_seeds_that_are_no_list_are_refused(seeds: Any) -> None:
    with pytest.raises(UserError, match=f"seeds is {seeds!r}; give a list of them"):
        load_preset("smoke").with_options(seeds=seeds)
