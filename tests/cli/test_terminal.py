"""On a terminal and off it: 80 columns, no colour where none is wanted, progress that can be silenced, JSON in any case, completion."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import bntheory
from bntheory.cli import app
from bntheory.commands.application import COMMANDS

MODELS = re.findall(
    r"^  ([a-z-]+) {2,}", CliRunner().invoke(app, ["model", "--help"]).stdout.partition("Commands:")[2], re.M
)
EVERY = [(name,) for name in COMMANDS if name != "model"] + [("model", name) for name in MODELS]
SOURCE = Path(bntheory.__file__).parent


def shell(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bntheory", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env={**os.environ, **environment},
    )


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a terminal of 80 columns shows, standard output and error together."""
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals of this kind")
    ours, theirs = pty.openpty()
    bare = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "bntheory", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**bare, "TERM": "xterm", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other end was closed
            break
        if not block:
            break
        seen += block
    os.close(ours)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_there_are_models() -> None:
    assert len(MODELS) > 15


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_command_has_json_and_quiet_and_fits_80_columns(command: tuple[str, ...]) -> None:
    text = CliRunner().invoke(app, [*command, "--help"]).stdout
    assert "--json" in text
    assert "--quiet" in text
    long = [line for line in text.splitlines() if len(line) > 80]
    assert all(line.lstrip().startswith("bntheory ") for line in long), long  # an example is one line, to be pasted


@pytest.mark.parametrize(
    "arguments",
    [
        ("claims",),
        ("words",),
        ("check", "santurkar2018.theorem-4.1.neurips", "--judge", "algebra"),
        ("decide", "norm2(input_grad) <= gamma**2/sigma**2*norm2(grad)/2", "--eps", "zero"),
        ("model", "slope", "--steps", "100"),
        ("papers", "--help"),
        ("doctor",),
    ],
    ids=lambda a: a[0],
)
@pytest.mark.parametrize("columns", [40, 80])
def test_what_is_printed_fits_the_terminal(arguments: tuple[str, ...], columns: int) -> None:
    if columns == 40 and "--help" in arguments:
        pytest.skip("examples are lines to be pasted")
    lines = CliRunner(env={"COLUMNS": str(columns)}).invoke(app, arguments).stdout.splitlines()
    assert lines
    # an id, or code, is one word, to be pasted: after a label or alone it may run on
    assert [line for line in lines if len(line) > columns and len(line.split()) > 2] == []
    assert columns < 80 or max(map(len, lines)) <= columns


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "no.such-claim", "--json"),
        ("check", "--no-such-option", "--json"),
        ("decide", "--json"),
        ("decide", "norm2(grad", "--json"),
        ("probe", "nowhere:make", "--json"),
        ("smooth", "--plot", "x.bmp", "--json"),
        ("show", "--json"),
    ],
    ids=" ".join,
)
def test_an_error_is_json_where_json_was_asked_for(arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert done.returncode == 2
    said = json.loads(done.stdout)
    assert said["exit_code"] == 2
    assert said["error"].splitlines()[0][:40] in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "santurkar2018.theorem-4.1.arxiv"),
        ("smooth", "--example", "rough-layer"),
        ("model", "slope", "--steps", "50"),
        ("words",),
    ],
    ids=lambda a: a[0],
)
def test_json_is_all_that_is_printed(arguments: tuple[str, ...]) -> None:
    assert json.loads(shell(*arguments, "--json").stdout)


@pytest.mark.long
def test_a_stream_that_cannot_say_every_character_ends_no_command() -> None:
    """A pipe on Windows: its code page knows no minus sign."""
    done, own = (shell("smooth", "--example", "rough-layer", PYTHONIOENCODING=code) for code in ("cp1252", "utf-8"))
    assert "−" in own.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u2212" in done.stdout


@pytest.mark.long
def test_progress_is_shown_on_a_terminal_and_silenced_by_quiet() -> None:
    command = ("check", "santurkar2018.theorem-4.1.neurips", "--judge", "algebra")
    assert "%" in on_a_terminal(*command)
    assert "%" not in on_a_terminal(*command, "--quiet")


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2])
def test_a_report_says_how_far_it_is(tmp_path: Path, count: int) -> None:
    recorded = SOURCE.parents[1] / "validation/recorded/quick-cpu"
    folders = [shutil.copytree(recorded, tmp_path / str(n)) for n in range(count)]
    command = ("report", *map(str, folders), *(["--out", str(tmp_path / "both.html")] if count == 2 else []))
    seen = on_a_terminal(*command)
    assert "reading" in seen
    assert "drawing" in seen
    assert "%" not in on_a_terminal(*command, "--quiet")


