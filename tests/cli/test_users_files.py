"""Files of a user's own claims, at their worst: what is wrong with one claim costs that claim only, and a witness replays.

The verdicts expected here follow from two lines of algebra each; that a witness refutes is decided by a replay in a fresh process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bntheory
from bntheory.cli import app
from bntheory.commands.common import wrapped
from bntheory.experiments.preset import load_preset

COMMAND = [sys.executable, "-m", "bntheory.cli"]
HEAD = """
from bntheory import LayerDomain, claim, eq, gt, implies, le
from bntheory.evidence.checks import Check
"""
FALSE = """
@claim("mine.false", statement="x", domain=LayerDomain(eps="zero"))
def false(layer):
    return le(layer.norm2(layer.input_grad), layer.norm2(layer.grad))
"""
TRUE = """
@claim("mine.true", statement="x", domain=LayerDomain(eps="zero"))
def true(layer):
    return eq(layer.dot(layer.y, layer.input_grad), 0)
"""


def strict(text):
    """JSON by the standard: no NaN, no Infinity."""

    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(folder, body, *options):
    (folder / "mine.py").write_text(HEAD + body)
    result = CliRunner().invoke(app, ["check", "mine.py", "--judge", "algebra", "--judge", "study", "--json", *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result, {v["id"]: v for v in strict(result.stdout)}


def fresh(folder, *arguments):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_later_lines_of_an_entry_hang_as_its_first_does_in_lines_that_fit(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    message = "study    error  boom\nline2 " + "word " * 10
    first, *others = wrapped(message, 9, one=True).splitlines()
    assert first == "study    error  boom"
    assert others[0].startswith(" " * 9 + "line2")
    assert all(line.startswith(" " * 9) and len(line) <= 40 for line in others)
    assert wrapped("title\n  item", 9).splitlines() == ["title", "  item"]  # entries of their own


@pytest.mark.long
def test_the_lines_of_a_users_message_stand_under_its_judge(folder):
    body = """
@claim("mine.broken", statement="x", kind="dynamics")
def broken(study):
    raise RuntimeError("boom\\nline2\\n  line3")
