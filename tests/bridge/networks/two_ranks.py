"""What two ranks do in the tests of shared training: a process each, over gloo. Not a test file: the processes import it by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from bntheory.bridge.networks.data_parallel import SharedTrainer, why_not_shared
from bntheory.bridge.networks.images import NetworkSpec, build_network
from bntheory.bridge.networks.training import SGDConfig, Trainer

RANKS, STEPS = 2, 4
#: Weight decay and momentum are there to be applied once, and not by every rank.
CONFIG = SGDConfig(0.1, momentum=0.7, weight_decay=0.01, drops=((2, 0.5),), seed=3)
#: A factor on the loss, as a rescaled arm has it.
FACTOR = 1.3


def network(kind: str, options: Mapping[str, Any]) -> nn.Module:
    shape = options.get("input_shape", (2, 8, 8))
    spec = NetworkSpec(kind, **{"size": "tiny", "classes": 3, **options, "input_shape": shape})
    model = build_network(spec, 5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # no parameter where its gradient is special
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise, alpha=0.1)
    return model


def batch(step: int, size: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    inputs = torch.randn((size, *shape), generator=generator, dtype=torch.float64)
    return inputs, torch.arange(size) % 3


def rescaled(outputs: Tensor, labels: Tensor) -> Tensor:
    return FACTOR * F.cross_entropy(outputs, labels)


def trained(kind: str, options: Mapping[str, Any], size: int, rank: int | None) -> dict[str, Tensor]:
    """Parameters, buffers and momentum after some steps: of one process (rank None), or of the ranks."""
    model = network(kind, options)
    trainer = Trainer(model, rescaled, CONFIG)
    step: Any = trainer
    if rank is not None:
        assert why_not_shared(model, size, RANKS) == ""
        step = SharedTrainer(trainer, F.cross_entropy, FACTOR, rank, RANKS)
    for number in range(STEPS):
        step.train_step(batch(number, size, options.get("input_shape", (2, 8, 8))))
    state = {name: t for name, t in model.state_dict().items() if isinstance(t, Tensor)}
    return {**state, **{f"velocity/{name}": v for name, v in trainer.velocity.items()}}


def work(rank: int, folder: str, cases: list[tuple[str, dict[str, Any], int]]) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    found = [trained(*case, rank) for case in cases]
    torch.save(found, Path(folder) / f"rank{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
