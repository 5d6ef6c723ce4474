"""The command line as a user meets it: what it prints, its exit codes, and that bad use is never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from bntheory.cli import app
from bntheory.commands.common import EXIT_CODES
from bntheory.errors import UserError

MINE = '''
"""A user's claims: two good ones, and most of what can go wrong."""
from bntheory import LayerDomain, claim, eq, ge, gt, le

@claim("mine.orthogonal", statement=r"\\langle y, \\nabla\\rangle = 0", domain=LayerDomain(eps="zero"))
def orthogonal(layer):
    return eq(layer.dot(layer.y, layer.input_grad), 0)

@claim("mine.raises", statement="x")
def raises(layer):
    return le({}["missing"], 1)

@claim("mine.unknown-name", statement="x")
def unknown_name(layer):
    return le(layer.norm2(layer.gradient), 1)

@claim("mine.orthogonal", statement="the same id again")
def duplicate(layer):
    return eq(1, 1)

@claim("mine.vacuous", statement="x", assume=lambda layer: [gt(0, layer.norm2(layer.y))])
def vacuous(layer):
    return le(layer.norm2(layer.grad), 0)

@claim("mine.bad-domain", statement="x", domain=LayerDomain(eps="tiny"))
def bad_domain(layer):
    return le(0, 1)

@claim("mine.a-bool", statement="x")
def a_bool(layer):
    return layer.m == 2

@claim("mine.false", statement="x", domain=LayerDomain(eps="positive"))
def false(layer):
    return eq(layer.dot(layer.y, layer.input_grad), 0)
