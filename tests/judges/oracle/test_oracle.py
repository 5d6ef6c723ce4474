"""The oracle itself: its derivatives against numerical differentiation, its logic against a table, and that it notices what is wrong."""

from __future__ import annotations

import copy

import mpmath
import numpy as np
import pytest
from attacks import attack, domain_fault, verdict_at_witness
from bounded_numbers import digits, floats
from claim_shapes import SHAPES, statement
from jet_layer import JetLayer, Numbers
from random_claims import command
from read_claim import Claimed, Statement

Y, G = [0.5, -2.0, 3.25], [1.0, 0.25, -3.0]
H = [[1.0, 2.0, -0.5], [2.0, -3.0, 0.25], [-0.5, 0.25, 4.0]]


def layer_of(world, normaliser="batch", gamma=-1.5, eps=0.75, y=Y):
    arrays = (np.array(x)[None] for x in (y, G, H, gamma, 0.5, eps))
    return JetLayer(world, Numbers(*arrays, vectors={"u": np.array([[1.0, 0.0, 2.0]])}).mapped(world.of), normaliser)


def loss(y, normaliser, y0):
    """L_hat at y by scalar arithmetic, the layer at y0 being where g and H are taken."""

    def output(at):
        mean = sum(at) / 3
        centred = at if normaliser == "rms" else [v - mean for v in at]
        spread = sum(c * c for c in centred) / (2 if normaliser == "unbiased" else 3)
        scale = 1 if normaliser == "mean-only" else mpmath.sqrt(spread + mpmath.mpf(0.75))
        return [mpmath.mpf(-1.5) * c / scale + 0.5 for c in centred]

    step = [a - b for a, b in zip(output(y), output(y0), strict=True)]
    quadratic = sum(H[i][j] * step[i] * step[j] for i in range(3) for j in range(3)) / 2
    return sum(g * s for g, s in zip(G, step, strict=True)) + quadratic


@pytest.mark.parametrize("normaliser", ["batch", "rms", "mean-only", "unbiased"])
def test_jets_agree_with_numerical_differentiation(normaliser):
    with mpmath.workdps(60):
        layer = layer_of(digits(60), normaliser)
        y0 = [mpmath.mpf(v) for v in Y]

        def f(*y):
            return loss(list(y), normaliser, y0)

        gradient = layer.named("input_grad").x[0]
        product = layer.operator("input_hess", layer.named("u")).x[0]
        for i in range(3):
            first = tuple(int(i == k) for k in range(3))
            assert abs(mpmath.diff(f, tuple(y0), first) - gradient[i]) < 1e-15
            second = [tuple(int(i == k) + int(j == k) for k in range(3)) for j in (0, 2)]
            wanted = mpmath.diff(f, tuple(y0), second[0]) + 2 * mpmath.diff(f, tuple(y0), second[1])
            assert abs(wanted - product[i]) < 1e-12


def test_the_frozen_twin_is_affine():
    with mpmath.workdps(60):
        layer = layer_of(digits(60), "frozen")
        slope = layer.data.gamma[0] / layer.named("sigma").x[0]
        assert np.all(abs(layer.named("input_grad").x[0] - slope * layer.data.g[0]) < 1e-50)


# gamma = 0 and eps = 0 here, so 1/gamma and sqrt(-m) are undefined.
KLEENE = {
    "1/gamma > 0": "undefined",
    "not (1/gamma > 0)": "undefined",
    "1/gamma > 0 or m == 3": "true",
    "1/gamma > 0 and m == 2": "false",
    "1/gamma > 0 and m == 3": "undefined",
    "1/gamma > 0 or m == 2": "undefined",
    "sqrt(-m) == 0": "undefined",
    "sqrt(gamma) == 0 and gamma/sigma == 0": "true",
    "2 < m < 1/gamma": "undefined",
    "3 < m < 1/gamma": "false",
    "0.1 + 0.2 == 0.3": "true",
    "1e-2 == 1/100 and .5 == 1/2": "true",
    "-gamma**2 + 2**-1 == 0.5": "true",
    "y == one": "false",
    "y - y == 0": "true",
    "sigma**2 == var": "true",
    "sigma**2 < var": "false",
    "norm2(y_hat) == m": "true",
    "u != 0 and norm2(u) == 5": "true",
    "standardise(2*y) == y_hat": "true",
    "batch_mean(y) == mu and dot(one, centre(y)) == 0": "true",
    "beta_grad == dot(one, grad) and gamma_grad == dot(y_hat, grad)": "true",
    "hess(u) == 0": "false",
    "trace(hess) == 2": "true",
    "jac(one) == 0 and jac_norm == 0": "true",
    "z == beta*one": "true",
    "max_eig(hess) <= 4 or min_eig(hess) >= -3": "false",
    "max_eig(jac) == min_eig(jac) and max_eig(hess) < 5 < 6 + min_eig(hess)*0": "true",
    "trace(hess)/trace(jac) > 0": "undefined",
}


