"""Plain stochastic gradient descent that can be stopped at any step and goes on with the same numbers.

What lives here: one training step, the state that a run consists of, and its file. What does not: which data or how
long (the caller's), and schedules beyond a step-wise learning rate.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bntheory.bridge.arguments import check_fields, checked
from bntheory.bridge.networks.evaluation import Batch, Loss, loss_and_gradients, trainable
from bntheory.bridge.networks.noise import set_noise_step
from bntheory.bridge.networks.state import bytes_of
from bntheory.errors import UserError

FORMAT = "bntheory-checkpoint-2"


@dataclass(frozen=True)
class SGDConfig:
    """v <- momentum v + (g + weight_decay theta);  theta <- theta - lr v, as ``torch.optim.SGD`` does it.

    ``drops``: pairs (step, factor); from that step on the learning rate is multiplied by the factor. ``seed`` decides
    what random layers (dropout, noise) draw; batches are the caller's.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    drops: tuple[tuple[int, float], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "drops", tuple((int(s), float(f)) for s, f in self.drops))
        for name in ("learning_rate", "momentum", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{name}: {value} is not a finite number >= 0")
        if self.momentum >= 1:
            raise UserError(f"momentum: {self.momentum} >= 1 would never forget a gradient; use a value in [0, 1)")
        if self.seed < 0:
            raise UserError(f"seed: {self.seed} is negative; use an integer >= 0")

    def rate(self, step: int) -> float:
        """The learning rate at ``step``."""
        rate = self.learning_rate
        for start, factor in self.drops:
            if step >= start:
                rate *= factor
        return rate


@dataclass(frozen=True)
class StepRecord:
    """One training step: its number (from 0), the loss before it, the norm of the gradient, the learning rate."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float


class Trainer:
    """A model on its way: parameters and buffers, momentum, and the number of steps done.

    Everything random in a step is a pure function of (config.seed, step), and the global random number generators
    are neither read nor moved. So a run that is interrupted by measurements, by other runs or by a restart gives the
    same numbers, bit for bit, on the same machine (on CUDA inside :func:`reproducible`).
    """

    @checked
    def __init__(self, model: nn.Module, loss: Loss, config: SGDConfig) -> None:
        self.model, self.loss, self.config = model, loss, config
        self.step = 0
        self._parameters = trainable(model)
        self.velocity: dict[str, Tensor] = {}
        if config.momentum:
            self.velocity = {name: torch.zeros_like(p) for name, p in self._parameters.items()}

    def train_step(self, batch: Batch) -> StepRecord:
        """One step on ``batch`` = (inputs, *targets), in training mode."""
        self.model.train()
        with self.randomness():
            value, gradients = loss_and_gradients(self.model, self.loss, batch, list(self._parameters.values()))
        rate = self.config.rate(self.step)
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        self.apply(gradients)
        record = StepRecord(self.step, float(value), float(norm), rate)
        self.step += 1
        return record

    @contextmanager
    def randomness(self) -> Iterator[None]:
        """Inside, random layers draw what they draw at the present step; the global generators come back."""
        set_noise_step(self.model, self.step)
        words = np.random.SeedSequence([self.config.seed, self.step]).generate_state(1, np.uint64)
        device = next(iter(self._parameters.values())).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(words[0] >> np.uint64(1)))
            yield

    @torch.no_grad()
    def apply(self, gradients: list[Tensor]) -> None:
        """Move the parameters by one step of descent along ``gradients`` (in the order of the parameters)."""
        for (name, parameter), gradient in zip(self._parameters.items(), gradients, strict=True):
            direction = gradient
            if self.config.weight_decay:
                direction = direction.add(parameter, alpha=self.config.weight_decay)
            if self.config.momentum:
                direction = self.velocity[name].mul_(self.config.momentum).add_(direction)
            parameter.add_(direction, alpha=-self.config.rate(self.step))

    def next_parameters(self, gradients: list[Tensor]) -> dict[str, Tensor]:
        """Where :meth:`apply` would take the parameters; nothing is changed."""
        moved: dict[str, Tensor] = {}
        for (name, parameter), gradient in zip(self._parameters.items(), gradients, strict=True):
            direction = gradient + self.config.weight_decay * parameter.detach()
            if self.config.momentum:
                direction = self.config.momentum * self.velocity[name] + direction
            moved[name] = parameter.detach() - self.config.rate(self.step) * direction
        return moved

    def run(
        self, batch_at: Callable[[int], Batch], steps: int, *, after: Callable[[StepRecord], None] | None = None
    ) -> list[StepRecord]:
        """Train until ``steps`` steps are done in all; ``batch_at(step)`` gives the batch of each."""
        records = []
        while self.step < steps:
            records.append(self.train_step(batch_at(self.step)))
            if after is not None:
                after(records[-1])
        return records

    def save(self, path: str | Path, extra: Mapping[str, Any] | None = None) -> None:
        """Write the whole state to one safetensors file; the file is complete or not there at all.

        ``extra`` is any JSON-able mapping and comes back from :meth:`load`.

        Raises:
            UserError: the file cannot be written, or the model's state holds something that is no tensor.
        """
        path = Path(path)
        tensors = {f"velocity/{name}": v for name, v in self.velocity.items()}
        for name, value in self.model.state_dict().items():
            if not isinstance(value, Tensor):
                raise UserError(f"model: its state entry {name!r} is no tensor, and nothing is ever pickled here")
            tensors[f"model/{name}"] = value
        note = {"format": FORMAT, "step": self.step, "config": asdict(self.config), "extra": dict(extra or {})}
        packed = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        note["sha256"] = _checksum(packed, note)
        temporary = path.with_name(f".{path.name}.part")  # one name: what a killed run leaves is overwritten
        try:
            save_file(packed, temporary, metadata={"bntheory": json.dumps(note)})
            with temporary.open("r+b") as file:  # Windows flushes only what may be written
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: the checkpoint cannot be written ({error})") from error
        finally:
            temporary.unlink(missing_ok=True)

    def load(self, path: str | Path) -> dict[str, Any]:
        """Take over the state in ``path``, and return the ``extra`` that was saved with it.

        Raises:
            UserError: no such file, no checkpoint of this kind, a checksum that does not fit, another configuration, or
                other tensors. Nothing is changed in that case.
        """
        path = Path(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path}: cannot be read as a checkpoint ({error})") from error
        try:
            note = json.loads(metadata.get("bntheory", "{}"))
            kind, saved = note["format"], json.dumps(note["config"], sort_keys=True)
            step, extra = int(note["step"]), dict(note["extra"])
            whole = note.pop("sha256") == _checksum(tensors, note)
        except (ValueError, KeyError, TypeError):
            kind = None
        if kind != FORMAT:
            raise UserError(f"{path}: is a safetensors file, but no checkpoint of format {FORMAT}")
        if not whole:
            raise UserError(f"{path}: is damaged: its content does not fit its checksum")
        present = json.dumps(asdict(self.config), sort_keys=True)
        if saved != present:
            raise UserError(f"{path}: was trained with {saved}, but this run is configured as {present}")
        own: dict[str, Tensor] = {f"velocity/{name}": v for name, v in self.velocity.items()}
        own |= {f"model/{name}": value for name, value in self.model.state_dict().items()}
        wrong = sorted(own.keys() ^ tensors.keys()) or sorted(
            n for n in own if own[n].shape != tensors[n].shape or own[n].dtype != tensors[n].dtype
        )
        if wrong:
            raise UserError(f"{path}: holds another network; {', '.join(wrong[:3])} missing, extra or of another kind")
        with torch.no_grad():
            for name, velocity in self.velocity.items():
                velocity.copy_(tensors[f"velocity/{name}"])
        prefix = "model/"
        self.model.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        self.step = step
        return extra


def _checksum(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> str:
    """Of all that a checkpoint says: a flipped bit, an edited step or another network's tensors change it."""
    digest = hashlib.sha256(json.dumps(note, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"\0{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(bytes_of(value).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def reproducible() -> Iterator[None]:
    """Inside, convolutions on CUDA use deterministic algorithms and true float32 products; restored afterwards.

    On the CPU nothing changes: with a fixed number of threads torch's results repeat there anyway.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    try:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before
