"""Descent that ignores how the batch statistics depend on the parameters (Ioffe and Szegedy 2015, section 2).

A unit x = u + b is centred by its batch mean, x_hat = x - E[x], whatever b is. A gradient step that treats E[x] as a
constant moves b by -lr <1, g>, g = dl/dx_hat; x_hat does not move, so neither does g, and the next step is the same:

    b_t = b_0 - lr t <1, g>,  loss constant.

It therefore grows without bound **if and only if** <1, g> is not zero, and only **as long as nothing else
learns**. With a trained shift beta after the centring, beta receives the same gradient, b_t - b_0 = beta_t
- beta_0 at every step, and b stays as bounded as beta is. The source states neither condition.
Differentiating through the mean gives <1, Pg> = 0: b then does not move at all.

:func:`ignored_mean_descent` works on any numbers (rationals are exact); :func:`network_run` is the same in a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bntheory.arrays import Floats
from bntheory.models.checks import at_least, checked

Statistics = Literal["ignored", "differentiated"]
Trained = Literal["bias", "all"]


@dataclass(frozen=True)
class BiasRun:
    """b, shift and loss after 0..steps steps, in the numbers that were put in (exact for rationals)."""

    bias: tuple[Any, ...]
    shift: tuple[Any, ...]
    loss: tuple[Any, ...]
    gradient_sum: Any  # <1, g> before the first step


@checked()
def ignored_mean_descent(
    inputs: Sequence[Any],
    targets: Sequence[Any],
    lr: Any,
    steps: int,
    *,
    train_shift: bool = False,
    statistics: Statistics = "ignored",
    bias0: Any = 0,
    shift0: Any = 0,
) -> BiasRun:
    """Gradient descent on b (and beta) for the loss (1/2m) sum (u_i + b - mean + beta - t_i)^2.

    ``inputs``, ``targets``: m >= 2 numbers each, floats or ``fractions.Fraction``. Raises ``ValueError``
    for lengths that disagree or m < 2.
    """
    m = len(inputs)
    if m < 2 or len(targets) != m:
        raise ValueError(f"inputs and targets must be equally long, at least 2; got {m} and {len(targets)}")
    if statistics not in ("ignored", "differentiated"):
        raise ValueError(f"statistics must be 'ignored' or 'differentiated', got {statistics!r}")
    b, shift = bias0, shift0
    record: list[tuple[Any, Any, Any]] = []
    first: Any = None
    for t in range(steps + 1):
        x = [u + b for u in inputs]
        mean = sum(x) / m
        z = [xi - mean + shift for xi in x]
        g = [(zi - ti) / m for zi, ti in zip(z, targets, strict=True)]
        total = sum(g)
        first = total if t == 0 else first
        record.append((b, shift, sum((zi - ti) ** 2 for zi, ti in zip(z, targets, strict=True)) / (2 * m)))
        through_mean = total if statistics == "ignored" else sum(gi - total / m for gi in g)
        b = b - lr * through_mean
        if train_shift:
            shift = shift - lr * total
    biases, shifts, losses = zip(*record, strict=True)
    return BiasRun(biases, shifts, losses, first)


@dataclass(frozen=True)
class NetworkRun:
    """A small network trained with ignored or differentiated statistics; arrays over steps 0..steps."""

    bias_norm: Floats  # of the bias in front of the normalisation
    loss: Floats
    statistics: Statistics
    trained: str
    device: str
    seed: int
    kind: str = "measurement"


@checked()
def network_run(
    *,
    steps: int = 400,
    lr: float = 0.5,
    width: int = 16,
    batch: int = 64,
    statistics: Statistics = "ignored",
    trained: Trained = "bias",
    seed: int = 0,
    device: str = "cpu",
) -> NetworkRun:
    """Linear, BN, tanh, linear on a fixed regression batch; ``trained`` "bias" moves only the bias in front of BN.

    BN is written in primitive operations, its mean and variance detached from the graph when ``statistics`` is
    "ignored"; gamma and beta are trained when all is. Randomness is drawn on the CPU, so that devices start from the
    same numbers. Raises ``ValueError`` for unknown options.
    """
    import torch

    if statistics not in ("ignored", "differentiated") or trained not in ("bias", "all"):
        raise ValueError(f"unknown option: statistics={statistics!r}, trained={trained!r}")
    at_least(0, steps=steps)
    at_least(1, width=width)
    at_least(2, batch=batch)
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.float64

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype).to(device=device)

    inputs = draw(batch, 8)
    target = torch.sin(inputs[:, :1] * 2) + inputs[:, 1:2] * inputs[:, 2:3]
    names = ("weight", "bias", "gamma", "beta", "head", "offset")
    values = (
        draw(8, width) / 8**0.5,
        torch.zeros(width, dtype=dtype, device=device),
        torch.ones(width, dtype=dtype, device=device),
        torch.zeros(width, dtype=dtype, device=device),
        draw(width, 1) / width**0.5,
        torch.zeros(1, dtype=dtype, device=device),
    )
    parameters = {n: v.requires_grad_(True) for n, v in zip(names, values, strict=True)}
    moving = ["bias"] if trained == "bias" else list(names)
    norms, losses = np.empty(steps + 1), np.empty(steps + 1)
    for t in range(steps + 1):
        p = parameters
        x = inputs @ p["weight"] + p["bias"]
        mean, var = x.mean(0), x.var(0, unbiased=False)
        if statistics == "ignored":
            mean, var = mean.detach(), var.detach()
        z = p["gamma"] * (x - mean) / torch.sqrt(var + 1e-5) + p["beta"]
        loss = ((torch.tanh(z) @ p["head"] + p["offset"] - target) ** 2).mean() / 2
        norms[t], losses[t] = float(p["bias"].detach().norm()), float(loss.detach())
        gradients = torch.autograd.grad(loss, [p[n] for n in moving])
        with torch.no_grad():
            for name, g in zip(moving, gradients, strict=True):
                p[name] -= lr * g
    return NetworkRun(norms, losses, statistics, trained, device, seed)
