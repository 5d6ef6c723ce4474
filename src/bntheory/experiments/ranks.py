"""The processes (ranks) that torchrun started, which train one network together; the first of them does everything
else.

Rank 0 runs the command as it would alone: it plans, measures, writes the store and shows progress. The others wait for
it, and are given all that they need for a stretch of training: the network as it is now, its optimiser's state, and
every batch, of which each takes its share (:mod:`bntheory.bridge.networks.data_parallel`). So there is one plan and one
reader of data, and nothing that ranks could see differently. What is said goes through a group of its own on the CPU,
in which a rank may wait for hours; what is trained through that of the device.
"""

from __future__ import annotations

import copy
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from bntheory.bridge.networks.data_parallel import SharedTrainer, why_not_shared
from bntheory.bridge.networks.evaluation import Batch, Loss
from bntheory.bridge.networks.training import SGDConfig, Trainer, reproducible
from bntheory.bridge.raised import EvaluationError
from bntheory.devices import check_device, started_by_torchrun
from bntheory.errors import UserError, terminated_as_interrupted
from bntheory.experiments.manifest import here

#: A rank may wait so long for the first one, which measures meanwhile.
_PATIENCE = timedelta(days=60)
_HERE: ContextVar[Ranks | None] = ContextVar("ranks", default=None)


class RankLost(UserError):
    """A rank failed in the middle of a step, so that the others wait in vain; nothing more can be trained together."""


@dataclass(frozen=True)
class _Stretch:
    """What a rank is told of some steps, all on the CPU. batch: shape and dtype of each tensor of a batch."""

    model: nn.Module
    loss: Loss
    factor: float
    config: SGDConfig
    velocity: dict[str, torch.Tensor]
    step: int
    last: int
    batch: list[tuple[torch.Size, torch.dtype]]


def present() -> Ranks | None:
    """The ranks that train together, inside :func:`joined`; None where this process trains alone."""
    return _HERE.get()


@contextmanager
def joined() -> Iterator[bool]:
    """Inside, the processes that torchrun started train together. True for the one that is to go on, which is any that
    was not started so.

    For the others False, and their part is done. Raises UserError where they do not find each other, and
    :class:`RankLost` on a rank whose first one is gone.
    """
    if not started_by_torchrun():
        yield True
        return
    ranks = Ranks()
    if ranks.rank:
        ranks.follow()
        yield False
        return
    token = _HERE.set(ranks)
    try:
        with terminated_as_interrupted():  # torchrun ends the other ranks so when one has failed
            yield True
    finally:
        _HERE.reset(token)
        ranks.dismiss()


