"""True statements about normalisation layers, each with a small error planted in it.

A pair is a true claim and what becomes of it when a constant is off by 0.1 % to 5 %, a 1/m or a sign is lost, an assumption is
dropped, or eps = 0 is read as any eps. A judge that finds counterexamples refutes every planted claim and no true one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from bntheory.claims.claim import Claim, Source
from bntheory.layer import LayerDomain, Statement, eq, ge, gt, implies, le, lt
from bntheory.layer.vocabulary import centre, sqrt, standardise

__all__ = ["PAIRS", "Pair"]


@dataclass(frozen=True)
class Pair:
    """A true claim and the same with an error."""

    true: Claim
    planted: Claim


ZERO, ANY, POSITIVE = LayerDomain(eps="zero"), LayerDomain(eps="any"), LayerDomain(eps="positive")
UV = {"vectors": ("u", "v")}
Write = Callable[..., Statement]


def _claim(name: str, check: Any, domain: LayerDomain, assume: Any = None) -> Claim:
    return Claim(f"planted.{name}", "layer", Source("planted", "", seen="own"), name, check, domain, assume)


def _pairs() -> Iterator[Pair]:
    for name, write, domain, true, wrong, *rest in _TABLE:
        options: dict[str, Any] = rest[0] if rest else {}
        assume, other_assume = options.get("assume"), options.get("planted_assume", options.get("assume"))
        yield Pair(
            _claim(f"{name}.true", lambda x, w=write, c=true: w(x, c), domain, assume),
            _claim(name, lambda x, w=write, c=wrong: w(x, c), options.get("planted_domain", domain), other_assume),
        )


def _pg2(x: Any, one: Any = 1, hat: Any = 1) -> Any:
    """gamma^2/sigma^2 (||g||^2 - one <1,g>^2/m - hat <y_hat,g>^2/m)."""
    g = x.grad
    bracket = x.norm2(g) - one * x.dot(x.one, g) ** 2 / x.m - hat * x.dot(x.y_hat, g) ** 2 / x.m
    return x.gamma**2 / x.sigma**2 * bracket


def _project(x: Any, v: Any) -> Any:
    return centre(x, v) - x.dot(x.y_hat, v) / x.m * x.y_hat


def _bend(x: Any, v: Any) -> Any:
    """The part of v'H_hat v that does not come from H."""
    gv, yv, yg = x.dot(_project(x, x.grad), v), x.dot(x.y_hat, v), x.dot(x.y_hat, x.grad)
    return -1 * x.gamma / (x.m * x.sigma**2) * (yg * x.dot(v, _project(x, v)) + 2 * yv * gv)


def _own_gradient(x: Any, factor: Any) -> Statement:
    d = x.input_grad
    scale = x.gamma**2 / x.sigma**2
    right = scale * x.dot(d, x.hess(d)) - x.gamma / (x.m * x.sigma**2) * x.dot(x.grad, x.y_hat) * x.norm2(d)
    return eq(x.dot(d, x.input_hess(d)), factor * right)


def _samuelson(x: Any, c: Any) -> Statement:
    return le(x.dot(x.vector("e@case"), x.y_hat) ** 2, (x.m - c) * x.norm2(x.y_hat) / x.m)


def _operator(name: str, kind: Any) -> LayerDomain:
    return LayerDomain(eps="zero", vectors=("u", "v"), operators={name: kind})


def _scalar(kind: Any, eps: Any = "zero", **more: Any) -> LayerDomain:
    return LayerDomain(eps=eps, scalars={"a": kind}, **more)


def _no_shift(x: Any) -> Any:
    return [eq(x.dot(x.one, x.grad), 0)]


def _no_shift_no_scale(x: Any) -> Any:
    return [eq(x.dot(x.one, x.grad), 0), eq(x.dot(x.y_hat, x.grad), 0)]


def _no_scale(x: Any) -> Any:
    return [eq(x.dot(x.y_hat, x.grad), 0)]


PSD = LayerDomain(eps="any", hessian="psd", vectors=("v",))
NO_HESSIAN = LayerDomain(eps="zero", hessian="zero")

