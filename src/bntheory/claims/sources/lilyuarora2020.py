"""Li, Lyu and Arora: Reconciling modern deep learning with traditional optimization analyses: the intrinsic learning
rate, NeurIPS 2020, arXiv 2010.02916."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import numerical
from bntheory.evidence.rates import slope_checks

KEY = "lilyuarora2020"
_SOURCE = Source(KEY, "abstract", "arXiv 2010.02916", printed=False)
_STATEMENT = r"\text{the norm's equilibrium is reached in about } \frac{1}{\eta\lambda} \text{ steps}"


def _times(products: np.ndarray, start: float, fixed: bool) -> list[int]:
    from bntheory.models.weight_decay import fixed_norm4, steps_to_equilibrium

    lr = 0.1
    times = []
    for product in products:
        unit = 1.0 if fixed else fixed_norm4(lr, product / lr, 1.0) ** 0.25
        times.append(steps_to_equilibrium(start * unit, lr, float(product) / lr))
    return times


def _checks(study: Study, starts: tuple[float, ...], *, fixed: bool, what: str) -> Iterator[Check]:
    from bntheory.evidence.slopes import fit_power_law

    products = np.geomspace(study.choose(quick=1e-4, normal=1e-5, thorough=1e-6), 1e-2, 7)
    for start in starts:
        times = np.array(_times(products, start, fixed), dtype=float)
        scope = f"exact recursion of ||w||^2, ||w_0|| = {start:g} {what}, eta lambda from {products[0]:g} to 1e-2, until within 5 %"
        yield from slope_checks(
            f"steps to equilibrium in eta lambda, start {start:g}", fit_power_law(products, times), -1.0, 0.05, scope
        )
        yield numerical(f"steps times eta lambda at most 10, start {start:g}", scope, decisive=False).le(
            (times * products).max(), 10.0
        )


@claim(
    "lilyuarora2020.equilibrium-time",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="from a norm at a fixed ratio to the equilibrium's: exponent -1 in eta lambda, up to 0.05; gradients of constant size on the sphere",
    note="Near the fixed point ||w||^2 relaxes like exp(-4 eta lambda t); the margin is ours.",
)
def equilibrium_time(study: Study) -> Iterator[Check]:
    return _checks(study, (0.5, 3.0), fixed=False, what="times the equilibrium's")


@claim(
    "lilyuarora2020.equilibrium-time.fixed-start",
    kind="dynamics",
    source=_SOURCE,
    statement=_STATEMENT,
    reading="from ||w_0|| = 100 whatever eta lambda is: the same exponent",
    note="The equilibrium's norm itself moves like (eta/lambda)^(1/4), so a logarithm of eta lambda comes in.",
)
def equilibrium_time_fixed_start(study: Study) -> Iterator[Check]:
    return _checks(study, (100.0,), fixed=True, what="whatever the rates are")
