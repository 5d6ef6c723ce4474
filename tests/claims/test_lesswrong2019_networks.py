"""Smoothness in trained networks: planted records give the verdict that was planted.

Oracle: runs made up with known ratios, arms exchanged, exact rescalings, networks that have not trained. One tiny network is really
trained, to see that records and readings fit together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources.lesswrong2019 import networks as claims
from bntheory.claims.sources.lesswrong2019 import toys, trained
from bntheory.claims.sources.lesswrong2019.controls import Compared
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import Protocol, Run
from bntheory.judges.check import judge_claim

KEY = "lesswrong2019"
DOMAINS = [f"{KEY}.domain.{kind}" for kind in ("mlp", "vgg", "resnet", "transformer", "rnn")]
SCALING, LIPSCHITZ = f"{KEY}.more-than-scaling", f"{KEY}.two-lipschitz.batchnorm-reduces.network"
STEPS, RATES = (1, 10, 40, 120), (0.01, 0.1, 1.0)
LOSSES = (2.25, 1.6, 1.0, 0.6)
Numbers = dict[str, float]
#: (arm or twin, loss) -> its numbers
Law = Callable[[str, float], Numbers]


def numbers(top: float = 1.0, gradient: float = 1.0, error: float = 0.1, spectral: float | None = None) -> Numbers:
    return {
        "gradient_norm": gradient,
        "top": top,
        "spectral_norm": top if spectral is None else spectral,
        "linearity_error": error,
    }


def planted(law: Law, stuck: tuple[str, ...] = ()) -> Callable[..., Compared]:
    """In the place of trained networks. stuck: arms whose loss stays that of guessing."""

    def compared(study: Study, name: str, seeds: int, norms: tuple[str, ...] = ("batch", "none")) -> Compared:
        arms = {norm: {rate: f"{norm} {rate:g}" for rate in RATES} for norm in norms}
        found = []
        for seed in range(seeds):
            runs = {}
            for norm, of in arms.items():
                for rate, arm in of.items():
                    losses = (2.3,) * 4 if arm in stuck else LOSSES
                    points = {
                        step: {"linearity": _point(law, norm, x, np.random.default_rng((seed, step)))}
                        for step, x in zip(STEPS, losses, strict=True)
                    }
                    runs[arm] = Run(Arm(name, arm, "mlp", {}, rate), Protocol(120, STEPS), seed, points, 0.1)
            found.append(runs)
        return Compared(study, name, found, arms, "made up")

    return compared


def _point(law: Law, norm: str, loss: float, rng: np.random.Generator) -> Mapping[str, Any]:
    names = ["own"] if norm != "batch" else ["own", "twin", *(f"twin x {f:g}" for f in trained.FACTORS)]
    return {
        name: {"loss": loss, "refused": None}
        | {key: v * math.exp(0.02 * rng.normal()) for key, v in law(norm if name == "own" else name, loss).items()}
        for name in names
    }


def of_levels(**tops: float) -> Law:
    """Curvatures by arm; every twin has the twin's, and every other normalisation none's."""
    return lambda who, loss: numbers(tops["twin" if who.startswith("twin") else who if who == "batch" else "none"])


def status(claim_id: str, monkeypatch: pytest.MonkeyPatch, law: Law, stuck: tuple[str, ...] = ()) -> str:
    monkeypatch.setattr(claims, "compared", planted(law, stuck))
    return judge_claim(registry()[claim_id]).status.value


@pytest.mark.parametrize("claim_id", DOMAINS)
@pytest.mark.parametrize(
    ("law", "expected"),
    [
        (of_levels(batch=1.0, twin=2.0, none=1.0), "supported"),
        (of_levels(batch=2.0, twin=1.0, none=9.0), "contradicted"),
        (of_levels(batch=1.0, twin=1.05, none=9.0), "equivalent"),
        # four times the curvature at twice the gradient: the twin is a rescaling
        (lambda who, loss: numbers(4.0, 2.0) if who == "twin" else numbers(), "equivalent"),
    ],
    ids=["lower", "higher", "alike", "rescaled"],
)
def test_the_twin_decides_without_units(
    claim_id: str, law: Law, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(claim_id, monkeypatch, law) == expected


def test_an_effect_that_changes_sign_on_the_way_is_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the twin's at high losses, a tenth of it at low ones: the mean would be below."""

    def law(who: str, loss: float) -> Numbers:
        return numbers((2.0 if loss > 1.2 else 0.1) if who == "batch" else 1.0)

    assert status(DOMAINS[0], monkeypatch, law) == "contradicted"
    checks = claims.mlp_domain(Study())
    assert {c.outcome for c in checks if c.decisive} == {"holds", "fails"}
    assert any("crossing" in c.scope for c in checks)


