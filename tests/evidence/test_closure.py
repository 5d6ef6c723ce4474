"""What a function rests on: read from the source of small packages written here, and held against what runs in this one.

The last test shares nothing with the reading of source: the interpreter's own record of calls says what ran.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
import textwrap
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import pytest

import bntheory
from bntheory.claims.claim import registry
from bntheory.errors import UserError
from bntheory.evidence.closure import Package, package, place_of
from bntheory.evidence.study import Study
from bntheory.judges.check import judge_claim

FILES = {
    "__init__.py": "",
    "claims.py": """
        from small.layer import project
        from small.base import claim
        import small.grid as g

        RATES = (0.1, 0.2)
        UNUSED = 3

        def helper(x):
            return x + 1

        @claim("a", note="a note", statement="s")
        def first(study):
            "What it says."
            from small.far import far as away  # a comment
            return project(helper(RATES)), away(study), g.STEPS

        @claim("b")
        def second(study):
            return 2
        """,
    "base.py": "def claim(id, **said):\n    return lambda f: f\n",
    "layer/__init__.py": "from small.layer.closed import project\n",
    "layer/closed.py": """
        from small.layer.norm import Norm

        def project(v):
            return Norm().apply(v) - 1

        def other(v):
            return v
        """,
    "layer/norm.py": "class Base:\n    k = 1\n\n\nclass Norm(Base):\n    def apply(self, v):\n        return self.scale(v)\n\n    def scale(self, v):\n        return 2 * v\n",
    "grid.py": "STEPS = 7\nOTHER = 8\n",
    "far.py": """
        from small.lazy import late

        TABLE = {}

        def register(name):
            return lambda f: TABLE.setdefault(name, f)

        @register("one")
        def one(x):
            return late(x)

        def far(x):
            return TABLE["one"](x) if x else load()

        def load():
            return (files("small") / "data" / "numbers.txt").read_text()
        """,
    "lazy/__init__.py": """
        _HOME = {"inner": "late later"}

        def __getattr__(name):
            ...
        """,
    "lazy/inner.py": "def late(x):\n    return x\n\n\ndef later(x):\n    return 2 * x\n",
    "data/numbers.txt": "1 2 3",
}
ROOT = ("small.claims", "first")


def written(folder: Path, **changed: str) -> Package:
    root = folder / "small"
    for name, text in {**FILES, **{k.replace("__", "/") + ".py": v for k, v in changed.items()}}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return Package(root)


def edited(folder: Path, name: str, old: str, new: str) -> str:
    """The fingerprint after one edit."""
    assert old in FILES[name]
    written(folder)
    path = folder / "small" / name
    path.write_text(textwrap.dedent(FILES[name]).replace(old, new))
    return Package(folder / "small").fingerprint([ROOT])


@pytest.fixture
def before(tmp_path: Path) -> str:
    return written(tmp_path).fingerprint([ROOT])


def test_reaches_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    reached = {f"{m.removeprefix('small.')}:{n}" for m, n in written(tmp_path).closure([ROOT])}
    assert reached == {
        "claims:first", "claims:RATES", "claims:helper", "grid:STEPS", "layer.closed:project", "layer.norm:Norm", "layer.norm:Base",
        "far:", "far:far", "far:one", "far:register", "far:load", "far:TABLE", "lazy.inner:late",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("claims.py", "RATES = (0.1, 0.2)", "RATES = (0.1, 0.3)"),
        ("claims.py", "x + 1", "x - 1"),
        ("claims.py", 'statement="s"', 'statement="t"'),
        ("claims.py", "import far as away", "import load as away"),
        ("layer/closed.py", "apply(v) - 1", "apply(v)"),
        ("layer/norm.py", "2 * v", "3 * v"),
        ("layer/norm.py", "k = 1", "k = 2"),
        ("grid.py", "STEPS = 7", "STEPS = 6"),
        ("far.py", "return late(x)", "return -late(x)"),
        ("far.py", '@register("one")', '@register("two")'),
        ("lazy/inner.py", "return x\n", "return -x\n"),
        ("data/numbers.txt", "1 2 3", "1 2 4"),
    ],
    ids=lambda text: text[:24],
)
def test_changes_with_every_line_that_is_reached(tmp_path: Path, before: str, name: str, old: str, new: str) -> None:
    assert edited(tmp_path, name, old, new) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("claims.py", "# a comment", "# another comment"),
        ("claims.py", "What it says.", "What it means."),
        ("claims.py", "a note", "another note"),
        ("claims.py", "def helper(x):", "def helper(x: int) -> int:"),
        ("claims.py", "UNUSED = 3", "UNUSED = 4"),
        ("claims.py", "return 2", "return 3"),
        ("layer/closed.py", "return v\n", "return -v\n"),
        ("grid.py", "OTHER = 8", "OTHER = 9"),
        ("lazy/inner.py", "2 * x", "3 * x"),
    ],
    ids=lambda text: text[:24],
)
def test_stays_with_words_and_with_what_is_not_reached(
    tmp_path: Path, before: str, name: str, old: str, new: str
) -> None:
    assert edited(tmp_path, name, old, new) == before


@pytest.mark.parametrize(("marked", "same"), [("    @only_shows\n", True), ("", False)])
def test_a_method_that_only_shows_is_no_part_of_what_a_number_rests_on(tmp_path: Path, marked: str, same: bool) -> None:
    prints, reached = [], []
    for words in ("a", "b"):
        layer = f"class Found:\n    def value(self):\n        return 1\n\n{marked}    def picture(self):\n        return draw('{words}')\n"
        p = written(
            tmp_path,
            claims="from small.found import Found\n\ndef first(s):\n    return Found().value()\n",
            found=f"from small.drawn import draw\nfrom small.mark import only_shows\n\n\n{layer}",
            drawn="def draw(x):\n    return x\n",
            mark="def only_shows(f):\n    return f\n",
        )
        prints.append(p.fingerprint([ROOT]))
        reached.append(("small.drawn", "draw") in p.closure([ROOT]))
    assert (prints[0] == prints[1]) is same
    assert reached == [not same] * 2


def test_a_definition_may_move(tmp_path: Path, before: str) -> None:
    moved = written(
        tmp_path, layer__closed="from small.layer.moved import project\n", layer__moved=FILES["layer/closed.py"]
    )
    assert moved.fingerprint([ROOT]) == before


def test_a_name_that_stands_for_another_definition_is_a_change(tmp_path: Path) -> None:
    """Both functions are reached either way; only who calls which differs."""
    text = "def f(x):\n    return x\n\n\ndef g(x):\n    return -x\n\n\n"
    prints = []
    for a, b in (("f", "g"), ("g", "f")):
        p = written(
            tmp_path,
            claims=f"from small.base import {a} as one, {b} as two\n\ndef first(s):\n    return one(s) - two(s)\n",
            base=text,
        )
        prints.append(p.fingerprint([ROOT]))
    assert prints[0] != prints[1]


def test_a_name_that_a_module_makes_when_asked_rests_on_what_makes_it(tmp_path: Path) -> None:
    reached = written(tmp_path, claims="from small.lazy import version\n\ndef first(s):\n    return version\n").closure(
        [ROOT]
    )
    assert ("small.lazy", "__getattr__") in reached


def test_what_cannot_be_found_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"small\.grid has no 'GONE'"):
        written(tmp_path, claims="from small.grid import GONE\n\ndef first(s):\n    return GONE\n").closure([ROOT])


@pytest.mark.long
def test_every_claim_of_the_package_has_a_closure() -> None:
    claims = [claim for claim in registry() if package().holds(claim.check.__module__)]  # other tests register theirs
    assert len(claims) > 200
    for claim in claims:
        assert len(package().closure([place_of(claim.check)])) >= 1
    assert len(package().closure([place_of(judge_claim)])) > 200


def _all(returned: object) -> None:
    """Run what a study left to be run: it may give its checks one by one."""
    if isinstance(returned, Iterable):
        deque(returned, maxlen=0)


def ran(run: object) -> set[tuple[str, str]]:
    """The definitions of this package that were called meanwhile."""
    root, called = str(Path(bntheory.__file__).parent), set()

    def note(frame, event, argument):  # type: ignore[no-untyped-def]
        if event == "call" and frame.f_code.co_filename.startswith(root):
            called.add((frame.f_globals["__name__"], frame.f_code.co_qualname.split(".")[0]))

    sys.setprofile(note)
    try:
        run()  # type: ignore[operator]
    finally:
        sys.setprofile(None)
    return {place for place in called if not place[1].startswith("<")}


@pytest.mark.long
@pytest.mark.parametrize(
    "claim_id",
    [
        "santurkar2018.theorem-4.2.second.quadratic-forms",
        "santurkar2018.lp-normalisation.gradient-bound.l1",
        "lesswrong2019.two-lipschitz.pointwise",
        "lyu2022.spherical-sharpness",
        "karakida2019.last-layer",
        "santurkar2018.definition-2.1.first-layer",
        "lesswrong2019.domain.tensor-train",
    ],
)
def test_whatever_runs_is_in_the_closure(claim_id: str) -> None:
    for module in pkgutil.walk_packages(bntheory.__path__, "bntheory."):
        with contextlib.suppress(UserError):  # callbacks for a trainer that is not installed
            importlib.import_module(module.name)  # so that nothing is imported, and run, meanwhile
    claim = registry()[claim_id]
    if claim.kind == "layer":
        called, roots = ran(lambda: judge_claim(claim, Study("quick"))), [claim.check, judge_claim]
    else:
        called, roots = ran(lambda: _all(claim.check(Study("quick")))), [claim.check, Study]
    assert len(called) >= 3
    assert called - package().closure(place_of(f) for f in roots) == set()
