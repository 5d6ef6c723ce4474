"""How a network classifies: loss and accuracy, in training and in evaluation mode."""

from __future__ import annotations

import torch
from torch import nn

from bntheory.bridge.networks.evaluation import Loss
from bntheory.bridge.networks.state import state_guard
from bntheory.experiments.measures.situation import Batch, Json, Options, Situation, number

__all__ = ["accuracies", "classification"]


def accuracies(at: Situation, options: Options) -> Json:
    """Accuracy on the measured batch in training mode, and loss and accuracy on the first test images in evaluation mode."""
    held_out = at.held_out(options["test_size"])
    return {
        **_accuracy(at.model, at.batch(), "", at.loss),
        **_accuracy(at.model, held_out, "test_", at.loss, evaluation=True),
    }


def _accuracy(model: nn.Module, batch: Batch, prefix: str, loss: Loss, *, evaluation: bool = False) -> Json:
    with state_guard(model, parameters=False), torch.no_grad():
        model.train(not evaluation)
        parts = torch.split(batch[0], 250) if evaluation else (batch[0],)
        outputs = torch.cat([model(x) for x in parts])
        correct = (outputs.argmax(1) == batch[1]).double().mean()
        found = {f"{prefix}accuracy": float(correct)}
        if evaluation:
            found[f"{prefix}loss"] = number(float(loss(outputs, batch[1])))  # type: ignore[assignment]
    return found


def classification(at: Situation, options: Options) -> Json:
    """Loss and accuracy on the measured images in training mode, in batches of the size that is trained on; accuracy on test images."""
    images, labels = at.batch()
    held_out = at.held_out(options["test_size"])
    with state_guard(at.model, parameters=False), torch.no_grad():
        at.model.train()
        outputs = torch.cat([at.model(part) for part in torch.split(images, at.protocol.batch_size)])
        loss = float(at.loss(outputs, labels))
        right = float((outputs.argmax(1) == labels).double().mean())
    return {
        "training": {"loss": number(loss), "accuracy": right},
        "held_out": _accuracy(at.model, held_out, "test_", at.loss, evaluation=True)["test_accuracy"],
    }
