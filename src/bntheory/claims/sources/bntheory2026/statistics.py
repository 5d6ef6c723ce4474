r"""What each statistic of batch normalisation does: the mean's dependence, the variance's, several units, and eps.

Partial twins of one unit. With the variance frozen the layer is mean subtraction (``mean-only``, gamma standing for
gamma/sigma); with the mean frozen at its value it is division by the root mean square (``rms``) of activations whose
mean is zero.

    mean alone      (gamma/sigma)^2 C H C,  C = I - 11'/m                     a compression of the twin's Hessian
    variance alone  (gamma/sigma)^2 Q H Q - gamma/(m sigma^2) [<y_hat,g> Q + (Q g) y_hat' + y_hat (Q g)'],
                    Q = I - y_hat y_hat'/m

So the mean's dependence can only take curvature away; the variance's also bends, and may add some.
"""

from __future__ import annotations

from bntheory.claims.claim import claim
from bntheory.claims.sources.bntheory2026.layer import grad_perp, own, projected
from bntheory.layer import LayerDomain, Statement, all_of, batch_mean, centre, eq, ge, gt, iff, implies, le
from bntheory.layer.vocabulary import Layer, Scalar, Vector


def _scaled_bound(layer: Layer, v: Vector) -> Scalar:
    """gamma^2/sigma^2 h ||v||^2: what the frozen twin's largest curvature h allows along v."""
    return layer.gamma**2 / layer.sigma**2 * layer.scalar("h") * layer.norm2(v)


MEAN_ALONE = LayerDomain(gamma="nonzero", normaliser="mean-only", vectors=("d",))


@claim(
    "bntheory2026.mean-alone.compression",
    source=own("the mean's dependence"),
    statement=r"d^\top\hat H_{\text{mean}}\,d = \gamma^2\,(Cd)^\top H\,(Cd), \qquad \hat H_{\text{mean}}\,1 = 0",
    domain=MEAN_ALONE,
    note="With the variance frozen at sigma, gamma stands for gamma/sigma. No term beside the compression: the mean's dependence bends nothing.",
)
def mean_alone_compression(layer: Layer) -> Statement:
    d = layer.vector("d")
    c = centre(layer, d)
    return all_of(
        eq(layer.dot(d, layer.input_hess(d)), layer.gamma**2 * layer.dot(c, layer.hess(c)), "quadratic form"),
        eq(layer.norm2(layer.input_hess(layer.one)), 0, "kernel"),
    )


def _bounded_when_centred(layer: Layer) -> list[Statement]:
    c = centre(layer, layer.vector("d"))
    return [le(layer.dot(c, layer.hess(c)), layer.scalar("h") * layer.norm2(c))]


@claim(
    "bntheory2026.mean-alone.never-rougher",
    source=own("the mean's dependence"),
    statement=r"H \preceq hI,\ h \ge 0 \implies \hat H_{\text{mean}} \preceq \gamma^2 h I",
    domain=LayerDomain(gamma="nonzero", normaliser="mean-only", vectors=("d",), scalars={"h": "nonnegative"}),
    assume=_bounded_when_centred,
    reading="d is any direction; H is bounded by h along its centred part, which is less than is assumed",
    note="For every loss: subtracting the mean never raises the largest curvature of a unit above the frozen twin's.",
)
def mean_alone_never_rougher(layer: Layer) -> Statement:
    d = layer.vector("d")
    return le(layer.dot(d, layer.input_hess(d)), layer.gamma**2 * layer.scalar("h") * layer.norm2(d))


VARIANCE_ALONE = LayerDomain(
    eps="zero", gamma="nonzero", normaliser="rms", vectors=("d",), scalars={"h": "nonnegative"}
)


def _without_variance_direction(layer: Layer, v: Vector) -> Vector:
    """Q v = v - y_hat <y_hat, v>/m."""
    return v - layer.y_hat * (layer.dot(layer.y_hat, v) / layer.m)


def _frozen_mean(layer: Layer) -> list[Statement]:
    q = _without_variance_direction(layer, layer.vector("d"))
    return [
        eq(layer.dot(layer.one, layer.y_hat), 0),
        le(layer.dot(q, layer.hess(q)), layer.scalar("h") * layer.norm2(q)),
    ]


@claim(
    "bntheory2026.variance-alone.never-rougher",
    source=own("the variance's dependence"),
    statement=r"H \preceq hI,\ h \ge 0 \implies \hat H_{\text{var}} \preceq \frac{\gamma^2}{\sigma^2} h I",
    domain=VARIANCE_ALONE,
    assume=_frozen_mean,
    reading="d is any direction; the activations have mean zero, so that freezing the mean leaves division by the root mean square",
    note="The counterpart of mean-alone.never-rougher; the two statistics differ here.",
)
def variance_alone_never_rougher(layer: Layer) -> Statement:
    d = layer.vector("d")
    return le(layer.dot(d, layer.input_hess(d)), _scaled_bound(layer, d))


