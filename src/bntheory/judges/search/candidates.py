"""Where attacks start, and how raw parameters become layers that lie in the claim's domain.

Domains are kept by parametrisation: gamma > 0 and eps > 0 are exponentials, a positive semidefinite H is A A'. Starts mix plain
Gaussian draws with the structures at which claims about normalisation break: g in the span of 1 and y_hat or orthogonal to
both, rank-one H, eps far above and below the variance, tiny, huge, negative and zero gamma, +-1 batches, outliers,
equal entries, almost constant batches.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from bntheory.judges.shrink import Rounding
from bntheory.judges.witness import Instance
from bntheory.layer.domain import LayerDomain

__all__ = ["Candidates", "Values"]

Values = dict[str, Any]


class Candidates:
    """n layers of batch size m as raw, unconstrained parameters, with :meth:`values` to read them as layers."""

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
        elif domain.hessian == "diagonal":
            self.raw["hess"] = self._vectors(y_hat, y)
        elif domain.hessian == "isotropic":
            self.raw["hess"] = self._pick(
                [self._zeros(1) + 1, self._zeros(1) - 1, self._normal(1), self._zeros(1)]
            )
        for name, kind in domain.scalars.items():
            self.raw[name] = self._scalars(kind)
        for name in domain.vectors:
            if name.endswith("@case"):
                self.fixed[name] = torch.eye(m, dtype=torch.float64, device=device)[self._choice(m)]
            else:
                self.raw[name] = self._vectors(y_hat, y)
        for name, op in domain.operators.items():
            self.raw[name] = self._matrices(y_hat, self.raw["grad"], factor=op == "psd")

    # -- reading -------------------------------------------------------------------------------------------------

    def values(self, raw: dict[str, torch.Tensor] | None = None, only: torch.Tensor | None = None) -> Values:
        """The arguments of a layer constructor; ``only`` selects candidates."""
        raw = self.raw if raw is None else raw
        fixed = self.fixed
        has_eps = self.has_eps
        if only is not None:
            raw = {k: v[only] for k, v in raw.items()}
            fixed = {k: v[only] for k, v in fixed.items()}
            has_eps = has_eps[only]
        d, y = self.domain, raw["y"]
        zero = torch.zeros_like(y[:, :1])
        eps = zero if d.eps == "zero" else torch.where(has_eps, raw["eps"].clamp(-350, 350).exp(), zero)
        return {
            "y": y,
            "grad": raw["grad"],
            "hess": self._hess(raw, y),
            "gamma": raw["gamma"].clamp(-350, 350).exp() if d.gamma == "positive" else raw["gamma"],
            "beta": raw["beta"],
            "eps": eps,
            "free": {
                **{k: _in_range(kind, raw[k]) for k, kind in d.scalars.items()},
                **{k: raw[k] if k in raw else fixed[k] for k in d.vectors},
                **{k: _symmetric(raw[k], psd=kind == "psd") for k, kind in d.operators.items()},
            },
        }

    def _hess(self, raw: dict[str, torch.Tensor], y: torch.Tensor) -> torch.Tensor | None:
        kind = self.domain.hessian
        if kind == "zero":
            return None
        identity = torch.eye(self.m, dtype=y.dtype, device=y.device)
        if kind == "identity":
            return identity.expand(y.shape[0], self.m, self.m)
        if kind == "isotropic":
            return raw["hess"][..., None] * identity
        if kind == "diagonal":
            return torch.diag_embed(raw["hess"])
        return _symmetric(raw["hess"], psd=kind == "psd")

    def exact(self, i: int) -> Callable[[Rounding], Instance]:
        """Candidate i as rationals: a function of the rounding that is applied to its parameters."""
        values = self.values(only=torch.tensor([i], device=self.device))
        free = values.pop("free")
        d = self.domain
        factors = {k: self.raw[k][i].tolist() for k, kind in d.operators.items() if kind == "psd"}

        def build(change: Rounding) -> Instance:
            def use(x: Any) -> Any:
                return change(Fraction(x)) if isinstance(x, float) else tuple(use(v) for v in x)

            def gram(a: Any) -> Any:
                rows = use(a)
                return tuple(
                    tuple(sum((p * q for p, q in zip(r, s, strict=True)), Fraction(0)) for s in rows)
                    for r in rows
                )

            def number(x: torch.Tensor) -> Any:
                return use(x[0, 0].item())

            hess = None
            if d.hessian == "psd":
                hess = gram(self.raw["hess"][i].tolist())
            elif values["hess"] is not None:
                hess = use(values["hess"][0].tolist())
            return Instance(
                y=use(values["y"][0].tolist()),
                grad=use(values["grad"][0].tolist()),
                hess=hess,
                gamma=number(values["gamma"]),
                beta=number(values["beta"]),
                eps=number(values["eps"]),
                scalars={k: number(free[k]) for k in d.scalars},
                vectors={k: use(free[k][0].tolist()) for k in d.vectors},
                operators={
                    k: gram(factors[k]) if k in factors else use(free[k][0].tolist()) for k in d.operators
                },
            )

        return build

    # -- starting ------------------------------------------------------------------------------------------------

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
                [
                    self._zeros(1),
                    self._normal(1),
                    self._zeros(1) + torch.pi / 2,
                    self._zeros(1) - torch.pi / 2,
                ]
            )
        one = self._zeros(1) + 1
        kinds = [
            one,
            -one,
            2 * one,
            one / 2,
            self._normal(1),
            self._normal(1).sign() * (4 * self._normal(1)).exp(),
        ]
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
            column = torch.nn.functional.pad(u[..., None], (0, m - 1))
            return self._pick(
                [
                    full,
                    column,
                    identity.clone(),
                    full * torch.eye(m, device=self.device),
                    full * 0,
                    column * 10 + full,
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


def _symmetric(raw: torch.Tensor, *, psd: bool) -> torch.Tensor:
    return raw @ raw.mT if psd else (raw + raw.mT) / 2


def _in_range(kind: str, raw: torch.Tensor) -> torch.Tensor:
    if kind == "positive":
        return raw.clamp(-350, 350).exp()
    if kind == "nonnegative":
        return raw.abs()
    if kind == "unit":
        return (raw.sin() + 1) / 2
    return raw
