"""Frames against the closed-form layer in arrays.

Two directions, and both are needed. *Lifting*: whatever values the symbols of a concrete frame take, the vectors they stand for,
put into the closed-form layer, have the inner products that the frame computed. *Completeness*: any layer in arrays, its vectors
taken apart by a numerical Gram-Schmidt of the test's own, is one of the layers that the symbolic frame describes; otherwise
"no model" would not mean "true". The closed-form layer is itself held against 60-digit differences of the definition.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from bntheory.judges.algebra.basis import rational_basis
from bntheory.judges.algebra.frame import Frame
from bntheory.judges.algebra.lift import lift
from bntheory.judges.exact.certificate import outside_domain
from bntheory.layer import LayerDomain
from bntheory.layer.family import make_layer

NORMALISERS = ("batch", "unbiased", "mean-only", "rms", "frozen", "l1", "l2", "linf")


class Number:
    """The float of a field scalar at given values of the symbols; roots follow from the rest."""

    def __init__(self, field, values):
        self.field, self.values = field, values

    def symbol(self, i):
        if i in self.field.roots:
            return math.sqrt(self(self.field.roots[i]))
        return float(self.values[i])

    def poly(self, p):
        total = 0.0
        for exponents, c in p.terms():
            term = float(Fraction(int(c.p), int(c.q)))
            for i, e in enumerate(exponents):
                if e:
                    term *= self.symbol(i) ** int(e)
            total += term
        return total

    def __call__(self, x):
        return self.poly(x.num) / self.poly(x.den)


def quantities(x, deep=True):
    """Scalars that see every part of the vocabulary; the same function speaks to frames and to arrays.

    deep: products of products too, which need many more directions.
    """
    v, g, d = x.vector("v"), x.grad, x.input_grad
    hv, bent = x.hess(v), x.input_hess(v)
    again = x.hess(hv) if deep else hv
    vectors = [x.one, x.y, x.y_hat, x.z, x.dual, g, d, v, hv, bent, x.operator("K")(g), x.jac(v)]
    pairs = [x.dot(a, b) for i, a in enumerate(vectors) for b in vectors[: i + 1]]
    return [
        *pairs,
        x.dot(again, g),
        x.mu * 1,
        x.var * 1,
        x.sigma * 1,
        x.eps * 1,
        x.gamma_grad,
        x.beta_grad,
        x.m * 1,
        *(x.trace(a) for a in (x.hess, x.jac, x.input_hess, x.operator("K"))),
    ]


def arrays(instance):
    return instance.arrays(float, dtype=float)


def scalar_of(value):
    return float(np.ravel(value)[0])


def compare(found, expected):
    expected = [scalar_of(e) for e in expected]
    scale = max(1.0, max(abs(e) for e in expected))
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a == pytest.approx(b, rel=1e-9, abs=1e-10 * scale), f"quantity {index}"


def domain(normaliser, eps, hessian="any", **more):
    return LayerDomain(normaliser=normaliser, eps=eps, hessian=hessian, vectors=("v",), operators={"K": "any"}, **more)


def assignment(frame, seed):
    rng = np.random.default_rng(seed)
    values = {}
    for i, sign in enumerate(frame.field.signs):
        size = Fraction(int(rng.integers(1, 9)), 10)
        values[i] = size if sign in ("positive", "nonnegative") else size * int(rng.choice([-1, 1]))
    return values


def holds(number, constraint, slack):
    """Whether a constraint of a frame is met, up to ``slack``."""
    op, body = constraint
    if op in ("and", "or"):
        return {"and": all, "or": any}[op](holds(number, part, slack) for part in body)
    value = number(body)
    return abs(value) <= slack if op == "eq" else value > -slack


def admissible(frame):
    """Values that meet the frame's constraints."""
    for seed in range(300):
        values = assignment(frame, seed)
        number = Number(frame.field, values)
        if all(holds(number, constraint, 0.0) for constraint in frame.constraints):
            return values
    return pytest.fail("no draw met the constraints of the frame")


@pytest.mark.parametrize("m", [2, 3, 4, 5])
@pytest.mark.parametrize("eps", ["zero", "positive", "any"])
@pytest.mark.parametrize("normaliser", ["batch", "unbiased", "mean-only", "rms", "frozen", "l2"])
def test_lifting_by_gram_schmidt(normaliser, eps, m):
    frame = Frame(domain(normaliser, eps), m, vectors=("layer.grad", "free v"))
    scalars = quantities(frame)
    values = admissible(frame)
    number = Number(frame.field, values)
    instance = lift(frame, values)
    assert outside_domain(frame.domain, instance) is None
    compare([number(s) for s in scalars], quantities(make_layer(normaliser, **arrays(instance))))


