"""Records whose checksum fits and which nobody can have measured; the oracle is what losses, shares, lengths and cosines are by definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bntheory.evidence.record import LineFault, Record, read_line

TRAINED = {"training": {"loss": 0.5, "accuracy": 0.75}, "held_out": 0.5}
CURVED = {"sharpness": {"own": {"loss": 0.5, "gradient_norm": 2.0, "top": 3.0, "top_error": 0.1, "refused": None}}}
GOOD = Record("mlp", "batch", 0, 5, "classification", {"training": {}}, TRAINED, made={"code": "a", "torch": "1"})


def changed(values: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {k: value if k == name else changed(v, name, value) if isinstance(v, dict) else v for k, v in values.items()}


ODD: list[tuple[dict[str, Any], str, list[Any]]] = [
    (TRAINED, "loss", [-1e-9, -3, "0.5", True, {}, [-1.0], 10**400]),
    (TRAINED, "accuracy", [1.01, -0.1, "high", False]),
    (TRAINED, "held_out", [2, -1.0, {"x": 1}]),
    (TRAINED, "training", [[1, 2], None, "x"]),
    (CURVED, "top_error", [-0.1, "x"]),
    (CURVED, "top", ["3", [None, "3"], {}]),
]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        *((replace(GOOD, values=changed(of, name, x)), f"{name} is") for of, name, odd in ODD for x in odd),
        (replace(GOOD, values=changed(CURVED, "gradient_norm", -2.0)), "gradient_norm is -2.0"),
        (replace(GOOD, values={"shift": {"l2": [0.0, -1.0], "cosine": [1.0]}}), "l2 is -1.0"),
        (replace(GOOD, values={"shift": {"l2": [0.0], "cosine": [1.0, 3.0]}}), "cosine is 3.0"),
        (replace(GOOD, values={"shift": {"l2": [0.0], "cosine": [-1.01]}}), "cosine is -1.01"),
        (replace(GOOD, values={}), "has no values, and has not diverged"),
        (replace(GOOD, diverged=True), "has diverged and has values"),
        (replace(GOOD, seed=-1), "its seed is -1"),
        (replace(GOOD, step=-5), "its step -5"),
        (replace(GOOD, made={"code": "a", "ranks": 5}), "made by"),  # type: ignore[dict-item]
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)  # fmt: skip
def test_what_nobody_can_have_measured_is_no_record(record: Record, said: str) -> None:
    with pytest.raises(LineFault) as fault:
        read_line(record.line().rstrip().encode())
    assert fault.value.kind == "impossible"
    assert said in str(fault.value)


@pytest.mark.parametrize(
    "record",
    [
        GOOD,
        replace(GOOD, values=changed(TRAINED, "loss", None)),  # it overflowed
        replace(GOOD, values=changed(TRAINED, "loss", 0)),
        replace(GOOD, values=changed(TRAINED, "accuracy", 1.0)),
        replace(GOOD, values=changed(CURVED, "top", -3.0)),  # of a network whose outputs have no biases
        replace(GOOD, values={"shift": {"l2": [None, 0.5], "cosine": [1.0000001, None]}}),
        replace(GOOD, diverged=True, values={}),
        replace(GOOD, measure="mine.py:f", values={"mine.py:f": {"loss": -3.0, "accuracy": 70, "training": 1}}),
    ],
    ids=range(8),
)
def test_what_can_be_measured_is_a_record(record: Record) -> None:
    assert read_line(record.line().rstrip().encode()) == (record.address, record)


def test_half_a_character_is_none() -> None:
    """An escape that stands for no character, which no terminal and no page can show."""
    with pytest.raises(LineFault) as fault:
        read_line(replace(GOOD, arm="\ud800").line().rstrip().encode())
    assert fault.value.kind == "broken"
    assert read_line(replace(GOOD, arm="\U0001f600").line().rstrip().encode())[1].arm == "\U0001f600"
