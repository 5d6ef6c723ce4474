"""Santurkar et al. (2018): the statements about whole landscapes, minima and optima.

The proofs here are small, so each is decided exactly: a rational counterexample, or a symbolic identity that carries
the proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction as Q

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, proof
from bntheory.evidence.identity import identity
from bntheory.layer.rational import (
    as_text,
    axpy,
    centred,
    dot,
    least_squares,
    matvec,
    project,
    transposed,
    variance,
    vector,
)

KEY = "santurkar2018"


@claim(
    "santurkar2018.theorem-4.1.global",
    kind="landscape",
    source=Source(KEY, "section 4.1, after Theorem 4.1", "arXiv v3"),
    statement=r"\sup_y \|\nabla_y \hat L\| \le \sup_y \|\nabla_y L\| \quad\text{``without any assumptions''}",
    reading=(
        "the Lipschitz constants of the two losses as functions of the pre-activations, suprema over all y. Losses of unbounded "
        "slope, such as the squared one, have no constant to improve, so a loss with one is taken: L(z) = <a, z>"
    ),
    note=(
        "Pointwise the gradient shrinks only relative to (gamma/sigma)||g||: as a supremum over y, sigma is as small as one likes. With "
        "eps > 0 the supremum is gamma ||Ca||/sqrt(eps) for a linear loss, larger than ||a|| whenever gamma^2 ||Ca||^2 > eps ||a||^2."
    ),
)
def lipschitz_constant_is_improved(study: Study) -> Iterator[Check]:
    a, shape = vector([1, -1, 0]), vector([1, 1, -2])
    for eps, size in ((Q(0), Q(1, 4)), (Q(0), Q(1, 1000)), (Q(1, 100_000), Q(1, 1000))):
        y = [size * v for v in shape]
        pa = project(y, a, eps)
        batchnorm = dot(pa, pa) / (variance(y) + eps)  # gamma = 1
        yield exact(
            f"squared gradient of the BN loss at one y, eps = {eps}, against the squared Lipschitz constant of L",
            "L(z) = <a, z>, m = 3, gamma = 1; rational arithmetic",
            witness={"a": as_text(a), "y": as_text(y), "eps": str(eps), "squared gradient": str(batchnorm)},
        ).le(batchnorm, dot(a, a))
    y = [Q(4) * v for v in shape]
    pa = project(y, a)
    yield exact(
        "the same at a y of large variance, where BN does shrink the gradient",
        "the pointwise statement depends on sigma",
        decisive=False,
    ).le(dot(pa, pa) / variance(y), dot(a, a))


@claim(
    "santurkar2018.theorem-4.4.coupled",
    kind="landscape",
    source=Source(KEY, "Theorem 4.4", "arXiv v3"),
    statement=r"\max_{\|X\|\le\lambda}\|\nabla_w\hat L\|^2 \le \frac{\gamma^2}{\sigma^2}\Big(\lambda^2\|g\|^2 - \lambda^2 m\mu_g^2 - \frac{\lambda^2}{m}\langle g,\hat y\rangle^2\Big)",
    reading=(
        "as theorem-4.4.repaired, with y = Xw really varied, d >= 2: sigma, y_hat and g on the right are those of the inputs at hand, and the "
        "maximum on the left runs over other inputs, whose sigma is their own. Linear loss, so that g is the same everywhere"
    ),
    note=(
        "With two input features one may carry y, as small as one likes, and the other the gradient: at eps = 0 the maximum is infinite. With one "
        "feature P removes it, and with everything on the right taken at the maximum's own inputs the statement is theorem-4.4.repaired again."
    ),
)
def weight_space_coupled(study: Study) -> Iterator[Check]:
    a, shape, w = vector([1, -2, 1]), vector([1, 0, -1]), vector([1, 0])
    lam2, m = Q(4), 3
    flat = vector([0, 0, 0])
    here = transposed([shape, flat])
    y = matvec(here, w)
    along = dot(a, y)
    right = lam2 * (dot(a, a) - dot(a, vector([1, 1, 1])) ** 2 / m - along**2 / (m * variance(y))) / variance(y)
    for size in (Q(1, 4), Q(1, 100)):
        other = [Q(4, 5) * v for v in a]
        inputs = transposed([[size * v for v in shape], other])
        # orthogonal columns, so the matrix norm is the longer one's length
        if dot(transposed(inputs)[0], other) != 0 or dot(other, other) > lam2:
            raise ArithmeticError("the columns must be orthogonal and no longer than lambda")
        moved = matvec(inputs, w)
        pull = matvec(transposed(inputs), project(moved, a))
        left = dot(pull, pull) / variance(moved)
        yield exact(
            f"squared weight gradient at inputs with ||y|| scaled by {size}, against the bound at the inputs at hand",
            "L(z) = <a, z>, m = 3, d = 2, lambda = 2, gamma = 1, eps = 0; rational arithmetic",
            witness={
                "a": as_text(a),
                "w": as_text(w),
                "X at hand": [as_text(row) for row in here],
                "X of the maximum": [as_text(row) for row in inputs],
                "left": str(left),
                "right": str(right),
            },
        ).le(left, right)


@claim(
    "santurkar2018.observation-4.3.minima.no-bias",
    kind="landscape",
    source=Source(KEY, "Observation 4.3", "arXiv v3"),
    statement=r"\text{all minima of the normal landscape are preserved in the BN landscape}",
    reading=(
        "layer without a bias: if w* minimises L(X w), then (w*, gamma = sigma, beta = mu), which reproduces its outputs, is a minimum of "
        "L(gamma BN(X w) + beta) over w, gamma and beta; a minimum is in particular stationary"
    ),
    note="gamma and beta can do what w alone could not: beta is a bias.",
)
def minima_without_bias(study: Study) -> list[Check]:
    rows, target = [vector([0]), vector([1])], vector([1, 1])
    optimum = least_squares(rows, target)
    y = matvec(rows, optimum)
    residual = axpy(-1, target, y)  # gamma = sigma, beta = mu: z = y
    standard = matvec(transposed(rows), residual)
    d_beta = sum(residual, Q(0))
    sigma_d_gamma = dot(centred(y), residual)  # sigma times dL/dgamma
    loss = dot(residual, residual) / 2
    better = [a - d_beta / len(y) for a in residual]  # beta moved by one Newton step of its own
    witness = {"X": ["0", "1"], "t": ["1", "1"], "w*": as_text(optimum), "residual": as_text(residual)}
    return [
        exact(
            "squared gradient of the standard loss at w*",
            "X = (0, 1)', t = (1, 1)': least squares through the origin",
            witness=witness,
        ).eq(dot(standard, standard), 0.0),
        exact(
            "squared gradient of the BN loss in beta at (w*, sigma, mu)",
            "the same data; zero at a minimum",
            witness={**witness, "sigma * dL/dgamma": str(sigma_d_gamma)},
        ).eq(d_beta**2, 0.0),
        exact(
            "BN loss at (w*, sigma, mu) against its value after moving beta",
            "a minimum would have no lower point nearby along beta (the loss is quadratic in it)",
            witness=witness,
        ).le(loss, dot(better, better) / 2),
    ]


@claim(
    "santurkar2018.observation-4.3.minima.bias",
    kind="landscape",
    source=Source(KEY, "Observation 4.3", "arXiv v3"),
    statement=r"\text{all minima of the normal landscape are preserved in the BN landscape}",
    reading=(
        "layer with a bias, L(X w + b): every local or global minimum (w*, b*) with outputs that are not constant gives a minimum (w*, b*, "
        "gamma = sigma, beta = mu) of the same kind in the BN landscape; eps >= 0, any loss, any number of units and layers"
    ),
    note=(
        "The BN network computes gamma/sigma X w + (beta - gamma mu'/sigma), mu' the mean of X w: the standard network at the weights Phi = "
        "(gamma/sigma w, beta - gamma mu'/sigma). Phi is continuous where sigma > 0 and maps the BN point to (w*, b*); a local minimum "
        "composed with a continuous map is a local minimum at every preimage, and the same holds with 'global'."
    ),
)
def minima_with_bias(study: Study) -> list[Check]:
    import sympy as sp

    # x w stands for <x, w>, mean for its batch mean
    x, w, b, mean, gamma, beta = sp.symbols("x w b mean gamma beta", real=True)
    sigma = sp.symbols("sigma", positive=True)
    batchnorm = gamma * (x * w + b - (mean + b)) / sigma + beta
    standard = x * (gamma / sigma * w) + (beta - gamma * mean / sigma)
    at_optimum = batchnorm.subs({gamma: sigma, beta: mean + b})
    return [
        identity(
            "outputs of the BN network minus those of the standard one at Phi(w, b, gamma, beta)",
            batchnorm - standard,
            "every X, w, b, gamma, beta, sigma > 0 (so every eps >= 0), example by example",
        ),
        identity(
            "outputs at gamma = sigma, beta = mu minus the standard outputs x w + b",
            at_optimum - (x * w + b),
            "every X, w, b with sigma > 0",
        ),
        identity(
            "Phi(w*, b*, sigma, mu) minus (w*, b*)",
            sp.Abs((gamma / sigma * w).subs(gamma, sigma) - w)
            + sp.Abs((beta - gamma * mean / sigma).subs({gamma: sigma, beta: mean + b}) - b),
            "the point that must be a minimum is a preimage of the standard minimum",
        ),
    ]


@claim(
    "santurkar2018.lemma-4.5.printed",
    kind="landscape",
    source=Source(KEY, "Lemma 4.5", "arXiv v3"),
    statement=r"\|W_0-\hat W^*\|^2 \le \|W_0-W^*\|^2 - \frac{(\|W^*\|^2-\langle W^*,W_0\rangle)^2}{\|W^*\|^2}\ \text{ if } \langle W_0,W^*\rangle>0",
    reading=(
        "W*, What*: the closest optima of the standard and the BN network; layer without a bias, eps = 0. The BN optima are taken with gamma and "
        "beta trained; on the witness's data the directions are the same with gamma > 0 and beta constant"
    ),
    note="The proof takes the BN optima to be the ray through W*. They need not be: see dannemann2025.counterexample.",
)
def lemma_as_printed(study: Study) -> list[Check]:
    from bntheory.claims.sources.dannemann2025 import simplest

    neuron = simplest()
    rows, target, best = [list(r) for r in neuron.rows], list(neuron.target), list(neuron.optimum)
    # The BN network fits t exactly where the centred X w is parallel to the centred t. The centred columns of X and the
    # centred t live in a plane, so that direction is unique up to its length: solve it exactly.
    columns = [centred(c) for c in transposed(rows)]
    direction = least_squares(transposed(columns), centred(target))
    fitted = matvec(rows, direction)
    misfit = axpy(-1, centred(target), centred(fitted))
    # W0 = W*: the right-hand side is 0. The distance from W* to the line {a direction} is a lower bound on the
    # left-hand side.
    along = dot(best, direction)
    distance2 = dot(best, best) - along**2 / dot(direction, direction)
    witness = {
        "X": [as_text(r) for r in rows],
        "t": as_text(target),
        "W0 = W*": as_text(best),
        "direction of every BN optimum": as_text(direction),
    }
    right = Q(0)
    return [
        exact("<W0, W*> (the lemma's hypothesis): 0 <", "W0 = W*", witness=witness).lt(0.0, dot(best, best)),
        exact(
            "squared misfit of the BN optimum",
            "zero loss, so it is optimal, and no other direction reaches it: the centred columns are independent",
            witness=witness,
        ).eq(dot(misfit, misfit), 0.0),
        exact(
            "||W0 - What*||^2, at least, against the printed bound",
            "W0 = W* on three points with two inputs; every BN optimum lies on the line through the given direction",
            witness=witness,
        ).le(distance2, right),
    ]


@claim(
    "santurkar2018.lemma-4.5.geometry",
    kind="landscape",
    source=Source(KEY, "Lemma 4.5, its proof", "arXiv v3"),
    statement=r"\min_{a>0}\|W_0-aW^*\|^2 \le \|W_0-W^*\|^2 - \frac{(\|W^*\|^2-\langle W^*,W_0\rangle)^2}{\|W^*\|^2}\ \text{ if } \langle W_0,W^*\rangle>0",
    repairs="santurkar2018.lemma-4.5.printed",
    reading="the same with the ray {a W*, a > 0} in place of the BN optima",
    note="With equality: the right-hand side is the squared distance from W0 to the line through W*, whose foot is on the ray.",
)
def lemma_geometry(study: Study) -> list[Check]:
    import sympy as sp

    a, w0, p, n = sp.symbols("a w0 p n", positive=True)  # ||W0||^2, <W0, W*> > 0, ||W*||^2
    distance = w0 - 2 * a * p + a**2 * n
    foot = sp.solve(sp.diff(distance, a), a)[0]
    right = (w0 - 2 * p + n) - (n - p) ** 2 / n
    return [
        identity(
            "the distance at its minimiser a = <W0,W*>/||W*||^2 minus the right-hand side",
            distance.subs(a, foot) - right,
            "every W0, W* with <W0, W*> > 0, any dimension",
        ),
        proof(
            "0 < the minimiser a, with <W0,W*> and ||W*||^2 positive", "the foot is on the ray (1 stands for positive)"
        ).lt(0.0, 1.0 if foot.is_positive else -1.0),
    ]
