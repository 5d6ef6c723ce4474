"""What a claim's function is handed: the layer, but nothing that it could change.

A claim of a user's own may say ``y *= 2`` or ``layer.gamma = 1``. In arrays the first would change the layer under judgement and not
only the claim's view of it, so a true claim would seem to fail. Here every array is a copy, and no attribute can be set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Shield"]


class Shield:
    """A layer whose arrays are handed out as copies."""

    __slots__ = ("_layer",)
    _layer: Any

    def __init__(self, layer: Any) -> None:
        object.__setattr__(self, "_layer", layer)

    def __getattr__(self, name: str) -> Any:
        return _copied(getattr(self._layer, name))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"layer.{name} cannot be set: a claim states relations and changes nothing")

    def scalar(self, name: str) -> Any:
        """The free scalar."""
        return _copied(self._layer.scalar(name))

    def vector(self, name: str) -> Any:
        """The free vector."""
        return _copied(self._layer.vector(name))


def _copied(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.copy()
    return x.clone() if type(x).__name__ == "Tensor" else x
