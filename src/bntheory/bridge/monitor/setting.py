"""What decides the values of a monitor's records, as far as it can be seen from outside the training."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.networks.evaluation import convert, shape_of, tensors_in
from bntheory.bridge.objective import Objective
from bntheory.evidence.closure import package
from bntheory.evidence.record import digest, plain

Json = dict[str, Any]


def run_setting(objective: Objective, tolerance: float, run: str) -> Json:
    """The model with where it starts, the loss, and how it is evaluated; and the run's name, which stands for how it is trained."""
    named = {name: list(t.shape) for name, t in objective.leaves.items()}
    loss = objective.loss
    return {
        "model": {
            "class": type(objective.network).__name__,
            "parameters": sum(t.numel() for t in {id(t): t for t in objective.leaves.values()}.values()),
            "shapes": digest(repr(named)),
            "start": point_of(objective),
        },
        "loss": "the model's own" if loss is None else getattr(loss, "__qualname__", type(loss).__name__),
        "options": {key: plain(str(value)) for key, value in objective.options.items() if value is not None},
        "tolerance": tolerance,
        "run": run,
    }


def point_of(objective: Objective) -> str:
    """The values of all parameters, as a digest."""
    return digest(repr([float(x) for t in objective.leaves.values() for x in _sums(t)]))


@cache
def made() -> Json:
    """What the values are measured with: the code of the measures, and the libraries beneath it."""
    measures = "bntheory.bridge.monitor.measures"
    code = package().fingerprint([(measures, "MEASURES"), (measures, "measured")])
    return {"code": code, "torch": str(torch.__version__), "numpy": np.__version__}


def with_batch(setting: Json, objective: Objective) -> Json:
    """The setting with the very data that is measured on."""
    tensors = tensors_in(list(objective.batches))
    return {**setting, "batch": digest(repr([(shape_of(t), str(t.dtype), _sums(t)) for t in tensors]))}


def placed(batch: Any, model: nn.Module) -> Any:
    """A batch on the device of a model's parameters."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    return convert(batch, lambda tensor: tensor.to(device))


def _sums(tensor: Tensor) -> tuple[float, float]:
    """Two numbers that hardly another tensor has: its sum, and that of its entries times their place."""
    if tensor.is_nested:
        tensor = torch.cat([part.reshape(-1) for part in tensor.unbind()])
    flat = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    if flat.is_complex():
        flat = torch.view_as_real(flat)
    values = flat.reshape(-1).double()
    place = torch.arange(1, values.numel() + 1, dtype=torch.float64, device=values.device)
    return float(values.sum()), float(values @ place.rsqrt())
