"""The operators: Hessian, Gauss-Newton, Fisher and empirical Fisher of a network's loss on a batch.

The graph of the gradient is built once a batch and reused for every product. The model is left as it was, bit for
bit, also when building fails or is interrupted: everything happens inside :func:`isolated`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bntheory.bridge.curvature.isolation import MODES, Mode, captured, counted_calls, isolated
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.memory import MemoryEstimate
from bntheory.bridge.curvature.objective import Objective, batch_size, convert, read_batches
from bntheory.bridge.curvature.options import Options
from bntheory.bridge.curvature.preflight import (
    check_batches,
    check_determinism,
    check_memory,
    check_split,
)
from bntheory.bridge.curvature.products import (
    BatchProduct,
    EmpiricalFisherProduct,
    GaussNewtonProduct,
    HessianProduct,
)
from bntheory.bridge.curvature.reference import Normalisation
from bntheory.bridge.curvature.selection import Parameters, Selection, flatten, select, unflatten
from bntheory.errors import UserError

Kind = Literal["hessian", "gauss_newton", "fisher", "empirical_fisher"]


class CurvatureOperator(SymmetricOperator):
    """A curvature matrix of a loss, averaged over batches by their sizes. Made by :func:`hessian` and its siblings.

    Attributes: ``kind``, ``mode``, ``names`` and ``shapes`` of the variables in flat order, ``loss`` and ``gradient``
    (flat, detached) at ``point`` (the variables, flat), ``memory`` (the estimate), ``products`` (the number of products so far).
    """

    def __init__(
        self,
        kind: Kind,
        model: nn.Module | None,
        loss: Callable[..., Any],
        batch: Any,
        parameters: Parameters,
        o: Options,
    ) -> None:
        if o.mode not in MODES:
            raise UserError(f"mode is {o.mode!r}; it must be one of {', '.join(MODES)}")
        if o.normalisation not in ("native", "primitive"):
            raise UserError(f"normalisation is {o.normalisation!r}; it must be 'native' or 'primitive'")
        if model is None and o.mode not in ("train", "current"):
            raise UserError(f"mode={o.mode!r} needs the model whose modules are switched; model is None")
        batches = read_batches(batch, o.split)
        selection = select(model, parameters)
        if o.dtype is not None:
            model, batches, selection = _in_dtype(model, batches, selection, o.dtype)
        self.kind, self.mode, self.names = kind, o.mode, selection.names
        self._model, self._options, self._selection = model, o, selection
        self._objective, self._batches = Objective(model, loss), batches
        self._sizes = [batch_size(b) for b in batches]
        check_batches(model, o)
        self._recomputes = False
        self._versions: list[tuple[str, Tensor, int]] = []
        self._graphs: list[tuple[BatchProduct, list[Tensor]] | None] = []
        self.memory: MemoryEstimate = check_memory(self._build, model, batches, self._sizes, o)
        self._open(batch)

    def _open(self, batch: Any) -> None:
        loss, total, gradient = 0.0, sum(self._sizes), None
        tensors: list[Tensor] = []
        for item, size in zip(self._batches, self._sizes, strict=True):
            graph, tensors = self._build(item)
            loss += graph.loss * size / total
            flat = flatten(graph.gradient) * (size / total)
            gradient = flat if gradient is None else gradient + flat
            self._graphs.append((graph, tensors) if self._options.keep_graphs else None)
            if len(self._graphs) == 1:
                check_determinism(self._objective, item, graph.loss, self.kind, self._options)
        assert gradient is not None
        self.shapes = tuple(tuple(t.shape) for t in tensors)
        super().__init__(gradient.numel(), gradient.dtype, gradient.device)
        self.loss, self.gradient = loss, gradient
        self.point = flatten([t.detach() for t in tensors])
        if not bool(torch.isfinite(gradient).all()):
            raise UserError(
                "the gradient of the loss is not finite at this point, so the curvature is not either"
            )
        if self._options.split is not None and isinstance(batch, tuple) and not self._options.ghost_batches:
            check_split(self._objective, batch, loss, self._options)
        if self._model is not None:
            self._versions = [(name, p, p._version) for name, p in self._model.named_parameters()]

    def _build(self, batch: tuple[Any, ...] | None) -> tuple[BatchProduct, list[Tensor]]:
        with self._isolated(), ExitStack() as stack:
            activation = self._selection.activation
            found: list[Tensor] = []
            if activation is not None and self._model is not None:
                found = stack.enter_context(captured(self._model, activation))
            value, inner = self._forward(batch)
            tensors = list(self._selection.tensors)
            if activation is not None:
                if len(found) != 1:
                    raise UserError(
                        f"the module {activation.module!r} was called {len(found)} times in one forward pass; "
                        "an Activation has to be computed exactly once"
                    )
                tensors = found
            with counted_calls(self._model) as calls, self._explained(calls):
                graph: BatchProduct
                if self.kind == "hessian":
                    graph = HessianProduct(value, tensors, self.names)
                elif self.kind == "empirical_fisher":
                    graph = EmpiricalFisherProduct(value, tensors, self.names)
                else:
                    graph = GaussNewtonProduct(value, inner, tensors, self.names)
            self._recomputes = self._recomputes or calls[0] > 0
        return graph, tensors

    @contextmanager
    def _explained(self, calls: list[int]) -> Iterator[None]:
        """torch suspends the interception of functions during a backward pass, and with it in recomputed segments."""
        try:
            yield
        except RuntimeError as error:
            if calls[0] and (self.mode == "frozen" or self._options.normalisation == "primitive"):
                raise UserError(
                    "the model recomputes parts of its forward pass (activation checkpointing), which cannot be "
                    f"combined with mode={self.mode!r}, normalisation={self._options.normalisation!r}; switch the "
                    "checkpointing off for the measurement"
                ) from error
            raise

    def _forward(self, batch: tuple[Any, ...] | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What the product differentiates (loss, losses or outputs), and the loss as a function of the outputs."""
        objective = self._objective
        if self.kind == "hessian":
            return objective.value(batch), lambda outputs: outputs
        if batch is None:
            raise UserError(
                f"{self.kind} needs the outputs apart from the loss, and batch is None (a closure hides them); "
                "pass model, loss(outputs, *rest) and batch=(inputs, *rest)"
            )
        outputs = objective.outputs(batch)
        if self.kind == "empirical_fisher":
            return objective.loss(outputs, *batch[1:]), lambda losses: losses
        return outputs, lambda leaf: objective.value(batch, leaf)

    def _isolated(self) -> AbstractContextManager[None]:
        o = self._options
        return isolated(self._model, o.mode, normalisation=o.normalisation, dropout=o.dropout)

    def _product(self, v: Tensor) -> Tensor:
        if not self._graphs:
            raise UserError(
                "the operator is closed: its graphs are gone. Keep using it inside its `with` block"
            )
        for name, tensor, version in self._versions:
            if tensor._version != version:
                raise UserError(
                    f"parameter {name} was changed after the operator was built, whose graph belongs to the old "
                    "values; build the operator anew after every step"
                )
        total, result = sum(self._sizes), torch.zeros_like(v)
        for index, size in enumerate(self._sizes):
            held = self._graphs[index]
            graph, tensors = self._build(self._batches[index]) if held is None else held
            # checkpointed segments run forward again here, and have to see the mode that the graph was built in
            with self._isolated() if self._recomputes else nullcontext():
                pieces = graph(unflatten(v, tensors))
            if len(self._sizes) == 1:
                return flatten(pieces)
            result += flatten(pieces) * (size / total)
        return result

    def close(self) -> None:
        """Let go of the graphs; further products raise ValueError."""
        self._graphs = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hessian(
    model: nn.Module | None,
    loss: Callable[..., Any],
    batch: Any = None,
    *,
    parameters: Parameters = None,
    mode: Mode = "train",
    dtype: torch.dtype | None = None,
    normalisation: Normalisation = "native",
    dropout: Literal["refuse", "off"] = "refuse",
    split: int | None = None,
    ghost_batches: bool = False,
    keep_graphs: bool = True,
    memory_limit: float | None = None,
) -> CurvatureOperator:
    """The Hessian of ``loss(model(inputs), *rest)`` on ``batch = (inputs, *rest)``.

    Args:
        model: any module; it is left bit-identical. Inputs that are a tuple are spread, a dict is passed by name.
        loss: a function of the outputs and of whatever else the batch holds, averaged over examples; or, with
            ``batch=None``, a closure without arguments that returns the scalar.
        batch: one tuple, or a list (or unshuffled loader) of tuples, averaged by their sizes.
        parameters: ``None`` for all that require a gradient, names of parameters or modules, an
            :class:`Activation`, or a list of tensors.
        mode: ``"train"`` (statistics of the batch), ``"eval"`` (running statistics), ``"frozen"`` (statistics of
            this batch as constants: the frozen-statistics twin), ``"current"``.
        dtype: measure in this precision, on a converted copy of the model.
        normalisation: ``"primitive"`` writes batch, layer and group norm out in elementary operations: slower, and
            independent of torch's fused derivative formulas; also for ``eps = 0``.
        dropout: ``"off"`` switches dropout off for the measurement; active dropout is refused otherwise.
        split: cut each batch into pieces of this many examples, to save memory. Where batch statistics are used
            this is another function, and is refused unless ``ghost_batches=True`` asks for it by name.
        keep_graphs: ``False`` rebuilds each batch's graph at every product: memory of one batch, twice the time.
        memory_limit: bytes that the graphs may take; the free memory if ``None``, ``math.inf`` for no check.

    Raises ValueError for everything that would make the numbers meaningless, saying what to do.
    """
    options = Options(mode, dtype, normalisation, dropout, split, ghost_batches, keep_graphs, memory_limit)
    return CurvatureOperator("hessian", model, loss, batch, parameters, options)