def test_a_standard_network_that_has_not_trained_bars_only_what_compares_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stuck = tuple(f"none {rate:g}" for rate in RATES)
    law = of_levels(batch=1.0, twin=2.0, none=1.0)
    assert status(DOMAINS[0], monkeypatch, law, stuck) == "supported"
    shown = [c for c in claims.mlp_domain(Study()) if "standard" in c.name]
    assert {c.outcome for c in shown} == {"not comparable"}
    assert "has not trained" in shown[0].not_comparable
    assert status(SCALING, monkeypatch, law, stuck) == "inconclusive"
    assert status(SCALING, monkeypatch, law, tuple(f"batch {rate:g}" for rate in RATES) + stuck) == "unknown"


def test_the_two_lipschitz_claim_reads_the_spectral_norm_against_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large negative eigenvalue counts for it, and not for the claims about the largest eigenvalue."""

    def rough(who: str, loss: float) -> Numbers:
        return numbers(1.0 if who == "batch" else 2.0, spectral=8.0 if who == "batch" else 2.0)

    assert status(LIPSCHITZ, monkeypatch, rough) == "contradicted"
    assert status(DOMAINS[0], monkeypatch, rough) == "supported"
    assert status(LIPSCHITZ, monkeypatch, of_levels(batch=1.0, twin=2.0, none=2.0)) == "supported"
    assert status(LIPSCHITZ, monkeypatch, of_levels(batch=1.0, twin=2.0, none=0.5)) == "contradicted"


def rescaled(n: Numbers, loss: float, length: float) -> Numbers:
    """f(x) -> loss f(x/length): what no scale-free measure sees; the loss at the point is scaled by the caller."""
    return {**n, "gradient_norm": n["gradient_norm"] * loss / length, "top": n["top"] * loss / length**2}


@pytest.mark.parametrize("length", [1.0, 3.0, 0.5])
def test_a_mere_rescaling_is_recognised(length: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def law(who: str, loss: float) -> Numbers:
        return rescaled(numbers(), 1.0, length if who == "batch" else 1.0)

    assert status(SCALING, monkeypatch, law) == "contradicted"


@pytest.mark.parametrize("top", [0.5, 2.0], ids=["smoother", "rougher"])
def test_a_difference_in_either_direction_is_more_than_scaling(top: float, monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(SCALING, monkeypatch, of_levels(batch=top, twin=1.0, none=1.0)) == "supported"


def test_one_measure_at_one_place_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(who: str, loss: float) -> Numbers:
        return numbers(error=0.3 if who == "batch" and loss < 1.2 else 0.1)

    assert status(SCALING, monkeypatch, late) == "supported"


def test_a_parametrisation_of_the_twin_that_agrees_contradicts(monkeypatch: pytest.MonkeyPatch) -> None:
    def law(who: str, loss: float) -> Numbers:
        return numbers(0.5 if who in ("batch", "twin x 2") else 1.0)

    assert status(SCALING, monkeypatch, law) == "contradicted"


def test_both_controls_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other than its twin and like the standard network: the effect of batch norm as a whole is none."""
    assert status(SCALING, monkeypatch, of_levels(batch=1.0, twin=2.0, none=1.0)) == "contradicted"


