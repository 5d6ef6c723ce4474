"""Probes: one network at one point of its training, seen through the vocabulary of the theory.

``probe``              the summary of somebody's own model; ``picture`` as text and as a figure
``capture``, ``captured``   its normalisation layers as measured layers, with residuals against the closed form
``layer_split``, ``layer_theory``, ``identities``   the split of the gradient, the theorems, and proved identities, held against it
``along_gradient``     Santurkar's three measures
``covariate_shift``, ``activation_moments``   internal covariate shift, by Definition 2.1 and as Ioffe and Szegedy show it
``network_landscape``  the loss as a function of all parameters

What does not live here: building and training (:mod:`bntheory.bridge.networks`), curvature (:mod:`bntheory.bridge.curvature`).
"""
