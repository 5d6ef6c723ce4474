r"""One captured layer held against the theory: the split of its gradient reduction, and Theorems 4.1 and 4.2.

With P g = g - (<1,g>/m) 1 - (<y_hat,g>/m) y_hat, <1,y_hat> = 0 and ||y_hat||^2 = m q, q = var/sigma^2 = 1 - eps/sigma^2:

    ||P g||^2 = ||g||^2 - <1,g>^2/m - (2 - q) <y_hat,g>^2/m                       and ||dL_hat/dy||^2 = (gamma^2/sigma^2) ||P g||^2

So the reduction ||dL_hat/dy||^2/||g||^2 is a product: the *scaling* gamma^2/sigma^2, and what is left *beyond scaling*,
1 - share_mean - share_y_hat, both shares being parts of the *scaled* gradient's squared norm (gamma^2/sigma^2)||g||^2:

    share_mean = <1,g>^2/(m ||g||^2)          share_y_hat = (1 + eps/sigma^2) <y_hat,g>^2/(m ||g||^2)

For eps = 0 these are squared cosines of g with 1 and with y_hat. For eps > 0 the layer removes a component along y_hat not wholly
but up to a factor 1 - q, and the correction 1 + eps/sigma^2 = 2 - q is exactly what makes the parts add up. The frozen-statistics
twin has the same g at this layer's output but input gradient (gamma/sigma) g: it does the scaling and nothing else.

A layer's shares are those of all its units together: sums over units of the parts, over the sum of the scaled squared norms.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, finfo

from bntheory.bridge.probes.captured import LAMBDA, CapturedLayer, Residual, amplification, y_hat_size
from bntheory.bridge.probes.identities import Identity, check_identity
from bntheory.layer.closed_form import BatchNormLayer

_KNOWN_DIRECTION = 1e-3  # a direction that is rounding for more than this share of its length is none
Json = dict[str, Any]


def first_order(
    captured: CapturedLayer, beta_grad: Tensor | None, gamma_grad: Tensor | None
) -> tuple[Json, list[Identity]]:
    """The split and both printed versions of Theorem 4.1 on every unit of a layer.

    beta_grad, gamma_grad: (units,), the gradients of the module's own parameters, read off the network; None where it has none.
    """
    layer = captured.closed_form()
    m, u = captured.m, finfo(captured.y.dtype).eps / 2
    residual = captured.gradient_residual()
    scale = _flat(layer.gamma / layer.sigma) ** 2
    g2, left_over = _flat(layer.norm2(layer.grad)), captured.input_grad.square().sum(-1)
    b, a = _flat(layer.beta_grad), _flat(layer.gamma_grad)
    e = _flat(layer.eps / layer.sigma**2).expand_as(g2)
    mean_part, y_hat_part = b**2 / m, a**2 / m
    # A relative error r of a vector of size s makes its squared norm wrong by at most (2r + r^2) s^2; the sums add their own.
    terms = g2.sqrt() + b.abs() / math.sqrt(m) + a.abs() * layer.y_hat.norm(dim=-1) / m
    # a dead unit (gamma = 0, or g = 0) has nothing to compare: both sides are zero, and so is their difference
    size = (scale * terms.square()).clamp_min(finfo(g2.dtype).tiny / u)  # squares that underflow
    tolerance = 2 * residual.tolerance + residual.tolerance**2 + 8 * LAMBDA * math.sqrt(m) * u

    def two_sides(name: str, right: Tensor, *, one_sided: bool = False) -> Identity:
        gap = left_over - right
        gap = gap.clamp_min(0) if one_sided else gap.abs()
        return check_identity(
            name, captured.name, left=left_over, right=right, relative=gap / size, tolerance=tolerance
        )

    exact = scale * (g2 - mean_part - (1 + e) * y_hat_part)
    later = scale * (g2 - mean_part - y_hat_part)
    earlier = scale * (g2 - mean_part - a**2 / math.sqrt(m))
    found = [
        _kept("input-gradient", captured, residual),
        two_sides("gradient-split", exact),
        two_sides("theorem-4.1", later, one_sided=True),
    ]
    record: Json = {
        "name": captured.name,
        "m": m,
        "units": captured.units,
        "sigma": _quantiles(_flat(layer.sigma)),
        "gamma": _quantiles(_flat(layer.gamma)),
        "output_gradient": float(g2.sum().sqrt()),
        "input_gradient": float(left_over.sum().sqrt()),
        "split": _split(scale, g2, left_over, mean_part, (1 + e) * y_hat_part),
        "unit_share_mean": _quantiles(_share(mean_part, g2)),
        "unit_share_y_hat": _quantiles(_share((1 + e) * y_hat_part, g2)),
        "eps_correction": float((1 + e).max()),
        "theorem_4_1": {
            "neurips": _compare(left_over, earlier, size, tolerance),
            "arxiv": _compare(left_over, later, size, tolerance),
        },
    }
    if beta_grad is not None and gamma_grad is not None:
        beta_grad, gamma_grad = beta_grad.detach().to(g2), gamma_grad.detach().to(g2)
        found += _affine(captured, layer, beta_grad, gamma_grad)
        affine = scale * (g2 - beta_grad**2 / m - (1 + e) * gamma_grad**2 / m)
        found.append(two_sides("affine-split", affine))
        record["affine_split"] = _split(scale, g2, left_over, beta_grad**2 / m, (1 + e) * gamma_grad**2 / m)
    return record, found


def _affine(captured: CapturedLayer, layer: BatchNormLayer, beta_grad: Tensor, gamma_grad: Tensor) -> list[Identity]:
    """The inner products against the gradients that autograd gives to beta and gamma: sums of m rounded terms each."""
    m, u = captured.m, finfo(captured.y.dtype).eps / 2
    kappa = amplification(layer)
    found = []
    for name, network, ours, terms, growth in (
        ("beta-gradient", beta_grad, layer.beta_grad, layer.grad.abs().sum(-1), torch.zeros_like(kappa)),
        ("gamma-gradient", gamma_grad, layer.gamma_grad, (layer.y_hat * layer.grad).abs().sum(-1), kappa),
    ):
        # y_hat is off by 2 kappa lambda sqrt(m) u in every entry, also where the entry itself is small
        size = (terms + growth.sign() * layer.grad.abs().sum(-1)).clamp_min(finfo(terms.dtype).tiny)
        tolerance = 2 * u * (LAMBDA * math.sqrt(m) * (2 + 2 * growth) + 8)
        gap = (network - _flat(ours)).abs()
        found.append(
            check_identity(
                name, captured.name, left=network, right=_flat(ours), relative=gap / size, tolerance=tolerance
            )
        )
    return found


def single_precision(captured: CapturedLayer) -> Identity:
    """The input gradient of a layer that was captured in float32, with float32's tolerance."""
    return _kept("input-gradient-float32", captured, captured.gradient_residual())


