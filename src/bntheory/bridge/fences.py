"""What surrounds an evaluation, so that it is the function that was asked for and nothing of the caller's settings enters it.

What lives here: the settings of torch that would change the function or its derivatives (grad and inference mode, autocast, default
dtype, compilation, recomputation, attention kernels), the full cast to one precision, and operations whose second derivative torch
gets wrong. What does not: modes of a model and its state (:mod:`bntheory.bridge.objective`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
import torch.utils.checkpoint
from torch import Tensor, finfo, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from bntheory.bridge.networks.evaluation import convert, plain_storage
from bntheory.errors import UserError

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_SHORT_CASTS = {"float", "double", "half", "bfloat16"}
# the generator by which torch's checkpoint recomputes; from torch 2.15 on its caller takes it by the second name
_RECOMPUTATION = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")
_IN_PLACE = {"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__", "__imod__"}


@contextmanager
def differentiating() -> Iterator[None]:
    """Gradients on, inference mode and autocast off. A product with an earlier graph needs it too: it is computed in the caller's settings."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", *(("cuda",) if torch.cuda.is_available() else ())):
            stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def fenced(dtype: torch.dtype | None, own: torch.dtype | None = None, *, compiled: bool = False) -> Iterator[None]:
    """Gradients on, inference mode and autocast off, constants made in ``dtype``; nothing compiled and nothing recomputed.

    What the model or torch takes from the precision (``torch.finfo(x.dtype).eps`` below a root or in a logarithm) is that of ``own``, the
    model's: in another one it would be another function. What is ours has torch's ``finfo`` by its own name, and is not touched.

    Autocast that a forward pass switches on by itself stays off too: an operation in half precision has no curvature worth the name.
    Attention runs by the kernel that has second derivatives. What was set before is set again afterwards.
    """
    with ExitStack() as stack:
        stack.enter_context(differentiating())
        if dtype in _COMPLEX:
            before = torch.get_default_dtype()
            torch.set_default_dtype(dtype)
            stack.callback(torch.set_default_dtype, before)
        if own is not None and own != dtype:
            stack.enter_context(_replaced(torch, finfo=lambda kind=dtype: finfo(own if kind == dtype else kind)))
        if compiled:
            # a compiled graph has no second derivative, and its layers cannot be seen
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        # activation checkpointing off: its second forward pass would run outside of everything that is set up here (where it cannot be
        # switched off, a check further on refuses what it breaks)
        stack.enter_context(
            _replaced(torch.utils.checkpoint, **dict.fromkeys(_RECOMPUTATION, _nothing), CheckpointFunction=_Direct)
        )
        # autocast off also where a forward pass asks for it
        silent = {"__enter__": lambda self: self, "__exit__": lambda self, *error: None}
        stack.enter_context(_replaced(torch.autocast, **silent))
        # parametrised weights computed from the measured parameters, also where a caller keeps those of an earlier pass
        stack.enter_context(_replaced(parametrize, _cache_enabled=0, _cache={}))
        yield


def unwrapped(model: nn.Module) -> tuple[nn.Module, str]:
    """The module inside compiled and parallel wrappers, and the prefix that the wrappers give to its parameters' names.

    A wrapper over one process computes what its module computes. Several devices split the batch, and with it the statistics;
    then the wrapper stays and is called as it is.
    """
    prefix = ""
    while True:
        if "torch._dynamo.eval_frame" in sys.modules and type(model).__name__ == "OptimizedModule":
            model, prefix = cast(nn.Module, model._orig_mod), prefix + "_orig_mod."
        elif (isinstance(model, nn.DataParallel) and len(model.device_ids) < 2) or isinstance(
            model, nn.parallel.DistributedDataParallel
        ):
            model, prefix = model.module, prefix + "module."
        else:
            return model, prefix


class _Direct:
    """Stands in for torch's reentrant checkpoint: the function is called, and nothing is computed twice."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        return function(*args)


def _nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    yield


@contextmanager
def _replaced(home: Any, **values: Any) -> Iterator[None]:
    """Context in which attributes of a module or class of torch's have other values; those that the installed torch lacks are left out."""
    before = {name: getattr(home, name) for name in values if hasattr(home, name)}
    try:
        for name in before:
            setattr(home, name, values[name])
        yield
    finally:
        for name, value in before.items():
            setattr(home, name, value)


