r"""Small regressors with optional batch normalisation between their stages, as landscapes.

A model that computes ``stage_1, stage_2, ..., prediction`` from a batch, each stage an array (samples, units), can have
every stage normalised over the samples, whether it is a neural network (deep linear) or not (tensor train, matrix
factorisation). Parameters are one flat float64 vector; the loss is ``mean((prediction - target)^2)/2``. Value,
gradient and Hessian products come from torch operations that know nothing of batch normalisation as a layer.

``frozen_twin(x)`` is the same model with the statistics of every normalisation held at their values at ``x``: equal
predictions and an equal loss there, and everything that differs in gradient and curvature is due to the statistics
depending on the parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.models.checks import checked
from bntheory.smoothness.autograd import TorchLandscape
from bntheory.smoothness.protocol import as_point

Statistics = tuple[tuple[Floats, Floats], ...]
"""For every normalised stage the mean and the standard deviation sqrt(var + eps), each of shape (units,)."""

Normalise = Callable[[Any], Any]


@checked()
class NormalisedRegressor(ABC):
    """Base class: a subclass names its parameters and computes its prediction.

    ``normalise``: whether each stage goes through BN with trainable gamma and beta. ``eps``: added to the variance
    (0 allowed; a constant unit is then an error). ``device``: a torch device name. The object is a
    :class:`~bntheory.smoothness.protocol.Landscape`.
    """

    def __init__(self, target: ArrayLike, *, normalise: bool, eps: float, device: str) -> None:
        if eps < 0:
            raise UserError(f"eps={eps}: must not be negative; it is added to a variance")
        self.normalise, self.eps, self.device = bool(normalise), float(eps), device
        self.target = np.asarray(target, dtype=np.float64)
        if self.target.size < 2 or not np.all(np.isfinite(self.target)):
            raise UserError(f"target of shape {self.target.shape}: needs at least two finite numbers")
        self._frozen: Statistics | None = None
        shapes = dict(self.weight_shapes())
        if self.normalise:
            for stage, units in enumerate(self.stage_units()):
                shapes[f"gamma{stage}"] = shapes[f"beta{stage}"] = (units,)
        self._shapes = shapes
        self._sizes = [math.prod(shape) for shape in shapes.values()]
        self._landscape = TorchLandscape(self._loss, sum(self._sizes), device=device)

    # what a subclass says

    @abstractmethod
    def weight_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the parameters, gamma and beta not included."""

    @abstractmethod
    def stage_units(self) -> Sequence[int]:
        """The number of units of every stage that can be normalised, in order."""

    @abstractmethod
    def forward(self, weights: Mapping[str, Any], normalise: Normalise) -> Any:
        """Prediction, shaped like the target, from torch tensors; calls ``normalise`` once on every stage."""

    @abstractmethod
    def initial_weights(self, rng: np.random.Generator) -> Mapping[str, Floats]:
        """A draw of the initial parameters, gamma and beta not included."""

    def stage_of(self, name: str) -> int:
        """The stage that a parameter belongs to, counted from 0: the number its name ends with, else the last one."""
        digits = name[len(name.rstrip("0123456789")) :]
        return int(digits) if digits else len(self.stage_units())

    # the landscape

    @property
    def dimension(self) -> int:
        """Number of parameters."""
        return self._landscape.dimension

    def value(self, x: Floats) -> float:
        """``mean((prediction - target)^2)/2``."""
        return self._landscape.value(x)

    def grad(self, x: Floats) -> Floats:
        """Gradient, shape (dimension,)."""
        return self._landscape.grad(x)

    def hvp(self, x: Floats, v: Floats) -> Floats:
        """Hessian at ``x`` times ``v``, shape (dimension,)."""
        return self._landscape.hvp(x, v)

    def value_and_grad(self, x: Floats) -> tuple[float, Floats]:
        """Value and gradient from one pass, without the graph that Hessian products need: several times cheaper."""
        import torch

        flat = torch.as_tensor(as_point(x, self.dimension), device=self.device).clone().requires_grad_(True)
        loss = self._loss(flat)
        (gradient,) = torch.autograd.grad(loss, flat)
        return float(loss.detach()), np.asarray(gradient.cpu().numpy())

    # parameters

    def initial(self, seed: int) -> Floats:
        """The initial flat vector for a seed; gamma starts at 1, beta at 0."""
        drawn = dict(self.initial_weights(np.random.default_rng(seed)))
        for name, shape in self._shapes.items():
            if name not in drawn:
                drawn[name] = np.full(shape, 1.0 if name.startswith("gamma") else 0.0)
        return self.flatten(drawn)

    def flatten(self, parameters: Mapping[str, Floats]) -> Floats:
        """Named arrays as one flat vector; raises ValueError for a missing name or a wrong shape."""
        parts = []
        for name, shape in self._shapes.items():
            if name not in parameters or np.shape(parameters[name]) != shape:
                found = np.shape(parameters[name]) if name in parameters else "nothing"
                raise UserError(f"parameters[{name!r}]: has shape {found}, needs {shape}")
            parts.append(np.asarray(parameters[name], dtype=np.float64).ravel())
        return np.concatenate(parts)

    def unflatten(self, x: Floats) -> dict[str, Floats]:
        """The named arrays of a flat vector."""
        pieces = np.split(as_point(x, self.dimension), np.cumsum(self._sizes)[:-1])
        return {name: p.reshape(shape) for (name, shape), p in zip(self._shapes.items(), pieces, strict=True)}

    # statistics and the frozen twin

    def predict(self, x: Floats) -> Floats:
        """The prediction at ``x``, shaped like the target."""
        import torch

        with torch.no_grad():
            flat = torch.as_tensor(as_point(x, self.dimension), device=self.device)
            return np.asarray(self._run(flat, []).cpu().numpy())

    def statistics(self, x: Floats) -> Statistics:
        """Mean and standard deviation of every normalised stage at ``x``; empty without normalisation."""
        import torch

        seen: list[tuple[Floats, Floats]] = []
        with torch.no_grad():
            self._run(torch.as_tensor(as_point(x, self.dimension), device=self.device), seen)
        return tuple(seen)

    def frozen_twin(self, x: Floats) -> NormalisedRegressor:
        """This model with its statistics held at their values at ``x``; raises ValueError without normalisation."""
        import copy

        if not self.normalise:
            raise UserError("normalise=False: a model without normalisation has no statistics to freeze")
        twin = copy.copy(self)
        twin._frozen = self.statistics(x)
        twin._landscape = TorchLandscape(twin._loss, self.dimension, device=self.device)
        return twin

    def _loss(self, flat: Any) -> Any:
        import torch

        target = torch.as_tensor(self.target, device=flat.device, dtype=flat.dtype)
        return ((self._run(flat, []) - target) ** 2).mean() / 2

    def _run(self, flat: Any, seen: list[tuple[Floats, Floats]]) -> Any:
        pieces = flat.split(self._sizes)
        named = {n: p.reshape(shape) for (n, shape), p in zip(self._shapes.items(), pieces, strict=True)}
        stage = 0

        def batch_norm(h: Any) -> Any:
            nonlocal stage
            if self._frozen is not None:
                import torch

                mean, deviation = (torch.as_tensor(a, device=h.device, dtype=h.dtype) for a in self._frozen[stage])
            else:
                mean = h.mean(dim=0)
                deviation = (((h - mean) ** 2).mean(dim=0) + self.eps).sqrt()
                if self.eps == 0 and bool((deviation == 0).any()):
                    raise UserError(
                        f"stage {stage}: a unit is constant over the batch and eps is 0, so it cannot be normalised; "
                        "use eps > 0 or another starting point"
                    )
            seen.append((mean.detach().cpu().numpy(), deviation.detach().cpu().numpy()))
            out = (h - mean) / deviation * named[f"gamma{stage}"] + named[f"beta{stage}"]
            stage += 1
            return out

        prediction = self.forward(named, batch_norm if self.normalise else lambda h: h)
        if self.normalise and stage != len(self.stage_units()):
            raise AssertionError(f"forward normalised {stage} stages, stage_units says {len(self.stage_units())}")
        return prediction
