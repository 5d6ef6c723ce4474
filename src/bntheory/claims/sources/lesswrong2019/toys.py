"""The post "Rethinking Batch Normalization" (2019), its discussion: does any of it hold outside neural networks?

Two models without activations and without layers of weights that multiply activations of a layer before: a tensor train
(matrix product state) whose weights multiply the inputs site by site, and a matrix factorisation. Each is trained by
full-batch gradient descent with and without batch normalisation at the same five learning rates, and read as the
networks are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.lesswrong2019.controls import DOMAIN_READING, Compared, beyond_scaling
from bntheory.claims.sources.lesswrong2019.trained import FIRST_SEED, looks_of
from bntheory.evidence.checks import Check
from bntheory.experiments.equal_rates import Arms, names_at
from bntheory.experiments.experiment import Arm
from bntheory.experiments.runs import until_decided
from bntheory.experiments.toy_runs import toy_runs
from bntheory.experiments.toys import GUESSING

KEY = "lesswrong2019"
_DISCUSSION = Source(KEY, "discussion", printed=False)
_SCALE = (
    "400 steps. Seeds from 100 up: lower ones were seen by the review that asked for this design; the grids of rates were set on three "
    "seeds from 1 000 100. "
)


def _smoother(study: Study, kind: str, options: Mapping[str, Any], rates: tuple[float, ...], what: str) -> list[Check]:
    record = study.choose(quick=(1, 10, 60), normal=(1, 20, 100, 400), thorough=(1, 20, 100, 400, 1600))
    used = study.choose(quick=rates[1:4], normal=rates, thorough=rates)
    names: dict[str, Arms] = {norm: names_at(norm, used) for norm in ("batch", "none")}
    arms = [
        Arm(kind, name, kind, {**options, "normalise": norm == "batch"}, rate)
        for norm, of in names.items()
        for rate, name in of.items()
    ]

    def read(seeds: int, confidence: float) -> list[Check]:
        runs = toy_runs(study, arms, record, seeds, what, first=FIRST_SEED)
        model = Compared(study, what, runs, names, f"{record[-1]} steps", GUESSING)
        return beyond_scaling(model, confidence)

    return until_decided(study, looks_of(study, 2), read)


@claim(
    "lesswrong2019.domain.tensor-train",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for a tensor train (matrix product state) regressor trained by gradient descent}",
    reading=DOMAIN_READING,
    note=_SCALE
    + "Bonds normalised over the batch; 96 samples of 5 features, bond dimension 3, target a random tensor train of bond dimension 2.",
)
def tensor_train_domain(study: Study) -> list[Check]:
    options = {"samples": 96, "features": 5, "rank": 3}
    return _smoother(study, "tensor-train", options, (0.03, 0.1, 0.3, 1.0, 3.0), "tensor train")


@claim(
    "lesswrong2019.domain.matrix-factorisation",
    kind="experiment",
    source=_DISCUSSION,
    statement=r"\text{it holds for a matrix factorisation trained by gradient descent}",
    reading=DOMAIN_READING,
    note=_SCALE
    + "Row factors normalised over the observed entries; a 20 x 15 matrix of rank 2, 60 % observed, factors of rank 3.",
)
def matrix_factorisation_domain(study: Study) -> list[Check]:
    options = {"shape": (20, 15), "observed": 0.6, "rank": 3}
    return _smoother(study, "matrix-factorisation", options, (0.1, 0.3, 1.0, 3.0, 10.0), "matrix factorisation")
