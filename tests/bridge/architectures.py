"""Twenty-five architectures as libraries of image, language and graph models build them, small enough for a dense Hessian.

Written anew for the tests, in the shape of the blocks of torchvision, timm and transformers. Each makes (model, loss, batch) in
float32; batch normalisation, where there is any, is torch's, functional, or written by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CLASSES = 3


def images(n: int = 6, channels: int = 2, size: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(n, channels, size, size), torch.arange(n) % CLASSES


def conv(i: int, o: int, k: int = 3, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2, groups=groups, bias=False)


class Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


class PostActivation(nn.Module):
    """A basic block, ReLU after the sum; the last gamma starts at a half."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn0 = conv(2, 3), nn.BatchNorm2d(3)
        self.conv1, self.bn1, self.conv2, self.bn2 = (conv(3, 3), nn.BatchNorm2d(3), conv(3, 3), nn.BatchNorm2d(3))
        self.downsample = nn.Sequential(conv(3, 3, 1), nn.BatchNorm2d(3))
        self.head = Head(3)
        nn.init.constant_(self.bn2.weight, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn0(self.stem(x)), inplace=True)
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return self.head(F.relu(out + self.downsample(x)))


class PreActivation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn1, self.conv1 = conv(2, 3), nn.BatchNorm2d(3), conv(3, 3)
        self.bn2, self.conv2, self.last, self.head = nn.BatchNorm2d(3), conv(3, 3), nn.BatchNorm2d(3), Head(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.conv2(F.silu(self.bn2(self.conv1(F.silu(self.bn1(x))))))
        return self.head(F.silu(self.last(x)))


class Dense(nn.Module):
    """Each layer sees all earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(2 + 2 * i) for i in range(3))
        self.convs = nn.ModuleList(conv(2 + 2 * i, 2) for i in range(3))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for norm, layer in zip(self.norms, self.convs, strict=True):
            features.append(layer(F.elu(norm(torch.cat(features, 1)))))
        return self.head(torch.cat(features, 1))


class InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.bn1 = conv(2, 4, 1), nn.BatchNorm2d(4)
        self.depthwise, self.bn2 = conv(4, 4, 3, groups=4), nn.BatchNorm2d(4)
        self.reduce, self.excite = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.project, self.bn3, self.head = conv(4, 2, 1), nn.BatchNorm2d(2), Head(2)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.bn2(self.depthwise(F.silu(self.bn1(self.expand(x))))))
        h = h * torch.sigmoid(self.excite(F.silu(self.reduce(h.mean((2, 3), keepdim=True)))))
        return self.head(x + self.bn3(self.project(h)))


class LayerNorm2d(nn.LayerNorm):
    """Channels first, as in ConvNeXt: permuted around the functional call."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(2, 3, 2, 2), LayerNorm2d(3, eps=1e-6)
        self.depthwise, self.norm = conv(3, 3, 3, groups=3), nn.LayerNorm(3, eps=1e-6)
        self.up, self.down, self.scale = nn.Linear(3, 6), nn.Linear(6, 3), nn.Parameter(torch.full((3,), 0.3))
        self.head = Head(3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm0(self.stem(x))
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return self.head(x + (self.scale * self.down(F.gelu(self.up(h)))).permute(0, 3, 1, 2))


class ViT(nn.Module):
    """Patches, a class token, attention by torch's fused function."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(2, 4, 2, 2), nn.Parameter(torch.randn(1, 1, 4))
        self.norm1, self.qkv, self.out = nn.LayerNorm(4), nn.Linear(4, 12), nn.Linear(4, 4)
        self.norm2, self.mlp = nn.LayerNorm(4), nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 4))
        self.norm, self.fc = nn.LayerNorm(4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        q, k, v = (t.unflatten(-1, (2, 2)).transpose(1, 2) for t in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.fc(self.norm(x + self.mlp(self.norm2(x)))[:, 0])


class Rms(nn.Module):
    """Written by hand, in float32 whatever comes, as language models do."""

    precision = torch.float32

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.rand(width) + 0.5), 1e-6

    def forward(self, x: Tensor) -> Tensor:
        h = x.to(self.precision)
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * h.to(x.dtype)


@dataclass
class Output:
    """What a language model returns."""

    logits: Tensor
    loss: Tensor | None = None


class Llama(nn.Module):
    """Tokens by keyword, RMS normalisation, a gated perceptron, an output that is a dataclass with its loss."""

    def __init__(self, norm: Callable[[int], nn.Module] = Rms, tied: bool = False) -> None:
        super().__init__()
        self.embed, self.norm1, self.norm2, self.norm = (nn.Embedding(5, 4, sparse=True), norm(4), norm(4), norm(4))
        self.q, self.k, self.v, self.o = (nn.Linear(4, 4, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 4)
        self.lm_head = nn.Linear(4, 5, bias=False)
        if tied:
            self.lm_head.weight = self.embed.weight

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> Output:
        x = self.embed(input_ids)
        h = self.norm1(x)
        q, k, v = self.q(h)[:, None], self.k(h)[:, None], self.v(h)[:, None]
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0])
        h = self.norm2(x)
        x = x + self.down(F.silu(self.gate(h)) * self.up(h))
        logits = self.lm_head(self.norm(x))
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return Output(logits, loss)


def tokens() -> tuple[dict[str, Tensor]]:
    ids = torch.randint(5, (4, 6))
    return ({"input_ids": ids[:, :-1], "labels": ids[:, 1:]},)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.bn1 = conv(2, 3), nn.BatchNorm2d(3)
        self.down2, self.bn2 = conv(3, 4), nn.BatchNorm2d(4)
        self.up, self.bn3 = nn.ConvTranspose2d(4, 3, 2, 2), nn.BatchNorm2d(3)
        self.out = nn.Conv2d(6, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.silu(self.bn1(self.down1(x)))
        b = F.silu(self.bn2(self.down2(F.avg_pool2d(a, 2))))
        return self.out(torch.cat([a, F.silu(self.bn3(self.up(b)))], 1))


class Recurrent(nn.Module):
    """Time first; one batch normalisation on the last state."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn, self.bn, self.fc = kind(2, 3), nn.BatchNorm1d(3), nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.bn(self.rnn(x)[0][-1]))


class GraphConvolution(nn.Module):
    """The second input indexes rows of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.bn, self.two = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, CLASSES)

    def mixed(self, x: Tensor, edges: Tensor) -> Tensor:
        return x.index_add(0, edges[1], x[edges[0]])

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        return self.two(self.mixed(torch.tanh(self.bn(self.one(self.mixed(x, edges)))), edges))


class GhostNorm(nn.BatchNorm1d):
    """The batch in two halves, each with its own statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(GhostNorm, self).forward(part) for part in x.chunk(2)])


