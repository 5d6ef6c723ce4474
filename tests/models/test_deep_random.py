"""Deep random networks against oracles that share nothing with them: autograd through the definition, numpy's rank, known limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bntheory.models.deep_random import DeepRandom, channel_share, mean_similarity, orthogonality_gap, stable_rank


def by_autograd(network: DeepRandom, seed: int) -> tuple[list[torch.Tensor], list[float]]:
    """The same draws, written out in torch: representations, and the norms of the gradients that autograd finds."""
    rng = np.random.default_rng(seed)
    H = torch.tensor(rng.normal(size=(network.width, network.batch)))
    states, kept = [H], []
    for _ in range(network.depth):
        W = rng.normal(size=(network.width, network.width))
        if network.weights == "orthogonal":
            Q, R = np.linalg.qr(W)
            W = Q * np.sign(np.diag(R)) * np.sqrt(network.width)
        W = torch.tensor(W) * np.sqrt((2 if network.activation == "relu" else 1) / network.width)

        def norm(x: torch.Tensor) -> torch.Tensor:
            if network.norm == "none":
                return x
            if network.norm == "batch":
                return (x - x.mean(1, keepdim=True)) / x.var(1, keepdim=True, unbiased=False).sqrt()
            if network.norm == "batch-rms":
                return x / x.square().mean(1, keepdim=True).sqrt()
            size = network.width if network.norm == "layer" else int(network.norm.split("-")[1])
            parts = [
                (p - p.mean(0)) / p.var(0, unbiased=False).sqrt() for p in x.split(size)
            ]  # groups of rows, each sample by itself
            return torch.cat(parts)

        act = torch.relu if network.activation == "relu" else (lambda x: x)
        if network.residual:
            H = H.clone().requires_grad_()
            kept.append((H, H + W @ act(norm(H))))
            H = kept[-1][1]
        else:
            before = (W @ H).requires_grad_() if not H.requires_grad else W @ H
            before.retain_grad() if before.grad_fn is not None else None
            H = act(norm(before))
            kept.append((before, H))
        states.append(H)
    G = rng.normal(size=H.shape)
    G = torch.tensor(G / np.linalg.norm(G))
    if network.residual:  # each block was cut off from the one before: carry the gradient by hand
        norms = []
        for start, end in reversed(kept):
            norms.append(float(G.norm()))
            (G,) = torch.autograd.grad(end, start, G)
        return states, norms[::-1]
    grads = torch.autograd.grad(H, [before for before, _ in kept], G)
    return states, [float(g.norm()) for g in grads]


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("activation", ["linear", "relu"])
@pytest.mark.parametrize("norm", ["none", "batch", "batch-rms", "layer", "group-3"])
def test_both_ways_agree_with_autograd(norm: str, activation: str, residual: bool) -> None:
    network = DeepRandom(6, 4, 5, norm=norm, activation=activation, residual=residual)  # type: ignore[arg-type]
    found = network.run(3)
    states, gradients = by_autograd(network, 3)
    for ours, theirs in zip(found.representations, states, strict=True):
        assert ours == pytest.approx(theirs.detach().numpy(), rel=1e-10, abs=1e-12)
    assert found.gradient_norms == pytest.approx(gradients, rel=1e-9)


def test_orthogonal_weights_are_orthogonal() -> None:
    network = DeepRandom(7, 1, 7, norm="none", activation="linear", weights="orthogonal")
    H = network.run(0, np.eye(7)).representations[-1]
    assert pytest.approx(np.eye(7), abs=1e-12) == H.T @ H


def test_measures_on_matrices_that_say_what_they_are() -> None:
    rng = np.random.default_rng(0)
    Q, _ = np.linalg.qr(rng.normal(size=(9, 4)))
    assert stable_rank(Q) == pytest.approx(4)
    assert stable_rank(np.outer(rng.normal(size=9), rng.normal(size=4))) == pytest.approx(1)
    assert orthogonality_gap(3 * Q) == pytest.approx(0, abs=1e-12)
    assert mean_similarity(Q) == pytest.approx(0, abs=1e-12)
    same = np.tile(rng.normal(size=(9, 1)), 4)
    assert mean_similarity(same) == pytest.approx(1)
    assert channel_share(same) == pytest.approx(1)
    assert channel_share(same - same.mean(axis=1, keepdims=True) + np.array([1, -1, 1, -1])) == pytest.approx(0)
    # ||11'/4 - I/4||_F of four equal columns
    assert orthogonality_gap(same) == pytest.approx(np.sqrt(12) / 4)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"width": 1, "depth": 2, "batch": 2}, "width=1: must be a whole number of at least 2"),
        ({"width": 6, "depth": 2, "batch": 2, "norm": "group-4"}, "G dividing the width 6"),
        ({"width": 6, "depth": 2, "batch": 2, "norm": "instance"}, "norm is 'instance'"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DeepRandom(**arguments)  # type: ignore[arg-type]


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"inputs must have shape \(4, 3\)"):
        DeepRandom(4, 1, 3).run(0, np.ones((3, 4)))
