"""The k largest eigenvalues at equal achieved error: this library, power iteration, ARPACK, curvlinops, hessian-eigenthings.

The truth is measured in float64. This library runs with tol = accuracy and its own stopping rule. Every other method is
stopped by the truth, which no user has: of its settings (tolerances, numbers of steps) the cheapest counts whose values are
as accurate as those that this library returned. Power iteration and ARPACK run on this library's own product; the other packages
on their own. Times are CPU seconds on one thread, so that what else the machine does counts little; memory is the largest
resident set beyond that before the call. In float64 this library also runs in mixed precision, as ``bntheory probe`` does; the others
are then compared with that. ``slower_asked`` stops them where they are as accurate as was asked for, and not as what was returned.

    python validation/benchmarks/curvature_packages.py --kinds mlp,vgg
    python validation/benchmarks/curvature_packages.py --kinds mlp,vgg,resnet --dtype float64
"""

from __future__ import annotations

import copy
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import gradient_seconds, parser, product_seconds, progress, show, trained, write
from scipy.sparse.linalg import eigsh

from bntheory.bridge.curvature import CurvatureOperator, hessian, top_eigenvalues

ACCURACIES = (1e-3, 1e-6)
STEPS = (5, 8, 12, 16, 20, 25, 30, 40, 50, 70, 100)
LIMIT = 400
_ROUNDING = {"float32": 3e-7, "float64": 1e-13}  # no method is asked for more
Found = tuple[np.ndarray[Any, Any], int]


class Peak:
    """The largest resident set while open, beyond that at the start, in MiB; None where the system does not tell."""

    def __enter__(self) -> Peak:
        gc.collect()
        self.start = self.most = _resident()
        self._open = True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while self._open:
            self.most = max(self.most, _resident())
            time.sleep(0.01)

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._thread.join()
        self.most = max(self.most, _resident())

    @property
    def beyond(self) -> float:
        return (self.most - self.start) / 2**20


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * 4096


def power(op: CurvatureOperator, k: int, seed: int, fine: Callable[[np.ndarray[Any, Any]], bool]) -> Found | None:
    """Deflated power iteration, each value until it is as accurate as asked for; shifted so that the top end is largest."""
    if k > 1:
        return None  # values of both signs: deflation by magnitude finds others than the k largest
    before = op.products
    v = op.random_vector(torch.Generator().manual_seed(seed), signs=True)
    v /= v.norm()
    while op.products - before < LIMIT:
        image = op.apply(v)
        value = np.array([float(v @ image)])
        if fine(value):
            return value, op.products - before
        v = image / image.norm()
    return None


def arpack(op: CurvatureOperator, k: int, seed: int, tol: float) -> Found:
    before = op.products
    start = np.random.default_rng(seed).standard_normal(op.size).astype(op.point.cpu().numpy().dtype)
    values = eigsh(op.as_linear_operator(), k, which="LA", v0=start, tol=tol, return_eigenvectors=False)
    return np.sort(values)[::-1].astype(float), op.products - before


def eigenthings(model: nn.Module, batch: tuple[Tensor, Tensor], k: int, seed: int, steps: int) -> Found:
    from hessian_eigenthings import HessianOperator, lanczos

    op = HessianOperator(
        model, [batch], lambda net, item: functional.cross_entropy(net(item[0]), item[1]), microbatch_unsafe=True
    )
    found = lanczos(op, k=k, max_iter=steps, which="LA", seed=seed, reorthogonalize=True)
    return np.sort(np.asarray(found.eigenvalues.double()))[::-1], steps


