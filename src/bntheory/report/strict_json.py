"""JSON that every parser reads."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(data: Any, indent: int = 2) -> str:
    """JSON has no NaN and no infinities, so those are the strings "NaN", "Infinity", "-Infinity"."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(x: Any) -> Any:
    if isinstance(x, dict):
        return {key: _finite(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_finite(value) for value in x]
    if isinstance(x, float) and not math.isfinite(x):
        return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
    return x
