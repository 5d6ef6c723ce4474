"""Seeds added until every decisive check is decided: the error over all looks, and what is trained for them.

The pairs are drawn here, by NumPy, so the truth is known: no effect at all, or one of a size that as many seeds find by a formula that
shares nothing with the looks (a noncentral t, by scipy).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bntheory.evidence.checks import Check
from bntheory.evidence.looks import Looks
from bntheory.evidence.study import Study
from bntheory.experiments import worker
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import Protocol, check_of, each_seed, training_point, until_decided

STUDY = Study("quick")
LOOKS = Looks((6, 12, 24))
MLP = [Arm("mlp", norm, "mlp", {"norm": norm, "layout": [4]}, 0.1) for norm in ("batch", "none")]


def judged(numbers: Sequence[Sequence[float]], looks: Looks, margin: float | None = None) -> list[Check]:
    """The checks on rows of numbers, one number a seed."""

    def read(seeds: int, confidence: float) -> list[Check]:
        return [
            check_of(STUDY, f"row {i}", row[:seeds], "below", 0.0, "made up", confidence=confidence, margin=margin)
            for i, row in enumerate(numbers)
        ]

    return until_decided(STUDY, looks, read)


@pytest.mark.long
@pytest.mark.parametrize("checks", [1, 2])
def test_identical_arms_are_told_apart_in_at_most_one_of_twenty(checks: int) -> None:
    rng = np.random.default_rng(11)
    looks = Looks(LOOKS.sizes, checks=checks)
    pairs = rng.normal(size=(400, checks, 24)) - rng.normal(size=(400, checks, 24))
    wrong = sum(any(c.outcome != "undecided" for c in judged(pair.tolist(), looks)) for pair in pairs)
    assert stats.binomtest(wrong, 400, 0.05, alternative="greater").pvalue > 0.001


@pytest.mark.long
def test_a_planted_effect_is_found_in_four_of_five() -> None:
    rng = np.random.default_rng(5)
    confidence = LOOKS.confidence(24)
    edge = stats.t.ppf((1 + confidence) / 2, 23)
    effect = next(e for e in np.linspace(0, 2, 400) if stats.nct.sf(edge, 23, e * np.sqrt(24)) >= 0.8)
    found = [judged([row], LOOKS)[0] for row in (rng.normal(size=(400, 24)) - effect).tolist()]
    assert sum(c.outcome == "holds" for c in found) >= 320 - 3 * np.sqrt(400 * 0.8 * 0.2)
    assert sum(c.outcome == "fails" for c in found) <= 20
    assert {len(c.witness["values"]) for c in found} == {6, 12, 24}  # a large draw is found early


def test_an_effect_that_is_too_small_to_matter_ends_the_adding() -> None:
    row = (np.random.default_rng(2).normal(size=24) / 1000).tolist()
    (check,) = judged([row], LOOKS, margin=0.1)
    assert check.outcome == "equivalent"
    assert check.witness["look"] == 6


def test_a_check_stands_as_it_was_when_it_was_decided() -> None:
    clear = [-1.0 + 0.01 * i for i in range(24)]
    noise = np.random.default_rng(3).normal(size=24).tolist()
    first, second = judged([clear, noise], Looks(LOOKS.sizes, checks=2))
    assert (first.outcome, first.witness["look"], len(first.witness["values"])) == ("holds", 6, 6)
    assert (second.witness["look"], len(second.witness["values"])) == (24, 24)
    assert first.confidence == pytest.approx(1 - 0.025 / 16)


def test_what_cannot_be_compared_asks_for_no_more_seeds() -> None:
    asked = []

    def read(seeds: int, confidence: float) -> list[Check]:
        asked.append(seeds)
        return [check_of(STUDY, "a", [0.0, 1.0] * 3, "below", 0.0, "", confidence=confidence, not_comparable="it")]

    (check,) = until_decided(STUDY, LOOKS, read)
    assert check.outcome == "not comparable"
    assert asked == [6]


@pytest.mark.parametrize(
    ("names", "shift", "said"),
    [
        (["a", "b"], 0.0, "made for 1 decisive checks, but there are 2"),
        (["a", "a"], 0.0, "share a name"),
        (["a"], 0.01, "has an interval at"),
    ],
)
def test_looks_that_would_not_keep_their_error_are_refused(names: list[str], shift: float, said: str) -> None:
    def read(seeds: int, confidence: float) -> list[Check]:
        return [check_of(STUDY, n, [0.0] * 6, "below", 1.0, "", confidence=confidence - shift) for n in names]

    with pytest.raises(ValueError, match=said):
        until_decided(STUDY, LOOKS, read)


def test_more_seeds_train_only_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    do = worker.do

    def counted(assignment: worker.Assignment, *rest: object) -> None:
        trained.append(assignment.task.name)
        do(assignment, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "do", counted)
    study, protocol = Study("quick", store=tmp_path), Protocol(2, (2,), batch_size=8, measured=16)
    looks, sizes = Looks((3, 4), checks=1), []

    def read(seeds: int, confidence: float) -> list[Check]:
        sizes.append(len(trained))
        runs = each_seed(study, MLP, protocol, seeds, "more seeds")
        numbers = [training_point(r["batch"], 2)[0] - training_point(r["none"], 2)[0] for r in runs]
        # a bound in the middle of the numbers: never decided, so that both looks are made
        return [check_of(study, "loss", numbers, "below", float(np.mean(numbers)), "", confidence=confidence)]

    (check,) = until_decided(study, looks, read)
    assert (sizes, len(trained), len(set(trained))) == ([0, 6], 8, 8)
    assert len(check.witness["values"]) == 4


def test_arms_with_other_options_of_one_measure_are_measured_with_their_own(tmp_path: Path) -> None:
    from bntheory.experiments.experiment import Measure

    def sized(arm: Arm) -> tuple[Measure, ...]:
        return (Measure("classification", {"test_size": 10 if arm.name == "batch" else 7}),)

    protocol = Protocol(1, (1,), batch_size=8, measured=16)
    (run,) = each_seed(Study("quick", store=tmp_path), MLP, protocol, 1, "options", sized)
    tenths, sevenths = run["batch"].points[1]["held_out"] * 10, run["none"].points[1]["held_out"] * 7
    assert tenths == pytest.approx(round(tenths))
    assert sevenths == pytest.approx(round(sevenths))
