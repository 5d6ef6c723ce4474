"""A network's loss as a scalar function of its flat parameter vector.

What lives here: the bridge from an objective to :class:`bntheory.smoothness.protocol.Landscape`, so that every measure of
smoothness that is written once for functions applies to networks. What does not: the measures, and spectra of large
networks (``curvature``), which never build flat numpy vectors of second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bntheory.bridge.arguments import checked
from bntheory.bridge.custom_functions import check_custom_functions
from bntheory.bridge.explanation import first_backward, second_backward
from bntheory.bridge.fences import differentiating
from bntheory.bridge.objective import Objective
from bntheory.smoothness.protocol import Vector, as_point


class NetworkLandscape:
    """``value``, ``grad`` and ``hvp`` of an objective by all its trainable parameters.

    Works on parameters of its own, so the model itself is never touched; in training mode every point has the batch statistics of
    its own activations, and in mode "frozen" those that the model has where it is. Points are flat float64 vectors in the order of
    ``model.named_parameters()``; second derivatives are taken by differentiating twice backward, the route that is right through
    fused normalisation.

    Args:
        model, loss, batch: as of :class:`bntheory.bridge.Objective`, which may be given itself, as may a triple.
        dtype: by default float64. options: of the objective.

    Raises:
        ValueError: no trainable parameters; in the methods, a point of another length.
    """

    @checked
    def __init__(
        self, model: Any, loss: Any = None, batch: Any = None, *, dtype: torch.dtype = torch.float64, **options: Any
    ) -> None:
        self.objective = Objective.of(model, loss, batch, dtype=dtype, private=True, **options)
        self._parameters = list(self.objective.parameters.values())
        self._start = _flat(self._parameters)
        self._at: Vector | None = None
        self._gradients: list[Tensor] = []
        self._known: dict[str, Any] = {}
        self._latest: tuple[Vector, float] | None = None  # of the last gradient
        self.objective.check()  # constants of a twin are those of the model's own point

    @property
    def dimension(self) -> int:
        return int(self._start.size)

    @property
    def point(self) -> Vector:
        """Where the model is."""
        return self._start.copy()

    def value(self, x: Vector) -> float:
        """The loss at ``x``, shape (dimension,)."""
        if self._latest is not None and np.array_equal(self._latest[0], x):
            return self._latest[1]
        found: float = self._at_start("value", x, lambda: self.objective.loss_value())
        return found

    def know(self, value: float, gradient: Tensor) -> None:
        """Value and gradient where the model is, measured elsewhere."""
        self._known.update(value=value, grad=gradient.detach().double().cpu().numpy())

    def grad(self, x: Vector) -> Vector:
        """The gradient at ``x``, shape (dimension,)."""
        if self._at is not None and np.array_equal(self._at, x):
            return _flat(self._gradients)

        def both() -> Vector:
            value, gradients = self.objective.loss_and_gradients(self._parameters)
            if np.array_equal(x, self._start):
                self._known["value"] = float(value)
            else:
                self._latest = np.array(x, dtype=np.float64), float(value)
            return _flat(gradients)

        found: Vector = self._at_start("grad", x, both)
        return found

    def _at_start(self, what: str, x: Vector, measure: Callable[[], Any]) -> Any:
        """Measured at x; once only where the model is, from where every measure starts."""
        here = np.array_equal(x, self._start)
        if here and what in self._known:
            return self._known[what]
        self._move(x)
        found = measure()
        if here:
            self._known[what] = found
        return found

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """The product of the Hessian at ``x`` with ``v``, shape (dimension,)."""
        direction = torch.from_numpy(as_point(v, self.dimension, "v")).to(self._parameters[0])
        parts = torch.split(direction, [p.numel() for p in self._parameters])
        if "second order" not in self._known:
            check_custom_functions(self.objective)
            self._known["second order"] = True
        gradients = self._graph(x)
        with differentiating():
            product = sum((g * d.reshape(g.shape)).sum() for g, d in zip(gradients, parts, strict=True))
            if not isinstance(product, Tensor) or not product.requires_grad:
                return np.zeros(self.dimension)  # the gradient does not depend on the parameters
            found = second_backward([product], self._parameters, [torch.ones_like(product)])
        return _flat([torch.zeros_like(p) if f is None else f for p, f in zip(self._parameters, found, strict=True)])

    def _graph(self, x: Vector) -> list[Tensor]:
        """The gradients at ``x`` with their graph, built once a point."""
        if self._at is None or not np.array_equal(self._at, x):
            self._at = None
            self._move(x)
            total: list[Tensor] = [torch.zeros_like(p) for p in self._parameters]
            for index, weight in enumerate(self.objective.weights):
                with self.objective.conditions(index):
                    value = self.objective.value(index) * weight
                    found = first_backward(self.objective, value, self._parameters, index)
                total = [t if g is None else t + g for t, g in zip(total, found, strict=True)]
            self._gradients = total
            self._at = np.array(x, dtype=np.float64)
        return self._gradients

    @torch.no_grad()
    def _move(self, x: Vector) -> None:
        point = as_point(x, self.dimension)
        if self._at is not None and not np.array_equal(self._at, point):
            # the graph belongs to the parameters, which are about to change
            self._at, self._gradients = None, []
        if self._at is None:
            flat = torch.from_numpy(point).to(self._parameters[0])
            parts = torch.split(flat, [p.numel() for p in self._parameters])
            for p, part in zip(self._parameters, parts, strict=True):
                p.copy_(part.reshape(p.shape))


def _flat(tensors: list[Tensor]) -> Vector:
    return np.concatenate([t.detach().reshape(-1).double().cpu().numpy() for t in tensors])


@dataclass(frozen=True)
class NetworkProbe:
    """Raw and scale-free measures of the loss in all parameters at one point. None: not to be had, for the reason in ``missing``.

    single_products: of the eigenvalue, those in float32, with which a search in float64 begins; ``products`` does not count them.
    note: of the eigenvalue, why its tolerance was not reached and what to do; empty where it was.
    """

    loss: float
    gradient_norm: float
    lambda_max: float | None = None
    lambda_max_error: float | None = None
    relative_curvature: float | None = None
    linearity_error: float | None = None
    trust_fraction: float | None = None
    gradient_cosine: float | None = None
    products: int = 0
    single_products: int = 0
    note: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
