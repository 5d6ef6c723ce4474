"""Shared fixtures: the device, deterministic algorithms, and a hypothesis profile that explores in CI as well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

# Before numpy and torch are imported: two test processes on two cores must not each start two threads that wait for each other.
for _pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")

import pytest
from hypothesis import HealthCheck, settings

# With CI set, hypothesis would derandomise by itself and stop looking for new counterexamples.
settings.register_profile(
    "explore",
    derandomize=False,
    deadline=None,
    print_blob=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("explore")
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="torch device for the device-agnostic tests, e.g. cuda")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The torch device the tests run on."""
    name = request.config.getoption("--device")
    import torch

    if name.startswith("cuda") and not torch.cuda.is_available():
        pytest.exit("--device cuda was asked for, but torch sees no CUDA device", returncode=2)
    return name


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Exact equality between two evaluations needs deterministic algorithms on CUDA."""
    from bntheory.bridge.networks.training import reproducible

    with reproducible():
        yield


@pytest.fixture(autouse=True, scope="session")
def answered_in_a_copy() -> Iterator[Any]:
    """z3 answers in this process: a copy of one that has run many tests costs more than most questions. Yields the way with copies."""
    from bntheory.judges.algebra import solver

    copied = solver._answer
    solver._answer = solver._answer_here
    yield copied
    solver._answer = copied
