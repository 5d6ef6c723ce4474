#!/usr/bin/env python3
"""What training many seeds as one saves, and whether the engine's choice between that and one by one is ever the slower.

Steps: n networks of one architecture, each on its own batches, one after the other and folded, in turn, in one process and on one thread;
the numbers are the medians over rounds of the processor time (wall time on a device). Products: a Hessian product of each network, one after
the other and as one product of the folded network, the graphs built beforehand. The choice is that of
:func:`bntheory.bridge.networks.folded.timed_sample`, which the engine goes by and which is taken apart from these timings; "slower" is the
time of what it chose over that of the better one. (On a CPU the engine asks it for MLPs and for eight networks at least.)
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bntheory.bridge import NetworkSpec, SGDConfig, Trainer, batch_at, build_network, synthetic_data
from bntheory.bridge.networks.folded import FoldedNetwork, FoldedTrainer, timed_sample

DATA = synthetic_data(shape=(1, 14, 14), train=2048, test=64, seed=1)
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp 64 x 5": {"kind": "mlp", "layout": (64,) * 5},
    "mlp 128 x 5": {"kind": "mlp", "layout": (128,) * 5},
    "mlp 32 x 2": {"kind": "mlp", "layout": (32,) * 2},
    "vgg small": {"kind": "vgg", "layout": (8, 0, 16, 0, 16, 16, 0)},
}
BATCH, STEPS, ROUNDS = 64, 10, 7


def seconds(action: Callable[[], object], device: str) -> float:
    """Processor time on a CPU, which other programs do not blur; on a device wall time with its queue."""
    if device == "cpu":
        began = time.process_time()
        action()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    action()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turn(alone: Callable[[], object], folded: Callable[[], object], device: str) -> tuple[float, float]:
    """Medians of what each takes, in turn, after one round that does not count."""
    rounds = [(seconds(alone, device), seconds(folded, device)) for _ in range(1 + ROUNDS)][1:]
    one, other = zip(*rounds, strict=True)
    return statistics.median(one), statistics.median(other)


def trainers(options: dict[str, Any], count: int, device: str) -> list[Trainer]:
    spec = NetworkSpec(norm="batch", input_shape=DATA.shape, classes=DATA.classes, **options)
    return [
        Trainer(build_network(spec, seed, device=device), functional.cross_entropy, SGDConfig(0.05, seed=seed))
        for seed in range(count)
    ]


def products(loss: Tensor, parameters: Sequence[Tensor]) -> Callable[[], object]:
    """A Hessian product at a time, from a graph that is kept."""
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    vectors = [torch.randn_like(p) for p in parameters]
    return lambda: torch.autograd.grad(gradients, parameters, vectors, retain_graph=True)


def row(name: str, count: int, device: str) -> dict[str, Any]:
    options = NETWORKS[name]
    alone, for_folded = trainers(options, count, device), trainers(options, count, device)
    batches = [
        [batch_at(DATA, step, batch_size=BATCH, seed=seed, device=device) for seed in range(count)]
        for step in range(STEPS)
    ]
    together = FoldedTrainer(for_folded, functional.cross_entropy)

    def one_by_one() -> None:
        for number, trainer in enumerate(alone):
            for step in range(STEPS):
                trainer.train_step(batches[step][number])

    def as_one() -> None:
        for step in range(STEPS):
            together.train_step(batches[step])

    step_alone, step_folded = in_turn(one_by_one, as_one, device)
    sample = timed_sample(trainers(options, count, device), batches[0], functional.cross_entropy)

    models = [trainer.model for trainer in trainers(options, count, device)]
    single = [
        products(functional.cross_entropy(m(x), t), list(m.parameters()))
        for m, (x, t) in zip(models, batches[0], strict=True)
    ]
    folded = FoldedNetwork(models)
    outputs = folded(torch.stack([x for x, _ in batches[0]]))
    whole = sum(functional.cross_entropy(y, t) for y, (_, t) in zip(outputs, batches[0], strict=True))
    both = products(whole, list(folded.parameters()))
    product_alone, product_folded = in_turn(lambda: [one() for one in single], both, device)

    taken = step_folded if sample.worth_it else step_alone
    return {
        "network": name,
        "seeds": count,
        "steps": round(step_alone / step_folded, 2),
        "products": round(product_alone / product_folded, 2),
        "sample": round(sample.alone / sample.folded, 2),
        "chosen": "folded" if sample.worth_it else "one by one",
        "slower": round(taken / min(step_alone, step_folded), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", default="3,8,16,32")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'network':<14}{'seeds':>6}{'steps':>8}{'products':>10}{'sample':>8}  chosen       time over the better one"
    )
    rows = []
    for name in NETWORKS:
        for count in map(int, chosen.seeds.split(",")):
            found = row(name, count, chosen.device)
            rows.append(found)
            print(
                f"{name:<14}{count:>6}{found['steps']:>8.2f}{found['products']:>10.2f}{found['sample']:>8.2f}  {found['chosen']:<13}{found['slower']:.2f}",
                flush=True,
            )
    if chosen.out is not None:
        settings = {
            "device": chosen.device,
            "batch": BATCH,
            "steps": STEPS,
            "rounds": ROUNDS,
            "threads": 1,
            "torch": str(torch.__version__),
        }
        chosen.out.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