@claim(
    "bntheory2026.variance-alone.condition",
    source=own("the variance's dependence"),
    statement=r"H \preceq hI,\ h > 0:\quad \gamma h\langle\hat y,g\rangle \ge \|Qg\|^2 \implies \hat H_{\text{var}} \preceq \frac{\gamma^2}{\sigma^2} h I",
    domain=LayerDomain(eps="zero", gamma="nonzero", normaliser="rms", vectors=("d",), scalars={"h": "positive"}),
    assume=_frozen_mean,
    reading="as variance-alone.never-rougher, Q = I - y_hat y_hat'/m",
    repairs="bntheory2026.variance-alone.never-rougher",
    note="Qg still holds the gradient's mean, which the full layer's Pg has lost: the condition is harder to meet than that of any-loss.sufficient.",
)
def variance_alone_condition(layer: Layer) -> Statement:
    d, h = layer.vector("d"), layer.scalar("h")
    rest = _without_variance_direction(layer, layer.grad)
    condition = ge(layer.gamma * h * layer.gamma_grad, layer.norm2(rest))
    return implies(condition, le(layer.dot(d, layer.input_hess(d)), _scaled_bound(layer, d)))


@claim(
    "bntheory2026.several-units.condition",
    source=own("several units with any cross-unit Hessian, eps = 0"),
    statement=r"h > 0,\ \gamma h\langle\hat y,g\rangle \ge \|Pg\|^2 \implies d^\top\hat H d - \frac{\gamma^2}{\sigma^2}(Pd)^\top H (Pd) \le \frac{\gamma^2}{\sigma^2} h\big(\|d\|^2 - \|Pd\|^2\big)",
    domain=LayerDomain(eps="zero", gamma="nonzero", vectors=("d",), scalars={"h": "positive"}),
    reading=(
        "one unit's part of a layer of several units. With the units' Hessian blocks H_ab of any kind, bounded together by h, the blocks "
        "(gamma_a/sigma_a) P_a H_ab P_b (gamma_b/sigma_b) make at most h sum_a (gamma_a/sigma_a)^2 ||P_a d_a||^2; everything else is a "
        "sum over units, so where every unit meets the condition the layer's curvature along (d_a) is at most the bound of the frozen twin, "
        "h sum_a (gamma_a/sigma_a)^2 ||d_a||^2"
    ),
    note="The condition of any-loss.sufficient, unit by unit and with the common h, carries over to layers of several units.",
)
def several_units_condition(layer: Layer) -> Statement:
    d, h = layer.vector("d"), layer.scalar("h")
    p = projected(layer, d)
    scale = layer.gamma**2 / layer.sigma**2
    bend = layer.dot(d, layer.input_hess(d)) - scale * layer.dot(p, layer.hess(p))
    room = scale * h * (layer.norm2(d) - layer.norm2(p))
    condition = ge(layer.gamma * h * layer.gamma_grad, layer.norm2(grad_perp(layer)))
    return implies(condition, le(bend, room))


def _isotropic(layer: Layer) -> list[Statement]:
    p = grad_perp(layer)
    return [gt(layer.norm2(p), 0), eq(layer.dot(p, layer.hess(p)), layer.scalar("h") * layer.norm2(p))]


@claim(
    "bntheory2026.several-units.necessary",
    source=own("several units, H = h I"),
    statement=r"H = hI,\ h > 0:\quad \gamma h\langle\hat y,g\rangle \ge \|Pg\|^2 \iff w^\top\hat H w \le \frac{\gamma^2}{\sigma^2} h\|w\|^2, \qquad w = \frac{\|Pg\|^2}{m\gamma h}\hat y - Pg",
    domain=LayerDomain(eps="zero", gamma="nonzero", hessian="isotropic", scalars={"h": "positive"}, min_m=3),
    assume=_isotropic,
    reading="a unit that misses the condition has a direction of its own along which the layer is rougher than its twin, whatever the other units do",
    note="For H = h I over all units the condition of several-units.condition is therefore exact: each unit must meet it.",
)
def several_units_necessary(layer: Layer) -> Statement:
    p, h = grad_perp(layer), layer.scalar("h")
    w = layer.norm2(p) / (layer.m * layer.gamma * h) * layer.y_hat - p
    condition = ge(layer.gamma * h * layer.gamma_grad, layer.norm2(p))
    return iff(condition, le(layer.dot(w, layer.input_hess(w)), _scaled_bound(layer, w)))


@claim(
    "bntheory2026.eps.statistics",
    source=own("what eps does to each statistic"),
    statement=r"\langle 1,\nabla_y\hat L\rangle = 0, \qquad \langle\hat y,\nabla_y\hat L\rangle = \frac{\gamma}{\sigma}\,\frac{\varepsilon}{\sigma^2}\,\langle\hat y,g\rangle \quad\text{at every } \varepsilon \ge 0",
    domain=LayerDomain(eps="any"),
    note="The mean's projection does not feel eps; of the variance's direction the share eps/sigma^2 comes back.",
)
def eps_statistics(layer: Layer) -> Statement:
    left = layer.dot(layer.y_hat, layer.input_grad)
    right = layer.gamma / layer.sigma * layer.eps / layer.sigma**2 * layer.gamma_grad
    return all_of(eq(batch_mean(layer, layer.input_grad), 0, "mean"), eq(left, right, "variance"))
