"""What the curvature benchmarks share: networks, data, and power iteration in the manner of PyHessian.

Written here, in our own words, so that the comparison needs no other package: start from random signs, normalise,
multiply, and stop when two successive Rayleigh quotients agree to a relative tolerance. It runs on the very operator
that the library's own solver runs on, so that both pay the same for a product.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge import NetworkSpec, build_network, load_dataset
from bntheory.bridge.curvature import SymmetricOperator

KINDS = ("mlp", "vgg", "resnet")
NORMS = ("batch", "none")


def parser(description: str) -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    found.add_argument("--device", default="cpu")
    found.add_argument("--size", default="tiny", choices=("tiny", "small", "full"), help="of the networks")
    found.add_argument("--dtype", default="float64", choices=("float32", "float64"))
    found.add_argument("--batch", type=int, default=128, help="examples in the batch that is measured")
    found.add_argument("--seeds", type=int, default=2, help="networks and start vectors for each row")
    found.add_argument("--json", type=Path, default=None, help="also write the rows to this file")
    return found


def trained(
    kind: str,
    norm: str,
    args: argparse.Namespace,
    *,
    seed: int,
    lr: float,
    every: int,
    checkpoints: int,
    after: int = 0,
) -> Iterator[tuple[nn.Module, tuple[Tensor, Tensor]]]:
    """The network at points of SGD, the first after ``after + every`` steps, and the batch to measure on."""
    dtype = getattr(torch, args.dtype)
    x, y = load_dataset().inputs(slice(0, 2048), dtype=dtype, device=args.device)
    model = build_network(NetworkSpec(kind, size=args.size, norm=norm), seed, device=args.device, dtype=dtype)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for checkpoint in range(checkpoints):
        for _ in range(every if checkpoint else after + every):
            rows = torch.randint(0, len(x), (64,), generator=generator).to(args.device)
            optimiser.zero_grad()
            functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
        yield model, (x[: args.batch], y[: args.batch])


def power_iteration(
    op: SymmetricOperator, finished: Callable[[list[float]], bool], *, seed: int, limit: int = 1000
) -> tuple[list[float], list[float]]:
    """Rayleigh quotient and seconds since the start after each product, until ``finished`` says so."""
    begin = time.perf_counter()
    v = op.random_vector(torch.Generator().manual_seed(seed), signs=True)
    v = v / v.norm()
    values: list[float] = []
    seconds: list[float] = []
    while len(values) < limit and not (values and finished(values)):
        image = op.apply(v)
        values.append(float(v @ image))  # waits for the device, so the clock below is right
        seconds.append(time.perf_counter() - begin)
        v = image / image.norm()
    return values, seconds


def gradient_seconds(model: nn.Module, batch: tuple[Tensor, Tensor], repeats: int) -> float:
    """CPU seconds that a gradient of the cross-entropy takes, the least of so many after the first."""
    parameters = list(model.parameters())
    times = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        torch.autograd.grad(functional.cross_entropy(model(batch[0]), batch[1]), parameters)
        times.append(time.process_time() - begin)
    return min(times[1:])


def product_seconds(op: SymmetricOperator, v: Tensor, repeats: int = 3) -> float:
    """CPU seconds that a product takes, the least of so many after the first."""
    times = []
    for _ in range(repeats + 1):
        begin = time.process_time()
        op.apply(v)
        times.append(time.process_time() - begin)
    return min(times[1:])


def timed(call: Callable[[], Any], device: str) -> tuple[Any, float]:
    """The result of ``call`` and the seconds that it took, the device's queue included."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    begin = time.perf_counter()
    result = call()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return result, time.perf_counter() - begin


def progress(*parts: object) -> None:
    """One line to stderr, so that long runs show that they live and tables on stdout stay clean."""
    print("...", *parts, file=sys.stderr, flush=True)


def show(rows: list[dict[str, Any]], columns: list[str]) -> None:
    """A plain table of the rows."""
    cells = [[_cell(row.get(c)) for c in columns] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in cells)) for i, c in enumerate(columns)]
    for line in [columns, ["-" * w for w in widths], *cells]:
        print("  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def median(rows: list[dict[str, Any]], column: str, **where: Any) -> float:
    chosen = [row[column] for row in rows if all(row[k] == v for k, v in where.items()) and row[column] is not None]
    return float(statistics.median(chosen))


def write(path: Path | None, args: argparse.Namespace, rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    if path is None:
        return
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items()}
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu"
    record = {
        "settings": settings,
        "torch": torch.__version__,
        "device": device,
        "threads": torch.get_num_threads(),
        "summary": summary,
        "rows": rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
