"""What the literature says, one module or package a source, named by the source's key in ``papers/references.bib``.

A module here states claims and decides none. A module that is named after no source holds what several sources share.
"""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import iter_modules

__all__ = ["load_all"]

_KEY = re.compile(r"[a-z]+\d{4}")


def load_all() -> None:
    """Import every source, so that the registry of printed claims is complete."""
    for module in iter_modules(__path__):
        if _KEY.fullmatch(module.name):
            import_module(f"{__name__}.{module.name}")
