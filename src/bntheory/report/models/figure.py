"""A drawn model: the figure and a sentence that says what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["ModelFigure"]


@dataclass(frozen=True)
class ModelFigure:
    """A matplotlib figure (:func:`bntheory.report.style.as_png` makes the file) and a sentence saying what it shows."""

    figure: Any
    sentence: str
