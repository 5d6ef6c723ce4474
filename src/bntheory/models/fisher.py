r"""The largest eigenvalue of the Fisher matrix of random networks, and how it grows with the width (Karakida 2019).

For outputs ``f_k(n)`` (sample ``n``, unit ``k``) the empirical Fisher matrix of a regression model is
``F = (1/N) sum_nk grad f_k(n) grad f_k(n)'``. It shares its non-zero eigenvalues with the *dual* ``(1/N) J J'``, of
size ``N C`` instead of the number of parameters, ``J`` the Jacobian of the outputs with respect to all weights and
biases. Where samples do not meet inside the network the dual is a sum over layers of elementwise products of two Gram
matrices; with batch normalisation inside, products with ``J`` and ``J'`` are one tangent and one backward pass.

Normalising the *output* is a linear map ``T`` on the left of ``J`` at the given weights (the tangent map of mean
subtraction, of batch normalisation or of layer normalisation), so its dual is ``T (1/N) J J' T'``.

Why the width enters: entries of ``J J'`` for two different samples are of order ``M`` (width) with a common mean, as
long as the activations have a mean (ReLU) or there are biases; ``F`` then has the eigenvalue ``(mean) M`` along the
constant function, whatever the number of samples. Subtracting the output's mean over the samples projects exactly
that direction away. What remains depends on how ``N`` grows: with ``N`` fixed it is still of order ``M/N``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from bntheory.arrays import Floats
from bntheory.errors import UserError
from bntheory.evidence.progress import Progress, silent
from bntheory.models.activations import Activation, activation
from bntheory.models.checks import at_least, checked
from bntheory.models.standardisation import standardise, standardise_derivative
from bntheory.smoothness.eigenpairs import lanczos

Hidden = Literal["none", "batch-norm", "layer-norm"]
Output = Literal["none", "mean", "batch-norm", "layer-norm"]
_DENSE = 200  # up to this size a full eigenvalue solver is faster than Lanczos


@dataclass(frozen=True)
class RandomNetwork:
    """A fully connected network at random weights together with its batch, linearised there.

    ``inputs`` (N, d); ``weights[l]`` (units, units below) with variance ``weight_variance/fan-in``, ``biases[l]``
    (units,) with variance ``bias_variance``; the last layer is linear. ``hidden`` normalises the pre-activations of
    every hidden layer over the batch or over the units (eps = 0, no affine parameters).
    """

    inputs: Floats
    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    act: Activation
    hidden: Hidden = "none"
    _layers: list[tuple[Floats, Floats, Floats, Floats]] = field(default_factory=list, repr=False)

    @classmethod
    @checked()
    def draw(
        cls,
        rng: np.random.Generator,
        *,
        samples: int,
        input_dimension: int,
        width: int,
        hidden_layers: int = 2,
        outputs: int = 1,
        act: str = "relu",
        weight_variance: float = 2.0,
        bias_variance: float = 0.0,
        hidden: Hidden = "none",
    ) -> RandomNetwork:
        """Weights, biases and standard Gaussian inputs from ``rng``."""
        at_least(3, samples=samples, width=width)
        at_least(1, input_dimension=input_dimension, hidden_layers=hidden_layers, outputs=outputs)
        if not (weight_variance > 0 and bias_variance >= 0):
            raise UserError(
                f"weight_variance={weight_variance}, bias_variance={bias_variance}: the first must be positive, the "
                "second not negative"
            )
        if hidden not in ("none", "batch-norm", "layer-norm"):
            raise UserError(f"hidden={hidden!r}: must be 'none', 'batch-norm' or 'layer-norm'")
        sizes = [input_dimension, *[width] * hidden_layers, outputs]
        weights, biases = [], []
        for below, above in pairwise(sizes):
            weights.append(rng.standard_normal((above, below)) * math.sqrt(weight_variance / below))
            biases.append(rng.standard_normal(above) * math.sqrt(bias_variance))
        inputs = rng.standard_normal((samples, input_dimension))
        return cls(inputs, tuple(weights), tuple(biases), activation(act), hidden)

    @property
    def samples(self) -> int:
        """N."""
        return int(self.inputs.shape[0])

    @property
    def outputs(self) -> int:
        """C."""
        return int(self.weights[-1].shape[0])

    @property
    def axis(self) -> int:
        """The axis over which hidden layers are normalised: 0 the batch, 1 the units."""
        return 0 if self.hidden == "batch-norm" else 1

    def forward(self) -> Floats:
        """Outputs (N, C); keeps what the derivative passes need."""
        self._layers.clear()
        x = self.inputs
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = x @ w.T + b
            t, scale = (h, np.ones((1, 1))) if self.hidden == "none" else standardise(h, self.axis)
            self._layers.append((x, t, scale, self.act.derivative(t)))
            x = self.act.value(t)
        self._layers.append((x, np.empty(0), np.empty(0), np.empty(0)))
        return np.asarray(x @ self.weights[-1].T + self.biases[-1])

    def backward(self, cotangent: Floats) -> list[tuple[Floats, Floats]]:
        """``J' c`` for ``c`` (N, C): gradients (weight, bias) layer by layer."""
        gradients = []
        delta = cotangent
        for level in reversed(range(len(self.weights))):
            gradients.append((delta.T @ self._layers[level][0], delta.sum(axis=0)))
            if level:
                delta = self._down(delta @ self.weights[level], level - 1)
        return gradients[::-1]

    def tangent(self, direction: list[tuple[Floats, Floats]]) -> Floats:
        """``J d`` (N, C) for a direction ``d`` given like :meth:`backward` returns gradients."""
        dx: Floats | None = None
        for level, (dw, db) in enumerate(direction):
            x, t, scale, slope = self._layers[level]
            dh = x @ dw.T + db
            if dx is not None:
                dh = dh + dx @ self.weights[level].T
            if level == len(direction) - 1:
                return np.asarray(dh)
            dx = slope * (dh if self.hidden == "none" else standardise_derivative(dh, t, scale, self.axis))
        raise AssertionError("a network has a last layer")

    def dual(self) -> Floats:
        """``(1/N) J J'``, shape (N C, N C), sample-major; only without batch normalisation inside."""
        if self.hidden == "batch-norm":
            raise UserError("hidden='batch-norm' couples the samples, so J J' does not factorise; use the products")
        n, c = self.samples, self.outputs
        delta = np.tile(np.eye(c), (n, 1))
        total = np.zeros((n * c, n * c))
        for level in reversed(range(len(self.weights))):
            x = self._layers[level][0]
            total += (delta @ delta.T) * np.repeat(np.repeat(x @ x.T + 1.0, c, axis=0), c, axis=1)
            if level:
                delta = self._down(delta @ self.weights[level], level - 1, repeat=c)
        return total / n

    def _down(self, delta: Floats, level: int, repeat: int = 1) -> Floats:
        """A cotangent of a layer's activations made one of its pre-activations; rows may repeat samples."""
        _, t, scale, slope = self._layers[level]
        if self.hidden == "none":
            return np.asarray(delta * np.repeat(slope, repeat, axis=0))
        if self.hidden == "layer-norm":
            t, scale, slope = (np.repeat(a, repeat, axis=0) for a in (t, scale, slope))
        return standardise_derivative(delta * slope, t, scale, self.axis)


