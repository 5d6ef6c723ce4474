"""Traces that only a large batch makes large: tr(c I) = c m, so that tr H <= b fails for H = I from m = b + 1 on."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest

from bntheory.judges.decide import decide
from bntheory.judges.exact.replay import replay
from bntheory.judges.exact.witness import Instance

BOUNDED = {"scalars": ["l:positive"], "smoothness": "l"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "options", "least"),
    [
        ("trace(hess) <= 199", {"hessian": "identity"}, 200),
        ("trace(hess) <= 150*l", BOUNDED, 151),
        ("trace(hess) <= 150*l", {**BOUNDED, "hessian": "psd"}, 151),
        ("trace(hess) <= 49", {"loss": "logistic-bounds"}, 197),  # H <= I/4
        ("trace(hess) >= 0", {"min_m": 200}, 200),
        ("trace(hess) > 0 or m < 150", {"hessian": "psd-diagonal"}, 150),
        (
            "trace(input_hess) <= 140*gamma**2/sigma**2",
            {"hessian": "identity", "eps": "zero", "assume": ["grad == 0"]},
            143,
        ),
    ],
)
def test_a_large_batch_refutes_and_replays(text, options, least, tmp_path):
    found = decide(text, **options, search=False, seconds=300)
    assert found.status.value == "refuted"
    assert found.witness["layer"]["m"] >= least
    (tmp_path / "witness.json").write_text(json.dumps(found.witness), encoding="utf-8")
    assert replay(tmp_path / "witness.json").certificate.refuted
    assert f"m = {least}: y = (" in found.evidence.summary
    assert len(found.evidence.summary) < 20 * least  # the matrix is not written out where it is a multiple of I


@pytest.mark.parametrize(
    ("text", "options"),
    [("trace(hess) <= m*l or m < 200", BOUNDED), ("trace(hess) <= m/4", {"loss": "logistic-bounds", "min_m": 200})],
)
def test_what_holds_at_every_size_is_proved(text, options):
    assert decide(text, **options, search=False, seconds=300).status.value == "proved"


def test_a_diagonal_hessian_is_applied_as_the_matrix_is():
    import numpy as np

    entries = [Fraction(2), Fraction(0), Fraction(-1, 3)]
    diagonal = tuple(tuple(c if i == j else Fraction(0) for j in range(3)) for i, c in enumerate(entries))
    full = tuple(tuple(c + (i != j) for j, c in enumerate(row)) for i, row in enumerate(diagonal))
    v = np.array([Fraction(1), Fraction(5), Fraction(3)], dtype=object)
    zero = (Fraction(0),) * 3
    applied = Instance(y=zero, grad=zero, hess=diagonal).arrays(Fraction)["hess"]
    assert applied(v).tolist() == (np.array(diagonal, dtype=object) @ v).tolist()
    assert Instance(y=zero, grad=zero, hess=full).arrays(Fraction)["hess"].tolist() == [list(row) for row in full]
