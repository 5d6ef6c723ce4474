"""Pages and records: faithful to what was judged, silent about what was written by hand, and quick to call themselves stale.

Every test below changes one thing that a person might change: a claim, a verdict, a witness, a proof, a number, a word.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest

from bntheory.claims import registry
from bntheory.claims.claim import Claim, Registry, Source
from bntheory.errors import UserError
from bntheory.evidence.checks import Check
from bntheory.evidence.rates import median_bound
from bntheory.evidence.seeds import over_seeds
from bntheory.judges.algebra import judge as algebra
from bntheory.judges.check import judge_claim
from bntheory.judges.verdict import Evidence, evidence_of_checks, verdict_of
from bntheory.layer import LayerDomain, any_of, eq, le
from bntheory.report.papers import (
    BEGIN,
    END,
    _scale_table,
    _stated,
    problems_on_disk,
    render_page,
    write_pages,
    wrong_words,
)
from bntheory.report.records import Record, Records, record_of
from bntheory.report.rederive import _witness_problems, disagreements, follows_from_checks

PAPERS = Path(__file__).parents[2] / "papers"


def orthogonal(layer):
    return eq(layer.dot(layer.y, layer.input_grad), 0)


def small(layer):
    return le(layer.norm2(layer.grad), 1)


def either(layer):
    return any_of(le(layer.gamma, 1), le(layer.norm2(layer.grad), 1))


@pytest.fixture
def claims():
    found = Registry()
    found.add(
        Claim("one2000.true", "layer", Source("one2000", "Theorem 1"), "a = 0", orthogonal, LayerDomain(eps="zero"))
    )
    found.add(Claim("one2000.false", "layer", Source("one2000", "Theorem 2", seen="recalled"), "b \\le 1", small))
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


def stale(claims, folder):
    return problems_on_disk(claims, Records.load(folder), folder)


def judged_again(claims, folder, claim_id):
    """What does not come out as recorded, as far as algebra can say."""
    verdict = judge_claim(claims[claim_id], judges=("algebra",))
    return list(disagreements(verdict, Records.load(folder).verdicts[claim_id], folder, same_tools=True))


def rewrite(path, change):
    """Change a JSON file as an editor would."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data, indent=1) + "\n")


@pytest.fixture
def folder(claims, tmp_path):
    records = Records()
    for c in claims:
        records.verdicts[c.id] = record_of(judge_claim(c, judges=("algebra",)), tmp_path)
    records.save(tmp_path)
    write_pages(claims, records, tmp_path)
    return tmp_path


@pytest.mark.long
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


def test_what_is_no_layer_is_not_said_to_hold_for_every_layer(tmp_path):
    """And the plain words of a claim are shown as they are: no mark-up, no tag."""
    proof = Check("slope", 0.0, "eq", 0.0, "proof", "every x")
    study = Claim(
        "one2000.study",
        "landscape",
        Source("one2000", "Theorem 3"),
        "a",
        lambda s: [proof],
        reading="L(z) = <a, z>, *all* a with y_hat <= 1 +- 2",
    )
    found = Registry()
    found.add(study)
    verdict = verdict_of(study, [evidence_of_checks([proof], seconds=0.0, seed=0)])
    assert "every layer" not in verdict.explanation
    records = Records(verdicts={study.id: record_of(verdict, tmp_path)})
    write_pages(found, records, tmp_path)
    page = (tmp_path / "one2000" / "README.md").read_text()
    assert "**proved** (landscape)" in page
    assert "every layer of the claim's domain" not in page
    assert r"Read as: L(z) = &lt;a, z>, \*all\* a with y\_hat ≤ 1 ± 2." in page


def test_an_effect_in_decades_is_shown_as_a_factor_too():
    row = {"place": "cpu", "note": "", "status": "supported", "summary": "", "records": 3, "confirmed": 0}
    row |= {"effect": -1.0, "low": -2.0, "high": 0.0, "op": "at most", "bound": 0.0, "seeds": 5, "needed": None}
    line = _scale_table(Record("supported", "", (), scales=(row | {"check": "log10 of a, b over c"},)))[-1]
    assert "| -1 [-2, 0]: ×0.1 [×0.01, ×1] |" in line
    assert "×" not in _scale_table(Record("supported", "", (), scales=(row | {"check": "a"},)))[-1]
    inside = row | {"check": "deep: log10 of a over c", "op": "at most", "bound": 1.0, "needed": 7856}
    line = _scale_table(Record("supported", "", (), scales=(inside,)))[-1]
    assert "×0.1 [×0.01, ×1] | at most 1: ×10 |" in line
    assert "over 1000 would decide" in line


