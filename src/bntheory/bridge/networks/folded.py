"""Several networks of one architecture as one, and their training: one operation does a layer of all of them.

What lives here: :class:`FoldedNetwork`, :class:`FoldedTrainer`, and the timed sample that says whether they are worth it. What does not:
which runs are folded (:mod:`bntheory.experiments.together`).

Convolutions become grouped ones and linear layers batched products; batch norm and its family see all channels side by side, since each
of them is normalised by itself. No number of one network enters another's, so in exact arithmetic each is trained as it is alone. In
floating point sums are taken in another order: a step differs by its rounding, of the size by which the step alone differs from exact
arithmetic, and training multiplies such differences as it does any perturbation. So n networks folded and n alone end about as far
from each other as from the same training in higher precision: that distance is what the difference is to be held against.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.networks.builder import Unit
from bntheory.bridge.networks.evaluation import Batch, Loss
from bntheory.bridge.networks.images import _Block, _ResNet
from bntheory.bridge.networks.normalisation import LpBatchNorm, PrimitiveBatchNorm
from bntheory.bridge.networks.partial_normalisation import DetachedBatchNorm, VarianceOnlyBatchNorm
from bntheory.bridge.networks.spec import ACTIVATIONS
from bntheory.bridge.networks.training import Trainer
from bntheory.errors import UserError

#: What may hold layers; nn.Sequential and the networks of this package pass on what they are given, whatever the channels mean.
_CONTAINERS = (nn.Sequential, Unit, _Block, _ResNet)
#: What acts on each value, or on each channel, by itself.
_SINGLE = (nn.Identity, nn.Flatten, nn.MaxPool2d, nn.AvgPool2d, *ACTIVATIONS.values())
#: What has values of its own for each channel, and how it calls their number.
_WIDENED = {
    nn.Conv2d: ("in_channels", "out_channels", "groups"),
    **dict.fromkeys(
        (nn.BatchNorm1d, nn.BatchNorm2d, LpBatchNorm, PrimitiveBatchNorm, DetachedBatchNorm, VarianceOnlyBatchNorm),
        ("num_features",),
    ),
}
#: A sample is the fastest of so many repetitions, after one that is not counted.
_REPETITIONS = 3


def why_not_foldable(models: Sequence[nn.Module]) -> str:
    """Why these networks cannot be one; "" where they can.

    They can where they differ in nothing but values, and are made of linear layers, convolutions, norms of the family of batch norm
    (which keep channels apart and examples together), pools and activations. Layer and group norm, attention and recurrence are not.
    """
    if not models:
        return "there are no networks"
    for module in models[0].modules():
        if type(module) not in (*_CONTAINERS, *_SINGLE, *_WIDENED, nn.Linear):
            return f"a {type(module).__name__} has no folded form"
        if any(value for name, value in vars(module).items() if name.endswith("_hooks")):
            return f"a {type(module).__name__} has hooks, which would see all networks at once"
    first = models[0]
    if len(list(first.parameters())) != len(list(first.named_parameters(remove_duplicate=False))):
        return "layers share parameters"
    if not all(p.requires_grad for model in models for p in model.parameters()):
        return "some parameters are not trained"
    own = _plan(first)
    if any(_plan(other) != own for other in models[1:]):
        return "their layers differ in kind, size or setting"
    return ""


def _plan(model: nn.Module) -> list[Any]:
    """All of a network but the values of its parameters and statistics."""
    simple = (int, float, str, tuple, type(None))
    layers = [
        (name, type(module), {k: v for k, v in vars(module).items() if isinstance(v, simple)})
        for name, module in model.named_modules()
    ]
    # counters are one for all networks, so their values are a part of it
    state = [
        (name, tuple(t.shape), t.dtype, t.device, t.item() if t.dim() == 0 else None)
        for name, t in model.state_dict().items()
    ]
    return [layers, state]


class _FoldedLinear(nn.Module):
    """n linear layers as one batched product. weight: (n, outputs, inputs), bias: (n, outputs, 1).

    Input: (N, n inputs), or (1, n inputs, N) as another one gives it; output: (1, n outputs, N), in which a network's channels lie
    together and its examples are the positions.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        biases = [layer.bias.detach()[:, None] for layer in layers if layer.bias is not None]
        self.bias = nn.Parameter(torch.stack(biases)) if biases else None

    def forward(self, x: Tensor) -> Tensor:
        n, _, inputs = self.weight.shape
        if x.dim() == 2:
            x = x.reshape(-1, n, inputs).permute(1, 2, 0)
        x = x.reshape(n, inputs, -1)
        y = self.weight @ x if self.bias is None else torch.baddbmm(self.bias, self.weight, x)
        return y.reshape(1, -1, y.shape[2])


