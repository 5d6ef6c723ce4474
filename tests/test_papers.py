r"""The pages under ``papers/``: complete, linked, readable as Markdown with formulas, and in agreement with claims and records.

A page has a part written by hand, before the machine's mark, and a generated part. What the generator writes is tested by
comparing it with the records (``bntheory papers --check``); that cannot see a slip in the prose. So the prose is tested here
against things that it was not made from: the registry (ids, links, what was seen), the records (verdicts in brackets), the files on
disk (links, anchors), and, for worked examples, a computation from the definitions in plain numpy and fractions, which uses
nothing of the package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction as Q
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bntheory.claims.claim import Claim, registry
from bntheory.claims.sources.ba2016 import PRINTED, TRANSFORMATIONS
from bntheory.judges.exact.replay import replay
from bntheory.judges.verdict import Status
from bntheory.report import papers as pages
from bntheory.report.papers import BEGIN, END, wrong_words
from bntheory.report.prose import ClaimLink, claim_links
from bntheory.report.records import Records

PAPERS = Path(__file__).parents[1] / "papers"
CLAIMS = registry()
SOURCES = CLAIMS.sources()
PAGES = sorted(PAPERS.rglob("*.md"))
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.S)
DISPLAY, INLINE = re.compile(r"\$\$(.*?)\$\$", re.S), re.compile(r"\$([^$]*)\$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NOT_CHECKED = "statement not checked against the source"


def name_of(path: Path) -> str:
    return str(path.relative_to(PAPERS.parent))


def by_hand(path: Path) -> str:
    return pages.by_hand(path.read_text(encoding="utf-8"))


def slug(text: str) -> str:
    """The anchor that a heading gets."""
    kept = "".join(ch for ch in text.strip().lower() if ch.isalnum() or ch in "-_ ")
    return kept.replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return {slug(h) for h in re.findall(r"^#+\s+(.*)$", path.read_text(encoding="utf-8"), re.M)}


def without_formulas(text: str) -> str:
    return INLINE.sub(" ", DISPLAY.sub(" ", CODE.sub("code", text)))


every_page = pytest.mark.parametrize("path", PAGES, ids=name_of)
every_source = pytest.mark.parametrize("key", SOURCES)


def entries() -> dict[str, dict[str, str]]:
    """references.bib as key -> fields."""
    text = (PAPERS / "references.bib").read_text(encoding="utf-8")
    found = {}
    for entry in re.finditer(r"@\w+\{(\w+),\n(.*?)\n\}\n", text, re.S):
        key, body = entry.groups()
        assert key not in found, f"two entries have the key {key}"
        found[key] = dict(re.findall(r"^\s*(\w+)\s*=\s*\{(.*)\},?$", body, re.M))
    assert len(found) == text.count("\n@") + text.startswith("@"), "an entry could not be read"
    return found


@every_source
def test_a_source_has_a_page_an_entry_and_a_line_in_the_index(key: str) -> None:
    page = PAPERS / key / "README.md"
    assert page.exists(), f"papers/{key}/README.md is missing: {key} has claims"
    assert f"({key}/README.md)" in by_hand(PAPERS / "README.md"), f"the index does not name {key}"
    fields = entries()[key]
    assert {"title", "year"} <= fields.keys()
    preprint = "20" + fields.get("eprint", "....")[:2]
    assert key.endswith((fields["year"], preprint)), "a key ends in the year of the print or of the preprint"
    if "eprint" in fields:
        assert f"arXiv {fields['eprint']}" in by_hand(page), "the page and references.bib name different preprints"


@every_source
def test_a_page_says_how_its_statements_were_seen(key: str) -> None:
    seen = {c.source.seen for c in CLAIMS.select(key=key)}
    doubtful = bool(seen & {"recalled", "second hand"})
    assert (NOT_CHECKED in " ".join(by_hand(PAPERS / key / "README.md").split())) == doubtful, seen


@every_source
def test_a_page_has_its_parts(key: str) -> None:
    text = by_hand(PAPERS / key / "README.md")
    parts = re.findall(r"^## (.*)$", text, re.M)
    assert text.startswith("# ")
    wanted = ["What it is about", "What holds, and what does not", "Derivation", "The claims, as printed and judged"]
    assert [p.split(":")[0] for p in parts if p.split(":")[0] in wanted] == wanted


@every_page
def test_the_generated_part_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert (text.count(BEGIN), text.count(END)) == (1, 1), "run `bntheory papers --write`"


@every_page
def test_links_lead_somewhere(path: Path) -> None:
    claims = {slug(c.id): c.key for c in CLAIMS}
    for target in LINK.findall(without_formulas(path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target}: no such file"
        if anchor in claims and there.parent.name == claims[anchor]:
            continue  # its heading is generated
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


@every_page
def test_claims_that_are_named_exist(path: Path) -> None:
    named = re.compile(rf"(?<![\w/.-])(?:{'|'.join(SOURCES)})(?:\.[a-z0-9][a-z0-9-]*)+")
    for found in named.findall(path.read_text(encoding="utf-8")):
        claim_id = re.sub(r"\.(json|smt2)$", "", found)
        assert claim_id in CLAIMS, f"no claim has the id {claim_id}"


def links_of(path: Path) -> list[ClaimLink]:
    return claim_links(by_hand(path), path.parent.name, SOURCES)


@every_page
def test_links_to_claims_go_to_the_claim_that_they_name(path: Path) -> None:
    for link in links_of(path):
        claim = CLAIMS[link.id]
        assert link.anchor == slug(claim.id)
        assert link.file == ("" if claim.key == path.parent.name else f"../{claim.key}/README.md")


@every_page
def test_verdicts_in_brackets_are_words_for_verdicts(path: Path) -> None:
    said = [(link.id, link.word) for link in links_of(path) if link.word]
    assert all(word in {s.value for s in Status} for _, word in said), said


def test_verdicts_in_the_prose_are_the_recorded_ones() -> None:
    assert wrong_words(CLAIMS, Records.load(PAPERS), PAPERS) == []


def unbalanced(formula: str) -> str:
    """What is wrong with a formula's brackets, or nothing."""
    bare = re.sub(r"\\[{}]", "", formula)
    depth = 0
    for ch in bare:
        depth += (ch == "{") - (ch == "}")
        if depth < 0:
            return "a closing brace too many"
    if depth:
        return "a brace is not closed"
    for opening, closing in ((r"\left", r"\right"), (r"\begin", r"\end")):
        left, right = (len(re.findall(re.escape(word) + r"(?![a-zA-Z])", bare)) for word in (opening, closing))
        if left != right:
            return f"{left} {opening} and {right} {closing}"
    return ""


