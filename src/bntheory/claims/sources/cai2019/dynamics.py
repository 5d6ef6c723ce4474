"""Cai, Li and Shen: A quantitative analysis of the effect of batch normalization on gradient descent, ICML 2019.

arXiv 1810.00122. Only the abstract was seen; the statements are recalled. Inputs of mean zero and covariance S, b =
E[xy], u = S^-1 b; the iteration (BNGD) is that of :mod:`bntheory.models.least_squares_dynamics`.
"""

from __future__ import annotations

from collections.abc import Iterator

from bntheory.claims.claim import Source, Study, claim
from bntheory.claims.sources.cai2019 import rates, studies
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact

KEY = "cai2019"


def _source(place: str) -> Source:
    return Source(KEY, place, "arXiv 1810.00122", seen="recalled")


@claim(
    "cai2019.scaling-law",
    kind="dynamics",
    source=_source("section 3, scaling law"),
    statement=r"(w_0,\varepsilon)\to(r w_0, r^2\varepsilon) \Rightarrow w_k\to r w_k,\ a_k\to a_k",
    reading="r > 0",
)
def scaling_law(study: Study) -> list[Check]:
    import sympy

    from bntheory.claims.sources.cai2019.proofs import scaling

    return [*scaling(sympy.Symbol("r", positive=True)), studies.scaling_instance(study, 3.0)]


@claim(
    "cai2019.scaling-law.any-sign",
    kind="dynamics",
    source=_source("section 3, scaling law"),
    statement=r"(w_0,\varepsilon)\to(r w_0, r^2\varepsilon) \Rightarrow w_k\to r w_k,\ a_k\to a_k",
    reading="r != 0 of either sign, as 'scaling' might be read",
    note="For r < 0 the law holds with a_0 -> -a_0, and then a_k -> -a_k.",
)
def scaling_law_any_sign(study: Study) -> list[Check]:
    # d = 1, S = b = 1, w_0 = a_0 = eps_a = 1, r = -1: a_1 = w_0'b/s = 1, with -w_0 it is -1. All numbers are exact.
    a_plain, a_flipped = (1 + 1 * (w * 1 / abs(w) - 1) for w in (1, -1))
    return [
        exact(
            "a_1 from (a_0, -w_0) and from (a_0, w_0)",
            "d = 1, S = b = a_0 = w_0 = eps_a = 1",
            witness={"S": "1", "b": "1", "w0": "1", "a0": "1", "r": "-1", "eps_a": "1"},
        ).eq(a_flipped, a_plain)
    ]


@claim(
    "cai2019.any-learning-rate",
    kind="dynamics",
    source=_source("Theorem 3.3"),
    statement=r"\varepsilon_a\in(0,1],\ a_0 w_0^\top b>0:\ \text{BNGD converges for any } \varepsilon>0;\ "
    r"\text{GD needs } \varepsilon<2/\lambda_{\max}",
    reading="to a minimiser from almost every start, that is, from starts drawn at random",
)
def any_learning_rate(study: Study) -> list[Check]:
    return studies.any_learning_rate(study)


@claim(
    "cai2019.any-learning-rate.every-start",
    kind="dynamics",
    source=_source("Theorem 3.3"),
    statement=r"\varepsilon_a\in(0,1],\ a_0 w_0^\top b>0:\ \text{BNGD converges to a minimiser for any } \varepsilon>0",
    reading="from every start with a_0 w_0'b > 0",
    note="The orbit ends on the saddle a = 0, w'b = 0, whose stable manifold large steps can jump onto; such starts have "
    "measure zero. The condition a_0 w_0'b > 0 keeps small learning rates away from it, not large ones.",
)
def any_learning_rate_every_start(study: Study) -> list[Check]:
    return studies.orbit_into_the_saddle()


@claim("cai2019.norm-grows", kind="dynamics", source=_source("section 3"), statement=r"\|w_{k+1}\| \ge \|w_k\|")
def norm_grows(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import norm_growth

    return [*norm_growth(), studies.norm_instances(study)]


@claim(
    "cai2019.effective-condition-number",
    kind="dynamics",
    source=_source("Lemma on S*"),
    statement=r"S^*=S-\frac{S u u^\top S}{u^\top S u}:\quad \kappa^*(S^*)\le\kappa(S)",
    reading="kappa* from the non-zero eigenvalues",
)
def effective_condition_number(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import effective_spectrum

    return [*effective_spectrum(), studies.condition_instances(study)]


@claim(
    "cai2019.contraction.s",
    kind="dynamics",
    source=_source("Proposition on e_k"),
    statement=r"\|e_{k+1}\|_S\le\rho(I-\varepsilon_k S)\|e_k\|_S,\quad "
    r"\varepsilon_k=\varepsilon\frac{a_k}{s_k}\frac{w_k^\top b}{s_k^2}",
    note="Neither eps_a = 1 nor any condition on a_k is needed: the proof uses the w-step alone.",
)
def contraction_s(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import contraction

    return [*contraction(), studies.contraction_instances(study)]


@claim(
    "cai2019.contraction.s-star",
    kind="dynamics",
    source=_source("Proposition on e_k"),
    statement=r"\|e_{k+1}\|_S\le\rho^*(I-\varepsilon_k S^*)\|e_k\|_S \text{ at every step}",
    reading="rho* over the non-zero eigenvalues of S*, that is, on the complement of u",
    note="e_k is S-orthogonal to w_k and not to u; only in the limit are the two the same.",
)
def contraction_s_star(study: Study) -> list[Check]:
    return studies.contraction_s_star_counterexample(study)


@claim(
    "bntheory2026.least-squares.contraction",
    kind="dynamics",
    source=Source("bntheory2026", "least squares with BN", seen="own"),
    statement=r"\|e_{k+1}\|_S\le\rho\big((I-t_k' S_{w_k})|_{w_k^\perp}\big)\|e_k\|_S,\quad "
    r"t_k'=\frac{\varepsilon_k}{1+\varepsilon_k\langle w,Se\rangle_S/(w^\top b)}",
    repairs="cai2019.contraction.s-star",
    reading="S_w is S compressed to the S-complement of w_k; tends to S* and eps_k as w_k turns towards u",
)
def contraction_complement(study: Study) -> list[Check]:
    from bntheory.claims.sources.cai2019.proofs import contraction_complement as proof

    return [*proof(), studies.complement_instances(study)]


@claim(
    "cai2019.rate.s-star",
    kind="dynamics",
    source=_source("asymptotic rate"),
    statement=r"\limsup_k \|e_{k+1}\|_S/\|e_k\|_S \le \rho^*(I-\hat\varepsilon S^*)",
    reading="with the limiting effective step; the bound is reached by generic starts",
)
def rate_s_star(study: Study) -> list[Check]:
    return rates.asymptotic_rate(study)


@claim(
    "cai2019.insensitivity",
    kind="dynamics",
    source=_source("section 3, insensitivity"),
    statement=r"\hat\varepsilon \sim C\varepsilon\ (\varepsilon\to 0),\qquad \hat\varepsilon\sim C'/\varepsilon\ "
    r"(\varepsilon\to\infty)",
    reading="limit of the effective step along runs from fixed random starts, eps_a = 1",
)
def insensitivity(study: Study) -> Iterator[Check]:
    return rates.insensitivity(study)
