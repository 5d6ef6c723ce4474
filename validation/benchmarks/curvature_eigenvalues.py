"""Time and products to the top eigenvalue at equal accuracy: this library, power iteration, and ARPACK.

Accuracy is measured, not assumed: the truth comes from a run at 1e-11 (float64). The library runs with tol = accuracy
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
    show,
    timed,
    trained,
    write,
)
from scipy.sparse.linalg import eigsh

from bntheory.bridge.curvature import SymmetricOperator, hessian, top_eigenvalues

ACCURACIES = (1e-3, 1e-6)


def measure(op: SymmetricOperator, accuracy: float, seed: int, device: str) -> dict[str, Any]:
    truth = top_eigenvalues(op, 1, tol=1e-11, seed=seed + 1000, max_products=2000)
    negative = top_eigenvalues(op, 1, "SA", tol=1e-2, seed=seed + 1000)
    exact = truth.top
    ours, seconds = timed(lambda: top_eigenvalues(op, 1, tol=accuracy, seed=seed), device)
    (_, power), power_seconds = timed(
        lambda: power_iteration(op, lambda now, _: abs(now - exact) <= accuracy * abs(exact), seed=seed),
        device,
    )

    def own_rule(now: float, before: float | None) -> bool:
        return before is not None and abs(now - before) <= accuracy * abs(now)

    (value, own), own_seconds = timed(lambda: power_iteration(op, own_rule, seed=seed), device)
    linear, start = op.as_linear_operator(), np.random.default_rng(seed).standard_normal(op.size)
    count = op.products
    # ARPACK's tolerance is on the residual, whose square over the gap is the error of the eigenvalue
    found, arpack_seconds = timed(
        lambda: eigsh(linear, 1, which="LA", v0=start, tol=accuracy**0.5 / 10, return_eigenvectors=False),
        device,
    )
    return {
        "accuracy": accuracy,
        "lambda_max": exact,
        "dominated": bool(-negative.top > exact),
        "products": ours.products,
        "error": abs(ours.top - exact) / abs(exact),
        "power": power,
        "power_own": own,
        "power_own_error": abs(value - exact) / abs(exact),
        "arpack": op.products - count,
        "arpack_error": abs(float(found[0]) - exact) / abs(exact),
        "seconds": seconds,
        "time_ratio": power_seconds / seconds,
        "own_time_ratio": own_seconds / seconds,
        "arpack_time_ratio": arpack_seconds / seconds,
        "converged": ours.converged,
    }


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
                stages = trained(kind, norm, args, seed=seed, lr=0.05, every=args.steps, checkpoints=2)
                for stage, (model, batch) in enumerate(stages):
                    with hessian(model, functional.cross_entropy, batch) as op:
                        for accuracy in ACCURACIES:
                            row = {
                                "kind": kind,
                                "norm": norm,
                                "seed": seed,
                                "steps": args.steps * (stage + 1),
                            }
                            rows.append(row | {"size": op.size} | measure(op, accuracy, seed, args.device))
    columns = [
        "kind",
        "norm",
        "size",
        "steps",
        "accuracy",
        "lambda_max",
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
        fair = [row for row in rows if not row["dominated"]]
        summary[f"median time ratio to power iteration at {accuracy:g}"] = median(
            fair, "time_ratio", accuracy=accuracy
        )
        products = [r["power"] / r["products"] for r in fair if r["accuracy"] == accuracy]
        summary[f"median product ratio to power iteration at {accuracy:g}"] = float(np.median(products))
        ratio = [r["arpack"] / r["products"] for r in rows if r["accuracy"] == accuracy]
        summary[f"median product ratio to ARPACK at {accuracy:g}"] = float(np.median(ratio))
        summary[f"median time ratio to ARPACK at {accuracy:g}"] = median(
            rows, "arpack_time_ratio", accuracy=accuracy
        )
    print()
    print("power, time_ratio: power iteration stopped by the truth; ratios above 1 favour this library")
    print(
        "(networks whose most negative eigenvalue is larger in magnitude are left out: power iteration finds that one)"
    )
    for name, value in summary.items():
        print(f"{name}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
