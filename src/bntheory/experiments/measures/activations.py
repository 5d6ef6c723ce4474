"""How the distribution of a layer's inputs looks: percentiles of what enters a nonlinearity."""

from __future__ import annotations

import torch

from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.probes.activation_moments import activation_moments
from bntheory.experiments.measures.situation import Json, Options, Situation


def percentiles(at: Situation, options: Options) -> Json:
    """The 15th, 50th and 85th percentile of every unit's inputs at a nonlinearity, over the first test images: lists of
    (3, units).

    "batch": normalised by the statistics of these images; "running": by the running ones. options: place (a module's
    name), test_size. Rounded to five digits: there are many of them, and they are looked at in units of their own
    distance.
    """
    inputs = at.held_out(options["test_size"])[0]
    found = {}
    with state_guard(at.model, parameters=False), torch.no_grad():
        for name, training in (("batch", True), ("running", False)):
            at.model.train(training)
            seen = activation_moments(at.model, inputs, places=[options["place"]])[options["place"]]
            found[name] = [[float(f"{x:.5g}") for x in row] for row in seen.percentiles.tolist()]
    return {"percentiles": found}
