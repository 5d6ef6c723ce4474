"""Smoothness along training: planted runs give the verdict that was planted, and what is measured is what the definitions say.

Oracles: runs made up with known ratios, arms exchanged, exact rescalings; for the measuring, a network
written out in plain torch with its dense float64 Hessian, and ``torch.optim.SGD`` for the training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bntheory.bridge import batch_at, load_dataset
from bntheory.claims import registry
from bntheory.claims.claim import Study
from bntheory.claims.sources.lesswrong2019 import networks as claims
from bntheory.experiments import curvature_runs as along
from bntheory.experiments.curvature_runs import NetworkCurvatures, Protocol, SeedRun
from bntheory.experiments.matched import at_equal_loss, at_equal_points
from bntheory.judges.check import judge_claim

KEY = "lesswrong2019"
ALONG_TRAINING = [
    f"{KEY}.two-lipschitz.batchnorm-reduces.network",
    *(f"{KEY}.domain.{kind}" for kind in ("mlp", "vgg", "resnet", "transformer", "rnn")),
]
SCALING = f"{KEY}.more-than-scaling"
QUICK = Study(effort="quick", seed=0)


# ------------------------------------------------------------------------------------------------------- planted runs


def curvatures(losses: np.ndarray, rng: np.random.Generator, level: float) -> NetworkCurvatures:
    def noisy(value: float) -> np.ndarray:
        return value * np.exp(0.02 * rng.normal(size=losses.shape))

    top = noisy(level)
    return NetworkCurvatures(losses, noisy(1.0), top, 1.1 * top, noisy(0.1))


def planted(levels: tuple[float, float, float], seeds: int = 4) -> list[SeedRun]:
    """Runs whose curvature is about ``levels`` for batch norm, its twin, and the standard network."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        losses, wider = np.array([1.5, 1.0, 0.6]), np.array([2.3, 1.4, 0.9, 0.5])
        own, twin, standard = (
            curvatures(at, rng, level) for at, level in zip((losses, losses, wider), levels, strict=True)
        )
        found.append(SeedRun(own, twin, standard, standard, (0.6, 0.5), (0.1, 0.1), (), 0, seed))
    return found


def status(claim_id: str, monkeypatch: pytest.MonkeyPatch, found: list[SeedRun]) -> str:
    monkeypatch.setattr(along, "runs", lambda name, study: found)
    return judge_claim(registry()[claim_id], effort="quick").status.value


