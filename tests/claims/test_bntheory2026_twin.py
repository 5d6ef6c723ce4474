"""The prediction of a network's ratio to its twin: its errors are those of networks that were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.claims.sources.bntheory2026.twin import Point, held_out_errors


def test_a_law_is_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=20)
    kinds = [f"kind {k % 4}" for k in range(20)]
    lawful = [Point(kind, 0.3 * a - 0.2, a) for kind, a in zip(kinds, x, strict=True)]
    line, constant = held_out_errors(lawful)
    assert max(line) < 1e-12
    assert np.median(constant) > 0.1
    noise = [Point(kind, float(rng.normal()), a) for kind, a in zip(kinds, x, strict=True)]
    line, constant = held_out_errors(noise)
    assert np.median(line) > 0.5 * np.median(constant)


def test_a_kind_never_predicts_itself() -> None:
    """One kind lies far off the others' law: seen from the others its error is the whole distance."""
    usual = [Point("a", 1.0, 0.0), Point("a", 2.0, 1.0), Point("b", 3.0, 2.0), Point("b", 4.0, 3.0)]
    line, _ = held_out_errors([*usual, Point("c", 100.0, 4.0)])
    assert line[-1] == pytest.approx(95.0)