class FoldedNetwork(nn.Module):
    """n networks as one: (n, N, ...) -> (n, N, classes). The networks are copied; :meth:`write_back` gives them what was learnt.

    Raises UserError where they cannot be one (:func:`why_not_foldable`), and for inputs of another shape.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        why = why_not_foldable(models)
        if why:
            raise UserError(f"models: cannot be folded into one, since {why}; train them one by one")
        self.count = len(models)
        self.network = _joined(models)

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() not in (3, 5) or len(x) != self.count:
            raise UserError(
                f"input: has shape {tuple(x.shape)}, but ({self.count}, N, features) or ({self.count}, N, C, H, W) is expected"
            )
        y: Tensor = self.network(x.transpose(0, 1).flatten(1, 2))
        return y.reshape(self.count, -1, y.shape[2]).transpose(1, 2)

    @torch.no_grad()
    def write_back(self, models: Sequence[nn.Module]) -> None:
        """Give every network its parameters and statistics."""
        whole = self.network.state_dict()
        for number, model in enumerate(models):
            for name, own in model.state_dict().items():
                value = whole[name]
                own.copy_(value if value.dim() == 0 else _apart(value, self.count)[number].view_as(own))


def _apart(value: Tensor, count: int) -> Tensor:
    """What a folded layer holds, a row a network."""
    return value.view(count, -1)


def _joined(modules: Sequence[Any]) -> Any:
    """The networks' modules at one place as one."""
    first = modules[0]
    if isinstance(first, nn.Linear):
        return _FoldedLinear(modules)
    joined = copy.deepcopy(first)
    for name, _ in first.named_children():
        setattr(joined, name, _joined([getattr(module, name) for module in modules]))
    with torch.no_grad():
        for name, parameter in first.named_parameters(recurse=False):
            whole = torch.cat([getattr(module, name).detach() for module in modules])
            setattr(joined, name, nn.Parameter(whole.to(parameter.dtype)))
        for name, buffer in first.named_buffers(recurse=False):
            if buffer.dim():
                setattr(joined, name, torch.cat([getattr(module, name) for module in modules]))
    for name in _WIDENED.get(type(first), ()):
        setattr(joined, name, getattr(first, name) * len(modules))
    return joined


class FoldedTrainer:
    """Trainers of networks that differ in nothing but values, on as many streams of batches, as one.

    They may differ in seed, learning rate, momentum and weight decay. loss: a mean over examples, of outputs (N, classes) and targets;
    it is the loss of all of them, times a factor for each. They are read once, here, and moved by :meth:`write_back` alone.

    Raises UserError where the networks cannot be one or are not at the same step.
    """

    def __init__(self, trainers: Sequence[Trainer], loss: Loss, factors: Sequence[float] = ()) -> None:
        self.network = FoldedNetwork([t.model for t in trainers]).train()
        self.trainers, self.loss, self.step = list(trainers), loss, trainers[0].step
        if {t.step for t in trainers} != {self.step}:
            raise UserError("trainers: are not all at the same step; fold those that are")
        self._parameters = [_apart(p, len(trainers)) for p in self.network.parameters()]
        configs = [t.config for t in trainers]
        self._factor = self._column(factors or [1.0] * len(trainers))
        self._momentum = self._column([c.momentum for c in configs])
        self._decay = self._column([c.weight_decay for c in configs])
        zeros = {name: torch.zeros_like(p) for name, p in trainers[0].model.named_parameters()}
        self._velocity = [torch.stack([(t.velocity or zeros)[name].flatten() for t in trainers]) for name in zeros]

    def _column(self, values: Sequence[float]) -> Tensor:
        return self._parameters[0].new_tensor(values)[:, None]

    def train_step(self, batches: Sequence[Batch]) -> None:
        """One step of every network on its batch (inputs, targets); all batches are of one size."""
        inputs = torch.stack([batch[0] for batch in batches], 1).transpose(0, 1)  # as its layers want it
        outputs = self.network(inputs).flatten(0, 1)
        # the mean over all examples is a mean of the networks' losses: n times its gradient is each network's own
        total = len(batches) * self.loss(outputs, torch.cat([batch[1] for batch in batches]))
        self._apply(torch.autograd.grad(total, list(self.network.parameters())))
        self.step += 1

    @torch.no_grad()
    def _apply(self, gradients: Sequence[Tensor]) -> None:
        rate = self._column([t.config.rate(self.step) for t in self.trainers])
        rescaled, decays, moves = (
            bool((column != idle).any()) for column, idle in ((self._factor, 1), (self._decay, 0), (self._momentum, 0))
        )
        for parameter, gradient, velocity in zip(self._parameters, gradients, self._velocity, strict=True):
            direction = gradient.reshape(velocity.shape)  # nobody else's: changed in place
            if rescaled:
                direction.mul_(self._factor)
            if decays:
                direction.addcmul_(parameter, self._decay)
            if moves:
                direction = velocity.mul_(self._momentum).add_(direction)
            parameter.addcmul_(direction, rate, value=-1)

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring every trainer to where it is now: parameters, statistics, momentum and step."""
        self.network.write_back([t.model for t in self.trainers])
        for number, trainer in enumerate(self.trainers):
            for own, velocity in zip(trainer.velocity.values(), self._velocity, strict=False):
                own.copy_(velocity[number].view_as(own))
            trainer.step = self.step


@dataclass(frozen=True)
class Sample:
    """Seconds of one step of all networks: one after the other, and folded."""

    alone: float
    folded: float

    @property
    def worth_it(self) -> bool:
        """Whether folding is faster by more than such a sample is likely to be wrong by."""
        return self.alone > 1.05 * self.folded


def timed_sample(
    trainers: Sequence[Trainer], batches: Sequence[Batch], loss: Loss, factors: Sequence[float] = ()
) -> Sample:
    """What a step costs here and now, by a few steps of copies; no trainer is moved."""
    folded, one = FoldedTrainer(trainers, loss, factors), copy.deepcopy(trainers[0])
    together, alone = [], []
    for _ in range(1 + _REPETITIONS):  # in turn, so that what else the machine does meets both
        together.append(_seconds(lambda: folded.train_step(batches), batches))
        alone += [_seconds(lambda: one.train_step(batches[0]), batches) for _ in range(2)]
    return Sample(len(trainers) * min(alone[2:]), min(together[1:]))


def _seconds(action: Callable[[], Any], batches: Sequence[Batch]) -> float:
    """How long an action takes: with what a device has queued; on a single thread of a CPU the thread's own time, to which no other program adds."""
    device = batches[0][0].device
    clock = time.thread_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    began = clock()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - began
