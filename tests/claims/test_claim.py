"""Claims as data: ids, sources, domains, the registry, and relations that no judge could misread."""

from __future__ import annotations

import pytest

from bntheory import LayerDomain, Source, all_of, any_of, claim, eq, ge, iff, implies, le, lt, registry
from bntheory.claims.claim import Claim, Registry, collecting, readings
from bntheory.layer.relations import AllOf, AnyOf, Relation, as_statement, atoms, negate


def make(claim_id="mine.one", **rest):
    return Claim(claim_id, rest.pop("kind", "layer"), Source("mine", ""), "x", lambda layer: le(0, 1), **rest)


@pytest.mark.parametrize("claim_id", ["", "one", "Mine.one", "mine one", "mine.", ".one", "mine..one", "mine.ünder"])
def test_malformed_ids_are_refused(claim_id):
    with pytest.raises(ValueError, match="id"):
        make(claim_id)


def test_ids_are_unique_and_unknown_ones_get_a_hint():
    claims = Registry()
    claims.add(make())
    with pytest.raises(ValueError, match="is taken"):
        claims.add(make())
    with pytest.raises(ValueError, match=r"did you mean mine\.one"):
        claims["mine.onne"]


def test_domain_belongs_to_layer_claims():
    with pytest.raises(ValueError, match="belong to layer claims"):
        make(kind="dynamics", domain=LayerDomain())
    with pytest.raises(ValueError, match="kind"):
        make(kind="wish")


def test_collecting_leaves_the_printed_claims_alone():
    before = len(registry())
    with collecting(Registry()) as mine:

        @claim("mine.two", statement="x")
        def two(layer):
            return le(0, 1)

    assert [c.id for c in mine] == ["mine.two"]
    assert len(registry()) == before


def test_readings_of_one_statement_are_claims_in_the_order_written():
    with collecting(Registry()) as mine:

        @readings(claim("mine.two", statement="x"), claim("mine.one", statement="x", domain=LayerDomain(eps="zero")))
        def same(layer):
            return le(0, 1)

    assert [(c.id, c.check) for c in mine] == [("mine.two", same), ("mine.one", same)]
    assert [c.domain.eps for c in mine] == ["any", "zero"]


def test_every_repair_points_at_a_claim():
    claims = registry()
    assert [c.id for c in claims if c.repairs and c.repairs not in claims] == []


def test_every_claim_says_where_it_was_printed_and_how_it_was_read():
    for c in registry():
        assert c.statement.strip()
        assert c.id.startswith(c.source.key + ".") or c.source.key in c.id, c.id
        assert c.source.seen in ("seen", "second hand", "recalled", "own")


A, B = le(1, 2), lt(3, 4)


def truth(statement):
    if isinstance(statement, AllOf):
        return all(map(truth, statement.parts))
    if isinstance(statement, AnyOf):
        return any(map(truth, statement.parts))
    left, right = statement.left, statement.right
    return {"le": left <= right, "lt": left < right, "eq": left == right}[statement.op]


@pytest.mark.parametrize("a", [0, 1, 2])
@pytest.mark.parametrize("b", [0, 1, 2])
def test_negation_implication_and_equivalence_are_classical(a, b):
    for relation in (le(a, b), lt(a, b), eq(a, b), ge(a, b)):
        assert truth(negate(relation)) is not truth(relation)
        for other in (le(b, 1), eq(b, 2)):
            assert truth(implies(relation, other)) is (not truth(relation) or truth(other))
            assert truth(iff(relation, other)) is (truth(relation) is truth(other))
            assert truth(negate(all_of(relation, other))) is not truth(all_of(relation, other))


@pytest.mark.parametrize(
    "joined",
    [all_of, any_of, lambda: all_of(A, True), lambda: any_of([A, B]), lambda: negate(None), lambda: implies(True, A), lambda: implies(A, 3)],
)  # fmt: skip
def test_only_relations_are_joined_and_at_least_one(joined):
    with pytest.raises(TypeError, match="takes relations such as le"):
        joined()


def test_a_list_is_a_conjunction_and_atoms_come_in_order():
    assert as_statement([A, B]) == all_of(A, B)
    assert list(atoms(all_of(A, implies(B, A)))) == [A, Relation("le", 4, 3), A]
    with pytest.raises(TypeError, match="a claim returns"):
        as_statement([A, True])  # type: ignore[list-item]
