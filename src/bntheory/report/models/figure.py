"""A drawn model: the figure and a sentence that says what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bntheory.report.style import complete


@dataclass(frozen=True)
class ModelFigure:
    """A matplotlib figure (:func:`bntheory.report.style.as_png` makes the file) and the sentence that it carries under its panels."""

    figure: Any
    sentence: str

    def __post_init__(self) -> None:
        complete(self.figure, self.sentence)
