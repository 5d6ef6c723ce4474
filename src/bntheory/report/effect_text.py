"""An effect with its interval as a reader sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["effect_text"]


def effect_text(effect: Mapping[str, Any]) -> str:
    """The effect and its interval as printed: ratios as factors, shares in per cent. ``effect`` is an entry of verdicts.json."""
    e = effect["estimate"]
    if e is None:
        return effect.get("why") or "not measured"

    def say(x: float) -> str:
        if effect["unit"] == "ratio":
            return f"×{_significant(10.0**x if x < 300 else math.inf)}"
        return f"{100 * x:.3g} %" if effect["unit"] == "share" else f"{x:.3g}"

    if e["low"] is None:
        return f"{say(e['mean'])} (fewer than 3 seeds: no interval)"
    return f"{say(e['mean'])} [{say(e['low'])}, {say(e['high'])}]"


def _significant(x: float) -> str:
    if not math.isfinite(x):
        return "∞"
    if x == 0:
        return "0"
    if 1e-3 <= x < 1e4:
        return f"{x:.3g}" if x < 1000 else f"{x:.0f}"
    return f"{x:.1e}"
