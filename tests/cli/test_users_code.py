"""What a user's code may do to the judging of a file: take for ever, die, be random, print, import its neighbours, be written wrongly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from bntheory.claims.claim import Study
from bntheory.claims.user_file import load_claims
from bntheory.judges.check import judge_claim
from bntheory.judges.exact.witness import Reference

COMMAND = [sys.executable, "-m", "bntheory.cli", "check"]
HEAD = "from bntheory import LayerDomain, Source, claim, eq, ge, gt, le\n"
TRUE = """
@claim("mine.true", statement="x")
def true(layer):
    return le(0, layer.norm2(layer.grad))
"""


def checked(folder, name, *options, judges=("algebra",)):
    """Exit code, verdicts by id, and what was said on standard error, of a fresh process."""
    chosen = [part for judge in judges for part in ("--judge", judge)]
    done = subprocess.run(
        [*COMMAND, str(name), *chosen, "--json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {v["id"]: v for v in json.loads(done.stdout or "[]")}, done.stderr


def write(folder, **files):
    for name, body in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(body))
    return folder


@pytest.mark.long
def test_a_claim_that_never_ends_is_stopped_and_the_others_go_on(tmp_path):
    body = HEAD + TRUE.replace("mine.true", "mine.first").replace("def true", "def first")
    body += '@claim("mine.endless", statement="x")\ndef endless(layer):\n    while True:\n        try:\n            pass\n        except BaseException:\n            pass\n'
    write(tmp_path, mine=body + TRUE)
    start = time.monotonic()
    code, found, _ = checked(tmp_path, "mine.py", "--time-limit", "6", "--jobs", "1", "--expect", "proved")
    assert time.monotonic() - start < 60
    assert {k: v["status"] for k, v in found.items()} == {
        "mine.first": "proved",
        "mine.endless": "unknown",
        "mine.true": "proved",
    }
    assert "stopped after 6 s (--time-limit)" in found["mine.endless"]["evidence"][-1]["summary"]
    assert code == 1


@pytest.mark.long
def test_what_was_found_before_the_time_was_up_counts(tmp_path):
    """The second study never ends; the algebra judge of a slow claim has answered when search is stopped."""
    body = HEAD + TRUE
    body += (
        'import sys, time\n@claim("mine.slow-search", statement="x")\ndef slow(layer):\n'
        '    if "torch" in sys.modules and type(layer._world).__name__ == "BatchNormLayer":\n        time.sleep(60)\n'
        "    return le(0, layer.norm2(layer.grad))\n"
    )
    write(tmp_path, mine=body)
    _, found, _ = checked(tmp_path, "mine.py", "--time-limit", "20", judges=("algebra", "search"))
    evidence = {e["judge"]: e["finding"] for e in found["mine.slow-search"]["evidence"]}
    assert evidence == {"algebra": "proved", "search": "unknown"}
    assert found["mine.slow-search"]["status"] == "proved"


@pytest.mark.long
def test_a_file_that_never_ends_is_stopped_at_its_line(tmp_path):
    write(tmp_path, mine=HEAD + "while True:\n    pass\n" + TRUE)
    code, found, said = checked(tmp_path, "mine.py", "--time-limit", "6")
    assert found["mine.true"]["status"] == "proved"
    assert "still running after 6 s" in said
    assert code == 2


@pytest.mark.long
def test_a_claim_that_ends_its_process_costs_itself_only(tmp_path):
    dying = '@claim("mine.dies-{0}", statement="x")\ndef dies_{0}(layer):\n    import os\n    os._exit(3)\n'
    write(tmp_path, mine=HEAD + dying.format(1) + TRUE + dying.format(2))
    for jobs in ("1", "2"):
        code, found, _ = checked(tmp_path, "mine.py", "--jobs", jobs)
        assert found["mine.true"]["status"] == "proved"
        for name in ("mine.dies-1", "mine.dies-2"):
            assert found[name]["status"] == "error"
            assert "ended without an answer (exit code 3" in found[name]["evidence"][-1]["summary"]
        assert code == 2


@pytest.mark.long
def test_a_file_is_run_once_however_many_claims_and_processes(tmp_path):
    body = HEAD + 'print("run")\nwith open("runs.txt", "a") as f:\n    f.write("x")\n'
    for i in range(6):
        body += f'@claim("mine.c{i}", statement="x")\ndef c{i}(layer):\n    print("called {i}")\n    return le(0, layer.norm2(layer.grad))\n'
    write(tmp_path, mine=body)
    code, found, said = checked(tmp_path, "mine.py", "--jobs", "3")
    assert code == 0
    assert len(found) == 6
    assert (tmp_path / "runs.txt").read_text() == "x"
    assert said.count("run") == 1
    assert [said.count(f"called {i}") for i in range(6)] == [1] * 6


FICKLE = {
    "random number": "    return le(layer.norm2(layer.input_grad), random.random() * layer.norm2(layer.grad))",
    "random relation": "    return random.choice([le, ge])(layer.norm2(layer.grad), 0)",
    "random word": "    return le(0, layer.norm2(getattr(layer, random.choice(['y', 'grad']))))",
    "counter": "    CALLS.append(1)\n    return le(0, len(CALLS) * layer.norm2(layer.grad))",
    "every other time": "    CALLS.append(1)\n    return le(0, layer.eps) if len(CALLS) % 2 else le(layer.eps, 0)",
    "remembers the first": "    CALLS.append(1)\n    return le(0, layer.eps) if len(CALLS) == 1 else le(1, layer.eps)",
    "clock": "    return le(0, time.perf_counter() * layer.eps)",
    "raises sometimes": "    CALLS.append(1)\n    if len(CALLS) % 3 == 0:\n        raise ValueError('now and then')\n    return le(0, layer.eps)",
}


@pytest.mark.parametrize("name", FICKLE)
def test_a_claim_that_contradicts_itself_is_said_to(tmp_path, name):
    body = HEAD + "import random, time\nCALLS = []\n"
    body += f'@claim("mine.fickle", statement="x")\ndef fickle(layer):\n{FICKLE[name]}\n'
    evidence = judged_here(tmp_path, body)
    assert "answers differently when it is called again: first " in evidence.summary
    assert "mine.py:4" in evidence.summary


def judged_here(folder, body):
    """The only evidence on the only claim of a file, an error."""
    path = write(folder, mine=body) / "mine.py"
    (claim,) = load_claims(path).claims
    verdict = judge_claim(claim, Study("quick"), reference=Reference("file", claim.id, str(path)))
    assert verdict.status.value == "error"
    (evidence,) = verdict.evidence
    return evidence


def test_an_assumption_that_contradicts_itself_is_said_to(tmp_path):
    body = HEAD + "import random\n" + TRUE.replace('"x")', '"x", assume=lambda x: [ge(x.gamma, random.random())])')
    assert "this assumption answers differently" in judged_here(tmp_path, body).summary


@pytest.mark.long
def test_modules_beside_a_file_and_packages_can_be_imported(tmp_path):
    one = TRUE.replace("0,", "LIMIT,")
    late = one.replace("    return", "    from limits import LIMIT\n    return")
    files = {
        "a/limits": "LIMIT = 0\n",
        "b/limits": "LIMIT = -1\n",
        "a/mine": "from limits import LIMIT\n" + HEAD + one.replace("mine.true", "a.mine"),
        "b/mine": "import limits\n" + HEAD + one.replace("LIMIT", "limits.LIMIT").replace("mine.true", "b.mine"),
        "late/mine": HEAD + late.replace("mine.true", "late.mine"),
        "late/limits": "LIMIT = 0\n",
        "top/__init__": "",
        "top/inner/__init__": "",
        "top/shared": "LIMIT = 0\n",
        "top/inner/near": "HERE = 1\n",
        "top/inner/mine": "from ..shared import LIMIT\nfrom . import near\n"
        + HEAD
        + one.replace("mine.true", "top.mine"),
    }
    write(tmp_path, **files)
    for place, claim in (("a", "a.mine"), ("b", "b.mine"), ("late", "late.mine"), ("top/inner", "top.mine")):
        code, found, said = checked(tmp_path, f"{place}/mine.py")
        assert (code, found[claim]["status"]) == (0, "proved"), said
    code, found, said = checked(tmp_path, "a/mine.py", "b/mine.py", "late/mine.py", "top/inner/mine.py")
    assert code == 0, said
    assert len(found) == 4


@pytest.mark.long
def test_what_lies_beside_a_file_takes_no_librarys_place(tmp_path):
    """The judges load sympy, z3 and flint when they need them, not a neighbour of that name."""
    names = ("sympy", "z3", "flint", "typer", "scipy")
    files = {f"here/{name}": "raise SystemExit('the wrong one')\n" for name in names}
    write(tmp_path, **{"here/mine": HEAD + TRUE}, **files)
    code, found, said = checked(tmp_path, "here/mine.py")
    assert (code, found["mine.true"]["status"]) == (0, "proved"), said


WRONG = {
    "assume is text": ("@claim('mine.c', statement='x', assume='gamma > 0')", "assume is 'gamma > 0', a str"),
    "assume is a relation": (
        "@claim('mine.c', statement='x', assume=le(0, 1))",
        "a Relation; it is a function of the layer",
    ),
    "assume is a list": ("@claim('mine.c', statement='x', assume=[le(0, 1)])", "a list; it is a function of the layer"),
    "assume takes nothing": ("@claim('mine.c', statement='x', assume=lambda: [])", "assume has the parameters ()"),
    "domain is a dictionary": (
        "@claim('mine.c', statement='x', domain={'eps': 'zero'})",
        "write LayerDomain(eps='zero'",
    ),
    "domain is text": ("@claim('mine.c', statement='x', domain='eps = 0')", "write LayerDomain(eps='zero'"),
    "domain of a wrong range": (
        "@claim('mine.c', statement='x', domain=LayerDomain(eps=0))",
        "eps is 0; it can be one of",
    ),
    "scalars is a list": (
        "@claim('mine.c', statement='x', domain=LayerDomain(scalars=['a']))",
        "scalars={'a': 'positive'}",
    ),
    "vectors is text": ("@claim('mine.c', statement='x', domain=LayerDomain(vectors='u'))", "vectors=('u',)"),
    "a name is a number": ("@claim('mine.c', statement='x', domain=LayerDomain(vectors=(1,)))", "a free name is 1"),
    "source is text": (
        "@claim('mine.c', statement='x', source='Santurkar 2018')",
        "write Source('author2018', 'Theorem 4.1')",
    ),
    "statement is missing": ("@claim('mine.c')", "has no statement; give what is claimed"),
    "statement is a number": ("@claim('mine.c', statement=3)", "statement is 3, a int; it is a text"),
    "no id": ("@claim", "@claim is called with an id"),
    "id is a number": ("@claim(3, statement='x')", "id is 3"),
    "id is malformed": ("@claim('Mine Claim', statement='x')", "an id is lower-case words joined by dots"),
    "kind is unknown": ("@claim('mine.c', statement='x', kind='layers')", "kind 'layers' is not one of"),
    "an option that is none": (
        "@claim('mine.c', statement='x', assuming=None)",
        "unexpected keyword argument 'assuming'",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_written_wrongly_is_said_with_its_line(tmp_path, name):
    decorator, message = WRONG[name]
    write(tmp_path, mine=f"{HEAD}\n{decorator}\ndef c(layer):\n    return le(0, layer.norm2(layer.grad))\n{TRUE}")
    loaded = load_claims(tmp_path / "mine.py")
    assert [c.id for c in loaded.claims] == ["mine.true"]
    (problem,) = loaded.problems
    assert message in problem.message
    assert problem.line in (3, 4)


PARAMETERS = {
    "two": ("(layer, u)", "has the parameters (layer, u)"),
    "none": ("()", "has the parameters ()"),
    "keyword only": ("(*, layer)", "has the parameters (*, layer)"),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_a_claim(tmp_path, name):
    parameters, message = PARAMETERS[name]
    write(tmp_path, mine=f"{HEAD}@claim('mine.c', statement='x')\ndef c{parameters}:\n    return le(0, 1)\n")
    (problem,) = load_claims(tmp_path / "mine.py").problems
    assert message in problem.message
    assert "layer.vector('u')" in problem.message


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_worker_does_not_outlive_a_command_that_is_killed(tmp_path):
    """Killed outright, the command cannot clean up; the claim's process notices."""
    body = (
        HEAD
        + "import os\n"
        + '@claim("mine.endless", statement="x")\ndef endless(layer):\n    open("pid", "w").write(str(os.getpid()))\n    while True:\n        pass\n'
    )
    write(tmp_path, mine=body)
    process = subprocess.Popen([*COMMAND, "mine.py", "--judge", "algebra"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    for _ in range(300):
        if pid.exists() and pid.read_text():
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    worker = int(pid.read_text())
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("the worker is still there")


@pytest.mark.long
def test_a_file_that_imports_from_the_literature_judges_its_own_claims_and_leaves_the_others_where_they_are(tmp_path):
    write(tmp_path, mine=HEAD + "from bntheory.claims.sources.santurkar2018.layer import KEY\n" + TRUE)
    printed = "santurkar2018.theorem-4.1.neurips"
    code, found, said = checked(tmp_path, "mine.py", printed)
    assert code == 0, said
    assert {k: v["status"] for k, v in found.items()} == {"mine.true": "proved", printed: "refuted"}