def gauss_newton(
    model: nn.Module, loss: Callable[..., Any], batch: Any, *, parameters: Parameters = None, **options: Any
) -> CurvatureOperator:
    """The generalised Gauss-Newton matrix J' (d2 loss/d outputs2) J; arguments as for :func:`hessian`."""
    return CurvatureOperator("gauss_newton", model, loss, batch, parameters, Options(**options))


def empirical_fisher(
    model: nn.Module, losses: Callable[..., Any], batch: Any, *, parameters: Parameters = None, **options: Any
) -> CurvatureOperator:
    """(1/N) sum_i grad l_i grad l_i', with ``losses(outputs, *rest)`` of shape (N,). Not the Fisher matrix."""
    return CurvatureOperator("empirical_fisher", model, losses, batch, parameters, Options(**options))


def fisher(
    model: nn.Module,
    batch: Any,
    *,
    likelihood: Literal["categorical", "bernoulli", "gaussian"] = "categorical",
    parameters: Parameters = None,
    **options: Any,
) -> CurvatureOperator:
    """The true Fisher matrix of the predictive distribution, divided by the number of predictions.

    ``"categorical"``: outputs are logits of shape (N, C, ...). ``"bernoulli"``: logits of shape (N, ...), independent
    entries. ``"gaussian"``: means with unit variance. In each the log-likelihood has its natural parameters as
    outputs, so the expectation over the model's own labels is the Gauss-Newton matrix, exactly (Martens, New
    insights and perspectives on the natural gradient method, 2020, section 9). The targets in the batch enter only
    ``loss`` and ``gradient``.
    """
    if likelihood not in _LIKELIHOODS:
        raise UserError(f"likelihood is {likelihood!r}; it must be one of {', '.join(_LIKELIHOODS)}")
    return CurvatureOperator("fisher", model, _LIKELIHOODS[likelihood], batch, parameters, Options(**options))


