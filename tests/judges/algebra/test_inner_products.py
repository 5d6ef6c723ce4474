"""Everyday inequalities of inner products, for any vectors that the vocabulary can write; and their neighbours that are false.

The oracle is what is known of them on paper; a false one is off by a constant, or by a sign.
"""

from __future__ import annotations

import itertools

import pytest
import sympy as sp
from hypothesis import example, given
from hypothesis import strategies as st

from bntheory.claims.typed.expression import claim_of_expression
from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.calculus import _manifest_sign, calculate
from bntheory.judges.algebra.encode import formula_symbols, to_z3
from bntheory.judges.algebra.field import Field, Scalar
from bntheory.judges.algebra.gram import gram_problem
from bntheory.judges.algebra.inner_products import negation_over_inner_products
from bntheory.judges.algebra.solver import ask
from bntheory.judges.algebra.squares import without_roots
from bntheory.judges.decide import decide
from bntheory.layer import LayerDomain, le

VECTORS = {
    "free": ("u", "w"),
    "of the layer": ("grad", "y_hat"),
    "sums": ("(2*y_hat - grad/3)", "(u - mu*one)"),
    "through the layer": ("input_grad", "(u + y)"),
    "products": ("hess(u)", "hess(w)"),
}
TRUE = {
    "Cauchy-Schwarz": "dot({u}, {w}) <= sqrt(norm2({u}))*sqrt(norm2({w}))",
    "the triangle": "sqrt(norm2({u} + {w})) <= sqrt(norm2({u})) + sqrt(norm2({w}))",
    "the other side of it": "sqrt(norm2({u})) - sqrt(norm2({w})) <= sqrt(norm2({u} - {w}))",
    "a norm": "sqrt(norm2({u})) + norm2({w}) >= 0",
    "with room": "sqrt(norm2({u} + {w})) <= 1.25*sqrt(norm2({u})) + 1.25*sqrt(norm2({w}))",
}
FALSE = {
    "Cauchy-Schwarz": "dot({u}, {w}) <= 0.9*sqrt(norm2({u}))*sqrt(norm2({w}))",
    "the triangle": "sqrt(norm2({u} + {w})) <= 0.9*sqrt(norm2({u})) + sqrt(norm2({w}))",
}
OPTIONS = {"vectors": ["u", "w"], "search": False}


@pytest.mark.parametrize(("which", "name"), list(itertools.product(VECTORS, TRUE)))
def test_true_of_any_vectors(which, name):
    u, w = VECTORS[which]
    decided = decide(TRUE[name].format(u=u, w=w), **OPTIONS)
    assert decided.verdict.status.value == "proved", decided.evidence.summary
    assert decided.verdict.wherever == ()


@pytest.mark.parametrize("name", FALSE)
def test_false_with_too_small_a_constant(name):
    assert decide(FALSE[name].format(u="u", w="w"), vectors=["u", "w"]).verdict.status.value == "refuted"


BOUNDS = {
    "a contraction": ("dot(u, input_grad) <= gamma/sigma*sqrt(norm2(u))*sqrt(norm2(grad))", {"gamma": "positive"}),
    "a constant too small": ("dot(u, input_grad) <= 0.9*gamma/sigma*sqrt(norm2(u))*sqrt(norm2(grad))", {"gamma": "positive"}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "status"), [("a contraction", "proved"), ("a constant too small", "refuted")])
def test_the_layer_contracts_in_root_form(name, status):
    text, options = BOUNDS[name]
    assert decide(text, vectors=["u"], **options).verdict.status.value == status


SYMMETRIES = [
    "dot(u, hess(input_hess(w))) == dot(input_hess(hess(u)), w)",
    "dot(K(u), S(input_grad)) == dot(u, K(S(input_grad)))",
    "dot(hess(K(u)), w) == dot(u, K(hess(w)))",
]


@pytest.mark.parametrize("text", SYMMETRIES)
def test_operators_are_symmetric_through_one_another(text):
    decided = decide(text, vectors=["u", "w"], operators=["K:psd", "S"], search=False)
    assert decided.verdict.status.value == "proved", decided.evidence.summary


