"""Leave a model exactly as it was: one guard that every measurement of the bridge goes through.

A measurement switches modes, runs batch norm in training mode (which moves running statistics), takes trial steps, and draws random
numbers. :func:`state_guard` puts all of it back, bit for bit, also after an exception or an interrupt. No measurement lives here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import _lru_cache_wrapper
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.caches import save_cache
from bntheory.bridge.networks.generators import (
    GENERATORS,
    generator_state,
    generator_states,
    save_global_rng,
    set_generator_state,
)
from bntheory.bridge.networks.places import BUFFERS, CONTAINERS, Names, attributes_of, refill, set_attributes

#: Arrays of more entries are data, and no state.
_LARGEST = 1_000_000
_TENSOR_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
Restore = Callable[[], None]


@contextmanager
def state_guard(*models: Any, parameters: bool = True, rng: bool = True) -> Iterator[Callable[[], list[str]]]:
    """Restore ``models`` and the random number generators when the block ends, however it ends.

    Yields a function that names the parameters that have another version, other values or another storage by now.

    Restored bit-identically and, for tensors, in the same storage: parameters, buffers, ``.grad`` (object and values), ``requires_grad``,
    training mode of every submodule, hooks of modules and of parameters, the plain attributes of every submodule (counters, lists,
    overridden methods, generators) and the submodule tree itself. Attributes are restored one level deep: an object inside a user's own
    list is not copied. Random number generators: torch's (CPU, and every CUDA device where CUDA is in use), numpy's global one and Python's.

    Values are written back without touching autograd's version counters, so a graph that was built before the block can still be
    differentiated after it.

    Args:
        models: modules, and other objects and containers, whose attributes or entries are restored; a submodule or tensor that they share is saved once.
        parameters: also save the values of the parameters (one copy in memory). With ``False`` the block promises not to change them; a
            change that autograd's version counter sees raises ``RuntimeError`` at the end of the block.
        rng: also restore the random number generators.

    Raises:
        ValueError: a module has lazy, not yet initialised parameters or buffers.
    """
    undo: list[Restore] = []
    promised: list[tuple[str, Tensor, int]] = []
    compared: list[tuple[str, Tensor, Callable[[], tuple[bool, bool]]]] = []
    if rng:
        undo.append(save_global_rng())
    tensors: dict[int, None] = {}
    modules: dict[int, None] = {}
    for model in models:
        for prefix, module in model.named_modules() if isinstance(model, nn.Module) else [("", model)]:
            if id(module) in modules:
                continue
            modules[id(module)] = None
            undo.append(_save_attributes(module))
            if not isinstance(module, nn.Module):
                continue
            own: list[tuple[str, Tensor, bool]] = [(n, p, True) for n, p in module._parameters.items() if p is not None]
            own += [(n, b, False) for n, b in module._buffers.items() if b is not None]
            for name, tensor, is_parameter in own:
                if id(tensor) in tensors:
                    continue
                tensors[id(tensor)] = None
                full = f"{prefix}.{name}" if prefix else name
                if torch.nn.parameter.is_lazy(tensor):
                    raise ValueError(
                        f"model: {full} is lazy and has no values yet, so there is no state to come back to; run one batch through the model first"
                    )
                values = parameters or not is_parameter
                if not values and not tensor.is_inference():
                    promised.append((full, tensor, tensor._version))
                restore, compare = _save_tensor(tensor, values=values)
                undo.append(restore)
                if is_parameter:
                    compared.append((full, tensor, compare))

    def changed_by_now() -> list[str]:
        with torch._C.DisableTorchFunction():  # no mode that watches the block sees the comparison
            found = [(name, tensor, *compare()) for name, tensor, compare in compared]
        # torch lays the weights of a recurrent layer out anew, with the values that they have
        inside = (part for model in models if isinstance(model, nn.Module) for part in model.modules())
        laid = {id(p) for part in inside if isinstance(part, nn.RNNBase) for p in part._parameters.values()}
        return [name for name, tensor, changed, moved in found if changed or (moved and id(tensor) not in laid)]

    try:
        yield changed_by_now
    finally:
        _restore_all(undo)
    changed = [name for name, tensor, version in promised if tensor._version != version]
    if changed:
        raise RuntimeError(
            f"state_guard(parameters=False): the block changed {', '.join(changed[:5])} in place, and no copy was kept to restore it from; "
            "use parameters=True"
        )


def _restore_all(undo: list[Restore]) -> None:
    """Run every step, also when an interrupt (or an error) strikes one of them, and raise the first only then."""
    first: BaseException | None = None
    for restore in reversed(undo):
        try:
            restore()
        except BaseException as error:
            first = first or error
            if isinstance(error, KeyboardInterrupt):
                restore()  # each step may be repeated: what it did not reach the first time it does now
    if first is not None:
        raise first


def _save_tensor(tensor: Tensor, *, values: bool) -> tuple[Restore, Callable[[], tuple[bool, bool]]]:
    """Restores values, storage, ``requires_grad``, ``.grad`` and hooks; and tells whether version or saved values, and storage, are others."""
    # an alias survives `tensor.data = other`, as `model.double()` does it; an alias of a sparse tensor shares nothing
    storage = tensor.detach() if tensor.layout == torch.strided else tensor
    copy = storage.clone() if values else None
    requires_grad, version = tensor.requires_grad, None if tensor.is_inference() else tensor._version
    grad = tensor.grad if tensor.is_leaf else None
    grad_storage = grad.detach() if grad is not None and grad.layout == torch.strided else grad
    grad_copy = None if grad_storage is None else grad_storage.detach().clone()
    hooks = {name: getattr(tensor, name, None) for name in _TENSOR_HOOKS}
    contents = {name: None if hook is None else dict(hook) for name, hook in hooks.items()}

    def restore() -> None:
        if copy is not None:
            _write_back(storage, copy)
        if not _same_storage(tensor, storage):
            tensor.grad = None  # a gradient of the other dtype or shape would refuse the exchange
            tensor.data = storage
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if grad is not None and grad_storage is not None and grad_copy is not None:
            _write_back(grad_storage, grad_copy)
            if not _same_storage(grad, grad_storage):
                grad.data = grad_storage
        if tensor.is_leaf and tensor.grad is not grad:
            tensor.grad = grad
        for name, hook in hooks.items():
            now, before = getattr(tensor, name, None), contents[name]
            if hook is not None and before is not None:
                hook.clear()  # in place, since the handles of the hooks point to this very dictionary
                hook.update(before)
            if now is not hook:
                if now is not None:
                    now.clear()
                setattr(tensor, name, hook)

    def compare() -> tuple[bool, bool]:
        counted = version is not None and tensor._version != version
        return counted or (copy is not None and not _same_bits(tensor, copy)), not _same_storage(tensor, storage)

    return restore, compare


def _write_back(target: Tensor, copy: Tensor) -> None:
    if target.layout != torch.strided:
        with torch.no_grad():
            target.copy_(copy)
    elif not _same_bits(target, copy):
        target.data.copy_(copy)  # `.data`: the version counter stays, as the bits are what a graph saw


def _same_storage(a: Tensor, b: Tensor) -> bool:
    if a.layout != torch.strided or b.layout != torch.strided:
        return a.layout == b.layout  # sparse tensors have no one place in memory to compare
    first, second = ((t.dtype, t.device, t.shape, t.stride(), t.data_ptr()) for t in (a, b))
    return first == second


def bytes_of(tensor: Tensor) -> Tensor:
    """The representation of its entries, (n,) of uint8 on the tensor's device: NaN equals itself, and 0.0 differs from -0.0."""
    if tensor.is_meta:
        return torch.empty(0, dtype=torch.uint8)  # it has none
    dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    return dense.contiguous().reshape(-1).view(torch.uint8)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    """Equality of representations."""
    if a.shape != b.shape or a.dtype != b.dtype:  # resized in place
        return False
    return bool(torch.equal(bytes_of(a), bytes_of(b)))


