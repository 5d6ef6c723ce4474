"""bntheory decides what is true about batch normalisation.

A claim is written once over a small vocabulary and is judged by algebra (for every batch size), by adversarial search with
exact certificates, inside real networks, and by experiment. Importing this package is cheap: names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "bntheory.layer": (
        "BatchNormLayer LayerDomain all_of any_of batch_mean centre eq ge gt iff implies le lt negate sqrt standardise"
    ),
    "bntheory.claims": "Check Claim Source Study claim registry",
    "bntheory.judges.decide": "decide",
    "bntheory.bridge": "probe",
}
_NAMES = {name: room for room, names in _HOME.items() for name in names.split()}

__all__ = ["__version__", *sorted(_NAMES)]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _NAMES:
        raise AttributeError(f"module 'bntheory' has no attribute {name!r}")
    return getattr(import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return __all__


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bntheory")
    except PackageNotFoundError:  # a source tree on the path without an installation
        return "0+source"
