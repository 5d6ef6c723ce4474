"""What a network is, as a value: kind, size, normalisation, initialisation. JSON-able and checked.

What lives here: :class:`NetworkSpec`, its sizes, and initial values that depend only on seed and parameter name, so
that two arms of a comparison share those of their common parameters. What does not: modules (``images.py``, ``sequences.py``).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from bntheory.bridge.arguments import check_fields
from bntheory.errors import UserError

KINDS = ("mlp", "vgg", "resnet", "deep-linear", "ioffe-mnist", "rnn", "transformer")
IMAGE_KINDS = ("vgg", "resnet", "rnn", "transformer")
SIZES = ("tiny", "small", "medium", "full")
NORMS = (
    "none", "batch", "batch-primitive", "layer", "group", "instance", "rms", "weight", "l1", "l2", "linf", "mean-only",
    "variance-only", "detached", "detached-mean", "detached-variance", "layer-detached", "noisy-batch", "noisy-none",
)  # fmt: skip
_KEEP_A_BIAS = ("none", "layer", "layer-detached", "group", "rms", "noisy-none")
INITS = ("glorot", "glorot-normal", "he", "gaussian", "orthogonal")
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "softplus": nn.Softplus,
        "sigmoid": nn.Sigmoid,
        "gelu": nn.GELU,
        "identity": nn.Identity,
    }
)
# mlp, ioffe-mnist, deep-linear: hidden widths. vgg: channels of 3x3 convolutions, 0 for a pooling. resnet: (channels,
# blocks) of each stage; every stage after the first halves the resolution. rnn: width of each recurrent layer.
# transformer: width, number of blocks, heads.
LAYOUTS: Mapping[str, Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "mlp": {"tiny": (16,) * 2, "small": (128,) * 3, "medium": (256,) * 4, "full": (1024,) * 4},
        "vgg": {
            "tiny": (8, 0, 8, 0),
            "small": (8, 0, 16, 0, 32, 32, 0),
            "medium": (16, 0, 32, 0, 64, 64, 0, 128, 128, 0),
            "full": (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),  # VGG-11
        },
        "resnet": {
            "tiny": ((8, 1), (8, 1)),
            "small": ((8, 1), (16, 1), (32, 1)),
            "medium": ((16, 1), (32, 1), (64, 1), (128, 1)),
            "full": ((64, 2), (128, 2), (256, 2), (512, 2)),  # ResNet-18
        },
        # with the last layer, the largest has 25 layers of 10 x 10
        "deep-linear": {"tiny": (10,) * 4, "small": (10,) * 9, "medium": (10,) * 14, "full": (10,) * 24},
        "ioffe-mnist": dict.fromkeys(SIZES, (100, 100, 100)),
        "rnn": {"tiny": (16,), "small": (32,), "medium": (64, 64), "full": (256, 256)},
        "transformer": {"tiny": (16, 1, 2), "small": (32, 2, 2), "medium": (64, 4, 4), "full": (192, 12, 3)},
    }
)


@dataclass(frozen=True)
class NetworkSpec:
    """A network, described. ``NetworkSpec("vgg", size="full", norm="none", input_shape=(3, 32, 32))``.

    kind: "mlp", "vgg", "resnet", "deep-linear" (no activations), "ioffe-mnist" (3 x 100 sigmoid units, small
        Gaussian weights unless another init is given), "rnn" or "transformer" (the image read from top to bottom).
    size: "tiny" (unit tests), "small" (2 cores, minutes), "medium" (2 cores, an hour) or "full" (VGG-11,
        ResNet-18 for 32 x 32 images).
    norm: what follows each weight layer but the last (in a transformer: what precedes each branch of a block and
        the last layer). "layer" normalises over channels and positions; "l1", "l2",
        "linf" divide by the average l_p norm; "noisy-*" adds the noise of Santurkar's figure 2, in training mode.
        "detached", "detached-mean", "detached-variance" and "layer-detached" have the forward pass of batch and
        layer normalisation and no gradient through both statistics, the mean or the variance; "variance-only" divides
        by the standard deviation and keeps the mean; "rms" has no mean, and like its source no beta; "weight" divides
        by the norms of the rows of weights. Names of parameters are batch normalisation's.
    init: "glorot" (uniform), "glorot-normal", "he" (normal, fan in), "gaussian" (standard deviation
        ``init_scale``) or "orthogonal". Biases start at 0, gamma at 1, beta at 0.
    init_scale: a factor on every initial weight.
    activation: one of ``ACTIVATIONS``; kinds with a fixed one ignore it.
    input_shape: (channels, height, width), or (features,) for networks of linear layers.
    classes: number of outputs.
    layout: replaces the size's own layout; see ``LAYOUTS`` for its form.
    eps, momentum: of the normalisation.
    groups: for norm="group"; must divide every number of channels. 0: at least two channels each, 32 at most.
    bias: of the weight layers before a normalisation; ``None`` means: only where the normalisation does not
        cancel it ("none", "layer", "layer-detached", "group", "rms" and "noisy-none") or bring its own. The last layer
        always has one.
    pool: "max" or "average", for vgg.
    noise_unit, noise_dose: "channel" or "activation", and a factor on the noise, for the noisy norms.
    rows: of the image that make one time step ("rnn") or one token ("transformer"); must divide its height.
    """

    kind: str
    size: str = "small"
    norm: str = "batch"
    init: str = ""
    init_scale: float = 0.0
    activation: str = "relu"
    input_shape: tuple[int, ...] = (1, 28, 28)
    classes: int = 10
    layout: tuple[Any, ...] = ()
    eps: float = 1e-5
    momentum: float = 0.1
    groups: int = 0
    bias: bool | None = None
    pool: str = "max"
    noise_unit: str = "channel"
    noise_dose: float = 1.0
    rows: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        fix = object.__setattr__
        _one_of("kind", self.kind, KINDS)
        _one_of("size", self.size, SIZES)
        _one_of("norm", self.norm, NORMS)
        _one_of("pool", self.pool, ("max", "average"))
        _one_of("noise_unit", self.noise_unit, ("channel", "activation"))
        ioffe = self.kind == "ioffe-mnist"
        fix(self, "init", self.init or ("gaussian" if ioffe else "glorot"))
        _one_of("init", self.init, INITS)
        fix(self, "init_scale", self.init_scale or (0.1 if self.init == "gaussian" else 1.0))
        fixed = {"ioffe-mnist": "sigmoid", "deep-linear": "identity"}
        fix(self, "activation", fixed.get(self.kind, self.activation))
        _one_of("activation", self.activation, tuple(ACTIVATIONS))
        fix(self, "input_shape", tuple(int(n) for n in self.input_shape))
        layout = self.layout or LAYOUTS[self.kind][self.size]
        fix(self, "layout", tuple(tuple(n) if isinstance(n, (list, tuple)) else n for n in layout))
        if self.bias is None:
            fix(self, "bias", self.norm in _KEEP_A_BIAS)
        images = self.kind in IMAGE_KINDS
        if len(self.input_shape) not in ((3,) if images else (1, 3)) or min(self.input_shape) < 1:
            raise UserError(
                f"input_shape: {self.input_shape} does not fit {self.kind!r}; give (channels, height, width)"
                + ("" if images else " or (features,)")
            )
        if self.classes < 1:
            raise UserError(f"classes: {self.classes} outputs; at least 1 is needed")
        if not (math.isfinite(self.init_scale) and self.init_scale > 0):
            raise UserError(f"init_scale: {self.init_scale} is not a positive finite number")
        if self.kind in ("rnn", "transformer") and (self.rows < 1 or self.input_shape[1] % self.rows):
            raise UserError(f"rows: {self.rows} does not divide the image's height, {self.input_shape[1]}")
        self._check_layout()

    def _check_layout(self) -> None:
        flat = [n for entry in self.layout for n in (entry if isinstance(entry, tuple) else (entry,))]
        pairs = self.kind == "resnet"
        low = 0 if self.kind == "vgg" else 1
        if any(isinstance(e, tuple) != pairs or (pairs and len(e) != 2) for e in self.layout) or any(
            not isinstance(n, int) or n < low for n in flat
        ):
            form = "pairs (channels, blocks)" if pairs else "widths" + (" and 0 for a pooling" if not low else "")
            raise UserError(f"layout: {self.layout} does not fit {self.kind!r}; it takes {form}")
        if self.kind == "transformer" and (len(flat) != 3 or flat[0] % flat[2]):
            raise UserError(
                f"layout: {self.layout} does not fit 'transformer'; it takes (width, blocks, heads), and heads divide the width"
            )
        channels = [e[0] for e in self.layout] if pairs else [n for n in flat if n]
        channels = channels[:1] if self.kind == "transformer" else channels
        if self.groups == 0:
            common = math.gcd(*channels)
            most = min(32, max(1, common // 2))
            object.__setattr__(self, "groups", max(n for n in range(1, most + 1) if common % n == 0))
        odd = [n for n in channels if self.groups < 1 or n % self.groups]
        if self.norm == "group" and odd:
            raise UserError(f"groups: {self.groups} does not divide {odd[0]} channels, which the layout has")
        if self.norm == "instance" and self.kind not in ("vgg", "resnet"):
            raise UserError(
                f"norm: 'instance' has a single value to normalise in each unit of {self.kind!r}, so it would be "
                "zero everywhere; use it in networks of convolutions"
            )

        if self.norm == "weight" and self.kind in ("rnn", "transformer"):
            raise UserError(
                f"norm: 'weight' divides by the norms of one layer's weights, and a normalisation of {self.kind!r} is not behind a "
                "single one at a single step; use it in networks of linear or convolutional layers"
            )


def _one_of(what: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{what}: {value!r} is unknown; choose one of {', '.join(allowed)}")


@torch.no_grad()
def initialise(model: nn.Module, init: str, scale: float, seed: int) -> None:
    """Draw the initial weights in place; each depends only on ``seed``, its name and its shape.

    Weights of linear and convolutional layers follow ``init``; all other parameters keep their values (gamma 1,
    beta and biases 0). The draws are made on the CPU in float64 and rounded to the parameter's dtype, so a network
    is the same on every device, and its float32 version is the rounded float64 one.
    """
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            continue
        if module.bias is not None:
            module.bias.zero_()
        weight = module.weight
        words = hashlib.sha256(f"{seed}/{name}.weight".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(words[:8], "big") >> 1)
        weight.copy_(scale * _draw(init, tuple(weight.shape), generator))


def _draw(init: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    positions = math.prod(shape[2:])
    fan_in, fan_out = shape[1] * positions, shape[0] * positions
    if init == "glorot":  # uniform on +-sqrt(6/(fan in + fan out)): Glorot and Bengio 2010, eq. 16
        bound = math.sqrt(6 / (fan_in + fan_out))
        return (2 * torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu") - 1) * bound
    normal = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    if init == "glorot-normal":
        return normal * math.sqrt(2 / (fan_in + fan_out))
    if init == "he":  # He et al. 2015, eq. 10
        return normal * math.sqrt(2 / fan_in)
    if init == "gaussian":
        return normal
    rows = normal.reshape(shape[0], -1)
    tall = rows if rows.shape[0] >= rows.shape[1] else rows.T
    q, r = torch.linalg.qr(tall)
    q = q * torch.sign(torch.diagonal(r))
    result: Tensor = q if rows.shape[0] >= rows.shape[1] else q.T
    return result.reshape(shape)
