"""Candidates of this project that no source states: exact forms, repairs and limits of the printed theorems."""

from __future__ import annotations

from bntheory.claims.claim import Source, claim, readings
from bntheory.layer import LayerDomain, Statement, all_of, batch_mean, centre, eq, ge, gt, iff, implies, le, lt
from bntheory.layer.vocabulary import Layer, Scalar, Vector

KEY = "bntheory2026"
EXACT = LayerDomain(eps="zero")


def own(place: str) -> Source:
    """This project's own statement, which no source prints."""
    return Source(KEY, place, seen="own")


def _has_gradient(layer: Layer) -> list[Statement]:
    return [gt(layer.norm2(layer.grad), 0)]


@claim(
    "bntheory2026.affine-share",
    source=own("gradient norm"),
    statement=r"1 - \frac{\|\nabla_y\hat L\|^2}{\frac{\gamma^2}{\sigma^2}\|g\|^2} = \frac{(\partial\hat L/\partial\beta)^2 + (\partial\hat L/\partial\gamma)^2}{m\|g\|^2}",
    domain=LayerDomain(eps="zero", gamma="nonzero"),
    assume=_has_gradient,
    note="What BN takes off the gradient beyond scaling are the gradients of its own affine parameters, on this batch.",
)
def affine_share(layer: Layer) -> Statement:
    norm2 = layer.norm2(layer.grad)
    left = 1 - layer.norm2(layer.input_grad) / (layer.gamma**2 / layer.sigma**2 * norm2)
    return eq(left, (layer.beta_grad**2 + layer.gamma_grad**2) / (layer.m * norm2))


@claim(
    "bntheory2026.theorem-4.1.eps",
    source=own("gradient norm, eps >= 0"),
    statement=r"\|\nabla_y\hat L\|^2 = \frac{\gamma^2}{\sigma^2}\Big(\|g\|^2 - \tfrac1m\langle 1,g\rangle^2 - \tfrac1m\big(1 + \tfrac{\varepsilon}{\sigma^2}\big)\langle g,\hat y\rangle^2\Big)",
    domain=LayerDomain(eps="any"),
    repairs="santurkar2018.theorem-4.1.eps",
    note="The printed bound becomes an equality; epsilon takes off more, not less, than the theorem says.",
)
def gradient_norm_eps(layer: Layer) -> Statement:
    g, dot, m = layer.grad, layer.dot, layer.m
    last = (1 + layer.eps / layer.sigma**2) * dot(g, layer.y_hat) ** 2 / m
    exact = layer.norm2(g) - dot(layer.one, g) ** 2 / m - last
    return eq(layer.norm2(layer.input_grad), layer.gamma**2 / layer.sigma**2 * exact)


@claim(
    "bntheory2026.theorem-4.2.eps",
    source=own("curvature along the gradient, eps >= 0"),
    statement=r"v^\top\hat H v = \frac{\gamma^2}{\sigma^2}u^\top H u - \frac{\gamma}{m\sigma^2}\langle g,\hat y\rangle\Big(\big(1 + \tfrac{2\varepsilon}{\sigma^2}\big)\|v\|^2 - \frac{\langle \hat y, v\rangle^2}{m}\Big),\quad u = v - \tfrac1m\langle\hat y,v\rangle\hat y",
    domain=LayerDomain(eps="any"),
    repairs="santurkar2018.theorem-4.2.first.eps",
    note="At eps = 0 the gradient v is orthogonal to y_hat, u = v, and Theorem 4.2's first inequality is an equality.",
)
def curvature_eps(layer: Layer) -> Statement:
    v, y_hat, dot, m = layer.input_grad, layer.y_hat, layer.dot, layer.m
    sigma2 = layer.sigma**2
    along = dot(y_hat, v)
    u = v - along / m * y_hat
    bend = (1 + 2 * layer.eps / sigma2) * layer.norm2(v) - along**2 / m
    right = layer.gamma**2 / sigma2 * dot(u, layer.hess(u))
    right = right - layer.gamma / (m * sigma2) * dot(layer.grad, y_hat) * bend
    return eq(dot(v, layer.input_hess(v)), right)


@claim(
    "bntheory2026.theorem-4.2.eps.equality-at-zero",
    source=own("curvature along the gradient"),
    statement=r"\varepsilon = 0:\quad v^\top\hat H v = \frac{\gamma^2}{\sigma^2}v^\top H v - \frac{\gamma}{m\sigma^2}\langle g,\hat y\rangle\|v\|^2",
    domain=EXACT,
    repairs="santurkar2018.theorem-4.2.first",
    note="The printed inequality is an equality.",
)
def curvature_equality(layer: Layer) -> Statement:
    v, sigma2 = layer.input_grad, layer.sigma**2
    scaled = layer.gamma**2 / sigma2 * layer.dot(v, layer.hess(v))
    separation = layer.gamma / (layer.m * sigma2) * layer.dot(layer.grad, layer.y_hat) * layer.norm2(v)
    return eq(layer.dot(v, layer.input_hess(v)), scaled - separation)


