"""One network trained with and without batch normalisation, and its curvature along both runs.

What lives here: the networks, the protocol of training and measuring, one seed at a time and kept, so that claims about the same
networks train them once. What does not: comparisons (``_smoothness_studies.py``) and claims.

Protocol. Both arms start from the same initial values of their common parameters and see the same batches of the packaged
images; each is trained at every learning rate of ``RATES`` by plain stochastic gradient descent, and the run whose training
losses have the lowest mean over the second half counts. Measured is the loss of one held batch of training images, in training
mode, at the points where a run first reaches each of a few losses, even in the logarithm: loss, gradient, the ends of the Hessian's
spectrum, the error of a linear prediction. The twin is made anew at each point.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bntheory.models.smoothness_along import Curvatures, first_reached

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bntheory.evidence.study import Effort, Study

__all__ = [
    "FRACTION",
    "NETWORKS",
    "RATES",
    "NetworkCurvatures",
    "Protocol",
    "SeedRun",
    "build",
    "measure_states",
    "measured_batch",
    "protocol",
    "runs",
    "scope",
]

#: By name: what the claims call it, the options of its NetworkSpec, the factor by which the images are averaged down.
NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "mlp": ("MLP", {"kind": "mlp", "layout": (64, 64, 64)}, 1),
    "vgg": ("VGG-like network", {"kind": "vgg", "layout": (8, 0, 16, 0, 16, 16, 0)}, 2),
    "resnet": ("residual network", {"kind": "resnet", "layout": ((4, 1), (8, 1))}, 2),
    "transformer": ("transformer", {"kind": "transformer", "layout": (32, 2, 2), "activation": "gelu"}, 1),
    "rnn": ("recurrent network", {"kind": "rnn", "layout": (32,), "activation": "tanh"}, 1),
    "mlp-softplus": ("MLP, softplus", {"kind": "mlp", "layout": (64, 64, 64), "activation": "softplus"}, 1),
    "vgg-gelu": (
        "VGG-like network, GELU",
        {"kind": "vgg", "layout": (8, 0, 16, 0, 16, 16, 0), "activation": "gelu", "pool": "average"},
        2,
    ),
    "resnet-gelu": (
        "residual network, GELU",
        {"kind": "resnet", "layout": ((4, 1), (8, 1)), "activation": "gelu"},
        2,
    ),
}
_ARMS = ("batch", "none")
RATES = (0.01, 0.05, 0.25)
#: The share of the loss that the gradient step of the linear prediction would remove.
FRACTION = 0.1
#: Far from the seeds of the training batches.
_MEASUREMENT_SEED = 1_000_003
_TOLERANCE, _PRODUCTS = 0.01, 100
Floats = NDArray[np.float64]
State = list["Tensor"]


@dataclass(frozen=True)
class Protocol:
    """Numbers of seeds, steps, and points measured on a run; steps between two records; examples in a training batch and measured.

    The initialisation is no point of the normalised run, for it is no part of training; of the standard run it is one, the highest
    loss from which a measure is interpolated.
    """

    seeds: int
    steps: int
    points: int
    every: int
    batch_size: int = 64
    measured: int = 64


def protocol(effort: Effort) -> Protocol:
    """What an effort buys."""
    return {
        "quick": Protocol(3, 24, 2, 2),
        "normal": Protocol(6, 120, 4, 6),
        "thorough": Protocol(12, 480, 6, 12),
    }[effort]


@dataclass(frozen=True)
class NetworkCurvatures(Curvatures):
    """And the spectral norm of the Hessian and the relative error of the linear prediction, each (points,); nan: refused."""

    hessian_norms: Floats
    linearity_errors: Floats


@dataclass(frozen=True)
class SeedRun:
    """One seed of one network.

    own, twin: along the run with batch norm, without its start; standard: along the run without batch norm; same_rate: along that at
    the learning rate of the run with batch norm, None where it diverged. lowest: of the measured losses of both runs.
    states: the parameters with batch norm at the points of ``own``. diverged: how many of the runs at all rates did.
    """

    own: NetworkCurvatures
    twin: NetworkCurvatures
    standard: NetworkCurvatures
    same_rate: NetworkCurvatures | None
    lowest: tuple[float, float]
    rates: tuple[float, float]
    states: tuple[State, ...]
    diverged: int
    seed: int


@dataclass(frozen=True)
class _Trained:
    """losses: (records,) of the measured batch; states: the parameters at each; score: the mean loss of the second half."""

    rate: float
    losses: Floats
    states: list[State]
    score: float


def runs(name: str, study: Study) -> list[SeedRun]:
    """All seeds of a network at the study's effort; a seed in which an arm diverged at every rate, or never got below its first loss, gives none."""
    found = []
    seeds = protocol(study.effort).seeds
    for index in range(seeds):
        run = _seed_run(name, study.effort, 1000 * study.seed + index, study.device)
        if run is not None:
            found.append(run)
        study.progress((index + 1) / seeds, f"{NETWORKS[name][0]}, seed {index}")
    return found


def scope(found: list[SeedRun], effort: Effort) -> str:
    """What was run, in words, with what did not count."""
    p = protocol(effort)
    text = f"{p.steps} steps at the best of the learning rates {', '.join(f'{r:g}' for r in RATES)}"
    diverged = sum(run.diverged for run in found)
    text += f"; {diverged} runs diverged and did not count" if diverged else ""
    lost = p.seeds - len(found)
    return text + (f"; {lost} seeds gave nothing to compare" if lost else "")


