"""Which check of a verdict is shown, and which of its sides was measured: against cases worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bntheory.claims.claim import Claim, Source, Study
from bntheory.evidence.checks import Check
from bntheory.evidence.decision import Side
from bntheory.evidence.distance import differs
from bntheory.evidence.seeds import over_seeds
from bntheory.experiments.store import Store
from bntheory.judges.verdict import deciding, evidence_of_checks, verdict_of
from bntheory.report.claims_run import _write
from bntheory.report.claims_table import effect_of, row_of

VALUES = {
    "clear": [1.0, 1.1, 0.9, 1.0],
    "close": [0.3, 0.1, 0.2, 0.2],
    "open": [1.0, -1.0, 0.5, -0.4],
    "wrong": [-1.0, -1.1, -0.9, -1.0],
    "nearly wrong": [-0.3, -0.1, -0.2, -0.2],
}


def check(name: str, *, decisive: bool = True, why: str = "") -> Check:
    return over_seeds(name, VALUES[name], "above", 0.0, "made up", decisive=decisive, not_comparable=why)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["clear", "close"], "close"),  # the closest of those that hold
        (["clear", "open", "close"], "open"),  # what is open before what holds
        (["clear", "open", "wrong"], "wrong"),  # what fails before all
        (["wrong", "nearly wrong"], "nearly wrong"),
    ],
)
def test_the_check_that_decides_is_shown(names: list[str], shown: str) -> None:
    found = deciding([check("wrong", decisive=False), *map(check, names)])
    assert found is not None
    assert found.name == shown


def test_nothing_decides_where_nothing_is_decisive() -> None:
    assert deciding([check("clear", decisive=False)]) is None


def test_the_effect_is_the_mean_over_seeds_whichever_side_it_stands_on() -> None:
    above = check("clear")
    below = over_seeds("below", VALUES["wrong"], "below", 0.5, "made up")
    assert effect_of(above) == pytest.approx((1.0, 0.0))
    assert effect_of(below) == pytest.approx((-1.0, 0.5))


def test_a_row_says_what_was_asked() -> None:
    claim = Claim("a.b", "experiment", Source("a", "b", seen="own"), "x", check=lambda study: [])
    evidence = evidence_of_checks([check("clear"), check("open")], seconds=0.0, seed=0)
    row = row_of(verdict_of(claim, [evidence]))
    assert (row["status"], row["check"], row["op"], row["bound"], row["seeds"]) == (
        "inconclusive",
        "open",
        "at least",
        0.0,
        4,
    )
    assert row["low"] < row["effect"] < row["high"]
    assert row["needed"] > 4
    unknown = row_of(verdict_of(claim, [evidence_of_checks([], seconds=0.0, seed=0)]))
    assert (unknown["status"], unknown["effect"], unknown["summary"]) == (
        "unknown",
        None,
        "the study made no decisive check",
    )


def test_an_effect_on_its_bound_does_not_say_which_side_was_asked() -> None:
    """Nothing tells the mean of the seeds from the bound where they are one number."""
    claim = Claim("a.b", "experiment", Source("a", "b", seen="own"), "x", check=lambda study: [])
    for side in ("above", "below"):
        level = over_seeds("level", [1.0, -1.0, 0.5, -0.5], side, 0.0, "made up")
        row = row_of(verdict_of(claim, [evidence_of_checks([level], seconds=0.0, seed=0)]))
        assert (row["effect"], row["bound"], row["op"]) == (0.0, 0.0, "above or below")


def test_a_distance_is_shown_with_its_seeds_and_asked_to_be_at_least_its_margin() -> None:
    samples = np.array([[[0.1, 0.12, 0.11, 0.1], [0.3, 0.31, 0.29, 0.3]]] * 2)
    far = differs("far", samples, 0.25, "made up")
    claim = Claim("made.up.far", "experiment", Source("made", "up", seen="own"), "x", lambda study: [far])
    row = row_of(verdict_of(claim, [evidence_of_checks([far], seconds=0.0, seed=0)]))
    assert (row["bound"], row["op"], row["seeds"]) == (0.25, "at least", 4)
    assert row["effect"] == pytest.approx(0.3, abs=0.02)
    assert row["low"] < 0.3 < row["high"]


def test_a_distance_near_its_margin_is_not_taken_for_the_margin() -> None:
    """Its estimate lies nearer to the margin than to the middle of its interval: the noise of four seeds makes that."""
    samples = np.array([[[0.2, -0.1, 0.1, -0.04]]])
    near = differs("near", samples, 0.041, "made up")
    assert abs(near.witness["estimate"] - near.left) < abs(near.witness["estimate"] - near.right)
    assert effect_of(near) == (near.right, 0.041)


@pytest.mark.parametrize("side", ["above", "below"])
def test_an_effect_that_no_seed_gave_is_none_and_its_bound_stays(side: Side) -> None:
    empty = over_seeds("empty", [], side, 0.5, "made up", not_comparable="an arm has not trained")
    claim = Claim("made.up.empty", "experiment", Source("made", "up", seen="own"), "x", lambda study: [empty])
    row = row_of(verdict_of(claim, [evidence_of_checks([empty], seconds=0.0, seed=0)]))
    assert (row["effect"], row["low"], row["high"], row["bound"]) == (None, None, None, 0.5)


def test_a_seed_that_gave_no_number_is_written_as_json_that_every_parser_reads(tmp_path: Path) -> None:
    values = [1.0, float("nan"), 2.0]
    holed = over_seeds("holed", values, "above", 0.0, "made up", witness={"table": [[float("inf")]]})
    claim = Claim("made.up.holed", "experiment", Source("made", "up", seen="own"), "x", lambda study: [holed])
    verdict = verdict_of(claim, [evidence_of_checks([holed], seconds=0.0, seed=0)])
    _write(Store.create(tmp_path), [verdict], Study())

    def refuse(name: str) -> None:
        raise AssertionError(name)

    found = json.loads((tmp_path / "verdicts.json").read_text(), parse_constant=refuse)
    assert found["verdicts"][0]["id"] == "made.up.holed"
