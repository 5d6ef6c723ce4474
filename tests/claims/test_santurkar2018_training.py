"""Figures 1 to 4 of Santurkar et al. 2018 as experiments: the verdicts follow the data, whichever way these point.

Planted runs give known verdicts, and exchanging the arms reverses them; the numbers of real, short runs are computed once more
from the definitions in plain torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted as planted_runs
import pytest
import torch
from typer.testing import CliRunner

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources.santurkar2018 import figure_1, figure_2
from bntheory.claims.sources.santurkar2018 import figures_3_4 as santurkar2018_smoothness
from bntheory.cli import app
from bntheory.experiments.runs import Protocol, Run
from bntheory.experiments.toy_runs import toy_runs
from bntheory.experiments.toys import SHIFT
from bntheory.judges.verdict import evidence_of_checks, verdict_of
from bntheory.models.deep_linear import DeepLinear, linear_data

MODULES = (figure_1, figure_2, santurkar2018_smoothness)
PREFIX = "santurkar2018."
QUICK = Study(effort="quick", seed=1)


def status(name: str, study: Study = QUICK) -> str:
    claim = registry()[PREFIX + name]
    return verdict_of(claim, [evidence_of_checks(list(claim.check(study)), seconds=0.0, seed=1)]).status.value


def decisive(name: str, study: Study = QUICK) -> list[list[float]]:
    return [c.witness["values"] for c in registry()[PREFIX + name].check(study) if c.decisive]


# -- planted accuracies -----------------------------------------------------------------------------------------------


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, float]], None]:
    """Lets every run of an arm have a given training and test accuracy, up to a little that differs from seed to seed."""

    def plant(accuracies: Mapping[str, float], spread: float = 0.005) -> None:
        def values(arm: str, seed: int) -> dict[str, Any]:
            accuracy = accuracies[arm] + spread * (seed % 3 - 1) * (1 if arm == "batch" else -1)
            return {"training": {"loss": 1 - accuracy, "accuracy": accuracy}, "held_out": accuracy}

        plant_points(monkeypatch, values)

    return plant


def plant_points(monkeypatch: pytest.MonkeyPatch, values: Callable[[str, int], dict[str, Any]]) -> None:
    """The same at every step."""
    planted_runs.plant_points(monkeypatch, lambda arm, seed, step: values(arm, seed))


@pytest.mark.parametrize(
    ("batch", "none", "expected"), [(0.9, 0.6, "supported"), (0.6, 0.9, "contradicted"), (0.9, 0.9, "inconclusive")]
)
def test_accuracy(planted: Any, batch: float, none: float, expected: str) -> None:
    planted({"batch": batch, "none": none})
    assert status("figure-1.accuracy") == expected


@pytest.mark.parametrize(
    ("noisy", "expected"),
    [(0.9, "supported"), (0.95, "supported"), (0.8, "contradicted"), (0.5, "contradicted"), (0.85, "inconclusive")],
)  # fmt: skip
def test_noisy_batchnorm(planted: Any, noisy: float, expected: str) -> None:
    """With BN at 0.9 and the standard network at 0.6, almost like BN is 0.85 and more."""
    planted({"batch": 0.9, "none": 0.6, "noisy-batch": noisy})
    assert status("figure-2.noisy-batchnorm") == expected


def test_noisy_batchnorm_is_asked_to_be_better_than_the_standard_network_too(planted: Any) -> None:
    planted({"batch": 0.6, "none": 0.9, "noisy-batch": 0.65})
    assert status("figure-2.noisy-batchnorm") == "contradicted"


@pytest.mark.parametrize(
    ("noisy", "expected"), [(0.1, "supported"), (0.3, "supported"), (0.45, "inconclusive"), (0.7, "contradicted")]
)
def test_noisy_standard(planted: Any, noisy: float, expected: str) -> None:
    """With the standard network at 0.8 and guessing at 0.1 the middle is 0.45."""
    planted({"dose 0": 0.8, "dose 1": noisy})
    assert status("figure-2.noisy-standard") == expected


def test_doses_of_the_noise_are_shown(planted: Any) -> None:
    planted({"dose 0": 0.8, "dose 0.5": 0.82, "dose 1": 0.3, "dose 2": 0.1})
    checks = {c.name: c for c in figure_2.noisy_standard(Study("normal", seed=1))}
    (decisive,) = [c for c in checks.values() if c.decisive]
    assert decisive.outcome == "holds"
    found = {name[-8:]: c.outcome for name, c in checks.items() if "minus standard, dose" in name}
    assert found == {"dose 0.5": "fails", ", dose 1": "holds", ", dose 2": "holds"}
    assert next(c for name, c in checks.items() if "itself, dose 2 minus dose 0.5" in name).outcome == "holds"
    options = figure_2.whole_vgg(0.5).options
    assert (options["norm"], options["noise_dose"]) == ("noisy-none", 0.5)
    assert sum(n > 0 for n in options["layout"]) == 8
    assert "noise_dose" not in figure_2.whole_vgg(0).options


def test_a_seed_in_which_the_standard_network_has_not_trained_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def values(arm: str, seed: int) -> dict[str, Any]:
        loss = 2.29 if arm == "dose 0" and seed % 10 == 1 else 1.0
        accuracy = 0.8 if arm == "dose 0" else 0.1 + 0.01 * (seed % 10)
        return {"training": {"loss": loss, "accuracy": accuracy}, "held_out": 0.5}

    plant_points(monkeypatch, values)
    check = figure_2.noisy_standard(QUICK)[0]
    assert "1 of 3 seeds gave no number" in check.scope
    assert check.outcome == "undecided"  # two seeds are too few


@pytest.mark.parametrize(
    ("l1", "linf", "expected"),
    [(0.9, 0.9, "supported"), (0.9, 0.6, "contradicted"), (0.6, 0.9, "contradicted"), (0.9, 0.75, "inconclusive")],
)
def test_lp_norms(planted: Any, l1: float, linf: float, expected: str) -> None:
    planted({"batch": 0.9, "none": 0.6, "l1": l1, "linf": linf})
    assert status("lp-normalisation.training") == expected


def test_the_other_reading_of_the_norm_is_shown_and_decides_nothing(planted: Any) -> None:
    raw = {"raw l1": 0.5, "raw l2": 0.9, "raw linf": 0.5}
    planted({"batch": 0.9, "none": 0.6, "l1": 0.9, "linf": 0.9, **raw})
    checks = registry()[PREFIX + "lp-normalisation.training"].check(Study(effort="thorough", seed=1))
    beside = {c.name: c.outcome for c in checks if "raw" in c.name}
    assert list(beside.values()) == ["fails", "holds", "fails"]
    assert status("lp-normalisation.training", Study(effort="thorough", seed=1)) == "supported"


# -- short real runs --------------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        monkeypatch.setattr(module, "protocol_of", lambda study: Protocol.even(24, 2))
    monkeypatch.setattr(santurkar2018_smoothness, "shift_protocol", lambda study: Protocol.even(24, 2))
    monkeypatch.setattr(santurkar2018_smoothness, "_trained", lambda run: True)  # not in so few steps


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Calls BN's runs the standard network's and the other way round."""

    def exchange() -> None:
        for module in (figure_1, santurkar2018_smoothness):
            own = module.each_seed

            def swap(*args: Any, own: Any = own, **options: Any) -> list[dict[str, Run]]:
                found = own(*args, **options)
                return [{**runs, "batch": runs["none"], "none": runs["batch"]} for runs in found]

            monkeypatch.setattr(module, "each_seed", swap)

    return exchange


