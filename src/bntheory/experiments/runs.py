"""Networks that start alike, see the same batches and differ in one thing: trained once, looked at as often as needed.

What lives here: an arm, the protocol that all arms of a comparison share, the run of one arm from one seed with its networks at the
recorded steps, what is measured on them, and how measurements at several steps become one number a seed. What does not: which arms a
claim compares, and what would support it.

Arms of one seed are paired: common parameters have the same initial values (:func:`bntheory.bridge.build_network`), and step t has the
same batch in all of them. No global random state is read or moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from bntheory.evidence.checks import Check
from bntheory.evidence.curves import mean_log_ratio_at_equal_loss
from bntheory.evidence.seeds import over_seeds
from bntheory.evidence.study import Study

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bntheory.bridge import AlongGradient, ImageData, LayerShift, NetworkSpec

__all__ = [
    "Arm",
    "Protocol",
    "Run",
    "along",
    "check_of",
    "difference_at_equal_loss",
    "each_seed",
    "held_out_accuracy",
    "mean_difference",
    "shifts",
    "train_arm",
    "training_point",
]

#: The images on which arms are compared are drawn from the training set by a seed far from those of the training batches.
MEASURED_SEED = 1_000_003
Numbers = Mapping[int, float | None]


@dataclass(frozen=True)
class Arm:
    """One way to train: a network, its learning rate and, if need be, what is done to the fresh network.

    prepare: a function of a module (not a lambda made anew: equal arms are recognised by it) that changes the network in place.
    """

    name: str
    spec: NetworkSpec
    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    prepare: Callable[[nn.Module], None] | None = None


@dataclass(frozen=True)
class Protocol:
    """What all arms of a comparison share. record: the steps at which a run keeps its network, 0 and ``steps`` allowed."""

    steps: int
    record: tuple[int, ...]
    batch_size: int = 64
    measured: int = 512  # training images on which arms are compared
    data: str = "fashion-mnist-subset"

    @classmethod
    def even(cls, steps: int, points: int, **options: Any) -> Protocol:
        """``points`` records at even distances, the last one after the last step, and the initial network."""
        return cls(steps, tuple(steps * i // points for i in range(points + 1)), **options)


@dataclass(frozen=True, eq=False)
class Run:
    """One arm trained from one seed.

    losses: of the batch of every step, before it. snapshots: the network's state dict at every recorded step that it reached.
    diverged_at: the step whose loss was not finite; nothing is trained or recorded from there on.
    """

    arm: Arm
    protocol: Protocol
    seed: int
    device: str
    losses: tuple[float, ...]
    snapshots: Mapping[int, Mapping[str, Tensor]] = field(repr=False)
    diverged_at: int | None = None

    @property
    def after_start(self) -> tuple[int, ...]:
        """The recorded steps after the first: the initial network is no part of training."""
        return tuple(step for step in self.protocol.record if step > 0)

    def network_at(self, step: int) -> nn.Module:
        """A copy of the network as it was before the update of this step, in training mode, with the noise of this step."""
        from bntheory.bridge import build_network, set_noise_step

        model = build_network(self.arm.spec, self.seed, device=self.device)
        if self.arm.prepare is not None:
            self.arm.prepare(model)
        model.load_state_dict(self.snapshots[step])
        set_noise_step(model, step)
        return model.train()

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """The training batch of this step: the one that its update is, or would be, computed on."""
        from bntheory.bridge import batch_at

        return batch_at(
            _data(self.protocol.data, self.device),
            step,
            batch_size=self.protocol.batch_size,
            seed=self.seed,
        )


@lru_cache(maxsize=4)
def _data(name: str, device: str) -> ImageData:
    from bntheory.bridge import load_dataset

    return load_dataset(name).to(device)


@lru_cache(maxsize=256)
def train_arm(arm: Arm, protocol: Protocol, seed: int, device: str = "cpu") -> Run:
    """Train one arm from one seed by stochastic gradient descent on cross-entropy; kept, so that claims share it.

    A run keeps one copy of the network's parameters a recorded step: meant for networks of about 10^5 parameters.
    """
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import SGDConfig, Trainer, batch_at, build_network, reproducible

    model = build_network(arm.spec, seed, device=device)
    if arm.prepare is not None:
        arm.prepare(model)
    config = SGDConfig(arm.learning_rate, arm.momentum, arm.weight_decay, seed=seed)
    trainer = Trainer(model, cross_entropy, config)
    data = _data(protocol.data, device)
    losses: list[float] = []
    snapshots: dict[int, Mapping[str, Tensor]] = {}
    diverged_at = None
    with reproducible():
        for step in range(protocol.steps + 1):
            if step in protocol.record:
                snapshots[step] = {name: t.detach().clone() for name, t in model.state_dict().items()}
            if step == protocol.steps:
                break
            batch = batch_at(data, step, batch_size=protocol.batch_size, seed=seed)
            record = trainer.train_step(batch)
            losses.append(record.loss)
            if not (math.isfinite(record.loss) and math.isfinite(record.gradient_norm)):
                diverged_at = step
                snapshots.pop(step, None)
                break
    return Run(arm, protocol, seed, device, tuple(losses), snapshots, diverged_at)


# -- what is measured on a run's network at one step ------------------------------------------------------------------


@lru_cache(maxsize=4096)
def training_point(run: Run, step: int) -> tuple[float, float]:
    """(loss, accuracy) on the measured training images, in training mode and in batches of the size that was trained on.

    A run that has diverged has an infinite loss and guesses: accuracy one over the number of classes.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import batch_at

    protocol = run.protocol
    data = _data(protocol.data, run.device)
    if step not in run.snapshots:
        return math.inf, 1 / data.classes
    images, labels = batch_at(data, 0, batch_size=protocol.measured, seed=MEASURED_SEED + run.seed)
    model = run.network_at(step)
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in torch.split(images, protocol.batch_size)])
    loss = float(cross_entropy(outputs, labels))
    if not math.isfinite(loss):
        return math.inf, 1 / data.classes
    return loss, float((outputs.argmax(1) == labels).double().mean())


