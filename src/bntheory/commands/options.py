"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Json", "Latex"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, stable and documented in the README.")]
Latex = Annotated[
    bool, typer.Option("--latex", help="Print a paragraph for a review; it compiles with amsmath.")
]