class Precision(TorchFunctionMode):
    """Every operation in one precision, whatever holds the tensor: a buffer, a closure, a partial, a global, a cast by hand.

    stands_for: tensors (by id) and what takes their place, so that a loss that kept a parameter meets the one that is measured.
    dtype: floating tensors of any other precision are converted where they enter an operation, and casts to another precision
    become casts to this one; None leaves them alone. Operations whose derivative torch gets wrong are written out either way.
    own: the model's precision, from which an operation takes what is small, if it is not told.
    """

    def __init__(
        self, stands_for: Mapping[int, Tensor], dtype: torch.dtype | None, own: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self._eps = finfo(own).eps if own is not None and dtype not in (None, own) else None
        self._stands_for, self._dtype = stands_for, dtype
        self._cast: dict[int, tuple[Tensor, int, Tensor]] = {}
        self.converted = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        func = _WRITTEN_OUT.get(func, func)
        if self._dtype is None and not self._stands_for:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__"):
            return func(*convert(args, self._substituted), **kwargs)
        in_place = name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        if in_place and args:
            args = self._written(convert(args[0], self._substituted), self._changed(args[1:]))
        else:
            args = self._changed(args)
        kwargs = {key: value if key == "out" else self._changed(value) for key, value in kwargs.items()}
        if self._dtype is not None and (
            (name in _SHORT_CASTS and len(args) == 1)
            or (name == "type" and len(args) == 2 and not isinstance(args[1], torch.dtype))
        ):
            return args[0].to(self._precision(torch.complex64 if args[0].is_complex() else torch.float32))
        if name == "rms_norm" and self._eps is not None and args[3:] in ((), (None,)) and kwargs.get("eps") is None:
            args, kwargs = args[:3], {**kwargs, "eps": self._eps}
        return func(*args, **kwargs)

    def _written(self, target: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Bring what is written into a tensor that keeps its precision (a record of the loss's own) into that precision."""
        if isinstance(target, Tensor) and target.is_floating_point() and self._precision(target.dtype) != target.dtype:
            values = convert(values, lambda t: t.to(target.dtype) if t.is_floating_point() else t)
        return (target, *values)

    def _substituted(self, tensor: Tensor) -> Tensor:
        return self._stands_for.get(id(tensor), tensor)

    def _changed(self, value: Any) -> Any:
        if isinstance(value, torch.dtype):
            return self._precision(value)
        if isinstance(value, (tuple, list)) and any(isinstance(item, torch.dtype) for item in value):
            return type(value)(self._changed(item) for item in value)
        if isinstance(value, (tuple, list, Mapping)) and not isinstance(value, torch.Size):
            return convert(value, self._tensor)
        return self._tensor(value) if isinstance(value, Tensor) else value

    def _tensor(self, tensor: Tensor) -> Tensor:
        tensor = self._substituted(tensor)
        wanted = self._precision(tensor.dtype)
        if wanted == tensor.dtype or tensor.layout != torch.strided:
            return tensor
        self.converted += 1
        if not (tensor.requires_grad and torch.is_grad_enabled() and plain_storage(tensor)):
            return tensor.to(wanted)
        # one node for all uses, so that a derivative by this tensor finds them
        _, version, cast = self._cast.get(id(tensor), (tensor, -1, tensor))
        if version != tensor._version:
            cast = tensor.to(wanted)
            self._cast[id(tensor)] = (tensor, tensor._version, cast)
        return cast

    def _precision(self, dtype: torch.dtype) -> torch.dtype:
        if self._dtype is None:
            return dtype
        if dtype.is_floating_point:
            return self._dtype
        return _COMPLEX.get(self._dtype, dtype) if dtype.is_complex else dtype


# -- operations whose second derivative is wrong or missing ------------------------------------------------------------


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """g v/||v||, the norm over all axes but ``dim`` (over all for -1). torch's fused one has a wrong second derivative."""
    axes = [axis for axis in range(v.dim()) if dim == -1 or axis != dim % v.dim()]
    length = v.square().sum(dim=axes, keepdim=True).sqrt()
    return v * (g / length)


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """torch's own with dense gradients; sparse ones have the same values and no second derivative."""
    _refuse_to_shorten(input, weight, max_norm, norm_type)
    return functional.embedding(input, weight, padding_idx, None, norm_type, scale_grad_by_freq, False)


def _refuse_to_shorten(input: Tensor, weight: Tensor, max_norm: float | None, norm_type: float) -> None:
    if max_norm is None or not input.numel():
        return
    longest = float(torch.linalg.vector_norm(weight.detach()[input.reshape(-1)], norm_type, dim=1).max())
    if longest > max_norm * (1 + 1e-6):
        raise UserError(
            f"max_norm={max_norm} would shorten rows of the embedding's weight in place (one has norm {longest:.4g}), and a forward "
            "pass that changes a parameter is no function of it. Run one forward pass before, which shortens them, or set max_norm=None"
        )


def _embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum or the mean of each bag's rows; torch's own operation has no second derivative."""
    if mode == "max" or (input.dim() == 1 and offsets is None):
        return functional.embedding_bag(
            input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, False, per_sample_weights, include_last_offset,
            padding_idx,
        )  # fmt: skip
    _refuse_to_shorten(input, weight, max_norm, norm_type)
    entries, place = input.reshape(-1), torch.arange(input.numel(), device=input.device)
    if offsets is None:
        count, bag = input.shape[0], place // max(input.shape[1], 1)
    else:
        starts = offsets[:-1] if include_last_offset else offsets
        count, bag = len(starts), torch.searchsorted(starts, place.to(starts), right=True) - 1
    used = torch.ones_like(entries, dtype=torch.bool)
    if padding_idx is not None:
        used = entries != padding_idx % len(weight)
    share = used.to(weight) if per_sample_weights is None else used * per_sample_weights.reshape(-1)
    rows = functional.embedding(entries, weight) * share[:, None]
    total = torch.zeros(count, weight.shape[1], device="cpu").to(weight).index_add(0, bag, rows)
    if mode == "sum":
        return total
    return total / torch.zeros(count, device="cpu").to(weight).index_add(0, bag, used.to(weight)).clamp(min=1)[:, None]


def _on_slow_path(function: Callable[..., Any]) -> Callable[..., Any]:
    """A recurrent layer without cuDNN, whose kernels have no second derivative."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.backends.cudnn.flags(enabled=False):
            return function(*args, **kwargs)

    run.__name__ = function.__name__
    return run


def _with_a_weight(function: Callable[..., Any], place: int) -> Callable[..., Any]:
    """A normalisation with a bias alone, which has no second derivative in torch: with a weight of ones it has."""

    def run(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(("weight", "bias"), args[place:], strict=False)), **kwargs}
        weight, bias = given.get("weight"), given.get("bias")
        if weight is not None or bias is None:
            return function(*args, **kwargs)
        ones = torch.ones_like(bias, requires_grad=False)
        if len(args) > place:
            return function(*args[:place], ones, *args[place + 1 :], **kwargs)
        return function(*args, **{**kwargs, "weight": ones})

    run.__name__ = function.__name__
    return run


def _hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """torch's own has no second derivative."""
    return input.add_(3).clamp_(0, 6).div_(6) if inplace else (input + 3).clamp(0, 6) / 6


def _requires_grad(tensor: Tensor, requires_grad: bool = True) -> Tensor:
    """For a forward pass that calls it on its inputs (for checkpoints): in a measurement they are no leaves, on which torch refuses it."""
    return tensor.requires_grad_(requires_grad) if tensor.is_leaf else tensor


_WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    Tensor.requires_grad.__set__: _requires_grad,  # type: ignore[attr-defined]
    Tensor.requires_grad_: _requires_grad,
    functional.hardsigmoid: _hardsigmoid,
    functional.batch_norm: _with_a_weight(functional.batch_norm, 3),
    functional.instance_norm: _with_a_weight(functional.instance_norm, 3),
    functional.layer_norm: _with_a_weight(functional.layer_norm, 2),
    functional.group_norm: _with_a_weight(functional.group_norm, 2),
    torch._weight_norm: _weight_norm,
    functional.embedding: _embedding,
    functional.embedding_bag: _embedding_bag,
    **(
        {f: _on_slow_path(f) for f in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)}
        if torch.cuda.is_available()
        else {}
    ),
}
