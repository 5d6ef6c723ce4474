"""A verdict as a picture: where random layers stand to the claim and the counterexample, or the intervals of an experiment's checks.

What lives here: drawing evidence that is there already, and a batch of random layers beside it. What does not: deciding.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from bntheory.drawing import BLUE, COLOURS, GREEN, GREY, ORANGE, CaptionedFigure, legend_below, new_grid
from bntheory.errors import OutsideVocabulary, UserError
from bntheory.evidence.counts import WRITTEN_OUT
from bntheory.judges.exact.witness import Instance
from bntheory.judges.failing import failing
from bntheory.judges.latex import Told

_LAYERS = 4000
_MOST_ROWS = 24


def verdict_figure(verdict: Told, *, statement: str = "") -> CaptionedFigure:
    """The picture of a verdict. UserError where its evidence has neither layers nor checks to draw."""
    name = statement or verdict.claim.id
    if verdict.claim.domain is not None:
        return _layers(verdict, name)
    checks = [c for e in verdict.evidence for c in e.details.get("checks", ()) if c["decisive"]]
    if not checks:
        raise UserError(f"{verdict.claim.id}: the verdict {verdict.status.value} has no checks to draw")
    return _intervals(verdict, name, checks)


def _layers(verdict: Told, name: str) -> CaptionedFigure:
    witness = next((e.details["witness"] for e in verdict.evidence if "witness" in e.details), None)
    drawn = _random_layers(verdict)
    titles = ["Random layers", *(["The counterexample"] if witness else [])]
    if not drawn:
        titles = titles[1:]
    if not titles:
        raise UserError(f"{verdict.claim.id}: no layer of this claim can be drawn at random, and none refutes it")
    figure, axes = new_grid(1, len(titles), titles, width=5.2, height=4.2)
    words = []
    if drawn:
        failing = _draw_random(axes[0], drawn, witness)
        total = sum(len(v) for v in drawn.values())
        words.append(
            f"of {total} random layers that meet its hypotheses {failing} fail it"
            + ("; the counterexample does, in exact arithmetic" if witness else "")
        )
    if witness:
        words.append(_draw_witness(axes[-1], witness))
    text = "; ".join(words)
    return CaptionedFigure(figure, f"{verdict.status.value.capitalize()}: {name}. {text[0].upper()}{text[1:]}.")


def _random_layers(verdict: Told) -> dict[int, Any]:
    """By batch size, the violation of random layers that meet the hypotheses; nothing for a claim that search cannot attack."""
    import torch

    from bntheory.judges.search.ascent import FEASIBLE, evaluate
    from bntheory.judges.search.candidates import Candidates

    claim = verdict.claim
    assert claim.domain is not None
    generator = torch.Generator().manual_seed(0)
    found = {}
    for m in (claim.domain.min_m, claim.domain.min_m + 2, claim.domain.min_m + 14):
        try:
            seen = evaluate(claim, claim.domain, Candidates(claim.domain, _LAYERS // 3, m, generator, "cpu"))
        except OutsideVocabulary:
            return {}
        kept = seen.violation[(seen.infeasible <= FEASIBLE) & seen.violation.isfinite()].numpy()
        if len(kept):
            found[m] = kept
    return found


def _draw_random(axes: Any, drawn: dict[int, Any], witness: Any) -> int:
    from bntheory.judges.search.objective import VISIBLE

    bins = np.linspace(-1, 1, 61)
    looks = (("#56B4E9", ":"), (BLUE, "--"), ("black", "-"))
    for (m, values), (colour, line) in zip(drawn.items(), looks, strict=False):
        # equality does not fail: left of the shaded half
        values = np.where((values >= 0) & (values <= VISIBLE), -1e-9, values)
        shares = np.full(len(values), 1 / len(values))
        axes.hist(values, bins, weights=shares, histtype="step", color=colour, linestyle=line, label=f"batch of {m}")
    axes.axvspan(0, 1, color=ORANGE, alpha=0.1, linewidth=0, label="the claim fails")
    margins = [r["margin"] for r in failing((witness or {}).get("certificate", {}))]
    if margins and margins[0] is not None:
        axes.axvline(-margins[0], color=ORANGE, linewidth=2, linestyle="-.", label="the counterexample")
    axes.set(xlim=(-1, 1), xlabel="(left − right) / (|left| + |right|)", ylabel="share of the layers")
    legend_below(axes, columns=2)
    return int(sum((v > VISIBLE).sum() for v in drawn.values()))


def _draw_witness(axes: Any, witness: Any) -> str:
    layer = Instance.from_json(witness["layer"])
    rows = {"y": layer.y, "gradient g": layer.grad, **layer.vectors}
    at, width = np.arange(1, layer.m + 1), 0.76 / len(rows)
    looks = cycle(((BLUE, ""), (ORANGE, "//"), (GREEN, ".."), (GREY, "xx")))
    for row, ((name, values), (colour, hatch)) in enumerate(zip(rows.items(), looks, strict=False)):
        edged = {"hatch": hatch, "edgecolor": "white"} if len(at) <= WRITTEN_OUT else {"linewidth": 0}
        heights = [float(v) for v in values]
        axes.bar(at + (row - (len(rows) - 1) / 2) * width, heights, width, color=colour, label=name, **edged)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(at if len(at) <= 12 else at[:: -(-len(at) // 12)])
    axes.set(xlabel="example of the batch", ylabel="value")
    legend_below(axes, columns=2)
    return f"it has {layer.describe()}"


def _intervals(verdict: Told, name: str, checks: list[dict[str, Any]]) -> CaptionedFigure:
    shown = checks[:_MOST_ROWS]
    figure, (axes,) = new_grid(1, 1, ["What was compared"], width=8.4, height=1.6 + 0.32 * len(shown))
    for row, c in enumerate(shown):
        room = 0.0 if c["left"] == c["right"] else c["right"] - c["left"]
        size = max(abs(room), c["uncertainty"], c["margin"] or 0.0) or 1.0
        holds = c["outcome"] == "holds"
        axes.errorbar(
            room / size,
            row,
            xerr=c["uncertainty"] / size,
            fmt="o" if holds else "s",
            color=COLOURS["batchnorm" if holds else "twin"],
            capsize=3,
        )
    axes.axvline(0, color="black", linewidth=1)
    names = [c["name"] if len(c["name"]) <= 60 else c["name"][:57] + "..." for c in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=9)
    axes.invert_yaxis()
    axes.set(xlim=(-2.1, 2.1), xlabel="for the claim: right of 0 (each row on its own scale)")
    axes.set_ylabel("check")
    more = f", of which {len(shown)} are drawn" if len(checks) > len(shown) else ""
    held = sum(c["outcome"] == "holds" for c in checks)
    return CaptionedFigure(
        figure,
        f"{verdict.status.value.capitalize()}: {name}. {held} of {len(checks)} decisive checks hold{more}; bars are their uncertainties.",
    )
