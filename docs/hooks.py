"""What the site needs beyond Markdown: the pages under ``papers/`` as they are, notebooks, pictures, and formulas as MathML, which needs no network.

The pages write ``$...$`` and ``$$...$$`` in LaTeX, as the code host's own renderer reads them. Here each becomes MathML when the site is built.
A formula that cannot be converted stops the build and names its page.
"""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_CODE_OR_MATH = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^$\n]+?(?:\n[^$\n]+?)?)\$(?!\w)",
    re.S | re.M,
)


class NoTags(Extension):
    """``<u, v>`` in running text is an inner product and not a tag, which a browser would leave out of sight."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.deregister("html")


def on_config(config: Any) -> Any:
    config["markdown_extensions"].append(NoTags())
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the papers and their figures, and the recorded figures that the README shows."""
    for path in sorted((ROOT / "papers").rglob("*")):
        if path.suffix in (".md", ".png", ".bib", ".json", ".smt2") and path.is_file():
            files.append(
                File(path.relative_to(ROOT).as_posix(), str(ROOT), config["site_dir"], config["use_directory_urls"])
            )
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        for name, content in notebook_page(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    for name, content in gallery().items():
        files.append(File.generated(config, f"pictures/{name}", content=content))
    return files


def notebook_page(path: Path) -> dict[str, str | bytes]:
    """A notebook as a page and the files of its pictures, by name."""
    page, pictures = [], {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        page.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            picture = output.get("data", {}).get("image/png")
            if picture:
                name = f"{path.stem}-{len(pictures)}.png"
                pictures[name] = base64.b64decode("".join(picture))
                page.append(f"![what `{source.splitlines()[-1]}` shows]({name})")
            elif "text" in output:
                page.append("```text\n" + "".join(output["text"]).rstrip() + "\n```")
    return {f"{path.stem}.md": "\n\n".join(page) + "\n", **pictures}


def gallery() -> dict[str, str | bytes]:
    """Every analytic model and every picture of smoothness, drawn by the commands' own functions, on one page."""
    from bntheory.drawing import as_png
    from bntheory.models.pictures.catalogue import MODELS, SMOOTH

    page = ["# Pictures", "Each is drawn here by the code of this version; from Python, `bntheory.models.show(NAME)`."]
    files: dict[str, str | bytes] = {}
    for name, draw in {**SMOOTH, **MODELS}.items():
        drawn = draw()
        files[f"{name}.png"] = as_png(drawn.figure, dpi=100, palette=128)
        command = f"bntheory model {name}" if name in MODELS else f"bntheory smooth --example {name}"
        picture = f"[![{drawn.sentence}]({name}.png)]({name}.png)"
        page += [f"## {name}", picture, drawn.sentence, f"`{command} --plot {name}.png`"]
    return {"index.md": "\n\n".join(page) + "\n", **files}


# A formula's place is kept by characters of the private use area until the page is HTML: Markdown would take raw MathML at the start of a
# line for a block of its own, and a bar in a formula for the border of a table's cell.
_DIGITS, _END = "".join(chr(0xE000 + i) for i in range(10)), chr(0xE00A)
_PLACE = re.compile(f"([{_DIGITS}]+){_END}")
_formulas: list[tuple[str, str]] = []


#: A link from a page under docs/pages to papers/, as it leads there in the checkout; on the site the two lie side by side.
_TO_PAPERS = re.compile(r"\]\(\.\./\.\./((?:\.\./)?papers/)")


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Formulas to places that ``on_page_content`` fills with MathML, links to the papers as the site has them; code is left alone."""
    markdown = _TO_PAPERS.sub(r"](\1", markdown)

    def formula(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        text, block = found["block"] or found["inline"], found["block"] is not None
        try:
            mathml = convert(_simplified(text), display="block" if block else "inline")
        except Exception as error:
            raise PluginError(f"{page.file.src_path}: the formula {text!r} cannot be shown ({error})") from error
        text = html.escape(" ".join(text.split()), quote=True)
        scrolls = 'class="long" ' if len(text) > 50 and not block else ""
        _formulas.append((mathml.replace("<math ", f'<math {scrolls}alttext="{text}" ', 1), text))
        return "".join(_DIGITS[int(d)] for d in str(len(_formulas) - 1)) + _END

    return _CODE_OR_MATH.sub(formula, markdown)


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """MathML into the text, LaTeX where only text can stand: in attributes, and in the table of contents."""
    _name_in_words(page.toc)
    content = re.sub(r"<[^<>]*>", lambda tag: _filled(tag[0], 1), content)
    content = re.sub(r":(?:attr|class|data|func|meth|mod):<code>(?:~[\w.]+\.)?", "<code>", _filled(content, 0))
    # a browser may end a line between a formula and its comma
    content = re.sub(
        r"(\(?)(<math (?:(?!display=.block.|</math>).)*</math>)([,.;:)]+)",
        r'<span class="whole">\1\2\3</span>',
        content,
        flags=re.S,
    )
    # a short piece of code stays in one line: a browser breaks --option after its first hyphen
    return re.sub(r"<code>(?=[^<\n]{2,30}</code>)", '<code class="whole">', content)


def _filled(text: str, kind: int) -> str:
    return _PLACE.sub(lambda place: _formulas[int("".join(str(_DIGITS.index(d)) for d in place[1]))][kind], text)


def _name_in_words(links: Any) -> None:
    for link in links:
        link.title = _filled(link.title, 1)
        _name_in_words(link.children)


def _simplified(text: str) -> str:
    """Commands and quotation marks that the converter does not know, as ones that it does."""
    text = text.replace(r"\thinspace", r"\,").replace(r"\enspace", r"\;").replace(r"\dots", r"\ldots")
    text = re.sub(r"\\(?:Big|big|Bigg|bigg)[lrm]?\b", "", text)
    text = re.sub(r"``(.*?)''", r"“\1”", text)
    # the converter knows no space beside a function's name
    text = re.sub(r"(?<=[\w}])\s*(\\(?:log|ln|exp)\b)", r"\\,\1", text)
    text = re.sub(r"(\\(?:log|ln)\b(?:\^\w)?)\s*(?=[A-Za-z]|\\(?:lambda|theta)(?![a-z]))", r"\1\\,", text)
    return text.replace(r"\tfrac", r"\frac").replace(r"\dfrac", r"\frac").replace(r"\enskip", r"\;")
