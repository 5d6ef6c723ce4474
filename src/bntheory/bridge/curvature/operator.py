"""The operators: Hessian, Gauss-Newton, Fisher and empirical Fisher of a network's loss on a batch.

The graph of the gradient is built once a batch and reused for every product. The model is left as it was, bit for
bit, also when building fails or is interrupted: everything happens under the objective's conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal, Self

import torch
from torch import Tensor, finfo
from torch.nn import functional

from bntheory.bridge.arguments import checked
from bntheory.bridge.curvature.accumulation import norm
from bntheory.bridge.curvature.closed_forms import ClosedForms
from bntheory.bridge.curvature.linear import SymmetricOperator
from bntheory.bridge.curvature.memory import MemoryEstimate
from bntheory.bridge.curvature.options import Options
from bntheory.bridge.curvature.preflight import check_batches, check_derivatives, check_memory, check_split
from bntheory.bridge.curvature.products import BatchProduct, EmpiricalFisherProduct, GaussNewtonProduct, HessianProduct
from bntheory.bridge.curvature.rounding import Jitter
from bntheory.bridge.curvature.selection import Parameters, captured, differentiable, flatten, select, unflatten
from bntheory.bridge.explanation import explained
from bntheory.bridge.fences import differentiating
from bntheory.bridge.formulas import Normalisation
from bntheory.bridge.freezing import Freeze
from bntheory.bridge.networks.evaluation import call_loss, loss_input, scalar
from bntheory.bridge.objective import Dropout, Mode, Objective
from bntheory.errors import UserError

# Rounding of an eigenvalue in units of eps times the norm: 1 to 400 were seen, most in deep networks on few examples.
_MAGNIFIED = 1000.0
# From where the graph is so many times a vector on, products cost more than what a search does with vectors.
_WORTHWHILE = 10.0
# One random trial is taken for the largest of many by this factor.
_SEVERAL = 3.0

Kind = Literal["hessian", "gauss_newton", "fisher", "empirical_fisher"]


class CurvatureOperator(SymmetricOperator):
    """A curvature matrix of a loss, averaged over batches by their sizes. Made by :func:`hessian` and its siblings.

    Attributes: ``kind``, ``mode``, ``names`` and ``shapes`` of the variables in flat order, ``loss`` and ``gradient``
    (flat, detached) at ``point`` (the variables, flat), ``memory`` (the estimate), ``products`` (the number of products so far),
    ``unused`` (names of the model's parameters that the loss does not use: their rows are zero).
    """

    def __init__(self, kind: Kind, objective: Objective, parameters: Parameters, o: Options) -> None:
        if kind != "hessian" and objective.batches[0] is None:
            raise UserError(
                f"{kind} needs the outputs apart from the loss, and a closure hides them; pass model, loss(outputs, *rest) and "
                "batch=(inputs, *rest)"
            )
        selection = select(objective, parameters)
        if selection.activation is not None or not any(leaf.requires_grad for leaf in objective.leaves.values()):
            objective = differentiable(objective)
        self.kind, self.mode, self.names = kind, objective.mode, selection.names
        self.objective, self._options, self._selection, self._parameters = objective, o, selection, parameters
        check_derivatives(objective)
        check_batches(objective, o)
        self._weights = objective.weights
        self._rounding: float | None = None
        self._drowned = 0.0  # the measured rounding of products that are nothing else
        self._graphs: list[tuple[BatchProduct, list[Tensor]] | None] = []
        self.memory: MemoryEstimate = check_memory(objective, o)
        self._open()

    def _open(self) -> None:
        loss, gradient = 0.0, None
        tensors: list[Tensor] = []
        unused = frozenset(range(len(self.names)))
        for index, weight in enumerate(self._weights):
            graph, tensors = self._build(index)
            unused &= graph.unused
            loss += graph.loss * weight
            flat = flatten(graph.gradient) * weight
            gradient = flat if gradient is None else gradient + flat
            self._graphs.append((graph, tensors) if self._options.keep_graphs else None)
        assert gradient is not None
        self.shapes = tuple(tuple(t.shape) for t in tensors)
        self.unused = tuple(name for number, name in enumerate(self.names) if number in unused)
        if self.unused and (self._parameters is not None or len(unused) == len(self.names)):
            shown = ", ".join(self.unused[:5]) + (", ..." if len(unused) > 5 else "")
            raise UserError(
                f"parameter without gradient: the loss does not use {shown}. "
                "Leave it out of `parameters`, or put it back into the forward pass"
            )
        super().__init__(gradient.numel(), gradient.dtype, gradient.device)
        self.loss, self.gradient = loss, gradient
        self.point = flatten([t.detach() for t in tensors])
        if not bool(torch.isfinite(gradient).all()):
            raise UserError("the gradient of the loss is not finite at this point, so the curvature is not either")
        if self.objective.split is not None and not self._options.ghost_batches:
            check_split(self.objective, loss)
        self._unchanged = self.objective.unchanged("operator was built", "build the operator anew")

    def _build(self, index: int, mode: Jitter | None = None) -> tuple[BatchProduct, list[Tensor]]:
        objective, activation = self.objective, self._selection.activation
        closed = self.kind == "hessian" and objective.normalisation == "native" and not objective.differentiates
        with (
            objective.conditions(index, trace=ClosedForms(every=self._options.closed_forms) if closed else None),
            ExitStack() as stack,
        ):
            if mode is not None:
                stack.enter_context(mode)
            found: list[Tensor] = []
            if activation is not None:
                found = captured(objective.network, activation)
            value, inner = self._forward(index)
            tensors = list(self._selection.tensors)
            if activation is not None:
                if len(found) != 1:
                    raise UserError(
                        f"the module {activation.module!r} was called {len(found)} times in one forward pass; "
                        "an Activation has to be computed exactly once"
                    )
                tensors = found
            stack.enter_context(explained(objective, index, step="the first backward pass"))
            graph: BatchProduct
            if self.kind == "hessian":
                graph = HessianProduct(value, tensors, self.names)
            elif self.kind == "empirical_fisher":
                graph = EmpiricalFisherProduct(value, tensors, self.names)
            else:
                graph = GaussNewtonProduct(value, inner, tensors, self.names)
        return graph, tensors

    def _forward(self, index: int) -> tuple[Any, Callable[[Tensor], Tensor]]:
        """What the product differentiates (loss, losses or outputs), and the loss as a function of the outputs."""
        objective = self.objective
        if self.kind == "hessian":
            return objective.value(index), lambda outputs: outputs
        outputs = objective.outputs(index)
        if self.kind == "empirical_fisher":
            assert isinstance(objective.loss, _MeanOf)
            batch = objective.batches[index] or ()
            return call_loss(objective.loss.losses, outputs, batch[1:]), lambda losses: losses
        if objective.loss is not None:
            outputs = loss_input(objective.loss, outputs)
        return outputs, lambda leaf: scalar(objective.loss_of(leaf, index))

    def _product(self, v: Tensor) -> Tensor:
        if not self._graphs:
            raise UserError("the operator is closed: its graphs are gone. Keep using it inside its `with` block")
        self._unchanged.require()
        result: Tensor | None = None
        for index, weight in enumerate(self._weights):
            held = self._graphs[index]
            graph, tensors = self._build(index) if held is None else held
            with differentiating():
                product = flatten(graph(unflatten(v, tensors)))
            if len(self._weights) == 1:
                return product
            result = product * weight if result is None else result.add_(product, alpha=weight)
        assert result is not None
        return result

    def rounding(self, vector: Tensor, needed: float) -> float:
        """Measured from one more product on graphs of their own, where it might matter and there is memory for them."""
        known = _MAGNIFIED * float(finfo(self.dtype).eps)
        if self._drowned > 0:
            return self._drowned
        if known <= needed or self.dtype == torch.float64 or self.kind != "hessian" or not self._room_for_another():
            return known
        if self._rounding is None:
            self._rounding = self._measured_rounding(vector)
        return max(self._rounding, self.unit_rounding())

    def _room_for_another(self) -> bool:
        kept, free = self.memory.graph_bytes, self.memory.available_bytes
        return kept is None or free is None or 3 * kept <= free

    def _measured_rounding(self, vector: Tensor) -> float:
        """By how much other rounding errors move the product with this vector, relative to it."""
        moved, plain = torch.zeros_like(vector), self._product(vector)
        for index, weight in enumerate(self._weights):
            graph, tensors = self._build(index, Jitter())
            moved.add_(flatten(graph(unflatten(vector, tensors))), alpha=weight)
        size = norm(plain)
        return _SEVERAL * norm(moved.sub_(plain)) / size if size > 0 else 0.0

    def only_rounding(self) -> bool:
        """Measured: other rounding errors then move a product by as much as it is. Along an image, where a matrix has its large part."""
        image = self.apply(self.random_vector(torch.Generator().manual_seed(0)))
        size = norm(image)
        if not size > 0 or not self._room_for_another():
            return False
        moved = self._measured_rounding(image / size)
        self._drowned = moved if moved >= 1 else 0.0
        return moved >= 1

    def in_single_precision(self) -> CurvatureOperator | None:
        """The operator of the same model, loss and batches in float32; None where that cannot be built, or is at another point.

        None also where it would not pay, since a search spends its time with vectors and not with products (perceptrons on few examples).
        """
        kept = self.memory.graph_bytes
        if kept is not None and kept < _WORTHWHILE * self.size * self.dtype.itemsize:
            return None
        try:
            found = CurvatureOperator(
                self.kind, self.objective.changed(dtype=torch.float32), self._parameters, self._options
            )
        except (ValueError, RuntimeError):
            return None
        return found if torch.equal(found.point, self.point.to(found.point)) else None

    def close(self) -> None:
        """Let go of the graphs; further products raise ValueError."""
        self._graphs = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@checked
def hessian(
    model: Any,
    loss: Any = None,
    batch: Any = None,
    *,
    parameters: Parameters = None,
    mode: Mode | None = None,
    freeze: Freeze | None = None,
    dtype: torch.dtype | None = None,
    normalisation: Normalisation | None = None,
    dropout: Dropout | None = None,
    seed: int | None = None,
    split: int | None = None,
    examples: Sequence[int] | None = None,
    ghost_batches: bool = False,
    keep_graphs: bool = True,
    memory_limit: float | None = None,
    closed_forms: bool = True,
) -> CurvatureOperator:
    """The Hessian of ``loss(model(inputs), *rest)`` on ``batch = (inputs, *rest)``.

    What is detached counts as a constant, and a surrogate's derivative (a straight-through estimator) as that of what it stands for.

    Args:
        model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple. The loss is averaged
            over examples, several batches by their numbers of examples.
        parameters: ``None`` for all that require a gradient (``unused`` of the operator names those without a part in the loss, whose rows
            are zero), names of parameters or modules, an
            :class:`Activation`, or a list of tensors.
        mode: ``"train"`` (statistics of the batch), ``"eval"`` (running statistics), ``"frozen"`` (statistics of
            this batch as constants: the frozen-statistics twin), ``"current"``.
        freeze: with ``mode="frozen"``, ``"mean"`` or ``"variance"`` for a twin in which only that one is constant.
        dtype: measure in this precision: the model, the batch, the loss and every constant in them.
        normalisation: ``"primitive"`` writes batch, layer, group and instance norm out in elementary operations: slower, and
            independent of torch's fused derivative formulas; also for ``eps = 0``.
        dropout: ``"off"`` switches dropout off for the measurement; active dropout is refused otherwise.
        seed: holds random numbers fixed at those of this seed.
        split: cut each batch into pieces of this many examples, to save memory. Where batch statistics are used
            this is another function, and is refused unless ``ghost_batches=True`` asks for it by name.
        examples: the number of examples of each batch, where it cannot be told from the shapes.
        keep_graphs: ``False`` rebuilds each batch's graph at every product: memory of one batch, twice the time.
        memory_limit: bytes that the graphs may take; the free memory if ``None``, ``math.inf`` for no check.
        closed_forms: have the second backward pass of every convolution by its closed form, which is faster by a third and rounds
            otherwise than torch's; ``False`` that of large ones alone.

    Raises ValueError for everything that would make the numbers meaningless, saying what to do.
    """
    objective = Objective.of(
        model, loss, batch, mode=mode, freeze=freeze, dtype=dtype, normalisation=normalisation, dropout=dropout, seed=seed, split=split,
        examples=examples,
    )  # fmt: skip
    return CurvatureOperator(
        "hessian", objective, parameters, Options(ghost_batches, keep_graphs, memory_limit, closed_forms)
    )


def _separated(options: dict[str, Any]) -> tuple[dict[str, Any], Options]:
    """Options of the objective, and those of the operator."""
    own = {key: options.pop(key) for key in list(options) if key in Options.__dataclass_fields__}
    if "loss" in options:
        raise UserError(
            "loss is no argument here: empirical_fisher takes losses(outputs, *rest), one number an example, and fisher a likelihood"
        )
    return options, Options(**own)


@checked
def gauss_newton(
    model: Any, loss: Any = None, batch: Any = None, *, parameters: Parameters = None, **options: Any
) -> CurvatureOperator:
    """The generalised Gauss-Newton matrix J' (d2 loss/d outputs2) J; arguments as for :func:`hessian`."""
    rest, own = _separated(options)
    return CurvatureOperator("gauss_newton", Objective.of(model, loss, batch, **rest), parameters, own)


class _MeanOf:
    """The mean of one loss an example."""

    def __init__(self, losses: Callable[..., Any]) -> None:
        self.losses = losses

    def __call__(self, *arguments: Any) -> Any:
        found = self.losses(*arguments)
        return found.mean() if isinstance(found, Tensor) else found


@checked
def empirical_fisher(
    model: Any, losses: Any = None, batch: Any = None, *, parameters: Parameters = None, **options: Any
) -> CurvatureOperator:
    """(1/N) sum_i grad l_i grad l_i', with ``losses(outputs, *rest)`` of shape (N,). Not the Fisher matrix."""
    rest, own = _separated(options)
    objective = Objective.of(model, losses, batch, **rest)
    if objective.loss is None:
        raise UserError("losses is None; give losses(outputs, *rest), one number an example")
    return CurvatureOperator("empirical_fisher", objective.with_loss(_MeanOf(objective.loss)), parameters, own)


@checked
def fisher(
    model: Any,
    batch: Any = None,
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
    rest, own = _separated(options)
    given = isinstance(model, (Objective, tuple))
    objective = Objective.of(model, None if given else _LIKELIHOODS[likelihood], batch, **rest)
    return CurvatureOperator("fisher", objective.with_loss(_LIKELIHOODS[likelihood]), parameters, own)


def _gaussian(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * (outputs - targets).square().sum() / outputs.shape[0]


def _bernoulli(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="sum") / outputs.shape[0]


_LIKELIHOODS: dict[str, Callable[..., Tensor]] = {
    "categorical": functional.cross_entropy,
    "bernoulli": _bernoulli,
    "gaussian": _gaussian,
}
