"""Statements about layers with the answer that is expected: the nine readings of Theorems 4.1 and 4.2, and what else must be told apart."""

from __future__ import annotations

from bntheory.claims.claim import Claim, Source
from bntheory.layer import LayerDomain, all_of, any_of, eq, ge, implies, le, lt
from bntheory.layer.vocabulary import centre, sqrt, standardise


def claim_of(check, domain=None, assume=None):
    return Claim("test.claim", "layer", Source("test", "", seen="own"), "", check, domain or LayerDomain(), assume)


ZERO, POSITIVE, ANY = (LayerDomain(eps=e) for e in ("zero", "positive", "any"))
GAMMA = LayerDomain(eps="zero", gamma="positive")


def theorem_41(last):
    def check(x):
        g = x.grad
        bracket = x.norm2(g) - x.dot(x.one, g) ** 2 / x.m - x.dot(g, x.y_hat) ** 2 / last(x)
        return le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * bracket)

    return check


def theorem_42_first(x):
    v = x.input_grad
    curved = x.gamma**2 / x.sigma**2 * x.dot(v, x.hess(v))
    return le(x.dot(v, x.input_hess(v)), curved - x.gamma / (x.m * x.sigma**2) * x.dot(x.grad, x.y_hat) * x.norm2(v))


def theorem_42_second(x):
    v, g = x.input_grad, x.grad
    bracket = x.dot(g, x.hess(g)) - x.dot(g, x.y_hat) * x.norm2(v) / (x.m * x.gamma)
    return le(x.dot(v, x.input_hess(v)), x.gamma**2 / x.sigma**2 * bracket)


def forms_ordered(x):
    return le(x.dot(x.input_grad, x.hess(x.input_grad)), x.dot(x.grad, x.hess(x.grad)))


def isotropic(kind="isotropic"):
    return LayerDomain(eps="zero", gamma="positive", hessian=kind)


READINGS = {
    "4.1, 1/m": (theorem_41(lambda x: x.m), ZERO, None, "proved"),
    "4.1, 1/sqrt(m)": (theorem_41(lambda x: sqrt(x.m)), ZERO, None, "refuted"),
    "4.1, eps > 0": (theorem_41(lambda x: x.m), POSITIVE, None, "proved"),
    "4.2 first": (theorem_42_first, ZERO, None, "proved"),
    "4.2 first, eps > 0": (theorem_42_first, POSITIVE, None, "refuted"),
    "4.2 second": (theorem_42_second, GAMMA, None, "refuted"),
    "4.2 second, isotropic": (theorem_42_second, isotropic(), None, "refuted"),
    "4.2 second, identity": (theorem_42_second, isotropic("identity"), None, "refuted"),
    "4.2 second, forms ordered": (theorem_42_second, GAMMA, forms_ordered, "proved"),
}