class Ranks:
    """The ranks as one of them sees them. rank, size: which one, of how many."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self.local = int(os.environ.get("LOCAL_RANK", self.rank))
        self.lost, self._ready = False, set[str]()
        cuda = torch.cuda.is_available() and distributed.is_nccl_available()
        try:
            if cuda and self.local < torch.cuda.device_count():
                torch.cuda.set_device(self.local)
            distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
            self._control = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"torchrun: rank {self.rank} of {self.size} does not find the others ({_first_line(error)}); is the address that "
                "--rdzv-endpoint or --master-addr names reached from every machine?"
            ) from error

    # -- what rank 0 does --------------------------------------------------------------------------------------

    def make_ready(self, device: str) -> None:
        """See to it that every rank has such a device and the versions and code of this one. Raises UserError, which
        names a rank that has not."""
        if device in self._ready:
            return
        if device.partition(":")[2] not in ("", "0"):
            raise UserError(
                f"device: {device!r}: under torchrun every rank takes the GPU of its number; give --device cuda, and choose GPUs by "
                "CUDA_VISIBLE_DEVICES"
            )
        unfit: list[Any] = [None] * self.size
        with self._together("began"):
            self._tell((device, here()))
            distributed.all_gather_object(unfit, "", group=self._control)
        wrong = [f"rank {rank} {why}" for rank, why in enumerate(unfit) if why]
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            raise UserError(f"torchrun: {wrong[0]}{more}")
        self._ready.add(device)

    def why_alone(self, model: nn.Module, examples: int) -> str:
        """Why rank 0 trains this network by itself; "" where all do."""
        return why_not_shared(model, examples, self.size)

    @contextmanager
    def stretch(
        self, trainer: Trainer, loss: Loss, factor: float, last: int, batch: Batch
    ) -> Iterator[Callable[[Batch], None]]:
        """Gives the step that all ranks take together, up to step ``last`` of the trainer. batch: one of those that
        will be given to it.

        loss, factor: as of :class:`.SharedTrainer`. Raises UserError for what all ranks come to alike, as a scale of
        zero, and RankLost.
        """
        shared = SharedTrainer(trainer, loss, factor, self.rank, self.size)
        velocity = {name: v.cpu() for name, v in trainer.velocity.items()}
        model = copy.deepcopy(trainer.model).cpu()
        shapes = [(t.shape, t.dtype) for t in batch]

        def train_step(batch: Batch) -> None:
            for tensor in batch:
                distributed.broadcast(tensor.contiguous(), 0)
            shared.train_step(batch)

        with self._together("was trained"):
            self._tell(_Stretch(model, loss, factor, trainer.config, velocity, trainer.step, last, shapes))
            yield train_step

    @contextmanager
    def _together(self, what: str) -> Iterator[None]:
        """What is in step with the others: an error that is not theirs as well leaves them behind."""
        try:
            yield
        except Exception as error:
            if _of_all(error):
                raise
            self.lost = True
            raise RankLost(
                f"torchrun: a rank was lost, or this one failed, while it {what} ({_first_line(error)}). What was measured is kept: start "
                "again with --resume, on as many ranks as there are, or on none"
            ) from error
        except BaseException:
            self.lost = True
            raise

    def dismiss(self) -> None:
        """The other ranks are needed no longer."""
        if self.lost:  # they end with this process
            return
        with suppress(Exception):  # they are gone already
            self._tell(None)
        distributed.destroy_process_group()

    # -- what the others do ------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Do what rank 0 says until it says no more. Raises RankLost where it is gone."""
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is rank 0's to deal with
        torch.set_num_threads(1)
        self.lost = True
        try:
            with reproducible():
                while (message := self._tell(None)) is not None:
                    if isinstance(message, _Stretch):
                        try:
                            self._take_part(message)
                        except UserError as error:
                            if not _of_all(error):
                                raise
                            # rank 0 has come to the same, and says so
                    else:
                        self.device, expected = message
                        distributed.all_gather_object([None] * self.size, self._unfit(expected), group=self._control)
        except Exception as error:
            raise RankLost(f"torchrun: rank {self.rank} ends ({_first_line(error)})") from error
        distributed.destroy_process_group()

    def _unfit(self, expected: dict[str, str]) -> str:
        found = here()
        for name, value in expected.items():
            if found[name] != value:
                return f"has {name} {found[name]}, but rank 0 has {value}; install the same there"
        if self.device.startswith("cuda"):
            self.device = f"cuda:{self.local}"
            try:
                check_device(self.device)
            except UserError as error:
                return f"has no GPU of its own ({error}); start as many ranks on a machine as it has GPUs"
        return ""

    def _take_part(self, told: _Stretch) -> None:
        trainer = Trainer(told.model.to(self.device), told.loss, told.config)
        trainer.velocity = {name: v.to(self.device) for name, v in told.velocity.items()}
        trainer.step = told.step
        shared = SharedTrainer(trainer, told.loss, told.factor, self.rank, self.size)
        while trainer.step < told.last:
            batch = [torch.empty(shape, dtype=dtype, device=self.device) for shape, dtype in told.batch]
            for tensor in batch:
                distributed.broadcast(tensor, 0)
            shared.train_step(batch)

    def _tell(self, content: Any) -> Any:
        """Rank 0's content, on every rank."""
        box = [content]
        distributed.broadcast_object_list(box, 0, group=self._control)
        return box[0]


def _of_all(error: Exception) -> bool:
    """Whether every rank comes to this error: a refusal of ours is, what torch raised in a pass of one rank need not
    be."""
    return isinstance(error, UserError) and not isinstance(error, EvaluationError)


def _first_line(error: Exception) -> str:
    """What it says first, without where in torch's own source, and without advice."""
    told = error.__cause__ or error
    line = (str(told).splitlines() or [type(told).__name__])[0]
    return re.sub(r"^\[\S+:\d+\] ", "", line).split(". ")[0].rstrip(".")
