"""Strong Kleene logic against its truth tables, written out here, and against brute force over what an undefined part may be."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bntheory.layer.relations import AllOf, AnyOf, Relation, eq, implies, le, lt, negate
from bntheory.layer.three_valued import conjuncts, false_where, true_where, undefined_where, value_of

VALUES = (True, False, None)
MISSING = "no value"
AND = {
    (True, True): True, (True, False): False, (True, None): None, (False, False): False, (False, None): False, (None, None): None,
}  # fmt: skip
TREES = st.recursive(
    st.sampled_from(VALUES),
    lambda parts: st.builds(
        lambda kind, inside: kind(tuple(inside)), st.sampled_from([AllOf, AnyOf]), st.lists(parts, max_size=3)
    ),
    max_leaves=8,
)


def atom(x):
    return x


def test_conjunction_and_disjunction_have_the_tables_of_kleene():
    for a, b in itertools.product(VALUES, repeat=2):
        expected = AND.get((a, b), AND.get((b, a)))
        assert value_of(AllOf((a, b)), atom) is expected
        flipped = [None if x is None else not x for x in (a, b)]
        dual = AND.get(tuple(flipped), AND.get(tuple(reversed(flipped))))
        assert value_of(AnyOf((a, b)), atom) is (None if dual is None else not dual)


def completions(tree):
    """The classical values that the tree takes when each undefined atom is one or the other."""
    if isinstance(tree, (AllOf, AnyOf)):
        join = all if isinstance(tree, AllOf) else any
        return {join(choice) for choice in itertools.product(*map(completions, tree.parts))}
    return {True, False} if tree is None else {tree}


@given(TREES)
def test_a_value_is_what_every_completion_agrees_on(tree):
    possible = completions(tree)
    assert value_of(tree, atom) is (possible.pop() if len(possible) == 1 else None)


@given(TREES, st.integers(1, 6))
def test_a_statement_is_the_conjunction_of_its_conjuncts(tree, most):
    parts = conjuncts(tree, most)
    assert value_of(AllOf(tuple(parts)), atom) is value_of(tree, atom)
    assert len(parts) <= most


def test_conjuncts_are_found_below_alternatives():
    assert conjuncts(AnyOf((1, AllOf((2, AllOf((3, 4)))))), 3) == [AnyOf((1, i)) for i in (2, 3, 4)]
    assert len(conjuncts(AnyOf((1, AllOf((2, AllOf((3, 4)))))), 2)) == 1


@given(TREES)
def test_exactly_one_of_true_false_and_undefined(tree):
    is_true = true_where(tree, lambda a: a is True, all, any)
    is_false = false_where(tree, lambda a: a is False, all, any)
    is_undefined = undefined_where(tree, lambda a: a is True, lambda a: a is False, lambda a: a is None, all, any)
    assert is_true + is_false + is_undefined == 1


def kleene_not(value):
    return None if value is None else not value


def test_a_negated_statement_is_undefined_where_the_statement_is():
    """Atoms over numbers, one of which is missing: the negation of each is the other value or undefined as well."""

    def of(relation: Relation):
        a, b = relation.left, relation.right
        if MISSING in (a, b):
            return None
        return {"le": a <= b, "lt": a < b, "eq": a == b}[relation.op]

    pairs = list(itertools.product((0, 1), repeat=2))
    for make, (a, b) in itertools.product((le, lt, eq), pairs):
        assert value_of(negate(make(a, b)), of) is kleene_not(value_of(make(a, b), of))
    for make in (le, lt, eq):
        for sides in ((MISSING, 1), (1, MISSING)):
            assert value_of(negate(make(*sides)), of) is None
            assert value_of(implies(make(*sides), le(0, 1)), of) is True
            assert value_of(implies(make(*sides), le(1, 0)), of) is None
            assert value_of(implies(le(1, 0), make(*sides)), of) is True