@pytest.mark.long
def test_no_color_is_heeded() -> None:
    command = ("check", "santurkar2018.theorem-4.1.neurips", "--judge", "algebra", "--quiet")
    assert "\x1b[" in on_a_terminal(*command)
    colours = r"\x1b\[[0-9;]*(3[0-7]|4[0-7]|9[0-7])[0-9;]*m"
    assert not re.search(colours, on_a_terminal(*command, NO_COLOR="1"))
    assert "\x1b[" not in on_a_terminal("show", "santurkar2018.theorem-4.1.neurips", NO_COLOR="1")


def test_progress_off_a_terminal_is_a_line_now_and_then(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    from bntheory.commands import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.show_progress() as show:
        for second in range(100):
            now[0] = float(second)
            show(second / 100, "at it")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[0] == " 30 %, about 70 s left: at it"
    progress.be_quiet(True)
    with progress.show_progress() as show:
        now[0] = 1000.0
        show(0.5, "at it")
    progress.be_quiet(False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("de", ["decide"]),
        ("show santurkar2018.theorem-4.1.ne", ["santurkar2018.theorem-4.1.neurips"]),
        ("check cao", ["cao2023.uniform-margin"]),
        ("claims --paper cai", ["cai2019"]),
    ],
)
def test_completion_knows_commands_ids_and_sources(typed: str, offered: list[str]) -> None:
    # the name that completion looks for is the console script's
    script = "import sys; sys.argv = ['bntheory']; from bntheory.cli import main; main()"
    words = {"COMP_WORDS": f"bntheory {typed}", "COMP_CWORD": str(len(typed.split()))}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "_BNTHEORY_COMPLETE": "complete_bash", **words},
    )
    assert done.stdout.split() == offered
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout


def test_nothing_is_imported_that_only_one_system_has() -> None:
    """At the top of a file; inside a function it is asked for with a way out."""
    lonely = re.compile(r"^(import|from) (fcntl|resource|pwd|grp|termios|pty|posix|msvcrt|winreg)\b", re.M)
    bare = re.compile(r"\bos\.(sched_getaffinity|fork|getuid|geteuid|uname|getpgid|killpg|setsid|sysconf)\(")
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not lonely.search(text), path
        assert not bare.search(text) or "if FORKS else" in text, path  # which asks whether there is one


