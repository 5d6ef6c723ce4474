"""What claims about trained networks read off made-up records: detached layer norm and robustness of inputs, with known answers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from planted import plant_points

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources import galloway2019
from bntheory.judges.verdict import evidence_of_checks, verdict_of

QUICK = Study("quick", seed=1)


def status(claim: str, study: Study = QUICK) -> str:
    found = registry()[claim]
    return verdict_of(found, [evidence_of_checks(found.check(study), seconds=0.0, seed=1)]).status.value


# -- xu2019.derivatives-matter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "detached", "none", "expected"),
    [
        (0.5, 0.9, 1.0, "supported"),
        (0.5, 1.5, 1.0, "supported"),  # beyond none: farther still from layer norm
        (0.5, 0.6, 1.0, "contradicted"),
        (0.5, math.sqrt(0.5), 1.0, "equivalent"),  # in the middle of the logarithms
        (1.0, 1.5, 1.0, "unknown"),  # layer norm gains nothing
        (0.5, 0.9, 2.3, "unknown"),  # without normalisation nothing is learnt
    ],
)
def test_derivatives_of_layer_norm(layer: float, detached: float, none: float, expected: str, monkeypatch: Any) -> None:
    levels = {"layer": layer, "layer-detached": detached, "none": none}

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        noise = 1 + 0.002 * (seed % 3 - 1) * (1 if arm.startswith("layer-") else -1)
        return {"progress": {"loss": levels[arm.rsplit(" ", 1)[0]] * noise, "gradient_norm": 1.0}}

    plant_points(monkeypatch, values)
    assert status("xu2019.derivatives-matter") == expected


def test_best_rates_count_where_another_arm_diverges(monkeypatch: Any) -> None:
    """Layer norm is best at a rate that no other survives: nothing at equal rates, and a lead beside."""
    levels = {
        "layer": {0.03: 1.2, 0.1: 0.8, 0.3: 0.4},
        "layer-detached": {0.03: 1.3, 0.1: 0.9, 0.3: None},
        "none": {0.03: 1.0, 0.1: 0.8, 0.3: None},
    }

    def values(arm: str, seed: int, step: int) -> dict[str, Any] | None:
        norm, rate = arm.rsplit(" ", 1)
        level = levels[norm][float(rate)]
        return None if level is None else {"progress": {"loss": level * (1 + 0.001 * (seed % 3)), "gradient_norm": 1.0}}

    plant_points(monkeypatch, values)
    assert status("xu2019.derivatives-matter") == "unknown"
    checks = registry()["xu2019.derivatives-matter"].check(QUICK)
    best = {c.name.split(", ")[1]: c.right for c in checks if "best rate" in c.name}
    assert best["no normalisation over layer norm"] == pytest.approx(math.log10(2), abs=1e-3)
    assert best["layer norm detached over none"] == pytest.approx(math.log10(0.9 / 0.8), abs=1e-3)


# -- galloway2019.input-robustness -------------------------------------------------------------------------------------


def robustness(monkeypatch: Any, noise: float, sign: float, *, speed: float = 2.0, trains: bool = True) -> None:
    """Retained accuracies fall with the clean error e like 1 - e/2; batch norm's are ``noise`` and ``sign`` times that, and it learns faster."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        batch = arm.startswith("batch")
        error = 0.9 * math.exp(-step * (speed if batch else 1.0) / 30)
        base = (1 - error) * (1 - error / 2) * (1 + 0.001 * (seed % 3 - 1) * (1 if batch else -1))
        found = {
            "clean": 1 - error,
            "noise": {f"{galloway2019.NOISE:g}": base * (noise if batch else 1)},
            "sign": {f"{galloway2019.SIGN:g}": base * (sign if batch else 1)},
        }
        loss = (1.0 if batch else 2.0) * error if trains or batch else 2.3  # losses differ at equal errors
        return {"progress": {"loss": loss, "gradient_norm": 1.0}, "input_robustness": found}

    plant_points(monkeypatch, values)


@pytest.mark.parametrize(
    ("noise", "sign", "expected"),
    [(0.8, 0.6, "supported"), (0.8, 1.2, "contradicted"), (1.2, 0.8, "contradicted"), (0.8, 1.0, "equivalent")],
)
def test_both_disturbances_count(noise: float, sign: float, expected: str, monkeypatch: Any) -> None:
    # with one speed both arms are at one error at one step, so the planted factors are the whole difference
    robustness(monkeypatch, noise, sign, speed=1.0)
    assert status("galloway2019.input-robustness") == expected


def test_a_network_that_learns_faster_is_compared_at_equal_errors(monkeypatch: Any) -> None:
    """The faster one is more accurate at every step, so at equal steps it also retains more; at equal errors it does not."""
    robustness(monkeypatch, 0.99, 0.99)
    checks = galloway2019.input_robustness(QUICK)
    equal = [c for c in checks if "at loss" in c.name]
    start = [c for c in checks if "at the start" in c.name]
    assert len(equal) == 6
    for check in equal:
        assert check.left == pytest.approx(math.log10(0.99), abs=6e-3)
    assert all(c.left > 0.02 for c in start)


def test_an_arm_that_has_not_trained_is_not_compared(monkeypatch: Any) -> None:
    robustness(monkeypatch, 0.8, 0.8, trains=False)
    assert status("galloway2019.input-robustness") == "unknown"


# -- page2019.shift-makes-curvature ------------------------------------------------------------------------------------


def overlap(means: float, contrasts: float, without_means: float, without_contrasts: float) -> dict[str, Any]:
    return {
        "mean_overlap": {
            "loss": 0.8,
            "top": 10.0,
            "converged": True,
            "means": means,
            "contrasts": contrasts,
            "dimension": 100,
            "contrast_dimension": 100,
            "parameters": 10_000,
            "without_means": without_means,
            "without_contrasts": without_contrasts,
            "refused": None,
        }
    }