"""
    (folder / "mine.py").write_text(HEAD + body)
    said = CliRunner().invoke(app, ["check", "mine.py", "--judge", "study"]).stdout
    head, second, third = said.splitlines()[1:4]
    assert head.split() == ["study", "error", "RuntimeError:", "boom"]
    assert second == " " * 27 + "line2"
    assert third.startswith(" " * 27 + "  line3 (line ")


@pytest.mark.long
def test_files_with_the_mark_that_editors_on_windows_write_are_read(folder):
    _, verdicts = judged(folder, FALSE, "--witnesses", "w")
    (witness,) = (folder / "w").iterdir()
    preset = folder / "p.toml"
    shutil.copy(Path(bntheory.__file__).parent / "experiments" / "presets" / "smoke.toml", preset)
    for path in (folder / "mine.py", witness, preset):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    run = CliRunner().invoke
    assert verdicts["mine.false"]["status"] == "refuted"
    for command in (
        ["check", "mine.py", "--judge", "algebra"],
        ["replay", str(witness)],
        ["replay", str(witness), "--latex"],
    ):
        assert run(app, command).exit_code == 0, command
    assert load_preset(str(preset)).name == "p"


@pytest.mark.long
def test_the_witness_of_a_users_claim_carries_what_it_states_and_replays_anywhere(folder):
    result, found = judged(folder, FALSE, "--witnesses", "found")
    assert result.exit_code == 0
    assert found["mine.false"]["status"] == "refuted"
    witness = folder / "found" / "mine.false.json"
    (folder / "mine.py").unlink()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for place in (folder, elsewhere):
        again = fresh(place, "replay", witness)
        assert again.returncode == 0, again.stderr
        assert "mine.false is refuted by" in again.stdout
        assert "norm2(input_grad) <= norm2(grad)" in again.stdout


@pytest.mark.long
def test_only_a_file_that_the_user_names_is_run(folder):
    judged(folder, FALSE, "--witnesses", "found")
    witness = folder / "found" / "mine.false.json"
    (folder / "mine.py").write_text("open('ran', 'w')\n" + HEAD + FALSE)
    assert fresh(folder, "replay", witness).returncode == 0
    assert not (folder / "ran").exists()
    assert fresh(folder, "replay", witness, "--claims", "mine.py").returncode == 0
    assert (folder / "ran").exists()

    changed = FALSE.replace("layer.norm2(layer.grad)", "layer.gamma**2/layer.sigma**2*layer.norm2(layer.grad)")
    (folder / "mine.py").write_text(HEAD + changed)
    holds = fresh(folder, "replay", witness, "--claims", "mine.py")
    assert holds.returncode == 1
    assert "is not refuted" in holds.stdout
    (folder / "mine.py").write_text(HEAD + FALSE.replace('eps="zero"', 'eps="positive"'))
    assert fresh(folder, "replay", witness, "--claims", "mine.py").returncode == 2


@pytest.mark.long
@pytest.mark.parametrize(
    "claim",
    [
        {"kind": "file", "path": "mine.py", "id": "mine.false"},
        {"kind": "file", "path": "mine.py", "id": "mine.false", "expression": "__import__('os').mkdir('ran')"},
        {"kind": "file", "path": "mine.py", "id": "mine.false", "expression": ["gamma <= 1"]},
        {"kind": "file", "path": "mine.py", "id": "no id", "expression": "gamma <= 1"},
        {"kind": "expression", "expression": "gamma <= 1", "assume": ["(lambda: 0)() <= 1"]},
    ],
    ids=["nothing carried", "code", "no text", "no id", "code assumed"],
)
def test_a_witness_that_carries_no_claim_runs_nothing(folder, claim):
    judged(folder, FALSE, "--witnesses", "found")
    witness = folder / "found" / "mine.false.json"
    witness.write_text(json.dumps({**json.loads(witness.read_text()), "claim": claim}))
    (folder / "mine.py").write_text("open('ran', 'w')\n" + HEAD + FALSE)
    refused = fresh(folder, "replay", witness)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr
    assert not (folder / "ran").exists()


CARRIED = {
    "hypotheses and free quantities": (
        'domain=LayerDomain(eps="zero", scalars={"a": "positive"}, vectors=("u",), operators={"K": "psd"}), '
        'assume=lambda layer: [le(layer.scalar("a"), 2), gt(layer.m, 2)]',
        'le(layer.dot(layer.vector("u"), layer.operator("K")(layer.vector("u"))), layer.scalar("a") * 0.1)',
        True,
    ),
    "connectives and a vector": (
        'domain=LayerDomain(eps="zero")',
        "implies(gt(layer.gamma, 0), eq(layer.input_grad, layer.grad / layer.sigma))",
        True,
    ),
    "a name that cannot be typed": (
        'domain=LayerDomain(scalars={"größe": "positive"})',
        'le(layer.scalar("größe"), 1)',
        False,
    ),
    "longer than can be typed": (
        'domain=LayerDomain(eps="zero")',
        "le(sum(layer.gamma**2 for _ in range(2000)), 1)",
        False,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize(("domain", "statement", "carried"), CARRIED.values(), ids=CARRIED)
def test_what_the_typed_grammar_can_say_is_carried(folder, domain, statement, carried):
    body = f"""
@claim("mine.own", statement="x", {domain})
def own(layer):
    return {statement}
"""
    _, found = judged(folder, body, "--witnesses", "found")
    assert found["mine.own"]["status"] == "refuted"
    (folder / "mine.py").rename(folder / "moved.py")
    witness = folder / "found" / "mine.own.json"
    again = fresh(folder, "replay", witness)
    assert again.returncode == (0 if carried else 2), again.stderr
    if not carried:
        assert "--claims FILE.py" in again.stderr
        assert fresh(folder, "replay", witness, "--claims", "moved.py").returncode == 0


def test_numbers_that_are_not_finite_are_still_json(folder):
    body = """
