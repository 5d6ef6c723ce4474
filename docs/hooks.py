"""What the site needs beyond Markdown: the pages under ``papers/`` as they are, and formulas as MathML, which needs no network.

The pages write ``$...$`` and ``$$...$$`` in LaTeX, as the code host's own renderer reads them. Here each becomes MathML when the site is built.
A formula that cannot be converted stops the build and names its page.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_CODE_OR_MATH = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)|\$\$(?P<block>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^$\n]+?(?:\n[^$\n]+?)?)\$(?!\w)",
    re.S | re.M,
)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the papers and their figures, and the recorded figures that the README shows."""
    for path in sorted((ROOT / "papers").rglob("*")):
        if path.suffix in (".md", ".png", ".bib", ".json", ".smt2") and path.is_file():
            files.append(
                File(
                    path.relative_to(ROOT).as_posix(),
                    str(ROOT),
                    config["site_dir"],
                    config["use_directory_urls"],
                )
            )
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Formulas to MathML; code is left alone."""

    def formula(found: re.Match[str]) -> str:
        if found["code"]:
            return found["code"]
        text, block = found["block"] or found["inline"], found["block"] is not None
        try:
            mathml = convert(_simplified(text), display="block" if block else "inline")
        except Exception as error:
            raise PluginError(
                f"{page.file.src_path}: the formula {text!r} cannot be shown ({error})"
            ) from error
        mathml = mathml.replace("<math ", f'<math alttext="{html.escape(text.strip(), quote=True)}" ', 1)
        return f"\n\n{mathml}\n\n" if block else mathml

    return _CODE_OR_MATH.sub(formula, markdown)


def _simplified(text: str) -> str:
    """Spacing commands that the converter does not know, as ones that it does."""
    text = text.replace(r"\thinspace", r"\,").replace(r"\enspace", r"\;").replace(r"\dots", r"\ldots")
    text = re.sub(r"\\(?:Big|big|Bigg|bigg)[lrm]?\b", "", text)
    return text.replace(r"\tfrac", r"\frac").replace(r"\dfrac", r"\frac").replace(r"\enskip", r"\;")