@pytest.mark.parametrize("text", KLEENE)
def test_three_valued_truth(text):
    with mpmath.workdps(60):
        truth = Claimed(text).truth(layer_of(digits(60), gamma=0.0, eps=0.0))
    assert getattr(truth, f"surely_{KLEENE[text]}").tolist() == [True]
    rough = Claimed(text).truth(layer_of(floats(), gamma=0.0, eps=0.0))
    assert getattr(rough, KLEENE[text]).tolist() == [True], "floats may leave it open, never contradict"


BOUND = "norm2(input_grad) <= gamma**2/sigma**2*(norm2(grad) - beta_grad**2/m - {}*gamma_grad**2/m)"
FALSE = {
    "a little too sharp": Statement(BOUND.format("1.001"), eps="zero"),
    "an equality": Statement("sqrt(var) + sqrt(eps) > sigma"),
    "one point of a sphere": Statement(
        "dot(u, y_hat)**2 < m", ("norm2(u) == 1",), vectors=("u",), pins=(("norm2", "u", "1"),)
    ),
    "a hidden zero": Statement(
        "norm2(input_grad) > 0 and dot(grad, input_grad)**2/norm2(input_grad) <= norm2(grad)", eps="zero"
    ),
    "a size": Statement("m != 7", ("2*m == 14",), pins=(("m", "7"),)),
    "a Hessian of rank one": Statement("dot(grad, hess(grad)) > 0 or norm2(grad) == 0", hessian="psd"),
    "one example": Statement("dot(e@case, y_hat)**2 < m - 1", eps="zero", vectors=("e@case",)),
}
TRUE = {
    "gradient bound": Statement(BOUND.format("1"), eps="zero"),
    "identity": Statement("input_hess(y) == -1*input_grad", eps="zero"),
    "one example": Statement("dot(e@case, y_hat)**2 <= m - 1", vectors=("e@case",)),
    "wherever defined": Statement("gamma != 0 or 1/gamma > 5"),
    "orthogonal": Statement("input_grad == gamma/sigma*grad", ("dot(grad, one) == 0 and dot(grad, y) == 0",),
                            pins=(("orthogonal", "grad", "one", "y"),)),
    "on a quadric": Statement("norm2(input_grad) <= gamma**2/2*norm2(grad)", ("var == 2",), pins=(("var", "2"),)),
    "semidefinite": Statement("min_eig(K) >= 0 and dot(u, hess(u)) >= 0", hessian="psd", vectors=("u",), operators={"K": "psd"}),
    "impossible": Statement("m == 1", ("2*m == 41",)),
}  # fmt: skip


@pytest.mark.parametrize("name", FALSE)
def test_what_is_false_falls(name):
    assert attack(FALSE[name], 0).violation is not None


@pytest.mark.parametrize("name", TRUE)
def test_what_is_true_stands(name):
    found = attack(TRUE[name], 0)
    assert found.violation is None
    assert (found.example is None) == (name == "impossible")
    assert (found.undefined is not None) == (name == "wherever defined")


WITNESS = {
    "m": 3, "y": ["1", "-1", "0"], "grad": ["1", "1", "-2"], "hess": None, "gamma": "1", "beta": "0", "eps": "0",
    "scalars": {}, "vectors": {}, "operators": {},
}  # fmt: skip
LONGER = Statement("norm2(input_grad) <= norm2(grad)", eps="zero", hessian="psd", gamma="positive")


def test_a_witness_is_checked():
    assert domain_fault(LONGER, WITNESS) is None
    assert verdict_at_witness(LONGER, WITNESS) == "refuted"
    assert verdict_at_witness(LONGER, WITNESS | {"y": ["2", "-2", "0"]}) == "holds"
    assert verdict_at_witness(Statement("norm2(input_grad)/(gamma - 1) <= 1"), WITNESS) == "undefined"
    assert verdict_at_witness(Statement(LONGER.text, ("m >= 4",)), WITNESS) == "outside"


@pytest.mark.parametrize(
    "change",
    [
        {"m": 4}, {"eps": "1"}, {"gamma": "-1"}, {"gamma": "0"}, {"y": ["1", "1", "1"]}, {"scalars": {"a": "1"}},
        {"hess": [["0", "1", "0"], ["1", "0", "0"], ["0", "0", "0"]]}, {"hess": [["0", "1", "0"], ["0", "0", "0"], ["0", "0", "0"]]},
    ],
)  # fmt: skip
def test_a_witness_outside_the_domain_is_noticed(change):
    assert domain_fault(LONGER, copy.deepcopy(WITNESS) | change)


def test_shapes_are_many_and_draws_are_reproducible():
    made = [statement(seed) for seed in range(400)]
    assert {name for name, _ in made} == set(SHAPES)
    assert len({command(s) for _, s in made}) > 360
    assert made == [statement(seed) for seed in range(400)]
    assert sum(bool(s.vectors) for _, s in made) > 60
    assert sum(bool(s.assume) for _, s in made) > 30
