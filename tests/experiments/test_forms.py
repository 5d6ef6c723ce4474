"""Records whose checksum fits and whose values no measure gives.

The oracle is what losses, shares, lengths and cosines are by definition, and what the measures themselves give.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bntheory.evidence.record import Record
from bntheory.experiments.forms import FORMS, impossible
from bntheory.experiments.measure import MEASURES
from bntheory.experiments.store import Store

TRAINED = {"training": {"loss": 0.5, "accuracy": 0.75}, "held_out": 0.5}
POINT = {"loss": 0.5, "gradient_norm": 2.0, "top": 3.0, "top_error": 0.1, "converged": True, "refused": None}
CURVED = {"sharpness": {"own": POINT}}
SHIFTED = {"l2": [0.0, 1.0], "cosine": [1.0, 0.5], "layers": ["a", "b"]}
COUNTED = {"checked": 2, "violated": 0, "unit": 1, "left": 1.0, "right": 2.0, "excess": -1.0, "tolerance": 1e-9}
SPLIT = {"scaling": 1.0, "share_mean": 0.1, "share_y_hat": None, "left": 0.9}
LAYER = {"name": "a", "m": 8, "split": SPLIT, "theorem_4_1": {"neurips": COUNTED, "arxiv": COUNTED}}
HELD = {"name": "twin-loss", "layer": "a", "units": 1, "failing": 0, "unit": 0, "left": 1.0, "right": 1.0}
HELD |= {"relative": 0.0, "tolerance": 1e-9}
BENT = {"name": "a", "units": [], "first": None, "second": None}
THEORY = {"layers": [LAYER], "theorem_4_2": [BENT], "identities": [HELD]}
GOOD = Record("mlp", "batch", 0, 5, "classification", {"training": {}}, TRAINED, made={"code": "a", "torch": "1"})


def of(measure: str, values: Any) -> Record:
    return replace(GOOD, measure=measure, values=values)


def changed(values: Any, name: str, value: Any) -> Any:
    """Every entry of this name; one that is ... is taken out."""
    if isinstance(values, list):
        return [changed(item, name, value) for item in values]
    if not isinstance(values, dict):
        return values
    return {k: value if k == name else changed(v, name, value) for k, v in values.items() if k != name or value != ...}


ODD: list[tuple[str, Any, str, list[Any]]] = [
    ("classification", TRAINED, "loss", [-1e-9, -3, "0.5", True, {}, [-1.0], 10**400]),
    ("classification", TRAINED, "accuracy", [1.01, -0.1, "high", False]),
    ("classification", TRAINED, "held_out", [2, -1.0, {"x": 1}]),
    ("classification", TRAINED, "training", [[1, 2], None, "x"]),
    ("sharpness", CURVED, "top_error", [-0.1, "x"]),
    ("sharpness", CURVED, "top", ["3", [None, "3"], {}]),
    ("sharpness", CURVED, "gradient_norm", [-2.0]),
    ("sharpness", CURVED, "own", [[], 3, None]),
    ("shift", {"shift": SHIFTED, "identities": [HELD]}, "l2", [[0.0, -1.0], 1.0]),
    ("shift", {"shift": SHIFTED, "identities": [HELD]}, "cosine", [[1.0, 3.0], [-1.01]]),
    ("theory", THEORY, "layers", [[1, 2], "abc", None, {}]),
    ("theory", THEORY, "identities", [[{"a": 1}], 3]),
    ("theory", THEORY, "name", ["no identity", [1]]),
    ("theory", THEORY, "theorem_4_2", [[[1]]]),
    ("theory", THEORY, "arxiv", [None, [], {"checked": "2"}]),
    ("theory", THEORY, "m", ["8", 8.5 + 2**53, -1]),
]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        *((of(m, changed(v, name, x)), name) for m, v, name, odd in ODD for x in odd),
        *((of(m, changed(v, name, ...)), f"lack {name}") for m, v, name in (
            ("classification", TRAINED, "held_out"), ("sharpness", CURVED, "refused"), ("theory", THEORY, "m"),
            ("theory", THEORY, "identities"), ("theory", THEORY, "relative"), ("theory", THEORY, "share_mean"),
        )),
        (of("classification", {}), "has no values, and has not diverged"),
        (replace(GOOD, diverged=True), "has diverged and has values"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)  # fmt: skip
def test_what_no_measure_gives_is_no_record(record: Record, said: str, tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    with store.lock():
        store.append([record, GOOD])
    found = store.read()
    assert found.every() == [GOOD]
    assert [(fault.line, fault.kind) for fault in found.faults] == [(1, "impossible")]
    assert said in found.faults[0].why


@pytest.mark.parametrize(
    "record",
    [
        GOOD,
        of("classification", changed(TRAINED, "loss", None)),  # it overflowed
        of("classification", changed(TRAINED, "loss", 0)),
        of("classification", changed(TRAINED, "accuracy", 1.0)),
        of("sharpness", changed(CURVED, "top", -3.0)),  # of a network whose outputs have no biases
        of("sharpness", {"sharpness": {"own": {"refused": "why"}}}),
        of("step-shift", {"step_shift": None}),  # of a toy without a gradient left
        of("shift", {"shift": {**SHIFTED, "l2": [None, 0.5], "cosine": [1.0000001, None]}, "identities": [HELD]}),
        of("theory", THEORY),
        replace(GOOD, diverged=True, values={}),
        of("mine.py:f", {"mine.py:f": {"loss": -3.0, "accuracy": 70, "training": 1}}),
        replace(of("sharpness", {"top": 3.0}), setting={"model": {}}),  # a monitor's
        of("made up", {"loss": -3.0}),
    ],
    ids=range(13),
)
def test_what_can_be_measured_is_a_record(record: Record) -> None:
    assert impossible(record) == ""


def test_every_measure_has_a_form() -> None:
    assert FORMS.keys() == MEASURES.keys()
