"""What the help prints can be pasted and runs; and every word of the vocabulary is explained."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bntheory
from bntheory.cli import app
from bntheory.commands.application import COMMANDS
from bntheory.layer.words import NEAREST, SECOND, UNIT_B, WORDS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
TRUE = """
from bntheory import claim, le
@claim("mine.true", statement="x")
def true(layer):
    return le(0, layer.norm2(layer.grad))
"""


def helped(*command):
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def examples():
    """(command, its example lines) of the help of every command, and of the whole."""
    found = {}
    for command in ((), *((name,) for name in COMMANDS)):
        lines = [line.strip() for line in helped(*command).splitlines()]
        found[" ".join(command) or "bntheory"] = [line for line in lines if line.startswith("bntheory ")]
    return found


EXAMPLES = examples()
LONG = ("bntheory compare", "bntheory check --paper", "bntheory plan")  # minutes


def test_what_the_source_says_is_what_is_printed():
    """No markup, no wrapping: ** is a power and a long line is one line."""
    printed = helped("decide")
    for line in re.findall(
        r"^ +(bntheory decide .*)$",
        Path(importlib.import_module("bntheory.commands.decide").__file__).read_text(),
        re.M,
    ):
        assert line in printed
    assert "gamma**2/sigma**2" in printed
    assert "`bntheory words`" in printed


@pytest.mark.parametrize("command", [(), ("model",)], ids=["bntheory", "model"])
def test_lists_of_commands_cut_no_sentence(command):
    assert "..." not in helped(*command).partition("Commands:")[2]


@pytest.mark.parametrize("command", sorted({"bntheory", *COMMANDS} - {"doctor", "papers"}))
def test_commands_with_options_have_examples(command):
    assert EXAMPLES[command]


@pytest.mark.long
@pytest.mark.parametrize("command", [c for c, lines in EXAMPLES.items() if lines])
def test_examples_run(command, tmp_path, monkeypatch):
    """As a reader would: in a folder with a file of claims, one line after the other."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(TRUE)
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.S) if b.startswith("# my_model.py"))
    (tmp_path / "my_model.py").write_text(block)
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    if command in ("report", "runs"):
        shutil.copytree(
            Path(__file__).parents[2] / "validation" / "recorded" / "quick-cpu", tmp_path / "runs" / "quick"
        )
    if command == "replay":
        (block,) = (b for b in re.findall(r"```python\n(.*?)```", README, re.S) if b.startswith("# mine.py"))
        (tmp_path / "mine.py").write_text(block)
    for line in EXAMPLES[command]:
        if line.startswith(LONG):
            continue
        result = CliRunner().invoke(app, shlex.split(line)[1:] + (["--judge", "algebra"] if "check" in line else []))
        assert result.exit_code == 0, (line, result.output)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines if line.startswith(LONG)])
def test_long_examples_run(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, shlex.split(line)[1:])
    assert result.exit_code == 0, (line, result.output)


SOURCE = Path(bntheory.__file__).parent
ROOT = Path(__file__).parents[2]
PRINTING = [
    *(p for kind in ("*.py", "*.j2") for p in SOURCE.rglob(kind)),
    *ROOT.glob("*.md"),
    *(p for folder in ("docs", "papers", "validation") for p in (ROOT / folder).rglob("*.md")),
]


def mentions(text):
    """(subcommand, what follows it) wherever one is named in quotation or stands on a line of its own."""
    for quoted, line in re.findall(r"`bntheory ([^`]+)`|^[ $]*bntheory (.+)$", text.replace("``", "`"), re.M):
        name, _, rest = (quoted or line).partition(" ")
        if name in COMMANDS:
            yield name, rest


def test_every_command_that_is_named_anywhere_knows_the_options_that_are_named_with_it():
    """In messages, docstrings, templates and pages: whatever a reader may type."""
    import typer

    whole = typer.main.get_command(app)
    seen = set()
    for path in PRINTING:
        for name, rest in mentions(path.read_text(encoding="utf-8")):
            options = re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest)
            if not options:
                continue
            seen.add(name)
            command = whole.commands[name]
            if name == "decide":
                known = set(re.findall(r"--[a-z-]+", helped("decide")))
            else:
                inner = [command, *getattr(command, "commands", {}).values()]
                known = {o for c in inner for p in c.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
            assert set(options) <= known, f"{path}: bntheory {name} {rest}"
    assert len(seen) > 10


MODULES = [
    str(path.relative_to(Path(bntheory.__file__).parents[1]).with_suffix(""))
    .replace("/", ".")
    .removesuffix(".__init__")
    for path in sorted(Path(bntheory.__file__).parent.rglob("*.py"))
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.M)
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_say_what_happens(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted
    assert not result.failed


def test_every_word_is_explained():
    printed = CliRunner().invoke(app, ["words"]).stdout
    for name in (*WORDS, *SECOND, *UNIT_B):
        assert re.search(rf"^  {re.escape(name)}(\(|  )", printed, re.M), name
    for name in NEAREST:
        assert re.search(rf"[ ,]{name}[,:]", printed.replace("\n      ", " ")), name
    listed = json.loads(CliRunner().invoke(app, ["words", "--json"]).stdout)
    assert set(listed["words"]) == set(WORDS)
    assert listed["words"]["dot"] == {
        "kind": "scalar",
        "takes": ["vector", "vector"],
        "meaning": "the inner product over the batch",
    }
    assert listed["nearest"] == NEAREST


@pytest.mark.parametrize("name", NEAREST)
def test_a_word_outside_gets_the_nearest_inside(name):
    """Typed, where the grammar has such a name, and in a file: the same words."""
    assert name not in WORDS
    for text in (f"{name} <= 1", f"{name}(grad) <= 1"):
        result = CliRunner().invoke(app, ["decide", text])
        assert result.exit_code == 2
        assert NEAREST[name] in result.stderr
    mentioned = {word for word in re.findall(r"\w+", NEAREST[name]) if word in {**WORDS, **UNIT_B}}
    assert mentioned or "**" in NEAREST[name] or "a <= c" in NEAREST[name]