@dataclass(frozen=True)
class TopEigenvalue:
    """The largest eigenvalue of a Fisher matrix."""

    value: float
    residual: float  # ||F* v - value v|| for the unit eigenvector v of the dual
    products: int  # products with the dual (0: it was formed)


@checked()
def top_eigenvalue(network: RandomNetwork, output: Output = "none", *, tolerance: float = 1e-6) -> TopEigenvalue:
    """Largest eigenvalue of the Fisher matrix of ``network`` with its output normalised as ``output`` says.

    ``"mean"`` subtracts each output's mean over the samples, ``"batch-norm"`` divides by its deviation too,
    ``"layer-norm"`` standardises the outputs of each sample (needs at least 3 of them). The relative ``tolerance``
    is that of the Lanczos iteration; the dual is formed unless samples are coupled, and solved directly if small.
    """
    from scipy.linalg import eigh

    values = network.forward()
    n, c = values.shape
    normalise = _output_map(values, output)
    size, count = n * c, 0
    dual: Floats | None = None
    if network.hidden != "batch-norm":
        dual = network.dual()
        for _ in range(2):  # T D T': the map on the columns, transposed, on the columns again
            dual = np.stack([normalise(v.reshape(n, c)).ravel() for v in dual]) if output != "none" else dual
            dual = dual.T

    def product(v: Floats) -> Floats:
        if dual is not None:
            return np.asarray(dual @ v)
        nonlocal count
        count += 1
        moved = network.tangent(network.backward(normalise(v.reshape(n, c))))
        return np.asarray(normalise(moved).ravel() / n)

    if dual is not None and size <= _DENSE:
        top, vectors = eigh(dual, subset_by_index=[size - 1, size - 1])
    else:
        top, vectors = lanczos(product, size, tolerance=tolerance, seed=0, max_products=200 * size)
    residual = float(np.linalg.norm(product(vectors[:, 0]) - top[0] * vectors[:, 0]))
    return TopEigenvalue(float(top[0]), residual, count)


