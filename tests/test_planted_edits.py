"""Pages that cannot be stale: one line of the code is changed in a copy, and the claims that rest on it are named.

Two nets, tested apart. Fingerprints are computed from the changed source alone, so an edit must be noticed whether or not it changes a
number. And what takes seconds is judged anew by the changed code in a process of its own, where fingerprints decide nothing: a proof
falls, a counterexample no longer refutes, a judge answers otherwise.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import bntheory
from bntheory.claims.claim import registry
from bntheory.evidence.checks import Check
from bntheory.evidence.closure import Package
from bntheory.judges.verdict import evidence_of_checks, verdict_of
from bntheory.report.records import Records, fingerprint, record_of

SOURCE = Path(bntheory.__file__).parent
PAPERS = Path(__file__).parents[1] / "papers"
TIGHT = "santurkar2018.theorem-4.2.first"
ALONG = "santurkar2018.figure-4.effective-beta"
CURVED = "lesswrong2019.domain.mlp"


@dataclass(frozen=True)
class Edit:
    """A line of a file, what it becomes, and claims that rest on it."""

    file: str
    old: str
    new: str
    claims: tuple[str, ...]


EDITS = {
    "sign of the Hessian's correction, in arrays": Edit(
        "layer/closed_form.py", "bend = -self.gamma / (m", "bend = self.gamma / (m", (TIGHT,)
    ),
    "sign of the Hessian's correction, in symbols": Edit(
        "layer/symbolic/derivation.py", "a * b / (4 * known**3)", "-a * b / (4 * known**3)", (TIGHT,)
    ),
    "projection of the input gradient": Edit(
        "layer/closed_form.py",
        "return (self.gamma / self.sigma) * self.projected_grad",
        "return (self.gamma / self.sigma) * self.grad",
        (TIGHT, "santurkar2018.theorem-4.1.arxiv"),
    ),
    "order of an l_p norm": Edit(
        "layer/family.py",
        '"l1": partial(LpLayer, p=1)',
        '"l1": partial(LpLayer, p=2)',
        ("santurkar2018.lp-normalisation.gradient-bound.l1",),
    ),
    "encoder of the solver": Edit(
        "judges/algebra/encode.py", '"gt": total > zero', '"gt": total >= zero', (TIGHT, "than2025.product")
    ),
    "what proves": Edit("judges/verdict.py", '"vacuous": Status.VACUOUS', '"unknown": Status.VACUOUS', (TIGHT,)),
    "rule of equal loss": Edit(
        "evidence/curves.py", "return math.log10(left / right)", "return math.log10(right / left)", (CURVED,)
    ),
    "grid of learning rates": Edit(
        "claims/sources/lesswrong2019/trained.py",
        "RATES = (0.01, 0.03, 0.1, 0.3, 1.0)",
        "RATES = (0.01, 0.03, 0.1, 0.2, 1.0)",
        (CURVED,),
    ),
    "steps along the gradient": Edit(
        "claims/sources/santurkar2018/figure_1.py",
        '_ALONG = {"step_range": [0.5, 4.0]',
        '_ALONG = {"step_range": [0.6, 4.0]',
        (ALONG,),
    ),
    "threshold of a claim": Edit("claims/sources/cohen2021.py", "_BAND = 1.25", "_BAND = 1.3", ("cohen2021.edge",)),
    "interval over seeds": Edit(
        "evidence/intervals.py", "(1 + confidence) / 2, n - 1", "(1 + confidence) / 2, n", (ALONG, CURVED)
    ),
    "a training step": Edit(
        "bridge/networks/training.py",
        "alpha=-self.config.rate(self.step)",
        "alpha=-0.5 * self.config.rate(self.step)",
        (ALONG, CURVED),
    ),
}


def changed(folder: Path, edit: Edit) -> Path:
    """A copy of the package with one edit."""
    root = folder / "bntheory"
    if not root.exists():
        shutil.copytree(SOURCE, root, ignore=shutil.ignore_patterns("__pycache__"))
    text = (SOURCE / edit.file).read_text(encoding="utf-8")
    assert text.count(edit.old) == 1, f"{edit.file} has {edit.old!r} {text.count(edit.old)} times: plant another edit"
    (root / edit.file).write_text(text.replace(edit.old, edit.new), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("copy")


@pytest.mark.long
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_changes_the_fingerprint_of_what_rests_on_it(copy: Path, edit: Edit) -> None:
    root = changed(copy, edit)
    source = Package(root)
    try:
        for claim_id in edit.claims:
            assert fingerprint(registry()[claim_id], source) != fingerprint(registry()[claim_id]), claim_id
    finally:
        shutil.copy(SOURCE / edit.file, root / edit.file)


@pytest.mark.long
def test_a_comment_changes_none(copy: Path) -> None:
    edit = Edit("layer/closed_form.py", "P v = v - ", "The projection, P v = v - ", (TIGHT, ALONG, CURVED))
    source = Package(changed(copy, edit))
    for claim_id in edit.claims:
        assert fingerprint(registry()[claim_id], source) == fingerprint(registry()[claim_id])


# -- the command, in a copy --------------------------------------------------------------------------------------------


def papers(place: Path, source: str, option: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bntheory.cli", "papers", option, "--paper", source, "--jobs", "1"]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A copy of code and pages in which a source's claims have just been judged; experiments as if they had been, by this code."""
    place = tmp_path_factory.mktemp("copy")
    shutil.copytree(SOURCE, place / "bntheory", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PAPERS, place / "papers")
    records = Records.load(place / "papers")
    for claim in registry():
        record = records.verdicts.get(claim.id)
        if record is not None and claim.kind == "experiment":
            path = record.files(claim, place / "papers")["checks"]
            checks = [Check.from_json(item) for item in json.loads(path.read_text(encoding="utf-8"))]
            verdict = verdict_of(claim, [evidence_of_checks(checks, seconds=0.0, seed=0)])
            records.verdicts[claim.id] = record_of(verdict, place / "papers")
    records.save(place / "papers")
    done: set[str] = set()

    def of(source: str) -> Path:
        if source not in done:
            wrote = papers(place, source, "--write")
            assert wrote.returncode == 0, wrote.stderr
            assert papers(place, source, "--check").returncode == 0
            done.add(source)
        return place

    return of


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("projection of the input gradient", "arora2019", "judged"),
        ("encoder of the solver", "arora2019", "arora2019.orthogonal.eps-zero: changed since it was judged"),
        ("sign of the Hessian's correction, in arrays", "santurkar2018", "judged"),
        ("sign of the Hessian's correction, in symbols", "santurkar2018", "judged"),
        ("order of an l_p norm", "santurkar2018", "judged"),
        ("rule of equal loss", "lesswrong2019", "lesswrong2019.domain.mlp: changed since it was judged"),
        ("grid of learning rates", "lesswrong2019", "lesswrong2019.domain.mlp: changed since it was judged"),
    ],
)
def test_the_command_fails_in_a_copy(fresh: Callable[[str], Path], name: str, source: str, said: str) -> None:
    place, edit = fresh(source), EDITS[name]
    changed(place, edit)
    try:
        found = papers(place, source, "--check")
    finally:
        shutil.copy(SOURCE / edit.file, place / "bntheory" / edit.file)
    assert found.returncode == 1, found.stdout
    assert "changed since it was judged" in found.stderr
    assert said in found.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_verdict_that_was_typed_in_is_judged_away(fresh: Callable[[str], Path]) -> None:
    place = fresh("than2025")
    path = place / "papers" / "verdicts.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["verdicts"]["than2025.product"]["status"] = "proved"
    path.write_text(json.dumps(data), encoding="utf-8")
    found = papers(place, "than2025", "--check")
    assert found.returncode == 1
    assert "than2025.product: recorded proved, judged refuted" in found.stderr
    assert papers(place, "than2025", "--write").returncode == 0
    assert Records.load(place / "papers").verdicts["than2025.product"].status == "refuted"
    assert papers(place, "than2025", "--check").returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_experiments_verdict_that_was_typed_in_is_not_published(fresh: Callable[[str], Path]) -> None:
    place = fresh("than2025")
    path, page = place / "papers" / "verdicts.json", place / "papers" / "cohen2021" / "README.md"
    before, pages = path.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    data = json.loads(before)
    data["verdicts"]["cohen2021.edge"]["status"] = "contradicted"
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        wrote = papers(place, "than2025", "--write")
    finally:
        path.write_text(before, encoding="utf-8")
    assert wrote.returncode == 1
    assert "cohen2021.edge: the record or one of its files was changed by hand" in wrote.stderr
    assert page.read_text(encoding="utf-8") == pages