def test_a_refused_measurement_leaves_its_point_out(monkeypatch: pytest.MonkeyPatch) -> None:
    build = planted(of_levels(batch=1.0, twin=2.0, none=1.0))

    def refusing(*args: Any) -> Compared:
        model = build(*args)
        for runs in model.runs:
            runs["batch 0.1"].points[40]["linearity"]["twin"] = {"refused": "not symmetric"}
        return model

    monkeypatch.setattr(claims, "compared", refusing)
    assert judge_claim(registry()[DOMAINS[4]]).status.value == "supported"


def test_the_transformer_stands_beside_layer_and_rms_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "compared", planted(of_levels(batch=1.0, twin=2.0, none=4.0)))
    names = [c.name for c in claims.transformer_domain(Study()) if not c.decisive]
    assert any("over the rms-normalised model's" in name for name in names)
    assert any("with layer normalisation over the standard" in name for name in names)


@pytest.mark.parametrize("kind", ["tensor-train", "matrix-factorisation"])
@pytest.mark.parametrize(("twin", "expected"), [(2.0, "supported"), (0.5, "contradicted"), (1.0, "equivalent")])
def test_toys_are_read_as_networks_are(kind: str, twin: float, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def toy_runs(study: Study, arms: Any, record: Any, seeds: int, what: str, *, first: int) -> Any:
        assert first == trained.FIRST_SEED
        assert {arm.options["normalise"] for arm in arms} == {True, False}
        planted_runs = []
        for seed in range(seeds):
            runs = {}
            for arm in arms:
                norm = arm.name.partition(" ")[0]
                points = {
                    step: {
                        "linearity": _point(
                            of_levels(batch=1.0, twin=twin, none=1.0), norm, x, np.random.default_rng((seed, step))
                        )
                    }
                    for step, x in zip(record, (0.48, 0.3, 0.1, 0.01), strict=True)
                }
                runs[arm.name] = Run(arm, Protocol(record[-1], tuple(record)), seed, points, 0.0)
            planted_runs.append(runs)
        return planted_runs

    monkeypatch.setattr(toys, "toy_runs", toy_runs)
    assert judge_claim(registry()[f"{KEY}.domain.{kind}"]).status.value == expected


@pytest.mark.parametrize("name", list(trained.NETWORKS))
def test_arms_of_a_network_share_all_but_normalisation_and_rate(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def each_seed(
        study: Study, arms: Any, protocol: Protocol, seeds: int, what: str, measures: Any, **more: Any
    ) -> Any:
        asked.update(arms=arms, protocol=protocol, measures=[m for arm in arms for m in measures(arm)], **more)
        return []

    monkeypatch.setattr(trained, "each_seed", each_seed)
    trained.compared(Study(), name, 6)
    assert asked["first"] == trained.FIRST_SEED == 100  # of the seeds that chose the design, none judges it
    rates = {arm.learning_rate for arm in asked["arms"]}
    assert len(rates) >= 5
    assert max(rates) / min(rates) >= 100
    assert {(arm.options["norm"], arm.learning_rate) for arm in asked["arms"]} == {
        (norm, rate) for norm in ("batch", "none") for rate in rates
    }
    assert {m.options["twin"] for m in asked["measures"]} == {True, False}


@pytest.mark.slow
def test_really_trained_at_quick_effort() -> None:
    verdict = judge_claim(registry()[f"{KEY}.domain.rnn"], Study("quick", 1000))
    checks = [c for e in verdict.evidence for c in e.details["checks"]]
    assert any(c["decisive"] and c["outcome"] != "not comparable" and math.isfinite(c["left"]) for c in checks)
    edges = [c for c in checks if "edge of stability" in c["name"]]
    assert len(edges) == 2
