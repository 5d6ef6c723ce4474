"""The post "Rethinking Batch Normalization" (2019) and its discussion: what smooth means, and what no amount of it
shows.

The 2-Lipschitz constant at x is inf { a2 : |f(x+u) - a0 - a1.u| <= (1/2) a2 |u|^2 for all u, some a0, a1 }, u not
small; the global one is its supremum over x. Every claim here is decided exactly; measurements on a family of functions
stand beside the proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction as Q
from typing import Any

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, numerical, proof
from bntheory.evidence.identity import identity
from bntheory.layer.rational import axpy, dot, vector

KEY = "lesswrong2019"


@claim(
    "lesswrong2019.one-layer.no-shift-yet-rough",
    kind="landscape",
    source=Source(KEY, "the post"),
    statement=r"\text{a network of one layer has zero internal covariate shift under both definitions, however contorted its loss is}",
    reading=(
        "one linear layer, loss A(1 - cos(k(<x,w> - t))) summed over a fixed batch: roughness A k^2 is a parameter. Shift 1: the change of the "
        "moments of the layer's input between steps. Shift 2 (Santurkar et al., definition 2.1): ||G - G'||, G' with all earlier layers at "
        "their next weights"
    ),
)
def no_shift_yet_rough(study: Study) -> Iterator[Check]:
    import sympy as sp

    from bntheory.smoothness.unit.rough_layer import RoughLayer

    amplitude, frequency, w, x, t = sp.symbols("A k w x t", positive=True)
    loss = amplitude * (1 - sp.cos(frequency * (x * w - t)))
    curvature = sp.diff(loss, w, 2).subs(w, t / x)
    # A k^2 = R at A = 1/k: slope A k stays 1 and the range of the loss 2/k vanishes while the curvature R = k is
    # unbounded
    unbounded = sp.limit(curvature.subs({amplitude: 1 / frequency, x: 1}), frequency, sp.oo)
    yield identity(
        "curvature at the minimum minus A k^2 x^2", curvature - amplitude * frequency**2 * x**2, "every A, k, x, t > 0"
    )
    yield proof(
        "no bound: 1/curvature in the limit k -> infinity, slope held at 1", "A = 1/k, one input", why="sympy limit"
    ).eq(1 / unbounded, 0.0)
    for roughness in study.choose(quick=(1.0, 1e6), normal=(1.0, 1e3, 1e6), thorough=(1.0, 1e2, 1e4, 1e6, 1e8)):
        run = RoughLayer(roughness=roughness, seed=study.seed).train(steps=20, learning_rate=0.3 / roughness)
        yield exact(
            f"largest change of the moments of the layer's input, roughness {roughness:g}",
            "20 steps of gradient descent; the input is the data, bit for bit",
            witness={"seed": study.seed},
        ).eq(run.input_shift, 0.0)
        yield exact(
            f"largest ||G - G'||, roughness {roughness:g}",
            "20 steps; no earlier layer exists, so G and G' are the same expression, evaluated twice",
            witness={"seed": study.seed},
        ).eq(run.gradient_shift, 0.0)
        yield exact(
            f"the weights do move: 0 < distance trained, roughness {roughness:g}",
            "so that the zeros above are not those of a network at rest",
        ).lt(0.0, run.distance)


@claim(
    "lesswrong2019.scaling.reduces-lipschitz",
    kind="landscape",
    source=Source(KEY, "discussion"),
    statement=r"cf,\ c<1:\ \text{Lipschitz, derivative-Lipschitz and 2-Lipschitz constants are multiplied by exactly } c\text{, no scale-free measure changes}",
    reading="c > 0; the scale-free measures are relative curvature, linearity error, trust fraction, gradient cosine",
)
def scaling_reduces_every_constant(study: Study) -> Iterator[Check]:
    import numpy as np
    import sympy as sp

    from bntheory.smoothness import (
        Ball,
        Scaled,
        derivative_lipschitz_constant,
        lipschitz_constant,
        scale_free,
        two_lipschitz,
    )
    from bntheory.smoothness.functions import logistic_regression

    c, top, excess, slope, share, after, cosine = sp.symbols("c lambda E g2 phi fx cos", positive=True)
    here = sp.symbols("f", real=True)
    relative = top * excess / slope
    error = (after - (here - share * excess)) / (share * excess)
    step = share * excess / slope  # times the gradient: the displacement is step * grad
    g, lip = sp.symbols("grad lip", positive=True)
    everywhere = "every f, x, u and c > 0: homogeneity of norm, supremum and infimum"
    yield identity("||c grad f|| - c ||grad f||", sp.sqrt((c * g) ** 2) - c * g, everywhere)
    yield identity("norm of c H minus c times the norm of H", sp.Abs(c * lip) - c * sp.Abs(lip), everywhere)
    yield identity(
        "remainder of c f, with c a0 and c a1, minus c times that of f: the admissible a2 scale by c",
        (c * after - c * here - c * g) - c * (after - here - g),
        everywhere,
    )
    yield identity(
        "relative curvature of c f minus that of f", (c * top) * (c * excess) / (c**2 * slope) - relative, everywhere
    )
    yield identity(
        "displacement of the matched step on c f minus that on f",
        share * (c * excess) / (c**2 * slope) * (c * g) - step * g,
        everywhere,
    )
    yield identity(
        "linearity error of c f minus that of f (the trust fraction is made of it)",
        (c * after - (c * here - share * c * excess)) / (share * c * excess) - error,
        everywhere,
    )
    yield identity("gradient cosine of c f minus that of f", (c * c * cosine) / (c * c) - cosine, everywhere)
    rng = np.random.default_rng(study.seed)
    inputs = rng.normal(size=(12, 3))
    known = logistic_regression(inputs, np.where(rng.random(12) < 0.5, -1.0, 1.0))
    factor, region, point = 0.125, Ball(np.zeros(3), 2.0), np.full(3, 0.5)
    scaled = Scaled(known.landscape, factor)
    effort = {"samples": study.choose(quick=16, normal=32, thorough=96), "seed": study.seed}
    measures: tuple[tuple[str, float, Callable[[Any], Any]], ...] = (
        ("Lipschitz constant", factor, lambda f: lipschitz_constant(f, region, **effort)),
        ("derivative-Lipschitz constant", factor, lambda f: derivative_lipschitz_constant(f, region, **effort)),
        ("2-Lipschitz constant at a point", factor, lambda f: two_lipschitz(f, point, **effort)),
        ("relative curvature", 1.0, lambda f: scale_free(f, point).relative_curvature),
        ("linearity error", 1.0, lambda f: scale_free(f, point).linearity_error),
        ("trust fraction", 1.0, lambda f: scale_free(f, point).trust_fraction),
        ("gradient cosine", 1.0, lambda f: scale_free(f, point).gradient_cosine),
    )
    for name, ratio, measure in measures:
        expected = ratio * float(measure(known.landscape))
        yield numerical(
            f"measured {name} of f/8 against {ratio:g} times that of f",
            "logistic regression with 3 weights",
            uncertainty=1e-6 * abs(expected),
            why="the ascents stop at a relative gain of 1e-10; 1e-6 allows for another path",
            decisive=False,
        ).eq(measure(scaled), expected)


@claim(
    "lesswrong2019.two-lipschitz.equals-derivative-lipschitz",
    kind="landscape",
    source=Source(KEY, "discussion"),
    statement=r"\sup_x \text{2-Lip}(f,x) = \mathrm{Lip}(\nabla f)\quad\text{for } C^1 \text{ functions on } R^n",
    reading="both may be infinite; a0 = f(x) and a1 = grad f(x), which u -> 0 forces",
    note=(
        "At most: the remainder is the integral of <grad f(x+tu) - grad f(x), u> dt <= L|u|^2/2. At least: with d = grad f(x) - grad f(y), h = y - "
        "x and w = -d/(2a), bound f at (x+y)/2 + w from x above and from y below, and at (x+y)/2 - w the other way round; the four inequalities "
        "add up to 0 <= (a^2|h|^2 - |d|^2)/(2a). The vectors span at most three dimensions, so coordinates in R^3 lose nothing."
    ),
)
def global_two_lipschitz(study: Study) -> list[Check]:
    import numpy as np
    import sympy as sp

    from bntheory.smoothness import Ball, Region, interval, two_lipschitz_constant
    from bntheory.smoothness.functions import (
        KnownFunction,
        gaussian_bump,
        logistic_regression,
        quadratic,
        sine,
        softplus,
    )

    a, t, u2 = sp.symbols("a t u2", positive=True)
    x, h, gx, gy = (sp.Matrix(sp.symbols(f"{n}1:4", real=True)) for n in ("x", "h", "p", "q"))
    fx, fy, f1, f2 = sp.symbols("fx fy f1 f2", real=True)
    d, y = gx - gy, x + h
    w = -d / (2 * a)
    z1, z2 = x + h / 2 + w, x + h / 2 - w

    def room(fz: Any, z: Any, f0: Any, g0: Any, x0: Any, sign: int) -> Any:
        """What the 2-Lipschitz bound at x0 says is >= 0 about the value fz at z, from above (+1) or below (-1)."""
        return sp.Rational(1, 2) * a * (z - x0).dot(z - x0) - sign * (fz - f0 - g0.dot(z - x0))

    total = (
        room(f1, z1, fx, gx, x, 1)
        + room(f1, z1, fy, gy, y, -1)
        + room(f2, z2, fy, gy, y, 1)
        + room(f2, z2, fx, gx, x, -1)
    )
    checks = [
        identity(
            "integral of a t |u|^2 over t in [0,1] minus (1/2) a |u|^2",
            sp.integrate(a * t * u2, (t, 0, 1)) - a * u2 / 2,
            "2-Lip <= Lip(grad): every C^1 function with an a-Lipschitz gradient",
        ),
        identity(
            "sum of the four bounds minus (a^2 |h|^2 - |d|^2)/(2a)",
            sp.expand(total - (a**2 * h.dot(h) - d.dot(d)) / (2 * a)),
            "Lip(grad) <= 2-Lip: every x, y and differentiable f with global 2-Lipschitz constant a > 0",
        ),
    ]
    rng = np.random.default_rng(study.seed)
    inputs = rng.normal(size=(10, 2))
    family: list[tuple[KnownFunction, Region]] = [
        (quadratic(np.diag([3.0, -5.0, 1.0])), Ball(np.zeros(3), 2.0)),
        (sine(2.0, 3.0), interval(-4.0, 4.0)),
        (softplus(10.0), interval(-3.0, 3.0)),
        (gaussian_bump(0.5), interval(-3.0, 3.0)),
        (logistic_regression(inputs, np.where(inputs[:, 0] > 0, 1.0, -1.0)), Ball(np.zeros(2), 3.0)),
    ]
    for known, region in family:
        measured = two_lipschitz_constant(
            known.landscape, region, seed=study.seed, samples=study.choose(quick=64, normal=128, thorough=512)
        )
        checks.append(
            numerical(
                f"measured global 2-Lipschitz constant of the {known.name} against its exact Lip(grad)",
                "ascent over both ends of the segment",
                uncertainty=2e-3 * known.derivative_lipschitz,
                why="an ascent attains its value: it may stay below by the 0.2 % allowed",
                decisive=False,
            ).eq(measured.value, known.derivative_lipschitz)
        )
    return checks


@claim(
    "lesswrong2019.two-lipschitz.pointwise",
    kind="landscape",
    source=Source(KEY, "discussion"),
    statement=r"\text{2-Lip}(f,x) = \text{the derivative-Lipschitz constant of } f \text{ at } x,\ \text{at each } x",
    reading="the derivative's local Lipschitz constant at x is |f''(x)|; read as sup_y |f'(y) - f'(x)|/|y - x| it fails too, on the other side",
    note=(
        "For f = x^3/(1+x^2) at 0: |f''(0)| = 0 < 2-Lip = max 2x/(1+x^2) = 1 < sup_y |f'(y) - f'(0)|/|y|. In general |f''(x)| <= 2-Lip(f,x) <= "
        "sup_y |f'(y) - f'(x)|/|y - x|, and the suprema over x agree."
    ),
)
def pointwise_two_lipschitz(study: Study) -> list[Check]:
    import sympy as sp

    x = sp.symbols("x", positive=True)
    f = x**3 / (1 + x**2)
    second = sp.limit(sp.diff(f, x, 2), x, 0)
    slope = sp.simplify((sp.diff(f, x) - sp.limit(sp.diff(f, x), x, 0)) / x)
    ratio = sp.simplify(2 * (f - 0 - 0 * x) / x**2)  # f(0) = f'(0) = 0; f is odd, so u < 0 gives the same
    gap = sp.simplify(1 - ratio - (1 - x) ** 2 / (1 + x**2))
    at = Q(3, 4)
    from_here = Q(str(slope.subs(x, sp.Rational(3, 4))))
    return [
        identity(
            "1 - 2|f(u)|/u^2 minus (1-u)^2/(1+u^2): so 2-Lip(f,0) <= 1, attained at u = 1",
            gap,
            "f = x^3/(1+x^2) at x = 0",
        ),
        exact(
            "2-Lipschitz constant at 0 against |f''(0)|",
            "f = x^3/(1+x^2), witness u = 1",
            witness={"x": "0", "u": "1", "f(u)": "1/2"},
        ).eq(ratio.subs(x, 1), second),
        exact(
            "second reading: sup |f'(y) - f'(0)|/|y|, at least, against the 2-Lipschitz constant at 0",
            "f = x^3/(1+x^2), witness y = 3/4",
            witness={"y": str(at), "slope": str(from_here)},
        ).le(from_here, ratio.subs(x, 1)),
    ]


@claim(
    "lesswrong2019.two-lipschitz.relu",
    kind="landscape",
    source=Source(KEY, "discussion"),
    statement=r"\text{a ReLU kink makes the 2-Lipschitz constant infinite; the affine defect } E(r) \text{ is finite at every } r>0,\ 2E(r)/r^2 \sim 1/r",
    reading="f = max(0, s x) at its kink, any slope s > 0; E(r) is the deviation from the best affine fit on |u| <= r",
    note="E(r) = s r/4 exactly: the fit s u/2 + s r/4 deviates by s r/4 at -r, 0 and r with alternating sign, and no affine function does better there.",
)
def relu_kink(study: Study) -> list[Check]:
    import sympy as sp

    r, s = sp.symbols("r s", positive=True)

    def relu(u: Any) -> Any:
        return sp.Max(0, s * u)

    second = relu(r) + relu(-r) - 2 * relu(sp.Integer(0))
    needed = sp.simplify(second / r**2)  # a2 >= this, whatever a1
    # f - l is linear between its kink and the ends, so its extremes are at -r, 0 and r
    deviation = [sp.simplify(relu(u) - (s * u / 2 + s * r / 4)) for u in (-r, sp.Integer(0), r)]
    upper = sp.simplify(sp.Max(*[sp.Abs(v) for v in deviation]) / (s * r))
    lower = sp.simplify(second / 4 / (s * r))  # affine functions have no second difference, and it is at most 4 E
    return [
        proof(
            "1/(the a2 that the second difference at u forces), u -> 0",
            "every a1; so no finite a2 serves",
            why="sympy",
            witness={"a2 at least": str(needed)},
        ).eq(sp.limit(1 / needed, r, 0, "+"), 0.0),
        proof(
            "E(r)/(s r), lower end against upper end", "every r > 0 and s > 0", witness={"E(r)": str(lower * s * r)}
        ).eq(lower, upper),
        identity(
            "2 E(r)/r^2 minus s/(2r)",
            2 * lower * s * r / r**2 - s / (2 * r),
            "every r > 0 and s > 0: finite, and growing like 1/r",
        ),
    ]


@claim(
    "lesswrong2019.two-lipschitz.batchnorm-reduces.global",
    kind="landscape",
    source=Source(KEY, "discussion"),
    statement=r"\text{BN reduces the global 2-Lipschitz constant of the loss in the weights}",
    reading="one neuron y = X w with squared loss and gamma = 1: against the standard neuron z = y and against the frozen twin",
    note=(
        "eps = 0: the loss jumps at w = 0 (unless t is constant), so the constant is infinite. eps > 0: it is exactly proportional to 1/eps and at least "
        "(gamma^2/eps) lambda_max(X'CX), the curvature at w = 0, which exceeds the frozen twin's for centred X whatever sigma is. Lower constants "
        "than the standard neuron's occur for large eps (last check)."
    ),
)
def batchnorm_reduces_globally(study: Study) -> list[Check]:
    # X = (1, 1, -1, -1)', so var(X w) = w^2 and z = X w/sqrt(w^2 + eps). With t orthogonal to X the losses are even in
    # w.
    inputs, target = vector([1, 1, -1, -1]), vector([1, -1, 1, -1])

    def loss(z_over_x: Q, t: list[Q]) -> Q:
        residual = axpy(-z_over_x, inputs, t)
        return dot(residual, residual) / 2

    def needed(u: Q, eps: Q) -> Q:
        """a2 at w = 0: twice the even loss's rise over u^2; z^2 = u^2/(u^2 + eps) x^2 is rational although z is not."""
        rise = dot(inputs, inputs) * (u * u / (u * u + eps)) / 2
        return 2 * rise / (u * u)

    u = Q(1, 1000)
    standard = 2 * (loss(u, target) - loss(Q(0), target)) / (u * u)  # a quadratic: the same at every u
    data = "X = (1, 1, -1, -1)', t = (1, -1, 1, -1)', gamma = 1"
    checks = []
    for eps in (Q(1, 100_000), Q(1, 1000)):
        twin = dot(inputs, inputs) / (1 + eps)  # X'X/sigma^2, sigma frozen at w = 1
        witness = {
            "X": [str(x) for x in inputs],
            "t": [str(v) for v in target],
            "eps": str(eps),
            "w": "0",
            "u": str(u),
            "a2 at least": str(needed(u, eps)),
        }
        checks += [
            exact(
                f"2-Lipschitz constant of the BN loss, at least, against the standard one, eps = {eps}",
                f"{data}, rational arithmetic",
                witness=witness,
            ).le(needed(u, eps), standard),
            exact(f"the same against the frozen twin at w = 1, eps = {eps}", data, witness=witness).le(
                needed(u, eps), twin
            ),
        ]
    # eps = 0: z = sign(w) X, so the loss is constant on either side of 0, where its gradient vanishes
    uneven = vector([1, 0, 0, 0])
    jump = loss(Q(-1), uneven) - loss(Q(1), uneven)
    checks += [
        exact(
            "eps = 0: 2|f(-1/1000) - f(1/1000)|/(2/1000)^2, at least, against the standard constant",
            "X as before, t = (1, 0, 0, 0)': f' = 0 at w = 1/1000, and f jumps at 0",
            witness={"jump": str(jump)},
        ).le(2 * abs(jump) / (2 * u) ** 2, standard),
        exact(
            "for eps = 10 the BN neuron's constant, X'X/eps, is below the standard one",
            f"{data}: reductions exist as well",
            decisive=False,
        ).le(dot(inputs, inputs) / 10, standard),
    ]
    return checks
