"""A callback for the Hugging Face Trainer: ``Trainer(callbacks=[MonitorCallback(batch)])``. Needs ``pip install 'bntheory[huggingface]'``."""

from __future__ import annotations

from typing import Any

from bntheory.bridge.monitor.monitor import Monitor
from bntheory.bridge.monitor.setting import placed
from bntheory.bridge.networks.evaluation import Loss
from bntheory.errors import UserError

try:
    from transformers import TrainerCallback
except ImportError:
    raise UserError(
        "transformers is not installed: pip install 'bntheory[huggingface]', or call Monitor.step() in a loop"
    ) from None


class MonitorCallback(TrainerCallback):  # type: ignore[misc]
    """Follows a model while a Trainer trains it; afterwards :attr:`monitor` holds what was found.

    Args:
        batch: a mapping of the model's keyword arguments, labels included; it goes to the device of the model by itself.
        loss: None for the loss that the outputs carry, else as of :class:`Monitor`.
        options: of the monitor. The learning rate is that of the trainer's optimiser.
    """

    monitor: Monitor | None = None

    def __init__(self, batch: Any, loss: Loss | None = None, **options: Any) -> None:
        self._batch, self._loss, self._options = batch, loss, options

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any
    ) -> None:
        """Make the monitor; raises what :class:`Monitor` raises."""
        options = {"optimizer": optimizer, **self._options}
        self.monitor = Monitor(model, self._loss, placed(self._batch, model), **options)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The rate of the step, before the schedule moves on; an old trainer does not call this, and its rate is that of the next step."""
        if self.monitor is not None:
            self.monitor.read_rate()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step of the optimiser."""
        if self.monitor is not None:
            self.monitor.step(step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the monitor."""
        if self.monitor is not None:
            self.monitor.close()
