"""Normalisation layers from their definition, differentiated by second-order jets.

Nothing of bntheory is used here, and no formula for a gradient or a Hessian is written down: mean, mean square deviation and root
are carried with their first and second derivatives by y, and the chain rule through a loss that has gradient g and Hessian H at z does
the rest. The first axis counts layers; the numbers are those of a world (floats, or many digits).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
from bounded_numbers import Bounded, World

__all__ = ["JetLayer", "Numbers"]


@dataclass
class Numbers:
    """The data of n layers with m examples, as arrays of a world's numbers: y, g (n, m), H (n, m, m), gamma, beta, eps (n,)."""

    y: Any
    g: Any
    H: Any
    gamma: Any
    beta: Any
    eps: Any
    scalars: dict[str, Any] = field(default_factory=dict)
    vectors: dict[str, Any] = field(default_factory=dict)
    operators: dict[str, Any] = field(default_factory=dict)

    @property
    def m(self) -> int:
        return int(self.y.shape[1])

    def mapped(self, function: Any) -> Numbers:
        """Every array passed through ``function``."""
        return Numbers(
            *(function(a) for a in (self.y, self.g, self.H, self.gamma, self.beta, self.eps)),
            *({k: function(v) for k, v in d.items()} for d in (self.scalars, self.vectors, self.operators)),
        )


class _Jet:
    """Value (n,), gradient (n, m) and Hessian (n, m, m) with respect to y."""

    __slots__ = ("d", "h", "v")

    def __init__(self, v: Any, d: Any, h: Any) -> None:
        self.v, self.d, self.h = v, d, h

    def __add__(self, o: _Jet) -> _Jet:
        return _Jet(self.v + o.v, self.d + o.d, self.h + o.h)

    def __sub__(self, o: _Jet) -> _Jet:
        return _Jet(self.v - o.v, self.d - o.d, self.h - o.h)

    def times(self, c: Any) -> _Jet:
        """c times this, for numbers c (n,) that do not depend on y."""
        return _Jet(c * self.v, c[:, None] * self.d, c[:, None, None] * self.h)

    def __mul__(self, o: _Jet) -> _Jet:
        a, b = self.v, o.v
        cross = self.d[:, :, None] * o.d[:, None, :]
        return _Jet(
            a * b,
            a[:, None] * o.d + b[:, None] * self.d,
            a[:, None, None] * o.h + b[:, None, None] * self.h + cross + np.swapaxes(cross, 1, 2),
        )

    def through(self, value: Any, first: Any, second: Any) -> _Jet:
        """f of this, from f, f' and f'' at the value."""
        square = self.d[:, :, None] * self.d[:, None, :]
        return _Jet(value, first[:, None] * self.d, first[:, None, None] * self.h + second[:, None, None] * square)