@every_page
def test_formulas_are_closed(path: Path) -> None:
    text = CODE.sub("code", path.read_text(encoding="utf-8"))
    assert text.count("$$") % 2 == 0
    for formula in DISPLAY.findall(text):
        assert not unbalanced(formula), f"{unbalanced(formula)}: {formula}"
        assert not re.search(r"\$|\n\s*\n", formula), formula
    for paragraph in re.split(r"\n\s*\n", DISPLAY.sub("", text)):
        assert paragraph.count("$") % 2 == 0, paragraph
        for formula in INLINE.findall(paragraph):
            loose = formula != formula.strip() or "\n" in formula
            assert not loose, f"Markdown does not take this for a formula: {formula}"
            assert not unbalanced(formula), f"{unbalanced(formula)}: {formula}"


@every_page
def test_formulas_written_by_hand_survive_markdown(path: Path) -> None:
    r"""A backslash before punctuation and a lone asterisk are Markdown's own; a bar ends the cell of a table."""
    text = CODE.sub("code", by_hand(path))
    for formula in [*DISPLAY.findall(text), *INLINE.findall(DISPLAY.sub("", text))]:
        assert not re.search(r"\\[^a-zA-Z\s]|\*", formula), formula
    for line in DISPLAY.sub("", text).splitlines():
        if line.startswith("|"):
            assert not any("|" in formula for formula in INLINE.findall(line)), line


@pytest.mark.parametrize("path", sorted(PAPERS.rglob("*.smt2")), ids=lambda p: p.stem)
def test_recorded_proofs_have_no_counterexample(path: Path) -> None:
    """As the index tells the reader to do it: the whole file, by a solver of its own."""
    import z3

    text = path.read_text(encoding="utf-8")
    context = z3.Context()  # held here: the library does not keep it alive during the call
    answers = z3.Z3_eval_smtlib2_string(context.ref(), text).split()
    assert answers == ["unsat"] * text.count("(check-sat)")
    assert answers
    assert CLAIMS[path.stem].key == path.parent.parent.name


