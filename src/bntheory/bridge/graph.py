"""What the graph of a value holds: its nodes, its leaves, a user's own functions, and the bytes that it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode

from bntheory.bridge.networks.evaluation import plain_storage, tensors_in

#: Names of nodes that take data beside parameters: the first always do (a convolution of parameters alone is no weight), the second where
#: one of their factors has no gradient.
_LOOKS_UP, _PRODUCTS = ("Embedding", "Index", "Gather", "Convolution"), ("Mm", "Addmm", "Bmm", "Baddbmm", "Mv", "Dot")


class SavedBytes(saved_tensors_hooks):
    """Counts the bytes of all storages that autograd keeps while the context is open, those of ``exclude`` not counted."""

    def __init__(self, exclude: Sequence[Tensor]) -> None:
        # by the storage itself: inside of a transform it has no address of its data
        known = {tensor.untyped_storage()._cdata for tensor in exclude if plain_storage(tensor)}
        self.total = 0

        def count(tensor: Tensor) -> Tensor:
            if plain_storage(tensor) and tensor.untyped_storage()._cdata not in known:
                known.add(tensor.untyped_storage()._cdata)
                self.total += tensor.untyped_storage().nbytes()
            # with its history, an operation's own output would keep the operation alive for ever
            return tensor.detach()

        self.count = count
        super().__init__(count, lambda tensor: tensor)


class Reduced(TorchFunctionMode):
    """Context that holds what a pass reduces to one number: the terms of a loss, by their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[int, Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.numel() == 1:
            self.terms.update((id(t), t) for t in tensors_in(args) if t.requires_grad)
        return found


def nodes_of(value: Tensor) -> Iterator[Any]:
    """The nodes of the graph of a value."""
    seen: set[Any] = set()
    stack = [value.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        stack.extend(parent for parent, _ in node.next_functions)


def leaves_of(value: Tensor) -> dict[int, Tensor]:
    """The tensors without a history that a value was computed from."""
    variables = [getattr(node, "variable", None) for node in nodes_of(value)]
    return {id(variable): variable for variable in variables if isinstance(variable, Tensor)}


def of_a_weight(x: Tensor, parameters: Iterable[Tensor], examples: int = 0) -> list[Tensor]:
    """The parameters that x is made of, if x is a weight: a parameter in another shape, or one to which others and constants were applied.

    None where data or activations enter, or where x has a row of its own for each of many examples (learned features).
    """
    own, leaves = {id(p): p for p in parameters}, leaves_of(x)
    same = [p for p in own.values() if p.numel() == x.numel()]
    shared = [p for p in same if p.untyped_storage()._cdata == x.untyped_storage()._cdata]
    if len(x) == examples > 1 and any(p is x or (id(p) in leaves and _row_by_row(x, p)) for p in same):
        return []
    alone = leaves.keys() <= own.keys() and any(id(p) in leaves for p in same)
    return [*shared, *leaves.values()] if shared or (alone and not any(map(_takes_data, nodes_of(x)))) else []


def _row_by_row(x: Tensor, parameter: Tensor) -> bool:
    (by_first,) = torch.autograd.grad(x[0].sum(), parameter, retain_graph=True)
    return len(parameter) == len(x) and not bool(by_first[1:].any())


def _takes_data(node: Any) -> bool:
    """Whether an operation looks rows up, or is a product one factor of which is a constant."""
    return node.name().startswith(_LOOKS_UP) or (
        node.name().startswith(_PRODUCTS) and any(parent is None for parent, _ in node.next_functions)
    )


def differentiated(value: Tensor) -> bool:
    """Whether a value was computed from derivatives of torch's own operations, by whichever call they were taken."""
    # a function of a user's own may have any name
    return any("BackwardBackward" in node.name() and not hasattr(node, "_forward_cls") for node in nodes_of(value))


def live_batch_norms(value: Tensor) -> int:
    """How many fused normalisations by statistics of their input a graph holds (torch's instance normalisation is one of them)."""
    return sum("BatchNorm" in node.name() and bool(getattr(node, "_saved_training", False)) for node in nodes_of(value))


def fused_norms(value: Tensor) -> bool:
    """Whether a graph holds a normalisation with a fused formula for its derivatives."""
    return any(kind in node.name() for node in nodes_of(value) for kind in ("BatchNorm", "LayerNorm"))


def custom_functions(value: Tensor) -> tuple[str, ...]:
    """The names of the subclasses of ``torch.autograd.Function`` in a graph that are not torch's."""
    kinds = [getattr(node, "_forward_cls", None) for node in nodes_of(value)]
    return tuple(dict.fromkeys(k.__name__ for k in kinds if k is not None and not k.__module__.startswith("torch.")))