@pytest.mark.parametrize(
    ("means", "contrasts", "without", "expected"),
    [
        (0.8, 0.2, (2.0, 8.0), "supported"),
        (0.3, 0.2, (2.0, 8.0), "contradicted"),  # not twice
        (0.8, 0.2, (8.0, 6.0), "contradicted"),
        (0.05, 0.02, (9.0, 9.0), "inconclusive"),
    ],
)
def test_mean_directions_against_contrasts(
    means: float, contrasts: float, without: tuple[float, float], expected: str, monkeypatch: Any
) -> None:
    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        noise = 1 + 0.01 * (seed % 3 - 1)
        return overlap(means * noise, contrasts, without[0] * noise, without[1])

    plant_points(monkeypatch, values)
    assert status("page2019.shift-makes-curvature") == expected


def test_refused_points_say_nothing(monkeypatch: Any) -> None:
    """One rate is refused throughout and so left out; the other alone counts."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        if arm == "none 0.1":
            return {"mean_overlap": {"refused": "not symmetric"}}
        return overlap(0.8 * (1 + 0.01 * (seed % 3)), 0.2, 2.0, 8.0 * (1 + 0.01 * (seed % 2)))

    plant_points(monkeypatch, values)
    assert status("page2019.shift-makes-curvature") == "supported"
    monkeypatch.undo()
    plant_points(monkeypatch, lambda *_: {"mean_overlap": {"refused": "not symmetric"}})
    assert status("page2019.shift-makes-curvature") == "unknown"


def test_points_at_which_an_eigenvalue_is_not_positive_are_passed_over(monkeypatch: Any) -> None:
    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        if arm == "none 0.1":
            return overlap(0.1, 0.2, -0.5, 8.0)
        return overlap(0.8 * (1 + 0.01 * (seed % 3)), 0.2, 2.0, 8.0 * (1 + 0.01 * (seed % 2)))

    plant_points(monkeypatch, values)
    assert status("page2019.shift-makes-curvature") == "supported"


# -- desmith2020.small-batches -----------------------------------------------------------------------------------------


def accuracies(
    monkeypatch: Any, large: dict[str, dict[float, float]], small: dict[str, dict[float, float]], loss: float = 0.8
) -> None:
    """Test accuracy by batch size, norm and rate; which of the two is told by the number of steps."""

    def values(arm: str, seed: int, step: int) -> dict[str, Any]:
        norm, rate = arm.rsplit(" ", 1)
        level = (large if step < 50 else small)[norm][float(rate)]
        # as in life, not the same number in every seed
        level += 0.001 * ((seed + (norm == "batch")) % 3 - 1)
        return {"training": {"loss": loss, "accuracy": level}, "held_out": level}

    plant_points(monkeypatch, values)


RATES = (0.03, 0.1, 0.3, 1.0)
EARLY, LATE = (0.5, 0.7, 0.4, 0.2), (0.3, 0.5, 0.7, 0.8)
FLAT_TOP = (0.5, 0.7, 0.705, 0.3)


def grid(*values: float) -> dict[float, float]:
    return dict.fromkeys((0.003, 0.01, 3.0), 0.15) | dict(zip(RATES, values, strict=True))


@pytest.mark.parametrize(
    ("large", "small", "expected"),
    [
        ((LATE, EARLY), (FLAT_TOP, EARLY), "supported"),
        ((LATE, EARLY), (LATE, EARLY), "contradicted"),  # they pay with small batches too
        ((FLAT_TOP, EARLY), (EARLY, EARLY), "contradicted"),  # they do not pay with large ones
    ],
)
def test_where_large_rates_pay(large: Any, small: Any, expected: str, monkeypatch: Any) -> None:
    both = [{"batch": grid(*a), "none": grid(*b)} for a, b in (large, small)]
    accuracies(monkeypatch, *both)
    assert status("desmith2020.small-batches", Study("normal", seed=1)) == expected
    # best rates lie on a grid: three that are equal say less than a sign test asks for
    assert status("desmith2020.small-batches") == (expected if expected == "contradicted" else "inconclusive")


def test_the_gain_is_against_the_best_rate_of_the_other_network() -> None:
    from bntheory.claims.sources.desmith2020 import seen
    from bntheory.experiments.experiment import Arm
    from bntheory.experiments.runs import Protocol, Run

    def run(accuracy: float, loss: float = 0.8) -> Run:
        point = {"training": {"loss": loss, "accuracy": accuracy}, "held_out": accuracy}
        return Run(Arm("n", "a", "mlp", {}, 0.1), Protocol(5, (5,)), 0, {5: point}, 0.1)

    seed = {f"batch {r:g}": run(a) for r, a in grid(0.5, 0.6, 0.75, 0.72).items()}
    seed |= {f"none {r:g}": run(a) for r, a in grid(0.5, 0.7, 0.7, 0.2).items()}
    found = seen(seed, RATES)
    assert found.best == {"batch": 0.3, "none": 0.1}  # of two equals the smaller rate
    assert found.gain == pytest.approx(0.15)
    assert not found.barred
    seed["none 0.1"] = run(0.7, 2.3)
    assert "none has not trained" in seen(seed, RATES).barred


def test_nothing_is_said_of_networks_that_have_not_trained(monkeypatch: Any) -> None:
    both = [{"batch": grid(*LATE), "none": grid(*EARLY)}] * 2
    accuracies(monkeypatch, *both, loss=2.3)
    assert status("desmith2020.small-batches") == "unknown"
