"""The networks on which layer claims are measured: an MLP, a VGG-like and a ResNet-like network on real images.

Each comes twice, with the epsilon of practice and with eps = 0 (in primitive operations: the fused kernel refuses it), in float64,
after a few steps of training from a start in which gamma takes both signs and beta is not zero, so that no layer is special.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch.nn.functional import cross_entropy

from bntheory.bridge import CapturedLayer, NetworkSpec, batch_at, build_network, capture, load_dataset

__all__ = ["SUITE", "captured_suite"]

SUITE = ("mlp", "vgg", "resnet")
_BATCH, _STEPS, _RATE = 12, 10, 0.02


def _network(kind: str, eps: float, seed: int, device: str) -> torch.nn.Module:
    norm = "batch" if eps else "batch-primitive"
    spec = NetworkSpec(kind, size="tiny", norm=norm, eps=eps)
    model = build_network(spec, seed, device=device, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            gamma, beta = getattr(module, "weight", None), getattr(module, "bias", None)
            if isinstance(gamma, torch.Tensor) and isinstance(beta, torch.Tensor) and gamma.ndim == 1:
                gamma.copy_(1 + torch.randn(gamma.shape, generator=generator, dtype=torch.float64))
                beta.copy_(torch.randn(gamma.shape, generator=generator, dtype=torch.float64) / 2)
    return model


@cache
def captured_suite(seed: int = 0, device: str = "cpu") -> tuple[tuple[str, CapturedLayer], ...]:
    """(network's name, captured layer) for every normalisation layer of the suite, once a seed and device."""
    return tuple(_captured(seed, device))


def _captured(seed: int, device: str) -> Iterator[tuple[str, CapturedLayer]]:
    data = load_dataset("fashion-mnist-subset")
    for kind in SUITE:
        for eps in (1e-5, 0.0):
            model = _network(kind, eps, seed, device)
            optimiser = torch.optim.SGD(model.parameters(), lr=_RATE)
            for step in range(_STEPS + 1):
                batch = batch_at(data, step, batch_size=_BATCH, seed=seed, dtype=torch.float64, device=device)
                if step == _STEPS:
                    break
                optimiser.zero_grad()
                torch.autograd.backward(cross_entropy(model(batch[0]), batch[1]))
                optimiser.step()
            name = f"{kind}, eps = {eps:g}"
            yield from ((name, layer) for layer in capture(model, cross_entropy, batch))
