"""The network judge: the same claim, on layers measured inside real networks.

Nothing is computed from the layer's formulas: ``grad``, ``input_grad``, ``hess(v)``, ``input_hess(v)``, ``gamma_grad`` and
``beta_grad`` are autograd's. Free quantities of a claim are drawn at random, with a seed. A layer counts if it lies in the claim's
domain and meets its hypotheses. Measurements have rounding errors, so each relation is evaluated again with every measured vector
shaken by its own derived error bound, and the result of every operation between them as well, so that what cancels shows its rounding;
what those shakes move is the relation's uncertainty, and a layer fails only beyond it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from bntheory.bridge.probes.captured import CapturedLayer
from bntheory.claims.claim import Claim
from bntheory.errors import OutsideVocabulary
from bntheory.evidence.counts import counted
from bntheory.evidence.study import APART
from bntheory.judges.measured_statement import certain, decided, evaluated, has_value
from bntheory.judges.verdict import Evidence, Finding
from bntheory.layer.domain import LayerDomain
from bntheory.layer.view import state

_SHAKES = 4
_MOST_PRODUCTS = 32


_ROUNDED = {"add", "sub", "rsub", "mul", "div", "reciprocal", "pow", "sqrt", "sum"}


def _inexact(bound: Tensor, noise: torch.Generator) -> type[Tensor]:
    """Tensors of which every sum, product, quotient and root is moved by the relative bound, at random (Monte Carlo arithmetic)."""

    class Inexact(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = super().__torch_function__(func, types, args, kwargs)
            if func.__name__.strip("_") not in _ROUNDED:
                return result
            plain = result.as_subclass(Tensor)
            moved = torch.randn(plain.shape, generator=noise, dtype=plain.dtype).to(plain.device)
            return (plain * (1 + bound * moved)).as_subclass(cls)

    return Inexact


class MeasuredLayer:
    """Chosen units of a captured layer in the vocabulary of a claim: scalars (k, 1), vectors (k, m), float64.

    Products with Hessians are measured once, in the unshaken copy (shake = 0); a shaken copy replays them in the order of their calls,
    moved by their error bound.
    """

    def __init__(
        self,
        layer: CapturedLayer,
        units: list[int],
        domain: LayerDomain,
        seed: int,
        base: MeasuredLayer | None,
        shake: int,
    ) -> None:
        self._layer, self._units, self._domain, self._seed = layer, units, domain, seed
        self._base = base
        self._noise = torch.Generator().manual_seed(APART * shake + seed) if base is not None else None
        self.bound = layer.rounding(units)[:, None]
        self._number = Tensor if self._noise is None else _inexact(self.bound, self._noise)
        self._products: list[Tensor] = []
        self._calls = 0
        closed = layer.closed_form(units)
        own = self._number
        self.m, self.one, self.y = layer.m, closed.one.as_subclass(own), closed.y.as_subclass(own)
        self.gamma, self.beta = closed.gamma.as_subclass(own), closed.beta.as_subclass(own)
        self.eps = torch.full_like(closed.sigma, layer.eps).as_subclass(own)
        self.mu, self.var, self.sigma = (x.as_subclass(own) for x in (closed.mu, closed.var, closed.sigma))
        self.y_hat = self._measured(closed.y_hat)
        self.z = self._measured(layer.z[units])
        self.dual = self.y_hat
        grad = layer.grad[units]
        self.grad = self._measured(grad)
        self.input_grad = self._measured(layer.input_grad[units], like=grad * closed.gamma / closed.sigma)

    def _measured(self, v: Tensor, like: Tensor | None = None) -> Tensor:
        """v, moved by its own rounding error in a shaken copy. ``like`` gives the size where v itself is a difference."""
        if self._noise is None:
            return v
        direction = torch.randn(v.shape, generator=self._noise, dtype=v.dtype).to(v.device)
        direction = direction / direction.norm(dim=-1, keepdim=True)
        size = v.norm(dim=-1, keepdim=True)
        if like is not None:
            size = torch.maximum(size, like.norm(dim=-1, keepdim=True))
        moved: Tensor = v + self.bound * size * direction
        return moved.as_subclass(self._number)

    def dot(self, u: Tensor, v: Tensor) -> Tensor:
        """<u, v>, (k, 1)."""
        product: Tensor = (u * v).sum(-1, keepdim=True)
        return product

    def norm2(self, v: Tensor) -> Tensor:
        """||v||^2, (k, 1)."""
        return self.dot(v, v)

    def _product(self, measure: Callable[[Tensor, list[int]], Tensor], v: Tensor) -> Tensor:
        if self._base is None:
            self._products.append(_remembered(self._layer, measure, v + torch.zeros_like(self.y), self._units))
            return self._products[-1]
        self._calls += 1
        # what a direction at random becomes: the size of a product that vanishes
        usual = self._base._draw("(size)", tuple(self.y.shape))
        like = _remembered(self._layer, measure, usual, self._units) * v.norm(dim=-1, keepdim=True)
        like = like / usual.norm(dim=-1, keepdim=True)
        return self._measured(self._base._products[self._calls - 1], like=like)

    def hess(self, v: Tensor) -> Tensor:
        """H v, measured."""
        return self._product(self._layer.hess, v)

    def input_hess(self, v: Tensor) -> Tensor:
        """d2L_hat/dy2 v, measured."""
        return self._product(self._layer.input_hess, v)

    def jac(self, v: Tensor) -> Tensor:
        """(dz/dy) v, measured."""
        return self._product(self._layer.jac, v)

    @property
    def jac_norm(self) -> Tensor:
        """The largest singular value of the Jacobian: how far it moves y_hat, and what is orthogonal to 1 and y_hat."""
        across = self._draw("(direction)", tuple(self.y.shape))
        across = across - across.mean(-1, keepdim=True)
        across = across - self.y_hat * self.dot(self.y_hat, across) / self.norm2(self.y_hat)
        along = self.norm2(self.jac(self.y_hat)) / self.norm2(self.y_hat)
        if self.m == 2:
            return along.sqrt()
        return torch.maximum(along, self.norm2(self.jac(across)) / self.norm2(across)).sqrt()

    def trace(self, operator: Callable[[Tensor], Tensor]) -> Tensor:
        """The trace, by one product an example; OutsideVocabulary beyond a small batch."""
        if self.m > _MOST_PRODUCTS:
            raise OutsideVocabulary(f"a trace takes m = {self.m} products; up to {_MOST_PRODUCTS} are measured")
        examples = torch.eye(self.m, dtype=self.y.dtype, device=self.y.device)
        parts = [operator(e.expand_as(self.y))[:, j : j + 1] for j, e in enumerate(examples)]
        return torch.stack(parts).sum(0)

    @property
    def gamma_grad(self) -> Tensor:
        """dL/dgamma, measured where the layer has a gamma."""
        return self._parameter_grad("gamma", self.dot(self.grad, self.y_hat))

    @property
    def beta_grad(self) -> Tensor:
        """dL/dbeta, measured where the layer has a beta."""
        return self._parameter_grad("beta", self.dot(self.grad, self.one))

    def _parameter_grad(self, name: Literal["gamma", "beta"], otherwise: Tensor) -> Tensor:
        measured = self._layer.parameter_grad(name)
        return otherwise if measured is None else measured[self._units][:, None]

    # -- free quantities: any value will do, since the claim is about all of them ------------------------------------

    def _draw(self, name: str, shape: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed + sum(map(ord, name + self._layer.name)))
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.y.device).as_subclass(self._number)

    def scalar(self, name: str) -> Tensor:
        """A random value in the free scalar's range."""
        x = self._draw(name, (len(self._units), 1))
        kind = self._domain.scalars.get(name)
        if kind is None:
            raise OutsideVocabulary(f"the free scalar {name!r} is not declared")
        ranges: dict[str, Callable[[], Tensor]] = {
            "positive": lambda: x.exp(),
            "nonnegative": lambda: x.abs(),
            "unit": lambda: torch.sigmoid(x),
        }
        value: Tensor = ranges[kind]() if kind in ranges else x
        return value

    def vector(self, name: str) -> Tensor:
        """A random vector of y's size, or a random standard basis vector for a single case."""
        x = self._draw(name, tuple(self.y.shape))
        if name.endswith("@case"):
            return torch.nn.functional.one_hot(x.argmax(-1), self.m).to(self.y)
        scaled: Tensor = x * self.y.norm(dim=-1, keepdim=True) / x.norm(dim=-1, keepdim=True)
        return scaled

    def operator(self, name: str) -> Callable[[Tensor], Tensor]:
        """A random symmetric operator of rank two, positive semidefinite where the claim says so."""
        a, b = (self._draw(name + part, tuple(self.y.shape)) / self.m**0.5 for part in "ab")
        sign = 1.0 if self._domain.operators.get(name) == "psd" else -1.0
        return lambda v: a * self.dot(a, v) + sign * b * self.dot(b, v)


