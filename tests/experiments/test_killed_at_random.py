"""Killed with all its processes again and again at random moments, and resumed, a run ends as one that was left alone.

The oracle is that other run: its records as bytes, its verdicts, its page. A kill is SIGKILL of the whole process group, after some
progress each time, at a moment drawn from a stated seed: nobody in the group has time to put anything in order.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_preset

from bntheory.claims.claim import Claim, Registry, Source, Study, claim, collecting
from bntheory.evidence.checks import Check
from bntheory.evidence.looks import Looks
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import Protocol, check_of, each_seed, training_point, until_decided
from bntheory.experiments.store import RECORDS, Store
from bntheory.experiments.toy_runs import toy_runs

PROTOCOL = Protocol(6, (2, 4, 6), batch_size=8, measured=16)
TOY = {"shape": (6, 5), "observed": 0.7, "rank": 2}
START = (
    "import sys; sys.path.insert(0, {here!r})\n"
    "from bntheory.experiments import manifest\n"
    "from bntheory.experiments.measure import MEASURES\n"
    "manifest.codes = lambda: dict.fromkeys([*MEASURES, 'training'], 'fixed')\n"  # whatever is edited while tests run
)
PRESET = (
    START + "from bntheory.report.compare import compare; compare({preset!r}, out={out!r}, resume={resume}, workers=2)"
)
CLAIMS = START + "import test_killed_at_random as t; t.judge({out!r}, {workers})"


def claims() -> list[Claim]:
    """On networks, with a second look, and on toys: nothing that anybody believes."""
    registry = Registry()
    options: dict[str, Any] = {"kind": "experiment", "statement": "x", "source": Source("made", "up", seen="own")}
    arms = [Arm("mlp", norm, "mlp", {"norm": norm, "layout": [4]}, 0.1) for norm in ("batch", "none")]
    with collecting(registry):

        @claim("made.up.network", **options)
        def network(study: Study) -> list[Check]:
            runs = each_seed(study, arms, PROTOCOL, 12, "network")
            numbers = [training_point(r["batch"], 6)[0] - training_point(r["none"], 6)[0] for r in runs]
            return [check_of(study, "loss", numbers, "below", 0.0, "tiny")]

        @claim("made.up.looks", **options)
        def looks(study: Study) -> list[Check]:
            def read(seeds: int, confidence: float) -> list[Check]:
                runs = each_seed(study, arms[:1], PROTOCOL, seeds, "looks", first=50)
                numbers = [training_point(r["batch"], 6)[0] for r in runs]
                bound = sum(numbers) / len(numbers)  # never decided
                return [check_of(study, "loss", numbers, "below", bound, "tiny", confidence=confidence)]

            return until_decided(study, Looks((6, 12)), read)

        @claim("made.up.toy", **options)
        def toy(study: Study) -> list[Check]:
            arm = Arm("toy", "none", "matrix-factorisation", {**TOY, "normalise": False}, 0.5)
            runs = toy_runs(study, [arm], (2, 5), 5, "toy")
            numbers = [r["none"].points[5]["linearity"]["own"]["loss"] for r in runs]
            return [check_of(study, "loss", numbers, "below", 0.5, "tiny")]

    return list(registry)


def judge(out: str, workers: int) -> None:
    """``compare --claims`` of these claims, without the command line."""
    from bntheory.report.claims_run import compare_claims

    said: list[str] = []
    compare_claims(claims(), "quick", Path(out), workers=workers, say=said.append)
    assert said == []  # half a line is nobody's fault


def _count(out: Path) -> int:
    return (out / RECORDS).read_bytes().count(b"\n") if (out / RECORDS).exists() else 0


def _killed(script: Callable[[], str], out: Path, kills: int, seed: int) -> None:
    """Run, kill after one to five records more and a moment, so many times; each time there was something left to kill."""
    rng = random.Random(seed)
    for _ in range(kills):
        goal, deadline = _count(out) + rng.randrange(1, 6), time.monotonic() + 120
        process = subprocess.Popen([sys.executable, "-c", script()], start_new_session=True)
        while process.poll() is None and _count(out) < goal:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.random() / 50)
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _lines(out: Path) -> list[bytes]:
    return sorted((out / RECORDS).read_bytes().splitlines())


def _left_alone(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=True)


def _numbers(out: Path) -> tuple[Any, str]:
    """Verdicts and page, without what says when and how long."""

    def timeless(content: Any) -> Any:
        if isinstance(content, dict):
            return {k: timeless(v) for k, v in content.items() if k not in ("written", "seconds")}
        return [timeless(v) for v in content] if isinstance(content, list) else content

    page = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "", (out / "report.html").read_text("utf-8"))
    return timeless(json.loads((out / "verdicts.json").read_text("utf-8"))), page


def _same(out: Path, whole: Path) -> None:
    assert _lines(out) == _lines(whole)
    assert Store(out).read().faults == ()
    assert _numbers(out) == _numbers(whole)
    assert not list((out / "checkpoints").iterdir())


@pytest.mark.parametrize(
    ("kills", "workers"), [(3, 0), pytest.param(10, 2, marks=pytest.mark.slow)], ids=["three", "ten"]
)
@pytest.mark.timeout(900)
def test_claims_are_judged_from_the_same_records(tmp_path: Path, kills: int, workers: int) -> None:
    here, whole, out = str(Path(__file__).parent), tmp_path / "whole", tmp_path / "out"

    def script(folder: Path) -> str:
        return CLAIMS.format(here=here, out=str(folder), workers=workers)

    _left_alone(script(whole))
    assert _count(whole) == 12 * 2 * 3 + 12 * 3 + 5 * 2
    _killed(lambda: script(out), out, kills, kills)
    _left_alone(script(out))
    _same(out, whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_preset_ends_with_the_same_records_verdicts_and_page(tmp_path: Path) -> None:
    here, whole, out = str(Path(__file__).parent), tmp_path / "whole", tmp_path / "out"
    preset = tiny_preset(tmp_path, seeds="[0, 1, 2]")

    def script(folder: Path) -> str:
        begun = (folder / "manifest.json").exists()
        return PRESET.format(here=here, preset=preset, out=str(folder), resume=begun)

    _left_alone(script(whole))
    _killed(lambda: script(out), out, 10, 11)
    _left_alone(script(out))
    _same(out, whole)
