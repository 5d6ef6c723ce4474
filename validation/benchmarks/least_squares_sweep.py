"""What a sweep of BN trajectories costs, in matrix-vector products: 10 000 runs of 1 000 steps in
dimension 20.

Everything is timed in this one run, on one machine, in float64: the sweep; the same number of products S w
done for all runs at once (the cheapest that numpy offers); and done one by one, all on one thread. Prints
the two ratios; the limit is 20.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

# Before numpy loads its BLAS: one thread for both sides, or a busy machine slows only the products.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402

from bntheory.models.least_squares import LeastSquares  # noqa: E402
from bntheory.models.least_squares_dynamics import bngd  # noqa: E402


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The least of several timings: anything above it is other people's work."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--dimension", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    problem = LeastSquares.random(options.dimension, 100.0, seed=0)
    w0 = np.random.default_rng(0).normal(size=(options.runs, options.dimension))
    lr = np.geomspace(1e-5, 1e5, options.runs)
    S, one = problem.covariance, np.ascontiguousarray(w0[0])
    out = np.empty_like(w0)

    def batched(products: int) -> None:
        for _ in range(products):
            np.matmul(w0, S, out=out)

    def single(products: int) -> None:
        for _ in range(products):
            S @ one

    sweep = seconds(lambda: bngd(problem, w0, lr, options.steps), options.repeats)
    part = max(1, options.steps // 10)
    together = seconds(lambda: batched(part), options.repeats) * options.steps / part
    count = min(200_000, options.runs * options.steps)
    apart = seconds(lambda: single(count), options.repeats) * options.runs * options.steps / count
    print(
        json.dumps(
            {
                "sweep_seconds": round(sweep, 3),
                "products_all_runs_at_once_seconds": round(together, 3),
                "products_one_by_one_seconds": round(apart, 3),
                "ratio_to_products_at_once": round(sweep / together, 2),
                "ratio_to_products_one_by_one": round(sweep / apart, 3),
                "limit": 20,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
