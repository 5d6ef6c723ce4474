"""Outliers of the Hessian: eigenvalues and the gradient's share against dense matrices, and arms that are exchanged.

The dense Hessians are of networks written out here: batch norm from its definition, or with constants in the place of its statistics.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bntheory.claims.claim import Study
from bntheory.claims.sources import ghorbani2019
from bntheory.claims.sources.ghorbani2019 import K, Outliers, Seed, compare, measure, train_and_measure
from bntheory.experiments.short_runs import choose_images

IMAGES = choose_images(60, side=7, seed=2, device="cpu")


def model() -> nn.Sequential:
    generator = torch.Generator().manual_seed(1)
    built = nn.Sequential(
        nn.Flatten(), nn.Linear(49, 5, bias=False), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 10)
    )
    with torch.no_grad():
        for p in built.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.5 + (p.dim() == 1))
    return built.double()


def dense(mode: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Hessian and gradient by the flat parameters, from the definition of batch norm."""
    net = model()
    w, gamma, beta, v, b = (p.detach().clone() for p in net.parameters())
    x = IMAGES.inputs.double().reshape(60, 49)
    constants = x @ w.T
    sizes = [t.numel() for t in (w, gamma, beta, v, b)]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = torch.split(flat, sizes)
        y = x @ parts[0].reshape(5, 49).T
        like = constants if mode == "frozen" else y
        z = (y - like.mean(0)) / torch.sqrt(like.var(0, unbiased=False) + 1e-5) * parts[1] + parts[2]
        return F.cross_entropy(torch.tanh(z) @ parts[3].reshape(10, 5).T + parts[4], IMAGES.labels)

    flat = torch.cat([t.reshape(-1) for t in (w, gamma, beta, v, b)])
    matrix = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    return matrix.numpy(), gradient.numpy(), float(loss(flat))


@pytest.mark.parametrize("mode", ["train", "frozen"])
def test_the_outliers_are_those_of_the_dense_hessian(mode: str) -> None:
    data = ghorbani2019_images()
    net = model().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = measure(net, data, mode=mode, seed=0)  # type: ignore[arg-type]
    matrix, gradient, loss = dense(mode)
    values, vectors = np.linalg.eigh(matrix)
    top = vectors[:, -K:]
    assert found.converged
    assert found.first == pytest.approx(values[-1], rel=1e-3)
    assert found.last == pytest.approx(values[-K], rel=1e-3)
    assert found.share == pytest.approx(((top.T @ gradient) ** 2).sum() / (gradient @ gradient), abs=1e-3)
    assert found.loss == pytest.approx(loss, rel=1e-9)
    assert found.ratio == found.first / found.last
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def ghorbani2019_images():  # type: ignore[no-untyped-def]
    return type(IMAGES)(IMAGES.inputs.double(), IMAGES.labels, IMAGES.test_inputs, IMAGES.test_labels)


def test_exchanged_arms_give_exchanged_networks() -> None:
    state = torch.get_rng_state()
    options = {"side": 7, "images": 64, "steps": 4, "device": "cpu"}
    there, back = (
        train_and_measure(3, arms=arms, **options) for arms in (("batch", "none"), ("none", "batch"))
    )  # type: ignore[arg-type]
    assert torch.equal(state, torch.get_rng_state())
    assert len(there.normalised) == len(there.frozen) == len(there.standard) == len(ghorbani2019.MARKS)
    assert (there.normalised, there.standard, there.frozen) == (back.standard, back.normalised, back.frozen)
    # the twin has the same outputs, and another Hessian
    assert there.frozen[1].loss == pytest.approx(there.normalised[1].loss, rel=1e-5)
    assert there.frozen[1].first != pytest.approx(there.normalised[1].first, rel=1e-2)


def planted(first: float, share: float, converged: bool = True) -> tuple[Outliers, ...]:
    return (Outliers(first, 1.0, share, 0.5, converged), Outliers(2 * first, 1.0, share, 0.4, converged))


LOW = [planted(f, s) for f, s in [(4.0, 0.3), (4.2, 0.32), (3.9, 0.31)]]
HIGH = [planted(f, s) for f, s in [(9.0, 0.7), (9.5, 0.72), (8.8, 0.69)]]


def test_exchanged_arms_reverse_the_outcome() -> None:
    for left, right, outcome in [
        (LOW, HIGH, "holds"),
        (HIGH, LOW, "fails"),
        (LOW, LOW[1:] + LOW[:1], "undecided"),
    ]:
        checks = compare("x", list(zip(left, right, strict=True)), "below", "made up")
        assert [c.outcome for c in checks if c.decisive] == [outcome, outcome]
    values = compare("x", list(zip(LOW, HIGH, strict=True)), "below", "")[0].witness["values"]
    assert values[0] == pytest.approx(np.log10(4 / 9), abs=1e-6)


def test_what_cannot_be_compared_is_left_out_and_counted() -> None:
    pairs = [*zip(LOW, HIGH, strict=True), ((), HIGH[0]), (planted(1, 0.5, converged=False), HIGH[1])]
    check = compare("x", pairs, "below", "made up")[0]
    assert "2 seeds left out" in check.scope
    assert check.outcome == "holds"
    flat = (Outliers(1.0, -0.1, 0.5, 0.5, True),) * 2  # lambda_K below zero: no ratio
    check = compare("x", [(flat, HIGH[0]), *zip(LOW, HIGH, strict=True)], "below", "made up")[0]
    assert "1 seeds left out (not positive)" in check.scope


def test_both_claims_are_about_the_same_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def once(seed: int, **options: object) -> Seed:
        seeds.append(seed)
        i = seed % 10
        return Seed(LOW[i], HIGH[i], HIGH[i])

    monkeypatch.setattr(ghorbani2019, "train_and_measure", once)
    study = Study(effort="quick", seed=987_654)
    first, second = (
        list(f(study)) for f in (ghorbani2019.outliers, ghorbani2019.frozen_statistics_of_the_whole_set)
    )
    assert seeds == [987_654_000, 987_654_001, 987_654_002]
    assert {c.outcome for c in first + second if c.decisive} == {"holds"}
    ghorbani2019._measured.cache_clear()
