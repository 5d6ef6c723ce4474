"""Probes: one network at one point of its training, seen through the vocabulary of the theory.

What lives here: capture of normalisation layers, the split of the gradient, the measures along the gradient, covariate shift, and the
summary ``probe``. What does not: building and training (:mod:`bntheory.bridge.networks`), curvature (:mod:`bntheory.bridge.curvature`).
"""
