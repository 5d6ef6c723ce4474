"""This project's own statements."""

from bntheory.claims.sources.bntheory2026 import landscape, layer, statistics, twin

__all__ = ["landscape", "layer", "statistics", "twin"]
