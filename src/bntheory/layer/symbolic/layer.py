"""The symbolic layer: the vocabulary over formal vectors, for every batch size at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import sympy as sp

from bntheory.errors import OutsideVocabulary
from bntheory.layer.domain import FREE, LayerDomain
from bntheory.layer.symbolic.derivation import moved_output, pulled_back
from bntheory.layer.symbolic.space import Expression, FormalVector, Space

_ASSUMPTIONS: dict[str, dict[str, bool]] = {
    "positive": {"positive": True},
    "nonzero": {"real": True, "nonzero": True},
    "nonnegative": {"nonnegative": True},
    "unit": {"nonnegative": True},
    "any": {"real": True},
}
_PROBE, _SEEN_FROM, _APPLIED_TO = "(direction)", "(seen from)", "(applied to)"
_LONGEST_DIRECTION = 200


class SymbolicLayer:
    """What a claim function receives in the inner-product calculus. Scalars are sympy expressions in

    m, gamma, beta, mu, sigma, eps (only where the domain allows eps > 0), the free scalars, and inner products of
    1, y_hat, grad and the free vectors, with operators between them.

    Raises OutsideVocabulary for the l_1 and l_inf normalisers, whose scales are no functions of inner products.
    """

    def __init__(self, domain: LayerDomain) -> None:
        if domain.normaliser in ("l1", "linf"):
            raise OutsideVocabulary(f"{domain.normaliser}: its scale is no function of inner products")
        self.domain = domain
        kind = domain.normaliser
        space = self.space = Space()
        m = self._m = space.symbol("m", positive=True)
        gamma = space.symbol(r"\gamma", **_ASSUMPTIONS[domain.gamma])
        sigma = sp.Integer(1) if kind == "mean-only" else space.symbol(r"\sigma", positive=True)
        mu = sp.Integer(0) if kind == "rms" else space.symbol(r"\mu", real=True)
        signs = {"positive": {"positive": True}, "any": {"nonnegative": True}}
        eps = sp.Integer(0) if domain.eps == "zero" else space.symbol(r"\varepsilon", **signs[domain.eps])
        self._symbols = {
            "gamma": gamma,
            "beta": space.symbol(r"\beta", real=True),
            "sigma": sigma,
            "eps": eps,
            "mu": mu,
        }
        space.show("H", "H")
        space.show("g", "g")
        self.one = space.vector("one", "1")
        self.y_hat = space.vector("y_hat", r"\hat y")
        space.known["one", (), "one"] = space.traces[()] = m
        variance = space.symbol("v", nonnegative=True) if kind == "mean-only" else sigma**2 - eps
        if kind == "unbiased":
            variance = variance * (m - 1) / m
        space.known["y_hat", (), "y_hat"] = m * variance / sigma**2
        if kind != "rms":
            space.known["one", (), "y_hat"] = sp.Integer(0)
        self.m, self.gamma, self.beta, self.mu = (Expression(x) for x in (m, gamma, self._symbols["beta"], mu))
        self.eps, self.var, self.sigma = Expression(eps), Expression(variance), Expression(sigma)
        for name in sorted(domain.operators):
            if domain.operators[name] == "psd":
                space.semidefinite.add(FREE + name)
        if domain.hessian in ("psd", "psd-diagonal"):
            space.semidefinite.add("H")
        self._isotropic = space.symbol("h", real=True)
        self._scalars: dict[str, Any] = {}
        if domain.hessian in ("diagonal", "psd-diagonal"):
            space.traces["H",] = space.product("one", ("H",), "one")

    @property
    def smoothness(self) -> Any:
        """The bound on the Hessian's norm, a sympy expression, or None."""
        bound = self.domain.smoothness_in(lambda name: self.scalar(name).value)
        return None if bound is None else Expression(bound).value

    # -- scalars and vectors ---------------------------------------------------------------------------------------

    @cached_property
    def y(self) -> FormalVector:
        return self.one.scaled(self._symbols["mu"]) + self.y_hat.scaled(self._symbols["sigma"])

    @property
    def dual(self) -> FormalVector:
        return self.y_hat.scaled(self._m / (self._m - 1)) if self.domain.normaliser == "unbiased" else self.y_hat

    @cached_property
    def z(self) -> FormalVector:
        """The output, from the definition of the normaliser."""
        zero = self.space.zero()
        output: FormalVector = self._moved(zero, zero).parts[0]
        return output.reduced()

    @cached_property
    def grad(self) -> FormalVector:
        return self.space.vector("g")

    def _parameter_grad(self, name: str) -> Expression:
        """The derivative of L(z) with respect to gamma or beta, from the definition of z."""
        moved = {atom: sp.diff(c, self._symbols[name]) for atom, c in self.z.terms.items()}
        return self.dot(self.grad, FormalVector(self.space, moved))

    @property
    def gamma_grad(self) -> Expression:
        return self._parameter_grad("gamma")

    @property
    def beta_grad(self) -> Expression:
        return self._parameter_grad("beta")

    def dot(self, u: FormalVector, v: FormalVector) -> Expression:
        return Expression(self.space.dot(u, v))

    def norm2(self, v: FormalVector) -> Expression:
        return self.dot(v, v)

    # -- operators and derivatives -----------------------------------------------------------------------------------

    def hess(self, v: FormalVector) -> FormalVector:
        kind = self.domain.hessian
        if kind == "zero":
            return self.space.zero()
        if kind == "identity":
            return v
        if kind == "isotropic":
            return v.scaled(self._isotropic)
        return self.space.apply("H", v)

    def _moved(self, d: FormalVector, v: FormalVector) -> Any:
        return moved_output(self.space, self.domain.normaliser, self._m, self._symbols, self.y, d, v)

    def jac(self, v: FormalVector) -> FormalVector:
        """(dz/dy) v, derived from the definition of the normaliser."""
        moved: FormalVector = self._moved(v, self.space.zero()).parts[1]
        return moved

    @property
    def jac_norm(self) -> Expression:
        """|gamma|/sigma, an eigenvalue of the Jacobian where something is orthogonal to 1 and y_hat."""
        kind = self.domain.normaliser
        if self.domain.min_m == 2 and kind in ("batch", "l2", "unbiased"):
            raise OutsideVocabulary("jac_norm at m = 2, which is not that of larger batches")
        return Expression(sp.Abs(self._symbols["gamma"]) / self._symbols["sigma"])

    def trace(self, operator: Callable[[FormalVector], FormalVector]) -> Expression:
        """The trace of any linear map that a claim can write."""
        seen = self.space.dot(self.space.vector(_SEEN_FROM), operator(self.space.vector(_APPLIED_TO)))
        return Expression(self.space.trace(seen, _SEEN_FROM, _APPLIED_TO))

    @cached_property
    def input_grad(self) -> FormalVector:
        """dL_hat/dy, derived from the definition of the normaliser."""
        _, first, _, _ = self._moved(self.space.vector(_PROBE), self.space.zero()).parts
        return pulled_back(self.space, self.space.dot(self.grad, first), _PROBE)

    def input_hess(self, v: FormalVector) -> FormalVector:
        """(d2L_hat/dy2) v, derived from the definition of the normaliser."""
        if sum(c.count_ops() for c in v.terms.values()) > _LONGEST_DIRECTION:
            raise OutsideVocabulary("second derivatives nested so deep have no readable normal form")
        _, first, other, mixed = self._moved(self.space.vector(_PROBE), v).parts
        functional = self.space.dot(self.grad, mixed) + self.space.dot(first, self.hess(other))
        return pulled_back(self.space, functional, _PROBE)

    # -- free quantities -----------------------------------------------------------------------------------------------

    @property
    def free_scalars(self) -> Mapping[str, Any]:
        """The symbols of the free scalars that were asked for, by name."""
        return MappingProxyType(self._scalars)

    @property
    def isotropic(self) -> Any:
        """The symbol h of a Hessian h I."""
        return self._isotropic

    def scalar(self, name: str) -> Expression:
        if name not in self._scalars:
            self._scalars[name] = self.space.symbol(name, **_ASSUMPTIONS[self.domain.scalars[name]])
        return Expression(self._scalars[name])

    def vector(self, name: str) -> FormalVector:
        bare = name.removesuffix("@case")
        key = FREE + name
        vector = self.space.vector(key, rf"\mathrm{{{bare}}}" if len(bare) > 1 else bare)
        if name.endswith("@case"):
            self.space.known[key, (), key] = sp.Integer(1)
            self.space.known[min(key, "one"), (), max(key, "one")] = sp.Integer(1)
        return vector

    def operator(self, name: str) -> Callable[[FormalVector], FormalVector]:
        self.space.show(FREE + name, name)
        return lambda v: self.space.apply(FREE + name, v)