@claim("mine.numbers", statement="x", kind="landscape")
def numbers(study):
    return [Check("a", float("nan"), "le", float("inf"), "numerical", "s"), Check("b", float("-inf"), "le", 0.0, "numerical", "s")]
"""
    _, found = judged(folder, body)
    checks = found["mine.numbers"]["evidence"][0]["details"]["checks"]
    assert [checks[0]["left"], checks[0]["right"], checks[1]["left"]] == ["NaN", "Infinity", "-Infinity"]


MISTAKES = {
    "exits": ("    import sys; sys.exit(3)", "SystemExit"),
    "not finite": ('    return le(layer.m, float("nan"))', "finite"),
    "sets an attribute": ("    layer.gamma = 1\n    return le(layer.gamma, 1)", "gamma"),
    "orders vectors": ("    return le(layer.y, layer.grad)", "vectors"),
    "returns nothing": ("    le(layer.m, 1)", "None: is a 'return' missing?"),
    "recurses": ("    return wrong(layer)", "Recursion"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_one_claim_costs_that_claim(folder, mistake):
    code, message = MISTAKES[mistake]
    result, found = judged(folder, f'@claim("mine.wrong", statement="x")\ndef wrong(layer):\n{code}\n{TRUE}')
    assert found["mine.wrong"]["status"] == "error"
    assert message in found["mine.wrong"]["evidence"][0]["summary"]
    assert found["mine.true"]["status"] == "proved"
    assert result.exit_code == 2


def test_a_study_that_returns_a_relation_is_told_what_to_return(folder):
    _, found = judged(
        folder, '@claim("mine.study", statement="x", kind="dynamics")\ndef study(s):\n    return le(1, 2)\n'
    )
    assert "Check" in found["mine.study"]["evidence"][0]["summary"]


def test_what_a_file_prints_is_no_part_of_the_answer(folder):
    _, found = judged(folder, 'print("loading")\n' + TRUE.replace("    return", '    print("here")\n    return'))
    assert found["mine.true"]["status"] == "proved"


@pytest.mark.parametrize("way", ["os.write(1, b'past Python')", "subprocess.run(['echo', 'past Python'])"])
def test_what_a_claim_writes_past_python_is_no_part_of_the_answer(folder, way):
    body = TRUE.replace("    return", f"    import os, subprocess\n    {way}\n    return")
    (folder / "mine.py").write_text(HEAD + body)
    words = ["check", "mine.py", "--judge", "algebra", "--json"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=120, check=False)
    assert [v["id"] for v in strict(done.stdout)] == ["mine.true"]
    assert "past Python" in done.stderr


def test_a_file_that_exits_is_read_to_its_end(folder):
    result, found = judged(folder, "raise SystemExit(0)\n" + TRUE)
    assert found["mine.true"]["status"] == "proved"
    assert result.exit_code == 2


def test_ids_of_the_package_and_of_another_file_are_taken(folder):
    (folder / "other.py").write_text(HEAD + TRUE)
    clash = TRUE.replace("mine.true", "santurkar2018.theorem-4.1.arxiv").replace("def true", "def printed")
    result, found = judged(folder, TRUE + clash, "other.py", "./mine.py")
    assert list(found) == ["mine.true"]
    assert result.exit_code == 2
    assert "taken by the package" in result.stderr
    assert "taken by mine.py" in result.stderr


@pytest.mark.long
def test_a_claim_that_works_in_place_is_judged_as_it_reads(folder):
    """y *= 2 rebinds a name in one world and would change the layer in another; the claim is true as it reads."""
    body = '@claim("mine.place", statement="x")\ndef place(layer):\n    y = layer.y\n    y *= 2\n    return eq(y, 2 * layer.y)\n'
    (folder / "mine.py").write_text(HEAD + body)
    result = CliRunner().invoke(app, ["check", "mine.py", "--effort", "quick", "--jobs", "1", "--json"])
    (verdict,) = strict(result.stdout)
    assert verdict["status"] == "proved"
    assert {e["judge"]: e["finding"] for e in verdict["evidence"]} == {
        "algebra": "proved",
        "search": "survives",
        "network": "holds",
    }


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_at_once_says_what_was_judged_and_leaves_nobody_behind(folder, jobs):
    """The claims take minutes; the interrupt goes to the whole group, as a terminal sends it."""
    slow = """
