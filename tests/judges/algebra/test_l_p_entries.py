"""Single entries of a batch that an l_p norm normalises. The oracle is numpy on random batches: what is proved holds at each of them,
and what is a little stronger fails at one."""

from __future__ import annotations

import numpy as np
import pytest

from bntheory.judges.decide import decide

E = ("e@case",)


def _entries(kind: str, eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(m, y_hat_i, q_i) of every entry of many batches, near the edges too: one large entry, all alike in size."""
    rng = np.random.default_rng(0)
    rows = []
    for m in (2, 3, 4, 9):
        for spread in (1.0, 1e-3, 1e3):
            for _ in range(100):
                y = np.r_[spread, rng.normal(size=m - 1)]
                c = y - y.mean()
                size = np.abs(c)
                k = size.argmax()
                scale = size.mean() + eps if kind == "l1" else size[k]
                q = np.sign(c) if kind == "l1" else np.where(np.arange(m) == k, m * np.sign(c), 0)
                rows += [(m, c[i] / scale, q[i]) for i in range(m)]
    return tuple(np.array(rows).T)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "eps", "said", "holds"),
    [
        ("linf", "zero", "dot(y_hat, e@case)**2 <= 1", lambda m, h, q: h**2 <= 1),
        ("linf", "zero", "dot(dual, e@case) <= m", lambda m, h, q: q <= m),
        ("linf", "zero", "dot(dual, e@case)*dot(y_hat, e@case) >= 0", lambda m, h, q: q * h >= 0),
        ("l1", "zero", "dot(y_hat, e@case) <= m/2", lambda m, h, q: h <= m / 2 * (1 + 1e-12)),
        ("l1", "positive", "dot(y_hat, e@case) < m/2", lambda m, h, q: h < m / 2),
        ("l1", "any", "dot(dual, e@case)**2 == 1", lambda m, h, q: q**2 == 1),
        ("l1", "any", "dot(dual, e@case)*dot(y_hat, e@case) > 0", lambda m, h, q: q * h > 0),
    ],
)
def test_bounds_of_an_entry_are_proved(kind, eps, said, holds):
    for value in {"zero": (0.0,), "positive": (1e-3, 1.0), "any": (0.0, 1.0)}[eps]:
        assert holds(*_entries(kind, value)).all()
    assert decide(said, eps=eps, normaliser=kind, vectors=E).verdict.status.value == "proved"


@pytest.mark.parametrize(
    ("kind", "said", "holds"),
    [
        ("linf", "dot(y_hat, e@case)**2 < 1", lambda m, h, q: h**2 < 1),
        ("linf", "dot(dual, e@case) == m*dot(y_hat, e@case)", lambda m, h, q: q == m * h),
        ("l1", "dot(y_hat, e@case) <= m/3", lambda m, h, q: h <= m / 3),
        ("l1", "dot(y_hat, e@case) < m/2", lambda m, h, q: h < m / 2 * (1 - 1e-12)),
    ],
)
def test_what_is_stronger_is_refuted(kind, said, holds):
    assert not holds(*_entries(kind, 0.0)).all()
    assert decide(said, eps="zero", normaliser=kind, vectors=E).verdict.status.value == "refuted"