def test_what_is_recalled_is_not_called_printed() -> None:
    found = Registry()
    found.add(Claim("one2000.true", "layer", Source("one2000", "Theorem 1", seen="recalled"), "a = 0", orthogonal))
    page = render_page(found, found, Records())
    assert "As recalled, statement not checked against the source (Theorem 1):" in page
    assert "printed" not in page


def test_what_says_more_than_a_claim_that_stands_does_not_put_it_right(claims: Registry, folder: Path) -> None:
    claims.add(Claim("one2000.more", "layer", Source("one2000", ""), "c", orthogonal, repairs="one2000.true"))
    records = Records.load(folder)
    page = render_page(claims.select(key="one2000"), claims, records)
    assert "What holds beyond it: [one2000.more](#one2000more)." in page
    assert "Says more than: [one2000.true](#one2000true)." in page
    assert "What holds instead: [two2001.right](../two2001/README.md#two2001right)." in page
    assert "Puts right: [one2000.false]" in render_page(claims.select(key="two2001"), claims, records)


def test_what_is_written_by_hand_stays(claims, folder):
    page = folder / "one2000" / "README.md"
    text = page.read_text().replace("# one2000\n", "# A title by hand\n\nProse.\n") + "\nMore prose.\n"
    page.write_text(text)
    assert [line for line in stale(claims, folder) if "by hand has changed" not in line] == []
    write_pages(claims, Records.load(folder), folder)
    assert page.read_text() == text
    assert stale(claims, folder) == []
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


def test_a_verdict_that_was_typed_in_is_noticed(claims, folder):
    def typed(data):
        data["verdicts"]["one2000.false"]["status"] = "proved"

    rewrite(folder / "verdicts.json", typed)
    assert any("one2000.false: the record or one of its files was changed" in p for p in stale(claims, folder))
    assert "recorded proved, judged refuted" in judged_again(claims, folder, "one2000.false")


def test_a_verdict_that_was_typed_in_with_its_evidence_is_noticed(claims, folder):
    def typed(data):
        record = data["verdicts"]["one2000.false"]
        record |= {"status": "proved", "evidence": [["algebra", "proved", "for every m >= 2"]], "witness": False}

    rewrite(folder / "verdicts.json", typed)
    assert any(line.startswith("one2000.false") for line in stale(claims, folder))
    found = judged_again(claims, folder, "one2000.false")
    assert "recorded algebra: proved, found algebra: refuted" in found
    assert "recorded proved without the file that shows it" in found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w["layer"].update(grad=["0", "0"]), "holds here"),
        (lambda w: w["certificate"]["relations"][0].update(left="17"), "another certificate"),
        (lambda w: w["claim"].update(id="santurkar2018.theorem-4.1.neurips"), "another claim"),
        (lambda w: w.update(claim={"kind": "file", "path": "mine.py", "id": "x"}), "another claim"),
    ],
    ids=["layer", "certificate", "claim", "file"],
)
def test_an_edited_witness_is_noticed(claims, folder, change, said):
    rewrite(folder / "one2000" / "witnesses" / "one2000.false.json", change)
    assert any(line.startswith("one2000.false") for line in stale(claims, folder))
    assert any(said in line for line in judged_again(claims, folder, "one2000.false"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("(check-sat)", "", "unsat"),
        ("(assert", "(assert false)\n(assert", "not the questions"),
        ("(check-sat)", "(check-sat))", "unsat"),
    ],
    ids=["not asked", "asked otherwise", "broken"],
)
def test_an_edited_proof_is_noticed(claims, folder, old, new, said):
    path = folder / "one2000" / "proofs" / "one2000.true.smt2"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert any(line.startswith("one2000.true") for line in stale(claims, folder))
    assert any(said in line for line in judged_again(claims, folder, "one2000.true"))


def test_a_certificate_recorded_before_it_had_a_structure_is_the_same(tmp_path):
    claim = Claim("one2000.or", "layer", Source("one2000", ""), "d", either, LayerDomain())
    witness = algebra(claim).details["witness"]
    assert witness["certificate"]["structure"] == {"or": [0, 1]}
    path = tmp_path / "w.json"
    path.write_text(json.dumps(witness))
    assert list(_witness_problems(claim, path, same_tools=True)) == []
    del witness["certificate"]["structure"]
    path.write_text(json.dumps(witness))
    assert list(_witness_problems(claim, path, same_tools=True)) == []
    witness["certificate"]["structure"] = {"and": [0, 1]}
    path.write_text(json.dumps(witness))
    assert any("another certificate" in line for line in _witness_problems(claim, path, same_tools=True))


