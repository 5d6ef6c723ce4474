"""Ba, Kiros and Hinton: Layer Normalization, 2016, arXiv 1607.06450: Table 1, which transformation leaves which
normaliser's output.

Every entry is one claim, "invariant". For batch normalisation the vector y is one unit's pre-activations over the
batch; for layer normalisation it is one example's pre-activations over the units; the same algebra standardises either.
For weight normalisation the output is y/n with y = Xw over the batch and n = ||w||. All at eps = 0, for factors a > 0,
without a bias before the layer.

==========================  =======================  ========================  =======================
transformation              batch norm: y becomes    layer norm: y becomes     weight norm: y, n become
==========================  =======================  ========================  =======================
weight-matrix rescale       a y                      a y                       a y, a n
weight-matrix recentre      y + X s, any vector      y + c 1                   y + X s, any norm
weight-vector rescale       a y                      one entry times a         a y, a n
dataset rescale             a y                      a y                       a y, n
dataset recentre            y + c 1                  y + W s, any vector       y + c 1, n
single-case rescale         one entry times a        a y                       one entry times a, n
==========================  =======================  ========================  =======================
"""

from __future__ import annotations

from collections.abc import Callable

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, eq, standardise
from bntheory.layer.domain import ScalarRange
from bntheory.layer.vocabulary import Layer, Vector

KEY = "ba2016"
PRINTED = {
    "batch-norm": "yes no yes yes yes no",
    "weight-norm": "yes no yes no no no",
    "layer-norm": "yes yes no yes no yes",
}
TRANSFORMATIONS = {
    "weight-matrix-rescale": "re-scaling of the weight matrix",
    "weight-matrix-recentre": "re-centring of the weight matrix",
    "weight-vector-rescale": "re-scaling of one weight vector",
    "dataset-rescale": "re-scaling of the data set",
    "dataset-recentre": "re-centring of the data set",
    "single-case-rescale": "re-scaling of one training case",
}
_FACTOR = LayerDomain(eps="zero", scalars={"a": "positive"})
_SHIFT = LayerDomain(eps="zero", vectors=("s",))
_CONSTANT = LayerDomain(eps="zero", scalars={"c": "any"})
_CASE = LayerDomain(eps="zero", scalars={"a": "positive"}, vectors=("e@case",))


def _times_a(layer: Layer) -> Vector:
    return layer.scalar("a") * layer.y


def _plus_vector(layer: Layer) -> Vector:
    return layer.y + layer.vector("s")


def _plus_constant(layer: Layer) -> Vector:
    return layer.y + layer.scalar("c") * layer.one


def _one_entry(layer: Layer) -> Vector:
    e = layer.vector("e@case")
    return layer.y + (layer.scalar("a") - 1) * layer.dot(e, layer.y) * e


_Action = tuple[LayerDomain, Callable[[Layer], Vector]]
_BY_A: _Action = (_FACTOR, _times_a)
_BY_VECTOR: _Action = (_SHIFT, _plus_vector)
_BY_CONSTANT: _Action = (_CONSTANT, _plus_constant)
_BY_ENTRY: _Action = (_CASE, _one_entry)
STANDARDISED: dict[str, tuple[_Action, ...]] = {
    "batch-norm": (_BY_A, _BY_VECTOR, _BY_A, _BY_A, _BY_CONSTANT, _BY_ENTRY),
    "layer-norm": (_BY_A, _BY_CONSTANT, _BY_ENTRY, _BY_A, _BY_VECTOR, _BY_A),
}


def _source(method: str, transformation: str) -> Source:
    printed = PRINTED[method].split()[[*TRANSFORMATIONS].index(transformation)]
    return Source(KEY, "Table 1", f"printed: {printed}", printed=False)


def _statement(method: str, transformation: str) -> str:
    return rf"\text{{{method.replace('-', ' ')} is invariant under {TRANSFORMATIONS[transformation]}}}"


def _declare_standardised(
    method: str, transformation: str, domain: LayerDomain, act: Callable[[Layer], Vector]
) -> None:
    @claim(
        f"ba2016.table-1.{method}.{transformation}",
        source=_source(method, transformation),
        statement=_statement(method, transformation),
        domain=domain,
    )
    def invariant(layer: Layer) -> Statement:
        return eq(standardise(layer, act(layer)), layer.y_hat)


for _method, _actions in STANDARDISED.items():
    for _transformation, (_domain, _act) in zip(TRANSFORMATIONS, _actions, strict=True):
        _declare_standardised(_method, _transformation, _domain, _act)


def _weight_norm(
    transformation: str, act: Callable[[Layer], Vector], *, norm_becomes: str, domain: LayerDomain, note: str = ""
) -> None:
    """Weight normalisation's output is y/n; ``norm_becomes`` says what the weight vector's norm n turns into."""
    scalars: dict[str, ScalarRange] = {**domain.scalars, "n": "positive"}
    if norm_becomes == "any":
        scalars["n_after"] = "positive"
    full = LayerDomain(eps="zero", scalars=scalars, vectors=domain.vectors)

    @claim(
        f"ba2016.table-1.weight-norm.{transformation}",
        source=_source("weight-norm", transformation),
        statement=_statement("weight-norm", transformation),
        domain=full,
        note=note,
    )
    def invariant(layer: Layer) -> Statement:
        n = layer.scalar("n")
        after = {"n": lambda: n, "a n": lambda: layer.scalar("a") * n, "any": lambda: layer.scalar("n_after")}
        return eq(act(layer) / after[norm_becomes](), layer.y / n)


_weight_norm("weight-matrix-rescale", _times_a, norm_becomes="a n", domain=_FACTOR)
_weight_norm(
    "weight-matrix-recentre",
    _plus_vector,
    norm_becomes="any",
    domain=_SHIFT,
    note="A shift of the weights in the kernel of X leaves y as it is and still changes the norm that it is divided by.",
)
_weight_norm("weight-vector-rescale", _times_a, norm_becomes="a n", domain=_FACTOR)
_weight_norm("dataset-rescale", _times_a, norm_becomes="n", domain=_FACTOR)
_weight_norm("dataset-recentre", _plus_constant, norm_becomes="n", domain=_CONSTANT)
_weight_norm("single-case-rescale", _one_entry, norm_becomes="n", domain=_CASE)