@pytest.mark.parametrize("path", sorted(PAPERS.glob("*/witnesses/*.json")), ids=lambda p: p.stem)
def test_recorded_counterexamples_refute(path: Path) -> None:
    found = replay(path)
    assert found.refuted, found.summary
    assert found.claim.id == path.stem
    assert found.claim.key == path.parent.parent.name


@pytest.mark.parametrize("claim", [c for c in CLAIMS if c.kind == "experiment"], ids=lambda c: c.id)
def test_an_experiment_stands_on_the_numbers_of_its_seeds(claim: Claim) -> None:
    """Means, intervals and the verdict are computed from the recorded numbers once more, with scipy's interval."""
    checks = json.loads((PAPERS / claim.key / "checks" / f"{claim.id}.json").read_text(encoding="utf-8"))
    outcomes = []
    for check in checks:
        values = np.asarray(check["witness"].get("values", ()), dtype=float)
        outcome = check["outcome"]
        if "median_of" in check["witness"]:
            points = np.asarray(check["witness"]["median_of"])
            interval = stats.quantile_test(points, p=0.5).confidence_interval(0.95)
            assert check["left"] == pytest.approx(np.median(points), abs=2e-6)
            reach = max(np.median(points) - interval.low, interval.high - np.median(points))
            assert check["uncertainty"] == pytest.approx(reach, abs=4e-6)
        if values.ndim == 1 and len(values) >= 3 and np.isfinite(values).all() and values.std() > 0:
            low, high = stats.ttest_1samp(values, 0.0).confidence_interval(check["confidence"])
            room = check["uncertainty"] - (high - low) / 2  # some add what a search has left open
            rounding = 1e-5 * (high - low) + 1e-6  # the numbers of the seeds have six digits
            assert room >= -rounding
            mean, bound = values.mean(), check["right"]
            if check["left"] != pytest.approx(mean, rel=1e-4, abs=2e-6):
                assert check["right"] == pytest.approx(mean, rel=1e-4, abs=2e-6)
                mean, bound, low, high = -mean, -check["left"], -high, -low
            if room < rounding and outcome != "not comparable":
                outcome = "holds" if high <= bound else "fails" if low > bound else "undecided"
                margin = check["margin"]
                if margin is not None and bound - margin < low and high < bound + margin:
                    outcome = "equivalent"
                assert outcome == check["outcome"], check["name"]
        outcomes += [outcome] if check["decisive"] else []
    order = {
        "fails": "contradicted",
        "not comparable": "inconclusive",
        "undecided": "inconclusive",
        "equivalent": "equivalent",
        "holds": "supported",
    }
    status = next(word for outcome, word in order.items() if outcome in outcomes)
    assert outcomes
    assert Records.load(PAPERS).verdicts[claim.id].status == status


def test_the_table_of_invariances_shows_every_printed_entry() -> None:
    text = by_hand(PAPERS / "ba2016" / "README.md")
    shown = re.findall(r"(yes|no): \[`table-1\.(batch-norm|weight-norm|layer-norm)\.([a-z-]+)`\]", text)
    printed = {(m, t): e for m in PRINTED for t, e in zip(TRANSFORMATIONS, PRINTED[m].split(), strict=True)}
    assert {(m, t): e for e, m, t in shown} == printed
    assert len(shown) == len(printed) == 18


def layer(y: list[float], eps: float = 0.0) -> tuple[float, np.ndarray, np.ndarray]:
    """sigma, y_hat and P from their definitions."""
    v = np.asarray(y, dtype=float)
    sigma = float(np.sqrt(v.var() + eps))
    y_hat = (v - v.mean()) / sigma
    return sigma, y_hat, np.eye(len(v)) - 1 / len(v) - np.outer(y_hat, y_hat) / len(v)


def norm_ratio() -> float:
    sigma, _, P = layer([1, -1, 0])
    v = P @ [1, 1, -2] / sigma
    return float(v @ v / 6)


def lp_gradient(y: list[float], q: list[float], scale: float) -> float:
    g, q_ = np.array([0.0, 1, -1]), np.array(q)
    w = g - np.array(y) @ g / scale / 3 * (q_ - q_.mean())
    return float(w @ w)