def layers(l2: float, turn: float, relative: float) -> dict[str, Any]:
    """A recorded shift of two layers, the second of which has these."""
    return {"step_shift": {"l2": [0.0, l2], "cosine": [1.0, 1 - turn], "gradient_norm": [1.0, l2 / relative]}}


def plant_deep(monkeypatch: pytest.MonkeyPatch, values: Callable[[str, int], dict[str, Any] | None]) -> None:
    """The deep linear network's records, at every step; None: it had diverged."""

    def points(study: Study, asked: Any, what: str) -> list[dict[str, Any]]:
        found = []
        for n in asked:
            point = values(n.task.arm.name, n.task.seed)
            known = {
                "network": n.task.arm.network,
                "arm": n.task.arm.name,
                "seed": n.task.seed,
                "step": n.step,
                "diverged": point is None,
            }
            found.append({**known, **planted_runs.noisy(point or {})})
        return found

    monkeypatch.setattr("bntheory.experiments.toy_runs.points_of", points)


def alike(arm: str, seed: int) -> dict[str, Any]:
    return layers(1.0, 1.0, 1.0)


@pytest.mark.long
@pytest.mark.usefixtures("short")
def test_exchanged_arms_turn_every_difference_round(exchanged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On real runs; in 24 steps BN's lead in accuracy is far outside its interval, so there the outcome turns as well."""
    plant_deep(monkeypatch, lambda arm, seed: layers(2.0, 2.0, 2.0) if arm == "batch" else alike(arm, seed))
    names = [
        "figure-1.accuracy",
        "figure-3.covariate-shift",
        "figure-4.loss-variation",
        "figure-4.gradient-predictiveness",
        "figure-4.effective-beta",
    ]
    before = {name: decisive(name) for name in names}
    first = registry()[PREFIX + names[0]].check(QUICK)[0]
    exchanged()
    for name in names:
        planted_part = 2 if "shift" in name else 0  # the deep linear network's, which were not exchanged
        kept = len(before[name]) - planted_part
        for left, right in zip(before[name][:kept], decisive(name)[:kept], strict=True):
            assert right == pytest.approx([-x for x in left], abs=2e-6)
            assert any(x != 0 for x in left)
    turned = registry()[PREFIX + names[0]].check(QUICK)[0]
    assert (first.outcome, turned.outcome) == ("holds", "fails")


@pytest.mark.usefixtures("short")
def test_figure_4_numbers_are_those_of_the_measured_walks() -> None:
    """From the losses and gradients of each recorded walk, with the ranges written out here, for BN, the standard network and the twin."""
    arms = [figure_1.vgg(norm) for norm in ("batch", "none")]
    runs = figure_1.runs_of(QUICK, arms, Protocol.even(24, 2), 3, "test")
    wanted: dict[str, list[float]] = {"loss": [], "gradient": [], "beta": [], "twin beta": []}
    for pair in runs:
        logs: dict[str, list[float]] = {name: [] for name in wanted}
        for step in (12, 24):
            own, other = pair["batch"].points[step], pair["none"].points[step]
            walks = {"bn": own["walk"], "no": other["walk"], "twin": own["twin_walk"]}
            sizes = {
                name: (
                    max(w["along"]["losses"]) - min(w["along"]["losses"]),
                    max(w["along"]["gradient_changes"]) - min(w["along"]["gradient_changes"]),
                    max(
                        c / (0.1 * s * w["gradient_norm"])
                        for c, s in zip(w["along"]["gradient_changes"], w["along"]["multiples"], strict=True)
                    ),
                )
                for name, w in walks.items()
            }
            assert walks["bn"]["along"]["multiples"] == [0.5, 1.375, 2.25, 3.125, 4.0]
            for index, name in enumerate(("loss", "gradient", "beta")):
                logs[name].append(math.log10(sizes["bn"][index] / sizes["no"][index]))
            logs["twin beta"].append(math.log10(sizes["bn"][2] / sizes["twin"][2]))
        for name, values in logs.items():
            wanted[name].append(sum(values) / 2)
    for claim, name in [
        ("loss-variation", "loss"),
        ("gradient-predictiveness", "gradient"),
        ("effective-beta", "beta"),
    ]:
        assert decisive(f"figure-4.{claim}")[0] == pytest.approx(wanted[name], rel=1e-3, abs=1e-4)
    checks = registry()[PREFIX + "figure-4.effective-beta"].check(QUICK)
    twin = next(c for c in checks if "twin" in c.name)
    assert twin.witness["values"] == pytest.approx(wanted["twin beta"], rel=1e-3, abs=1e-4)
    assert not twin.decisive


@pytest.mark.parametrize("claim", ["loss-variation", "gradient-predictiveness", "effective-beta"])
@pytest.mark.parametrize(
    ("batch", "none", "expected"), [(0.1, 1.0, "supported"), (1.0, 0.1, "contradicted"), (1.0, 1.0, "inconclusive")]
)
def test_figure_4_follows_planted_walks(
    claim: str, batch: float, none: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def values(arm: str, seed: int) -> dict[str, Any]:
        jitter = 1 + 0.01 * (seed % 10 - 1)  # so that equal arms differ from seed to seed, with mean about 0
        size = batch * jitter if arm == "batch" else none
        along = {"loss_range": size, "gradient_range": size, "effective_beta": size}
        walk = {"loss": 1.0, "along": along}
        return {"walk": walk, "twin_walk": walk}

    plant_points(monkeypatch, values)
    assert status(f"figure-4.{claim}") == expected


@pytest.mark.long
@pytest.mark.usefixtures("short")
def test_a_check_reads_what_an_earlier_one_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --store, another process too: the second check trains nothing, and the folder is one that `bntheory runs` lists."""
    words = ["check", PREFIX + "figure-2.noisy-batchnorm", "--effort", "quick", "--jobs", "1", "--store", str(tmp_path)]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    lines = (tmp_path / "records.jsonl").read_bytes()

    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("bntheory.experiments.worker.make_trainer", no_training)
    assert CliRunner().invoke(app, words).stdout == first.stdout
    assert (tmp_path / "records.jsonl").read_bytes() == lines
    listed = CliRunner().invoke(app, ["runs", str(tmp_path)])
    assert listed.exit_code == 0
    assert "vgg, noisy-batch: classification" in listed.output


# -- the deep linear network ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalise", [False, True])
def test_the_deep_linear_shift_by_its_definition(normalise: bool) -> None:
    """Two steps of descent and Definition 2.1 at each of 25 layers, in plain torch."""
    arm = santurkar2018_smoothness._deep_linear(normalise, 24)
    (runs,) = toy_runs(Study(seed=0), [arm], (2,), 1, "test", first=3, measure=SHIFT)
    found = santurkar2018_smoothness._shift(runs[arm.name])
    assert list(found) == [2]
    inputs, target = (torch.from_numpy(a) for a in linear_data(24, 10, seed=3))
    model = DeepLinear(*linear_data(24, 10, seed=3), layers=25, normalise=normalise)
    start = {k: torch.from_numpy(v).clone() for k, v in model.unflatten(model.initial(3)).items()}

    def gradients(at: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        leaves = {name: value.clone().requires_grad_(True) for name, value in at.items()}
        h = inputs
        for level in range(24):
            h = h @ leaves[f"W{level}"]
            if normalise:
                h = (h - h.mean(0)) / torch.sqrt(h.var(0, unbiased=False) + 1e-5)
                h = h * leaves[f"gamma{level}"] + leaves[f"beta{level}"]
        loss = ((h @ leaves["W24"] - target) ** 2).mean() / 2
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    here = start
    for _ in range(2):
        g = gradients(here)
        here = {name: value - 0.1 * g[name] for name, value in here.items()}
    g = gradients(here)
    l2, turns, relative = [], [], []
    for layer in range(1, 25):
        earlier = {f"{kind}{level}" for level in range(layer) for kind in ("W", "gamma", "beta")}
        mixed = {k: v - 0.1 * g[k] if k in earlier else v for k, v in here.items()}
        own, other = g[f"W{layer}"].flatten(), gradients(mixed)[f"W{layer}"].flatten()
        l2.append(math.log(float((own - other).norm())))
        relative.append(math.log(float((own - other).norm() / own.norm())))
        turns.append(1 - float(torch.nn.functional.cosine_similarity(own, other, dim=0)))
    expected = (math.exp(sum(l2) / 24), sum(turns) / 24, math.exp(sum(relative) / 24))
    assert found[2] == pytest.approx(expected, rel=1e-5)


@pytest.mark.long
def test_the_deep_linear_network_is_judged_from_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking trains nothing; what is lacking is made once, runs that diverge among it."""
    arms = [santurkar2018_smoothness._deep_linear(norm, 24) for norm in (True, False)]
    wild = replace(arms[1], name="wild", learning_rate=1e3)

    def ask(study: Study) -> Any:
        return toy_runs(study, [*arms, wild], (1, 3), 2, "test", measure=SHIFT)

    lacking: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr("bntheory.experiments.toys.train", None)
        assert not any(run.points for runs in ask(Study(lacking=lacking, store=tmp_path)) for run in runs.values())
    assert len(lacking[0].left) == 3 * 2 * 2
    made = ask(Study(store=tmp_path))
    assert [runs["wild"].diverged_at is None for runs in made] == [False, False]
    monkeypatch.setattr("bntheory.experiments.toys.train", None)
    assert ask(Study(store=tmp_path)) == made
    assert len(made[0]["batch"].points[3]["step_shift"]["l2"]) == 25


def trained(loss: float) -> dict[str, Any]:
    return {"training": {"loss": loss, "accuracy": 0.5}, "held_out": 0.5}


def test_where_the_standard_network_has_not_trained_nothing_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_deep(monkeypatch, alike)

    def values(arm: str, seed: int) -> dict[str, Any]:
        return trained(2.29 if arm == "none" and seed % 10 == 1 else 1.0) | alike(arm, seed)

    plant_points(monkeypatch, values)
    first = registry()[PREFIX + "figure-3.covariate-shift"].check(QUICK)[0]
    assert "1 of 3 seeds gave no number" in first.scope


@pytest.mark.parametrize(
    ("with_bn", "without", "expected"),
    [
        ((10.0, 1.5, 1.0), (1.0, 0.1, 1.0), "supported"),
        ((0.9, 0.09, 1.0), (1.0, 0.1, 1.0), "supported"),  # smaller by less than 1.25: not reduced
        ((0.7, 0.11, 1.0), (1.0, 0.1, 1.0), "contradicted"),
        ((0.1, 0.01, 1.0), (1.0, 0.1, 1.0), "contradicted"),
    ],
)
def test_covariate_shift_follows_planted_shifts(
    with_bn: Any, without: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:

    def shift(arm: str, seed: int) -> dict[str, Any]:
        return layers(*(with_bn if arm == "batch" else without))

    plant_deep(monkeypatch, shift)
    plant_points(monkeypatch, lambda arm, seed: trained(1.0) | shift(arm, seed))
    assert status("figure-3.covariate-shift") == expected


@pytest.mark.usefixtures("short")
def test_a_deep_linear_run_that_diverged_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant_deep(monkeypatch, lambda arm, seed: None if seed % 10 == 0 and arm == "none" else alike(arm, seed))
    plant_points(monkeypatch, lambda arm, seed: trained(1.0) | alike(arm, seed))
    last = registry()[PREFIX + "figure-3.covariate-shift"].check(QUICK)[-1]
    assert "1 standard run diverged, left out" in last.scope
    assert "1 of 3 seeds gave no number" in last.scope


def test_layers_are_summarised_by_geometric_means_and_mean_turns() -> None:
    found = santurkar2018_smoothness.summarise_layers([1.0, 100.0], [0.5, 0.0], [1.0, 1.0])
    assert found == pytest.approx((10.0, 0.75, 10.0))
    # a mean over the layers that have an angle would be one over other layers than the other network's
    assert math.isnan(santurkar2018_smoothness.summarise_layers([1.0, 100.0], [0.5, math.nan], [1.0, 1.0])[1])
    assert math.isnan(santurkar2018_smoothness.summarise_layers([0.0, 1.0], [1.0, 1.0], [1.0, 1.0])[0])
