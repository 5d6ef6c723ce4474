"""Errors of a user's own code, raised while a loss is evaluated, told in terms of layers, batches, mode and precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bntheory.bridge.examination import Examined
from bntheory.bridge.networks.evaluation import tensors_in
from bntheory.errors import UserError

__all__ = ["explained"]

_PRECISION = (
    "dtype",
    "scalar type",
    "expected Double",
    "expected Float",
    "Double and Float",
    "Float and Double",
)


@contextmanager
def explained(objective: Examined, index: int, outputs: Any = None) -> Iterator[None]:
    """An error inside the model or the loss, told with the layer, the batch, and what to do where that is known."""
    try:
        yield
    except UserError as error:
        told, where = str(error), _where(objective, error)
        if where.startswith("layer") and "layer '" not in told:
            told = f"{where}: {told}"
        if len(objective.batches) > 1 and "batch[" not in told:
            told = f"batch[{index}]: {told}"
        if told != str(error):
            raise UserError(told) from error
        raise
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        where = _where(objective, error)
        batch = f"batch[{index}]: " if len(objective.batches) > 1 else ""
        if "more than 1 value per channel" in text or "more than 1 spatial element" in text:
            raise UserError(
                f"{batch}{where} normalises over m = 1 entry, and one value equals its own mean ({text}). Give a larger batch (a "
                "loader leaves an incomplete last one out with drop_last=True), or larger groups"
            ) from error
        if objective.dtype is not None and any(word in text for word in _PRECISION):
            raise UserError(
                f"{batch}bntheory converted the model, the batch and the loss to {objective.dtype} (as dtype asks), and {where} met a "
                f"tensor that it could not convert{_unconverted(objective)}: {text}. Make that tensor follow the precision of the "
                "inputs, or leave dtype out"
            ) from error
        if objective.dtype is None and any(word in text for word in _PRECISION):
            raise UserError(
                f"{batch}{where} met tensors of several precisions: {text}. The model has {_precisions(objective.leaves.values())}, the "
                f"batch {_precisions(tensors_in(objective.batches[index] or ()))}. Give dtype=torch.float64 (or float32), which brings "
                "all of it into one precision, or convert the batch"
            ) from error
        if outputs is not None and not isinstance(outputs, Tensor) and isinstance(error, TypeError):
            raise UserError(
                f"{batch}the loss does not take what the model returns in mode {objective.mode!r}, a {_described(outputs)}: {text}. Give "
                "a loss that unpacks it, or another mode"
            ) from error
        error.add_note(f"{batch}raised in {where}, in mode {objective.mode!r}")
        raise


def _precisions(tensors: Iterable[Tensor]) -> str:
    found = sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()})
    return ", ".join(found) or "no floating tensors"


def _described(outputs: Any) -> str:
    if isinstance(outputs, (tuple, list)):
        return f"{type(outputs).__name__} of {', '.join(type(item).__name__ for item in outputs)}"
    return type(outputs).__name__


def _where(objective: Examined, error: BaseException) -> str:
    """The innermost module of the model that was running."""
    names = {id(module): name for name, module in objective.named_modules().items()}
    found, trace = "the loss or the model", error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            found = f"layer {names[id(owner)] or '(model)'!r} ({type(owner).__name__})"
        trace = trace.tb_next
    return found


def _unconverted(objective: Examined) -> str:
    """The floating tensors of another precision that the loss and the modules hold, by name."""
    held: list[str] = []
    cells = zip(
        getattr(getattr(objective.loss, "__code__", None), "co_freevars", ()),
        getattr(objective.loss, "__closure__", None) or (),
        strict=False,
    )
    places = [(f"the loss's {name}", cell.cell_contents) for name, cell in cells]
    for name, module in (*objective.named_modules().items(), ("loss", objective.loss)):
        places += [
            (f"{name}.{key}" if name else key, value)
            for key, value in getattr(module, "__dict__", {}).items()
        ]
    for place, value in places:
        for tensor in tensors_in(value) if not place.endswith(("_parameters", "_buffers")) else ():
            if tensor.is_floating_point() and tensor.dtype != objective.dtype:
                held.append(f"{place} ({tensor.dtype})")
    return f" (held in another precision: {', '.join(held[:5])})" if held else ""