class Renorm(nn.BatchNorm1d):
    """Batch renormalisation (Ioffe 2017): r and d are constants for the gradient."""

    frozen = False

    def forward(self, x: Tensor) -> Tensor:
        mean, std = x.mean(0), torch.sqrt(x.var(0, unbiased=False) + self.eps)
        if self.frozen:
            mean, std = mean.detach(), std.detach()
        with torch.no_grad():
            r = (std / self.running_var.sqrt()).clamp(0.5, 2)
            d = ((mean - self.running_mean) / self.running_var.sqrt()).clamp(-1, 1)
        return ((x - mean) / std * r + d) * self.weight + self.bias


class Functional(nn.Module):
    """Normalises by functional calls, batch and instance, in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.gamma = conv(2, 3), conv(3, 3), nn.Parameter(torch.rand(3) + 0.5)
        self.head = Head(3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(F.batch_norm(self.one(x), None, None, self.gamma, None, True))
        return self.head(torch.tanh(F.instance_norm(self.two(x), eps=1e-3)) * x)


class AudioEncoder(nn.Module):
    """As HuBERT: the input is made to require a gradient, a batch norm stands before the convolution of positions, a layer norm behind
    every branch, and branches start small."""

    def __init__(self) -> None:
        super().__init__()
        self.front, self.norm = nn.Conv1d(1, 4, 3, 2), nn.BatchNorm1d(4)
        self.positions = nn.Conv1d(4, 4, 3, padding=1, groups=2)
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3))
        for branch in self.branches:
            nn.init.normal_(branch[0].weight, std=1e-3)
        self.norms = nn.ModuleList(nn.LayerNorm(4) for _ in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, None]
        if self.training:
            h.requires_grad = True
        h = torch.tanh(self.front(h))
        h = (h + torch.tanh(self.positions(self.norm(h)))).transpose(1, 2)
        for branch, norm in zip(self.branches, self.norms, strict=True):
            h = norm(h + branch(h))
        return self.head(torch.tanh(h).mean(1))


class Checkpointed(nn.Module):
    plain = False

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.reentrant = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh()), reentrant
        self.second = nn.Sequential(nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        if self.plain:
            return self.second(self.first(x))
        return self.second(checkpoint(self.first, x, use_reentrant=self.reentrant))


class WeightStandardised(nn.Module):
    """Group norm behind weights standardised in the forward pass (as in BiT)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.norm, self.head = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.GroupNorm(2, 4), Head(4)

    def forward(self, x: Tensor) -> Tensor:
        var, mean = torch.var_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        return self.head(F.elu(self.norm(F.conv2d(x, (self.weight - mean) * torch.rsqrt(var + 1e-6), padding=1))))


