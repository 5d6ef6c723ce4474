"""How a network classifies: loss and accuracy, in training and in evaluation mode."""

from __future__ import annotations

import torch

from bntheory.bridge.networks.state import state_guard
from bntheory.evidence.comparable import guessing_loss
from bntheory.experiments.measures.situation import Batch, Json, Options, Situation, number


def accuracies(at: Situation, options: Options) -> Json:
    """Loss (without the arm's factor) and accuracy: on the measured batch in training mode, on the first test images in
    evaluation mode."""
    return {
        "guessing_loss": guessing_loss(at.data.classes, at.protocol.loss),
        **_classified(at, at.batch(), "training_"),
        **_classified(at, at.held_out(options["test_size"]), "test_", evaluation=True),
    }


def _classified(at: Situation, batch: Batch, prefix: str, *, evaluation: bool = False) -> Json:
    with state_guard(at.model, parameters=False), torch.no_grad():
        at.model.train(not evaluation)
        parts = torch.split(batch[0], 250) if evaluation else (batch[0],)
        outputs = torch.cat([at.model(x) for x in parts])
        correct = (outputs.argmax(1) == batch[1]).double().mean()
        loss = float(at.loss(outputs, batch[1])) / at.factor
    return {f"{prefix}loss": number(loss), f"{prefix}accuracy": float(correct)}


def classification(at: Situation, options: Options) -> Json:
    """Loss and accuracy on the measured images in training mode, in batches of the size that is trained on; accuracy on
    test images."""
    images, labels = at.batch()
    held_out = at.held_out(options["test_size"])
    with state_guard(at.model, parameters=False), torch.no_grad():
        at.model.train()
        outputs = torch.cat([at.model(part) for part in torch.split(images, at.protocol.batch_size)])
        loss = float(at.loss(outputs, labels))
        right = float((outputs.argmax(1) == labels).double().mean())
    return {
        "training": {"loss": number(loss), "accuracy": right},
        "held_out": _classified(at, held_out, "", evaluation=True)["accuracy"],
    }
