"""An effect with its interval as a reader sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bntheory.evidence.counts import counted


def effect_text(effect: Mapping[str, Any]) -> str:
    """The effect and its interval as printed, ratios as factors. ``effect`` is an entry of verdicts.json."""
    e = effect["estimate"]
    if e is None:
        return effect.get("why") or "not measured"
    if e["low"] is None:
        why = "fewer than 3 seeds" if e["n"] < 3 else f"{counted(e['n'], 'seed')} with equal values"
        return f"{mean_text(effect)} ({why}: no interval)"
    return f"{mean_text(effect)} [{number_text(e['low'], effect['unit'])}, {number_text(e['high'], effect['unit'])}]"


def place_text(place: str) -> str:
    """A place of verdicts.json as printed: the mean over one step alone is the number at it."""
    steps = place.removeprefix("mean of steps ")
    return place if steps == place or "," in steps else f"at step {steps}"


def mean_text(effect: Mapping[str, Any]) -> str:
    """The effect alone."""
    e = effect["estimate"]
    return "not measured" if e is None else number_text(e["mean"], effect["unit"])


def number_text(x: float, unit: str) -> str:
    """A number as printed; of the unit "ratio" it is a log10, shown as a factor."""
    return f"×{_significant(10.0**x if x < 300 else math.inf)}" if unit == "ratio" else f"{x:.3g}"


def _significant(x: float) -> str:
    if not math.isfinite(x):
        return "∞"
    if x == 0:
        return "0"
    if 1e-3 <= x < 1e4:
        return f"{x:.3g}" if x < 1000 else f"{x:.0f}"
    return f"{x:.1e}"
