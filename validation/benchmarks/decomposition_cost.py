#!/usr/bin/env python3
"""What it costs to watch the decomposition at every step: a training step with the monitor over one without, in one run.

Steps alternate, so that a busy machine slows both alike; the ratio is the median of paired ratios, with the quartiles beside it.
The monitor reads gamma's and beta's gradients, sigma from the forward pass, and reduces each layer's output gradient once.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time

import torch
from torch import nn

from bntheory.bridge.networks.data import synthetic_data
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.probes.decomposition import DecompositionMonitor

NETWORKS = {
    "mlp 5 x 256": ("mlp", {"layout": (256,) * 5}),
    "vgg small": ("vgg", {"size": "small"}),
    "resnet small": ("resnet", {"size": "small"}),
}


def paired(kind: str, options: dict[str, object], args: argparse.Namespace) -> list[float]:
    """(with the monitor)/(without), for each pair of steps on the same batch; the first pairs only warm up."""
    data = synthetic_data(seed=0, shape=(1, 28, 28), classes=10, train=args.batch, test=10)
    x, labels = data.inputs(slice(0, args.batch), device=args.device)
    model = build_network(
        NetworkSpec(kind, norm="batch", input_shape=(1, 28, 28), classes=10, **options), 0, device=args.device
    ).train()
    # processor time on the CPU, so that other programs do not blur it; wall time on a device, where the processor only waits
    clock = time.perf_counter if x.is_cuda else time.process_time
    watched = copy.deepcopy(model)  # hooks stay on between steps, as in real use
    optimisers = {m: torch.optim.SGD(m.parameters(), lr=1e-3) for m in (model, watched)}

    def step(network: nn.Module, monitor: DecompositionMonitor | None) -> float:
        if x.is_cuda:
            torch.cuda.synchronize()
        began = clock()
        optimisers[network].zero_grad()
        nn.functional.cross_entropy(network(x), labels).backward()
        if monitor is not None:
            assert monitor.read()
        optimisers[network].step()
        if x.is_cuda:
            torch.cuda.synchronize()
        return clock() - began

    ratios = []
    with DecompositionMonitor(watched) as monitor:
        for i in range(args.pairs + 3):
            if i % 2:  # neither always runs on the other's warm caches
                with_monitor, without = step(watched, monitor), step(model, None)
            else:
                without, with_monitor = step(model, None), step(watched, monitor)
            ratios.append(with_monitor / without)
    return ratios[3:]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for name, (kind, options) in NETWORKS.items():
        low, middle, high = statistics.quantiles(paired(kind, options, args), n=4)
        rows.append(
            {
                "network": name,
                "extra": middle - 1,
                "quartiles": [low - 1, high - 1],
                "within_15_percent": middle <= 1.15,
            }
        )
    if args.json:
        print(
            json.dumps(
                {"device": args.device, "batch": args.batch, "pairs": args.pairs, "rows": rows}, indent=2
            )
        )
        return
    print(
        f"cost of watching, as a share of a training step (batch {args.batch}, {args.device}, {args.pairs} pairs)"
    )
    for row in rows:
        low, high = row["quartiles"]
        print(
            f"  {row['network']:14s} {100 * row['extra']:6.1f} %   (quartiles {100 * low:.1f} % to {100 * high:.1f} %)"
        )


if __name__ == "__main__":
    main()