def test_a_missing_file_is_noticed(claims, folder):
    (folder / "one2000" / "proofs" / "one2000.true.smt2").unlink()
    assert "one2000.true: one2000.true.smt2 is missing" in stale(claims, folder)


def test_a_sentence_of_the_evidence_that_was_edited_is_noticed(claims, folder):
    def edited(data):
        data["verdicts"]["one2000.true"]["evidence"][0][2] += " and every loss"

    rewrite(folder / "verdicts.json", edited)
    assert any(line.startswith("one2000.true") for line in stale(claims, folder))
    assert any("algebra says" in line for line in judged_again(claims, folder, "one2000.true"))


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (r"\|a\| \le \|b\|\ \text{for every loss}", r"$$\Vert a\Vert \le \Vert b\Vert\ \text{for every loss}$$"),
        (
            r"\text{at the start the branch is downscaled relative to the skip connection by }\sqrt{\text{depth}}",
            r"> at the start the branch is downscaled relative to the skip connection by $\sqrt{\text{depth}}$",
        ),
        (
            r"\text{every activation that is not constant whatsoever has a rate}\ge \frac{a}{b}\text{, with equality}",
            r"> every activation that is not constant whatsoever has a rate $\ge \frac{a}{b}$, with equality",
        ),
        (
            r"cf,\ c<1:\ \text{constants of every kind that there may be are multiplied by exactly this }c",
            r"> $cf,\ c<1:$ constants of every kind that there may be are multiplied by exactly this $c$",
        ),
        (
            r"f(\text{a network with batch normalisation}) \ge f(\text{the very same network without any of it})",
            r"$$f(\text{a network with batch normalisation}) \ge f(\text{the very same network without any of it})$$",
        ),
    ],
)
def test_a_statement_in_words_is_a_sentence_that_breaks(statement, shown):
    assert _stated(statement) == shown


def test_markdown_takes_nothing_from_a_statement() -> None:
    """By the rule of GitHub's Markdown: a backslash before a sign of ASCII is dropped, in a formula too, and * begins emphasis."""
    for claim in registry():
        shown = _stated(claim.statement)
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown) == shown, shown
        assert "*" not in shown


@pytest.mark.parametrize(("finding", "noticed"), [("unknown", 0), ("proved", 1)])
def test_where_a_judge_gave_up_is_no_part_of_the_verdict(claims, folder, finding, noticed):
    """How far it came within its time differs between machines; what it proved does not."""
    said = ("m = 4: the solver could not decide; the limit was reached", "the limit was reached")
    recorded, found = (verdict_of(claims["one2000.true"], [Evidence("algebra", finding, text)]) for text in said)
    again = disagreements(found, record_of(recorded, folder), folder, same_tools=True)
    assert sum("algebra says" in line for line in again) == noticed


@pytest.mark.parametrize(
    ("prose", "wrong"),
    [
        ("It is true: [`true`](#one2000true) (proved).", False),
        ("It is true: [`true`](#one2000true) (refuted).", True),
        ("It is false: [`true`](#one2000true).", True),
        ("It is true, and [`false`](#one2000false) is not.", True),
        ("False it is, as [`one2000.false`](#one2000false) (refuted) shows; nothing is said of `true` here.", False),
        ("A general truth.\n\n- Another matter: [`false`](#one2000false) (refuted).", False),
    ],
)
def test_words_about_verdicts_are_the_recorded_ones(claims, folder, prose, wrong):
    page = folder / "one2000" / "README.md"
    page.write_text(page.read_text().replace("# one2000\n", f"# one2000\n\n{prose}\n"))
    assert bool(wrong_words(claims, Records.load(folder), folder)) == wrong


def test_a_word_of_the_prose_that_was_flipped_is_noticed(claims, folder):
    page = folder / "one2000" / "README.md"
    page.write_text(page.read_text().replace("# one2000\n", "# one2000\n\nThis never holds.\n"))
    write_pages(claims, Records.load(folder), folder)
    assert stale(claims, folder) == []
    page.write_text(page.read_text().replace("never", "always"))
    assert any("by hand has changed" in line for line in stale(claims, folder))


