"""The shape of the code: rooms depend downwards only, files stay small, and the command starts without the heavy libraries."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bntheory

ROOT = Path(bntheory.__file__).parent
CHECKOUT = Path(__file__).parents[1]
ROOMS = [
    "errors",
    "arrays",
    "files",
    "devices",
    "drawing",
    "layer",
    "evidence",
    "smoothness",
    "models",
    "bridge",
    "experiments",
    "claims",
    "judges",
    "report",
    "commands",
    "cli",
    "__main__",
]
LEVEL = {room: level for level, room in enumerate(ROOMS)} | {"testing": ROOMS.index("judges")}
FILES = sorted(ROOT.rglob("*.py"))
#: Rooms whose docstring is a table of contents. Elsewhere files bear the names of commands, models, measures or sources.
TABLES_OF_CONTENTS = (
    *("layer", "evidence", "smoothness", "judges", "judges/algebra", "judges/exact", "report", "experiments"),
    *("bridge", "bridge/networks", "bridge/probes", "bridge/curvature", "bridge/monitor"),
)
HEAVY = ("torch", "sympy", "z3", "flint", "matplotlib", "scipy", "hypothesis", "jinja2")


def room_of(path: Path) -> str:
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms of this package that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            parts = name.split(".")
            if parts[0] == "bntheory" and len(parts) > 1:
                found.add(parts[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_depend_downwards_only(path):
    room = room_of(path)
    if room == "__init__":
        return
    assert room in LEVEL, f"{room} is a new room: give it a level"
    upwards = {other for other in imports(path) if LEVEL.get(other, -1) > LEVEL[room]}
    assert not upwards, f"{path.relative_to(ROOT)} reaches up to {upwards}"


def modules_imported(path: Path, root: Path = ROOT) -> set[str]:
    """The modules of this package that a file imports: at its top, inside functions, for types alone; names are followed to a module."""
    files = {p.relative_to(root.parent).with_suffix("").as_posix().replace("/", ".") for p in root.rglob("*.py")}
    known = files | {f.removesuffix(".__init__") for f in files}
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
            named = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in known}
            found |= inner | ({node.module} if named else set())
    return found & known


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach one another (the strongly connected components of more than one), and those that import themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph.get(module, ())
        return seen

    reach = {module: reached(module) for module in graph}
    groups = {frozenset(n for n in reach[m] if m in reach.get(n, ())) for m in graph if m in reach[m]}
    return sorted(sorted(group) for group in groups)


@pytest.mark.long
def test_no_two_files_import_each_other_in_a_circle():
    """For types alone or inside a function as well: a circle is two halves of one idea. A room's own table of contents is its files' end."""
    names = {p: p.relative_to(ROOT.parent).with_suffix("").as_posix().replace("/", ".") for p in FILES}
    graph = {name: modules_imported(p) for p, name in names.items() if not name.endswith(".__init__")}
    assert circles(graph) == []


def test_the_rule_would_notice_a_circle(tmp_path):
    root = tmp_path / "bntheory"
    root.mkdir()
    (root / "a.py").write_text("def f():\n    from bntheory.b import g\n")
    (root / "b.py").write_text("from bntheory.a import f\n")
    graph = {f"bntheory.{n}": modules_imported(root / f"{n}.py", root) for n in ("a", "b")}
    assert circles(graph) == [["bntheory.a", "bntheory.b"]]


def test_no_room_is_reached_by_its_name():
    """An import by name is one within a room (a lazy table, a claim's source): it would be an arrow that no picture of the code shows."""
    named = r"""import_module\(f?["']bntheory\.(\w+)"""
    reaching = {
        (room_of(path), room)
        for path in FILES
        for room in re.findall(named, path.read_text(encoding="utf-8"))
        if LEVEL[room] > LEVEL.get(room_of(path), len(ROOMS))
    }
    assert not reaching


def test_the_rule_would_notice_an_upward_import(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from bntheory.judges.verdict import Status\n")
    assert imports(bad) == {"judges"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_hold_one_concept_each(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= 450 if room_of(path) == "claims" else lines <= 380, f"{lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no docstring"


@pytest.mark.parametrize("room", TABLES_OF_CONTENTS)
def test_a_large_room_says_what_each_of_its_files_holds(room):
    said = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    files = {path.stem for path in (ROOT / room).glob("*.py")} - {"__init__"}
    assert set(re.findall(r"``(\w+)``", said)) == files


@pytest.mark.parametrize(
    "module", ["bntheory", "bntheory.claims", "bntheory.cli", "bntheory.judges.decide", "bntheory.judges.verdict"]
)
def test_starting_up_imports_nothing_heavy(module):
    code = f"import sys, {module}; print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "", f"{module} pulls in {done.stdout.strip()}"


STARTED = """
import sys
from bntheory.cli import main
sys.argv = ["bntheory", "decide", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print(" ".join(m for m in {modules!r} if m in sys.modules))
"""


@pytest.mark.parametrize(
    ("typed", "idle"),
    [
        ("dot(y, input_grd) == 0", (*HEAVY, "numpy", "typer", "rich", "pydantic", "importlib.metadata")),
        ("--help", (*HEAVY, "numpy", "typer", "rich", "pydantic", "importlib.metadata")),
        ("dot(y, grad) == dot(grad, y)", ("torch", "matplotlib", "scipy", "hypothesis", "numpy", "typer", "rich")),
    ],
    ids=["unreadable", "help", "proved"],
)
def test_a_typed_claim_loads_no_more_than_it_needs(typed, idle):
    code = STARTED.format(modules=idle)
    done = subprocess.run([sys.executable, "-c", code, typed], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "", done.stdout


def test_loading_every_claim_imports_nothing_heavy():
    code = f"import sys; from bntheory import registry; registry(); print(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_test_files_have_names_of_their_own():
    """Two files of one name in folders that are no packages cannot both be collected."""
    names = [path.name for path in Path(__file__).parent.rglob("*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


@pytest.mark.parametrize(
    ("rule", "pattern", "home"),
    [
        ("intervals over seeds", r"scipy(\.stats)? import .*\b(t|stats)\b|stdtrit|\bnct\b", "evidence/"),
        ("Student's quantile", r"\bt\.ppf\(", "evidence/intervals.py"),
        ("a standard error", r"\bstd\(.*ddof=1", "evidence/"),
        ("a symbolic identity", r"\"simplified\"", "evidence/identity.py"),
        ("what an interval decides", r"\b(low|high) [<>] .*\b(threshold|margin)\b", "evidence/"),
        ("a run read at a loss", r"np\.interp\(|\(1 - weight\) \* ", "evidence/curves.py"),
        ("what has not trained", r"guessing \* |\* guessing\b(?!_)", "evidence/comparable.py"),
        ("the training loop", r"\btrain_step\(training_batch", "experiments/worker.py"),
        ("an address", r"\baddress\(setting", ("experiments/experiment.py", "evidence/record.py")),
        ("a recorded Hessian", r"closed_forms=False", "experiments/measures/situation.py"),
        ("which record counts", r"\.made\.get\(\"code\"\) (==|in)", "experiments/experiment.py"),
    ],
)
def test_a_rule_has_one_home(rule, pattern, home):
    """In the rooms that judge experiments: a second implementation is how two answers to one question begin."""
    places = [p.relative_to(ROOT).as_posix() for p in FILES if re.search(pattern, p.read_text(encoding="utf-8"))]
    judging = [p for p in places if p.startswith(("evidence/", "experiments/", "claims/", "judges/"))]
    assert judging, f"{rule}: nowhere"
    assert all(p.startswith(home) for p in judging), f"{rule}: {judging}"


def test_arpack_is_called_in_one_place():
    """Functions and random networks share it; real networks have a solver of their own, which says what rounding leaves open."""
    calling = [p.relative_to(ROOT).as_posix() for p in FILES if "eigsh(" in p.read_text(encoding="utf-8")]
    assert calling == ["smoothness/eigenpairs.py"]


def test_networks_are_trained_in_one_loop():
    """The laboratory's worker; a plan times single steps of it, the bridge holds the step itself, and that of many networks as one.

    Ranks other than the first take part in the worker's steps, as many as they are told.
    """
    pattern = re.compile(r"(?<!def )\btrain_step\(|\boptim\.\w+\(|\bimport .*\boptim\b")
    places = {p.relative_to(ROOT).as_posix() for p in FILES if pattern.search(p.read_text(encoding="utf-8"))}
    assert places == {
        "bridge/networks/folded.py",
        "bridge/networks/training.py",
        "experiments/plan.py",
        "experiments/ranks.py",
        "experiments/together.py",
        "experiments/worker.py",
    }
    loop = (ROOT / "experiments" / "worker.py").read_text(encoding="utf-8")
    assert loop.count(" train_step(") == 1
    as_one = (ROOT / "experiments" / "together.py").read_text(encoding="utf-8")
    assert as_one.count(".train_step(") == 1


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_judges_trains_no_network(path):
    """Claims, judges and commands ask the laboratory: no training and no optimiser of their own."""
    if room_of(path) in ("claims", "judges", "commands"):
        found = re.findall(
            r"\b(?:Trainer|make_trainer|train_step|torch\.optim)\b|\.backward\(", path.read_text(encoding="utf-8")
        )
        assert found == []


@pytest.mark.skipif(not (CHECKOUT / ".git").exists(), reason="no checkout")
def test_a_checkout_on_windows_has_the_same_bytes(tmp_path: Path) -> None:
    """Where git makes ends of lines two bytes: what is recorded is sealed by its bytes."""
    settings = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    names = ["papers/references.bib", "README.md", "src/bntheory/__init__.py"]
    subprocess.run(["git", *settings, "checkout-index", f"--prefix={tmp_path}/", *names], cwd=CHECKOUT, check=True)
    for name in names:
        assert b"\r" not in (tmp_path / name).read_bytes()


def test_measures_take_the_hessian_whose_sums_records_rest_on():
    """By ``recorded_hessian``: the default of ``hessian`` follows what is fastest, and a record is made again bit for bit."""
    for path in FILES:
        if "measures" in path.parts and path.name != "situation.py":
            names = {
                alias.name
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            assert "hessian" not in names, path
