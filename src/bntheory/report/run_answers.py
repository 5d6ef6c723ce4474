"""The discussion's questions, answered by one run in at most three sentences each. Every number and verdict comes from verdicts.json.

What is written here is which statements a sentence tells; which way each went, by how much and on which network is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bntheory.evidence.comparable import lacks_records
from bntheory.evidence.counts import listed, many
from bntheory.experiments.comparisons import QUESTIONS
from bntheory.report.effect_text import mean_text

Json = Mapping[str, Any]
ORDER = ("supported", "contradicted", "equivalent", "inconclusive", "not comparable")
#: For every question its sentences, each telling some comparisons; where a comparison has several places, each place is a sentence of one.
_TOLD: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "smoother": (("top-eigenvalue.twin",), ("top-eigenvalue.mean-or-variance",)),
    "scaling": (("relative-curvature.twin",), ("linearity-error.twin",)),
    "standard": (("top-eigenvalue.standard",),),
    "sharpening": (("sharpening.standard",), ("sharpening.batchnorm",), ("sharpening.difference",)),
    "help": (
        ("loss.standard", "loss.rescaled"),
        ("loss.detached", "loss.detached-over-standard"),
        ("loss.detached-mean-or-variance",),
    ),
    "shift": (("covariate-shift.l2",), ("covariate-shift.angle",)),
    "affine": (("affine-share.y-hat",), ("affine-share.mean",)),
    "relu": (),
}


@dataclass(frozen=True)
class Part:
    """A piece of a sentence. verdict: the word that was computed, where the piece is one. row: of which row of numbers it speaks, else -1."""

    text: str
    verdict: str = ""
    row: int = -1


Sentence = tuple[Part, ...]


@dataclass(frozen=True)
class Answer:
    """A question, answered in at most three sentences; and its rows by comparison, each behind its place among verdicts.json's outcomes."""

    key: str
    question: str
    sentences: tuple[Sentence, ...]
    groups: tuple[tuple[tuple[int, Json], ...], ...]


def deciding(verdicts: Json) -> list[Json]:
    """The rows that decide."""
    return [o for o in verdicts["outcomes"] if o["decisive"]]


def answers(verdicts: Json) -> list[Answer]:
    """All questions that the run has rows for."""
    found = []
    for key, question in QUESTIONS.items():
        rows = [(i, o) for i, o in enumerate(verdicts["outcomes"]) if o["question"] == key and o["decisive"]]
        if rows:
            found.append(Answer(key, question, tuple(_sentences(key, rows, verdicts)), tuple(_groups(rows))))
    return found


def _groups(rows: Sequence[tuple[int, Json]]) -> Iterator[tuple[tuple[int, Json], ...]]:
    for name in dict.fromkeys(o["name"] for _, o in rows):
        yield tuple((i, o) for i, o in rows if o["name"] == name)


def _sentences(key: str, rows: Sequence[tuple[int, Json]], verdicts: Json) -> Iterator[Sentence]:
    told = _TOLD[key] or tuple((name,) for name in dict.fromkeys(o["name"] for _, o in rows))
    crossings = [c for c in verdicts["crossings"] if any(c["comparison"] in names for names in told)]
    for names in told:
        parts: list[Part] = []
        for name in names:
            own = [(i, o) for i, o in rows if o["name"] == name]
            if own:
                parts += [Part("; ")] if parts else []
                statement = own[0][1]["statement"]
                parts += [Part((statement if parts else _capital(statement)) + ": ")]
                parts += list(_outcomes(own))
        if parts:
            yield (*parts, Part("."))
    if crossings:
        where = dict.fromkeys(f"{c['network']} (from {c['first']} to {c['then']})" for c in crossings)
        yield (Part("It changes sign along training, a crossing, on "), Part(listed(list(where))), Part("."))


def _outcomes(rows: Sequence[tuple[int, Json]]) -> Iterator[Part]:
    """Each verdict with its networks, their places where there are several, and their effects."""
    several = len({(o["network"], o["place"]) for _, o in rows}) > len({o["network"] for _, o in rows})
    first = True
    for word in ORDER:
        group = [(i, o) for i, o in rows if o["outcome"] == word]
        if not group:
            continue
        yield Part("" if first else "; ")
        yield Part(word, word)
        yield Part(" on ")
        for n, (i, o) in enumerate(group):
            yield Part("" if n == 0 else " and " if n == len(group) - 1 else ", ")
            place = o["place"].removeprefix("the ")
            yield Part(f"{o['network']}\u00a0({place if several and place else _short(o)})", row=i)
        first = False


def _short(o: Json) -> str:
    if o["outcome"] == "not comparable":
        if lacks_records(o["why"]):
            return "records of an arm are not there"
        return "an arm has not trained" if "not trained" in o["why"] else "nothing to compare"
    return mean_text(o) if o["outcome"] != "inconclusive" else f"{mean_text(o)}; {seeds_text(o)}"


def seeds_text(o: Json) -> str:
    """How many seeds would decide an inconclusive row."""
    n, e = o["seeds_needed"], o["estimate"]
    if n is None and (e is None or e["n"] < 2):
        return "too few seeds have a number to say how many would decide"
    if n is None:
        return "no number of seeds would decide"
    return f"{many(n)} seed{'' if n == 1 else 's'} would decide"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if not text.startswith("λ") else text


def shares(rows: Iterable[Json]) -> dict[str, int]:
    """How many rows had which outcome, in the order of ORDER."""
    found = [o["outcome"] for o in rows]
    return {word: found.count(word) for word in ORDER if word in found}
