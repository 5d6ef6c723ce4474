"""The benchmark runs, finds the training unchanged, and its ratio is that of the seconds it took; its figure is for the reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "validation" / "benchmarks" / "monitor.py"


@pytest.mark.long
def test_the_benchmark(tmp_path: Path) -> None:
    target = tmp_path / "rows.json"
    options = ["--networks", "vgg-small", "--side", "8", "--steps", "60", "--json", str(target)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(target.read_text(encoding="utf-8"))["rows"]
    assert row["bit_for_bit"]
    assert row["ratio"] > 0
    assert not row["missing"]
    assert f"{row['ratio']:6.3f}  over 60 steps; bit for bit the same" in done.stdout