@dataclass(frozen=True)
class FisherScaling:
    """Largest Fisher eigenvalues over widths and seeds."""

    widths: tuple[int, ...]
    samples: tuple[int, ...]
    eigenvalues: Floats  # (seeds, widths)
    hidden: Hidden
    output: Output
    act: str
    seed: int


@checked()
def fisher_scaling(
    widths: Sequence[int],
    *,
    hidden: Hidden = "none",
    output: Output = "none",
    samples: int | None = None,
    samples_per_width: float = 0.5,
    input_dimension: int | None = None,
    seeds: int = 4,
    outputs: int = 1,
    hidden_layers: int = 2,
    act: str = "relu",
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> FisherScaling:
    """Draw ``seeds`` networks at every width and return their largest Fisher eigenvalues.

    The number of samples is ``samples`` at every width, or, if that is None, ``samples_per_width`` times the width;
    the input dimension is the width unless given. Both choices decide the exponent under mean subtraction.
    """
    if len(widths) < 1 or seeds < 1:
        raise UserError(f"widths={tuple(widths)}, seeds={seeds}: needs at least one of each")
    if not samples_per_width > 0:
        raise UserError(f"samples_per_width={samples_per_width}: must be positive")
    counts = tuple(samples or max(3, round(samples_per_width * width)) for width in widths)
    values = np.empty((seeds, len(widths)))
    for column, (width, count) in enumerate(zip(widths, counts, strict=True)):
        for row in range(seeds):
            network = RandomNetwork.draw(
                np.random.default_rng([seed, row, width]),
                samples=count,
                input_dimension=input_dimension or width,
                width=width,
                hidden_layers=hidden_layers,
                outputs=outputs,
                act=act,
                weight_variance=weight_variance,
                bias_variance=bias_variance,
                hidden=hidden,
            )
            values[row, column] = top_eigenvalue(network, output).value
            progress((column * seeds + row + 1) / values.size, f"width {width}, network {row + 1} of {seeds}")
    return FisherScaling(tuple(widths), counts, values, hidden, output, act, seed)


def _output_map(values: Floats, output: Output) -> Callable[[Floats], Floats]:
    """The (symmetric) tangent map of the output's normalisation, on arrays (N, C)."""
    if output == "none":
        return lambda v: v
    if output == "mean":
        return lambda v: np.asarray(v - v.mean(axis=0, keepdims=True))
    if output not in ("batch-norm", "layer-norm"):
        raise UserError(f"output={output!r}: must be 'none', 'mean', 'batch-norm' or 'layer-norm'")
    axis = 0 if output == "batch-norm" else 1
    if values.shape[axis] < 3:
        raise UserError(
            f"output={output!r} over {values.shape[axis]} numbers: with fewer than 3 its derivative is zero; use more"
        )
    t, scale = standardise(values, axis)
    return lambda v: standardise_derivative(v, t, scale, axis)
