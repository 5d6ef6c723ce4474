r"""One normalisation layer as it was measured inside a network, and its residuals against the closed form.

All four measured quantities come from autograd by the safe route (``autograd.grad`` twice on one graph), none from the layer's
formulas: ``grad`` = dL/dz, ``input_grad`` = dL_hat/dy through this layer alone (a skip connection around it is not part of it),
``hess(v)`` and ``input_hess(v)`` the blocks of one unit, other units held fixed.

**Tolerance.** A sum of m rounded terms is off by at most lambda sqrt(m) u times the sum of magnitudes with probability
1 - 2 exp(-lambda^2/2) (Higham and Mary 2019, SIAM J. Sci. Comput. 41, A2815); lambda = 6 here, u the unit roundoff. The mean enters
y_hat through a cancellation, amplified by kappa = max|y|/sigma. The gradient has three sums and uses y_hat twice, on either side of
the comparison; the Hessian product repeats this twice, around a product with H whose own rounding is measured as its asymmetry.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, finfo

from bntheory.bridge.arguments import checked
from bntheory.bridge.draws import normal_like
from bntheory.bridge.explanation import second_backward
from bntheory.bridge.fences import differentiating
from bntheory.bridge.measured import Unchanged
from bntheory.bridge.ranges import lengths
from bntheory.bridge.units import UnitView
from bntheory.errors import UserError
from bntheory.layer.closed_form import BatchNormLayer
from bntheory.layer.family import RmsLayer

#: Rounding of a sum is at most so many times u sqrt(m), but with a probability of 3e-8.
LAMBDA = 6.0


@dataclass(frozen=True)
class Residual:
    """Measured against closed form, per unit.

    relative: (k,) the largest difference over ``size``, that of the terms. tolerance: (k,) derived from unit roundoff, m and
    conditioning. units: which. measured, closed_form: (k,) the norms of both sides.
    """

    units: Sequence[int]
    relative: Tensor
    tolerance: Tensor
    measured: Tensor
    closed_form: Tensor
    size: Tensor

    @property
    def direction_error(self) -> Tensor:
        """(k,) how far rounding may turn the measured vector, as a share of its length; infinite where that is zero.

        Rounding is relative to the terms, and these may cancel: at m = 2 and eps = 0 nothing is left of the input gradient.
        """
        return torch.where(self.measured > 0, self.tolerance * self.size / self.measured, torch.inf)

    @property
    def passed(self) -> Tensor:
        """(k,) whether each unit lies within its tolerance; a non-finite residual does not."""
        return self.relative <= self.tolerance


def amplification(layer: BatchNormLayer) -> Tensor:
    """(k,) kappa = max|y|/sigma: how much the cancellation in y - mean amplifies rounding in y_hat."""
    kappa: Tensor = (layer.y.abs().amax(-1, keepdim=True) / layer.sigma)[..., 0]
    return kappa


def y_hat_size(layer: BatchNormLayer) -> Tensor:
    """(k,) the size to which rounding in y_hat is relative.

    Its norm, and a part that stays where the variance is far below eps: y_hat is small there, and the rounding kappa u of its entries is
    not.
    """
    kappa = amplification(layer)
    size: Tensor = layer.y_hat.norm(dim=-1) + kappa / (1 + kappa)
    return size


class CapturedLayer:
    """A measured normalisation layer. Tensors are (units, m), detached, on the model's device.

    name: the module's name, with ``#2`` for its second call in one forward pass. kind, m, eps, gamma (units,), beta (units,).
    y, z, grad, input_grad: (units, m). For layer and group normalisation z is y_hat and gamma is one (see
    :mod:`bntheory.bridge.units`).
    """

    def __init__(
        self,
        name: str,
        view: UnitView,
        y: Tensor,
        z: Tensor,
        grad_y: Tensor | None,
        grad_z: Tensor | None,
        parameter_grads: Mapping[str, Tensor] | None = None,
        second_order: bool = True,
        why_not: str = "",
        unchanged: Unchanged | None = None,
    ) -> None:
        self.name, self.view, self._second_order = name, view, second_order
        self._why_not, self._unchanged = why_not, unchanged
        self._y, self._z = y, z
        self._grad_y, self._grad_z = grad_y, grad_z
        self._parameter_grads = dict(parameter_grads or {})
        self.kind, self.m, self.eps = view.kind, view.m, view.eps
        self.gamma, self.beta = view.gamma, view.beta

    def __repr__(self) -> str:
        return f"CapturedLayer({self.name!r}, kind={self.kind!r}, units={self.units}, m={self.m}, eps={self.eps:g})"

    # made when they are asked for: a network's layers need not all lie in memory twice

    @cached_property
    def y(self) -> Tensor:
        """The input."""
        return self.view.split(self._y.detach())

    @cached_property
    def grad(self) -> Tensor:
        """The gradient by z."""
        return self._to_y_hat(self._split_or_zero(self._grad_z))

    @cached_property
    def input_grad(self) -> Tensor:
        """The gradient by y."""
        return self._split_or_zero(self._grad_y)

    @property
    def units(self) -> int:
        """How many units (channels) the layer has."""
        return self.view.units

    @property
    def z(self) -> Tensor:
        """The output, (units, m): measured for batch normalisation; y_hat where gamma varies within a unit."""
        if self.view.kind == "batch":
            return self.view.split(self._z.detach())
        z: Tensor = self.closed_form().z
        return z

    @checked
    def parameter_grad(self, name: Literal["gamma", "beta"]) -> Tensor | None:
        """dL/dgamma or dL/dbeta as autograd gives it, (units,); None where the layer has no such parameter of its own."""
        return self._parameter_grads.get(name)

    def _split_or_zero(self, full: Tensor | None) -> Tensor:
        return torch.zeros_like(self.y) if full is None else self.view.split(full.detach())

    def _to_y_hat(self, dz: Tensor, units: Sequence[int] | None = None) -> Tensor:
        """A derivative with respect to the module's output as one with respect to z of the unit."""
        scale = self.view.split_gamma()
        if scale is None:
            return dz
        return dz * (scale if units is None else scale[list(units)])

    # -- products ------------------------------------------------------------------------------------------------

    def _chosen(self, units: Sequence[int] | None) -> list[int]:
        chosen = list(range(self.units)) if units is None else [int(u) for u in units]
        bad = [u for u in chosen if not 0 <= u < self.units]
        if not chosen:
            raise UserError(f"units of layer {self.name!r}: none is chosen; it has units 0 to {self.units - 1}")
        if bad:
            raise UserError(f"unit {bad[0]} of layer {self.name!r}: it has units 0 to {self.units - 1}")
        return chosen

    def _products(self, at: Tensor, grad: Tensor | None, v: Tensor, units: list[int]) -> Tensor:
        """For each chosen unit u the block product H_uu v_u: (k, m) -> (k, m), one double backward each."""
        self._check_shape(v, len(units))
        rows = []
        for row, unit in zip(v, units, strict=True):
            full = torch.zeros(self.units, self.m, dtype=at.dtype, device=at.device)
            full[unit] = row
            rows.append(self._whole_product(at, grad, full)[unit])
        return torch.stack(rows)

    @checked
    def hess(self, v: Tensor, units: Sequence[int] | None = None) -> Tensor:
        """d2L/dz2 v for each chosen unit, other units fixed; v and the result are (k, m). One double backward a unit."""
        chosen = self._chosen(units)
        product = self._products(self._z, self._grad_z, self._to_y_hat(v, chosen), chosen)
        return self._to_y_hat(product, chosen)

    @checked
    def input_hess(self, v: Tensor, units: Sequence[int] | None = None) -> Tensor:
        """d2L_hat/dy2 v for each chosen unit, other units fixed; v and the result are (k, m)."""
        return self._products(self._y, self._grad_y, v, self._chosen(units))

    @checked
    def whole_hess(self, v: Tensor) -> Tensor:
        """d2L/dz2 v over all units at once, the blocks between units included; (units, m) to (units, m). One double backward."""
        self._check_shape(v, self.units)
        return self._to_y_hat(self._whole_product(self._z, self._grad_z, self._to_y_hat(v)))

    @checked
    def whole_input_hess(self, v: Tensor) -> Tensor:
        """d2L_hat/dy2 v over all units at once, the blocks between units included; (units, m) to (units, m)."""
        self._check_shape(v, self.units)
        return self._whole_product(self._y, self._grad_y, v)

    def _check_shape(self, v: Tensor, units: int) -> None:
        if v.shape != (units, self.m):
            raise UserError(
                f"v has shape {tuple(v.shape)}; for {'all' if units == self.units else units} units of layer {self.name!r} it is "
                f"{(units, self.m)}"
            )

    def _whole_product(self, at: Tensor, grad: Tensor | None, v: Tensor) -> Tensor:
        self.require_second_order()
        if grad is None or not grad.requires_grad:  # the loss is linear in `at`, or does not depend on it
            return torch.zeros_like(v)
        with differentiating():
            (product,) = second_backward([grad], [at], [self.view.join(v)], of=f" behind layer {self.name!r}")
        return torch.zeros_like(v) if product is None else self.view.split(product)

    @checked
    def jac(self, v: Tensor, units: Sequence[int] | None = None) -> Tensor:
        """(dz/dy) v for each chosen unit; v and the result are (k, m). Two backward passes, whatever the number of units.

        ValueError where gamma varies within a unit and is zero somewhere: then z is no function of the module's output.
        """
        self.require_second_order()
        chosen = self._chosen(units)
        scale = self.view.split_gamma()
        if scale is not None and bool((scale[chosen] == 0).any()):
            raise ValueError(
                f"layer {self.name!r} has an entry of gamma that is zero: y_hat cannot be told from its output"
            )
        self._check_shape(v, len(chosen))
        full = torch.zeros_like(self.y)
        full[chosen] = v
        seed = torch.zeros_like(self._z, requires_grad=True)
        (pulled,) = torch.autograd.grad(self._z, self._y, seed, create_graph=True)
        (pushed,) = torch.autograd.grad(pulled, seed, self.view.join(full), retain_graph=True)
        product = self.view.split(pushed)[chosen]
        return product if scale is None else product / scale[chosen]

    # -- against the closed form -----------------------------------------------------------------------------------

    @checked
    def closed_form(self, units: Sequence[int] | None = None) -> BatchNormLayer:
        """The closed-form layer with the measured y, grad and hess of the chosen units: leading axis k = units."""
        chosen = self._chosen(units)
        form = RmsLayer if self.kind == "rms" else BatchNormLayer
        return form(
            self.y[chosen],
            self.grad[chosen],
            lambda v: self.hess(v, chosen),
            gamma=self.gamma[chosen],
            beta=self.beta[chosen],
            eps=self.eps,
        )

    @checked
    def rounding(self, units: Sequence[int] | None = None) -> Tensor:
        """(k,) how far rounding may move this layer's measured vectors, relative to their terms; see the module's text."""
        return self._tolerance(self.closed_form(units))

    def _tolerance(self, layer: BatchNormLayer) -> Tensor:
        u = finfo(self.y.dtype).eps / 2
        tolerance: Tensor = 2 * u * (LAMBDA * math.sqrt(self.m) * (3 + 2 * amplification(layer)) + 8)
        return tolerance

    @checked
    def gradient_residual(self, units: Sequence[int] | None = None) -> Residual:
        """Measured ``input_grad`` against (gamma/sigma) P g. Scaled by the largest of the formula's three terms."""
        chosen = self._chosen(units)
        layer = self.closed_form(chosen)
        measured = self.input_grad[chosen]
        scale = (layer.gamma / layer.sigma).abs()
        terms = (
            lengths(layer.grad)[..., None]
            + layer.beta_grad.abs() / math.sqrt(self.m)
            + layer.gamma_grad.abs() * layer.y_hat.norm(dim=-1, keepdim=True) / self.m
        )
        size = (scale * terms)[..., 0]
        gap = lengths(measured - layer.input_grad)
        relative = torch.where(gap == 0, torch.zeros_like(gap), gap / size)
        return Residual(chosen, relative, self._tolerance(layer), lengths(measured), lengths(layer.input_grad), size)

    @checked
    def hessian_residual(self, units: Sequence[int] | None = None, *, seed: int = 0) -> Residual:
        """Measured ``input_hess(v)`` against the closed form for one seeded random direction a unit.

        Scaled by the size of the formula's terms, ||H|| estimated from the same products.
        """
        chosen = self._chosen(units)
        layer = self.closed_form(chosen)
        generator = torch.Generator(device="cpu").manual_seed(seed)
        shape = (len(chosen), self.m)
        v, w = (normal_like(self.y, generator, shape) for _ in range(2))
        v, w = v / v.norm(dim=-1, keepdim=True), w / w.norm(dim=-1, keepdim=True)
        measured = self.input_hess(v, chosen)
        predicted = layer.input_hess(v)
        hv, hw = self.hess(v, chosen), self.hess(w, chosen)
        noise = ((hv * w).sum(-1) - (hw * v).sum(-1)).abs()
        scale = (layer.gamma / layer.sigma).abs()[..., 0]
        bend = scale / layer.sigma[..., 0] / self.m
        y_norm, g_norm = y_hat_size(layer), layer.grad.norm(dim=-1)
        h_norm = torch.maximum(hv.norm(dim=-1), hw.norm(dim=-1))
        size = scale**2 * h_norm + 3 * bend * y_norm * g_norm
        gap = (measured - predicted).norm(dim=-1)
        relative = torch.where(gap == 0, torch.zeros_like(gap), gap / size)
        rounding = LAMBDA * scale**2 * noise * math.sqrt(self.m)
        # v is random: its image may be small beside ||H||, by sqrt(m) in the worst case of a rank-one H
        tolerance = math.sqrt(self.m) * self._tolerance(layer) + torch.where(
            rounding == 0, torch.zeros_like(noise), rounding / size
        )
        return Residual(chosen, relative, tolerance, measured.norm(dim=-1), predicted.norm(dim=-1), size)

    def require_second_order(self) -> None:
        """Raise ValueError where the layer was captured without the graph that second derivatives are taken from, or this is out of date."""
        if not self._second_order:
            raise UserError(
                f"layer {self.name!r}: {self._why_not}"
                if self._why_not
                else f"layer {self.name!r} was captured with second_order=False, which keeps no graph; capture it with second_order=True"
            )
        if self._unchanged is not None:
            self._unchanged.require()
