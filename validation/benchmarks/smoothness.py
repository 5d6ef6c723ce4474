"""What measuring smoothness costs.

1. The exact curvature of a single normalised unit, batches from 1e3 to 1e6: squared loss in closed form, logistic loss by
   inertia counts. Reported: processor seconds at 1e6 (stated limit: one second) and the exponent of the growth with the batch (1 is linear),
   each time beside one sweep over the batch that does nothing but read it, so that the ratio holds on any machine.
2. The measures on a landscape of 1e5 parameters (a normalised layer of 100 units on 1000 inputs): values, gradients and products
   that each one asked for, and the time in units of one product, all measured in this run.

Run it as ``python validation/benchmarks/smoothness.py``; ``--quick`` for smaller sizes, ``--json`` for the figures alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # before numpy loads its BLAS

import numpy as np  # noqa: E402

from bntheory.smoothness import (  # noqa: E402
    BatchNormUnit,
    Counted,
    SeparableSpectrum,
    TorchLandscape,
    averaged_second_difference,
    extreme_eigenpairs,
    scale_free,
    spectral_ratio,
    squared_loss_spectrum,
    two_lipschitz,
)

LIMIT_SECONDS = 1.0  # the exact single unit at a batch of a million
LIMIT_PRODUCTS = 400  # any single measure on 1e5 parameters, values, gradients and products together


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The least of several timings, in processor seconds of this single-threaded process: other work on the machine adds nothing."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def single_unit(sizes: list[int]) -> dict[str, Any]:
    """Seconds and growth of the exact curvature."""
    rows = []
    for m in sizes:
        rng = np.random.default_rng(m)
        y, t = rng.normal(size=(2, m))
        labels = np.where(t > 0, 1.0, -1.0)
        work: dict[str, Callable[[], object]] = {
            "read once": lambda y=y: float(y @ y),
            "squared, closed form": lambda y=y, t=t: squared_loss_spectrum(y, t, gamma=1.3, eps=1e-5).norm,
            "logistic, inertia": lambda y=y, labels=labels: SeparableSpectrum(
                BatchNormUnit(labels, "logistic", gamma=1.3, eps=1e-5), y
            ).measure(),
        }
        rows.append({"m": m, **{name: seconds(f) for name, f in work.items()}})
    logs = np.log([row["m"] for row in rows[-2:]])
    growth = {
        name: float(np.diff(np.log([row[name] for row in rows[-2:]]))[0] / np.diff(logs)[0])
        for name in rows[0]
        if name != "m"
    }
    return {"rows": rows, "growth_exponent_of_last_step": growth}


def big_landscape(units: int, inputs: int, batch: int) -> tuple[TorchLandscape, np.ndarray]:
    """A normalised layer with a smooth activation and a squared loss on a linear read-out, as a function of its weights."""
    import torch

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, inputs, generator=generator, dtype=torch.float64)
    target = torch.randn(batch, generator=generator, dtype=torch.float64)
    read_out = torch.randn(units, generator=generator, dtype=torch.float64) / units**0.5

    def loss(flat: torch.Tensor) -> torch.Tensor:
        y = x @ flat.reshape(inputs, units)
        centred = y - y.mean(0)
        y_hat = centred / (centred.square().mean(0) + 1e-5).sqrt()
        return (torch.nn.functional.softplus(y_hat) @ read_out - target).square().mean()

    start = torch.randn(units * inputs, generator=generator, dtype=torch.float64) / inputs**0.5
    return TorchLandscape(loss, units * inputs), start.numpy()


def measures(landscape: TorchLandscape, x: np.ndarray) -> dict[str, Any]:
    """Cost of every measure that works in any dimension."""
    rng = np.random.default_rng(0)
    v = rng.normal(size=x.size)
    landscape.grad(x)  # the graph at x is built once, as in a Lanczos run
    product = seconds(lambda: landscape.hvp(x, v))
    radius = 0.1 * float(np.linalg.norm(x))
    work: dict[str, Callable[[Any], object]] = {
        "top eigenvalue (Lanczos, 1e-6)": lambda f: extreme_eigenpairs(f, x, which="top", tolerance=1e-6),
        "all scale-free measures": lambda f: scale_free(f, x),
        "spectral ratio (10 eigenvalues)": lambda f: spectral_ratio(f, x, bulk=10),
        "2-Lipschitz constant within a radius": lambda f: two_lipschitz(
            f, x, radius=radius, samples=24, climbs=2, max_steps=15
        ),
        "averaged second difference": lambda f: averaged_second_difference(f, x, radius, directions=32),
    }
    found: dict[str, Any] = {"seconds_a_product": product, "parameters": int(x.size)}
    for name, measure in work.items():
        counted = Counted(landscape)
        taken = seconds(lambda f=counted, g=measure: g(f), repeats=1)
        cost = counted.cost
        found[name] = {
            "values": cost.values,
            "gradients": cost.gradients,
            "products": cost.products,
            "time_in_products": taken / product,
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="sizes a hundred times smaller")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON only")
    options = parser.parse_args()
    sizes = [1_000, 10_000, 100_000, 1_000_000]
    unit = single_unit(sizes[:3] if options.quick else sizes)
    landscape, x = big_landscape(*((20, 50, 64) if options.quick else (100, 1000, 256)))
    found = {"single_unit": unit, "measures": measures(landscape, x)}
    last = unit["rows"][-1]
    slow = [name for name in ("squared, closed form", "logistic, inertia") if last[name] > LIMIT_SECONDS]
    dear = [
        name
        for name, cost in found["measures"].items()
        if isinstance(cost, dict) and cost["values"] + cost["gradients"] + cost["products"] > LIMIT_PRODUCTS
    ]
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for row in unit["rows"]:
            print("  ".join(f"{name} {value:.3g}" for name, value in row.items()))
        print("growth exponents:", {k: round(v, 2) for k, v in unit["growth_exponent_of_last_step"].items()})
        for name, cost in found["measures"].items():
            print(f"{name}: {cost}")
        print("over a second at the largest batch:", slow or "none")
        print(f"over {LIMIT_PRODUCTS} calls:", dear or "none")
    return 1 if slow or dear else 0


if __name__ == "__main__":
    raise SystemExit(main())