def _kept(name: str, captured: CapturedLayer, residual: Residual, units: list[int] | None = None) -> Identity:
    """Measured against closed form."""
    return check_identity(
        name,
        captured.name,
        left=residual.measured,
        right=residual.closed_form,
        relative=residual.relative,
        tolerance=residual.tolerance,
        units=units,
    )


def second_order(captured: CapturedLayer, units: list[int], seed: int) -> tuple[Json, list[Identity]]:
    """Theorem 4.2 with v = dL_hat/dy on chosen units: both printed inequalities and the exact identity for eps >= 0.

    The direction is divided by its norm (the statements are quadratic in v and g together), so that no product underflows.

    The identity holds for v = (gamma/sigma) P g and for no other direction. Where P g is small beside g (at m = 2 it is of size
    (eps/sigma^2) ||g||, and zero for eps = 0), the measured v is off by its rounding, which is relative to the terms that cancelled: by a
    share delta of its length. v' K v - (gamma^2/sigma^2) (P v)' H (P v) = -gamma/(m sigma^2) [<y_hat,g> v'P v + 2 <P g,v> <y_hat,v>] for
    every v, and this changes by at most 6 |gamma|/(m sigma^2) ||y_hat|| ||g|| delta. Units whose input gradient is zero, or rounding for
    more than a thousandth, have no direction and are left out.
    """
    found = [_kept("input-hessian", captured, captured.hessian_residual(units, seed=seed), units)]
    astray = captured.gradient_residual(units).direction_error
    known = astray <= _KNOWN_DIRECTION
    alive = [i for i, has_direction in zip(units, known.tolist(), strict=True) if has_direction]
    if not alive:
        return {"name": captured.name, "units": [], "first": None, "second": None}, found
    layer = captured.closed_form(alive)
    m, u = captured.m, finfo(captured.y.dtype).eps / 2
    scale = _flat(layer.gamma / layer.sigma) ** 2
    gamma, sigma2 = _flat(layer.gamma).expand_as(scale), _flat(layer.sigma**2)
    e = _flat(layer.eps / layer.sigma**2).expand_as(scale)
    norm = captured.input_grad[alive].norm(dim=-1, keepdim=True)
    v, g = captured.input_grad[alive] / norm, layer.grad / norm
    a = (layer.y_hat * layer.grad).sum(-1)
    pv = layer.project(v)
    k_v, h_pv = captured.input_hess(v, alive), captured.hess(pv, alive)
    h_v, h_g = captured.hess(v, alive), captured.hess(g, alive)
    left = (v * k_v).sum(-1)
    bend = gamma * a / (m * sigma2)
    exact = scale * (pv * h_pv).sum(-1) - bend * (1 + 2 * e - (gamma * e * a) ** 2 / (m * sigma2 * norm[..., 0] ** 2))
    first = scale * (v * h_v).sum(-1) - bend
    second = scale * (g * h_g).sum(-1) - bend  # gamma^2/sigma^2 * 1/(m gamma) <g,y_hat> ||v||^2 is the same term
    y_norm, g_norm = y_hat_size(layer), layer.grad.norm(dim=-1)
    bending = 3 * _bend_size(scale, sigma2, y_norm, g_norm, m)
    size = scale * torch.maximum(h_pv.norm(dim=-1), h_v.norm(dim=-1)) + bending
    size = size.clamp_min(finfo(size.dtype).tiny / u)
    asymmetry = ((h_pv * v).sum(-1) - (h_v * pv).sum(-1)).abs()
    rounding = 4 * u * (LAMBDA * math.sqrt(m) * (3 + 2 * amplification(layer)) + 8) * math.sqrt(m)
    tolerance = rounding + (LAMBDA * math.sqrt(m) * scale * asymmetry + 2 * bending * astray[known]) / size
    found.append(
        check_identity(
            "theorem-4.2-exact",
            captured.name,
            left=left,
            right=exact,
            relative=(left - exact).abs() / size,
            tolerance=tolerance,
            units=alive,
        )
    )
    size_second = torch.maximum(size, scale * h_g.norm(dim=-1) * g.norm(dim=-1))
    record = {
        "name": captured.name,
        "units": alive,
        "first": _compare(left, first, size, tolerance, alive),
        "second": _compare(left, second, size_second, tolerance, alive),
    }
    return record, found


