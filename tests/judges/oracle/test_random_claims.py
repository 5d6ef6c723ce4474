"""No proof falls, no witness fails, hardly anything stays open: random typed claims against an oracle that shares no code with the layer.

The oracle (``jet_layer``, ``read_claim``, ``attacks``) differentiates the definition of batch normalisation by jets, in mpmath's digits, and
reads the claims by a parser and a three-valued logic of its own. ``make attack`` runs the long test and prints its table.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from attacks import domain_fault, verdict_at_witness
from claim_shapes import SHAPES, statement
from file_claims import claim_in_python, renamed
from random_claims import command, judged, options, table, undecided, witness_layer

from bntheory.judges.check import judge_claim
from bntheory.judges.decide import decide


@pytest.mark.parametrize("seeds", [range(10), pytest.param(range(10, 60), marks=pytest.mark.long)], ids=["few", "more"])
def test_a_fixed_sample_of_claims(seeds):
    assert len(SHAPES) >= 25
    outcomes = list(judged(seeds, layers=40, rounds=1, processes=1))
    assert not [o for o in outcomes if o.wrong], table(outcomes)
    assert len(undecided(outcomes)) < 3, table(outcomes)


@pytest.mark.slow
def test_a_function_of_a_file_is_judged_as_the_typed_claim():
    """Python functions that do what the text says, with free names such as 'grad', '<g, 1>' and ''."""
    decided = 0
    for seed in range(len(SHAPES)):
        _, s = statement(seed)
        if "max_eig" in s.text or "min_eig" in s.text:
            continue  # in a file these are written with a declared free vector
        names = renamed(s, np.random.default_rng(seed))
        verdict = judge_claim(claim_in_python(s, names), judges=("algebra",))
        typed = decide(s.text, **options(s)).verdict
        both = {verdict.status.value, typed.status.value}
        assert len(both - {"unknown", "survives"}) <= 1, f"{both}: {command(s)}, {names}"
        decided += both <= {"proved", "refuted", "vacuous"}
        if verdict.status.value == "refuted":
            block, old = witness_layer(verdict), {new: name for name, new in names.items()}
            free = {what: {old[k]: v for k, v in block[what].items()} for what in ("scalars", "vectors", "operators")}
            assert domain_fault(s, {**block, **free}) is None
            assert verdict_at_witness(s, {**block, **free}) == "refuted"
    assert decided > 0.9 * len(SHAPES)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_thousand_claims():
    outcomes = []
    for one in judged(range(1000, 3000), layers=300, rounds=4, processes=len(os.sched_getaffinity(0))):
        outcomes.append(one)
        if one.wrong or len(outcomes) % 100 == 0:
            print(f"{len(outcomes)} claims, {len(undecided(outcomes))} open", one if one.wrong else "", flush=True)
    print(table(outcomes))
    assert not [o for o in outcomes if o.wrong], table(outcomes)
    assert len(undecided(outcomes)) < 40, table(outcomes)
