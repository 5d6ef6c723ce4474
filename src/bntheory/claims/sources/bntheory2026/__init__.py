"""This project's own statements."""

from bntheory.claims.sources.bntheory2026 import landscape, layer

__all__ = ["landscape", "layer"]
