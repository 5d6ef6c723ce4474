"""Products to follow the top eigenvalue along 20 checkpoints: warm starts against cold ones, and against ARPACK.

A warm start begins with the low-rank model that the previous checkpoints have left. What it saves depends on how far
training has moved the eigenvectors, so the table has a row for each distance between checkpoints, small to large, at
the beginning of training and further on, and the cosine between successive top eigenvectors says how much changed. Cold starts
are this library's and ARPACK's, both from random vectors. Errors are measured against a run at 1e-10; "missed" counts
the results that were less accurate than asked for. At a coarse tol cold starts are more accurate than asked for, since
they cannot know where they are; "cold_least" is the number of products after which the cold value was accurate enough, which no
user can know.

    python validation/benchmarks/curvature_warm_start.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import KINDS, NORMS, median, parser, progress, show, trained, write
from scipy.sparse.linalg import eigsh

from bntheory.bridge.curvature import Spectrum, hessian, top_eigenvalues

SETTINGS = [(lr, every, after) for lr in (0.01, 0.05) for every in (1, 5) for after in (0, 200)]
TOLERANCES = (1e-3, 1e-6)


def follow(kind: str, norm: str, args: Any, *, lr: float, every: int, after: int) -> list[dict[str, Any]]:
    """A row for each tolerance."""
    before: dict[float, Spectrum] = {}
    seen: dict[float, list[tuple[float, ...]]] = {tol: [] for tol in TOLERANCES}
    cosines: list[float] = []
    reference: Spectrum | None = None
    checkpoints = trained(kind, norm, args, seed=0, lr=lr, every=every, checkpoints=args.checkpoints, after=after)
    for index, (model, batch) in enumerate(checkpoints):
        with hessian(model, functional.cross_entropy, batch) as op:
            truth = top_eigenvalues(op, 1, tol=1e-10, seed=index + 1000, max_products=2000)
            if reference is not None:
                cosines.append(abs(float(reference.vectors[:, 0] @ truth.vectors[:, 0])))
            reference = truth
            for tol in TOLERANCES:
                trace: list[float] = []
                warm = top_eigenvalues(op, 1, tol=tol, seed=index, start=before.get(tol))
                if tol in before:
                    cold = top_eigenvalues(
                        op, 1, tol=tol, seed=index, callback=lambda _, v, t=trace: t.append(float(v[0]))
                    )
                    count, start = op.products, np.random.default_rng(index).standard_normal(op.size)
                    linear, inner = op.as_linear_operator(), tol**0.5 / 10
                    eigsh(linear, 1, which="LA", v0=start, tol=inner, return_eigenvectors=False)
                    arpack = op.products - count
                    errors = [abs(x / truth.top - 1) for x in (warm.top, cold.top)]
                    least = sum(abs(x / truth.top - 1) > tol for x in trace) + 1
                    seen[tol].append((cold.products, warm.products, arpack, *errors, least))
                before[tol] = warm
    rows = []
    for tol in TOLERANCES:
        cold_, warm_, arpack_, warm_errors, cold_errors, least_ = np.array(seen[tol]).T
        rows.append(
            {
                "kind": kind,
                "norm": norm,
                "lr": lr,
                "every": every,
                "after": after,
                "tol": tol,
                "cosine": float(np.median(cosines)),
                "cold": float(cold_.mean()),
                "cold_least": float(least_.mean()),
                "warm": float(warm_.mean()),
                "arpack": float(arpack_.mean()),
                "ratio": float(cold_.sum() / warm_.sum()),
                "least_ratio": float(least_.sum() / warm_.sum()),
                "arpack_ratio": float(arpack_.sum() / warm_.sum()),
                "missed": int((warm_errors > tol).sum()),
                "worst_error": float(warm_errors.max()),
                "cold_missed": int((cold_errors > tol).sum()),
                "cold_error": float(np.median(cold_errors)),
            }
        )
    return rows


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--checkpoints", type=int, default=21, help="the first one has nothing to start from")
    options.add_argument("--kinds", default=",".join(KINDS))
    options.set_defaults(batch=32)
    args = options.parse_args()
    rows: list[dict[str, Any]] = []
    for lr, every, after in SETTINGS:
        for kind in args.kinds.split(","):
            for norm in NORMS:
                progress(kind, norm, f"lr {lr:g}, {every} step(s) apart, after {after}")
                rows += follow(kind, norm, args, lr=lr, every=every, after=after)
    show(rows, list(rows[0]))
    summary: dict[str, Any] = {}
    for tol in TOLERANCES:
        for column in ("ratio", "least_ratio", "arpack_ratio"):
            for lr, every, after in SETTINGS:
                name = f"median {column} at tol {tol:g}, {every} step(s) of lr {lr:g} apart, after {after}"
                summary[name] = median(rows, column, tol=tol, lr=lr, every=every, after=after)
            summary[f"median {column} at tol {tol:g}"] = median(rows, column, tol=tol)
    summary["missed"] = sum(r["missed"] for r in rows)
    summary["cold missed"] = sum(r["cold_missed"] for r in rows)
    summary["measured"] = len(rows) * (args.checkpoints - 1)
    print()
    for name, value in summary.items():
        print(f"{name}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
