"""The networks on which layer claims are measured: an MLP, a VGG-like and a ResNet-like network on real images.

Each comes twice, with the epsilon of practice and with eps = 0 (in primitive operations: the fused kernel refuses it),
in float64, after a few steps of training from a start in which gamma takes both signs and beta is not zero, so that no
layer is special.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from bntheory.bridge import CapturedLayer, capture, load_dataset
from bntheory.experiments.experiment import Arm, Protocol, Task
from bntheory.experiments.worker import follow

SUITE = ("mlp", "vgg", "resnet")
_STEPS = 10
_PROTOCOL = Protocol(_STEPS, (_STEPS,), 12, 12, dtype="float64")


@cache
def captured_suite(seed: int = 0, device: str = "cpu") -> tuple[tuple[str, CapturedLayer], ...]:
    """(network's name, captured layer) for every normalisation layer of the suite, once a seed and device."""
    return tuple(_captured(seed, device))


def _captured(seed: int, device: str) -> Iterator[tuple[str, CapturedLayer]]:
    data = load_dataset("fashion-mnist-subset")
    for kind in SUITE:
        for eps in (1e-5, 0.0):
            norm = "batch" if eps else "batch-primitive"
            options = {"size": "tiny", "norm": norm, "eps": eps}
            arm = Arm(kind, norm, kind, options, 0.02, prepared="random-affine")
            at = next(follow(Task(arm, seed), _PROTOCOL.record, data, device, _PROTOCOL))
            name = f"{kind}, eps = {eps:g}"
            yield from ((name, layer) for layer in capture(at.model, at.loss, at.training_batch()))
