"""Comparisons over made-up records whose effects are known: what is planted is found, and what cannot be compared is said.

Oracles: the planted factors, and Student's interval written out with scipy, from the numbers of each seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_up import CHANCE, GRADIENT, LINEARITY, MEAN, NETWORKS, OWN, SEEDS, STANDARD, VARIANCE, make_records, preset
from scipy import stats

from bntheory.experiments import outcomes
from bntheory.experiments.comparisons import COMPARISONS, QUESTIONS
from bntheory.experiments.contrasts import activation_contrasts, activation_pairs
from bntheory.experiments.effects import Numbers
from bntheory.experiments.network_runs import NetworkRuns, network_runs
from bntheory.experiments.outcomes import Effect, compare_all
from bntheory.experiments.preset import NetworkEntry, Preset
from bntheory.experiments.quantities import quantity


def effects(records: list[dict[str, Any]], chosen: Preset | None = None) -> list[Effect]:
    return compare_all(network_runs((chosen or preset()).experiment(), records))[0]


def crossings(records: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    found = compare_all(network_runs(preset().experiment(), records))[1]
    return {(c.comparison, c.network, c.first, c.then) for c in found}


def deciding(found: list[Effect], name: str, network: str = "mlp") -> list[Effect]:
    return [e for e in found if (e.comparison.name, e.network) == (name, network) and e.decisive]


PLANTED = {
    "top-eigenvalue.twin": OWN,
    "top-eigenvalue.mean-or-variance": MEAN / VARIANCE,
    "relative-curvature.twin": OWN / GRADIENT**2,
    "linearity-error.twin": LINEARITY,
    "top-eigenvalue.standard": STANDARD,
    "loss.standard": 0.5,
    "loss.detached": 0.5,
    "covariate-shift.l2": 2.0,
    "covariate-shift.angle": 2.0,
    "affine-share.y-hat": CHANCE,
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_is_found(name: str) -> None:
    rows = deciding(effects(make_records()), name)
    assert rows
    for row in rows:
        assert row.estimate is not None
        assert row.estimate.mean == pytest.approx(math.log10(PLANTED[name]), abs=0.03)
        assert row.seeds == SEEDS
        below = row.comparison.claim == "below"
        bound, margin = row.comparison.threshold, row.comparison.margin or 0.0
        low, high = row.estimate.low, row.estimate.high
        if math.isinf(low):  # planted without noise, on fewer seeds than a sign test takes
            assert len(set(row.estimate.values)) == 1
            assert row.outcome == "inconclusive"
        elif bound - margin < low and high < bound + margin:
            assert row.outcome == "equivalent"
        else:
            assert row.outcome == ("supported" if (high < bound if below else low > bound) else "contradicted")


def test_intervals_of_a_comparison_hold_together() -> None:
    """Three places decide against the standard network: each interval stands at 1 - 0.05/3, by hand."""
    rows = deciding(effects(make_records(noise=0.1)), "top-eigenvalue.standard")
    assert [r.place for r in rows] == ["the start", "loss 2 of 3", "the end"]
    for row in rows:
        x = np.array(row.estimate.values)  # type: ignore[union-attr]
        half = stats.t.ppf(1 - 0.05 / 6, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
        assert row.estimate.low == pytest.approx(x.mean() - half)  # type: ignore[union-attr]
    (alone,) = deciding(effects(make_records(noise=0.1)), "loss.standard")
    assert alone.estimate is not None
    assert alone.estimate.confidence == pytest.approx(0.95)


def test_identical_arms_are_equivalent() -> None:
    def same(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if "linearity" in p:
            own = p["linearity"]["own"]
            p["linearity"]["twin"] = {**own, "top": own["top"] * math.exp(0.02 * rng.standard_normal())}
        return p

    found = effects(make_records(change=same))
    for name in ("top-eigenvalue.twin", "relative-curvature.twin"):
        assert [r.outcome for r in deciding(found, name)] == ["equivalent"]


def test_a_crossing_is_told_and_not_averaged() -> None:
    """Batch norm's lambda_max is planted above the twin's early and below late; the mean over steps would say "no effect"."""

    def crossed(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if "linearity" in p:
            factor = {5: 3.0, 10: 1.0, 20: 1 / 3}.get(p["step"], 1.0)
            p["linearity"]["own"]["top"] = p["linearity"]["twin"]["top"] * factor * rng.uniform(0.99, 1.01)
        return p

    chosen = preset(measure=replace(preset().measure, twins_at=(0, 5, 10, 20)))
    found = effects(make_records(chosen, crossed), chosen)
    assert [(r.place, r.outcome) for r in deciding(found, "top-eigenvalue.twin")] == [
        ("step 5", "contradicted"),
        ("step 20", "supported"),
    ]
    for row in deciding(found, "top-eigenvalue.twin"):  # the two are picked from three
        x = np.array(row.estimate.values)  # type: ignore[union-attr]
        half = stats.t.ppf(1 - 0.05 / 6, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
        assert row.estimate.low == pytest.approx(x.mean() - half)  # type: ignore[union-attr]
    assert ("top-eigenvalue.twin", "mlp", "step 5", "step 20") in crossings(make_records(change=crossed))
    assert not {c for c in crossings(make_records()) if c[0] == "top-eigenvalue.twin"}


def test_the_crossing_that_decides_is_the_one_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Picked out of three later steps, its intervals are shorter than those that hold together over all five places."""
    n = 8
    z = np.linspace(-1.3, 1.3, n)
    z /= z.std(ddof=1)
    middle = sum(stats.t.ppf(1 - 0.025 / places, n - 1) for places in (3, 5)) / 2 / math.sqrt(n)
    later = {"step 6": list(middle + z), "step 30": list(z), "step 120": list(z - middle)}
    places = {"step 0": list(z), **later, "mean": list(z)}
    c = next(c for c in COMPARISONS if c.name == "top-eigenvalue.twin")
    runs = NetworkRuns("mlp", 0.1, {}, tuple(range(n)), ())
    for deciding_places, picked, listed in ((("step 6", "step 120"), 3, True), (("mean",), 0, False)):
        numbers = Numbers(places, deciding_places, "", (), (), picked_from=picked)
        monkeypatch.setattr(outcomes, "COMPARISONS", (replace(c, read=lambda network, found=numbers: found),))
        rows, found = compare_all({"mlp": runs})
        signs = {e.outcome for e in rows if e.decisive}
        assert (signs == {"supported", "contradicted"}) == listed
        assert [(x.first, x.then) for x in found] == ([deciding_places] if listed else [])


