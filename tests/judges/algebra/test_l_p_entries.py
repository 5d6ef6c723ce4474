"""Single entries, the length and the Jacobian of a batch that an l_p norm normalises. The oracle is numpy on random batches: what is proved holds at each of them,
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
    "said", ["sigma**2 > var", "norm2(y_hat) < m", "dot(dual, e@case) != 0 or dot(y_hat, e@case)**2 < 1"]
)
def test_one_entry_alone_is_the_largest(said):
    m, h, q = _entries("linf", 0.0)
    assert ((m == 2) | (q != 0) | (h**2 < 1)).all()  # of two entries both lie farthest: outside of the domain
    assert decide(said, eps="zero", normaliser="linf", vectors=E).verdict.status.value == "proved"


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


@pytest.mark.parametrize(("most", "status"), [("m", "proved"), ("m - 1", "refuted"), ("9/10*m", "refuted")])
def test_how_long_a_batch_with_one_largest_entry_can_be(most, status):
    """1, and m - 1 entries nearly as large: as near to m as one likes."""
    batch = np.array([1, -0.999, 0.998, -0.999])
    assert (abs(batch.sum()) < 1e-12, bool(batch @ batch > 3.6)) == (True, True)
    assert decide(f"norm2(y_hat) < {most}", eps="zero", normaliser="linf").verdict.status.value == status


def _singular_value(kind: str, y: np.ndarray, eps: float) -> float:
    """sigma times the largest singular value of dy_hat/dy, by complex steps through the definition."""
    columns = []
    for i in range(len(y)):
        c = y + 1e-30j * (np.arange(len(y)) == i)
        c = c - c.mean()
        size = c * np.sign(c.real)
        sigma = size.mean() + eps if kind == "l1" else size[np.argmax(size.real)]
        columns.append((c / sigma).imag / 1e-30 * sigma.real)
    return float(np.linalg.norm(np.array(columns).T, 2))


def _is_a_root(k: float, n: float, w: float, c: float, m: int) -> bool:
    t = 2 * c + (n * w / m) ** 2
    return m < 3 or (abs(k**4 - t * k**2 + c**2) < 1e-9 * k**4 and k**2 > t / 2 * (1 - 1e-9))


NORM = "sqrt(norm2(y_hat)*(norm2(dual) - dot(one, dual)**2/m))/m"
SQUARES = "(2*c + norm2(y_hat)*(norm2(dual) - dot(one, dual)**2/m)/m**2)".replace("c", "(1 - dot(dual, y_hat)/m)")


@pytest.mark.parametrize(
    ("said", "options", "holds"),
    [
        (
            f"jac_norm == gamma/sigma*{NORM}",
            {"eps": "zero", "min_m": 3},
            lambda k, n, w, c, m: abs(k - n * w / m) < 1e-9,
        ),
        ("jac_norm == 0 or m >= 3", {"eps": "zero"}, lambda k, n, w, c, m: m >= 3 or k < 1e-9),
        ("jac_norm >= gamma/sigma", {"min_m": 3}, lambda k, n, w, c, m: m < 3 or k > 1 - 1e-9),
        (
            "jac_norm == gamma/sigma*(1 - dot(dual, y_hat)/m) or m >= 3",
            {},
            lambda k, n, w, c, m: m >= 3 or abs(k - c) < 1e-9,
        ),
        # k^2 is the larger root of x^2 - t x + c^2: between t/2 and t
        (f"jac_norm**2 <= gamma**2/sigma**2*{SQUARES}", {"min_m": 3}, _is_a_root),
        (f"2*jac_norm**2 >= gamma**2/sigma**2*{SQUARES}", {"min_m": 3}, _is_a_root),
        ("jac_norm <= sqrt(m)*gamma/sigma", {}, lambda k, n, w, c, m: k <= m**0.5),
        ("norm2(y_hat) <= m**2/2", {}, lambda k, n, w, c, m: n**2 <= m**2 / 2 + 1e-9),
        ("jac_norm <= 1.01*gamma/sigma", {"eps": "zero", "min_m": 3}, None),
    ],
)
def test_the_norm_of_the_jacobian_of_l1(said, options, holds):
    rng = np.random.default_rng(1)
    for eps in (0.0,) if options.get("eps") == "zero" or holds is None else (0.0, 0.3):
        for m in (2, 3, 4, 7) if holds else ():
            y = rng.normal(size=m) ** 3
            c = y - y.mean()
            y_hat, w = c / (np.abs(c).mean() + eps), np.sign(c) - np.sign(c).mean()
            fits = holds(_singular_value("l1", y, eps), *map(np.linalg.norm, (y_hat, w)), 1 - w @ y_hat / m, m)
            assert fits or m < options.get("min_m", 2)
    status = decide(said, normaliser="l1", gamma="positive", search=False, **options).verdict.status.value
    assert status == ("proved" if holds else "refuted")


def test_the_length_and_the_norm_of_the_jacobian_of_linf():
    """The entries beside the largest sum up to -1 or 1."""
    rng = np.random.default_rng(1)
    for m in (3, 4, 7):
        y = rng.normal(size=m)
        c = y - y.mean()
        length2 = float(c @ c) / np.abs(c).max() ** 2
        assert length2 >= 1 + 1 / (m - 1)
        assert _singular_value("linf", y, 0.0) == pytest.approx((length2 * (1 - 1 / m)) ** 0.5, rel=1e-9)
    for said, right in (
        ("norm2(y_hat) >= 1 + 1/(m - 1)", "proved"),
        ("norm2(y_hat) > 1 + 1/(m - 1)", "refuted"),
        ("jac_norm == gamma/sigma*sqrt(norm2(y_hat)*(1 - 1/m))", "proved"),
    ):
        assert decide(said, normaliser="linf", eps="zero", gamma="positive", search=False).verdict.status.value == right


LENGTHENED = ("norm2(jac(u)) <= {}*jac_norm**2*norm2(u)", "norm2(input_grad) <= {}*jac_norm**2*norm2(grad)")


@pytest.mark.parametrize("said", LENGTHENED)
@pytest.mark.parametrize(("kind", "eps"), [("l1", "zero"), ("l1", "any"), ("linf", "zero")])
def test_no_vector_is_lengthened_by_more_than_the_norm_of_the_jacobian(kind, eps, said):
    """Either way through the layer."""
    options = {"eps": eps, "normaliser": kind, "vectors": ("u",) if "u)" in said else (), "search": False}
    assert decide(said.format(1), **options).verdict.status.value == "proved"


@pytest.mark.parametrize("said", LENGTHENED)
def test_some_vector_is_lengthened_by_all_of_it(said):
    found = decide(said.format(0.99), eps="zero", normaliser="linf", vectors=("u",) if "u)" in said else (), min_m=3)
    assert found.verdict.status.value == "refuted"