class JetLayer:
    """n layers of one batch size; every quantity of the vocabulary as Bounded numbers."""

    def __init__(self, world: World, data: Numbers, normaliser: str = "batch") -> None:
        self.world, self.data = world, data
        y, n, m = data.y, data.y.shape[0], data.m
        zero, one = y[:, 0] * 0, y[:, 0] * 0 + world.of(1)
        self.flat = np.zeros(n, bool)
        entries = []
        for i in range(m):
            d = y * 0
            d[:, i] = one
            entries.append(_Jet(y[:, i], d, y[:, :, None] * y[:, None, :] * 0))
        count = one * world.of(m)
        mean = sum(entries[1:], entries[0]).times(1 / count)
        centred = [e - mean for e in entries]
        var = sum((c * c for c in centred[1:]), centred[0] * centred[0]).times(1 / count)
        constant = _Jet(data.eps, y * 0, entries[0].h * 0)
        unit = _Jet(one, y * 0, entries[0].h * 0)
        if normaliser in ("batch", "l2", "frozen", "layer-norm"):
            sigma = self._root(var + constant)
        elif normaliser == "unbiased":
            sigma = self._root(var.times(count / (count - one)) + constant)
        elif normaliser in ("rms", "rms-norm"):
            mean = mean.times(zero)
            centred = entries
            var = sum((c * c for c in centred[1:]), centred[0] * centred[0]).times(1 / count)
            sigma = self._root(var + constant)
        elif normaliser == "mean-only":
            sigma = unit
        else:
            raise ValueError(normaliser)
        if normaliser == "frozen":
            mean, sigma = _Jet(mean.v, y * 0, unit.h), _Jet(sigma.v, y * 0, unit.h)
            centred = [e - mean for e in entries]
        safe = np.where(sigma.v == 0, one, sigma.v)
        inverse = sigma.through(1 / safe, -1 / safe**2, 2 / safe**3)
        y_hat = [c * inverse for c in centred]
        outputs = [e.times(data.gamma) for e in y_hat]
        self._mean, self._var, self._sigma, self._y_hat = (mean.v, var.v, sigma.v, np.stack([e.v for e in y_hat], 1))
        jacobian = np.stack([e.d for e in outputs], 1)  # (n, outputs, inputs)
        bend = sum(
            (e.h * data.g[:, i, None, None] for i, e in enumerate(outputs[1:], 1)),
            outputs[0].h * data.g[:, 0, None, None],
        )
        self._input_grad = (jacobian * data.g[:, :, None]).sum(1)
        inner = (data.H[:, :, :, None] * jacobian[:, None, :, :]).sum(2)
        self._input_hess = (jacobian[:, :, :, None] * inner[:, :, None, :]).sum(1) + bend
        self._jacobian, self._z = jacobian, np.stack([e.v for e in outputs], 1) + data.beta[:, None]
        self._conditions(safe)

    def _root(self, x: _Jet) -> _Jet:
        one = x.v * 0 + self.world.of(1)
        size = np.abs(np.asarray(self.data.y, dtype=np.float64)).max(1)
        self.flat = np.asarray(x.v, dtype=np.float64) <= 16 * self.world.unit * size**2
        v = np.where(self.flat, one, x.v)
        s = self.world.root(v)
        return x.through(s, 1 / (2 * s), -1 / (4 * s * v))

    def _conditions(self, sigma: Any) -> None:
        """How far rounding errors grow: by the size of y over sigma, to the order of the derivative."""
        f = lambda a: np.abs(np.asarray(a, dtype=np.float64))  # noqa: E731
        unit, m = self.world.unit * 32, self.data.m
        s, gamma = f(sigma), f(self.data.gamma)
        k = 1 + f(self.data.y).max(1) / s
        g, h = f(self.data.g).max(1), f(self.data.H).max((1, 2))
        self._e = {
            "mu": unit * f(self.data.y).max(1),
            "var": unit * f(self.data.y).max(1) ** 2 * m,
            "sigma": unit * s * k**2 * m,
            "y_hat": unit * k**3 * m,
            "z": unit * (gamma * k**3 * m + f(self.data.beta)),
            "jac": unit * gamma / s * k**3 * m**2,
            "input_grad": unit * gamma / s * g * k**3 * m**2,
            "input_hess": unit * (gamma**2 / s**2 * h * m**2 + gamma / s**2 * g * m) * k**3 * m**2,
        }

    def _bounded(self, x: Any, e: Any) -> Bounded:
        e = np.broadcast_to(e[:, None] if x.ndim == 2 else e, x.shape)
        return Bounded(self.world, x, e, unsure=self.flat.copy())

    def constant(self, x: Any) -> Bounded:
        value = self.world.number(x)
        return Bounded(self.world, self.data.y[:, 0] * 0 + value)

    def named(self, name: str) -> Bounded:
        """A scalar or a vector of the vocabulary, or a free one."""
        d, world = self.data, self.world
        if name in d.scalars:
            return Bounded(world, d.scalars[name])
        if name in d.vectors:
            return Bounded(world, d.vectors[name])
        given = {"gamma": d.gamma, "beta": d.beta, "eps": d.eps, "y": d.y, "grad": d.g, "one": d.y * 0 + world.of(1)}
        if name in given:
            return Bounded(world, given[name])
        if name == "m":
            return self.constant(d.m)
        if name == "gamma_grad":
            return self.named("grad").dot(self.named("y_hat"))
        if name == "beta_grad":
            return self.named("grad").dot(self.named("one"))
        if name == "jac_norm":
            return self.jac_norm()
        x = {
            "mu": self._mean,
            "var": self._var,
            "sigma": self._sigma,
            "y_hat": self._y_hat,
            "z": self._z,
            "input_grad": self._input_grad,
        }[name]
        return self._bounded(x, self._e[name])

    def matrix(self, name: str) -> tuple[Any, Any]:
        """jac, hess, input_hess or a free operator as (n, m, m), and a bound (n,) on the error of an entry."""
        if name in ("jac", "input_hess"):
            return self._jacobian if name == "jac" else self._input_hess, self._e[name]
        exact = self.data.H if name == "hess" else self.data.operators[name]
        return exact, np.zeros(len(exact))

    def operator(self, name: str, v: Bounded) -> Bounded:
        """The matrix of a name, applied."""
        matrix, error = self.matrix(name)
        result = v.apply(matrix)
        e = result.e + (error * (v.size + v.e).sum(-1))[:, None]
        return Bounded(self.world, result.x, e, result.bad, result.unsure | (self.flat & (error > 0)))

    def trace(self, name: str) -> Bounded:
        """The sum of the diagonal."""
        matrix, error = self.matrix(name)
        diagonal = np.stack([matrix[:, i, i] for i in range(self.data.m)], 1)
        unit = Bounded(
            self.world, diagonal, np.broadcast_to(error[:, None], diagonal.shape), unsure=self.flat & (error > 0)
        )
        return unit.dot(self.named("one"))

    def extreme(self, name: str, which: str) -> Bounded:
        """The largest ('max_eig') or the least ('min_eig') eigenvalue of a symmetric matrix."""
        matrix, error = self.matrix(name)
        last = -1 if which == "max_eig" else 0
        if self.world.exact_zero:
            values = [sorted(mpmath.eigsy(mpmath.matrix(a.tolist()), eigvals_only=True)) for a in matrix]
            x = np.array([v[last] for v in values], dtype=object)
        else:
            x = np.linalg.eigvalsh(np.nan_to_num(matrix))[:, last]
        size = np.abs(np.asarray(matrix, dtype=np.float64)).max((1, 2))
        e = self.data.m * (error + 64 * self.world.unit * size)
        return Bounded(self.world, x, e, unsure=self.flat & (error > 0))

    def jac_norm(self) -> Bounded:
        """The largest singular value of dz/dy."""
        if self.world.exact_zero:
            x = np.array([_largest_singular_value(mpmath.matrix(a.tolist())) for a in self._jacobian], dtype=object)
        else:
            x = np.linalg.norm(np.nan_to_num(self._jacobian), 2, (1, 2))
        return self._bounded(x, self._e["jac"] * self.data.m)


def _largest_singular_value(a: mpmath.matrix) -> mpmath.mpf:
    """The root of the largest eigenvalue of a'a, in twice the digits: mpmath's own iteration stalls where many singular values are zero."""
    with mpmath.workprec(2 * mpmath.mp.prec):
        square = max(mpmath.eigsy(a.T * a, eigvals_only=True))
        root = mpmath.sqrt(max(square, 0))
    return +root
