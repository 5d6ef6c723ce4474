"""The curvature benchmarks run, measure what they say, and write it down; their figures are for the reader, not for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "validation" / "benchmarks"


def run(name: str, folder: Path, *options: str) -> dict[str, Any]:
    target = folder / "rows.json"
    command = [sys.executable, str(BENCHMARKS / name), "--size", "tiny", "--kinds", "mlp", "--batch", "32"]
    done = subprocess.run(
        [*command, *options, "--json", str(target)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    for title, value in record["summary"].items():
        assert f"{title}: {value:.3g}" in done.stdout
    return record


@pytest.mark.long
def test_eigenvalues(tmp_path: Path) -> None:
    found = run("curvature_eigenvalues.py", tmp_path, "--seeds", "1", "--steps", "5", "--checkpoints", "2")
    rows = found["rows"]
    assert [(r["norm"], r["steps"], r["accuracy"]) for r in rows] == [
        (norm, steps, accuracy) for norm in ("batch", "none") for steps in (5, 10) for accuracy in (1e-3, 1e-6)
    ]
    for row in rows:
        assert row["error"] <= row["accuracy"]
        assert row["arpack_error"] <= row["accuracy"]
        assert 0 < row["time_ratio"] < np.inf
    coarse, fine = rows[0::2], rows[1::2]
    assert all(a["power"] <= b["power"] and a["products"] <= b["products"] for a, b in zip(coarse, fine, strict=True))


@pytest.mark.slow
def test_against_other_packages(tmp_path: Path) -> None:
    options = ("--kinds", "vgg", "--dtype", "float64", "--ks", "1", "--methods", "power iteration,ARPACK")
    rows = run("curvature_packages.py", tmp_path, *options)["rows"]
    methods = ["bntheory, float64 alone", "bntheory", "power iteration", "ARPACK"]
    assert [r["method"] for r in rows] == 2 * methods
    for row in rows:
        if row["method"].startswith("bntheory"):
            assert row["error"] <= row["claimed"] <= row["accuracy"]
            assert (row["single"] > 0) == (row["method"] == "bntheory")
        else:
            assert row["slower"] is None or row["slower"] >= row["slower_asked"] > 0


@pytest.mark.long
def test_cost_of_a_probe_and_of_a_product(tmp_path: Path) -> None:
    (row,) = run("probe_cost.py", tmp_path)["rows"]
    assert row["steps"] > row["steps_in_products"] > 0
    assert row["products"] > 0 < row["products_twin"]
    rows = run("probe_cost.py", tmp_path, "--kinds", "mlp", "--products")["rows"]
    assert [r["kind"] for r in rows] == ["mlp"]
    for row in rows:
        assert all(row[name] > 0 for name in ("torch", "product", "product_recorded", "product_twin"))
