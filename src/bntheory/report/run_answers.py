"""The discussion's questions, answered by one run in plain sentences. Every number and every verdict comes from verdicts.json.

What is written here are the questions and what was compared; which way it went, by how much, with what interval and on which
network is read. Where networks differ, each stands under its own verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bntheory.report.effect_text import effect_text

__all__ = ["Answer", "Part", "answers"]

Json = Mapping[str, Any]
ORDER = ("supported", "contradicted", "equivalent", "inconclusive", "not comparable")


@dataclass(frozen=True)
class Part:
    """A piece of a sentence. verdict: the word that was computed, where the piece is one."""

    text: str
    verdict: str = ""


Sentence = tuple[Part, ...]


@dataclass(frozen=True)
class Answer:
    """A question, its answer in one sentence, and the sentences that carry it."""

    question: str
    short: Sentence
    sentences: tuple[Sentence, ...]


class _Verdicts:
    """Outcomes by comparison, networks in the run's order; what was never measured is left out."""

    def __init__(self, verdicts: Json) -> None:
        self.contrasts: list[Json] = list(verdicts["contrasts"])
        self.by_name: dict[str, list[Json]] = {}
        for o in verdicts["outcomes"]:
            self.by_name.setdefault(o["name"], []).append(o)

    def __call__(self, name: str) -> list[Json]:
        return self.by_name[name]

    def of(self, name: str, network: str) -> Json:
        return next(o for o in self(name) if o["network"] == network)


def answers(verdicts: Json) -> list[Answer]:
    """The four questions with their answers."""
    v = _Verdicts(verdicts)
    return [_curvature(v), _scaling(v), _relu(v), _shift(v)]


# -- the four questions ------------------------------------------------------------------------------------------------

_SCALE_FREE = {
    "relative-curvature": "the relative curvature λ_max·L/‖∇L‖² is lower",
    "linearity-error": "the linear prediction of a step that would remove a tenth of the loss errs less",
    "trust-fraction": "the trust fraction (the part of the loss, at most all of it, that one step can be asked to remove before the prediction errs by half) is larger",
    "gradient-turn": "the gradient turns less over that step (1 − cosine)",
}


def _curvature(v: _Verdicts) -> Answer:
    twin, matched = v("top-eigenvalue.twin"), v("top-eigenvalue.standard-at-matched-loss")
    return Answer(
        "Does batch norm lower the curvature of the loss?",
        (
            Part("That it lowers the largest Hessian eigenvalue λ_max, at the same weights and outputs (against the frozen-statistics twin): "),
            *_short(twin),
            Part("; against the standard network at matched loss: "),
            *_short(matched),
            Part("."),
        ),
        (
            _sentence("Against its frozen-statistics twin, at the same weights and outputs, λ_max is lower", twin),
            _sentence("Against the standard network after equal steps, λ_max is lower", v("top-eigenvalue.standard")),
            _sentence("Against the standard network where both have the same loss, λ_max is lower", matched),
            _sentence(
                "For steps along the gradient that are not small (the largest change of the gradient over the distance, which bounds the "
                "gradient's Lipschitz constant, and so the global 2-Lipschitz constant, from below): against the twin it is lower",
                v("effective-beta.twin"),
            ),
            _sentence("The same against the standard network after equal steps: it is lower", v("effective-beta.standard")),
        ),
    )  # fmt: skip


def _scaling(v: _Verdicts) -> Answer:
    def both(control: str) -> list[Json]:
        return [o for name in _SCALE_FREE for o in v(f"{name}.{control}")]

    return Answer(
        "Is it more than scaling?",
        (
            Part(
                "The gradient is smaller than scaling alone makes it (against the twin, which scales by the same factors): "
            ),
            *_short(v("gradient-norm.twin")),
            Part(f". Of {len(_SCALE_FREE)} measures that no rescaling of the loss changes, over all networks: against the twin "),
            *_count(both("twin")),
            Part("; against the standard network "),
            *_count(both("standard")),
            Part("."),
        ),
        (
            _sentence("Against the twin, the gradient norm is lower", v("gradient-norm.twin")),
            *(
                _sentence(f"{against}, {what}", v(f"{name}.{control}"))
                for control, against in (
                    ("twin", "Against the twin"),
                    ("standard", "Against the standard network after equal steps, at any scale of its loss"),
                )
                for name, what in _SCALE_FREE.items()
            ),
        ),
    )  # fmt: skip


_CONTRAST = {
    "top-eigenvalue.twin": "λ_max against the twin",
    "effective-beta.twin": "the largest change of the gradient over distance, against the twin",
    "relative-curvature.twin": "the relative curvature against the twin",
    "linearity-error.twin": "the linearity error against the twin",
    "trust-fraction.twin": "the trust fraction against the twin",
    "gradient-turn.twin": "the gradient's turn against the twin",
    "top-eigenvalue.standard-at-matched-loss": "λ_max against the standard network at matched loss",
}


