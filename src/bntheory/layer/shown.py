"""A layer as text that can be pasted back into Python: the call that makes it, every number in its shortest form.

A long vector that repeats a pattern is written as ``np.resize`` of the pattern, a large matrix that is diagonal or
repeats a block as ``np.diag`` or ``np.tile``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bntheory.arrays import is_object, is_torch

_LONG, _LONGEST_PERIOD, _MOST_ENTRIES = 12, 12, 4096


def pasted(layer: Any) -> str:
    """The call that makes one closed-form layer; several layers, or one on another device, are described in a word."""
    y, hess = layer.y, layer.hess_given
    name = type(layer).__name__
    if len(layer.shape) != 1 or is_object(y) or (is_torch(y) and y.device.type != "cpu"):
        return f"<{name}: y of shape {layer.shape}, {y.dtype if hasattr(y, 'dtype') else 'objects'}>"
    call = "BatchNormLayer(" if layer.made_as == "batch" else f"make_layer({layer.made_as!r}, "
    parts = [_vector(y), _vector(layer.grad)]
    if hess is not None and (_is_function(hess) or bool((np.asarray(hess) != 0).any())):
        parts.append(_matrix(hess))
    for key, default in (("gamma", 1.0), ("beta", 0.0), ("eps", 0.0)):
        value = getattr(layer, key).item()
        if value != default:
            parts.append(f"{key}={value!r}")
    if layer.free:
        free = {key: _quantity(value) for key, value in layer.free.items()}
        parts.append("free={" + ", ".join(f"{key!r}: {text}" for key, text in free.items()) + "}")
    return call + ", ".join(parts) + ")"


def _is_function(x: Any) -> bool:
    return callable(x) and not hasattr(x, "shape")


def _quantity(x: Any) -> str:
    if _is_function(x):
        return _matrix(x)
    dimension = np.ndim(x)
    if dimension == 0 or np.size(x) == 1:
        return repr(float(np.asarray(x).reshape(-1)[0]))
    return _vector(x) if dimension == 1 else _matrix(x)


def _vector(x: Any) -> str:
    if is_torch(x):
        return f"torch.tensor({_listed(x.numpy())}, dtype={x.dtype})"
    text = _listed(np.asarray(x))
    return text if np.asarray(x).dtype != np.float32 else f"np.array({text}, dtype=np.float32)"


def _listed(x: np.ndarray) -> str:
    if len(x) > _LONG:
        for period in range(1, _LONGEST_PERIOD + 1):
            if np.array_equal(np.resize(x[:period], len(x)), x):
                return f"np.resize({x[:period].tolist()}, {len(x)})"
    return repr(x.tolist())


def _matrix(hess: Any) -> str:
    if _is_function(hess):
        return f"<{getattr(hess, '__name__', 'function')}>"
    if is_torch(hess):
        return f"torch.tensor({hess.tolist()}, dtype={hess.dtype})"
    a = np.asarray(hess)
    m = len(a)
    if m <= _LONG:
        return repr(a.tolist())
    diagonal = np.diagonal(a)
    if np.array_equal(np.diag(diagonal), a):
        return f"np.diag({_listed(diagonal)})"
    for period in range(1, _LONGEST_PERIOD + 1):
        times = -(-m // period)
        if np.array_equal(np.tile(a[:period, :period], (times, times))[:m, :m], a):
            return f"np.tile({a[:period, :period].tolist()}, ({times}, {times}))[:{m}, :{m}]"
    return repr(a.tolist()) if a.size <= _MOST_ENTRIES else f"<a matrix of shape {a.shape}>"
