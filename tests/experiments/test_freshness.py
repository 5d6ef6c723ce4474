"""A record is stale when what made it has changed, and only then: one line of the package is changed in a copy.

Reading the source alone, so an edit is noticed whether or not it changes a number.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import bntheory
from bntheory.evidence.closure import Package
from bntheory.experiments.experiment import TRAINING
from bntheory.experiments.manifest import codes
from bntheory.experiments.measure import MEASURES

SOURCE = Path(bntheory.__file__).parent
ALONG = {"walk", "twin-walk"}
ALL = {*MEASURES, TRAINING}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy") / "bntheory"
    shutil.copytree(SOURCE, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.mark.long
@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("experiments/measures/landscape.py", '{"walk": along(', '{"walk": 0 or along(', {"walk"}),
        ("experiments/measures/landscape.py", "multiples = [low + (", "multiples = [low - (", ALONG),
        ("bridge/probes/covariate_shift.py", "learning_rate", "rate_of_learning", {"shift", "step-shift"}),
        ("bridge/networks/training.py", "alpha=-self.config.rate", "alpha=-2 * self.config.rate", ALL),
        ("experiments/worker.py", "trainer.step < step:", "trainer.step <= step:", ALL),
        ("experiments/worker.py", "trainer.model.train(),", "trainer.model.eval(),", ALL),
        ("evidence/study.py", "APART = 1_000_003", "APART = 1_000_004", ALL),
        ("bridge/networks/images.py", "from __future__", "# a comment\nfrom __future__", set()),
        ("experiments/worker.py", "time.perf_counter()", "time.monotonic()", set()),
        ("experiments/quantities.py", "math.isfinite", "math.isnan", set()),
    ],
)
def test_an_edit_makes_stale_what_rests_on_it(copy: Path, file: str, old: str, new: str, stale: set[str]) -> None:
    text = (SOURCE / file).read_text(encoding="utf-8")
    assert old in text or not stale, f"{file} has no {old!r}: plant another edit"
    (copy / file).write_text(text.replace(old, new, 1 if not stale else -1), encoding="utf-8")
    try:
        now = codes(Package(copy))
    finally:
        shutil.copy(SOURCE / file, copy / file)
    changed = {name for name, code in codes().items() if now[name] != code}
    assert stale <= changed
    if stale != ALL and "bridge" not in file:
        assert changed == stale
    assert (changed == ALL) == (stale == ALL)


def test_every_measure_has_a_fingerprint_of_its_own() -> None:
    found = codes()
    assert found.keys() == ALL
    assert len(set(found.values())) == len(found)
