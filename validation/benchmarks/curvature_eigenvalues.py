"""Time and products to the top eigenvalue at equal accuracy: this library, power iteration, and ARPACK.

Networks at several stages of training. Accuracy is measured, not assumed: the truth comes from a run at 1e-10. The
target is the eigenvalue of largest magnitude, which is what power iteration converges to. The library runs with
tol = accuracy and its own stopping rule, cold. Power iteration is given the truth to stop by, which no user has: it
pays for no product too many. With its own rule, as PyHessian stops it, it is listed beside the error it is left with.
All share one graph and one product. Power iteration is timed between two runs of the library, of which the mean counts,
and ARPACK at the end: its threads go on spinning for a while and would slow down what comes next.

    python validation/benchmarks/curvature_eigenvalues.py --size tiny --seeds 2
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import KINDS, NORMS, median, parser, power_iteration, progress, show, timed, trained, write
from scipy.sparse.linalg import eigsh

from bntheory.bridge.curvature import Spectrum, SymmetricOperator, hessian, top_eigenvalues

ACCURACIES = (1e-3, 1e-6)


def measure(op: SymmetricOperator, seed: int, device: str) -> list[dict[str, Any]]:
    """One row for each accuracy. Power iteration runs once, until every rule that is read off it has fired."""
    exact = top_eigenvalues(op, 1, "LM", tol=1e-10, seed=seed + 1000, max_products=1000).top
    finest = min(ACCURACIES)

    def by_truth(values: list[float], accuracy: float) -> bool:
        return abs(values[-1] - exact) <= accuracy * abs(exact)

    def by_change(values: list[float], accuracy: float) -> bool:
        return len(values) > 1 and abs(values[-1] - values[-2]) <= accuracy * abs(values[-1])

    def ours(accuracy: float) -> tuple[Spectrum, float]:
        return timed(lambda: top_eigenvalues(op, 1, "LM", tol=accuracy, seed=seed), device)

    def stop(rule: Callable[[list[float], float], bool], accuracy: float) -> int:
        return next((n for n in range(1, len(values) + 1) if rule(values[:n], accuracy)), len(values))

    before = [ours(accuracy) for accuracy in ACCURACIES]
    values, times = power_iteration(op, lambda v: by_truth(v, finest) and by_change(v, finest), seed=seed)
    after = [ours(accuracy) for accuracy in ACCURACIES]
    linear, start = op.as_linear_operator(), np.random.default_rng(seed).standard_normal(op.size)
    rows = []
    for accuracy, (found, first), (_, second) in zip(ACCURACIES, before, after, strict=True):
        seconds, count = (first + second) / 2, op.products
        # ARPACK's tolerance is on the residual, whose square over the gap is the error of the eigenvalue
        arpack, arpack_seconds = timed(
            lambda a=accuracy: eigsh(linear, 1, which="LM", v0=start, tol=a**0.5 / 10, return_eigenvectors=False),
            device,
        )
        oracle, own = stop(by_truth, accuracy), stop(by_change, accuracy)
        rows.append(
            {
                "accuracy": accuracy,
                "lambda": exact,
                "products": found.products,
                "error": abs(found.top - exact) / abs(exact),
                "power": oracle,
                "power_own": own,
                "power_own_error": abs(values[own - 1] - exact) / abs(exact),
                "arpack": op.products - count,
                "arpack_error": abs(float(arpack[0]) - exact) / abs(exact),
                "seconds": seconds,
                "time_ratio": times[oracle - 1] / seconds,
                "own_time_ratio": times[own - 1] / seconds,
                "arpack_time_ratio": arpack_seconds / seconds,
            }
        )
    return rows


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=40, help="SGD steps between the measurements of a network")
    options.add_argument("--checkpoints", type=int, default=3, help="measurements of a network")
    options.add_argument("--kinds", default=",".join(KINDS))
    options.set_defaults(size="small", batch=64)
    args = options.parse_args()
    rows: list[dict[str, Any]] = []
    for kind in args.kinds.split(","):
        for norm in NORMS:
            for seed in range(args.seeds):
                progress(kind, norm, "seed", seed)
                stages = trained(kind, norm, args, seed=seed, lr=0.05, every=args.steps, checkpoints=args.checkpoints)
                for stage, (model, batch) in enumerate(stages):
                    with hessian(model, functional.cross_entropy, batch) as op:
                        row = {"kind": kind, "norm": norm, "seed": seed, "steps": args.steps * (stage + 1)}
                        rows += [row | {"size": op.size} | found for found in measure(op, seed, args.device)]
    columns = ["kind", "norm", "size", "steps", "accuracy", "lambda", "products", "error", "power", "time_ratio"]
    show(rows, [*columns, "power_own", "power_own_error", "arpack", "arpack_error", "arpack_time_ratio"])
    summary: dict[str, Any] = {"missed": sum(row["error"] > row["accuracy"] for row in rows), "rows": len(rows)}
    for accuracy in ACCURACIES:
        chosen = [row for row in rows if row["accuracy"] == accuracy]
        for other in ("power", "power_own", "arpack"):
            ratios = [row[other] / row["products"] for row in chosen]
            summary[f"median product ratio to {other} at {accuracy:g}"] = float(np.median(ratios))
        summary[f"median time ratio to power at {accuracy:g}"] = median(chosen, "time_ratio")
        summary[f"median time ratio to power_own at {accuracy:g}"] = median(chosen, "own_time_ratio")
        summary[f"median time ratio to arpack at {accuracy:g}"] = median(chosen, "arpack_time_ratio")
        summary[f"median error left by power's own rule at {accuracy:g}"] = median(chosen, "power_own_error")
    finest = [row for row in rows if row["accuracy"] == min(ACCURACIES)]
    for column in ("kind", "norm", "steps"):
        for value in dict.fromkeys(row[column] for row in finest):
            name = f"median time ratio to power at {min(ACCURACIES):g}, {column} {value}"
            summary[name] = median(finest, "time_ratio", **{column: value})
    print()
    print("power: stopped by the truth; power_own: by PyHessian's rule. Ratios above 1 favour this library")
    for name, value in summary.items():
        print(f"{name}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
