"""Trace and spectral density at equal products: Hutchinson, Hutch++ and deflation; Lanczos with and without.

The truth is the dense spectrum of a small network's Hessian. The trace row gives the root mean square error over
seeds relative to the trace, the density row the distance between cumulative distributions (the earth mover's distance
relative to the spectrum's width). "plain" is what PyHessian computes: Hutchinson's mean, and stochastic Lanczos
without deflation. Deflation's own products are counted.

    python validation/benchmarks/curvature_trace_density.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import NORMS, parser, progress, show, trained, write

from bntheory.bridge.curvature import (
    SpectralDensity,
    SymmetricOperator,
    hessian,
    spectral_density,
    top_eigenvalues,
    trace,
)


def trace_errors(op: SymmetricOperator, exact: float, products: int, seeds: int) -> dict[str, float]:
    found: dict[str, list[float]] = {"plain": [], "hutch++": [], "deflated": []}
    for seed in range(seeds):
        found["plain"].append(trace(op, products, seed=seed).value)
        found["hutch++"].append(trace(op, products, method="hutch++", seed=seed).value)
        known = top_eigenvalues(op, 5, "LM", tol=1e-2, seed=seed)
        if products - known.products >= 4:
            found["deflated"].append(trace(op, products - known.products, deflate=known, seed=seed).value)
    return {
        name: float(np.sqrt(np.mean((np.array(values) - exact) ** 2)) / abs(exact)) if values else float("nan")
        for name, values in found.items()
    }


def earth_mover(density: SpectralDensity, values: np.ndarray) -> float:
    """The area between two cumulative distributions, relative to the width of the spectrum."""
    nodes = np.concatenate([density.nodes.ravel(), density.known])
    mass = np.concatenate(
        [density.weights.ravel() / len(density.weights), np.full(len(density.known), 1 / density.size)]
    )
    points = np.sort(np.concatenate([nodes, values]))
    order = np.argsort(nodes)
    reached = np.concatenate([[0.0], np.cumsum(mass[order])])
    estimated = reached[np.searchsorted(nodes[order], points[:-1], side="right")]
    exact = np.searchsorted(values, points[:-1], side="right") / len(values)
    return float(np.sum(np.abs(estimated - exact) * np.diff(points)) / (values[-1] - values[0]))


def density_errors(op: SymmetricOperator, values: np.ndarray, products: int, seeds: int) -> dict[str, float]:
    found: dict[str, list[float]] = {"plain": [], "deflated": []}
    probes = 4
    for seed in range(seeds):
        steps = products // probes
        found["plain"].append(earth_mover(spectral_density(op, steps=steps, probes=probes, seed=seed), values))
        known = top_eigenvalues(op, 5, "LM", tol=1e-4, seed=seed)
        steps = (products - known.products) // probes
        if steps >= 2:
            density = spectral_density(op, steps=steps, probes=probes, deflate=known, seed=seed)
            found["deflated"].append(earth_mover(density, values))
    return {name: float(np.mean(v)) if v else float("nan") for name, v in found.items()}


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--products", type=int, nargs="+", default=[60, 120])
    options.set_defaults(seeds=10)
    args = options.parse_args()
    rows: list[dict[str, Any]] = []
    for kind, layer in (("mlp", ["hidden1", "output"]), ("vgg", ["conv0", "conv1"]), ("resnet", ["stem", "output"])):
        for norm in NORMS:
            progress(kind, norm)
            model, batch = next(trained(kind, norm, args, seed=0, lr=0.05, every=60, checkpoints=1))
            # a block whose dense Hessian is cheap enough to be the truth
            with hessian(model, functional.cross_entropy, batch, parameters=layer) as op:
                values = np.sort(np.linalg.eigvalsh(op.dense()))
                for products in args.products:
                    base = {"kind": kind, "norm": norm, "size": op.size, "products": products}
                    for what, errors in (
                        ("trace", trace_errors(op, float(values.sum()), products, args.seeds)),
                        ("density", density_errors(op, values, products, args.seeds)),
                    ):
                        ratios = {f"{k}_ratio": errors["plain"] / v for k, v in errors.items() if k != "plain"}
                        rows.append(base | {"what": what} | errors | ratios)
    show(
        rows,
        ["kind", "norm", "size", "products", "what", "plain", "hutch++", "hutch++_ratio", "deflated", "deflated_ratio"],
    )
    summary = {}
    for what, columns in (("trace", ("hutch++_ratio", "deflated_ratio")), ("density", ("deflated_ratio",))):
        for column in columns:
            chosen = [r[column] for r in rows if r["what"] == what and np.isfinite(r[column])]
            summary[f"{what}: median of plain error over {column.removesuffix('_ratio')} error"] = float(
                np.median(chosen)
            )
    print()
    for name, value in summary.items():
        print(f"{name}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