def projected(layer: Layer, v: Vector) -> Vector:
    """P v: v without its parts along 1 and y_hat (eps = 0: <y_hat, y_hat> = m)."""
    return centre(layer, v) - layer.dot(layer.y_hat, v) / layer.m * layer.y_hat


def grad_perp(layer: Layer) -> Vector:
    """P g."""
    return projected(layer, layer.grad)


SQUARED_LOSS = LayerDomain(eps="zero", gamma="nonzero", hessian="identity", min_m=3, vectors=("d",))


def _orthogonal_direction(layer: Layer) -> list[Statement]:
    d = layer.vector("d")
    return [eq(layer.dot(d, v), 0) for v in (layer.one, layer.y_hat, layer.grad)]


@claim(
    "bntheory2026.squared-loss.spectrum",
    source=own("squared loss, eps = 0"),
    statement=r"\hat H 1 = 0,\quad \hat H\hat y = -\tfrac{\gamma}{\sigma^2}g_\perp,\quad \hat H g_\perp = \tfrac{\gamma^2}{\sigma^2}\big((1-\rho)g_\perp - \tfrac{\|g_\perp\|^2}{m\gamma}\hat y\big),\quad \hat H d = \tfrac{\gamma^2}{\sigma^2}(1-\rho)d,\qquad \rho = \frac{\langle\hat y,g\rangle}{m\gamma}",
    domain=SQUARED_LOSS,
    assume=_orthogonal_direction,
    note=(
        "d is any direction orthogonal to 1, y_hat and g. The four identities give every eigenvalue: 0 once, "
        "(gamma^2/sigma^2)(1-rho) m-3 times, and the two roots of mu^2 - (1-rho) mu - tau^2 = 0 with tau^2 = ||g_perp||^2/(m gamma^2), "
        "times gamma^2/sigma^2."
    ),
)
def squared_loss_spectrum(layer: Layer) -> Statement:
    scale = layer.gamma**2 / layer.sigma**2
    perp, d, m = grad_perp(layer), layer.vector("d"), layer.m
    rho = layer.dot(layer.y_hat, layer.grad) / (m * layer.gamma)
    tilt = layer.norm2(perp) / (m * layer.gamma)
    return all_of(
        eq(layer.input_hess(layer.one), 0 * layer.one, "1"),
        eq(layer.input_hess(layer.y_hat), -layer.gamma / layer.sigma**2 * perp, "y_hat"),
        eq(layer.input_hess(perp), scale * ((1 - rho) * perp - tilt * layer.y_hat), "g_perp"),
        eq(layer.input_hess(d), scale * (1 - rho) * d, "d"),
    )


def curvature_below_twin(layer: Layer) -> Statement:
    """gamma <y_hat, g> >= ||P g||^2: BN's largest eigenvalue does not exceed the frozen twin's (squared loss, eps = 0,
    m >= 3)."""
    return ge(layer.gamma * layer.gamma_grad, layer.norm2(grad_perp(layer)))


def witness_direction(layer: Layer) -> Vector:
    """The direction along which BN is more curved than its twin where the condition fails."""
    perp = grad_perp(layer)
    return layer.norm2(perp) / (layer.m * layer.gamma) * layer.y_hat - perp


@claim(
    "bntheory2026.squared-loss.condition",
    source=own("squared loss, eps = 0"),
    statement=r"\lambda_{\max}(\hat H) \le \frac{\gamma^2}{\sigma^2}\lambda_{\max}(H) \iff \gamma\,\partial\hat L/\partial\gamma \ge \|Pg\|^2 \qquad (m \ge 3)",
    domain=SQUARED_LOSS,
    assume=lambda layer: [gt(layer.norm2(grad_perp(layer)), 0)],
    note=(
        "Stated with the arbitrary direction d for 'if' and an explicit direction for 'only if'. Where gamma is stationary the right "
        "side is 0 >= ||Pg||^2: BN's top eigenvalue is then never below its frozen twin's."
    ),
)
def squared_loss_condition(layer: Layer) -> Statement:
    d, w = layer.vector("d"), witness_direction(layer)
    twin = layer.gamma**2 / layer.sigma**2
    condition = curvature_below_twin(layer)
    return all_of(
        implies(condition, le(layer.dot(d, layer.input_hess(d)), twin * layer.norm2(d), "if")),
        iff(condition, le(layer.dot(w, layer.input_hess(w)), twin * layer.norm2(w), "only if")),
    )


