"""The words of the vocabulary: what each stands for, what it is applied to, and what it gives.

The tables are read by the view that a claim is handed, by the grammar of typed claims, and by the help.
:mod:`bntheory.layer.vocabulary` says what the words mean together.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

Kind = Literal["scalar", "vector", "operator"]


@dataclass(frozen=True)
class Word:
    """kind: of the word itself, or of its result where it is a function. takes: the kinds of its arguments, None for a
    word that is no function. meaning: one line of help.

    In a claims file a word is an attribute of the layer, ``layer.norm2(v)``, unless it is a ``helper``, a function of
    the package: ``sqrt(x)``, ``centre(layer, v)``.
    """

    kind: Kind
    meaning: str
    takes: tuple[Kind, ...] | None = None
    helper: bool = False

    @property
    def is_operator(self) -> bool:
        """Whether it is a linear map of the layer, so that its trace can be asked for."""
        return self.kind == "vector" and self.takes == ("vector",) and not self.helper


_ONE: tuple[Kind, ...] = ("vector",)

WORDS: dict[str, Word] = {
    "m": Word("scalar", "the batch size"),
    "gamma": Word("scalar", "the scale: z = gamma*y_hat + beta"),
    "beta": Word("scalar", "the shift"),
    "eps": Word("scalar", "what is added to the variance, >= 0"),
    "mu": Word("scalar", "the mean of y over the batch"),
    "var": Word("scalar", "the biased variance of y over the batch"),
    "sigma": Word("scalar", "sqrt(var + eps)"),
    "gamma_grad": Word("scalar", "the gradient of gamma, dot(grad, y_hat)"),
    "beta_grad": Word("scalar", "the gradient of beta, dot(grad, one)"),
    "jac_norm": Word("scalar", "the largest singular value of the Jacobian dz/dy"),
    "one": Word("vector", "the vector of ones"),
    "y": Word("vector", "the pre-activations of one unit over the batch"),
    "y_hat": Word("vector", "(y - mu)/sigma"),
    "z": Word("vector", "the layer's output gamma*y_hat + beta"),
    "dual": Word("vector", "q with d sigma = dot(q, dy - mean)/m; y_hat itself for batch normalisation"),
    "grad": Word("vector", "g = dL/dz, the gradient of the downstream loss at the layer's output z"),
    "input_grad": Word("vector", "dL/dy, the gradient of the loss through the layer"),
    "hess": Word("vector", "H v with H = d2L/dz2", _ONE),
    "jac": Word("vector", "(dz/dy) v, the Jacobian of the layer", _ONE),
    "input_hess": Word("vector", "(d2L/dy2) v, the Hessian of the loss through the layer", _ONE),
    "dot": Word("scalar", "the inner product over the batch", ("vector", "vector")),
    "norm2": Word("scalar", "the square of the Euclidean norm", _ONE),
    "trace": Word("scalar", "the trace of hess, jac, input_hess or a free operator", ("operator",)),
    "max_eig": Word("scalar", "max_eig(A) <= b: dot(u, A(u)) <= b*norm2(u) for every u", ("operator",), helper=True),
    "min_eig": Word("scalar", "min_eig(A) >= b: dot(u, A(u)) >= b*norm2(u) for every u", ("operator",), helper=True),
    "sqrt": Word("scalar", "the square root that is not negative", ("scalar",), helper=True),
    "batch_mean": Word("scalar", "dot(one, v)/m", _ONE, helper=True),
    "centre": Word("vector", "v minus its mean", _ONE, helper=True),
    "standardise": Word("vector", "centre(v)/sqrt(its variance + eps)", _ONE, helper=True),
}

SECOND: dict[str, Word] = {
    f"{name}@2": Word(WORDS[name].kind, f"{name} of the same layer at a second batch y@2", WORDS[name].takes)
    for name in ("mu", "var", "sigma", "y", "y_hat", "z", "grad", "input_grad", "jac")
}
SECOND["rise"] = Word("scalar", "L(z@2) - L(z), by how much the loss differs between the two batches")
UNIT_B: dict[str, Word] = {
    f"{name}@b": Word(WORDS[name].kind, f"{name} of another unit b of the layer", WORDS[name].takes)
    for name in ("gamma", "beta", "mu", "var", "sigma", "y", "y_hat", "z", "grad", "input_grad", "jac")
}
UNIT_B["cross"] = Word("vector", "H_ab v, the block of d2L/dz2 between the unit and unit b", _ONE)
UNIT_B["input_cross"] = Word("vector", "J_a H_ab J_b v, that block of d2L/dy2; applied to one v", _ONE)

_NORM = "norm2(v) is the square of the norm, sqrt(norm2(v)) the norm"
_ABS = "|x| <= b is: x <= b and -x <= b; |x| >= b is: x >= b or -x >= b; sqrt(x**2) is |x|"
_EXTREME = "max(a, b) <= c is: a <= c and b <= c; min(a, b) <= c is: a <= c or b <= c"
_ENTRIES = "a vector NAME@case of the domain is one entry's basis vector: dot(y, e@case) is an entry of y"
_OUTSIDE = "only + - * / ** and sqrt make numbers of numbers"

NEAREST: dict[str, str] = {
    **dict.fromkeys(("norm", "l2", "length", "normsq", "norm_squared", "sqnorm", "linalg"), _NORM),
    **dict.fromkeys(("abs", "fabs", "absolute", "sign", "sgn"), _ABS),
    **dict.fromkeys(("max", "min", "maximum", "minimum", "amax", "amin", "clip", "clamp", "relu"), _EXTREME),
    **dict.fromkeys(("item", "entry", "index", "element", "shape", "size", "tolist", "i", "n_i"), _ENTRIES),
    **dict.fromkeys(("exp", "log", "sin", "cos", "tanh", "sigmoid", "softplus", "pi", "e", "erf"), _OUTSIDE),
    **dict.fromkeys(("mean", "average", "sum"), "batch_mean(v) is the mean of a vector, dot(one, v) its sum"),
    **dict.fromkeys(("std", "stdev", "s"), "sigma is sqrt(var + eps); sqrt(var) leaves eps out"),
    **dict.fromkeys(("variance", "sigma2"), "var is the biased variance, sigma**2 is var + eps"),
    **dict.fromkeys(("inner", "vdot", "matmul", "inner_product"), "dot(u, v) is the inner product"),
    **dict.fromkeys(("n", "N", "batch_size", "B"), "m is the batch size"),
    **dict.fromkeys(("x", "x_hat", "xhat", "yhat"), "y is the layer's input, y_hat the normalised input"),
    **dict.fromkeys(("g", "dz", "grad_output", "gradient"), "grad is dL/dz"),
    **dict.fromkeys(("dy", "grad_input", "dx"), "input_grad is dL/dy"),
    **dict.fromkeys(("H", "hessian", "hvp"), "hess(v) is H v with H = d2L/dz2"),
    **dict.fromkeys(("hess_y", "input_hessian"), "input_hess(v) is (d2L/dy2) v"),
    **dict.fromkeys(("center", "centered", "centred"), "centre(v) is v minus its mean"),
    **dict.fromkeys(("normalise", "normalize", "standardize"), "standardise(v) normalises another batch v"),
    **dict.fromkeys(("epsilon",), "eps is what is added to the variance"),
    **dict.fromkeys(("jvp", "vjp", "jacobian", "J", "project", "P"), "jac(v) is (dz/dy) v"),
    **dict.fromkeys(
        ("lambda_max", "eigenvalue", "eigvals", "opnorm", "spectral_norm"),
        "max_eig(input_hess) <= b and min_eig(input_hess) >= b bound the eigenvalues, jac_norm is the largest singular value of the "
        "Jacobian, and in a file dot(u, input_hess(u)) <= b*norm2(u) with a free vector u says the first",
    ),
    **dict.fromkeys(
        ("cross_hess", "hess12", "H12", "hess_ab"),
        "cross(v) is the block of d2L/dz2 between the unit and unit b, input_cross(v) that of d2L/dy2",
    ),
    **dict.fromkeys(("tr", "laplacian"), "trace(hess) is the trace"),
}


def nearest(name: str, free: tuple[str, ...] = ()) -> str:
    """What the vocabulary has in place of a word that it does not have; "" where nothing is near.

    free: names of the claim's own, which may have been misspelt.
    """
    if name in NEAREST:
        return NEAREST[name]
    near = get_close_matches(name, [*WORDS, *free], n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""
