#!/usr/bin/env python3
"""Hessian products of a batch-normalisation layer: the closed form against autograd, on the same layers, in one run.

Routes to input_hess(v) for many units at once, each from y, g and v to the product:
  closed form        O(m) formulas, numpy or torch
  jvp(grad)          torch.func: forward-mode derivative of the gradient, fused kernel and written out
  autograd, fused    F.batch_norm, gradient with its graph, then one more backward
  autograd, written  the same through batch normalisation of primitive operations
Each is also timed when one point serves many vectors (graph, or statistics, kept). Ratios of medians over alternating repetitions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch
from torch.nn import functional as F

from bntheory.layer import BatchNormLayer


def routes(units: int, m: int, device: str, seed: int):
    """name -> (function without arguments, its product); all on the same layers."""
    rng = np.random.default_rng(seed)
    y, g, v, d = rng.normal(size=(4, units, m))
    gamma = rng.normal(size=(units, 1))
    Y, G, V, D, C = (torch.tensor(x, device=device) for x in (y, g, v, d, gamma))
    eps = 1e-5
    z0 = BatchNormLayer(Y, gamma=C, eps=eps).z

    def loss(z):  # any loss near z0: its gradient and a diagonal Hessian
        step = z - z0
        return (G * step).sum() + (D * step * step).sum() / 2

    def fused(leaf):
        return F.batch_norm(leaf.T, None, None, C[:, 0], None, training=True, eps=eps).T

    def written(leaf):
        centred = leaf - leaf.mean(-1, keepdim=True)
        return C * centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + eps)

    def graph(forward):
        leaf = Y.clone().requires_grad_()
        (grad,) = torch.autograd.grad(loss(forward(leaf)), leaf, create_graph=True)
        return grad, leaf

    def product(grad, leaf):
        return torch.autograd.grad(grad, leaf, V, retain_graph=True)[0]

    def jvp_of_grad(forward):
        gradient = torch.func.grad(lambda leaf: loss(forward(leaf)))
        return torch.func.jvp(gradient, (Y,), (V,))[1]

    kept_fused, kept_written = graph(fused), graph(written)
    kept = BatchNormLayer(Y, G, lambda u: D * u, gamma=C, eps=eps)
    kept.input_hess(V)
    return {
        "closed form, numpy": lambda: BatchNormLayer(y, g, lambda u: d * u, gamma=gamma, eps=eps).input_hess(v),
        "closed form, torch": lambda: BatchNormLayer(Y, G, lambda u: D * u, gamma=C, eps=eps).input_hess(V),
        "jvp(grad), fused": lambda: jvp_of_grad(fused),
        "jvp(grad), written": lambda: jvp_of_grad(written),
        "autograd, fused": lambda: product(*graph(fused)),
        "autograd, written": lambda: product(*graph(written)),
        "closed form, torch, point kept": lambda: kept.input_hess(V),
        "autograd, fused, graph kept": lambda: product(*kept_fused),
        "autograd, written, graph kept": lambda: product(*kept_written),
    }


def measure(units: int, m: int, device: str, repetitions: int, seed: int) -> dict[str, float]:
    """Median seconds of each route, after showing that all give the same product."""
    ways = routes(units, m, device, seed)
    products = {name: np.asarray(torch.as_tensor(way()).cpu()) for name, way in ways.items()}
    reference = products["autograd, written"]
    for name, x in products.items():
        error = np.linalg.norm(x - reference) / np.linalg.norm(reference)
        if not error < 1e-10:
            raise SystemExit(f"{name} differs from autograd by {error:.2e}; a benchmark of wrong numbers is none")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    """Parse, measure, print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=1024)
    parser.add_argument("--m", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch; numpy's element-wise operations have one")
    parser.add_argument("--repetitions", type=int, default=21)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="also write the numbers to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    medians = measure(options.units, options.m, options.device, options.repetitions, options.seed)
    pairs = [
        ("jvp(grad), fused", "closed form, torch"),
        ("jvp(grad), written", "closed form, torch"),
        ("jvp(grad), fused", "closed form, numpy"),
        ("jvp(grad), written", "closed form, numpy"),
        ("autograd, fused", "closed form, torch"),
        ("autograd, written", "closed form, torch"),
        ("autograd, fused", "closed form, numpy"),
        ("autograd, written", "closed form, numpy"),
        ("autograd, fused, graph kept", "closed form, torch, point kept"),
        ("autograd, written, graph kept", "closed form, torch, point kept"),
    ]
    print(
        f"{options.units} units, m = {options.m}, float64, {options.device}, medians of {options.repetitions} repetitions"
    )
    for name, seconds in medians.items():
        print(f"  {name:<34} {1e3 * seconds:9.3f} ms")
    ratios = {f"{slow} / {fast}": medians[slow] / medians[fast] for slow, fast in pairs}
    for name, ratio in ratios.items():
        print(f"  {name:<66} {ratio:6.2f} x")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"seconds": medians, "ratios": ratios, "options": vars(options)}, file, indent=2)


if __name__ == "__main__":
    main()
