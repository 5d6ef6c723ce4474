"""Whatever a reader may copy from the documentation's pages runs; the site builds where its tools are installed."""

from __future__ import annotations

import html
import json
import re
import shlex
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from bntheory.cli import app
from bntheory.errors import UserError

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "pages").rglob("*.md"))
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
WITH_CODE = [p for p in PAGES if "```" in p.read_text(encoding="utf-8")]


def name(page: Path) -> str:
    return page.relative_to(ROOT / "docs" / "pages").as_posix()


@pytest.mark.long
@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_every_example_runs(page, tmp_path, monkeypatch):
    """In the order of the page: Python blocks (or files, where the first line names one), then the commands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "my_model", None)
    del sys.modules["my_model"]
    text = page.read_text(encoding="utf-8")
    ran = 0
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M):
        if language == "python":
            file = re.match(r"# (\w+\.py)\n", block)
            if file:
                compile(block, file[1], "exec")  # some are for machines that are not here
                Path(file[1]).write_text(block, encoding="utf-8")
                continue
            done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            ran += 1
        elif language == "console":
            for line in block.splitlines():
                assert line.startswith("$ bntheory "), line
                result = CliRunner().invoke(app, shlex.split(line)[2:])
                assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception!r}"
                ran += 1
    assert ran or page.name == "start.md" or "```\nmake" in text


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"[\w/-]+\.md", (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")))
    made = {"papers/README.md", "pictures/index.md"} | {f"notebooks/{p.stem}.md" for p in NOTEBOOKS}
    assert {name(p) for p in PAGES} | made == listed


@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_run_from_top_to_bottom(path, tmp_path):
    """Their cells are plain Python; what they print is kept in the file, which stays small."""
    cells = [c for c in json.loads(path.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    code = "\n".join("".join(c["source"]) for c in cells)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = [o for c in cells for o in c["outputs"]]
    assert not [o for o in kept if o["output_type"] == "error"]
    shown = ["print(" in "".join(c["source"]) or ".plot()" in "".join(c["source"]) for c in cells]
    assert all(c["outputs"] for c, shows in zip(cells, shown, strict=True) if shows), "make notebooks"
    printed = "".join("".join(o.get("text", ())) for o in kept)
    words = r"[A-Za-z_]{2,}"  # numbers hang on the machine: seconds, and rounding
    assert re.findall(words, printed) == re.findall(words, done.stdout), "make notebooks"
    assert path.stat().st_size < 300_000


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="make notebooks installs them"
)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_run_in_jupyter(path):
    sys.path.insert(0, str(ROOT / "docs"))
    from execute_notebooks import executed

    pictures = [o for c in executed(path).cells for o in c.get("outputs", ()) if "image/png" in o.get("data", ())]
    assert pictures


def links_of(page: Path) -> set[Path]:
    found = re.findall(r"\]\(([^)#\s]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    made = ("http", "pictures/", "../pictures/")  # the latter when the site is built
    return {(page.parent / target).resolve() for target in found if not target.startswith(made)}


def test_links_of_the_pages_lead_somewhere_in_a_checkout():
    """Where a code host shows them; ``docs/hooks.py`` turns those to the papers into the site's."""
    for page in PAGES:
        assert not [target for target in links_of(page) if not target.exists()], page


def test_every_page_that_is_prose_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [target for target in links_of(page) if target.suffix == ".md"]
    assert not [name(p) for p in PAGES if p not in reached and not name(p).startswith("api/")]


def test_names_of_the_package_in_docstrings_and_pages_lead_somewhere():
    """``bntheory.room.module.name``, wherever it is written: a name that has moved misleads whoever looks it up."""
    texts = [*(ROOT / "src").rglob("*.py"), *PAGES, *(ROOT / "papers").rglob("*.md"), ROOT / "README.md"]
    named = {
        (found, path)
        for path in texts
        for found in re.findall(r"\bbntheory(?:\.[A-Za-z_]\w*)+", path.read_text("utf-8"))
    }
    assert len(named) > 500
    files = (".py", ".json", ".witness")  # bntheory.witness/1 is a file's schema
    assert not sorted(f"{path}: {name}" for name, path in named if not name.endswith(files) and not _is_there(name))


def _is_there(name: str) -> bool:
    found, module = None, ""
    for part in name.split("."):
        module = f"{module}.{part}".lstrip(".")
        try:
            found = import_module(module)  # first: a room may have a function of the same name
        except UserError:  # it wants an extra that is not installed, so it is there
            return True
        except ModuleNotFoundError:
            if not hasattr(found, part) and part not in getattr(found, "__annotations__", ()):
                return False
            found = getattr(found, part, None)
    return True


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mkdocs_material") is None and find_spec("material") is None, reason="make docs installs the tools"
)
def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "-f",
            str(ROOT / "docs" / "mkdocs.yml"),
            "-d",
            str(tmp_path / "site"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    assert (site / "papers" / "santurkar2018" / "index.html").exists()
    pages = {path.resolve(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    layer = pages[(site / "api" / "layer.html").resolve()]
    assert "q with d sigma = &lt;q, C dy&gt;/m" in layer  # an inner product in a docstring is no tag
    assert "<p>Its normalisations</p>" in pages[(site / "api" / "bridge.html").resolve()]  # lists, each below its head
    names = {path: set(re.findall(r' (?:id|name)="([^"]+)"', text)) for path, text in pages.items()}
    for path, text in pages.items():
        if path.name == "404.html":  # its links are those of a server's root
            continue
        body = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.S)
        assert not re.search("[\ue000-\ue00a]", text), f"{path}: a formula was left out"
        assert not re.search(r"\$[^$<>\n]{1,60}\\[^$<>\n]*\$", body), f"{path}: a formula was left as LaTeX"
        assert not re.search(r"<math[^>]*inline[^>]*>(?:(?!</math>).)*</math>\s*<p>[,.;:]", text, re.S), path
        assert not re.search(r":(?:func|class|meth|mod|attr|data):", body), f"{path}: a role is shown as it is typed"
        assert not re.search("<code>~|<p>::</p>|={9}", text), path
        assert not re.search(r'<code class="whole">[^<]*\n[^<]', text), f"{path}: lines run together"
        assert not re.search(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//', text), f"{path} needs a network"
        assert not re.search(r'<link[^>]*rel="stylesheet"[^>]* href="(?:https?:)?//', text), f"{path} needs a network"
        assert not [tag for tag in re.findall(r"<img\b[^>]*>", text) if not re.search(r' alt="[^"]+"', tag)], path
        for target in re.findall(r' (?:href|src)="(?!https?:|mailto:|data:|javascript:)([^"]+)"', text):
            file, _, anchor = html.unescape(unquote(target)).partition("#")
            at = (path.parent / file).resolve() if file else path
            assert at.exists(), f"{path}: {target}"
            assert not anchor or at not in names or anchor in names[at] or anchor.startswith("__"), f"{path}: {target}"


EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


@pytest.mark.long
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_script_is_short_and_runs(example, tmp_path):
    lines = [line for line in example.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 15
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*.png"))


def test_the_table_of_commands_is_complete():
    from bntheory.commands.application import COMMANDS

    page = (ROOT / "docs" / "pages" / "concepts" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`bntheory (\w+)`", page.partition("## Exit codes")[0])) >= set(COMMANDS)
