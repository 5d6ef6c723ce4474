"""Calls of torch's functional normalisations, read by one set of names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, finfo
from torch.nn import functional

from bntheory.bridge.units import Kind


@dataclass(frozen=True)
class Call:
    """A call of a functional normalisation, by one set of names. running: the mean and variance that it takes in place of its input's."""

    kind: Kind
    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    eps: float
    layout: Any = None
    running: tuple[Tensor, Tensor] | None = None

    @property
    def live(self) -> bool:
        """Whether its statistics are those of its input."""
        return self.running is None


def _f_batch(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5) -> Call:
    running = None if training or running_mean is None else (running_mean, running_var)
    return Call("batch", input, weight, bias, eps, running=running)


def _t_batch(input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True):
    return _f_batch(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _f_instance(input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5) -> Call:  # fmt: skip
    return Call("instance", input, weight, bias, eps, running=None if use_input_stats else (running_mean, running_var))


def _t_instance(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=True):
    return _f_instance(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _layer(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    return Call("layer", input, weight, bias, eps, tuple(normalized_shape))


def _group(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    return Call("group", input, weight, bias, eps, num_groups)


def _rms(input, normalized_shape, weight=None, eps=None):
    eps = finfo(input.dtype).eps if eps is None else eps
    return Call("rms", input, weight, None, eps, tuple(normalized_shape))


#: torch's functional normalisations, and how their arguments are read.
FUNCTIONS: dict[Any, Callable[..., Call]] = {
    functional.batch_norm: _f_batch,
    torch.batch_norm: _t_batch,
    functional.instance_norm: _f_instance,
    torch.instance_norm: _t_instance,
    functional.layer_norm: _layer,
    torch.layer_norm: _layer,
    functional.group_norm: _group,
    torch.group_norm: _group,
    functional.rms_norm: _rms,
    torch.rms_norm: _rms,
}
