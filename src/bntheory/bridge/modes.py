"""Every layer of a network put into the mode in which it is measured; and what is done about dropout, by which each call of a loss differs."""

from __future__ import annotations

from typing import Literal

from torch import distributed, nn

from bntheory.bridge.normalisers import is_normalisation
from bntheory.bridge.raised import first_line
from bntheory.errors import UserError

Mode = Literal["train", "eval", "frozen", "current"]
#: The mode of the network whose twin is measured.
TwinOf = Literal["train", "eval", "current"]
Dropout = Literal["refuse", "off", "drawn"]


def switch(model: nn.Module, mode: Mode, dropout: Dropout, *, fixed: bool) -> None:
    """Put every module into ``mode`` (for a twin, that of its network), and switch dropout off, leave it, or refuse it.

    fixed: its random numbers are held fixed, so that it may stay active.

    Raises ValueError for dropout that is active and was not asked for.
    """
    if mode in ("train", "frozen"):
        _put(model, mode, training=True)
        for module in model.modules():
            if is_normalisation(module):  # an override of train() may have left it in evaluation mode
                module.training = True
    elif mode == "eval":
        _put(model, mode, training=False)
        for module in model.modules():
            module.training = False
    for name, module in model.named_modules():
        synchronised = isinstance(module, nn.SyncBatchNorm) and module.training and distributed.is_initialized()
        if synchronised and distributed.get_world_size(module.process_group) > 1:
            raise UserError(
                f"layer {name!r} (SyncBatchNorm) takes its statistics over the batches of several processes, which would all have to take part "
                "in every pass; measure a copy of the model with plain batch normalisation on one batch"
            )
    active = [(name, module) for name, module in model.named_modules() if _drops(module)]
    if not active or fixed or dropout == "drawn":
        return
    if dropout == "refuse":
        shown = ", ".join(name or type(m).__name__ for name, m in active[:5]) + (", ..." if len(active) > 5 else "")
        raise UserError(
            f"dropout is active in mode {mode!r} ({shown}): the loss is another function at every evaluation and has no Hessian. "
            "Pass dropout='off' to switch it off for the measurement, seed=... to hold its random numbers fixed, or set its p to 0"
        )
    for _, module in active:
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()
        else:
            setattr(module, "dropout", 0.0)  # noqa: B010 - typed as a submodule


def _put(model: nn.Module, mode: Mode, *, training: bool) -> None:
    try:
        model.train(training)
    except Exception as error:
        raise UserError(
            f"the model refuses to be put into the mode that mode={mode!r} asks for ({type(error).__name__}: {first_line(error)}); measure it "
            "in the mode that it is in: mode='current'"
        ) from error


def _drops(module: nn.Module) -> bool:
    if not module.training:
        return False
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return module.p > 0
    return isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and module.dropout > 0
