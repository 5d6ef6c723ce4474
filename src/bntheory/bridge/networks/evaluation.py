"""How a model and a loss are called: ``loss(model(inputs), *rest)`` with ``batch = (inputs, *rest)``.

What lives here: the calling convention of the whole room, the reading of batches and loaders, and the plain value and gradient that
a training loop takes. What does not: modes, precision, randomness and checks (:mod:`bntheory.bridge.objective`).
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from bntheory.bridge.arguments import checked
from bntheory.bridge.networks.keepers import keepers_of
from bntheory.bridge.networks.state import state_guard
from bntheory.bridge.raised import plainly_called
from bntheory.errors import UserError

Loss = Callable[..., Any]
Batch = Sequence[Any]


def spread_triple(model: Any, loss: Any, batch: Any) -> tuple[Any, Any, Any]:
    """Model, loss and batch, also where they were given as one tuple in the place of the model."""
    if isinstance(model, (tuple, list)) and loss is None and batch is None and 2 <= len(model) <= 3:
        model, loss, batch = (*model, None)[:3]
    return model, loss, batch


def call_model(model: nn.Module, inputs: Any) -> Any:
    """The model's outputs: a mapping of inputs is passed by name, a tuple or list is spread, anything else (a packed sequence) is the one argument."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if is_spread(inputs) else model(inputs)


def is_spread(inputs: Any) -> bool:
    """Whether inputs are several positional arguments."""
    return isinstance(inputs, (tuple, list)) and not isinstance(inputs, nn.utils.rnn.PackedSequence)


def call_loss(loss: Loss | None, outputs: Any, rest: Sequence[Any]) -> Any:
    """``loss(outputs, *rest)``; without a loss the model's own, ``outputs.loss`` or ``outputs["loss"]``.

    A loss of torch's own, which takes a tensor, is given the ``logits`` of outputs that are no tensor and have some.
    """
    if loss is None:
        own = _field(outputs, "loss")
        if own is None:
            raise UserError(
                f"loss is None, and the model returned a {type(outputs).__name__} without a field 'loss'; give the loss as a "
                "function loss(outputs, *rest), or pass the labels to the model so that it computes one"
            )
        return own
    return loss(loss_input(loss, outputs), *rest)


def loss_input(loss: Loss, outputs: Any) -> Any:
    """What a loss is given: the outputs, or their ``logits`` where the loss takes a tensor and they are none."""
    takes_tensors = isinstance(loss, nn.modules.loss._Loss) or getattr(loss, "__module__", "") == "torch.nn.functional"
    logits = _field(outputs, "logits") if takes_tensors and not isinstance(outputs, Tensor) else None
    return outputs if logits is None else logits


def _field(outputs: Any, name: str) -> Any:
    return outputs.get(name) if isinstance(outputs, Mapping) else getattr(outputs, name, None)


def closure_value(model: nn.Module | None, loss: Loss) -> Any:
    """A loss without a batch: ``loss()`` where it can be called so, ``loss(model)`` otherwise."""
    try:
        inspect.signature(loss).bind()
    except (TypeError, ValueError):
        return loss(model)
    return loss()


def _loss_among(value: Any) -> Any:
    """A loss beside other results, where there is no doubt which: a field ``loss``, or first in a tuple without another number."""
    if isinstance(value, Tensor):
        return value
    named = _field(value, "loss")
    if isinstance(named, Tensor):
        return named
    if isinstance(value, (tuple, list)):
        numbers = [i for i, item in enumerate(value) if isinstance(item, Tensor) and item.numel() == 1]
        return value[0] if numbers == [0] else value
    return value


def scalar(value: Any) -> Tensor:
    """``value`` checked to be one real number that autograd can differentiate; it may be infinite.

    A loss with a field ``loss``, or first in a tuple whose other items are no numbers of one entry, is taken from there.
    """
    value = _loss_among(value)
    if not isinstance(value, Tensor):
        several = (
            ". Of several results, give a function that returns the one to differentiate: lambda *a: loss(*a)[0]"
            if isinstance(value, (tuple, list, Mapping))
            else ""
        )
        raise UserError(
            f"loss returned a {type(value).__name__}; it has to return a tensor with one entry, computed by torch operations "
            f"(no .item(), no numpy){several}"
        )
    if value.numel() != 1 or not value.is_floating_point():
        raise UserError(
            f"loss returned a tensor of shape {tuple(value.shape)} in {value.dtype}; it must return one real number, a scalar. Reduce "
            "it (mean over the batch)"
        )
    return value.reshape(())


