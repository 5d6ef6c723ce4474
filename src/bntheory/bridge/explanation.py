"""Errors of a user's own code or of torch while a network is measured, told in terms of steps, layers, batches, mode and precision.

What lives here: the one rule by which such an error becomes a :class:`~bntheory.errors.UserError` that says in which step and layer it
arose, whether plain training meets it too, and what to do; the error itself stays chained. Whether training meets an error of the forward
or the first backward pass is found out by one plain pass of the same model. An error of a second backward pass is never training's,
which takes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bntheory.bridge.examined import Examined
from bntheory.bridge.left_out import LARGER_BATCH
from bntheory.bridge.networks.evaluation import closure_value, evaluate, gradients_of, is_spread, scalar, tensors_in
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.raised import NOT_EXPLAINED, EvaluationError, first_line, line_of, where_of
from bntheory.errors import UserError

_PRECISION = ("dtype", "scalar type", "expected Double", "expected Float", "Double and Float", "Float and Double")


@contextmanager
def explained(
    objective: Examined, index: int, outputs: Any = None, *, step: str = "the forward pass"
) -> Iterator[None]:
    """Context for one step of an evaluation: an error in it is told with the layer, the batch, and what to do where that is known."""
    try:
        yield
    except UserError as error:
        told, where = str(error), where_of(objective.named_modules(), error)
        if where.startswith("layer") and "raised in" not in told and "layer '" not in told:
            told = f"{where}: {told}"
        if len(objective.batches) > 1 and "batch[" not in told:
            told = f"batch[{index}]: {told}"
        if told != str(error):
            if isinstance(error, EvaluationError):
                raise EvaluationError(told, compared=error.compared) from error.__cause__
            raise UserError(told) from error
        raise
    except NOT_EXPLAINED:
        raise
    except Exception as error:
        raise _told(error, objective, index, outputs, step) from error


def _told(error: Exception, objective: Examined, index: int, outputs: Any, step: str) -> UserError:
    """What a model, a loss or torch raised, with its place; and where the reason is known, with what to do."""
    text = first_line(error)
    where = where_of(objective.named_modules(), error)
    batch = f"batch[{index}]: " if len(objective.batches) > 1 else ""
    if "more than 1 value per channel" in text or "more than 1 spatial element" in text:
        return UserError(
            f"{batch}{where} normalises over m = 1 entry, and one value equals its own mean ({text}). {LARGER_BATCH}"
        )
    if objective.dtype is not None and any(word in text for word in _PRECISION):
        return UserError(
            f"{batch}bntheory converted the model, the batch and the loss to {objective.dtype} (as dtype asks), and {where} met a "
            f"tensor that it could not convert{_unconverted(objective)}: {text}. Make that tensor follow the precision of the "
            "inputs, or measure in the model's own precision (by dtype)"
        )
    if objective.dtype is None and any(word in text for word in _PRECISION):
        return UserError(
            f"{batch}{where} met tensors of several precisions: {text}. The model has {_precisions(objective.leaves.values())}, the "
            f"batch {_precisions(tensors_in(objective.batches[index] or ()))}. Give dtype=torch.float64 (or float32), which brings "
            "all of it into one precision, or convert the batch"
        )
    if outputs is not None and not isinstance(outputs, Tensor) and isinstance(error, TypeError):
        return UserError(
            f"{batch}the loss does not take what the model returns in mode {objective.mode!r}, a {_described(outputs)}: {text}. Give "
            "a loss that unpacks it, or another mode"
        )
    return EvaluationError(
        f"{batch}{type(error).__name__}: {text} (raised in {where}{line_of(error)}, {step} in mode {objective.mode!r}"
        f"{'' if objective.dtype is None else f', converted to {objective.dtype}'})"
    )


@contextmanager
def compared(objective: Examined, index: int) -> Iterator[None]:
    """Context around the others: to an error told inside it is added whether a plain forward and backward pass raises too.

    That pass is made when the model is again as the user left it.
    """
    try:
        yield
    except EvaluationError as error:
        if error.compared:
            raise
        try:
            _plain_pass(objective, index)
        except NOT_EXPLAINED:
            raise error from error.__cause__
        except Exception as plain:
            cause = plain.__cause__ or plain
            what = f"{type(cause).__name__}: {first_line(cause)}"
            more = f"A plain forward and backward pass raises as well ({what}): mend the model, the loss or the batch"
            more += _if_spread(objective.plain_batches()[index], cause)
        else:
            more = (
                f"A plain forward and backward pass of the same model on this batch goes through, so training does not meet it: "
                f"{_way_out(objective)}"
            )
        raise EvaluationError(f"{error}. {more}", compared=True) from error.__cause__


def _plain_pass(objective: Examined, index: int) -> None:
    """One forward and backward pass of the user's own model on its own batch, as a training loop makes it."""
    model, batch = objective.network, objective.plain_batches()[index]
    with torch.inference_mode(False), torch.enable_grad(), state_guard(model, *objective.keepers):
        if objective.mode != "current":
            model.train((objective.twin_of or objective.mode) != "eval")
        if batch is None:
            value = scalar(closure_value(None if objective.model is None else model, objective.loss))
        else:
            value = evaluate(model, objective.loss, batch)
        wanted = [p for p in model.parameters() if p.requires_grad]
        if wanted:
            gradients_of(value, wanted)


