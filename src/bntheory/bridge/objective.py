"""The one front door: a model, a loss and data as a function that is evaluated as it was asked for, and checked to be so.

Everything that measures a network receives an :class:`Objective` (or a triple that becomes one) and has no rules of its own for
calling, casting, copying, freezing, modes, randomness, or putting back. What lives here: evaluating. What is checked before a number
is returned is in :mod:`bntheory.bridge.examination`, the settings around an evaluation in :mod:`bntheory.bridge.fences`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bntheory.bridge.arguments import checked
from bntheory.bridge.examination import Examination, examine
from bntheory.bridge.explanation import compared, explained
from bntheory.bridge.fences import Precision, fenced
from bntheory.bridge.formulas import Normalisation as Formulas
from bntheory.bridge.formulas import primitive_normalisation
from bntheory.bridge.freezing import Constants, Freeze, freeze_in_place, observed, require_freezable
from bntheory.bridge.measured import MeasuredTensors, Unchanged
from bntheory.bridge.modes import Dropout, Mode, TwinOf, switch
from bntheory.bridge.networks.evaluation import (
    Loss,
    call_loss,
    call_model,
    closure_value,
    convert,
    example_counts,
    gradients_of,
    plain_storage,
    read_batches,
    scalar,
    spread_triple,
    tensors_in,
)
from bntheory.bridge.networks.generators import seed_generators
from bntheory.bridge.networks.keepers import keepers_of
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.normalisers import LOSS, Normalisation
from bntheory.errors import UserError

__all__ = ["Dropout", "Mode", "Objective"]


class Objective:
    """``loss(model(inputs), *rest)`` on one batch or the average over several, at the parameters that the model has.

    The model is left bit for bit as it was by everything that is done with an objective.

    Args:
        model: any module; compiled and parallel wrappers over one device are looked through, checkpointed segments run once.
            None with a closure that needs none.
        loss: a function of the outputs and of whatever else the batch holds; None where the outputs carry a ``loss``. Torch's own
            losses are given the ``logits`` of outputs that are no tensor. With ``batch=None``, ``loss(model)`` or ``loss()``.
        batch: a tuple ``(inputs, *rest)`` or a mapping of keyword arguments; a list or an unshuffled loader of them is several
            batches, averaged by their numbers of examples. Inputs that are a tuple are spread, a mapping is passed by name.
        dtype: measure in this precision, in the model, the batch, the loss and every constant that they use; the model's own if None.
        mode: "train" (every normalisation uses the statistics of its batch, whatever an override of ``train()`` does), "eval" (running
            statistics), "frozen" (statistics of the batch as constants: the twin), "current" (modes as they are).
        freeze: what "frozen" freezes: "both", "mean" or "variance".
        twin_of: with mode "frozen", the mode of the network whose statistics are frozen; "train" if None.
        normalisation: "native", or "primitive" for normalisation written out in elementary operations (always where the model or the
            loss takes derivatives itself: torch's fused formulas are not right beyond the second).
        dropout: "refuse" a loss that draws random numbers, "off" to switch dropout off, "drawn" to let every evaluation draw from
            the generators as they stand.
        seed: hold random numbers fixed: every evaluation draws those of this seed. The loss is then one function.
        split: pieces of this many examples. examples: the number of examples of each batch, where it cannot be told from its shapes.
        private: measure parameters of its own (a copy of the tensors, not of the model), so that points may be moved freely.

    Raises ValueError for everything that would make the numbers meaningless, naming what and where.
    """

    @checked
    def __init__(
        self,
        model: nn.Module | None,
        loss: Loss | None,
        batch: Any = None,
        *,
        dtype: torch.dtype | None = None,
        mode: Mode = "train",
        freeze: Freeze = "both",
        twin_of: TwinOf | None = None,
        normalisation: Formulas = "native",
        dropout: Dropout = "refuse",
        seed: int | None = None,
        split: int | None = None,
        examples: Sequence[int] | None = None,
        private: bool = False,
    ) -> None:
        if model is None and mode not in ("train", "current"):
            raise UserError(f"mode={mode!r} needs the model whose modules are switched; model is None")
        if dtype is not None and not dtype.is_floating_point:
            raise UserError(
                f"dtype is {dtype}; derivatives need a real floating precision, torch.float32 or torch.float64"
            )
        if seed is not None and not -(2**63) <= seed < 2**64:
            raise UserError(f"seed is {seed}; torch's generators take 64 bits")
        if batch is None and (loss is None or (dtype is not None and model is None)):
            raise UserError(
                "without a batch, loss is a closure over its own data, and model what it depends on: one is missing"
            )
        self.model, self.loss, self.mode, self.freeze, self.twin_of = model, loss, mode, freeze, twin_of
        self.dtype, self.normalisation, self.dropout = dtype, normalisation, dropout
        self.seed, self.split, self._examples = seed, split, examples
        self._options: dict[str, Any] = {
            "dtype": dtype, "mode": mode, "freeze": freeze, "twin_of": twin_of, "normalisation": normalisation, "dropout": dropout,
            "seed": seed, "split": split, "examples": examples, "private": private,
        }  # fmt: skip
        self._given = batch
        if batch is not None and not isinstance(batch, (tuple, list, Mapping)):
            once = read_batches(batch)  # a loader is read once, so that the same data is met again
            self._given = once if len(once) != 1 else once[0]
        self.batches = [self._prepared(b) for b in self.plain_batches()]
        self._constants, self._caller = dict[int, dict[str, list[Constants | None]]](), _LossCall()
        self.examinations: list[Examination] = []  # of each batch, once it is checked
        self.overwrites_inputs = self.differentiates = self.needs_graph = False  # until an examination finds otherwise
        with torch.inference_mode(False):
            self.tensors = MeasuredTensors(model, dtype, private)
        self._inner, self.prefix, self.leaves = self.tensors.network, self.tensors.prefix, self.tensors.leaves
        self.keepers = [keeper for keeper in keepers_of(loss, self._inner) if keeper is not self._inner]
        self.precision = self.tensors.precision

    @classmethod
    def of(cls, model: Any, loss: Any = None, batch: Any = None, **options: Any) -> Objective:
        """An objective, a triple (model, loss, batch), or the three: as an objective with these options where they are given."""
        model, loss, batch = spread_triple(model, loss, batch)
        given = {key: value for key, value in options.items() if value is not None}
        mode = given.get("mode", model.mode if isinstance(model, cls) else "train")
        if "freeze" in given and mode != "frozen":
            raise UserError(
                f"freeze={given['freeze']!r} says what mode='frozen' holds constant, and the mode is {mode!r}, in which nothing is: give both, "
                "or neither"
            )
        if not isinstance(model, cls):
            return cls(model, loss, batch, **given)
        if loss is not None or batch is not None:
            raise UserError("an Objective already holds its loss and its batch; give it alone, or give all three")
        return model.changed(**given) if any(model._options.get(key) != v for key, v in given.items()) else model

    def changed(self, **options: Any) -> Objective:
        """The same model, loss and data, evaluated with other options, at the parameters that the model has now."""
        return Objective(self.model, self.loss, self._given, **{**self._options, **options})

    def with_loss(self, loss: Loss) -> Objective:
        """The same model, data and options with another loss."""
        return Objective(self.model, loss, self._given, **self._options)

    def on(self, batch: Any) -> Objective:
        """The same model, loss and options on another batch."""
        return Objective(self.model, self.loss, batch, **{**self._options, "examples": None})

    @checked
    def single(self, index: int) -> Objective:
        """The same objective on one of its batches alone."""
        if len(self.batches) == 1:
            return self
        alone = {**self._options, "examples": None, "split": None}
        return Objective(self.model, self.loss, self.batches[index], **alone)

    def twin(self, freeze: Freeze = "both") -> Objective:
        """The frozen-statistics twin: constants in place of the batch's mean, scale, or both, of where the model is when it is first asked."""
        of = self.twin_of if self.mode == "frozen" else None if self.mode == "train" else self.mode
        return self.changed(mode="frozen", freeze=freeze, twin_of=of)

    def plain_batches(self) -> list[tuple[Any, ...] | None]:
        """The batches as the user gave them."""
        return read_batches(self._given, self.split)

    @property
    def options(self) -> dict[str, Any]:
        """How it is evaluated: the keyword arguments that it was made with."""
        return dict(self._options)

    # -- what is measured ------------------------------------------------------------------------------------------

    def _prepared(self, batch: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        def change(tensor: Tensor) -> Tensor:
            with torch.inference_mode(False):
                tensor = tensor.clone() if tensor.is_inference() else tensor
                return tensor if self.dtype is None or not tensor.is_floating_point() else tensor.to(self.dtype)

        return None if batch is None else convert(batch, change)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The measured parameters that require a gradient, by name; shared ones once. Raises ValueError if there are none."""
        return self.tensors.trainable()

    def measured(self, tensor: Tensor) -> Tensor:
        """What is measured in place of a tensor of the user's: itself, or its stand-in."""
        return self.tensors.measured(tensor)

    def unchanged(self, what: str, again: str) -> Unchanged:
        """A guard of the graphs that are built now: it refuses what is taken from them once a parameter or the batch is changed."""
        tensors = [(f"parameter {name}", p) for name, p in self.leaves.items()]
        tensors += [(f"batch[{i}]", t) for i, batch in enumerate(self.batches) for t in tensors_in(batch or ())]
        return Unchanged(tensors, what, again)

    def named_modules(self) -> dict[str, nn.Module]:
        """The modules that are evaluated, by the names that results use."""
        return dict(self._inner.named_modules())

    @property
    def network(self) -> nn.Module:
        """The module that is evaluated: the user's, without compiled or parallel wrappers."""
        return self._inner

    # -- evaluating ------------------------------------------------------------------------------------------------

    @contextmanager
    def conditions(
        self, index: int = 0, *, frozen: bool = True, reseed: int | None = None, trace: TorchFunctionMode | None = None
    ) -> Iterator[None]:
        """Context in which the model is what is measured on batch ``index``; afterwards everything is as it was.

        trace: follows the forward pass. It sees each call behind the full cast, and before it is written out in primitive operations.
        """
        constants = self.constants(index) if self.mode == "frozen" and frozen else None
        guarded = (self._inner, self._caller, *self.keepers)
        mode = self.mode if self.mode != "frozen" else self.twin_of or "train"
        with ExitStack() as stack:
            stack.enter_context(compared(self, index))
            stack.enter_context(fenced(self.precision, self.tensors.own, compiled=self.tensors.compiled))
            stack.enter_context(state_guard(*guarded, parameters=False))
            switch(self._inner, mode, self.dropout, fixed=self.seed is not None)
            self.tensors.install(*self.keepers)
            if constants is not None:
                freeze_in_place(self._freezable(constants), constants, self.examinations[index].by_hand, self.freeze)
            if self.normalisation == "primitive" or self.differentiates:
                stack.enter_context(primitive_normalisation())
            seed = reseed if self.seed is None else self.seed + index
            if seed is not None:
                seed_generators(seed, *guarded if self.seed is None else ())
            if trace is not None:
                stack.enter_context(trace)
            stack.enter_context(Precision(self.tensors.stand_ins, self.tensors.cast, self.tensors.own))
            yield

    def outputs(self, index: int = 0) -> Any:
        """The model's outputs on a batch, inside :meth:`conditions`."""
        batch = self.batches[index]
        if batch is None or self.model is None:
            raise UserError(
                "the outputs are needed apart from the loss, and a closure hides them; pass model, loss(outputs, *rest) and "
                "batch=(inputs, *rest)"
            )
        with explained(self, index):
            own = self.overwrites_inputs
            inputs = convert(batch[0], lambda t: t.clone() if own and plain_storage(t) else t)
            return call_model(self._inner, inputs)

    def loss_of(self, outputs: Any, index: int = 0) -> Any:
        """What the loss returns for these outputs, inside :meth:`conditions`."""
        batch = self.batches[index]
        assert batch is not None
        with explained(self, index, outputs, step="the loss"):
            return self._caller(call_loss, self.loss, outputs, batch[1:])

    def value(self, index: int = 0) -> Tensor:
        """The scalar loss on a batch as a tensor of the graph, inside :meth:`conditions`; it may be infinite."""
        if self.batches[index] is None:
            assert self.loss is not None
            with explained(self, index, step="the loss"):
                of = None if self.model is None else self._inner
                return scalar(self._caller(closure_value, of, self.loss))
        return scalar(self.loss_of(self.outputs(index), index))

    @property
    def weights(self) -> list[float]:
        """The share of each batch in the average: its examples over all examples."""
        counts = example_counts(self.batches, self.named_modules(), self._examples)
        return [count / sum(counts) for count in counts]

    def loss_value(self) -> float:
        """The loss, averaged over the batches; no graph is kept. Infinite or NaN where it overflows."""
        self.check()  # what is asked for is checked first
        total = 0.0
        for index, weight in enumerate(self.weights):
            with self.conditions(index), self.without_graph():
                total += weight * float(self.value(index).detach())
        return total

    def without_graph(self) -> AbstractContextManager[Any]:
        """Context for a value alone: no graph is kept, unless the model or the loss takes derivatives itself or hangs hooks on tensors."""
        self.check()
        return torch.enable_grad() if self.differentiates or self.needs_graph else torch.no_grad()

    @checked
    def loss_and_gradients(self, wanted: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """The loss and its gradients (detached, dense, zeros where unused), averaged over the batches."""
        self.check()
        tensors = list(self.parameters.values()) if wanted is None else [self.measured(t) for t in wanted]
        loss: Tensor | None = None
        total: list[Tensor] = []
        for index, weight in enumerate(self.weights):
            with self.conditions(index):
                found = self.value(index)
                with explained(self, index, step="the first backward pass"):
                    value, gradients = gradients_of(found, tensors)
            if len(self.batches) == 1:
                return value, gradients
            loss = value * weight if loss is None else loss + value * weight
            scaled = [g * weight for g in gradients]
            total = scaled if not total else [a + b for a, b in zip(total, scaled, strict=True)]
        assert loss is not None
        return loss, total

    @contextmanager
    def movable(self) -> Iterator[Self]:
        """Context in which the measured parameters may be changed in place; afterwards they have their values again."""
        self.check()  # the constants of a twin are those of the point where it begins
        if not self.tensors.stand_ins:
            with state_guard(self._inner):
                yield self
            return
        before = [(leaf, leaf.detach().clone()) for leaf in {id(t): t for t in self.leaves.values()}.values()]
        try:
            yield self
        finally:
            with torch.no_grad():
                for leaf, values in before:
                    leaf.copy_(values)

    # -- what was found about it -------------------------------------------------------------------------------------

    @cached_property
    def examination(self) -> Examination:
        """The first evaluation of each batch, in which everything that was asked for is checked; made once. Raises ValueError for what fails."""
        try:
            return examine(self)
        except BaseException:
            self.__dict__.pop("examination", None)  # asked again, it fails again
            self._constants.clear()
            raise

    def check(self) -> None:
        """Raise ValueError where something that was asked for cannot be had."""
        _ = self.examination

    @property
    def normalisations(self) -> tuple[Normalisation, ...]:
        """Every normalisation of the forward pass, in the order of the calls: measured or left out."""
        return self.examination.normalisations

    def constants(self, index: int = 0) -> dict[str, list[Constants | None]]:
        """Mean and scale of each layer that normalises over the batch, on batch ``index``: by module, one entry a call.

        Taken where the model was when they were first asked for, and kept. Raises ValueError where there is no such layer.
        """
        if index not in self._constants:
            require_freezable(self.normalisations, self.examination.over_the_batch)
            here = self.examinations[index]
            graph = torch.enable_grad() if here.weights else self.without_graph()  # by which weights are told
            with self.conditions(index, frozen=False), graph:
                kept, stop = observed(self._freezable(here.over_the_batch), here.by_hand, here.weights)
                try:
                    self.value(index)  # the loss may call the model, or a normalisation, itself
                finally:
                    stop()
            self._constants[index] = kept
        return self._constants[index]

    def _freezable(self, names: Iterable[str]) -> dict[str, nn.Module]:
        """The modules of these names; for normalisation inside the loss, the module that calls the loss."""
        modules = {**self.named_modules(), LOSS: self._caller}
        return {name: modules[name] for name in names}


class _LossCall(nn.Module):
    """Calls a loss, so that normalisation over the batch inside of it can be frozen as that of any module."""

    def forward(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)
