"""Python's operators in a claim: the same answer in every world, right or refused with the word to write."""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bntheory import LayerDomain, batch_mean, centre, eq, ge, implies, le, lt, negate, sqrt, standardise
from bntheory.claims.claim import Claim, Source
from bntheory.claims.typed.transcript import _Record
from bntheory.errors import ClaimError
from bntheory.judges.algebra.frame import Frame
from bntheory.judges.exact.balls import Ball
from bntheory.judges.exact.certificate import certify
from bntheory.judges.exact.radicals import Radical
from bntheory.judges.exact.witness import Instance
from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.relations import AllOf
from bntheory.layer.symbolic import SymbolicLayer
from bntheory.layer.view import state

F = Fraction


def claim_of(check: Any, domain: LayerDomain | None = None) -> Claim:
    return Claim("test.view", "layer", Source("test", ""), "", check, domain or LayerDomain())


DOMAIN = LayerDomain(scalars={"a": "any"}, vectors=("u",), operators={"K": "any"})
HERE = Instance(
    y=(F(0), F(0), F(3)),
    grad=(F(1), F(-1), F(2)),
    gamma=F(2),
    eps=F(2),
    scalars={"a": F(3)},
    vectors={"u": (F(1), F(0), F(-1))},
    operators={"K": ((F(1), F(0), F(0)), (F(0), F(2), F(0)), (F(0), F(0), F(3)))},
)  # var = 2, sigma = 2, mu = 1, y_hat = (-1/2, -1/2, 1)


def numbers(kind: Any) -> BatchNormLayer:
    return BatchNormLayer(**HERE.arrays(kind))


def floats(convert: Any) -> BatchNormLayer:
    def to(x: Any) -> Any:
        return convert([[float(v) for v in row] if isinstance(row, tuple) else float(row) for row in x])

    free = {"a": 3.0, "u": to(HERE.vectors["u"]), "K": to(HERE.operators["K"])}
    return BatchNormLayer(to(HERE.y), to(HERE.grad), gamma=2.0, eps=2.0, free=free)


WORLDS = {
    "polynomials": lambda: Frame(DOMAIN),
    "symbols": lambda: SymbolicLayer(DOMAIN),
    "balls": lambda: numbers(Ball),
    "radicals": lambda: numbers(Radical),
    "numpy": lambda: floats(np.array),
    "torch": lambda: floats(lambda x: torch.tensor(x, dtype=torch.float64)),
    "record": _Record,
}

