"""The normalisers in a frame: mu, var, sigma, eps, y, y_hat and the dual vector q of the scale.

In a Gram-Schmidt frame the l_p members have necessary constraints only: what follows from |y_hat|, <q, y_hat>, <q, q> and
<1, q>. That is sound for proofs; a counterexample there must come from a standard frame, which has the entries themselves.
For l_1 the positive entries of y_hat, and the negative ones, sum up to half of s = <q, y_hat>, so the squares of either to at
most s^2/4: |y_hat|^2 <= s^2/2. For l_inf the entries beside the largest sum up to -1 or 1: |y_hat|^2 >= 1 + 1/(m - 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.field import Scalar
from bntheory.judges.algebra.vectors import Basis, Coordinates


@dataclass(frozen=True)
class Statistics:
    """What a normaliser makes of a batch; ``constraints`` are (op, x) with x op 0."""

    mu: Scalar
    var: Scalar
    sigma: Scalar
    eps: Scalar
    y: Coordinates
    y_hat: Coordinates
    dual: Coordinates
    constraints: tuple[tuple[str, Scalar], ...] = ()


def _slack(frame: Basis, x: Scalar) -> tuple[tuple[str, Scalar], ...]:
    """eps = sigma^p x must be in the domain's range; x = 0 has been built in where eps = 0."""
    return {"zero": (), "positive": (("gt", x),), "any": (("ge", x),)}[frame.domain.eps]


def statistics(frame: Basis) -> Statistics:
    """In a Gram-Schmidt frame, whose first two directions are 1 and the centred batch (or what is left of it)."""
    kind = frame.domain.normaliser
    if kind == "mean-only":
        return _mean_only(frame)
    if kind == "rms":
        return _rms(frame)
    if kind in ("l1", "linf"):
        return _l_p(frame)
    field, domain = frame.field, frame.domain
    mu, ratio, one = field.symbol("mu"), frame.norms[1] / frame.m, frame.unit(0)
    scaled = ratio * frame.correction
    if domain.eps == "zero":
        root = scaled.sqrt()
        spread = field.symbol("sigma" if root.num.is_one() and root.den.is_one() else "s", "positive")
        sigma, hat = spread * root, field.one / root
        eps, slack = field.zero, field.zero
    elif frame.rational_batch:
        spread, eps = field.symbol("s", "nonnegative"), _eps_symbol(frame)
        sigma = field.root(spread**2 * scaled + eps, positive=True)
        y = one * mu + frame.unit(1) * spread
        y_hat = frame.unit(1) * (spread / sigma)
        return Statistics(mu, spread**2 * ratio, sigma, eps, y, y_hat, y_hat * frame.correction, (("gt", sigma),))
    else:
        hat, sigma = field.symbol("q", "nonnegative"), field.symbol("sigma", "positive")
        spread = hat * sigma
        eps, slack = sigma**2 - spread**2 * scaled, field.one - hat**2 * scaled
    y_hat = frame.unit(1) * hat
    y = one * mu + frame.unit(1) * spread
    dual = y_hat * frame.correction
    return Statistics(mu, spread**2 * ratio, sigma, eps, y, y_hat, dual, _slack(frame, slack))


def _eps_symbol(frame: Basis) -> Scalar:
    kind = frame.domain.eps
    if kind == "zero":
        return frame.field.zero
    return frame.field.symbol("eps", "positive" if kind == "positive" else "nonnegative")


def _mean_only(frame: Basis) -> Statistics:
    field = frame.field
    mu, spread = field.symbol("mu"), field.symbol("s", "nonnegative")
    y_hat = frame.unit(1) * spread
    var = spread**2 * frame.norms[1] / frame.m
    y = frame.unit(0) * mu + y_hat
    return Statistics(mu, var, field.one, _eps_symbol(frame), y, y_hat, y_hat)


def _rms(frame: Basis) -> Statistics:
    field = frame.field
    if frame.m_value is not None:  # y by rational coordinates, sigma a root: y_hat itself is seldom rational
        first = field.symbol("y_1", component=True)
        y = frame.unit(0) * first + frame.unit(1) * field.symbol("y_2", "nonnegative", component=True)
        var, eps = frame.dot(y, y) / frame.m, _eps_symbol(frame)
        sigma = field.root(var + eps, positive=True)
        return Statistics(field.zero, var, sigma, eps, y, y / sigma, y / sigma, (("gt", var + eps),))
    sigma = field.symbol("sigma", "positive")
    along, rest = field.symbol("p"), field.symbol("q", "nonnegative")
    y_hat = frame.unit(0) * along + frame.unit(1) * rest
    slack = field.one - frame.dot(y_hat, y_hat) / frame.m
    constraints = (("eq", slack),) if frame.domain.eps == "zero" else _slack(frame, slack)
    eps = field.zero if frame.domain.eps == "zero" else sigma**2 * slack
    var = sigma**2 - eps
    return Statistics(field.zero, var, sigma, eps, y_hat * sigma, y_hat, y_hat, constraints)


