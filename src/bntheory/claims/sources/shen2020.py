r"""Shen, Yao, Gholami, Mahoney and Keutzer: PowerNorm, ICML 2020, arXiv 2003.07845.

The abstract says: under mild assumptions, power normalisation leads to a smaller Lipschitz constant for the loss,
compared with batch normalisation. Power normalisation divides by a running root mean square, which the forward pass
treats as a constant, and subtracts no mean. For one batch whose root mean square psi it carries, psi^2 = mean
y^2 = mu^2 + sigma^2, its gradient is (gamma/psi) g.
"""

from __future__ import annotations

from bntheory.claims.claim import Source, claim
from bntheory.layer import LayerDomain, Statement, eq, ge, gt, iff, le
from bntheory.layer.vocabulary import Layer, Scalar

KEY = "shen2020"
_SOURCE = Source(KEY, "abstract", "arXiv 2003.07845", printed=False)
_STATEMENT = r"\frac{\gamma^2}{\psi^2}\|g\|^2 \le \|\nabla_y\hat L_{\mathrm{BN}}\|^2, \qquad \psi^2 = \tfrac1m\|y\|^2"
_READING = "gradient of one unit at one batch, the same downstream gradient g on both sides, psi the batch's own root mean square"


def _frozen_scale_gradient(layer: Layer) -> Scalar:
    """||(gamma/psi) g||^2."""
    return layer.gamma**2 * layer.m / layer.norm2(layer.y) * layer.norm2(layer.grad)


@claim(
    "shen2020.smaller-lipschitz",
    source=_SOURCE,
    statement=_STATEMENT,
    domain=LayerDomain(eps="zero", gamma="nonzero"),
    reading=_READING + "; no assumption",
    note="As read here: which assumptions are mild is the source's to say. Where g lies along y_hat, batch norm's gradient is zero.",
)
def smaller_lipschitz(layer: Layer) -> Statement:
    return le(_frozen_scale_gradient(layer), layer.norm2(layer.input_grad))


@claim(
    "shen2020.smaller-lipschitz.orthogonal-gradient",
    source=_SOURCE,
    statement=_STATEMENT,
    domain=LayerDomain(eps="zero", gamma="nonzero"),
    assume=lambda layer: [eq(layer.beta_grad, 0), eq(layer.gamma_grad, 0)],
    reading=_READING + "; <1, g> = <y_hat, g> = 0, as where gamma and beta are stationary on this batch",
    repairs="shen2020.smaller-lipschitz",
    note="An assumption under which it holds: batch norm's projection then takes nothing off, and psi >= sigma.",
)
def smaller_lipschitz_orthogonal(layer: Layer) -> Statement:
    return le(_frozen_scale_gradient(layer), layer.norm2(layer.input_grad))


@claim(
    "shen2020.smaller-lipschitz.exact",
    source=Source(KEY, "one unit, exactly", seen="own"),
    statement=r"\frac{\gamma^2}{\psi^2}\|g\|^2 \le \|\nabla_y\hat L_{\mathrm{BN}}\|^2 \iff \frac{\mu^2}{\psi^2} \ge \frac{\langle 1,g\rangle^2 + \langle\hat y,g\rangle^2}{m\|g\|^2}",
    domain=LayerDomain(eps="zero", gamma="nonzero"),
    assume=lambda layer: [gt(layer.norm2(layer.grad), 0)],
    reading=_READING,
    repairs="shen2020.smaller-lipschitz",
    note="Which of the two is smaller is a contest between the share of the mean square that the mean makes and the share of g that the projection takes.",
)
def smaller_lipschitz_exact(layer: Layer) -> Statement:
    share = (layer.beta_grad**2 + layer.gamma_grad**2) / (layer.m * layer.norm2(layer.grad))
    mean_share = layer.m * layer.mu**2 / layer.norm2(layer.y)
    return iff(le(_frozen_scale_gradient(layer), layer.norm2(layer.input_grad)), ge(mean_share, share))