def _gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum() / outputs.shape[0]


def _bernoulli(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="sum") / outputs.shape[0]


_LIKELIHOODS: dict[str, Callable[..., Tensor]] = {
    "categorical": functional.cross_entropy,
    "bernoulli": _bernoulli,
    "gaussian": _gaussian,
}


def _in_dtype(
    model: nn.Module | None, batches: list[tuple[Any, ...] | None], selection: Selection, dtype: torch.dtype
) -> tuple[nn.Module | None, list[tuple[Any, ...] | None], Selection]:
    if all(t.dtype == dtype for t in selection.tensors) and selection.activation is None:
        return model, batches, selection
    if model is None or any(b is None for b in batches):
        raise UserError(
            f"dtype={dtype} needs a model and a batch to convert; a closure fixes its own precision"
        )
    names = {id(p): name for name, p in model.named_parameters()}
    foreign = [n for n, t in zip(selection.names, selection.tensors, strict=True) if id(t) not in names]
    if foreign:
        raise UserError(f"dtype={dtype} converts a copy of the model, in which {foreign[0]} does not occur")
    twin = copy.deepcopy(model).to(dtype)
    by_name = dict(twin.named_parameters())
    tensors = tuple(by_name[names[id(t)]] for t in selection.tensors)
    converted = [None if b is None else convert(b, dtype) for b in batches]
    return twin, converted, Selection(selection.names, tensors, selection.activation)
