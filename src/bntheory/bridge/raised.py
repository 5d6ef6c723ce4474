"""What a user's own code or torch raised while a network was called, as one kind of error that says in which step, layer and line.

What lives here: the error, and where it arose. What does not: what a measurement did before, and what to do about it
(:mod:`bntheory.bridge.explanation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from bntheory.errors import OutsideVocabulary, Signal, UserError

#: What is no error of a model or a loss: a judge's own signals, and memory that ran out.
NOT_EXPLAINED = (Signal, OutsideVocabulary, MemoryError, torch.OutOfMemoryError)
_OWN = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))


class EvaluationError(UserError):
    """What the model, the loss or torch raised in one step of a measurement; the error itself is its cause.

    compared: whether it was held against a plain pass.
    """

    def __init__(self, text: str, *, compared: bool = False) -> None:
        super().__init__(text)
        self.compared = compared


@contextmanager
def plainly_called(
    model: nn.Module,
    step: str = "the forward pass of the model on these inputs",
    advice: str = "Inputs are a tensor, a tuple of positional or a mapping of keyword arguments",
) -> Iterator[None]:
    """An error in this step of a plain pass of ``model``, in the mode and precision that it is in, told with the layer."""
    try:
        yield
    except (UserError, *NOT_EXPLAINED):
        raise
    except Exception as error:
        where = where_of(dict(model.named_modules()), error)
        raise EvaluationError(
            f"{type(error).__name__}: {first_line(error)} (raised in {where}{line_of(error)}, {step}). {advice}"
        ) from error


def first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def line_of(error: BaseException) -> str:
    """The last line on the way that is neither torch's nor bntheory's."""
    found, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((*_OWN, "<")):
            found = f" at {Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def where_of(modules: Mapping[str, nn.Module], error: BaseException) -> str:
    """The innermost module of the model that was running."""
    names = {id(module): name for name, module in modules.items()}
    found, trace = "the loss or the model", error.__traceback__
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            found = f"layer {names[id(owner)] or '(model)'!r} ({type(owner).__name__})"
        trace = trace.tb_next
    return found