import time
@claim("mine.slow-{0}", statement="x", kind="dynamics")
def slow_{0}(study):
    time.sleep(300)
"""
    (folder / "mine.py").write_text(HEAD + TRUE + "".join(slow.format(i) for i in range(4)))
    process = subprocess.Popen(
        [*COMMAND, "check", "mine.py", "--judge", "study", "--judge", "algebra", "--jobs", str(jobs)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        first = process.stdout.readline()  # the quick claim's verdict: judging is under way
        time.sleep(0.5)
        os.killpg(process.pid, signal.SIGINT)
        rest, errors = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert "mine.true" in first + rest
    assert "interrupted after 1 of 5 claims" in errors
    assert "Traceback" not in errors
    _wait_until_gone(process.pid)


def _wait_until_gone(group):
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        except PermissionError:  # some systems answer so for a group of zombies
            return
        stats = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True, check=False)
        if all(line.startswith("Z") for line in stats.stdout.split()):
            return
        time.sleep(0.1)
    raise AssertionError("a worker is still running")


@pytest.mark.long
def test_a_claim_that_ends_its_process_is_said(tmp_path):
    """A worker that dies must not end the command with a traceback."""
    path = tmp_path / "dies.py"
    path.write_text(
        "import os\nfrom bntheory import claim, le\n"
        "@claim('dies.one', statement='x')\ndef one(layer):\n    os._exit(3)\n"
        "@claim('dies.two', statement='x')\ndef two(layer):\n    return le(0, layer.norm2(layer.grad))\n"
    )
    arguments = [sys.executable, "-m", "bntheory.cli", "check", str(path), "--judge", "algebra", "--jobs", "2"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 2
    assert "ended without an answer" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.long
def test_numpy_is_given_one_thread_before_it_is_loaded_and_what_a_user_set_is_kept(folder):
    """How a sum is split over threads changes its last bits, and the processes of a judgement share the cores."""
    (folder / "mine.py").write_text(
        HEAD + 'import os\n@claim("mine.study", statement="x", kind="dynamics")\n'
        "def study(s):\n"
        '    left = float(os.environ["OPENBLAS_NUM_THREADS"])\n'
        '    return Check("threads", left, "le", 1.0, "exact", "here")\n'
    )
    bare = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    for given, status in (({}, "survives"), ({"OPENBLAS_NUM_THREADS": "2"}, "refuted")):
        ended = subprocess.run(
            [*COMMAND, "check", "mine.py", "--json"], env={**bare, **given}, capture_output=True, text=True
        )
        assert [v["status"] for v in strict(ended.stdout)] == [status], ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes in folders")
@pytest.mark.parametrize(
    "words",
    [
        ["replay", "pipe"],
        ["check", "pipe.py"],
        ["compare", "--preset", "pipe.toml"],
        ["decide", "norm(mean(y)) <= -1", "--witness", "pipe"],
        ["decide", "norm(mean(y)) <= -1", "--plot", "pipe.png"],
    ],
)
def test_a_pipe_is_refused_at_once_and_stays_one(folder, words):
    """Reading it waits for ever, and written in one step it would be replaced by a file."""
    name = words[-1]
    os.mkfifo(folder / name)
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "is no regular file" in done.stderr
    assert (folder / name).is_fifo()


def test_a_witness_is_written_where_a_link_points(folder):
    (folder / "far").mkdir()
    (folder / "link.json").symlink_to(folder / "far" / "witness.json")
    words = ["decide", "norm2(input_grad) <= norm2(grad) / 2", "--witness", "link.json"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "link.json").is_symlink()
    assert json.loads((folder / "far" / "witness.json").read_text())["layer"]
