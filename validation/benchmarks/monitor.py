#!/usr/bin/env python3
"""What it costs to follow a training with the monitor's default settings, and that not a bit of the training changes.

Two copies of one network are trained side by side on the same batches, step by step, one with the monitor; neither always runs on the
other's warm caches, and a busy machine slows both alike. The ratio is the seconds of the one over the seconds of the other, over the
whole run, measurements included. At the end all parameters, buffers and momenta are compared bit for bit. With a share of 0.2 the ratio
stays below 1.25 by construction: it is a run long enough for the curvature to be measured that shows it.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge import Monitor, NetworkSpec, build_network, synthetic_data

NETWORKS = {"vgg-small": ("vgg", "small"), "resnet-18": ("resnet", "full")}


@dataclass
class Arm:
    """A network, its optimiser, and the seconds that its training took."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    monitor: Monitor | None = None
    seconds: float = 0.0

    def step(self, x: Tensor, labels: Tensor) -> None:
        began = clock(x)
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.model(x), labels).backward()
        self.optimizer.step()
        if self.monitor is not None:
            self.monitor.step()
        self.seconds += clock(x) - began

    def bits(self) -> list[Tensor]:
        """Everything that training has changed."""
        state = self.optimizer.state_dict()["state"].values()
        momenta = [t for entry in state for t in entry.values() if isinstance(t, Tensor)]
        return [*self.model.state_dict().values(), *momenta]


def clock(x: Tensor) -> float:
    """Processor time on the CPU, which other programs do not blur; wall time on a device, where the processor only waits."""
    if not x.is_cuda:
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def compared(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """One network, trained with and without the monitor."""
    kind, size = NETWORKS[name]
    shape = (3, args.side, args.side)
    data = synthetic_data(seed=0, shape=shape, classes=10, train=2048, test=10)
    images, labels = data.inputs(slice(0, 2048), device=args.device)
    spec = NetworkSpec(kind, size=size, norm="batch", input_shape=shape, classes=10)
    model = build_network(spec, 0, device=args.device).train()
    arms = []
    for network in (model, copy.deepcopy(model)):
        arms.append(Arm(network, torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)))
    alone, watched = arms
    held = images[-args.batch :], labels[-args.batch :]
    generator = torch.Generator().manual_seed(0)
    alone.step(*held)  # both warm up alike
    watched.step(*held)
    alone.seconds = watched.seconds = 0.0
    began = clock(images)
    watched.monitor = Monitor(watched.model, nn.functional.cross_entropy, held, optimizer=watched.optimizer)
    watched.seconds += clock(images) - began
    for step in range(args.steps[name]):
        chosen = torch.randint(len(images) - args.batch, (args.batch,), generator=generator)
        for arm in arms if step % 2 else reversed(arms):
            arm.step(images[chosen], labels[chosen])
    equal = all(torch.equal(a, b) for a, b in zip(alone.bits(), watched.bits(), strict=True))
    return {
        "network": name,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": args.steps[name],
        "ratio": watched.seconds / alone.seconds,
        "bit_for_bit": equal,
        "times": {measure: times for measure, (times, _) in watched.monitor.cost.measures.items()},
        "missing": [m.reason for m in watched.monitor.missing],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=0, help="of training; by default 1000, of ResNet-18 500")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()
    args.steps = {name: args.steps or (500 if name == "resnet-18" else 1000) for name in NETWORKS}
    rows = [compared(name, args) for name in args.networks]
    print(f"a training with the monitor over one without (batch {args.batch}, {args.side} pixels, {args.device})")
    for row in rows:
        made = ", ".join(f"{name} {times} x" for name, times in row["times"].items())
        same = "bit for bit the same" if row["bit_for_bit"] else "NOT THE SAME"
        print(f"  {row['network']:10s} {row['ratio']:6.3f}  over {row['steps']} steps; {same}; {made}")
        for reason in dict.fromkeys(row["missing"]):
            print(f"             missing: {reason}")
    if args.json:
        args.json.write_text(
            json.dumps({"device": args.device, "batch": args.batch, "side": args.side, "rows": rows}, indent=2)
        )


if __name__ == "__main__":
    main()
