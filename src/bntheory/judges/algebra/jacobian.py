"""The norm of the Jacobian, and traces, in a frame.

With D = dy_hat/dy = (A - y_hat w'/m)/sigma, where A = C centres (the identity where nothing is subtracted) and w = A q for the dual q,

    tr D           = (tr A - <w, y_hat>/m)/sigma
    tr(D' H D)     = (tr(H A) - 2 <w, H y_hat>/m + |w|^2 <y_hat, H y_hat>/m^2)/sigma^2,       tr(H C) = tr H - <1, H 1>/m
    tr(input_hess) = gamma^2 tr(D' H D) - (gamma/(m sigma)) (2 <w, D' g> + k tr(D) <y_hat, g>)

and k with dq = k dy_hat: 1 for the biased variance, m/(m - 1) for the unbiased one, 0 for p = 1 and p = inf. The last line is
:meth:`.Frame.input_hess` with every rank-one map u v' replaced by <u, v>.
"""

from __future__ import annotations

from typing import Any, Protocol

from bntheory.errors import OutsideVocabulary
from bntheory.judges.algebra.field import Scalar
from bntheory.judges.algebra.vectors import Basis, Coordinates, SymbolicOperator
from bntheory.layer import vocabulary

_UNCENTRED = ("rms", "frozen")


class Layer(Basis, vocabulary.Layer, Protocol):
    """The part of a frame that is the layer."""

    gamma: Scalar
    sigma: Scalar
    eps: Scalar
    constraints: list[tuple[str, Any]]

    @property
    def hessian_operator(self) -> SymbolicOperator: ...
    def centred(self, v: Coordinates) -> Coordinates: ...


def jacobian_norm(frame: Layer) -> Scalar:
    """The largest singular value of dz/dy; where m = 2 differs and is allowed, a symbol that a disjunction defines."""
    kind, m = frame.domain.normaliser, frame.m
    slope = (frame.gamma**2).sqrt() / frame.sigma
    if kind in ("rms", "frozen", "mean-only"):
        return slope
    if kind in ("l1", "linf"):
        return slope * _l_p_norm(frame)
    alone = slope * frame.eps / frame.sigma**2  # m = 2: y_hat is all that is orthogonal to 1
    if frame.m_value is not None or frame.domain.min_m > 2:
        return alone if frame.m_value == 2 else slope
    norm = frame.field.symbol("jac_norm", "nonnegative")
    two = ("and", (("eq", m - 2), ("eq", norm - alone)))
    more = ("and", (("ge", m - 3), ("eq", norm - slope)))
    frame.constraints.append(("or", (two, more)))
    return norm


def _l_p_norm(frame: Layer) -> Scalar:
    """The largest singular value k of sigma D for p = 1 and inf.

    Orthogonal to 1 it is I - y_hat w'/m, the identity but in the plane of y_hat and w, where its squared singular values have the sum
    t = 2 c + |y_hat|^2 |w|^2/m^2 and the product c^2, c = 1 - <y_hat, w>/m: k is the larger one (at least 1: what is orthogonal to w stays).
    At m = 2 there is no plane, and k = |c|. With eps = 0 c is 0.
    """
    m, w = frame.m, frame.centred(frame.dual)
    c = frame.field.zero if frame.domain.eps == "zero" else 1 - frame.dot(frame.y_hat, w) / m
    t = c * 2 + frame.norm2(frame.y_hat) * frame.norm2(w) / m**2
    k = frame.field.symbol("jac_norm", "nonnegative")
    larger = (
        [("eq", k**2 - t)] if frame.domain.eps == "zero" else [("eq", k**4 - t * k**2 + c**2), ("ge", 2 * k**2 - t)]
    )
    alternatives: list[tuple[str, Any]] = []
    if frame.m_value in (None, 2) and frame.domain.min_m == 2:
        alternatives.append(("and", (("eq", m - 2), ("eq", k**2 - c**2))))
    if frame.m_value != 2:
        alternatives.append(("and", (("ge", m - 3), *larger)))
    frame.constraints.append(("or", tuple(alternatives)))
    return k


def trace(frame: Layer, operator: Any) -> Scalar:
    """The trace of hess, jac, input_hess or a free operator."""
    if isinstance(operator, SymbolicOperator):
        return operator.trace()
    if operator == frame.hess:
        return frame.hessian_operator.trace()
    if operator == frame.jac:
        return _trace_of_dy_hat(frame) * frame.gamma
    if operator == frame.input_hess:
        return _trace_of_input_hess(frame)
    raise OutsideVocabulary(
        "the trace of a map of one's own; inside are those of hess, jac, input_hess and free operators"
    )


def _trace_of_dy_hat(frame: Layer) -> Scalar:
    kind, m = frame.domain.normaliser, frame.m
    dimension = m if kind in _UNCENTRED else m - 1
    if kind not in ("frozen", "mean-only"):
        dimension = dimension - frame.dot(frame.dual, frame.y_hat) / m
    return dimension / frame.sigma


def _trace_of_input_hess(frame: Layer) -> Scalar:
    kind, m, sigma, gamma = frame.domain.normaliser, frame.m, frame.sigma, frame.gamma
    hess, dot, y_hat = frame.hess, frame.dot, frame.y_hat
    curved = frame.hessian_operator.trace()
    if kind not in _UNCENTRED:
        curved = curved - dot(frame.one, hess(frame.one)) / m
    if kind in ("frozen", "mean-only"):
        return curved * gamma**2 / sigma**2
    w = frame.dual if kind == "rms" else frame.centred(frame.dual)
    bent_y_hat = hess(y_hat)
    curved = curved - dot(w, bent_y_hat) * 2 / m + frame.norm2(w) * dot(y_hat, bent_y_hat) / m**2
    follows = frame.field.zero if kind in ("l1", "linf") else frame.correction
    bend = dot(w, frame.input_grad) * 2
    bend = bend + follows * gamma * _trace_of_dy_hat(frame) * dot(y_hat, frame.grad)
    return curved * gamma**2 / sigma**2 - bend / (m * sigma)