@lru_cache(maxsize=4096)
def held_out_accuracy(run: Run, step: int) -> float:
    """Accuracy on the first 1000 test images, in evaluation mode; a run that has diverged guesses."""
    import torch

    data = _data(run.protocol.data, run.device)
    if step not in run.snapshots:
        return 1 / data.classes
    images, labels = data.inputs(slice(0, 1000), "test")
    model = run.network_at(step).eval()
    with torch.no_grad():
        outputs = torch.cat([model(part) for part in torch.split(images, 250)])
    if not bool(torch.isfinite(outputs).all()):
        return 1 / data.classes
    return float((outputs.argmax(1) == labels).double().mean())


@lru_cache(maxsize=4096)
def along(run: Run, step: int, multiples: tuple[float, ...], *, twin: bool = False) -> AlongGradient | None:
    """Loss and gradient along the gradient on the batch of this step, at these multiples of the learning rate.

    twin: of the frozen-statistics twin made on the same batch. None where the run had diverged.
    """
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import along_gradient, frozen_twin

    if step not in run.snapshots:
        return None
    model, batch = run.network_at(step), run.batch(step)
    model = frozen_twin(model, batch[0]) if twin else model
    return along_gradient(model, cross_entropy, batch, [run.arm.learning_rate * s for s in multiples])


@lru_cache(maxsize=4096)
def shifts(run: Run, step: int) -> tuple[LayerShift, ...] | None:
    """Internal covariate shift of every weight layer (Definition 2.1) for the update of this step; None where the run had diverged."""
    from torch.nn.functional import cross_entropy

    from bntheory.bridge import covariate_shift

    if step not in run.snapshots:
        return None
    found = covariate_shift(
        run.network_at(step), cross_entropy, run.batch(step), learning_rate=run.arm.learning_rate
    )
    return tuple(found)


# -- from measurements at several steps to one number a seed, and from seeds to a check -------------------------------


def mean_difference(left: Numbers, right: Numbers, *, log: bool = False) -> float | None:
    """Mean of left - right (log: of log10(left/right)) over the steps at which both are known; None where there is none."""
    known = []
    for step in sorted(left.keys() & right.keys()):
        a, b = _usable(left[step], log=log), _usable(right[step], log=log)
        if a is not None and b is not None:
            known.append(a - b)
    return sum(known) / len(known) if known else None


def difference_at_equal_loss(
    left: Numbers, right: Numbers, left_losses: Numbers, right_losses: Numbers
) -> float | None:
    """Mean of log10(left/right), right read where its loss is left's (:func:`bntheory.evidence.curves.at_loss`); None where it never is."""
    return mean_log_ratio_at_equal_loss(*_curve(left, left_losses), *_curve(right, right_losses))


def _curve(values: Numbers, losses: Numbers) -> tuple[list[float], list[float | None]]:
    """(losses, values) in the order of the steps."""
    known = [(loss, values[step]) for step in sorted(values) if (loss := losses.get(step)) is not None]
    return [loss for loss, _ in known], [value for _, value in known]


def _usable(value: float | None, *, log: bool) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    if log:
        return math.log10(value) if value > 0 else None
    return value


def each_seed(
    study: Study, arms: Sequence[Arm], protocol: Protocol, seeds: int, what: str
) -> Iterator[dict[str, Run]]:
    """The runs of all arms by name, seed after seed."""
    for index in range(seeds):
        seed = 1000 * study.seed + index
        yield {arm.name: train_arm(arm, protocol, seed, study.device) for arm in arms}
        study.progress((index + 1) / seeds, f"{what}, seed {seed}")


def check_of(
    study: Study,
    name: str,
    numbers: Sequence[float | None],
    side: Literal["below", "above"],
    bound: float,
    scope: str,
    *,
    decisive: bool = True,
) -> Check:
    """:func:`over_seeds` on the seeds that gave a number; the others are counted in the scope."""
    values = [x for x in numbers if x is not None]
    missing = len(numbers) - len(values)
    if missing:
        scope = f"{scope}; {missing} of {len(numbers)} seeds gave no number"
    return over_seeds(
        name,
        values,
        side,
        bound,
        scope,
        witness={"seed": study.seed},
        decisive=decisive,
    )
