"""The monitor: called from a training loop that is not ours, it measures now and then and keeps what it finds.

What lives here: when it measures, that nothing of it reaches the training, and where the records go. What does not: the measures
(:mod:`bntheory.bridge.monitor.measures`), tables and figures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import get_ident
from typing import Any, NamedTuple, Self

import torch
from torch import nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.fences import differentiating
from bntheory.bridge.monitor import tables
from bntheory.bridge.monitor.measures import DEFAULT, GUESSES, MEASURES, Measure, Situation, measured, of_user, reason
from bntheory.bridge.monitor.optimiser import StepSize, step_size
from bntheory.bridge.monitor.picture import monitor_figure
from bntheory.bridge.monitor.schedule import Cost, Schedule
from bntheory.bridge.monitor.setting import made, point_of, run_setting, with_batch
from bntheory.bridge.networks.evaluation import Loss, convert, read_batches, spread_triple
from bntheory.bridge.objective import Objective
from bntheory.errors import UserError
from bntheory.evidence.record import Record

#: A user's own measure, in training steps, before it was ever made.
_GUESS = 5.0
_STILL = (
    "no parameter of the measured model has changed since the last measurement, although steps were made: the loop trains other tensors (a copy "
    "of the model, parameters handed to torch.func), its rate is zero, or its steps are skipped"
)
_AGAIN = "this step was measured before, and the first measurement is kept; follow another model, batch or moment by a monitor of its own"


class Missing(NamedTuple):
    """What could not be had at a step. what: a layer, a twin, or the measure itself."""

    step: int
    measure: str
    what: str
    reason: str


class Monitor:
    """Follow a training run from any loop: per layer the split of its gradient, per network its loss and curvature beside its twin's.

    ::

        monitor = Monitor(model, loss, held_batch, optimizer=optimizer)
        for x, y in loader:
            ...
            optimizer.step()
            monitor.step()
        monitor.close()

    or, with nothing in the loop itself, ``with monitor.following(optimizer): ...``. It measures by forward and backward passes of its
    own on ``batch``, with random numbers, modes, buffers and gradients put back, and hangs nothing on the model. So training is bit for
    bit what it is without it, whatever the loop does: accumulated, clipped or scaled gradients, autocast, schedules; and one's own
    measurements may run anywhere. What fails is noted (:attr:`missing`) and never stops the training.

    Args:
        model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple. The batch is best one
            that is held out and stays the same, so that points of time compare; it is copied. Without one, ``step(batch)`` gives it.
        optimizer: where the learning rate is read at every measurement (schedules included), one or several; or a number, or a function
            returning one, which says nothing of how it is stepped: its edge is that of plain gradient descent.
        every: measure once in so many steps, at most.
        measures: names (:data:`MEASURES`), or functions of an :class:`bntheory.bridge.Objective` that return a number or a mapping of
            numbers. "sharpness" is the largest eigenvalue of the Hessian, of the network and of its frozen-statistics twin.
        share: seconds of measuring to each second of training, at most: where measures would cost more they are made less often, and
            a solve is cut short. None for no limit: then the steps that are measured do not depend on the clock.
        tolerance: relative accuracy of the eigenvalues.
        out: a folder for ``records.jsonl``, or a file ending in ``.jsonl``, written as it goes.
        name: of the run, in records and tables; it tells runs apart that start at the same point.
        tensorboard: a ``SummaryWriter``, or anything with ``add_scalar(name, value, step)``.
        strict: raise what goes wrong in a measurement instead of noting it.
        options: of the objective. By default ``seed=0`` holds what the model draws at random (dropout) at the numbers of that seed.

    Raises ValueError at once for arguments that cannot be, and for a model, loss or batch that cannot be measured.
    """

    @checked
    def __init__(
        self,
        model: Any,
        loss: Loss | None = None,
        batch: Any = None,
        *,
        optimizer: Any = None,
        every: int = 50,
        measures: Sequence[str | Callable[[Objective], Any]] = DEFAULT,
        share: float | None = 0.2,
        tolerance: float = 1e-2,
        out: str | Path | None = None,
        name: str = "run",
        tensorboard: Any = None,
        strict: bool = False,
        **options: Any,
    ) -> None:
        if not isinstance(every, int) or every < 1:
            raise UserError(f"every: {every!r} steps; it must be a whole number of at least 1")
        if share is not None and not share > 0:
            raise UserError(f"share: {share!r} of the training time; it must be positive, or None for no limit")
        if not 0 < tolerance < 1:
            raise UserError(f"tolerance: {tolerance!r}; a relative accuracy lies between 0 and 1")
        self._measures = _chosen(measures)
        self._schedule = Schedule(every, share, {m: GUESSES.get(m, _GUESS) for m in self._measures})
        self._optimizer, self._tolerance, self._strict = optimizer, tolerance, strict
        self._out, self._tensorboard, self.name = _opened(out), tensorboard, name
        self._step, self._called, self._closed = 0, 0, False
        self._thread = get_ident()
        self._last: tuple[int, str] | None = None  # calls and parameters at the last measurement
        self._since: float | None = None
        self._rate: StepSize | None = None  # where it is read before a step is told
        self._records: dict[tuple[int, str], Record] = {}
        self._notes: list[Missing] = []
        self._spectra: dict[str, Any] = {}
        began = time.perf_counter()
        with differentiating():
            self._base = _base(*spread_triple(model, loss, batch), options)
            step_size(optimizer, _trained(self._base))
            self._setting = run_setting(self._base, tolerance, name)
            if self._base.batches[0] is not None:
                self._base.check()  # what cannot be measured is told now
        self._schedule.paid(time.perf_counter() - began)

    # -- what a loop calls ---------------------------------------------------------------------------------------------

    @checked
    def step(self, batch: Any = None, *, step: int | None = None) -> None:
        """One step of training is done; measure if it is time. Once the monitor is closed this does nothing.

        batch: to be measured on this time, instead of the held one. step: its number, where it is not one more than the last.
        """
        if self._closed:
            return
        before = self._step if self._called else None
        self._step = self._step + 1 if step is None else int(step)
        self._called += 1
        if self._since is not None:
            self._schedule.trained(time.perf_counter() - self._since)
        due = self._schedule.due(self._step, before)
        if due:
            self._measure(due, batch, limited=True)
        self._rate, self._since = None, time.perf_counter()

    def read_rate(self) -> None:
        """The rate is read now, for the :meth:`step` that follows: a trainer moves its schedule on before it says that a step is done."""
        with suppress(UserError):  # noted where the step is measured
            self._rate = step_size(self._optimizer, _trained(self._base))

    def measure(self, batch: Any = None) -> None:
        """Measure here and now, whatever it costs: before the first step, after the last."""
        before = time.perf_counter()
        self._measure(list(self._measures), batch, limited=False)
        if self._since is not None:  # no time of training
            self._since += time.perf_counter() - before

    @contextmanager
    def following(self, optimizer: torch.optim.Optimizer) -> Iterator[Self]:
        """Context in which every step of ``optimizer`` is followed by :meth:`step`; the learning rate is read from it as well."""
        if not hasattr(optimizer, "register_step_post_hook"):
            raise UserError(
                f"optimizer is a {type(optimizer).__name__}, whose steps cannot be followed; call monitor.step() in the loop"
            )
        before, self._optimizer = self._optimizer, optimizer
        hook = optimizer.register_step_post_hook(lambda *_: self.step())
        try:
            yield self
        finally:
            hook.remove()
            self._optimizer = before

    def close(self) -> None:
        """Let go of what is kept for the next measurement; records, tables and figure stay."""
        self._closed = True
        self._spectra.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- measuring -------------------------------------------------------------------------------------------------------

    def _measure(self, names: Sequence[str], batch: Any, *, limited: bool) -> None:
        began = self._waited(limited)
        try:
            with differentiating():
                at = self._situation(batch)
                setting, maker = with_batch(self._setting, at.objective), made()
                self._moved(point_of(at.objective))
        except Exception as error:
            self._failed("objective", error)
            self._schedule.paid(time.perf_counter() - began)
            return
        for name in names:
            if (self._step, name) in self._records:
                self._failed(name, UserError(_AGAIN))
                continue
            at.seconds = self._schedule.account if limited else math.inf
            at.missing = {}
            with differentiating():
                values = measured(name, self._measures[name], at)
            network = setting["model"]["class"]
            self._keep(Record(network, self.name, 0, self._step, name, setting, values, made=maker))
            now = self._waited(False)
            self._schedule.paid(now - began, name)
            began = now

    def _situation(self, batch: Any) -> Situation:
        """The objective is made anew: everything about it is checked again at every step that is measured."""
        if get_ident() != self._thread:
            raise UserError(
                "the monitor was made in another thread, which may be training now, and modes, hooks and random numbers are of all threads; make "
                "it, and let it measure, in the thread that trains"
            )
        objective = self._base.on(batch) if batch is not None else self._base.changed()
        known = self._rate
        try:
            known = known or step_size(self._optimizer, _trained(objective))
        except UserError as error:
            self._failed("learning_rate", error)
        return Situation(objective, known, self._spectra, tolerance=self._tolerance, strict=self._strict)

    def _moved(self, point: str) -> None:
        """Note once that steps were made and the measured parameters are where they were."""
        if (
            self._last is not None
            and self._last[1] == point
            and self._last[0] < self._called
            and _STILL not in [m.reason for m in self._notes]
        ):
            self._notes.append(Missing(self._step, "objective", "training", _STILL))
        self._last = self._called, point

    def _waited(self, training: bool) -> float:
        """The time once a device is done with what it was given; where that was training, it is counted as that."""
        before = time.perf_counter()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if training:
            self._schedule.waited(now - before)
        return now

    def _keep(self, record: Record) -> None:
        """Into memory, onto the disk, and to whoever draws it; a full disk stops nothing."""
        self._records[record.step, record.measure] = record
        for what, why in record.values["missing"].items():
            self._notes.append(Missing(record.step, record.measure, what, why))
        try:
            if self._out is not None:
                with self._out.open("a", encoding="utf-8", newline="\n") as file:
                    file.write(record.line())
            if self._tensorboard is not None:
                for tag, value in tables.scalars(record):
                    self._tensorboard.add_scalar(tag, value, record.step)
        except Exception as error:
            self._failed(record.measure, error, "output")

    def _failed(self, measure: str, error: Exception, what: str = "") -> None:
        """Raise what went wrong, or note it."""
        if self._strict:
            raise error
        self._notes.append(Missing(self._step, measure, what or measure, reason(error)))

    # -- what was found -----------------------------------------------------------------------------------------------------

    @property
    def records(self) -> tuple[Record, ...]:
        """Every measurement in the laboratory's format (:class:`bntheory.evidence.record.Record`), in their order."""
        return tuple(self._records.values())

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What could not be had, with the reason."""
        return tuple(self._notes)

    @property
    def cost(self) -> Cost:
        """What following has cost so far, beside the training."""
        return self._schedule.cost

    def rows(self, what: tables.What = "network") -> list[dict[str, Any]]:
        """One row a measured step ("network"), or one a step and layer ("layers"); None where there is no number."""
        return tables.rows(self.records, what)

    def to_pandas(self, what: tables.What = "network") -> Any:
        """:meth:`rows` as a pandas DataFrame. Raises ValueError where pandas is not installed."""
        return tables.to_pandas(self.rows(what))

    @checked
    def to_csv(self, path: str | Path, what: tables.What = "network") -> None:
        """:meth:`rows` as a CSV file; empty where there is no number."""
        tables.to_csv(self.rows(what), path)

    def figure(self) -> Any:
        """A matplotlib figure: curvature beside 2/eta and the twins, loss and gradient, the split of the layers against chance."""
        return monitor_figure(self.rows(), self.rows("layers"), self.name)

    def summary(self) -> str:
        """The last values, what following cost, and what is missing, in a few lines of at most 100 characters."""
        reasons = [(m.measure, m.what, m.reason) for m in self._notes]
        share = self._schedule.share if self._called >= self._schedule.every else None
        return tables.summary(self.name, self.rows(), self._called, str(self.cost), reasons, share=share)

    __str__ = summary


def _trained(objective: Objective) -> list[nn.Parameter]:
    """The user's own parameters that are differentiated by, also where others stand for them."""
    return [p for p in objective.network.parameters() if p.requires_grad]


