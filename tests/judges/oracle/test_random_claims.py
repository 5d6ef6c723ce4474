"""No proof falls, no witness fails, hardly anything stays open: random typed claims against an oracle that shares no code with the layer.

The oracle (``jet_layer``, ``read_claim``, ``attacks``) differentiates the definition of batch normalisation by jets, in mpmath's digits, and
reads the claims by a parser and a three-valued logic of its own. ``make attack`` runs the long test and prints its table.
"""

from __future__ import annotations

import os

import pytest
from claim_shapes import SHAPES
from random_claims import judged, table, undecided


@pytest.mark.xfail(reason="definedness is not yet a condition of its atom; some shapes stay open")
def test_a_fixed_sample_of_claims():
    assert len(SHAPES) >= 25
    outcomes = list(judged(range(200), layers=60, rounds=2, processes=1))
    assert not [o for o in outcomes if o.wrong], table(outcomes)
    assert len(undecided(outcomes)) < 4, table(outcomes)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_thousand_claims():
    outcomes = list(judged(range(1000, 3000), layers=300, rounds=4, processes=len(os.sched_getaffinity(0))))
    print(table(outcomes))
    assert not [o for o in outcomes if o.wrong], table(outcomes)
    assert len(undecided(outcomes)) < 40, table(outcomes)