@pytest.mark.parametrize("claim_id", ALONG_TRAINING)
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((1.0, 2.0, 2.0), "supported"),
        ((2.0, 1.0, 4.0), "contradicted"),  # the twin and batch norm exchanged
        ((2.0, 4.0, 1.0), "contradicted"),  # the standard network and batch norm exchanged
    ],
    ids=["lower", "above the twin", "above the standard"],
)
def test_a_planted_curvature_decides(
    claim_id: str, levels: tuple[float, float, float], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(claim_id, monkeypatch, planted(levels)) == expected


def test_too_few_seeds_and_no_common_loss_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = planted((1.0, 2.0, 2.0))
    assert status(ALONG_TRAINING[0], monkeypatch, lower[:2]) == "inconclusive"
    apart = [replace(r, standard=replace(r.standard, losses=r.standard.losses + 5)) for r in lower]
    monkeypatch.setattr(along, "runs", lambda name, study: apart)
    checks = claims.mlp_domain(QUICK)
    assert [c.outcome for c in checks if c.decisive] == ["holds", "undecided"]
    assert "4 seeds gave no number" in checks[1].scope


def test_the_two_lipschitz_claim_reads_the_spectral_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large negative eigenvalue counts for it, and not for the claims about the largest eigenvalue."""
    rough = [
        replace(r, own=replace(r.own, hessian_norms=10 * r.own.hessian_norms)) for r in planted((1, 2, 2))
    ]
    assert status(ALONG_TRAINING[0], monkeypatch, rough) == "contradicted"
    assert status(ALONG_TRAINING[1], monkeypatch, rough) == "supported"


def rescaled(c: NetworkCurvatures, loss: float, length: float) -> NetworkCurvatures:
    """f(x) -> loss f(x / length): what no scale-free measure sees."""
    return NetworkCurvatures(
        loss * c.losses,
        loss / length * c.gradient_norms,
        loss / length**2 * c.top_eigenvalues,
        loss / length**2 * c.hessian_norms,
        c.linearity_errors,
    )


def scaling_status(
    monkeypatch: pytest.MonkeyPatch, found: list[SeedRun], reparametrised: dict[float, float] | None = None
) -> str:
    """reparametrised: factors at which the twin's curvature is the twin's times this; elsewhere it is the twin's."""
    by_factor = reparametrised or {}
    monkeypatch.setattr(
        claims,
        "_reparametrised_twins",
        lambda name, run, study: [
            replace(run.twin, top_eigenvalues=by_factor.get(a, 1.0) * run.twin.top_eigenvalues)
            for a in claims.FACTORS
        ],
    )
    return status(SCALING, monkeypatch, found)


@pytest.mark.parametrize(("loss", "length"), [(1.0, 1.0), (1.0, 3.0), (1.0, 0.5)])
def test_a_mere_rescaling_is_recognised(loss: float, length: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        replace(r, own=rescaled(r.own, loss, length)) for r in planted((1.0, 1.0, 1.0))
    ]  # raw curvatures differ by length^2
    assert scaling_status(monkeypatch, found) == "contradicted"


@pytest.mark.parametrize("level", [0.5, 2.0], ids=["smoother", "rougher"])
def test_a_difference_in_either_direction_is_more_than_scaling(
    level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert scaling_status(monkeypatch, planted((level, 1.0, 1.0))) == "supported"


def test_one_of_the_two_measures_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        replace(r, own=replace(r.own, linearity_errors=3 * r.own.linearity_errors))
        for r in planted((1.0, 1.0, 1.0))
    ]
    assert scaling_status(monkeypatch, found) == "supported"


def test_a_parametrisation_of_the_twin_that_agrees_contradicts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scaling_status(monkeypatch, planted((0.5, 1.0, 1.0)), {2.0: 0.5}) == "contradicted"
    assert scaling_status(monkeypatch, planted((0.5, 1.0, 1.0)), {2.0: 0.2}) == "supported"


def test_both_controls_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other than its twin and like the standard network: the effect of batch norm as a whole is none."""
    assert scaling_status(monkeypatch, planted((1.0, 2.0, 1.0))) == "contradicted"


def test_equal_points_and_equal_loss_by_hand() -> None:
    flat = np.ones(3)
    own = NetworkCurvatures(np.array([2.0, 1.0, 0.1]), flat, np.array([4.0, -1.0, 8.0]), flat, flat)
    twin = replace(own, top_eigenvalues=np.array([40.0, 1.0, 0.8]))
    assert at_equal_points(own, twin, "top_eigenvalues") == pytest.approx((-1 + 1) / 2)
    other = replace(own, losses=np.array([4.0, 1.0, 0.5]), top_eigenvalues=np.array([1.0, 3.0, 9.0]))
    # the loss 2 is half way from 4 to 1 in logarithms, and so is sqrt(3) from 1 to 3; 1 has no positive curvature, 0.1 was never reached
    assert at_equal_loss(own, other, "top_eigenvalues") == pytest.approx(np.log10(4.0 / np.sqrt(3.0)))
    assert np.isnan(at_equal_loss(own, replace(other, losses=other.losses + 9), "top_eigenvalues"))


# -------------------------------------------------------------------------------------------- a small network, measured

TINY = "tiny"
SMALL = Protocol(seeds=3, steps=12, points=2, every=3, batch_size=16, measured=16)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One hidden layer of five units on 2 x 2 images: 90 parameters, so its Hessian is a small matrix."""
    options = {"kind": "mlp", "layout": (5,), "activation": "softplus", "eps": 1e-3}
    monkeypatch.setitem(along.NETWORKS, TINY, ("tiny MLP", options, 14))
    monkeypatch.setattr(along, "protocol", lambda effort: SMALL)
    along._seed_run.cache_clear()
    yield TINY
    along._seed_run.cache_clear()


def by_hand(state: list[Tensor], x: Tensor, fixed: tuple[Tensor, Tensor] | None) -> Tensor:
    """The tiny network with batch norm, from its parameters in order; fixed: constants in the place of mean and variance."""
    weight, gamma, beta, last, bias = state
    y = x.flatten(1) @ weight.T
    mean, var = (y.mean(0), ((y - y.mean(0)) ** 2).mean(0)) if fixed is None else fixed
    return F.softplus((y - mean) / torch.sqrt(var + 1e-3) * gamma + beta) @ last.T + bias


def dense(state: list[Tensor], batch: tuple[Tensor, Tensor], frozen: bool) -> tuple[float, ...]:
    """(loss, gradient norm, largest eigenvalue, spectral norm, linearity error) from the whole float64 Hessian."""
    x, t = batch[0].double(), batch[1]
    values = [p.double() for p in state]
    sizes = [p.numel() for p in values]
    y = x.flatten(1) @ values[0].T
    fixed = (y.mean(0), y.var(0, correction=0)) if frozen else None

    def loss(flat: Tensor) -> Tensor:
        parts = [q.reshape(p.shape) for q, p in zip(torch.split(flat, sizes), values, strict=True)]
        return F.cross_entropy(by_hand(parts, x, fixed), t)

    at = torch.cat([p.reshape(-1) for p in values]).requires_grad_()
    value = loss(at)
    (g,) = torch.autograd.grad(value, at)
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, at.detach()))
    promised = along.FRACTION * float(value.detach())
    there = float(loss(at.detach() - promised / float(g @ g) * g))
    error = abs(there - (float(value.detach()) - promised)) / promised
    return (
        float(value.detach()),
        float(g.norm()),
        float(eigenvalues[-1]),
        float(eigenvalues.abs().max()),
        error,
    )


