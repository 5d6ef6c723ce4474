"""Every option of every command, given what it cannot be: one message that names it, exit code 2, and nothing computed or written."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import bntheory.commands.pages
import bntheory.models
from bntheory.cli import app
from bntheory.errors import UserError
from bntheory.models.pictures.catalogue import MODELS
from bntheory.models.pictures.limits import limits_of

TREE = typer.main.get_command(app)
COMMANDS = {(name,): c for name, c in TREE.commands.items() if name not in ("model", "decide")}  # type: ignore[attr-defined]
COMMANDS |= {("model", name): c for name, c in TREE.commands["model"].commands.items()}  # type: ignore[attr-defined]
NEEDED = {"show": ["ID"], "replay": ["FILE"], "report": ["FOLDER"], "runs": ["FOLDER"], "probe": ["m:f"]}
VALUED = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if option.param_type_name == "option" and not option.is_flag and option.name != "help"
]
ids = [f"{' '.join(path)} {option.opts[0]}" for path, option in VALUED]


def options_of(arguments: tuple[str, ...]) -> set[str]:
    """The options of the command that these arguments call."""
    command: Any = TREE
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if command.name == "decide":
        return set(re.findall(r"--[a-z-]+", CliRunner().invoke(app, ["decide", "--help"]).stdout))
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    before = {str(p) for p in tmp_path.rglob("*")}

    def check(*arguments: str, names: str, writes: bool = True) -> str:
        result = CliRunner().invoke(app, arguments)
        text = result.output
        assert result.exit_code == 2, (arguments, text)
        assert names in text, (arguments, text)
        assert "Traceback" not in text
        assert result.stdout == ""
        recommended = re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"`bntheory [^`]*`", "", text))
        assert set(recommended) <= options_of(arguments), text  # of another command only by that command's name
        if writes:
            assert {str(p) for p in tmp_path.rglob("*")} == before
        return text

    return check


@pytest.mark.parametrize(("path", "option"), VALUED, ids=ids)
def test_an_empty_option_is_refused(refused, path, option) -> None:  # type: ignore[no-untyped-def]
    name, needed = option.opts[0], NEEDED.get(path[0], [])
    for empty in ([name, ""], [name, "  "], [f"{name}="]):
        assert "empty" in refused(*path, *needed, *empty, names=name)


HELP = {path: CliRunner().invoke(app, [*path, "--help"]).stdout for path in COMMANDS}


def kind_of(path: tuple[str, ...], option: Any) -> str:
    """ "int", "float" or nothing, as the help says."""
    found = re.search(rf"{option.opts[0]} <?(int|float)\b", HELP[path], re.IGNORECASE)
    return found[1].lower() if found else ""


NUMBERS = [(p, o) for p, o in VALUED if kind_of(p, o)]


def test_there_are_numbers_to_try() -> None:
    assert {kind_of(p, o) for p, o in NUMBERS} == {"int", "float"}
    assert len(NUMBERS) > 80


@pytest.mark.parametrize(("path", "option"), NUMBERS, ids=[f"{' '.join(p)} {o.opts[0]}" for p, o in NUMBERS])
def test_a_number_that_cannot_be_is_refused(refused, path, option) -> None:  # type: ignore[no-untyped-def]
    name, needed = option.opts[0], NEEDED.get(path[0], [])
    bad = ["nan", "inf", "-inf", "word", "1e400"]
    if name != "--infimum":  # the least value of a loss may be any number
        bad += ["-7", f"1{'0' * 30}"]
    if kind_of(path, option) == "int":
        bad += ["1.5"]
    if (path[0] == "model" and limits_of(path[1], option.name)[0] > 0) or name == "--gamma":
        bad += ["0"]
    for value in bad:
        refused(*path, *needed, name, value, names=name)


@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_a_model_has_limits_that_hold_from_python_too(name: str) -> None:
    for parameter in inspect.signature(MODELS[name]).parameters.values():
        if isinstance(parameter.default, (int, float)):
            limits = limits_of(name, parameter.name)
            assert limits is not None, parameter.name
            low, high = limits
            assert low <= parameter.default <= high
            assert isinstance(low, type(parameter.default))
            for value in (low - 1, high * 2 + 1, float("nan"), "3", None):
                with pytest.raises(UserError, match=f"{name}: --{parameter.name.replace('_', '-')} is"):
                    bntheory.models.show(name, **{parameter.name: value})


@pytest.mark.parametrize(
    "arguments",
    [
        ("compare", "--seeds", ", "),
        ("compare", "--seeds", "0,0"),
        ("compare", "--seeds", "-1"),
        ("compare", "--seeds", "1e3"),
        ("compare", "--preset", "{folder}"),
        ("compare", "--preset", "{binary}"),
        ("compare", "--data", "nothing"),
        ("compare", "--out", "{file}"),
        ("compare", "--device", "tpu"),
        ("compare", "--fold", "sometimes"),
        ("compare", "--resume", "--overwrite"),
        ("compare", "--claims", ","),
        ("compare", "--claims", "nothing"),
        ("plan", "--preset", "{binary}"),
        ("plan", "--device", "tpu"),
        ("plan", "--claims", ","),
        ("check", "--all", "--device", "tpu"),
        ("check", "--all", "--witnesses", "{file}"),
        ("check", "--all", "--witnesses", "{file}/below"),
        ("check", "--all", "--store", "{file}"),
        ("check", "--all", "--judge", "nobody"),
        ("check", "--all", "--scale", "nothing"),
        ("check", "--all", "--effort", "nothing"),
        ("model", "ignored-statistics", "--device", "tpu"),
        ("model", "slope", "--plot", "{folder}"),
        ("model", "slope", "--plot", "{folder}/none/x.png"),
        ("model", "slope", "--plot", "{picture}"),
        ("tour", "--plot", "{picture}"),
        ("smooth", "--plot", "x.bmp"),
        ("smooth", "--example", "nothing"),
        ("smooth", "--gamma", "2", "--example", "two-lipschitz"),
        ("smooth", "--m", "8", "--example", "rough-layer"),
        ("papers", "--effort", "quick"),
        ("papers", "--effort", "quick", "--check"),
        ("papers", "--again"),
        ("papers", "--jobs", "2"),
        ("tour", "--plot", "{folder}"),
        ("probe", "m:f", "--dtype", "float16"),
        ("probe", "m:f", "--plot", "{folder}"),
        ("papers", "--effort", "nothing"),
        ("runs", "{folder}", "--scale", "nothing"),
        ("runs", "{folder}", "--scale", "quick"),
        ("runs", "merge", "{folder}", "{folder}", "--against", "{folder}"),
        ("runs", "{folder}", "--against", "{folder}"),
        ("runs", "confirm", "{folder}", "--against", "nowhere"),
        ("runs", "merge", "{folder}", "{folder}", "--scale", "quick"),
        ("runs", "merge", "{folder}", "{folder}", "--claims", "all"),
        ("runs", "pack", "{folder}", "{folder}", "--claims", "all"),
        ("report", "{folder}", "{folder}", "--out", "-"),
        ("decide", "gamma > 0", "--witness", "-"),
        ("report", "{folder}", "{folder}", "--out", "{folder}"),
        ("report", "{folder}", "{folder}", "--out", "{folder}/none/x.html"),
        ("decide", "gamma > 0", "--witness", "{folder}"),
        ("decide", "gamma > 0", "--witness", "{folder}/none/x.json"),
        ("decide", "gamma > 0", "--witness", ""),
        ("decide", "gamma > 0", "--plot", "{folder}"),
        ("decide", "gamma > 0", "--min-m", "0"),
        ("decide", "gamma > 0", "--min-m", "nan"),
        ("decide", "gamma > 0", "--min-m", f"1{'0' * 30}"),
        ("decide", "gamma > 0", "--smoothness", "nan"),
        ("decide", "gamma > 0", "--smoothness="),
        ("decide", "gamma > 0", "--loss", ""),
        ("decide", "gamma > 0", "--eps", ""),
        ("decide", "gamma > 0", "--eps", "nan"),
        ("decide", "gamma > 0", "--normaliser=x"),
        ("check", "--all", "--expect", "prooved"),
        ("decide", "gamma > 0", "--assume", ""),
        ("decide", "gamma > 0", "--vector", ""),
    ],
    ids=" ".join,
)
def test_a_word_or_path_that_cannot_be_is_refused(refused, tmp_path, arguments) -> None:  # type: ignore[no-untyped-def]
    places = {"folder": tmp_path / "folder", "file": tmp_path / "file", "binary": tmp_path / "binary.toml"}
    places["picture"] = tmp_path / "folder.png"
    places["folder"].mkdir()
    places["picture"].mkdir()
    places["file"].write_text("text")
    places["binary"].write_bytes(bytes(range(128, 256)))
    option = next(a for a in arguments if a.startswith("--") and a != "--all").partition("=")[0]
    given = [a.format(**places) for a in arguments]
    said = refused(*given, names=option.removeprefix("--"), writes=False)
    # as it is typed, where the sentence begins with it
    assert not re.search(rf"^error: {option.removeprefix('--')}\b", said, re.M | re.I), said


@pytest.mark.parametrize(
    "arguments",
    [
        ("decide", "gamma > 0", "--witness", "w.json"),
        ("decide", "gamma > 0", "--plot", "w.png"),
        ("tour", "--plot", "t.png"),
        ("smooth", "--plot", "s.pdf"),
        ("model", "slope", "--plot", "m.svg"),
        ("probe", "m:f", "--plot", "p.png"),
        ("check", "--all", "--witnesses", "new/w"),
        ("check", "--all", "--store", "s"),
    ],
    ids=" ".join,
)
def test_a_place_that_may_not_be_written_is_refused_before_the_work(refused, monkeypatch, arguments) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "may not be written" in refused(*arguments, names=f"{arguments[-2]} {arguments[-1]}")


@pytest.mark.parametrize("content", ["folder", "nothing", "binary", "a list", "text"])
@pytest.mark.parametrize(
    "command", [("check",), ("replay",), ("report",), ("runs",), ("report", "other")], ids=" ".join
)
def test_what_is_no_file_or_folder_of_this_kind_is_refused(refused, tmp_path, command, content) -> None:  # type: ignore[no-untyped-def]
    place = tmp_path / "given.py"
    match content:
        case "folder":
            place.mkdir()
        case "binary":
            place.write_bytes(bytes(range(128, 256)))
        case "a list":
            place.write_text("[1, 2]")
        case "text":
            place.write_text("no claims here (")
    refused(*command, str(place), names="given.py" if len(command) == 1 else "other", writes=False)


@pytest.mark.parametrize("option", ["--write", "--check", "--json"])
def test_pages_outside_a_checkout_are_refused_with_what_to_do(refused, monkeypatch, option) -> None:  # type: ignore[no-untyped-def]
    """From an installed package there is no recorded store: every experiment would be trained, for hours."""
    monkeypatch.setattr(bntheory.commands.pages, "archive_of_checkout", lambda: None)
    said = CliRunner().invoke(app, ["papers", option]).output
    assert "checkout" in said
    assert ("--again" in said) == (option == "--write")
    if option != "--json":
        refused("papers", option, names="--dir")