def _relu(v: _Verdicts) -> Answer:
    question = "What does ReLU change?"
    if not v.contrasts:
        nothing = (
            "This run has no two networks that differ only in their activation, so it does not answer this."
        )
        return Answer(question, (Part(nothing),), ())
    sentences = []
    for c in v.contrasts:
        a, b = v.of(c["comparison"], c["relu"]), v.of(c["comparison"], c["smooth"])
        sentences.append(
            (
                Part(
                    f"Batch norm's factor on {_CONTRAST[c['comparison']]} is {effect_text(a)} with ReLU ({c['relu']}) and "
                    f"{effect_text(b)} with {c['activation']} ({c['smooth']}); the first over the second is {effect_text(c)}, "
                    f"n\u00a0=\u00a0{len(c['seeds'])}. That batch norm does more with ReLU (a {'smaller' if c['claim'] == 'below' else 'larger'} factor) is "
                ),
                _word(c["outcome"]),
                Part("."),
            )
        )
    pairs = dict.fromkeys(
        f"{c['relu']} and {c['smooth']} differ in ReLU against {c['activation']} only" for c in v.contrasts
    )
    short = (
        Part(f"{'; '.join(pairs)}. That batch norm does more with ReLU is, over the measures below: "),
        *_count(v.contrasts),
        Part(
            ". (At a kink itself the 2-Lipschitz constant is infinite with and without batch norm; what is measured here is the "
            "curvature between kinks and along steps that cross them.)"
        ),
    )
    return Answer(question, short, tuple(sentences))


def _shift(v: _Verdicts) -> Answer:
    l2, angle, loss = v("covariate-shift.l2"), v("covariate-shift.angle"), v("training-loss.standard")
    return Answer(
        "Does it reduce internal covariate shift, and does that matter?",
        (
            Part("That batch norm does not reduce it (Definition 2.1 of Santurkar et al.): by length "),
            *_short(l2),
            Part("; by angle "),
            *_short(angle),
            Part("."),
        ),
        (
            _sentence("The change of a layer's gradient when the layers before it step (l2) is not smaller than in the standard network", l2),
            _sentence("Its change of direction (1 − cosine) is not smaller", angle),
            _sentence("At the last measured step the training loss is lower than the standard network's", loss),
            *_does_it_matter(l2, angle, loss),
        ),
    )  # fmt: skip


def _does_it_matter(l2: Sequence[Json], angle: Sequence[Json], loss: Sequence[Json]) -> Iterator[Sentence]:
    """What follows per network from the three verdicts; nothing where they leave it open."""
    without, together, neither = [], [], []
    for a, b, c in zip(l2, angle, loss, strict=True):
        shift = {a["outcome"], b["outcome"]} & {"supported", "contradicted"}
        if c["outcome"] == "supported" and shift == {"supported"}:
            without.append(a["network"])
        elif c["outcome"] == "supported" and shift == {"contradicted"}:
            together.append(a["network"])
        else:
            neither.append(a["network"])
    if without:
        yield (
            Part(
                f"On {_list(without)} batch norm trains faster without less shift: less shift, so measured, is not what makes it faster there."
            ),
        )
    if together:
        yield (
            Part(
                f"On {_list(together)} less shift and faster training go together; which causes which this run cannot say."
            ),
        )
    if neither:
        yield (
            Part(f"On {_list(neither)} these verdicts do not tell whether shift matters for the training."),
        )


# -- words ---------------------------------------------------------------------------------------------------------------


def _groups(outcomes: Iterable[Json]) -> Iterator[tuple[str, list[Json]]]:
    found = list(outcomes)
    for word in ORDER:
        group = [o for o in found if o["outcome"] == word]
        if group:
            yield word, group


def _sentence(lead: str, outcomes: Sequence[Json]) -> Sentence:
    """The lead as a claim, then each verdict with its networks, effects, intervals and seeds."""
    parts = [Part(f"{lead}: ")]
    for i, (word, group) in enumerate(_groups(outcomes)):
        effects = [f"{o['network']} ({effect_text(o)}, n\u00a0=\u00a0{len(o['seeds'])})" for o in group]
        parts += [Part("; ")] if i else []
        parts += [_word(word), Part(f" on {_list(effects)}")]
    return (*parts, Part("."))


def _short(outcomes: Sequence[Json]) -> Iterator[Part]:
    """Verdicts with their networks alone."""
    for i, (word, group) in enumerate(_groups(outcomes)):
        if i:
            yield Part(", ")
        yield _word(word)
        every = len(group) == len(outcomes) > 1
        yield Part(" on every network" if every else f" on {_list([o['network'] for o in group])}")


def _count(outcomes: Sequence[Json]) -> Iterator[Part]:
    """How many of them got which verdict."""
    for i, (word, group) in enumerate(_groups(outcomes)):
        if i:
            yield Part(", ")
        yield _word(word)
        yield Part(f" in {len(group)} of {len(outcomes)}")


def _word(verdict: str) -> Part:
    return Part(verdict, verdict)


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