@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
def test_measures_against_the_dense_hessian(tiny: str, frozen: bool, device: str) -> None:
    run = along._seed_run(tiny, "quick", 3, device)
    assert run is not None
    batch = along.measured_batch(tiny, SMALL, 3, device)
    found = run.twin if frozen else run.own
    for i, state in enumerate(run.states):
        loss, norm, top, spectral, error = dense(state, batch, frozen)
        assert found.losses[i] == pytest.approx(loss, rel=1e-5)
        assert found.gradient_norms[i] == pytest.approx(norm, rel=1e-4)
        assert found.top_eigenvalues[i] == pytest.approx(top, rel=0.01)  # the tolerance that was asked for
        assert found.hessian_norms[i] == pytest.approx(spectral, rel=0.01)
        assert found.linearity_errors[i] == pytest.approx(error, rel=1e-2)
    assert not np.allclose(run.own.top_eigenvalues, run.twin.top_eigenvalues, rtol=0.02)


def test_the_reparametrised_twin_has_the_scaled_hessian(tiny: str, device: str) -> None:
    """Weights times a: the same function of W/a, so the gradient by W is divided by a and its Hessian block by a^2."""
    run = along._seed_run(tiny, "quick", 0, device)
    assert run is not None
    found = claims._reparametrised_twins(tiny, run, Study(effort="quick", device=device))
    batch = along.measured_batch(tiny, SMALL, 0, device)
    x, t = batch[0].double(), batch[1]
    for factor, twin in zip(claims.FACTORS, found, strict=True):
        for i, state in enumerate(run.states):
            values = [p.double() for p in state]
            y = x.flatten(1) @ values[0].T
            fixed, sizes = (y.mean(0), y.var(0, correction=0)), [p.numel() for p in values]

            def loss(flat: Tensor, *, values=values, sizes=sizes, fixed=fixed, factor=factor) -> Tensor:
                parts = [q.reshape(p.shape) for q, p in zip(torch.split(flat, sizes), values, strict=True)]
                return F.cross_entropy(by_hand([parts[0] / factor, *parts[1:]], x, fixed), t)

            at = torch.cat([values[0].reshape(-1) * factor, *(p.reshape(-1) for p in values[1:])])
            top = float(torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, at))[-1])
            assert twin.top_eigenvalues[i] == pytest.approx(top, rel=0.01)
            assert twin.losses[i] == pytest.approx(run.own.losses[i], rel=1e-5)


def test_training_is_plain_sgd_on_the_same_batches(tiny: str, device: str) -> None:
    """Both arms, against torch's own optimiser on batches that are cut here."""
    data, batch = load_dataset("fashion-mnist-subset"), along.measured_batch(tiny, SMALL, 2, device)
    for norm in ("batch", "none"):
        run = along._train(tiny, norm, 0.25, SMALL, 2, device, batch)
        assert run is not None
        model = along.build(tiny, norm, 2, device).train()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.25)
        losses, training = [], []
        for step in range(SMALL.steps + 1):
            if step % SMALL.every == 0:
                losses.append(float(F.cross_entropy(model(batch[0]), batch[1]).detach()))
            if step < SMALL.steps:
                x, t = batch_at(data, step, batch_size=16, seed=2, device=device)
                optimiser.zero_grad()
                value = F.cross_entropy(model(F.avg_pool2d(x, 14)), t)
                value.backward()
                optimiser.step()
                training.append(float(value.detach()))
        np.testing.assert_allclose(run.losses, losses, rtol=1e-4)
        assert run.score == pytest.approx(float(np.mean(training[6:])), rel=1e-4)


