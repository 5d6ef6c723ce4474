"""Random and adverse layers of a statement's domain, and what its hypotheses pin.

Layers are drawn in dyadic numbers, which floats hold exactly: small numbers with many zeros, vectors that are combinations of one another,
Hessians of rank one built from them, sizes from 2^-12 to 2^10. What a hypothesis asks for (a unit vector, a variance of 2, two orthogonal
vectors) is made true afterwards by scaling and projecting, in the numbers of whichever world evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from bounded_numbers import World
from jet_layer import Numbers
from read_claim import Statement

__all__ = ["batch_sizes", "draw", "neighbours", "pinned"]

_ENTRIES = np.array([0, 0, 1, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 4, 7, -0.25])
_EPS = np.array([2.0**-40, 2.0**-16, 0.0625, 0.25, 0.5, 0.75, 1, 2, 3, 8, 64, 1024])
_SIZES = np.array([1, 1, -1, 2, -2, 3, 0.5, -0.5, 0.25, 0.125, 2.0**-7, 8, -16, 100])


def batch_sizes(s: Statement, rng: Any) -> Iterator[int]:
    """The sizes that the hypotheses pin; otherwise the four least, and a larger one."""
    fixed = [int(pin[1]) for pin in s.pins if pin[0] == "m"]
    if fixed:
        yield from fixed
        return
    yield from range(s.min_m, s.min_m + 4)
    yield s.min_m + int(rng.integers(4, 9))


def draw(s: Statement, rng: Any, n: int, m: int) -> Numbers:
    """n layers of m examples."""
    one = np.ones((n, m))
    y = _vector(rng, n, m, [])
    eps = rng.choice(_EPS, n)
    if s.eps == "any":
        eps = np.where(rng.random(n) < 0.4, 0, eps)
    elif s.eps == "zero":
        eps = eps * 0
    _never_flat(y, eps)
    basis = [one, y, m * y - y.sum(1)[:, None]]  # the last, exact in floats, points along y_hat
    g = _vector(rng, n, m, basis)
    basis.append(g)
    vectors = {}
    for name in s.vectors:
        case = name.endswith("@case")
        vectors[name] = np.eye(m)[rng.integers(0, m, n)] if case else _vector(rng, n, m, basis)
        basis.append(vectors[name])
    return Numbers(
        y,
        g,
        _matrix(rng, n, m, s.hessian, basis),
        _scalar(rng, n, s.gamma),
        _scalar(rng, n, "any"),
        eps,
        {k: _scalar(rng, n, kind) for k, kind in s.scalars.items()},
        vectors,
        {k: _matrix(rng, n, m, kind, basis) for k, kind in s.operators.items()},
    )


def neighbours(data: Numbers, rng: Any) -> Numbers:
    """New layers of the same domain: quantities exchanged between layers, entries of vectors changed."""
    n = data.y.shape[0]
    order = rng.permutation(n)

    def mixed(a: Any) -> Any:
        return np.where((rng.random(n) < 0.5).reshape((n,) + (1,) * (a.ndim - 1)), a, a[order])

    def changed(a: Any) -> Any:
        return mixed(a) + np.where(rng.random(a.shape) < 0.15, rng.choice(_ENTRIES, a.shape), 0)

    vectors = {k: mixed(v) if k.endswith("@case") else changed(v) for k, v in data.vectors.items()}
    fresh = data.mapped(mixed)
    fresh = Numbers(
        changed(data.y),
        changed(data.g),
        fresh.H,
        fresh.gamma,
        fresh.beta,
        fresh.eps,
        fresh.scalars,
        vectors,
        fresh.operators,
    )
    _never_flat(fresh.y, fresh.eps)
    return fresh


def pinned(s: Statement, data: Numbers, world: World) -> Numbers:
    """The data with what the statement's pins ask for made true, in the world's numbers."""
    data = data.mapped(lambda a: a.copy())
    for kind, *rest in s.pins:
        if kind == "set":
            _array(data, rest[0])[...] = world.number(Fraction(rest[1]))
        elif kind == "equal":
            _array(data, rest[0])[...] = _array(data, rest[1])
        elif kind == "norm2":
            v = _array(data, rest[0])
            v[...] = v * world.root(world.number(Fraction(rest[1])) / _nonzero((v * v).sum(1)))[:, None]
        elif kind == "var":
            mean, centred = _centred(data.y, world)
            var = (centred * centred).sum(1) / world.of(data.m)
            scale = world.root(world.number(Fraction(rest[0])) / _nonzero(var))
            data.y[...] = centred * scale[:, None] + mean
        elif kind == "orthogonal":
            v = _array(data, rest[0])
            for name in rest[1:]:  # one first, so that what is centred stays orthogonal to it
                other = data.y * 0 + world.of(1) if name == "one" else _centred(_array(data, name), world)[1]
                v[...] = v - other * ((v * other).sum(1) / _nonzero((other * other).sum(1)))[:, None]
    return data


def _centred(v: Any, world: World) -> tuple[Any, Any]:
    mean = (v.sum(1) / world.of(v.shape[1]))[:, None]
    return mean, v - mean


def _nonzero(x: Any) -> Any:
    return np.where(x == 0, x * 0 + 1, x)


def _array(data: Numbers, name: str) -> Any:
    given = {"y": data.y, "grad": data.g, "gamma": data.gamma, "beta": data.beta, "eps": data.eps}
    return {**given, **data.scalars, **data.vectors}[name]


def _never_flat(y: Any, eps: Any) -> None:
    y[(y == y[:, :1]).all(1) & (eps == 0), 0] += 1


def _small(rng: Any, n: int, m: int) -> Any:
    small = rng.choice(_ENTRIES, (n, m))
    few = small * (rng.random((n, m)) < 0.4)
    rough = np.round(rng.standard_normal((n, m)) * 64) / 64
    return np.where(rng.random((n, 1)) < 0.45, small, np.where(rng.random((n, 1)) < 0.7, rough, few))


def _vector(rng: Any, n: int, m: int, basis: list[Any]) -> Any:
    v = _small(rng, n, m)
    combined = sum((rng.choice(_ENTRIES, (n, 1)) * (rng.random((n, 1)) < 0.4) * b for b in basis), np.zeros((n, m)))
    kind = rng.random((n, 1))
    v = np.where(kind < 0.35, combined, np.where(kind < 0.42, combined + v / 64, v))
    return v * rng.choice([1, 1, 1, 1, 2.0**-12, 2.0**10], (n, 1))


def _matrix(rng: Any, n: int, m: int, kind: str, basis: list[Any]) -> Any:
    eye, size, zero = np.eye(m)[None], rng.choice(_SIZES, (n, 1, 1)), np.zeros((n, m, m))
    if kind in ("zero", "identity"):
        return zero + (kind == "identity") * eye
    if kind == "isotropic":
        return zero + eye * size * (rng.random((n, 1, 1)) < 0.9)
    if kind == "diagonal":
        return zero + eye * _vector(rng, n, m, [])[:, None, :]
    # In single precision, and without sizes of their own, so that products and their sums are exact: nearly semidefinite is not enough.
    v, w = (np.float32(x).astype(float) for x in (basis[int(rng.integers(len(basis)))], _vector(rng, n, m, basis)))
    a = np.stack([_small(rng, n, m) for _ in range(m)], 1) * rng.choice([1, 1, 2.0**-12, 2.0**10], (n, 1, 1))
    outer, other = v[:, :, None] * v[:, None, :], w[:, :, None] * w[:, None, :]
    if kind == "psd":
        square = (a[:, :, :, None] * a[:, :, None, :]).sum(1)
        choices = [outer, other, eye * np.abs(size), zero, square, square]
    else:
        cross = v[:, :, None] * w[:, None, :]
        full = (a + np.swapaxes(a, 1, 2)) / 2
        choices = [
            outer * size,
            other * size,
            (cross + np.swapaxes(cross, 1, 2)) * size,
            eye * size,
            zero,
            full,
            full,
            full,
        ]
    pick = rng.integers(0, len(choices), (n, 1, 1))
    return zero + np.select([pick == i for i in range(len(choices))], [zero + c for c in choices])


def _scalar(rng: Any, n: int, kind: str) -> Any:
    x = rng.choice(_SIZES, n)
    if kind == "unit":
        return rng.choice([0, 1, 0.5, 0.25, 0.875, 2.0**-10], n)
    if kind in ("any", "nonnegative"):
        x = np.where(rng.random(n) < 0.15, 0, x)
    return np.abs(x) if kind in ("positive", "nonnegative") else x
