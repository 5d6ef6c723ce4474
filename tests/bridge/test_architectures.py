"""Every architecture x (capture, probe, hessian, twin) x precision: right against the oracle, or refused with the reason.

The oracle (``network_oracle``) shares nothing with the bridge: it writes normalisation out in primitive operations and differentiates
twice backward in float64. In float32 the same values have to come out to the rounding that a small network has there.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import network_oracle as oracle
import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES

from bntheory.bridge import capture, frozen_twin, probe, state_fingerprint
from bntheory.bridge.curvature import hessian

DTYPES = {"float64": torch.float64, "float32": torch.float32}
TOLERANCE = {"float64": 1e-7, "float32": 2e-3}


@cache
def right(name: str, frozen: bool) -> Any:
    """Loss, gradient, dense Hessian."""
    return oracle.derivatives(*ARCHITECTURES[name].build(), frozen=frozen)


def close(found: Any, expected: Any, dtype: str) -> bool:
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    return bool(np.abs(found - expected).max() <= TOLERANCE[dtype] * np.abs(expected).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_capture(name: str, dtype: str) -> None:
    case = ARCHITECTURES[name]
    triple = case.build()
    before = state_fingerprint(triple[0])
    found = capture(*triple, dtype=DTYPES[dtype])
    assert state_fingerprint(triple[0]) == before
    loss, gradient, _ = right(name, False)
    assert found.left_out == {}
    assert found.loss == pytest.approx(loss, rel=TOLERANCE[dtype])
    assert sum(layer.kind == "batch" for layer in found) == case.batch_norms
    assert len(found) == case.batch_norms + case.others
    for layer in found:
        assert layer.gradient_residual().passed.all(), layer
        assert layer.hessian_residual([0]).passed.all(), layer
        for role, parameter in (("gamma", "weight"), ("beta", "bias")):
            expected = gradient.get(f"{layer.name}.{parameter}")
            if layer.parameter_grad(role) is not None and expected is not None:
                assert close(layer.parameter_grad(role), expected, dtype)
                of_the_layer = getattr(layer.closed_form(), f"{role}_grad")[:, 0].double()  # <y_hat, g> and <1, g>
                assert float((of_the_layer - expected).abs().max()) <= TOLERANCE[dtype] * max(
                    1.0, float(expected.abs().max())
                )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_hessian(name: str, dtype: str) -> None:
    triple = ARCHITECTURES[name].build()
    before = state_fingerprint(triple[0])
    _, gradient, dense = right(name, False)
    with hessian(*triple, dtype=DTYPES[dtype]) as op:
        assert close(op.dense(), dense, dtype)
        flat = torch.cat([g.reshape(-1) for g in gradient.values()])
        assert close(op.gradient, flat, dtype)
    assert state_fingerprint(triple[0]) == before


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_probe(name: str, dtype: str) -> None:
    case = ARCHITECTURES[name]
    triple = case.build()
    before = state_fingerprint(triple[0])
    found = probe(triple, dtype=DTYPES[dtype], tol=1e-9 if dtype == "float64" else 1e-5)
    assert state_fingerprint(triple[0]) == before
    loss, gradient, dense = right(name, False)
    assert len(found.layers) == case.batch_norms + case.others
    assert found.network.missing == {}
    assert found.network.loss == pytest.approx(loss, rel=TOLERANCE[dtype])
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradient.values()))
    assert found.network.gradient_norm == pytest.approx(norm, rel=TOLERANCE[dtype])
    assert found.network.lambda_max == pytest.approx(oracle.top(dense), rel=TOLERANCE[dtype])
    if case.batch_norms:
        assert found.twin is not None
        assert found.twin.loss == pytest.approx(loss, rel=TOLERANCE[dtype])
        assert found.twin.lambda_max == pytest.approx(oracle.top(right(name, True)[2]), rel=TOLERANCE[dtype])
    else:
        assert found.twin is None
        assert "nothing to freeze" in found.missing["twin"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_twin(name: str, dtype: str) -> None:
    case = ARCHITECTURES[name]
    model, loss, batch = case.build()
    if not case.batch_norms:
        with pytest.raises(ValueError, match="nothing to freeze"):
            frozen_twin((model, loss, batch))
        with pytest.raises(ValueError, match="nothing to freeze"):
            hessian(model, loss, batch, mode="frozen", dtype=DTYPES[dtype])
        return
    dense = right(name, True)[2]
    with hessian(model, loss, batch, mode="frozen", dtype=DTYPES[dtype]) as op:
        assert close(op.dense(), dense, dtype)
    inner = getattr(model, "_orig_mod", getattr(model, "module", model)).to(DTYPES[dtype])
    batch = oracle.doubled(batch) if dtype == "float64" else batch
    twin = frozen_twin(inner, batch[0])
    with hessian(twin, loss, batch) as op:
        assert op.loss == pytest.approx(right(name, True)[0], rel=TOLERANCE[dtype])
        assert close(op.dense(), dense, dtype)


def test_the_table_is_as_large_as_it_says() -> None:
    assert len(ARCHITECTURES) == 26