def _remembered(
    layer: CapturedLayer, measure: Callable[[Tensor, list[int]], Tensor], v: Tensor, units: list[int]
) -> Tensor:
    """measure(v, units), measured once a layer and vector: claims ask for the same products again and again."""
    cache: dict[tuple[str, tuple[int, ...], bytes], Tensor] = _CACHES.setdefault(layer, {})
    key = (measure.__name__, tuple(units), hashlib.sha256(v.detach().cpu().numpy().tobytes()).digest())
    if key not in cache:
        cache[key] = measure(v, units)
    return cache[key]


_CACHES: WeakKeyDictionary[CapturedLayer, dict[tuple[str, tuple[int, ...], bytes], Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Measured:
    """One claim on the chosen units of one layer: (k,) tensors.

    margin: (right - left)/(|left| + |right|) of the tightest relation, negative where it fails. uncertainty: of the margin.
    applies: whether the unit lies in the domain and meets the hypotheses.
    """

    network: str
    layer: str
    units: tuple[int, ...]
    margin: Tensor
    uncertainty: Tensor
    applies: Tensor


def margins(claim: Claim, network: str, layer: CapturedLayer, units: Iterable[int], seed: int = 0) -> Measured:
    """Evaluate a layer claim on some units of a captured layer."""
    chosen = [int(u) for u in units]
    domain = claim.domain or LayerDomain()
    applies = _in_domain(layer, chosen, domain)
    if not bool(applies.any()):  # spare the products
        nothing = torch.zeros_like(applies, dtype=torch.float64)
        return Measured(network, layer.name, tuple(chosen), nothing, nothing, applies)
    base = MeasuredLayer(layer, chosen, domain, seed, None, 0)
    copies = [base, *(MeasuredLayer(layer, chosen, domain, seed, base, shake) for shake in range(1, _SHAKES + 1))]

    def evaluate(function: Callable[[Any], Any]) -> Any:
        statements = [state(function, copy, domain) for copy in copies]
        return evaluated(statements, base.y, base.bound)

    claimed = evaluate(claim.check)
    if claim.assume is not None:
        applies = applies & certain(evaluate(claim.assume))
    margin, uncertainty = decided(claimed)
    # where the claim has no value it asserts nothing, and an unbounded uncertainty measures nothing
    applies = applies & has_value(claimed) & uncertainty.isfinite()
    return Measured(network, layer.name, tuple(chosen), margin, uncertainty, applies)


def _in_domain(layer: CapturedLayer, units: list[int], domain: LayerDomain) -> Tensor:
    gamma = layer.gamma[units]
    inside = torch.ones_like(gamma, dtype=torch.bool)
    known = domain.hessian != "any" or domain.smoothness or domain.gradient != "any"
    if layer.kind == "rms" or known:  # its statistics are others; a network's Hessian is whatever it is
        return inside & False
    if domain.normaliser not in ("batch", "l2") or layer.m < domain.min_m:
        return inside & False
    if (domain.eps == "zero" and layer.eps != 0) or (domain.eps == "positive" and layer.eps == 0):
        return inside & False
    least = {"positive": gamma > 0, "nonzero": gamma != 0, "nonnegative": gamma >= 0}
    return {**least, "unit": (gamma >= 0) & (gamma <= 1)}.get(domain.gamma, inside)


def judge(claim: Claim, suite: Iterable[tuple[str, CapturedLayer]], *, units: int = 2, seed: int = 0) -> Evidence:
    """Judge a layer claim on measured layers: ``suite`` yields (network's name, captured layer)."""
    start = time.perf_counter()
    if claim.kind != "layer":
        return Evidence("network", "not-applicable", f"a claim of kind {claim.kind} is not about one layer")
    results: list[Measured] = []
    beyond = ""
    for network, layer in suite:
        chosen = torch.randperm(layer.units, generator=torch.Generator().manual_seed(seed))[:units].sort().values
        try:
            results.append(margins(claim, network, layer, chosen.tolist(), seed))
        except OutsideVocabulary as error:
            beyond = f"outside what a network can measure: {error}"
    if beyond and not any(bool(r.applies.any()) for r in results):
        return Evidence("network", "unknown", beyond)
    seconds = time.perf_counter() - start
    total = sum(len(r.units) for r in results)
    rows = [
        # a margin of no width is 0, not -0
        (float(r.margin[i]) + 0.0, float(r.uncertainty[i]), r.network, r.layer, unit)
        for r in results
        for i, unit in enumerate(r.units)
        if bool(r.applies[i])
    ]
    details: dict[str, Any] = {"units_measured": total, "units_in_domain": len(rows)}
    if beyond:
        details["left_out"] = beyond

    def evidence(finding: Finding, text: str) -> Evidence:
        return Evidence("network", finding, text, details, seconds, seed)

    if not rows:
        return evidence("not-applicable", f"none of {total} measured units met the claim's hypotheses")
    failing = [row for row in rows if row[0] < -row[1]]
    worst = min(rows, key=lambda row: row[0] + row[1])
    details |= {"failing": len(failing), "worst_margin": worst[0], "uncertainty": worst[1]}
    details |= {"worst_at": {"network": worst[2], "layer": worst[3], "unit": worst[4]}}
    where = (
        f"worst relative margin {worst[0]:.3g} (+- {worst[1]:.1g}) at {worst[2]}, layer {worst[3]}, channel {worst[4]}"
    )
    if failing:
        return evidence("fails", f"on {len(failing)} of {counted(len(rows), 'unit')}; {where}")
    return evidence("holds", f"on {counted(len(rows), 'unit')}; {where}")
