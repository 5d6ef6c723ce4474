"""Whether a frozen twin still normalises over its batch: told by its derivatives, and not by how the model is written.

Normalisation over the batch makes everything behind it indifferent to a shift and to a scale of each channel in front of it, however it
is written: by a custom autograd function, an ``einsum``, a product with a diagonal matrix, under a transform. In a twin all of it is
frozen. So in a twin nothing may be indifferent to both; nor to shifts alone, where a mean of the batch is subtracted; nor to scales
alone, where what is scaled has both signs (the weights of an average have one).

The check is a backward pass from random numbers at the outputs, since the gradient of the loss may vanish, or sum to zero, for reasons of
its own; and one from random numbers at whatever the loss reduces to a number, here and, so that chance is left out, at other outputs. A
loss of the outputs is also evaluated at outputs with other shifts and scales. What lives here: this check. What does not: normalisation
that is recognised by its form (:mod:`bntheory.bridge.normalisers`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bntheory.bridge.batch_statistics import centred_by
from bntheory.bridge.draws import normal_like
from bntheory.bridge.graph import leaves_of
from bntheory.bridge.networks.evaluation import (
    convert,
    outputs_in,
    plain_storage,
    requiring_a_gradient,
    scalar,
    tensors_in,
    transformed,
)
from bntheory.bridge.rescaled_losses import Change, rescaled, unchanged
from bntheory.errors import UserError

#: How far the entries of a gradient may be from summing to zero, relative to the sum of their sizes.
_ZERO = 1e-3
#: The same for the scale, where an eps leaves a part: the square of a sum relative to the sum of squares, which is 1 for random signs.
_LITTLE = 0.1
#: At how many places a loss is looked at, the last ones.
_PLACES = 16
#: Backward passes from other random numbers, so that chance is left out, once a first one gives cause.
_PASSES = 8


class LiveStatistics(TorchFunctionMode):
    """A context in which the forward pass of a twin is followed; :meth:`layer` then names what is still normalised over the batch."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.examples = 0  # of what the model was given last
        self._names = {id(module): name for name, module in modules.items()}
        self._seen: list[tuple[Tensor, str]] = []
        self._handles: list[Any] = []
        self._found: dict[tuple[int, int | None], list[tuple[float, set[int]]]] = {}
        self.counts = set[int]()  # what may be the number of examples
        self._open: set[int] | None = None  # which of those seen are still looked at; None: all
        self._reduced: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        results = tensors_in(found) if torch.is_grad_enabled() else []
        self._follow(results, self._where())
        if results and all(tensor.numel() == 1 and _followed(tensor) for tensor in results):
            self._reduced.update((id(t), t) for t in tensors_in(args) if t.numel() > 1 and _followed(t))
        return found

    def _follow(self, tensors: Sequence[Tensor], where: str) -> None:
        for tensor in tensors:
            if tensor.dim() and tensor.numel() and _followed(tensor):
                self._handles.append(tensor.register_hook(self._look(len(self._seen), tensor)))
                self._seen.append((tensor, where))

    def _where(self) -> str:
        """The innermost module of the model that is running."""
        frame: Any = sys._getframe(2)
        while frame is not None:
            name = self._names.get(id(frame.f_locals.get("self"))) if frame.f_code.co_name == "forward" else None
            if name is not None:
                return f"{name or '(model)'!r}"
            frame = frame.f_back
        return "'(model)'"

    def _look(self, index: int, tensor: Tensor) -> Callable[[Tensor | None], None]:
        def hook(gradient: Tensor | None) -> None:
            looked_at = self._open is None or index in self._open
            if looked_at and gradient is not None and plain_storage(gradient):
                for axis, part, without in _indifferent(tensor.detach(), gradient.detach()):
                    self._found.setdefault((index, axis), []).append((part, without))

        return hook

    def layer(self, outputs: Any, inputs: Sequence[Any], parameters: Sequence[Tensor]) -> str | None:
        """The layer whose output is normalised over the batch in a way that was not frozen, if there is one; call it once.

        inputs: what the model was given, as nodes of the graph.
        """
        ends = [t for t in _ends_of(outputs) if t.numel() > 1] if parameters else []
        return self._indifferent_layer(ends, parameters, self._roots(inputs), by_shifts=True)

    def in_loss(self, value: Tensor, starts: Sequence[Tensor], roots: Sequence[Tensor]) -> bool:
        """Whether a loss was taken of what is first normalised over the batch by a mean and a scale, or by a scale.

        starts: what it was computed from, as far back as is to be looked. roots: tensors whose first axis counts examples.
        """
        own = {id(t) for t in starts}
        places = [t for key, t in self._reduced.items() if key not in own]
        if not (places and starts and value.requires_grad):
            return False
        used = torch.autograd.grad(value, places, retain_graph=True, allow_unused=True)
        places = [t for t, g in zip(places, used, strict=True) if g is not None and bool(g.any())][-_PLACES:]
        return any(self._indifferent_layer([place], starts, roots, by_shifts=False) is not None for place in places)

    def _indifferent_layer(
        self, ends: Sequence[Tensor], starts: Sequence[Tensor], roots: Sequence[Tensor], *, by_shifts: bool
    ) -> str | None:
        """by_shifts: whether what is indifferent to shifts alone counts."""
        away: dict[tuple[int, int | None], int] = {}
        draw, passes, sought = torch.Generator().manual_seed(0), 0, list(starts)
        self._found.clear()
        met: set[tuple[int, int | None]] = set()
        try:
            while ends and passes < _PASSES and sought:
                g = [normal_like(t, draw) for t in ends]
                torch.autograd.grad(ends, sought, g, retain_graph=True, allow_unused=True)
                passes += 1
                met |= self._found.keys()
                left = {
                    key: parts
                    for key, parts in self._found.items()
                    if len(parts) == passes and (_small(parts) or (by_shifts and self._is_centred(key, away)))
                }
                self._found, self._open = left, {index for index, _ in left}
                sought = [self._seen[index][0] for index in self._open]
            found, self._found, self._open = self._found, {}, set()  # what follows takes derivatives of its own
            for index, axis in found:
                tensor, where = self._seen[index]
                # a maximum that is taken away for safety's sake leaves a function that is indifferent in itself, a softmax
                shifts = by_shifts and self._is_centred((index, axis), away) and (away[index, axis], axis) not in met
                parts, own = found[index, axis], set() if axis is None else {axis}
                # where fewer axes do already, it is a normalisation over the batch only if these hold many examples as well
                kept = [own, *(own | {a} for a in set.intersection(*(without for _, without in parts)))]
                if (shifts or _small(parts)) and all(_of_many_examples(tensor, k, roots, self.counts) for k in kept):
                    return where
            return None
        except RuntimeError:
            return None  # what has no derivative is told where one is asked for
        finally:
            self._found, self._open = {}, None

    def _is_centred(self, key: tuple[int, int | None], away: dict[tuple[int, int | None], int]) -> bool:
        """Whether a mean is taken away from what was seen, however that is done; ``away`` then has where it is gone."""
        index, axis = key
        if key not in away:
            tensor, still = self._seen[index][0], self._open
            self._open = set()
            later = enumerate(self._seen[index + 1 :], index + 1)
            away[key] = next((i for i, (found, _) in later if centred_by(tensor, found, axis)), index)
            self._open = still
        return away[key] != index

    def close(self) -> None:
        """Let go of what was followed."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._seen.clear()

    def _roots(self, inputs: Sequence[Any]) -> list[Tensor]:
        """Tensors whose first axis (or, of sequences, the second) counts examples: the inputs, or what whole numbers are looked up as."""
        given = [t for t in tensors_in(inputs) if plain_storage(t) and t.dim()]
        roots = [t for t in given if t.requires_grad]
        if not roots and given:
            roots = [t for t, _ in self._seen if t.shape[: given[0].dim()] == given[0].shape][:1]
        return roots


def refuse_live_statistics(objective: Any, index: int) -> None:
    """A twin that still normalises over its batch is refused, in whichever way it does."""
    batch, freeze = objective.batches[index], objective.freeze
    if batch is None and objective.model is None:
        return
    live, in_loss = LiveStatistics(objective.named_modules()), False
    inputs: list[Any] = []
    outputs: list[Any] = []
    along: list[Change] = []

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        given = convert((args, kwargs), requiring_a_gradient)  # of a closure, whose data is its own, too
        sizes = [len(t) for t in tensors_in(given) if t.dim() and plain_storage(t)]
        live.examples = sizes[0] if sizes else 0
        inputs.append(given)
        return given

    def after(module: nn.Module, args: Any, found: Any) -> Any:
        outputs.append(found)
        return rescaled(found, along[-1]) if along else None

    def loss_at(change: Change) -> Tensor:
        if batch is not None:
            return scalar(objective.loss_of(rescaled(outputs[0], change), index))
        along.append(change)
        value: Tensor = objective.value(index)
        return value

    try:
        objective.freeze = "both"
        with objective.conditions(index, trace=live):
            objective.network.register_forward_pre_hook(before, with_kwargs=True)
            objective.network.register_forward_hook(after)
            value = objective.value(index)
            parameters = [t for t in objective.leaves.values() if t.requires_grad]
            rows = [t for t in tensors_in((batch or ())[1:]) if t.dim() == 1] + [
                t for t in tensors_in(outputs) if t.dim() == 2
            ]
            live.counts = {len(t) for t in rows if plain_storage(t)}
            layer = live.layer(outputs, inputs, parameters)
            if layer is None:
                ends = _ends_of(outputs)
                own = objective.loss is None
                in_loss = live.in_loss(value, *((parameters, live._roots(inputs)) if own else (ends, ends)))
                with suppress(UserError, RuntimeError):  # a loss that is not defined at other outputs
                    if in_loss and not own and batch is not None and len(outputs) == 1:
                        in_loss = _in_loss_elsewhere(objective, index, live, outputs[0])
                    elif not in_loss and not own and len(outputs) == 1:
                        in_loss = unchanged(objective, value, [t for t in ends if t.dim() and t.numel() > 1], loss_at)
    finally:
        objective.freeze = freeze
        live.close()
    if layer is not None:
        raise UserError(
            f"layer {layer} returns what is then normalised over the batch in a way that is not recognised: in the frozen twin a shift of "
            "its channels (and a scale) still changes nothing. Call torch.nn.functional.batch_norm, or write it as a module whose input and "
            "output have one shape; what normalises within each part of a batch (each of several graphs) is told from that on a batch of one "
            "part alone: give one graph. Its statistics cannot be frozen, and a twin would keep them alive"
        )
    if in_loss:
        raise UserError(
            "layer '(loss)' normalises over the batch in a way that is not recognised (a correlation, an einsum): a "
            "scale of a channel changes nothing. Write it by torch.nn.functional.batch_norm. Its statistics cannot be frozen, and a twin "
            "would keep them alive"
        )


def _in_loss_elsewhere(objective: Any, index: int, live: LiveStatistics, outputs: Any) -> bool:
    """Whether the loss is found to normalise at other outputs too: where a mean vanishes by chance, a product is indifferent to shifts."""
    moved = rescaled(outputs, Change(-1, -1))
    ends = _ends_of(moved)
    return moved is outputs or live.in_loss(scalar(objective.loss_of(moved, index)), ends, ends)


def _followed(tensor: Tensor) -> bool:
    differentiable = tensor.grad_fn is not None and tensor.is_floating_point()
    return differentiable and not transformed(tensor) and plain_storage(tensor)


def _ends_of(outputs: Any) -> list[Tensor]:
    return [t for t in outputs_in(outputs) if t.grad_fn is not None and t.is_floating_point()]


def _small(parts: Sequence[tuple[float, Any]]) -> bool:
    return sum(part for part, _ in parts) < _LITTLE * _PASSES


def _indifferent(y: Tensor, g: Tensor) -> Iterator[tuple[int | None, float, set[int]]]:
    """The axes of channels to which a function with gradient g at y is indifferent, each with what scaling along it still changes.

    An axis counts where shifts along it change nothing, or scales alone. None stands for a single channel of all entries: there scales
    alone do not count, since every example's own scale may be taken off further on. Last come the other axes whose entries may each be
    indifferent, or nearly so, by themselves.
    """
    for axis in (None, *sorted({0, min(1, y.dim() - 1), y.dim() - 1})):
        over = [a for a in range(y.dim()) if a != axis]
        if math.prod(y.shape[a] for a in over) < 4:
            continue
        within = {other: [a for a in over if a != other] for other in over if len(over) > 1}
        few = ... if axis is None else _spread(y, axis)
        if bool(_vanish(g[few], over).all()) and bool(g.any()) and bool(_vanish(g, over).all()):
            if _part(g, over) <= _LITTLE**2:  # and not by chance, as random signs in millions do
                without = {a for a, rest in within.items() if _whole(g, rest) < _LITTLE**2}
                yield axis, _part(g * (y - y.mean(over, keepdim=True)), over), without
        elif axis is not None and _part(g[few] * y[few], over) < _LITTLE and _part(g * y, over) < _LITTLE**2:
            signed = bool((y > 0).any()) and bool((y < 0).any())
            if signed:
                yield axis, 0.0, {a for a, rest in within.items() if _whole(g * y, rest) <= _LITTLE}


def _spread(tensor: Tensor, axis: int) -> tuple[slice, ...]:
    """An index of eight channels at most, so that what does not vanish costs no look at the whole."""
    every = slice(None, None, -(-tensor.shape[axis] // 8))
    return (*(slice(None) for _ in range(axis)), every)


def _vanish(g: Tensor, over: list[int]) -> Tensor:
    return g.sum(over).abs() <= _ZERO * g.abs().sum(over)


def _part(terms: Tensor, over: list[int]) -> float:
    """The square of a sum relative to the sum of squares, on average: 1 for random signs, 0 where the sum vanishes."""
    norms = torch.linalg.vector_norm(terms, dim=over, dtype=torch.float64)
    return float((terms.sum(over, dtype=torch.float64) / norms)[norms > 0].square().mean())


def _whole(terms: Tensor, over: list[int]) -> float:
    """The same ratio, of all sums together: one where next to no gradient arrives (behind a maximum) counts for little."""
    sums = terms.sum(over, dtype=torch.float64)
    return float((torch.linalg.vector_norm(sums) / torch.linalg.vector_norm(terms, dtype=torch.float64)).square())


def _of_many_examples(tensor: Tensor, kept: set[int], roots: Sequence[Tensor], counts: set[int]) -> bool:
    """Whether one channel of activations is computed from many examples, so that it is neither one example's own nor a weight.

    kept: the axes along which a channel is one entry; none where all of it is one.
    """
    if not any(isinstance(leaf, nn.Parameter) for leaf in leaves_of(tensor).values()):
        return False  # of data alone: a constant
    count = _examples_of(tensor, kept, roots, counts)
    others = [_examples_of(tensor, {a}, roots, counts) for a in range(tensor.dim()) if a not in kept]
    return count > 1.5 and (not kept or min(others) < count / 1.5)


def _examples_of(tensor: Tensor, kept: set[int], roots: Sequence[Tensor], counts: set[int]) -> float:
    """How many examples the first entries along axes (none: all) are computed from, each counted by its share."""
    pick = (
        torch.randint(0, 2, tensor.shape, generator=torch.Generator().manual_seed(1), device="cpu").to(tensor) * 2 - 1
    )
    for axis in kept:
        pick.narrow(axis, 1, pick.shape[axis] - 1).zero_()
    pulled = torch.autograd.grad(tensor, list(roots), pick, retain_graph=True, allow_unused=True) if roots else ()
    found = [0.0]
    for size in (p.double().square() for p in pulled if p is not None):
        axes = (0, 1) if size.dim() == 3 and size.shape[1] > 1 else (0,)  # of sequences, time may come first
        shares = [
            size.sum([a for a in range(size.dim()) if a != axis])
            for axis in [a for a in axes if size.shape[a] in counts] or axes
        ]
        found.append(min(float(s.sum().square() / s.square().sum()) if bool(s.any()) else 0.0 for s in shares))
    return max(found)
