r"""Deep random networks: what a batch becomes on its way through many layers, and what its gradient becomes on the way
back.

One instrument for statements about initialisation. A layer maps the batch H (width x batch) to

    plain      H <- act(norm(W H))
    residual   H <- H + branch,  branch = W act(norm(H))

with independent W, Gaussian of variance 2/width for relu and 1/width for linear layers, or Haar orthogonal. The
normalisers, all at eps = 0 and without gamma and beta:

    "batch"       each row minus its mean over the batch, over its standard deviation
    "batch-rms"   each row over its root mean square over the batch (no centring, as in the theory of Daneshmand et al.)
    "layer"       each column minus its mean over the units, over its standard deviation
    "group-G"     each column, in groups of G units
    "none"

Backward, a gradient of norm one at the output is drawn and carried to every layer's pre-activation by the exact
adjoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bntheory.arrays import Floats
from bntheory.models.checks import at_least, checked
from bntheory.models.standardisation import standardise, standardise_derivative

Activation = Literal["linear", "relu"]
Weights = Literal["gaussian", "orthogonal"]


@dataclass(frozen=True)
class Pass:
    """One batch through one network.

    representations: H after each layer, (width, batch) each, the input first. gradient_norms: ||dL/d(W H)|| at each
    layer, from the first to the last, for a gradient of norm one after the last. branch_over_skip: for residual
    networks the ratio of standard deviations at each layer, empty otherwise.
    """

    representations: tuple[Floats, ...]
    gradient_norms: Floats
    branch_over_skip: Floats


@checked()
@dataclass(frozen=True)
class DeepRandom:
    """A random network's kind: width, depth, batch size, normaliser, activation, weights, and whether layers are
    residual."""

    width: int
    depth: int
    batch: int
    norm: str = "batch"
    activation: Activation = "relu"
    weights: Weights = "gaussian"
    residual: bool = False

    def __post_init__(self) -> None:
        at_least(2, width=self.width, batch=self.batch)
        at_least(1, depth=self.depth)
        _normaliser(self.norm, self.width)  # raises for a name that is none

    def run(self, seed: int, inputs: Floats | None = None) -> Pass:
        """Draw the network and a batch of independent Gaussian inputs (or take ``inputs``, (width, batch)) and go
        through it both ways.

        Raises ``ValueError`` for inputs of another shape.
        """
        rng = np.random.default_rng(seed)
        H = rng.normal(size=(self.width, self.batch)) if inputs is None else np.asarray(inputs, dtype=np.float64)
        if H.shape != (self.width, self.batch):
            raise ValueError(f"inputs must have shape {(self.width, self.batch)}, got {H.shape}")
        norm = _normaliser(self.norm, self.width)
        states, tape, ratios = [H], [], []
        for _ in range(self.depth):
            W = self._draw(rng)
            if self.residual:
                normed, back = norm(H)
                branch = W @ _act(self.activation, normed)
                ratios.append(float(branch.std() / H.std()))
                tape.append((W, back, _slope(self.activation, normed)))
                H = H + branch
            else:
                normed, back = norm(W @ H)
                tape.append((W, back, _slope(self.activation, normed)))
                H = _act(self.activation, normed)
            states.append(H)
        G = rng.normal(size=H.shape)
        G /= np.linalg.norm(G)
        norms = []
        for W, back, slope in reversed(tape):
            if self.residual:
                norms.append(float(np.linalg.norm(G)))
                G = G + back(slope * (W.T @ G))
            else:
                at_preactivation = back(slope * G)
                norms.append(float(np.linalg.norm(at_preactivation)))
                G = W.T @ at_preactivation
        return Pass(tuple(states), np.array(norms[::-1]), np.array(ratios))

    def _draw(self, rng: np.random.Generator) -> Floats:
        gain = 2.0 if self.activation == "relu" else 1.0
        W = rng.normal(size=(self.width, self.width))
        if self.weights == "orthogonal":
            Q, R = np.linalg.qr(W)
            W = Q * np.sign(np.diag(R)) * np.sqrt(self.width)
        return np.asarray(W * np.sqrt(gain / self.width))


def _act(kind: Activation, x: Floats) -> Floats:
    return x if kind == "linear" else np.maximum(x, 0.0)


def _slope(kind: Activation, x: Floats) -> Floats:
    return np.ones_like(x) if kind == "linear" else (x > 0).astype(np.float64)


Backward = Callable[[Floats], Floats]


def _standardised(x: Floats, axis: int, centred: bool) -> tuple[Floats, Backward]:
    """x standardised along the axis, and the adjoint of that map at x."""
    hat, sigma = standardise(x, axis, centred=centred)
    return hat, lambda g: standardise_derivative(g, hat, sigma, axis, centred=centred)


def _normaliser(name: str, width: int) -> Callable[[Floats], tuple[Floats, Backward]]:
    if name == "none":
        return lambda x: (x, lambda g: g)
    if name in ("batch", "batch-rms"):
        return lambda x: _standardised(x, 1, name == "batch")
    size = width if name == "layer" else _group_size(name)
    if size is None or width % size:
        raise ValueError(
            f"norm is {name!r}; it can be none, batch, batch-rms, layer or group-G with G dividing the width {width}"
        )

    def grouped(x: Floats) -> tuple[Floats, Backward]:
        shape = (width // size, size, x.shape[1])
        hat, back = _standardised(x.reshape(shape), 1, True)
        return hat.reshape(x.shape), lambda g: back(g.reshape(shape)).reshape(x.shape)

    return grouped


def _group_size(name: str) -> int | None:
    head, _, tail = name.partition("-")
    return int(tail) if head == "group" and tail.isdigit() and int(tail) > 1 else None


@checked()
def stable_rank(H: Floats) -> float:
    """(sum s)^2/sum s^2 of the squared singular values s: between 1 and the rank, and the rank where all are equal."""
    s = np.linalg.svd(H, compute_uv=False) ** 2
    return float(s.sum() ** 2 / (s**2).sum())


@checked()
def orthogonality_gap(H: Floats) -> float:
    """||H'H/||H||_F^2 - I/n||_F over the n columns of H: 0 where they are orthogonal and equally long."""
    gram = H.T @ H
    return float(np.linalg.norm(gram / np.trace(gram) - np.eye(H.shape[1]) / H.shape[1]))


@checked()
def mean_similarity(H: Floats) -> float:
    """The mean cosine between different columns of H, the samples."""
    unit = H / np.linalg.norm(H, axis=0)
    n = H.shape[1]
    return float(((unit.sum(axis=1) ** 2).sum() - n) / (n * (n - 1)))


@checked()
def channel_share(H: Floats) -> float:
    """The share of H's mean square that lies in what each unit gives to all samples alike, sum_c (mean_c)^2/sum_c
    mean(H_c^2)."""
    return float((H.mean(axis=1) ** 2).sum() / (H**2).mean(axis=1).sum())
