"""One normalisation layer.

``closed_form``, ``rational``   in arrays, many units at a time, and in exact rationals
:mod:`.symbolic`    with a symbolic batch size
``family``          the normalisers that the literature compares
``vocabulary``, ``words``, ``relations``   the words in which a claim is written, and the statements made of them
``view``, ``parts``, ``constants``, ``number``   what a claim's function is handed, the same in every world, and what numbers share
``second_batch``, ``second_unit``   a layer at two batches, and two units of one layer
``domain``, ``three_valued``   where a claim is asserted, and what it says where a part of it has no value
``checks``, ``refusals``, ``shown``   what is refused, and a layer as text

Nothing here knows of networks, claims or verdicts.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bntheory.layer.domain import LayerDomain
from bntheory.layer.relations import (
    AllOf,
    AnyOf,
    Relation,
    Statement,
    all_of,
    any_of,
    eq,
    ge,
    gt,
    iff,
    implies,
    le,
    lt,
    negate,
)
from bntheory.layer.second_batch import SecondBatch, one_loss
from bntheory.layer.second_unit import SecondUnit, cross_block
from bntheory.layer.vocabulary import Layer, batch_mean, centre, sqrt, standardise

if TYPE_CHECKING:
    from bntheory.layer.closed_form import BatchNormLayer
    from bntheory.layer.family import make_layer

__all__ = [
    "AllOf",
    "AnyOf",
    "BatchNormLayer",
    "Layer",
    "LayerDomain",
    "Relation",
    "SecondBatch",
    "SecondUnit",
    "Statement",
    "all_of",
    "any_of",
    "batch_mean",
    "centre",
    "cross_block",
    "eq",
    "ge",
    "gt",
    "iff",
    "implies",
    "le",
    "lt",
    "make_layer",
    "negate",
    "one_loss",
    "sqrt",
    "standardise",
]

_OF_ARRAYS = {"BatchNormLayer": "closed_form", "make_layer": "family"}  # with numpy, which a typed claim can do without


def __getattr__(name: str) -> Any:
    if name not in _OF_ARRAYS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_ARRAYS[name]}"), name)
