"""Ioffe and Szegedy, ICML 2015: batch normalisation."""

from bntheory.claims.sources.ioffe2015 import dynamics, jacobians, layer, training

__all__ = ["dynamics", "jacobians", "layer", "training"]
