"""Counterexamples held against the printed statement itself, built from them by numpy and torch's autograd: inputs and weights, not
the Gram matrices and slopes that a claim is stated in."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from bntheory.claims.claim import registry
from bntheory.judges.algebra import judge


def _witness(claim_id: str) -> dict:
    found = judge(registry()[claim_id])
    assert found.finding == "refuted", found.summary
    return found.details["witness"]["layer"]


def _numbers(texts: list) -> np.ndarray:
    return np.array(
        [[float(Fraction(v)) for v in row] if isinstance(row, list) else float(Fraction(row)) for row in texts]
    )


def test_the_weight_space_is_that_of_inputs_whose_pre_activations_are_y() -> None:
    layer = _witness("bntheory2026.weight-space.any-inputs")
    y, g = _numbers(layer["y"]), _numbers(layer["grad"])
    scale, rest = float(Fraction(layer["scalars"]["s"])), _numbers(layer["operators"]["M"])
    values, vectors = np.linalg.eigh(scale * np.outer(y, y) + rest)
    assert values.min() > -1e-12
    inputs = vectors * np.sqrt(values.clip(0))
    weights = np.linalg.lstsq(inputs, y, rcond=1e-9)[0]
    np.testing.assert_allclose(inputs @ weights, y, atol=1e-9)
    w = torch.tensor(weights, requires_grad=True)
    batch = torch.tensor(inputs) @ w
    gamma, sigma = float(Fraction(layer["gamma"])), y.std()
    z = gamma * (batch - batch.mean()) / batch.std(correction=0)
    (pulled,) = torch.autograd.grad(z @ torch.tensor(g), w)
    assert pulled.norm() > 1.01 * abs(gamma) / sigma * np.linalg.norm(inputs.T @ g)


@pytest.mark.long
def test_the_ratio_of_lipschitz_constants_exists_where_it_is_too_large() -> None:
    k1, k2, largest, c1, c2, r1, r2 = (
        float(Fraction(_witness("than2025.product")["scalars"][name]))
        for name in ("k1", "k2", "largest", "c1", "c2", "r1", "r2")
    )
    plain, normalised = abs(r1 * c1 + r2 * c2), abs(r1 * k1 * c1 + r2 * k2 * c2)
    assert plain > 0
    assert max(k1, k2) <= largest < normalised / plain