def _l_p(frame: Basis) -> Statistics:
    field, domain, m = frame.field, frame.domain, frame.m
    if frame.m_value is not None:
        raise OutsideVocabulary("an l_p normaliser needs the entries of the batch")
    mu, sigma, hat = field.symbol("mu"), field.symbol("sigma", "positive"), field.symbol("q", "positive")
    y_hat = frame.unit(1) * hat
    y = frame.unit(0) * mu + y_hat * sigma
    var = (sigma * hat) ** 2 * frame.norms[1] / m
    dual = frame.named("layer.dual", "p")
    size = frame.dot(frame.unit(0), dual)
    if domain.normaliser == "linf":
        constraints = [
            ("eq", frame.dot(dual, dual) - m**2),
            ("eq", size**2 - m**2),
            ("eq", frame.dot(dual, y_hat) - m),
            ("gt", m - frame.dot(y_hat, y_hat)),
            ("ge", (m - 1) * frame.dot(y_hat, y_hat) - m),
        ]
        return Statistics(mu, var, sigma, field.zero, y, y_hat, dual, tuple(constraints))
    mean_size = frame.dot(dual, y_hat) / m
    constraints = [("eq", frame.dot(dual, dual) - m), ("ge", (m - 2) ** 2 - size**2), ("gt", mean_size)]
    constraints.append(("ge", (mean_size * m) ** 2 - frame.dot(y_hat, y_hat) * 2))
    if domain.eps == "zero":
        return Statistics(mu, var, sigma, field.zero, y, y_hat, dual, (*constraints, ("eq", mean_size - 1)))
    slack = 1 - mean_size
    return Statistics(mu, var, sigma, sigma * slack, y, y_hat, dual, (*constraints, *_slack(frame, slack)))


def of_an_entry(frame: Basis, made: Statistics, e: Coordinates) -> tuple[tuple[str, Any], ...]:
    """What an l_p normaliser implies for one entry, in a Gram-Schmidt frame: h of y_hat and q of its dual.

    l_inf: |h| = 1 and q = m h at the largest entry, |h| < 1 and q = 0 elsewhere. l_1: q is a sign, that of h; the positive entries of a
    centred batch sum up to half of <q, y_hat>, so no entry exceeds that.
    """
    if frame.domain.normaliser not in ("l1", "linf"):
        return ()
    h, q = frame.dot(e, made.y_hat), frame.dot(e, made.dual)
    if frame.domain.normaliser == "linf":
        largest = ("and", (("eq", q - frame.m * h), ("eq", h**2 - 1)))
        another = ("and", (("eq", q), ("gt", 1 - h**2)))
        return ("ge", 1 - h**2), ("or", (another, largest))
    half = frame.dot(made.dual, made.y_hat) / 2
    return ("eq", q**2 - 1), ("gt", q * h), ("ge", half**2 - h**2)


def statistics_by_entry(frame: Basis, positives: int) -> Statistics:
    """In a standard frame: the entries of the batch are the symbols.

    ``positives``: for l1 how many entries of y_hat are positive (they come first); for linf the sign of the largest entry,
    which is the first; without meaning elsewhere.
    """
    field, domain, m = frame.field, frame.domain, frame.m_value or 0
    kind = domain.normaliser
    one = frame.zero_vector()
    for i in range(m):
        one = one + frame.unit(i)
    if kind == "rms":
        mu, centred = field.zero, [field.symbol(f"y_{i + 1}", component=True) for i in range(m)]
    else:
        mu = field.symbol("mu")
        signs = ["any"] * m
        if kind == "l1":
            signs = ["positive"] * positives + ["any"] * (m - positives)
        centred = [
            field.symbol(f"c_{i + 1}", signs[i], component=True)  # type: ignore[arg-type]
            for i in range(m - 1)
        ]
        centred.append(-sum(centred[1:], centred[0]))
    c = frame.zero_vector()
    for i, x in enumerate(centred):
        c = c + frame.unit(i) * x
    y = one * mu + c
    var = frame.dot(c, c) / m
    constraints: list[tuple[str, Scalar]] = []
    if kind == "mean-only":
        return Statistics(mu, var, field.one, _eps_symbol(frame), y, c, c)
    if kind in ("l1", "linf"):
        return _l_p_by_entry(frame, positives, mu, var, y, centred, c)
    eps = _eps_symbol(frame)
    constraints.append(("gt", var + eps))
    sigma = field.root(var * frame.correction + eps, positive=True)
    y_hat = c / sigma
    return Statistics(mu, var, sigma, eps, y, y_hat, y_hat * frame.correction, tuple(constraints))


def _l_p_by_entry(
    frame: Basis, positives: int, mu: Scalar, var: Scalar, y: Coordinates, centred: list[Scalar], c: Coordinates
) -> Statistics:
    field, m = frame.field, frame.m_value or 0
    dual = frame.zero_vector()
    if frame.domain.normaliser == "linf":
        sign = 1 if positives else -1
        sigma = centred[0] * sign
        field.promise_nonzero(sigma)
        others = [("gt", sigma - x * s) for x in centred[1:] for s in (1, -1)]
        return Statistics(
            mu, var, sigma, field.zero, y, c / sigma, frame.unit(0) * (sign * m), (("gt", sigma), *others)
        )
    eps = _eps_symbol(frame)
    constraints = []
    total = field.zero
    for i, x in enumerate(centred):
        sign = 1 if i < positives else -1
        constraints.append(("gt", x * sign))
        total = total + x * sign
        dual = dual + frame.unit(i) * sign
    sigma = total / m + eps
    field.promise_nonzero(sigma)
    return Statistics(mu, var, sigma, eps, y, c / sigma, dual, tuple(constraints))
