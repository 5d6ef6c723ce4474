"""The post "Rethinking Batch Normalization" and its discussion."""

from bntheory.claims.sources.lesswrong2019 import landscape, layer, networks, slope, toys

__all__ = ["landscape", "layer", "networks", "slope", "toys"]