def _bend_size(scale: Tensor, sigma2: Tensor, y_norm: Tensor, g_norm: Tensor, m: int) -> Tensor:
    """The size of the terms that do not contain H: |gamma| ||y_hat|| ||g||/(m sigma^2)."""
    return scale.sqrt() / sigma2.sqrt() * y_norm * g_norm / m


def _compare(left: Tensor, right: Tensor, size: Tensor, tolerance: Tensor, units: list[int] | None = None) -> Json:
    """left <= right on every unit: how many break it beyond the tolerance, and the one with the largest excess."""
    excess = (left - right) / size
    broken = excess > tolerance
    # the worst among the units that matter: a nearly dead unit may break a bound by any factor, at the size of 1e-40
    worst = int(torch.where(size >= 1e-3 * size.max(), excess, -torch.inf).argmax())
    return {
        "checked": left.numel(),
        "violated": int(broken.sum()),
        "unit": worst if units is None else units[worst],
        "left": float(left[worst]),
        "right": float(right[worst]),
        "excess": float(excess[worst]),
        "tolerance": float(tolerance[worst]),
    }


def _split(scale: Tensor, g2: Tensor, left: Tensor, mean_part: Tensor, y_hat_part: Tensor) -> Json:
    """Scaling and shares of a whole layer; null where its gradient is zero."""
    whole, scaled = float(g2.sum()), float((scale * g2).sum())
    if whole == 0 or scaled == 0:
        return {"scaling": None, "share_mean": None, "share_y_hat": None, "left": None}
    return {
        "scaling": scaled / whole,
        "share_mean": float((scale * mean_part).sum()) / scaled,
        "share_y_hat": float((scale * y_hat_part).sum()) / scaled,
        "left": float(left.sum()) / scaled,
    }


def _share(part: Tensor, whole: Tensor) -> Tensor:
    alive = whole > 0
    return part[alive] / whole[alive]


def _quantiles(x: Tensor) -> list[float]:
    """Minimum, quartiles and maximum; empty where there is nothing."""
    if x.numel() == 0:
        return []
    points = torch.tensor([0, 0.25, 0.5, 0.75, 1], dtype=torch.float64)
    return [float(q) for q in torch.quantile(x.detach().double().cpu().reshape(-1), points)]


def _flat(x: Tensor) -> Tensor:
    return x[..., 0]
