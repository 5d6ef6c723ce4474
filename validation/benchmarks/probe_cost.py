"""What a probe of a network costs: in training steps on the same batch, and in memory beside what it states beforehand.

In float32 and a process of its own, by CPU seconds on one thread, so that what else the machine does counts little. A step is a forward
pass, a backward pass and SGD. Memory is the largest resident set of the process beyond that after the first steps.

    python validation/benchmarks/probe_cost.py --size full
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from curvature_common import parser, progress, show, write

from bntheory.bridge import NetworkSpec, Objective, build_network, probe
from bntheory.bridge.curvature import CurvatureOperator
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


def main() -> None:
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    options.add_argument("--steps", type=int, default=4, help="of training before the probe; the last three are timed")
    options.set_defaults(size="full", batch=64, dtype="float32")
    args = options.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    shape = (3, args.side, args.side)
    model = build_network(NetworkSpec("resnet", size=args.size, norm="batch", input_shape=shape), 0)
    x = torch.randn(args.batch, *shape, generator=generator)
    y = torch.randint(10, (args.batch,), generator=generator)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05)
    times = []
    for _ in range(args.steps):
        begin = time.process_time()
        optimiser.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        times.append(time.process_time() - begin)
    step, before = min(times[-3:]), peak()
    spent: Counter[str] = Counter()
    timed(CurvatureOperator, "apply", spent)
    timed(Objective, "loss_value", spent)
    begin = time.process_time()
    found = probe(
        model, functional.cross_entropy, (x, y), dtype=torch.float32, progress=lambda at, text: progress(text)
    )
    seconds, taken = time.process_time() - begin, peak() - before
    assert found.twin is not None
    row = {
        "size": sum(p.numel() for p in model.parameters()), "step": step, "steps": seconds / step,
        "products": found.network.products, "products_twin": found.twin.products, "steps_in_products": spent["apply"] / step,
        "steps_in_loss_values": spent["loss_value"] / step, "mib": taken,
        "stated_mib": memory_needed(Objective(model, functional.cross_entropy, (x, y), dtype=torch.float32)) / 2**20,
    }  # fmt: skip
    show([row], list(row))
    write(args.json, args, [row], {"training steps": row["steps"], "memory over what was stated": taken / row["stated_mib"]})  # fmt: skip


if __name__ == "__main__":
    main()