def _curvature_bound(layer: Layer) -> list[Statement]:
    """H <= h I, at the one direction where the claim uses it: P d."""
    u = projected(layer, layer.vector("d"))
    return [le(layer.dot(u, layer.hess(u)), layer.scalar("h") * layer.norm2(u))]


@claim(
    "bntheory2026.any-loss.sufficient",
    source=own("any loss, eps = 0"),
    statement=r"H \preceq hI,\ h > 0:\quad \gamma h\langle\hat y,g\rangle \ge \|Pg\|^2 \implies \lambda_{\max}(\hat H) \le \frac{\gamma^2}{\sigma^2}h",
    domain=LayerDomain(eps="zero", gamma="nonzero", scalars={"h": "positive"}, vectors=("d",)),
    assume=_curvature_bound,
    reading="h is the largest eigenvalue of H, so the right side is the frozen twin's; d is any direction",
    note="Sufficient for every loss; for squared loss, H = I, the condition is necessary as well.",
)
def any_loss_sufficient(layer: Layer) -> Statement:
    d, h = layer.vector("d"), layer.scalar("h")
    condition = ge(layer.gamma * h * layer.gamma_grad, layer.norm2(grad_perp(layer)))
    bound = layer.gamma**2 / layer.sigma**2 * h * layer.norm2(d)
    return implies(condition, le(layer.dot(d, layer.input_hess(d)), bound))


def _gram(layer: Layer, v: Vector) -> Scalar:
    """||X'v||^2 where y = Xw: X X' = s y y' + M with s = 1/||w||^2 and M positive semidefinite."""
    return layer.scalar("s") * layer.dot(layer.y, v) ** 2 + layer.dot(v, layer.operator("M")(v))


def _weight_space(layer: Layer) -> Statement:
    """||X' input_grad||^2 <= gamma^2/sigma^2 ||X' g||^2."""
    return le(_gram(layer, layer.input_grad), layer.gamma**2 / layer.sigma**2 * _gram(layer, layer.grad))


_WEIGHT_SPACE = r"\|X^\top\nabla_y\hat L\| \le \frac{|\gamma|}{\sigma}\|X^\top g\|"
GRAM = LayerDomain(eps="zero", scalars={"s": "positive"}, operators={"M": "psd"})


@claim(
    "bntheory2026.weight-space.any-inputs",
    source=own("gradient in the weights, y = Xw"),
    statement=_WEIGHT_SPACE,
    domain=GRAM,
    reading="X X' = s y y' + M, s = 1/||w||^2 and M any positive semidefinite operator: so it is for y = Xw, and nothing else is asked of X",
    note="The reduction of the gradient in y need not carry over to the weights.",
)
def weight_space_any(layer: Layer) -> Statement:
    return _weight_space(layer)


def _projection(layer: Layer) -> list[Statement]:
    """What <k, .> satisfies for k = Qg, Q the orthogonal projection on the range of X: Q1 = 0, Q y_hat = y_hat, Q^2 = Q
    = Q'."""
    k, g, dot = layer.vector("k"), layer.grad, layer.dot
    return [eq(dot(k, layer.one), 0), eq(dot(k, layer.y_hat), dot(g, layer.y_hat)), eq(dot(k, k), dot(k, g))]


@claim(
    "bntheory2026.weight-space.whitened-inputs",
    source=own("gradient in the weights, y = Xw"),
    statement=_WEIGHT_SPACE + r",\qquad X^\top 1 = 0,\ X^\top X = mI",
    domain=LayerDomain(eps="zero", vectors=("k",)),
    assume=_projection,
    reading=(
        "X X'/m is the orthogonal projection Q on the range of X, which contains y_hat and is orthogonal to 1; k = Qg, "
        "||X'g||^2 = m ||k||^2 and Q input_grad = (gamma/sigma)(k - <y_hat,g>/m y_hat)"
    ),
)
def weight_space_whitened(layer: Layer) -> Statement:
    k = layer.vector("k")
    image = k - layer.dot(layer.y_hat, layer.grad) / layer.m * layer.y_hat
    slope2 = layer.gamma**2 / layer.sigma**2
    return le(slope2 * layer.m * layer.norm2(image), slope2 * layer.m * layer.norm2(k))


def _amplification(layer: Layer, u: Vector, cq: Vector) -> Scalar:
    """A^2 = ||y_hat||^2 ||Cq||^2/m^2."""
    return layer.norm2(u) * layer.norm2(cq) / layer.m**2


def _dual_pair(layer: Layer) -> list[Statement]:
    u, cq = layer.vector("u"), layer.vector("cq")
    return [eq(layer.dot(layer.one, u), 0), eq(layer.dot(layer.one, cq), 0), eq(layer.dot(cq, u), layer.m)]


