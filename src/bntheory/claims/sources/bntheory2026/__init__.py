"""This project's own statements."""

from bntheory.claims.sources.bntheory2026 import detached, landscape, layer, sharpness, statistics, twin

__all__ = ["detached", "landscape", "layer", "sharpness", "statistics", "twin"]
