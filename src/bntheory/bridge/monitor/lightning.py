"""A callback for Lightning's Trainer: ``Trainer(callbacks=[MonitorCallback(loss, batch)])``. Needs ``pip install 'bntheory[lightning]'``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from bntheory.bridge.monitor.monitor import Monitor
from bntheory.bridge.monitor.setting import placed
from bntheory.bridge.networks.evaluation import Loss
from bntheory.errors import UserError

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError:
        raise UserError(
            "neither lightning nor pytorch_lightning is installed: pip install 'bntheory[lightning]', or call Monitor.step() in a loop"
        ) from None


class MonitorCallback(Callback):  # type: ignore[misc]
    """Follows a LightningModule while it trains; afterwards :attr:`monitor` holds what was found.

    Args:
        loss, batch: as of :class:`Monitor`; the batch goes to the device of the module by itself.
        network: the module within the LightningModule that is measured, ``lambda module: module.net``; itself if None.
        options: of the monitor. The learning rate is that of the trainer's optimisers, as the step used it.
    """

    monitor: Monitor | None = None

    def __init__(
        self, loss: Loss | None, batch: Any, *, network: Callable[[Any], nn.Module] | None = None, **options: Any
    ) -> None:
        super().__init__()
        self._loss, self._batch, self._network, self._options = loss, batch, network, options

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the monitor; raises what :class:`Monitor` raises."""
        model = pl_module if self._network is None else self._network(pl_module)
        options = {"optimizer": trainer.optimizers or None, **self._options}
        self.monitor = Monitor(model, self._loss, placed(self._batch, model), **options)
        self._seen = trainer.global_step

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """The rate of the step, before the schedule moves on."""
        if self.monitor is not None:
            self.monitor.read_rate()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """A step, where the optimiser made one: batches whose gradients are only accumulated are none."""
        if self.monitor is not None and trainer.global_step != self._seen:
            self._seen = trainer.global_step
            self.monitor.step(step=trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the monitor."""
        if self.monitor is not None:
            self.monitor.close()
