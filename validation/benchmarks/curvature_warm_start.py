"""Products to follow the top eigenvalue along 20 checkpoints: warm starts against cold ones, and against ARPACK.

A warm start begins with the low-rank model that the previous checkpoints have left. What it saves depends on how far
training has moved the eigenvectors, so the table has a row for each distance between checkpoints, small to large, and
the cosine between successive top eigenvectors says how much changed. Cold starts are this library's and ARPACK's, both
from random vectors. Errors are measured against a run at 1e-10; "missed" counts the warm results that were less accurate than asked for.

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


def follow(
    kind: str, norm: str, args: Any, *, lr: float, every: int, tol: float, checkpoints: int
) -> dict[str, Any]:
    before: Spectrum | None = None
    reference: Spectrum | None = None
    cold, warm, arpack, errors, cosines = [], [], [], [], []
    stages = trained(kind, norm, args, seed=0, lr=lr, every=every, checkpoints=checkpoints)
    for index, (model, batch) in enumerate(stages):
        with hessian(model, functional.cross_entropy, batch) as op:
            truth = top_eigenvalues(op, 1, tol=1e-10, seed=index + 1000, max_products=2000)
            first = top_eigenvalues(op, 1, tol=tol, seed=index)
            second = top_eigenvalues(op, 1, tol=tol, seed=index, start=before)
            if before is not None and reference is not None:
                count = op.products
                start = np.random.default_rng(index).standard_normal(op.size)
                eigsh(
                    op.as_linear_operator(),
                    1,
                    which="LA",
                    v0=start,
                    tol=tol**0.5 / 10,
                    return_eigenvectors=False,
                )
                arpack.append(op.products - count)
                cold.append(first.products)
                warm.append(second.products)
                errors.append(abs(second.top - truth.top) / abs(truth.top))
                cosines.append(abs(float(reference.vectors[:, 0] @ truth.vectors[:, 0])))
            before, reference = second, truth
    return {
        "kind": kind,
        "norm": norm,
        "lr": lr,
        "every": every,
        "tol": tol,
        "cosine": float(np.median(cosines)),
        "cold": float(np.mean(cold)),
        "warm": float(np.mean(warm)),
        "arpack": float(np.mean(arpack)),
        "ratio": float(np.sum(cold) / np.sum(warm)),
        "arpack_ratio": float(np.sum(arpack) / np.sum(warm)),
        "missed": sum(e > tol for e in errors),
        "worst_error": max(errors),
    }


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument(
        "--checkpoints", type=int, default=21, help="the first one has nothing to start from"
    )
    options.add_argument("--kinds", default=",".join(KINDS))
    args = options.parse_args()
    rows = []
    for lr, every in ((0.01, 1), (0.01, 5), (0.05, 5)):
        for tol in (1e-3, 1e-6):
            for kind in args.kinds.split(","):
                for norm in NORMS:
                    progress(kind, norm, f"lr {lr:g}, {every} step(s), tol {tol:g}")
                    rows.append(
                        follow(kind, norm, args, lr=lr, every=every, tol=tol, checkpoints=args.checkpoints)
                    )
    show(rows, list(rows[0]))
    summary: dict[str, Any] = {}
    for lr, every in ((0.01, 1), (0.01, 5), (0.05, 5)):
        for tol in (1e-3, 1e-6):
            chosen = [r for r in rows if (r["lr"], r["every"], r["tol"]) == (lr, every, tol)]
            for column in ("ratio", "arpack_ratio"):
                name = f"median {column} at tol {tol:g}, {every} step(s) of lr {lr:g} apart"
                summary[name] = float(np.median([r[column] for r in chosen]))
    for tol in (1e-3, 1e-6):
        for column in ("ratio", "arpack_ratio"):
            summary[f"median {column} at tol {tol:g}"] = median(rows, column, tol=tol)
    summary["missed"] = sum(r["missed"] for r in rows)
    summary["measured"] = len(rows) * (args.checkpoints - 1)
    print()
    for name, value in summary.items():
        print(f"{name}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