@checked
def evaluate(model: nn.Module, loss: Loss | None, batch: Any) -> Tensor:
    """``loss(model(inputs), *rest)``, a scalar in the graph, in the modes that the model is in; it may be infinite or NaN.

    Raises ValueError for a ``batch`` that is no sequence (inputs, *rest), a loss that is no scalar tensor, and what either of them raises.
    """
    if isinstance(batch, Tensor) or not isinstance(batch, Sequence) or not batch:
        raise UserError(f"batch: a {type(batch).__name__} was given; use a tuple (inputs, *targets)")
    inputs, *rest = batch
    with plainly_called(model):
        outputs = call_model(model, inputs)
    with plainly_called(model, "the loss", "It is called as loss(outputs, *rest), with batch = (inputs, *rest)"):
        return scalar(call_loss(loss, outputs, rest))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name; shared ones once.

    Raises:
        ValueError: there are none.
    """
    found = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not found:
        raise UserError("model: no parameter requires a gradient, so there is nothing to differentiate by")
    return found


@checked
def loss_and_gradients(
    model: nn.Module, loss: Loss | None, batch: Any, parameters: Sequence[Tensor] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """The loss (detached) and its gradients by ``parameters`` (default: all trainable), zeros where unused."""
    wanted = list(trainable(model).values()) if parameters is None else list(parameters)
    with torch.enable_grad():
        value = evaluate(model, loss, batch)
        with plainly_called(model, "the backward pass", "Training meets it as well"):
            return gradients_of(value, wanted)


def gradients_of(value: Tensor, wanted: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """A loss in the graph as its value and its dense gradients, detached; zeros where it does not use a tensor."""
    if not value.requires_grad:
        raise UserError("loss: does not depend on any parameter; is it computed under no_grad or detached?")
    found = torch.autograd.grad(value, list(wanted), allow_unused=True)
    gradients = [torch.zeros_like(p) if g is None else g.detach() for p, g in zip(wanted, found, strict=True)]
    return value.detach(), [g.to_dense() if g.layout != torch.strided else g for g in gradients]


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries as one float64 vector: sums over many float32 entries lose digits."""
    return torch.cat([t.detach().reshape(-1).double() for t in tensors])


# -- batches ---------------------------------------------------------------------------------------------------------


def read_batches(batch: Any, split: int | None = None) -> list[tuple[Any, ...] | None]:
    """One batch as a tuple ``(inputs, *rest)``, several as a list or loader of such; pieces of ``split`` examples.

    A mapping is one batch of keyword arguments without further ones. A list is several batches if each of its items is a batch by
    itself (a tuple, a list or a mapping), and otherwise one batch ``[inputs, *rest]``, as a default collate function returns it.

    Raises ValueError for a loader that shuffles, for what is no batch, and where nothing is left.
    """
    if batch is None:
        if split is not None:
            raise UserError(f"split={split} needs a batch to split; a closure holds its own data")
        return [None]
    batches: list[tuple[Any, ...] | None]
    if isinstance(batch, Mapping):
        batches = [(batch,)]
    elif isinstance(batch, tuple):
        batches = [batch]
    else:
        if isinstance(batch, DataLoader):
            _refuse_shuffling(batch)
        if isinstance(batch, (Tensor, str)) or not isinstance(batch, Iterable):
            raise UserError(
                f"batch is a {type(batch).__name__}; give a tuple (inputs, targets, ...), or a list of such tuples"
            )
        with state_guard(*keepers_of(batch)):  # a loader draws the seed of its workers, whether or not it shuffles
            items = list(batch)
        several = all(isinstance(item, (tuple, list, Mapping)) for item in items)
        batches = [_as_batch(item) for item in items] if several else [tuple(items)]
    if not batches or any(b is not None and not b for b in batches):
        raise UserError("batch is empty: there is no data to measure on")
    if split is not None:
        if split < 1:
            raise UserError(f"split is {split}; the number of examples in a piece has to be positive")
        batches = [piece for whole in batches for piece in pieces(whole or (), split)]
    return batches


def _as_batch(item: Any) -> tuple[Any, ...]:
    return (item,) if isinstance(item, Mapping) else tuple(item)


def _refuse_shuffling(loader: DataLoader[Any]) -> None:
    sampler = loader.batch_sampler if loader.batch_sampler is not None else loader.sampler
    if type(sampler) is BatchSampler:
        sampler = sampler.sampler
    if type(sampler) is not SequentialSampler:
        raise UserError(
            f"batch is a DataLoader with a {type(sampler).__name__}: every pass composes other batches, and with "
            "batch normalisation that is another function. Use shuffle=False, or fix the batches once: "
            "batch=list(loader)"
        )


def pieces(batch: tuple[Any, ...], split: int) -> list[tuple[Any, ...]]:
    """The batch cut into pieces of ``split`` examples along the first axis of every tensor that has one entry an example."""
    first = next(iter(tensors_in(batch[:1])), None)
    if first is None or first.dim() == 0:
        raise UserError(f"split={split}: the inputs hold no tensor whose first axis counts examples")
    total = first.shape[0]

    def cut(value: Any, start: int) -> Any:
        if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == total:
            return value[start : start + split]
        if isinstance(value, Mapping):
            return {key: cut(item, start) for key, item in value.items()}
        if isinstance(value, (tuple, list)):
            return tuple(cut(item, start) for item in value)
        return value

    return [cut(batch, start) for start in range(0, total, split)]


