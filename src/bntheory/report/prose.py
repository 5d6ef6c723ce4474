"""Verdicts in the words of a page: what is written by hand must say what was judged.

Two kinds of words are compared with the records. A verdict in brackets after a link to a claim,
``[`theorem-4.1.arxiv`](#...) (proved)``, is the recorded one. And *true* or *false* in a sentence is about the claim that the same
paragraph links to next: true of what was proved, supported, or survived, false of what was refuted or contradicted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_LINK = re.compile(r"\[`([a-z0-9.-]+)`\]\(([^)\s]*)#([^)\s]+)\)(?:\s+\(([a-z-]+)\))?")
_TOKEN = re.compile(
    rf"(?P<link>{_LINK.pattern})|```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$]*\$|\b(?P<word>[Tt]rue|[Ff]alse)\b", re.S
)
_PARAGRAPH = re.compile(r"\n\s*\n|\n(?=\s*[-*] )")
_SIDES = {"true": {"proved", "supported", "survives", "holds-on-networks"}, "false": {"refuted", "contradicted"}}


@dataclass(frozen=True)
class ClaimLink:
    """A link to a claim: the full id, where it leads, the verdict in brackets ("" where none is given), and where that word stands."""

    id: str
    file: str
    anchor: str
    word: str
    start: int


def claim_links(text: str, key: str, sources: Collection[str]) -> list[ClaimLink]:
    """The links to claims in a text of the page of the source ``key``; an id may leave the page's own key out."""
    return [_link(found, key, sources) for found in _LINK.finditer(text)]


def _link(found: re.Match[str], key: str, sources: Collection[str], first: int = 1) -> ClaimLink:
    label, file, anchor, word = (found.group(i) for i in range(first, first + 4))
    full = label if label.split(".")[0] in sources else f"{key}.{label}"
    return ClaimLink(full, file, anchor, word or "", found.start(first + 3))


def contradictions(text: str, key: str, sources: Collection[str], status: Mapping[str, str]) -> Iterator[str]:
    """Every word about a verdict that is not what is recorded."""
    for link in claim_links(text, key, sources):
        if link.word and link.word != status.get(link.id):
            yield f"{link.id}: the prose says {link.word}, recorded is {status.get(link.id)}"
    for paragraph in _PARAGRAPH.split(text):
        waiting: list[str] = []
        for found in _TOKEN.finditer(paragraph):
            if found["word"]:
                waiting.append(found["word"].lower())
            elif found["link"]:
                link = _link(found, key, sources, first=2)
                for word in waiting:
                    if status.get(link.id) not in _SIDES[word]:
                        yield f"{link.id}: the prose calls it {word}, recorded is {status.get(link.id)}"
                waiting = []
