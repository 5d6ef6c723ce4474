"""Right values for networks without the product: normalisation in primitive operations, double backward in float64.

Torch's functional normalisations (and its weight normalisation, whose second derivative is wrong) are exchanged by name for a mean,
a subtraction and a square root; frozen statistics are detached ones, which at the point itself have the derivatives of constants.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import architectures
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import PackedSequence


def spread(v: Tensor, x: Tensor) -> Tensor:
    return v.reshape(1, -1, *[1] * (x.dim() - 2))


def standardised(x: Tensor, axes: Any, eps: float, *, centre: bool = True, frozen: bool = False) -> Tensor:
    mean = x.mean(axes, keepdim=True) if centre else torch.zeros(())
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    if frozen:
        mean, variance = mean.detach(), variance.detach()
    return (x - mean) / (variance + eps) ** 0.5


def affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def primitives(frozen: bool) -> dict[tuple[Any, str], Callable[..., Any]]:
    def batch(x, running_mean=None, running_var=None, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
        axes = [a for a in range(x.dim()) if a != 1]
        if training or running_mean is None:
            y = standardised(x, axes, eps, frozen=frozen)
        else:
            y = (x - spread(running_mean, x)) / (spread(running_var, x) + eps) ** 0.5
        return affine(y, *(None if p is None else spread(p, x) for p in (weight, bias)))

    def layer(x, shape, weight=None, bias=None, eps=1e-5):
        return affine(standardised(x, tuple(range(-len(shape), 0)), eps), weight, bias)

    def group(x, groups, weight=None, bias=None, eps=1e-5):
        y = standardised(x.reshape(len(x), groups, -1), (2,), eps).reshape(x.shape)
        return affine(y, *(None if p is None else spread(p, x) for p in (weight, bias)))

    def instance(
        x, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
    ):
        return group(x, x.shape[1], weight, bias, eps)

    def rms(x, shape, weight=None, eps=None):
        # what torch takes for eps is that of the precision in which the layer is evaluated
        eps = torch.finfo(x.dtype).eps if eps is None else eps
        return affine(standardised(x, tuple(range(-len(shape), 0)), eps, centre=False), weight, None)

    def weight_norm(v, g, dim=0):
        axes = [a for a in range(v.dim()) if a != dim]
        return v * g / (v**2).sum(axes, keepdim=True) ** 0.5

    return {
        (F, "batch_norm"): batch,
        (F, "layer_norm"): layer,
        (F, "group_norm"): group,
        (F, "instance_norm"): instance,
        (F, "rms_norm"): rms,
        (torch, "_weight_norm"): weight_norm,
    }


@contextmanager
def written_out(frozen: bool = False) -> Iterator[None]:
    with ExitStack() as stack:
        for (owner, name), function in primitives(frozen).items():
            stack.enter_context(patch.object(owner, name, function))
        stack.enter_context(patch.object(architectures.Rms, "precision", torch.float64))
        stack.enter_context(patch.object(architectures.Renorm, "frozen", frozen))
        stack.enter_context(patch.object(architectures.Checkpointed, "plain", True))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


def doubled(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, PackedSequence):
        return value.double()
    if isinstance(value, Mapping):
        return {key: doubled(item) for key, item in value.items()}
    return type(value)(map(doubled, value)) if isinstance(value, (tuple, list)) else value


def plain(model: nn.Module, mode: str = "train") -> nn.Module:
    """A float64 copy without wrappers, every layer in the mode."""
    model = getattr(model, "_orig_mod", getattr(model, "module", model))
    model = copy.deepcopy(model).double().train(mode == "train")
    for module in model.modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
            module.sparse = False
    return model


def called(model: nn.Module, loss: Any, batch: Any) -> Tensor:
    inputs, *rest = batch
    if isinstance(inputs, Mapping):
        outputs = model(**inputs)
    else:
        several = isinstance(inputs, (tuple, list)) and not isinstance(inputs, PackedSequence)
        outputs = model(*inputs) if several else model(inputs)
    return outputs.loss if loss is None else loss(outputs, *rest)


def derivatives(
    model: nn.Module, loss: Any, batch: Any, *, frozen: bool = False, mode: str = "train"
) -> tuple[float, dict[str, Tensor], Tensor]:
    """Loss, gradient by name, and the dense Hessian by all trainable parameters, in float64."""
    model, batch = plain(model, mode), doubled(batch)
    names, parameters = zip(*[(n, p) for n, p in model.named_parameters() if p.requires_grad], strict=True)
    with written_out(frozen):
        value = called(model, loss, batch)
        first = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True)
        first = [torch.zeros_like(p) if g is None else g for g, p in zip(first, parameters, strict=True)]
        rows = []
        for entry in torch.cat([g.reshape(-1) for g in first]):
            row = (
                torch.autograd.grad(entry, parameters, retain_graph=True, allow_unused=True)
                if entry.requires_grad
                else [None] * len(parameters)
            )
            rows.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if r is None else r).reshape(-1)
                        for r, p in zip(row, parameters, strict=True)
                    ]
                )
            )
    gradient = {n: g.detach() for n, g in zip(names, first, strict=True)}
    return float(value.detach()), gradient, torch.stack(rows)


def top(matrix: Tensor) -> float:
    return float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[-1])