def test_a_mean_over_steps_is_of_the_seeds_that_have_all_of_them() -> None:
    """The twin of one seed cannot be measured at the step where the effect is largest: a mean of its other steps is of something else."""
    factors = {5: 0.9, 10: 0.8, 20: 0.1}

    def growing(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if "linearity" in p:
            own, twin = p["linearity"]["own"], p["linearity"]["twin"]
            own["top"] = twin["top"] * factors.get(p["step"], 1.0) * rng.uniform(0.99, 1.01)
            if (p["seed"], p["step"]) == (2, 20):
                twin.update(dict.fromkeys(twin), refused="it overflows")
        return p

    chosen = preset(measure=replace(preset().measure, twins_at=(0, 5, 10, 20)))
    (row,) = deciding(effects(make_records(chosen, growing), chosen), "top-eigenvalue.twin")
    assert row.estimate is not None
    assert len(row.estimate.values) == len(SEEDS) - 1
    assert row.estimate.mean == pytest.approx(np.mean([math.log10(x) for x in factors.values()]), abs=0.01)


def test_an_arm_that_has_not_trained_is_not_compared() -> None:
    def untrained(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if p["arm"].startswith("standard") and p["seed"] == 2:
            p["training_loss"] = 0.99 * math.log(10)
        return p

    found = effects(make_records(change=untrained))
    for name in ("loss.standard", "top-eigenvalue.standard", "sharpening.standard", "covariate-shift.l2"):
        (row,) = deciding(found, name)
        assert row.outcome == "not comparable"
        assert "has not trained" in row.why
        assert row.estimate is None
    assert deciding(found, "top-eigenvalue.twin")[0].outcome == "supported"


def test_a_rate_at_which_one_arm_diverges_is_left_out() -> None:
    """At the further rate the standard network diverges in one seed; the effect planted there alone must not count."""

    def diverged(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if p["arm"] == "standard@0.05" and p["seed"] == 1 and p["step"] > 5:
            p["diverged"] = True
        if p["arm"] == "batchnorm@0.05":
            p["training_loss"] *= 0.01
        return p

    (row,) = deciding(effects(make_records(change=diverged)), "loss.standard")
    assert row.estimate is not None
    assert row.estimate.mean == pytest.approx(math.log10(0.5), abs=0.03)
    assert "left out: 0.05 (in 1 of 4 seeds: arm standard@0.05 has diverged)" in row.numbers.scope


def test_slopes_by_hand() -> None:
    """lambda_max = C loss^-2 at one rate and another C at the other, without batch norm; loss^0.5 with it."""

    def power(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        kind, _, rate = p["arm"].partition("@")
        own = (p["linearity"] if kind == "batchnorm" else p["sharpness"])["own"]
        own["top"] = (7.0 if rate else 2.0) * own["loss"] ** (0.5 if kind == "batchnorm" else -2.0)
        return p

    found = effects(make_records(change=power))
    for name, slope, outcome in (
        ("sharpening.standard", -2.0, "supported"),
        ("sharpening.batchnorm", 0.5, "contradicted"),
        ("sharpening.difference", 2.5, "supported"),
    ):
        (row,) = deciding(found, name)
        assert row.estimate is not None
        assert row.estimate.mean == pytest.approx(slope)
        assert row.outcome == outcome


def test_shift_is_told_early_and_late_apart() -> None:
    """Planted twice as large over the first two of the three measured steps, and a fifth after the last."""

    def moved(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if p["arm"] == "batchnorm" and p["step"] == 20:
            p["shift"]["l2"][1] /= 10
        return p

    early, late = deciding(effects(make_records(change=moved)), "covariate-shift.l2")
    assert (early.place, late.place) == ("steps 5 to 10", "step 20")
    assert early.estimate is not None
    assert late.estimate is not None
    assert early.estimate.mean == pytest.approx(math.log10(2), abs=0.03)
    assert late.estimate.mean == pytest.approx(math.log10(0.2), abs=0.03)
    assert ("covariate-shift.l2", "mlp", early.place, late.place) in crossings(make_records(change=moved))


def test_the_distance_from_the_edge_by_hand() -> None:
    """lambda_max is planted at 20 without batch norm: eta lambda_max/2 is 1 at the rate 0.1 and 1/2 at 0.05."""
    (row,) = [e for e in effects(make_records(noise=0.0)) if (e.comparison.name, e.network) == ("edge.standard", "mlp")]
    assert row.estimate is not None
    assert row.estimate.mean == pytest.approx((math.log10(1) + math.log10(0.5)) / 2)
    assert not row.decisive


def test_what_was_refused_gives_no_number() -> None:
    def refused(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if "linearity" in p and p["seed"] < 2:
            p["linearity"] = {"own": {"refused": "asymmetric"}, "twin": {"refused": "asymmetric"}}
        return p

    (row,) = deciding(effects(make_records(change=refused)), "top-eigenvalue.twin")
    assert row.seeds == (2, 3)
    assert row.outcome == "inconclusive"  # two seeds have no interval


def test_unfinished_and_empty_runs_are_read() -> None:
    """A run that was cut off has fewer seeds, or none; nothing is decided, nothing fails."""
    cut = [p for p in make_records() if p["seed"] < 1]
    assert {e.outcome for e in effects(cut)} <= {"inconclusive", "not comparable"}
    assert {e.outcome for e in effects([])} <= {"inconclusive", "not comparable"}


def _without(what: str) -> Callable[[dict[str, Any], np.random.Generator], dict[str, Any] | None]:
    """Records of the standard arms of mlp: none, none of the last step, or all but the one that has the last loss."""

    def change(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        if p["network"] != "mlp" or not p["arm"].startswith("standard"):
            return p
        if what == "all" or (what == "end" and p["step"] == 20):
            return None
        if what == "loss" and p["step"] == 20:
            del p["training_loss"]
        return p

    return change


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("all", "is not there: it has no records"),
        ("end", "is not finished: no record of step 20 is there"),
        ("loss", "is not finished: no record of step 20 is there"),
    ],
)
def test_what_has_no_records_is_not_there_and_has_not_diverged(what: str, said: str) -> None:
    (row,) = deciding(effects(make_records(change=_without(what))), "loss.standard")
    assert row.outcome == "not comparable"
    assert row.why.startswith("at no learning rate is every arm there, and trained, in every seed: ")
    assert f"0.05 (in 4 of 4 seeds: arm standard@0.05 {said})" in row.why
    assert "diverged" not in row.why


def test_seeds_that_diverged_are_told_apart_from_those_that_are_not_there() -> None:
    def change(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any] | None:
        if p["arm"] == "standard@0.05" and p["seed"] > 1:
            return None
        if p["arm"] == "standard@0.05" and p["seed"] == 1 and p["step"] > 5:
            p["diverged"] = True
        return p

    (row,) = deciding(effects(make_records(change=change)), "loss.standard")
    assert (
        "0.05 (in 1 of 4 seeds: arm standard@0.05 has diverged; "
        "in 2 of 4 seeds: arm standard@0.05 is not there: it has no records)"
    ) in row.numbers.scope


def test_no_rescaling_of_the_loss_moves_what_is_scale_free() -> None:
    point = next(p for p in make_records() if p["arm"] == "batchnorm" and p["step"] == 20)
    before = quantity(point, "relative_curvature")
    for of in ("own", "twin"):
        place = point["linearity"][of]
        for key in ("loss", "gradient_norm", "top"):
            place[key] *= 7.0
    assert quantity(point, "relative_curvature") == pytest.approx(before)
    assert quantity(point, "top", "mean-alive") is not None


def test_contrasts_pair_seeds_and_point_the_right_way() -> None:
    """With ReLU the factor is planted to be half of that with the smooth activation."""

    def more(p: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if p["network"] == "mlp" and "linearity" in p:
            p["linearity"]["own"]["top"] *= 0.5
        return p

    found = effects(make_records(change=more))
    rows = {e.comparison.name: e for e in activation_contrasts(found, preset().networks)}
    row = rows["top-eigenvalue.twin.relu-over-softplus"]
    assert row.estimate is not None
    assert row.estimate.mean == pytest.approx(math.log10(0.5), abs=0.03)
    assert (row.outcome, row.network, row.seeds) == ("supported", "mlp / smooth", SEEDS)
    assert rows["linearity-error.twin.relu-over-softplus"].outcome == "equivalent"


def test_pairs_differ_in_their_activation_only() -> None:
    def entry(name: str, kind: str = "mlp", **options: Any) -> NetworkEntry:
        return NetworkEntry(name, kind, options)

    networks = [
        entry("a", layout=[3]),
        entry("b", layout=[3], activation="softplus"),
        entry("c", layout=[4], activation="softplus"),
        entry("d", "vgg", layout=[3], activation="softplus"),
        entry("e", layout=[3], activation="relu"),
        entry("f", layout=[3], activation="tanh"),
    ]
    pairs = {(r.name, s.name) for r, s in activation_pairs(networks)}
    assert pairs == {("a", "b"), ("a", "f"), ("e", "b"), ("e", "f")}


def test_the_table_is_whole() -> None:
    assert {c.question for c in COMPARISONS} | {"relu"} == set(QUESTIONS)
    assert len({c.name for c in COMPARISONS}) == len(COMPARISONS)
    assert not [c.name for c in COMPARISONS if "lambda_max" in c.statement and c.question == "scaling"]
    assert set(NETWORKS) == {e.network for e in effects(make_records())}
