"""What the literature says about batch normalisation, one module a source.

A module here states claims and decides none. :func:`registry` gives them all by their permanent ids.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bntheory.claims.core import Claim, Registry, Source, Study, claim, collecting, registry
from bntheory.claims.evidence import Check

__all__ = ["Check", "Claim", "Registry", "Source", "Study", "claim", "collecting", "load_all", "registry"]

_NOT_SOURCES = {"core", "evidence"}


def load_all() -> None:
    """Import every source's module, so that the registry is complete."""
    for module in iter_modules(__path__):
        if module.name not in _NOT_SOURCES and not module.name.startswith("_"):
            import_module(f"{__name__}.{module.name}")