def curvlinops(model: nn.Module, batch: tuple[Tensor, Tensor], k: int, seed: int, tol: float) -> Found:
    from curvlinops import HessianLinearOperator

    untracked = copy.deepcopy(model)  # it refuses models that write to buffers
    for module in untracked.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
            module.num_batches_tracked = None
    parameters = list(untracked.parameters())
    op = HessianLinearOperator(untracked, nn.CrossEntropyLoss(), parameters, [batch], check_deterministic=False)
    counted = op.to_scipy()
    calls = [0]
    plain = counted.matvec

    def matvec(v: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        calls[0] += 1
        return plain(v)

    from scipy.sparse.linalg import LinearOperator

    linear = LinearOperator(counted.shape, matvec=matvec, dtype=counted.dtype)
    start = np.random.default_rng(seed).standard_normal(counted.shape[0]).astype(counted.dtype)
    values = eigsh(linear, k, which="LA", v0=start, tol=tol, return_eigenvectors=False)
    return np.sort(values)[::-1].astype(float), calls[0]


def cases(args: Any) -> Iterator[tuple[str, nn.Module, tuple[Tensor, Tensor]]]:
    for kind in args.kinds.split(","):
        if kind == "resnet-18":
            from bntheory.bridge import NetworkSpec, build_network

            net = build_network(NetworkSpec("resnet", size="full", norm="batch", input_shape=(3, 32, 32)), 0)
            generator = torch.Generator().manual_seed(0)
            dtype = getattr(torch, args.dtype)
            yield (
                kind,
                net.to(dtype),
                (
                    torch.randn(args.batch, 3, 32, 32, generator=generator).to(dtype),
                    torch.randint(10, (args.batch,), generator=generator),
                ),
            )
            continue
        for model, batch in trained(kind, "batch", args, seed=0, lr=0.05, every=40, checkpoints=1):
            yield kind, model, batch


def truths(model: nn.Module, batch: tuple[Tensor, Tensor], k: int, large: bool, single: CurvatureOperator) -> np.ndarray[Any, Any]:  # fmt: skip
    """In float64: to 1e-10; for a large network the Rayleigh-Ritz values of what float32 found, off by residual^2/gap."""
    with hessian(model, functional.cross_entropy, batch, dtype=torch.float64) as op:
        if not large:
            return top_eigenvalues(op, k, tol=1e-10, seed=1000, max_products=2000).values
        start = top_eigenvalues(single, k, tol=1e-9, seed=1000, max_products=40 + 20 * k)
        basis, _ = torch.linalg.qr(start.vectors.double())
        projected = torch.stack([basis.T @ op.apply(v) for v in basis.T]).numpy()
        return np.linalg.eigvalsh((projected + projected.T) / 2)[::-1]


def measure(name: str, model: nn.Module, batch: tuple[Tensor, Tensor], args: Any) -> Iterator[dict[str, Any]]:
    large = name == "resnet-18"
    gradient = gradient_seconds(model, batch, 2 if large else 5)
    double = args.dtype == "float64"
    with hessian(model, functional.cross_entropy, batch) as op:
        v = op.random_vector(torch.Generator().manual_seed(0))
        base = {"network": name, "size": op.size, "product_in_gradients": product_seconds(op, v) / gradient}
        for k in (int(part) for part in args.ks.split(",")):
            truth = truths(model, batch, k, large, op)
            for accuracy in ACCURACIES:
                exact = np.abs(truth)
                runs = {"bntheory": True, "bntheory, float64 alone": False} if double else {"bntheory": False}
                for method, mixed in reversed(runs.items()):
                    with Peak() as peak:
                        begin = time.process_time()
                        ours = top_eigenvalues(op, k, tol=accuracy, seed=1, mixed_precision=mixed)
                        seconds = time.process_time() - begin
                    error = float(np.max(np.abs(ours.values - truth) / exact))
                    asked = max(error, _ROUNDING[args.dtype])
                    yield base | {
                        "k": k, "accuracy": accuracy, "method": method, "products": ours.products, "single": ours.single_products,
                        "seconds": seconds, "mib": peak.beyond, "error": error, "claimed": float(np.max(ours.errors / exact)),
                        "slower": 1.0 if method == "bntheory" else None,
                    }  # fmt: skip

                def off(values: np.ndarray[Any, Any], truth: Any = truth) -> float:
                    return float(np.max(np.abs(values - truth) / np.abs(truth)))

                def fine(values: np.ndarray[Any, Any], off: Any = off, asked: float = asked) -> bool:
                    return bool(off(values) <= asked)

                methods: dict[str, list[Callable[[], Found | None]]] = {
                    "power iteration": [lambda k=k, fine=fine: power(op, k, 1, fine)],
                    "ARPACK": [
                        lambda t=t, k=k: arpack(op, k, 1, t)
                        for t in ((1e-1, 1e-2, 1e-3, 1e-4, 1e-6, 1e-8) if double else (1e-1, 1e-2, 1e-3, 1e-4, 1e-6))
                    ],
                    "hessian-eigenthings": [
                        lambda n=n, k=k: eigenthings(model, batch, k, 1, n) for n in STEPS if n > k
                    ],
                    "curvlinops": [lambda t=t, k=k: curvlinops(model, batch, k, 1, t) for t in (1e-2, 1e-4)],
                }  # fmt: skip
                for method in args.methods.split(","):
                    yield base | {"k": k, "accuracy": accuracy, "method": method} | best(methods[method], off, asked, accuracy, seconds)  # fmt: skip


def best(
    settings: list[Callable[[], Found | None]], off: Callable[[Any], float], achieved: float, accuracy: float, ours: float
) -> dict[str, Any]:  # fmt: skip
    """The first setting, from the cheapest on, that is as accurate as what was returned; the last one tried where none is."""
    row: dict[str, Any] = dict.fromkeys(("products", "seconds", "mib", "error", "slower", "slower_asked"))
    asked: float | None = None
    for setting in settings:
        with Peak() as peak:
            begin = time.process_time()
            try:
                found = setting()
            except (ImportError, RuntimeError, ValueError, ArithmeticError) as error:
                return row | {"note": f"{type(error).__name__}: {str(error)[:120]}"}
            seconds = time.process_time() - begin
        if found is None:
            return row | {"note": "not applicable, or not within 400 products"}
        values, products = found
        error = off(values)
        if asked is None and error <= max(accuracy, achieved):
            asked = seconds / ours
        row = {
            "products": products, "seconds": seconds, "mib": peak.beyond, "error": error,
            "slower": seconds / ours if error <= achieved else None, "slower_asked": asked,
        }  # fmt: skip
        if error <= achieved:
            return row
    return row | {"note": "never as accurate as asked for"}


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--kinds", default="mlp,vgg")
    options.add_argument("--ks", default="1,5")
    options.add_argument("--methods", default="power iteration,ARPACK,hessian-eigenthings,curvlinops")
    options.add_argument("--threads", type=int, default=1)
    options.set_defaults(size="small", batch=64, dtype="float32")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    rows: list[dict[str, Any]] = []
    for name, model, batch in cases(args):
        for row in measure(name, model, batch, args):
            rows.append(row)
            progress(*(f"{key}={value}" for key, value in row.items() if key != "size"))
    show(rows, ["network", "size", "k", "accuracy", "method", "products", "single", "seconds", "mib", "error", "claimed", "slower", "slower_asked"])  # fmt: skip
    summary: dict[str, Any] = {}
    for name in dict.fromkeys(row["network"] for row in rows):
        mine = [row for row in rows if row["network"] == name]
        summary[f"product in gradients, {name}"] = mine[0]["product_in_gradients"]
        for accuracy in ACCURACIES:
            for column, when in (("slower", "at equal error"), ("slower_asked", "as accurate as asked for")):
                others = [r for r in mine if r["accuracy"] == accuracy and r.get(column) and not r["method"].startswith("bntheory")]  # fmt: skip
                for k in dict.fromkeys(r["k"] for r in others):
                    title = f"time of the best other method over ours, {name}, k = {k}, tol = {accuracy:g}, {when}"
                    summary[title] = min(r[column] for r in others if r["k"] == k)
    summary["outside the claimed error"] = sum(
        row["error"] > row["claimed"] for row in rows if row["method"].startswith("bntheory")
    )
    print()
    for title, value in summary.items():
        print(f"{title}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
