"""The generated part of the pages: faithful to the records, silent about what was written by hand, and quick to call itself stale."""

from __future__ import annotations

import json

import pytest

from bntheory.claims.claim import Claim, Registry, Source
from bntheory.errors import UserError
from bntheory.judges.check import judge_claim
from bntheory.layer import LayerDomain, eq, le
from bntheory.report.papers import BEGIN, END, Records, record_of, stale, write_pages


def orthogonal(layer):
    return eq(layer.dot(layer.y, layer.input_grad), 0)


def small(layer):
    return le(layer.norm2(layer.grad), 1)


@pytest.fixture
def claims():
    found = Registry()
    found.add(
        Claim(
            "one2000.true",
            "layer",
            Source("one2000", "Theorem 1"),
            "a = 0",
            orthogonal,
            LayerDomain(eps="zero"),
        )
    )
    found.add(
        Claim("one2000.false", "layer", Source("one2000", "Theorem 2", seen="recalled"), "b \\le 1", small)
    )
    found.add(
        Claim(
            "two2001.right",
            "layer",
            Source("two2001", "", seen="own"),
            "c",
            orthogonal,
            LayerDomain(eps="zero"),
            repairs="one2000.false",
        )
    )
    return found


@pytest.fixture
def folder(claims, tmp_path):
    records = Records()
    for c in claims:
        records.verdicts[c.id] = record_of(judge_claim(c, judges=("algebra",)), tmp_path)
    records.save(tmp_path)
    write_pages(claims, records, tmp_path)
    return tmp_path


def test_fresh_pages_are_not_stale_and_say_what_was_found(claims, folder):
    assert stale(claims, folder) == []
    page = (folder / "one2000" / "README.md").read_text()
    assert "**proved** (layer)" in page
    assert "**refuted** (layer)" in page
    assert "statement not checked against the source" in page
    assert "[two2001.right](../two2001/README.md#two2001right)" in page
    assert (folder / "one2000" / "witnesses" / "one2000.false.json").exists()
    assert (folder / "one2000" / "proofs" / "one2000.true.smt2").read_text().count("check-sat") >= 1
    index = (folder / "README.md").read_text()
    assert "3 claims from 2 sources" in index
    assert "| proved | 2 |" in index
    assert "| refuted | 1 |" in index


def test_what_is_written_by_hand_stays(claims, folder):
    page = folder / "one2000" / "README.md"
    text = page.read_text().replace("# one2000\n", "# A title by hand\n\nProse.\n") + "\nMore prose.\n"
    page.write_text(text)
    assert stale(claims, folder) == []
    write_pages(claims, Records.load(folder), folder)
    assert page.read_text() == text
    assert text.index("Prose.") < text.index(BEGIN) < text.index(END) < text.index("More prose.")


def test_a_page_edited_in_its_generated_part_is_stale(claims, folder):
    page = folder / "one2000" / "README.md"
    page.write_text(page.read_text().replace("**refuted**", "**proved**"))
    assert any("differs" in line for line in stale(claims, folder))


def test_a_changed_claim_is_stale(claims, folder):
    changed = Registry()
    for c in claims:
        domain = LayerDomain(eps="any") if c.id == "one2000.true" else c.domain
        changed.add(Claim(c.id, c.kind, c.source, c.statement, c.check, domain, repairs=c.repairs))
    assert any(line.startswith("one2000.true: changed") for line in stale(changed, folder))


def test_a_new_and_a_vanished_claim_are_stale(claims, folder):
    fewer = Registry()
    for c in list(claims)[:2]:
        fewer.add(c)
    assert any("two2001.right: a verdict is recorded" in line for line in stale(fewer, folder))
    claims.add(Claim("three2002.new", "layer", Source("three2002", ""), "d", small))
    assert "three2002.new: never judged" in stale(claims, folder)


def test_a_broken_record_is_a_clear_error(claims, folder):
    (folder / "verdicts.json").write_text("{")
    with pytest.raises(UserError, match="not a file of verdicts"):
        stale(claims, folder)
    (folder / "verdicts.json").write_text(json.dumps({"verdicts": {"one2000.true": {}}}))
    with pytest.raises(UserError, match="not a file of verdicts"):
        Records.load(folder)