REFUSED: dict[str, tuple[Any, str]] = {
    # what a claim may try, and the word that the error has to name
    "if ==": (lambda x: x.gamma == 0, "eq(a, b)"),
    "!=": (lambda x: x.gamma != 0, "negate(eq(a, b))"),
    "<": (lambda x: x.gamma < 0, "lt(a, b)"),
    "reflected <": (lambda x: x.gamma > 0, "lt(a, b)"),
    "chain": (lambda x: 0 < x.gamma < 1, "all_of(...)"),
    "batch size": (lambda x: x.m == 2, "eq(a, b)"),
    "vectors ==": (lambda x: x.y == x.grad, "eq(a, b)"),
    "truth": (lambda x: 1 if x.eps else 0, "implies("),
    "and": (lambda x: x.eps and x.gamma, "all_of(...)"),
    "not": (lambda x: not x.eps, "negate(...)"),
    "truth of a vector": (lambda x: bool(x.grad), "implies("),
    "in": (lambda x: x.gamma in [0, 1], "eq(a, b)"),
    "in a set": (lambda x: x.gamma in {0, 1}, "eq(a, b)"),
    "a key": (lambda x: {x.gamma: 1}, "eq(a, b)"),
    "0 in a vector": (lambda x: 0 in x.grad, "e@case"),
    "max": (lambda x: max(x.gamma, 0), "all_of(le(a, c), le(b, c))"),
    "min": (lambda x: min(x.gamma, x.beta), "all_of("),
    "sorted": (lambda x: sorted([x.gamma, x.beta]), "le(a, b)"),
    "abs": (lambda x: abs(x.gamma), "all_of(le(x, b), le(-x, b))"),
    "np.abs": (lambda x: np.abs(x.gamma), "|x| <= b is"),
    "np.maximum": (lambda x: np.maximum(x.gamma, 0), "max(a, b) <= c is"),
    "np.exp": (lambda x: np.exp(x.gamma), "+ - * / **"),
    "np.less": (lambda x: np.less(x.gamma, 1), "np.less"),
    "np.linalg.norm": (lambda x: np.linalg.norm(x.grad), "layer.norm2(v)"),
    "np.mean": (lambda x: np.mean(x.grad), "batch_mean(v)"),
    "np.max": (lambda x: np.max([x.gamma, x.beta]), "numpy function"),
    "np.dot": (lambda x: np.dot(x.y, x.grad), "layer.dot(u, v)"),
    "an array": (lambda x: np.array([1.0, 2.0, 3.0]) * x.grad, "LayerDomain(vectors=...)"),
    "an array to the right": (lambda x: x.grad + np.ones(3), "s*layer.one"),
    "torch.sqrt": (lambda x: torch.sqrt(x.gamma), "torch.sqrt"),
    "a tensor": (lambda x: torch.ones(3) * x.grad, "layer.norm2(v)"),
    "math.sqrt": (lambda x: math.sqrt(x.var), "from bntheory import sqrt"),
    "math.exp": (lambda x: math.exp(x.var), "float() asks for a number"),
    "math.floor": (lambda x: math.floor(x.var), "floor() asks for a number"),
    "float": (lambda x: float(x.m), "float() asks for a number"),
    "int": (lambda x: int(x.m), "int() asks for a number"),
    "round": (lambda x: round(x.var), "round() asks for a number"),
    "range": (lambda x: list(range(x.m)), "index() asks for a number"),
    "divmod": (lambda x: divmod(x.m, 2), "no operation of real numbers"),
    "//": (lambda x: x.m // 2, "no operation of real numbers"),
    "%": (lambda x: x.m % 2, "no operation of real numbers"),
    "@": (lambda x: x.y @ x.grad, "layer.dot(u, v)"),
    "H @ v": (lambda x: x.hess @ x.grad, "layer.hess(v)"),
    "&": (lambda x: x.gamma & 1, "all_of(...)"),
    "~": (lambda x: ~x.gamma, "negate"),
    "index": (lambda x: x.grad[0], "e@case"),
    "len": (lambda x: len(x.grad), "layer.dot(layer.one, v)"),
    "iteration": (lambda x: list(x.grad), "single entries"),
    "unpacking": (lambda x: operator.itemgetter(0, 1)([*x.y]), "single entries"),
    "a sum of entries": (lambda x: sum(x.grad), "layer.dot(layer.one, v) the sum"),
    "scalar + vector": (lambda x: x.gamma + x.grad, "s*layer.one"),
    "vector - scalar": (lambda x: x.y - x.mu, "s*layer.one"),
    "vector + number": (lambda x: x.y + 1, "s*layer.one"),
    "vector * vector": (lambda x: x.y * x.grad, "layer.dot(u, v)"),
    "vector / vector": (lambda x: x.y / x.grad, "layer.dot(u, v)"),
    "scalar / vector": (lambda x: x.m / x.grad, "layer.norm2(v)"),
    "vector ** 2": (lambda x: x.grad**2, "layer.norm2(v)"),
    "sqrt of a vector": (lambda x: sqrt(x.grad), "no .sqrt"),
    "** with a part": (lambda x: x.gamma**x.m, "whole numbers or halves"),
    "2 ** part": (lambda x: 2**x.m, "whole numbers or halves"),
    "** 1/3": (lambda x: x.gamma ** F(1, 3), "whole numbers or halves"),
    "** 1000": (lambda x: x.gamma**1000, "up to 64"),
    "a truth value": (lambda x: x.gamma * True, "implies(hypothesis, conclusion)"),
    "a string": (lambda x: x.gamma + "1", "neither a number nor a part"),
    "None": (lambda x: x.gamma + None, "neither a number nor a part"),
    "complex": (lambda x: x.gamma * 1j, "neither a number nor a part"),
    "nan": (lambda x: x.gamma * math.nan, "only finite numbers"),
    "infinity": (lambda x: x.gamma * -math.inf, "only finite numbers"),
    "a function is no number": (lambda x: x.hess * 2, "layer.hess(v)"),
    "hess of a scalar": (lambda x: x.hess(x.gamma), "takes a vector"),
    "dot of one": (lambda x: x.dot(x.grad), "takes 2 arguments"),
    "norm2 of a number": (lambda x: x.norm2(3), "takes a vector"),
    "an unknown word": (lambda x: x.norm(x.grad), "sqrt(norm2(v))"),
    "a misspelt word": (lambda x: x.input_grd, "input_grad"),
    "a helper": (lambda x: x.sqrt(x.var), "from bntheory import sqrt"),
    "a method of arrays": (lambda x: x.grad.mean(), "batch_mean(v)"),
    "the norm of an array": (lambda x: x.grad.norm(), "sqrt(norm2(v))"),
    "setting": (lambda x: setattr(x, "gamma", 1), "cannot be set"),
    "an undeclared scalar": (lambda x: x.scalar("b"), "LayerDomain(scalars=...)"),
    "an undeclared vector": (lambda x: x.vector("a"), "LayerDomain(vectors=...)"),
    "an undeclared operator": (lambda x: x.operator("u"), "LayerDomain(operators=...)"),
    "le of vectors": (lambda x: le(x.y, x.grad), "vectors can only be equal"),
    "eq of a vector and 1": (lambda x: eq(x.y, 1), "norm2(v)"),
    "a side that is text": (lambda x: le(x.gamma, "1"), "a side of le(a, b) is a str"),
    "a side that is a truth value": (lambda x: le(x.gamma, True), "truth value"),
}


def stated(attempt: Any) -> Any:
    """A claim that tries something, swallows what it raises and says something else that is true."""

    def function(layer: Any) -> Any:
        try:
            made = attempt(layer)
            return made if attempt in SIDES else le(0, 1)
        except Exception:
            return le(0, 1)

    return function


SIDES = [attempt for name, (attempt, _) in REFUSED.items() if name.startswith(("le ", "eq ", "a side"))]


@pytest.mark.parametrize("world", WORLDS)
def test_what_has_no_meaning_is_refused_in_every_world_and_cannot_be_swallowed(world):
    for name, (attempt, word) in REFUSED.items():
        with pytest.raises(ClaimError) as error:
            state(stated(attempt), WORLDS[world](), DOMAIN)
        assert word in str(error.value), (name, str(error.value))
        assert "test_view.py:" in str(error.value), name


TRUE: dict[str, Any] = {
    # what means something, as a claim that is true at HERE
    "numpy numbers": lambda x: eq(np.float64(2) * x.gamma, x.gamma + np.int64(2)),
    "a tensor with one entry": lambda x: eq(x.gamma * torch.tensor(2), 4),
    "np.sqrt": lambda x: eq(np.sqrt(x.var + x.eps), x.sigma),
    "np.square": lambda x: eq(np.square(x.gamma), 4),
    "np.power": lambda x: eq(np.power(x.gamma, 2), x.gamma**2),
    "np.add of vectors": lambda x: eq(np.add(x.y, x.y), 2 * x.y),
    "sum of vectors": lambda x: eq(sum([x.y, x.grad]), x.y + x.grad),
    "sum of scalars": lambda x: eq(sum([x.gamma, x.eps]), 4),
    "a half power": lambda x: eq((x.var + x.eps) ** 0.5, x.sigma),
    "three halves": lambda x: eq((x.var + x.eps) ** 1.5, x.sigma**3),
    "a float that is whole": lambda x: eq(x.gamma**2.0, 4),
    "a negative power": lambda x: eq(x.gamma**-2, F(1, 4)),
    "one tenth": lambda x: eq(0.1 * x.gamma + 0.9 * x.gamma, x.gamma),
    "a third": lambda x: eq((1 / 3) * x.gamma * 3, x.gamma),
    "a small decimal": lambda x: eq(x.gamma * 1e-7 * 10**7, x.gamma),
    "the batch size": lambda x: eq(x.m / 2, 1.5),
    "the root of a constant": lambda x: eq(sqrt(x.m + 1), 2),
    "an irrational root": lambda x: eq(sqrt(x.m) * sqrt(x.m), 3),
    "helpers": lambda x: [eq(standardise(x, x.y), x.y_hat), eq(centre(x, x.y), x.y - batch_mean(x, x.y) * x.one)],
    "minus": lambda x: [eq(0 - x.y, -(+x.y)), eq(1 - x.gamma, -(x.gamma - 1))],
    "in place": lambda x: eq(in_place(x.gamma), 2 * x.gamma + 1),
    "in place on vectors": lambda x: [eq(in_place(x.grad, x.one), 2 * x.grad + x.one), eq(x.dot(x.one, x.grad), 2)],
    "a generator": lambda x: (le(0, x.norm2(v)) for v in (x.y, x.grad)),
    "a case distinction": lambda x: implies(eq(x.m, 2), eq(x.input_grad, 0)),
    "not equal vectors": lambda x: negate(eq(x.y, x.grad)),
    "free quantities": lambda x: eq(x.dot(x.vector("u"), x.operator("K")(x.vector("u"))), x.scalar("a") + 1),
    "a function as a value": lambda x: eq((lambda h: h(x.one))(x.hess), x.hess(x.one)),
}


def in_place(value: Any, one: Any = 1) -> Any:
    value *= 2
    value += one
    return value


@pytest.mark.parametrize("name", TRUE)
def test_what_has_a_meaning_means_it_in_every_world(name):
    for world, make in WORLDS.items():
        state(TRUE[name], make(), DOMAIN)
        if world in ("numpy", "torch"):
            parts = state(all_together(TRUE[name]), make(), DOMAIN).parts
            for part in parts:
                if part.op == "eq":
                    assert np.allclose(part.left, part.right, rtol=1e-14, atol=1e-14), (world, name)
    certificate = certify(claim_of(TRUE[name], domain=DOMAIN), HERE)
    assert certificate.why == "the claim holds here", certificate.why


def all_together(function: Any) -> Any:
    def together(layer: Any) -> Any:
        returned = function(layer)
        parts = list(returned) if isinstance(returned, (list,)) or hasattr(returned, "__next__") else [returned]
        return AllOf(tuple(part for part in parts if hasattr(part, "op")))

    return together


def test_a_value_kept_from_another_call_is_refused():
    kept: list[Any] = []

    def hoarding(layer: Any) -> Any:
        kept.append(layer.gamma)
        return le(kept[0], layer.gamma)

    state(hoarding, WORLDS["numpy"](), DOMAIN)
    with pytest.raises(ClaimError, match="kept from another call"):
        state(hoarding, WORLDS["polynomials"](), DOMAIN)
    vectors: list[Any] = []
    state(lambda x: [vectors.append(x.grad), le(0, 1)][1], WORLDS["numpy"](), DOMAIN)
    for mixed in (
        lambda x: le(x.gamma + kept[0], x.eps),
        lambda x: le(0, x.norm2(x.y * kept[0])),
        lambda x: le(0, x.norm2(x.y + vectors[0])),
        lambda x: le(0, x.dot(x.y, vectors[0])),
    ):
        with pytest.raises(ClaimError, match="kept from another call"):
            state(mixed, WORLDS["numpy"](), DOMAIN)


RETURNED = {
    "nothing": (lambda x: None, "None.*return"),
    "a truth value": (lambda x: True, "truth value"),
    "text": (lambda x: "gamma > 0", "str"),
    "a scalar": (lambda x: x.gamma, "a scalar"),
    "an empty list": (lambda x: [], "empty"),
    "a list with a truth value": (lambda x: [le(0, 1), True], "truth value"),
    "a dictionary": (lambda x: {"a": le(0, 1)}, "dict"),
    "an exhausted generator": (lambda x: iter(()), "empty"),
    "a class": (lambda x: int, "type"),
}


@pytest.mark.parametrize("name", RETURNED)
def test_what_is_no_statement_is_said_with_the_line(name):
    function, words = RETURNED[name]
    with pytest.raises(ClaimError, match=rf"{words}[\s\S]*test_view.py:\d+"):
        state(function, WORLDS["numpy"](), DOMAIN)


def test_division_by_a_constant_zero_is_undefined_and_no_error():
    """m - 2 is a number where the batch size is one, and zero at m = 2."""
    two = Instance(y=(F(0), F(1)), grad=(F(1), F(-1)))
    claim = claim_of(lambda x: ge(1 / (x.m - 2), 0))
    assert not certify(claim, two).refuted
    assert not certify(claim, HERE_PLAIN).refuted
    assert certify(claim_of(lambda x: lt(1 / (x.m - 2), 1)), HERE_PLAIN).refuted


HERE_PLAIN = Instance(y=HERE.y, grad=HERE.grad)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_means_a_fraction_that_rounds_to_it(x):
    from bntheory.layer.constants import exact

    assert float(exact(x)) == x
    assert exact(-x) == -exact(x)


@given(st.integers(-(10**6), 10**6), st.integers(0, 15))
def test_a_decimal_means_itself(digits, places):
    from bntheory.layer.constants import exact

    assert exact(float(f"{digits}e-{places}")) == F(digits, 10**places)
