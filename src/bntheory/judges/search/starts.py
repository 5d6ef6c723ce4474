"""Where attacks start.

Starts mix plain Gaussian draws with the structures at which claims about normalisation break: g in the span of 1 and y_hat or
orthogonal to both, rank-one H, eps far above and below the variance, tiny, huge, negative and zero gamma, +-1 batches, outliers,
equal entries, almost constant batches, projections. :func:`small_integers` draws layers that make short witnesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bntheory.layer.domain import FREE, LayerDomain


@dataclass(frozen=True)
class Start:
    """Raw parameters to be varied, basis vectors to be kept, and which candidates have an epsilon."""

    raw: dict[str, torch.Tensor]
    fixed: dict[str, torch.Tensor]
    has_eps: torch.Tensor


def structured(domain: LayerDomain, n: int, m: int, generator: torch.Generator, device: str) -> Start:
    """n starts of batch size m."""
    draw = _Draw(domain, n, m, generator, device)
    return Start(draw.raw, draw.fixed, draw.has_eps)


def small_integers(domain: LayerDomain, n: int, m: int, generator: torch.Generator, device: str) -> Start:
    """Layers whose numbers are small integers: where a claim fails at one of them, that is the witness to show."""
    start = structured(domain, n, m, generator, device)
    logarithmic = {"eps"} | ({"gamma"} if domain.gamma == "positive" else set())
    logarithmic |= {FREE + k for k, kind in domain.scalars.items() if kind == "positive"}
    sparse = torch.rand((n, 1), generator=generator)
    for name, raw in start.raw.items():
        shape = (n,) + (1,) * (raw.ndim - 1)
        numbers = torch.randint(-3, 4, raw.shape, generator=generator).double()
        kept = torch.rand(raw.shape, generator=generator) < sparse.reshape(shape)
        numbers = torch.where(kept, numbers, torch.zeros_like(numbers)).to(device)
        if raw.ndim == 2 and raw.shape[1] == 1:  # scalars: mostly one
            one = torch.rand(raw.shape, generator=generator).to(device) < 0.5
            numbers = torch.where(one, torch.ones_like(numbers), numbers)
        if name in logarithmic:
            numbers = numbers.abs().clamp(min=1).log()
        if name == "beta":
            numbers = torch.zeros_like(numbers)
        kind = domain.hessian if name == "hess" else domain.operators.get(name.removeprefix(FREE))
        if raw.ndim == 3 and kind == "any":
            numbers = torch.tril(numbers) + torch.tril(numbers, -1).mT
        start.raw[name] = numbers
    y = start.raw["y"]
    first = torch.eye(m, dtype=y.dtype, device=device)[0]
    start.raw["y"] = torch.where((y == y[:, :1]).all(-1, keepdim=True), first.expand_as(y), y)
    if domain.normaliser in ("l1", "linf"):
        start.raw["y"] = start.raw["y"] * 2 + first  # fewer ties at the kinks
        flat = (start.raw["y"] == start.raw["y"][:, :1]).all(-1, keepdim=True)
        start.raw["y"] = torch.where(flat, first.expand_as(y), start.raw["y"])
    return start


class _Draw:
    def __init__(self, domain: LayerDomain, n: int, m: int, generator: torch.Generator, device: str) -> None:
        self.domain, self.n, self.m, self.device = domain, n, m, device
        self.generator = generator
        y = self._batches()
        self.raw: dict[str, torch.Tensor] = {"y": y, "beta": self._pick([self._zeros(1), self._normal(1)])}
        self.fixed: dict[str, torch.Tensor] = {}
        centred = y - y.mean(-1, keepdim=True)
        y_hat = centred / (centred.square().mean(-1, keepdim=True).sqrt() + 1e-30)
        if domain.normaliser == "rms":
            y_hat = y / (y.square().mean(-1, keepdim=True).sqrt() + 1e-30)
        self.raw["grad"] = self._vectors(y_hat, y)
        if domain.gamma in ("positive",):
            self.raw["gamma"] = self._pick([self._zeros(1), self._normal(1), 7 * self._normal(1)])
        else:
            wide = self._normal(1).sign() * (5 * self._normal(1)).exp()
            kinds = [self._zeros(1) + 1, self._zeros(1) - 1, self._normal(1), wide]
            if domain.gamma != "nonzero":
                kinds.append(self._zeros(1))
            self.raw["gamma"] = self._pick(kinds)
        self._start_eps(centred)
        if domain.hessian in ("any", "psd"):
            self.raw["hess"] = self._matrices(y_hat, self.raw["grad"], factor=domain.hessian == "psd")
        elif domain.hessian in ("diagonal", "psd-diagonal"):
            self.raw["hess"] = self._vectors(y_hat, y)
        elif domain.hessian == "isotropic":
            self.raw["hess"] = self._pick([self._zeros(1) + 1, self._zeros(1) - 1, self._normal(1), self._zeros(1)])
        for name, kind in domain.scalars.items():
            self.raw[FREE + name] = self._scalars(kind)
        for name in domain.vectors:
            if name.endswith("@case"):
                self.fixed[FREE + name] = torch.eye(m, dtype=torch.float64, device=device)[self._choice(m)]
            else:
                self.raw[FREE + name] = self._vectors(y_hat, y)
        for name, op in domain.operators.items():
            self.raw[FREE + name] = self._matrices(y_hat, self.raw["grad"], factor=op == "psd")

    def _normal(self, *shape: int) -> torch.Tensor:
        draw = torch.randn((self.n, *shape), generator=self.generator, dtype=torch.float64)
        return draw.to(self.device)

    def _choice(self, k: int) -> torch.Tensor:
        return torch.randint(k, (self.n,), generator=self.generator).to(self.device)

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros((self.n, *shape), dtype=torch.float64, device=self.device)

    def _pick(self, kinds: list[torch.Tensor]) -> torch.Tensor:
        stacked = torch.stack(kinds)
        index = self._choice(len(kinds))
        return stacked[index, torch.arange(self.n, device=self.device)].clone()

    def _unit(self) -> torch.Tensor:
        return torch.eye(self.m, dtype=torch.float64, device=self.device)[self._choice(self.m)]

    def _batches(self) -> torch.Tensor:
        normal = self._normal(self.m)
        ramp = torch.arange(self.m, dtype=torch.float64, device=self.device).expand(self.n, self.m)
        signs = torch.where(normal > 0, 1.0, -1.0)
        kinds = [
            normal,
            normal * (3 * self._normal(1)).exp() + 3 * self._normal(1),
            (2 * normal).round(),
            signs + self._pick([self._zeros(1), self._normal(1)]),
            self._unit() * (2 * self._normal(1)).exp(),
            self._unit() * 100 + normal,
            ramp * self._normal(1),
            1 + 1e-4 * normal,
            normal.sign() * normal.abs() ** 4,
        ]
        y = self._pick(kinds)
        flat = (y == y[:, :1]).all(-1, keepdim=True)
        y = torch.where(flat, y + ramp, y)
        if self.domain.normaliser in ("l1", "linf"):  # keep away from the kinks
            y = y + 0.01 * self._normal(self.m)
        return y

    def _vectors(self, y_hat: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        normal = self._normal(self.m)
        one = torch.ones_like(normal)
        residual = normal - normal.mean(-1, keepdim=True)
        residual = residual - y_hat * (
            (residual * y_hat).mean(-1, keepdim=True) / y_hat.square().mean(-1, keepdim=True).clamp(min=1e-30)
        )
        span = self._normal(1) * one + self._normal(1) * y_hat
        return self._pick(
            [
                normal,
                normal,
                (2 * normal).round(),
                span,
                span + residual,
                span + 0.01 * residual,
                residual,
                y_hat + self._pick([self._zeros(1), self._normal(1)]) * residual,
                self._unit(),
                one,
                y_hat.sign(),
                y,
                self._zeros(self.m),
                normal * (6 * self._normal(1)).exp(),
            ]
        )

    def _scalars(self, kind: str) -> torch.Tensor:
        if kind in ("positive",):
            return self._pick([self._zeros(1), self._normal(1), 4 * self._normal(1)])
        if kind == "unit":
            return self._pick(
                [self._zeros(1), self._normal(1), self._zeros(1) + torch.pi / 2, self._zeros(1) - torch.pi / 2]
            )
        one = self._zeros(1) + 1
        kinds = [one, -one, 2 * one, one / 2, self._normal(1), self._normal(1).sign() * (4 * self._normal(1)).exp()]
        if kind != "nonzero":
            kinds.append(self._zeros(1))
        return self._pick(kinds)

    def _start_eps(self, centred: torch.Tensor) -> None:
        kind = self.domain.eps
        self.has_eps = torch.zeros((self.n, 1), dtype=torch.bool, device=self.device)
        if kind == "zero":
            return
        variance = centred.square().mean(-1, keepdim=True).clamp(min=1e-300)
        ratio = self._pick([self._zeros(1), self._normal(1), 4 * self._normal(1), self._zeros(1) - 12])
        self.raw["eps"] = variance.log() + ratio
        draw = torch.rand((self.n, 1), generator=self.generator).to(self.device)
        self.has_eps = torch.ones_like(self.has_eps) if kind == "positive" else draw < 0.7

    def _matrices(self, y_hat: torch.Tensor, g: torch.Tensor, *, factor: bool) -> torch.Tensor:
        """Symmetric matrices, or factors A of A A'."""
        m = self.m
        full = self._normal(m, m)
        one = torch.ones_like(g)
        mixed = self._normal(1) * g + self._normal(1) * y_hat + self._normal(1) * one
        u = self._pick([self._normal(m), g, y_hat, mixed, self._unit(), mixed + 0.3 * self._normal(m)])
        identity = torch.eye(m, dtype=torch.float64, device=self.device).expand(self.n, m, m)
        if factor:
            centring = m**0.5 * (identity - 1 / m)
            column = torch.nn.functional.pad(u[..., None], (0, m - 1))
            return self._pick(
                [
                    full,
                    column,
                    identity.clone(),
                    full * torch.eye(m, device=self.device),
                    full * 0,
                    column * 10 + full,
                    centring,
                ]
            )
        rank_one = u[:, :, None] * u[:, None, :]
        size = self._normal(1)[..., None]
        return self._pick(
            [
                full,
                rank_one,
                -rank_one,
                identity * size,
                full * torch.eye(m, device=self.device),
                full * 0,
                size * rank_one + self._normal(1)[..., None] * identity,
                full * (5 * size).exp(),
            ]
        )
