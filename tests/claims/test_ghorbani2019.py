"""What the claims on outliers read off made-up records: at equal losses, not at equal steps; what does not converge is left out."""

from __future__ import annotations

import math
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims.claim import Study
from bntheory.claims.sources import ghorbani2019
from bntheory.evidence.checks import Check
from bntheory.experiments.runs import FIRST_JUDGED

QUICK = Study("quick", seed=2)


def point(
    loss: float, first: float, share: float, frozen: tuple[float, float] = (0.0, 0.0), converged: bool = True
) -> dict[str, Any]:
    def part(first: float, share: float) -> dict[str, Any]:
        return {"loss": loss, "first": first, "last": 1.0, "share": share, "converged": converged}

    return {"outliers": part(first, share), "frozen_outliers": part(*frozen)}


def by_name(checks: list[Check], words: str) -> Check:
    (found,) = [c for c in checks if words in c.name]
    return found


def law(loss: float, seed: int) -> float:
    """lambda_1 as a function of the loss, with a little that differs from seed to seed."""
    return 30 * math.sqrt(loss) * (1 + 0.02 * (seed % 3))


@pytest.mark.parametrize(("factor", "outcome"), [(0.5, "holds"), (2.0, "fails"), (1.0, "undecided")])
def test_a_network_that_is_only_faster_has_no_fewer_outliers(
    factor: float, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batch norm the loss falls twice as fast; lambda_1 is ``factor`` of the other's at the same loss."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        loss = 2.2 * math.exp(-step / (10 if arm == "batch" else 20))
        own = factor * (1 + 0.01 * (seed % 3 - 1)) if arm == "batch" else 1.0
        return point(loss, own * law(loss, seed), 0.3 * own)

    asked = plant_points(monkeypatch, values)
    checks = ghorbani2019.outliers(QUICK)
    assert [c.outcome for c in checks if c.decisive] == [outcome] * 2
    found = by_name(checks, "lambda_1, with batch norm over without, at equal losses").witness["values"]
    assert sum(found) / 3 == pytest.approx(math.log10(factor), abs=0.01)
    if factor == 1.0:  # at equal steps the faster network would have looked better
        assert by_name(checks, "lambda_1/lambda_10, with batch norm over without, at the end").outcome == "holds"
    assert asked[0].seeds == tuple(2000 + FIRST_JUDGED + i for i in range(3))


def test_an_arm_that_has_not_trained_is_compared_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        return point(2.29 if arm == "none" else 2.0 / step, 10.0, 0.5)

    plant_points(monkeypatch, values)
    decisive = [c for c in ghorbani2019.outliers(QUICK) if c.decisive]
    assert {c.outcome for c in decisive} == {"not comparable"}
    assert "none has not trained" in decisive[0].not_comparable


@pytest.mark.parametrize(
    ("frozen", "outcomes"),
    [((20.0, 0.6), ("holds", "holds")), ((20.0, 0.2), ("holds", "fails")), ((5.0, 0.4), ("fails", "undecided"))],
)  # fmt: skip
def test_each_part_of_the_statement_on_frozen_statistics_is_asked(
    frozen: tuple[float, float], outcomes: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        wobble = 1 + 0.01 * (seed % 3 - 1)
        return point(2.0 / step, 10.0, 0.4, (frozen[0] * wobble, frozen[1] * wobble))

    asked = plant_points(monkeypatch, values)
    claims = (
        ghorbani2019.frozen_statistics_of_the_whole_set,
        ghorbani2019.frozen_outlier_ratio,
        ghorbani2019.frozen_gradient_share,
    )
    both, ratio, share = ([c.outcome for c in f(QUICK) if c.decisive] for f in claims)
    assert tuple(both) == outcomes
    assert (ratio, share) == ([outcomes[0]], [outcomes[1]])
    assert {a.name for e in asked for a in e.arms} == {"batch"}
    assert len({e.protocol for e in asked}) == 1  # the same networks


def test_what_did_not_converge_or_is_not_positive_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        found = point(2.0 / step, 10.0, 0.4, (20.0, 0.6), converged=seed % 10 != 1)
        if seed % 10 == 2:
            found["frozen_outliers"]["last"] = -0.1
        return found

    plant_points(monkeypatch, values)
    ratio, share = (c for c in ghorbani2019.frozen_statistics_of_the_whole_set(QUICK) if c.decisive)
    assert "2 of 3 seeds gave no number" in ratio.scope
    assert "1 of 3 seeds gave no number" in share.scope
    assert {ratio.outcome, share.outcome} == {"undecided"}