def perceptron(norm: Callable[[int], nn.Module] = nn.BatchNorm1d) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 5), norm(5), nn.Tanh(), nn.Linear(5, 5), norm(5), nn.Tanh(), nn.Linear(5, CLASSES)
    )


def vectors(n: int = 10) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 4), torch.arange(n) % CLASSES


def weight_normed() -> nn.Module:
    model = perceptron()
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrizations.weight_norm(model[3])
    return model


def spectral_normed() -> nn.Module:
    model = perceptron()
    nn.utils.parametrizations.spectral_norm(model[0])
    return model


class Tied(nn.Module):
    """One linear layer used twice and transposed, one batch norm used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.bn, self.fc = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.bn(self.layer(x)))
        return self.fc(torch.tanh(self.bn(F.linear(x, self.layer.weight.T))))


def graph() -> tuple[Any, Tensor]:
    edges = torch.tensor([[0, 3, 9, 5, 2], [5, 2, 3, 0, 9]])
    return (torch.randn(10, 4), edges), torch.arange(10) % CLASSES


def segmentation() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 2, 4, 4), torch.randint(CLASSES, (4, 4, 4))


def own_loss(outputs: Any) -> Tensor:
    return outputs.loss


@dataclass(frozen=True)
class Architecture:
    """batch_norms: how many calls normalise over the batch. others: how many other normalisations there are."""

    make: Callable[[], nn.Module]
    data: Callable[[], Any]
    batch_norms: int
    others: int = 0
    loss: Callable[..., Any] | None = F.cross_entropy

    def build(self, seed: int = 0) -> tuple[nn.Module, Any, Any]:
        torch.manual_seed(seed)
        model = self.make()
        for module in model.modules():
            for p in (getattr(module, "weight", None), getattr(module, "bias", None)):
                if isinstance(p, nn.Parameter) and p.dim() == 1:
                    with torch.no_grad():
                        p.add_(0.2 * torch.randn(p.shape))
        return model, self.loss, self.data()


ARCHITECTURES = {
    "residual, post-activation": Architecture(PostActivation, images, 4),
    "residual, pre-activation": Architecture(PreActivation, images, 3),
    "dense": Architecture(Dense, images, 3),
    "inverted bottleneck with squeeze-excitation": Architecture(InvertedBottleneck, images, 3),
    "ConvNeXt, channels-last layer norm": Architecture(ConvNeXt, images, 0, 2),
    "ViT": Architecture(ViT, images, 0, 3),
    "LLaMA, RMS by hand": Architecture(Llama, tokens, 0, 3, own_loss),
    "LLaMA, nn.RMSNorm, tied": Architecture(lambda: Llama(partial(nn.RMSNorm, eps=2.0**-23), tied=True), tokens, 0, 3, None),
    "U-Net": Architecture(UNet, segmentation, 3),
    "audio encoder": Architecture(AudioEncoder, lambda: (torch.randn(8, 12), torch.arange(8) % 3), 1, 3),
    "recurrent with batch norm, RNN": Architecture(lambda: Recurrent(nn.RNN), lambda: (torch.randn(5, 8, 2), torch.arange(8) % 3), 1),
    "recurrent with batch norm, LSTM": Architecture(lambda: Recurrent(nn.LSTM), lambda: (torch.randn(3, 8, 2), torch.arange(8) % 3), 1),
    "graph convolution": Architecture(GraphConvolution, graph, 1),
    "ghost batch norm": Architecture(lambda: perceptron(GhostNorm), vectors, 4),
    "batch renormalisation": Architecture(lambda: perceptron(Renorm), vectors, 2),
    "weight-normed": Architecture(weight_normed, vectors, 2),
    "spectral-normed": Architecture(spectral_normed, vectors, 2),
    "tied": Architecture(Tied, vectors, 2),
    "checkpointed": Architecture(lambda: Checkpointed(False), vectors, 2),
    "checkpointed, reentrant": Architecture(lambda: Checkpointed(True), vectors, 2),
    "compiled": Architecture(lambda: torch.compile(perceptron(), backend="eager"), vectors, 2),
    "data-parallel": Architecture(lambda: nn.DataParallel(perceptron()), vectors, 2),
    "synchronised batch norm": Architecture(lambda: nn.SyncBatchNorm.convert_sync_batchnorm(perceptron()), vectors, 2),
    "functional": Architecture(Functional, images, 1, 1),
    "transformer encoder, torch's own": Architecture(
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True), nn.Flatten(), nn.Linear(12, CLASSES)),
        lambda: (torch.randn(5, 3, 4), torch.arange(5) % 3), 0, 2,
    ),
    "weight-standardised with group norm": Architecture(WeightStandardised, images, 0, 1),
}  # fmt: skip
