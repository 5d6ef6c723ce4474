"""Refusing what cannot be normalised: every message says what, where, why, and what to do."""

from __future__ import annotations

import numpy as np

from bntheory.arrays import Array, is_object, is_torch, namespace


def as_vector(x: Array, name: str, reference: Array | None) -> Array:
    """x, if its last axis can be a batch like that of ``reference`` (None for y itself); ValueError otherwise."""
    if x.ndim == 0:
        raise ValueError(f"{name} is a single number; it needs shape (..., m) with the batch on the last axis")
    if reference is None and x.shape[-1] < 2:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}: m = {x.shape[-1]}. A batch of one equals its own mean, so nothing "
            "is left to normalise; the batch goes on the last axis and has at least 2 entries"
        )
    if reference is not None:
        _agree(x, name, reference)
    refuse_non_finite(x, name)
    return x


def _agree(x: Array, name: str, reference: Array) -> None:
    if x.shape[-1] != reference.shape[-1]:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} but y has shape {tuple(reference.shape)}: the last axis, the batch, "
            "must agree"
        )
    same_kind(x, reference, name)
    try:
        np.broadcast_shapes(tuple(x.shape), tuple(reference.shape))
    except ValueError:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)} and y has shape {tuple(reference.shape)}: the leading axes count "
            "layers and must broadcast"
        ) from None


def first_entry(x: Array) -> float:
    """The first number of an array, for a message."""
    return float(x.reshape(-1)[0])


def same_kind(x: Array, y: Array, name: str) -> None:
    """ValueError unless x and y are both numpy or both torch, on one device, in one precision."""
    if is_torch(x) != is_torch(y):
        raise ValueError(
            f"{name} is {type(x).__name__} but y is {type(y).__name__}: give both as numpy or both as torch"
        )
    if is_torch(x) and x.device != y.device:
        raise ValueError(f"{name} is on {x.device} but y is on {y.device}: move one of them")
    if x.dtype != y.dtype:
        raise ValueError(f"{name} has dtype {x.dtype} but y has dtype {y.dtype}: choose one precision for both")


def refuse_non_finite(x: Array, name: str) -> None:
    """ValueError for nan or inf anywhere in x, naming the first place."""
    if is_object(x):
        return
    module = namespace(x)
    with np.errstate(all="ignore"):
        if bool(module.isfinite(x.sum())):  # one pass without a temporary; an overflowing sum only sends us on
            return
    bad = ~module.isfinite(x)
    if bool(bad.any()):
        where = tuple(int(i[0]) for i in (bad.nonzero(as_tuple=True) if is_torch(x) else np.nonzero(bad)))
        raise ValueError(f"{name} has {int(bad.sum())} non-finite entries, the first at index {where}")