# In any semidefinite form: <p, K q>^2 <= <p, K p><q, K q>. The oracle is paper; a false one is off by a constant, or its operator is any.
FORMS = {
    "of sums": ("dot({p}, hess(u))**2 <= dot({p}, hess({p}))*dot(u, hess(u))", "psd", "proved"),
    "with room": ("dot({p}, hess(u))**2 <= 1.1*dot({p}, hess({p}))*dot(u, hess(u))", "psd", "proved"),
    "in root form": ("dot({p}, K(u)) <= sqrt(dot({p}, K({p})))*sqrt(dot(u, K(u)))", "any", "proved"),
    "itself": ("dot({p}, K({p})) >= 0", "any", "proved"),
    "constant too small": ("dot({p}, hess(u))**2 <= 0.9*dot({p}, hess({p}))*dot(u, hess(u))", "psd", "refuted"),
    "an operator of no sign": ("dot({p}, S(u))**2 <= dot({p}, S({p}))*dot(u, S(u))", "any", "refuted"),
    "another operator": ("dot({p}, K(u))**2 <= dot({p}, K({p}))*dot(u, hess(u))", "psd", "refuted"),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("p", ["(input_grad - 2*one)", "(y_hat + mu*grad)"])
@pytest.mark.parametrize("name", FORMS)
def test_cauchy_schwarz_in_a_semidefinite_form(name, p):
    text, hessian, status = FORMS[name]
    decided = decide(text.format(p=p), hessian=hessian, vectors=["u"], operators=["K:psd", "S"])
    assert decided.verdict.status.value == status, decided.evidence.summary


def test_the_jacobian_of_l1_is_not_taken_for_symmetric():
    text = "dot(u, jac(w)) == dot(jac(u), w)"
    found = {n: decide(text, vectors=["u", "w"], normaliser=n).status.value for n in ("batch", "l1")}
    assert found == {"batch": "proved", "l1": "refuted"}


def test_what_asks_more_than_inner_products_is_not_answered():
    with pytest.raises(OutsideVocabulary, match="trace"):
        negation_over_inner_products(lambda x: le(x.trace(x.hess), 1), None, LayerDomain())


NUMBERS = st.fractions(min_value=-3, max_value=3, max_denominator=4)
ROOTS = st.fractions(min_value=0, max_value=3, max_denominator=2)


@pytest.mark.long
@given(st.tuples(*[NUMBERS] * 6), st.tuples(ROOTS, ROOTS), st.sampled_from(["gt", "ge", "eq", "ne"]))
@example((-2, 1, 0, 0, 1, 0), (2, 0), "eq")  # r^2 - 2 = -r at r = 1; at r = 2 the squares alone agree
def test_without_roots_it_says_the_same(c, roots, op):
    """a + b r + c s + d r s + ... op 0 at rational r, s, against the form over r^2 and s^2 alone."""
    import z3

    field = Field()
    x, y = field.symbol("x", "nonnegative"), field.symbol("y", "nonnegative")
    r, s = x.sqrt(), y.sqrt()
    value = c[0] + c[1] * roots[0] + c[2] * roots[1] + c[3] * roots[0] * roots[1] + c[4] * roots[0] ** 2 + c[5]
    scalar: Scalar = r * c[1] + s * c[2] + r * s * c[3] + x * c[4] + (c[0] + c[5])
    plain = without_roots(field, (op, scalar.num))
    expected = {"gt": value > 0, "ge": value >= 0, "eq": value == 0, "ne": value != 0}[op]
    solver = z3.Solver()
    for symbol, root in ((x, roots[0]), (y, roots[1])):
        square = root * root
        solver.add(z3.Real(field.names[field.index(symbol)]) == z3.Q(square.numerator, square.denominator))
    solver.add(to_z3(field, plain))
    assert (solver.check() == z3.sat) is expected


@pytest.mark.parametrize("depth", range(1, 12))
def test_roots_are_squared_away_only_while_that_stays_short(depth):
    """Every root makes six atoms of one, so a tower of them is left as it is."""

    def atoms_of(formula):
        return sum(map(atoms_of, formula[1])) if formula[0] in ("and", "or") else 1

    field = Field()
    tower = field.symbol("x", "nonnegative")
    for _ in range(depth):
        tower = (tower + field.symbol("y", "nonnegative")).sqrt()
    plain = without_roots(field, ("gt", (tower - field.symbol("z")).num))
    assert atoms_of(plain) <= 6**4
    if depth <= 2:
        assert all(not (formula_symbols(plain) & {i}) for i in field.roots)


def test_a_sum_is_above_zero_if_a_part_is_and_none_is_below():
    p, n = sp.Symbol("p", positive=True), sp.Symbol("n", nonnegative=True)
    x = sp.Symbol("x", real=True)
    for value, sign in {p + n**2: True, n + n**3: False, x**2 + n: False, x**2 + p + 1: True, p - n: False}.items():
        assert (_manifest_sign(value) == 2) is sign, value
        assert (_manifest_sign(sp.Add(*(-t for t in sp.Add.make_args(value)), evaluate=False)) == -2) is sign


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("dot(u, hess(u)) <= 2*norm2(u)", True),
        ("dot(u, hess(u)) >= -2*norm2(u)", True),
        ("dot(u, hess(u)) <= 1.99*norm2(u)", False),
        ("norm2(hess(u)) <= 4*norm2(u)", True),
        ("norm2(hess(u)) <= 3.99*norm2(u)", False),
        ("dot(w, hess(u)) <= norm2(u) + norm2(w)", True),
        ("dot(w, hess(u)) <= norm2(u) + 0.99*norm2(w)", False),
    ],
)
def test_what_the_bound_on_a_hessian_gives_over_inner_products(text, true):
    """||H|| <= 2: |<u, H u>| <= 2 |u|^2, |H u|^2 <= 4 |u|^2, <w, H u> <= 2 |u| |w| <= |u|^2 + |w|^2; and none of them with less."""
    domain = LayerDomain(vectors=("u", "w"), smoothness="2")
    claim = claim_of_expression(text, domain=domain)
    problem = gram_problem(calculate(claim.check, claim.assume, domain))
    answers = {ask(problem.field, problem.formulas(size), 20_000).answer for size in (2, 3)}
    assert ("unsat" in answers) is true
    field, formulas = negation_over_inner_products(claim.check, claim.assume, domain)
    assert (ask(field, formulas, 20_000).answer == "unsat") is true


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("norm2(e@case + f@case + g@case) >= 3", True),
        ("norm2(e@case + f@case + g@case) >= 3.01", False),
        ("norm2(e@case - f@case) == 2 or e@case == f@case", True),
        ("dot(e@case, f@case)*dot(f@case, g@case) <= dot(e@case, g@case)", True),
        ("dot(e@case, f@case) <= dot(f@case, g@case)", False),
        ("norm2(2*e@case) == 1", False),
        ("norm2(gamma*e@case) == 1", False),
    ],
)
def test_one_example_is_another_one_or_not(text, true):
    domain = LayerDomain(vectors=("e@case", "f@case", "g@case"))
    claim = claim_of_expression(text, domain=domain)
    field, formulas = negation_over_inner_products(claim.check, claim.assume, domain)
    assert (ask(field, formulas, 20_000).answer == "unsat") is true


def test_a_normal_form_of_many_numbers_is_not_looked_for():
    """Twelve vectors have 78 inner products, and to factor their sum took a minute."""
    vectors = tuple("abcdefghijkl")
    claim = claim_of_expression(f"norm2({' + '.join(vectors)}) >= 0", domain=LayerDomain(vectors=vectors))
    with pytest.raises(OutsideVocabulary, match="between 78 symbols"):
        calculate(claim.check, claim.assume, claim.domain)
