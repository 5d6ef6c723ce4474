"""Random typed claims, by shape: what a user may type, true and false mixed, with the options of its domain.

A shape is a few templates. In a template ``[a|b|c]`` is one of the three, and a word in braces is drawn once a claim:

    {u} {v} {w}  free vectors of hostile names        {e}      a free vector that singles out one example
    {a} {b}      free scalars                         {K} {S}  free operators
    {p} {q}      vectors of the layer, or combinations of them
    {s} {t} {r}  scalars                              {n} {k}  scalars that cannot be negative
    {R} {T} {Q}  relations                            {c}      a constant near 1, so that about half of the claims are true
    {C}          a constant that hypotheses name      {i} {j}  small whole numbers
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from read_claim import Statement

__all__ = ["SHAPES", "Shape", "statement"]

# Words of the algebra, of its encoders, of Python; and names that begin like words of the vocabulary.
HOSTILE = [
    "g",
    "H",
    "e1",
    "e2",
    "k",
    "m_",
    "norm",
    "q",
    "a",
    "P",
    "J",
    "L",
    "x",
    "d",
    "t",
    "c1",
    "h11",
    "lambda",
    "pi",
    "I",
    "E",
    "S",
    "sigma2",
    "grad_",
    "y1",
    "one_",
    "inf",
    "nan",
    "is",
    "None",
    "True",
    "import",
    "e",
    "case",
    "abs",
    "max",
    "mean",
    "dot2",
    "H1",
    "gg",
    "u_g",
    "z3",
    "w",
    "norm2_",
    "unit",
    "var_",
    "N",
    "O",
    "Q",
    "v0",
    "gamma2",
    "hess_",
    "self",
    "layer",
    "zeta",
    "t0",
    "implies",
    "iff",
    "le",
    "eq",
    "eps_",
    "s2",
    "r",
]
CASES = ("e@case", "g@case", "k@case", "i@case", "e1@case", "y1@case")
PLAIN = "[one|y|y_hat|grad|input_grad|grad|input_grad]"
ORDER = "[<=|<|>=|>|==|!=]"
DRAWN = {
    "p": f"[{PLAIN}|{PLAIN}|({PLAIN} - [mu|2|gamma]*one)|({PLAIN} + {PLAIN})|(2*{PLAIN} - {PLAIN}/3)|centre({PLAIN})]",
    "n": f"[var|eps|m|sigma|gamma**2|norm2({PLAIN})|dot({PLAIN}, y_hat)**2|beta_grad**2]",
    "s": f"[gamma|beta|mu|gamma_grad|beta_grad|dot({PLAIN}, {PLAIN})|var|eps|m|sigma|(gamma**2)|norm2({PLAIN})|(beta_grad**2)]",
    "c": "[1|1|1.0|0.9|0.999|1.1|1/2|2|1.000|99/100|1.25]",
    "C": "[1|2|3|1/2|5|0.1|7]",
    "i": "[2|3|4|5|6]",
}
DRAWN |= {"R": f"[{DRAWN['s']} {ORDER} {DRAWN['s']}|{DRAWN['s']} {ORDER} [0|1|0.1|-2]]"}
DRAWN |= {"q": DRAWN["p"], "k": DRAWN["n"], "j": DRAWN["i"], "T": DRAWN["R"], "Q": DRAWN["R"]}
DRAWN |= dict.fromkeys("tr", DRAWN["s"])
ANY_EPS, ANY_GAMMA = "any|zero|positive", "any|any|positive|nonzero"


@dataclass(frozen=True)
class Shape:
    """templates: one a line. given: hypotheses to choose from, each with the pin that makes drawn layers meet it; ``always`` of them."""

    templates: str
    eps: str = ANY_EPS
    gamma: str = ANY_GAMMA
    hessian: str = "any"
    normaliser: str = "batch"
    min_m: str = "2"
    scalars: str = "any|positive|nonnegative|unit|nonzero"
    given: tuple[tuple[str, str], ...] = ()
    always: int = 0
    extra: str = ""


SHAPES: dict[str, Shape] = {
    "gradient bound": Shape(
        "norm2(input_grad) [<=|<=|==|<] gamma**2/sigma**2*(norm2(grad) - [|0.5*|1.01*|2*]beta_grad**2/m - [||0.9*|0*]gamma_grad**2/m)"
    ),
    "gradient shrinks": Shape("sigma**2*norm2(input_grad) <= {c}*gamma**2*norm2([grad|centre(grad)|input_grad])"),
    "linear identity": Shape(
        """dot(y, input_grad) == [||{c}*]gamma*eps/sigma**3*dot(grad, y - mu*one)
        dot([y_hat|one], input_grad) == [0|0|eps]
        dot(y_hat, grad) == [|{c}*]gamma_grad
        dot(grad, input_grad) == [|{c}*]sigma/gamma*norm2(input_grad)
        sigma*dot(y_hat, grad) == [|{c}*]dot(y, centre(grad))
        norm2(y_hat)*sigma**2 == [|{c}*]m*var
        dot(y, y_hat) == [|{c}*]m*var/sigma""",
        gamma="nonzero|any|positive",
    ),
    "curvature bound": Shape(
        "dot({p}, input_hess({p})) [<=|==|>=] gamma**2/sigma**2*dot({p}, hess({p})) - [||2*]gamma/(m*sigma**2)*gamma_grad*norm2({p})",
        hessian="any|psd|zero|isotropic|identity",
    ),
    "quotient": Shape("dot({p}, {q})**2/norm2({q}) <= {c}*norm2({p})"),
    "quotient and size": Shape(
        """dot(grad, input_grad)**2/norm2(input_grad) <= norm2(grad) [and|or] [m >= 3|m <= 2|gamma != 0|norm2(input_grad) == 0]
        dot(grad, y_hat)**2/norm2(y_hat) <= norm2(grad) [and|or] [m >= 3|var > 0|gamma != 0|norm2(y_hat) == 0]
        norm2({p}) > 0 and dot({p}, {q})**2/norm2({p}) <= [1|0.9|2]*norm2({q})"""
    ),
    "ratios": Shape("norm2(input_grad)/norm2(grad) [<=|<|!=] {c}*gamma**2/[sigma**2|var|(var + eps)|eps]"),
    "triangle": Shape(
        "sqrt(norm2([{p}|{u}] [+|-] [{q}|{v}])) [<=|<=|<] {c}*(sqrt(norm2({p})) + sqrt(norm2({q})))\n"
        "sqrt(norm2({u} [+|-] {p})) <= {c}*(sqrt(norm2({u})) + sqrt(norm2({p})))\n"
        "sqrt(norm2({p})) - sqrt(norm2({q})) <= [1|1|0.9]*sqrt(norm2({p} - {q}))"
    ),
    "nested roots": Shape(
        """sqrt(sigma + sqrt([var|eps])) <= {c}*sqrt(2*sigma)
        sqrt([var|m*var]) <= {c}*sqrt(norm2(y))
        sqrt(sqrt({n})) >= [0|-1|1]
        sqrt(var + eps) == sigma
        sqrt(var) + sqrt(eps) [>=|<=|>] [sigma|sqrt(2)*sigma|2*sigma]
        sqrt(1 + sqrt(1 + {n})) > [1|1.4|1.5]"""
    ),
    "Cauchy-Schwarz": Shape(
        "[|-]dot([{p}|{u}], [{q}|{v}]) <= {c}*sqrt(norm2({p}))*sqrt(norm2({q}))\n"
        "[|-]dot({u}, {q}) <= {c}*sqrt(norm2({u}))*sqrt(norm2({q}))\n"
        "dot({p}, {q}) <= {c}*sqrt(norm2({p})*norm2({q}))"
    ),
    "gradient in root form": Shape(
        """dot({u}, input_grad) <= {c}*gamma/sigma*sqrt(norm2({u}))*sqrt(norm2(grad))
        dot({p}, input_grad) <= {c}*gamma/sigma*sqrt(norm2({p}))*sqrt(norm2(grad))
        sqrt(norm2(input_grad)) <= {c}*gamma/sigma*sqrt(norm2(grad))""",
        gamma="positive|nonzero",
    ),
    "implication": Shape("not ({R}) or [{T}|norm2(input_grad)*sigma**2 <= gamma**2*norm2(grad)|m >= 2]"),
    "cover": Shape(
        """{s} <= {t} or {t} <= {s}
        {s} < {t} or {t} < {s} or {s} == {t}
        {s} <= {t} or {t} <= {r} or {r} <= {s}
        {s} != {t} or {t} [==|<=|<] {s}
        {s} < {t} or {t} < {r} or {r} < {s}"""
    ),
    "negation": Shape("not ({R} [and|or] not [|not ]({T}))"),
    "mixed connectives": Shape(
        """({R} or {T}) and ({Q} or not ({Q}))
        not ({R}) or ({T} and {Q}) or {R}
        ({R}) or ({T}) or ({Q})
        not ({R} and {T}) or {T}
        ({R} and {T}) or not ({R}) or not ({T})"""
    ),
    "symmetry of Hessians": Shape(
        "dot({u}, hess({p})) == [||1.01*]dot(hess({u}), {p})\n"
        "dot({e}, input_hess({p})) == [||1.01*]dot(input_hess({e}), {p})\n"
        "dot({u}, input_hess({p})) == [||1.01*]dot(input_hess({u}), {p})",
        hessian="any|psd|diagonal|isotropic",
    ),
    "Hessian in a product": Shape(
        """dot({p}, hess({e}))**2 <= {c}*norm2({p})*norm2(hess({e}))
        dot({u}, hess({q}))**2 <= {c}*norm2({u})*norm2(hess({q}))
        dot(hess({u}), hess({q})) == dot({u}, hess(hess({q})))
        dot({u}, hess({e}))**2 <= norm2(hess([{e}|grad])) + dot({e}, grad)**2
        norm2(hess({u} + {q})) == norm2(hess({u})) + norm2(hess({q})) + [2|2|1]*dot(hess({u}), hess({q}))
        norm2(hess({q})) >= [0|dot({q}, hess({q}))|-1]""",
        hessian="any|any|psd|isotropic",
    ),
    "semidefinite forms": Shape(
        """dot({u}, hess({u})) [>=|>] 0
        dot({p}, hess({u}))**2 <= {c}*dot({p}, hess({p}))*dot({u}, hess({u}))
        dot(hess({p}), hess({p})) >= 0 and dot({p}, hess({p})) >= [0|-0.1]
        dot({p} + {q}, hess({p} + {q})) <= [2|2|1.9]*dot({p}, hess({p})) + 2*dot({q}, hess({q}))""",
        hessian="psd|psd|identity|any",
    ),
    "input Hessian": Shape(
        """input_hess(one) == [0|0|one]
        input_hess(y) == [-1|-1|1]*input_grad
        dot(one, input_hess({p})) == 0
        dot(y, input_hess(y)) == 0
        dot(y, input_hess(input_grad)) == [-1|-2]*norm2(input_grad)
        input_hess({p}) == 0
        dot(input_grad, input_hess(y_hat)) == -norm2(input_grad)/sigma""",
        eps="zero|zero|any|positive",
        hessian="any|zero|diagonal|psd",
    ),
    "free names": Shape(
        """norm2({u}) == norm2([grad|y_hat|{v}])
        dot({u}, {v})**2 <= {c}*norm2({u})*norm2({v})
        {a}*norm2({u}) [>=|<=] [0|norm2({u})|-1]
        dot({u}, hess({v}))**2 <= norm2(hess([{v}|grad]))*norm2({u})
        dot({u}, y_hat)**2 <= [m|(m - 1)]*norm2({u})
        {a} == [gamma|m|beta|1]
        dot({u} - {a}*{v}, {u} - {a}*{v}) == norm2({u}) - 2*{a}*dot({v}, {u}) + {a}**2*norm2({v})
        dot({u}, hess({e}))**2 <= norm2(hess(grad)) + dot({e}, grad)**2"""
    ),
    "free operators": Shape(
        """dot({K}({u}), {S}({p})) == dot({u}, {K}({S}({p})))
        dot({K}({u}), {p}) == dot({u}, [{K}|{S}]({p}))
        dot({u}, {K}({u})) >= 0
        dot({K}({u}), {p})**2 <= {c}*norm2({K}({u}))*norm2({p})
        dot({u}, {K}({p}))**2 <= dot({u}, {K}({u}))*dot({p}, {K}({p}))
        {K}({u} + {p}) == {K}({u}) + [{K}|{K}|{S}]({p})
        dot({u}, {K}({u})) + dot({u}, {S}({u})) >= 0
        {K}({u}) == {S}({u})"""
    ),
    "one example": Shape(
        """dot({e}, y_hat)**2 <= [(m - 1)|m|(m - 1.1)|(m-1)*(m-1)/m]
        norm2({e}) == 1
        dot({e}, one) == [1|m|norm2({e})]
        dot({e}, hess({e})) [>=|<=] [0|-1]
        dot({e}, grad)**2 <= [1|0.9]*norm2(grad)
        dot({e}, y - mu*one)**2 <= [(m - 1)|m|1]*var
        dot({e}, input_grad) <= [1|2]*gamma/sigma*sqrt(norm2(grad))""",
        gamma="any|positive",
        hessian="any|psd|diagonal",
    ),
    "sphere": Shape(
        """dot({u}, grad)**2 <= [{C}|{C}|1/20|10]*norm2(grad)
        dot({u}, input_grad) == 0
        input_grad == 0
        dot({u}, one)**2 <= {C}*[m|(m - 1)]
        norm2({u} - grad) + norm2({u} + grad) == 2*{C} + 2*norm2(grad)
        dot({u}, y_hat) <= [sqrt({C})|1]*sqrt(m)
        dot({u}, hess({u}))**2 <= {C}*norm2(hess({u}))
        gamma <= 1""",
        given=(("norm2({u}) == {C}", "norm2 {u} {C}"),),
        always=1,
    ),
    "quadric": Shape(
        """norm2(input_grad) <= {c}*gamma**2/{C}*norm2(grad)
        norm2(input_grad) <= gamma**2*{C}/sigma**2
        beta <= 1
        sigma**2 >= {C}
        var <= {C}**2
        m*mu**2 <= {C}
        gamma_grad**2 <= {C}*m
        norm2(y_hat) == m*{C}/({C} + eps)""",
        eps="zero|positive|any",
        given=(
            ("var == {C}", "var {C}"),
            ("norm2(grad) == {C}", "norm2 grad {C}"),
            ("norm2(y) == {C}", "norm2 y {C}"),
            ("norm2(centre(y)) == {C}*m", "var {C}"),
        ),
        always=1,
    ),
    "several hypotheses": Shape(
        """norm2(input_grad) == gamma**2/sigma**2*norm2(grad)
        dot(grad, input_grad) >= 0
        gamma_grad == 0
        beta_grad == 0
        norm2(input_grad) <= 4*norm2(grad)/sigma**2
        gamma <= 1
        dot(input_grad, input_hess(input_grad)) <= gamma**2/sigma**2*dot(input_grad, hess(input_grad))
        input_grad == gamma/sigma*grad""",
        given=(
            ("dot(grad, one) == 0", "orthogonal grad one"),
            ("dot(grad, y) == 0 and dot(grad, one) == 0", "orthogonal grad one y"),
            ("gamma == 0.1", "set gamma 0.1"),
            ("gamma == -1/3", "set gamma -1/3"),
            ("gamma_grad >= 0", ""),
            ("var <= 1", ""),
            ("m >= 4", ""),
            ("norm2(grad) > 0", ""),
            ("gamma == 2", "set gamma 2"),
        ),
        always=2,
        gamma="any",
    ),
    "decimals": Shape(
        """0.37*{s} + 0.63*{s} [==|<=|>=|<] {s}
        0.3 - 0.1 == 0.2
        {s} <= 0.1
        0.1*{s} == {s}/[10|10|9.99]
        0.1*0.1*{s}**2 <= [0.01|0.0100001|1e-2|0.00999]*{s}**2
        {s}*1e-3 == {s}/[1000|1024]
        (0.1 + 0.2)*{s} == 0.3*{s}"""
    ),
    "unused names": Shape(
        """gamma <= 0.1
        norm2(input_grad) <= norm2(grad)
        norm2(y_hat) <= m
        beta <= 3
        dot(one, input_grad) == 0
        norm2(input_grad)*sigma**2 <= gamma**2*norm2(grad)
        norm2(hess(grad)) >= 0
        var > 0
        m <= 5
        eps == 0""",
        scalars="positive|unit|nonzero",
        extra="[{a}|{u}|{K}|{e}|{a} {b}|{a} {u} {K}]",
    ),
    "equality of vectors": Shape(
        """y - mu*one [==|==|!=] [sigma|sigma|sqrt(var)]*y_hat
        input_grad == gamma/sigma*(grad - beta_grad/m*one - gamma_grad/m*y_hat)
        centre({p}) == {p}
        {p} == {q}
        {p} != 0
        centre(centre(grad)) == centre(grad)
        standardise([y|y|y_hat]) == y_hat
        standardise(3*y + 2*one) == y_hat
        hess(grad) == [grad|2*grad|0]
        batch_mean([y|y_hat|input_grad]) == [mu|0]
        hess(2*grad - one) == 2*hess(grad) - hess(one)""",
        hessian="any|identity|zero|isotropic",
    ),
    "chains": Shape(
        """0 <= norm2(input_grad)*sigma**2 <= {c}*gamma**2*norm2(grad)
        0 [<|<=] var [<|<=] sigma**2
        {n} >= 0 >= -{k}
        mu - sigma < mu < mu + [sigma|sqrt(var)|eps]
        norm2(centre(grad)) <= norm2(grad) <= [norm2(grad) + var|2*norm2(grad)|norm2(input_grad)]
        0 <= norm2(y_hat) <= m [<=|<] [m**2|2*m|m + var]"""
    ),
    "powers": Shape(
        """({s} + {t})**2 == {s}**2 + [2|2|3]*{s}*{t} + {t}**2
        ({s} - {t})**3 == {s}**3 - 3*{s}**2*{t} + 3*{s}*{t}**2 - {t}**3
        {s}**4 + {t}**4 >= [1|2|0.5]*{s}**2*{t}**2
        sigma**-2 == 1/[sigma**2|(var + eps)|var]
        {s}**2 >= [2*{s}*{t} - {t}**2|4*{s}*{t} - 4*{t}**2|2*{s}*{t}]
        norm2(grad)**2 >= [dot(grad, y_hat)**2*norm2(grad)/m|beta_grad**4/m**2|gamma_grad**4]
        sigma**4 >= [var**2|4*var*eps|5*var*eps]"""
    ),
    "batch sizes": Shape(
        """(m - {i})*(m - {i} - 1) >= [0|0|1]
        (2*m - 2*{i} - 1)**2 >= [1|2]
        (4*m - {i}*4 - 1)*(4*m - {i}*4 - 3) >= 0
        m**2 != 2
        m*m != {i}*{i} + 1
        m >= [2|3]
        norm2(one) >= 2
        m != {i}.5
        m**3 >= 8
        m >= {i} or m <= {i} - 1
        m > {i} or m < {i}""",
        min_m="2|2|3",
    ),
    "fixed batch sizes": Shape(
        "beta <= 3\nm >= [5|8|12]\nnorm2(y_hat) <= m\nnorm2(one) == m\nm*var <= [norm2(y)|12*var]",
        given=(
            ("2*m == 41", ""),
            ("3*m == 12", "m 4"),
            ("m == 7", "m 7"),
            ("4*m == 30", ""),
            ("m == 5/2", ""),
            ("m**2 == 36", "m 6"),
            ("(m - 2)*(m - 3) < 0", ""),
            ("m <= 3", ""),
            ("2*m > 9 and m < 5", ""),
        ),
        always=1,
    ),
    "large batches": Shape(
        """gamma <= 1
        norm2(grad) >= 1
        dot(one, hess(one)) >= 0
        norm2(y_hat) <= m
        norm2(input_grad) <= norm2(grad)
        dot(grad, hess(grad)) <= norm2(grad)
        dot(one, grad)**2 <= [m|5]*norm2(grad)
        dot(one, input_hess(y)) == 0
        m >= 9
        input_grad == 0""",
        hessian="diagonal|any|psd|zero|identity",
        min_m="5|6|7|8|9|12",
    ),
    "where it is defined": Shape(
        """{s} != 0 or 1/{s} > 5
        1/{s} == 1/{s}
        {s}/{s} == [1|1|2]
        1/{s}**2 > 0
        sqrt({s})**2 == {s}
        sqrt({s}) >= 0 or {s} [<|<=] 0
        not (1/{s} > 0) or {s} > 0
        {s} == 0 or {s}*(1/{s}) == 1
        1/{s} > 0 or 1/{s} < 0
        1/({s} - {s}) <= 1 or gamma <= 1
        sqrt({s}) <= 1 or m >= [2|3]
        sqrt(-norm2(grad)) == 0
        {s} > 0 and 1/{s} > 0
        1/{s} <= 1 and {s} [>=|!=] [0|1]
        not (1/{s} == 0 and m == 2)
        (1/{s} > 0 and beta > 0) or not (1/{s} > 0 and beta > 0)"""
    ),
    "absolute values": Shape(
        """{s} <= [norm2(grad) + m|sigma] and -{s} <= [norm2(grad) + m|sigma]
        gamma_grad <= sqrt(m)*sqrt(norm2(grad)) and -gamma_grad <= sqrt(m)*sqrt(norm2(grad))
        sqrt({s}**2) <= [norm2(grad) + m|sigma|sqrt(norm2(grad))]
        -sqrt({s}**2) <= {s} <= sqrt({s}**2)
        {s}*sqrt({s}**2) [>=|<=] 0 or {s} < 0
        sqrt({s}**2) >= [{s}|-{s}]"""
    ),
    "other normalisers": Shape(
        """dot([one|y_hat|y], input_grad) == 0
        norm2(y_hat) <= m
        norm2(input_grad)*sigma**2 <= {c}*gamma**2*norm2(grad)
        dot(one, y_hat) == 0
        sigma**2 == var + eps
        dot({p}, input_hess({q})) == 0
        input_hess(one) == 0
        input_hess(y) == -1*input_grad
        gamma_grad == dot(grad, y_hat)
        jac(grad) == input_grad
        sigma**2 == var*m/(m - 1) + eps
        norm2(y_hat) <= m - 1
        dot(grad, input_grad)*gamma >= 0
        input_grad == gamma/sigma*[centre(grad)|grad]""",
        normaliser="rms|mean-only|frozen|l2|unbiased|unbiased|layer-norm|rms-norm",
        hessian="any|zero|psd",
    ),
    "free scalars": Shape(
        """{a}*norm2(y_hat) <= m
        {a}*{b} [<=|>=] [0|1|{a}]
        {a}**2 + {b}**2 >= [2|2|1|3]*{a}*{b}
        norm2({a}*grad) == {a}**2*norm2(grad)
        {a} + {b} >= [0|-1]
        {a}*(1 - {a}) <= [0.25|1/4|0.2]
        norm2({a}*grad + (1 - {a})*y_hat) <= {a}*norm2(grad) + (1 - {a})*norm2(y_hat)
        {a}/{b} [>=|>] 0 or {b} <= 0 or {a} < 0
        ({a} - {b})*({a} + {b}) == {a}**2 - {b}**2"""
    ),
    "related scalars": Shape(
        "{a} [<=|<] [beta|1]\n{a}*beta == beta**2\nnorm2({a}*grad) == beta**2*norm2(grad)\n{a}*beta >= [0|1]\nsigma > 0",
        scalars="positive|any|unit",
        given=(("{a} == beta", "equal {a} beta"),),
        always=1,
    ),
    "Jacobian": Shape(
        """norm2(jac({p})) <= {c}*gamma**2/sigma**2*norm2({p})
        dot(jac({p}), {u}) == [||1.01*]dot({p}, jac({u}))
        jac([one|one|y]) == 0
        jac(grad) == [input_grad|input_grad|grad]
        jac({u}) == gamma/sigma*(centre({u}) - dot(y_hat, {u})/m*y_hat)
        jac_norm [<=|==] {c}*gamma/sigma
        norm2(jac({u})) <= {c}*jac_norm**2*norm2({u})
        norm2(input_grad) <= {c}*jac_norm**2*norm2(grad)
        jac_norm**2 [<=|==|<] gamma**2/sigma**2 or m == 2
        jac(jac({p})) == gamma/sigma*jac({p})""",
        gamma="any|positive|positive",
    ),
    "traces": Shape(
        """trace([hess|input_hess]) >= [0|0|-1]
        trace(jac) == gamma/sigma*(m - 1 - norm2(y_hat)/m)
        trace(jac) [==|>=|<=] gamma/sigma*(m - [2|1])
        trace(hess) >= dot({e}, hess({e}))
        trace(hess) == [m|0|1]
        trace(input_hess) [<=|==] gamma**2/sigma**2*trace(hess) - [|2*|0*]gamma/(m*sigma**2)*gamma_grad""",
        hessian="any|psd|identity|isotropic|zero|psd",
    ),
    "eigenvalues": Shape(
        """max_eig(hess) <= trace(hess)
        max_eig(jac) [<=|<] {c}*gamma/sigma
        min_eig(jac) >= [0|-1|eps]
        max_eig({K}) <= {b}
        min_eig({K}) >= [0|-1]
        min_eig(hess) [>=|>] [0|-1]
        max_eig(hess) <= [1|trace(hess)|2]
        max_eig(input_hess) <= gamma**2/sigma**2*[1|2] + sqrt(norm2(grad))*gamma/sigma**2
        max_eig(input_hess) <= 0""",
        gamma="positive",
        hessian="psd|identity|zero|psd|any",
    ),
    "outputs": Shape(
        """z == gamma*y_hat + [|2*]beta*one
        norm2(z - beta*one) [<=|==|<] [|0.9*]gamma**2*m
        batch_mean(z) == beta
        dot(z, input_grad) == [0|0|gamma*dot(y_hat, input_grad)]
        norm2(z) == m*beta**2 + gamma**2*norm2(y_hat)
        dot(z, grad) == gamma*gamma_grad + [|2*]beta*beta_grad
        norm2(centre(z)) <= {c}*gamma**2*m
        dot({e}, z)**2 <= [2*|]gamma**2*(m - 1) + 2*beta**2"""
    ),
    "random values": Shape("{s} [+|-|*] {t} [<=|>=|==|<] {r} [+|-|*] {n}", hessian="any|diagonal|zero"),
    "random quotients": Shape("({s} + {t})/{n} [<=|>=|<] {r}/[sigma|m|(1 + gamma**2)]"),
    "sums of squares": Shape(
        """norm2({p} - [gamma|2|beta]*{u}) >= [0|0|-1|norm2({p})]
        2*gamma*dot({p}, {q}) <= [1|1|0.9]*(norm2({p}) + gamma**2*norm2({q}))
        norm2({p} + {u}) + norm2({p} - {u}) == [2|2|3]*(norm2({p}) + norm2({u}))
        norm2({p} + {q}) <= [2|2|1.5]*norm2({p}) + 2*norm2({q})"""
    ),
}


@dataclass
class _Draws:
    """What one claim has drawn so far."""

    rng: Any
    shape: Shape
    words: dict[str, str] = field(default_factory=dict)
    scalars: dict[str, str] = field(default_factory=dict)
    vectors: list[str] = field(default_factory=list)
    operators: dict[str, str] = field(default_factory=dict)

    def one_of(self, choices: str) -> str:
        options = choices.split("|")
        return options[int(self.rng.integers(len(options)))]

    def chosen(self, text: str) -> str:
        """The text with every ``[a|b]`` decided, from the inside outwards."""
        while "[" in text:
            text = re.sub(r"\[([^\[\]]*)\]", lambda found: self.one_of(found[1]), text)
        return text

    def filled(self, text: str) -> str:
        return re.sub(r"\{(\w)\}", lambda found: self._word(found[1]), self.chosen(text))

    def _word(self, letter: str) -> str:
        if letter not in self.words:
            self.words[letter] = self.chosen(DRAWN[letter]) if letter in DRAWN else self._declared(letter)
        return self.words[letter]

    def _declared(self, letter: str) -> str:
        taken = {*self.scalars, *self.vectors, *self.operators}
        names = CASES if letter == "e" else [name for name in HOSTILE if name not in taken]
        name = str(self.rng.choice(names))
        if letter in "ab":
            self.scalars[name] = self.one_of(self.shape.scalars)
        elif letter in "KS":
            self.operators[name] = self.one_of("any|psd")
        else:
            self.vectors.append(name)
        return name


def statement(seed: int) -> tuple[str, Statement]:
    """The claim of a seed, with the name of its shape: shapes take turns."""
    name = list(SHAPES)[seed % len(SHAPES)]
    shape = SHAPES[name]
    draws = _Draws(np.random.default_rng(seed), shape)
    text = draws.filled(draws.one_of(shape.templates.replace("|", "\0").replace("\n", "|")).replace("\0", "|").strip())
    picked = draws.rng.permutation(len(shape.given))[: shape.always]
    given = [tuple(draws.filled(part) for part in shape.given[i]) for i in picked]
    draws.filled(shape.extra)
    return name, Statement(
        text,
        tuple(hypothesis for hypothesis, _ in given),
        eps=draws.one_of(shape.eps),
        gamma=draws.one_of(shape.gamma),
        hessian=draws.one_of(shape.hessian),
        min_m=int(draws.one_of(shape.min_m)),
        normaliser=draws.one_of(shape.normaliser),
        scalars=draws.scalars,
        vectors=tuple(draws.vectors),
        operators=draws.operators,
        pins=tuple(tuple(pin.split()) for _, pin in given if pin),
    )