# name, statement with a parameter, domain, the parameter's true value, its planted value, options
_TABLE: list[Any] = [
    ("y-hat-norm.constant", lambda x, c: eq(c * x.norm2(x.y_hat) * x.sigma**2, x.m * x.var), ANY, 1, 1.001),
    ("y-hat-norm.eps", lambda x, c: eq(x.norm2(x.y_hat), x.m), ZERO, 0, 0, {"planted_domain": ANY}),
    ("y-hat-norm.missing-m", lambda x, c: eq(x.norm2(x.y_hat) * x.sigma**2, x.m**c * x.var), ANY, 1, 0),
    ("y-dot-y-hat.eps", lambda x, c: eq(x.dot(x.y, x.y_hat), x.m * x.sigma), ZERO, 0, 0, {"planted_domain": ANY}),
    ("y-dot-y-hat.power", lambda x, c: eq(x.dot(x.y, x.y_hat), x.m * (x.sigma - x.eps / x.sigma**c)), ANY, 1, 0),
    ("variance.missing-mean", lambda x, c: eq(x.m * x.var, x.norm2(x.y) - c * x.m * x.mu**2), ANY, 1, 0),
    ("variance.constant", lambda x, c: eq(x.m * x.var, x.norm2(x.y) - c * x.m * x.mu**2), ANY, 1, 0.998),
    ("variance.bessel", lambda x, c: eq((x.m - c) * x.var, x.norm2(centre(x, x.y))), ANY, 0, 1),
    (
        "gradient.no-scale-part.eps",
        lambda x, c: eq(x.dot(x.y_hat, x.input_grad), 0),
        ZERO,
        0,
        0,
        {"planted_domain": ANY},
    ),
    (
        "gradient.scale-part.power",
        lambda x, c: eq(x.dot(x.y_hat, x.input_grad), x.gamma * x.eps / x.sigma**c * x.dot(x.y_hat, x.grad)),
        ANY,
        3,
        2,
    ),
    (
        "gradient.scale-part.sign",
        lambda x, c: eq(x.dot(x.y_hat, x.input_grad), c * x.gamma * x.eps / x.sigma**3 * x.dot(x.y_hat, x.grad)),
        ANY,
        1,
        -1,
    ),
    ("gradient.norm.constant", lambda x, c: eq(x.norm2(x.input_grad), c * _pg2(x)), ZERO, 1, 0.999),
    ("gradient.norm.shift-constant", lambda x, c: eq(x.norm2(x.input_grad), _pg2(x, c)), ZERO, 1, 1.001),
    ("gradient.norm.scale-constant", lambda x, c: le(x.norm2(x.input_grad), _pg2(x, 1, c)), ZERO, 1, 1.001),
    ("gradient.norm.missing-m", lambda x, c: le(x.norm2(x.input_grad), _pg2(x, 1, x.m**c)), ZERO, 0, 1),
    (
        "gradient.norm.eps-term",
        lambda x, c: eq(x.norm2(x.input_grad), _pg2(x, 1, 1 + c * x.eps / x.sigma**2)),
        ANY,
        1,
        0,
    ),
    (
        "gradient.norm.eps-constant",
        lambda x, c: eq(x.norm2(x.input_grad), _pg2(x, 1, 1 + c * x.eps / x.sigma**2)),
        ANY,
        1,
        1.02,
    ),
    ("gradient.bound.centred", lambda x, c: le(x.norm2(x.input_grad), c * _pg2(x, 1, 0)), ANY, 1, 0.999),
    ("gradient.bound.plain", lambda x, c: le(x.norm2(x.input_grad), c * _pg2(x, 0, 0)), ANY, 1, 0.999),
    (
        "gradient.inner.bessel",
        lambda x, c: eq(
            x.sigma * x.dot(x.grad, x.input_grad),
            x.gamma * (x.norm2(x.grad) - x.dot(x.one, x.grad) ** 2 / (x.m - c) - x.dot(x.y_hat, x.grad) ** 2 / x.m),
        ),
        ANY,
        0,
        1,
    ),
    (
        "gradient.eps-bound.constant",
        lambda x, c: le(c * x.eps * x.norm2(x.input_grad), x.gamma**2 * x.norm2(x.grad)),
        POSITIVE,
        1,
        1.01,
    ),
    (
        "gradient.dropped-shift-assumption",
        lambda x, c: eq(x.norm2(x.input_grad), _pg2(x, 0)),
        ZERO,
        0,
        0,
        {"assume": _no_shift, "planted_assume": None},
    ),
    (
        "gradient.dropped-scale-assumption",
        lambda x, c: eq(x.norm2(x.input_grad), _pg2(x, 1, 0)),
        ZERO,
        0,
        0,
        {"assume": _no_scale, "planted_assume": None},
    ),
    (
        "gradient.kept-scale-assumption.constant",
        lambda x, c: eq(x.norm2(x.input_grad), c * _pg2(x, 1, 0)),
        ZERO,
        1,
        1.002,
        {"assume": _no_scale},
    ),
    (
        "gradient.passes-unchanged.constant",
        lambda x, c: eq(x.input_grad, c * x.gamma / x.sigma * x.grad),
        ANY,
        1,
        1.003,
        {"assume": _no_shift_no_scale},
    ),
    (
        "gradient.gamma-is-sigma.constant",
        lambda x, c: le(x.norm2(x.input_grad), c * x.norm2(x.grad)),
        ZERO,
        1,
        0.99,
        {"assume": lambda x: [eq(x.gamma, x.sigma)]},
    ),
    (
        "gradient.strict.dropped-assumption",
        lambda x, c: lt(x.norm2(x.input_grad), _pg2(x, 0, 0)),
        LayerDomain(eps="zero", gamma="nonzero"),
        0,
        0,
        {"assume": lambda x: [gt(x.dot(x.one, x.grad) ** 2, 0)], "planted_assume": None},
    ),
    (
        "affine-share.eps",
        lambda x, c: eq(
            x.m * (_pg2(x, 0, 0) - x.norm2(x.input_grad)) * x.sigma**2,
            x.gamma**2 * (x.dot(x.one, x.grad) ** 2 + x.dot(x.y_hat, x.grad) ** 2),
        ),
        ZERO,
        0,
        0,
        {"planted_domain": ANY},
    ),
    ("cauchy.y-hat.constant", lambda x, c: le(x.dot(x.grad, x.y_hat) ** 2, c * x.m * x.norm2(x.grad)), ZERO, 1, 0.995),
    ("cauchy.one.constant", lambda x, c: le(x.dot(x.one, x.grad) ** 2, c * x.m * x.norm2(x.grad)), ANY, 1, 0.998),
    ("cauchy.one.bessel", lambda x, c: le(x.dot(x.one, x.grad) ** 2, (x.m - c) * x.norm2(x.grad)), ANY, 0, 1),
    (
        "cauchy.operator.not-psd",
        lambda x, c: le(
            x.dot(x.vector("u"), x.operator("K")(x.vector("v"))) ** 2,
            x.dot(x.vector("u"), x.operator("K")(x.vector("u"))) * x.dot(x.vector("v"), x.operator("K")(x.vector("v"))),
        ),
        _operator("K", "psd"),
        0,
        0,
        {"planted_domain": _operator("K", "any")},
    ),
    (
        "cauchy.operator.constant",
        lambda x, c: le(
            c * x.dot(x.vector("u"), x.operator("K")(x.vector("v"))) ** 2,
            x.dot(x.vector("u"), x.operator("K")(x.vector("u"))) * x.dot(x.vector("v"), x.operator("K")(x.vector("v"))),
        ),
        _operator("K", "psd"),
        1,
        1.001,
    ),
    (
        "centring.contracts.constant",
        lambda x, c: le(x.norm2(centre(x, x.vector("u"))), c * x.norm2(x.vector("u"))),
        replace(ANY, vectors=("u",)),
        1,
        0.999,
    ),
    ("samuelson.constant", _samuelson, LayerDomain(eps="any", vectors=("e@case",)), 1, 1.01),
    (
        "samuelson.missing-one",
        lambda x, c: le(x.dot(x.vector("e@case"), x.y_hat) ** 2, x.m - c),
        LayerDomain(eps="any", vectors=("e@case",)),
        1,
        1.05,
    ),
    (
        "parallelogram.constant",
        lambda x, c: eq(
            x.norm2(x.vector("u") + x.vector("v")) + x.norm2(x.vector("u") - x.vector("v")),
            2 * x.norm2(x.vector("u")) + c * x.norm2(x.vector("v")),
        ),
        replace(ZERO, **UV),
        2,
        2.01,
    ),
    (
        "triangle.constant",
        lambda x, c: le(
            sqrt(x.norm2(x.vector("u") + x.vector("v"))),
            c * (sqrt(x.norm2(x.vector("u"))) + sqrt(x.norm2(x.vector("v")))),
        ),
        replace(ZERO, **UV),
        1,
        0.995,
    ),
    (
        "young.constant",
        lambda x, c: le(
            c * x.dot(x.vector("u"), x.vector("v")),
            x.scalar("a") * x.norm2(x.vector("u")) + x.norm2(x.vector("v")) / x.scalar("a"),
        ),
        _scalar("positive", **UV),
        2,
        2.002,
    ),
    (
        "young.sign-of-a",
        lambda x, c: le(
            2 * x.dot(x.vector("u"), x.vector("v")),
            x.scalar("a") * x.norm2(x.vector("u")) + x.norm2(x.vector("v")) / x.scalar("a"),
        ),
        _scalar("positive", **UV),
        0,
        0,
        {"planted_domain": _scalar("nonzero", **UV)},
    ),
    (
        "convexity.a-outside",
        lambda x, c: le(
            x.norm2(x.scalar("a") * x.vector("u") + (1 - x.scalar("a")) * x.vector("v")),
            x.scalar("a") * x.norm2(x.vector("u")) + (1 - x.scalar("a")) * x.norm2(x.vector("v")),
        ),
        _scalar("unit", **UV),
        0,
        0,
        {"planted_domain": _scalar("nonnegative", **UV)},
    ),
    (
        "scale-invariance.sign",
        lambda x, c: eq(standardise(x, x.scalar("a") * x.y), x.y_hat),
        _scalar("positive"),
        0,
        0,
        {"planted_domain": _scalar("nonzero")},
    ),
    (
        "scale-invariance.eps",
        lambda x, c: eq(standardise(x, x.scalar("a") * x.y), x.y_hat),
        _scalar("positive"),
        0,
        0,
        {"planted_domain": _scalar("positive", "any")},
    ),
    (
        "scale-invariance.eps-power",
        lambda x, c: eq(standardise(x, x.scalar("a") * x.y, x.scalar("a") ** c * x.eps), x.y_hat),
        _scalar("positive", "any"),
        2,
        1,
    ),
    (
        "shift-invariance.constant",
        lambda x, c: eq(standardise(x, x.y + x.scalar("a") * (x.one + c * x.grad)), x.y_hat),
        _scalar("any", "positive"),
        0,
        0.01,
    ),
    ("idempotence.eps", lambda x, c: eq(standardise(x, x.y_hat), x.y_hat), ZERO, 0, 0, {"planted_domain": ANY}),
    (
        "variance-scales.power",
        lambda x, c: eq(x.norm2(centre(x, x.scalar("a") * x.y)), x.scalar("a") ** c * x.m * x.var),
        _scalar("any"),
        2,
        1,
    ),
    ("hessian.scale-direction.sign", lambda x, c: eq(x.input_hess(x.y), c * x.input_grad), ZERO, -1, 1),
    ("hessian.scale-direction.constant", lambda x, c: eq(x.input_hess(x.y), c * x.input_grad), ZERO, -1, -1.01),
    (
        "hessian.scale-direction.eps",
        lambda x, c: eq(x.input_hess(x.y), -1 * x.input_grad),
        ZERO,
        0,
        0,
        {"planted_domain": ANY},
    ),
    (
        "hessian.symmetric.constant",
        lambda x, c: eq(
            x.dot(x.vector("u"), x.input_hess(x.vector("v"))), c * x.dot(x.vector("v"), x.input_hess(x.vector("u")))
        ),
        replace(ANY, **UV),
        1,
        1.001,
    ),
    (
        "hessian.linear.power",
        lambda x, c: eq(
            x.input_hess(x.vector("u") + x.scalar("a") * x.vector("v")),
            x.input_hess(x.vector("u")) + x.scalar("a") ** c * x.input_hess(x.vector("v")),
        ),
        _scalar("any", "any", **UV),
        1,
        2,
    ),
    ("hessian.own-gradient.constant", _own_gradient, ZERO, 1, 1.001),
    ("hessian.own-gradient.eps", lambda x, c: _own_gradient(x, 1), ZERO, 0, 0, {"planted_domain": ANY}),
    (
        "hessian.no-loss-curvature.missing-m",
        lambda x, c: eq(
            x.m**c * x.sigma**2 * x.dot(x.input_grad, x.input_hess(x.input_grad)),
            -1 * x.gamma * x.dot(x.grad, x.y_hat) * x.norm2(x.input_grad),
        ),
        NO_HESSIAN,
        1,
        0,
    ),
    (
        "hessian.bound.not-psd",
        lambda x, c: ge(x.dot(x.vector("v"), x.input_hess(x.vector("v"))), _bend(x, x.vector("v"))),
        PSD,
        0,
        0,
        {"planted_domain": replace(PSD, hessian="any")},
    ),
    (
        "hessian.bound.constant",
        lambda x, c: ge(x.dot(x.vector("v"), x.input_hess(x.vector("v"))), c * _bend(x, x.vector("v"))),
        PSD,
        1,
        0.99,
    ),
    (
        "hessian.concave.gamma-sign",
        lambda x, c: implies(ge(x.dot(x.y_hat, x.grad), 0), le(x.dot(x.input_grad, x.input_hess(x.input_grad)), 0)),
        replace(NO_HESSIAN, gamma="positive"),
        0,
        0,
        {"planted_domain": replace(NO_HESSIAN, gamma="any")},
    ),
    (
        "mean-only.norm.power",
        lambda x, c: eq(x.norm2(x.input_grad), x.gamma**c * (x.norm2(x.grad) - x.dot(x.one, x.grad) ** 2 / x.m)),
        LayerDomain(normaliser="mean-only"),
        2,
        1,
    ),
    (
        "rms.no-scale-part.eps",
        lambda x, c: eq(x.dot(x.y, x.input_grad), 0),
        LayerDomain(eps="zero", normaliser="rms"),
        0,
        0,
        {"planted_domain": LayerDomain(normaliser="rms")},
    ),
    (
        "rms.keeps-the-mean",
        lambda x, c: eq(x.dot(x.one, x.input_grad), 0),
        LayerDomain(eps="zero"),
        0,
        0,
        {"planted_domain": LayerDomain(eps="zero", normaliser="rms")},
    ),
    (
        "frozen.constant",
        lambda x, c: eq(x.input_grad, c * x.gamma / x.sigma * x.grad),
        LayerDomain(eps="zero", normaliser="frozen"),
        1,
        1.001,
    ),
]

# Inequalities that are nearly attained only in a small corner of a space of ten or more dimensions, each off by 0.1 %.
_LARGER = {
    "gradient.bound.centred": 0.999,
    "gradient.bound.plain": 0.999,
    "gradient.norm.scale-constant": 1.001,
    "cauchy.y-hat.constant": 0.999,
    "cauchy.one.constant": 0.999,
    "cauchy.operator.constant": 1.001,
    "centring.contracts.constant": 0.999,
    "samuelson.constant": 1.001,
    "triangle.constant": 0.999,
    "young.constant": 2.002,
    "gradient.eps-bound.constant": 1.001,
    "hessian.bound.constant": 0.999,
}
_TABLE += [
    (f"{row[0]}.m-at-least-5", row[1], replace(row[2], min_m=5), row[3], _LARGER[row[0]], *row[5:])
    for row in _TABLE
    if row[0] in _LARGER
]

PAIRS: tuple[Pair, ...] = tuple(_pairs())
