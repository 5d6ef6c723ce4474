"""bntheory decides what is true about batch normalisation.

Deciding
    decide("dot(y, input_grad) == 0", eps="positive")
        a claim typed on the spot: a verdict with .latex(), .plot(), .cite()
    check("santurkar2018.theorem-4.1.neurips")
        a claim of the literature by its id, which registry() lists
    @claim, LayerDomain, Source, le, lt, eq, ge, gt
        a claim of your own, in Python; check(it) judges it
    testing.assert_claim, testing.layers
        a bound, attacked in your own test suite

Measuring
    probe(model, loss, batch)
        what each normalisation takes off the gradient; curvature beside
        the frozen-statistics twin's
    bridge.capture, .frozen_twin, .Objective, .along_gradient
    bridge.curvature.hessian, .top_eigenvalues, .trace, .spectral_density

Understanding
    models.show("slope")    analytic models with exact dynamics, drawn
    smoothness              Lipschitz constants, scale-free measures
    layer                   one normalisation layer in closed form

The shell command `bntheory` does the same. Importing this package is
cheap: names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bntheory.bridge import probe as probe
    from bntheory.claims import Check as Check
    from bntheory.claims import Claim as Claim
    from bntheory.claims import Source as Source
    from bntheory.claims import Study as Study
    from bntheory.claims import claim as claim
    from bntheory.claims import registry as registry
    from bntheory.judges.check import check as check
    from bntheory.judges.decide import decide as decide

_HOME = {
    "bntheory.layer": (
        "BatchNormLayer LayerDomain all_of any_of batch_mean centre eq ge gt iff implies le lt negate sqrt standardise"
    ),
    "bntheory.claims": "Check Claim Source Study claim registry",
    "bntheory.judges.decide": "decide",
    "bntheory.judges.check": "check",
    "bntheory.bridge": "probe",
}
_NAMES = {name: room for room, names in _HOME.items() for name in names.split()}
_ROOMS = ("bridge", "claims", "layer", "models", "smoothness", "testing")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("bntheory.evidence.closure").own_version()
    if name in _ROOMS:
        return import_module(f"bntheory.{name}")
    if name not in _NAMES:
        raise AttributeError(f"module 'bntheory' has no attribute {name!r}")
    return getattr(import_module(_NAMES[name]), name)


# without __all__, so that help(bntheory) is the table of contents above and not every class in full
def __dir__() -> list[str]:
    return ["__version__", *sorted([*_NAMES, *_ROOMS])]