def example_counts(batches: Sequence[Any], modules: Mapping[str, nn.Module], given: Sequence[int] | None) -> list[int]:
    """The number of examples of each batch. Raises ValueError where shapes leave it open and it matters."""
    if given is not None:
        if len(given) != len(batches) or not all(int(n) > 0 for n in given):
            raise UserError(
                f"examples: {list(given)} are given for {len(batches)} batches; one positive number for each"
            )
        return [int(n) for n in given]
    shapes = [[shape_of(t) for t in tensors_in(batch)] for batch in batches]
    if all(shape == shapes[0] for shape in shapes):
        return [1] * len(batches)  # equal batches have equal weights, whichever axis counts examples
    time_major = _time_major(modules)
    by_labels = [_counted_by_labels(batch, bool(time_major)) for batch in batches]
    inputs_differ = len({shape[0][:1] for shape in shapes if shape}) > 1
    # the weights of classes have one length in all batches, which is no axis of their inputs
    if not all(fits for _, fits in by_labels) and inputs_differ and len({count for count, _ in by_labels}) == 1:
        by_labels = [(None, True)] * len(batches)
    counts = []
    for index, (batch, (count, _)) in enumerate(zip(batches, by_labels, strict=True)):
        firsts = {t.size(0) for t in tensors_in(batch) if t.dim() > 0}
        if count is not None:
            counts.append(count)
        elif len(firsts) == 1 and not time_major:
            counts.append(firsts.pop())
        else:
            found = ", ".join(str(shape) for shape in shapes[index])
            why = f" and {time_major} takes the examples as its second axis" if time_major else ""
            raise UserError(
                f"batch[{index}]: its number of examples cannot be told from the shapes {found}{why}; the batches differ, so the "
                "average needs it. Give examples=[...], one number for each batch"
            )
    return counts


def _counted_by_labels(batch: Any, time_major: bool) -> tuple[int | None, bool]:
    """The number of examples, where targets say it; and whether what says it fits an axis of the inputs.

    It is the inputs' first axis where targets share it, of one axis or more; else the length of what has one axis.
    """
    inputs, targets = tensors_in(batch[:1]), tensors_in(batch[1:])
    firsts = {t.size(0) for t in inputs if t.dim()}
    labels = {t.size(0) for t in targets if t.dim() == 1}
    if not labels:
        return None, True
    shared = firsts & (labels | {t.size(0) for t in targets if t.dim() > 1})
    if not time_major and len(firsts) == len(shared) == 1:
        return shared.pop(), True
    axes = {size for t in inputs for size in t.shape[:2]}
    return (labels.copy().pop(), bool(labels & axes)) if len(labels) == 1 else (None, True)


def _time_major(modules: Mapping[str, nn.Module]) -> str:
    """A module that takes sequences with time first, if there is one."""
    for name, module in modules.items():
        if isinstance(module, (nn.RNNBase, nn.MultiheadAttention)) and not module.batch_first:
            return f"{name or 'the model'} ({type(module).__name__}, batch_first=False)"
    return ""


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested tuples, lists and mappings, in their order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in tensors_in(item)]
    return []


def first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """What a module is taken to normalise: the first tensor among its arguments."""
    return next(iter(tensors_in((args, kwargs))), None)


def outputs_in(outputs: Any) -> list[Tensor]:
    """The tensors that a model returned: as :func:`tensors_in`, and those in the fields of a dataclass or another object."""
    if isinstance(outputs, (Tensor, Mapping, tuple, list)):
        return tensors_in(outputs)
    if dataclasses.is_dataclass(outputs):
        return [t for f in dataclasses.fields(outputs) for t in outputs_in(getattr(outputs, f.name))]
    return tensors_in(getattr(outputs, "__dict__", {}))


def plain_storage(tensor: Tensor) -> bool:
    """Whether a tensor is an ordinary one, neither sparse nor nested nor of a running transform, of one shape over one storage."""
    return tensor.layout == torch.strided and not tensor.is_nested and not transformed(tensor)


def requiring_a_gradient(tensor: Tensor) -> Tensor:
    """Inputs as nodes of the graph, so that a layer right behind them can be verified as well. In a transform torch has none."""
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return tensor
    differentiable = tensor.is_floating_point() and not tensor.requires_grad and plain_storage(tensor)
    if differentiable:
        return tensor.detach().requires_grad_().clone()
    return tensor if tensor.requires_grad or not plain_storage(tensor) else tensor.clone()


def transformed(x: Tensor) -> bool:
    """Whether a tensor belongs to a transform that is running: it must not be kept beyond it."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(x))


def shape_of(tensor: Tensor) -> tuple[Any, ...]:
    """The shape of a tensor; of a nested one, those of its parts."""
    return tuple(tuple(part.shape) for part in tensor.unbind()) if tensor.is_nested else tuple(tensor.shape)


def convert(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested data with every tensor changed; what holds no tensor that changes stays the very object."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        changed = {key: convert(item, change) for key, item in value.items()}
        if all(changed[key] is item for key, item in value.items()):
            return value
        if type(value) is dict or not isinstance(value, MutableMapping):
            return changed
        own = copy.copy(value)  # of the user's kind, whose entries may be read as attributes
        own.update(changed)
        return own
    if isinstance(value, (tuple, list)):
        items = [convert(item, change) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
