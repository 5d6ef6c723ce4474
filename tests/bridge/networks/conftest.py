"""What tests of networks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bntheory.bridge.networks.training import reproducible


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Exact equality between two evaluations needs deterministic algorithms on CUDA."""
    with reproducible():
        yield
