"""Code of a user's own that normalises over the batch by none of the closed forms: seen by its operations and by its derivative.

What lives here: whether an operation combines activations with a statistic of their batch, whether a module's derivative is that of a
normalisation over the batch, and whether its values are an affine map of each channel, which constants can replace. What does not: the
closed forms (:mod:`bntheory.bridge.units`), and following a forward pass (:mod:`bntheory.bridge.normalisers`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, finfo, nn
from torch.nn import functional

from bntheory.bridge.draws import normal_like
from bntheory.bridge.graph import leaves_of, nodes_of
from bntheory.bridge.networks.evaluation import plain_storage, transformed
from bntheory.bridge.units import affine_fit, rounding_of_fit

_DIFFERENCES = {"sub", "__sub__", "__rsub__", "rsub", "subtract"}
_QUOTIENTS = {"div", "__truediv__", "true_divide", "divide"}
_PRODUCTS = {"mul", "__mul__", "__rmul__", "multiply"}
_LARGER = {"max", "maximum"}
#: Other operations that multiply, and the places of the two factors among their arguments. The second factor may be one number a channel,
#: or a diagonal matrix of these.
_FACTORS = {
    "addcmul": (1, 2), "einsum": (1, 2), "linear": (0, 1), "matmul": (0, 1), "__matmul__": (0, 1), "mm": (0, 1), "addmm": (1, 2),
    "addcdiv": (1, 2),
}  # fmt: skip
#: The nodes that show an operand to be a reciprocal, so that a product divides by it, or a spread, so that a maximum is taken of a scale.
#: A quotient needs no such sign.
_BY = {
    **dict.fromkeys(_PRODUCTS | _FACTORS.keys() - {"addcdiv"}, ("Rsqrt", "Reciprocal", "Pow", "Div")),
    **dict.fromkeys(_LARGER, ("Sqrt", "Std", "Var")),
}


def by_a_statistic(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], examples: int) -> tuple[bool, bool]:
    """Whether an operation combines activations with a statistic of their batch, and whether it divides them by one.

    A statistic lacks the axis of the examples and was computed from all of them, and from parameters too: what is computed from data
    alone is a constant, and what is computed from parameters alone is no statistic.
    """
    name = _name_of(func) if args else ""
    if func is functional.normalize:
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 1)
        pairs = [(args[0], torch.linalg.vector_norm(args[0], dim=dim, keepdim=True))]
    elif name in _DIFFERENCES | _QUOTIENTS and len(args) > 1:
        pairs = [(args[0], args[1])]
    elif name in _PRODUCTS | _LARGER and len(args) > 1:
        pairs = [(args[0], args[1]), (args[1], args[0])]
    elif name in _FACTORS and len(args) > max(_FACTORS[name]):
        a, b = (args[place] for place in _FACTORS[name])
        pairs = [(a, b.diagonal() if isinstance(b, Tensor) and _computed_by(b, ("Diag",), 2) and b.dim() == 2 else b)]
    else:
        return False, False
    found = [b for a, b in pairs if _lacks_the_examples(_mapped_over(a), b, examples)]
    if not found:
        return False, False
    by = _BY.get(name, ())
    inverse = name not in _DIFFERENCES and (not by or any(_computed_by(b, by) for b in found))
    return True, inverse and any(_of_data_and_parameters(b) for b in found)


def centred_by(a: Tensor, b: Tensor, axis: int | None) -> bool:
    """Whether b is computed from a by taking a statistic of each channel away, and a factor at most, in whichever way.

    By its values b is a multiple of each channel along the axis (None: of all entries), but for what it has in common with all of the
    channel or with all examples; and by its derivative a shift of a channel changes nothing.
    """
    over = [i for i in range(a.dim()) if i != axis]
    if a.shape != b.shape or not over:
        return False
    together = [over, *([i] for i in over if i < 2 and len(over) > 1)]  # of sequences, time may come first
    if not any(_multiple(a.detach().double(), b.detach().double(), over, common, a.dtype) for common in together):
        return False
    g = normal_like(b, torch.Generator().manual_seed(0))
    (pulled,) = torch.autograd.grad(b, a, g, retain_graph=True, allow_unused=True)
    if pulled is None or not bool(pulled.any()):
        return False
    return bool((pulled.sum(over).abs() <= 1e-3 * pulled.abs().sum(over)).all())


def _multiple(a: Tensor, b: Tensor, over: list[int], common: list[int], dtype: torch.dtype) -> bool:
    """Whether b is a multiple of each channel of a, but for a part that entries along the axes ``common`` have in common."""
    x, z = (t - t.mean(common, keepdim=True) for t in (a, b))
    power = x.square().sum(over, keepdim=True)
    slope = (x * z).sum(over, keepdim=True) / power.where(power > 0, power.new_ones(()))
    size = slope.abs() * a.abs().amax(over, keepdim=True) + b.abs().amax(over, keepdim=True)
    rounding = 100 * finfo(dtype).eps * size
    missed, left = ((t.abs().amax(over, keepdim=True)) for t in (z - slope * x, z))
    return bool((missed <= rounding).all()) and bool((left > rounding).any())


def _name_of(func: Any) -> str:
    """An operation's name, that of its in-place form included."""
    name = getattr(func, "__name__", "").replace("__i", "__").removesuffix("_")
    return name + "__" if name.startswith("__") and not name.endswith("__") else name


