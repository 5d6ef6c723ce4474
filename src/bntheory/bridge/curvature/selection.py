"""With respect to what: all parameters, named ones, a list of tensors, or the activations at a module.

Lives here: turning the ``parameters`` argument into a list of tensors, and flat vectors into pieces. Not here: the
loss and its derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.errors import UserError


@dataclass(frozen=True)
class Activation:
    """The input or the output of one submodule as the variable, for instance a layer's pre-activations.

    ``Activation("bn1", "input")`` are the pre-activations y of the batch normalisation ``bn1``;
    ``Activation("bn1", "output")`` are its z. The module has to be called exactly once in a forward pass.
    """

    module: str
    at: Literal["input", "output"] = "input"

    @property
    def name(self) -> str:
        return f"{self.module}.{self.at}"


Parameters = str | Activation | Sequence[str] | Sequence[Tensor] | Iterable[Tensor] | None


@dataclass(frozen=True)
class Selection:
    """The variables: ``names`` beside either ``tensors`` or one ``activation`` that exists during a forward pass."""

    names: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    activation: Activation | None = None


def select(model: nn.Module | None, parameters: Parameters) -> Selection:
    """The variables that ``parameters`` names.

    ``None``: every parameter of the model that requires a gradient (tied ones once). A string: the parameter or
    the module of that name. A sequence of strings: the same, joined. An :class:`Activation`. Or tensors.

    Raises ValueError for an unknown name, an empty list, duplicates, a tensor without gradient, or tensors of
    several dtypes or devices.
    """
    if isinstance(parameters, Activation):
        if model is None:
            raise UserError("parameters is an Activation, which needs a model; model is None")
        if parameters.module not in dict(model.named_modules()):
            raise UserError(_unknown(model, parameters.module))
        if parameters.at not in ("input", "output"):
            raise UserError(f"Activation.at is {parameters.at!r}; it must be 'input' or 'output'")
        return Selection((parameters.name,), (), parameters)
    if isinstance(parameters, Tensor):
        raise UserError(
            f"parameters is one tensor of shape {tuple(parameters.shape)}, which would be read as a sequence of "
            "its rows; pass a list, [tensor]"
        )
    pairs = list(_pairs(model, parameters))
    _check(pairs, parameters)
    return Selection(tuple(name for name, _ in pairs), tuple(tensor for _, tensor in pairs))


def _pairs(model: nn.Module | None, parameters: Any) -> Iterable[tuple[str, Tensor]]:
    if parameters is None:
        if model is None:
            raise UserError(
                "parameters is None and so is model: name the tensors to differentiate with respect to"
            )
        return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    items: list[Any] = [parameters] if isinstance(parameters, str) else list(parameters)
    if all(isinstance(item, Tensor) for item in items):
        known = {} if model is None else {id(p): name for name, p in model.named_parameters()}
        return [(known.get(id(t), f"tensor[{i}]"), t) for i, t in enumerate(items)]
    if not all(isinstance(item, str) for item in items):
        kinds = sorted({type(item).__name__ for item in items})
        raise UserError(f"parameters mixes {', '.join(kinds)}; give names only, or tensors only")
    if model is None:
        raise UserError("parameters are names, which need a model; model is None")
    found: dict[int, tuple[str, Tensor]] = {}
    for item in items:
        for name, tensor in _named(model, item):
            found.setdefault(id(tensor), (name, tensor))  # a layer and its own weight may both be named
    return list(found.values())


def _named(model: nn.Module, name: str) -> list[tuple[str, Tensor]]:
    # a tied parameter has several names, and each of them must find it
    by_name = dict(model.named_parameters(remove_duplicate=False))
    if name in by_name:
        return [(name, by_name[name])]
    modules = dict(model.named_modules())
    if name not in modules:
        raise UserError(_unknown(model, name))
    prefix = f"{name}." if name else ""
    own = [(prefix + n, p) for n, p in modules[name].named_parameters() if p.requires_grad]
    if not own:
        raise UserError(
            f"parameters names the module {name!r}, which has no parameter that requires a gradient"
        )
    return own


def _unknown(model: nn.Module, name: str) -> str:
    names = [n for n, _ in model.named_modules() if n] + [n for n, _ in model.named_parameters()]
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"parameters names {name!r}, which is no module or parameter of {type(model).__name__}; it has {shown}"


def _check(pairs: Sequence[tuple[str, Tensor]], parameters: Any) -> None:
    if not pairs:
        where = (
            "model has no parameter that requires a gradient" if parameters is None else "parameters is empty"
        )
        raise UserError(f"{where}: there is nothing to differentiate with respect to")
    seen: set[int] = set()
    for name, tensor in pairs:
        if id(tensor) in seen:
            raise UserError(f"parameters lists {name} twice; its block would be counted twice")
        seen.add(id(tensor))
        if not tensor.is_floating_point():
            raise UserError(
                f"parameter {name} has dtype {tensor.dtype}; derivatives need a real floating dtype"
            )
        if not tensor.requires_grad:
            raise UserError(
                f"parameter {name} does not require a gradient; call requires_grad_(True) on it, "
                "or leave it out of `parameters`"
            )
        if tensor.numel() == 0:
            raise UserError(f"parameter {name} has shape {tuple(tensor.shape)}: no entries")
    for what, values in (("dtypes", {t.dtype for _, t in pairs}), ("devices", {t.device for _, t in pairs})):
        if len(values) > 1:
            shown = ", ".join(sorted(map(str, values)))
            raise UserError(
                f"parameters have several {what} ({shown}); a flat vector has one. "
                "Convert the model (model.to(...)) or choose parameters that agree"
            )


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors' entries as one flat vector, in order."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def unflatten(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Pieces of a flat vector in the shapes of ``like`` (views)."""
    sizes = [tensor.numel() for tensor in like]
    return [piece.view(t.shape) for piece, t in zip(torch.split(vector, sizes), like, strict=True)]


def as_vector(v: Any, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``v`` (a flat numpy array or tensor, or (size, 1) as scipy passes it) as a flat tensor of the operator.

    Raises ValueError naming shape, dtype or device where they do not fit.
    """
    if isinstance(v, Tensor):
        if v.device != device:
            raise UserError(f"v lies on {v.device}, the operator on {device}; move it: v.to('{device}')")
        tensor = v.detach()
    else:
        array = np.asarray(v)
        if array.dtype.kind not in "fiu":
            raise UserError(f"v has dtype {array.dtype}; the operator takes real vectors")
        tensor = torch.as_tensor(np.ascontiguousarray(array), device=device)
    if tensor.is_complex():
        raise UserError(f"v has dtype {tensor.dtype}; the operator takes real vectors")
    if tuple(tensor.shape) not in ((size,), (size, 1)):
        raise UserError(
            f"v has shape {tuple(tensor.shape)}; the operator acts on flat vectors of length {size}, "
            "the number of entries of the chosen parameters in their order"
        )
    return tensor.reshape(size).to(dtype)
