"""Claims that train a tiny network in a second, for tests of the laboratory; what they assert is nothing that anybody believes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bntheory.claims.claim import Claim, Registry, Source, Study, claim, collecting
from bntheory.cli import app
from bntheory.evidence.checks import Check
from bntheory.evidence.looks import Looks
from bntheory.experiments import worker
from bntheory.experiments.experiment import Arm, Measure
from bntheory.experiments.runs import Protocol, Run, check_of, each_seed, training_point, until_decided

PROTOCOL = Protocol(3, (1, 3), batch_size=8, measured=16)


BOUND = 0.0


def arms() -> list[Arm]:
    return [Arm("mlp", norm, "mlp", {"norm": norm, "layout": [4]}, 0.1) for norm in ("batch", "none")]


def loss(run: Run) -> float:
    return training_point(run, 3)[0]


def claims() -> list[Claim]:
    """Two claims on the same runs, one that adds seeds, one that cannot be measured, one that breaks, and one that trains nothing."""
    registry = Registry()
    with collecting(registry):
        _define()
    return list(registry)


def _define() -> None:
    options: dict[str, Any] = {"kind": "experiment", "statement": "x", "source": Source("made", "up", seen="own")}

    @claim("made.up.first", **options)
    def first(study: Study) -> list[Check]:
        seeds = study.choose(quick=3, normal=4, thorough=4)
        runs = each_seed(study, arms(), PROTOCOL, seeds, "first")
        numbers = [loss(r["batch"]) - loss(r["none"]) for r in runs]
        return [check_of(study, "loss", numbers, "below", BOUND, "tiny")]

    @claim("made.up.second", **options)
    def second(study: Study) -> list[Check]:
        runs = each_seed(study, arms()[:1], PROTOCOL, 3, "second")
        return [check_of(study, "own loss", [loss(r["batch"]) for r in runs], "above", 0.1, "tiny")]

    @claim("made.up.looks", **options)
    def looks(study: Study) -> list[Check]:
        def read(seeds: int, confidence: float) -> list[Check]:
            runs = each_seed(study, arms()[1:], PROTOCOL, seeds, "looks")
            numbers = [loss(r["none"]) for r in runs]
            bound = sum(numbers) / len(numbers)  # never decided
            return [check_of(study, "loss", numbers, "below", bound, "tiny", confidence=confidence)]

        return until_decided(study, Looks((3, 4)), read)

    @claim("made.up.refused", **options)
    def refused(study: Study) -> list[Check]:
        runs = each_seed(study, arms()[:1], PROTOCOL, 3, "refused", lambda arm: (Measure("no such measure"),))
        return [check_of(study, "x", [1.0 for _ in runs], "above", 0.0, "tiny")]

    @claim("made.up.broken", **options)
    def broken(study: Study) -> list[Check]:
        runs = each_seed(study, arms()[:1], PROTOCOL, 3, "broken")
        return [check_of(study, "x", [1 / (loss(r["batch"]) - loss(r["batch"])) for r in runs], "above", 0.0, "")]

    @claim("made.up.nothing", **options)
    def nothing(study: Study) -> list[Check]:
        return [Check("one", 1.0, "le", 2.0, "numerical", "always")]


CODES = ("classification", "training")


GOOD = ("made.up.first", "made.up.second", "made.up.looks", "made.up.nothing")


@pytest.fixture(name="own")
def these_claims_alone(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The package has these claims and no others, and no recorded experiments."""
    registry = Registry()
    for one in claims():
        registry.add(one)
    monkeypatch.setattr("bntheory.claims.registry", lambda: registry)
    monkeypatch.setattr("bntheory.judges.experiments.archive_of_checkout", lambda: None)
    return registry


@pytest.fixture(name="trained")
def tasks_that_were_trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every task that is done in this process."""
    found: list[str] = []
    do = worker.do

    def counted(assignment: worker.Assignment, *rest: Any) -> None:
        found.append(assignment.task.name)
        do(assignment, *rest)

    monkeypatch.setattr(worker, "do", counted)
    return found


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def compare(out: Path, *words: str, claims: str = ",".join(GOOD)) -> Result:
    return command("compare", "--claims", claims, "--out", str(out), "--workers", "0", *words)