# -- experiments -------------------------------------------------------------------------------------------------------

VALUES = (0.5, 0.6, 0.4, 0.55, 0.45)
POINTS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)


@pytest.fixture
def experiment(tmp_path):
    """A claim with the checks that a trained network would give, recorded."""
    claim = Claim("one2000.trained", "experiment", Source("one2000", ""), "d", small)
    checks = [
        over_seeds("larger", VALUES, "above", 0.0, "a run"),
        over_seeds("beside", (1.0, -1.0, 0.5), "below", 0.0, "a run", decisive=False),
        median_bound("middle", POINTS, "below", 9.0, "a run", decisive=False, witness={"median_of": list(POINTS)}),
    ]
    verdict = verdict_of(claim, [evidence_of_checks(checks, seconds=0.0, seed=0)])
    assert verdict.status.value == "supported"
    return claim, record_of(verdict, tmp_path), tmp_path / "one2000" / "checks" / "one2000.trained.json"


def test_an_experiments_verdict_follows_from_its_numbers(experiment, tmp_path):
    claim, record, _ = experiment
    assert list(follows_from_checks(claim, record, tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c[0].update(right=0.7), "not that of the seeds' numbers"),
        (lambda c: c[0].update(uncertainty=0.01), "not that of the seeds' numbers"),
        (lambda c: c[0]["witness"]["values"].__setitem__(0, 5.5), "not that of the seeds' numbers"),
        (lambda c: c[2].update(left=5.1), "not that of the seeds' numbers"),
        (lambda c: c[2].update(uncertainty=5.0, outcome="undecided"), "not that of the seeds' numbers"),
        (lambda c: c[2]["witness"]["median_of"].__setitem__(3, 6.0), "not that of the seeds' numbers"),
        (lambda c: c[0].update(outcome="fails"), "recorded fails"),
        (lambda c: c[0].update(left=0.6), "recorded holds, its numbers say fails"),
        (lambda c: c[0].update(decisive=False), "recorded supported, its checks amount to unknown"),
        (lambda c: c.clear(), "recorded supported, its checks amount to unknown"),
        (lambda c: c[1].update(scope="another run", decisive=True), "recorded supported"),
        (lambda c: c[0].pop("name"), "not a list of checks"),
    ],
    ids=[
        "mean",
        "interval",
        "value",
        "median",
        "its interval",
        "its number",
        "outcome",
        "threshold",
        "not decisive",
        "none",
        "another decides",
        "broken",
    ],
)
def test_an_edited_number_is_noticed(experiment, tmp_path, change, said):
    claim, record, path = experiment
    rewrite(path, change)
    assert any(said in line for line in follows_from_checks(claim, record, tmp_path))


def test_a_broken_record_is_a_clear_error(claims, folder):
    (folder / "verdicts.json").write_text("{")
    with pytest.raises(UserError, match="not a file of verdicts"):
        stale(claims, folder)
    (folder / "verdicts.json").write_text(json.dumps({"verdicts": {"one2000.true": {}}}))
    with pytest.raises(UserError, match="not a file of verdicts"):
        Records.load(folder)


@pytest.mark.parametrize("stays", [False, True])
def test_what_differs_is_judged_once_more_with_nothing_beside_it(monkeypatch: pytest.MonkeyPatch, stays: bool) -> None:
    """A solver that ran out of time beside others may say something else than at rest."""
    from bntheory.claims.claim import registry
    from bntheory.commands import pages
    from bntheory.report.records import Records

    records = Records.load(PAPERS)
    chosen = [c for c in registry() if c.key == "than2025"]
    odd, asked = chosen[0].id, []

    def judged(claims: Any, effort: Any, jobs: int, again: bool) -> Any:
        asked.append(([c.id for c in claims], jobs))
        for c in claims:
            yield pages._Judged(c, cast(Any, c))

    def disagreements(verdict: Any, *_: Any, **__: Any) -> list[str]:
        return ["differs"] if verdict.id == odd and (stays or len(asked) == 1) else []

    monkeypatch.setattr(pages, "_judged", judged)
    monkeypatch.setattr("bntheory.report.rederive.disagreements", disagreements)
    found = pages._check(chosen, records, PAPERS, again=False, jobs=2)
    assert found == ([f"{odd}: differs"] if stays else [])
    assert asked == [([c.id for c in chosen], 2), ([odd], 1)]
