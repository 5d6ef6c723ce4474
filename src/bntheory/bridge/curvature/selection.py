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

from bntheory.bridge.arguments import check_fields
from bntheory.bridge.networks.evaluation import tensors_in
from bntheory.bridge.objective import Objective
from bntheory.errors import UserError


@dataclass(frozen=True)
class Activation:
    """The input or the output of one submodule as the variable, for instance a layer's pre-activations.

    ``Activation("bn1", "input")`` are the pre-activations y of the batch normalisation ``bn1``;
    ``Activation("bn1", "output")`` are its z. The module has to be called exactly once in a forward pass.
    """

    module: str
    at: Literal["input", "output"] = "input"

    def __post_init__(self) -> None:
        check_fields(self)

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


def select(objective: Objective, parameters: Parameters) -> Selection:
    """The variables that ``parameters`` names, as the objective measures them.

    ``None``: every parameter of the model that requires a gradient (tied ones once). A string: the parameter or
    the module of that name. A sequence of strings: the same, joined. An :class:`Activation`. Or tensors.

    Raises ValueError for an unknown name, an empty list, duplicates, a tensor without gradient, or tensors of
    several dtypes or devices.
    """
    if isinstance(parameters, Activation):
        if objective.model is None:
            raise UserError("parameters is an Activation, which needs a model; model is None")
        if parameters.module not in objective.named_modules():
            raise UserError(_unknown(objective, parameters.module))
        return Selection((parameters.name,), (), parameters)
    if isinstance(parameters, Tensor):
        raise UserError(
            f"parameters is one tensor of shape {tuple(parameters.shape)}, which would be read as a sequence of "
            "its rows; pass a list, [tensor]"
        )
    pairs = list(_pairs(objective, parameters))
    _check(pairs, parameters)
    return Selection(tuple(name for name, _ in pairs), tuple(tensor for _, tensor in pairs))


def differentiable(objective: Objective) -> Objective:
    """The same with every parameter requiring a gradient, on copies: for derivatives by activations, and what is checked of them.

    A statistic of the batch is told by what it is computed from, and behind frozen parameters alone it would pass for a constant.
    """
    if all(leaf.requires_grad or not leaf.is_floating_point() for leaf in objective.leaves.values()):
        return objective
    found = objective.changed(private=True)
    for leaf in found.leaves.values():
        leaf.requires_grad_(leaf.is_floating_point())
    return found


def _pairs(objective: Objective, parameters: Any) -> Iterable[tuple[str, Tensor]]:
    if parameters is None:
        if objective.model is None:
            raise UserError("parameters is None and so is model: name the tensors to differentiate with respect to")
        seen: dict[int, tuple[str, Tensor]] = {}
        for name, leaf in objective.leaves.items():
            if leaf.requires_grad and leaf.numel():
                seen.setdefault(id(leaf), (name, leaf))
        return list(seen.values())
    items: list[Any] = [parameters] if isinstance(parameters, str) else list(parameters)
    if all(isinstance(item, Tensor) for item in items):
        known = {id(leaf): name for name, leaf in reversed(objective.leaves.items())}
        measured = [objective.measured(item) for item in items]
        for i, t in enumerate(measured):
            if objective.dtype not in (None, t.dtype) and id(t) not in known and t.is_floating_point():
                raise UserError(
                    f"parameters: tensor[{i}] is {t.dtype} and no parameter of the model, and dtype={objective.dtype} converts the model's "
                    "alone. Register it (nn.Parameter), give it in that precision, or leave dtype out"
                )
        return [(known.get(id(t), f"tensor[{i}]"), t) for i, t in enumerate(measured)]
    if not all(isinstance(item, str) for item in items):
        kinds = sorted({type(item).__name__ for item in items})
        raise UserError(f"parameters mixes {', '.join(kinds)}; give names only, or tensors only")
    if objective.model is None:
        raise UserError("parameters are names, which need a model; model is None")
    found: dict[int, tuple[str, Tensor]] = {}
    for item in items:
        for name, tensor in _named(objective, item):
            found.setdefault(id(tensor), (name, tensor))  # a layer and its own weight may both be named
    return list(found.values())


def _named(objective: Objective, name: str) -> list[tuple[str, Tensor]]:
    for given in (name, name.removeprefix(objective.prefix)):
        if given in objective.leaves:
            return [(given, objective.leaves[given])]
        if given in objective.named_modules():
            prefix = f"{given}." if given else ""
            own = [(n, p) for n, p in objective.leaves.items() if n.startswith(prefix) and p.requires_grad]
            if not own:
                raise UserError(
                    f"parameters names the module {given!r}, which has no parameter that requires a gradient"
                )
            return own
    raise UserError(_unknown(objective, name))


def _unknown(objective: Objective, name: str) -> str:
    names = [n for n in objective.named_modules() if n] + list(objective.leaves)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    kind = type(objective.network).__name__
    return f"parameters names {name!r}, which is no module or parameter of {kind}; it has {shown}"


def captured(model: nn.Module, activation: Activation) -> list[Tensor]:
    """The list into which the input or output of a module goes during the forward pass, by a hook that a guard of the state takes out.

    The module receives (or passes on) a copy, so that an in-place operation behind it does not change the
    captured tensor.
    """
    found: list[Tensor] = []

    def keep(value: object) -> Tensor:
        if not isinstance(value, Tensor):
            raise UserError(f"{activation.name} is a {type(value).__name__}; an Activation has to be one tensor")
        if not value.requires_grad:
            value = value.detach().requires_grad_()
        found.append(value)
        return value.clone()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        if args:
            return (keep(args[0]), *args[1:]), kwargs
        name = next((key for key, value in kwargs.items() if tensors_in(value)), "its first argument")
        return args, {**kwargs, name: keep(kwargs.get(name))}

    def after(module: nn.Module, args: object, output: object) -> Tensor:
        return keep(output)

    module = model.get_submodule(activation.module)
    if activation.at == "input":
        module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        module.register_forward_hook(after)
    return found


def _check(pairs: Sequence[tuple[str, Tensor]], parameters: Any) -> None:
    if not pairs:
        where = "model has no parameter that requires a gradient" if parameters is None else "parameters is empty"
        raise UserError(f"{where}: there is nothing to differentiate with respect to")
    seen: set[int] = set()
    for name, tensor in pairs:
        if id(tensor) in seen:
            raise UserError(f"parameters lists {name} twice; its block would be counted twice")
        seen.add(id(tensor))
        if not tensor.is_floating_point():
            raise UserError(f"parameter {name} has dtype {tensor.dtype}; derivatives need a real floating dtype")
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
    """Pieces of a flat vector in the shapes of ``like``: views, or copies of pairs that begin at an odd place, where they could not be read as
    complex numbers."""
    pieces = torch.split(vector, [tensor.numel() for tensor in like])
    odd = [piece.storage_offset() % 2 and t.dim() and t.shape[-1] == 2 for piece, t in zip(pieces, like, strict=True)]
    return [(p.clone() if o else p).view(t.shape) for p, o, t in zip(pieces, odd, like, strict=True)]


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
