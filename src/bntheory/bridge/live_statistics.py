"""Whether a frozen twin still normalises over its batch: the twin is asked, and not the source of the model.

Whatever normalises over the batch makes everything behind it indifferent to a shift and to a scale of each channel before it, in
whichever way it is written: a custom autograd function, an ``einsum``, a product with a diagonal matrix, a transform. In a twin all of
that is frozen, and nothing is indifferent to both; nor to shifts alone where a mean of the batch is taken away. What lives here: this
check, by one backward pass from random numbers at the outputs (the gradient of a loss may vanish, or sum to zero, for reasons of its
own). What does not: normalisation inside of a loss, and what is found by its form (:mod:`bntheory.bridge.normalisers`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bntheory.bridge.batch_statistics import takes_away_a_mean
from bntheory.bridge.graph import leaves_of
from bntheory.bridge.networks.evaluation import plain_storage, tensors_in, transformed

#: How far the entries of a gradient may be from summing to zero, relative to the sum of their sizes.
_ZERO = 1e-3
#: The same for the scale, where an eps leaves a part: the square of a sum relative to the sum of squares, which is 1 for random signs.
_LITTLE = 0.1
#: Backward passes from other random numbers, so that chance is left out, once a first one gives cause.
_PASSES = 8


class LiveStatistics(TorchFunctionMode):
    """A context in which the forward pass of a twin is followed; :meth:`layer` then names what is still normalised over the batch."""

    def __init__(self, modules: Mapping[str, nn.Module], examples: int) -> None:
        super().__init__()
        self._examples, self._centred = examples, set[int]()
        self._names = {id(module): name for name, module in modules.items()}
        self._seen: list[tuple[Tensor, str]] = []
        self._handles: list[Any] = []
        self._found: dict[tuple[int, int | None], list[float]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if self._examples > 1 and takes_away_a_mean(func, args, self._examples):
            self._centred.add(id(args[0]))
        for tensor in tensors_in(found) if torch.is_grad_enabled() else ():
            if (
                tensor.grad_fn is not None and tensor.dim() and tensor.numel() and tensor.is_floating_point() and not transformed(tensor)
                and plain_storage(tensor)
            ):  # fmt: skip
                self._handles.append(tensor.register_hook(self._look(len(self._seen), tensor)))  # type: ignore[no-untyped-call]
                self._seen.append((tensor, self._where()))
        return found

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
            if gradient is not None and plain_storage(gradient):
                for axis, part in _indifferent_to_shifts(tensor.detach(), gradient.detach()):
                    self._found.setdefault((index, axis), []).append(part)

        return hook

    def layer(self, outputs: Any, inputs: Sequence[Any], parameters: Sequence[Tensor]) -> str | None:
        """The layer whose output is normalised over the batch in a way that was not frozen, if there is one; call it once.

        inputs: what the model was given, as nodes of the graph.
        """
        found = outputs if isinstance(outputs, (Tensor, tuple, list, Mapping)) else getattr(outputs, "__dict__", {})
        ends = [t for t in tensors_in(found) if t.grad_fn is not None and t.is_floating_point() and t.numel() > 1]
        ends = ends if parameters else []
        centred = {index for index, (tensor, _) in enumerate(self._seen) if id(tensor) in self._centred}
        draw, passes = torch.Generator().manual_seed(0), 0
        try:
            while ends and passes < _PASSES:
                g = [torch.randn(t.shape, generator=draw, dtype=torch.float64, device="cpu").to(t) for t in ends]
                torch.autograd.grad(ends, list(parameters), g, retain_graph=True, allow_unused=True)
                passes += 1
                if not any(index in centred or parts[0] < 0.5 for (index, _), parts in self._found.items()):
                    break
            self._stop()
            roots = self._roots(inputs)
            for (index, axis), parts in self._found.items():
                tensor, where = self._seen[index]
                always = len(parts) == _PASSES and (index in centred or sum(parts) < _LITTLE * _PASSES)
                if always and _of_many_examples(tensor, axis, roots):
                    return where
            return None
        except RuntimeError:
            return None  # what has no derivative is told where one is asked for
        finally:
            self._stop()
            self._seen.clear()

    def _stop(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _roots(self, inputs: Sequence[Any]) -> list[Tensor]:
        """Tensors whose first axis (or, of sequences, the second) counts examples: the inputs, or what whole numbers are looked up as."""
        given = [t for t in tensors_in(inputs) if plain_storage(t) and t.dim()]
        roots = [t for t in given if t.requires_grad]
        if not roots and given:
            roots = [t for t, _ in self._seen if t.shape[: given[0].dim()] == given[0].shape][:1]
        return roots


def _indifferent_to_shifts(y: Tensor, g: Tensor) -> Iterator[tuple[int | None, float]]:
    """The axes of channels (None: all of it is one) along which a function with gradient g at y may be shifted, and what scaling changes."""
    for axis in (None, *sorted({0, min(1, y.dim() - 1), y.dim() - 1})):
        over = [a for a in range(y.dim()) if a != axis]
        one = g if axis is None else g.select(axis, 0)
        if one.numel() < 4 or not bool(_vanish(one, None)):
            continue
        within = (_vanish(g, [a for a in over if a != other]).all() for other in over if len(over) > 1)
        if not bool(g.any()) or not bool(_vanish(g, over).all()) or any(map(bool, within)):
            continue  # nothing, not all, or already within each example
        terms = (g * (y - y.mean(over, keepdim=True))).double()
        squares = terms.square().sum(over)
        yield axis, float((terms.sum(over).square() / squares)[squares > 0].mean())


def _vanish(g: Tensor, over: list[int] | None) -> Tensor:
    over = list(range(g.dim())) if over is None else over
    return g.sum(over).abs() <= _ZERO * g.abs().sum(over)


def _of_many_examples(tensor: Tensor, axis: int | None, roots: Sequence[Tensor]) -> bool:
    """Whether one channel of activations is computed from many examples: it is no example's own, and no weight."""
    if not any(isinstance(leaf, nn.Parameter) for leaf in leaves_of(tensor).values()):
        return False  # of data alone: a constant
    count = _examples_of(tensor, axis, roots)
    others = [_examples_of(tensor, a, roots) for a in range(tensor.dim()) if a != axis]
    return count > 1.5 and (axis is None or min(others) < count / 1.5)


def _examples_of(tensor: Tensor, axis: int | None, roots: Sequence[Tensor]) -> float:
    """How many examples the first entries along an axis (None: all) are computed from, each counted by its share."""
    pick = (
        torch.randint(0, 2, tensor.shape, generator=torch.Generator().manual_seed(1), device="cpu").to(tensor) * 2 - 1
    )
    if axis is not None:
        pick.narrow(axis, 1, pick.shape[axis] - 1).zero_()
    pulled = torch.autograd.grad(tensor, list(roots), pick, retain_graph=True, allow_unused=True) if roots else ()
    counts = [0.0]
    for size in (p.double().square() for p in pulled if p is not None):
        axes = (0, 1) if size.dim() == 3 and size.shape[1] > 1 else (0,)  # of sequences, time may come first
        shares = [size.sum([a for a in range(size.dim()) if a != axis]) for axis in axes]
        counts.append(min(float(s.sum().square() / s.square().sum()) if bool(s.any()) else 0.0 for s in shares))
    return max(counts)
