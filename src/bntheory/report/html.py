"""Pages from templates. Every value is escaped; a name that a template misspells is an error, not an empty place."""

from __future__ import annotations

import math
from typing import Any

from bntheory.evidence.record import spoken
from bntheory.report.claims_table import in_words


def render(template: str, **values: Any) -> str:
    """The template ``templates/<template>.j2`` with these values."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bntheory.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "on_ranks": spoken, "in_words": in_words}
    return environment.get_template(f"{template}.j2").render(**values)


def number(x: float | None, digits: int = 3) -> str:
    """A number as printed; an en dash where there is none."""
    if x is None:
        return "–"
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    if x == 0:
        return "0"
    if 1e-3 <= abs(x) < 10**6:
        return f"{x:.{digits}g}" if abs(x) < 1000 else f"{x:,.0f}".replace(",", " ")
    return f"{x:.{max(digits - 2, 0)}e}".replace("e-0", "e-").replace("e+0", "e")


def percent(x: float | None) -> str:
    """A share in per cent."""
    return "–" if x is None else f"{100 * x:.3g} %"