@pytest.mark.parametrize("m", [3, 4])
@pytest.mark.parametrize("eps", ["positive", "any"])
@pytest.mark.parametrize("normaliser", ["batch", "unbiased", "l2"])
def test_lifting_where_the_batch_is_rational_and_sigma_a_root(normaliser, eps, m):
    frame = Frame(domain(normaliser, eps), m, vectors=("layer.grad", "free v"), rational_batch=True)
    scalars = quantities(frame)
    values = admissible(frame)
    instance = lift(frame, values)
    assert outside_domain(frame.domain, instance) is None
    found = [Number(frame.field, values)(s) for s in scalars]
    compare(found, quantities(make_layer(normaliser, **arrays(instance))))


@pytest.mark.parametrize("hessian", ["any", "psd"])
def test_a_trace_counts_the_directions_outside_the_basis(hessian):
    frame = Frame(domain("batch", "positive", hessian), 6, vectors=("layer.grad", "v"), room=4)
    scalars = quantities(frame)
    assert len(frame.norms) == 4
    values = admissible(frame)
    for i, name in enumerate(frame.field.names):
        if hessian == "psd" and name.startswith("H_"):
            values[i] = Fraction(int(name[2] == name[3]))
    instance = lift(frame, values)
    assert outside_domain(frame.domain, instance) is None
    compare([Number(frame.field, values)(s) for s in scalars], quantities(make_layer("batch", **arrays(instance))))


@pytest.mark.parametrize("m", [2, 3, 4])
@pytest.mark.parametrize("eps", ["zero", "positive"])
@pytest.mark.parametrize("normaliser", ["batch", "unbiased", "mean-only", "rms", "frozen"])
def test_the_norm_of_the_jacobian(normaliser, eps, m):
    frame = Frame(domain(normaliser, eps), m, vectors=("layer.grad", "v"))
    norm, values = frame.jac_norm, admissible(frame)
    layer = make_layer(normaliser, **arrays(lift(frame, values)))
    largest = np.linalg.norm(layer.dense(layer.jac), 2)
    assert Number(frame.field, values)(norm) == pytest.approx(largest, rel=1e-9, abs=1e-12)
    symbolic = Frame(domain(normaliser, eps))
    norm = symbolic.jac_norm
    s = layer.sigma
    named = {
        "m": m,
        "gamma": layer.gamma,
        "s": np.sqrt(layer.var),
        "sigma": s,
        "q": np.sqrt(layer.y_hat @ layer.y_hat / m),
        "jac_norm": largest,
        "k": m / (m - 1),
    }
    number = Number(symbolic.field, [scalar_of(named.get(n, 0.0)) for n in symbolic.field.names])
    if "jac_norm" in symbolic.field.names:
        assert holds(number, symbolic.constraints[-1], 1e-9)
        number.values[symbolic.field.names.index("jac_norm")] *= 1.01
        number.values[symbolic.field.names.index("jac_norm")] += 0.01
        assert not holds(number, symbolic.constraints[-1], 1e-4)


PATTERNS = [
    *[
        (n, e, h, 0)
        for n in ("batch", "unbiased", "rms", "mean-only", "frozen")
        for e in ("zero", "any")
        for h in ("diagonal", "any")
    ],
    *[("l1", e, "any", p) for e in ("zero", "positive") for p in (1, 2)],
    *[("linf", "zero", "any", p) for p in (0, 1)],
]


@pytest.mark.parametrize(("normaliser", "eps", "hessian", "pattern"), PATTERNS, ids=str)
def test_lifting_by_entries(normaliser, eps, hessian, pattern):
    m = 3
    frame = Frame(domain(normaliser, eps, hessian), m, vectors=("layer.grad", "free v"), pattern=(pattern,))
    scalars = quantities(frame)
    values = admissible(frame)
    number = Number(frame.field, values)
    instance = lift(frame, values)
    assert outside_domain(frame.domain, instance) is None
    compare([number(s) for s in scalars], quantities(make_layer(normaliser, **arrays(instance))))


def gram_schmidt(vectors, m):
    """Orthogonal vectors of squared norm m, one for each that is not in the span of those before."""
    basis = []
    for v in vectors:
        for _ in range(2):
            for u in basis:
                v = v - u * (u @ v) / m
        basis.append(v * math.sqrt(m) / np.linalg.norm(v))
    return basis


