"""Time and products to the top eigenvalue at equal accuracy: this library, power iteration, and ARPACK.

Accuracy is measured, not assumed: the truth comes from a run at 1e-10 (float64). The target is the
eigenvalue of largest magnitude, which is what power iteration converges to. The library runs with tol = accuracy
and its own stopping rule. Power iteration is given the truth to stop by, which no user has: it pays for no product
too many ("oracle"). With its own rule, as PyHessian stops it, it is listed beside the error it is left with. All of
them share one graph and one product.

    python validation/benchmarks/curvature_eigenvalues.py --size tiny --seeds 2
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import (
    KINDS,
    NORMS,
    median,
    parser,
    power_iteration,
    progress,
    show,
    timed,
    trained,
    write,
)
from scipy.sparse.linalg import eigsh

from bntheory.bridge.curvature import SymmetricOperator, hessian, top_eigenvalues

ACCURACIES = (1e-3, 1e-6)


def measure(op: SymmetricOperator, seed: int, device: str) -> list[dict[str, Any]]:
    """One row for each accuracy. Power iteration runs once, until every rule that is read off it has fired."""
    exact = top_eigenvalues(op, 1, "LM", tol=1e-10, seed=seed + 1000, max_products=1000).top
    finest = min(ACCURACIES)

    def by_truth(values: list[float], accuracy: float) -> bool:
        return abs(values[-1] - exact) <= accuracy * abs(exact)

    def by_change(values: list[float], accuracy: float) -> bool:
        return len(values) > 1 and abs(values[-1] - values[-2]) <= accuracy * abs(values[-1])

    values, times = power_iteration(op, lambda v: by_truth(v, finest) and by_change(v, finest), seed=seed)
    rows = []
    for accuracy in ACCURACIES:
        ours, seconds = timed(lambda a=accuracy: top_eigenvalues(op, 1, "LM", tol=a, seed=seed), device)
        prefixes = [values[: n + 1] for n in range(len(values))]
        oracle = next((n for n, v in enumerate(prefixes) if by_truth(v, accuracy)), len(values) - 1)
        own = next((n for n, v in enumerate(prefixes) if by_change(v, accuracy)), len(values) - 1)
        linear, start = op.as_linear_operator(), np.random.default_rng(seed).standard_normal(op.size)
        count = op.products
        # ARPACK's tolerance is on the residual, whose square over the gap is the error of the eigenvalue
        found, arpack_seconds = timed(
            lambda a=accuracy, m=linear, s=start: eigsh(
                m, 1, which="LM", v0=s, tol=a**0.5 / 10, return_eigenvectors=False
            ),
            device,
        )
        rows.append(
            {
                "accuracy": accuracy,
                "lambda": exact,
                "products": ours.products,
                "error": abs(ours.top - exact) / abs(exact),
                "power": oracle + 1,
                "power_own": own + 1,
                "power_own_error": abs(values[own] - exact) / abs(exact),
                "arpack": op.products - count,
                "arpack_error": abs(float(found[0]) - exact) / abs(exact),
                "seconds": seconds,
                "time_ratio": times[oracle] / seconds,
                "own_time_ratio": times[own] / seconds,
                "arpack_time_ratio": arpack_seconds / seconds,
            }
        )
    return rows


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--steps", type=int, default=60, help="SGD steps between the two measurements of a network"
    )
    args = options.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        for norm in NORMS:
            for seed in range(args.seeds):
                progress(kind, norm, "seed", seed)
                stages = trained(kind, norm, args, seed=seed, lr=0.05, every=args.steps, checkpoints=2)
                for stage, (model, batch) in enumerate(stages):
                    with hessian(model, functional.cross_entropy, batch) as op:
                        row = {"kind": kind, "norm": norm, "seed": seed, "steps": args.steps * (stage + 1)}
                        rows += [row | {"size": op.size} | found for found in measure(op, seed, args.device)]
    columns = [
        "kind",
        "norm",
        "size",
        "steps",
        "accuracy",
        "lambda",
        "products",
        "error",
        "power",
        "time_ratio",
    ]
    show(rows, [*columns, "power_own", "power_own_error", "arpack", "arpack_error", "arpack_time_ratio"])
    summary: dict[str, Any] = {
        "missed": sum(row["error"] > row["accuracy"] for row in rows),
        "rows": len(rows),
    }
    for accuracy in ACCURACIES:
        chosen = [row for row in rows if row["accuracy"] == accuracy]
        for other in ("power", "arpack"):
            ratios = [row[other] / row["products"] for row in chosen]
            summary[f"median product ratio to {other} at {accuracy:g}"] = float(np.median(ratios))
        summary[f"median time ratio to power at {accuracy:g}"] = median(chosen, "time_ratio")
        summary[f"median time ratio to arpack at {accuracy:g}"] = median(chosen, "arpack_time_ratio")
        summary[f"median error left by power's own rule at {accuracy:g}"] = median(chosen, "power_own_error")
    print()
    print("power, time_ratio: power iteration stopped by the truth; ratios above 1 favour this library")
    for name, value in summary.items():
        print(f"{name}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
