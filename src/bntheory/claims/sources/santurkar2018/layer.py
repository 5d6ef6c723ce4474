"""Santurkar, Tsipras, Ilyas and Madry: How does batch normalization help optimization? NeurIPS 2018, arXiv 1805.11604.

Setting: one BN layer after one fully connected W, gamma and beta constants, no epsilon, gradient and Hessian of the
downstream loss at z. Here are the statements about one layer; those about landscapes stand in :mod:`.landscape`.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim, readings
from bntheory.layer import LayerDomain, Statement, all_of, batch_mean, centre, eq, ge, gt, le, lt, sqrt
from bntheory.layer.vocabulary import Layer, Scalar

KEY = "santurkar2018"
EXACT = LayerDomain(eps="zero")


def _bound_41(layer: Layer, last: Scalar) -> Scalar:
    """gamma^2/sigma^2 (||g||^2 - <1,g>^2/m - last)."""
    g = layer.grad
    scaling = layer.gamma**2 / layer.sigma**2
    return scaling * (layer.norm2(g) - layer.dot(layer.one, g) ** 2 / layer.m - last)


@claim(
    "santurkar2018.theorem-4.1.neurips",
    source=Source(KEY, "Theorem 4.1", "proceedings and arXiv v3"),
    statement=r"\|\nabla_y \hat L\|^2 \le \frac{\gamma^2}{\sigma^2}\Big(\|g\|^2 - \tfrac1m\langle 1,g\rangle^2 - \tfrac1{\sqrt m}\langle g,\hat y\rangle^2\Big)",
    domain=EXACT,
)
def gradient_norm_neurips(layer: Layer) -> Statement:
    last = layer.dot(layer.grad, layer.y_hat) ** 2 / sqrt(layer.m)
    return le(layer.norm2(layer.input_grad), _bound_41(layer, last))


@claim(
    "santurkar2018.theorem-4.1.arxiv",
    source=Source(KEY, "Theorem 4.1", "later arXiv version"),
    statement=r"\|\nabla_y \hat L\|^2 \le \frac{\gamma^2}{\sigma^2}\Big(\|g\|^2 - \tfrac1m\langle 1,g\rangle^2 - \tfrac1m\langle g,\hat y\rangle^2\Big)",
    domain=EXACT,
    repairs="santurkar2018.theorem-4.1.neurips",
)
def gradient_norm_arxiv(layer: Layer) -> Statement:
    last = layer.dot(layer.grad, layer.y_hat) ** 2 / layer.m
    return le(layer.norm2(layer.input_grad), _bound_41(layer, last))


@claim(
    "santurkar2018.theorem-4.1.eps",
    source=Source(KEY, "Theorem 4.1", "later arXiv version"),
    statement=r"\text{as printed with } \tfrac1m, \quad \sigma = \sqrt{\mathrm{var} + \varepsilon},\ \varepsilon > 0",
    domain=LayerDomain(eps="positive"),
    reading="epsilon as practice uses it, in sigma and in y_hat alike",
)
def gradient_norm_eps(layer: Layer) -> Statement:
    return le(layer.norm2(layer.input_grad), _bound_41(layer, layer.dot(layer.grad, layer.y_hat) ** 2 / layer.m))


def _two_points(layer: Layer) -> list[Statement]:
    z = layer.gamma * layer.y_hat + layer.beta * layer.one
    return [gt(layer.norm2(layer.y - z), 0)]


@claim(
    "santurkar2018.theorem-4.1.at-y",
    source=Source(KEY, "Theorem 4.1", "later arXiv version"),
    statement=r"\|\nabla_y \hat L\|^2 \le \frac{\gamma^2}{\sigma^2}\Big(\|g\|^2 - \tfrac1m\langle 1,g\rangle^2 - \tfrac1m\langle g,\hat y\rangle^2\Big),\quad g = \nabla L(y)",
    domain=LayerDomain(eps="zero", vectors=("grad_at_y",)),
    assume=_two_points,
    reading=(
        "g is the gradient of the separate standard network, at y; for a general loss the gradients at two distinct points y and z "
        "are unrelated vectors"
    ),
    note="For any two vectors there is a smooth loss with one as its gradient at y and the other as its gradient at z, y != z.",
)
def gradient_norm_at_y(layer: Layer) -> Statement:
    g, dot = layer.vector("grad_at_y"), layer.dot
    bound = layer.norm2(g) - dot(layer.one, g) ** 2 / layer.m - dot(g, layer.y_hat) ** 2 / layer.m
    return le(layer.norm2(layer.input_grad), layer.gamma**2 / layer.sigma**2 * bound)


@claim(
    "santurkar2018.theorem-4.1.affine-gradients",
    source=Source(KEY, "Theorem 4.1, the subtracted terms", ""),
    statement=r"\langle 1, g\rangle = \partial\hat L/\partial\beta, \qquad \langle g, \hat y\rangle = \partial\hat L/\partial\gamma",
    domain=LayerDomain(eps="any"),
    note="An observation of this project on the printed terms: what is subtracted can be read off any network for free.",
)
def affine_gradients(layer: Layer) -> Statement:
    return all_of(
        eq(layer.dot(layer.one, layer.grad), layer.beta_grad, "beta"),
        eq(layer.dot(layer.grad, layer.y_hat), layer.gamma_grad, "gamma"),
    )


@claim(
    "santurkar2018.theorem-4.1.reduction-persists",
    source=Source(KEY, "after Theorem 4.1", ""),
    statement=r"\langle g, \hat y\rangle \text{ is bounded away from zero}",
    domain=EXACT,
    assume=lambda layer: [gt(layer.norm2(layer.grad), 0)],
    reading="for every layer with a non-zero gradient, <g, y_hat>^2 > 0; no weaker bound can hold if this fails",
)
def reduction_persists(layer: Layer) -> Statement:
    return gt(layer.dot(layer.grad, layer.y_hat) ** 2, 0)


def _curvature_along_gradient(layer: Layer) -> Scalar:
    v = layer.input_grad
    return layer.dot(v, layer.input_hess(v))


@readings(
    claim(
        "santurkar2018.theorem-4.2.first",
        source=Source(KEY, "Theorem 4.2, first inequality", "arXiv v3"),
        statement=r"v^\top \frac{\partial^2 \hat L}{\partial y^2} v \le \frac{\gamma^2}{\sigma^2} v^\top H v - \frac{\gamma}{m\sigma^2}\langle g,\hat y\rangle\|v\|^2,\quad v = \nabla_y\hat L",
        domain=EXACT,
    ),
    claim(
        "santurkar2018.theorem-4.2.first.eps",
        source=Source(KEY, "Theorem 4.2, first inequality", "arXiv v3"),
        statement=r"\text{the same with } \sigma = \sqrt{\mathrm{var} + \varepsilon},\ \varepsilon > 0",
        domain=LayerDomain(eps="positive"),
        reading="epsilon as practice uses it",
    ),
)
def curvature_first(layer: Layer) -> Statement:
    v, sigma2 = layer.input_grad, layer.sigma**2
    bound = layer.gamma**2 / sigma2 * layer.dot(v, layer.hess(v))
    separation = layer.gamma / (layer.m * sigma2) * layer.dot(layer.grad, layer.y_hat) * layer.norm2(v)
    return le(_curvature_along_gradient(layer), bound - separation)


_SECOND = r"v^\top \frac{\partial^2 \hat L}{\partial y^2} v \le \frac{\gamma^2}{\sigma^2}\Big(g^\top H g - \frac{1}{m\gamma}\langle g,\hat y\rangle\|v\|^2\Big)"


@readings(
    claim(
        "santurkar2018.theorem-4.2.second.unconditional",
        source=Source(KEY, "Theorem 4.2, second inequality", "arXiv v3"),
        statement=_SECOND,
        domain=LayerDomain(eps="zero", gamma="positive"),
        reading="no assumption on H",
    ),
    claim(
        "santurkar2018.theorem-4.2.second.isotropic",
        source=Source(KEY, "Theorem 4.2, second inequality", "arXiv v3"),
        statement=_SECOND,
        domain=LayerDomain(eps="zero", gamma="positive", hessian="isotropic"),
        reading="'H preserves the relative norms of g and v' read as: H is a multiple of the identity",
    ),
    claim(
        "santurkar2018.theorem-4.2.second.isotropic.positive",
        source=Source(KEY, "Theorem 4.2, second inequality", "arXiv v3"),
        statement=_SECOND,
        domain=LayerDomain(eps="zero", gamma="positive", hessian="isotropic"),
        assume=lambda layer: [gt(layer.dot(layer.grad, layer.hess(layer.grad)), 0)],
        reading="H is a positive multiple of the identity",
    ),
    claim(
        "santurkar2018.theorem-4.2.second.isotropic.small-gamma",
        source=Source(KEY, "Theorem 4.2, second inequality", "arXiv v3"),
        statement=_SECOND,
        domain=LayerDomain(eps="zero", gamma="nonzero", hessian="isotropic"),
        assume=lambda layer: [ge(layer.dot(layer.grad, layer.hess(layer.grad)), 0), le(layer.gamma**2, layer.sigma**2)],
        reading="H is a non-negative multiple of the identity and |gamma| <= sigma: then v is no longer than g",
        repairs="santurkar2018.theorem-4.2.second.isotropic.positive",
    ),
    claim(
        "santurkar2018.theorem-4.2.second.quadratic-forms",
        source=Source(KEY, "Theorem 4.2, second inequality", "arXiv v3"),
        statement=_SECOND,
        domain=LayerDomain(eps="zero", gamma="positive"),
        assume=lambda layer: [
            le(layer.dot(layer.input_grad, layer.hess(layer.input_grad)), layer.dot(layer.grad, layer.hess(layer.grad)))
        ],
        reading="'H preserves the relative norms of g and v' read as: v'Hv <= g'Hg",
        repairs="santurkar2018.theorem-4.2.second.unconditional",
    ),
)
def curvature_second(layer: Layer) -> Statement:
    g, v = layer.grad, layer.input_grad
    separation = layer.dot(g, layer.y_hat) * layer.norm2(v) / (layer.m * layer.gamma)
    bound = layer.gamma**2 / layer.sigma**2 * (layer.dot(g, layer.hess(g)) - separation)
    return le(_curvature_along_gradient(layer), bound)


@claim(
    "santurkar2018.observation-4.3.existence",
    source=Source(KEY, "Observation 4.3", "arXiv v3"),
    statement=r"\text{for any } X, W \text{ there are } \gamma, \beta \text{ with } \gamma\hat y + \beta 1 = y, \ \gamma = \sigma",
    domain=LayerDomain(eps="any"),
    reading="the witnesses gamma = sigma and beta = mu",
)
def observation_existence(layer: Layer) -> Statement:
    return eq(layer.sigma * layer.y_hat + layer.mu * layer.one, layer.y)


LAMBDA = LayerDomain(eps="zero", scalars={"lam": "positive"})


def _weight_gradient_maxima(layer: Layer) -> tuple[Scalar, Scalar]:
    """max over ||X|| <= lambda of ||X' u||^2 is lambda^2 ||u||^2, reached by X = lambda u u'/||u||^2, for u = grad and
    input_grad."""
    lam2 = layer.scalar("lam") ** 2
    return lam2 * layer.norm2(layer.grad), lam2 * layer.norm2(layer.input_grad)


@claim(
    "santurkar2018.theorem-4.4.printed",
    source=Source(KEY, "Theorem 4.4", "arXiv v3"),
    statement=r"\hat g_j \le \frac{\gamma^2}{\sigma^2}\big(g_j^2 - m\mu_g^2 - \lambda^2\langle g,\hat y\rangle^2\big),\quad g_j = \max_{\|X\|\le\lambda}\|\nabla_W L\|^2",
    domain=LAMBDA,
    reading="letter by letter: g_j is the maximum of a squared norm, and it is squared again",
)
def weight_space_printed(layer: Layer) -> Statement:
    standard, normalised = _weight_gradient_maxima(layer)
    mean, along = batch_mean(layer, layer.grad), layer.dot(layer.grad, layer.y_hat)
    lam = layer.scalar("lam")
    bound = standard**2 - layer.m * mean**2 - lam**2 * along**2
    return le(normalised, layer.gamma**2 / layer.sigma**2 * bound)


@claim(
    "santurkar2018.theorem-4.4.printed.norms",
    source=Source(KEY, "Theorem 4.4", "arXiv v3"),
    statement=r"\hat g_j^2 \le \frac{\gamma^2}{\sigma^2}\big(g_j^2 - m\mu_g^2 - \lambda^2\langle g,\hat y\rangle^2\big),\quad g_j = \max_{\|X\|\le\lambda}\|\nabla_W L\|",
    domain=LAMBDA,
    reading="the charitable reading: g_j is the maximum of the norm, so that both sides are squared norms",
)
def weight_space_norms(layer: Layer) -> Statement:
    standard, normalised = _weight_gradient_maxima(layer)
    mean, along = batch_mean(layer, layer.grad), layer.dot(layer.grad, layer.y_hat)
    lam = layer.scalar("lam")
    bound = standard - layer.m * mean**2 - lam**2 * along**2
    return le(normalised, layer.gamma**2 / layer.sigma**2 * bound)


@claim(
    "santurkar2018.theorem-4.4.repaired",
    source=Source(KEY, "Theorem 4.4, repaired", "", seen="own"),
    statement=r"\hat g_j = \frac{\gamma^2}{\sigma^2}\Big(g_j - \lambda^2 m\mu_g^2 - \frac{\lambda^2}{m}\langle g,\hat y\rangle^2\Big)",
    domain=LAMBDA,
    reading="g, sigma and y_hat are held fixed while X varies; with y = Xw really varied see theorem-4.4.coupled",
    repairs="santurkar2018.theorem-4.4.printed",
    note="An equality: the maximum over X of a squared gradient norm is lambda^2 times Theorem 4.1's own quantity.",
)
def weight_space_repaired(layer: Layer) -> Statement:
    standard, normalised = _weight_gradient_maxima(layer)
    mean, along = batch_mean(layer, layer.grad), layer.dot(layer.grad, layer.y_hat)
    lam2 = layer.scalar("lam") ** 2
    bound = standard - lam2 * layer.m * mean**2 - lam2 * along**2 / layer.m
    return eq(normalised, layer.gamma**2 / layer.sigma**2 * bound)


@claim(
    "santurkar2018.theorem-c.1",
    source=Source(KEY, "Theorem C.1", "arXiv v3, appendix"),
    statement=r"\max_{\|X\|\le\lambda} w^\top\frac{\partial^2\hat L}{\partial W^2}w < \frac{\gamma^2}{\sigma^2}\Big[\max_{\|X\|\le\lambda} w^\top\frac{\partial^2 L}{\partial W^2}w - \lambda^4\kappa\Big]",
    domain=LayerDomain(eps="zero", gamma="positive", hessian="zero", scalars={"lam": "positive"}),
    assume=lambda layer: [gt(layer.dot(layer.grad, layer.y_hat), 0), gt(layer.norm2(layer.input_grad), 0)],
    reading=(
        "for linear losses, H = 0, and kappa = <g,y_hat> ||v||^2/(m gamma) > 0: the maximum for L is 0, and X = 0 is admitted, so the "
        "maximum for L_hat is at least 0; the claim then implies 0 < gamma^2/sigma^2 (0 - lambda^4 kappa)"
    ),
)
def weight_space_curvature(layer: Layer) -> Statement:
    kappa = layer.dot(layer.grad, layer.y_hat) * layer.norm2(layer.input_grad) / (layer.m * layer.gamma)
    least = 0 * kappa  # the value at X = 0
    return lt(least, layer.gamma**2 / layer.sigma**2 * (least - layer.scalar("lam") ** 4 * kappa))


_LP = r"\|\nabla_y\hat L\|^2 \le \frac{\gamma^2}{s^2}\|Cg\|^2, \qquad \sum_i|\hat y_i|^p = m"


@readings(
    claim(
        "santurkar2018.lp-normalisation.gradient-bound.l1",
        source=Source(KEY, "section 3.3 and appendix, l_p normalisation", "arXiv v3"),
        statement=_LP,
        domain=LayerDomain(eps="zero", normaliser="l1"),
        reading="p = 1",
    ),
    claim(
        "santurkar2018.lp-normalisation.gradient-bound.l2",
        source=Source(KEY, "section 3.3 and appendix, l_p normalisation", "arXiv v3"),
        statement=_LP,
        domain=LayerDomain(eps="zero", normaliser="l2"),
        reading="p = 2, batch normalisation itself",
    ),
    claim(
        "santurkar2018.lp-normalisation.gradient-bound.linf",
        source=Source(KEY, "section 3.3 and appendix, l_p normalisation", "arXiv v3"),
        statement=_LP,
        domain=LayerDomain(eps="zero", normaliser="linf"),
        reading="p = inf: division by the largest entry",
    ),
)
def lp_bound(layer: Layer) -> Statement:
    scaled = layer.gamma**2 / layer.sigma**2 * layer.norm2(centre(layer, layer.grad))
    return le(layer.norm2(layer.input_grad), scaled)
