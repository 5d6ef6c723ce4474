"""A network's loss on one batch as a scalar function of its flat parameter vector.

What lives here: the bridge from a module to :class:`bntheory.smoothness.protocol.Landscape`, so that every measure of
smoothness that is written once for functions applies to networks. What does not: the measures, and spectra of large
networks (``curvature``), which never build flat numpy vectors of second derivatives.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.networks.evaluation import Batch, Loss, evaluate, trainable
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.networks.twins import frozen_twin
from bntheory.smoothness.protocol import Vector, as_point

__all__ = ["NetworkLandscape", "network_landscape"]


class NetworkLandscape:
    """``value``, ``grad`` and ``hvp`` of ``loss(model(inputs), *targets)`` by all trainable parameters.

    Works on a copy of the model, so the model itself is never touched; modes are those of the model, and in training
    mode every point has the batch statistics of its own activations. Random layers draw the same numbers at every
    point. Points are flat float64 vectors in the order of ``model.named_parameters()``; second derivatives are taken
    by differentiating twice backward, the route that is right through fused normalisation.

    Args:
        batch: (inputs, *targets).
        dtype: converts the copy and the floating tensors of the batch; by default float64.

    Raises:
        ValueError: no trainable parameters; in the methods, a point of another length.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, batch: Batch, *, dtype: torch.dtype = torch.float64
    ) -> None:
        self._model = copy.deepcopy(model).to(dtype)
        self._loss, self._batch = loss, tuple(_converted(part, dtype) for part in batch)
        self._parameters = list(trainable(self._model).values())
        self._start = torch.nn.utils.parameters_to_vector(self._parameters).detach().double().cpu().numpy()
        self._at: Vector | None = None
        self._gradients: list[Tensor] = []

    @property
    def dimension(self) -> int:
        return int(self._start.size)

    @property
    def point(self) -> Vector:
        """Where the model is."""
        return self._start.copy()

    def value(self, x: Vector) -> float:
        """The loss at ``x``, shape (dimension,)."""
        self._move(x)
        with torch.no_grad(), state_guard(self._model, parameters=False):
            return float(evaluate(self._model, self._loss, self._batch))

    def grad(self, x: Vector) -> Vector:
        """The gradient at ``x``, shape (dimension,)."""
        return _flat(self._graph(x))

    def hvp(self, x: Vector, v: Vector) -> Vector:
        """The product of the Hessian at ``x`` with ``v``, shape (dimension,)."""
        direction = torch.from_numpy(as_point(v, self.dimension, "v")).to(self._parameters[0])
        parts = torch.split(direction, [p.numel() for p in self._parameters])
        gradients = self._graph(x)
        product = sum((g * d.reshape(g.shape)).sum() for g, d in zip(gradients, parts, strict=True))
        if not isinstance(product, Tensor) or not product.requires_grad:
            return np.zeros(self.dimension)  # the gradient does not depend on the parameters
        found = torch.autograd.grad(product, self._parameters, retain_graph=True, allow_unused=True)
        return _flat(
            [torch.zeros_like(p) if f is None else f for p, f in zip(self._parameters, found, strict=True)]
        )

    def _graph(self, x: Vector) -> list[Tensor]:
        """The gradients at ``x`` with their graph, built once a point."""
        if self._at is None or not np.array_equal(self._at, x):
            self._at = None
            self._move(x)
            with torch.enable_grad(), state_guard(self._model, parameters=False):
                value = evaluate(self._model, self._loss, self._batch)
                found = torch.autograd.grad(value, self._parameters, create_graph=True, allow_unused=True)
            self._gradients = [
                torch.zeros_like(p) if g is None else g for p, g in zip(self._parameters, found, strict=True)
            ]
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


def network_landscape(
    model: nn.Module,
    loss: Loss,
    batch: Batch,
    *,
    frozen: bool = False,
    dtype: torch.dtype = torch.float64,
) -> tuple[NetworkLandscape, Vector]:
    """The landscape of ``model`` in training mode, and the model's own parameters as its point.

    With ``frozen`` it is that of the frozen-statistics twin, whose statistics keep the values that they have at the
    model's own parameters. The model is left alone.

    Raises:
        ValueError: for a model without trainable parameters, and as :func:`frozen_twin`.
    """
    network = copy.deepcopy(model).to(dtype).train()
    if frozen:
        network = frozen_twin(network, _converted(batch[0], dtype))
    landscape = NetworkLandscape(network, loss, batch, dtype=dtype)
    return landscape, landscape.point


def _flat(tensors: list[Tensor]) -> Vector:
    return np.concatenate([t.detach().reshape(-1).double().cpu().numpy() for t in tensors])


def _converted(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _converted(item, dtype) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_converted(item, dtype) for item in value)
    return value