def test_arms_start_from_the_same_weights(tiny: str) -> None:
    a, b = (dict(along.build(tiny, norm, 5, "cpu").named_parameters()) for norm in ("batch", "none"))
    shared = [name for name in a if name in b]
    assert {"hidden0.weight_layer.weight", "output.weight"} <= set(shared)
    assert all(torch.equal(a[name], b[name]) for name in shared)


def test_the_better_rate_counts_and_divergence_is_counted(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(along, "RATES", (1e-6, 0.25, 1e38))
    found = along.runs(tiny, QUICK)
    assert len(found) == 3
    assert all(r.rates == (0.25, 0.25) for r in found)
    assert sum(r.diverged for r in found) > 0
    assert "runs diverged" in along.scope(found, "quick")
    along._seed_run.cache_clear()
    monkeypatch.setattr(along, "RATES", (1e38,))
    assert along.runs(tiny, QUICK) == []
    assert "3 seeds gave nothing" in along.scope([], "quick")


def test_the_standard_run_at_the_same_rate(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both arms are best at one rate it is the standard run itself; where it diverged there is none."""
    run = along._seed_run(tiny, "quick", 0, "cpu")
    assert run is not None
    assert (run.same_rate is run.standard) == (run.rates[0] == run.rates[1])
    effects = claims._effects(run, "top_eigenvalues")
    assert effects["rate, standard"] == pytest.approx(np.log10(run.rates[0] / run.rates[1]))
    train = along._train

    def only_small_rates(name: str, norm: str, rate: float, *rest: object) -> object:
        return train(name, norm, rate, *rest) if (norm == "batch") == (rate > 0.1) else None

    along._seed_run.cache_clear()
    monkeypatch.setattr(along, "_train", only_small_rates)
    run = along._seed_run(tiny, "quick", 0, "cpu")
    assert run is not None
    assert run.rates[0] > run.rates[1]
    assert run.same_rate is None
    assert run.diverged == 3
    effects = claims._effects(run, "top_eigenvalues")
    assert effects["rate, standard"] > 0
    assert np.isnan(effects["curvature, same rate"])


def test_what_only_illustrates_does_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    rough = [replace(r, same_rate=r.own, rates=(0.01, 0.25)) for r in planted((1.0, 2.0, 2.0))]
    monkeypatch.setattr(along, "runs", lambda name, study: rough)
    checks = {c.name: c for c in claims.mlp_domain(QUICK)}
    rate = next(c for name, c in checks.items() if "learning rate over" in name)
    assert (rate.outcome, rate.decisive) == ("fails", False)
    assert [c.outcome for c in checks.values() if c.decisive] == ["holds", "holds"]


def test_a_seed_repeats_and_leaves_the_global_generators(tiny: str) -> None:
    torch.manual_seed(3)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = along._seed_run(tiny, "quick", 1, "cpu")
    assert along._seed_run(tiny, "quick", 1, "cpu") is first  # kept, so that claims share it
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    along._seed_run.cache_clear()
    torch.manual_seed(4)
    again, other = (along._seed_run(tiny, "quick", seed, "cpu") for seed in (1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    for name in ("losses", "top_eigenvalues", "linearity_errors"):
        assert np.array_equal(getattr(first.own, name), getattr(again.own, name))
        assert np.array_equal(getattr(first.standard, name), getattr(again.standard, name))
    assert not np.array_equal(first.own.losses, other.own.losses)


def test_the_device_is_passed_on(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    build, cut = along.build, along._batch

    def building(name: str, norm: str, seed: int, device: str) -> torch.nn.Module:
        seen.add(f"network on {device}")
        return build(name, norm, seed, device)

    def cutting(name: str, step: int, size: int, seed: int, device: str) -> tuple[Tensor, Tensor]:
        seen.add(f"batch on {device}")
        return cut(name, step, size, seed, device)

    monkeypatch.setattr(along, "build", building)
    monkeypatch.setattr(along, "_batch", cutting)
    study = Study(effort="quick", device="cpu:0")
    found = along.runs(tiny, study)
    claims._reparametrised_twins(tiny, found[0], study)
    assert seen == {"network on cpu:0", "batch on cpu:0"}


def test_progress_is_told(tiny: str) -> None:
    told: list[float] = []
    along.runs(tiny, Study(effort="quick", progress=lambda fraction, text: told.append(fraction)))
    assert told == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize("name", list(along.NETWORKS))
def test_every_network_of_a_claim_builds_in_both_arms(name: str) -> None:
    p = along.protocol("quick")
    x, _ = along.measured_batch(name, p, 0, "cpu")
    for norm in ("batch", "none"):
        assert along.build(name, norm, 0, "cpu")(x).shape == (p.measured, 10)
