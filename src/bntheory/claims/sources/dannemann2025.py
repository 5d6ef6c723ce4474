"""Dannemann and Junike: a counterexample to a lemma on batch normalisation and initialisation. arXiv 2502.17913
(abstract seen).

A single linear neuron z = <x, w>, squared loss, and the same neuron with batch normalisation. The data set is found
here, by enumeration in the order of size, and decided in rational arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, product

from bntheory.claims.claim import Source, Study, claim
from bntheory.evidence.checks import Check
from bntheory.evidence.compared import exact, proof
from bntheory.layer.rational import as_text, axpy, dot, least_squares, matvec, project, transposed, variance, vector

KEY = "dannemann2025"


@dataclass(frozen=True)
class Neuron:
    """A data set with its least-squares optimum; all rational. rows: (m, n). target: (m,). optimum: (n,)."""

    rows: tuple[tuple[Fraction, ...], ...]
    target: tuple[Fraction, ...]
    optimum: tuple[Fraction, ...]

    @property
    def outputs(self) -> list[Fraction]:
        """The pre-activations X w*."""
        return matvec(self.rows, self.optimum)

    @property
    def standard_gradient(self) -> list[Fraction]:
        """X'(X w* - t)."""
        return matvec(transposed(self.rows), axpy(-1, self.target, self.outputs))

    @property
    def batchnorm_gradient(self) -> list[Fraction]:
        """(sigma/gamma) times the gradient in w, at w*, of the BN loss with eps = 0: X'P(gamma y_hat + beta - t) = -X'P
        t.

        Neither gamma nor beta is in it, since P annihilates 1 and y_hat.
        """
        return [-a for a in matvec(transposed(self.rows), project(self.outputs, list(self.target)))]


def data_sets(points: int, inputs: int) -> Iterator[Neuron]:
    """All data sets with non-negative integer entries, in the order of their largest entry, then of their sum.

    Left out: dependent columns (no unique optimum) and optima whose output is constant over the batch (BN is undefined
    there).
    """
    for height in count(1):
        entries = list(product(range(height + 1), repeat=points * inputs + points))
        entries.sort(key=lambda e: (sum(e), e))
        for flat in entries:
            if max(flat) != height:
                continue
            rows = [vector(flat[i * inputs : (i + 1) * inputs]) for i in range(points)]
            target = vector(flat[points * inputs :])
            try:
                optimum = least_squares(rows, target)
            except ValueError:
                continue
            if variance(matvec(rows, optimum)) == 0:
                continue
            yield Neuron(tuple(map(tuple, rows)), tuple(target), tuple(optimum))


def simplest() -> Neuron:
    """The first data set of three points and two inputs whose standard optimum is no stationary point of the BN loss,
    for any gamma != 0 and beta (eps = 0)."""
    return next(n for n in data_sets(3, 2) if any(n.batchnorm_gradient))


@claim(
    "dannemann2025.counterexample",
    kind="landscape",
    source=Source(KEY, "abstract", "arXiv 2502.17913", seen="seen"),
    statement=r"\exists\,(x_i,t_i)_{i\le 3}:\ w^* = \arg\min_w \tfrac12\sum_i(\langle x_i,w\rangle-t_i)^2 \ \text{is no stationary point of the BN loss}",
    reading=(
        "a neuron without a bias, eps = 0; the BN loss at w* with any gamma != 0 and any beta, so in particular with the gamma and beta "
        "that reproduce the neuron's outputs. The scalings of w* are covered: BN does not see them"
    ),
    note=(
        "Found by enumeration: the first data set, by size of its entries. With one input there is none, since the normalised neuron "
        "then depends on the sign of w only; if gamma and beta are trained as well, one input and two points are enough "
        "(santurkar2018.observation-4.3.minima.no-bias)."
    ),
)
def counterexample(study: Study) -> list[Check]:
    import sympy as sp

    neuron = simplest()
    gradient = neuron.batchnorm_gradient
    squared = dot(gradient, gradient)
    standard = dot(neuron.standard_gradient, neuron.standard_gradient)
    witness = {
        "X": [as_text(row) for row in neuron.rows],
        "t": as_text(neuron.target),
        "w*": as_text(neuron.optimum),
        "X w*": as_text(neuron.outputs),
        "(sigma/gamma) grad_w of the BN loss at w*": as_text(gradient),
    }
    gamma, beta = sp.symbols("gamma beta", real=True, nonzero=True)
    symbolic = _symbolic_gradient(neuron, gamma, beta)
    residue = sum(
        abs(sp.simplify(a - sp.Rational(b.numerator, b.denominator))) for a, b in zip(symbolic, gradient, strict=True)
    )
    scope = "the witness's data set; every gamma != 0 and beta, eps = 0"
    tested = [n for n, _ in zip(data_sets(3, 1), range(study.choose(quick=50, normal=150, thorough=400)), strict=False)]
    return [
        exact("squared gradient of the standard loss at w*", scope, witness=witness).eq(standard, 0.0),
        proof(
            "zero < squared gradient of the BN loss at w*, times (sigma/gamma)^2",
            scope,
            witness=witness,
            why="rational arithmetic at the witness; it depends on neither gamma nor beta",
        ).lt(0.0, squared),
        proof(
            "difference from the gradient of the BN loss differentiated symbolically",
            scope,
            why="sympy, from the definition of batch normalisation, gamma and beta symbols",
        ).eq(float(residue) if residue.is_number else float("inf"), 0.0),
        exact(
            "largest squared BN gradient at w* over data sets with one input",
            f"the first {len(tested)} data sets of three points with one input: two inputs are needed",
            decisive=False,
        ).eq(max(float(dot(n.batchnorm_gradient, n.batchnorm_gradient)) for n in tested), 0.0),
    ]


def _symbolic_gradient(neuron: Neuron, gamma: object, beta: object) -> list[object]:
    """(sigma/gamma) grad_w of the BN loss at w*, by differentiating the loss itself."""
    import sympy as sp

    w = sp.symbols(f"w0:{len(neuron.optimum)}", real=True)
    m = len(neuron.target)

    def rational(q: Fraction) -> object:
        return sp.Rational(q.numerator, q.denominator)

    y = [sum(rational(a) * b for a, b in zip(row, w, strict=True)) for row in neuron.rows]
    mean = sum(y) / m
    sigma = sp.sqrt(sum((v - mean) ** 2 for v in y) / m)
    loss = (
        sum((gamma * (v - mean) / sigma + beta - rational(t)) ** 2 for v, t in zip(y, neuron.target, strict=True)) / 2
    )
    here = {a: rational(b) for a, b in zip(w, neuron.optimum, strict=True)}
    return [sp.simplify((sigma / gamma * sp.diff(loss, a)).subs(here)) for a in w]