@pytest.mark.long
def test_the_tour_computes_what_it_says(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    result = CliRunner().invoke(app, ["tour", "--plot", str(picture), "--json"])
    assert result.exit_code == 0, result.output
    theorem, repaired, seen, network, _ = json.loads(result.stdout)
    layer = theorem["witness"]["layer"]
    assert (theorem["status"], layer["m"], repaired["status"]) == ("refuted", 3, "proved")
    # by hand, from the printed formula and the definition of batch norm at eps = 0
    import numpy as np

    y, g = (np.array([float(x) for x in layer[name]]) for name in ("y", "grad"))
    gamma, m = float(layer["gamma"]), 3
    sigma = y.std()
    y_hat = (y - y.mean()) / sigma
    behind = gamma / sigma * (g - g.mean() - y_hat * (g @ y_hat) / m)
    bound = (gamma / sigma) ** 2 * (g @ g - g.sum() ** 2 / m - (g @ y_hat) ** 2 / m**0.5)
    assert behind @ behind > bound + 1e-9
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert 0 < seen["smoothed"] < 1
    own, twin = network["network"]["network"], network["network"]["twin"]
    assert own["loss"] == pytest.approx(twin["loss"], rel=1e-12)
    assert network["ratios"]["largest Hessian eigenvalue"] == pytest.approx(own["lambda_max"] / twin["lambda_max"])
    assert max(len(line) for stop in (theorem, repaired) for line in stop["said"]) < 400


@pytest.mark.long
def test_a_typed_verdict_is_drawn_and_cited(tmp_path: Path) -> None:
    """One claim has one key, another has another; the entry says what was found."""
    typed = ["decide", "norm2(input_grad) <= norm2(grad)", "--bibtex"]
    run = CliRunner().invoke
    refuted = run(app, [*typed, "--eps", "zero", "--plot", str(tmp_path / "v.svg")])
    again, other = (
        run(app, [*typed, "--eps", "zero"]),
        run(app, [*typed, "--eps", "zero", "--assume", "gamma <= sigma", "--gamma", "positive"]),
    )
    keys = [re.search(r"@misc\{(bntheory-\w+),", done.stdout)[1] for done in (refuted, again, other)]  # type: ignore[index]
    assert keys[0] == keys[1] != keys[2]
    assert r"\emph{refuted} on \texttt{norm2(input\_grad)" in refuted.stdout
    assert r"\emph{proved}" in other.stdout
    assert r"assuming \texttt{gamma <= sigma}" in other.stdout
    assert (tmp_path / "v.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert run(app, [*typed, "--plot", "nowhere/v.svg"]).exit_code == 2


@pytest.mark.parametrize(
    "options",
    [
        ("dot(y, input_grad) == 0", "--eps", "zero", "--min-m", "3"),
        ("dot(u, hess(u)) <= l*norm2(u)", "--vector", "u", "--scalar", "l:positive", "--smoothness", "l"),
        ("trace(hess) <= m/4", "--loss", "logistic-bounds"),
        ("norm2(input_grad) <= norm2(grad)", "--assume", "gamma <= sigma", "--gamma", "positive"),
        ("dot(one, input_grad) == 0", "--normaliser", "layer-norm", "--operator", "K:psd"),
    ],
    ids=lambda options: options[0].split(" ")[0],
)
def test_a_paragraph_for_a_review_names_the_command_that_decides_it_again(options: tuple[str, ...]) -> None:
    """The entry's key is a digest of the claim, what it assumes and its domain: it is the same, so the claim is."""
    said = CliRunner().invoke(app, ["decide", *options, "--latex", "--bibtex"]).stdout
    command = re.search(r"texttt\{bntheory (decide .*)\}\.\)", said)
    assert command is not None, said
    again = shlex.split(command[1].replace(r"\allowbreak{}", "").replace("\\", ""))
    key = r"@misc\{(bntheory-\w+),"
    found = CliRunner().invoke(app, [*again, "--bibtex"]).stdout
    assert re.findall(key, said) == re.findall(key, found) != []


def test_one_of_something_is_said_in_the_singular() -> None:
    from bntheory.evidence.counts import counted

    assert [counted(n, "record") for n in (0, 1, 2)] == ["0 records", "1 record", "2 records"]
    assert "\n1 claim. " in shell("claims", "--paper", "cao2023").stdout


def without_reader(words: tuple[str, ...], buffered: bool) -> subprocess.CompletedProcess[str]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return into(writing, words, buffered)
    finally:
        os.close(writing)


def into(place: Any, words: tuple[str, ...], buffered: bool) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    if not buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "bntheory", *words], stdout=place, stderr=subprocess.PIPE, text=True, env=environment
    )


OUTPUTS = [
    ("claims",),
    ("decide", "dot(one, input_grad) == 0"),
    ("decide", "--help"),
    ("check", "santurkar2018.theorem-4.1.neurips", "--judge", "algebra"),
    ("words", "--json"),
    ("--help",),
    ("model", "--help"),
    ("--version",),
]


@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("words", OUTPUTS, ids=" ".join)
def test_a_reader_that_goes_away_ends_a_command_quietly(words: tuple[str, ...], buffered: bool) -> None:
    """``bntheory claims | head -1``: not with 1, which says that the answer is no, and without a word."""
    done = without_reader(words, buffered)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a system without a device that is always full")
@pytest.mark.parametrize("words", OUTPUTS, ids=" ".join)
def test_output_that_cannot_be_written_is_said_once(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = into(full, words, buffered=True)
    assert (done.returncode, done.stderr) == (2, f"error: {os.strerror(errno.ENOSPC)}\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes files")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"), [("claims --paper cao2023", 0), ("check nix", 2), ("check nix --json", 2), ("nosuch", 2)]
)
def test_a_command_without_a_console_has_its_code(words: str, code: int, closed: str) -> None:
    command = f"exec {shlex.quote(sys.executable)} -m bntheory {words} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