@lru_cache(maxsize=128)
def _seed_run(name: str, effort: Effort, seed: int, device: str) -> SeedRun | None:
    p = protocol(effort)
    batch = measured_batch(name, p, seed, device)
    trained = {norm: [_train(name, norm, rate, p, seed, device, batch) for rate in RATES] for norm in _ARMS}
    finite = {norm: [run for run in arm if run is not None] for norm, arm in trained.items()}
    if not all(finite.values()):
        return None
    run, plain = (min(finite[norm], key=lambda run: run.score) for norm in _ARMS)
    same = next((other for other in finite["none"] if other.rate == run.rate), None)
    states = tuple(run.states[i] for i in first_reached(run.losses, p.points + 1)[1:])
    if not states:
        return None
    measure = partial(measure_states, batch=batch, seed=seed)
    normalised, standard = (build(name, norm, seed, device) for norm in _ARMS)

    def along_standard(other: _Trained) -> NetworkCurvatures:
        return measure(standard, tuple(other.states[i] for i in first_reached(other.losses, p.points + 1)))

    on_standard = along_standard(plain)
    return SeedRun(
        measure(normalised, states),
        measure(normalised, states, frozen=True),
        on_standard,
        on_standard if same is plain else None if same is None else along_standard(same),
        (float(run.losses.min()), float(plain.losses.min())),
        (run.rate, plain.rate),
        states,
        sum(run is None for arm in trained.values() for run in arm),
        seed,
    )


def build(name: str, norm: str, seed: int, device: str) -> nn.Module:
    """A network at its initial values, in float32."""
    from bntheory.bridge import NetworkSpec, build_network

    options, shrink = NETWORKS[name][1:]
    return build_network(
        NetworkSpec(**options, norm=norm, input_shape=(1, 28 // shrink, 28 // shrink)), seed, device=device
    )


def measured_batch(name: str, p: Protocol, seed: int, device: str) -> tuple[Tensor, Tensor]:
    """The batch on which a seed's arms are measured."""
    return _batch(name, 0, p.measured, _MEASUREMENT_SEED + seed, device)


def _batch(name: str, step: int, size: int, seed: int, device: str) -> tuple[Tensor, Tensor]:
    from torch.nn.functional import avg_pool2d

    from bntheory.bridge import batch_at

    x, y = batch_at(_data(), step, batch_size=size, seed=seed, device=device)
    shrink = NETWORKS[name][2]
    return (avg_pool2d(x, shrink) if shrink > 1 else x), y


@lru_cache(maxsize=1)
def _data() -> Any:
    from bntheory.bridge import load_dataset

    return load_dataset("fashion-mnist-subset")


def _train(
    name: str, norm: str, rate: float, p: Protocol, seed: int, device: str, batch: tuple[Tensor, Tensor]
) -> _Trained | None:
    """One run, or None where a loss or a parameter stopped being finite."""
    import torch
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import SGDConfig, StepRecord, Trainer, evaluate, state_guard

    model = build(name, norm, seed, device)
    trainer = Trainer(model, cross_entropy, SGDConfig(rate, seed=seed))
    losses: list[float] = []
    states: list[State] = []

    def record() -> None:
        with torch.no_grad(), state_guard(model, parameters=False):
            losses.append(float(evaluate(model, cross_entropy, batch)))
        states.append([q.detach().clone() for q in model.parameters()])

    def after(done: StepRecord) -> None:
        if (done.step + 1) % p.every == 0:
            record()

    record()
    steps = trainer.run(lambda step: _batch(name, step, p.batch_size, seed, device), p.steps, after=after)
    training = np.array([step.loss for step in steps])
    if not (np.isfinite(training).all() and np.isfinite(losses).all()):
        return None
    return _Trained(rate, np.array(losses), states, float(training[len(training) // 2 :].mean()))


def measure_states(
    model: nn.Module,
    states: tuple[State, ...],
    batch: tuple[Tensor, Tensor],
    *,
    seed: int,
    frozen: bool = False,
    change: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> NetworkCurvatures:
    """Measure ``change(model)``, or its frozen-statistics twin, at each of the given parameters of ``model``."""
    import torch

    rows = []
    for state in states:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), state, strict=True):
                parameter.copy_(value)
        rows.append(_measure(change(model).train(), batch, seed=seed, frozen=frozen))
    return NetworkCurvatures(*(np.array(column) for column in zip(*rows, strict=True)))


def _measure(
    model: nn.Module, batch: tuple[Tensor, Tensor], *, seed: int, frozen: bool
) -> tuple[float, float, float, float, float]:
    """Loss, gradient norm, largest eigenvalue, spectral norm, linearity error."""
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import along_gradient, frozen_twin
    from bntheory.bridge.curvature import hessian, top_eigenvalues

    network = frozen_twin(model, batch[0]) if frozen else model
    try:
        with hessian(network, cross_entropy, batch, mode="current") as operator:
            options: dict[str, Any] = {"tol": _TOLERANCE, "seed": seed, "max_products": _PRODUCTS}
            extreme = top_eigenvalues(operator, which="LM", **options).top
            top = extreme if extreme > 0 else top_eigenvalues(operator, which="LA", **options).top
            loss, norm = float(operator.loss), float(operator.gradient.norm())
    except ValueError:  # not symmetric beyond rounding, or not finite: on the brink of overflow
        return (math.nan,) * 5
    along = along_gradient(network, cross_entropy, batch, [FRACTION * loss / norm**2])
    return loss, norm, top, abs(extreme), along.linear_errors[0]
