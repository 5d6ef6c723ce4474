"""One normalisation layer.

Here live the vocabulary in which claims about a layer are written, the closed-form layer in arrays, the symbolic layer,
and the family of normalisers. Nothing here knows of networks, claims or verdicts.
"""

from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.domain import LayerDomain
from bntheory.layer.family import make_layer
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
