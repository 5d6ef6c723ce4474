"""``bntheory report``: the page is a function of the records, and two runs can be set beside each other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import tiny_preset
from typer.testing import CliRunner, Result

from bntheory.cli import app
from bntheory.drawing import as_png
from bntheory.evidence.record import read_line
from bntheory.experiments.store import RECORDS
from bntheory.report.compare import compare, figures


def command(*words: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("runs")
    compare(tiny_preset(home), out=home / "run", workers=0)
    return home / "run"


@pytest.mark.long
def test_a_page_is_made_anew_from_the_records(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    page, verdicts = (copy / name for name in ("report.html", "verdicts.json"))
    before = page.read_bytes(), json.loads(verdicts.read_text())
    page.unlink()
    verdicts.write_text("{}")
    result = command(copy)
    assert result.exit_code == 0, result.output
    assert (page.read_bytes(), json.loads(verdicts.read_text())) == before


@pytest.mark.long
def test_a_page_says_what_its_run_lacks_and_stale_records_count_for_nothing(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    lines = (copy / RECORDS).read_bytes().splitlines(keepends=True)
    first = read_line(lines[0])[1]
    stale = replace(first, made={**first.made, "code": "other"}).line().encode()
    (copy / RECORDS).write_bytes(b"".join([stale, *lines[1:-4]]))
    result = command(copy)
    said = f"5 of the {len(lines)} records that this run asks for are not there"
    assert result.exit_code == 0
    assert said in result.stderr
    assert said in (copy / "report.html").read_text("utf-8")
    assert said not in (run / "report.html").read_text("utf-8")
    without = Path(shutil.copytree(copy, tmp_path / "without"))
    (without / RECORDS).write_bytes(b"".join(lines[1:-4]))
    command(without)
    assert [(p / "verdicts.json").read_bytes() for p in (copy, without)].count(
        (copy / "verdicts.json").read_bytes()
    ) == 2
    both = command(copy, run, "--out", tmp_path / "both.html")
    assert both.exit_code == 0
    assert said in (tmp_path / "both.html").read_text("utf-8")


@pytest.mark.long
def test_an_arm_without_records_is_said_to_be_not_there_on_both_pages(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    lines = (copy / RECORDS).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not read_line(line)[1].arm.startswith("standard")]
    (copy / RECORDS).write_bytes(b"".join(kept))
    assert command(copy).exit_code == command(copy, run, "--out", tmp_path / "both.html").exit_code == 0
    legend = "an arm has not trained, or is not there or not finished, as its records are missing."
    for page in (copy / "report.html", tmp_path / "both.html"):
        text = page.read_text("utf-8")
        assert "Not finished: " in text
        assert "arm standard is not there: it has no records" in text
        assert legend in text
        assert "diverged" not in text
    assert "(records of an arm are not there)" in (copy / "report.html").read_text("utf-8")
    assert legend not in (run / "report.html").read_text("utf-8")


@pytest.mark.long
def test_lines_that_were_skipped_are_named_on_the_page_and_beside_it(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    with (copy / RECORDS).open("ab") as file:
        file.write(b"{}\nno record\n")
    last = len((copy / RECORDS).read_bytes().splitlines())
    for result in (command(copy), command(copy, run, "--out", tmp_path / "two.html")):
        assert result.exit_code == 0
        assert f"line {last - 1}: " in result.stderr
        assert f"line {last}: " in result.stderr
    page = (copy / "report.html").read_text("utf-8")
    assert "2 lines of the store were skipped" in page
    assert f"line {last}: " in page
    assert "skipped" not in (run / "report.html").read_text("utf-8")
    row = (tmp_path / "two.html").read_text("utf-8").partition("lines skipped")[2].partition("</tr>")[0]
    assert ("2: " in row, f"line {last}: " in row, row.count("none")) == (True, True, 1)


def test_every_figure_of_a_report_is_had_from_python(run: Path, tmp_path: Path) -> None:
    drawn = figures(run)
    assert {p.stem for p in (run / "figures").iterdir()} == set(drawn)
    for name, figure in drawn.items():
        assert as_png(figure, palette=128) == (run / "figures" / f"{name}.png").read_bytes()
    with pytest.raises(ValueError, match="there is no run in"):
        figures(tmp_path)


@pytest.mark.long
def test_two_runs(run: Path, tmp_path: Path) -> None:
    files = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    other, same = tmp_path / "other", tmp_path / "deeper" / "run"
    for copy in (other, same):
        shutil.copytree(run, copy)
    result = command(run, other, "--out", tmp_path / "both.html", "--json")
    assert result.exit_code == 0, result.output
    text = Path(json.loads(result.output)["report"]).read_text()
    assert "<h1>Batch normalisation: run beside other</h1>" in text  # of one preset, both are called by their folders
    assert "mlp · run" in text
    assert "mlp · other" in text
    assert command(run, same, "--out", tmp_path / "both.html").exit_code == 0  # and by as much as tells them apart
    text = (tmp_path / "both.html").read_text()
    assert f"<h1>Batch normalisation: {run.parent.name}/run beside deeper/run</h1>" in text
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps({**manifest, "preset": "larger"}))
    assert command(run, other, "--out", tmp_path / "both.html").exit_code == 0
    assert "Batch normalisation: tiny beside larger" in (tmp_path / "both.html").read_text()
    assert files == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_bad_use_is_named(run: Path, tmp_path: Path) -> None:
    claims = tmp_path / "claims"
    claims.mkdir()
    (claims / "records.jsonl").touch()
    for words, said in (
        ((tmp_path,), "there is no run in"),
        ((claims,), "a run of claims"),
        ((run, run, run), "3 folders"),
        ((run, run / ".." / "run"), "are the same folder"),
        ((run, "--out", tmp_path / "x.html"), "--out is for two runs"),
    ):
        result = command(*words)
        assert result.exit_code == 2
        assert said in " ".join(result.output.split())
        assert "--resume" not in result.output  # which this command does not have