def _mapped_over(a: Any) -> Any:
    """Under torch.vmap, whose function meets a part of its input: the whole input, with the axis that vmap runs along first. Otherwise a itself."""
    while isinstance(a, Tensor) and torch._C._functorch.is_batchedtensor(a):
        a = torch._C._functorch.get_unwrapped(a).movedim(torch._C._functorch.maybe_get_bdim(a), 0)
    return a


def _lacks_the_examples(a: Any, b: Any, examples: int) -> bool:
    if (
        not (isinstance(a, Tensor) and isinstance(b, Tensor))
        or b.grad_fn is None
        or a.dim() < b.dim()
        or transformed(b)
        or not plain_storage(b)
    ):
        return False
    # along an axis that was expanded there is one entry
    sizes = [1] * (a.dim() - b.dim()) + [n if s else 1 for n, s in zip(b.shape, b.stride(), strict=True)]
    if not math.prod(sizes) < a.numel():
        return False  # all examples again, in another order
    if a.dim() and a.shape[0] % examples == 0:
        return sizes[0] == 1 and (a.dim() > 1 or a.shape[0] == examples)
    pairs = list(zip(a.shape, sizes, strict=True))
    counts = [(n, k) for n, k in pairs if n and n % examples == 0]
    return bool(counts) and all(k == 1 for _, k in counts)


def _computed_by(b: Tensor, names: tuple[str, ...], depth: int = 6) -> bool:
    nodes = [b.grad_fn]
    for _ in range(depth):
        if any(node is not None and node.name().startswith(names) for node in nodes):
            return True
        nodes = [parent for node in nodes if node is not None for parent, _ in node.next_functions]
    return False


def _of_data_and_parameters(b: Tensor) -> bool:
    leaves = leaves_of(b).values()
    looked_up = any(node.name().startswith(("Embedding", "Index", "Gather")) for node in nodes_of(b))
    data = looked_up or any(not isinstance(leaf, nn.Parameter) for leaf in leaves)
    return data and any(isinstance(leaf, nn.Parameter) for leaf in leaves)


def by_a_hook(module: nn.Module, x: Tensor, z: Tensor) -> bool:
    """Whether what was matched is the work of a hook of the user's. One hook of each kind is ours."""
    if len(module._forward_hooks) < 2 and len(module._forward_pre_hooks) < 2:
        return False
    try:
        with torch.no_grad():
            return not torch.equal(module.forward(x), z)
    except TypeError:  # it takes more than its input
        return False


def own_normalisation(x: Tensor | None, z: Any, *, spread: bool) -> tuple[bool, int | None]:
    """Whether a module that turned x into z normalises over the batch, and the channels' axis where constants could replace its statistics.

    spread: whether it was seen to take a spread of the batch.
    """
    if x is None or not isinstance(z, Tensor) or not (x.requires_grad and z.requires_grad) or transformed(x):
        return False, None
    axis = _affine_channels(x, z)
    return _normalises(x, z, shift_only=axis is None and not spread), axis


def _normalises(x: Tensor, z: Tensor, *, shift_only: bool) -> bool:
    """Whether a module's output for one example depends on the others, and shifting (or scaling) all inputs of a channel changes nothing.

    By its derivative: none of the closed forms is asked for, and mixing examples alone (a graph, a pooled context) is no normalisation.
    """
    if not x.dim() or not z.dim() or len(x) < 2 or len(z) != len(x) or not x.is_floating_point():
        return False
    g = torch.zeros_like(z.detach())
    g[0] = normal_like(z[0], torch.Generator().manual_seed(0))
    (pulled,) = torch.autograd.grad(z, x, g, retain_graph=True, allow_unused=True)
    if pulled is None or not bool(pulled[1:].any()):
        return False
    pulled, y = pulled.double(), x.detach().double()
    # an eps leaves a little of the change with the scale
    changes = [(pulled, 1e-3)] if shift_only else [(pulled, 1e-3), (pulled * y, 0.1)]
    return any(
        bool((change.sum(over).abs() <= share * change.abs().sum(over)).all())
        for change, share in changes
        for over in (
            *(over for _, over in _channels(x)),
            tuple(range(x.dim())),
        )  # the last: one mean and scale of all channels
    )


def _affine_channels(x: Tensor, z: Tensor) -> int | None:
    """The channels' axis along which z is, on this batch, an affine map of each channel of x; None if there is none."""
    if z.shape != x.shape or not bool(torch.isfinite(z).all()):
        return None
    y, w = x.detach().double(), z.detach().double()
    for axis, over in _channels(x):
        mean = y.mean(over, keepdim=True)
        sigma = (y - mean).square().mean(over, keepdim=True).sqrt()
        if x.numel() < 4 * x.shape[axis] or not bool((sigma > 0).all()):
            continue
        fitted = affine_fit((y - mean) / sigma, w, over)
        tolerance = rounding_of_fit(x.dtype, x.numel() // x.shape[axis], y, sigma, over)
        # a constant is the output of every map with gamma = 0, and tells nothing
        if fitted is not None and fitted[2] <= tolerance and bool(fitted[0].abs().amax() > tolerance * w.abs().amax()):
            return axis
    return None


def _channels(x: Tensor) -> list[tuple[int, tuple[int, ...]]]:
    """Where a tensor's channels may lie, the second or the last axis, and all other axes."""
    axes = sorted({1, x.dim() - 1}) if x.dim() > 1 else []
    return [(axis, tuple(a for a in range(x.dim()) if a != axis)) for axis in axes]
