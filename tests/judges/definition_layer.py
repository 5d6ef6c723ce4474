"""The vocabulary from its definitions alone: a layer as a function of y, differentiated by torch's autograd.

No formula for the Jacobian, its norm, a trace or a Hessian product is used, and nothing of :mod:`bntheory.layer` but the names.
"""

from __future__ import annotations

from fractions import Fraction

import torch

F64 = torch.float64


def standardised(normaliser, y, eps, at):
    """y_hat of one batch y; ``at`` is where frozen statistics were taken."""
    centred = y - y.mean()
    if normaliser == "rms":
        return y / (y.square().mean() + eps).sqrt()
    if normaliser == "frozen":
        return (y - at.mean()) / (at.var(correction=0) + eps).sqrt()
    if normaliser == "mean-only":
        return centred
    if normaliser == "l1":
        return centred / (centred.abs().mean() + eps)
    if normaliser == "linf":
        return centred / centred.abs().max()
    return centred / (y.var(correction=1 if normaliser == "unbiased" else 0) + eps).sqrt()


class DefinitionLayer:
    """One layer; vectors (m,), scalars (1,). grad and hess define a quadratic loss about the layer's own output."""

    def __init__(self, normaliser, y, grad, hess, gamma=1.0, beta=0.0, eps=0.0, free=None):
        self.normaliser = normaliser
        self.y, self.grad, self.H = (torch.as_tensor(x, dtype=F64) for x in (y, grad, hess))
        self.gamma, self.beta, self.eps = (torch.as_tensor(x, dtype=F64).reshape(1) for x in (gamma, beta, eps))
        self.free = {k: torch.as_tensor(v, dtype=F64) for k, v in (free or {}).items()}
        self.m = len(self.y)
        self.one = torch.ones(self.m, dtype=F64)
        self.y_hat = standardised(normaliser, self.y, self.eps, self.y)
        self.z = self._output(self.y)
        self.mu = self.y.mean().reshape(1) * (normaliser != "rms")
        self.var = (self.y - self.mu).square().mean().reshape(1)
        left = self.y - self.mu
        self.sigma = (left @ left / (left @ self.y_hat)).reshape(1)
        self.dual = self.m * torch.autograd.functional.jacobian(self._sigma, self.y)
        self.jacobian = torch.autograd.functional.jacobian(self._output, self.y)
        self.hessian = torch.autograd.functional.hessian(self._loss, self.y)
        self.input_grad = torch.autograd.functional.jacobian(self._loss, self.y)
        self.jac_norm = torch.linalg.matrix_norm(self.jacobian, 2).reshape(1)
        self.gamma_grad, self.beta_grad = self.dot(self.y_hat, self.grad), self.dot(self.one, self.grad)

    def _sigma(self, y):
        centred = y - y.mean()
        return (centred @ centred) / (centred @ standardised(self.normaliser, y, self.eps, self.y))

    def _output(self, y):
        return self.gamma * standardised(self.normaliser, y, self.eps, self.y) + self.beta

    def _loss(self, y):
        moved = self._output(y) - self.z.detach()
        return self.grad @ moved + moved @ self.H @ moved / 2

    def dot(self, u, v):
        return (u @ v).reshape(1)

    def norm2(self, v):
        return self.dot(v, v)

    def jac(self, v):
        return self.jacobian @ v

    def hess(self, v):
        return self.H @ v

    def input_hess(self, v):
        return self.hessian @ v

    def trace(self, operator):
        return torch.stack([operator(e)[i] for i, e in enumerate(torch.eye(self.m, dtype=F64))]).sum().reshape(1)

    def scalar(self, name):
        return self.free[name].reshape(1)

    def vector(self, name):
        return self.free[name]

    def operator(self, name):
        return lambda v: self.free[name] @ v


def random_layer(domain, rng):
    """A layer of the domain at random (m from min_m to min_m + 3)."""
    m = domain.min_m + int(rng.integers(4))

    def matrix(kind):
        a = rng.normal(size=(m, m))
        return {
            "any": a + a.T,
            "psd": a @ a.T,
            "zero": 0 * a,
            "identity": 0 * a + torch.eye(m).numpy(),
            "isotropic": rng.normal() * torch.eye(m).numpy(),
            "diagonal": torch.diag(torch.tensor(rng.normal(size=m))).numpy(),
            "psd-diagonal": torch.diag(torch.tensor(rng.exponential(size=m))).numpy(),
        }[kind]

    def scalar(kind):
        x = rng.normal()
        return {"positive": abs(x), "nonnegative": abs(x), "unit": rng.uniform(), "nonzero": x}.get(kind, x)

    def vector(name):
        return torch.eye(m)[int(rng.integers(m))].numpy() if name.endswith("@case") else rng.normal(size=m)

    free = {k: scalar(v) for k, v in domain.scalars.items()} | {k: vector(k) for k in domain.vectors}
    free |= {k: matrix(v) for k, v in domain.operators.items()}
    eps = {"zero": 0.0, "positive": rng.exponential(), "any": rng.exponential() * rng.integers(2)}[domain.eps]
    y, grad = rng.normal(size=(2, m))
    if domain.gradient == "unit-entries":
        grad = rng.uniform(-1, 1, size=m)
    hess = matrix(domain.hessian)
    if domain.smoothness:
        bound = free[domain.smoothness] if domain.smoothness in free else float(Fraction(domain.smoothness))
        hess = hess * bound * rng.uniform() ** 0.2 / torch.linalg.matrix_norm(torch.tensor(hess), 2).numpy()
    layer = DefinitionLayer(domain.normaliser, y, grad, hess, scalar(domain.gamma), rng.normal(), eps, free)
    for name in domain.vectors:
        if name.startswith("direction"):  # of a bound on eigenvalues: where it is closest
            matrix = (layer.hessian, layer.H, layer.jacobian)[int(rng.integers(3))]
            layer.free[name] = torch.linalg.eigh(matrix)[1][:, int(rng.integers(2)) - 1]
    return layer
