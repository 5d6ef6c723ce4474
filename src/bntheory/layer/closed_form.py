r"""One batch-normalisation unit in closed form, many at a time.

With P = I - 11'/m - y_hat y_hat'/m (a projection only when eps = 0) and sigma = sqrt(var + eps):

    dz/dy          = (gamma/sigma) P                                                     symmetric
    input_grad     = (gamma/sigma) P g
    input_hess(v)  = (gamma^2/sigma^2) P H P v
                     - gamma/(m sigma^2) [ <y_hat,g> P v + <y_hat,v> P g + <P g,v> y_hat ]

Derivation: d sigma/dy = (y - mu)/(m sigma) = y_hat/m, whence dy_hat/dy = (1/sigma) P. Differentiating (gamma/sigma) P g
once more gives the H term by the chain rule, -y_hat/(m sigma) from 1/sigma, and from P the change of y_hat; collecting
terms and using that P is symmetric gives the bracket. Both products cost O(m): no m-by-m matrix is formed.

Leading axes are independent layers. Scalars have shape (..., 1), so that scalar times vector broadcasts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from bntheory.arrays import Array, as_float_array, combine, is_object, is_torch, namespace, outer_dot, unit_roundoff
from bntheory.layer.checks import as_vector, first_entry, refuse_non_finite, same_kind
from bntheory.layer.vocabulary import sqrt

Operator = Callable[[Array], Array]


class BatchNormLayer:
    """A batch of batch-normalisation units with a downstream loss known to second order.

    Parameters
    ----------
    y: pre-activations, (..., m), m >= 2; float32, float64, a torch tensor on any device, or an object array.
    grad: dL/dz at z, (..., m); zero where it is left out.
    hess: the Hessian of L at z: a function v -> H v over (..., m), a symmetric array (..., m, m), or None for zero.
    gamma, beta: scale and shift, scalars or (...) or (..., 1).
    eps: >= 0, likewise.
    free: a claim's free quantities by name: scalars (..., 1), vectors (..., m), operators as functions or (..., m, m).

    Raises ValueError for a batch of one, a constant batch with eps = 0, non-finite entries, negative eps, integer
    arrays and shapes that disagree.
    """

    def __init__(
        self,
        y: Array,
        grad: Array | None = None,
        hess: Array | Operator | None = None,
        *,
        gamma: Any = 1.0,
        beta: Any = 0.0,
        eps: Any = 0.0,
        free: Mapping[str, Any] | None = None,
    ) -> None:
        self.y = as_vector(as_float_array(y, "y"), "y", reference=None)
        self.free = dict(free or {})
        self.gamma = self._scalar(gamma, "gamma")
        self.beta = self._scalar(beta, "beta")
        self.eps = self._scalar(eps, "eps")
        if not is_object(self.y) and bool((self.eps < 0).any()):
            raise ValueError(
                f"eps is {first_entry(self.eps[self.eps < 0])}; it is added to a variance, so it must be >= 0"
            )
        self.grad = self.zeros() if grad is None else as_vector(as_float_array(grad, "grad"), "grad", reference=self.y)
        self.hess_given = hess
        self._hess = None if hess is None else self._operator(hess, "hess")
        self._refuse_constant_batch()

    _not_passed = 2  # directions that the Jacobian does not pass on whole: 1 and y_hat

    @property
    def _degrees(self) -> int:
        """What the sum of squares is divided by: sigma^2 = ||y - mu||^2/_degrees + eps."""
        return self.m

    @property
    def made_as(self) -> str:
        """The name by which :func:`~bntheory.layer.family.make_layer` makes such a layer."""
        return "batch"

    def __repr__(self) -> str:
        from bntheory.layer.shown import pasted

        return pasted(self)

    # -- checks ------------------------------------------------------------------------------------------------

    def _scalar(self, value: Any, name: str) -> Array:
        y = self.y
        if is_torch(y):
            torch = namespace(y)
            x = torch.as_tensor(value, dtype=y.dtype, device=y.device)
        elif is_object(y):
            x = np.asarray(value, dtype=object)
        else:
            x = np.asarray(value, dtype=y.dtype)
        if x.ndim == 0:
            x = x[None]
        elif x.shape[-1] != 1 or (x.ndim == 1 and tuple(x.shape) == tuple(y.shape[:-1])):
            x = x[..., None]
        try:
            np.broadcast_shapes(tuple(x.shape), (*y.shape[:-1], 1))
        except ValueError:
            raise ValueError(
                f"{name} has shape {tuple(np.shape(value))} but y has shape {tuple(y.shape)}: {name} is one number a layer, "
                f"shape {tuple(y.shape[:-1])} or ()"
            ) from None
        refuse_non_finite(x, name)
        return x

    def _operator(self, value: Array | Operator, name: str) -> Operator:
        if callable(value) and not hasattr(value, "shape"):
            return value
        matrix = as_float_array(value, name)
        m = self.y.shape[-1]
        if matrix.ndim < 2 or tuple(matrix.shape[-2:]) != (m, m):
            raise ValueError(f"{name} has shape {tuple(matrix.shape)}; a dense Hessian has shape (..., {m}, {m})")
        same_kind(matrix, self.y, name)
        refuse_non_finite(matrix, name)
        if not is_object(matrix):
            gap = abs(matrix - matrix.swapaxes(-1, -2)).max()
            size = abs(matrix).max()
            if gap > 1e-6 * size:
                raise ValueError(f"{name} is not symmetric: an entry and its mirror image differ by {float(gap):.3g}")
        return lambda v: (matrix @ v[..., None])[..., 0]

    def _refuse_constant_batch(self) -> None:
        if is_object(self.y):
            return
        if bool((self.eps > 0).all()):
            return
        # The variance of 0.1, 0.1, 0.1 may round to 1e-34, so where it is that small the entries are compared.
        size = abs(self.mu) * (64 * unit_roundoff(self.y))
        suspect = (self.var <= size * size) & (self.eps == 0)
        if not bool(suspect.any()):
            return
        flat = suspect & ((self.y == self.y[..., :1]).all(-1)[..., None] | (self.var == 0))
        if bool(flat.any()):
            count = int(flat.sum())
            raise ValueError(
                f"y is constant over the batch in {count} layer(s) and eps = 0 there: the variance is zero and y_hat is 0/0. "
                "Give eps > 0, or leave those layers out"
            )

    # -- the vocabulary ----------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of y, (..., m)."""
        return tuple(self.y.shape)

    @property
    def m(self) -> int:
        """The batch size."""
        return int(self.y.shape[-1])

    def zeros(self) -> Array:
        """A zero vector like y."""
        if is_object(self.y):
            return self.y * 0
        return namespace(self.y).zeros_like(self.y)

    @cached_property
    def one(self) -> Array:
        """The vector of ones, (..., m)."""
        return self.zeros() + 1

    def dot(self, u: Array, v: Array) -> Array:
        """<u, v> over the batch, (..., 1)."""
        return outer_dot(u, v)

    def norm2(self, v: Array) -> Array:
        """||v||^2 over the batch, (..., 1)."""
        return outer_dot(v, v)

    @cached_property
    def mu(self) -> Array:
        """The batch mean, (..., 1)."""
        return self._mean(self.y)

    def _mean(self, v: Array) -> Array:
        if is_torch(v):
            return v.sum(-1, keepdim=True) / self.m
        return np.sum(v, axis=-1, keepdims=True) / self.m

    @cached_property
    def centred(self) -> Array:
        """y - mu, (..., m). The mean is taken twice, so that the rounding of a large mean does not stay behind."""
        first = self.y - self.mu
        if is_object(self.y):
            return first
        first -= self._mean(first)
        return first

    @cached_property
    def var(self) -> Array:
        """The biased batch variance, (..., 1)."""
        return self.norm2(self.centred) / self.m

    @cached_property
    def sigma(self) -> Array:
        """sqrt(var + eps), (..., 1)."""
        return sqrt(self.var + self.eps)

    @cached_property
    def y_hat(self) -> Array:
        """(y - mu)/sigma, (..., m)."""
        return self.centred / self.sigma if is_object(self.y) else self.centred * (1 / self.sigma)

    @property
    def dual(self) -> Array:
        """The gradient of m sigma with respect to y - mu, (..., m): y_hat itself, here."""
        return self.y_hat

    @cached_property
    def z(self) -> Array:
        """The layer's output gamma y_hat + beta, (..., m)."""
        return self.gamma * self.y_hat + self.beta

    def hess(self, v: Array) -> Array:
        """H v, the Hessian of the downstream loss at z; (..., m) -> (..., m)."""
        return v * 0 if self._hess is None else self._hess(v)

    def _along_one(self, v: Array) -> Array:
        """What the projection subtracts in every coordinate, (..., 1): the mean."""
        return self._mean(v)

    def _projected(self, v: Array, scale: Array, dot: Array | None = None, mean: Array | None = None) -> Array:
        """scale P v, (..., m); ``dot`` is <y_hat, v> and ``mean`` v's part along 1, where they are known already."""
        along = (self.dot(self.y_hat, v) if dot is None else dot) / self._degrees
        mean = self._along_one(v) if mean is None else mean
        return combine([(v, scale), (self.y_hat, -scale * along)], -scale * mean)

    def project(self, v: Array) -> Array:
        """P v = v - <1,v>/m 1 - <y_hat,v>/m y_hat, (..., m) -> (..., m)."""
        return self._projected(v, self.mu * 0 + 1)

    def jac(self, v: Array) -> Array:
        """(dz/dy) v = (gamma/sigma) P v, (..., m) -> (..., m)."""
        return self._projected(v, self.gamma / self.sigma)

    def vjp(self, u: Array) -> Array:
        """(dz/dy)' u; the Jacobian is symmetric, so this is :meth:`jac`."""
        return self.jac(u)

    @cached_property
    def jac_norm(self) -> Array:
        """The largest singular value of dz/dy, (..., 1).

        P has the eigenvalues 0 on 1, eps/sigma^2 on y_hat and 1 on what is orthogonal to both, which at m = 2 is
        nothing.
        """
        slope = abs(self.gamma) / self.sigma
        return slope if self.m > self._not_passed else slope * self.eps / (self.sigma * self.sigma)

    @cached_property
    def projected_grad(self) -> Array:
        """P g, (..., m)."""
        return self._projected(self.grad, self.mu * 0 + 1, self.gamma_grad)

    @cached_property
    def input_grad(self) -> Array:
        """dL_hat/dy = (gamma/sigma) P g, (..., m)."""
        return (self.gamma / self.sigma) * self.projected_grad

    def input_hess(self, v: Array) -> Array:
        """(d2L_hat/dy2) v in O(m) beyond the one product with H; (..., m) -> (..., m).

        All terms are combinations of v, P g, y_hat, 1 and one product with H, so they are added up once, by
        coefficients.
        """
        y_hat, pg, m = self.y_hat, self.projected_grad, self._degrees
        bend = -self.gamma / (m * self.sigma * self.sigma)
        along, mean = self.dot(y_hat, v), self._along_one(v)
        on_v = bend * self.gamma_grad
        on_pg = bend * along
        on_y_hat = bend * self.dot(pg, v) - on_v * along / m
        if self._hess is None:
            return combine([(v, on_v), (pg, on_pg), (y_hat, on_y_hat)], -on_v * mean)
        slope = self.gamma / self.sigma  # on either side of H, which may couple units of different slopes
        hv = self.hess(self._projected(v, slope, along, mean))
        on_y_hat = on_y_hat - slope * self.dot(y_hat, hv) / m
        offset = -on_v * mean - slope * self._along_one(hv)
        return combine([(hv, slope), (v, on_v), (pg, on_pg), (y_hat, on_y_hat)], offset)

    def trace(self, operator: Operator) -> Array:
        """The trace of a linear map of the batch such as ``layer.input_hess``, (..., 1): m products."""
        total = self.mu * 0
        for j in range(self.m):
            total = total + operator(self._unit(j))[..., j : j + 1]
        return total

    # -- the layer's own parameters ------------------------------------------------------------------------------

    @cached_property
    def beta_grad(self) -> Array:
        """dL_hat/dbeta = <1, g>, (..., 1)."""
        return self.dot(self.one, self.grad)

    @cached_property
    def gamma_grad(self) -> Array:
        """dL_hat/dgamma = <y_hat, g>, (..., 1)."""
        return self.dot(self.y_hat, self.grad)

    # -- free quantities -----------------------------------------------------------------------------------------

    def scalar(self, name: str) -> Array:
        """The free scalar ``name``, (..., 1)."""
        return self._scalar(self._free(name), name)

    def vector(self, name: str) -> Array:
        """The free vector ``name``, (..., m)."""
        return as_vector(as_float_array(self._free(name), name), name, reference=self.y)

    def operator(self, name: str) -> Operator:
        """The free symmetric operator ``name``."""
        return self._operator(self._free(name), name)

    def _free(self, name: str) -> Any:
        try:
            return self.free[name]
        except KeyError:
            known = ", ".join(sorted(self.free)) or "none"
            raise ValueError(
                f"this layer has no free quantity {name!r} (it has: {known}); declare it in the claim's LayerDomain"
            ) from None

    # -- dense matrices, on request --------------------------------------------------------------------------------

    def dense(self, product: Operator) -> Array:
        """The matrix of a symmetric product such as ``layer.input_hess`` or ``layer.jac``; (..., m, m), m products."""
        return namespace(self.y).stack([product(self._unit(j)) for j in range(self.m)], -1)

    def _unit(self, j: int) -> Array:
        unit = self.zeros()
        unit[..., j] = unit[..., j] + 1
        return unit
