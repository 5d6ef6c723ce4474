"""Candidate layers: raw parameters, and how they become layers that lie in the claim's domain.

Domains are kept by parametrisation: gamma > 0 and eps > 0 are exponentials, a positive semidefinite H is A A', a number of [0, 1] is
(1 + sin)/2. So gradient ascent needs no constraints, and rounding A keeps A A' positive semidefinite exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from bntheory.judges.exact.shrink import Rounding
from bntheory.judges.exact.witness import Instance
from bntheory.judges.search.starts import Start, structured
from bntheory.layer.domain import FREE, LayerDomain

Values = dict[str, Any]


class Candidates:
    """n layers of batch size m as raw, unconstrained parameters, with :meth:`values` to read them as layers."""

    def __init__(
        self,
        domain: LayerDomain,
        n: int,
        m: int,
        generator: torch.Generator,
        device: str,
        draw: Callable[..., Start] = structured,
    ) -> None:
        self.domain, self.n, self.m, self.device, self.generator = domain, n, m, device, generator
        start = draw(domain, n, m, generator, device)
        self.raw, self.fixed, self.has_eps = start.raw, start.fixed, start.has_eps

    def weight(self) -> torch.Tensor:
        """How large each candidate would look as a witness: non-zero entries, then sizes; (n,)."""
        values = self.values()
        tensors = [v for k, v in values.items() if k not in ("free", "hess") and v is not None]
        tensors += list(values["free"].values()) + ([values["hess"]] if values["hess"] is not None else [])
        return sum(
            ((t != 0).flatten(1).sum(1) + 0.1 * t.abs().flatten(1).sum(1) for t in tensors),
            torch.zeros(self.n, device=self.device),
        )

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
            "grad": raw["grad"] if d.gradient == "any" else raw["grad"].clamp(-1, 1),
            "hess": self._bounded(self._hess(raw, y), raw),
            "gamma": raw["gamma"].clamp(-350, 350).exp() if d.gamma == "positive" else raw["gamma"],
            "beta": raw["beta"],
            "eps": eps,
            "free": {
                **{k: _in_range(kind, raw[FREE + k]) for k, kind in d.scalars.items()},
                **{k: raw[FREE + k] if FREE + k in raw else fixed[FREE + k] for k in d.vectors},
                **{k: _symmetric(raw[FREE + k], psd=kind == "psd") for k, kind in d.operators.items()},
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
        if kind in ("diagonal", "psd-diagonal"):
            return torch.diag_embed(raw["hess"].square() if kind == "psd-diagonal" else raw["hess"])
        return _symmetric(raw["hess"], psd=kind == "psd")

    def _bounded(self, hess: torch.Tensor | None, raw: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """H scaled into the domain's bound: what is larger than 1 goes to the bound itself."""
        scalars = self.domain.scalars
        bound = self.domain.smoothness_in(lambda name: _in_range(scalars[name], raw[FREE + name])[..., None])
        if bound is None or hess is None:
            return hess
        size = torch.linalg.eigvalsh(hess).abs().amax(-1).clamp(min=1)[:, None, None]
        scaled: torch.Tensor = hess / size * (float(bound) if isinstance(bound, Fraction) else bound)
        return scaled

    def exact(self, i: int) -> Callable[[Rounding], Instance]:
        """Candidate i as rationals: a function of the rounding that is applied to its parameters."""
        values = self.values(only=torch.tensor([i], device=self.device))
        free = values.pop("free")
        unbounded = self._hess({k: v[i : i + 1] for k, v in self.raw.items()}, values["y"])
        d = self.domain
        factors = {k: self.raw[FREE + k][i].tolist() for k, kind in d.operators.items() if kind == "psd"}

        def build(change: Rounding) -> Instance:
            def use(x: Any) -> Any:
                return change(_short(x)) if isinstance(x, float) else tuple(use(v) for v in x)

            def gram(a: Any) -> Any:
                rows = use(a)
                return tuple(
                    tuple(sum((p * q for p, q in zip(r, s, strict=True)), Fraction(0)) for s in rows) for r in rows
                )

            def number(x: torch.Tensor) -> Any:
                return use(x[0, 0].item())

            hess = None
            if d.hessian == "psd":
                hess = gram(self.raw["hess"][i].tolist())
            elif unbounded is not None:
                hess = use(unbounded[0].tolist())
            bound = d.smoothness_in(lambda name: number(free[name]))
            if bound is not None:
                hess = _scaled_to(hess, bound)
            return Instance(
                y=use(values["y"][0].tolist()),
                grad=use(values["grad"][0].tolist()),
                hess=hess,
                gamma=number(values["gamma"]),
                beta=number(values["beta"]),
                eps=number(values["eps"]),
                scalars={k: number(free[k]) for k in d.scalars},
                vectors={k: use(free[k][0].tolist()) for k in d.vectors},
                operators={k: gram(factors[k]) if k in factors else use(free[k][0].tolist()) for k in d.operators},
            )

        return build


def _short(x: float) -> Fraction:
    """The float's value, or the short rational that it is next to (exp(log 2) is meant to be 2)."""
    exact = Fraction(x)
    short = exact.limit_denominator(60)
    return short if abs(short - exact) <= abs(exact) * Fraction(1, 10**14) else exact


def _scaled_to(rows: Any, bound: Fraction) -> Any:
    """The matrix times the bound, divided by its norm (rounded up) where that is above 1."""
    size = float(
        torch.linalg.matrix_norm(torch.tensor([[float(v) for v in row] for row in rows], dtype=torch.float64), 2)
    )
    norm = Fraction(math.ceil(size * 2**20) + 1, 2**20) if size > 1 + 1e-12 else Fraction(1)
    return tuple(tuple(v * bound / norm for v in row) for row in rows)


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
