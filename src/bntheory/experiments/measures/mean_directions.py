r"""How far the sharpest direction of the loss moves the means of the hidden units, against directions that leave them
alone.

A *mean direction* of a channel is the gradient, by all parameters, of its mean pre-activation over the batch (and over
positions). A *contrast direction* is the gradient of a random contrast of the same channel: sum_i c_i y_i with random c
of zero sum, of the length that the mean has (1/sqrt(m)). There are as many of the ones as of the others, and they lie
in the same layers, so the share of the top eigenvector in the span of the contrasts is what chance gives to a channel's
movements; the share of a random direction in a span of dimension r among P parameters is r/P.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bntheory.bridge.curvature import top_eigenvalues
from bntheory.bridge.curvature.linear import FunctionOperator
from bntheory.bridge.networks.builder import Unit
from bntheory.bridge.networks.state import state_guard
from bntheory.errors import UserError
from bntheory.experiments.measures.situation import Json, Options, Situation, recorded_hessian


def mean_overlap(at: Situation, options: Options) -> Json:
    """Shares of the top Hessian eigenvector in the two spans, and the largest eigenvalue without either.

    options: batch_size; tolerance and max_products of each eigenvalue. ``top``, ``without_means``,
    ``without_contrasts``: the largest eigenvalues of H, and of H between the projections off either span. ``refused``:
    why there are none.
    """
    batch, seed, search = at.batch(options["batch_size"]), at.task.seed, at.search(options)
    means, contrasts = (_orthonormal(channel_directions(at.model, batch[0], weights)) for weights in (None, seed))
    try:
        with recorded_hessian(at.model, at.loss, batch, mode="train") as operator:
            top = top_eigenvalues(operator, **search)
            v = top.vectors[:, 0]
            without = {}
            for name, span in (("without_means", means), ("without_contrasts", contrasts)):

                def projected(u: Tensor, span: Tensor = span) -> Tensor:
                    u = operator.apply(u - span @ (span.T @ u))
                    return u - span @ (span.T @ u)

                off = FunctionOperator(projected, operator.size, dtype=operator.dtype, device=operator.device)
                without[name] = top_eigenvalues(off, **search).top
            loss = float(operator.loss)
    except ValueError as error:
        return {"mean_overlap": {"refused": str(error)}}
    return {
        "mean_overlap": {
            "loss": loss,
            "top": top.top,
            "converged": top.converged,
            "means": float((means.T @ v).square().sum()),
            "contrasts": float((contrasts.T @ v).square().sum()),
            "dimension": means.shape[1],
            "contrast_dimension": contrasts.shape[1],
            "parameters": operator.size,
            **without,
            "refused": None,
        }
    }


def channel_directions(model: nn.Module, inputs: Tensor, seed: int | None) -> Tensor:
    """The gradients by all trainable parameters, flat, of one number of each channel of each hidden weight layer:
    (parameters, channels).

    seed: None for the channel's mean over the batch and its positions; else a random contrast of length 1/sqrt(m) from
    this seed.

    Raises UserError for a model without units of weight layer and normalisation.
    """
    units = [module for module in model.modules() if isinstance(module, Unit)]
    if not units:
        raise UserError(f"{type(model).__name__} has no hidden unit of weight layer and normalisation")
    seen: list[Tensor] = []
    generator = torch.Generator().manual_seed(0 if seed is None else seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    with state_guard(model, parameters=False):  # which takes the hooks out again
        for unit in units:
            unit.weight_layer.register_forward_hook(lambda module, x, y: seen.append(y))
        model(inputs)
    columns = []
    for y in seen:
        channels = y.transpose(0, 1).flatten(1)  # (C, m)
        m = channels.shape[1]
        weights = torch.full(channels.shape, 1 / m, dtype=torch.float64)
        if seed is not None:
            weights = torch.randn(channels.shape, generator=generator, dtype=torch.float64)
            weights = weights - weights.mean(1, keepdim=True)
            weights = weights / (torch.linalg.vector_norm(weights, dim=1, keepdim=True) * m**0.5)
        numbers = (channels * weights.to(channels)).sum(1)
        for number in numbers:
            found = torch.autograd.grad(number, parameters, retain_graph=True, allow_unused=True)
            full = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            columns.append(torch.cat([g.flatten() for g in full]))
    return torch.stack(columns, 1)


def _orthonormal(columns: Tensor) -> Tensor:
    """An orthonormal basis of the span, the directions that rounding cannot tell from none left out.

    By the eigenvectors of the Gram matrix in float64: a twentieth of the cost of a singular value decomposition, and
    its squared condition number is no loss where directions below 1e-5 of the longest are left out.
    """
    lengths = torch.linalg.vector_norm(columns, dim=0)
    live = (columns[:, lengths > 0] / lengths[lengths > 0]).double()
    values, vectors = torch.linalg.eigh(live.T @ live)
    kept = values > 1e-10 * values[-1]
    basis: Tensor = live @ (vectors[:, kept] / values[kept].sqrt())
    return basis.to(columns)