def _save_attributes(module: Any) -> Restore:
    """A function that restores the attributes of ``module``, containers (hooks included) in place; of a container, its entries."""
    attributes = dict(attributes_of(module))
    held = (module, *attributes.values())
    contents = [(value, value.copy()) for value in held if isinstance(value, CONTAINERS)]
    arrays = [(v, v.copy()) for v in held if isinstance(v, np.ndarray) and v.flags.writeable and v.size <= _LARGEST]
    buffers: list[tuple[Any, Any]] = [(v, v[:]) for v in held if isinstance(v, BUFFERS)]
    generators = [(v, generator_state(v)) for v in held if isinstance(v, (*GENERATORS, ContextVar))]
    caches = [save_cache(v) for v in held if isinstance(v, _lru_cache_wrapper)]
    cls = module.__class__

    def restore() -> None:
        if module.__class__ is not cls:
            object.__setattr__(module, "__class__", cls)
        if not isinstance(module, Names):
            for name in [n for n in getattr(module, "__dict__", ()) if n not in attributes]:
                del module.__dict__[name]
        set_attributes(module, attributes)
        for container, before in contents:
            refill(container, before)
        for numbers, values in arrays:
            numbers[...] = values
        for buffer, entries in buffers:
            buffer[:] = entries
        for generator, state in generators:
            set_generator_state(generator, state)
        for put_back in caches:
            put_back()

    return restore


@checked
def state_fingerprint(model: nn.Module, *, rng: bool = True) -> str:
    """SHA-256 over everything that a measurement must leave alone; equal strings mean equal state.

    Covers names, bits, dtypes, devices, ``requires_grad`` and gradients of parameters and buffers, the training flag, class and hooks of
    every submodule, and (with ``rng``) the random number generators. Hooks and gradients count by identity, so the fingerprint is
    comparable only within one process.
    """
    digest = hashlib.sha256()

    def add(*parts: Any) -> None:
        digest.update(repr(parts).encode())

    def add_tensor(name: str, tensor: Tensor | None) -> None:
        if tensor is None:
            add(name, None)
            return
        add(name, id(tensor), tensor.dtype, tensor.device, tuple(tensor.shape), tensor.requires_grad)
        # a clone, since memory that numpy has seen can never be resized again
        digest.update(bytes_of(tensor).cpu().clone().numpy().tobytes())

    for prefix, module in model.named_modules():
        add(prefix, id(module), module.__class__.__qualname__, module.training)
        for name, value in module.__dict__.items():
            if name.endswith("_hooks") and isinstance(value, dict):
                add(name, [(key, id(hook)) for key, hook in value.items()])
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            add_tensor(name, tensor)
            if tensor is not None and tensor.is_leaf:
                add_tensor(f"{name}.grad", tensor.grad)
                add([sorted(map(id, (getattr(tensor, h, None) or {}).values())) for h in _TENSOR_HOOKS])
    if rng:
        add(generator_states())
    return digest.hexdigest()