def _if_spread(batch: Any, cause: BaseException) -> str:
    """How inputs that were spread over the model's arguments are passed whole, where arguments may be what is wrong."""
    if batch is None or not is_spread(batch[0]) or not isinstance(cause, (TypeError, AttributeError)):
        return ""
    return (
        f". The batch's inputs are a {type(batch[0]).__name__}, and tuples and lists are spread over the model's arguments; one more "
        "wrapping, (([a, b],), y), passes one whole"
    )


def _way_out(objective: Examined) -> str:
    own = {p.dtype for p in objective.network.parameters() if p.is_floating_point()} - {objective.dtype}
    # left out, dtype is not everywhere the model's own
    ways = [] if objective.dtype is None else [f"measure in the model's own precision (dtype={d})" for d in own]
    ways += [] if objective.mode != "frozen" else ["measure the network itself instead of its frozen twin"]
    ways.append(
        "write the operation in plain tensor operations: a measurement watches each layer's calls and differentiates the gradient once "
        "more"
    )
    return ", or ".join(ways)


def first_backward(
    objective: Examined, value: Tensor, wanted: Sequence[Tensor], index: int = 0, *, again: bool = True
) -> tuple[Any, ...]:
    """The derivatives of a value, inside of the objective's conditions, None where it does not use a tensor; ``again``: with their graph."""
    with explained(objective, index, step="the first backward pass"):
        return torch.autograd.grad(value, list(wanted), create_graph=again, allow_unused=True)


def second_backward(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], directions: Sequence[Tensor], *, of: str = ""
) -> tuple[Any, ...]:
    """``torch.autograd.grad`` through a graph that is kept: None where an input is not used. Raises ValueError for whatever torch raises."""
    try:
        return torch.autograd.grad(list(outputs), list(inputs), list(directions), retain_graph=True, allow_unused=True)
    except (UserError, *NOT_EXPLAINED):
        raise
    except Exception as error:
        text = first_line(error)
        if "modified by an inplace operation" in text:
            raise UserError(
                "a tensor of the graph was changed in place after the operator was built (an optimiser step?); "
                f"build the operator anew after every change. torch says: {text}"
            ) from error
        if any(
            words in text
            for words in ("not implemented", "does not support", "not differentiable", "once_differentiable")
        ):
            raise UserError(
                f"an operation of this model has no second derivative in torch{of}. For attention use "
                "torch.nn.attention.sdpa_kernel(SDPBackend.MATH), for recurrent layers on CUDA "
                "torch.backends.cudnn.flags(enabled=False), elsewhere plain tensor operations in its place; what is of first order can be had "
                f"(capture with second_order=False). torch says: {text}"
            ) from error
        raise EvaluationError(
            f"{type(error).__name__}: {text} (raised in the second backward pass{of}{line_of(error)}). The forward and the first backward "
            "pass went through, so training does not meet it: write the operation so that its derivative can be differentiated "
            "(a custom autograd.Function needs a backward of differentiable operations)"
        ) from error


def _precisions(tensors: Iterable[Tensor]) -> str:
    found = sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.is_floating_point()})
    return ", ".join(found) or "no floating tensors"


def _described(outputs: Any) -> str:
    if isinstance(outputs, (tuple, list)):
        return f"{type(outputs).__name__} of {', '.join(type(item).__name__ for item in outputs)}"
    return type(outputs).__name__


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
        places += [(f"{name}.{key}" if name else key, value) for key, value in getattr(module, "__dict__", {}).items()]
    for place, value in places:
        for tensor in tensors_in(value) if not place.endswith(("_parameters", "_buffers")) else ():
            if tensor.is_floating_point() and tensor.dtype != objective.dtype:
                held.append(f"{place} ({tensor.dtype})")
    return f" (held in another precision: {', '.join(held[:5])})" if held else ""
