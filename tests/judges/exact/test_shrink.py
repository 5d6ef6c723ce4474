"""A counterexample is made small by changes to a whole block where no change to one number alone would do."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from bntheory.judges.exact.certificate import Certificate
from bntheory.judges.exact.shrink import minimise
from bntheory.judges.exact.witness import Instance

F = Fraction
CERTIFICATE = object.__new__(Certificate)  # what accepts decides here; nothing looks inside


@pytest.mark.parametrize("denominator", [1, 2, 3, 10])
@pytest.mark.parametrize("block", ["y", "grad"])
def test_a_block_is_put_on_a_grid_of_its_own(block: str, denominator: int) -> None:
    """Refutes only with all of the block on the grid, or as it was; the other block has a denominator of its own, which must stay."""
    on_grid = tuple(F(k, denominator) for k in (1, -4, 7))
    near = tuple(v + F(1, 997) for v in on_grid)
    other = {"y": "grad", "grad": "y"}[block]
    kept = (F(1, 7), F(3, 7), F(-2, 7))
    start = replace(Instance(y=kept, grad=kept, gamma=F(1), eps=F(0)), **{block: near, other: kept})

    def accept(x: Instance) -> tuple[Instance, Certificate] | None:
        fits = getattr(x, other) == kept and getattr(x, block) in (near, on_grid)
        return (x, CERTIFICATE) if fits and x.gamma == 1 and x.eps == 0 else None

    assert getattr(minimise(start, CERTIFICATE, accept, 500)[0], block) == on_grid


@pytest.mark.parametrize("wanted", [F(1, 2), F(1, 3), F(2, 5), F(3, 10), F(1, 100)])
def test_a_number_is_put_on_the_simplest_fraction_near_it(wanted: F) -> None:
    near = wanted + F(1, 10**6 + 3)
    start = Instance(y=(F(0), F(1)), grad=(F(0), F(0)), gamma=near)

    def accept(x: Instance) -> tuple[Instance, Certificate] | None:
        return (x, CERTIFICATE) if x.gamma in (near, wanted) else None

    assert minimise(start, CERTIFICATE, accept, 500)[0].gamma == wanted


def test_what_is_dropped_is_as_much_as_can_be() -> None:
    """Refutes wherever two entries of y differ: two entries of one digit, a zero among them, no gradient, no Hessian are the least."""
    start = Instance(
        y=(F(5, 3), F(7, 11), F(9), F(2)),
        grad=(F(1), F(2), F(3), F(4)),
        hess=tuple(tuple(F(i + j) for j in range(4)) for i in range(4)),
        gamma=F(3, 2),
        beta=F(1, 5),
        eps=F(2, 7),
    )

    def accept(x: Instance) -> tuple[Instance, Certificate] | None:
        return (x, CERTIFICATE) if len(set(x.y)) > 1 else None

    found, _ = minimise(start, CERTIFICATE, accept, 2000)
    assert found.m == 2
    assert 0 in found.y
    assert all(v.denominator == 1 and abs(v) < 10 for v in found.y)
    assert not any(found.grad)
    assert found.hess is None
    assert all(abs(v) <= 1 for v in (found.gamma, found.beta, found.eps))
