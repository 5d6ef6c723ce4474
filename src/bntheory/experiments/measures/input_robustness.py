"""How accuracy on test images falls when these are disturbed a little: by noise, and against the network.

Images are standardised, so sizes are in standard deviations of a pixel over the training images. Everything is in
evaluation mode, as a trained network is used.
"""

from __future__ import annotations

import torch

from bntheory.bridge.networks.state import state_guard
from bntheory.experiments.measures.situation import Json, Options, Situation

#: The noise of a seed is drawn from a seed of its own.
_NOISE_SEED = 2_000_003


def input_robustness(at: Situation, options: Options) -> Json:
    """Accuracy on the first ``test_size`` test images: ``clean``; with Gaussian ``noise``, by its size; and after
    ``sign`` steps.

    options: test_size; noise: standard deviations; sign: lengths e of x + e sign(dL/dx), the fast gradient sign step
    (Goodfellow et al. 2015) against the loss that the network was trained on. The noise is the same for every arm and
    step of a seed.
    """
    x, labels = at.held_out(options["test_size"])
    generator = torch.Generator().manual_seed(_NOISE_SEED + at.task.seed)
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)

    def accuracy(images: torch.Tensor) -> float:
        with torch.no_grad():
            return float((at.model(images).argmax(1) == labels).double().mean())

    with state_guard(at.model, parameters=False):
        at.model.eval()
        images = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(at.loss(at.model(images), labels), images)
        return {
            "input_robustness": {
                "clean": accuracy(x),
                "noise": {f"{size:g}": accuracy(x + size * drawn) for size in options["noise"]},
                "sign": {f"{size:g}": accuracy(x + size * slope.sign()) for size in options["sign"]},
            }
        }
