"""Implications from and to an equality of vectors: in symbols, in exact numbers and in floats.

Two oracles: the truth of each statement, which is plain linear algebra, and a direct evaluation of the negation at given vectors.
"""

from __future__ import annotations

import numpy as np
import pytest

from bntheory import LayerDomain
from bntheory.claims.claim import Claim, Source
from bntheory.judges.algebra import judge as algebra
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.witness import Witness
from bntheory.judges.search import judge as search
from bntheory.layer import eq, iff, implies
from bntheory.layer.relations import Relation, negate

U_V = LayerDomain(vectors=("u", "v"))


def pair(layer):
    return layer.vector("u"), layer.vector("v")


def same_norm(layer):
    u, v = pair(layer)
    return implies(eq(u, v), eq(layer.norm2(u), layer.norm2(v)))


def twice_the_norm(layer):
    u, v = pair(layer)
    return implies(eq(u, v), eq(layer.norm2(u), 2 * layer.norm2(v)))


def difference_zero(layer):
    u, v = pair(layer)
    return implies(eq(u - v, 0), eq(layer.dot(u, layer.grad), layer.dot(v, layer.grad)))


def same_and_no_distance(layer):
    u, v = pair(layer)
    return iff(eq(u, v), eq(layer.norm2(u - v), 0))


def never_equal(layer):
    return negate(eq(*pair(layer)))


def hessian_sees_it(layer):
    u, v = pair(layer)
    return implies(eq(layer.hess(u), layer.hess(v)), eq(layer.dot(u, layer.hess(u)), layer.dot(v, layer.hess(v))))


def hessian_is_injective(layer):
    u, v = pair(layer)
    return implies(eq(layer.hess(u), layer.hess(v)), eq(u, v))


CLAIMS = {
    same_norm: True,
    twice_the_norm: False,
    difference_zero: True,
    same_and_no_distance: True,
    never_equal: False,
    hessian_sees_it: True,
    hessian_is_injective: False,
}


def claim(check):
    return Claim(f"mine.{check.__name__.replace('_', '-')}", "layer", Source("mine", ""), "", check, U_V)


@pytest.mark.long
@pytest.mark.parametrize("check", CLAIMS, ids=lambda f: f.__name__)
def test_algebra_and_search_know_what_is_true(check):
    truth = CLAIMS[check]
    decided = algebra(claim(check))
    assert decided.finding == ("proved" if truth else "refuted")
    attacked = search(claim(check), "quick", 0, "cpu")
    assert attacked.finding == ("survives" if truth else "refuted"), attacked.summary
    for evidence in (decided, attacked):
        if not truth:
            witness = Witness.from_json(evidence.details["witness"])
            assert certify(claim(check), witness.instance).refuted


@pytest.mark.parametrize("kind", ["float64", "object", "torch"])
def test_the_negation_in_arrays_is_that_the_squared_distance_is_positive(kind):
    u, v = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 6.0]])
    if kind == "object":
        u, v = u.astype(object), v.astype(object)
    if kind == "torch":
        import torch

        u, v = torch.from_numpy(u), torch.from_numpy(v)
    denied = negate(eq(u, v))
    assert isinstance(denied, Relation)
    assert denied.op == "lt"
    assert np.asarray(denied.left).astype(float).tolist() == [[0.0], [0.0]]
    assert np.asarray(denied.right).astype(float).tolist() == [[0.0], [4.0]]
    again = negate(denied)
    assert again.op == "eq"
    assert again.left is u
    assert again.right is v


def test_a_vector_against_a_number_is_refused():
    with pytest.raises(TypeError, match="vector is compared with a scalar"):
        negate(eq(np.ones((2, 3)), 1.0))
