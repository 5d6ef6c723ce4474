"""What a probe of a network costs: in training steps on the same batch, and in memory beside what it states beforehand.

In float32 and a process of its own, by CPU seconds on one thread, so that what else the machine does counts little. A step is a forward
pass, a backward pass and SGD. Memory is the largest resident set of the process beyond that after the first steps.

``--products`` measures instead what a Hessian product costs in gradients: with torch's own second backward passes, of ``hessian`` as it
stands, with the closed forms of large layers alone, as the laboratory has it, and of the network's twin.

    python validation/benchmarks/probe_cost.py
    python validation/benchmarks/probe_cost.py --kinds mlp,vgg,resnet,resnet-18 --products
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import gradient_seconds, parser, product_seconds, progress, show, write

from bntheory.bridge import NetworkSpec, Objective, build_network, probe
from bntheory.bridge.curvature import CurvatureOperator, hessian
from bntheory.bridge.probes.probe import memory_needed


def peak() -> float:
    """In MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(owner: Any, name: str, spent: Counter[str]) -> None:
    """Let a method add its CPU seconds to ``spent``."""
    plain: Callable[..., Any] = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        begin = time.process_time()
        try:
            return plain(*arguments, **named)
        finally:
            spent[name] += time.process_time() - begin

    setattr(owner, name, call)


PRODUCTS: dict[str, dict[str, Any]] = {
    "torch": {},
    "product": {},
    "product_recorded": {"closed_forms": False},
    "product_twin": {"mode": "frozen"},
}


def products(model: nn.Module, batch: tuple[Tensor, Tensor], step: float) -> dict[str, float]:
    """Seconds of each kind of product over those of a gradient, which take turns."""
    found = {}
    for name, options in PRODUCTS.items():
        plain = mock.patch("bntheory.bridge.curvature.operator.ClosedForms", return_value=None)
        with (
            plain if name == "torch" else nullcontext(),
            hessian(model, functional.cross_entropy, batch, **options) as op,
        ):
            v = op.random_vector(torch.Generator().manual_seed(0))
            turns = [
                (product_seconds(op, v, 1), gradient_seconds(model, batch, 1))
                for _ in range(max(3, min(100, int(1 / step))))
            ]
            product, gradient = (min(times) for times in zip(*turns, strict=True))
            found[name] = product / gradient
    return found


def cost(kind: str, args: Any) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, args.side, args.side)
    layout = ("resnet", "full") if kind == "resnet-18" else (kind, args.size)
    model = build_network(NetworkSpec(layout[0], size=layout[1], norm="batch", input_shape=shape), 0)
    x = torch.randn(args.batch, *shape, generator=generator)
    y = torch.randint(10, (args.batch,), generator=generator)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)

    def step() -> float:
        begin = time.process_time()
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        return time.process_time() - begin

    times = [step() for _ in range(args.steps)][-3:]
    before = peak()
    row = {"kind": kind, "size": sum(p.numel() for p in model.parameters())}
    if args.products:
        return row | products(model, (x, y), min(times))
    spent: Counter[str] = Counter()
    timed(CurvatureOperator, "apply", spent)
    timed(Objective, "loss_value", spent)
    begin = time.process_time()
    found = probe(
        model, functional.cross_entropy, (x, y), dtype=torch.float32, progress=lambda at, text: progress(text)
    )
    seconds, taken = time.process_time() - begin, peak() - before
    assert found.twin is not None
    middle = statistics.median(
        [*times, step(), step(), step()]
    )  # a busy machine makes all of it slower, and not the same all the time
    return row | {
        "step": middle, "steps": seconds / middle,
        "products": found.network.products, "products_twin": found.twin.products, "steps_in_products": spent["apply"] / middle,
        "steps_in_loss_values": spent["loss_value"] / middle, "mib": taken,
        "stated_mib": memory_needed(Objective(model, functional.cross_entropy, (x, y), dtype=torch.float32)) / 2**20,
    }  # fmt: skip


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--kinds", default="resnet-18", help="of networks; all but resnet-18 of this size")
    options.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    options.add_argument(
        "--steps",
        type=int,
        default=4,
        help="of training before the probe; the last three and three more after it are timed",
    )
    options.add_argument("--products", action="store_true", help="measure what a product costs, and no probe")
    options.set_defaults(size="small", batch=64, dtype="float32")
    args = options.parse_args()
    torch.set_num_threads(1)
    rows = [cost(kind, args) for kind in args.kinds.split(",")]
    show(rows, list(rows[0]))
    summary: dict[str, Any] = {}
    for row in rows:
        if args.products:
            summary |= {f"{name} in gradients, {row['kind']}": row[name] for name in PRODUCTS}
        else:
            summary |= {f"training steps, {row['kind']}": row["steps"], f"memory over what was stated, {row['kind']}": row["mib"] / row["stated_mib"]}  # fmt: skip
    print()
    for title, value in summary.items():
        print(f"{title}: {value:.3g}")
    write(args.json, args, rows, summary)


if __name__ == "__main__":
    main()
