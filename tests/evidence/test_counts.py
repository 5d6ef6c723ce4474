"""Long vectors are told by counts, and what is told is the vector: the text is read back by a reader of its own."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bntheory.evidence.counts import WRITTEN_OUT, entries
from bntheory.judges.exact.witness import Instance


def read_back(text: str) -> list[str]:
    found: list[str] = []
    for part in text.split(", "):
        number, count = re.fullmatch(r"(\S+)(?: \((\d+) times\))?", part).groups()
        found += [number] * int(count or 1)
    return found


@given(st.lists(st.tuples(st.sampled_from(["0", "-1", "7/2", "3"]), st.integers(1, 40)), min_size=1, max_size=8))
def test_the_text_of_a_vector_is_the_vector(runs: list[tuple[str, int]]) -> None:
    vector = [number for number, count in runs for _ in range(count)]
    text = entries(vector)
    assert read_back(text) == vector
    assert ("times" in text) == (len(vector) > WRITTEN_OUT and any(a == b for a, b in pairwise(vector)))


def test_a_large_layer_is_told_on_a_line() -> None:
    y = (Fraction(1),) * 300 + (Fraction(-1, 2),) * 600
    text = Instance(y, tuple(-v for v in y)).describe()
    assert text == ("y = (1 (300 times), -1/2 (600 times)), g = (-1 (300 times), 1/2 (600 times)), gamma = 1, eps = 0")