@claim(
    "bntheory2026.lp.amplification",
    source=own("l_p normalisation, every p"),
    statement=r"\max_g \frac{\|C(g - q\langle\hat y,g\rangle/m)\|}{\|g\|} = \frac{\|\hat y\|\,\|Cq\|}{m} \ge 1, \text{ and } 1 \text{ only where } Cq \parallel \hat y, \qquad q = |\hat y|^{p-1}\mathrm{sign}(\hat y)",
    domain=LayerDomain(min_m=3, vectors=("u", "cq", "d")),
    assume=_dual_pair,
    reading=(
        "u stands for y_hat, d for g; of q only its centred part Cq enters, and of that only <Cq, y_hat> = sum |y_hat|^p = m is used, "
        "so this holds for every p at once"
    ),
    note="Reached at g = (||Cq||^2/m) y_hat - Cq; where that vanishes, Cq is parallel to y_hat and the factor is 1.",
)
def lp_amplification(layer: Layer) -> Statement:
    u, cq, d = layer.vector("u"), layer.vector("cq"), layer.vector("d")
    factor = _amplification(layer, u, cq)
    top = layer.norm2(cq) / layer.m * u - cq

    def beyond_scaling(g: Vector) -> Vector:
        return centre(layer, g) - layer.dot(u, g) / layer.m * cq

    return all_of(
        le(layer.norm2(beyond_scaling(d)), factor * layer.norm2(d), "bound"),
        eq(layer.norm2(beyond_scaling(top)), factor * layer.norm2(top), "reached"),
        le(1, factor, "at least one"),
        iff(le(factor, 1), eq(layer.norm2(cq) * u, layer.m * cq, "one only where parallel")),
    )


@readings(
    claim(
        "bntheory2026.lp.amplification.l1",
        source=own("l_1 normalisation"),
        statement=r"\|\nabla_y\hat L\| \le \frac{|\gamma|}{s}\frac{\|\hat y\|\,\|Cq\|}{m}\|g\|, \qquad q = \mathrm{sign}(\hat y)",
        domain=LayerDomain(eps="zero", min_m=3, normaliser="l1"),
        repairs="santurkar2018.lp-normalisation.gradient-bound.l1",
    ),
    claim(
        "bntheory2026.lp.amplification.linf",
        source=own("l_inf normalisation"),
        statement=r"\|\nabla_y\hat L\| \le \frac{|\gamma|}{s}\frac{\|\hat y\|\,\|Cq\|}{m}\|g\|, \qquad q = m\,\mathrm{sign}(\hat y_k)e_k",
        domain=LayerDomain(eps="zero", min_m=3, normaliser="linf"),
        repairs="santurkar2018.lp-normalisation.gradient-bound.linf",
    ),
)
def lp_amplification_of_layers(layer: Layer) -> Statement:
    factor = _amplification(layer, layer.y_hat, centre(layer, layer.dual))
    scaled = layer.gamma**2 / layer.sigma**2 * factor
    return all_of(le(layer.norm2(layer.input_grad), scaled * layer.norm2(layer.grad)), le(1, factor))


@claim(
    "bntheory2026.scale-direction",
    source=own("along the batch itself"),
    statement=r"\varepsilon = 0:\quad \hat H (y - \mu 1) = -\nabla_y\hat L",
    domain=EXACT,
    note="BN's Hessian is never zero where its gradient is not, whatever the loss: even a linear loss becomes curved.",
)
def scale_direction(layer: Layer) -> Statement:
    y = layer.y - batch_mean(layer, layer.y) * layer.one
    return eq(layer.input_hess(y), -1 * layer.input_grad)


@claim(
    "bntheory2026.linear-loss.never-smoother",
    source=own("linear loss"),
    statement=r"H = 0:\quad \nabla_y\hat L \ne 0 \implies \exists u:\ u^\top \hat H u > 0",
    domain=LayerDomain(eps="zero", hessian="zero"),
    assume=lambda layer: [gt(layer.norm2(layer.input_grad), 0)],
    note="The frozen twin of a linear loss has no curvature at all; BN's Hessian has a positive eigenvalue at every such point.",
)
def linear_loss_is_curved(layer: Layer) -> Statement:
    v = layer.input_grad
    y = centre(layer, layer.y)
    # u = s y - v with s > max(0, b): u'Hu = 2 s ||v||^2 + v'Hv, since y'Hy = 0 and y'Hv = -||v||^2
    bend = layer.dot(v, layer.input_hess(v)) / layer.norm2(v)
    s = 1 + bend**2
    u = s * y - v
    return lt(0, layer.dot(u, layer.input_hess(u)))