DESCRIBED = [(n, e) for n in ("batch", "unbiased", "rms", "frozen", "mean-only", "l1") for e in (0.0, 0.3)] + [
    ("linf", 0.0)
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("normaliser", "eps"), DESCRIBED, ids=str)
def test_every_layer_is_described(normaliser, eps, seed):
    """Completeness, at m = 20: room for every direction that the quantities use."""
    m, rng = 20, np.random.default_rng(seed)
    y, g, v = rng.normal(size=(3, m))
    if seed == 2 and normaliser in ("l1", "linf"):  # where the length of y_hat is near its bounds
        y[:2] += (1e3, -1e3) if normaliser == "l1" else (1e3, 0.0)
    H, K = (a + a.T for a in rng.normal(size=(2, m, m)))
    layer = make_layer(normaliser, y, g, H, gamma=1.3, beta=0.2, eps=eps, free={"v": v, "K": K})
    names = ("layer.dual", "layer.grad", "free v") if normaliser in ("l1", "linf") else ("layer.grad", "free v")
    frame = Frame(domain(normaliser, "positive" if eps else "zero"), with_outside=True, vectors=names)
    deep = normaliser == "batch"
    scalars = quantities(frame, deep)

    own = {"layer.dual": np.ravel(layer.dual), "layer.grad": g, "free v": v}
    start = [np.ones(m), y, *(own[n] for n in frame.vectors_used)]
    basis = gram_schmidt(start, m)
    matrices = {"layer.hess": H, "free K": K}
    steps = sorted((count, key, j) for key, o in frame.operators.items() for j, count in o.expanded.items())
    for count, key, j in steps:
        assert len(basis) == count - 1
        basis = gram_schmidt([*basis, matrices[key] @ basis[j]], m)
    names_of = {}
    for prefix, vector in (("g", g), ("v", v), ("p", own["layer.dual"])):
        names_of |= {f"{prefix}_{i + 1}": u @ vector / m for i, u in enumerate(basis)}
    for key, label in (("layer.hess", "H"), ("free K", "K")):
        for i, j in frame.operators[key].entries:
            names_of[f"{label}_{i + 1}{j + 1}"] = basis[i] @ matrices[key] @ basis[j] / m
    sigma = scalar_of(layer.sigma)
    y_hat = np.ravel(layer.y_hat)
    names_of |= {"m": m, "gamma": 1.3, "beta": 0.2, "mu": y.mean(), "sigma": sigma, "eps": eps}
    names_of |= {"k": m / (m - 1), "tr H": np.trace(H), "tr K": np.trace(K)}
    names_of |= {"p": basis[0] @ y_hat / m, "q": basis[1] @ y_hat / m, "s": basis[1] @ y / m}
    roots = frame.field.roots
    number = Number(frame.field, [0.0 if i in roots else names_of[n] for i, n in enumerate(frame.field.names)])
    for constraint in frame.constraints:
        assert holds(number, constraint, 1e-9 * m**2), "a real layer breaks a constraint of the frame"
    for i, sign in enumerate(frame.field.signs):
        if sign in ("positive", "nonnegative"):
            assert number.values[i] > -1e-12, frame.field.names[i]
    compare([number(s) for s in scalars], quantities(layer, deep))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("eps", ["zero", "positive"])
def test_every_diagonal_hessian_is_described(eps, seed):
    """What a frame says of H at single examples holds of diagonal matrices, at m = 20."""
    m, rng = 20, np.random.default_rng(seed)
    y, diagonal = rng.normal(size=(2, m))
    examples = {"a": np.eye(m)[4], "b": np.eye(m)[5 + seed]}
    layer = LayerDomain(hessian="diagonal", eps=eps, vectors=("a@case", "b@case"))
    frame = Frame(layer, with_outside=True, vectors=("free a@case", "free b@case"))
    products = [frame.hess(frame.vector(v)) for v in layer.vectors] + [frame.hess(frame.one)]
    entries = frame.operators["layer.hess"].entries
    used = {frame.field.index(e) for e in entries.values()}
    equations = frame.operators["layer.hess"].equations(used)
    assert products
    assert len(equations) > len(examples)

    basis = gram_schmidt([np.ones(m), y, *examples.values()], m)
    for j in sorted(frame.operators["layer.hess"].expanded, key=frame.operators["layer.hess"].expanded.get):
        basis = gram_schmidt([*basis, diagonal * basis[j]], m)
    names_of = {f"{n}_{i + 1}": u @ e / m for n, e in examples.items() for i, u in enumerate(basis)}
    names_of |= {f"H_{i + 1}{j + 1}": basis[i] @ (diagonal * basis[j]) / m for i, j in entries}
    names_of |= {f"H at {n}@case": e @ (diagonal * e) for n, e in examples.items()} | {"m": m}
    number = Number(frame.field, [names_of.get(n, math.nan) for n in frame.field.names])
    assert max(abs(number(x)) for x in equations) < 1e-9 * m


@pytest.mark.parametrize("m", [*range(2, 14), 21, 64, 127])
def test_rational_bases(m):
    basis = np.array(rational_basis(m, min(m, 9)))
    gram = basis @ basis.T
    assert np.count_nonzero(gram - np.diag(np.diag(gram))) == 0
    assert (basis[0] == 1).all()
    ratio = Fraction(int(gram[1, 1]), m)
    square = (
        math.isqrt(ratio.numerator) ** 2 == ratio.numerator and math.isqrt(ratio.denominator) ** 2 == ratio.denominator
    )
    assert square == (m != 3), "only m = 3 has no rational batch with rational sigma"


def test_a_constant_batch_is_described_where_eps_is_positive():
    frame = Frame(domain("batch", "positive"), 3, vectors=("layer.grad", "free v"))
    scalars = quantities(frame)
    values = assignment(frame, 0)
    values[frame.field.names.index("q")] = Fraction(0)
    number = Number(frame.field, values)
    instance = lift(frame, values)
    assert len(set(instance.y)) == 1
    compare([number(s) for s in scalars], quantities(make_layer("batch", **arrays(instance))))