MORE = {
    "4.2 second, psd": (theorem_42_second, isotropic("psd"), None, "refuted"),
    "4.2 second, H = 0": (theorem_42_second, isotropic("zero"), None, "proved"),
    "orthogonal to 1": (lambda x: eq(x.dot(x.one, x.input_grad), 0), ANY, None, "proved"),
    "orthogonal to y, eps = 0": (lambda x: eq(x.dot(x.y, x.input_grad), 0), ZERO, None, "proved"),
    "orthogonal to y, any eps": (lambda x: eq(x.dot(x.y, x.input_grad), 0), ANY, None, "refuted"),
    "H couples 1 with what is left of g": (
        lambda x: eq(x.dot(x.one, x.hess(x.input_grad)), 0), ZERO, None, "refuted",
    ),
    "H 1, formed before g is named": (
        lambda x: eq(x.dot(x.hess(x.one), x.input_grad), 0), ZERO, None, "refuted",
    ),
    "H g leaves the span, seen by a second product": (
        lambda x: le(x.dot(x.grad, x.hess(x.hess(x.grad))) * x.norm2(x.grad), x.dot(x.grad, x.hess(x.grad)) ** 2),
        ANY, None, "refuted",
    ),
    "H g leaves the span, seen by its norm": (
        lambda x: le(x.norm2(x.hess(x.grad)) * x.norm2(x.grad), x.dot(x.grad, x.hess(x.grad)) ** 2), ANY, None, "refuted",
    ),
    "H g leaves the span, seen by an equality": (
        lambda x: eq(x.norm2(x.grad) * x.hess(x.grad), x.dot(x.grad, x.hess(x.grad)) * x.grad), ANY, None, "refuted",
    ),
    "1 in the kernel": (lambda x: eq(x.input_hess(x.one), 0 * x.one), ANY, None, "proved"),
    "y in the kernel": (lambda x: eq(x.input_hess(x.y), 0 * x.one), ZERO, None, "refuted"),
    "symmetric": (lambda x: eq(x.dot(x.y, x.input_hess(x.grad)), x.dot(x.grad, x.input_hess(x.y))), ANY, None, "proved"),
    "strict fails by equality": (lambda x: lt(x.norm2(x.y_hat), x.m), ZERO, None, "refuted"),
    "strict where eps > 0": (lambda x: lt(x.norm2(x.y_hat), x.m), POSITIVE, None, "proved"),
    "m = 2 has no gradient": (lambda x: eq(x.input_grad, 0 * x.one), ZERO, lambda x: eq(x.m, 2), "proved"),
    "m = 3 has one": (lambda x: eq(x.input_grad, 0 * x.one), LayerDomain(eps="zero", min_m=3), None, "refuted"),
    "m is whole": (lambda x: ge((x.m - 3) * (x.m - 4), 0), ANY, None, "proved"),
    "m is not whole everywhere": (lambda x: ge((x.m - 3) * (x.m - 5), 0), ANY, None, "refuted"),
    "batches stop at 20": (lambda x: le(x.m, 20), ANY, None, "refuted"),
    "Cauchy-Schwarz for H": (
        lambda x: le(x.dot(x.grad, x.hess(x.grad)) ** 2, x.norm2(x.grad) * x.norm2(x.hess(x.grad))), ANY, None, "proved",
    ),
    "Cauchy-Schwarz in a psd form": (
        lambda x: le(
            x.dot(x.y, x.hess(x.grad)) ** 2, x.dot(x.grad, x.hess(x.grad)) * x.dot(x.y, x.hess(x.y))
        ),
        LayerDomain(hessian="psd"), None, "proved",
    ),
    "the same for any H": (
        lambda x: le(
            x.dot(x.y, x.hess(x.grad)) ** 2, x.dot(x.grad, x.hess(x.grad)) * x.dot(x.y, x.hess(x.y))
        ),
        ANY, None, "refuted",
    ),
    "triangle inequality": (
        lambda x: le(sqrt(x.norm2(x.grad + x.y)), sqrt(x.norm2(x.grad)) + sqrt(x.norm2(x.y))), ANY, None, "proved",
    ),
    "reverse triangle": (
        lambda x: ge(sqrt(x.norm2(x.grad + x.y)), sqrt(x.norm2(x.grad)) + sqrt(x.norm2(x.y))), ANY, None, "refuted",
    ),
    "scale invariance": (
        lambda x: eq(standardise(x, x.scalar("a") * x.y), x.y_hat),
        LayerDomain(eps="zero", scalars={"a": "positive"}), None, "proved",
    ),
    "scale invariance with eps": (
        lambda x: eq(standardise(x, x.scalar("a") * x.y), x.y_hat),
        LayerDomain(eps="positive", scalars={"a": "positive"}), None, "refuted",
    ),
    "undefined where the division is": (
        lambda x: ge(x.norm2(x.input_grad) / x.norm2(x.input_grad), 1), ZERO, None, "proved",
    ),
    "a psd form is not negative": (lambda x: ge(x.dot(x.grad, x.hess(x.grad)), 0), LayerDomain(hessian="psd"), None, "proved"),
    "either or": (lambda x: any_of(ge(x.dot(x.grad, x.y), 0), le(x.dot(x.grad, x.y), 0)), ANY, None, "proved"),
    "not both": (lambda x: all_of(ge(x.dot(x.grad, x.y), 0), le(x.dot(x.grad, x.y), 0)), ANY, None, "refuted"),
    "implication": (
        lambda x: implies(eq(x.norm2(x.grad), 0), eq(x.norm2(x.input_grad), 0)), ANY, None, "proved",
    ),
    "Samuelson": (
        lambda x: le(x.dot(x.vector("e@case"), x.y_hat) ** 2, x.m - 1),
        LayerDomain(eps="zero", vectors=("e@case",)), None, "proved",
    ),
    "Samuelson, m - 2": (
        lambda x: le(x.dot(x.vector("e@case"), x.y_hat) ** 2, x.m - 2),
        LayerDomain(eps="zero", vectors=("e@case",)), None, "refuted",
    ),
    "diagonal H, two examples": (
        lambda x: eq(x.dot(x.vector("a@case"), x.hess(x.y)), x.dot(x.vector("b@case"), x.hess(x.y))),
        LayerDomain(hessian="diagonal", vectors=("a@case", "b@case")), None, "refuted",
    ),
    "diagonal H, an example is an eigenvector": (
        lambda x: eq(x.hess(x.vector("e@case")), x.dot(x.vector("e@case"), x.hess(x.vector("e@case"))) * x.vector("e@case")),
        LayerDomain(hessian="diagonal", vectors=("e@case",)), None, "proved",
    ),
    "diagonal H, no other vector is one": (
        lambda x: eq(x.hess(x.grad), x.dot(x.grad, x.hess(x.grad)) * x.grad),
        LayerDomain(hessian="diagonal", vectors=("e@case",)), lambda x: eq(x.norm2(x.grad), 1), "refuted",
    ),
    "any H, an example is none": (
        lambda x: eq(x.norm2(x.hess(x.vector("e@case"))), x.dot(x.vector("e@case"), x.hess(x.vector("e@case"))) ** 2),
        LayerDomain(vectors=("e@case",)), None, "refuted",
    ),
    "diagonal H, one entry of a product": (
        lambda x: eq(x.dot(x.vector("e@case"), x.hess(x.one)), x.dot(x.vector("e@case"), x.hess(x.vector("e@case")))),
        LayerDomain(hessian="diagonal", vectors=("e@case",)), None, "proved",
    ),
    "the squares of a psd diagonal sum to less than its square": (
        lambda x: le(x.norm2(x.hess(x.one)), x.trace(x.hess) ** 2), LayerDomain(hessian="psd-diagonal"), None, "proved",
    ),
    "those of any diagonal do not": (
        lambda x: le(x.norm2(x.hess(x.one)), x.trace(x.hess) ** 2), LayerDomain(hessian="diagonal"), None, "refuted",
    ),
    "a claim that looks at the mean and not at y": (
        lambda x: le(x.norm2(x.hess(x.one)), x.scalar("b") * x.trace(x.hess)),
        LayerDomain(hessian="psd-diagonal", smoothness="b", scalars={"b": "positive"}), None, "proved",
    ),
    "l1 amplifies": (
        lambda x: le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * x.norm2(centre(x, x.grad))),
        LayerDomain(eps="zero", normaliser="l1"), None, "refuted",
    ),
    "l1 at most so much": (
        lambda x: le(
            x.norm2(x.input_grad) * x.m**2,
            x.gamma**2 / x.sigma**2 * x.norm2(centre(x, x.grad)) * x.norm2(x.y_hat) * x.norm2(centre(x, x.dual)),
        ),
        LayerDomain(eps="zero", normaliser="l1"), None, "proved",
    ),
    "linf amplifies": (
        lambda x: le(x.norm2(x.input_grad), x.gamma**2 / x.sigma**2 * x.norm2(centre(x, x.grad))),
        LayerDomain(eps="zero", normaliser="linf"), None, "refuted",
    ),
    "rms keeps no mean": (
        lambda x: eq(x.dot(x.one, x.input_grad), 0), LayerDomain(eps="zero", normaliser="rms"), None, "refuted",
    ),
    "frozen scales": (
        lambda x: eq(x.input_hess(x.y), x.gamma**2 / x.sigma**2 * x.hess(x.y)), LayerDomain(normaliser="frozen"), None, "proved",
    ),
    "gamma = sigma": (
        lambda x: le(x.norm2(x.input_grad), 0.99 * x.norm2(x.grad)), ZERO, lambda x: eq(x.gamma, x.sigma), "refuted",
    ),
}  # fmt: skip
