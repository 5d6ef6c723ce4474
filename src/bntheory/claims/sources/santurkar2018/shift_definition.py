"""Santurkar et al. 2018, section 2.2: two consequences of the definition of internal covariate shift, measured in
networks.

Definition 2.1: the shift of layer i at step t is ||G - G'||, G the gradient by W_i at W^(t), G' the same with layers 1,
..., i-1 already at W^(t+1), on the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical

KEY = "santurkar2018"
_DEFINITION = Source(KEY, "Definition 2.1", "arXiv v3", seen="own")
_RATES = tuple(2.0**-k for k in range(8, 16))


def _networks(study: Study) -> Iterator[tuple[str, object, object]]:
    """(name, model, batch) in float64: MLP, VGG-like and ResNet-like, with and without BN, on Fashion-MNIST."""
    import torch

    from bntheory.bridge import NetworkSpec, batch_at, build_network, load_dataset

    data = load_dataset("fashion-mnist-subset")
    kinds = study.choose(quick=("mlp",), normal=("mlp", "vgg"), thorough=("mlp", "vgg", "resnet"))
    size = study.choose(quick=32, normal=32, thorough=64)
    for kind in kinds:
        for norm in ("batch", "none"):
            # softplus: a ReLU network's gradient jumps where an update carries a unit across its kink
            spec = NetworkSpec(kind, size="tiny", norm=norm, activation="softplus", pool="average")
            model = build_network(spec, study.seed, device=study.device, dtype=torch.float64)
            batch = batch_at(data, 0, batch_size=size, seed=study.seed, dtype=torch.float64, device=study.device)
            yield f"{kind}, {'with' if norm == 'batch' else 'without'} BN", model, batch


@claim(
    "santurkar2018.definition-2.1.first-layer",
    kind="network",
    source=_DEFINITION,
    statement=r"\|G_{t,1} - G'_{t,1}\|_2 = 0",
    note="No layer comes before the first one, so by this definition a one-layer network never has a covariate shift.",
)
def first_layer(study: Study) -> Iterator[Check]:
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import covariate_shift

    for name, model, batch in _networks(study):
        shifts = covariate_shift(model, cross_entropy, batch, learning_rate=0.1)
        first, rest = shifts[0], shifts[1:]
        yield numerical(
            f"shift of the first layer over its gradient's norm, {name}",
            "one step of size 0.1",
            uncertainty=1e-12,
            why="two evaluations of one gradient in float64, m = 32: sums of at most 1e5 terms, 1e5 u = 1e-11 / sqrt(1e5)",
        ).eq(first.l2 / first.gradient_norm, 0.0)
        yield numerical(
            f"least shift of the later layers, {name}: the definition is not empty",
            "one step of size 0.1",
            uncertainty=1e-12,
        ).lt(0.0, min(s.l2 / s.gradient_norm for s in rest))


@claim(
    "santurkar2018.definition-2.1.linear-in-learning-rate",
    kind="network",
    source=_DEFINITION,
    statement=r"\lim_{\eta\to0} \frac{\|G_{t,i} - G'_{t,i}\|_2}{\eta} \text{ exists and is positive for } i > 1",
    reading="smooth activations; the quotient is followed over eta = 2^-8 to 2^-15 and must approach its limit at first order",
    note="So a smaller learning rate alone makes the shift smaller, in every network: a comparison of shifts needs equal steps.",
)
def linear_in_learning_rate(study: Study) -> Iterator[Check]:
    import numpy as np
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import covariate_shift
    from bntheory.evidence.slopes import extrapolate

    for name, model, batch in _networks(study):
        quotients = np.array(
            [[s.l2 / rate for s in covariate_shift(model, cross_entropy, batch, learning_rate=rate)] for rate in _RATES]
        )
        for layer in range(1, quotients.shape[1]):
            curve = quotients[:, layer]
            limit = extrapolate(np.array(_RATES[-4:]), curve[-4:], order=1.0)
            distances = np.abs(curve[:-2] - limit.value)
            slopes = np.diff(np.log(distances)) / np.diff(np.log(_RATES[:-2]))
            scope = f"{name}, layer {layer + 1}, eta from 2^-8 to 2^-15"
            yield numerical(
                "order at which the quotient approaches its limit",
                scope,
                uncertainty=0.1,
                why="the next term of the expansion changes a local slope by O(eta), 2^-10 times a ratio of coefficients",
            ).eq(slopes[-1], 1.0)
            yield numerical("the limit is positive", scope, uncertainty=10 * limit.error + 1e-12).lt(0.0, limit.value)
