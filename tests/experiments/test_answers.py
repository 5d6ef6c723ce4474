"""The sentences that answer the discussion's questions say what verdicts.json says.

The oracle reads the finished sentences as a reader would, with regular expressions, and finds every number and every verdict again
in the intervals of verdicts.json, by arithmetic of its own; it shares nothing with the code that wrote them. The records are made so
that networks disagree: a sentence that lumps them together fails.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import re
from typing import Any

import pytest
from made_up import NETWORKS, SEEDS, make_records

from bntheory.experiments.answers import run_verdicts
from bntheory.experiments.preset import Preset, load_preset, preset_from_json
from bntheory.report.run_answers import ORDER, Answer, answers

#: A piece of each sentence, and the comparison that it is about.
SAID = {
    "Against its frozen-statistics twin, at the same weights and outputs, λ_max": "top-eigenvalue.twin",
    "Against the standard network after equal steps, λ_max": "top-eigenvalue.standard",
    "Against the standard network where both have the same loss, λ_max": "top-eigenvalue.standard-at-matched-loss",
    "from below): against the twin it is lower": "effective-beta.twin",
    "The same against the standard network after equal steps": "effective-beta.standard",
    "Against the twin, the gradient norm": "gradient-norm.twin",
    "Against the twin, the relative curvature": "relative-curvature.twin",
    "Against the twin, the linear prediction": "linearity-error.twin",
    "Against the twin, the trust fraction": "trust-fraction.twin",
    "Against the twin, the gradient turns": "gradient-turn.twin",
    "any scale of its loss, the relative curvature": "relative-curvature.standard",
    "any scale of its loss, the linear prediction": "linearity-error.standard",
    "any scale of its loss, the trust fraction": "trust-fraction.standard",
    "any scale of its loss, the gradient turns": "gradient-turn.standard",
    "when the layers before it step (l2)": "covariate-shift.l2",
    "Its change of direction": "covariate-shift.angle",
    "the training loss is lower": "training-loss.standard",
}
NUMBERS = r"×(\S+) \[×(\S+), ×(\S+)\]"


def _preset(smooth: bool) -> Preset:
    content = load_preset("smoke").as_json()
    options: dict[str, Any] = {"activation": "softplus"} if smooth else {"layout": [3]}
    content["networks"] = [
        {"name": NETWORKS[0], "kind": "mlp", "options": {}},
        {"name": NETWORKS[1], "kind": "mlp", "options": options},
    ]
    return preset_from_json({**content, "seeds": list(SEEDS)})


@functools.cache
def _verdicts(smooth: bool = True) -> dict[str, Any]:
    """Batch norm helps on the first network; on the second it is worse than its twin, and too noisy against the standard one."""
    records = copy.deepcopy(make_records())
    for r in records:
        if r["network"] == NETWORKS[0] and r["arm"] == "batchnorm":
            r["loss"] *= 0.8
        if r["network"] != NETWORKS[1]:
            continue
        for point in (r["twin"],) if r["twin"] else ():
            point["curvature"]["top"] *= 0.1
            point["scale_free"]["linearity_error"] *= 0.1
            point["scale_free"]["trust_fraction"] *= 0.1
        if r["arm"] == "standard":
            wild = 30.0 ** (r["seed"] - 1)
            r["curvature"]["top"] *= wild
            r["shift"]["l2"] = [0.0, *(wild * x for x in r["shift"]["l2"][1:])]
    verdicts: dict[str, Any] = json.loads(json.dumps(run_verdicts(_preset(smooth), records)))
    return verdicts


def _text(sentence: Any) -> str:
    return "".join(part.text for part in sentence)


def _all(found: list[Answer]) -> list[str]:
    return [_text(s) for a in found for s in a.sentences]


def _interval(effect: dict[str, Any]) -> list[float]:
    return [10 ** effect["estimate"][key] for key in ("mean", "low", "high")]


def _same(printed: str, exact: float) -> bool:
    """Three digits are printed, two of very large and very small numbers."""
    return float(printed) == pytest.approx(exact, rel=0.05 if "e" in printed else 6e-3)


def _verdict(effect: dict[str, Any]) -> str:
    low, high, t = effect["estimate"]["low"], effect["estimate"]["high"], effect["threshold"]
    if low <= t <= high:
        return "inconclusive"
    return "supported" if (high < t) == (effect["claim"] == "below") else "contradicted"


@pytest.mark.parametrize("piece", SAID)
def test_each_sentence_has_the_numbers_and_the_verdict_of_each_network(piece: str) -> None:
    verdicts = _verdicts()
    (sentence,) = [s for s in _all(answers(verdicts)) if piece in s]
    tail = sentence[sentence.rindex(": ") :]
    word, seen = "", []
    for verdict, network, mean, low, high, n in re.findall(
        rf"({'|'.join(ORDER)}) on |(\w+) \({NUMBERS}, n\xa0=\xa0(\d+)\)", tail
    ):
        if verdict:
            word = verdict
            continue
        (effect,) = [o for o in verdicts["outcomes"] if o["name"] == SAID[piece] and o["network"] == network]
        for printed, exact in zip((mean, low, high), _interval(effect), strict=True):
            assert _same(printed, exact)
        assert int(n) == len(effect["seeds"]) == len(SEEDS)
        assert word == _verdict(effect)
        seen.append(network)
    assert sorted(seen) == sorted(NETWORKS)  # every network once, and every number was read
    assert len(re.findall("×", tail)) == 3 * len(NETWORKS)


def test_every_sentence_with_numbers_is_covered() -> None:
    plain = [s for s in _all(answers(_verdicts())) if "×" in s and not s.startswith("Batch norm's factor")]
    assert len(plain) == len(SAID)


def test_the_planted_disagreement_is_told() -> None:
    said = next(s for s in _all(answers(_verdicts())) if "frozen-statistics twin" in s)
    assert f"supported on {NETWORKS[0]} (" in said
    assert f"contradicted on {NETWORKS[1]} (" in said
    short = _text(answers(_verdicts())[0].short)
    assert f"supported on {NETWORKS[0]}, contradicted on {NETWORKS[1]};" in short
    assert f"inconclusive on {NETWORKS[1]}." in short


def test_relu_against_a_smooth_activation() -> None:
    verdicts = _verdicts()
    sentences = [_text(s) for s in answers(verdicts)[2].sentences]
    assert len(sentences) == len(verdicts["contrasts"]) > 0
    for contrast, sentence in zip(verdicts["contrasts"], sentences, strict=True):
        a, b = (
            next(o for o in verdicts["outcomes"] if (o["name"], o["network"]) == (contrast["comparison"], n))
            for n in NETWORKS
        )
        differences = [x - y for x, y in zip(a["estimate"]["values"], b["estimate"]["values"], strict=True)]
        mean = sum(differences) / 3
        half = 4.302652730 * math.sqrt(sum((d - mean) ** 2 for d in differences) / 2) / math.sqrt(3)
        expected = [*_interval(a), *_interval(b), *(10 ** (mean + h) for h in (0, -half, half))]
        printed = [x for triple in re.findall(NUMBERS, sentence) for x in triple]
        assert all(_same(x, y) for x, y in zip(printed, expected, strict=True))
        sign = (
            -1 if contrast["comparison"].startswith("trust") else 1
        )  # a larger trust fraction is the better one
        low, high = sorted((sign * (mean - half), sign * (mean + half)))
        word = "supported" if high < 0 else "contradicted" if low > 0 else "inconclusive"
        assert ("(a smaller factor)" in sentence) == (sign == 1)
        assert f"is {word}." in sentence
        assert f"{NETWORKS[0]})" in sentence
        assert f"softplus ({NETWORKS[1]})" in sentence


def test_counts_of_scale_free_verdicts() -> None:
    verdicts = _verdicts()
    short = _text(answers(verdicts)[1].short)
    for control, piece in (("twin", "against the twin "), ("standard", "against the standard network ")):
        names = [
            f"{n}.{control}"
            for n in ("relative-curvature", "linearity-error", "trust-fraction", "gradient-turn")
        ]
        found = [_verdict(o) for o in verdicts["outcomes"] if o["name"] in names]
        tail = short[short.rindex(piece) + len(piece) :].partition(";")[0]
        counted = {w: (int(k), int(n)) for w, k, n in re.findall(r"(\w+) in (\d+) of (\d+)", tail)}
        assert counted == {w: (found.count(w), 8) for w in set(found)}


def test_without_a_smooth_network_the_question_stays_open() -> None:
    answer = answers(_verdicts(smooth=False))[2]
    assert "does not answer" in _text(answer.short)
    assert not answer.sentences


def test_whether_shift_matters_follows_from_the_verdicts() -> None:
    said = _all(answers(_verdicts()))
    assert any(s.startswith(f"On {NETWORKS[0]} batch norm trains faster without less shift") for s in said)
    assert any(s.startswith(f"On {NETWORKS[1]} these verdicts do not tell") for s in said)


def test_what_was_not_measured_is_said() -> None:
    verdicts = copy.deepcopy(_verdicts())
    for o in verdicts["outcomes"]:
        if o["name"] == "top-eigenvalue.twin":
            o.update(estimate=None, seeds=[], outcome="inconclusive")
    said = next(s for s in _all(answers(verdicts)) if "frozen-statistics twin" in s)
    assert f"inconclusive on {NETWORKS[0]} (not measured, n\xa0=\xa00)" in said


@pytest.mark.parametrize(
    ("l2", "angle", "loss", "said"),
    [
        ("supported", "inconclusive", "supported", "trains faster without less shift"),
        ("contradicted", "contradicted", "supported", "less shift and faster training go together"),
        ("supported", "contradicted", "supported", "do not tell"),
        ("inconclusive", "inconclusive", "supported", "do not tell"),
        ("supported", "supported", "inconclusive", "do not tell"),
        ("contradicted", "contradicted", "contradicted", "do not tell"),
    ],
)
def test_every_combination_of_shift_and_training(l2: str, angle: str, loss: str, said: str) -> None:
    verdicts = copy.deepcopy(_verdicts())
    wanted = {"covariate-shift.l2": l2, "covariate-shift.angle": angle, "training-loss.standard": loss}
    for o in verdicts["outcomes"]:
        o["outcome"] = wanted.get(o["name"], o["outcome"])
    (sentence,) = [s for s in _all(answers(verdicts)) if s.startswith("On ")]
    assert said in sentence
    assert sentence.startswith(f"On {NETWORKS[0]} and {NETWORKS[1]} ")