def _base(model: Any, loss: Loss | None, batch: Any, options: dict[str, Any]) -> Objective:
    if isinstance(model, Objective):
        return Objective.of(model, loss, batch, **options)
    held = batch
    if batch is not None:
        read = read_batches(batch)
        copied = [convert(b, lambda t: t.detach().clone().requires_grad_(t.requires_grad)) for b in read]
        held = copied[0] if len(copied) == 1 else copied
    options = {"seed": 0, **options}
    return Objective.of(model, loss, held, **options)


def _chosen(measures: Sequence[str | Callable[[Objective], Any]]) -> dict[str, Measure]:
    if isinstance(measures, str):
        measures = [measures]
    found: dict[str, Measure] = {}
    columns = dict.fromkeys(tables.COLUMNS, "the monitor")
    for item in measures:
        if callable(item):
            name = getattr(item, "__name__", type(item).__name__)
            if name in found or name in MEASURES:
                raise UserError(
                    f"measures: two are called {name!r}; give this function a name of its own (def, or __name__)"
                )
            found[name] = of_user(item, name, columns)
        elif item in MEASURES:
            found[item] = MEASURES[item]
        else:
            raise UserError(
                f"measures: {item!r} is unknown; choose among {', '.join(MEASURES)}, or give a function of the objective"
            )
    if not found:
        raise UserError(f"measures: none is given; choose among {', '.join(MEASURES)}")
    return found


def _opened(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    path = Path(out)
    path = path if path.suffix == ".jsonl" else path / "records.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise UserError(f"out: {path} cannot be written ({error.strerror or error}); name another folder") from error
    return path
