"""Records whose checksum fits and which nobody can have made, whatever they are of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bntheory.evidence.record import LineFault, Record, read_line

GOOD = Record("mlp", "batch", 0, 5, "made up", {"training": {}}, {"x": 0.5}, made={"code": "a", "torch": "1"})


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (replace(GOOD, seed=-1), "its seed is -1"),
        (replace(GOOD, step=-5), "its step -5"),
        (replace(GOOD, made={"code": "a", "ranks": 5}), "made by"),  # type: ignore[dict-item]
    ],
    ids=("seed", "step", "made"),
)
def test_what_nobody_can_have_made_is_no_record(record: Record, said: str) -> None:
    assert read_line(GOOD.line().rstrip().encode()) == (GOOD.address, GOOD)
    with pytest.raises(LineFault) as fault:
        read_line(record.line().rstrip().encode())
    assert fault.value.kind == "impossible"
    assert said in str(fault.value)


def test_half_a_character_is_none() -> None:
    """An escape that stands for no character, which no terminal and no page can show."""
    with pytest.raises(LineFault) as fault:
        read_line(replace(GOOD, arm="\ud800").line().rstrip().encode())
    assert fault.value.kind == "broken"
    assert read_line(replace(GOOD, arm="\U0001f600").line().rstrip().encode())[1].arm == "\U0001f600"