'''


@pytest.fixture
def run():
    runner = CliRunner()

    def call(*arguments):
        result = runner.invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    return call


def test_help_of_every_command_teaches(run):
    top = run("--help").output
    for command in (
        "tour",
        "decide",
        "claims",
        "show",
        "check",
        "replay",
        "compare",
        "probe",
        "doctor",
        "smooth",
        "model",
        "papers",
    ):
        assert command in top
        assert len(run(command, "--help").output) > 300


@pytest.mark.long
def test_commands_do_without_docstrings_and_assertions():
    """As under ``python -OO``, which drops both."""
    for words in (["--help"], ["check", "--help"], ["model", "--help"]):
        done = subprocess.run([sys.executable, "-OO", "-m", "bntheory", *words], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_decide_a_true_and_a_false_claim(run):
    true = run("decide", "dot(y, input_grad) == 0", "--eps", "zero", "--json")
    false = run("decide", "dot(y, input_grad) == 0", "--eps", "positive", "--json")
    assert (true.exit_code, json.loads(true.stdout)["status"]) == (0, "proved")
    assert (false.exit_code, json.loads(false.stdout)["status"]) == (0, "refuted")


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('echo hi')",
        "layer.y",
        "[x for x in y]",
        "m ** 999999",
        "norm2(grad",
        "y + 1 <= 0",
        "(" * 500,
        "x" * 10_001,
    ],
    ids=["call", "attribute", "comprehension", "power", "parenthesis", "types", "nesting", "length"],
)
def test_decide_refuses_hostile_input(run, expression):
    result = run("decide", expression)
    assert result.exit_code == 2
    assert result.stderr.startswith("error:")
    assert len(result.stderr) < 2000


def test_claims_as_json_has_the_documented_fields(run):
    listed = json.loads(run("claims", "--json").stdout)
    assert len(listed) >= 65
    assert all({"id", "kind", "source", "statement"} <= set(c) for c in listed)
    only = json.loads(run("claims", "--json", "--paper", "arora2019").stdout)
    assert {c["source"]["key"] for c in only} == {"arora2019"}


def test_check_prints_stable_json(run):
    (verdict,) = json.loads(run("check", "santurkar2018.theorem-4.1.neurips", "--judge", "algebra", "--json").stdout)
    assert {"id", "kind", "status", "evidence"} <= set(verdict)
    assert verdict["status"] == "refuted"
    assert verdict["evidence"][0]["details"]["witness"]["schema"].startswith("bntheory.witness/")


def test_expect_makes_it_a_test(run):
    target = "santurkar2018.theorem-4.1.arxiv"
    assert run("check", target, "--judge", "algebra", "--expect", "proved").exit_code == 0
    assert run("check", target, "--judge", "algebra", "--expect", "refuted").exit_code == 1


def test_witness_is_saved_and_replays_in_a_fresh_process(run, tmp_path):
    target = "santurkar2018.theorem-4.1.neurips"
    assert run("check", target, "--judge", "algebra", "--witnesses", tmp_path).exit_code == 0
    path = tmp_path / f"{target}.json"
    done = subprocess.run([sys.executable, "-m", "bntheory.cli", "replay", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "is refuted by" in done.stdout
    data = json.loads(path.read_text())
    data["layer"]["grad"] = ["0"] * len(data["layer"]["grad"])
    path.write_text(json.dumps(data))
    assert run("replay", path).exit_code == 1
    path.write_text("{")
    assert run("replay", path).exit_code == 2


@pytest.mark.long
def test_a_users_file_is_judged_to_its_end(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    result = run("check", path, "--judge", "algebra", "--judge", "search", "--effort", "quick", "--jobs", "1", "--json")
    verdicts = {v["id"]: v for v in json.loads(result.stdout)}
    assert result.exit_code == 2
    assert {i: v["status"] for i, v in verdicts.items()} == {
        "mine.orthogonal": "proved",
        "mine.raises": "error",
        "mine.unknown-name": "error",
        "mine.vacuous": "vacuous",
        "mine.a-bool": "error",
        "mine.false": "refuted",
    }
    assert "layer.gradient" in json.dumps(verdicts["mine.unknown-name"])
    assert "'mine.orthogonal' is taken" in result.stderr
    assert "eps is 'tiny'" in result.stderr


def test_a_syntax_error_costs_one_claim_only(run, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE.replace("def raises(layer):", "def raises(layer:").replace("tiny", "zero"))
    result = run("check", path, "--judge", "algebra", "--jobs", "1", "--json")
    found = {v["id"] for v in json.loads(result.stdout)}
    assert result.exit_code == 2
    assert "syntax error" in result.stderr
    assert {"mine.orthogonal", "mine.vacuous", "mine.false"} <= found
    assert "mine.raises" not in found


FACTORIES = """
import torch
from torch import nn
x, t = torch.randn(8, 4), torch.zeros(8, dtype=torch.long)
def plain(): return nn.Linear(4, 2), nn.functional.cross_entropy, (x, t)
def number(): return 3
def broken(): raise RuntimeError("no data here")
def not_a_model(): return 1, nn.functional.cross_entropy, (x, t)
def good(): return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2)), nn.functional.cross_entropy, (x, t)
"""


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "user_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "user_factories", raising=False)
    return tmp_path


BAD_USE = {
    "no such command": ("frobnicate",),
    "no such id": ("check", "santurkar2018.theorem-9"),
    "nothing to check": ("check",),
    "no such paper": ("check", "--paper", "nobody1999"),
    "no such kind": ("claims", "--kind", "wish"),
    "no such judge": ("check", "--all", "--judge", "jury"),
    "no such effort": ("check", "--all", "--effort", "heroic"),
    "no such status": ("check", "--all", "--expect", "true"),
    "no such file": ("check", "missing/claims.py"),
    "no such device": ("check", "--all", "--device", "toaster"),
    "witness missing": ("replay", "missing.json"),
    "factory without colon": ("probe", "user_factories"),
    "factory that does not import": ("probe", "no_such_module:make"),
    "factory that does not exist": ("probe", "user_factories:nothing"),
    "factory that raises": ("probe", "user_factories:broken"),
    "factory of a number": ("probe", "user_factories:number"),
    "factory of no model": ("probe", "user_factories:not_a_model"),
    "figure of an unknown kind": ("smooth", "--plot", "figure.docx"),
    "figure in a missing folder": ("smooth", "--plot", "nowhere/figure.png"),
    "no such model": ("model", "perpetuum-mobile"),
    "model option out of range": ("model", "mean-field", "--batch-size", "2"),
    "no such pages": ("papers", "--check", "--dir", "nowhere"),
}


@pytest.mark.parametrize("name", BAD_USE)
def test_bad_use_ends_with_a_message_and_code_2(run, factories, name):
    result = run(*BAD_USE[name])
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip()) > 20


def test_the_exit_codes_are_one_table(run):
    """The page of the commands, help and code say the same words."""
    page = (Path(__file__).parents[2] / "docs/pages/concepts/commands.md").read_text(encoding="utf-8")
    help_text = " ".join(run("--help").stdout.split())
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in page
        assert f" {code} {meaning}" in help_text


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (UserError("bad"), 2, "error: bad"),
        (
            OSError(28, "No space left on device", "/somewhere/file"),
            2,
            "error: /somewhere/file: No space left on device",
        ),
        (OSError(21, "Is a directory", "/at/.tmp-1", None, "/at/page"), 2, "error: /at/page: Is a directory"),
        (PermissionError(13, "Permission denied"), 2, "error: Permission denied"),
        (MemoryError(), 2, "not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory."), 2, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), 2, "not enough memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("division by zero"), 3, "Please report it"),
        (KeyError("gone"), 3, "internal error: KeyError: 'gone'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_whatever_is_raised_has_its_exit_code_and_its_message(monkeypatch, raised, code, said):
    def broken():
        raise raised

    monkeypatch.setattr("bntheory.claims.registry", broken)
    result = CliRunner().invoke(app, ["claims"])
    assert result.exit_code == code
    assert said in result.stderr
    assert ("Traceback" in result.stderr) == (code == 3)


def test_the_list_of_claims_names_each_source_once_and_each_claim_below_its_own(run):
    lines = run("claims", "--kind", "dynamics").stdout.splitlines()[:-1]
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert len(heads) == len(set(heads)) > 10
    below = {
        line.split()[1]: max(h for h in range(i) if lines[h] in heads)
        for i, line in enumerate(lines)
        if line.startswith(" ")
    }
    assert all(name.partition(".")[0] == lines[head] for name, head in below.items())
    assert set(below) == {c["id"] for c in json.loads(run("claims", "--kind", "dynamics", "--json").stdout)}


def test_a_judge_that_does_not_take_a_claim_says_so(run):
    layer, study = "santurkar2018.theorem-4.1.neurips", "santurkar2018.figure-1.accuracy"
    said = " ".join(run("check", layer, "--judge", "study").stdout.split())
    assert "does not judge claims of kind layer; ask algebra, search or network" in said
    said = " ".join(run("check", study, "--judge", "algebra", "--judge", "search").stdout.split())
    assert "does not judge claims of kind experiment; ask study" in said


def test_a_store_that_may_not_be_written_is_read_where_nothing_is_trained(run, tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode, **options: mode != os.W_OK)
    asked = ("check", "santurkar2018.figure-1.accuracy", "--scale", "quick", "--store", tmp_path)
    assert "may not be written" in run(*asked).stderr
    assert run(*asked, "--no-train").exit_code == 0


def test_probe_measures_a_users_model(run, factories):
    found = json.loads(run("probe", "user_factories:good", "--json").stdout)
    (layer,) = found["layers"]
    assert layer["residual"] <= layer["tolerance"]
    assert layer["share_mean"] + layer["share_y_hat"] + layer["left"] == pytest.approx(1, abs=1e-9)
    assert found["network"]["loss"] == pytest.approx(found["twin"]["loss"], rel=1e-12)
    assert found["network"]["lambda_max"] != pytest.approx(found["twin"]["lambda_max"], rel=1e-3)
    assert "frozen twin" in run("probe", "user_factories:good").stdout


def test_every_id_that_was_ever_published_is_there(run):
    """Ids are permanent: this list only grows."""
    published = Path(__file__).with_name("published_ids.txt").read_text().split()
    ids = {c["id"] for c in json.loads(run("claims", "--json").stdout)}
    assert set(published) <= ids, sorted(set(published) - ids)