def conditions() -> tuple[float, float]:
    x = np.array([[-2, 4, 0, -2], [-2.5, 3.5, 0.5, -1.5], [-1, 2, -1, 0]]).T
    ones = np.ones((4, 1))
    return float(np.linalg.cond(np.hstack([ones, x]))), float(np.linalg.cond(np.hstack([ones, x / x.std(axis=0)])))


def missed_by_s_star() -> float:
    S, u, w = np.diag([1.0, 4]), np.ones(2), np.array([3.0, 2])
    c = w @ S @ u / (w @ S @ w)
    moved = w + (u - c * w) @ S / (c * 1.6)
    after = u - moved @ S @ u / (moved @ S @ moved) * moved
    return float(after @ S @ after)


def bias_of_the_mean_angle() -> float:
    g = np.random.default_rng(0).normal(size=(200_000, 4))
    return float(np.linalg.norm(g, axis=1).mean() / 2)


def growth(iterations: int) -> float:
    total = 1.9 - 5e-5
    return float(((total + np.sqrt(total**2 - 3.6)) / 2) ** (-2 * iterations))


def relu(batch: int) -> float:
    """The rate from averages over random batches on the sphere."""
    t = np.random.default_rng(1).normal(size=(400_000, batch))
    t -= t.mean(axis=1, keepdims=True)
    t *= np.sqrt(batch) / np.linalg.norm(t, axis=1, keepdims=True)
    a, b = t[:, 0], t[:, 1]
    top = ((batch - 1 - a**2) * (a > 0) + (1 + a * b) * (a > 0) * (b > 0)).mean()
    spread = (np.maximum(a, 0) ** 2 - np.maximum(a, 0) * np.maximum(b, 0)).mean()
    return float(top / (batch - 3) / spread)


EXAMPLES: list[tuple[str, str, Callable[[], float], float, float]] = [
    ("santurkar2018", r"\frac32\Vert g\Vert^2", norm_ratio, 1.5, 1e-12),
    ("santurkar2018", r"\frac{13}6", lambda: lp_gradient([1, -0.75, -0.25], [1, -1, -1], 2 / 3), 13 / 6, 1e-12),
    ("santurkar2018", r"\frac{13}6", lambda: lp_gradient([-1, 0.25, 0.75], [-3, 0, 0], 1), 13 / 6, 1e-12),
    ("ioffe2015", r"\sqrt6", lambda: float(np.linalg.norm(layer([0.5, -0.5, 0])[2], 2) / layer([0.5, -0.5, 0])[0]), 6**0.5, 1e-12),
    ("dannemann2025", r"(0,-\frac12)", lambda: float((layer([0, 0, 1])[2] @ [1, 0, 1])[1]), -0.5, 1e-12),
    ("lange2022", r"\kappa = 10.94", lambda: conditions()[0], 10.94, 5e-3),
    ("lange2022", r"\kappa = 12.22", lambda: conditions()[1], 12.22, 5e-3),
    ("cai2019", "0.00211", missed_by_s_star, 0.00211, 5e-6),
    ("lesswrong2019", r"\frac{684}{625}", lambda: float((3 * Q(9, 16) + Q(81, 256)) / (1 + Q(9, 16)) ** 2 / Q(3, 4)), 684 / 625, 1e-15),
    ("vanlaarhoven2017", r"\frac43", lambda: float(1 / (1 - (1 - Q(1, 2)) ** 2)), 4 / 3, 1e-15),
    ("li2020", "1.0010053", lambda: growth(1), 1.0010053, 5e-8),
    ("li2020", r"\alpha^{-782} = 1.4812", lambda: growth(391), 1.4812, 5e-5),
    ("wan2021", "$0.94$", bias_of_the_mean_angle, 0.94, 5e-3),
    ("yang2019", "$1.788$", lambda: relu(8), 1.788, 0.01),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "printed", "compute", "value", "tolerance"), EXAMPLES, ids=[f"{e[0]} {e[1]}" for e in EXAMPLES]
)
def test_worked_examples(key: str, printed: str, compute: Callable[[], float], value: float, tolerance: float) -> None:
    assert printed in by_hand(PAPERS / key / "README.md"), "the page no longer shows this example"
    assert abs(compute() - value) <= tolerance
