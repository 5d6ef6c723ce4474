"""Whatever a reader may copy from the README runs, and says what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bntheory.cli import app

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for block in BLOCKS:
        name = re.match(r"# (\w+\.py)\n", block)
        if name:
            (tmp_path / name[1]).write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "my_model", None)
    del sys.modules["my_model"]
    return tmp_path


def test_there_is_something_to_run():
    assert sum(block.startswith("# ") for block in BLOCKS) == 2
    assert len(BLOCKS) == 4


@pytest.mark.long
@pytest.mark.parametrize("number", [i for i, b in enumerate(BLOCKS) if not b.startswith("# ")])
def test_python_examples_run(folder, number):
    done = subprocess.run([sys.executable, "-c", BLOCKS[number]], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_users_claim_is_judged(folder):
    result = CliRunner().invoke(app, ["check", "mine.py", "--judge", "algebra", "--expect", "refuted"])
    assert result.exit_code == 0, result.output


def test_the_users_model_is_probed(folder):
    result = CliRunner().invoke(app, ["probe", "my_model:make"])
    assert result.exit_code == 0, result.output
    assert "frozen twin" in result.output


@pytest.mark.parametrize(
    ("line", "status"),
    list(zip(re.findall(r"^bntheory (decide .*)$", TEXT, re.M), ["PROVED", "REFUTED"], strict=True)),
    ids=["true", "false"],
)
def test_typed_claims_are_decided_as_the_text_says(line, status):
    import shlex

    result = CliRunner().invoke(app, shlex.split(line))
    assert result.exit_code == 0, result.output
    assert result.output.startswith(status)


def test_links_point_somewhere():
    missing = [
        target
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
        if not target.startswith("http") and not (README.parent / target).exists()
    ]
    assert not missing


def test_the_table_of_verdicts_is_complete():
    from bntheory.judges.verdict import Status

    page = (README.parent / "docs/pages/concepts/judges.md").read_text(encoding="utf-8")
    table = page.partition("## Verdicts")[2]
    printed = set(re.findall(r"[a-z-]+", " ".join(re.findall(r"^\| ([a-z, -]+) \|", table, re.M))))
    assert {s.value for s in Status} <= printed
