"""Measures and experiment claims of a user's own files, in another process and through the commands.

The oracle of the numbers is the task trained here and measured by hand; that of what is left alone, a run without the measure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_up_claims import command

from bntheory.bridge import load_dataset
from bntheory.errors import UserError
from bntheory.experiments.experiment import Arm, Measure, Protocol, Task
from bntheory.experiments.measure import measure
from bntheory.experiments.own import own_code
from bntheory.experiments.worker import follow, single_threaded

MEASURES = """
import torch

def weight_norm(situation, options):
    return {"squared": options["times"] * sum(float(p.detach().double().square().sum()) for p in situation.model.parameters())}

def meddles(situation, options):
    with torch.no_grad():
        for p in situation.model.parameters():
            p.zero_()
    torch.rand(3)
    return 1.0

def nothing(situation, options):
    return None

def not_a_number(situation, options):
    return float("nan")

def in_part(situation, options):
    return {"a": 1.0, "b": [1, -float("inf")], "c": None}

def array(situation, options):
    return {"a": {"x": torch.tensor([1.0, float("nan")])}}
"""
CLAIMS = """
from bntheory import claim
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import CLASSIFICATION, Protocol, check_of, each_seed

NAME = "measures.py:weight_norm"
OWN = (Measure(NAME, {"times": 2.0}), Measure("measures.py:meddles"))
ARM = Arm("mlp", "batch", "mlp", {"norm": "batch", "layout": [5]}, learning_rate=0.1)

@claim("mine.norm", kind="experiment", statement="the weights are long")
def norm(study):
    runs = each_seed(study, [ARM], Protocol(6, (3, 6), batch_size=16, measured=24), 3, "x", lambda arm: (*OWN, CLASSIFICATION))
    return [check_of(study, "norm", [r["batch"].points[6][NAME]["squared"] for r in runs], "above", 0.0, "tiny")]
"""
ARM = Arm("mlp", "batch", "mlp", {"norm": "batch", "layout": [5]}, 0.1)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("measures.py").write_text(MEASURES)


def _records(folder: str) -> dict[tuple[str, int, int], Any]:
    lines = map(json.loads, (Path(folder) / "records.jsonl").read_text().splitlines())
    return {(r["measure"], r["seed"], r["step"]): r["values"] for r in lines}


@pytest.mark.long
def test_a_users_measure_is_made_recorded_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.py").write_text(CLAIMS)
    made = command("compare", "--claims", "mine.py", "--out", "run", "--workers", "1")
    assert made.exit_code == 0, made.output
    assert "supported     mine.norm" in made.output
    found = _records("run")
    with single_threaded():
        for at in follow(
            Task(ARM, 1), [3, 6], load_dataset("fashion-mnist-subset"), "cpu", Protocol(6, (3, 6), 16, 24)
        ):
            squared = sum(float((p.detach().double() ** 2).sum()) for p in at.model.parameters())
            assert found["measures.py:weight_norm", 1, at.step] == {
                "measures.py:weight_norm": {"squared": pytest.approx(2 * squared, rel=1e-12)}
            }
    Path("mine.py").write_text(CLAIMS.replace(' Measure("measures.py:meddles")', ""))
    assert command("compare", "--claims", "mine.py", "--out", "alone", "--workers", "0").exit_code == 0
    alone = _records("alone")
    assert alone == {key: values for key, values in found.items() if "meddles" not in key[0]}
    words = ("check", "mine.py", "--scale", "quick", "--store", "alone", "--no-train")
    assert "supported" in command(*words).output
    Path("measures.py").write_text(MEASURES.replace(".double()", ".float()"))
    assert "6 of which are there from other code" in " ".join(command(*words).output.split())


def test_the_code_of_a_measure_is_its_file_what_it_imports_from_here_and_training() -> None:
    def code(head: str, training: str = "t") -> str:
        Path("measures.py").write_text(head + MEASURES)
        return own_code("measures.py:weight_norm", training)

    kinds = ["", "# a word", "from bntheory.evidence.curves import at_loss\n", "import bntheory.evidence.curves\n"]
    assert len({*map(code, kinds), code("", "other")}) == 5
    assert code("") == code("")


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("elsewhere.py:f", "", "elsewhere.py cannot be read"),
        ("measures.py:absent", "", "has no function 'absent'"),
        ("measures.py:nothing", "", "it gave None, which no record holds"),
        ("measures.py:not_a_number", "", "it gave nan, and a record holds what is finite"),
        ("measures.py:in_part", "", "it gave -inf for 'b[1]', and a record holds what is finite"),
        ("measures.py:array", "", "it gave nan for 'a.x[1]', and a record holds what is finite"),
        ("measures.py:weight_norm", "#" * 2_000_001, "measures.py: has 2000"),
        ("measures.py:weight_norm", "1 +\n", "cannot be read"),
        ("measures.py:weight_norm", "1 / 0\n", "cannot be run (ZeroDivisionError"),
        ("measures.py:weight_norm", "import helper\n", "imports helper"),
        ("measures.py:weight_norm", "from . import helper\n", "from its own folder"),
    ],
)
def test_what_is_no_measure_is_said(name: str, head: str, said: str) -> None:
    Path("helper.py").write_text("")
    Path("measures.py").write_text(head + MEASURES)
    at = next(follow(Task(ARM, 0), [0], load_dataset("fashion-mnist-subset"), "cpu", Protocol(0, (0,), 16, 24)))
    with pytest.raises(UserError) as error:
        measure(at, Measure(name, {"times": 1.0}))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "holds no claim of kind experiment"),
        ("1 / 0", "ZeroDivisionError"),
        (CLAIMS.replace("mine.norm", "desmith2020.small-batches"), "is taken"),
    ],
)
def test_a_file_that_cannot_be_asked_is_bad_use(text: str, said: str) -> None:
    Path("mine.py").write_text(text)
    found = command("compare", "--claims", "mine.py", "--out", "run", "--workers", "0")
    assert (found.exit_code, said in found.output) == (2, True), found.output
